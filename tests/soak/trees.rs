//! Trees that can be told again from a few numbers, so that any restore can be
//! compared with what was saved, however long ago.
//!
//! Contents come from pools of seeds, so that what one tree drops another one
//! brings back: saves then meet chunks that are stored, condemned, or gone.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use crate::sandbox::{Noise, chmod, set_mtime, visit, write};

/// Large files that all keys take from.
const SHARED: u64 = 24;

/// Large files that a key takes from for itself.
const OWN: u64 = 6;

/// How many different times files have.
const TIMES: u64 = 50_000_000;

/// When all directories and links were changed last.
const LONG_AGO: i64 = 1_600_000_000;

/// The file that tells which tree this is.
const STAMP: &str = "stamp";

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Node {
    File {
        seed: u64,
        len: usize,
        is_program: bool,
    },
    Link(String),
    /// The number of the tree.
    Stamp(u64),
}

impl Node {
    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::File { seed, len, .. } => {
                // Half of it compresses.
                let mut bytes = Noise(*seed).bytes(len.div_ceil(2));
                bytes.resize(*len, u8::try_from(seed % 251).unwrap_or_default());
                bytes
            }
            Self::Stamp(number) => number.to_string().into_bytes(),
            Self::Link(_) => vec![],
        }
    }

    /// Told by the contents: the same tree has the same times on all machines.
    fn mtime(&self) -> i64 {
        match self {
            Self::File { seed, .. } => LONG_AGO + 1 + i64::try_from(seed % TIMES).unwrap_or(0),
            Self::Stamp(number) => LONG_AGO + i64::try_from(*number).unwrap_or(0),
            Self::Link(_) => LONG_AGO,
        }
    }
}

/// A tree, without its bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tree {
    nodes: BTreeMap<String, Node>,
}

impl Tree {
    /// A new tree of some megabytes for the key of this number.
    pub(crate) fn plant(key: u64, noise: &mut Noise) -> Self {
        let mut tree = Self::default();
        for number in 0..30 {
            tree.put_small(number, noise);
        }
        for number in 0..2 {
            tree.put_own(key, number, noise);
            tree.put_shared(number, noise);
        }
        tree.put_shared(2, noise);
        for number in 0..3 {
            let link = Node::Link(format!("../pkg{number}/lib/f{number}"));
            tree.nodes.insert(format!("links/to{number}"), link);
        }
        tree
    }

    /// The next state of the tree: most of it stays.
    pub(crate) fn change(&mut self, key: u64, noise: &mut Noise) {
        for _ in 0..3 {
            self.put_small(noise.below(36), noise);
        }
        if noise.below(8) == 0 {
            let (pkg, number) = (noise.below(6), noise.below(36));
            self.nodes.remove(&format!("pkg{pkg}/lib/f{number}"));
        }
        if noise.below(2) == 0 {
            self.put_own(key, noise.below(2), noise);
        }
        if noise.below(2) == 0 {
            self.put_shared(noise.below(3), noise);
        }
    }

    /// With the number that a restore tells it by.
    pub(crate) fn stamped(mut self, number: u64) -> Self {
        self.nodes.insert(STAMP.into(), Node::Stamp(number));
        self
    }

    fn put_small(&mut self, number: u64, noise: &mut Noise) {
        let len = 500 + usize::try_from(noise.below(12_000)).unwrap_or_default();
        let node = Node::File { seed: noise.next(), len, is_program: number % 9 == 4 };
        self.nodes.insert(format!("pkg{}/lib/f{number}", number % 6), node);
    }

    fn put_own(&mut self, key: u64, number: u64, noise: &mut Noise) {
        let seed = 1_000 + key * OWN + noise.below(OWN);
        self.nodes.insert(format!("own/{number}.bin"), large(seed));
    }

    fn put_shared(&mut self, number: u64, noise: &mut Noise) {
        self.nodes.insert(format!("shared/{number}.bin"), large(noise.below(SHARED)));
    }

    /// Breaks the expectation on purpose, in bytes alone: the soak must notice.
    pub(crate) fn spoil(&mut self) {
        for node in self.nodes.values_mut() {
            if let Node::File { seed, .. } = node {
                *seed += TIMES;
                return;
            }
        }
    }

    /// Makes a directory this tree; `was` is what it is now.
    pub(crate) fn write_to(&self, root: &Path, was: &Self) {
        for path in was.nodes.keys().filter(|path| !self.nodes.contains_key(*path)) {
            fs::remove_file(root.join(path)).unwrap();
        }
        for (path, node) in &self.nodes {
            if was.nodes.get(path) == Some(node) {
                continue;
            }
            let path = root.join(path);
            if let Node::Link(target) = node {
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::os::unix::fs::symlink(target, &path).unwrap();
            } else {
                write(&path, node.bytes());
                let is_program = matches!(node, Node::File { is_program: true, .. });
                chmod(&path, if is_program { 0o755 } else { 0o644 });
            }
            set_mtime(&path, node.mtime(), 0);
        }
        let mut directories = vec![];
        visit(root, &mut |path, metadata| {
            if metadata.is_dir() {
                directories.push(path.to_owned());
            }
        });
        for directory in directories {
            set_mtime(directory, LONG_AGO, 0);
        }
    }

    /// Compares a directory with this tree, byte for byte; gives the number of
    /// files, or what is different.
    pub(crate) fn compare(&self, root: &Path) -> Result<u64, String> {
        let mut found = BTreeMap::new();
        visit(root, &mut |path, metadata| {
            if !metadata.is_dir() {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.insert(name, metadata.clone());
            }
        });
        if let Some(path) = found.keys().find(|path| !self.nodes.contains_key(*path)) {
            return Err(format!("{path} was not saved"));
        }
        for (path, node) in &self.nodes {
            let Some(metadata) = found.get(path) else {
                return Err(format!("{path} is missing"));
            };
            compare_entry(&root.join(path), node, metadata)
                .map_err(|why| format!("{path}: {why}"))?;
        }
        Ok(self.nodes.len() as u64)
    }
}

fn compare_entry(path: &Path, node: &Node, metadata: &fs::Metadata) -> Result<(), String> {
    if metadata.mtime() != node.mtime() {
        return Err(format!("its time is {}, and was {}", metadata.mtime(), node.mtime()));
    }
    if let Node::Link(target) = node {
        return match fs::read_link(path) {
            Ok(found) if found == Path::new(target) => Ok(()),
            found => Err(format!("it is no link to {target}: {found:?}")),
        };
    }
    let wanted = node.bytes();
    let bytes = fs::read(path).map_err(|error| error.to_string())?;
    if bytes != wanted {
        let at = bytes.iter().zip(&wanted).take_while(|(a, b)| a == b).count();
        return Err(format!(
            "{} bytes instead of {}, different from byte {at} on",
            bytes.len(),
            wanted.len()
        ));
    }
    let is_program = matches!(node, Node::File { is_program: true, .. });
    if (metadata.permissions().mode() & 0o111 != 0) != is_program {
        return Err(format!("its mode is {:o}", metadata.permissions().mode()));
    }
    Ok(())
}

fn large(seed: u64) -> Node {
    Node::File {
        seed: seed + 7_000_000,
        len: 300_000 + usize::try_from(seed * 7_919 % 500_000).unwrap_or_default(),
        is_program: false,
    }
}

/// The number of the tree that was restored to a directory.
pub(crate) fn stamp_of(root: &Path) -> Option<u64> {
    fs::read_to_string(root.join(STAMP)).ok()?.parse().ok()
}
