//! Temporary files: bodies on their way to becoming objects.
//!
//! Each lies in `tmp#/` under a fresh name, and its writer holds its advisory
//! lock. What a killed writer leaves is told by the lock, which the system
//! frees, and is removed when a store is next opened for writing.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use ulid::Ulid;

use super::super::StoreErrorKind;
use super::dirs::Dirs;
use super::{Fsync, failure, parent, sys};

/// Directory of the temporary files; `#` is in no key.
const TEMP_DIR: &str = "tmp#";

/// A file without a living writer is kept this long: a writer needs a moment
/// between making its file and locking it, and clocks of machines that share
/// a directory differ.
const STALE_AFTER: Duration = Duration::from_secs(60 * 60);

/// Nanoseconds by which a time must lie ahead to be taken for the work of a
/// clock that was wrong: more than any tick or ordinary skew, less than any
/// age that larder measures.
pub(super) const CLOCK_STEP: i128 = 10_000_000_000;

/// Nanoseconds to add to a time until the file system shows the difference:
/// ext4, XFS and tmpfs keep nanoseconds, others 100 ns, microseconds, seconds,
/// and FAT two seconds.
const STEPS: [i128; 5] = [1, 100, 1_000, 1_000_000_000, 2_000_000_000];

/// A whole body in a file that has no key's name yet; removed when dropped.
#[derive(Debug)]
pub(super) struct Temp {
    file: File,
    path: PathBuf,
    /// Whether the file still has its temporary name.
    named: bool,
}

impl Temp {
    /// Writes a body, durably unless the store does without.
    pub(super) fn write(dirs: &Dirs, body: &[u8]) -> Result<Self, StoreErrorKind> {
        let mut temp = Self::create(dirs)?;
        // Where there are no locks, nobody removes stale files either.
        let _ = sys::try_lock(&temp.file);
        let write = |file: &mut File| {
            file.write_all(body)?;
            match dirs.fsync() {
                // Before the file gets its key's name: after a power failure
                // the name must not lead to missing bytes.
                Fsync::Always => file.sync_data(),
                Fsync::Never => Ok(()),
            }
        };
        match write(&mut temp.file) {
            Ok(()) => Ok(temp),
            Err(error) => Err(failure(&temp.path, error)),
        }
    }

    fn create(dirs: &Dirs) -> Result<Self, StoreErrorKind> {
        let path = dirs.root().join(TEMP_DIR).join(Ulid::generate().to_string());
        // The usual mode, 0666 less the umask: users who share a store through
        // a group must be able to read each other's objects.
        let create = || OpenOptions::new().write(true).create_new(true).open(&path);
        let file = match create() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                dirs.make(&parent(&path))?;
                create()
            }
            answer => answer,
        }
        .map_err(|error| failure(&path, error))?;
        Ok(Self { file, path, named: true })
    }

    /// Sets the modification time after `floor`, if it is not so already.
    ///
    /// A floor far ahead is the work of a clock that was wrong and has been
    /// put right. It is ignored: our time cannot equal it, and following it
    /// would keep the object young for as long as the clock was wrong.
    pub(super) fn stamp_after(&self, floor: Option<i128>) -> io::Result<Metadata> {
        let metadata = self.file.metadata()?;
        let behind = floor.map_or(-1, |floor| floor - sys::mtime_nanos(&metadata));
        let Some(floor) = floor.filter(|_| (0..=CLOCK_STEP).contains(&behind)) else {
            return Ok(metadata);
        };
        for step in STEPS {
            sys::set_mtime(&self.file, floor + step)?;
            let metadata = self.file.metadata()?;
            if sys::mtime_nanos(&metadata) > floor {
                return Ok(metadata);
            }
        }
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the file system does not keep modification times",
        ))
    }

    /// Gives the file an object's name that nothing has.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`]: then nothing was changed.
    pub(super) fn publish_new(&mut self, path: &Path, locked: bool) -> io::Result<()> {
        let unsupported = |error: &io::Error| error.kind() == io::ErrorKind::Unsupported;
        match sys::link_new(&self.file, &self.path, path) {
            Err(error) if unsupported(&error) => {}
            answer => return answer,
        }
        match sys::rename_new(&self.path, path) {
            Err(error) if unsupported(&error) => {}
            answer => {
                self.named = answer.is_err();
                return answer;
            }
        }
        // Looking and renaming are two steps: only under the lock does nothing
        // come between them.
        if !locked {
            return Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "the file system has neither hard links, nor exclusive renames, nor locks",
            ));
        }
        self.rename_if_absent(path)
    }

    fn rename_if_absent(&mut self, path: &Path) -> io::Result<()> {
        match fs::symlink_metadata(path) {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => self.replace(path),
            Err(error) => Err(error),
        }
    }

    /// Gives the file an object's name, in place of the file that has it.
    pub(super) fn replace(&mut self, path: &Path) -> io::Result<()> {
        fs::rename(&self.path, path)?;
        self.named = false;
        Ok(())
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if self.named {
            // What remains is found by the next opening.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// What time the file system gives a file that is made now: the time that
/// objects are given, before it is raised above that of what they replace.
pub(super) fn time(dirs: &Dirs) -> Result<SystemTime, StoreErrorKind> {
    let temp = Temp::create(dirs)?;
    let metadata = temp.file.metadata().map_err(|error| failure(&temp.path, error))?;
    Ok(sys::modified(&metadata))
}

/// Removes the temporary files of killed writers, as far as that is possible:
/// what cannot be removed costs only space.
pub(super) fn remove_stale(root: &Path) {
    let Ok(entries) = fs::read_dir(root.join(TEMP_DIR)) else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        if is_stale(&path).unwrap_or(false) {
            let _ = fs::remove_file(&path);
        }
    }
}

fn is_stale(path: &Path) -> io::Result<bool> {
    let modified = sys::modified(&fs::symlink_metadata(path)?);
    let age = SystemTime::now().duration_since(modified);
    // The lock is freed when this returns. Nobody can take it and write on:
    // names are never used twice, and a writer locks its file only once.
    Ok(age.is_ok_and(|age| age > STALE_AFTER) && sys::try_lock(&sys::open_nofollow(path)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_new(way: impl Fn(&mut Temp, &Path) -> io::Result<()>) {
        let root = tempfile::tempdir().unwrap();
        let dirs = Dirs::new(root.path().to_owned(), Fsync::Never);
        let object = root.path().join("object");
        way(&mut Temp::write(&dirs, b"first").unwrap(), &object).unwrap();
        let error = way(&mut Temp::write(&dirs, b"second").unwrap(), &object).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&object).unwrap(), b"first");
        let left = fs::read_dir(root.path().join(TEMP_DIR)).unwrap().count();
        assert_eq!(left, 0, "temporary names are gone");
    }

    #[test]
    fn every_way_to_a_new_name_spares_what_is_there() {
        check_new(|temp, path| sys::link_new(&temp.file, &temp.path, path));
        check_new(|temp, path| sys::rename_new(&temp.path, path));
        check_new(Temp::rename_if_absent);
        check_new(|temp, path| temp.publish_new(path, false));
    }

    #[test]
    fn times_rise_above_a_near_floor_only() {
        let root = tempfile::tempdir().unwrap();
        let dirs = Dirs::new(root.path().to_owned(), Fsync::Never);
        let temp = Temp::write(&dirs, b"").unwrap();
        let time = |floor| sys::mtime_nanos(&temp.stamp_after(floor).unwrap());
        let own = time(None);
        assert_eq!(time(Some(own - 1)), own);
        assert!(time(Some(own)) > own);
        let own = time(None);
        assert!(time(Some(own + 1_000_000)) > own + 1_000_000);
        let own = time(None);
        assert_eq!(time(Some(own + CLOCK_STEP + 1)), own);
    }
}
