//! Usage: what makes a cache big, by directory, by file or by extension.
//!
//! What a file takes in the store is no fact but a share: a chunk is stored once,
//! however many files lie in it, and compressed as a whole. Its stored bytes are
//! divided among the files by how many of its bytes each has, to the last byte:
//! shares of all files together are what the chunks take. A chunk that other keys
//! hold too is counted in full.

use std::collections::HashMap;

use crate::error::Error;
use crate::format::{EntryIndex, Kind, Manifest, Tree};
use crate::ids::{Key, Scope};
use crate::progress::Context;
use crate::repository::{Access, Repository};

/// What files take, in sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// Regular files, hard links included.
    pub files: u64,
    /// Their bytes, holes included; a hard link counts where the file is first.
    pub raw_bytes: u64,
    /// Their share of the stored bytes of chunks.
    pub stored_bytes: u64,
}

impl Size {
    fn add(&mut self, other: Self) {
        self.files += other.files;
        self.raw_bytes = self.raw_bytes.saturating_add(other.raw_bytes);
        self.stored_bytes += other.stored_bytes;
    }
}

/// What a cache's entries take.
#[derive(Debug)]
pub struct Usage {
    /// The cache.
    pub manifest: Manifest,
    /// For each entry of the tree what it and all below it take.
    sizes: Vec<Size>,
}

/// The files that share an extension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExtensionUsage {
    /// What follows the last dot of their names, if anything does.
    pub extension: Option<Vec<u8>>,
    /// What they take.
    pub size: Size,
}

/// An entry with what it and all below it take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryUsage {
    /// The entry.
    pub index: EntryIndex,
    /// What it takes.
    pub size: Size,
}

/// Reads the manifest of a key, and tells what its entries take; `None` if there
/// is no such key.
///
/// # Errors
/// Those of the store, and of a manifest that is damaged.
pub fn usage(
    access: impl Into<Access>,
    scope: &Scope,
    key: &Key,
    context: Context<'_>,
) -> Result<Option<Usage>, Error> {
    let Some(repository) = Repository::open(access)? else { return Ok(None) };
    context.check()?;
    let stored = repository.manifest(scope, key)?;
    context.check()?;
    Ok(stored.map(|stored| Usage::of(stored.manifest)))
}

impl Usage {
    pub(crate) fn of(manifest: Manifest) -> Self {
        let mut sizes = own_sizes(&manifest);
        // What lies in a directory comes after it.
        for index in manifest.tree.indexes().rev() {
            if let Some(parent) = manifest.tree.entry(index).parent {
                let size = sizes[index as usize];
                sizes[parent as usize].add(size);
            }
        }
        Self { manifest, sizes }
    }

    /// What an entry and all below it take.
    pub fn size(&self, index: EntryIndex) -> Size {
        self.sizes[index as usize]
    }

    /// What the whole cache takes. Chunks that no file lies in, as a file that
    /// changed under a save can leave them, are counted here alone.
    pub fn total(&self) -> Size {
        let mut total = Size::default();
        for mount in self.manifest.tree.mounts() {
            total.add(self.size(mount.entries.start));
        }
        let stored = self.manifest.chunks.rows().iter().map(|(_, at)| u64::from(at.stored_len));
        Size { stored_bytes: stored.sum(), ..total }
    }

    /// The mounts and the directories up to `depth` below them, the largest first.
    pub fn directories(&self, depth: usize) -> Vec<EntryUsage> {
        let tree = &self.manifest.tree;
        let mut depths: Vec<usize> = Vec::with_capacity(tree.entries().len());
        let mut found = vec![];
        for index in tree.indexes() {
            let parent = tree.entry(index).parent;
            let own = parent.map_or(0, |parent| depths[parent as usize] + 1);
            depths.push(own);
            if own == 0 || (own <= depth && tree.entry(index).kind == Kind::Directory) {
                found.push(self.entry(index));
            }
        }
        largest_first(&mut found, |entry| entry.size);
        found
    }

    /// All regular files, the largest first, without the hard links.
    pub fn files(&self) -> Vec<EntryUsage> {
        let tree = &self.manifest.tree;
        let is_file = |index: &EntryIndex| matches!(tree.entry(*index).kind, Kind::File(_));
        let mut found: Vec<_> =
            tree.indexes().filter(is_file).map(|index| self.entry(index)).collect();
        largest_first(&mut found, |entry| entry.size);
        found
    }

    /// All regular files by the extensions of their names, the largest first.
    pub fn extensions(&self) -> Vec<ExtensionUsage> {
        let tree = &self.manifest.tree;
        let mut sums: HashMap<Option<&[u8]>, Size> = HashMap::new();
        for index in tree.indexes() {
            if is_regular(tree, index) {
                sums.entry(extension(tree.name(index))).or_default().add(self.size(index));
            }
        }
        let mut found: Vec<_> = sums
            .into_iter()
            .map(|(extension, size)| ExtensionUsage {
                extension: extension.map(<[u8]>::to_vec),
                size,
            })
            .collect();
        found.sort_by(|a, b| a.extension.cmp(&b.extension));
        largest_first(&mut found, |extension| extension.size);
        found
    }

    fn entry(&self, index: EntryIndex) -> EntryUsage {
        EntryUsage { index, size: self.size(index) }
    }
}

/// Of those that are equally large, the order stays.
fn largest_first<T>(found: &mut [T], size: impl Fn(&T) -> Size) {
    found.sort_by_key(|item| {
        let size = size(item);
        std::cmp::Reverse((size.stored_bytes, size.raw_bytes, size.files))
    });
}

fn is_regular(tree: &Tree, index: EntryIndex) -> bool {
    matches!(tree.entry(index).kind, Kind::File(_) | Kind::HardLink { .. })
}

/// What follows the last dot, unless nothing does, or nothing is before it.
fn extension(name: &[u8]) -> Option<&[u8]> {
    let dot = name.iter().rposition(|&byte| byte == b'.')?;
    let extension = &name[dot + 1..];
    (dot > 0 && !extension.is_empty()).then_some(extension)
}

/// What each entry takes without what lies below it.
fn own_sizes(manifest: &Manifest) -> Vec<Size> {
    let tree = &manifest.tree;
    let stream = manifest.stream();
    let pieces = |index: EntryIndex| {
        let at = match tree.entry(index).kind {
            Kind::File(file) => file.at,
            _ => 0,
        };
        let pieces = stream.pieces(at, tree.data_len(index));
        pieces.map(|piece| (manifest.sequence[piece.position] as usize, u64::from(piece.len)))
    };
    let mut shares = vec![Shares::default(); manifest.chunks.rows().len()];
    for (row, len) in tree.indexes().flat_map(pieces) {
        shares[row].wanted += len;
    }
    let own = |index: EntryIndex| {
        let mut size = Size { files: is_regular(tree, index).into(), ..Size::default() };
        if let Kind::File(file) = tree.entry(index).kind {
            size.raw_bytes = file.size;
        }
        for (row, len) in pieces(index) {
            let (_, at) = manifest.chunks.rows()[row];
            size.stored_bytes += shares[row].take(at.stored_len, len);
        }
        size
    };
    tree.indexes().map(own).collect()
}

/// How a chunk's stored bytes are divided.
#[derive(Clone, Copy, Debug, Default)]
struct Shares {
    /// Bytes that files have of it, all together: more than its length, if it is
    /// in the stream more than once.
    wanted: u64,
    /// Those that had their share.
    served: u64,
}

impl Shares {
    /// The share of a file that has `len` bytes of the chunk: the difference of
    /// two rounded sums, so that all shares together are exactly the whole.
    fn take(&mut self, stored_len: u32, len: u64) -> u64 {
        let up_to = |served: u64| {
            let share = u128::from(served) * u128::from(stored_len) / u128::from(self.wanted);
            u64::try_from(share).expect("no share exceeds what is shared")
        };
        let share = up_to(self.served + len) - up_to(self.served);
        self.served += len;
        share
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::format::testing::{any_manifest, manifest, trees};
    use crate::format::{Anchor, FileData, NewEntry, Timestamp, TreeBuilder};
    use crate::ids::ChunkId;
    use crate::relpath::RelPath;

    /// An entry: its depth, its name and, of a file, where its data begins and its length.
    type NewRow<'a> = (usize, &'a str, Option<(u64, u64)>);

    /// A cache of these entries and chunks, given with raw and stored lengths.
    fn usage(entries: &[NewRow<'_>], chunks: &[(u32, u32)]) -> Usage {
        let mut builder = TreeBuilder::default();
        builder.begin_mount(Anchor::WorkingDirectory, RelPath::new("m").unwrap()).unwrap();
        for &(depth, name, data) in entries {
            let kind = match data {
                Some((at, size)) => Kind::File(FileData { size, at }),
                None => Kind::Directory,
            };
            let (name, mtime) = (name.as_bytes(), Timestamp::default());
            builder.push(depth, NewEntry { name, kind, target: b"", mode: 0, mtime }).unwrap();
        }
        let chunk = |(number, &(raw, stored)): (usize, &(u32, u32))| {
            (ChunkId::of(&number.to_le_bytes()), raw, stored)
        };
        let chunks: Vec<_> = chunks.iter().enumerate().map(chunk).collect();
        Usage::of(manifest(builder.finish().unwrap(), &chunks))
    }

    fn size(files: u64, raw_bytes: u64, stored_bytes: u64) -> Size {
        Size { files, raw_bytes, stored_bytes }
    }

    #[test]
    fn shared_chunks_are_divided_by_bytes() {
        let entries = [
            (0, "m", None),
            (1, "a.js", Some((0, 30))),
            (1, "d", None),
            (2, ".rc", Some((30, 60))),
            (2, "deep", None),
            (3, "b.js", Some((100, 50))),
            (1, "none", Some((0, 0))),
        ];
        // Ten bytes of the first chunk belong to no file: others take their share.
        let usage = usage(&entries, &[(100, 30), (50, 50), (10, 5)]);
        let shown = |found: Vec<EntryUsage>| -> Vec<(String, Size)> {
            let path = |index| String::from_utf8(usage.manifest.tree.path(index)).unwrap();
            found.into_iter().map(|found| (path(found.index), found.size)).collect()
        };
        let root = || ("m".to_owned(), size(4, 140, 80));
        let d = ("m/d".to_owned(), size(2, 110, 70));
        let deep = ("m/d/deep".to_owned(), size(1, 50, 50));
        assert_eq!(shown(usage.directories(0)), [root()]);
        assert_eq!(shown(usage.directories(9)), [root(), d, deep]);
        let names: Vec<_> = shown(usage.files()).into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["m/d/deep/b.js", "m/d/.rc", "m/a.js", "m/none"]);
        let extension = |name: Option<&str>, size| ExtensionUsage {
            extension: name.map(|name| name.as_bytes().to_vec()),
            size,
        };
        let (js, none) = (size(2, 80, 60), size(2, 60, 20));
        assert_eq!(usage.extensions(), [extension(Some("js"), js), extension(None, none)]);
        assert_eq!(usage.total(), size(4, 140, 85), "with the chunk that no file lies in");
    }

    #[test]
    fn extensions_follow_the_last_dot() {
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(extension(name.as_bytes()), expected.map(str::as_bytes), "{name}");
        };
        check("a.tar.gz", Some("gz"));
        check("libc.so.6", Some("6"));
        check("Makefile", None);
        check(".bashrc", None);
        check("a.", None);
        check("..a", Some("a"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

        /// However it is divided, it is the whole.
        #[test]
        fn all_parts_together_are_the_whole(tree in trees()) {
            let usage = Usage::of(any_manifest(tree));
            let tree = &usage.manifest.tree;
            let sum = |sizes: Vec<Size>| {
                let mut sum = Size::default();
                sizes.into_iter().for_each(|size| sum.add(size));
                sum
            };
            let mounts: Vec<_> = usage.directories(0).iter().map(|found| found.size).collect();
            prop_assert_eq!(mounts.len(), tree.mounts().len());
            let mounts = sum(mounts);
            prop_assert_eq!((mounts.files, mounts.raw_bytes), (tree.file_count(), tree.raw_bytes()));
            prop_assert_eq!(sum(usage.extensions().iter().map(|e| e.size).collect()), mounts);
            let files = sum(usage.files().iter().map(|found| found.size).collect());
            prop_assert_eq!(files.stored_bytes, mounts.stored_bytes);
            for found in usage.directories(usize::MAX) {
                let inside = |&index: &EntryIndex| tree.entry(index).parent == Some(found.index);
                let parts = tree.indexes().filter(inside).map(|index| usage.size(index)).collect();
                prop_assert_eq!(sum(parts), found.size);
            }
            // Of a chunk that some file lies in, nothing is left over.
            let mut used = vec![false; usage.manifest.chunks.rows().len()];
            let stream = usage.manifest.stream();
            for index in tree.indexes() {
                let Kind::File(file) = tree.entry(index).kind else { continue };
                for piece in stream.pieces(file.at, tree.data_len(index)) {
                    used[usage.manifest.sequence[piece.position] as usize] = true;
                }
            }
            let rows = usage.manifest.chunks.rows().iter().zip(used);
            let stored: u64 =
                rows.filter(|(_, used)| *used).map(|((_, at), _)| u64::from(at.stored_len)).sum();
            prop_assert_eq!(mounts.stored_bytes, stored);
        }
    }
}
