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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::trees;
    use super::super::tree_builder::check_stream;
    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn columns_hold_all_of_a_tree(tree in trees()) {
            prop_assert_eq!(Columns::of(&tree).into_tree(), Ok(tree));
        }

        /// Whatever a column claims, reading it ends in a tree or an error.
        #[test]
        fn changed_columns_do_no_harm(tree in trees(), at in any::<usize>(), byte in any::<u8>()) {
            let mut bytes = rmp_serde::to_vec_named(&Columns::of(&tree)).unwrap();
            let at = at % bytes.len();
            bytes[at] = byte;
            if let Ok(columns) = rmp_serde::from_slice::<Columns>(&bytes)
                && let Ok(tree) = columns.into_tree()
            {
                for index in tree.indexes() {
                    prop_assert!(RelPath::new(tree.path(index)).is_ok());
                    prop_assert!(tree.entry(index).parent.is_none_or(|parent| parent < index));
                    if let Kind::HardLink { first } = tree.entry(index).kind {
                        prop_assert!(matches!(tree.entry(first).kind, Kind::File(_)));
                    }
                }
            }
        }
    }

    /// The mount `m` with the directory `d`, in it the file `f`, its other name
    /// `g` and the link `l`; and beside `d` the file `z`.
    fn sound() -> Columns {
        Columns {
            mounts: vec![MountColumns { anchor: 0, path: ByteBuf::from("m"), entries: 6 }],
            depth: vec![0, 1, 2, 2, 2, 1],
            kind: ByteBuf::from("ddfhlf"),
            names: ByteBuf::from("d\0f\0g\0l\0z\0"),
            mode: vec![0o755; 6],
            mtime_secs: vec![0; 6],
            mtime_nanos: vec![0; 6],
            size: vec![10, 20],
            targets: ByteBuf::from("to\0"),
            links: vec![2],
            ..Columns::default()
        }
    }

    #[track_caller]
    fn refused(what: &str, change: impl FnOnce(&mut Columns)) {
        let mut columns = sound();
        change(&mut columns);
        let read = columns.into_tree();
        assert!(matches!(read, Err(FormatError::Inconsistent(_))), "{what}: {read:?}");
    }

    fn names(columns: &mut Columns, names: &[u8]) {
        columns.names = ByteBuf::from(names);
    }

    #[test]
    fn names_stay_in_their_directory() {
        assert!(sound().into_tree().is_ok());
        refused("climbs", |c| names(c, b"d\0..\0g\0l\0z\0"));
        refused("itself", |c| names(c, b"d\0.\0g\0l\0z\0"));
        refused("two levels", |c| names(c, b"d\0a/b\0g\0l\0z\0"));
        refused("absolute", |c| names(c, b"/d\0f\0g\0l\0z\0"));
        refused("empty", |c| names(c, b"d\0\0g\0l\0z\0"));
        refused("twice", |c| names(c, b"d\0f\0f\0l\0z\0"));
        refused("not sorted", |c| names(c, b"d\0f\0l\0g\0z\0"));
        refused("twice beside a directory", |c| names(c, b"d\0f\0g\0l\0d\0"));
        refused("one too few", |c| names(c, b"d\0f\0g\0l\0"));
        refused("one too many", |c| names(c, b"d\0f\0g\0l\0z\0zz\0"));
        refused("not ended", |c| names(c, b"d\0f\0g\0l\0z"));
    }

    /// Names and places that no file system has, or that would keep more directories open
    /// than a process can have.
    #[test]
    fn trees_are_bounded() {
        let chain = |depth: u32| Columns {
            mounts: vec![MountColumns { anchor: 0, path: ByteBuf::from("m"), entries: depth + 1 }],
            depth: (0..=depth).collect(),
            kind: ByteBuf::from(vec![b'd'; depth as usize + 1]),
            names: ByteBuf::from("a\0".repeat(depth as usize)),
            mode: vec![0o755; depth as usize + 1],
            mtime_secs: vec![0; depth as usize + 1],
            mtime_nanos: vec![0; depth as usize + 1],
            ..Columns::default()
        };
        assert!(chain(4_096).into_tree().is_ok());
        assert!(chain(4_097).into_tree().is_err());
        assert!(chain(100_000).into_tree().is_err());
        let many = |mounts: u32| Columns {
            mounts: (0..mounts)
                .map(|number| MountColumns {
                    anchor: 0,
                    path: ByteBuf::from(format!("{number:07}")),
                    entries: 1,
                })
                .collect(),
            depth: vec![0; mounts as usize],
            kind: ByteBuf::from(vec![b'd'; mounts as usize]),
            mode: vec![0o755; mounts as usize],
            mtime_secs: vec![0; mounts as usize],
            mtime_nanos: vec![0; mounts as usize],
            ..Columns::default()
        };
        assert!(many(10_000).into_tree().is_ok());
        assert!(many(1_000_000).into_tree().is_err());
        let long = |len: usize| format!("{}\0f\0g\0l\0z\0", "d".repeat(len));
        let mut longest = sound();
        names(&mut longest, long(1_024).as_bytes());
        assert!(longest.into_tree().is_ok());
        refused("a name of 64 KiB", |c| names(c, long(64 << 10).as_bytes()));
        refused("a mount of 64 KiB", |c| c.mounts[0].path = ByteBuf::from("m".repeat(64 << 10)));
        let claims_many = |c: &mut Columns| c.mounts[0].entries = u32::MAX;
        refused("more entries than there are", claims_many);
    }

    /// It would take the place of the working directory with all that it holds.
    #[test]
    fn what_has_no_name_is_a_directory() {
        let nameless = |kind: &str| {
            let mut columns = Columns {
                mounts: vec![MountColumns { anchor: 0, path: ByteBuf::new(), entries: 1 }],
                depth: vec![0],
                kind: ByteBuf::from(kind),
                mode: vec![0o755],
                mtime_secs: vec![0],
                mtime_nanos: vec![0],
                ..Columns::default()
            };
            match kind {
                "f" => columns.size = vec![0],
                "l" => columns.targets = ByteBuf::from("to\0"),
                _ => {}
            }
            columns.into_tree()
        };
        assert!(nameless("d").is_ok());
        assert!(nameless("f").is_err());
        assert!(nameless("l").is_err());
    }

    #[test]
    fn parents_are_directories_before_their_entries() {
        refused("two roots", |c| c.depth[1] = 0);
        refused("no root", |c| c.depth[0] = 1);
        refused("a level is left out", |c| c.depth[1] = 2);
        refused("below a file", |c| c.depth[3] = 3);
        refused("below a link", |c| c.depth[5] = 3);
        refused("deep", |c| c.depth[4] = u32::MAX);
        refused("the root is a file with entries", |c| c.kind = ByteBuf::from("fdfhlf"));
    }

    #[test]
    fn hard_links_lead_to_earlier_files() {
        refused("itself", |c| c.links = vec![3]);
        refused("a later file", |c| c.links = vec![5]);
        refused("a directory", |c| c.links = vec![1]);
        refused("a symbolic link", |c| {
            c.kind = ByteBuf::from("ddlhff");
            c.links = vec![2];
        });
        refused("nothing", |c| c.links = vec![u32::MAX]);
        refused("another hard link", |c| {
            c.kind = ByteBuf::from("ddfhhf");
            c.targets = ByteBuf::new();
            c.links = vec![2, 3];
        });
    }

    #[test]
    fn mounts_do_not_overlap() {
        let two = |first: (u8, &str), second: (u8, &str)| {
            let mount = |(anchor, path): (u8, &str)| {
                let path = ByteBuf::from(path);
                MountColumns { anchor, path, entries: 1 }
            };
            Columns {
                mounts: vec![mount(first), mount(second)],
                depth: vec![0, 0],
                kind: ByteBuf::from("dd"),
                mode: vec![0o755; 2],
                mtime_secs: vec![0; 2],
                mtime_nanos: vec![0; 2],
                ..Columns::default()
            }
            .into_tree()
        };
        assert!(two((0, "a"), (0, "b")).is_ok());
        assert!(two((0, "a"), (1, "a")).is_ok());
        assert!(two((0, "a"), (0, "a-")).is_ok());
        assert!(two((0, "a"), (0, "a")).is_err(), "the same");
        assert!(two((0, "a"), (0, "a/b")).is_err(), "inside");
        assert!(two((0, ""), (0, "x")).is_err(), "inside the anchor");
        assert!(two((0, "a/b"), (0, "a")).is_err(), "around");
        assert!(two((0, "b"), (0, "a")).is_err(), "not sorted");
        assert!(two((1, "a"), (0, "b")).is_err(), "anchors not sorted");
        assert!(two((0, "../a"), (0, "b")).is_err(), "climbs");
        assert!(two((2, "/etc"), (2, "x")).is_err(), "absolute");
        assert!(two((3, "a"), (3, "b")).is_err(), "unknown anchor");
        refused("fewer entries than claimed", |c| c.mounts[0].entries = 7);
        refused("more entries than claimed", |c| c.mounts[0].entries = 5);
        refused("none", |c| c.mounts.clear());
    }

    #[test]
    fn entries_are_within_bounds() {
        refused("mode", |c| c.mode[2] = 0o10000);
        refused("nanoseconds", |c| c.mtime_nanos[2] = 1_000_000_000);
        refused("size", |c| c.size[0] = u64::MAX);
        refused("target", |c| c.targets = ByteBuf::from("\0"));
        refused("kind", |c| c.kind = ByteBuf::from("ddfhlx"));
        refused("one size too many", |c| c.size.push(1));
        refused("hole past the end", |c| c.holes = vec![(2, vec![(5, 6)])]);
        refused("hole that overflows", |c| c.holes = vec![(2, vec![(5, u64::MAX)])]);
        refused("holes that overlap", |c| c.holes = vec![(2, vec![(0, 5), (4, 2)])]);
        refused("empty hole", |c| c.holes = vec![(2, vec![(0, 0)])]);
        refused("holes of a directory", |c| c.holes = vec![(1, vec![(0, 1)])]);
        refused("attributes of nothing", |c| c.xattrs = vec![(6, vec![Default::default()])]);
        refused("owners of some", |c| c.owners = vec![(0, 0); 5]);
        refused("data past the end of all", |c| {
            c.jump_file = vec![2];
            c.jump_at = vec![u64::MAX];
        });
    }

    #[test]
    fn no_byte_belongs_to_two_files() {
        let placed = |at: u64| {
            let mut columns = sound();
            columns.jump_file = vec![5];
            columns.jump_at = vec![at];
            columns.into_tree().unwrap()
        };
        // `f` has the bytes 0..10, `z` has 20.
        assert!(check_stream(&placed(10), 30).is_ok());
        assert!(check_stream(&placed(11), 31).is_ok());
        assert!(check_stream(&placed(9), 30).is_err(), "a byte of both");
        assert!(check_stream(&placed(0), 30).is_err(), "all of one in the other");
        assert!(check_stream(&placed(11), 30).is_err(), "not in the stream");
    }
}
