//! Matching the entries of two trees by their paths.

use std::cmp::Ordering;

use super::tree::{EntryIndex, Mount, Tree};

/// For each entry of `mount` in `tree`, in order, the entry of `other_mount`
/// in `other` at the same path below the mount, if there is one.
///
/// The roots match whatever they are called.
pub fn align(
    tree: &Tree,
    mount: &Mount,
    other: &Tree,
    other_mount: &Mount,
) -> Vec<Option<EntryIndex>> {
    let ends = subtree_ends(other, other_mount);
    let start = mount.entries.start;
    let other_start = other_mount.entries.start;
    let end_of = |index: EntryIndex| ends[(index - other_start) as usize];
    let mut matches: Vec<Option<EntryIndex>> = Vec::with_capacity(mount.entries.len());
    // For each entry of `tree`, the first child of its match that may still
    // match one of its own children.
    let mut candidates: Vec<EntryIndex> = Vec::with_capacity(mount.entries.len());
    for index in mount.entries.clone() {
        let found = match tree.entry(index).parent {
            None => Some(other_start),
            Some(parent) => matches[(parent - start) as usize].and_then(|directory| {
                let candidate = &mut candidates[(parent - start) as usize];
                while *candidate < end_of(directory) {
                    match other.name(*candidate).cmp(tree.name(index)) {
                        Ordering::Less => *candidate = end_of(*candidate),
                        Ordering::Equal => return Some(*candidate),
                        Ordering::Greater => break,
                    }
                }
                None
            }),
        };
        matches.push(found);
        candidates.push(found.map_or(0, |found| found + 1));
    }
    matches
}

/// For each entry of a mount, in order, the entry after all that lie below it.
pub fn subtree_ends(tree: &Tree, mount: &Mount) -> Vec<EntryIndex> {
    let start = mount.entries.start;
    let mut ends: Vec<EntryIndex> = mount.entries.clone().map(|index| index + 1).collect();
    for index in mount.entries.clone().rev() {
        if let Some(parent) = tree.entry(index).parent {
            let end = ends[(index - start) as usize];
            let parent_end = &mut ends[(parent - start) as usize];
            *parent_end = (*parent_end).max(end);
        }
    }
    ends
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::super::testing::trees;
    use super::super::{Anchor, FileData, Kind, NewEntry, Timestamp, TreeBuilder};
    use super::*;
    use crate::relpath::RelPath;

    /// A tree from lines: two spaces per level, directories end in `/`.
    fn tree(root: &str, lines: &[&str]) -> Tree {
        let mut builder = TreeBuilder::default();
        builder.begin_mount(Anchor::WorkingDirectory, RelPath::new(root).unwrap()).unwrap();
        for (depth, name) in
            std::iter::once((0, format!("{root}/"))).chain(lines.iter().map(|line| {
                let name = line.trim_start();
                ((line.len() - name.len()) / 2 + 1, name.to_owned())
            }))
        {
            let kind = match name.strip_suffix('/') {
                Some(_) => Kind::Directory,
                None => Kind::File(FileData { size: 0, at: 0 }),
            };
            let new = NewEntry {
                name: name.trim_end_matches('/').as_bytes(),
                kind,
                target: b"",
                mode: 0o644,
                mtime: Timestamp::default(),
            };
            builder.push(depth, new).unwrap();
        }
        builder.finish().unwrap()
    }

    #[test]
    fn entries_match_by_path() {
        let old = tree("x", &["a/", "  1", "  2", "b", "c/", "  1", "d/", "  deep/", "    z"]);
        let new = tree("y", &["0", "a/", "  2", "  3", "c", "d/", "  deep/", "    z", "e"]);
        let matches = align(&new, &new.mounts()[0], &old, &old.mounts()[0]);
        let shown: Vec<String> = new
            .indexes()
            .map(|index| {
                let found = matches[index as usize].map(|found| old.path(found));
                let found = found.map(|path| String::from_utf8(path).unwrap());
                format!(
                    "{} {}",
                    String::from_utf8_lossy(&new.path(index)),
                    found.unwrap_or_default()
                )
            })
            .collect();
        assert_eq!(
            shown,
            [
                "y x",
                "y/0 ",
                "y/a x/a",
                "y/a/2 x/a/2",
                "y/a/3 ",
                "y/c x/c",
                "y/d x/d",
                "y/d/deep x/d/deep",
                "y/d/deep/z x/d/deep/z",
                "y/e ",
            ]
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        #[test]
        fn it_finds_what_a_map_of_paths_finds(one in trees(), two in trees()) {
            for mount in one.mounts() {
                for other_mount in two.mounts() {
                    let found = align(&one, mount, &two, other_mount);
                    let below = |tree: &Tree, mount: &Mount, index: EntryIndex| {
                        let path = RelPath::new(tree.path(index)).unwrap();
                        path.below(&mount.path).unwrap().as_bytes().to_vec()
                    };
                    let by_path: HashMap<Vec<u8>, EntryIndex> = other_mount
                        .entries
                        .clone()
                        .map(|index| (below(&two, other_mount, index), index))
                        .collect();
                    let expected: Vec<Option<EntryIndex>> = mount
                        .entries
                        .clone()
                        .map(|index| by_path.get(&below(&one, mount, index)).copied())
                        .collect();
                    prop_assert_eq!(found, expected);
                }
            }
        }

        #[test]
        fn a_subtree_ends_where_paths_leave_it(tree in trees()) {
            for mount in tree.mounts() {
                let ends = subtree_ends(&tree, mount);
                for (index, end) in mount.entries.clone().zip(ends) {
                    let path = RelPath::new(tree.path(index)).unwrap();
                    let is_below = |other: EntryIndex| {
                        RelPath::new(tree.path(other)).unwrap().below(&path).is_some()
                    };
                    let below = mount.entries.clone().filter(|&other| is_below(other));
                    prop_assert_eq!(below.collect::<Vec<_>>(), (index..end).collect::<Vec<_>>());
                }
            }
        }
    }
}
