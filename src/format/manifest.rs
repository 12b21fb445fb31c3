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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::trees;
    use super::super::{FileIdentity, IndexDelta, Kind, Location, StatRecord, Timestamp};
    use super::*;
    use crate::ids::{ChunkId, PackId};

    /// Chunks that are long enough for a tree's stream, some of them twice.
    fn chunks(tree: &Tree, packs: &[u8]) -> (Vec<u32>, ChunkTable) {
        let end = |index| match tree.entry(index).kind {
            Kind::File(file) => file.at + tree.data_len(index),
            _ => 0,
        };
        let stream_len = tree.indexes().map(end).max().unwrap_or(0);
        let mut table = ChunkTable::default();
        let raw_len = 100_000;
        for (number, &pack) in packs.iter().enumerate() {
            let number = u32::try_from(number).unwrap();
            let location = Location {
                pack: PackId::from_bytes([pack % 3; 16]),
                offset: u64::from(number) << 33,
                stored_len: raw_len - number,
                raw_len,
            };
            table.push(ChunkId::of(&number.to_le_bytes()), location);
        }
        let rows = u32::try_from(packs.len()).unwrap();
        let len = u32::try_from(stream_len.div_ceil(u64::from(raw_len))).unwrap();
        ((0..len).map(|at| at % rows).collect(), table)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

        #[test]
        fn what_is_encoded_is_decoded(
            tree in trees(),
            packs in prop::collection::vec(any::<u8>(), 1..20),
            created in any::<i64>(),
            known in any::<u64>(),
        ) {
            let (sequence, chunks) = chunks(&tree, &packs);
            let manifest = Manifest {
                scope: "org/repo".parse().unwrap(),
                key: "key with spaces".parse().unwrap(),
                writer: "a test".to_owned(),
                created,
                tree,
                sequence,
                chunks,
            };
            let read = Manifest::decode(&manifest.encode()).unwrap();
            prop_assert_eq!((&read.scope, &read.key), (&manifest.scope, &manifest.key));
            prop_assert_eq!((&read.writer, read.created), (&manifest.writer, manifest.created));
            prop_assert_eq!(&read.tree, &manifest.tree);
            prop_assert_eq!(&read.sequence, &manifest.sequence);
            prop_assert_eq!(&read.chunks, &manifest.chunks);
            prop_assert!(read.same_contents(&manifest));

            let delta = IndexDelta { epoch: known, chunks: manifest.chunks.clone() };
            prop_assert_eq!(IndexDelta::decode(&delta.encode()), Ok(delta));

            let identity = |index: u32| {
                let ctime = Timestamp { secs: i64::from(index) - 5, nanos: index };
                let inode = u64::from(index) + 1;
                (known >> (index % 64) & 1 == 1).then_some(FileIdentity { device: 7, inode, ctime })
            };
            let record = StatRecord {
                chunking: crate::chunking::parameters(),
                identities: manifest.tree.indexes().map(identity).collect(),
                sequence: manifest
                    .sequence
                    .iter()
                    .map(|&row| manifest.chunks.get(row))
                    .map(|(id, at)| (id, at.raw_len))
                    .collect(),
                tree: manifest.tree,
            };
            let read = StatRecord::decode(&record.encode()).unwrap();
            prop_assert_eq!(&read.chunking, &record.chunking);
            prop_assert_eq!(&read.identities, &record.identities);
            prop_assert_eq!(&read.sequence, &record.sequence);
            prop_assert_eq!(&read.tree, &record.tree);
        }
    }

    #[test]
    fn one_kind_is_not_taken_for_another() {
        let delta = IndexDelta::default().encode();
        assert_eq!(Manifest::decode(&delta).unwrap_err(), FormatError::WrongKind("manifest"));
        assert!(StatRecord::decode(&delta).is_err());
    }

    /// Files must lie in what the chunks hold, however long they claim to be.
    #[test]
    fn data_outside_the_chunks_is_refused() {
        use super::super::{Anchor, FileData, NewEntry, TreeBuilder};
        let mut builder = TreeBuilder::default();
        builder.begin_mount(Anchor::Root, crate::relpath::RelPath::new("f").unwrap()).unwrap();
        let kind = Kind::File(FileData { size: 1 << 40, at: 0 });
        let mtime = Timestamp::default();
        builder.push(0, NewEntry { name: b"f", kind, target: b"", mode: 0, mtime }).unwrap();
        let manifest = Manifest {
            scope: "s".parse().unwrap(),
            key: "k".parse().unwrap(),
            writer: String::new(),
            created: 0,
            tree: builder.finish().unwrap(),
            sequence: vec![],
            chunks: ChunkTable::default(),
        };
        assert!(manifest.check().is_err());
        assert!(Manifest::decode(&manifest.encode()).is_err());
    }
}
