//! What is in place already.
//!
//! A file is left alone if its contents are those of the cache. That is known
//! from `stat` alone where the stat record vouches for it; else its contents
//! are read and hashed. Equal length and time prove nothing: npm, for one,
//! gives every file of every version the same time.

use std::path::Path;
use std::sync::Mutex;

use rayon::prelude::*;

use super::RestoreRequest;
use super::target::Target;
use super::write::metadata;
use crate::error::Error;
use crate::files::{
    self, DirCursor, FileError, FileType, Metadata, WalkOptions, WalkSource, Walked,
};
use crate::format::{
    EntryIndex, FileData, FileIdentity, Kind, Manifest, Mount, StatRecord, Stream, Tree, align,
    subtree_ends,
};
use crate::ids::ChunkId;
use crate::progress::Context;
use crate::records::lasting;
use crate::relpath::RelPath;
use crate::secrets::Sealing;
use crate::sync::lock;

/// What to do for an entry of the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// It is in place, with its metadata.
    Keep,
    /// It is in place, but mode, time, owner or attributes differ.
    Mend,
    /// It is not there, nor is anything else.
    Create,
    /// Something else is there.
    Replace,
    /// A file of the same length is there; its contents may be the same.
    Check,
}

/// How the cache differs from what is there.
#[derive(Debug)]
pub(super) struct Comparison {
    /// For each entry of the tree.
    pub(super) actions: Vec<Action>,
    /// For each kept entry, its identity, if no later change of it can go
    /// unnoticed.
    pub(super) identities: Vec<Option<FileIdentity>>,
    /// For each kept or mended directory, the file system it lies on.
    pub(super) devices: Vec<u64>,
    /// What is there and not in the cache, topmost: the directory's entry and
    /// the name in it.
    pub(super) extra: Vec<(EntryIndex, Vec<u8>)>,
    /// Files whose contents were read.
    pub(super) files_compared: u64,
}

impl Comparison {
    pub(super) fn action(&self, index: EntryIndex) -> Action {
        self.actions[index as usize]
    }

    /// Whether the entry has to be made.
    pub(super) fn is_new(&self, index: EntryIndex) -> bool {
        !matches!(self.action(index), Action::Keep | Action::Mend)
    }

    /// Whether the stat records knew all that there is to know of the files.
    pub(super) fn is_recorded(&self, tree: &Tree) -> bool {
        let is_new = |index| self.is_new(index) && matches!(tree.entry(index).kind, Kind::File(_));
        self.files_compared == 0 && !tree.indexes().any(is_new)
    }

    pub(super) fn files_unchanged(&self, tree: &Tree) -> u64 {
        let kept = tree.indexes().filter(|&index| {
            let kind = tree.entry(index).kind;
            matches!(kind, Kind::File(_) | Kind::HardLink { .. }) && !self.is_new(index)
        });
        kept.count() as u64
    }

    /// Bytes of files that are in place, hard links counted once.
    pub(super) fn bytes_unchanged(&self, tree: &Tree) -> u64 {
        let kept = tree.indexes().filter(|&index| !self.is_new(index));
        kept.map(|index| tree.size(index)).fold(0, u64::saturating_add)
    }
}

/// Compares all mounts with what is at their targets.
pub(super) fn compare(
    manifest: &Manifest,
    tree: &Tree,
    complete: &[bool],
    targets: &[Target],
    sealing: &Sealing,
    request: &RestoreRequest,
    context: Context<'_>,
) -> Result<Comparison, Error> {
    let entries = tree.entries().len();
    let mut comparison = Comparison {
        actions: vec![Action::Create; entries],
        identities: vec![None; entries],
        devices: vec![0; entries],
        extra: vec![],
        files_compared: 0,
    };
    let stream = manifest.stream();
    for (mount, target) in tree.mounts().iter().zip(targets) {
        match target.there.map(|stat| stat.file_type) {
            None => {}
            Some(FileType::Other(_)) => {
                let why = "it is neither a file nor a directory nor a link";
                return Err(Error::InTheWay { path: target.location.clone(), why });
            }
            Some(_) => {
                let (walked, record) = rayon::join(
                    || walk(mount, target, request, context),
                    || request.records.as_ref()?.read(&target.location),
                );
                let (mut walked, record) = (walked?, record.as_ref());
                let unseen = std::mem::take(&mut walked.unreadable);
                let there = There {
                    tree,
                    mount,
                    stream: &stream,
                    sealing,
                    walked: &walked,
                    record,
                    request,
                };
                there.compare(complete, &mut comparison, context)?;
                if request.delete_extra {
                    there.must_be_seen(unseen, &target.location)?;
                }
            }
        }
    }
    Ok(comparison)
}

fn walk(
    mount: &Mount,
    target: &Target,
    request: &RestoreRequest,
    context: Context<'_>,
) -> Result<Walked, Error> {
    let source = WalkSource {
        anchor: mount.anchor,
        path: mount.path.clone(),
        location: target.location.clone(),
    };
    let options = WalkOptions { exclude: None, owner: request.owner, xattrs: request.xattrs };
    Ok(files::walk_at(target.place(), &source, &options, context.stop)?)
}

/// One mount and what is at its target.
struct There<'a> {
    tree: &'a Tree,
    mount: &'a Mount,
    stream: &'a Stream,
    sealing: &'a Sealing,
    walked: &'a Walked,
    record: Option<&'a StatRecord>,
    request: &'a RestoreRequest,
}

impl There<'_> {
    fn compare(
        &self,
        complete: &[bool],
        comparison: &mut Comparison,
        context: Context<'_>,
    ) -> Result<(), Error> {
        let Some(there) = self.walked.tree.mounts().first() else {
            return Ok(());
        };
        let matches = align(self.tree, self.mount, &self.walked.tree, there);
        let vouched = self.record.map(|record| Vouched::new(self.walked, there, record));
        for (index, &found) in self.mount.entries.clone().zip(&matches) {
            let Some(found) = found else { continue };
            let action = self.entry_action(index, found, &matches, comparison, vouched.as_ref());
            if action == Action::Replace {
                self.check_replaceable(index, found)?;
            }
            let identity = self.walked.identities[found as usize];
            comparison.actions[index as usize] = action;
            comparison.devices[index as usize] = identity.device;
            let vouched = vouched.as_ref().is_some_and(|vouched| vouched.recorded(found).is_some());
            comparison.identities[index as usize] =
                if vouched { Some(identity) } else { lasting(identity, self.walked.began) };
        }
        self.check_contents(&matches, comparison, context);
        if self.request.delete_extra {
            self.find_extra(there, &matches, complete, comparison);
        }
        Ok(())
    }

    /// What to do for an entry, of which `found` is in its place. Directories
    /// and files come before what depends on them.
    fn entry_action(
        &self,
        index: EntryIndex,
        found: EntryIndex,
        matches: &[Option<EntryIndex>],
        comparison: &Comparison,
        vouched: Option<&Vouched<'_>>,
    ) -> Action {
        let there = &self.walked.tree;
        let same_metadata = || self.has_same_metadata(index, found);
        let in_place = || self.in_place(index, found);
        match (self.tree.entry(index).kind, there.entry(found).kind) {
            (Kind::Directory, Kind::Directory) => in_place(),
            (Kind::Symlink, Kind::Symlink)
                if self.tree.target(index) == there.target(found) && same_metadata() =>
            {
                Action::Keep
            }
            (Kind::File(file), Kind::File(other))
                if file.size == other.size && self.tree.holes(index) == there.holes(found) =>
            {
                let same = vouched.is_some_and(|vouched| {
                    vouched.has_contents(found, self.stream, file.at, self.tree.data_len(index))
                });
                if same || self.tree.data_len(index) == 0 { in_place() } else { Action::Check }
            }
            (Kind::HardLink { first }, Kind::HardLink { first: other }) => {
                let start = self.mount.entries.start;
                let linked_right = self.mount.entries.contains(&first)
                    && matches[(first - start) as usize] == Some(other);
                // Follows what becomes of the file that it is a name of.
                if linked_right { comparison.action(first) } else { Action::Replace }
            }
            _ => Action::Replace,
        }
    }

    /// What to do for an entry whose contents are in place.
    fn in_place(&self, index: EntryIndex, found: EntryIndex) -> Action {
        if self.has_same_metadata(index, found) { Action::Keep } else { Action::Mend }
    }

    fn has_same_metadata(&self, index: EntryIndex, found: EntryIndex) -> bool {
        let there = &self.walked.tree;
        let (wanted, found_there) = (metadata(self.tree, index, self.request), there.entry(found));
        let mode_counts = self.tree.entry(index).kind != Kind::Symlink;
        let xattrs_there = Metadata { xattrs: there.xattrs(found), ..wanted };
        (!mode_counts || wanted.has_bits(found_there.mode))
            && wanted.mtime == found_there.mtime
            && (!self.request.owner || self.tree.owner(index) == there.owner(found))
            && (!self.request.xattrs || wanted.wanted_xattrs().eq(xattrs_there.wanted_xattrs()))
    }

    /// A directory with contents gives way to something else only if the user
    /// wants to be rid of what the cache does not hold.
    fn check_replaceable(&self, index: EntryIndex, found: EntryIndex) -> Result<(), Error> {
        let there = &self.walked.tree;
        let is_directory = there.entry(found).kind == Kind::Directory;
        let holds_entries =
            there.entries().get(found as usize + 1).is_some_and(|e| e.parent == Some(found));
        // What is no part of a tree counts, too.
        let holds_others = || {
            let location = self.walked.location(found);
            let mut others = self.walked.skipped.iter().map(|skipped| &skipped.path);
            others.any(|path| path.starts_with(&location))
        };
        let is_filled = is_directory && (holds_entries || holds_others());
        let wants_directory = self.tree.entry(index).kind == Kind::Directory;
        if is_filled && !wants_directory && !self.request.delete_extra {
            let why = "it is a directory with contents, and the cache holds something else \
                       there (--delete-extra removes it)";
            return Err(Error::InTheWay { path: self.walked.location(found), why });
        }
        Ok(())
    }

    /// Reads the files that may be the same, chunk by chunk, and decides.
    fn check_contents(
        &self,
        matches: &[Option<EntryIndex>],
        comparison: &mut Comparison,
        context: Context<'_>,
    ) {
        let start = self.mount.entries.start;
        let candidates: Vec<EntryIndex> = self
            .mount
            .entries
            .clone()
            .filter(|&index| comparison.action(index) == Action::Check)
            .filter(|&index| matches!(self.tree.entry(index).kind, Kind::File(_)))
            .collect();
        comparison.files_compared += candidates.len() as u64;
        let wanted = Parts::of(self.tree, self.stream, &candidates);
        let cursors: Mutex<Vec<DirCursor<'_, Walked>>> = Mutex::default();
        let same: Vec<bool> = wanted
            .chunks
            .par_iter()
            .map(|(position, parts)| {
                if context.check().is_err() {
                    return false;
                }
                let idle = lock(&cursors).pop();
                let mut cursor =
                    idle.unwrap_or_else(|| DirCursor::new(&self.walked.tree, self.walked));
                let found = |index: EntryIndex| matches[(index - start) as usize];
                let id = self.hash(&mut cursor, parts, found);
                lock(&cursors).push(cursor);
                id == Some(self.stream.id(*position))
            })
            .collect();
        // A file is the same if all its chunks are.
        let mut is_same: std::collections::HashMap<EntryIndex, bool> =
            candidates.iter().map(|&index| (index, true)).collect();
        for index in wanted.unchecked {
            is_same.insert(index, false);
        }
        for ((_, parts), same) in wanted.chunks.iter().zip(same) {
            for part in parts {
                is_same.entry(part.file).and_modify(|all| *all &= same);
            }
        }
        for index in candidates {
            if is_same[&index]
                && let Some(found) = matches[(index - start) as usize]
            {
                comparison.actions[index as usize] = self.in_place(index, found);
            }
        }
        self.settle_links(comparison);
    }

    /// Other names of files that were checked follow them. They still are to be
    /// checked if the file is: whoever settles that settles it for them.
    fn settle_links(&self, comparison: &mut Comparison) {
        for index in self.mount.entries.clone() {
            if let Kind::HardLink { first } = self.tree.entry(index).kind
                && comparison.action(index) == Action::Check
            {
                comparison.actions[index as usize] = comparison.action(first);
            }
        }
    }

    fn hash(
        &self,
        cursor: &mut DirCursor<'_, Walked>,
        parts: &[Part],
        found: impl Fn(EntryIndex) -> Option<EntryIndex>,
    ) -> Option<ChunkId> {
        let mut bytes = vec![];
        for part in parts {
            let at = cursor.entry(found(part.file)?).ok()?;
            let holes = self.tree.holes(part.file);
            files::read_part(at, holes, part.offset, part.len, &mut bytes).ok()?;
        }
        Some(self.sealing.name(&bytes))
    }

    /// What cannot be seen may be too much, and would stay: so it is an error to be
    /// asked to remove that. Files of the tree are replaced, whatever is in their places.
    fn must_be_seen(&self, unseen: Vec<FileError>, location: &Path) -> Result<(), Error> {
        let place = |entry: EntryIndex| {
            let path = RelPath::new(self.tree.path(entry)).unwrap_or_default();
            let below = path.below(&self.mount.path).unwrap_or_default();
            let mut place = location.to_owned();
            place.extend(below.names().map(files::os_name));
            place
        };
        let is_replaced = |error: &FileError| {
            let files = |entry: &EntryIndex| self.tree.entry(*entry).kind != Kind::Directory;
            self.mount.entries.clone().filter(files).any(|entry| place(entry) == error.path)
        };
        match unseen.into_iter().find(|error| !is_replaced(error)) {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    fn find_extra(
        &self,
        there: &Mount,
        matches: &[Option<EntryIndex>],
        complete: &[bool],
        comparison: &mut Comparison,
    ) {
        let found_tree = &self.walked.tree;
        let mut owner_of: Vec<Option<EntryIndex>> = vec![None; found_tree.entries().len()];
        for (index, found) in self.mount.entries.clone().zip(matches) {
            if let Some(found) = found {
                owner_of[*found as usize] = Some(index);
            }
        }
        let ends = subtree_ends(found_tree, there);
        let mut at = there.entries.start;
        while at < there.entries.end {
            let parent = found_tree.entry(at).parent.and_then(|parent| owner_of[parent as usize]);
            match (owner_of[at as usize], parent) {
                (None, Some(parent)) => {
                    let kept = complete[parent as usize] && !comparison.is_new(parent);
                    if kept {
                        comparison.extra.push((parent, found_tree.name(at).to_vec()));
                    }
                    at = ends[(at - there.entries.start) as usize];
                }
                _ => at += 1,
            }
        }
    }
}

/// A part of a file's data.
struct Part {
    file: EntryIndex,
    /// Where in the file's data it begins.
    offset: u64,
    len: u32,
}

/// Files' data by the chunks that it makes up.
struct Parts {
    /// Chunks that the files make up whole: place in the sequence, and parts.
    chunks: Vec<(usize, Vec<Part>)>,
    /// Files with data in chunks that they do not make up whole.
    unchecked: Vec<EntryIndex>,
}

impl Parts {
    fn of(tree: &Tree, stream: &Stream, files: &[EntryIndex]) -> Self {
        let mut chunks: std::collections::BTreeMap<usize, Vec<Part>> = Default::default();
        for &file in files {
            let Kind::File(data) = tree.entry(file).kind else {
                continue;
            };
            let mut offset = 0;
            for piece in stream.pieces(data.at, tree.data_len(file)) {
                let part = Part { file, offset, len: piece.len };
                chunks.entry(piece.position).or_default().push(part);
                offset += u64::from(piece.len);
            }
        }
        let mut parts = Self { chunks: vec![], unchecked: vec![] };
        for (position, mut found) in chunks {
            // In a bundle, files lie in the order of their places.
            found.sort_by_key(|part| match tree.entry(part.file).kind {
                Kind::File(data) => data.at + part.offset,
                _ => 0,
            });
            let len: u64 = found.iter().map(|part| u64::from(part.len)).sum();
            if len == u64::from(stream.chunk_len(position)) {
                parts.chunks.push((position, found));
            } else {
                parts.unchecked.extend(found.iter().map(|part| part.file));
            }
        }
        parts
    }
}

/// A stat record, matched with what is there.
struct Vouched<'a> {
    record: &'a StatRecord,
    stream: Stream,
    walked: &'a Walked,
    matches: Vec<Option<EntryIndex>>,
}

impl<'a> Vouched<'a> {
    fn new(walked: &'a Walked, there: &Mount, record: &'a StatRecord) -> Self {
        let matches = match record.tree.mounts().first() {
            Some(mount) => align(&walked.tree, there, &record.tree, mount),
            None => vec![None; walked.tree.entries().len()],
        };
        Self { record, stream: record.stream(), walked, matches }
    }

    /// Where in the record's stream the file's data is, if the file that is
    /// there is as it was recorded.
    fn recorded(&self, found: EntryIndex) -> Option<FileData> {
        let recorded = self.matches.get(found as usize).copied().flatten()?;
        self.record.unchanged(recorded, self.walked.state(found)?)
    }

    /// Whether the file that is there has had these contents all the time.
    fn has_contents(&self, found: EntryIndex, stream: &Stream, at: u64, len: u64) -> bool {
        let Some(file) = self.recorded(found) else {
            return false;
        };
        let ours = stream.pieces(at, len).map(|p| (stream.id(p.position), p.offset, p.len));
        let theirs =
            self.stream.pieces(file.at, len).map(|p| (self.stream.id(p.position), p.offset, p.len));
        ours.eq(theirs)
    }
}
