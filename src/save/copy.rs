//! Copy: what one key holds, under another key, without reading or putting data.
//!
//! A copy is a save whose every chunk is in the store already, and keeps the
//! rules of one: it looks before it relies on packs, and looks again after its
//! manifest is there.

use std::sync::Arc;

use super::MAX_ROUNDS;
use super::settle::{View, is_settled};
use crate::error::Error;
use crate::format::{Lifetime, Manifest, ManifestFacts};
use crate::ids::{Key, Scope};
use crate::progress::Context;
use crate::repository::{Refreshed, Repository, StoredManifest};
use crate::store::{Store, Version};
use crate::store_time::StoreTime;

/// What to copy.
#[derive(Clone, Debug)]
pub struct CopyRequest {
    /// The namespace of both keys.
    pub scope: Scope,
    /// The key that is there.
    pub from: Key,
    /// The key that is to hold the same; what it held is replaced.
    pub to: Key,
    /// How long the copy is to live.
    pub lifetime: Lifetime,
}

/// What a copy did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyReport {
    /// Regular files, hard links included.
    pub files: u64,
    /// Bytes of all files, holes included, hard links counted once.
    pub raw_bytes: u64,
    /// Bytes put into the store: the manifest's.
    pub uploaded_bytes: u64,
}

/// Copies a cache to another key, and counts that as a use of it. `None` if it is
/// not there, or about to be collected as garbage.
///
/// # Errors
/// [`Error`] says what failed; the other key then holds what it held before, or
/// the copy.
#[expect(clippy::needless_pass_by_value, reason = "save, restore and flush take it so, too")]
pub fn copy(
    store: Arc<dyn Store>,
    request: &CopyRequest,
    context: Context<'_>,
) -> Result<Option<CopyReport>, Error> {
    let CopyRequest { scope, from, to, .. } = request;
    let mut put: Option<Version> = None;
    for _ in 0..MAX_ROUNDS {
        context.check()?;
        let opened = Repository::open_with_manifest(Arc::clone(&store), scope, from)?;
        let Some((repository, source)) = opened else { return Ok(None) };
        let usable = match source? {
            Some(source) => reliable(&repository, source, context)?,
            None => None,
        };
        let Some((source, epoch)) = usable else {
            if let Some(version) = put {
                repository.take_back(scope, to, &version)?;
            }
            return Ok(None);
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
            ..source.manifest.clone()
        };
        let (uploaded_bytes, version) = repository.put_manifest(&manifest)?;
        if is_settled(&repository, &manifest, context)? {
            // Removed or saved anew meanwhile: then it needs no refreshing.
            let _: Refreshed = repository.refresh(&source)?;
            let tree = &manifest.tree;
            let (files, raw_bytes) = (tree.file_count(), tree.raw_bytes());
            return Ok(Some(CopyReport { files, raw_bytes, uploaded_bytes }));
        }
        put = Some(version);
    }
    Err(Error::SaveOvertaken(MAX_ROUNDS))
}

/// The manifest, if all of its packs may be relied on (S1, S2), and at which
/// epoch.
fn reliable(
    repository: &Repository,
    source: StoredManifest,
    context: Context<'_>,
) -> Result<Option<(StoredManifest, u64)>, Error> {
    // After the manifest, which is all that this save relies on.
    let state = repository.gc_state()?.state;
    // Nobody is at hand who could save it again if a pack were gone.
    let view = View::look(repository, [&source], state, true, context)?;
    let packs = source.manifest.chunks.packs();
    let is_reliable = packs.iter().all(|pack| !view.avoid.contains(pack));
    Ok(is_reliable.then_some((source, view.state.epoch)))
}
