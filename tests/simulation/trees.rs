//! The trees that are saved: a few parts, most of them in several trees.
//!
//! Every part is a directory heavy enough to be a chunk of its own, so that
//! packs are shared among keys, and become sparse when some keys go.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::random::Random;

/// Which parts each tree has: large ones, and others that leave their packs
/// sparse.
const TREES: [&str; 6] = ["abcd", "a", "bcef", "dc", "fa", "e"];

/// Bytes of a part: above what a directory needs for a chunk of its own, and
/// below what is cut by its contents.
const PART: usize = 66 << 10;

/// The bytes of a part.
fn part_bytes(part: u8) -> Vec<u8> {
    Random::new(u64::from(part)).bytes(PART)
}

/// The bytes of an object that has these parts.
pub(crate) fn bytes_of(parts: &str) -> Vec<u8> {
    parts.bytes().flat_map(part_bytes).collect()
}

/// How many these are.
pub(crate) fn len_of(parts: &str) -> u64 {
    (parts.len() * PART) as u64
}

/// All trees, and room for what restores bring back.
pub(crate) struct Trees {
    top: TempDir,
    contents: Vec<BTreeMap<PathBuf, Vec<u8>>>,
}

impl Trees {
    pub(crate) fn plant() -> Self {
        let memory = Path::new("/dev/shm");
        let mut builder = tempfile::Builder::new();
        builder.prefix("larder-simulation-");
        let top = if memory.is_dir() { builder.tempdir_in(memory) } else { builder.tempdir() };
        let top = top.unwrap();
        let mut contents = vec![];
        for (number, parts) in TREES.iter().enumerate() {
            let tree = top.path().join(format!("tree{number}"));
            for part in parts.bytes() {
                let directory = tree.join(char::from(part).to_string());
                fs::create_dir_all(&directory).unwrap();
                fs::write(directory.join("file"), part_bytes(part)).unwrap();
            }
            contents.push(read(&tree));
        }
        Self { top, contents }
    }

    pub(crate) fn count(&self) -> u64 {
        self.contents.len() as u64
    }

    pub(crate) fn path(&self, tree: usize) -> PathBuf {
        self.top.path().join(format!("tree{tree}"))
    }

    /// Where a restore may put what it finds.
    pub(crate) fn target(&self, name: &str) -> PathBuf {
        self.top.path().join("restored").join(name)
    }

    /// Whether a directory has exactly the files of a tree.
    pub(crate) fn is_same(&self, tree: usize, directory: &Path) -> bool {
        read(directory) == self.contents[tree]
    }
}

/// A directory's files and their bytes.
fn read(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut directories = vec![root.to_owned()];
    while let Some(directory) = directories.pop() {
        let Ok(entries) = fs::read_dir(&directory) else { continue };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let bytes = fs::read(&path).unwrap();
                found.insert(path.strip_prefix(root).unwrap().to_owned(), bytes);
            }
        }
    }
    found
}
