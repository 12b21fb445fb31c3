//! Finding the directories of a tree again, handle by handle.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::sys;
use crate::format::{EntryIndex, Tree};

/// Where the entries lie that are not in their parent's directory under their
/// own name: the mounts' roots, and what is being staged.
pub trait Places: Sync {
    /// The directory and name where this entry lies, if not in its parent's
    /// directory under its own name. Must be `Some` for entries without parent.
    fn place(&self, entry: EntryIndex) -> Option<(BorrowedFd<'_>, &[u8])>;
}

/// Opens the directories of one tree. It keeps the way to the directory opened
/// last, so that going through a tree in order costs one call per directory.
#[derive(Debug)]
pub struct DirCursor<'a, P> {
    tree: &'a Tree,
    places: &'a P,
    /// Open directories, each in the one before it unless it has a place.
    way: Vec<(EntryIndex, OwnedFd)>,
}

impl<'a, P: Places> DirCursor<'a, P> {
    /// A cursor that has opened nothing yet.
    pub fn new(tree: &'a Tree, places: &'a P) -> Self {
        Self { tree, places, way: vec![] }
    }

    /// Opens a directory of the tree.
    ///
    /// # Errors
    /// Those of opening it or a directory on the way to it.
    pub fn dir(&mut self, directory: EntryIndex) -> io::Result<BorrowedFd<'_>> {
        if self.way.last().is_none_or(|&(last, _)| last != directory) {
            self.go(directory)?;
        }
        let (_, handle) = self.way.last().expect("the directory was just opened");
        Ok(handle.as_fd())
    }

    fn go(&mut self, directory: EntryIndex) -> io::Result<()> {
        let mut missing = vec![];
        let mut at = directory;
        loop {
            if let Some(known) = self.way.iter().rposition(|&(index, _)| index == at) {
                self.way.truncate(known + 1);
                break;
            }
            missing.push(at);
            if self.places.place(at).is_some() {
                self.way.clear();
                break;
            }
            at = self.tree.entry(at).parent.expect("entries without parent have a place");
        }
        while let Some(next) = missing.pop() {
            let handle = match (self.places.place(next), self.way.last()) {
                (Some((dir, name)), _) => sys::open_dir(dir, name)?,
                (None, Some((_, parent))) => sys::open_dir(parent.as_fd(), self.tree.name(next))?,
                (None, None) => unreachable!("the way begins at a place"),
            };
            self.way.push((next, handle));
        }
        Ok(())
    }

    /// The directory in which an entry lies, and its name there.
    ///
    /// # Errors
    /// Those of opening the directory or one on the way to it.
    pub fn entry(&mut self, entry: EntryIndex) -> io::Result<(BorrowedFd<'_>, &[u8])> {
        if let Some(place) = self.places.place(entry) {
            return Ok(place);
        }
        let tree = self.tree;
        let parent = tree.entry(entry).parent.expect("entries without parent have a place");
        Ok((self.dir(parent)?, tree.name(entry)))
    }
}
