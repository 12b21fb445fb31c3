//! Entries of trees as people read them.

use larder::format::{Entry, EntryIndex, Kind, Mount, Tree};
use larder::relpath::RelPath;

/// What an entry is, as one letter.
pub(super) fn letter(entry: &Entry) -> char {
    match entry.kind {
        Kind::Directory => 'd',
        Kind::File(_) => 'f',
        Kind::Symlink => 'l',
        Kind::HardLink { .. } => 'h',
    }
}

/// The length of a file, whatever name of it this is.
pub(super) fn size(tree: &Tree, index: EntryIndex) -> u64 {
    match tree.entry(index).kind {
        Kind::File(file) => file.size,
        Kind::HardLink { first } => size(tree, first),
        _ => 0,
    }
}

/// Where an entry lies, by the anchor of its mount: as mounts themselves are shown.
pub(super) fn place(tree: &Tree, index: EntryIndex) -> String {
    let path = RelPath::new(tree.path(index)).expect("paths in trees follow the rules");
    Mount { anchor: tree.mount_of(index).anchor, path, entries: 0..0 }.to_string()
}
