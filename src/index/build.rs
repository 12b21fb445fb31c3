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

    fn read(repository: &Repository, table: TableId, context: Context<'_>) -> Result<Self, Error> {
        let gone = |object| {
            let source = FormatError::Inconsistent("it is not there, but the store names it");
            Error::Damaged { object, source }
        };
        let found = objects::read_filter(repository, table)?;
        let (filter, _) = found.ok_or_else(|| gone(Layout::table_filter(table)))?;
        let mut builder = Self { sample_bits: filter.sample_bits(), ..Self::default() };
        for start in (0..filter.rows()).step_by(ROWS_AT_ONCE as usize) {
            context.check()?;
            let rows = start..filter.rows().min(start + ROWS_AT_ONCE);
            let found = objects::read_rows(repository, table, &filter, rows)?;
            for row in found.ok_or_else(|| gone(Layout::table_rows(table)))? {
                builder.insert(row.chunk, row.pack);
            }
        }
        Ok(builder)
    }

    /// Whether all of the table before is in it.
    pub(crate) fn is_whole(&self) -> bool {
        !self.lost
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
    /// `footer` tells where their footer lies.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) fn write(
        self,
        repository: &Repository,
        footer: impl Fn(PackId) -> Option<Range<u32>>,
    ) -> Result<TableId, Error> {
        let footers: Vec<Option<Range<u32>>> =
            self.packs.list.iter().map(|pack| footer(*pack)).collect();
        let is_kept = |number: u32| footers[number as usize].is_some();
        let mut sorted: Vec<(IdPrefix, u32)> = Vec::with_capacity(self.rows.len());
        sorted.extend(self.rows.into_iter().filter(|(_, number)| is_kept(*number)));
        sorted.sort_unstable();
        let mut writer = IndexTableWriter::new(self.sample_bits, sorted.len());
        for (chunk, number) in sorted {
            if let Some(footer) = footers[number as usize].clone() {
                let pack = self.packs.list[number as usize];
                writer.push(&IndexRow { chunk, pack, footer });
            }
        }
        let (filter, rows) = writer.finish();
        objects::put_table(repository, filter, rows)
    }
}
