//! Upload: stores the packages that were built of a commit.

use std::path::Path;

use larder::error::Error;
use larder::files::{self, WalkOptions, WalkSource};
use larder::format::{Anchor, Lifetime};
use larder::ids::Key;
use larder::relpath::RelPath;
use larder::save::{Copied, CopyRequest, SaveReport, SaveRequest, copy, save};

use super::packages::Packages;
use super::plain::Facts;
use super::{Assets, AssetsFailure, CODE_HASH, COMMIT_HASH, FOUND, artifacts, cache};

/// What hidden files match, which are no packages.
const HIDDEN: &str = ".*";

/// What an upload stored.
#[derive(Debug)]
pub(crate) struct UploadReport {
    pub(crate) commit: String,
    /// The hash of the sources, if the check left one.
    pub(crate) code_hash: Option<String>,
    /// The key of the packages.
    pub(crate) key: Key,
    pub(crate) saved: SaveReport,
    /// Plain objects that were written.
    pub(crate) plain_objects: u64,
    /// Why the packages are not there for other commits of the same sources, if they
    /// were to be.
    pub(crate) not_cached: Option<String>,
}

/// Whether a check found the packages of the commit: then there is nothing to do.
pub(crate) fn is_found(packages: &Path) -> bool {
    packages.join(FOUND).exists()
}

/// Stores the packages under the commit, and under their code hash if they have
/// one. The commit's manifest comes after all that it stands for.
///
/// # Errors
/// [`AssetsFailure`]; the commit then has the packages that it had before, and some
/// of its plain objects may be new.
pub(crate) fn upload(assets: &Assets<'_>) -> Result<UploadReport, AssetsFailure> {
    let packages = Packages::find(assets.packages).map_err(Error::from)?;
    if packages.all.is_empty() {
        return Err(AssetsFailure::NoPackages(assets.packages.to_owned()));
    }
    let commit = assets
        .left(COMMIT_HASH)
        .ok_or_else(|| AssetsFailure::NoCommitHash(assets.packages.join(COMMIT_HASH)))?;
    let code_hash = assets.left(CODE_HASH);
    let key = artifacts(&commit);
    let second = code_hash.as_deref().map(cache);
    let facts = Facts { commit: &commit, code: code_hash.as_deref() };
    let mut plain_objects = 0;
    if let Some(plain) = &assets.plain {
        let names = (&key, second.as_ref());
        plain_objects =
            plain.put_all(&packages.all, &packages.root, names, facts, assets.context)?;
    }
    let request = request(assets, &packages, key.clone());
    let saved = save(assets.access.clone(), &request, assets.context)?;
    let not_cached = match &second {
        Some(second) => also_under(assets, &key, second)?,
        None => None,
    };
    Ok(UploadReport { commit, code_hash, key, saved, plain_objects, not_cached })
}

fn request(assets: &Assets<'_>, packages: &Packages, key: Key) -> SaveRequest {
    let source = WalkSource {
        anchor: Anchor::WorkingDirectory,
        path: RelPath::default(),
        location: packages.root.clone(),
    };
    let exclude = files::excludes([HIDDEN]).expect("the glob is sound");
    SaveRequest {
        walk: WalkOptions { exclude: Some(exclude), ..WalkOptions::default() },
        // Packages of a commit may be deployed years later.
        lifetime: Lifetime::Pinned,
        check_packs: true,
        trusted_scopes: assets.trusted_scopes.clone(),
        ..SaveRequest::new(assets.scope.clone(), key, vec![source])
    }
}

/// Keeps the packages for other commits of the same sources. That is a cache: if it
/// cannot be had, this is why, and no failure.
fn also_under(
    assets: &Assets<'_>,
    key: &Key,
    second: &Key,
) -> Result<Option<String>, AssetsFailure> {
    let request = CopyRequest {
        scope: assets.scope.clone(),
        from: key.clone(),
        version: None,
        to: second.clone(),
        replace: true,
        lifetime: Lifetime::ByPolicy,
    };
    match copy(assets.access.clone(), &request, assets.context) {
        Ok(Copied::Yes { .. }) => Ok(None),
        Ok(_) => Ok(Some("a flush has overtaken the upload".to_owned())),
        Err(Error::Interrupted) => Err(Error::Interrupted.into()),
        Err(error) => Ok(Some(error.to_string())),
    }
}
