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
