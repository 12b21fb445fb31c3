//! Check: whether packages are stored that need not be built again.

use std::path::Path;

use larder::error::Error;
use larder::files::FileError;
use larder::format::{Kind, Lifetime, Tree};
use larder::ids::Key;
use larder::progress::Warning;
use larder::restore::{Destination, Hit, RestoreRequest, restore};
use larder::save::{Copied, CopyRequest, copy, find_whole};
use larder::store::Version;

use super::plain::Facts;
use super::{
    Assets, AssetsFailure, CODE_HASH, COMMIT_HASH, FOUND, Package, Sources, Step, artifacts, cache,
    prepare_directory,
};
use crate::git::head;

/// What a check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// The packages of the commit.
    Commit,
    /// Packages of the same sources, which are the commit's from now on.
    Code,
    /// Nothing: they have to be built.
    Nothing,
}

/// What a check learnt and did.
#[derive(Debug)]
pub(crate) struct CheckReport {
    pub(crate) commit: String,
    /// The hash of the sources, if it was needed.
    pub(crate) code_hash: Option<String>,
    pub(crate) found: Found,
    /// Plain objects that were missing, and are there now.
    pub(crate) plain_objects: u64,
}

/// Looks for the packages of the commit, and then for those of the same sources.
/// Leaves for the steps after it what it learnt.
///
/// # Errors
/// [`AssetsFailure`]; packages that cannot be had whole are none, and no error.
pub(crate) fn check(
    assets: &Assets<'_>,
    repository: &Path,
    sources: Option<&Sources>,
) -> Result<CheckReport, AssetsFailure> {
    if !repository.is_dir() {
        return Err(AssetsFailure::NoRepository(repository.to_owned()));
    }
    prepare_directory(assets.packages).map_err(|error| {
        let path = assets.packages.to_owned();
        AssetsFailure::NoPackageDirectory { step: Step::Check, path, error }
    })?;
    let commit = head(repository)
        .map_err(|why| AssetsFailure::Repository { path: repository.to_owned(), why })?;
    assets.leave(COMMIT_HASH, &commit)?;
    let mut report =
        CheckReport { commit, code_hash: None, found: Found::Nothing, plain_objects: 0 };
    if find_by_commit(assets, &mut report)?
        || find_by_code(assets, repository, sources, &mut report)?
    {
        assets.leave(FOUND, "")?;
    }
    Ok(report)
}

fn find_by_commit(assets: &Assets<'_>, report: &mut CheckReport) -> Result<bool, AssetsFailure> {
    let key = artifacts(&report.commit);
    let Some((packages, _)) = assets.stored(&key)? else { return Ok(false) };
    let facts = Facts { commit: &report.commit, code: None };
    let Some(written) = assets.complete(&packages, &key, &key, facts)? else { return Ok(false) };
    (report.found, report.plain_objects) = (Found::Commit, written);
    Ok(true)
}

fn find_by_code(
    assets: &Assets<'_>,
    repository: &Path,
    sources: Option<&Sources>,
    report: &mut CheckReport,
) -> Result<bool, AssetsFailure> {
    let Some(sources) = sources else { return Ok(false) };
    let Some(code) = sources.hash(repository, assets.context)? else { return Ok(false) };
    assets.leave(CODE_HASH, &code)?;
    let (key, from) = (artifacts(&report.commit), cache(&code));
    report.code_hash = Some(code.clone());
    let Some((packages, version)) = assets.stored(&from)? else { return Ok(false) };
    // Before the manifest: what that names is complete.
    let facts = Facts { commit: &report.commit, code: Some(&code) };
    let Some(written) = assets.complete(&packages, &key, &from, facts)? else { return Ok(false) };
    let mut request = CopyRequest {
        scope: assets.scope.clone(),
        from,
        version: Some(version),
        to: key,
        // Somebody else may have built them in this moment: those stay.
        replace: false,
        lifetime: Lifetime::Pinned,
    };
    let mut copied = copy(assets.access.clone(), &request, assets.context)?;
    if copied == Copied::AlreadyThere {
        if find_by_commit(assets, report)? {
            return Ok(true);
        }
        // It is there, and cannot be had: that is why it was looked for by code.
        request.replace = true;
        copied = copy(assets.access.clone(), &request, assets.context)?;
    }
    let Copied::Yes { .. } = copied else { return Ok(false) };
    (report.found, report.plain_objects) = (Found::Code, written);
    Ok(true)
}

impl Assets<'_> {
    /// The packages under a key, if all of them can be had, and the state of their
    /// manifest. What is damaged is told, and counts as absent.
    fn stored(&self, key: &Key) -> Result<Option<(Vec<Package>, Version)>, AssetsFailure> {
        match find_whole(self.access.clone(), self.scope, key, self.context) {
            Ok(found) => Ok(found.map(|found| (packages_in(&found.manifest.tree), found.version))),
            Err(error) if error.is_unreadable() => {
                self.context.progress.warn(Warning::IgnoredDamage { error: error.to_string() });
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Sees to it that packages are plain objects under a key's name, if that is
    /// wanted: copies them from under another key's, and brings from the store what
    /// is not there either. Gives the number of objects written; `None` if the
    /// store has lost them meanwhile.
    fn complete(
        &self,
        packages: &[Package],
        key: &Key,
        from: &Key,
        facts: Facts<'_>,
    ) -> Result<Option<u64>, AssetsFailure> {
        let Some(plain) = &self.plain else { return Ok(Some(0)) };
        let other = (from != key).then_some(from);
        let (copied, lacking) = plain.copy_missing(packages, key, other, self.context)?;
        if lacking.is_empty() {
            return Ok(Some(copied));
        }
        let directory = tempfile::tempdir().map_err(|error| {
            Error::from(FileError::new("make a directory in", std::env::temp_dir(), error))
        })?;
        let below = Destination::Below(directory.path().to_owned());
        let request = RestoreRequest::new(self.scope.clone(), vec![from.clone()], below);
        match restore(self.access.clone(), &request, self.context) {
            Ok(report) if report.hit == Hit::Miss => return Ok(None),
            Err(error) if error.is_unreadable() => {
                self.context.progress.warn(Warning::IgnoredDamage { error: error.to_string() });
                return Ok(None);
            }
            restored => restored?,
        };
        let lacking: Vec<Package> = lacking.into_iter().cloned().collect();
        let put = plain.put_all(&lacking, directory.path(), (key, None), facts, self.context)?;
        Ok(Some(copied + put))
    }
}

/// The files of a tree. Links are none: an upload resolves them.
fn packages_in(tree: &Tree) -> Vec<Package> {
    let package = |index| length(tree, index).map(|len| Package { path: tree.path(index), len });
    tree.indexes().filter_map(package).collect()
}

/// The length of a file; `None` for what is none.
fn length(tree: &Tree, index: u32) -> Option<u64> {
    match tree.entry(index).kind {
        Kind::File(file) => Some(file.size),
        Kind::HardLink { first } => length(tree, first),
        Kind::Directory | Kind::Symlink => None,
    }
}
