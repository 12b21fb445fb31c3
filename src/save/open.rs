//! The beginning of a save in the store: what it has that this save can rely on.

use super::SaveRequest;
use crate::error::Error;
use crate::ids::Scope;
use crate::index::near_manifests;
use crate::progress::Context;
use crate::repository::{Access, Repository, StoredManifest};
use crate::reuse::View;

/// Whether the key exists, and counts.
pub(super) fn is_there(access: &Access, request: &SaveRequest) -> Result<bool, Error> {
    match Repository::open(access.clone())? {
        Some(repository) if access.keys.demand_anything() => {
            match repository.manifest(&request.scope, &request.key) {
                Err(Error::Distrusted { .. }) => Ok(false),
                found => Ok(found?.is_some()),
            }
        }
        Some(repository) => repository.has_manifest(&request.scope, &request.key),
        None => Ok(false),
    }
}

/// The other scopes whose manifests tell what the store has: those that the save's
/// own scope believes.
fn fallbacks(request: &SaveRequest) -> Vec<Scope> {
    let believed = request.believed();
    let is_believed = |scope: &&Scope| {
        **scope != request.scope && believed.is_none_or(|trusted| trusted.has(scope))
    };
    request.fallback_scopes.iter().filter(is_believed).cloned().collect()
}

/// A store, and what its manifests tell of the chunks that it has.
pub(super) struct Near {
    /// `None` in a dry run where there is no store.
    pub(super) repository: Option<Repository>,
    /// What the key holds so far.
    pub(super) own: Option<StoredManifest>,
    /// What similar keys hold.
    pub(super) near: Vec<StoredManifest>,
    /// What garbage collection lets a save reuse.
    pub(super) view: View,
}

/// Opens the store, or makes one unless that would change something, and reads
/// the nearest manifests.
pub(super) fn open_and_read_near(
    access: &Access,
    request: &SaveRequest,
    context: Context<'_>,
) -> Result<Near, Error> {
    let (scope, key) = (&request.scope, &request.key);
    let opened = if request.reuse {
        Repository::open_with_manifest(access.clone(), scope, key)?
    } else {
        Repository::open(access.clone())?.map(|repository| (repository, Ok(None)))
    };
    let (repository, own) = match opened {
        Some(found) => found,
        None if request.dry_run => {
            let view = View::default();
            return Ok(Near { repository: None, own: None, near: vec![], view });
        }
        None => (Repository::create(access.clone())?, Ok(None)),
    };
    // After the manifest of the key, which may be what this save relies on.
    let state = repository.gc_state()?.state;
    let (own, near) = if request.reuse {
        near_manifests(&repository, own, (scope, key), &fallbacks(request), context)?
    } else {
        (None, vec![])
    };
    let manifests = own.iter().chain(&near);
    let view = View::look(&repository, manifests, state, request.check_packs, context)?;
    Ok(Near { repository: Some(repository), own, near, view })
}
