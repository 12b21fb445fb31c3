//! "Does the store have this chunk?", answered with few requests.
//!
//! Three steps, each only for what the one before left unknown: the manifests
//! nearest to the save, read before it starts; the index deltas, read once a
//! chunk turns up that those do not know; and then the chunk is taken for
//! absent. Reading is bounded: past the bound, a chunk that is there may be
//! uploaded again, which costs space and nothing else.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, OnceLock};

use crate::error::Error;
use crate::format::Location;
use crate::ids::{ChunkId, Key, Scope};
use crate::progress::{Context, Warning};
use crate::repository::{ListedManifest, Repository, StoredManifest};
use crate::sync::lock;

/// Manifests read beside that of the key itself.
const NEAR_MANIFESTS: usize = 1;

/// Keys of a scope that are looked through for near ones: three pages.
const MAX_LISTED: usize = 3000;

/// Chunks taken from the index deltas: about 64 MiB of memory.
const MAX_INDEX_CHUNKS: usize = 700_000;

/// Bytes of index deltas that are read, newest first.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// Threads that read index deltas: each waits for its requests one by one.
const INDEX_READERS: usize = 8;

/// What a saver knows of the store's chunks.
#[derive(Default)]
pub(crate) struct KnownChunks {
    near: HashMap<ChunkId, Location>,
    index: OnceLock<HashMap<ChunkId, Location>>,
    /// New chunks that a worker has taken on.
    claimed: Mutex<HashSet<ChunkId>>,
}

/// What is known of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Presence {
    /// The store has it.
    Present,
    /// The index must be loaded first.
    Unknown,
    /// The store does not have it, as far as a bounded search can tell.
    Absent,
}

impl KnownChunks {
    /// Knows the chunks of these manifests.
    pub(crate) fn of<'a>(manifests: impl IntoIterator<Item = &'a StoredManifest>) -> Self {
        let tables = manifests.into_iter().map(|stored| &stored.manifest.chunks);
        let near = tables.flat_map(|table| table.rows().iter().copied()).collect();
        Self { near, ..Self::default() }
    }

    /// Knows no chunks, and will not look for any.
    pub(crate) fn nothing() -> Self {
        Self { index: OnceLock::from(HashMap::new()), ..Self::default() }
    }

    pub(crate) fn presence(&self, id: &ChunkId) -> Presence {
        if self.near.contains_key(id) {
            return Presence::Present;
        }
        match self.index.get() {
            None => Presence::Unknown,
            Some(index) if index.contains_key(id) => Presence::Present,
            Some(_) => Presence::Absent,
        }
    }

    /// Where a present chunk lies.
    pub(crate) fn location(&self, id: &ChunkId) -> Option<Location> {
        self.near.get(id).or_else(|| self.index.get()?.get(id)).copied()
    }

    /// Whether the caller is the first to upload this absent chunk.
    pub(crate) fn claim(&self, id: ChunkId) -> bool {
        lock(&self.claimed).insert(id)
    }

    /// Knows that there is no index: there is no store yet.
    pub(crate) fn load_nothing(&self) {
        self.index.get_or_init(HashMap::new);
    }

    /// Reads the index deltas, newest first, as far as the bounds allow. What
    /// cannot be read is left out with a warning.
    pub(crate) fn load_index(&self, repository: &Repository, context: Context<'_>) {
        self.index.get_or_init(|| {
            read_deltas(repository, context).unwrap_or_else(|error| {
                context.progress.warn(Warning::IgnoredDamage { error: error.to_string() });
                HashMap::new()
            })
        });
    }
}

impl fmt::Debug for KnownChunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownChunks").field("near", &self.near.len()).finish_non_exhaustive()
    }
}

fn read_deltas(
    repository: &Repository,
    context: Context<'_>,
) -> Result<HashMap<ChunkId, Location>, Error> {
    let mut deltas = repository.list_deltas()?;
    // Their names are ULIDs: the last in order are the newest.
    deltas.reverse();
    let mut bytes = 0;
    deltas.retain(|delta| {
        bytes += delta.len;
        bytes <= MAX_INDEX_BYTES
    });
    let known = Mutex::new(HashMap::new());
    let queue = Mutex::new(deltas.into_iter());
    std::thread::scope(|scope| {
        for _ in 0..INDEX_READERS {
            scope.spawn(|| {
                while let Some(object) = next(&queue) {
                    if lock(&known).len() >= MAX_INDEX_CHUNKS || context.check().is_err() {
                        break;
                    }
                    match repository.delta(&object.key) {
                        Ok(Some(delta)) => lock(&known).extend(delta.chunks.rows().iter().copied()),
                        // Deleted meanwhile.
                        Ok(None) => {}
                        Err(error) => {
                            let error = error.to_string();
                            context.progress.warn(Warning::IgnoredDamage { error });
                        }
                    }
                }
            });
        }
    });
    Ok(known.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner))
}

fn next<T>(queue: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    lock(queue).next()
}

/// The manifests that a save under `key` most likely shares chunks with: its
/// own, if there is one, else those of the scope whose keys have the most in
/// common with it, and of these the newest. A damaged one is left out with a
/// warning.
pub(crate) fn near_manifests(
    repository: &Repository,
    own: Result<Option<StoredManifest>, Error>,
    scope: &Scope,
    key: &Key,
    context: Context<'_>,
) -> Result<(Option<StoredManifest>, Vec<StoredManifest>), Error> {
    match own {
        Ok(Some(own)) => return Ok((Some(own), vec![])),
        Ok(None) => {}
        Err(error) if error.is_damage() => warn(context, &error),
        Err(error) => return Err(error),
    }
    let mut candidates = repository.list_some_manifests(scope, MAX_LISTED)?;
    candidates.retain(|found| found.key != *key);
    candidates.sort_by_key(|found| std::cmp::Reverse(nearness(found, key)));
    let mut near = vec![];
    for found in candidates.into_iter().take(NEAR_MANIFESTS) {
        match repository.manifest(scope, &found.key) {
            Ok(stored) => near.extend(stored),
            Err(error) if error.is_damage() => warn(context, &error),
            Err(error) => return Err(error),
        }
    }
    Ok((None, near))
}

fn warn(context: Context<'_>, error: &Error) {
    context.progress.warn(Warning::IgnoredDamage { error: error.to_string() });
}

/// Keys are usually `<what>-<system>-<hash>`: what two have in common up to
/// a separator tells whether they are for the same thing; a hash that begins
/// with the same digits does not.
fn nearness(found: &ListedManifest, key: &Key) -> (usize, std::time::SystemTime) {
    let (a, b) = (found.key.as_str().as_bytes(), key.as_str().as_bytes());
    let common = a.iter().zip(b).take_while(|(x, y)| x == y).count();
    let shared = &a[..common];
    let to_separator = shared.iter().rposition(|byte| !byte.is_ascii_alphanumeric());
    (to_separator.map_or(0, |at| at + 1), found.modified)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    #[test]
    fn nearness_goes_by_separators_then_by_age() {
        let found = |key: &str, age| ListedManifest {
            scope: "s".parse().unwrap(),
            key: key.parse().unwrap(),
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(age),
            len: 1,
            version: crate::store::Version::new("1"),
            object: crate::format::Layout::marker(),
        };
        let key: Key = "npm-linux-77aa".parse().unwrap();
        let mut all =
            [found("pip-linux-77aa", 9), found("npm-linux-77ff", 1), found("npm-linux-0000", 2)];
        all.sort_by_key(|found| std::cmp::Reverse(nearness(found, &key)));
        let keys: Vec<_> = all.iter().map(|found| found.key.as_str()).collect();
        assert_eq!(keys, ["npm-linux-0000", "npm-linux-77ff", "pip-linux-77aa"]);
    }
}
