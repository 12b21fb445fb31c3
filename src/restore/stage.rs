//! Where new entries lie until everything is whole: in stage areas, beside
//! the places that they will be moved to.
//!
//! The topmost new entries are staged, each under a number in an area on the
//! file system of the directory it will be moved to. What is new below a new
//! directory lies in it under its own name, so a tree that was absent is moved
//! into place by one rename.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use super::compare::Comparison;
use super::target::Target;
use super::{names, room};
use crate::error::Error;
use crate::files::{self, DirCursor, FileError, Places, StageArea};
use crate::format::{EntryIndex, Kind, Tree};
use crate::relpath::RelPath;

/// The mounts' roots where they really are: where finished entries go.
#[derive(Debug)]
pub(super) struct Live<'a> {
    tree: &'a Tree,
    targets: &'a [Target],
}

impl<'a> Live<'a> {
    pub(super) fn new(tree: &'a Tree, targets: &'a [Target]) -> Self {
        Self { tree, targets }
    }

    /// The path of an entry, for messages.
    pub(super) fn location(&self, entry: EntryIndex) -> PathBuf {
        let mounts = self.tree.mounts();
        let mount = mounts.partition_point(|mount| mount.entries.end <= entry);
        let path = RelPath::new(self.tree.path(entry)).unwrap_or_default();
        let below = path.below(&mounts[mount].path).unwrap_or_default();
        let mut location = self.targets[mount].location.clone();
        location.extend(below.names().map(files::os_name));
        location
    }
}

impl Places for Live<'_> {
    fn place(&self, entry: EntryIndex) -> Option<(BorrowedFd<'_>, &[u8])> {
        if self.tree.entry(entry).parent.is_some() {
            return None;
        }
        let mount = self.tree.mounts().partition_point(|mount| mount.entries.end <= entry);
        Some(self.targets[mount].place())
    }
}

/// New entries and where they lie meanwhile.
#[derive(Debug)]
pub(super) struct Stage<'a> {
    pub(super) live: Live<'a>,
    areas: Vec<StageArea>,
    staged: HashMap<EntryIndex, (usize, Vec<u8>)>,
    /// Directories in place that change because of the stage.
    pub(super) touched: BTreeSet<EntryIndex>,
}

impl Places for Stage<'_> {
    fn place(&self, entry: EntryIndex) -> Option<(BorrowedFd<'_>, &[u8])> {
        match self.staged.get(&entry) {
            Some((area, name)) => Some((self.areas[*area].dir(), name)),
            None => self.live.place(entry),
        }
    }
}

impl<'a> Stage<'a> {
    /// Makes the areas that the comparison asks for, and in them all new
    /// directories.
    pub(super) fn prepare(
        tree: &'a Tree,
        targets: &'a [Target],
        comparison: &Comparison,
    ) -> Result<Self, Error> {
        let live = Live::new(tree, targets);
        let mut stage =
            Self { live, areas: vec![], staged: HashMap::new(), touched: BTreeSet::new() };
        let mut area_in: HashMap<(Option<EntryIndex>, usize), usize> = HashMap::new();
        for (number, mount) in tree.mounts().iter().enumerate() {
            for entry in mount.entries.clone() {
                let parent = tree.entry(entry).parent;
                let is_top =
                    comparison.is_new(entry) && parent.is_none_or(|dir| !comparison.is_new(dir));
                if !is_top {
                    continue;
                }
                let place = parent.map(|dir| top_of_file_system(tree, comparison, dir));
                let area = match area_in.get(&(place, number)) {
                    Some(&area) => area,
                    None => {
                        stage.areas.push(stage.create_area(place, &targets[number], tree)?);
                        area_in.insert((place, number), stage.areas.len() - 1);
                        stage.areas.len() - 1
                    }
                };
                stage.touched.extend(parent);
                stage.touched.extend(place);
                let name = stage.areas[area].new_name();
                stage.staged.insert(entry, (area, name));
            }
        }
        stage.check_names(tree)?;
        stage.check_room(tree, comparison)?;
        stage.make_directories(tree, comparison)?;
        Ok(stage)
    }

    /// Checks that no two names of the cache are one where it goes.
    fn check_names(&self, tree: &Tree) -> Result<(), Error> {
        let Some(area) = self.areas.iter().find(|area| area.folds_names()) else {
            return Ok(());
        };
        for (first, second) in names::same_names(tree) {
            let [a, b] = [first, second].map(|entry| tree.name(entry));
            // Of mounts in different directories, those differ too.
            let is_one = a == b || area.is_one_name(a, b).unwrap_or(false);
            if is_one {
                let [first, second] = [first, second].map(|entry| self.live.location(entry));
                return Err(Error::OneName { first, second });
            }
        }
        Ok(())
    }

    /// Whether a name that the cache does not hold may be one that it holds.
    pub(super) fn folds_names(&self) -> bool {
        self.areas.iter().any(StageArea::folds_names)
    }

    fn check_room(&self, tree: &Tree, comparison: &Comparison) -> Result<(), Error> {
        let area = |entry| self.staged.get(&entry).map(|(area, _)| *area);
        let place = |area: &'_ StageArea| area.path().parent().map(PathBuf::from);
        let places: Vec<room::Place<'_>> =
            self.areas.iter().map(|area| (area.dir(), place(area).unwrap_or_default())).collect();
        room::check(tree, comparison, area, &places)
    }

    fn create_area(
        &self,
        place: Option<EntryIndex>,
        target: &Target,
        tree: &Tree,
    ) -> Result<StageArea, Error> {
        let Some(place) = place else {
            return Ok(StageArea::create(target.place().0, target.parent_path())?);
        };
        let location = self.live.location(place);
        let opened = |error| FileError::new("open", &location, error);
        let mut cursor = DirCursor::new(tree, &self.live);
        let directory = cursor.dir(place).map_err(opened)?;
        match StageArea::create(directory, &location) {
            Err(error) if error.source.kind() == io::ErrorKind::PermissionDenied => {
                // A directory that was saved read-only gets that mode back at
                // the end.
                let at = (directory, &b"."[..]);
                files::make_writable(at)
                    .map_err(|error| FileError::new("write in", &location, error))?;
                Ok(StageArea::create(directory, &location)?)
            }
            area => Ok(area?),
        }
    }

    fn make_directories(&self, tree: &Tree, comparison: &Comparison) -> Result<(), Error> {
        let mut cursor = DirCursor::new(tree, self);
        for entry in tree.indexes() {
            if tree.entry(entry).kind == Kind::Directory && comparison.is_new(entry) {
                let made = cursor.entry(entry).and_then(|at| files::make_directory(at, 0o700));
                made.map_err(|error| FileError::new("create", self.live.location(entry), error))?;
            }
        }
        Ok(())
    }

    /// Removes the areas, with what was not moved. Comes before the directories
    /// around them get their times back.
    pub(super) fn remove_areas(&mut self) {
        self.staged.clear();
        self.areas.clear();
    }

    /// The topmost new entries.
    pub(super) fn tops(&self) -> Vec<EntryIndex> {
        let mut tops: Vec<EntryIndex> = self.staged.keys().copied().collect();
        tops.sort_unstable();
        tops
    }

    /// The permission bits that every new file keeps of those asked for.
    pub(super) fn kept_bits(&self) -> u16 {
        self.areas.iter().fold(0o777, |bits, area| bits & area.kept_bits())
    }

    /// Waits until files that are changed from now on get a later time than
    /// those made before: then no later change can look like none. The wait is
    /// one tick of the kernel's clock, a few milliseconds.
    pub(super) fn wait_for_tick(&self) {
        for area in &self.areas {
            let Ok(start) = area.now() else { continue };
            for _ in 0..50 {
                if area.now().is_ok_and(|now| now > start) {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
        }
    }
}

/// The topmost directory in the mount from which `directory` can be reached
/// without leaving the file system: a rename cannot cross into another.
fn top_of_file_system(tree: &Tree, comparison: &Comparison, directory: EntryIndex) -> EntryIndex {
    let device = comparison.devices[directory as usize];
    let mut top = directory;
    while let Some(parent) = tree.entry(top).parent {
        if comparison.devices[parent as usize] != device {
            break;
        }
        top = parent;
    }
    top
}
