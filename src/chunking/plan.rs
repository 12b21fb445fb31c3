//! The plan of a save: which files become which units of work.

use std::ops::Range;

use super::{BundleCutter, LARGE_FILE, Next};
use crate::format::{EntryIndex, Kind, Tree};

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
            if !matches!(tree.entry(index).kind, Kind::File(_)) {
                continue;
            }
            match tree.data_len(index) {
                0 => {}
                // Sparse files are read by data, not whole, as large ones are.
                len if len < u64::from(LARGE_FILE) && tree.holes(index).is_empty() => {
                    small.push(index);
                }
                _ => units.push((index, Unit::Large(index))),
            }
        }
        bundle(tree, &small, first_small, &mut units);
    }
    // Neighbours in the tree become neighbours in the packs.
    units.sort_by_key(|&(first, _)| first);
    Plan {
        small,
        units: units.into_iter().map(|(_, unit)| unit).collect(),
    }
}

/// Cuts `small[start..]`, the small files of one mount, into bundles.
fn bundle(
    tree: &Tree,
    small: &[EntryIndex],
    mut start: usize,
    units: &mut Vec<(EntryIndex, Unit)>,
) {
    let mut cutter = BundleCutter::default();
    for at in start..small.len() {
        let index = small[at];
        let next = match small.get(at + 1) {
            Some(&next) if is_near(tree, index, next) => Next::Near,
            _ => Next::Elsewhere,
        };
        let ends = cutter.ends_after(tree.name(index), tree.data_len(index), next);
        if ends || at + 1 == small.len() {
            units.push((small[start], Unit::Bundle(start..at + 1)));
            start = at + 1;
        }
    }
}

/// Whether `next`, an entry after `index`, lies in `index`'s directory or below.
fn is_near(tree: &Tree, index: EntryIndex, next: EntryIndex) -> bool {
    let Some(directory) = tree.entry(index).parent else {
        return false;
    };
    let mut at = next;
    // Parents come before what they hold, so the climb can stop early.
    while at > directory {
        match tree.entry(at).parent {
            Some(parent) => at = parent,
            None => return false,
        }
    }
    at == directory
}
