//! Chunk tables: where in which pack each chunk lies.
//!
//! Manifests and index deltas hold one each. On the wire a table is a set of
//! columns, because equal kinds of numbers beside each other compress well and
//! decode without a step per row.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::FormatError;
use crate::ids::{ChunkId, PackId};
use crate::secrets::SEAL_LEN;

/// The longest chunk that any version of the format may hold, raw: a bound on
/// what a reader allocates for one chunk.
pub const MAX_CHUNK_LEN: u32 = 16 << 20;

/// Where a chunk lies, and how long it is there and unpacked.
///
/// A chunk is stored as one zstd frame if that is shorter than its raw bytes,
/// and raw otherwise: `stored_len == raw_len` says which. One that is encrypted has
/// [`SEAL_LEN`] bytes more of either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// The pack that holds it.
    pub pack: PackId,
    /// Where in the pack its stored bytes begin.
    pub offset: u64,
    /// How many bytes it has in the pack.
    pub stored_len: u32,
    /// How many bytes it has unpacked.
    pub raw_len: u32,
}

impl Location {
    /// One past the chunk's last byte in its pack.
    pub fn end(&self) -> u64 {
        self.offset + u64::from(self.stored_len)
    }

    pub(super) fn check(&self) -> Result<(), FormatError> {
        if self.raw_len == 0 || self.raw_len > MAX_CHUNK_LEN {
            return Err(FormatError::Inconsistent("a chunk's length is out of bounds"));
        }
        if self.stored_len == 0 || self.stored_len > self.raw_len + SEAL_LEN {
            return Err(FormatError::Inconsistent("a chunk is stored longer than it is"));
        }
        if self.offset.checked_add(u64::from(self.stored_len)).is_none() {
            return Err(FormatError::Inconsistent("a chunk's place overflows"));
        }
        Ok(())
    }
}

/// Chunks and their locations, in the order in which they were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChunkTable {
    rows: Vec<(ChunkId, Location)>,
}

impl ChunkTable {
    /// Adds a chunk and gives its row.
    pub fn push(&mut self, id: ChunkId, location: Location) -> u32 {
        let row = u32::try_from(self.rows.len()).expect("a table has fewer than 2^32 chunks");
        self.rows.push((id, location));
        row
    }

    /// The rows in order.
    pub fn rows(&self) -> &[(ChunkId, Location)] {
        &self.rows
    }

    /// The chunk in a row.
    pub fn get(&self, row: u32) -> (ChunkId, Location) {
        self.rows[row as usize]
    }

    /// The packs that hold these chunks, each once, in order of first use.
    pub fn packs(&self) -> Vec<PackId> {
        let mut seen = std::collections::HashSet::new();
        self.rows.iter().map(|(_, at)| at.pack).filter(|&pack| seen.insert(pack)).collect()
    }

    pub(super) fn to_columns(&self) -> Columns {
        let packs = self.packs();
        let number: HashMap<PackId, u32> = packs.iter().copied().zip(0..).collect();
        let column = |f: fn(&Location) -> u32| self.rows.iter().map(|(_, at)| f(at)).collect();
        Columns {
            packs: ByteBuf::from(packs.iter().flat_map(|pack| pack.to_bytes()).collect::<Vec<_>>()),
            ids: ByteBuf::from(
                self.rows.iter().flat_map(|(id, _)| *id.as_bytes()).collect::<Vec<_>>(),
            ),
            pack: self.rows.iter().map(|(_, at)| number[&at.pack]).collect(),
            offset: self.rows.iter().map(|(_, at)| at.offset).collect(),
            stored_len: column(|at| at.stored_len),
            raw_len: column(|at| at.raw_len),
        }
    }

    pub(super) fn from_columns(columns: &Columns) -> Result<Self, FormatError> {
        let (packs, []) = columns.packs.as_chunks::<16>() else {
            return Err(FormatError::Inconsistent("the list of packs is cut off"));
        };
        let (ids, []) = columns.ids.as_chunks::<{ ChunkId::LEN }>() else {
            return Err(FormatError::Inconsistent("the list of chunk ids is cut off"));
        };
        let lens = [columns.pack.len(), columns.stored_len.len(), columns.raw_len.len()];
        if lens.iter().any(|&len| len != ids.len()) || columns.offset.len() != ids.len() {
            return Err(FormatError::Inconsistent("the chunk table's columns differ in length"));
        }
        let mut rows = Vec::with_capacity(ids.len());
        for (i, id) in ids.iter().enumerate() {
            let pack = packs
                .get(columns.pack[i] as usize)
                .ok_or(FormatError::Inconsistent("a chunk names a pack that is not listed"))?;
            let location = Location {
                pack: PackId::from_bytes(*pack),
                offset: columns.offset[i],
                stored_len: columns.stored_len[i],
                raw_len: columns.raw_len[i],
            };
            location.check()?;
            rows.push((ChunkId::from_bytes(*id), location));
        }
        Ok(Self { rows })
    }
}

/// A chunk table on the wire.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Columns {
    /// Pack ids, 16 bytes each.
    packs: ByteBuf,
    /// Chunk ids, 32 bytes each.
    ids: ByteBuf,
    /// For each chunk, the number of its pack in `packs`.
    pack: Vec<u32>,
    /// For each chunk, where it begins in its pack.
    offset: Vec<u64>,
    /// For each chunk, its bytes in the pack.
    stored_len: Vec<u32>,
    /// For each chunk, its bytes unpacked.
    raw_len: Vec<u32>,
}
