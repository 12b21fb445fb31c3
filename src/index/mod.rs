//! "Does the store have this chunk?", answered with few requests.
//!
//! Three steps, each only for what the one before left unknown:
//!
//! 1. the manifests nearest to the save, read before it starts ([`near`]);
//! 2. the index deltas of the saves since the last flush but one, read once a
//!    chunk turns up that those do not know ([`deltas`]);
//! 3. the index table of the last flush, of which a filter is read whole, and
//!    beyond that only what leads to packs with chunks that are looked for
//!    ([`table`]).
//!
//! A saver that believes some scopes only ([`IndexView::trusted`]) reads the
//! manifests and deltas of these, and no table: nobody can tell who vouches for what
//! a table says, which a flush has made of everybody's packs. One that requires
//! signatures ([`IndexView::signed_only`]) goes by manifests alone.
//!
//! What none of them tells of is taken for absent. All reading is bounded: past
//! the bound, a chunk that is there may be uploaded again, which costs space and
//! nothing else.

mod build;
mod deltas;
mod near;
mod objects;
mod table;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex};

use crate::error::Error;
use crate::format::Location;
use crate::ids::{ChunkId, PackId, Scope, TableId};
use crate::progress::{Context, Warning};
use crate::repository::{Repository, StoredManifest};
use crate::sync::lock;
use crate::threads::{Beside, beside};
use crate::trust::TrustedScopes;

pub(crate) use build::TableBuilder;
pub(crate) use near::near_manifests;
pub use near::nearest_keys;
use table::{Search, Table};

/// Chunks learned from deltas and packs: as many as a hash table of 34 MB holds,
/// so that growing to it from one of half the size never takes 64 MB.
const MAX_LEARNED: usize = 450_000;

/// Of a batch of chunks, one in so many is looked up again with the next: a pack
/// with chunks in both is found by either part then.
const CARRIED: usize = 4;

/// Threads that read parts of the index: each waits for its requests one by one.
const READERS: usize = 8;

/// What the state of garbage collection says of the index.
#[derive(Clone, Debug, Default)]
pub(crate) struct IndexView {
    /// The store's epoch.
    pub(crate) epoch: u64,
    /// The index table that counts.
    pub(crate) table: Option<TableId>,
    /// Packs that must not be relied on: they are condemned or doomed.
    pub(crate) avoid: HashSet<PackId>,
    /// The only scopes whose saves are believed; `None`: those of all.
    pub(crate) trusted: Option<TrustedScopes>,
    /// Whether deltas do not count: they are not signed.
    pub(crate) signed_only: bool,
}

impl IndexView {
    /// Whether what a save in this scope told of counts.
    fn believes(&self, scope: &Scope) -> bool {
        self.trusted.as_ref().is_none_or(|trusted| trusted.has(scope))
    }
}

/// What a saver knows of the store's chunks.
#[derive(Default)]
pub(crate) struct KnownChunks {
    view: IndexView,
    near: HashMap<ChunkId, Location>,
    index: Mutex<Index>,
    /// Held by the one who reads the index.
    search: Mutex<Search>,
}

/// What was read of the index.
#[derive(Default)]
struct Index {
    /// Whether deltas and filter were read.
    is_loaded: bool,
    learned: HashMap<ChunkId, Location>,
    table: Option<Arc<Table>>,
    /// Chunks that were looked for and not found, and whether a worker has taken
    /// it on to upload them.
    absent: HashMap<ChunkId, bool>,
}

/// What is known of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Presence {
    /// The store has it.
    Present,
    /// It must be looked up.
    Unknown,
    /// The store does not have it, as far as a bounded search can tell.
    Absent,
}

impl KnownChunks {
    /// Knows the chunks of these manifests, as far as their scopes are believed.
    pub(crate) fn of<'a>(
        manifests: impl IntoIterator<Item = &'a StoredManifest>,
        view: IndexView,
    ) -> Self {
        let manifests = manifests.into_iter().map(|stored| &stored.manifest);
        let believed = manifests.filter(|manifest| view.believes(&manifest.scope));
        let rows = believed.flat_map(|manifest| manifest.chunks.rows().iter().copied());
        let near = rows.filter(|(_, at)| !view.avoid.contains(&at.pack)).collect();
        Self { view, near, ..Self::default() }
    }

    /// Knows no chunks, and will not look for any.
    pub(crate) fn nothing() -> Self {
        let index = Index { is_loaded: true, ..Index::default() };
        Self { index: Mutex::new(index), ..Self::default() }
    }

    /// Whether the store has a chunk, whose raw length is known. What says that it has one
    /// of another length lies, and what it says of the place may be no better.
    pub(crate) fn presence(&self, id: &ChunkId, raw_len: u32) -> Presence {
        match self.location(id) {
            Some(at) if at.raw_len == raw_len => Presence::Present,
            Some(_) => Presence::Absent,
            None => lock(&self.index).presence(id),
        }
    }

    /// Where a present chunk lies.
    pub(crate) fn location(&self, id: &ChunkId) -> Option<Location> {
        self.near.get(id).copied().or_else(|| lock(&self.index).learned.get(id).copied())
    }

    /// Whether the caller is the first to upload this absent chunk.
    pub(crate) fn claim(&self, id: ChunkId) -> bool {
        lock(&self.index).absent.insert(id, true) != Some(true)
    }

    /// Whether no manifest tells of anything, so that the index will be needed.
    pub(crate) fn needs_index(&self) -> bool {
        self.near.is_empty() && !self.is_loaded()
    }

    pub(crate) fn is_loaded(&self) -> bool {
        lock(&self.index).is_loaded
    }

    /// How many unknown chunks should be looked up together. A table that lists
    /// only some chunks finds the others by their neighbours, and so wants many
    /// of them.
    pub(crate) fn batch(&self) -> usize {
        lock(&self.index).table.as_ref().map_or(1, |table| table.batch())
    }

    /// Reads the deltas and the table's filter, as far as the bounds allow; of no
    /// repository, nothing. What cannot be read is left out with a warning.
    pub(crate) fn load(&self, repository: Option<&Repository>, context: Context<'_>) {
        let mut search = lock(&self.search);
        if self.is_loaded() {
            return;
        }
        let table = repository.and_then(|repository| self.read(repository, &mut search, context));
        let mut index = lock(&self.index);
        index.table = table;
        index.is_loaded = true;
    }

    fn read(
        &self,
        repository: &Repository,
        search: &mut Search,
        context: Context<'_>,
    ) -> Option<Arc<Table>> {
        let table = std::thread::scope(|threads| {
            let is_believed = self.view.trusted.is_none() && !self.view.signed_only;
            let table = self.view.table.filter(|_| is_believed);
            let reader = table.map(|id| beside(threads, move || Table::open(repository, id)));
            if !self.view.signed_only {
                deltas::read(self, repository, context);
            }
            reader.map(Beside::join)
        });
        match table? {
            Ok(found) => {
                let (table, len) = found?;
                search.has_read(len);
                Some(Arc::new(table))
            }
            Err(error) => {
                warn(context, &error);
                None
            }
        }
    }

    /// Looks these chunks up, after [`KnownChunks::load`]. Others of the same
    /// packs may be known then, too. Unless these are the `last` to be looked up
    /// for now, some at the end may stay unknown: the next may be their neighbours.
    pub(crate) fn look_up(
        &self,
        ids: &[ChunkId],
        last: bool,
        repository: &Repository,
        context: Context<'_>,
    ) {
        let mut search = lock(&self.search);
        let Some(table) = lock(&self.index).table.clone() else {
            return;
        };
        let is_of_use =
            search.find(&table, ids, self, repository, context).unwrap_or_else(|error| {
                warn(context, &error);
                false
            });
        let mut index = lock(&self.index);
        if is_of_use {
            let carried = if last { 0 } else { table.batch() / CARRIED };
            let settled = ids.len().saturating_sub(carried);
            let unknown =
                ids[..settled].iter().filter(|id| index.presence(id) == Presence::Unknown);
            let absent: Vec<_> = unknown.map(|id| (*id, false)).collect();
            index.absent.extend(absent);
        } else {
            index.table = None;
        }
    }

    /// Remembers where chunks lie, as far as there is room.
    pub(crate) fn learn(&self, rows: impl IntoIterator<Item = (ChunkId, Location)>) {
        let index = &mut *lock(&self.index);
        for (id, at) in rows {
            if index.learned.len() >= MAX_LEARNED {
                return;
            }
            if !self.view.avoid.contains(&at.pack) {
                index.learned.entry(id).or_insert(at);
            }
        }
    }

    fn has_room(&self) -> bool {
        lock(&self.index).learned.len() < MAX_LEARNED
    }
}

impl Index {
    fn presence(&self, id: &ChunkId) -> Presence {
        if self.learned.contains_key(id) {
            return Presence::Present;
        }
        let rules_out = match &self.table {
            Some(table) => table.rules_out(id),
            None => self.is_loaded,
        };
        if rules_out || self.absent.contains_key(id) { Presence::Absent } else { Presence::Unknown }
    }
}

impl fmt::Debug for KnownChunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KnownChunks").field("near", &self.near.len()).finish_non_exhaustive()
    }
}

fn warn(context: Context<'_>, error: &Error) {
    context.progress.warn(Warning::IgnoredDamage { error: error.to_string() });
}
