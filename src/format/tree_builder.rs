//! Building trees: entry by entry, checked; and as parts of other trees.

use super::FormatError;
use super::tree::{
    Anchor, Entry, EntryIndex, FileData, Hole, Kind, Mount, Owner, Text, Timestamp, Tree, Xattr,
    index_of,
};
use crate::relpath::{RelPath, is_name};

/// The most mounts of a tree: a restore has a directory open for each.
const MAX_MOUNTS: usize = 10_000;

/// The most directories above an entry: who walks or restores has them open. A path that
/// can be named whole has fewer.
const MAX_DEPTH: usize = 4_096;

/// The longest name, in bytes: no file system has longer ones.
const MAX_NAME_LEN: usize = 1_024;

/// The most entries: three times as many as there is room for in a manifest of usual names.
const MAX_ENTRIES: usize = 1 << 25;

/// An entry to be added to a tree.
#[derive(Clone, Copy, Debug)]
pub struct NewEntry<'a> {
    /// Its name in its directory.
    pub name: &'a [u8],
    /// What it is.
    pub kind: Kind,
    /// Where it points, if it is a symbolic link.
    pub target: &'a [u8],
    /// Permission bits.
    pub mode: u16,
    /// Modification time.
    pub mtime: Timestamp,
}

/// Builds a tree entry by entry, and admits only what keeps its order and
/// rules, whoever it comes from.
#[derive(Debug, Default)]
pub struct TreeBuilder {
    tree: Tree,
    /// The directories that may still get entries, outermost first, each with
    /// the last entry that it got.
    open: Vec<(EntryIndex, Option<EntryIndex>)>,
}

const UNORDERED: FormatError = FormatError::Inconsistent("entries are not in path order");

impl TreeBuilder {
    /// Begins a mount. What lies at its path is added next, as depth 0.
    ///
    /// # Errors
    /// If it is not after the mounts so far, or overlaps one of them.
    pub fn begin_mount(&mut self, anchor: Anchor, path: RelPath) -> Result<(), FormatError> {
        if let Some(last) = self.tree.mounts.last() {
            if last.entries.is_empty() {
                return Err(FormatError::Inconsistent("a mount is empty"));
            }
            let overlap = last.anchor == anchor && path.below(&last.path).is_some();
            if overlap || (last.anchor, &last.path) >= (anchor, &path) {
                return Err(FormatError::Inconsistent("mounts overlap or are not in order"));
            }
        }
        if self.tree.mounts.len() >= MAX_MOUNTS {
            return Err(FormatError::Inconsistent("there are too many mounts"));
        }
        if path.names().any(|name| name.len() > MAX_NAME_LEN) || path.names().count() > MAX_DEPTH {
            return Err(FormatError::Inconsistent("a mount's path is too long"));
        }
        let start = index_of(self.tree.entries.len());
        self.tree.mounts.push(Mount { anchor, path, entries: start..start });
        self.open.clear();
        Ok(())
    }

    /// Adds an entry `depth` directories below its mount's root.
    ///
    /// # Errors
    /// If a rule of the tree is broken.
    pub fn push(&mut self, depth: usize, new: NewEntry<'_>) -> Result<EntryIndex, FormatError> {
        let index = EntryIndex::try_from(self.tree.entries.len())
            .ok()
            .filter(|_| self.tree.entries.len() < MAX_ENTRIES)
            .ok_or(FormatError::Inconsistent("there are too many entries"))?;
        let parent = self.place(depth, new.name)?;
        if parent.is_none() && new.name.is_empty() && new.kind != Kind::Directory {
            // What is restored there takes the place of all that it holds.
            return Err(FormatError::Inconsistent("a mount without a name is no directory"));
        }
        self.check(&new)?;
        let name = self.intern(new.name)?;
        let target = self.intern(new.target)?;
        self.tree.entries.push(Entry {
            parent,
            kind: new.kind,
            mode: new.mode,
            mtime: new.mtime,
            name,
            target,
        });
        if let Some(mount) = self.tree.mounts.last_mut() {
            mount.entries.end = index + 1;
        }
        if let Some((_, last)) = self.open.last_mut() {
            *last = Some(index);
        }
        if new.kind == Kind::Directory {
            self.open.push((index, None));
        }
        Ok(index)
    }

    /// Finds the directory for an entry at this depth, and closes those that
    /// lie deeper.
    fn place(&mut self, depth: usize, name: &[u8]) -> Result<Option<EntryIndex>, FormatError> {
        let mount =
            self.tree.mounts.last().ok_or(FormatError::Inconsistent("there is no mount"))?;
        if depth == 0 {
            let own_name = mount.path.names().next_back().unwrap_or_default();
            return if mount.entries.is_empty() && name == own_name {
                Ok(None)
            } else {
                Err(UNORDERED)
            };
        }
        if depth > self.open.len() {
            return Err(UNORDERED);
        }
        if depth > MAX_DEPTH || name.len() > MAX_NAME_LEN {
            return Err(FormatError::Inconsistent(
                "an entry lies too deep, or its name is too long",
            ));
        }
        self.open.truncate(depth);
        let (parent, last) = self.open[depth - 1];
        if !is_name(name) {
            return Err(FormatError::Inconsistent("an entry's name is not allowed"));
        }
        if last.is_some_and(|last| self.tree.name(last) >= name) {
            return Err(UNORDERED);
        }
        Ok(Some(parent))
    }

    fn check(&self, new: &NewEntry<'_>) -> Result<(), FormatError> {
        if new.mtime.nanos >= 1_000_000_000 || new.mode > 0o7777 {
            return Err(FormatError::Inconsistent("an entry's time or mode is out of bounds"));
        }
        if (new.kind == Kind::Symlink) == new.target.is_empty() || new.target.contains(&0) {
            return Err(FormatError::Inconsistent("a symbolic link's target is not allowed"));
        }
        if let Kind::HardLink { first } = new.kind {
            let first = self.tree.entries.get(first as usize).map(|entry| entry.kind);
            if !matches!(first, Some(Kind::File(_))) {
                return Err(FormatError::Inconsistent("a hard link has no earlier file"));
            }
        }
        if let Kind::File(data) = new.kind
            && data.size.checked_add(data.at).is_none_or(|end| end > i64::MAX as u64)
        {
            return Err(FormatError::Inconsistent("a file is too long"));
        }
        Ok(())
    }

    fn intern(&mut self, bytes: &[u8]) -> Result<Text, FormatError> {
        let pool = &mut self.tree.pool;
        let too_many = || FormatError::Inconsistent("the names are too long together");
        let start = u32::try_from(pool.len()).map_err(|_| too_many())?;
        let len = u32::try_from(bytes.len()).map_err(|_| too_many())?;
        pool.extend_from_slice(bytes);
        Ok(Text { start, len })
    }

    /// Gives the file added last its holes.
    ///
    /// # Errors
    /// If they are not in order, overlap, or lie outside the file.
    pub fn set_holes(&mut self, index: EntryIndex, holes: Vec<Hole>) -> Result<(), FormatError> {
        let wrong = FormatError::Inconsistent("a file's holes are not in it");
        let Some(Kind::File(file)) = self.tree.entries.get(index as usize).map(|entry| entry.kind)
        else {
            return Err(wrong);
        };
        let mut end = 0;
        for hole in &holes {
            let after = hole.offset.checked_add(hole.len).ok_or_else(|| wrong.clone())?;
            if hole.len == 0 || hole.offset < end || after > file.size {
                return Err(wrong);
            }
            end = after;
        }
        if !holes.is_empty() {
            self.tree.holes.insert(index, holes);
        }
        Ok(())
    }

    /// Gives an entry its extended attributes.
    ///
    /// # Errors
    /// If there is no such entry.
    pub fn set_xattrs(&mut self, index: EntryIndex, xattrs: Vec<Xattr>) -> Result<(), FormatError> {
        if index as usize >= self.tree.entries.len() {
            return Err(FormatError::Inconsistent("attributes belong to no entry"));
        }
        if !xattrs.is_empty() {
            self.tree.xattrs.insert(index, xattrs);
        }
        Ok(())
    }

    /// Gives the entry added last its owner. Owners are recorded for all
    /// entries or for none.
    pub fn push_owner(&mut self, owner: Owner) {
        self.tree.owners.push(owner);
    }

    /// The file's data length, as [`Tree::data_len`].
    pub fn data_len(&self, index: EntryIndex) -> u64 {
        self.tree.data_len(index)
    }

    /// Sets where a file's data lies, as [`Tree::set_file`].
    pub fn set_file(&mut self, index: EntryIndex, data: FileData) {
        self.tree.set_file(index, data);
    }

    /// The finished tree.
    ///
    /// # Errors
    /// If a mount is empty, or owners are recorded for some entries only.
    pub fn finish(self) -> Result<Tree, FormatError> {
        if self.tree.mounts.last().is_some_and(|mount| mount.entries.is_empty()) {
            return Err(FormatError::Inconsistent("a mount is empty"));
        }
        let owners = self.tree.owners.len();
        if owners != 0 && owners != self.tree.entries.len() {
            return Err(FormatError::Inconsistent("only some entries have owners"));
        }
        Ok(self.tree)
    }
}

impl Tree {
    /// The tree of the entries that `keep` wants, and which each of them was.
    /// A mount goes with its root; with a directory, all below it must go. A
    /// hard link whose file goes takes over the file's data.
    ///
    /// # Panics
    /// If `keep` wants an entry and not its directory.
    pub fn select(&self, keep: impl Fn(EntryIndex) -> bool) -> (Tree, Vec<EntryIndex>) {
        let mut builder = TreeBuilder::default();
        let mut origins = vec![];
        let mut new_index: Vec<Option<EntryIndex>> = vec![None; self.entries.len()];
        let mut depths: Vec<usize> = Vec::with_capacity(self.entries.len());
        for mount in &self.mounts {
            let kept = keep(mount.entries.start);
            if kept {
                let begun = builder.begin_mount(mount.anchor, mount.path.clone());
                begun.expect("a part of a sound tree is in order");
            }
            for index in mount.entries.clone() {
                let entry = self.entry(index);
                depths.push(entry.parent.map_or(0, |parent| depths[parent as usize] + 1));
                if !(kept && keep(index)) {
                    continue;
                }
                let (kind, data_of) = match entry.kind {
                    Kind::HardLink { first } => match new_index[first as usize] {
                        Some(first) => (Kind::HardLink { first }, None),
                        None => (self.entry(first).kind, Some(first)),
                    },
                    kind => (kind, Some(index)),
                };
                let new = NewEntry {
                    name: self.name(index),
                    kind,
                    target: self.target(index),
                    mode: entry.mode,
                    mtime: entry.mtime,
                };
                let depth = depths[index as usize];
                let added = builder.push(depth, new).expect("a part of a sound tree is sound");
                if let Some(source) = data_of {
                    builder.tree.set_holes(added, self.holes(source).to_vec());
                    new_index[source as usize] = Some(added);
                }
                if !self.xattrs(index).is_empty() {
                    builder.tree.xattrs.insert(added, self.xattrs(index).to_vec());
                }
                builder.tree.owners.extend(self.owner(index));
                new_index[index as usize] = Some(added);
                origins.push(index);
            }
        }
        (builder.tree, origins)
    }
}

/// Checks that every file's data lies in a stream of `len` bytes, and that no
/// byte belongs to two files: so what files claim together is bounded by what
/// the chunks hold.
pub(super) fn check_stream(tree: &Tree, len: u64) -> Result<(), FormatError> {
    let mut files: Vec<(u64, u64)> = tree
        .indexes()
        .filter_map(|index| match tree.entry(index).kind {
            Kind::File(file) => Some((file.at, tree.data_len(index))),
            _ => None,
        })
        .filter(|&(_, len)| len > 0)
        .collect();
    files.sort_unstable();
    let mut end = 0u64;
    for (at, data_len) in files {
        if at < end {
            return Err(FormatError::Inconsistent("two files share data"));
        }
        end = at
            .checked_add(data_len)
            .filter(|&end| end <= len)
            .ok_or(FormatError::Inconsistent("a file's data is not in the cache"))?;
    }
    Ok(())
}
