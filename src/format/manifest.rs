//! Manifests: what one key holds.
//!
//! A manifest has the file trees, and the chunks that their data is made of:
//! the tree's stream is the chunks named by `sequence`, one after the other.
//! Its chunk table says where each lies, so a manifest is all that a restore
//! needs, and an index for the next save.
//!
//! It is kept in two parts. What garbage collection needs is open; all else is its
//! *body*, which may be encrypted, and which it can be signed for:
//! [`super::SealedManifest`].

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::chunk_table::ChunkTable;
use super::sealed_manifest::{OpenError, SealedManifest};
use super::tree_builder::check_stream;
use super::{FormatError, Stream, Tree};
use crate::ids::{Key, Scope};
use crate::secrets::{Distrust, KeyId, Keys, PublicKey};
use crate::store_time::StoreTime;

/// The longest annotation, in bytes: room for how a key was made of a thousand files.
pub const MAX_ANNOTATION_LEN: usize = 64 << 10;

/// What whoever saved a cache wants to find in its manifest: bytes that mean nothing
/// here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotation(Vec<u8>);

impl Annotation {
    /// These bytes, unless they are more than [`MAX_ANNOTATION_LEN`].
    pub fn new(bytes: Vec<u8>) -> Option<Self> {
        (bytes.len() <= MAX_ANNOTATION_LEN).then_some(Self(bytes))
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

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
    /// What garbage collection needs to know of it.
    pub facts: ManifestFacts,
    /// What its saver noted, such as how the key was made. Whoever can write to the
    /// store can note anything.
    pub annotation: Annotation,
    /// The file trees.
    pub tree: Tree,
    /// The chunks that make up the tree's stream, as rows of `chunks`.
    pub sequence: Vec<u32>,
    /// The chunks and where they lie, each once.
    pub chunks: ChunkTable,
    /// The key under which chunks are named and sealed, and the body is; `None` if it
    /// is not encrypted.
    pub sealed_by: Option<KeyId>,
    /// Whose signature it was found to have.
    pub signed_by: Option<PublicKey>,
}

/// What garbage collection needs to know of a manifest, beside its packs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ManifestFacts {
    /// The epoch of the gc state by which its saver chose packs: at that epoch,
    /// each of them was there and not condemned, or did not exist yet.
    pub epoch: u64,
    /// When it was saved. The object itself can be younger: it is put again
    /// when it is used.
    pub saved: StoreTime,
    /// When it was last used, if the object was put since for another reason.
    pub used: Option<StoreTime>,
    /// How long it is to live.
    pub lifetime: Lifetime,
    /// How often the object was put for reasons of garbage collection. Only
    /// makes its bytes, and so its version, others than before.
    pub moves: u32,
}

/// How long a cache lives after its last use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Lifetime {
    /// As long as whoever flushes the store says.
    #[default]
    ByPolicy,
    /// So long, whoever flushes the store.
    For(Duration),
    /// For ever, until somebody deletes it.
    Pinned,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireFacts {
    epoch: u64,
    saved: i64,
    used: Option<i64>,
    ttl: Option<u64>,
    pinned: bool,
    moves: u32,
}

impl WireFacts {
    pub(super) fn of(facts: &ManifestFacts) -> Self {
        let ttl = match facts.lifetime {
            Lifetime::For(ttl) => Some(ttl.as_secs()),
            Lifetime::ByPolicy | Lifetime::Pinned => None,
        };
        Self {
            epoch: facts.epoch,
            saved: facts.saved.unix(),
            used: facts.used.map(StoreTime::unix),
            ttl,
            pinned: facts.lifetime == Lifetime::Pinned,
            moves: facts.moves,
        }
    }

    pub(super) fn into_facts(self) -> ManifestFacts {
        let lifetime = match (self.pinned, self.ttl) {
            (true, _) => Lifetime::Pinned,
            (false, Some(ttl)) => Lifetime::For(Duration::from_secs(ttl)),
            (false, None) => Lifetime::ByPolicy,
        };
        ManifestFacts {
            epoch: self.epoch,
            saved: StoreTime::from_unix(self.saved),
            used: self.used.map(StoreTime::from_unix),
            lifetime,
            moves: self.moves,
        }
    }
}

impl Manifest {
    /// The manifest's bytes, not encrypted and not signed.
    pub fn encode(&self) -> Vec<u8> {
        let open = Self { sealed_by: None, ..self.clone() };
        let sealed = SealedManifest::close(&open, &Keys::default());
        sealed.expect("no key is needed for what is not encrypted").encode()
    }

    /// Reads a manifest that is not encrypted, whether or not it is signed.
    ///
    /// # Errors
    /// [`FormatError`] if these are not the bytes of a sound manifest: then
    /// nothing of it can be trusted.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        SealedManifest::decode(bytes)?.open(&Keys::default()).map_err(|error| match error {
            OpenError::Format(error) => error,
            OpenError::Distrust(Distrust::NoKey(_)) => {
                FormatError::Inconsistent("it is encrypted, and there is no key")
            }
            OpenError::Distrust(_) => FormatError::Inconsistent("its signature is of another"),
        })
    }

    /// The stream that the tree's data lies in.
    pub fn stream(&self) -> Stream {
        let rows = self.sequence.iter().map(|&row| self.chunks.get(row));
        Stream::new(rows.map(|(id, at)| (id, at.raw_len)))
    }

    /// Stored bytes of all chunks, those that others have too included.
    pub fn stored_bytes(&self) -> u64 {
        self.chunks.rows().iter().map(|(_, at)| u64::from(at.stored_len)).sum()
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
    use super::super::{
        FileIdentity, IndexDelta, Kind, Location, References, StatRecord, Timestamp,
    };
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

    fn facts() -> impl Strategy<Value = ManifestFacts> {
        let lifetime = prop_oneof![
            Just(Lifetime::ByPolicy),
            Just(Lifetime::Pinned),
            any::<u32>().prop_map(|secs| Lifetime::For(Duration::from_secs(secs.into()))),
        ];
        let times = (any::<i64>(), prop::option::of(any::<i64>()));
        (any::<u64>(), times, lifetime, any::<u32>()).prop_map(|(epoch, times, lifetime, moves)| {
            let used = times.1.map(StoreTime::from_unix);
            let saved = StoreTime::from_unix(times.0);
            ManifestFacts { epoch, saved, used, lifetime, moves }
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

        #[test]
        fn what_is_encoded_is_decoded(
            tree in trees(),
            packs in prop::collection::vec(any::<u8>(), 1..20),
            created in any::<i64>(),
            known in any::<u64>(),
            facts in facts(),
            note in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let (sequence, chunks) = chunks(&tree, &packs);
            let manifest = Manifest {
                scope: "org/repo".parse().unwrap(),
                key: "key with spaces".parse().unwrap(),
                writer: "a test".to_owned(),
                created,
                facts: facts.clone(),
                annotation: Annotation::new(note).unwrap(),
                tree,
                sequence,
                chunks,
                sealed_by: None,
                signed_by: None,
            };
            let read = Manifest::decode(&manifest.encode()).unwrap();
            prop_assert_eq!((&read.scope, &read.key), (&manifest.scope, &manifest.key));
            prop_assert_eq!((&read.writer, read.created), (&manifest.writer, manifest.created));
            prop_assert_eq!(&read.facts, &facts);
            prop_assert_eq!(&read.annotation, &manifest.annotation);
            prop_assert_eq!(&read.tree, &manifest.tree);
            prop_assert_eq!(&read.sequence, &manifest.sequence);
            prop_assert_eq!(&read.chunks, &manifest.chunks);
            prop_assert!(read.same_contents(&manifest));
            let references = References::decode(&manifest.encode()).unwrap();
            prop_assert_eq!((&references.scope, &references.key), (&manifest.scope, &manifest.key));
            prop_assert_eq!((&references.facts, &references.chunks), (&facts, &manifest.chunks));

            let delta = IndexDelta { epoch: known, chunks: manifest.chunks.clone() };
            prop_assert_eq!(IndexDelta::decode(&delta.encode()), Ok(delta));

            let identity = |index: u32| {
                let ctime = Timestamp { secs: i64::from(index) - 5, nanos: index };
                let inode = u64::from(index) + 1;
                (known >> (index % 64) & 1 == 1).then_some(FileIdentity { device: 7, inode, ctime })
            };
            let record = StatRecord {
                sealed_by: packs.first().map(|&pack| KeyId::from_bytes([pack; 8])),
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
            prop_assert_eq!(read.sealed_by, record.sealed_by);
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
            facts: ManifestFacts::default(),
            annotation: Annotation::default(),
            tree: builder.finish().unwrap(),
            sequence: vec![],
            chunks: ChunkTable::default(),
            sealed_by: None,
            signed_by: None,
        };
        assert!(manifest.check().is_err());
        assert!(Manifest::decode(&manifest.encode()).is_err());
    }

    #[test]
    fn an_annotation_that_is_too_long_is_refused() {
        let mut manifest = super::super::testing::manifest(Tree::default(), &[]);
        assert_eq!(Annotation::new(vec![7; MAX_ANNOTATION_LEN + 1]), None);
        manifest.annotation = Annotation(vec![7; MAX_ANNOTATION_LEN]);
        assert!(Manifest::decode(&manifest.encode()).is_ok());
        manifest.annotation = Annotation(vec![7; MAX_ANNOTATION_LEN + 1]);
        let refused = Manifest::decode(&manifest.encode()).err();
        assert!(matches!(refused, Some(FormatError::TooLong { .. })), "{refused:?}");
    }
}
