//! Save: from directories to packs and a manifest.
//!
//! [`save`] reads like `docs/architecture.md`: walk the mounts, plan the
//! chunks, read and cut and hash what changed, upload what the store does not
//! have, publish the manifest last. Nothing is visible before the manifest, so
//! a save that is killed leaves only packs that nobody refers to.

mod assemble;
mod copy;
mod cut;
mod dispatch;
mod lookup;
mod open;
mod publish;
mod recall;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::chunking::plan;
use crate::compression;
use crate::error::Error;
use crate::files::{self, WalkOptions, WalkSource, Walked};
use crate::format::{Annotation, Lifetime};
use crate::ids::{Key, Scope};
use crate::index::KnownChunks;
use crate::progress::{Context, Phase, Warning};
use crate::records::Records;
use crate::repository::{Access, REFRESH_AFTER, StoredManifest};
use crate::store_time::StoreTime;
use crate::threads::beside;
use crate::tier::Tier;
use crate::trust::TrustedScopes;
pub use copy::{Copied, CopyRequest, copy, find_whole};
use open::{Near, is_there, open_and_read_near};
use publish::{publish, refresh};

/// How often a save that garbage collection overtook begins again. With a
/// grace period longer than a save takes, it never has to.
const MAX_ROUNDS: u32 = 5;

/// What to save, and how.
#[derive(Debug)]
pub struct SaveRequest {
    /// The namespace of the key.
    pub scope: Scope,
    /// The name to save under.
    pub key: Key,
    /// Other scopes whose caches are looked at for chunks, before the index is: those
    /// that the job restores from.
    pub fallback_scopes: Vec<Scope>,
    /// Scopes whose savers believe only each other as to which chunks the store has. A
    /// save of any other scope believes everybody.
    pub trusted_scopes: TrustedScopes,
    /// What to save: sorted, not overlapping.
    pub sources: Vec<WalkSource>,
    /// What to record of it.
    pub walk: WalkOptions,
    /// zstd level for new chunks; see [`crate::compression::LEVELS`].
    pub level: i32,
    /// Save nothing if the key is there already.
    pub if_absent: bool,
    /// Do everything but change the store.
    pub dry_run: bool,
    /// Leave out mounts that are not there, with a warning.
    pub allow_missing: bool,
    /// Leave out files that cannot be read, with a warning.
    pub skip_unreadable: bool,
    /// Reuse chunks that are in the store. Without it, everything is uploaded
    /// anew, which heals a cache whose packs were damaged.
    pub reuse: bool,
    /// Ask for the packs of the nearest manifests before relying on them: where
    /// something else than a flush deletes objects, such as a rule of a bucket's
    /// lifecycle, that mends a cache whose packs are gone.
    pub check_packs: bool,
    /// How long the cache is to live.
    pub lifetime: Lifetime,
    /// What is noted in the manifest. Of a cache that turns out unchanged, the note
    /// stays as it was.
    pub annotation: Annotation,
    /// How long ago a cache that turns out unchanged may have been used last
    /// before its manifest is put again.
    pub refresh_after: Duration,
    /// Where stat records lie, if they are to be used.
    pub records: Option<Records>,
    /// Where new chunks are kept on this machine for later restores, if they
    /// are to be. Changes nothing of what is uploaded.
    pub tier: Option<Arc<Tier>>,
}

impl SaveRequest {
    /// A save of all that is there, as `larder save` does it unless told
    /// otherwise, but without stat records.
    pub fn new(scope: Scope, key: Key, sources: Vec<WalkSource>) -> Self {
        Self {
            scope,
            key,
            fallback_scopes: vec![],
            trusted_scopes: TrustedScopes::default(),
            sources,
            walk: WalkOptions::default(),
            level: compression::DEFAULT_LEVEL,
            if_absent: false,
            dry_run: false,
            allow_missing: false,
            skip_unreadable: false,
            reuse: true,
            check_packs: false,
            lifetime: Lifetime::ByPolicy,
            annotation: Annotation::default(),
            refresh_after: REFRESH_AFTER,
            records: None,
            tier: None,
        }
    }

    /// The only scopes that this save believes; `None`: all.
    fn believed(&self) -> Option<&TrustedScopes> {
        self.trusted_scopes.believed_in(&self.scope)
    }
}

/// What a save did.
#[derive(Debug, Default)]
pub struct SaveReport {
    /// The key was there, and was not to be overwritten: nothing was done.
    pub already_there: bool,
    /// The key already had exactly these contents: nothing was uploaded.
    pub unchanged: bool,
    /// Regular files, hard links included.
    pub files: u64,
    /// Bytes of all files, holes included, hard links counted once.
    pub raw_bytes: u64,
    /// Files whose contents were read; for all others the stat record was enough.
    pub files_read: u64,
    /// Chunks, each counted once.
    pub chunks: u64,
    /// Chunks that the store did not have.
    pub new_chunks: u64,
    /// Bytes of these, uncompressed.
    pub new_raw_bytes: u64,
    /// Bytes put into the store: packs, manifest and index delta.
    pub uploaded_bytes: u64,
    /// Chunks that the store had.
    pub reused_chunks: u64,
    /// Packs put into the store.
    pub packs_written: u64,
}

impl SaveReport {
    /// Adds what rounds before this one have put and read.
    fn after(mut self, before: &Self) -> Self {
        self.files_read = self.files_read.max(before.files_read);
        self.new_chunks += before.new_chunks;
        self.new_raw_bytes += before.new_raw_bytes;
        self.uploaded_bytes += before.uploaded_bytes;
        self.packs_written += before.packs_written;
        if before.new_chunks > 0 {
            self.reused_chunks = self.chunks.saturating_sub(self.new_chunks);
        }
        self
    }
}

/// Saves directories under a key.
///
/// # Errors
/// [`Error`] says what failed. The store then holds what it held before, and
/// at most some packs that nobody refers to; if only the index delta could not
/// be put, the cache is there, but other keys will not find its chunks.
pub fn save(
    access: impl Into<Access>,
    request: &SaveRequest,
    context: Context<'_>,
) -> Result<SaveReport, Error> {
    let access = access.into();
    if request.if_absent && is_there(&access, request)? {
        return Ok(SaveReport { already_there: true, ..SaveReport::default() });
    }
    let sources = present_sources(request, context)?;
    let mut report = SaveReport::default();
    for _ in 0..MAX_ROUNDS {
        let (round, is_settled) = save_once(&access, &sources, request, context)?;
        report = round.after(&report);
        if is_settled {
            return Ok(report);
        }
    }
    // It was there as it is to be, and somebody puts it again all the time.
    if report.unchanged {
        return Ok(report);
    }
    Err(Error::SaveOvertaken(MAX_ROUNDS))
}

/// One round of a save, and whether it counts: if garbage collection overtook
/// it, another round uploads what was lost.
fn save_once(
    access: &Access,
    sources: &[WalkSource],
    request: &SaveRequest,
    context: Context<'_>,
) -> Result<(SaveReport, bool), Error> {
    let sealing = access.keys.sealing();
    // The store is opened and the nearest manifests come over the network, and
    // the records from another disk, while the mounts are walked.
    let (walked, near, records) = std::thread::scope(|scope| {
        let near = beside(scope, || open_and_read_near(access, request, context));
        let records = beside(scope, || {
            let locations = sources.iter().map(|source| source.location.as_path());
            request.records.as_ref().map(|records| records.read_all(locations)).unwrap_or_default()
        });
        context.progress.begin(Phase::Walk, 0, 0);
        let walked = files::walk(sources, &request.walk, context.stop);
        let near = near.join();
        let mut records = records.join();
        // One that names chunks by another key knows of no chunk that this save makes.
        records.retain(|_, record| record.sealed_by == sealing.key());
        (walked, near, records)
    });
    let (mut walked, Near { repository, own, near, view }) = (walked?, near?);
    context.check()?;
    report_left_out(&mut walked, request, context)?;

    let known = if request.reuse {
        let view = view.for_index(request.believed(), access.keys.requires_signature());
        KnownChunks::of(own.iter().chain(&near), view)
    } else {
        KnownChunks::nothing()
    };
    let plan = plan(&walked.tree);
    let recall::Recalled { units, vouched } = recall::recall(&walked, &plan, &records);
    let cutter = cut::Cutter::new(&walked, &plan, request, repository.as_ref(), &known, context);
    let (contents, uploaded) = cutter.run(units)?;
    if let Some(error) = request.tier.as_ref().and_then(|tier| tier.settle()) {
        context.progress.warn(Warning::NotKept { error: error.to_string() });
    }

    let assembled =
        assemble::assemble(walked, &plan, &contents, &known, &uploaded, vouched, request)?;
    let mut report = assembled.report;
    let mut manifest = assembled.manifest;
    manifest.facts.epoch = view.state.epoch;
    manifest.sealed_by = sealing.key();
    let signer = access.keys.signer();
    let is_unchanged = |own: &StoredManifest| {
        (signer.is_none() || own.manifest.signed_by == signer)
            && view.finds_unchanged(&own.manifest, &manifest)
    };
    let unchanged = own.filter(|own| request.reuse && is_unchanged(own));
    report.unchanged = unchanged.is_some();
    let mut is_settled = true;
    if let Some(repository) = repository.filter(|_| !request.dry_run) {
        context.check()?;
        manifest.facts.saved = StoreTime::from(repository.store().now()?);
        match unchanged {
            // Used by somebody else, moved or removed by a flush: only the last
            // of these makes a difference, and a look at it tells.
            Some(own) => is_settled = refresh(&repository, &own, &manifest, request, context),
            None => {
                let (bytes, settled) = publish(&repository, &manifest, uploaded, context)?;
                report.uploaded_bytes += bytes;
                is_settled = settled;
            }
        }
    }
    // If nothing was read, the record knew it all.
    if let Some(records) = &request.records
        && is_settled
        && !request.dry_run
        && report.files_read > 0
    {
        assemble::write_records(records, &manifest, &assembled.local, context);
    }
    Ok((report, is_settled))
}

/// The mounts that are there.
fn present_sources(request: &SaveRequest, context: Context<'_>) -> Result<Vec<WalkSource>, Error> {
    let mut missing: Vec<PathBuf> = vec![];
    let mut present = vec![];
    for source in &request.sources {
        match std::fs::symlink_metadata(&source.location) {
            Ok(metadata) => {
                if metadata.is_symlink() {
                    let path = source.location.clone();
                    context.progress.warn(Warning::LinkAsMount { path });
                }
                present.push(source.clone());
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                missing.push(source.location.clone());
            }
            Err(error) => {
                return Err(files::FileError::new("look at", &source.location, error).into());
            }
        }
    }
    if present.is_empty() || !(missing.is_empty() || request.allow_missing) {
        return Err(Error::NothingThere(missing));
    }
    for path in missing {
        context.progress.warn(Warning::NothingThere { path });
    }
    Ok(present)
}

fn report_left_out(
    walked: &mut Walked,
    request: &SaveRequest,
    context: Context<'_>,
) -> Result<(), Error> {
    for skipped in &walked.skipped {
        context
            .progress
            .warn(Warning::SkippedSpecial { path: skipped.path.clone(), what: skipped.why });
    }
    let unreadable = std::mem::take(&mut walked.unreadable);
    if !request.skip_unreadable && !unreadable.is_empty() {
        return Err(Error::Unreadable(unreadable));
    }
    for error in unreadable {
        context.progress.warn(Warning::SkippedUnreadable { error: error.to_string() });
    }
    Ok(())
}
