//! The store's directories: made on demand, and durable before what they hold
//! is said to be.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::super::StoreErrorKind;
use super::{Fsync, failure, parent, sys};

/// The root of a store and what is known of the directories below it.
#[derive(Debug)]
pub(super) struct Dirs {
    root: PathBuf,
    fsync: Fsync,
    /// Directories whose own names are known to be durable up to the root.
    durable: Mutex<HashSet<PathBuf>>,
}

impl Dirs {
    pub(super) fn new(root: PathBuf, fsync: Fsync) -> Self {
        Self { root, fsync, durable: Mutex::default() }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn fsync(&self) -> Fsync {
        self.fsync
    }

    /// Makes a directory below the root, and those between. Never the root
    /// itself: if that is gone, its disk was unmounted or someone removed the
    /// store, and neither should look like an empty store.
    pub(super) fn make(&self, dir: &Path) -> Result<(), StoreErrorKind> {
        if dir == self.root {
            return match fs::metadata(dir) {
                Ok(_) => Ok(()),
                Err(error) => Err(failure(dir, error)),
            };
        }
        match fs::create_dir(dir) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => must_be_dir(dir),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.make(&parent(dir))?;
                match fs::create_dir(dir) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        Err(failure(dir, error))
                    }
                    _ => Ok(()),
                }
            }
            Err(error) => Err(failure(dir, error)),
        }
    }

    /// Makes the names in a directory durable.
    pub(super) fn sync(&self, dir: &Path) -> Result<(), StoreErrorKind> {
        match self.fsync {
            Fsync::Always => sys::sync_dir(dir).map_err(|error| failure(dir, error)),
            Fsync::Never => Ok(()),
        }
    }

    /// Makes a name that was just put into `dir` durable, and the directory's
    /// own name with it.
    pub(super) fn sync_published(&self, dir: &Path) -> Result<(), StoreErrorKind> {
        if self.fsync == Fsync::Never {
            return Ok(());
        }
        self.sync(dir)?;
        // Whoever made the directory may not have come to syncing its name
        // yet. So the first put into a directory syncs all those above it,
        // even if another process made them; later ones need not.
        if self.durable().contains(dir) {
            return Ok(());
        }
        let mut above = dir.to_owned();
        while above != self.root {
            above = parent(&above);
            self.sync(&above)?;
        }
        self.durable().insert(dir.to_owned());
        Ok(())
    }

    fn durable(&self) -> std::sync::MutexGuard<'_, HashSet<PathBuf>> {
        self.durable.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes the root of a store, and its parents.
pub(super) fn make_root(root: &Path, fsync: Fsync) -> Result<(), StoreErrorKind> {
    match fs::create_dir(root) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound && root.parent().is_some() => {
            make_root(&parent(root), fsync)?;
            match fs::create_dir(root) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failure(root, error));
                }
                _ => {}
            }
        }
        // Also on a read-only file system, where creating what exists may be
        // answered with EROFS: an existing root is all that is asked for.
        Err(error) => {
            return match fs::metadata(root) {
                Ok(found) if found.is_dir() => Ok(()),
                Ok(_) => Err(failure(root, io::ErrorKind::NotADirectory.into())),
                Err(_) => Err(failure(root, error)),
            };
        }
    }
    if fsync == Fsync::Always {
        let parent = parent(root);
        sys::sync_dir(&parent).map_err(|error| failure(&parent, error))?;
    }
    Ok(())
}

fn must_be_dir(dir: &Path) -> Result<(), StoreErrorKind> {
    match fs::metadata(dir) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(failure(dir, io::ErrorKind::NotADirectory.into())),
        Err(error) => Err(failure(dir, error)),
    }
}
