//! Trees as values, to be compared with one another.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// An entry of a tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    Directory { mode: u32 },
    File { mode: u32, mtime: i64, bytes: Vec<u8> },
    Link { target: PathBuf },
}

/// All entries below a directory; nothing, if that is not there.
pub(crate) type Tree = BTreeMap<PathBuf, Entry>;

/// Reads a tree, but for stage areas.
pub(crate) fn read(root: &Path) -> Tree {
    let mut tree = Tree::new();
    let mut directories = vec![PathBuf::new()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(root.join(&directory)).into_iter().flatten() {
            let entry = entry.unwrap();
            if entry.file_name().as_bytes().starts_with(b".larder-tmp-") {
                continue;
            }
            let (path, metadata) = (directory.join(entry.file_name()), entry.metadata().unwrap());
            let mode = metadata.mode() & 0o7777;
            let found = if metadata.is_dir() {
                directories.push(path.clone());
                Entry::Directory { mode }
            } else if metadata.is_symlink() {
                Entry::Link { target: fs::read_link(entry.path()).unwrap() }
            } else {
                let bytes = fs::read(entry.path()).unwrap();
                Entry::File { mode, mtime: metadata.mtime(), bytes }
            };
            tree.insert(path, found);
        }
    }
    tree
}

/// Whether each entry of a tree has the contents that it has in one of two others, and
/// nothing is there that neither has. Metadata may be on its way.
pub(crate) fn stranger<'t>(tree: &'t Tree, known: [&Tree; 2]) -> Option<&'t Path> {
    let is_known = |path: &Path, entry: &Entry| {
        known.iter().filter_map(|tree| tree.get(path)).any(|other| match (entry, other) {
            (Entry::File { bytes, .. }, Entry::File { bytes: others, .. }) => bytes == others,
            (Entry::Directory { .. }, Entry::Directory { .. }) => true,
            _ => entry == other,
        })
    };
    let found = tree.iter().find(|(path, entry)| !is_known(path, entry));
    found.map(|(path, _)| path.as_path())
}
