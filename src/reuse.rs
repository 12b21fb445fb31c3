//! What savers owe garbage collection: the rules S1 to S5 of
//! `docs/protocol.md`.
//!
//! Before one reuses anything, it looks what must not be used; after it has
//! published, it looks whether that has changed.

use std::collections::{BTreeSet, HashSet};

use crate::error::Error;
use crate::format::{GcState, Manifest};
use crate::ids::PackId;
use crate::index::IndexView;
use crate::progress::Context;
use crate::repository::{Repository, StoredManifest};
use crate::trust::TrustedScopes;
use crate::workers;

/// Packs that are asked for at once.
const ASKERS: usize = 8;

/// How garbage collection stood when a save began to reuse.
#[derive(Debug, Default)]
pub(crate) struct View {
    pub(crate) state: GcState,
    /// Packs that must not be reused: listed in the state, or gone.
    pub(crate) avoid: HashSet<PackId>,
}

impl View {
    /// Looks, after the manifest of the save's own key was read (S1), and asks
    /// for the packs of manifests that are too old to vouch for them (S2), or of
    /// all, if something else than a flush may have deleted packs.
    pub(crate) fn look<'a>(
        repository: &Repository,
        manifests: impl IntoIterator<Item = &'a StoredManifest>,
        state: GcState,
        ask_for_all: bool,
        context: Context<'_>,
    ) -> Result<Self, Error> {
        let mut avoid = state.listed();
        let mut doubtful = BTreeSet::new();
        for stored in manifests {
            if ask_for_all || !vouches(&stored.manifest, state.epoch) {
                doubtful.extend(stored.manifest.chunks.packs());
            }
        }
        doubtful.retain(|pack| !avoid.contains(pack));
        avoid.extend(missing(repository, doubtful, context)?);
        Ok(Self { state, avoid })
    }

    /// What the index needs to know of it, and of whom the save believes.
    pub(crate) fn for_index(
        &self,
        trusted: Option<&TrustedScopes>,
        signed_only: bool,
    ) -> IndexView {
        let GcState { epoch, table, .. } = self.state;
        let (avoid, trusted) = (self.avoid.clone(), trusted.cloned());
        IndexView { epoch, table, avoid, trusted, signed_only }
    }

    /// Whether what the key has is what is to be saved, and may be relied on (S5).
    pub(crate) fn finds_unchanged(&self, own: &Manifest, manifest: &Manifest) -> bool {
        own.facts.lifetime == manifest.facts.lifetime
            && own.same_contents(manifest)
            && own.chunks.packs().iter().all(|pack| !self.avoid.contains(pack))
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
pub(crate) fn is_settled(
    repository: &Repository,
    manifest: &Manifest,
    context: Context<'_>,
) -> Result<bool, Error> {
    is_settled_by(&repository.gc_state()?.state, repository, manifest, context)
}

/// The same, by a state that was read after the manifest was published.
pub(crate) fn is_settled_by(
    state: &GcState,
    repository: &Repository,
    manifest: &Manifest,
    context: Context<'_>,
) -> Result<bool, Error> {
    // A flush that judged an older manifest of this key deletes that version
    // only. Some services compare versions first and delete a moment later.
    if state.claim.is_some() && !repository.has_manifest(&manifest.scope, &manifest.key)? {
        return Ok(false);
    }
    if state.epoch == manifest.facts.epoch {
        return Ok(true);
    }
    let packs = manifest.chunks.packs();
    if packs.iter().any(|pack| state.is_listed(*pack)) {
        return Ok(false);
    }
    Ok(vouches(manifest, state.epoch) || missing(repository, packs, context)?.is_empty())
}

/// Those of the packs that are not in the store.
pub(crate) fn missing(
    repository: &Repository,
    packs: impl IntoIterator<Item = PackId>,
    context: Context<'_>,
) -> Result<HashSet<PackId>, Error> {
    let packs = packs.into_iter().collect();
    let asked = workers::try_map(ASKERS, packs, context, |pack| {
        let is_there = repository.has_pack(pack)?;
        Ok((!is_there).then_some(pack))
    })?;
    Ok(asked.into_iter().flatten().collect())
}
