//! Diffs of trees that are built here, against listings of their own.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::format::testing::{any_manifest, manifest, trees};
use crate::format::{Anchor, FileData, NewEntry, Timestamp, TreeBuilder};
use crate::ids::ChunkId;
use crate::relpath::RelPath;

/// From this length on files of these tests are cut on their own, after each `|`.
const LARGE: usize = 6;

/// A file of these tests: its name, what it holds, and the nanoseconds of its time.
type File<'a> = (&'a str, &'a str, u32);

/// The tree `m` with these files, so many of the small ones in a bundle.
fn cache(files: &[File<'_>], bundle: usize) -> Manifest {
    let mut chunks: Vec<String> = vec![];
    let (mut open, mut in_open) = (String::new(), 0);
    let mut at = 0;
    let mut builder = begin(Anchor::WorkingDirectory, "m");
    for &(name, contents, nanos) in files {
        if contents.len() >= LARGE {
            chunks.push(std::mem::take(&mut open));
            chunks.extend(contents.split_inclusive('|').map(str::to_owned));
            in_open = 0;
        } else {
            open.push_str(contents);
            in_open += 1;
        }
        if in_open == bundle {
            chunks.push(std::mem::take(&mut open));
            in_open = 0;
        }
        let size = contents.len() as u64;
        let kind = Kind::File(FileData { size, at: if size == 0 { 0 } else { at } });
        push(&mut builder, 1, name, kind, "", nanos);
        at += size;
    }
    chunks.push(open);
    chunks.retain(|chunk| !chunk.is_empty());
    let chunk = |text: &String| {
        let len = text.len() as u32;
        (ChunkId::of(text.as_bytes()), len, len.div_ceil(2))
    };
    manifest(builder.finish().unwrap(), &chunks.iter().map(chunk).collect::<Vec<_>>())
}

/// A tree with one mount, which is a directory.
fn begin(anchor: Anchor, path: &str) -> TreeBuilder {
    let mut builder = TreeBuilder::default();
    mount(&mut builder, anchor, path);
    builder
}

fn mount(builder: &mut TreeBuilder, anchor: Anchor, path: &str) {
    builder.begin_mount(anchor, RelPath::new(path).unwrap()).unwrap();
    push(builder, 0, path.rsplit('/').next().unwrap(), Kind::Directory, "", 0);
}

fn push(builder: &mut TreeBuilder, depth: usize, name: &str, kind: Kind, to: &str, nanos: u32) {
    let (name, target) = (name.as_bytes(), to.as_bytes());
    let mtime = Timestamp { secs: 1, nanos };
    builder.push(depth, NewEntry { name, kind, target, mode: 0o644, mtime }).unwrap();
}

const EMPTY: Kind = Kind::File(FileData { size: 0, at: 0 });

/// The changes in few letters: `+`, `-`, `M` or `?`, and the path.
fn shown(first: &Manifest, second: &Manifest) -> String {
    let text = |path: Vec<u8>| String::from_utf8(path).unwrap();
    let show = |change: &Change| match *change {
        Change::Added(index) => format!("+{}", text(second.tree.path(index))),
        Change::Removed(index) => format!("-{}", text(first.tree.path(index))),
        Change::Changed { before, after, what } => {
            assert_eq!(first.tree.path(before), second.tree.path(after));
            let sign = if what.is_unsure() { '?' } else { 'M' };
            format!("{sign}{}", text(second.tree.path(after)))
        }
    };
    changes(first, second, false).iter().map(show).collect::<Vec<_>>().join(" ")
}

#[track_caller]
fn check(first: &[File<'_>], second: &[File<'_>], expected: &str) {
    assert_eq!(shown(&cache(first, 2), &cache(second, 2)), expected);
}

#[test]
fn files_are_told_by_their_chunks() {
    let base = [("a", "x", 0), ("b", "yy", 0), ("c", "zzz", 0), ("d", "wwww", 0)];
    check(&base, &base, "");
    check(&base, &base[..2], "-m/c -m/d");
    check(&base[..2], &base, "+m/c +m/d");
    // The bundle of two others is the same; that of its neighbour tells nothing.
    let longer = [("a", "xx", 0), base[1], base[2], base[3]];
    check(&base, &longer, "Mm/a ?m/b");
    let other = [("a", "q", 0), base[1], base[2], base[3]];
    check(&base, &other, "?m/a ?m/b");
    // The same chunk, but other bytes of it.
    check(&[("a", "x", 0), ("b", "y", 0)], &[("b", "x", 0), ("c", "y", 0)], "-m/a ?m/b +m/c");
    // A bundle of one file is no riddle.
    check(&[("a", "x", 0)], &[("a", "y", 0)], "Mm/a");
    // Bundles move, and the files in them with them.
    check(&base[1..], &base, "+m/a ?m/b ?m/c ?m/d");
}

#[test]
fn large_files_have_chunks_of_their_own() {
    let check = |first, second, expected| {
        check(&[("f", first, 0), ("g", "s", 0)], &[("f", second, 0), ("g", "s", 0)], expected);
    };
    check("aaa|bbb|ccc", "aaa|bbb|ccc", "");
    check("aaa|bbb|ccc", "aaa|bxb|ccc", "Mm/f");
    check("aaa|bbb|ccc", "aaa|b|b|ccc", "Mm/f");
    check("aaa|bbb|ccc", "aaa|bbb|cccc", "Mm/f");
    check("aaaaaaa", "bbbbbbb", "Mm/f");
    // Cut otherwise, as a file that grew under a save can be: nothing is proved.
    check("aaaaaaa", "aaa|aaa", "?m/f");
}

/// npm gives every file of every version the same time, to the second; a file
/// system gives every write its own.
#[test]
fn a_time_to_the_nanosecond_stands_for_contents() {
    let base = [("a", "x", 7), ("b", "yy", 8), ("c", "zzz", 0)];
    let other = [("a", "q", 9), base[1], base[2]];
    assert_eq!(shown(&cache(&base, 3), &cache(&other, 3)), "?m/a ?m/c");
}

#[test]
fn mounts_are_compared_by_what_their_paths_mean() {
    let mut wide = begin(Anchor::WorkingDirectory, "a");
    push(&mut wide, 1, "b", Kind::Directory, "", 0);
    push(&mut wide, 2, "x", EMPTY, "", 0);
    push(&mut wide, 1, "b-", EMPTY, "", 0);
    let wide = manifest(wide.finish().unwrap(), &[]);
    let mut narrow = begin(Anchor::WorkingDirectory, "a/b");
    push(&mut narrow, 1, "x", EMPTY, "", 0);
    push(&mut narrow, 1, "y", EMPTY, "", 0);
    mount(&mut narrow, Anchor::Home, "a");
    let narrow = manifest(narrow.finish().unwrap(), &[]);
    assert_eq!(shown(&wide, &narrow), "-a +a/b/y -a/b- +a");
    assert_eq!(shown(&narrow, &wide), "+a -a/b/y +a/b- -a");
}

#[test]
fn kinds_and_targets_count() {
    let links = |file: Kind, first: u32, to: &str, kind: Kind| {
        let mut builder = begin(Anchor::Root, "");
        push(&mut builder, 1, "a", file, "", 0);
        push(&mut builder, 1, "b", EMPTY, "", 0);
        push(&mut builder, 1, "c", Kind::HardLink { first }, "", 0);
        push(&mut builder, 1, "l", Kind::Symlink, to, 0);
        push(&mut builder, 1, "z", kind, "", 0);
        manifest(builder.finish().unwrap(), &[])
    };
    let base = links(EMPTY, 1, "to", EMPTY);
    assert_eq!(shown(&base, &links(EMPTY, 2, "to", EMPTY)), "Mc");
    assert_eq!(shown(&base, &links(EMPTY, 1, "of", EMPTY)), "Ml");
    assert_eq!(shown(&base, &links(EMPTY, 1, "to", Kind::Directory)), "Mz");
    assert_eq!(shown(&base, &links(EMPTY, 1, "to", Kind::HardLink { first: 1 })), "Mz");
}

#[test]
fn totals_say_what_the_second_costs() {
    let first = cache(&[("a", "x", 0), ("b", "aaa|bbb|ccc", 0), ("d", "dd", 0)], 2);
    let second = cache(&[("a", "x", 0), ("b", "aaa|bxb|ccc", 0), ("c", "cccc|cccc", 0)], 2);
    let diff = Diff::of(first, second, false);
    let sum = |files, bytes| EntrySum { entries: files, files, bytes };
    let expected =
        Totals { added: sum(1, 9), removed: sum(1, 2), changed: sum(1, 11), unsure: sum(0, 0) };
    assert_eq!(diff.totals(), expected);
    let chunks = |chunks, stored_bytes| ChunkSum { chunks, stored_bytes };
    assert_eq!(diff.shared, chunks(3, 1 + 2 + 2));
    assert_eq!(diff.only_first, chunks(2, 2 + 1));
    assert_eq!(diff.only_second, chunks(3, 2 + 3 + 2));
}

/// One directory with very many files, and very many directories with one each: the
/// work is one step an entry, or this would not end.
#[test]
fn large_trees_are_walked_once() {
    const ENTRIES: usize = 120_000;
    let build = |changed: bool| {
        let mut builder = begin(Anchor::WorkingDirectory, "m");
        for number in 0..ENTRIES / 3 {
            push(&mut builder, 1, &format!("d{number:07}"), Kind::Directory, "", 0);
            let size = u64::from(changed && number.is_multiple_of(1000));
            push(&mut builder, 2, "f", Kind::File(FileData { size, at: number as u64 }), "", 0);
        }
        for number in 0..ENTRIES / 3 {
            if !(changed && number.is_multiple_of(1000)) {
                push(&mut builder, 1, &format!("f{number:07}"), EMPTY, "", 0);
            }
        }
        let chunk = |number: usize| (ChunkId::of(&number.to_le_bytes()), 1, 1);
        let chunks: Vec<_> = (0..ENTRIES).map(chunk).collect();
        manifest(builder.finish().unwrap(), &chunks)
    };
    let diff = Diff::of(build(false), build(true), false);
    let every_thousandth = (ENTRIES as u64 / 3).div_ceil(1000);
    assert_eq!(diff.totals().changed.entries, every_thousandth);
    assert_eq!(diff.totals().removed.entries, every_thousandth);
    assert_eq!(diff.totals().added.entries, 0);
}

/// A tree as `larder show --files` lists it, by anchor and path.
type Listing = BTreeMap<(Anchor, RelPath), (u8, u16, u64, Vec<u8>)>;

fn listed(tree: &Tree, index: EntryIndex) -> (u8, u16, u64, Vec<u8>) {
    let entry = tree.entry(index);
    let mode = entry.mode;
    match entry.kind {
        Kind::Directory => (b'd', mode, 0, vec![]),
        Kind::File(file) => (b'f', mode, file.size, vec![]),
        Kind::Symlink => (b'l', mode, 0, tree.target(index).to_vec()),
        Kind::HardLink { first } => (b'h', mode, listed(tree, first).2, tree.path(first)),
    }
}

fn place(tree: &Tree, index: EntryIndex) -> (Anchor, RelPath) {
    (tree.mount_of(index).anchor, RelPath::new(tree.path(index)).unwrap())
}

fn listing(tree: &Tree) -> Listing {
    tree.indexes().map(|index| (place(tree, index), listed(tree, index))).collect()
}

/// What the files of the property hold, the large ones cut after each `|`.
const CONTENTS: [&str; 11] =
    ["", "a", "b", "ab", "ba", "aab", "aaab", "aaaaaa", "aa|aaa", "aa|bba", "aaa|aa"];

/// Files with contents by number, some with times of their own; and a bundle's size.
fn caches() -> impl Strategy<Value = (BTreeMap<u8, (usize, bool)>, usize)> {
    let file = (0..CONTENTS.len(), any::<bool>());
    (prop::collection::btree_map(0..12u8, file, 0..12), 1..5usize)
}

fn build((files, bundle): &(BTreeMap<u8, (usize, bool)>, usize)) -> Manifest {
    let names: Vec<String> = files.keys().map(|number| format!("f{number:02}")).collect();
    let file = |(name, &(contents, has_time)): (_, &(usize, bool))| {
        (name, CONTENTS[contents], if has_time { contents as u32 + 1 } else { 0 })
    };
    let names = names.iter().map(String::as_str);
    cache(&names.zip(files.values()).map(file).collect::<Vec<_>>(), *bundle)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_does_not_differ_from_itself(tree in trees()) {
        let manifest = any_manifest(tree);
        prop_assert_eq!(changes(&manifest, &manifest, true), []);
    }

    /// Who takes the first tree and does what the changes say has the second, and
    /// what they do not name is the same.
    #[test]
    fn changes_lead_from_one_tree_to_the_other(first in trees(), second in trees()) {
        let (first, second) = (any_manifest(first), any_manifest(second));
        let mut made = listing(&first.tree);
        let mut last = None;
        for change in changes(&first, &second, false) {
            let at = match change {
                Change::Added(index) => {
                    let at = place(&second.tree, index);
                    let replaced = made.insert(at.clone(), listed(&second.tree, index));
                    prop_assert_eq!(replaced, None);
                    at
                }
                Change::Removed(index) => {
                    let at = place(&first.tree, index);
                    prop_assert!(made.remove(&at).is_some());
                    at
                }
                Change::Changed { before, after, .. } => {
                    let at = place(&second.tree, after);
                    prop_assert_eq!(&place(&first.tree, before), &at);
                    prop_assert!(made.insert(at.clone(), listed(&second.tree, after)).is_some());
                    at
                }
            };
            prop_assert!(last.is_none_or(|last| last < at), "in path order, each once");
            last = Some(at);
        }
        prop_assert_eq!(made, listing(&second.tree));
    }

    /// What is said of contents is so, whatever bundles there are.
    #[test]
    fn contents_are_as_they_are_said_to_be(a in caches(), b in caches()) {
        let (first, second) = (build(&a), build(&b));
        let found: BTreeMap<Vec<u8>, Contents> = changes(&first, &second, false)
            .into_iter()
            .filter_map(|change| match change {
                Change::Changed { after, what, .. } => {
                    Some((second.tree.path(after), what.contents))
                }
                _ => None,
            })
            .collect();
        for (number, (contents, _)) in &a.0 {
            let Some((other, _)) = b.0.get(number) else { continue };
            let (contents, other) = (CONTENTS[*contents], CONTENTS[*other]);
            let path = format!("m/f{number:02}").into_bytes();
            match found.get(&path).copied().unwrap_or_default() {
                Contents::Same => prop_assert_eq!(contents, other),
                Contents::Differ => prop_assert_ne!(contents, other),
                Contents::Unknown => prop_assert_eq!(contents.len(), other.len()),
            }
        }
    }
}
