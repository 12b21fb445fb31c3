//! The file trees that a cache holds, as one flat table in path order.
//!
//! Directories come before what they hold, and the entries of one directory
//! are sorted by name. A tree knows nothing of chunks: the bytes of all its
//! files lie in one stream, and each file says where in it. What the stream is
//! made of is the manifest's business.
//!
//! A million files must fit in memory beside the work on them, so an entry is
//! a few dozen bytes, and what few entries have lies in side tables.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::relpath::RelPath;

/// The number of an entry in its tree.
pub type EntryIndex = u32;

/// Seconds and nanoseconds since 1970-01-01T00:00:00Z; nanoseconds count
/// forwards, also before 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Timestamp {
    /// Whole seconds.
    pub secs: i64,
    /// Nanoseconds on top of them, below 10^9.
    pub nanos: u32,
}

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A directory.
    Directory,
    /// A regular file.
    File(FileData),
    /// A symbolic link; [`Tree::target`] has where it points.
    Symlink,
    /// Another name of an earlier regular file of this tree.
    HardLink {
        /// That file.
        first: EntryIndex,
    },
}

/// A regular file's length and where its bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileData {
    /// Length in bytes, holes included.
    pub size: u64,
    /// Where its data (all but the holes) begins in the tree's stream; 0 for
    /// a file without data.
    pub at: u64,
}

/// A run of zero bytes that takes no space on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Where in the file it begins.
    pub offset: u64,
    /// How long it is.
    pub len: u64,
}

/// Numeric owner and group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// An extended attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Xattr {
    /// Its name, namespace included (`user.…`).
    pub name: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

impl Xattr {
    /// Whether it means nothing to the system: others than `user.…` are labels, access
    /// lists and capabilities, and one of those is a set-id bit by another name.
    pub fn is_users_own(&self) -> bool {
        self.name.starts_with(b"user.")
    }
}

/// A byte string in a tree's pool of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) start: u32,
    pub(super) len: u32,
}

/// One entry of a tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The directory that holds it, or `None` for the root of a mount.
    pub parent: Option<EntryIndex>,
    /// What it is.
    pub kind: Kind,
    /// Permission bits, set-id and sticky bits included.
    pub mode: u16,
    /// Time of the last change of its contents.
    pub mtime: Timestamp,
    pub(super) name: Text,
    pub(super) target: Text,
}

/// What a mount's path is relative to, so that it means the right place on
/// another machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Anchor {
    /// The working directory of the save or restore.
    WorkingDirectory,
    /// The user's home directory.
    Home,
    /// The file system's root.
    Root,
}

/// A path that was saved, with the entries found there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mount {
    /// What `path` is relative to.
    pub anchor: Anchor,
    /// The path that was saved.
    pub path: RelPath,
    /// Its entries; the first is what lies at `path` itself.
    pub entries: Range<EntryIndex>,
}

impl std::fmt::Display for Mount {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (prefix, path) = (self.anchor, &self.path);
        match (prefix, path.is_empty()) {
            (Anchor::WorkingDirectory, _) => write!(f, "{path}"),
            (Anchor::Home, true) => f.write_str("~"),
            (Anchor::Home, false) => write!(f, "~/{path}"),
            (Anchor::Root, true) => f.write_str("/"),
            (Anchor::Root, false) => write!(f, "/{path}"),
        }
    }
}

/// File trees in path order. See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    pub(super) mounts: Vec<Mount>,
    pub(super) entries: Vec<Entry>,
    pub(super) pool: Vec<u8>,
    pub(super) holes: BTreeMap<EntryIndex, Vec<Hole>>,
    pub(super) owners: Vec<Owner>,
    pub(super) xattrs: BTreeMap<EntryIndex, Vec<Xattr>>,
}

impl Tree {
    /// The mounts in order.
    pub fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// The entries in order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// One entry.
    pub fn entry(&self, index: EntryIndex) -> &Entry {
        &self.entries[index as usize]
    }

    /// All entry numbers in order.
    pub fn indexes(&self) -> Range<EntryIndex> {
        0..index_of(self.entries.len())
    }

    /// The entry's name in its directory; empty for the root of a mount whose
    /// path is empty.
    pub fn name(&self, index: EntryIndex) -> &[u8] {
        self.text(self.entry(index).name)
    }

    /// Where the symbolic link points; empty for other entries.
    pub fn target(&self, index: EntryIndex) -> &[u8] {
        self.text(self.entry(index).target)
    }

    /// The file's holes in order.
    pub fn holes(&self, index: EntryIndex) -> &[Hole] {
        self.holes.get(&index).map_or(&[], Vec::as_slice)
    }

    /// Bytes of the entry's data: its size less its holes, 0 for what is no
    /// regular file.
    pub fn data_len(&self, index: EntryIndex) -> u64 {
        match self.entry(index).kind {
            Kind::File(file) => {
                file.size - self.holes(index).iter().map(|hole| hole.len).sum::<u64>()
            }
            _ => 0,
        }
    }

    /// Bytes of all files, holes included, hard links counted once.
    pub fn raw_bytes(&self) -> u64 {
        self.indexes().map(|index| self.size(index)).fold(0, u64::saturating_add)
    }

    /// Bytes of an entry, holes included; none of what is no file, or another name of one.
    pub fn size(&self, index: EntryIndex) -> u64 {
        match self.entry(index).kind {
            Kind::File(file) => file.size,
            _ => 0,
        }
    }

    /// Regular files, hard links included.
    pub fn file_count(&self) -> u64 {
        let is_file = |entry: &&Entry| matches!(entry.kind, Kind::File(_) | Kind::HardLink { .. });
        self.entries.iter().filter(is_file).count() as u64
    }

    /// The entry's owner, where owners were recorded.
    pub fn owner(&self, index: EntryIndex) -> Option<Owner> {
        self.owners.get(index as usize).copied()
    }

    /// The entry's extended attributes.
    pub fn xattrs(&self, index: EntryIndex) -> &[Xattr] {
        self.xattrs.get(&index).map_or(&[], Vec::as_slice)
    }

    /// The mount that the entry belongs to.
    pub fn mount_of(&self, index: EntryIndex) -> &Mount {
        let after = self.mounts.partition_point(|mount| mount.entries.end <= index);
        &self.mounts[after]
    }

    /// The entry's path below its mount's anchor.
    pub fn path(&self, index: EntryIndex) -> Vec<u8> {
        let mut names = vec![];
        let mut at = index;
        while let Some(parent) = self.entry(at).parent {
            names.push(self.name(at));
            at = parent;
        }
        let root = self.mount_of(index).path.as_bytes();
        if !root.is_empty() {
            names.push(root);
        }
        names.reverse();
        names.join(&b'/')
    }

    /// Sets where a file's data lies and how long it turned out to be.
    ///
    /// # Panics
    /// If the entry is no regular file.
    pub fn set_file(&mut self, index: EntryIndex, data: FileData) {
        let kind = &mut self.entries[index as usize].kind;
        assert!(matches!(kind, Kind::File(_)), "only files have data");
        *kind = Kind::File(data);
    }

    /// Sets a file's holes, which must be in order and within it.
    pub fn set_holes(&mut self, index: EntryIndex, holes: Vec<Hole>) {
        if holes.is_empty() {
            self.holes.remove(&index);
        } else {
            self.holes.insert(index, holes);
        }
    }

    /// Sets an entry's mode and modification time.
    pub fn set_metadata(&mut self, index: EntryIndex, mode: u16, mtime: Timestamp) {
        let entry = &mut self.entries[index as usize];
        entry.mode = mode;
        entry.mtime = mtime;
    }

    fn text(&self, text: Text) -> &[u8] {
        &self.pool[text.start as usize..][..text.len as usize]
    }

    pub(super) fn owners(&self) -> &[Owner] {
        &self.owners
    }
}

pub(super) fn index_of(len: usize) -> EntryIndex {
    EntryIndex::try_from(len).expect("the builder admits fewer than 2^32 entries")
}
