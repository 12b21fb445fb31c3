//! A store in a directory: every object is a plain file at `<root>/<key>`.
//!
//! Any number of processes and users may share the directory. Three means
//! keep the store's contract there:
//!
//! - A body is written to a file of its own in `tmp#/` and only then gets its
//!   key's name, by one system call: a reader sees a whole object or none
//!   (`temp`).
//! - Whatever changes a key holds that key's advisory lock meanwhile, a file
//!   in `lock#/`; readers take no lock (`lock`, `publish`).
//! - An object's version is its file's modification time, inode and length,
//!   and the times of one key only ever rise: a version never comes back.
//!
//! No key may contain `#`, so neither directory can be mistaken for an object.
//!
//! What a file system cannot do: hold both `x` and `x/y`. Larder's own layout
//! never has such keys; here the second of the two is refused with an error.
//!
//! Left out: directories are never removed, even when their last object is.
//! The layout has few of them, and a removal could only race with a put that
//! is about to use the directory. Symbolic links below the root are no
//! objects.

mod dirs;
mod lock;
mod publish;
mod sys;
mod temp;
mod walk;

use std::collections::BTreeMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;

use super::{
    Object, ObjectKey, ObjectMeta, Operation, Page, PutMode, Store, StoreError, StoreErrorKind,
    StoreLocation, Version, check_batch,
};
use dirs::Dirs;
use lock::KeyLock;
use walk::Walk;

/// Whether a put waits until its object would survive a power failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Fsync {
    /// Contents and directory entries are forced to the disk.
    #[default]
    Always,
    /// The kernel writes them when it sees fit: for disks that are thrown
    /// away. After a power failure objects may be missing, empty or half
    /// written; killed processes do no such harm.
    Never,
}

/// A store in a directory of a file system.
#[derive(Debug)]
pub struct LocalStore {
    dirs: Dirs,
    location: StoreLocation,
    /// Whether it was opened to be written.
    writes: bool,
}

impl LocalStore {
    /// Opens the store in `root`, which is created if it is absent, its parents
    /// too. Removes what killed writers left behind.
    ///
    /// # Errors
    /// If `root` cannot be created or is not a directory.
    pub fn open(root: &Path, fsync: Fsync) -> Result<Self, StoreError> {
        let store = Self { writes: true, ..Self::open_existing(root, fsync)? };
        dirs::make_root(store.root(), fsync)
            .map_err(|kind| StoreError::new(Operation::Open, &store.location, kind))?;
        temp::remove_stale(store.root());
        Ok(store)
    }

    /// Opens the store in `root` without creating anything.
    ///
    /// An absent `root` is like a store without objects, except that nothing
    /// can be put into it.
    ///
    /// # Errors
    /// If `root` is something other than a directory.
    pub fn open_existing(root: &Path, fsync: Fsync) -> Result<Self, StoreError> {
        let location = StoreLocation::Directory { root: root.to_owned(), fsync };
        let fail = |error| StoreError::new(Operation::Open, &location, failure(root, error));
        // A later change of the working directory must not move the store.
        let absolute = std::path::absolute(root).map_err(fail)?;
        match fs::metadata(&absolute) {
            Ok(found) if !found.is_dir() => Err(fail(io::ErrorKind::NotADirectory.into())),
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(fail(error)),
            Ok(_) | Err(_) => {
                Ok(Self { dirs: Dirs::new(absolute, fsync), location, writes: false })
            }
        }
    }

    fn root(&self) -> &Path {
        self.dirs.root()
    }

    fn path(&self, key: &ObjectKey) -> PathBuf {
        self.root().join(key.as_str())
    }

    fn open_object(&self, key: &ObjectKey) -> Result<(File, ObjectMeta), StoreErrorKind> {
        let path = self.path(key);
        let open = || {
            let file = sys::open_nofollow(&path)?;
            let metadata = file.metadata()?;
            Ok((file, metadata))
        };
        match open() {
            Ok((file, metadata)) if metadata.is_file() => {
                Ok((file, object_meta(key.clone(), &metadata)))
            }
            Ok(_) => Err(StoreErrorKind::NotFound),
            Err(error) if sys::means_absent(&error) => Err(StoreErrorKind::NotFound),
            Err(error) => Err(failure(&path, error)),
        }
    }

    fn read(&self, key: &ObjectKey, max_len: u64) -> Result<Object, StoreErrorKind> {
        let (file, meta) = self.open_object(key)?;
        if meta.len > max_len {
            return Err(StoreErrorKind::TooLong { len: meta.len, max_len });
        }
        let body = self.read_bytes(key, &file, 0..meta.len)?;
        Ok(Object { meta, body })
    }

    fn read_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreErrorKind> {
        let (file, meta) = self.open_object(key)?;
        if range.is_empty() || range.end > meta.len {
            return Err(StoreErrorKind::RangeOutside {
                start: range.start,
                end: range.end,
                len: meta.len,
            });
        }
        self.read_bytes(key, &file, range)
    }

    /// Reads a range that the file had a moment ago; nothing of larder ever
    /// shortens an object, but if someone did, that is an error.
    fn read_bytes(
        &self,
        key: &ObjectKey,
        file: &File,
        range: Range<u64>,
    ) -> Result<Bytes, StoreErrorKind> {
        let read = || {
            let len = usize::try_from(range.end - range.start)
                .map_err(|_| io::Error::from(io::ErrorKind::OutOfMemory))?;
            let mut body = vec![0; len];
            sys::read_exact_at(file, &mut body, range.start)?;
            Ok(Bytes::from(body))
        };
        read().map_err(|error| failure(&self.path(key), error))
    }

    fn stat(&self, key: &ObjectKey) -> Result<Option<Metadata>, StoreErrorKind> {
        let path = self.path(key);
        match fs::symlink_metadata(&path) {
            Ok(metadata) => Ok(metadata.is_file().then_some(metadata)),
            Err(error) if sys::means_absent(&error) => Ok(None),
            Err(error) => Err(failure(&path, error)),
        }
    }

    /// Removes one object, if `wanted` is so of it, and says whether it did.
    fn remove(
        &self,
        key: &ObjectKey,
        wanted: impl Fn(&Metadata) -> bool,
    ) -> Result<bool, StoreErrorKind> {
        // Without this look, deleting from an absent store would create locks.
        if !self.stat(key)?.is_some_and(|metadata| wanted(&metadata)) {
            return Ok(false);
        }
        let lock = KeyLock::acquire(&self.dirs, key)?.ok_or_else(lock::unsupported)?;
        // Under the lock nobody else replaces or removes the object, so what is
        // judged, and marked, is the very object that goes away.
        let Some(metadata) = self.stat(key)?.filter(wanted) else {
            return Ok(false);
        };
        // Before the removal: whoever gets the freed inode must see the mark.
        lock.raise_mark(sys::mtime_nanos(&metadata));
        let path = self.path(key);
        match fs::remove_file(&path) {
            Ok(()) => Ok(true),
            // It was there under the lock: NFS sent the removal twice, having
            // lost the answer to the first.
            Err(error) if sys::means_absent(&error) => Ok(true),
            Err(error) => Err(failure(&path, error)),
        }
    }

    fn remove_version(&self, key: &ObjectKey, wanted: &Version) -> Result<(), StoreErrorKind> {
        if !self.remove(key, |metadata| version(metadata) == *wanted)? {
            return Err(StoreErrorKind::VersionMismatch);
        }
        self.dirs.sync(&parent(&self.path(key)))
    }

    /// The file system's time, which need not be this machine's.
    fn time(&self) -> Result<SystemTime, StoreErrorKind> {
        if !self.writes {
            return Ok(SystemTime::now());
        }
        match temp::time(&self.dirs) {
            // Who may not write, or finds no room, can still tell ages about.
            Err(StoreErrorKind::Denied(_) | StoreErrorKind::NoSpace(_)) => Ok(SystemTime::now()),
            answer => answer,
        }
    }
}

impl Store for LocalStore {
    fn location(&self) -> String {
        self.location.to_string()
    }

    fn get(&self, key: &ObjectKey, max_len: u64) -> Result<Object, StoreError> {
        self.read(key, max_len).map_err(|kind| StoreError::new(Operation::Get, key, kind))
    }

    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.read_range(key, range).map_err(|kind| StoreError::new(Operation::Get, key, kind))
    }

    fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StoreError> {
        match self.stat(key) {
            Ok(Some(metadata)) => Ok(object_meta(key.clone(), &metadata)),
            Ok(None) => Err(StoreErrorKind::NotFound),
            Err(kind) => Err(kind),
        }
        .map_err(|kind| StoreError::new(Operation::Head, key, kind))
    }

    fn put(&self, key: &ObjectKey, body: Bytes, mode: PutMode) -> Result<Version, StoreError> {
        publish::put(&self.dirs, key, &body, &mode)
            .map_err(|kind| StoreError::new(Operation::Put, key, kind))
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        check_batch(Operation::List, prefix, limit)?;
        Walk::page(self.root(), prefix, after, limit)
            .map_err(|kind| StoreError::new(Operation::List, prefix, kind))
    }

    fn delete(&self, keys: &[ObjectKey]) -> Result<Vec<StoreError>, StoreError> {
        check_batch(Operation::Delete, &self.location, keys.len())?;
        let mut errors = Vec::new();
        let mut removed: BTreeMap<PathBuf, Vec<&ObjectKey>> = BTreeMap::new();
        for key in keys {
            match self.remove(key, |_| true) {
                Ok(true) => removed.entry(parent(&self.path(key))).or_default().push(key),
                Ok(false) => {}
                Err(kind) => errors.push(StoreError::new(Operation::Delete, key, kind)),
            }
        }
        // One sync makes all removals of a directory durable.
        for (dir, keys) in removed {
            if let Err(kind) = self.dirs.sync(&dir) {
                errors.extend(keys.into_iter().map(|key| {
                    let kind = StoreErrorKind::Io(io::Error::other(kind.to_string()));
                    StoreError::new(Operation::Delete, key, kind)
                }));
            }
        }
        Ok(errors)
    }

    fn delete_if_match(&self, key: &ObjectKey, version: &Version) -> Result<(), StoreError> {
        self.remove_version(key, version)
            .map_err(|kind| StoreError::new(Operation::Delete, key, kind))
    }

    fn now(&self) -> Result<SystemTime, StoreError> {
        self.time().map_err(|kind| StoreError::new(Operation::Now, &self.location, kind))
    }
}

/// What the file system says, and of which path: the key does not tell which
/// directory, lock or temporary file refused.
#[derive(Debug, thiserror::Error)]
#[error("{}: {error}", path.display())]
struct AtPath {
    path: PathBuf,
    #[source]
    error: io::Error,
}

/// An error of the file system with the path it is about. That something is
/// absent is never passed here when it means "no such object".
fn failure(path: &Path, error: io::Error) -> StoreErrorKind {
    let kind = error.kind();
    let path = path.to_owned();
    let error = io::Error::new(kind, AtPath { path, error });
    match kind {
        // The key's own absence is judged where it is found; anything else
        // that is missing (the root, a temporary file) is a failure.
        io::ErrorKind::NotFound => StoreErrorKind::Io(error),
        _ => error.into(),
    }
}

fn object_meta(key: ObjectKey, metadata: &Metadata) -> ObjectMeta {
    ObjectMeta {
        key,
        len: metadata.len(),
        modified: sys::modified(metadata),
        version: version(metadata),
    }
}

fn version(metadata: &Metadata) -> Version {
    Version::new(format!(
        "{}-{}-{}",
        sys::mtime_nanos(metadata),
        sys::inode(metadata),
        metadata.len()
    ))
}

/// The directory that holds a path below the root.
fn parent(path: &Path) -> PathBuf {
    path.parent().unwrap_or(Path::new("/")).to_owned()
}
