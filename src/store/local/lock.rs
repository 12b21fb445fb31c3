//! Advisory locks: one writer of a key at a time, over all processes.
//!
//! A lock is a file `lock#/XX`, `XX` being the first byte of the key's hash.
//! Its contents are the shard's *mark*: the latest modification time of an
//! object deleted under it. An object created later gets a later time, so that
//! it cannot look like the deleted one even if it was given the same inode in
//! the same tick of the clock.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use super::super::{ObjectKey, StoreErrorKind};
use super::dirs::Dirs;
use super::temp::CLOCK_STEP;
use super::{failure, parent, sys};

/// Directory of the locks; `#` is in no key.
const LOCK_DIR: &str = "lock#";

/// Digits of a mark: a fixed width, so that writing one replaces the other.
/// 20 digits of nanoseconds reach past the year 5000.
const MARK_LEN: usize = 20;

/// A key's lock, held until this is dropped.
#[derive(Debug)]
pub(super) struct KeyLock {
    file: File,
}

impl KeyLock {
    /// Waits for the lock of a key. `None` if the file system has no locks.
    pub(super) fn acquire(dirs: &Dirs, key: &ObjectKey) -> Result<Option<Self>, StoreErrorKind> {
        // All processes must agree on the shard: a change of the hash is a
        // change of the store's format.
        let shard = blake3::hash(key.as_str().as_bytes()).as_bytes()[0];
        let path = dirs.root().join(LOCK_DIR).join(format!("{shard:02x}"));
        loop {
            let file = open(dirs, &path)?;
            if !sys::lock(&file).map_err(|error| failure(&path, error))? {
                return Ok(None);
            }
            // A lock on a file that was removed while we waited guards nothing.
            let same = || Ok(sys::same_file(&file.metadata()?, &fs::metadata(&path)?));
            match same() {
                Ok(true) => return Ok(Some(Self { file })),
                Ok(false) => {}
                Err(error) if sys::means_absent(&error) => {}
                Err(error) => return Err(failure(&path, error)),
            }
        }
    }

    /// The latest modification time of an object deleted under this lock.
    pub(super) fn mark(&self) -> Option<i128> {
        let mut text = [0; MARK_LEN];
        // A lock that never saw a delete is empty.
        sys::read_exact_at(&self.file, &mut text, 0).ok()?;
        std::str::from_utf8(&text).ok()?.parse().ok()
    }

    /// Notes the modification time of an object that is about to be deleted.
    ///
    /// Failing is allowed: on a full disk a delete must work above all.
    pub(super) fn raise_mark(&self, mtime: i128) {
        // A mark from a clock that was once far ahead is given up, or it would
        // mask all that come after it.
        let keep = |mark: i128| mark >= mtime && mark - mtime <= CLOCK_STEP;
        if !self.mark().is_some_and(keep) {
            let text = format!("{:0MARK_LEN$}", mtime.max(0));
            let _ = sys::write_all_at(&self.file, text.as_bytes(), 0);
        }
    }
}

/// The error of an operation that cannot do without a lock.
pub(super) fn unsupported() -> StoreErrorKind {
    StoreErrorKind::Io(io::Error::new(
        io::ErrorKind::Unsupported,
        "the store's file system has no advisory locks (flock)",
    ))
}

fn open(dirs: &Dirs, path: &Path) -> Result<File, StoreErrorKind> {
    let open = || OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            dirs.make(&parent(path))?;
            open()
        }
        answer => answer,
    }
    .map_err(|error| failure(path, error))
}
