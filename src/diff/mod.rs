//! Diff: what two keys hold, compared: from their manifests alone, or, if asked, also
//! from the packs where manifests do not tell.
//!
//! Both trees are in path order, so one walk over the two side by side finds
//! everything. What paths mean counts, not how they were saved: a file is the
//! same file whether its directory was saved or one above it. What cannot be told
//! without packs is said to be [unknown](Contents::Unknown), unless they are read.

mod contents;
mod merge;
mod read;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use crate::error::Error;
use crate::format::{EntryIndex, Kind, Manifest, Stream, Tree};
use crate::ids::{Key, Scope};
use crate::progress::Context;
use crate::repository::{Access, Repository};

pub use contents::Contents;

/// Which keys are compared, and by what.
#[derive(Clone, Debug)]
pub struct DiffRequest {
    /// The namespace of both.
    pub scope: Scope,
    /// The key that it begins from.
    pub first: Key,
    /// The key that it leads to.
    pub second: Key,
    /// Whether modification times count.
    pub times: bool,
    /// Whether packs are read where manifests do not tell: then no contents are
    /// unknown.
    pub read_data: bool,
}

/// What came of comparing two keys.
#[derive(Debug)]
pub enum Compared {
    /// These keys are not in the store.
    Absent(Vec<Key>),
    /// Both are.
    Found(Box<Diff>),
}

/// How two caches differ.
#[derive(Debug)]
pub struct Diff {
    /// What the first key holds.
    pub first: Manifest,
    /// What the second key holds.
    pub second: Manifest,
    /// The paths that are not the same in both, in path order.
    pub changes: Vec<Change>,
    /// Chunks of both.
    pub shared: ChunkSum,
    /// Chunks of the first alone.
    pub only_first: ChunkSum,
    /// Chunks of the second alone: what it costs beyond the first.
    pub only_second: ChunkSum,
}

/// Some chunks, each counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChunkSum {
    /// How many.
    pub chunks: u64,
    /// Their bytes in packs.
    pub stored_bytes: u64,
}

/// A path that is not the same in both trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// This entry of the second tree is not in the first.
    Added(EntryIndex),
    /// This entry of the first tree is not in the second.
    Removed(EntryIndex),
    /// It is in both, and differs, or may differ.
    Changed {
        /// The entry in the first tree.
        before: EntryIndex,
        /// The entry in the second tree.
        after: EntryIndex,
        /// In what.
        what: Aspects,
    },
}

/// In what two entries of one path differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Aspects {
    /// One is a directory, say, and the other a link. Then contents and target
    /// are not compared, unless one is a file and the other a hard link.
    pub kind: bool,
    /// What files hold; of other entries always [`Contents::Same`].
    pub contents: Contents,
    /// Permission bits.
    pub mode: bool,
    /// Where symbolic links point, or what hard links are another name of.
    pub target: bool,
    /// Owner or group, where both caches recorded them.
    pub owner: bool,
    /// Extended attributes.
    pub xattrs: bool,
    /// The modification time, if times count.
    pub time: bool,
}

impl Aspects {
    /// Whether anything differs or may differ.
    pub fn any(self) -> bool {
        self != Self::default()
    }

    /// Whether nothing is known to differ: only the contents may.
    pub fn is_unsure(self) -> bool {
        self == Self { contents: Contents::Unknown, ..Self::default() }
    }
}

/// Entries of one kind of change, in sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntrySum {
    /// Files, directories and links.
    pub entries: u64,
    /// Regular files of these, hard links included.
    pub files: u64,
    /// Bytes of the files, hard links counted once.
    pub bytes: u64,
}

impl EntrySum {
    fn add(&mut self, tree: &Tree, index: EntryIndex) {
        self.entries += 1;
        match tree.entry(index).kind {
            Kind::File(file) => {
                self.files += 1;
                self.bytes += file.size;
            }
            Kind::HardLink { .. } => self.files += 1,
            Kind::Directory | Kind::Symlink => {}
        }
    }
}

/// The changes in sum.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// What is in the second cache alone.
    pub added: EntrySum,
    /// What is in the first cache alone.
    pub removed: EntrySum,
    /// What differs, as it is in the second cache.
    pub changed: EntrySum,
    /// What may differ, as it is in the second cache.
    pub unsure: EntrySum,
}

impl Diff {
    fn of(first: Manifest, second: Manifest, times: bool) -> Self {
        let changes = changes(&first, &second, times);
        let mut diff = Self {
            changes,
            shared: ChunkSum::default(),
            only_first: ChunkSum::default(),
            only_second: ChunkSum::default(),
            first,
            second,
        };
        diff.count_chunks();
        diff
    }

    fn count_chunks(&mut self) {
        let (first, second) = (self.first.chunks.rows(), self.second.chunks.rows());
        let in_first: HashSet<_> = first.iter().map(|(id, _)| id).collect();
        let in_second: HashSet<_> = second.iter().map(|(id, _)| id).collect();
        let add = |sum: &mut ChunkSum, stored_len: u32| {
            sum.chunks += 1;
            sum.stored_bytes += u64::from(stored_len);
        };
        for (id, at) in second {
            let is_shared = in_first.contains(id);
            let sum = if is_shared { &mut self.shared } else { &mut self.only_second };
            add(sum, at.stored_len);
        }
        for (_, at) in first.iter().filter(|(id, _)| !in_second.contains(id)) {
            add(&mut self.only_first, at.stored_len);
        }
    }

    /// The changes in sum.
    pub fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for change in &self.changes {
            match *change {
                Change::Added(index) => totals.added.add(&self.second.tree, index),
                Change::Removed(index) => totals.removed.add(&self.first.tree, index),
                Change::Changed { after, what, .. } => {
                    let sum =
                        if what.is_unsure() { &mut totals.unsure } else { &mut totals.changed };
                    sum.add(&self.second.tree, after);
                }
            }
        }
        totals
    }
}

/// Reads the manifests of two keys, and compares them.
///
/// # Errors
/// Those of the store, and of manifests that are damaged; of packs, too, if they are
/// read.
pub fn diff(
    access: impl Into<Access>,
    request: &DiffRequest,
    context: Context<'_>,
) -> Result<Compared, Error> {
    let keys = [&request.first, &request.second];
    let mut found = [None, None];
    let repository = Repository::open(access)?;
    if let Some(repository) = &repository {
        for (found, key) in found.iter_mut().zip(keys) {
            context.check()?;
            *found = repository.manifest(&request.scope, key)?;
        }
    }
    context.check()?;
    match found {
        [Some(first), Some(second)] => {
            let mut diff = Diff::of(first.manifest, second.manifest, request.times);
            if let Some(repository) = repository.filter(|_| request.read_data) {
                read::decide(&repository, &mut diff, context)?;
            }
            Ok(Compared::Found(Box::new(diff)))
        }
        found => {
            let mut absent: Vec<Key> = keys
                .into_iter()
                .zip(&found)
                .filter(|(_, found)| found.is_none())
                .map(|(key, _)| key.clone())
                .collect();
            absent.dedup();
            Ok(Compared::Absent(absent))
        }
    }
}

/// The paths that are not the same in both, in path order.
fn changes(first: &Manifest, second: &Manifest, times: bool) -> Vec<Change> {
    let streams = (first.stream(), second.stream());
    let mut pairs = Pairs {
        first,
        second,
        streams,
        times,
        counterparts: vec![None; second.tree.entries().len()],
    };
    let mut changes = vec![];
    merge::merge(&first.tree, &second.tree, |before, after| match (before, after) {
        (Some(before), Some(after)) => {
            pairs.counterparts[after as usize] = Some(before);
            let what = pairs.compare(before, after);
            if what.any() {
                changes.push(Change::Changed { before, after, what });
            }
        }
        (Some(before), None) => changes.push(Change::Removed(before)),
        (None, Some(after)) => changes.push(Change::Added(after)),
        (None, None) => {}
    });
    changes
}

/// Two caches whose entries of equal paths are compared, in path order.
struct Pairs<'a> {
    first: &'a Manifest,
    second: &'a Manifest,
    streams: (Stream, Stream),
    times: bool,
    /// For each entry of the second tree so far, that of the first at its path.
    counterparts: Vec<Option<EntryIndex>>,
}

impl Pairs<'_> {
    fn compare(&self, before: EntryIndex, after: EntryIndex) -> Aspects {
        let (first, second) = (&self.first.tree, &self.second.tree);
        let (a, b) = (first.entry(before), second.entry(after));
        let mut what = Aspects {
            mode: a.mode != b.mode,
            owner: match (first.owner(before), second.owner(after)) {
                (Some(a), Some(b)) => a != b,
                _ => false,
            },
            xattrs: first.xattrs(before) != second.xattrs(after),
            time: self.times && a.mtime != b.mtime,
            ..Aspects::default()
        };
        match (a.kind, b.kind) {
            (Kind::Directory, Kind::Directory) => {}
            (Kind::Symlink, Kind::Symlink) => {
                what.target = first.target(before) != second.target(after);
            }
            (Kind::File(_), Kind::File(_)) => what.contents = self.contents(before, after),
            // The file comes before its other names, so its counterpart is known.
            (Kind::HardLink { first: of_a }, Kind::HardLink { first: of_b }) => {
                what.target = self.counterparts[of_b as usize] != Some(of_a);
                what.contents = self.contents(of_a, of_b);
            }
            (Kind::HardLink { first: file }, Kind::File(_)) => {
                what.kind = true;
                what.contents = self.contents(file, after);
            }
            (Kind::File(_), Kind::HardLink { first: file }) => {
                what.kind = true;
                what.contents = self.contents(before, file);
            }
            _ => what.kind = true,
        }
        what
    }

    /// Compares two regular files.
    fn contents(&self, before: EntryIndex, after: EntryIndex) -> Contents {
        let a = contents::File::of(&self.first.tree, &self.streams.0, before);
        let b = contents::File::of(&self.second.tree, &self.streams.1, after);
        contents::compare(&a, &b)
    }
}
