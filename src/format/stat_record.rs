//! Stat records: what this machine knows of a tree it saved or restored.
//!
//! A record lets the next save tell from `stat` alone which files still have
//! the contents they had. It lies beside the user's other caches, never in a
//! store, and believing a wrong one would save wrong contents: so it is sealed
//! like everything else, and dropped when anything about it is odd.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::envelope::{self, EnvelopeKind};
use super::tree_builder::check_stream;
use super::tree_columns;
use super::{
    ChunkingParameters, EntryIndex, FileData, FormatError, Hole, Kind, Stream, Timestamp, Tree,
};
use crate::ids::ChunkId;
use crate::secrets::KeyId;

pub(super) const KIND: EnvelopeKind =
    EnvelopeKind { letter: b'S', name: "stat record", version: 1 };

/// What tells, with size and modification time, one state of a file from
/// another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct FileIdentity {
    /// The file system it lies on.
    pub device: u64,
    /// Its number there.
    pub inode: u64,
    /// When its contents or metadata were last changed: no program can set it.
    pub ctime: Timestamp,
}

/// The state of a file that is compared with its record.
#[derive(Clone, Copy, Debug)]
pub struct FileState<'a> {
    /// Which file, and its last change of any kind.
    pub identity: FileIdentity,
    /// Length in bytes.
    pub size: u64,
    /// Last change of its contents.
    pub mtime: Timestamp,
    /// Its holes.
    pub holes: &'a [Hole],
}

/// A tree as it was on this machine, and the chunks it was made of.
#[derive(Clone, Debug)]
pub struct StatRecord {
    /// How the tree was cut.
    pub chunking: ChunkingParameters,
    /// The tree, as in a manifest.
    pub tree: Tree,
    /// For each entry, its identity, or `None` where a later change could have
    /// gone unnoticed.
    pub identities: Vec<Option<FileIdentity>>,
    /// The chunks of the tree's stream, with their raw lengths.
    pub sequence: Vec<(ChunkId, u32)>,
    /// The key by which chunks are named; `None` if they are not encrypted.
    pub sealed_by: Option<KeyId>,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    chunking: ChunkingParameters,
    tree: tree_columns::Columns,
    device: Vec<u64>,
    /// 0 stands for no identity: no file system numbers a file so.
    inode: Vec<u64>,
    ctime_secs: Vec<i64>,
    ctime_nanos: Vec<u32>,
    ids: ByteBuf,
    raw_len: Vec<u32>,
    sealed_by: Option<ByteBuf>,
}

impl StatRecord {
    const MAX_LEN: u64 = super::MAX_MANIFEST_LEN;

    /// The file that an entry of the record is, if it is still as recorded:
    /// same file, same length, same times, same holes.
    pub fn unchanged(&self, entry: EntryIndex, now: FileState<'_>) -> Option<FileData> {
        let recorded = self.tree.entry(entry);
        let Kind::File(file) = recorded.kind else {
            return None;
        };
        let same = self.identities[entry as usize] == Some(now.identity)
            && (file.size, recorded.mtime) == (now.size, now.mtime)
            && self.tree.holes(entry) == now.holes;
        same.then_some(file)
    }

    /// The stream that the tree's data lies in.
    pub fn stream(&self) -> Stream {
        Stream::new(self.sequence.iter().copied())
    }

    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let identities = || self.identities.iter().map(|id| id.unwrap_or_default());
        let wire = Wire {
            chunking: self.chunking.clone(),
            tree: tree_columns::Columns::of(&self.tree),
            device: identities().map(|id| id.device).collect(),
            inode: identities().map(|id| id.inode).collect(),
            ctime_secs: identities().map(|id| id.ctime.secs).collect(),
            ctime_nanos: identities().map(|id| id.ctime.nanos).collect(),
            ids: ByteBuf::from(
                self.sequence.iter().flat_map(|(id, _)| *id.as_bytes()).collect::<Vec<_>>(),
            ),
            raw_len: self.sequence.iter().map(|&(_, len)| len).collect(),
            sealed_by: self.sealed_by.map(|key| ByteBuf::from(key.as_bytes())),
        };
        envelope::seal(KIND, &wire)
    }

    /// Reads a record.
    ///
    /// # Errors
    /// [`FormatError`] if these are not the bytes of a sound record.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let wire: Wire = envelope::open(KIND, bytes, Self::MAX_LEN)?;
        let (ids, []) = wire.ids.as_chunks::<{ ChunkId::LEN }>() else {
            return Err(FormatError::Inconsistent("the list of chunk ids is cut off"));
        };
        let tree = wire.tree.into_tree()?;
        let entries = tree.entries().len();
        let columns =
            [wire.device.len(), wire.inode.len(), wire.ctime_secs.len(), wire.ctime_nanos.len()];
        if columns != [entries; 4] || wire.raw_len.len() != ids.len() {
            return Err(FormatError::Inconsistent("the record's columns differ in length"));
        }
        check_stream(&tree, wire.raw_len.iter().map(|&len| u64::from(len)).sum())?;
        let identities = (0..entries).map(|i| {
            let ctime = Timestamp { secs: wire.ctime_secs[i], nanos: wire.ctime_nanos[i] };
            let (device, inode) = (wire.device[i], wire.inode[i]);
            (inode != 0).then_some(FileIdentity { device, inode, ctime })
        });
        let sealed_by = super::sealed_manifest::key_id(wire.sealed_by.as_ref())?;
        Ok(Self {
            sealed_by,
            chunking: wire.chunking,
            identities: identities.collect(),
            sequence: ids.iter().map(|id| ChunkId::from_bytes(*id)).zip(wire.raw_len).collect(),
            tree,
        })
    }
}
