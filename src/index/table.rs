//! Looking chunks up in an index table.
//!
//! The filter tells of a hook that it is absent, or else where its row would be.
//! A row that is there names a pack; the pack's footer tells of all its chunks,
//! and with them of the neighbours that the table does not list. So what is read
//! beside the filter is a few rows for each pack that is found, and its footer,
//! which is paid back by chunks that need not be uploaded; and for one in a
//! hundred of absent hooks some rows in vain.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::{KnownChunks, READERS, objects, warn};
use crate::error::Error;
use crate::format::{IdPrefix, IndexFilter, IndexRow};
use crate::ids::{ChunkId, PackId, TableId};
use crate::progress::Context;
use crate::repository::Repository;
use crate::sync::lock;
use crate::workers;

/// Bytes of a table that one save reads, filter and rows.
const MAX_BYTES: u64 = 2_000_000;

/// Packs whose footers one save reads. At 32 MiB each, they hold 128 GiB.
const MAX_PACKS: usize = 4096;

/// Rows of a table that is read whole at the first need: 128 KiB cost less than a
/// second request.
const SMALL_TABLE: u32 = 4096;

/// Rows that are read in between for the sake of one request instead of two.
const GAP: u32 = 64;

/// Hooks that are looked up first. One is enough to find a pack, and some packs
/// hold all that is looked for.
const FIRST_WAVE: usize = 8;

/// Chunks that are looked up together at most: they hold half of what a save may
/// have in memory.
const MAX_BATCH: usize = 256;

/// Hooks that should be among them.
const HOOKS_IN_BATCH: usize = 16;

/// A table of which the filter was read.
#[derive(Debug)]
pub(super) struct Table {
    id: TableId,
    filter: IndexFilter,
}

impl Table {
    /// Reads a table's filter, and tells how many bytes that were; `None` if it
    /// is gone.
    pub(super) fn open(repository: &Repository, id: TableId) -> Result<Option<(Self, u64)>, Error> {
        let found = objects::read_filter(repository, id)?;
        Ok(found.map(|(filter, len)| (Self { id, filter }, len)))
    }

    /// Whether this chunk would be listed, and is not.
    pub(super) fn rules_out(&self, id: &ChunkId) -> bool {
        self.filter.is_hook(id) && self.filter.rows_for(id).is_empty()
    }

    fn is_small(&self) -> bool {
        self.filter.rows() <= SMALL_TABLE
    }

    /// How many unknown chunks should be looked up together.
    pub(super) fn batch(&self) -> usize {
        match self.filter.sample_bits() {
            0 => 1,
            bits => (HOOKS_IN_BATCH << bits.min(16)).min(MAX_BATCH),
        }
    }
}

/// What the lookups of one save have done so far.
#[derive(Debug, Default)]
pub(super) struct Search {
    bytes_read: u64,
    /// Packs whose footers were read, or could not be.
    tried: HashSet<PackId>,
    /// All rows of a small table.
    whole: Option<Vec<IndexRow>>,
}

impl Search {
    /// Counts what was read otherwise.
    pub(super) fn has_read(&mut self, bytes: u64) {
        self.bytes_read += bytes;
    }

    /// Has `known` learn about these chunks, as far as the table has them.
    /// `false` if the table is of no further use.
    pub(super) fn find(
        &mut self,
        table: &Table,
        ids: &[ChunkId],
        known: &KnownChunks,
        repository: &Repository,
        context: Context<'_>,
    ) -> Result<bool, Error> {
        let is_listed = |id: &&ChunkId| !table.filter.rows_for(id).is_empty();
        let mut hooks: Vec<&ChunkId> = ids.iter().filter(is_listed).collect();
        let mut wave = if table.is_small() { hooks.len() } else { FIRST_WAVE };
        loop {
            hooks.retain(|id| known.location(id).is_none());
            if hooks.is_empty() || context.check().is_err() {
                return Ok(true);
            }
            if !known.has_room() || self.tried.len() >= MAX_PACKS {
                return Ok(false);
            }
            let asked = take_spread(&mut hooks, wave);
            let Some(rows) = self.rows(table, &asked, repository)? else {
                return Ok(false);
            };
            self.learn_packs(&rows, known, repository, context)?;
            wave *= 2;
        }
    }

    /// The rows of these hooks, of which the table may lack some; `None` if the
    /// table is gone, or too much of it was read already.
    fn rows(
        &mut self,
        table: &Table,
        ids: &[&ChunkId],
        repository: &Repository,
    ) -> Result<Option<Vec<IndexRow>>, Error> {
        if !table.is_small() {
            let runs = join(ids.iter().map(|id| table.filter.rows_for(id)).collect());
            let wanted: HashSet<IdPrefix> = ids.iter().map(|id| IdPrefix::of(id)).collect();
            let read = self.read(table, runs, repository)?;
            return Ok(read.map(|mut rows| {
                rows.retain(|row| wanted.contains(&row.chunk));
                rows
            }));
        }
        if self.whole.is_none() {
            let all = std::iter::once(0..table.filter.rows()).collect();
            self.whole = self.read(table, all, repository)?;
        }
        Ok(self.whole.as_ref().map(|whole| {
            let rows_of = |id: &&ChunkId| {
                let Range { start, end } = table.filter.rows_for(id);
                let chunk = IdPrefix::of(id);
                whole[start as usize..end as usize].iter().filter(move |row| row.chunk == chunk)
            };
            ids.iter().flat_map(rows_of).cloned().collect()
        }))
    }

    /// Reads runs of rows, in no order.
    fn read(
        &mut self,
        table: &Table,
        runs: Vec<Range<u32>>,
        repository: &Repository,
    ) -> Result<Option<Vec<IndexRow>>, Error> {
        let rows: u64 = runs.iter().map(|run| run.len() as u64).sum();
        self.bytes_read += rows * IndexRow::LEN as u64;
        if self.bytes_read > MAX_BYTES {
            return Ok(None);
        }
        let read = Mutex::new(Ok(Some(vec![])));
        workers::for_each(READERS, runs, |run| {
            let rows = objects::read_rows(repository, table.id, &table.filter, run);
            let mut read = lock(&read);
            match (&mut *read, rows) {
                (Ok(Some(all)), Ok(Some(rows))) => all.extend(rows),
                (Ok(Some(_)), other) => *read = other,
                // The first failure counts.
                _ => {}
            }
        });
        read.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has `known` learn what these packs hold. Packs that are damaged or gone,
    /// or that must be avoided, are left out.
    fn learn_packs(
        &mut self,
        rows: &[IndexRow],
        known: &KnownChunks,
        repository: &Repository,
        context: Context<'_>,
    ) -> Result<(), Error> {
        let mut packs = vec![];
        for IndexRow { pack, pack_len, .. } in rows {
            let is_of_use = !known.view.avoid.contains(pack);
            if is_of_use && self.tried.len() < MAX_PACKS && self.tried.insert(*pack) {
                packs.push((*pack, *pack_len));
            }
        }
        let failure = Mutex::new(None);
        workers::for_each(READERS, packs, |(pack, len)| {
            if !known.has_room() || context.check().is_err() {
                return;
            }
            match objects::read_footer(repository, pack, len) {
                Ok(Some(chunks)) => known.learn(chunks),
                Ok(None) => {}
                Err(error) if error.is_unreadable() => warn(context, &error),
                Err(error) => *lock(&failure) = Some(error),
            }
        });
        let failure = failure.into_inner().unwrap_or_else(PoisonError::into_inner);
        failure.map_or(Ok(()), Err)
    }
}

/// Takes out so many of these, evenly spread: chunks that were saved together lie
/// in one pack, and any of them finds it.
fn take_spread<T: Copy>(from: &mut Vec<T>, count: usize) -> Vec<T> {
    let step = from.len().div_ceil(count).max(1);
    let taken = from.iter().step_by(step).copied().collect();
    let mut number = 0;
    from.retain(|_| {
        number += 1;
        (number - 1) % step != 0
    });
    taken
}

/// Joins runs with little or nothing between them.
fn join(mut runs: Vec<Range<u32>>) -> Vec<Range<u32>> {
    runs.sort_unstable_by_key(|run| run.start);
    let mut joined: Vec<Range<u32>> = vec![];
    for run in runs {
        match joined.last_mut() {
            Some(last) if run.start <= last.end.saturating_add(GAP) => {
                last.end = last.end.max(run.end);
            }
            _ => joined.push(run),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::super::{IndexView, Presence, TableBuilder};
    use super::*;
    use crate::format::{Layout, Location, PackBuilder};
    use crate::progress::NoProgress;
    use crate::store::{Call, MemoryStore, Operation, PutMode, Store};

    #[test]
    fn runs_are_joined_over_gaps() {
        let joined = join(vec![500..503, 0..2, 66..70, 1..4, 500..501, 200..201]);
        assert_eq!(joined, [0..70, 200..201, 500..503]);
    }

    #[test]
    fn waves_are_spread_and_take_all_in_the_end() {
        let mut rest: Vec<u32> = (0..20).collect();
        assert_eq!(take_spread(&mut rest, 4), [0, 5, 10, 15]);
        assert_eq!(rest.len(), 16);
        assert_eq!(take_spread(&mut rest, 16).len(), 16);
        assert!(rest.is_empty() && take_spread(&mut rest, 3).is_empty());
    }

    /// The chunk of a number, as good as a hash.
    fn chunk(number: u64) -> ChunkId {
        let mut bytes = [0; 32];
        for (word, at) in bytes.chunks_exact_mut(8).zip(0u64..) {
            let mut z = (number * 4 + at + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word.copy_from_slice(&(z ^ (z >> 31)).to_le_bytes());
        }
        ChunkId::from_bytes(bytes)
    }

    /// A store with a table of so many chunks, of which the first `packed` lie in
    /// packs of so many that are really there.
    fn store_of(chunks: u64, packed: u64, in_pack: u64) -> (Arc<MemoryStore>, Repository, TableId) {
        store_with(TableBuilder::default(), chunks, packed, in_pack)
    }

    fn store_with(
        mut builder: TableBuilder,
        chunks: u64,
        packed: u64,
        in_pack: u64,
    ) -> (Arc<MemoryStore>, Repository, TableId) {
        let store = Arc::new(MemoryStore::new());
        let repository = Repository::create(store.clone()).unwrap();
        for first in (0..packed).step_by(in_pack as usize) {
            let mut pack = PackBuilder::new(PackId::generate(), 0);
            let id = pack.id();
            for number in first..first + in_pack {
                pack.push(chunk(number), b"x", 2);
            }
            store.put(&Layout::pack(id), pack.finish().into(), PutMode::Create).unwrap();
        }
        let lens = builder.add_all_packs(&repository);
        for number in packed..chunks {
            let pack = u128::from(number / 200).to_be_bytes();
            builder.add(chunk(number), PackId::from_bytes(pack));
        }
        assert!(builder.rows() <= IndexFilter::MAX_ROWS);
        let len = |pack| Some(lens.get(&pack).copied().unwrap_or(32 << 20));
        let table = builder.write(&repository, len).unwrap();
        store.take_calls();
        (store, repository, table)
    }

    /// What a save that meets these chunks learns, looking them up in batches.
    fn look_up(
        repository: &Repository,
        table: TableId,
        numbers: Range<u64>,
    ) -> (KnownChunks, usize) {
        let view = IndexView { table: Some(table), ..IndexView::default() };
        let known = KnownChunks::of([], view);
        let stop = AtomicBool::new(false);
        let context = Context { progress: &NoProgress, stop: &stop };
        known.load(Some(repository), context);
        let ids: Vec<ChunkId> = numbers.map(chunk).collect();
        let (mut unknown, mut present) = (vec![], 0);
        for (number, id) in ids.iter().enumerate() {
            unknown.push(*id);
            let mut decide = || {
                unknown.retain(|id| {
                    let presence = known.presence(id, 2);
                    present += usize::from(presence == Presence::Present);
                    presence == Presence::Unknown
                });
                unknown.clone()
            };
            let left = decide();
            let is_last = number + 1 == ids.len();
            if is_last || left.len() >= known.batch() {
                known.look_up(&left, is_last, repository, context);
                decide();
            }
        }
        assert!(unknown.is_empty());
        (known, present)
    }

    /// Requests and bytes of the gets of objects whose keys begin like this.
    fn cost(calls: &[Call], prefix: &str) -> (usize, u64) {
        let of =
            |call: &&Call| call.operation == Operation::Get && call.objects[0].starts_with(prefix);
        let bytes = calls.iter().filter(of).map(|call| call.bytes);
        (bytes.clone().count(), bytes.sum())
    }

    /// What a saver may read where there are ten million chunks: 2 MB, beyond
    /// what is paid back by chunks that are found.
    #[test]
    fn ten_million_chunks() {
        let (store, repository, table) = store_of(10_000_000, 5_000, 500);
        let (_, found) = look_up(&repository, table, 20_000_000..20_005_000);
        let calls = store.take_calls();
        let (requests, bytes) = cost(&calls, "index/");
        assert_eq!((found, cost(&calls, "packs/")), (0, (0, 0)));
        assert!(bytes <= 1_000_000 && requests <= 30, "{requests} requests, {bytes} bytes");

        let (known, found) = look_up(&repository, table, 0..5_000);
        let calls = store.take_calls();
        let (requests, bytes) = cost(&calls, "index/");
        let footers = cost(&calls, "packs/");
        assert_eq!((found, footers.0), (5_000, 10));
        assert!(bytes <= 1_000_000 && requests <= 200, "{requests} requests, {bytes} bytes");
        assert!(footers.1 <= 5_000 * 42, "some 40 bytes a chunk: {footers:?}");
        assert!(known.batch() > 1, "not all are in the table");
    }

    /// Where one chunk in sixteen is listed, packs are found that begin at the end
    /// of what is looked up together.
    #[test]
    fn neighbours_are_found_across_batches() {
        let builder = TableBuilder::sampling_by(4);
        let (store, repository, table) = store_with(builder, 5_000, 5_000, 250);
        let (_, found) = look_up(&repository, table, 0..5_000);
        assert_eq!(found, 5_000);
        assert_eq!(cost(&store.take_calls(), "packs/").0, 20);
    }

    /// Past each of the bounds, nothing more is asked for, and chunks are absent.
    #[test]
    fn searches_end_at_their_bounds() {
        let (store, repository, table) = store_of(8_000, 1_000, 500);
        let check = |prepare: &dyn Fn(&KnownChunks)| {
            let view = IndexView { table: Some(table), ..IndexView::default() };
            let known = KnownChunks::of([], view);
            let stop = AtomicBool::new(false);
            let context = Context { progress: &NoProgress, stop: &stop };
            known.load(Some(&repository), context);
            store.take_calls();
            prepare(&known);
            assert_eq!(known.presence(&chunk(0), 2), Presence::Unknown);
            known.look_up(&[chunk(0)], false, &repository, context);
            let presence = [0, 1, 9_000].map(|number| known.presence(&chunk(number), 2));
            (presence, store.take_calls().len())
        };
        use Presence::{Absent, Present};
        assert_eq!(check(&|_| {}), ([Present, Present, Absent], 2));
        let none = ([Absent; 3], 0);
        assert_eq!(check(&|known| lock(&known.search).has_read(MAX_BYTES)), none);
        let tried = || (0..MAX_PACKS).map(|_| PackId::generate());
        assert_eq!(check(&|known| lock(&known.search).tried.extend(tried())), none);
        let pack = PackId::generate();
        let at = Location { pack, offset: 8, stored_len: 1, raw_len: 1 };
        let full = |known: &KnownChunks| known.learn((10_000..700_000).map(|id| (chunk(id), at)));
        assert_eq!(check(&full), none);
    }
}
