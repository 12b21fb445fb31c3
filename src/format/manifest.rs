//! Manifests: what one key holds.
//!
//! A manifest has the file trees, and the chunks that their data is made of:
//! the tree's stream is the chunks named by `sequence`, one after the other.
//! Its chunk table says where each lies, so a manifest is all that a restore
//! needs, and an index for the next save.

use serde::{Deserialize, Serialize};

use super::chunk_table::{self, ChunkTable};
use super::envelope::{self, EnvelopeKind};
use super::tree_builder::check_stream;
use super::tree_columns;
use super::{FormatError, Stream, Tree};
use crate::ids::{Key, Scope};

const KIND: EnvelopeKind = EnvelopeKind { letter: b'M', name: "manifest", version: 1 };

/// The longest manifest that is read, in bytes before compression: room for
/// some ten million files.
pub const MAX_MANIFEST_LEN: u64 = 1 << 30;

/// What one key holds.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// The namespace of the key.
    pub scope: Scope,
    /// The name it was saved under.
    pub key: Key,
    /// The larder version that wrote it, for people.
    pub writer: String,
    /// When the save had read its files, by its machine's clock, in seconds
    /// since 1970. For people: all decisions go by the store's clock.
    pub created: i64,
    /// The file trees.
    pub tree: Tree,
    /// The chunks that make up the tree's stream, as rows of `chunks`.
    pub sequence: Vec<u32>,
    /// The chunks and where they lie, each once.
    pub chunks: ChunkTable,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    scope: Scope,
    key: Key,
    writer: String,
    created: i64,
    tree: tree_columns::Columns,
    sequence: Vec<u32>,
    chunks: chunk_table::Columns,
}

impl Manifest {
    /// The manifest's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let wire = Wire {
            scope: self.scope.clone(),
            key: self.key.clone(),
            writer: self.writer.clone(),
            created: self.created,
            tree: tree_columns::Columns::of(&self.tree),
            sequence: self.sequence.clone(),
            chunks: self.chunks.to_columns(),
        };
        envelope::seal(KIND, &wire)
    }

    /// Reads a manifest.
    ///
    /// # Errors
    /// [`FormatError`] if these are not the bytes of a sound manifest: then
    /// nothing of it can be trusted.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let wire: Wire = envelope::open(KIND, bytes, MAX_MANIFEST_LEN)?;
        let chunks = ChunkTable::from_columns(&wire.chunks)?;
        let mut stream_len = 0u64;
        for &row in &wire.sequence {
            let (_, location) = chunks.rows().get(row as usize).ok_or(
                FormatError::Inconsistent("the sequence names a chunk that is not listed"),
            )?;
            // Cannot overflow: fewer than 2^32 rows of at most 2^24 bytes.
            stream_len += u64::from(location.raw_len);
        }
        let tree = wire.tree.into_tree()?;
        check_stream(&tree, stream_len)?;
        Ok(Self {
            scope: wire.scope,
            key: wire.key,
            writer: wire.writer,
            created: wire.created,
            tree,
            sequence: wire.sequence,
            chunks,
        })
    }

    /// The stream that the tree's data lies in.
    pub fn stream(&self) -> Stream {
        let rows = self.sequence.iter().map(|&row| self.chunks.get(row));
        Stream::new(rows.map(|(id, at)| (id, at.raw_len)))
    }

    /// Checks what [`Manifest::decode`] checks of the tree's data: that it lies
    /// in the chunks, and no byte belongs to two files.
    ///
    /// # Errors
    /// [`FormatError::Inconsistent`].
    pub fn check(&self) -> Result<(), FormatError> {
        let rows = self.sequence.iter().map(|&row| self.chunks.get(row));
        check_stream(&self.tree, rows.map(|(_, at)| u64::from(at.raw_len)).sum())
    }

    /// Whether both hold the same trees with the same contents, wherever the
    /// chunks lie.
    pub fn same_contents(&self, other: &Self) -> bool {
        let ids = |manifest: &Self| -> Vec<_> {
            manifest.sequence.iter().map(|&row| manifest.chunks.get(row).0).collect()
        };
        self.tree == other.tree && ids(self) == ids(other)
    }
}
