//! Verify: can the caches of a store be restored?
//!
//! Without reading data: every manifest is sound, every pack it needs is
//! there, and that pack's own footer agrees about every chunk. With it: every
//! chunk unpacks to what its name says.

mod packs;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::error::Error;
use crate::format::{ChunkTable, Layout, Location, Manifest};
use crate::ids::{ChunkId, Key, PackId, Scope};
use crate::progress::{Context, Phase, Warning};
use crate::repository::{Access, ListedManifest, Repository};
use crate::secrets::KeyId;
use crate::store::ObjectKey;

/// What to verify.
#[derive(Debug)]
pub struct VerifyRequest {
    /// The namespace, or all of them.
    pub scope: Option<Scope>,
    /// The keys; all if empty.
    pub keys: Vec<Key>,
    /// Read every byte.
    pub read_data: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Manifests checked.
    pub manifests: u64,
    /// Keys that were asked for and are not there.
    pub missing_keys: Vec<Key>,
    /// Packs checked.
    pub packs: u64,
    /// Chunks checked, each once.
    pub chunks: u64,
    /// Bytes of packs that were read and checked against their hashes.
    pub read_bytes: u64,
    /// Manifests that these keys cannot open or do not accept: of those only the packs
    /// were checked.
    pub closed: u64,
    /// Packs that were to be read and are sealed with a key that is not given.
    pub closed_packs: u64,
    /// What is wrong.
    pub problems: Vec<Error>,
    /// The caches that cannot be restored whole, as they were when they were
    /// looked at.
    pub damaged: Vec<ListedManifest>,
    /// Packs that are there, and of which something cannot be read.
    pub bad_packs: BTreeSet<PackId>,
    /// The state of garbage collection is lost, or an earlier one was put back.
    pub state_is_stale: bool,
}

impl VerifyReport {
    /// Takes out a problem that is none: something that a newer larder wrote. Where
    /// there is any, this program must not repair the store.
    pub fn take_newer(&mut self) -> Option<Error> {
        let newer = self.problems.iter().position(Error::is_newer)?;
        Some(self.problems.swap_remove(newer))
    }
}

/// The chunks of one pack that manifests need.
#[derive(Default)]
struct Needed {
    /// By id and offset.
    chunks: HashMap<(ChunkId, u64), Location>,
    /// The key that these are sealed with.
    sealed_by: Option<KeyId>,
    /// Numbers of the manifests that need any of them.
    by: Vec<usize>,
}

/// What is wrong with one pack.
#[derive(Debug, Default)]
struct Verdict {
    problems: Vec<Error>,
    /// Nothing of it can be restored.
    is_lost: bool,
    /// Its own bytes are damaged, not only what manifests say of it.
    is_bad: bool,
    /// Chunks that cannot be restored from it, by id and offset.
    chunks: BTreeSet<(ChunkId, u64)>,
}

/// Verifies the caches of a store.
///
/// # Errors
/// Those of the store's service; what is wrong with its contents is in the
/// report.
pub fn verify(
    access: impl Into<Access>,
    request: &VerifyRequest,
    context: Context<'_>,
) -> Result<VerifyReport, Error> {
    let mut report = VerifyReport::default();
    let access = access.into();
    let Some(repository) = Repository::open(access.clone())? else {
        report.missing_keys.clone_from(&request.keys);
        if let Some(needed_by) = Repository::has_lost_marker(&access)? {
            report.problems.push(Error::Missing { object: Layout::marker(), needed_by });
        }
        return Ok(report);
    };
    let manifests = choose(&repository, request, &mut report)?;
    report.manifests = manifests.len() as u64;
    let mut damaged = BTreeSet::new();
    let mut latest = None;
    let needed =
        read_manifests(&repository, &manifests, &mut report, &mut damaged, &mut latest, context)?;
    check_state(&repository, latest, &mut report)?;
    check_packs(&repository, request, &manifests, needed, &mut report, &mut damaged, context)?;
    report.damaged = damaged.into_iter().map(|number| manifests[number].clone()).collect();
    Ok(report)
}

fn choose(
    repository: &Repository,
    request: &VerifyRequest,
    report: &mut VerifyReport,
) -> Result<Vec<ListedManifest>, Error> {
    let mut manifests = match &request.scope {
        Some(scope) => repository.list_manifests(scope, "")?,
        None => repository.list_all_manifests()?,
    };
    if !request.keys.is_empty() {
        manifests.retain(|found| request.keys.contains(&found.key));
        let is_missing = |key: &&Key| !manifests.iter().any(|found| found.key == **key);
        report.missing_keys = request.keys.iter().filter(is_missing).cloned().collect();
    }
    Ok(manifests)
}

/// A manifest, and the epoch that its saver had read.
type Dated = (u64, ObjectKey);

/// Checks the state of garbage collection. It is read after the manifests, so it has to
/// be at least as late as the `latest` of them.
fn check_state(
    repository: &Repository,
    latest: Option<Dated>,
    report: &mut VerifyReport,
) -> Result<(), Error> {
    let found = match repository.gc_state() {
        Err(error) if error.is_unreadable() => {
            report.problems.push(error);
            return Ok(());
        }
        found => found?,
    };
    if let Some((epoch, needed_by)) = latest
        && epoch > found.state.epoch
    {
        report.state_is_stale = true;
        report.problems.push(Repository::stale_state(found.version.is_some(), needed_by));
    }
    Ok(())
}

fn read_manifests(
    repository: &Repository,
    manifests: &[ListedManifest],
    report: &mut VerifyReport,
    damaged: &mut BTreeSet<usize>,
    latest: &mut Option<Dated>,
    context: Context<'_>,
) -> Result<BTreeMap<PackId, Needed>, Error> {
    let mut needed: BTreeMap<PackId, Needed> = BTreeMap::new();
    for (number, found) in manifests.iter().enumerate() {
        context.check()?;
        match repository.manifest(&found.scope, &found.key) {
            Ok(Some(stored)) => {
                {
                    let Manifest { chunks, sealed_by, .. } = &stored.manifest;
                    add_needs(&mut needed, chunks, *sealed_by, number);
                };
                let epoch = stored.manifest.facts.epoch;
                if latest.as_ref().is_none_or(|(latest, _)| epoch > *latest) {
                    *latest = Some((epoch, found.object.clone()));
                }
            }
            // Deleted since it was listed.
            Ok(None) => {}
            Err(error) if error.is_damage() => {
                report.problems.push(error);
                damaged.insert(number);
            }
            Err(error @ Error::Distrusted { .. }) => {
                context.progress.warn(Warning::Distrusted { error: error.to_string() });
                report.closed += 1;
                if let Some((_, references)) = repository.references(found)? {
                    add_needs(&mut needed, &references.chunks, references.sealed_by, number);
                }
            }
            Err(error) if error.is_newer() => report.problems.push(error),
            Err(error) => return Err(error),
        }
    }
    Ok(needed)
}

fn add_needs(
    needed: &mut BTreeMap<PackId, Needed>,
    chunks: &ChunkTable,
    sealed_by: Option<KeyId>,
    number: usize,
) {
    for &(id, location) in chunks.rows() {
        let pack = needed.entry(location.pack).or_default();
        pack.sealed_by = sealed_by;
        pack.chunks.insert((id, location.offset), location);
        if pack.by.last() != Some(&number) {
            pack.by.push(number);
        }
    }
}

fn check_packs(
    repository: &Repository,
    request: &VerifyRequest,
    manifests: &[ListedManifest],
    needed: BTreeMap<PackId, Needed>,
    report: &mut VerifyReport,
    damaged: &mut BTreeSet<usize>,
    context: Context<'_>,
) -> Result<(), Error> {
    let lens: HashMap<PackId, u64> =
        repository.list_packs()?.into_iter().map(|pack| (pack.id, pack.len)).collect();
    let to_read =
        if request.read_data { needed.keys().filter_map(|pack| lens.get(pack)).sum() } else { 0 };
    context.progress.begin(Phase::Verify, needed.len() as u64, to_read);
    for (pack, needed) in needed {
        context.check()?;
        report.packs += 1;
        report.chunks += needed.chunks.len() as u64;
        let len = lens.get(&pack).copied();
        let verdict = packs::check(repository, pack, len, &needed, request, report, context)?;
        if verdict.is_bad {
            report.bad_packs.insert(pack);
        }
        damaged.extend(concerned(repository, manifests, pack, &needed.by, &verdict)?);
        report.problems.extend(verdict.problems);
        context.progress.advance(1, 0);
    }
    Ok(())
}

/// Those manifests that need something of the pack that cannot be restored.
fn concerned(
    repository: &Repository,
    manifests: &[ListedManifest],
    pack: PackId,
    by: &[usize],
    verdict: &Verdict,
) -> Result<Vec<usize>, Error> {
    if verdict.is_lost || verdict.chunks.is_empty() {
        return Ok(if verdict.is_lost { by.to_vec() } else { vec![] });
    }
    let mut concerned = vec![];
    for &number in by {
        // Read again, since what each of thousands needs would not fit in memory.
        let Some((_, references)) = repository.references(&manifests[number])? else { continue };
        let mut rows = references.chunks.rows().iter().filter(|(_, at)| at.pack == pack);
        if rows.any(|(id, at)| verdict.chunks.contains(&(*id, at.offset))) {
            concerned.push(number);
        }
    }
    Ok(concerned)
}
