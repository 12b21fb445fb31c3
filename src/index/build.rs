//! Building an index table: what a flush does for the savers after it.
//!
//! A table is built from the one before and from what the flush has read of new
//! packs. Memory is bounded by the number of rows that a table may have: when it
//! is reached, fewer chunks are hooks from then on, and the others' rows go.

use std::collections::HashMap;
use std::ops::Range;

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

/// Packs that rows refer to by number, and where their footers lie.
#[derive(Debug, Default)]
struct Packs {
    list: Vec<(PackId, Range<u32>)>,
    numbers: HashMap<PackId, u32>,
}

impl Packs {
    fn number(&mut self, pack: PackId, footer: &Range<u32>) -> u32 {
        *self.numbers.entry(pack).or_insert_with(|| {
            self.list.push((pack, footer.clone()));
            u32::try_from(self.list.len() - 1).expect("no more packs than rows")
        })
    }
}

impl TableBuilder {
    /// Begins with those rows of the table before whose packs are to be kept.
    ///
    /// A table that cannot be read is left out with a warning: then
    /// [`TableBuilder::lost`] says so, and whoever wants a whole index has to add
    /// everything anew.
    ///
    /// # Errors
    /// Those of the store's service, and the wish to stop.
    pub(crate) fn from_table(
        repository: &Repository,
        table: Option<TableId>,
        keep: impl Fn(PackId) -> bool,
        context: Context<'_>,
    ) -> Result<Self, Error> {
        let Some(table) = table else {
            return Ok(Self::default());
        };
        match Self::read(repository, table, keep, context) {
            Err(error) if error.is_damage() => {
                context.progress.warn(Warning::IgnoredDamage { error: error.to_string() });
                Ok(Self { lost: true, ..Self::default() })
            }
            result => result,
        }
    }

    fn read(
        repository: &Repository,
        table: TableId,
        keep: impl Fn(PackId) -> bool,
        context: Context<'_>,
    ) -> Result<Self, Error> {
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
                if keep(row.pack) {
                    builder.insert(row.chunk, row.pack, &row.footer);
                }
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

    /// Whether the table before could not be read.
    pub(crate) fn lost(&self) -> bool {
        self.lost
    }

    /// How many bits of an id are zero in all chunks that have a row by now: if
    /// none, the table has all chunks that were added.
    pub(crate) fn sample_bits(&self) -> u8 {
        self.sample_bits
    }

    /// How many rows there are by now.
    pub(crate) fn rows(&self) -> usize {
        self.rows.len()
    }

    /// Adds a chunk, in a pack whose footer lies there. Adding it again does
    /// nothing. Of several packs that hold it, the first is kept.
    pub(crate) fn add(&mut self, id: ChunkId, pack: PackId, footer: Range<u32>) {
        self.insert(IdPrefix::of(&id), pack, &footer);
    }

    fn insert(&mut self, chunk: IdPrefix, pack: PackId, footer: &Range<u32>) {
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
            let number = self.packs.number(pack, footer);
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
            let (pack, footer) = &before.list[*number as usize];
            *number = self.packs.number(*pack, footer);
        }
    }

    /// Puts the table into the store.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn write(self, repository: &Repository) -> Result<TableId, Error> {
        let Self { sample_bits, rows, packs: Packs { list: packs, .. }, .. } = self;
        let mut sorted: Vec<(IdPrefix, u32)> = rows.into_iter().collect();
        sorted.sort_unstable();
        let mut writer = IndexTableWriter::new(sample_bits, sorted.len());
        for (chunk, number) in sorted {
            let (pack, footer) = packs[number as usize].clone();
            writer.push(&IndexRow { chunk, pack, footer });
        }
        let (filter, rows) = writer.finish();
        objects::put_table(repository, filter, rows)
    }
}

#[cfg(test)]
impl TableBuilder {
    /// A builder that begins with fewer hooks than it has to.
    pub(crate) fn sampling_by(sample_bits: u8) -> Self {
        Self { sample_bits, ..Self::default() }
    }

    /// Adds all that the packs of a store hold.
    pub(crate) fn add_all_packs(&mut self, repository: &Repository) {
        for (pack, len) in repository.list_packs().unwrap() {
            let footer = repository.footer_range(pack, len).unwrap();
            let footer = footer.start as u32..footer.end as u32;
            for (id, ..) in repository.pack_footer(pack, len).unwrap().chunks {
                self.add(id, pack, footer.clone());
            }
        }
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

    fn begin(
        repository: &Repository,
        table: Option<TableId>,
        keep: impl Fn(PackId) -> bool,
    ) -> Result<TableBuilder, Error> {
        let stop = AtomicBool::new(false);
        let context = Context { progress: &NoProgress, stop: &stop };
        TableBuilder::from_table(repository, table, keep, context)
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
        let mut builder = begin(&repository, None, |_| true).unwrap();
        for number in 0..100 {
            let in_pack = pack((number % 3) as u8);
            builder.add(id(number), in_pack, 50..60);
            builder.add(id(number), in_pack, 50..60);
        }
        builder.add(id(0), pack(9), 8..9);
        assert_eq!((builder.rows(), builder.sample_bits()), (100, 0));
        let table = builder.write(&repository).unwrap();
        let read = rows(&repository, table);
        assert!(read.is_sorted_by_key(|row| row.chunk) && read.len() == 100);
        assert!(read.iter().all(|row| row.footer == (50..60) && row.pack != pack(9)));

        let mut builder = begin(&repository, Some(table), |found| found != pack(1)).unwrap();
        assert_eq!((builder.rows(), builder.lost()), (67, false));
        builder.add(id(1), pack(7), 70..90);
        let read = rows(&repository, builder.write(&repository).unwrap());
        let packs: HashSet<_> = read.iter().map(|row| row.pack).collect();
        assert_eq!(packs, HashSet::from([pack(0), pack(2), pack(7)]));
        assert_eq!(read.iter().find(|row| row.pack == pack(7)).unwrap().footer, 70..90);
        assert_eq!(read.len(), 68);

        let none = begin(&repository, Some(table), |_| false).unwrap().write(&repository).unwrap();
        assert!(rows(&repository, none).is_empty());
        assert_eq!(begin(&repository, Some(none), |_| true).unwrap().rows(), 0);
    }

    #[test]
    fn what_is_sampled_away_are_no_hooks() {
        let mut builder = TableBuilder::default();
        for number in 0..10_000 {
            builder.add(id(number), pack((number % 200) as u8), 8..9);
        }
        let all: HashSet<_> = builder.rows.keys().copied().collect();
        builder.sample_more();
        builder.sample_more();
        let hooks = || all.iter().filter(|chunk| chunk.is_hook(2)).copied().collect();
        assert_eq!(builder.rows.keys().copied().collect::<HashSet<_>>(), hooks());
        assert!((2_000..3_000).contains(&builder.rows()), "about a quarter: {}", builder.rows());
        // None comes back.
        (0..10_000).for_each(|number| builder.add(id(number), pack(1), 8..9));
        assert_eq!(builder.rows(), hooks().len());
        let (_, repository) = store();
        let table = builder.write(&repository).unwrap();
        let again = begin(&repository, Some(table), |_| true).unwrap();
        assert_eq!(again.sample_bits(), 2);
        assert_eq!(again.rows.keys().copied().collect::<HashSet<_>>(), hooks());
        assert!(again.packs.list.len() <= 200);
    }

    #[test]
    fn a_table_that_cannot_be_read_is_told_of() {
        let (store, repository) = store();
        let write = || {
            let mut builder = TableBuilder::default();
            (0..1000).for_each(|number| builder.add(id(number), pack(1), 8..9));
            builder.write(&repository).unwrap()
        };
        let lost = |table| {
            let builder = begin(&repository, Some(table), |_| true).unwrap();
            assert_eq!(builder.rows(), 0);
            assert!(builder.lost());
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
        assert!(begin(&repository, Some(table), |_| true).is_err());
    }
}
