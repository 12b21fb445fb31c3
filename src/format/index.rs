//! Index deltas: what one save added to the store.
//!
//! A manifest answers "is this chunk absent?" only for those who read that
//! manifest. The deltas answer it for everybody: each lists the new chunks of
//! one save, and where they lie. They do so until a flush has put what they say
//! into an index table.

use serde::{Deserialize, Serialize};

use super::FormatError;
use super::chunk_table::{ChunkTable, Columns};
use super::envelope::{self, EnvelopeKind};

pub(super) const KIND: EnvelopeKind =
    EnvelopeKind { letter: b'I', name: "index delta", version: 1 };

/// The chunks that one save wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IndexDelta {
    /// The epoch that the save read before it reused anything.
    pub epoch: u64,
    /// The new chunks and where they lie.
    pub chunks: ChunkTable,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    epoch: u64,
    chunks: Columns,
}

impl IndexDelta {
    /// The longest delta that is read, in bytes: 64 MiB hold about a million
    /// chunks, which is over 100 GB in one save.
    pub const MAX_LEN: u64 = 64 << 20;

    /// The delta's bytes.
    pub fn encode(&self) -> Vec<u8> {
        envelope::seal(KIND, &Wire { epoch: self.epoch, chunks: self.chunks.to_columns() })
    }

    /// Reads a delta.
    ///
    /// # Errors
    /// [`FormatError`] if these are not the bytes of a sound delta.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let wire: Wire = envelope::open(KIND, bytes, Self::MAX_LEN)?;
        Ok(Self { epoch: wire.epoch, chunks: ChunkTable::from_columns(&wire.chunks)? })
    }
}
