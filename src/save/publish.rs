//! The end of a save in the store: the manifest makes all of it visible at once.

use super::SaveRequest;
use crate::error::Error;
use crate::format::{IndexDelta, Manifest};
use crate::progress::{Context, Warning};
use crate::repository::{Refreshed, Repository, StoredManifest};
use crate::reuse::is_settled;
use crate::store::PutMode;
use crate::threads::beside;
use crate::upload::Uploaded;

/// Makes the cache visible, and tells others of its new chunks. Gives the
/// bytes put, and whether garbage collection left all that it refers to alone.
pub(super) fn publish(
    repository: &Repository,
    manifest: &Manifest,
    uploaded: Uploaded,
    context: Context<'_>,
) -> Result<(u64, bool), Error> {
    let (mut bytes, _) = repository.put_manifest(manifest, PutMode::Overwrite)?;
    let epoch = manifest.facts.epoch;
    // After the manifest: other savers learn only of chunks that a cache has.
    let (delta, settled) = std::thread::scope(|threads| {
        let delta = beside(threads, || match uploaded.chunks.rows() {
            [] => Ok(0),
            _ => repository
                .put_delta(&manifest.scope, &IndexDelta { epoch, chunks: uploaded.chunks }),
        });
        let settled = is_settled(repository, manifest, context);
        (delta.join(), settled)
    });
    bytes += delta?;
    Ok((bytes, settled?))
}

/// Makes now the time of the last use of a cache that turned out unchanged, if
/// that was long ago; gives whether it is the manifest that was read. Looked at by
/// the rules as it was, it vouches for its packs at today's epoch.
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
    // What somebody else has signed stays as it is: the time of the save is in it.
    let is_ours = own.manifest.signed_by == repository.keys().signer();
    let refreshed = if is_ours {
        let mut manifest = own.manifest.clone();
        manifest.facts.epoch = now.facts.epoch;
        manifest.facts.saved = today;
        manifest.facts.used = None;
        repository.replace_manifest(&manifest, &own.version)
    } else {
        repository.refresh(own)
    };
    match refreshed {
        Ok(refreshed) => refreshed == Refreshed::Yes,
        Err(error) => {
            context.progress.warn(Warning::NotRefreshed { error: error.to_string() });
            true
        }
    }
}
