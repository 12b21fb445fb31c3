//! Trees of all shapes, for tests.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{
    Anchor, Annotation, ChunkTable, FileData, Hole, Kind, Location, Manifest, ManifestFacts,
    NewEntry, Owner, Timestamp, Tree, TreeBuilder, Xattr,
};
use crate::ids::{ChunkId, PackId};
use crate::relpath::RelPath;

/// What lies at a path.
#[derive(Clone, Debug)]
enum Node {
    Directory(BTreeMap<Vec<u8>, Node>),
    Leaf(Leaf),
}

#[derive(Clone, Debug)]
struct Leaf {
    /// 0 to 5: a file, 6: a link, 7: another name of some file before it.
    kind: u8,
    len: u32,
    mode: u16,
    mtime: Timestamp,
    seed: u32,
}

const NAMES: [&[u8]; 7] = [b"a", b"a-", b"a.b", b"b", b"\xff", b"node_modules", b"z z"];

fn leaves() -> impl Strategy<Value = Leaf> {
    let mtime = (any::<i64>(), 0..1_000_000_000u32);
    let mtime = mtime.prop_map(|(secs, nanos)| Timestamp { secs, nanos });
    let len = prop_oneof![Just(0), 1..100u32, 1..400_000u32];
    (0..8u8, len, 0..=0o7777u16, mtime, any::<u32>())
        .prop_map(|(kind, len, mode, mtime, seed)| Leaf { kind, len, mode, mtime, seed })
}

/// Trees of one or more mounts, with everything that an entry can have.
pub(crate) fn trees() -> impl Strategy<Value = Tree> {
    let path = prop::collection::vec(0..NAMES.len(), 1..5);
    let entries = prop::collection::vec((path, leaves()), 0..40);
    let mounts = prop::collection::btree_map(0..5usize, entries, 1..4);
    (mounts, any::<bool>()).prop_map(|(mounts, owners)| build(mounts, owners))
}

fn build(mounts: BTreeMap<usize, Vec<(Vec<usize>, Leaf)>>, owners: bool) -> Tree {
    const MOUNTS: [(Anchor, &str); 5] = [
        (Anchor::WorkingDirectory, "a/b"),
        (Anchor::WorkingDirectory, "c"),
        (Anchor::Home, ""),
        (Anchor::Root, "opt"),
        (Anchor::Root, "opt-2/x"),
    ];
    let mut builder = TreeBuilder::default();
    let mut files = vec![];
    let mut count = 0;
    for (number, entries) in mounts {
        let (anchor, path) = MOUNTS[number];
        let path = RelPath::new(path).unwrap();
        let name = path.names().next_back().unwrap_or_default().to_vec();
        let mut root = BTreeMap::new();
        for (path, leaf) in entries {
            insert(&mut root, &path, leaf);
        }
        builder.begin_mount(anchor, path).unwrap();
        push(&mut builder, 0, &name, &Node::Directory(root), &mut files, &mut count);
    }
    // Data in any order, with gaps: as after edits.
    files.sort_by_key(|&(_, _, seed)| seed);
    let mut at = 0;
    for (file, size, seed) in files {
        let len = builder.data_len(file);
        if len > 0 {
            builder.set_file(file, FileData { size, at });
            at += len + u64::from(seed % 3);
        }
    }
    if owners {
        for index in 0..count {
            builder.push_owner(Owner { uid: index % 3, gid: index % 5 });
        }
    }
    builder.finish().unwrap()
}

fn insert(directory: &mut BTreeMap<Vec<u8>, Node>, path: &[usize], leaf: Leaf) {
    let name = NAMES[path[0]].to_vec();
    if path.len() == 1 {
        directory.entry(name).or_insert(Node::Leaf(leaf));
    } else if let Node::Directory(below) =
        directory.entry(name).or_insert_with(|| Node::Directory(BTreeMap::new()))
    {
        insert(below, &path[1..], leaf);
    }
}

fn push(
    builder: &mut TreeBuilder,
    depth: usize,
    name: &[u8],
    node: &Node,
    files: &mut Vec<(u32, u64, u32)>,
    count: &mut u32,
) {
    *count += 1;
    let mtime = Timestamp { secs: -7, nanos: 1 };
    let mut new = NewEntry { name, kind: Kind::Directory, target: b"", mode: 0o755, mtime };
    let leaf = match node {
        Node::Directory(below) => {
            builder.push(depth, new).unwrap();
            for (name, node) in below {
                push(builder, depth + 1, name, node, files, count);
            }
            return;
        }
        Node::Leaf(leaf) => leaf,
    };
    (new.mode, new.mtime) = (leaf.mode, leaf.mtime);
    if leaf.kind == 6 {
        (new.kind, new.target) = (Kind::Symlink, b"../some where");
    } else if leaf.kind == 7 && !files.is_empty() {
        new.kind = Kind::HardLink { first: files[leaf.seed as usize % files.len()].0 };
    } else {
        new.kind = Kind::File(FileData { size: u64::from(leaf.len), at: 0 });
    }
    let index = builder.push(depth, new).unwrap();
    if matches!(new.kind, Kind::File(_)) {
        files.push((index, u64::from(leaf.len), leaf.seed));
        if leaf.seed.is_multiple_of(4) && leaf.len > 20 {
            let len = u64::from(leaf.len);
            let holes = vec![Hole { offset: 0, len: 5 }, Hole { offset: len / 2, len: len / 4 }];
            builder.set_holes(index, holes).unwrap();
        }
    }
    if leaf.seed.is_multiple_of(5) {
        let xattr = Xattr { name: b"user.x".to_vec(), value: leaf.seed.to_le_bytes().to_vec() };
        builder.set_xattrs(index, vec![xattr]).unwrap();
    }
}

/// A directory with a file and a link.
pub(crate) fn small_tree() -> Tree {
    let mut builder = TreeBuilder::default();
    builder.begin_mount(Anchor::Root, RelPath::new("a mount").unwrap()).unwrap();
    let new = |kind, name, target| NewEntry {
        kind,
        name,
        target,
        mode: 0o755,
        mtime: Timestamp::default(),
    };
    builder.push(0, new(Kind::Directory, b"a mount", b"")).unwrap();
    builder.push(1, new(Kind::File(FileData { size: 3000, at: 500 }), b"a file", b"")).unwrap();
    builder.push(1, new(Kind::Symlink, b"link", b"a file")).unwrap();
    builder.finish().unwrap()
}

/// A manifest of a tree whose stream is these chunks, given with their stored
/// lengths: bytes that nobody reads, so ids and lengths are all there is of them.
pub(crate) fn manifest(tree: Tree, chunks: &[(ChunkId, u32, u32)]) -> Manifest {
    let mut table = ChunkTable::default();
    let mut rows = BTreeMap::new();
    let mut sequence = vec![];
    for &(id, raw_len, stored_len) in chunks {
        let location =
            Location { pack: PackId::from_bytes([1; 16]), offset: 8, stored_len, raw_len };
        sequence.push(*rows.entry(id).or_insert_with(|| table.push(id, location)));
    }
    let manifest = Manifest {
        scope: "s".parse().unwrap(),
        key: "k".parse().unwrap(),
        writer: String::new(),
        created: 0,
        facts: ManifestFacts::default(),
        annotation: Annotation::default(),
        tree,
        sequence,
        chunks: table,
        sealed_by: None,
        signed_by: None,
    };
    manifest.check().unwrap();
    manifest
}

/// A manifest of a tree whose stream is made of so many chunks as it takes, some of
/// them the same.
pub(crate) fn any_manifest(tree: Tree) -> Manifest {
    const LEN: u32 = 70_000;
    let end = |index| match tree.entry(index).kind {
        Kind::File(file) => file.at + tree.data_len(index),
        _ => 0,
    };
    let stream_len = tree.indexes().map(end).max().unwrap_or(0);
    let chunks: Vec<_> = (0..stream_len.div_ceil(LEN.into()))
        .map(|number| {
            let kind = u32::try_from(number % 5).unwrap();
            (ChunkId::of(&kind.to_le_bytes()), LEN, LEN - kind * 9_999)
        })
        .collect();
    manifest(tree, &chunks)
}
