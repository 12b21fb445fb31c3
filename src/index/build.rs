//! Building an index table: what a flush does for the savers after it.
//!
//! A table is built from the one before and from what the flush has read of new
//! packs. Memory is bounded by the number of rows that a table may have: when it
//! is reached, fewer chunks are hooks from then on, and the others' rows go.

use std::collections::HashMap;

use super::objects;
use crate::error::Error;
use crate::format::{FormatError, IdPrefix, IndexFilter, IndexRow, IndexTableWriter, Layout};
use crate::ids::{ChunkId, PackId, TableId};
use crate::progress::{Context, Warning};
use crate::repository::Repository;

/// Rows of the table before that are read at once: a megabyte.
const ROWS_AT_ONCE: u32 = 1 << 15;

/// A table in the making.
#[derive(Debug, Default)]
pub(crate) struct TableBuilder {
    sample_bits: u8,
    /// For each hook the number of a pack that holds it: a full table takes
    /// 36 MB like that.
    rows: HashMap<IdPrefix, u32>,
    packs: Packs,
    lost: bool,
}

/// Packs that rows refer to by number.
#[derive(Debug, Default)]
struct Packs {
    list: Vec<PackId>,
    numbers: HashMap<PackId, u32>,
}

impl Packs {
    fn number(&mut self, pack: PackId) -> u32 {
        *self.numbers.entry(pack).or_insert_with(|| {
            self.list.push(pack);
            u32::try_from(self.list.len() - 1).expect("no more packs than rows")
        })
    }
}

impl TableBuilder {
    /// Begins with the rows of the table before.
    ///
    /// A table that cannot be read is left out with a warning: then
    /// [`TableBuilder::is_whole`] says so, and whoever wants a whole index has to add
    /// everything anew.
    ///
    /// # Errors
    /// Those of the store's service, and the wish to stop.
    pub(crate) fn from_table(
        repository: &Repository,
        table: Option<TableId>,
        context: Context<'_>,
    ) -> Result<Self, Error> {
        let Some(table) = table else {
            return Ok(Self::default());
        };
        match Self::read(repository, table, context) {
            Err(error) if error.is_damage() => {
                context.progress.warn(Warning::IgnoredDamage { error: error.to_string() });
                Ok(Self { lost: true, ..Self::default() })
            }
            result => result,
        }
    }

    /// Looks whether a table can be begun with, as far as its filter tells.
    ///
    /// # Errors
    /// [`Error::Damaged`] if not.
    pub(crate) fn look(repository: &Repository, table: TableId) -> Result<(), Error> {
        objects::read_filter(repository, table).map(drop)
    }

    fn read(repository: &Repository, table: TableId, context: Context<'_>) -> Result<Self, Error> {
        let gone = |object| {
            let source = FormatError::Inconsistent("it is not there, but the store names it");
            Error::Damaged { object, source }
        };
        let found = objects::read_filter(repository, table)?;
        let (filter, _) = found.ok_or_else(|| gone(Layout::table_filter(table)))?;
        let mut builder = Self { sample_bits: filter.sample_bits(), ..Self::default() };
        let mut hasher = blake3::Hasher::new();
        for start in (0..filter.rows()).step_by(ROWS_AT_ONCE as usize) {
            context.check()?;
            let rows = start..filter.rows().min(start + ROWS_AT_ONCE);
            let found = objects::read_rows(repository, table, &filter, rows)?;
            for row in found.ok_or_else(|| gone(Layout::table_rows(table)))? {
                hasher.update(&row.to_bytes());
                builder.insert(row.chunk, row.pack);
            }
        }
        if hasher.finalize() == *filter.rows_hash() {
            Ok(builder)
        } else {
            // What savers would stumble over must not be handed on for ever.
            let object = Layout::table_rows(table);
            Err(Error::Damaged { object, source: FormatError::Checksum })
        }
    }

    /// Whether all of the table before is in it.
    pub(crate) fn is_whole(&self) -> bool {
        !self.lost
    }

    /// Adds a chunk and a pack that holds it. Adding it again does nothing. Of
    /// several packs that hold it, the first is kept.
    pub(crate) fn add(&mut self, id: ChunkId, pack: PackId) {
        self.insert(IdPrefix::of(&id), pack);
    }

    fn insert(&mut self, chunk: IdPrefix, pack: PackId) {
        if !chunk.is_hook(self.sample_bits) || self.rows.contains_key(&chunk) {
            return;
        }
        while self.rows.len() >= IndexFilter::MAX_ROWS {
            if self.sample_bits == IndexFilter::MAX_SAMPLE_BITS {
                // Ids that are hashes never come here.
                return;
            }
            self.sample_more();
        }
        if chunk.is_hook(self.sample_bits) {
            let number = self.packs.number(pack);
            self.rows.insert(chunk, number);
        }
    }

    /// Keeps every other row, and the packs that these need.
    fn sample_more(&mut self) {
        self.sample_bits += 1;
        let bits = self.sample_bits;
        self.rows.retain(|chunk, _| chunk.is_hook(bits));
        let before = std::mem::take(&mut self.packs);
        for number in self.rows.values_mut() {
            *number = self.packs.number(before.list[*number as usize]);
        }
    }

    /// Puts the table into the store, with the rows of those packs of which
    /// `len` tells how long they are.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn write(
        self,
        repository: &Repository,
        len: impl Fn(PackId) -> Option<u64>,
    ) -> Result<TableId, Error> {
        let lens: Vec<Option<u64>> = self.packs.list.iter().map(|pack| len(*pack)).collect();
        let is_kept = |number: u32| lens[number as usize].is_some();
        let mut sorted: Vec<(IdPrefix, u32)> = Vec::with_capacity(self.rows.len());
        sorted.extend(self.rows.into_iter().filter(|(_, number)| is_kept(*number)));
        sorted.sort_unstable();
        let mut writer = IndexTableWriter::new(self.sample_bits, sorted.len());
        for (chunk, number) in sorted {
            if let Some(pack_len) = lens[number as usize] {
                let pack = self.packs.list[number as usize];
                writer.push(&IndexRow { chunk, pack, pack_len });
            }
        }
        let (filter, rows) = writer.finish();
        objects::put_table(repository, filter, rows)
    }
}

#[cfg(test)]
impl TableBuilder {
    /// How many bits of an id are zero in all chunks that have a row by now: if
    /// none, the table has all chunks that were added.
    pub(crate) fn sample_bits(&self) -> u8 {
        self.sample_bits
    }

    /// How many rows there are by now.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// A builder that begins with fewer hooks than it has to.
    pub(crate) fn sampling_by(sample_bits: u8) -> Self {
        Self { sample_bits, ..Self::default() }
    }

    /// Adds all that the packs of a store hold; gives how long they are.
    pub(crate) fn add_all_packs(&mut self, repository: &Repository) -> HashMap<PackId, u64> {
        let mut lens = HashMap::new();
        for pack in repository.list_packs().unwrap() {
            let footer = repository.pack_footer(pack.id, pack.len).unwrap();
            lens.insert(pack.id, pack.len);
            for (id, ..) in footer.chunks {
                self.add(id, pack.id);
            }
        }
        lens
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::progress::NoProgress;
    use crate::store::{MemoryStore, Operation, When};

    fn store() -> (Arc<MemoryStore>, Repository) {
        let store = Arc::new(MemoryStore::new());
        let repository = Repository::create(store.clone()).unwrap();
        (store, repository)
    }

    fn begin(repository: &Repository, table: Option<TableId>) -> Result<TableBuilder, Error> {
        let stop = AtomicBool::new(false);
        let context = Context { progress: &NoProgress, stop: &stop };
        TableBuilder::from_table(repository, table, context)
    }

    fn id(number: u32) -> ChunkId {
        ChunkId::of(&number.to_le_bytes())
    }

    fn pack(number: u8) -> PackId {
        PackId::from_bytes([number; 16])
    }

    /// All rows that a table has.
    fn rows(repository: &Repository, table: TableId) -> Vec<IndexRow> {
        let (filter, _) = objects::read_filter(repository, table).unwrap().unwrap();
        match filter.rows() {
            0 => vec![],
            rows => objects::read_rows(repository, table, &filter, 0..rows).unwrap().unwrap(),
        }
    }

    #[test]
    fn tables_are_merged_and_packs_dropped() {
        let (_, repository) = store();
        let mut builder = begin(&repository, None).unwrap();
        for number in 0..100 {
            let in_pack = pack((number % 3) as u8);
            builder.add(id(number), in_pack);
            builder.add(id(number), in_pack);
        }
        builder.add(id(0), pack(9));
        assert_eq!((builder.rows(), builder.sample_bits()), (100, 0));
        let table = builder.write(&repository, |_| Some(50)).unwrap();
        let read = rows(&repository, table);
        assert!(read.is_sorted_by_key(|row| row.chunk) && read.len() == 100);
        assert!(read.iter().all(|row| row.pack_len == 50 && row.pack != pack(9)));

        let mut builder = begin(&repository, Some(table)).unwrap();
        assert_eq!((builder.rows(), builder.is_whole()), (100, true));
        builder.add(id(100), pack(7));
        let but_one = |found| (found != pack(1)).then_some(if found == pack(7) { 70 } else { 5 });
        let read = rows(&repository, builder.write(&repository, but_one).unwrap());
        let packs: HashSet<_> = read.iter().map(|row| row.pack).collect();
        assert_eq!(packs, HashSet::from([pack(0), pack(2), pack(7)]));
        assert_eq!(read.iter().find(|row| row.pack == pack(7)).unwrap().pack_len, 70);
        assert_eq!(read.len(), 68);

        let none = begin(&repository, Some(table)).unwrap().write(&repository, |_| None).unwrap();
        assert!(rows(&repository, none).is_empty());
        assert_eq!(begin(&repository, Some(none)).unwrap().rows(), 0);
    }

    #[test]
    fn what_is_sampled_away_are_no_hooks() {
        let mut builder = TableBuilder::default();
        for number in 0..10_000 {
            builder.add(id(number), pack((number % 200) as u8));
        }
        let all: HashSet<_> = builder.rows.keys().copied().collect();
        builder.sample_more();
        builder.sample_more();
        let hooks = || all.iter().filter(|chunk| chunk.is_hook(2)).copied().collect();
        assert_eq!(builder.rows.keys().copied().collect::<HashSet<_>>(), hooks());
        assert!((2_000..3_000).contains(&builder.rows()), "about a quarter: {}", builder.rows());
        // None comes back.
        (0..10_000).for_each(|number| builder.add(id(number), pack(1)));
        assert_eq!(builder.rows(), hooks().len());
        let (_, repository) = store();
        let table = builder.write(&repository, |_| Some(9)).unwrap();
        let again = begin(&repository, Some(table)).unwrap();
        assert_eq!(again.sample_bits(), 2);
        assert_eq!(again.rows.keys().copied().collect::<HashSet<_>>(), hooks());
        assert!(again.packs.list.len() <= 200);
    }

    #[test]
    fn a_table_that_cannot_be_read_is_told_of() {
        let (store, repository) = store();
        let write = || {
            let mut builder = TableBuilder::default();
            (0..1000).for_each(|number| builder.add(id(number), pack(1)));
            builder.write(&repository, |_| Some(9)).unwrap()
        };
        let lost = |table| {
            let builder = begin(&repository, Some(table)).unwrap();
            assert_eq!(builder.rows(), 0);
            assert!(!builder.is_whole());
        };
        lost(TableId::generate());
        for part in [Layout::table_filter, Layout::table_rows] {
            let table = write();
            store.flip_byte(&part(table), 5);
            lost(table);
            let table = write();
            store.truncate(&part(table), 900);
            lost(table);
        }
        // A store that does not answer is another matter.
        let table = write();
        store.fail_all(Some(Operation::Get), "index/", When::Before);
        assert!(begin(&repository, Some(table)).is_err());
    }
}
