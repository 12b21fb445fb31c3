//! "Does the store have this chunk?", answered with few requests.
//!
//! Three steps, each only for what the one before left unknown: the manifests
//! nearest to the save, read before it starts; the index deltas, read once a
//! chunk turns up that those do not know; and then the chunk is taken for
//! absent. Reading is bounded: past the bound, a chunk that is there may be
//! uploaded again, which costs space and nothing else.

#[allow(dead_code, reason = "a flush builds tables, and there is none yet")]
mod build;
mod near;
#[allow(dead_code, reason = "a flush builds tables, and there is none yet")]
mod objects;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, OnceLock};

use crate::error::Error;
use crate::format::Location;
use crate::ids::{ChunkId, PackId, TableId};
use crate::progress::{Context, Warning};
use crate::repository::{Repository, StoredManifest};
use crate::sync::lock;

#[allow(unused_imports, reason = "a flush builds tables, and there is none yet")]
pub(crate) use build::TableBuilder;
pub(crate) use near::near_manifests;

/// Chunks taken from the index deltas: about 64 MiB of memory.
const MAX_INDEX_CHUNKS: usize = 700_000;

/// Bytes of index deltas that are read, newest first.
const MAX_INDEX_BYTES: u64 = 64 << 20;

/// Threads that read index deltas: each waits for its requests one by one.
const INDEX_READERS: usize = 8;

/// What the state of garbage collection says of the index.
#[derive(Clone, Debug, Default)]
pub(crate) struct IndexView {
    /// The store's epoch.
    pub(crate) epoch: u64,
    /// The index table that counts.
    pub(crate) table: Option<TableId>,
    /// Packs that must not be relied on: they are condemned or doomed.
    pub(crate) avoid: HashSet<PackId>,
}

/// What a saver knows of the store's chunks.
#[derive(Default)]
pub(crate) struct KnownChunks {
    view: IndexView,
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
    pub(crate) fn of<'a>(
        manifests: impl IntoIterator<Item = &'a StoredManifest>,
        view: IndexView,
    ) -> Self {
        let tables = manifests.into_iter().map(|stored| &stored.manifest.chunks);
        let rows = tables.flat_map(|table| table.rows().iter().copied());
        let near = rows.filter(|(_, at)| !view.avoid.contains(&at.pack)).collect();
        Self { near, view, ..Self::default() }
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
            let mut index = read_deltas(repository, &self.view, context).unwrap_or_else(|error| {
                context.progress.warn(Warning::IgnoredDamage { error: error.to_string() });
                HashMap::new()
            });
            index.retain(|_, at| !self.view.avoid.contains(&at.pack));
            index
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
    view: &IndexView,
    context: Context<'_>,
) -> Result<HashMap<ChunkId, Location>, Error> {
    // What older ones tell of may be doomed by now, or gone: no list would say so.
    let mut deltas = repository.list_deltas(view.epoch.saturating_sub(1))?;
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
                    match repository.delta(&object) {
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
