//! Putting an object: from a body to a name that readers see.
//!
//! The steps: write the body to a temporary file, take the key's lock, compare
//! what is there with what the caller asks for, give the file a modification
//! time later than any the key has had, give it the key's name, free the lock,
//! and sync the directory.
//!
//! The invariant, whatever puts and deletes of one key meet:
//!
//! - A name that is there is replaced or removed only under the key's lock. So
//!   what was compared under the lock is what is replaced.
//! - A name that is not there is taken only by a call that fails if it is there
//!   after all. So a create never clobbers, and is never clobbered by an
//!   overwrite that saw the key absent; this needs no lock, and holds even
//!   where the file system has none.

use std::fs::{self, Metadata};
use std::io;
use std::path::Path;

use super::super::{ObjectKey, PutMode, StoreErrorKind, Version};
use super::dirs::Dirs;
use super::lock::{self, KeyLock};
use super::temp::Temp;
use super::{failure, parent, sys, version};

/// Rounds of comparing and naming. Each failed round means that someone else
/// created the object or removed a directory in that instant; who loses this
/// often is not racing but facing something broken.
const ROUNDS: u32 = 16;

/// Puts an object; see [`Store::put`](super::super::Store::put).
pub(super) fn put(
    dirs: &Dirs,
    key: &ObjectKey,
    body: &[u8],
    mode: &PutMode,
) -> Result<Version, StoreErrorKind> {
    let path = dirs.root().join(key.as_str());
    // Spares writing a body that will not be taken.
    check(mode, current(&path)?.as_ref())?;
    let temp = Temp::write(dirs, body)?;
    let version = {
        let lock = KeyLock::acquire(dirs, key)?;
        if lock.is_none() && *mode != PutMode::Create {
            return Err(lock::unsupported());
        }
        publish(dirs, temp, &path, mode, lock.as_ref())?
    };
    // After the lock: a later put into this directory syncs both names, so
    // nobody builds durably on a state that may still be lost.
    dirs.sync_published(&parent(&path))?;
    Ok(version)
}

fn publish(
    dirs: &Dirs,
    mut temp: Temp,
    path: &Path,
    mode: &PutMode,
    lock: Option<&KeyLock>,
) -> Result<Version, StoreErrorKind> {
    for _ in 0..ROUNDS {
        let old = current(path)?;
        check(mode, old.as_ref())?;
        // The floor makes the times of a key rise from state to state: from
        // the object replaced, or from the last one deleted.
        let floor = match &old {
            Some(old) => Some(sys::mtime_nanos(old)),
            None => lock.and_then(KeyLock::mark),
        };
        let stamped = temp.stamp_after(floor).map_err(|error| failure(path, error))?;
        let answer = match old {
            // We hold the lock (`old` passes the check of a create only if it
            // is none): `old` is there until we replace it.
            Some(_) => temp.replace(path),
            // Not a plain rename, even under the lock: a create without one
            // may have come first, and its object must be compared too.
            None => temp.publish_new(path, lock.is_some()),
        };
        match answer {
            Ok(()) => return Ok(version(&stamped)),
            // Compare again, now with the object that came first.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => dirs.make(&parent(path))?,
            Err(error) => return Err(failure(path, error)),
        }
    }
    Err(failure(
        path,
        io::Error::other("the object or its directory keeps appearing and vanishing"),
    ))
}

/// The file that has the object's name now.
fn current(path: &Path) -> Result<Option<Metadata>, StoreErrorKind> {
    match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(Some(metadata)),
        // Objects below this key, or something that is not larder's.
        Ok(metadata) if metadata.is_dir() => Err(failure(path, io::ErrorKind::IsADirectory.into())),
        Ok(_) => Err(failure(path, io::Error::other("not a regular file"))),
        Err(error) if sys::means_absent(&error) => Ok(None),
        Err(error) => Err(failure(path, error)),
    }
}

fn check(mode: &PutMode, old: Option<&Metadata>) -> Result<(), StoreErrorKind> {
    match (mode, old) {
        (PutMode::Create, Some(_)) => Err(StoreErrorKind::AlreadyExists),
        (PutMode::IfMatch(wanted), old) if old.map(version).as_ref() != Some(wanted) => {
            Err(StoreErrorKind::VersionMismatch)
        }
        _ => Ok(()),
    }
}
