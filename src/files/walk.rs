//! Walking mounts in parallel: what is there, and what the file system says
//! of it. No file's contents are read.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use ignore::gitignore::Gitignore;

use super::area::AREA_PREFIX;
use super::error::FileError;
use super::stat::{FileStat, FileType};
use super::write::At;
use super::{Places, sys};
use crate::format::{
    Anchor, EntryIndex, FileData, FileIdentity, FileState, FormatError, Hole, Kind, NewEntry,
    Timestamp, Tree, TreeBuilder, Xattr,
};
use crate::relpath::RelPath;
use crate::sync::lock;

/// A mount to walk.
#[derive(Clone, Debug)]
pub struct WalkSource {
    /// What the recorded path is relative to.
    pub anchor: Anchor,
    /// The path as it is recorded.
    pub path: RelPath,
    /// Where it lies on this machine.
    pub location: PathBuf,
}

/// What is left out of a walk.
pub type Excludes = Gitignore;

/// What these globs, in gitignore syntax, match. Paths are matched as they are
/// recorded: relative to the working directory, the home directory or the root.
///
/// # Errors
/// The glob that is wrong, and why.
pub fn excludes<'a>(
    globs: impl IntoIterator<Item = &'a str>,
) -> Result<Excludes, (String, String)> {
    let mut builder = ignore::gitignore::GitignoreBuilder::new("");
    for glob in globs {
        builder.add_line(None, glob).map_err(|error| (glob.to_owned(), error.to_string()))?;
    }
    builder.build().map_err(|error| (String::new(), error.to_string()))
}

/// What to record, and what not.
#[derive(Debug, Default)]
pub struct WalkOptions {
    /// Left out, with all below; matched against paths as recorded.
    pub exclude: Option<Excludes>,
    /// Record owners.
    pub owner: bool,
    /// Record extended attributes.
    pub xattrs: bool,
}

/// Something that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Where it lies.
    pub path: PathBuf,
    /// Why it was left out.
    pub why: &'static str,
}

/// What a walk found.
#[derive(Debug)]
pub struct Walked {
    /// The trees, in path order.
    pub tree: Tree,
    /// For each entry, what tells a later change.
    pub identities: Vec<FileIdentity>,
    /// For each mount, where it lies on this machine.
    pub locations: Vec<PathBuf>,
    /// What is no file, directory or link.
    pub skipped: Vec<Skipped>,
    /// What could not be read.
    pub unreadable: Vec<FileError>,
    /// When the walk began.
    pub began: Timestamp,
    roots: HashMap<EntryIndex, (OwnedFd, Vec<u8>)>,
}

impl Places for Walked {
    fn place(&self, entry: EntryIndex) -> Option<(std::os::fd::BorrowedFd<'_>, &[u8])> {
        let (dir, name) = self.roots.get(&entry)?;
        Some((dir.as_fd(), name))
    }
}

impl Walked {
    /// The state that a regular file was seen in; `None` for anything else.
    pub fn state(&self, entry: EntryIndex) -> Option<FileState<'_>> {
        let Kind::File(file) = self.tree.entry(entry).kind else {
            return None;
        };
        Some(FileState {
            identity: self.identities[entry as usize],
            size: file.size,
            mtime: self.tree.entry(entry).mtime,
            holes: self.tree.holes(entry),
        })
    }

    /// Where an entry lies on this machine.
    pub fn location(&self, entry: EntryIndex) -> PathBuf {
        let mounts = self.tree.mounts();
        let mount = mounts.partition_point(|mount| mount.entries.end <= entry);
        let path = self.tree.path(entry);
        let below = RelPath::new(path).ok().and_then(|path| path.below(&mounts[mount].path));
        join(&self.locations[mount], below.unwrap_or_default().as_bytes())
    }
}

/// Walks the mounts, which must be sorted and must not overlap.
///
/// # Errors
/// [`FileError`] where a mount itself cannot be opened. What cannot be read
/// below it is in the result.
pub fn walk(
    sources: &[WalkSource],
    options: &WalkOptions,
    stop: &AtomicBool,
) -> Result<Walked, FileError> {
    let began = super::stat::now();
    let mut assembly = Assembly { owner: options.owner, ..Assembly::default() };
    for source in sources {
        assembly.walk(source, open_root(source)?, options, stop)?;
    }
    assembly.finish(began)
}

/// Walks what a directory has under a name: so what is walked is in that directory,
/// whatever its path leads to by now.
///
/// # Errors
/// As of [`walk`].
pub fn walk_at(
    (dir, name): At<'_>,
    source: &WalkSource,
    options: &WalkOptions,
    stop: &AtomicBool,
) -> Result<Walked, FileError> {
    let began = super::stat::now();
    let mut assembly = Assembly { owner: options.owner, ..Assembly::default() };
    let failed = |error| FileError::new("open", &source.location, error);
    let place = (dir.try_clone_to_owned().map_err(failed)?, name.to_vec());
    assembly.walk(source, place, options, stop)?;
    assembly.finish(began)
}

/// A directory and the name in it that lead to a mount's root.
type Place = (OwnedFd, Vec<u8>);

fn open_root(source: &WalkSource) -> Result<Place, FileError> {
    let failed = |error| FileError::new("open", &source.location, error);
    let flags = rustix::fs::OFlags::RDONLY | rustix::fs::OFlags::CLOEXEC;
    let open = |path: &Path| -> io::Result<OwnedFd> {
        let flags = flags | rustix::fs::OFlags::DIRECTORY;
        let mode = rustix::fs::Mode::empty();
        Ok(rustix::io::retry_on_intr(|| rustix::fs::open(path, flags, mode))?)
    };
    // A mount's last name is not followed either, but what lies above it is
    // the user's own way of reaching it.
    let parent = source.location.parent().filter(|path| !path.as_os_str().is_empty());
    Ok(match source.location.file_name() {
        Some(name) if !source.path.is_empty() => {
            let parent = open(parent.unwrap_or(Path::new("."))).map_err(failed)?;
            (parent, name.as_encoded_bytes().to_vec())
        }
        _ => (open(&source.location).map_err(failed)?, b".".to_vec()),
    })
}

/// An entry of a directory, as found.
struct Found {
    name: Vec<u8>,
    stat: FileStat,
    extra: Option<Box<Extra>>,
    /// For a directory, the number of its listing.
    listing: Option<usize>,
}

/// What few entries have.
#[derive(Default)]
struct Extra {
    target: Vec<u8>,
    holes: Vec<Hole>,
    xattrs: Vec<Xattr>,
}

/// What all tasks of one mount's walk add to.
#[derive(Default)]
struct AllFound {
    root: Option<Found>,
    /// Directories in the order in which they were met; `None` until read.
    listings: Vec<Option<Vec<Found>>>,
    skipped: Vec<Skipped>,
    unreadable: Vec<FileError>,
}

struct Walker<'a> {
    source: &'a WalkSource,
    options: &'a WalkOptions,
    stop: &'a AtomicBool,
    found: Mutex<AllFound>,
}

impl<'a> Walker<'a> {
    fn run(self, place: &Place, stat: FileStat) -> AllFound {
        let name = self.source.path.names().next_back().unwrap_or_default().to_vec();
        let mut own = AllFound::default();
        own.root = self.look(place.0.as_fd(), &place.1, Some(stat), b"", &mut own);
        if let Some(root) = &mut own.root {
            root.name = name;
            if root.stat.file_type == FileType::Directory {
                root.listing = Some(0);
                self.add(|all| all.listings.push(None));
                match sys::open_dir(place.0.as_fd(), &place.1) {
                    Ok(dir) => {
                        let task = Directory { dir: Arc::new(dir), path: vec![], listing: 0 };
                        rayon::scope(|scope| self.list(scope, &task));
                    }
                    Err(error) => own.unreadable.push(self.error("open", b"", error)),
                }
            }
        }
        let mut all = self.found.into_inner().unwrap_or_else(PoisonError::into_inner);
        all.root = own.root;
        all.skipped.append(&mut own.skipped);
        all.unreadable.append(&mut own.unreadable);
        all
    }

    fn add<T>(&self, change: impl FnOnce(&mut AllFound) -> T) -> T {
        change(&mut lock(&self.found))
    }

    fn error(&self, action: &'static str, path: &[u8], error: io::Error) -> FileError {
        FileError::new(action, join(&self.source.location, path), error)
    }

    /// Lists one directory, and spawns a task for each below it.
    fn list<'s>(&'s self, scope: &rayon::Scope<'s>, task: &Directory) {
        if self.stop.load(Ordering::Relaxed) {
            return;
        }
        let mut own = AllFound::default();
        let mut entries = match sys::names(task.dir.as_fd()) {
            Ok(names) => names
                .into_iter()
                .filter_map(|name| self.look(task.dir.as_fd(), &name, None, &task.path, &mut own))
                .collect(),
            Err(error) => {
                own.unreadable.push(self.error("list", &task.path, error));
                vec![]
            }
        };
        entries.sort_unstable_by(|a: &Found, b| a.name.cmp(&b.name));
        let mut below = vec![];
        self.add(|all| {
            for entry in &mut entries {
                if entry.stat.file_type == FileType::Directory {
                    entry.listing = Some(all.listings.len());
                    below.push((all.listings.len(), entry.name.clone()));
                    all.listings.push(None);
                }
            }
            all.listings[task.listing] = Some(entries);
            all.skipped.append(&mut own.skipped);
            all.unreadable.append(&mut own.unreadable);
        });
        // The last one spawned is the first one run: reversed, a thread goes
        // through a tree in order, and few directories stay open.
        for (listing, name) in below.into_iter().rev() {
            let parent = Arc::clone(&task.dir);
            let path = child(&task.path, &name);
            scope.spawn(move |scope| match sys::open_dir(parent.as_fd(), &name) {
                Ok(dir) => {
                    drop(parent);
                    self.list(scope, &Directory { dir: Arc::new(dir), path, listing });
                }
                Err(error) => {
                    let error = self.error("open", &path, error);
                    self.add(|all| {
                        all.listings[listing] = Some(vec![]);
                        all.unreadable.push(error);
                    });
                }
            });
        }
    }

    /// Looks at one entry of a directory.
    fn look(
        &self,
        dir: std::os::fd::BorrowedFd<'_>,
        name: &[u8],
        stat: Option<FileStat>,
        parent: &[u8],
        own: &mut AllFound,
    ) -> Option<Found> {
        if name.starts_with(AREA_PREFIX.as_bytes()) {
            return None;
        }
        let is_root = stat.is_some();
        let path = || if is_root { vec![] } else { child(parent, name) };
        let stat = match stat.map_or_else(|| sys::stat_at(dir, name), Ok) {
            Ok(stat) => stat,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                own.unreadable.push(self.error("look at", &path(), error));
                return None;
            }
        };
        if !is_root && self.is_excluded(&path(), stat.file_type) {
            return None;
        }
        if let FileType::Other(why) = stat.file_type {
            own.skipped.push(Skipped { path: join(&self.source.location, &path()), why });
            return None;
        }
        match self.extra(dir, name, &stat) {
            Ok(extra) => Some(Found { name: name.to_vec(), stat, extra, listing: None }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                own.unreadable.push(self.error("read", &path(), error));
                None
            }
        }
    }

    fn is_excluded(&self, path: &[u8], file_type: FileType) -> bool {
        let Some(exclude) = &self.options.exclude else {
            return false;
        };
        let recorded = join(&join(Path::new(""), self.source.path.as_bytes()), path);
        exclude.matched(recorded, file_type == FileType::Directory).is_ignore()
    }

    fn extra(
        &self,
        dir: std::os::fd::BorrowedFd<'_>,
        name: &[u8],
        stat: &FileStat,
    ) -> io::Result<Option<Box<Extra>>> {
        let mut extra = Extra::default();
        match stat.file_type {
            FileType::Symlink => extra.target = sys::read_link(dir, name)?,
            FileType::Regular if is_sparse(stat) => {
                let file = sys::open_read(dir, name)?;
                extra.holes = sys::holes(&file, stat.size)?;
            }
            _ => {}
        }
        if self.options.xattrs {
            extra.xattrs = sys::xattrs(dir, name)?;
        }
        let nothing = extra.target.is_empty() && extra.holes.is_empty() && extra.xattrs.is_empty();
        Ok((!nothing).then(|| Box::new(extra)))
    }
}

/// Smaller files are not worth a look for holes: compressing file systems
/// report every file shorter than it is.
const MIN_SPARSE: u64 = 64 << 10;

fn is_sparse(stat: &FileStat) -> bool {
    stat.size >= MIN_SPARSE && stat.allocated < stat.size
}

/// A directory to be listed.
struct Directory {
    dir: Arc<OwnedFd>,
    /// Below the mount.
    path: Vec<u8>,
    listing: usize,
}

fn child(parent: &[u8], name: &[u8]) -> Vec<u8> {
    if parent.is_empty() { name.to_vec() } else { [parent, b"/", name].concat() }
}

/// Joins a path below a mount to its location.
fn join(location: &Path, below: &[u8]) -> PathBuf {
    use std::os::unix::ffi::OsStrExt;
    if below.is_empty() {
        location.to_owned()
    } else {
        location.join(std::ffi::OsStr::from_bytes(below))
    }
}

/// Puts what the tasks found into path order.
#[derive(Default)]
struct Assembly {
    builder: TreeBuilder,
    identities: Vec<FileIdentity>,
    locations: Vec<PathBuf>,
    skipped: Vec<Skipped>,
    unreadable: Vec<FileError>,
    roots: HashMap<EntryIndex, Place>,
    /// The first entry of each file that has several names.
    first_names: HashMap<(u64, u64), EntryIndex>,
    owner: bool,
}

impl Assembly {
    fn walk(
        &mut self,
        source: &WalkSource,
        place: Place,
        options: &WalkOptions,
        stop: &AtomicBool,
    ) -> Result<(), FileError> {
        let root = sys::stat_at(place.0.as_fd(), &place.1)
            .map_err(|error| FileError::new("open", &source.location, error))?;
        let walker = Walker { source, options, stop, found: Mutex::default() };
        let found = walker.run(&place, root);
        let rules = |error: FormatError| {
            FileError::new("record", &source.location, io::Error::other(error))
        };
        self.add(source, place, found).map_err(rules)
    }

    fn add(
        &mut self,
        source: &WalkSource,
        place: Place,
        mut found: AllFound,
    ) -> Result<(), FormatError> {
        self.skipped.append(&mut found.skipped);
        self.unreadable.append(&mut found.unreadable);
        let Some(root) = found.root.take() else {
            return Ok(());
        };
        self.builder.begin_mount(source.anchor, source.path.clone())?;
        self.locations.push(source.location.clone());
        let index = EntryIndex::try_from(self.identities.len())
            .map_err(|_| FormatError::Inconsistent("there are too many entries"))?;
        self.roots.insert(index, place);
        // Depth first without recursion: trees can be deeper than a stack.
        let mut ways = vec![vec![root].into_iter()];
        while let Some(way) = ways.last_mut() {
            let Some(entry) = way.next() else {
                ways.pop();
                continue;
            };
            let depth = ways.len() - 1;
            let listing = entry.listing.and_then(|number| found.listings[number].take());
            self.push(depth, entry)?;
            if let Some(listing) = listing {
                ways.push(listing.into_iter());
            }
        }
        Ok(())
    }

    fn push(&mut self, depth: usize, found: Found) -> Result<(), FormatError> {
        let Found { name, stat, extra, .. } = found;
        let extra = extra.map(|extra| *extra).unwrap_or_default();
        let file = (stat.identity.device, stat.identity.inode);
        let kind = match stat.file_type {
            FileType::Directory => Kind::Directory,
            FileType::Symlink => Kind::Symlink,
            _ => match self.first_names.get(&file) {
                Some(&first) => Kind::HardLink { first },
                None => Kind::File(FileData { size: stat.size, at: 0 }),
            },
        };
        let new = NewEntry {
            name: &name,
            kind,
            target: &extra.target,
            mode: stat.mode,
            mtime: stat.mtime,
        };
        let index = self.builder.push(depth, new)?;
        if matches!(kind, Kind::File(_)) {
            self.builder.set_holes(index, extra.holes)?;
            if stat.links > 1 {
                self.first_names.insert(file, index);
            }
        }
        self.builder.set_xattrs(index, extra.xattrs)?;
        if self.owner {
            self.builder.push_owner(stat.owner);
        }
        self.identities.push(stat.identity);
        Ok(())
    }

    fn finish(self, began: Timestamp) -> Result<Walked, FileError> {
        let tree = self
            .builder
            .finish()
            .map_err(|error| FileError::new("record", ".", io::Error::other(error)))?;
        Ok(Walked {
            tree,
            identities: self.identities,
            locations: self.locations,
            skipped: self.skipped,
            unreadable: self.unreadable,
            began,
            roots: self.roots,
        })
    }
}
