//! Stat records on this machine: one file per place that was saved or restored.

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::chunking;
use crate::files::{FileError, clock_granularity};
use crate::format::{FileIdentity, StatRecord, Timestamp};

/// A directory of stat records.
#[derive(Clone, Debug)]
pub struct Records {
    directory: PathBuf,
}

/// The longest record that is read, in bytes.
const MAX_RECORD_LEN: u64 = crate::format::MAX_MANIFEST_LEN;

/// Records not written for this long are removed: longer than a project rests
/// over holidays, and losing one costs one read of its files.
const MAX_AGE: Duration = Duration::from_secs(30 * 86_400);

/// A record that is not whole after this long was left by a run that was killed.
const MAX_WRITING: Duration = Duration::from_secs(60 * 60);

impl Records {
    /// Records are kept in this directory, which is made when it is needed.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    fn path(&self, location: &Path) -> PathBuf {
        let name = blake3::hash(location.as_os_str().as_encoded_bytes()).to_hex();
        self.directory.join(&name.as_str()[..32])
    }

    /// Takes the lock of a place; `None` if another process, or this one, has it. It is
    /// free again when the file is dropped.
    ///
    /// # Errors
    /// Those of making the file of the lock, and of file systems without locks.
    pub(crate) fn try_lock(&self, location: &Path) -> io::Result<Option<File>> {
        std::fs::create_dir_all(&self.directory)?;
        let path = self.path(location).with_extension("lock");
        let file = File::options().create(true).append(true).open(path)?;
        match file.try_lock() {
            // Those that were not used for long are removed.
            Ok(()) => file.set_modified(SystemTime::now()).map(|()| Some(file)),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }

    /// The record of a place, unless there is none that can be relied on.
    pub fn read(&self, location: &Path) -> Option<StatRecord> {
        let path = self.path(location);
        if path.metadata().ok()?.len() > MAX_RECORD_LEN {
            return None;
        }
        let record = StatRecord::decode(&std::fs::read(path).ok()?).ok()?;
        (record.chunking == chunking::parameters()).then_some(record)
    }

    /// The records of several places, where there are any.
    pub(crate) fn read_all<'a>(
        &self,
        locations: impl IntoIterator<Item = &'a Path>,
    ) -> HashMap<PathBuf, StatRecord> {
        let read = |location: &Path| Some((location.to_owned(), self.read(location)?));
        locations.into_iter().filter_map(read).collect()
    }

    /// Removes records that no run has written for long, of places that are
    /// perhaps gone, and what killed runs left.
    fn remove_old(&self) {
        for entry in std::fs::read_dir(&self.directory).into_iter().flatten().flatten() {
            // A lock may be held for longer than that, and would be another one then.
            let is_unfinished = entry.path().extension().is_some_and(|it| it == "tmp");
            let age = if is_unfinished { MAX_WRITING } else { MAX_AGE };
            let old = SystemTime::now().checked_sub(age);
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            if modified.is_ok_and(|modified| old.is_some_and(|old| modified < old)) {
                // Another process may have been first.
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// Replaces the record of a place.
    ///
    /// # Errors
    /// [`FileError`]; the old record is then still there, or none.
    pub fn write(&self, location: &Path, record: &StatRecord) -> Result<(), FileError> {
        let path = self.path(location);
        let failed = |error: io::Error| FileError::new("write the stat record", &path, error);
        std::fs::create_dir_all(&self.directory).map_err(failed)?;
        self.remove_old();
        let temporary = self.directory.join(format!("{}.tmp", ulid::Ulid::generate()));
        let written = std::fs::write(&temporary, record.encode())
            .and_then(|()| std::fs::rename(&temporary, &path));
        if written.is_err() {
            // Half a record helps nobody; if it stays, it is only space.
            let _ = std::fs::remove_file(&temporary);
        }
        written.map_err(failed)
    }
}

/// What may be recorded of a file that was read or looked at after `since`.
///
/// The rule is git's for its index ("racy git"): a file whose last change is
/// not clearly older than the look at it may change again without getting
/// another time. Its identity is then not recorded, and the next save reads it.
pub(crate) fn lasting(identity: FileIdentity, since: Timestamp) -> Option<FileIdentity> {
    let clear = since.minus(clock_granularity(identity.ctime));
    (identity.inode != 0 && identity.ctime < clear).then_some(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_killed_runs_left_goes_soon_and_records_late() {
        let top = tempfile::tempdir().unwrap();
        let hours_ago = |hours: u64| SystemTime::now() - Duration::from_secs(hours * 3600);
        let make = |name: &str, hours| {
            let file = File::create(top.path().join(name)).unwrap();
            file.set_modified(hours_ago(hours)).unwrap();
        };
        make("new.tmp", 0);
        make("left.tmp", 2);
        make("record", 2);
        make("record.lock", 2);
        make("forgotten", 31 * 24);
        Records::new(top.path()).remove_old();
        let there = |name: &str| top.path().join(name).exists();
        assert!(there("new.tmp") && !there("left.tmp"));
        assert!(there("record") && there("record.lock") && !there("forgotten"));
    }

    #[test]
    fn what_may_change_unnoticed_is_not_recorded() {
        let at = |secs, nanos| Timestamp { secs, nanos };
        let identity = |ctime| FileIdentity { device: 1, inode: 2, ctime };
        let since = at(100, 500_000_000);
        let lasts = |ctime| lasting(identity(ctime), since).is_some();
        assert!(lasts(at(100, 400_000_000)));
        assert!(!lasts(at(100, 490_000_000)), "within the clock's tick");
        assert!(!lasts(at(100, 600_000_000)), "in the future");
        assert!(!lasts(at(99, 0)), "whole seconds: the next change may get the same one");
        assert!(lasts(at(97, 0)));
    }
}
