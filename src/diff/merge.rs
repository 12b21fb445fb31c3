//! Two trees side by side, path by path.
//!
//! The mounts of one tree need not be those of the other: `a` may have been
//! saved here and `a/b` there. Anchors come in order, so do mounts below one
//! anchor, and entries in a mount; so all paths of a tree rise, and one walk
//! over both pairs them.

use std::cmp::Ordering;

use crate::format::{Anchor, EntryIndex, Tree};

/// Calls `each` for every path of the two trees, in path order, with the entry
/// that each tree has there.
pub(super) fn merge(
    first: &Tree,
    second: &Tree,
    mut each: impl FnMut(Option<EntryIndex>, Option<EntryIndex>),
) {
    let (mut a, mut b) = (Cursor::new(first), Cursor::new(second));
    loop {
        let order = match (a.at(), b.at()) {
            (None, None) => return,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(of_a), Some(of_b)) => compare(of_a, of_b),
        };
        let before = order.is_le().then(|| a.advance());
        let after = order.is_ge().then(|| b.advance());
        each(before, after);
    }
}

fn compare(a: (Anchor, &[u8]), b: (Anchor, &[u8])) -> Ordering {
    // Names hold neither `/` nor NUL: with one for the other, the order of bytes
    // is that of names.
    let rank = |&byte: &u8| if byte == b'/' { 0 } else { byte };
    a.0.cmp(&b.0).then_with(|| a.1.iter().map(rank).cmp(b.1.iter().map(rank)))
}

/// A walk over a tree that knows the path it is at.
struct Cursor<'a> {
    tree: &'a Tree,
    next: EntryIndex,
    /// The mount of `next`.
    mount: usize,
    /// The path of `next` below its anchor.
    path: Vec<u8>,
    /// The entries that `next` lies in and itself, outermost first, each with
    /// the length of its path.
    open: Vec<(EntryIndex, usize)>,
}

impl<'a> Cursor<'a> {
    fn new(tree: &'a Tree) -> Self {
        let mut cursor = Self { tree, next: 0, mount: 0, path: vec![], open: vec![] };
        cursor.load();
        cursor
    }

    fn at(&self) -> Option<(Anchor, &[u8])> {
        let mount = self.tree.mounts().get(self.mount)?;
        Some((mount.anchor, &self.path))
    }

    /// Gives the entry that it is at, and goes to the next one.
    fn advance(&mut self) -> EntryIndex {
        let index = self.next;
        self.next += 1;
        while self.tree.mounts().get(self.mount).is_some_and(|at| at.entries.end <= self.next) {
            self.mount += 1;
        }
        self.load();
        index
    }

    fn load(&mut self) {
        let Some(mount) = self.tree.mounts().get(self.mount) else { return };
        match self.tree.entry(self.next).parent {
            None => {
                self.open.clear();
                self.path.clear();
                self.path.extend_from_slice(mount.path.as_bytes());
            }
            Some(parent) => {
                while self.open.last().is_some_and(|&(index, _)| index != parent) {
                    self.open.pop();
                }
                self.path.truncate(self.open.last().map_or(0, |&(_, len)| len));
                if !self.path.is_empty() {
                    self.path.push(b'/');
                }
                self.path.extend_from_slice(self.tree.name(self.next));
            }
        }
        self.open.push((self.next, self.path.len()));
    }
}
