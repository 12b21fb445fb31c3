//! Restore: from a manifest and packs to directories.
//!
//! [`restore`] reads like `docs/architecture.md`: find the manifest, compare
//! it with what is there, stage what is missing beside it, and move that into
//! place once every byte of it was checked. Until then nothing of the target
//! is changed, so a restore that fails or is killed leaves what was there.

mod compare;
mod fetch;
mod finish;
mod names;
mod plan;
mod room;
mod select;
mod stage;
mod target;
mod turn;
mod write;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::format::Anchor;
use crate::ids::{Key, Scope};
pub use crate::index::nearest_keys;
use crate::progress::{Context, Phase, Warning};
use crate::records::Records;
use crate::relpath::RelPath;
use crate::repository::{Access, ListedManifest, REFRESH_AFTER, Repository, StoredManifest};
use crate::store_time::StoreTime;
use crate::threads::beside;
use crate::tier::Tier;
pub use names::same_names;

/// What to restore, and where to.
#[derive(Debug)]
pub struct RestoreRequest {
    /// The namespace of the keys.
    pub scope: Scope,
    /// Other namespaces to look in, in order: for the keys, if the first has none of
    /// them, then for each prefix, if the first has nothing that begins with it.
    pub fallback_scopes: Vec<Scope>,
    /// The keys to look for first, in order.
    pub keys: Vec<Key>,
    /// Prefixes of keys to look for then, in order; of each the newest.
    pub restore_keys: Vec<String>,
    /// Where anchored paths lie.
    pub destination: Destination,
    /// What to restore of the cache; all of it if empty.
    pub paths: Vec<Selection>,
    /// Whether `paths` says where the cache may go, not what it has to hold. It may
    /// have been saved when its paths were others, or by somebody else: what it holds
    /// beside them is left out with a warning.
    pub paths_are_bounds: bool,
    /// Paths whose way the user has named: links above them are the user's own, and
    /// followed. Those in `paths` count as such, unless they are bounds.
    pub trusted: Vec<Selection>,
    /// Remove what the cache does not hold, inside what is restored.
    pub delete_extra: bool,
    /// Restore owners, where they were recorded.
    pub owner: bool,
    /// Restore extended attributes, where they were recorded.
    pub xattrs: bool,
    /// Restore what lets a file act in another's name: set-id and sticky bits, and of
    /// extended attributes those that are not the user's own.
    pub setuid: bool,
    /// How long ago the cache may have been used last before its manifest is
    /// put again, so that its age counts from now.
    pub refresh_after: Duration,
    /// Where stat records lie, if they are to be used.
    pub records: Option<Records>,
    /// Chunks kept on this machine, if they are to be used.
    pub tier: Option<Arc<Tier>>,
}

impl RestoreRequest {
    /// A restore of all that the first of the keys holds, as `larder restore`
    /// does it unless told otherwise, but without stat records.
    pub fn new(scope: Scope, keys: Vec<Key>, destination: Destination) -> Self {
        Self {
            scope,
            fallback_scopes: vec![],
            keys,
            restore_keys: vec![],
            destination,
            paths: vec![],
            paths_are_bounds: false,
            trusted: vec![],
            delete_extra: false,
            owner: false,
            xattrs: false,
            setuid: false,
            refresh_after: REFRESH_AFTER,
            records: None,
            tier: None,
        }
    }

    /// The namespaces to look in, in order.
    fn scopes(&self) -> Vec<&Scope> {
        scopes(&self.scope, &self.fallback_scopes)
    }
}

/// A scope and those to look in then, each once.
pub fn scopes<'a>(own: &'a Scope, fallbacks: &'a [Scope]) -> Vec<&'a Scope> {
    let mut scopes = vec![own];
    for scope in fallbacks {
        if !scopes.contains(&scope) {
            scopes.push(scope);
        }
    }
    scopes
}

/// Where a cache's paths lie on this machine.
#[derive(Clone, Debug)]
pub enum Destination {
    /// Where they were saved from, as far as it exists here.
    Original {
        /// The working directory.
        working_directory: PathBuf,
        /// The user's home directory, if there is one.
        home: Option<PathBuf>,
    },
    /// All below one directory, which is made if it is absent.
    Below(PathBuf),
}

/// A part of a cache.
#[derive(Clone, Debug)]
pub struct Selection {
    /// What `path` is relative to.
    pub anchor: Anchor,
    /// The path: a mount, something in one, or a directory that holds mounts.
    pub path: RelPath,
    /// The path as the user gave it, for messages.
    pub given: PathBuf,
}

/// How a key was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Hit {
    /// The key itself.
    Exact,
    /// The newest key with one of the prefixes.
    Prefix,
    /// Nothing.
    #[default]
    Miss,
}

/// What a restore did.
#[derive(Debug, Default)]
pub struct RestoreReport {
    /// How the key was found.
    pub hit: Hit,
    /// The key that was found.
    pub key: Option<Key>,
    /// The scope that it was found in.
    pub scope: Option<Scope>,
    /// Regular files restored or found in place, hard links included.
    pub files: u64,
    /// Those of them that were in place, with the right contents.
    pub files_unchanged: u64,
    /// Files whose contents were read to find that out; for all others the
    /// stat record was enough.
    pub files_compared: u64,
    /// Bytes of all files, holes included, hard links counted once.
    pub raw_bytes: u64,
    /// Bytes of the files that were in place, counted as `raw_bytes` are.
    pub unchanged_bytes: u64,
    /// Stored bytes of all chunks of the cache, whatever part of it was wanted.
    pub stored_bytes: u64,
    /// Bytes fetched from packs.
    pub fetched_bytes: u64,
    /// Stored bytes taken from the local tier.
    pub local_cache_bytes: u64,
    /// Entries removed because the cache does not hold them.
    pub removed: u64,
}

/// A key that was found.
#[derive(Debug)]
pub struct Found {
    /// How.
    pub hit: Hit,
    /// What the key holds.
    pub stored: StoredManifest,
}

/// Finds the first manifest for keys in any of the scopes or, in order, for prefixes
/// of keys: of each, the newest of the first scope that has one.
///
/// A key that is found in another scope goes before a prefix in the first: it is what
/// was asked for, and what a prefix finds is some other state.
///
/// # Errors
/// Those of the store; [`Error::Damaged`] if the manifest cannot be read.
pub fn find(
    repository: &Repository,
    scopes: &[&Scope],
    keys: &[Key],
    restore_keys: &[String],
    context: Context<'_>,
) -> Result<Option<Found>, Error> {
    for (scope, key) in scopes.iter().flat_map(|scope| keys.iter().map(move |key| (scope, key))) {
        if let Some(stored) = trusted(repository.manifest(scope, key), context)? {
            return Ok(Some(Found { hit: Hit::Exact, stored }));
        }
    }
    find_by_prefix(repository, scopes, restore_keys, context)
}

fn find_by_prefix(
    repository: &Repository,
    scopes: &[&Scope],
    restore_keys: &[String],
    context: Context<'_>,
) -> Result<Option<Found>, Error> {
    for prefix in restore_keys {
        for scope in scopes {
            let listed = repository.list_manifests(scope, prefix)?;
            if let Some(stored) = newest(repository, listed, context)? {
                return Ok(Some(Found { hit: Hit::Prefix, stored }));
            }
        }
    }
    Ok(None)
}

/// Of these, the one that was saved last.
///
/// A listing tells when a manifest was last put, which is when it was saved or
/// used. None was saved later than that: so the first in that order is the one,
/// unless another was saved after it that was not used since.
fn newest(
    repository: &Repository,
    listed: Vec<ListedManifest>,
    context: Context<'_>,
) -> Result<Option<StoredManifest>, Error> {
    let mut newest: Option<StoredManifest> = None;
    let mut read = 0;
    for listed in newest_first(listed).into_iter().take(MAX_OPENED) {
        let put = StoreTime::from(listed.modified);
        let cannot_be_newer = |stored: &StoredManifest| {
            read >= MAX_READ || put <= stored.manifest.facts.saved.after(SAME_TIME)
        };
        if newest.as_ref().is_some_and(cannot_be_newer) {
            break;
        }
        // It may have been deleted since it was listed.
        let found = repository.manifest(&listed.scope, &listed.key);
        let Some(stored) = trusted(found, context)? else { continue };
        read += 1;
        let saved = |stored: &StoredManifest| stored.manifest.facts.saved;
        if newest.as_ref().is_none_or(|newest| saved(&stored) > saved(newest)) {
            newest = Some(stored);
        }
    }
    Ok(newest)
}

/// What is not trusted, or cannot be opened, counts as not there; why is a warning.
fn trusted(
    found: Result<Option<StoredManifest>, Error>,
    context: Context<'_>,
) -> Result<Option<StoredManifest>, Error> {
    match found {
        Err(error @ Error::Distrusted { .. }) => {
            context.progress.warn(Warning::Distrusted { error: error.to_string() });
            Ok(None)
        }
        found => found,
    }
}

/// Manifests looked at for a prefix: somebody who is not trusted may have put any number
/// before the one that is looked for.
const MAX_OPENED: usize = 100;

/// Manifests read to find the newest for a prefix.
const MAX_READ: u32 = 4;

/// Between the time that a save writes down and the one that the store gives
/// its manifest: a request, and the grain of the store's clock.
const SAME_TIME: Duration = Duration::from_secs(2);

/// Opens the store and finds the manifest; `None` if there is no store.
fn open_and_find(
    access: Access,
    request: &RestoreRequest,
    context: Context<'_>,
) -> Result<Option<(Repository, Option<Found>)>, Error> {
    let RestoreRequest { scope, keys, restore_keys, .. } = request;
    let scopes = request.scopes();
    let Some((first, others)) = keys.split_first() else {
        let Some(repository) = Repository::open(access)? else { return Ok(None) };
        let found = find(&repository, &scopes, keys, restore_keys, context)?;
        return Ok(Some((repository, found)));
    };
    let opened = Repository::open_with_manifest(access, scope, first)?;
    let Some((repository, manifest)) = opened else { return Ok(None) };
    if let Some(stored) = trusted(manifest, context)? {
        return Ok(Some((repository, Some(Found { hit: Hit::Exact, stored }))));
    }
    // The first key is not asked for twice.
    let found = match find(&repository, &scopes[..1], others, &[], context)? {
        None => find(&repository, &scopes[1..], keys, &[], context)?,
        found => found,
    };
    let found = match found {
        None => find_by_prefix(&repository, &scopes, restore_keys, context)?,
        found => found,
    };
    Ok(Some((repository, found)))
}

/// Manifests by the time they were put; of two with the same time, the one
/// whose key sorts last.
pub fn newest_first(mut manifests: Vec<ListedManifest>) -> Vec<ListedManifest> {
    manifests.sort_by(|a, b| (b.modified, &b.key).cmp(&(a.modified, &a.key)));
    manifests
}

/// Restores directories from the cache under a key.
///
/// # Errors
/// [`Error`] says what failed. Unless it failed while moving finished files
/// into place, the target is as it was.
pub fn restore(
    access: impl Into<Access>,
    request: &RestoreRequest,
    context: Context<'_>,
) -> Result<RestoreReport, Error> {
    let Some((repository, Some(found))) = open_and_find(access.into(), request, context)? else {
        return Ok(RestoreReport::default());
    };
    // A cache that is used is kept: that is told while it is being restored.
    std::thread::scope(|threads| {
        beside(threads, || refresh(&repository, &found.stored, request, context));
        bring_back(&repository, &found, request, context)
    })
}

/// Makes now the time of the cache's last use, if that was long ago; in whatever scope
/// it was found, for a cache that only jobs of other scopes use is used. Whoever may
/// only read cannot, and need not.
fn refresh(
    repository: &Repository,
    stored: &StoredManifest,
    request: &RestoreRequest,
    context: Context<'_>,
) {
    let refreshed = repository.store().now().map_err(Error::from).and_then(|now| {
        if StoreTime::from(now).since(stored.last_used()) < request.refresh_after {
            return Ok(());
        }
        repository.refresh(stored).map(drop)
    });
    match refreshed {
        Ok(()) => {}
        Err(Error::Store(error)) if error.is_denied() => {}
        Err(error) => context.progress.warn(Warning::NotRefreshed { error: error.to_string() }),
    }
}

/// Makes the directories what the cache holds.
fn bring_back(
    repository: &Repository,
    found: &Found,
    request: &RestoreRequest,
    context: Context<'_>,
) -> Result<RestoreReport, Error> {
    let manifest = &found.stored.manifest;
    let (tree, complete) = select::select(manifest, request, context)?;
    let mut targets = target::resolve(&tree, request)?;
    let _turn = turn::wait_for(&targets, request, context)?;
    targets.iter_mut().try_for_each(target::Target::look)?;

    context.progress.begin(Phase::Compare, 0, 0);
    let sealing = repository.sealing(manifest);
    let comparison =
        compare::compare(manifest, &tree, &complete, &targets, &sealing, request, context)?;
    context.check()?;

    let mut report = RestoreReport {
        hit: found.hit,
        key: Some(manifest.key.clone()),
        scope: Some(manifest.scope.clone()),
        files: tree.file_count(),
        files_unchanged: comparison.files_unchanged(&tree),
        files_compared: comparison.files_compared,
        raw_bytes: tree.raw_bytes(),
        unchanged_bytes: comparison.bytes_unchanged(&tree),
        stored_bytes: manifest.stored_bytes(),
        ..RestoreReport::default()
    };
    let stage = stage::Stage::prepare(&tree, &targets, &comparison)?;
    let written = fetch::fetch(repository, manifest, &tree, &comparison, &stage, request, context)?;
    if let Some(error) = request.tier.as_ref().and_then(|tier| tier.settle()) {
        context.progress.warn(Warning::NotKept { error: error.to_string() });
    }
    report.fetched_bytes = written.fetched_bytes;
    report.local_cache_bytes = written.local_cache_bytes;
    report.files_unchanged += written.same.len() as u64;
    let same = written.same.iter().map(|&file| tree.size(file));
    report.unchanged_bytes = same.fold(report.unchanged_bytes, u64::saturating_add);
    context.check()?;
    let finish = finish::Finish {
        tree: &tree,
        targets: &targets,
        comparison: &comparison,
        stage,
        written,
        manifest,
        request,
        context,
    };
    report.removed = finish.run()?;
    Ok(report)
}
