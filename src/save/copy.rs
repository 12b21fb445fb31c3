//! Copy: what one key holds, under another key, without reading or putting data.
//!
//! A copy is a save whose every chunk is in the store already, and keeps the
//! rules of one: it looks before it relies on packs, and looks again after its
//! manifest is there.

use super::MAX_ROUNDS;
use crate::error::Error;
use crate::format::{Annotation, Lifetime, Manifest, ManifestFacts};
use crate::ids::{Key, Scope};
use crate::progress::{Context, Warning};
use crate::repository::{Access, REFRESH_AFTER, Repository, StoredManifest};
use crate::reuse::{View, is_settled};
use crate::store::{PutMode, Version};
use crate::store_time::StoreTime;

/// What to copy.
#[derive(Clone, Debug)]
pub struct CopyRequest {
    /// The namespace of both keys.
    pub scope: Scope,
    /// The key that is there.
    pub from: Key,
    /// The state of its manifest, if no other is meant.
    pub version: Option<Version>,
    /// The key that is to hold the same.
    pub to: Key,
    /// Copy even if the other key holds something, which is then replaced.
    pub replace: bool,
    /// How long the copy is to live.
    pub lifetime: Lifetime,
}

/// What became of a copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Copied {
    /// The other key now holds the same; so many bytes were put for that.
    Yes {
        /// Bytes of the manifest.
        uploaded_bytes: u64,
    },
    /// The other key held something already, and still does.
    AlreadyThere,
    /// There is nothing to copy, or it is about to be collected as garbage.
    NothingThere,
}

/// Copies a cache to another key, and counts that as a use of it.
///
/// # Errors
/// [`Error`] says what failed; the other key then holds what it held before, or
/// the copy, of which nobody has looked whether it outlived a flush: as after a save
/// that died.
pub fn copy(
    access: impl Into<Access>,
    request: &CopyRequest,
    context: Context<'_>,
) -> Result<Copied, Error> {
    let access = access.into();
    if request.from == request.to {
        let found = find_whole(access, &request.scope, &request.from, context)?;
        return Ok(found.map_or(Copied::NothingThere, |_| Copied::AlreadyThere));
    }
    let mut put = None;
    let copied =
        (0..MAX_ROUNDS).find_map(|_| copy_once(&access, request, &mut put, context).transpose());
    let copied = copied.unwrap_or(Err(Error::SaveOvertaken(MAX_ROUNDS)));
    // A look has said that it may be garbage soon. Where none could be had, it stays:
    // somebody may have found it good meanwhile.
    let is_unsettled = matches!(copied, Ok(Copied::NothingThere) | Err(Error::SaveOvertaken(_)));
    if let Some((repository, version)) = put.filter(|_| is_unsettled)
        && let Err(error) = repository.take_back(&request.scope, &request.to, &version)
    {
        context.progress.warn(Warning::NotDeleted { error: error.to_string() });
    }
    copied
}

/// One round of a copy; `None` if garbage collection overtook it.
fn copy_once(
    access: &Access,
    request: &CopyRequest,
    put: &mut Option<(Repository, Version)>,
    context: Context<'_>,
) -> Result<Option<Copied>, Error> {
    context.check()?;
    let CopyRequest { scope, from, to, .. } = request;
    let found = reliable(access, scope, from, context)?;
    let is_meant = |source: &StoredManifest| {
        request.version.as_ref().is_none_or(|version| source.version == *version)
    };
    let Some((repository, source, epoch)) = found.filter(|(_, source, _)| is_meant(source)) else {
        return Ok(Some(Copied::NothingThere));
    };
    let manifest = Manifest {
        key: to.clone(),
        facts: ManifestFacts {
            epoch,
            saved: StoreTime::from(repository.store().now()?),
            used: None,
            lifetime: request.lifetime,
            moves: 0,
        },
        // It is of another key.
        annotation: Annotation::default(),
        ..source.manifest.clone()
    };
    let mode = match put {
        _ if request.replace => PutMode::Overwrite,
        None => PutMode::Create,
        // That of the round before.
        Some((_, version)) => PutMode::IfMatch(version.clone()),
    };
    let (uploaded_bytes, version) = match repository.put_manifest(&manifest, mode) {
        Err(Error::Store(error)) if error.is_conflict() => {
            // The own one of the round before is gone: another round puts it anew.
            return Ok(put.take().is_none().then_some(Copied::AlreadyThere));
        }
        published => published?,
    };
    *put = Some((repository.clone(), version));
    if !is_settled(&repository, &manifest, context)? {
        return Ok(None);
    }
    if manifest.facts.saved.since(source.last_used()) >= REFRESH_AFTER
        && let Err(error) = repository.refresh(&source)
    {
        context.progress.warn(Warning::NotRefreshed { error: error.to_string() });
    }
    Ok(Some(Copied::Yes { uploaded_bytes }))
}

/// The manifest of a key, if every pack that it needs is there, and none is about
/// to be collected as garbage: a restore will find all of it.
///
/// # Errors
/// Those of the store; [`Error::Damaged`] if the manifest cannot be read.
pub fn find_whole(
    access: impl Into<Access>,
    scope: &Scope,
    key: &Key,
    context: Context<'_>,
) -> Result<Option<StoredManifest>, Error> {
    Ok(reliable(&access.into(), scope, key, context)?.map(|(_, found, _)| found))
}

/// The same, with the store, and the epoch at which that is so (S1, S2).
fn reliable(
    access: &Access,
    scope: &Scope,
    key: &Key,
    context: Context<'_>,
) -> Result<Option<(Repository, StoredManifest, u64)>, Error> {
    let opened = Repository::open_with_manifest(access.clone(), scope, key)?;
    let Some((repository, found)) = opened else { return Ok(None) };
    let found = match found {
        Err(Error::Distrusted { .. }) => None,
        found => found?,
    };
    // Who signs a copy says that the contents are its own: so they have to be.
    let is_vouched_for = |found: &StoredManifest| {
        repository.keys().signing().is_none()
            || found.manifest.signed_by.is_some_and(|by| repository.keys().accepts(&by))
    };
    let Some(found) = found.filter(is_vouched_for) else { return Ok(None) };
    // After the manifest, which is all that is relied on.
    let state = repository.gc_state()?.state;
    // All packs are asked for: nobody is at hand who could save them again.
    let view = View::look(&repository, [&found], state, true, context)?;
    let packs = found.manifest.chunks.packs();
    let is_whole = packs.iter().all(|pack| !view.avoid.contains(pack));
    Ok(is_whole.then_some((repository, found, view.state.epoch)))
}
