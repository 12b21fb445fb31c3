//! The plan of a save: which files become which units of work.

use std::ops::Range;

use super::LARGE_FILE;
use super::bundle::{BundleCutter, OWN_DIRECTORY, weight};
use crate::format::{EntryIndex, Kind, Mount, Tree};

/// One unit of work, independent of all others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Small files that together become one chunk: a range of [`Plan::small`].
    Bundle(Range<usize>),
    /// A file that is cut on its own.
    Large(EntryIndex),
}

/// All units of a tree, in the order of their first files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// The small files in path order.
    pub small: Vec<EntryIndex>,
    /// The units.
    pub units: Vec<Unit>,
}

/// Plans the chunks of a tree from its names and sizes alone.
pub fn plan(tree: &Tree) -> Plan {
    let mut small: Vec<EntryIndex> = vec![];
    let mut units: Vec<(EntryIndex, Unit)> = vec![];
    for mount in tree.mounts() {
        // Bundles do not span mounts, so that a mount's chunks do not depend
        // on what is saved beside it.
        let first_small = small.len();
        for index in mount.entries.clone() {
            match small_len(tree, index) {
                Some(_) => small.push(index),
                None if tree.data_len(index) > 0 => units.push((index, Unit::Large(index))),
                None => {}
            }
        }
        bundle(tree, mount, &small, first_small, &mut units);
    }
    // Neighbours in the tree become neighbours in the packs.
    units.sort_by_key(|&(first, _)| first);
    Plan { small, units: units.into_iter().map(|(_, unit)| unit).collect() }
}

/// The length of a small file. Sparse files are read by data, not whole, as
/// large ones are, and so count as such.
fn small_len(tree: &Tree, index: EntryIndex) -> Option<u64> {
    let is_file = matches!(tree.entry(index).kind, Kind::File(_));
    let len = tree.data_len(index);
    let is_small = is_file && (1..u64::from(LARGE_FILE)).contains(&len);
    (is_small && tree.holes(index).is_empty()).then_some(len)
}

/// Cuts `small[start..]`, the small files of one mount, into bundles.
fn bundle(
    tree: &Tree,
    mount: &Mount,
    small: &[EntryIndex],
    start: usize,
    units: &mut Vec<(EntryIndex, Unit)>,
) {
    let realms = Realms::of(tree, mount);
    let mut open = Open { start, cutter: BundleCutter::default(), units };
    let mut last_realm = None;
    for (at, &index) in small.iter().enumerate().skip(start) {
        let len = tree.data_len(index);
        let realm = realms.of_file(tree, index);
        if realm != last_realm || open.cutter.is_full_for(len) {
            open.end(small, at);
        }
        last_realm = realm;
        if open.cutter.ends_after(tree.name(index), len) {
            open.end(small, at + 1);
        }
    }
    open.end(small, small.len());
}

/// The bundle that is being filled.
struct Open<'a> {
    start: usize,
    cutter: BundleCutter,
    units: &'a mut Vec<(EntryIndex, Unit)>,
}

impl Open<'_> {
    /// Ends the bundle before `small[end]`, if there is anything in it.
    fn end(&mut self, small: &[EntryIndex], end: usize) {
        if self.start < end {
            self.units.push((small[self.start], Unit::Bundle(self.start..end)));
        }
        self.start = end;
        self.cutter = BundleCutter::default();
    }
}

/// For each entry of a mount, the nearest directory around it that is heavy
/// enough to have bundles of its own.
struct Realms {
    start: EntryIndex,
    nearest: Vec<Option<EntryIndex>>,
}

impl Realms {
    fn of(tree: &Tree, mount: &Mount) -> Self {
        let start = mount.entries.start;
        let at = |index: EntryIndex| (index - start) as usize;
        let mut weights = vec![0u64; mount.entries.len()];
        for index in mount.entries.clone().rev() {
            if let Some(len) = small_len(tree, index) {
                weights[at(index)] = weight(len);
            }
            if let Some(parent) = tree.entry(index).parent {
                weights[at(parent)] += weights[at(index)];
            }
        }
        let mut nearest = vec![None; mount.entries.len()];
        for index in mount.entries.clone() {
            let is_heavy =
                tree.entry(index).kind == Kind::Directory && weights[at(index)] >= OWN_DIRECTORY;
            let parent = tree.entry(index).parent;
            nearest[at(index)] =
                if is_heavy { Some(index) } else { parent.and_then(|parent| nearest[at(parent)]) };
        }
        Self { start, nearest }
    }

    fn of_file(&self, tree: &Tree, file: EntryIndex) -> Option<EntryIndex> {
        tree.entry(file).parent.and_then(|parent| self.nearest[(parent - self.start) as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{Anchor, FileData, NewEntry, Timestamp, TreeBuilder};
    use crate::relpath::RelPath;

    /// A small `node_modules`: packages from tiny to heavy, a large file among
    /// small ones, empty files, and two packages that are the same.
    fn sample() -> Tree {
        let mut builder = TreeBuilder::default();
        builder.begin_mount(Anchor::WorkingDirectory, RelPath::new("m").unwrap()).unwrap();
        let mut push = |depth: usize, name: &str, size: Option<u64>| {
            let kind = match size {
                Some(size) => Kind::File(FileData { size, at: 0 }),
                None => Kind::Directory,
            };
            let (name, mtime) = (name.as_bytes(), Timestamp::default());
            builder.push(depth, NewEntry { name, kind, target: b"", mode: 0o644, mtime }).unwrap();
        };
        push(0, "m", None);
        for package in 0..12u64 {
            push(1, &format!("p{package:02}"), None);
            // 5, 6, 7 … files of 100, 1,000 or 10,000 bytes and more.
            let size = 10u64.pow(u32::try_from(package % 3).unwrap() + 2);
            for file in 0..package + 5 {
                push(2, &format!("f{file:02}.js"), Some(size + file * 7));
            }
            if package == 4 {
                push(2, "large", Some(5 << 20));
                push(2, "nothing", Some(0));
            }
        }
        for copy in ["same-1", "same-2"] {
            push(1, copy, None);
            for file in 0..30 {
                push(2, &format!("c{file:02}"), Some(9_000));
            }
        }
        push(1, "z-last.json", Some(40_000));
        builder.finish().unwrap()
    }

    fn shown(tree: &Tree, plan: &Plan) -> String {
        let path = |entry: EntryIndex| String::from_utf8(tree.path(entry)).unwrap();
        let lines = plan.units.iter().map(|unit| match unit {
            Unit::Bundle(files) => {
                let files = &plan.small[files.clone()];
                let len: u64 = files.iter().map(|&file| tree.data_len(file)).sum();
                let (first, last) = (path(files[0]), path(files[files.len() - 1]));
                format!("{len:>7} bytes, {:>3} files: {first} … {last}", files.len())
            }
            Unit::Large(entry) => format!("{:>7} bytes: {}", tree.data_len(*entry), path(*entry)),
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    /// The format: the units of this tree must never change.
    #[test]
    fn golden_plan() {
        let tree = sample();
        insta::assert_snapshot!(shown(&tree, &plan(&tree)), @r#"
       6675 bytes,  11 files: m/p00/f00.js … m/p01/f05.js
      70147 bytes,   7 files: m/p02/f00.js … m/p02/f06.js
      10248 bytes,  17 files: m/p03/f00.js … m/p04/f08.js
    5242880 bytes: m/p04/large
     100315 bytes,  10 files: m/p05/f00.js … m/p05/f09.js
      13947 bytes,  23 files: m/p06/f00.js … m/p07/f11.js
     130546 bytes,  13 files: m/p08/f00.js … m/p08/f12.js
      17772 bytes,  29 files: m/p09/f00.js … m/p10/f14.js
     160840 bytes,  16 files: m/p11/f00.js … m/p11/f15.js
      63000 bytes,   7 files: m/same-1/c00 … m/same-1/c06
     207000 bytes,  23 files: m/same-1/c07 … m/same-1/c29
      63000 bytes,   7 files: m/same-2/c00 … m/same-2/c06
     207000 bytes,  23 files: m/same-2/c07 … m/same-2/c29
      40000 bytes,   1 files: m/z-last.json … m/z-last.json
    "#);
    }

    #[test]
    fn every_file_with_data_is_in_one_unit() {
        let tree = sample();
        let plan = plan(&tree);
        let mut planned: Vec<EntryIndex> = plan
            .units
            .iter()
            .flat_map(|unit| match unit {
                Unit::Bundle(files) => plan.small[files.clone()].to_vec(),
                Unit::Large(entry) => vec![*entry],
            })
            .collect();
        planned.sort_unstable();
        let with_data: Vec<EntryIndex> =
            tree.indexes().filter(|&index| tree.data_len(index) > 0).collect();
        assert_eq!(planned, with_data);
    }

    /// Packages that are the same have the same bundles, wherever they lie.
    #[test]
    fn equal_directories_are_planned_alike() {
        let tree = sample();
        let plan = plan(&tree);
        let bundles_in = |directory: &str| -> Vec<u64> {
            let inside = |file: EntryIndex| tree.path(file).starts_with(directory.as_bytes());
            let lens = plan.units.iter().filter_map(|unit| match unit {
                Unit::Bundle(files) => {
                    let files = &plan.small[files.clone()];
                    assert!(files.iter().all(|&file| inside(file) == inside(files[0])));
                    let len = files.iter().map(|&file| tree.data_len(file)).sum();
                    inside(files[0]).then_some(len)
                }
                Unit::Large(_) => None,
            });
            lens.collect()
        };
        assert_eq!(bundles_in("m/same-1/"), bundles_in("m/same-2/"));
        assert!(!bundles_in("m/same-1/").is_empty());
    }
}
