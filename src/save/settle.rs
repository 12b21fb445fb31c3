//! What a save owes garbage collection: the rules S1 to S5 of
//! `docs/protocol.md`.
//!
//! Before it reuses anything, it looks what must not be used; after it has
//! published, it looks whether that has changed.

use std::collections::{BTreeSet, HashSet};
use std::sync::Mutex;

use super::SaveRequest;
use crate::budget::FirstError;
use crate::error::Error;
use crate::format::{GcState, Manifest};
use crate::ids::PackId;
use crate::index::IndexView;
use crate::progress::{Context, Warning};
use crate::repository::{Refreshed, Repository, StoredManifest};
use crate::sync::lock;

/// Packs that are asked for at once.
const ASKERS: usize = 8;

/// How garbage collection stood when a save began to reuse.
#[derive(Debug, Default)]
pub(super) struct View {
    pub(super) state: GcState,
    /// Packs that must not be reused: listed in the state, or gone.
    pub(super) avoid: HashSet<PackId>,
}

impl View {
    /// Looks, after the manifest of the save's own key was read (S1), and asks
    /// for the packs of manifests that are too old to vouch for them (S2).
    pub(super) fn look<'a>(
        repository: &Repository,
        manifests: impl IntoIterator<Item = &'a StoredManifest>,
        state: GcState,
        context: Context<'_>,
    ) -> Result<Self, Error> {
        let mut avoid = state.listed();
        let mut doubtful = BTreeSet::new();
        for stored in manifests {
            if !vouches(&stored.manifest, state.epoch) {
                doubtful.extend(stored.manifest.chunks.packs());
            }
        }
        doubtful.retain(|pack| !avoid.contains(pack));
        avoid.extend(missing(repository, doubtful, context)?);
        Ok(Self { state, avoid })
    }

    /// What the index needs to know of it.
    pub(super) fn for_index(&self) -> IndexView {
        let GcState { epoch, table, .. } = self.state;
        IndexView { epoch, table, avoid: self.avoid.clone() }
    }

    /// Whether every pack of a manifest may be used.
    pub(super) fn allows(&self, manifest: &Manifest) -> bool {
        manifest.chunks.packs().iter().all(|pack| !self.avoid.contains(pack))
    }
}

/// Whether what a manifest refers to cannot be doomed at this epoch: a pack is
/// condemned one epoch after the manifest's at the earliest, and doomed after
/// two.
fn vouches(manifest: &Manifest, epoch: u64) -> bool {
    manifest.facts.epoch.saturating_add(1) >= epoch
}

/// Looks again, after the manifest was published (S4): whether nothing that it
/// refers to was condemned, or worse, before it was there.
pub(super) fn is_settled(
    repository: &Repository,
    manifest: &Manifest,
    context: Context<'_>,
) -> Result<bool, Error> {
    let state = repository.gc_state()?.state;
    if state.epoch == manifest.facts.epoch {
        return Ok(true);
    }
    let packs = manifest.chunks.packs();
    if packs.iter().any(|pack| state.is_listed(*pack)) {
        return Ok(false);
    }
    Ok(vouches(manifest, state.epoch) || missing(repository, packs, context)?.is_empty())
}

/// Makes now the time of the last use of a cache that turned out unchanged, if
/// that was long ago. Looked at by the rules as it was, it vouches for its packs
/// at today's epoch. Gives whether the cache is still the one that was looked at.
pub(super) fn refresh(
    repository: &Repository,
    own: &StoredManifest,
    now: &Manifest,
    request: &SaveRequest,
    context: Context<'_>,
) -> bool {
    let today = now.facts.saved;
    if today.since(own.last_used()) < request.refresh_after {
        return true;
    }
    let mut manifest = own.manifest.clone();
    manifest.facts.epoch = now.facts.epoch;
    manifest.facts.saved = today;
    manifest.facts.used = None;
    match repository.replace_manifest(&manifest, &own.version) {
        Ok(Refreshed::Yes) => true,
        // It may be gone, or something else, or was put again without being used.
        Ok(Refreshed::Changed) => false,
        Err(error) => {
            context.progress.warn(Warning::NotRefreshed { error: error.to_string() });
            true
        }
    }
}

/// Those of the packs that are not in the store.
fn missing(
    repository: &Repository,
    packs: impl IntoIterator<Item = PackId>,
    context: Context<'_>,
) -> Result<HashSet<PackId>, Error> {
    let packs: Vec<PackId> = packs.into_iter().collect();
    let askers = ASKERS.min(packs.len());
    let queue = Mutex::new(packs.into_iter());
    let missing = Mutex::new(HashSet::new());
    let failure = FirstError::default();
    std::thread::scope(|threads| {
        for _ in 0..askers {
            threads.spawn(|| {
                while failure.none()
                    && context.check().is_ok()
                    && let Some(pack) = next(&queue)
                {
                    match repository.has_pack(pack) {
                        Ok(true) => {}
                        Ok(false) => {
                            lock(&missing).insert(pack);
                        }
                        Err(error) => failure.set(error),
                    }
                }
            });
        }
    });
    context.check()?;
    failure.into_result()?;
    Ok(std::mem::take(&mut *lock(&missing)))
}

fn next<T>(queue: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    lock(queue).next()
}
