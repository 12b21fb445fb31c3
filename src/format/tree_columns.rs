//! A tree on the wire: one column per property.
//!
//! Beside each other, the modes of a tree compress to nothing and its times to
//! little; and a column of integers decodes without a step per entry. What can
//! be told from the rest is left out: parents follow from depths, and a file's
//! place in the stream from the file before it.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::FormatError;
use super::tree::{Anchor, EntryIndex, FileData, Hole, Kind, Owner, Timestamp, Tree, Xattr};
use super::tree_builder::{NewEntry, TreeBuilder};
use crate::relpath::RelPath;

/// A tree's columns.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Columns {
    mounts: Vec<MountColumns>,
    /// For each entry, the directories between it and its mount's root.
    depth: Vec<u32>,
    /// For each entry, `d`, `f`, `l` or `h`.
    kind: ByteBuf,
    /// Names of all entries but the mounts' roots, each followed by a NUL.
    names: ByteBuf,
    mode: Vec<u16>,
    /// Seconds of the modification time, less those of the entry before.
    mtime_secs: Vec<i64>,
    mtime_nanos: Vec<u32>,
    /// For each `f`, its length in bytes.
    size: Vec<u64>,
    /// Files whose data does not begin where the data before it ends.
    jump_file: Vec<u32>,
    /// Where the data of each of those begins.
    jump_at: Vec<u64>,
    /// For each `l`, its target, followed by a NUL.
    targets: ByteBuf,
    /// For each `h`, the number of the file that it is a name of.
    links: Vec<u32>,
    /// Sparse files: entry number, and offset and length of each hole.
    holes: Vec<(u32, Vec<(u64, u64)>)>,
    /// User and group of each entry, or nothing.
    owners: Vec<(u32, u32)>,
    /// Entry number, and name and value of each extended attribute.
    xattrs: Vec<(u32, Vec<(ByteBuf, ByteBuf)>)>,
}

#[derive(Debug, Serialize, Deserialize)]
struct MountColumns {
    /// 0 working directory, 1 home, 2 root.
    anchor: u8,
    path: ByteBuf,
    /// How many entries belong to it.
    entries: u32,
}

impl Columns {
    pub(super) fn of(tree: &Tree) -> Self {
        let mut columns = Self { mounts: mounts(tree), ..Self::default() };
        let mut depths: Vec<u32> = Vec::with_capacity(tree.entries().len());
        let mut last_secs = 0;
        let mut stream_end = 0;
        for index in tree.indexes() {
            let entry = tree.entry(index);
            depths.push(entry.parent.map_or(0, |parent| depths[parent as usize] + 1));
            columns.kind.push(match entry.kind {
                Kind::Directory => b'd',
                Kind::File(_) => b'f',
                Kind::Symlink => b'l',
                Kind::HardLink { .. } => b'h',
            });
            if entry.parent.is_some() {
                push_text(&mut columns.names, tree.name(index));
            }
            columns.mode.push(entry.mode);
            columns.mtime_secs.push(entry.mtime.secs.wrapping_sub(last_secs));
            last_secs = entry.mtime.secs;
            columns.mtime_nanos.push(entry.mtime.nanos);
            match entry.kind {
                Kind::File(file) => {
                    columns.size.push(file.size);
                    let len = tree.data_len(index);
                    if len > 0 && file.at != stream_end {
                        columns.jump_file.push(index);
                        columns.jump_at.push(file.at);
                    }
                    if len > 0 {
                        stream_end = file.at + len;
                    }
                }
                Kind::Symlink => push_text(&mut columns.targets, tree.target(index)),
                Kind::HardLink { first } => columns.links.push(first),
                Kind::Directory => {}
            }
            if !tree.holes(index).is_empty() {
                let holes = tree.holes(index).iter().map(|hole| (hole.offset, hole.len));
                columns.holes.push((index, holes.collect()));
            }
            if !tree.xattrs(index).is_empty() {
                let pair =
                    |x: &Xattr| (ByteBuf::from(x.name.clone()), ByteBuf::from(x.value.clone()));
                columns.xattrs.push((index, tree.xattrs(index).iter().map(pair).collect()));
            }
        }
        columns.depth = depths;
        columns.owners = tree.owners().iter().map(|owner| (owner.uid, owner.gid)).collect();
        columns
    }

    /// Builds the tree, checking everything that a [`TreeBuilder`] checks.
    pub(super) fn into_tree(self) -> Result<Tree, FormatError> {
        let mut builder = TreeBuilder::default();
        let mut reader = Reader::new(self);
        for mount in std::mem::take(&mut reader.columns.mounts) {
            let path = RelPath::new(mount.path.into_vec())
                .map_err(|_| FormatError::Inconsistent("a mount's path is not allowed"))?;
            let own_name = path.names().next_back().unwrap_or_default().to_vec();
            builder.begin_mount(anchor(mount.anchor)?, path)?;
            for _ in 0..mount.entries {
                reader.next_entry(&mut builder, &own_name)?;
            }
        }
        reader.finish(&mut builder)?;
        builder.finish()
    }
}

fn mounts(tree: &Tree) -> Vec<MountColumns> {
    let column = tree.mounts().iter().map(|mount| MountColumns {
        anchor: match mount.anchor {
            Anchor::WorkingDirectory => 0,
            Anchor::Home => 1,
            Anchor::Root => 2,
        },
        path: ByteBuf::from(mount.path.as_bytes()),
        entries: mount.entries.end - mount.entries.start,
    });
    column.collect()
}

fn anchor(number: u8) -> Result<Anchor, FormatError> {
    match number {
        0 => Ok(Anchor::WorkingDirectory),
        1 => Ok(Anchor::Home),
        2 => Ok(Anchor::Root),
        _ => Err(FormatError::Inconsistent("a mount has an unknown anchor")),
    }
}

fn push_text(pool: &mut ByteBuf, text: &[u8]) {
    pool.extend_from_slice(text);
    pool.push(0);
}

/// Reads entries off the columns, one after the other.
struct Reader {
    columns: Columns,
    entry: usize,
    name: usize,
    size: usize,
    target: usize,
    link: usize,
    jump: usize,
    secs: i64,
    stream_end: u64,
    /// Holes decide how much data a file has, and so where the next begins.
    hole: usize,
}

const CUT: FormatError = FormatError::Inconsistent("the tree's columns differ in length");

impl Reader {
    fn new(columns: Columns) -> Self {
        Self {
            columns,
            entry: 0,
            name: 0,
            size: 0,
            target: 0,
            link: 0,
            jump: 0,
            secs: 0,
            stream_end: 0,
            hole: 0,
        }
    }

    fn next_entry(
        &mut self,
        builder: &mut TreeBuilder,
        root_name: &[u8],
    ) -> Result<(), FormatError> {
        let i = self.entry;
        let columns = &self.columns;
        let depth = *columns.depth.get(i).ok_or(CUT)? as usize;
        let name = if depth == 0 { root_name } else { take_text(&columns.names, &mut self.name)? };
        let secs = self.secs.wrapping_add(*columns.mtime_secs.get(i).ok_or(CUT)?);
        let mut target: &[u8] = &[];
        let kind = match columns.kind.get(i).ok_or(CUT)? {
            b'd' => Kind::Directory,
            b'f' => {
                let size = *columns.size.get(self.size).ok_or(CUT)?;
                self.size += 1;
                Kind::File(FileData { size, at: 0 })
            }
            b'l' => {
                target = take_text(&columns.targets, &mut self.target)?;
                Kind::Symlink
            }
            b'h' => {
                let first = *columns.links.get(self.link).ok_or(CUT)?;
                self.link += 1;
                Kind::HardLink { first }
            }
            _ => return Err(FormatError::Inconsistent("an entry is of an unknown kind")),
        };
        let mode = *columns.mode.get(i).ok_or(CUT)?;
        let mtime = Timestamp { secs, nanos: *columns.mtime_nanos.get(i).ok_or(CUT)? };
        let index = builder.push(depth, NewEntry { name, kind, target, mode, mtime })?;
        self.secs = secs;
        self.entry += 1;
        if let Kind::File(file) = kind {
            self.place_data(builder, index, file.size)?;
        }
        Ok(())
    }

    /// Finds the file's holes and where its data begins.
    fn place_data(
        &mut self,
        builder: &mut TreeBuilder,
        index: EntryIndex,
        size: u64,
    ) -> Result<(), FormatError> {
        if let Some((entry, holes)) = self.columns.holes.get(self.hole)
            && *entry == index
        {
            let holes = holes.iter().map(|&(offset, len)| Hole { offset, len }).collect();
            builder.set_holes(index, holes)?;
            self.hole += 1;
        }
        let len = builder.data_len(index);
        if len == 0 {
            return Ok(());
        }
        let at = if self.columns.jump_file.get(self.jump) == Some(&index) {
            self.jump += 1;
            *self.columns.jump_at.get(self.jump - 1).ok_or(CUT)?
        } else {
            self.stream_end
        };
        builder.set_file(index, FileData { size, at });
        self.stream_end = at
            .checked_add(len)
            .ok_or(FormatError::Inconsistent("a file's data is not in the cache"))?;
        Ok(())
    }

    /// Adds what belongs to no entry's turn, and checks that nothing is left.
    fn finish(self, builder: &mut TreeBuilder) -> Result<(), FormatError> {
        let columns = self.columns;
        let all_read = columns.depth.len() == self.entry
            && columns.kind.len() == self.entry
            && columns.mode.len() == self.entry
            && columns.mtime_secs.len() == self.entry
            && columns.mtime_nanos.len() == self.entry
            && columns.names.len() == self.name
            && columns.size.len() == self.size
            && columns.targets.len() == self.target
            && columns.links.len() == self.link
            && columns.jump_file.len() == self.jump
            && columns.jump_at.len() == self.jump
            && columns.holes.len() == self.hole;
        if !all_read {
            return Err(CUT);
        }
        for (uid, gid) in columns.owners {
            builder.push_owner(Owner { uid, gid });
        }
        for (index, xattrs) in columns.xattrs {
            let xattrs = xattrs
                .into_iter()
                .map(|(name, value)| Xattr { name: name.into_vec(), value: value.into_vec() });
            builder.set_xattrs(index, xattrs.collect())?;
        }
        Ok(())
    }
}

fn take_text<'a>(pool: &'a [u8], at: &mut usize) -> Result<&'a [u8], FormatError> {
    let rest = &pool[*at..];
    let len = rest.iter().position(|&byte| byte == 0).ok_or(CUT)?;
    *at += len + 1;
    Ok(&rest[..len])
}
