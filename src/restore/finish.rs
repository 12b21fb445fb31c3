//! The end of a restore: links, directories, and moving all into place.
//!
//! Everything that was fetched is whole and checked by now. What can fail from
//! here on is the target's file system alone.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::PathBuf;

use rayon::prelude::*;

use super::compare::{Action, Comparison};
use super::stage::Stage;
use super::target::Target;
use super::write::{Written, metadata};
use super::{RestoreRequest, names};
use crate::budget::FirstError;
use crate::chunking;
use crate::error::Error;
use crate::files::{self, DirCursor, FileError, FileType, Metadata};
use crate::format::{EntryIndex, FileIdentity, Kind, Manifest, StatRecord, Tree};
use crate::progress::{Context, Warning};

/// Finishes the staged entries and moves them into place; removes what the
/// cache does not hold, if asked; says how much that was.
pub(super) struct Finish<'a> {
    pub(super) tree: &'a Tree,
    pub(super) targets: &'a [Target],
    pub(super) comparison: &'a Comparison,
    pub(super) stage: Stage<'a>,
    pub(super) written: Written,
    pub(super) manifest: &'a Manifest,
    pub(super) request: &'a RestoreRequest,
    pub(super) context: Context<'a>,
}

impl Finish<'_> {
    pub(super) fn run(mut self) -> Result<u64, Error> {
        let same: BTreeSet<EntryIndex> = self.written.same.iter().copied().collect();
        self.make_links()?;
        self.finish_new_directories()?;
        self.stage.wait_for_tick();
        // The last moment at which nothing has happened to the target.
        self.context.check()?;
        self.move_into_place(&same)?;
        let removed = self.remove_extra()?;
        self.stage.remove_areas();
        self.mend(&same)?;
        self.tell_what_was_dropped(&same);
        self.write_records(&same);
        Ok(removed)
    }

    fn failed(&self, action: &'static str, entry: EntryIndex, error: io::Error) -> Error {
        FileError::new(action, self.stage.live.location(entry), error).into()
    }

    /// Makes symbolic and hard links that are new.
    fn make_links(&mut self) -> Result<(), Error> {
        let tree = self.tree;
        let mut staged = DirCursor::new(tree, &self.stage);
        let mut first = DirCursor::new(tree, &self.stage);
        let mut live = DirCursor::new(tree, &self.stage.live);
        let same: BTreeSet<EntryIndex> = self.written.same.iter().copied().collect();
        let is_new = |&entry: &EntryIndex| self.comparison.is_new(entry) && !same.contains(&entry);
        for entry in tree.indexes().filter(is_new) {
            let metadata = metadata(tree, entry, self.request);
            let made = match tree.entry(entry).kind {
                Kind::Symlink => staged
                    .entry(entry)
                    .and_then(|at| files::symlink(at, tree.target(entry), &metadata)),
                Kind::HardLink { first: file } => {
                    let in_place = !self.comparison.is_new(file) || same.contains(&file);
                    let from = if in_place { live.entry(file) } else { first.entry(file) };
                    from.and_then(|from| {
                        let to = staged.entry(entry)?;
                        match files::hard_link(from, to) {
                            Ok(()) => files::look_at(to),
                            // Other file system, too many links, or a file
                            // system without links: a copy has the contents.
                            Err(_) => files::copy_file(from, to, &metadata),
                        }
                    })
                }
                _ => continue,
            };
            let stat = made.map_err(|error| self.failed("link", entry, error))?;
            self.written.identities.push((entry, stat.identity));
            // A new name changes the ctime of the file that it is a name of.
            if let Kind::HardLink { first } = tree.entry(entry).kind
                && stat.links > 1
            {
                self.written.identities.push((first, stat.identity));
            }
        }
        Ok(())
    }

    /// Sets the metadata of new directories, now that nothing is added to them.
    fn finish_new_directories(&self) -> Result<(), Error> {
        let tree = self.tree;
        let (open, closed): (Vec<EntryIndex>, Vec<EntryIndex>) = tree
            .indexes()
            .filter(|&entry| tree.entry(entry).kind == Kind::Directory)
            .filter(|&entry| self.comparison.is_new(entry))
            // Moving a directory needs the right to write in it: those that
            // will be moved are mended in place.
            .filter(|&entry| !self.is_top(entry))
            .partition(|&entry| tree.entry(entry).mode & 0o500 == 0o500);
        let failure = FirstError::default();
        open.par_chunks(512).for_each(|entries| {
            let mut staged = DirCursor::new(tree, &self.stage);
            for &entry in entries {
                if let Err(error) = self.finish_directory(&mut staged, entry) {
                    failure.set(error);
                }
            }
        });
        failure.into_result()?;
        // Nobody gets through these any more: the innermost come first.
        let mut staged = DirCursor::new(tree, &self.stage);
        closed.iter().rev().try_for_each(|&entry| self.finish_directory(&mut staged, entry))
    }

    fn finish_directory(
        &self,
        staged: &mut DirCursor<'_, Stage<'_>>,
        entry: EntryIndex,
    ) -> Result<(), Error> {
        let metadata = metadata(self.tree, entry, self.request);
        let finished = staged.entry(entry).and_then(|at| files::set_metadata(at, &metadata));
        finished.map(|_| ()).map_err(|error| self.failed("set the metadata of", entry, error))
    }

    fn is_top(&self, entry: EntryIndex) -> bool {
        self.tree.entry(entry).parent.is_none_or(|parent| !self.comparison.is_new(parent))
    }

    /// Renames every staged entry to where it belongs.
    fn move_into_place(&mut self, same: &BTreeSet<EntryIndex>) -> Result<(), Error> {
        let mut staged = DirCursor::new(self.tree, &self.stage);
        let mut live = DirCursor::new(self.tree, &self.stage.live);
        let mut moved = vec![];
        for entry in self.stage.tops() {
            if same.contains(&entry) {
                continue;
            }
            let done = self.move_one(&mut staged, &mut live, entry);
            let location = || self.stage.live.location(entry);
            let identity = done.map_err(|error| in_place("move into place", location(), error))?;
            moved.push((entry, identity));
        }
        self.written.identities.extend(moved);
        Ok(())
    }

    fn move_one(
        &self,
        staged: &mut DirCursor<'_, Stage<'_>>,
        live: &mut DirCursor<'_, super::stage::Live<'_>>,
        entry: EntryIndex,
    ) -> io::Result<FileIdentity> {
        let from = staged.entry(entry)?;
        let to = live.entry(entry)?;
        let is_directory = self.tree.entry(entry).kind == Kind::Directory;
        let is_new_place = self.comparison.action(entry) == Action::Create;
        let is_obstacle = files::look_at(to).is_ok_and(|there| match there.file_type {
            // No walk sees these, so the place was taken for free.
            FileType::Other(_) => is_directory,
            FileType::Directory => !is_new_place,
            FileType::Regular | FileType::Symlink => is_directory && !is_new_place,
        });
        if is_obstacle {
            files::remove(to)?;
        }
        match files::rename(from, to) {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                // The directory was saved read-only; it gets that mode back.
                files::make_writable((to.0, b"."))?;
                files::rename(from, to)?;
            }
            renamed => renamed?,
        }
        // A rename changes the ctime of what it moves.
        Ok(files::look_at(to)?.identity)
    }

    fn remove_extra(&mut self) -> Result<u64, Error> {
        let mut live = DirCursor::new(self.tree, &self.stage.live);
        // Where names fold, what was there under another name is what was restored.
        let restored: HashSet<_> = match self.stage.folds_names() {
            true => self.tree.indexes().map(|entry| self.folded(entry)).collect(),
            false => HashSet::new(),
        };
        let mut touched = vec![];
        for (directory, name) in &self.comparison.extra {
            if restored.contains(&(Some(*directory), names::folded(name))) {
                continue;
            }
            let removed = live.dir(*directory).and_then(|dir| files::remove((dir, name)));
            if let Err(error) = removed {
                let path = self.stage.live.location(*directory).join(files::os_name(name));
                return Err(in_place("remove", path, error));
            }
            touched.push(*directory);
        }
        let number = touched.len() as u64;
        self.stage.touched.extend(touched);
        Ok(number)
    }

    fn folded(&self, entry: EntryIndex) -> (Option<EntryIndex>, Cow<'_, [u8]>) {
        (self.tree.entry(entry).parent, names::folded(self.tree.name(entry)))
    }

    /// Sets the metadata of what was in place and differs, of new directories
    /// that were moved, and of directories that changed under the restore.
    fn mend(&self, same: &BTreeSet<EntryIndex>) -> Result<(), Error> {
        let mut live = DirCursor::new(self.tree, &self.stage.live);
        let needs = |&entry: &EntryIndex| {
            self.comparison.action(entry) == Action::Mend
                || same.contains(&entry)
                || self.stage.touched.contains(&entry)
                || (self.tree.entry(entry).kind == Kind::Directory
                    && self.comparison.is_new(entry)
                    && self.is_top(entry))
        };
        // The innermost first: an outer one may close the way.
        for entry in self.tree.indexes().rev().filter(needs) {
            // A hard link shares its metadata with the file before it.
            if matches!(self.tree.entry(entry).kind, Kind::HardLink { .. }) {
                continue;
            }
            let metadata = metadata(self.tree, entry, self.request);
            if same.contains(&entry) && self.is_mended(&mut live, entry, &metadata) {
                continue;
            }
            let mended = live.entry(entry).and_then(|at| files::set_metadata(at, &metadata));
            let location = || self.stage.live.location(entry);
            mended.map_err(|error| in_place("set the metadata of", location(), error))?;
        }
        Ok(())
    }

    /// Whether a file that was found to be the same needs nothing.
    fn is_mended(
        &self,
        live: &mut DirCursor<'_, super::stage::Live<'_>>,
        entry: EntryIndex,
        metadata: &Metadata<'_>,
    ) -> bool {
        let more = metadata.owner.is_some() || !metadata.xattrs.is_empty();
        let stat = live.entry(entry).and_then(files::look_at);
        !more && stat.is_ok_and(|s| metadata.has_bits(s.mode) && s.mtime == metadata.mtime)
    }

    /// Tells of new entries that lack what would let them act in another's name.
    fn tell_what_was_dropped(&self, same: &BTreeSet<EntryIndex>) {
        if self.request.setuid {
            return;
        }
        let mut live = DirCursor::new(self.tree, &self.stage.live);
        let (mut bits, mut attributes) = (0, 0);
        for entry in self.tree.indexes().filter(|&entry| self.comparison.is_new(entry)) {
            let wanted = metadata(self.tree, entry, self.request);
            let special = wanted.mode & !wanted.wanted_bits();
            let counts = matches!(self.tree.entry(entry).kind, Kind::File(_) | Kind::Directory);
            if special != 0 && counts && !same.contains(&entry) {
                // A directory can have got its bit from the one above it.
                let stat = live.entry(entry).and_then(files::look_at);
                bits += u64::from(stat.is_ok_and(|stat| special & !stat.mode != 0));
            }
            attributes += u64::from(wanted.xattrs.len() > wanted.wanted_xattrs().count());
        }
        if bits + attributes > 0 {
            self.context.progress.warn(Warning::WithoutPrivileges { bits, attributes });
        }
    }

    /// Another name for a file, made or moved, changes the file's ctime: what
    /// was noted when the file itself was finished does not hold any more.
    fn look_at_linked_files(&self, identities: &mut [Option<FileIdentity>]) {
        let mut live = DirCursor::new(self.tree, &self.stage.live);
        for entry in self.tree.indexes().filter(|&entry| self.comparison.is_new(entry)) {
            let Kind::HardLink { first } = self.tree.entry(entry).kind else { continue };
            // What was not known to last is not known to now.
            if let Some(noted) = &mut identities[first as usize]
                && let Ok(stat) = live.entry(first).and_then(files::look_at)
                && stat.identity.inode == noted.inode
            {
                *noted = stat.identity;
            }
        }
    }

    /// Leaves a stat record for each mount. Failing to costs the next save
    /// time, and so is only a warning.
    fn write_records(&self, same: &BTreeSet<EntryIndex>) {
        let Some(records) = &self.request.records else {
            return;
        };
        if self.comparison.is_recorded(self.tree) {
            return;
        }
        let mut identities = self.comparison.identities.clone();
        for &entry in same {
            identities[entry as usize] = None;
        }
        for &(entry, identity) in &self.written.identities {
            identities[entry as usize] = Some(identity);
        }
        self.look_at_linked_files(&mut identities);
        let stream = self.manifest.stream();
        let sequence: Vec<_> =
            (0..stream.len()).map(|at| (stream.id(at), stream.chunk_len(at))).collect();
        let work = sequence.len() + self.tree.entries().len();
        let records_at_most = (MOST_RECORDED / work.max(1)).max(1);
        for (mount, target) in self.tree.mounts().iter().zip(self.targets).take(records_at_most) {
            let (tree, origins) = self.tree.select(|entry| mount.entries.contains(&entry));
            let record = StatRecord {
                chunking: chunking::parameters(),
                identities: origins.iter().map(|&entry| identities[entry as usize]).collect(),
                tree,
                sequence: sequence.clone(),
                sealed_by: self.manifest.sealed_by,
            };
            if let Err(error) = records.write(&target.location, &record) {
                self.context.progress.warn(Warning::NoRecord { error: error.to_string() });
            }
        }
    }
}

/// Entries and chunks that are put into stat records: each mount has one of its own, with
/// all chunks, and a cache may have many of both. Mounts without one are compared by
/// reading.
const MOST_RECORDED: usize = 1 << 26;

/// What failed in the target, where all was as it had to be when it was looked at: other
/// kinds of entries than there were mean that somebody else is at work there.
fn in_place(action: &'static str, path: PathBuf, error: io::Error) -> Error {
    use rustix::io::Errno;
    match Errno::from_io_error(&error) {
        Some(
            Errno::NOENT
            | Errno::EXIST
            | Errno::NOTDIR
            | Errno::ISDIR
            | Errno::NOTEMPTY
            | Errno::LOOP,
        ) => Error::Disturbed { path, source: error },
        _ => FileError::new(action, path, error).into(),
    }
}
