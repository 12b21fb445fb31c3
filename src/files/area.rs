//! Stage areas: where restored files lie until all of them are whole.
//!
//! An area is a directory beside what it will replace, so that moving a file
//! or a whole tree into place is one rename. Its owner holds a lock on it as
//! long as it lives; an area that nobody holds was left by a killed process
//! and may be removed by anyone.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::error::FileError;
use super::stat::{FileStat, FileType};
use super::sys;
use crate::format::Timestamp;

/// How the names of stage areas begin. Walks do not see such names.
pub const AREA_PREFIX: &str = ".larder-tmp-";

/// A directory that holds what is not finished yet; removed, with all it
/// still holds, when it is dropped.
#[derive(Debug)]
pub struct StageArea {
    parent: OwnedFd,
    name: String,
    dir: OwnedFd,
    path: PathBuf,
    next: AtomicU32,
    kept_bits: u16,
    folds_names: bool,
    created: Timestamp,
}

impl StageArea {
    /// Makes an area in a directory, whose path is for messages.
    ///
    /// # Errors
    /// [`FileError`] where the directory cannot be written.
    pub fn create(parent: BorrowedFd<'_>, path: &Path) -> Result<Self, FileError> {
        let failed = |error| FileError::new("create files in", path, error);
        loop {
            let name = format!("{AREA_PREFIX}{}", ulid::Ulid::generate());
            let parent = parent.try_clone_to_owned().map_err(failed)?;
            match sys::make_dir(parent.as_fd(), name.as_bytes(), 0o700) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made.map_err(failed)?,
            }
            // Between the two calls a cleaner may have taken it for stale.
            let dir = match sys::open_dir(parent.as_fd(), name.as_bytes()) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                dir => dir.map_err(failed)?,
            };
            let locked = sys::try_lock(&dir).map_err(failed)?;
            let still_there = sys::stat_at(parent.as_fd(), name.as_bytes()).is_ok();
            if !(locked && still_there) {
                continue;
            }
            let (probed, folds_names) = probe_names(dir.as_fd()).map_err(failed)?;
            check_own(&dir, &probed).map_err(failed)?;
            let path = path.join(&name);
            return Ok(Self {
                parent,
                name,
                dir,
                path,
                next: AtomicU32::new(0),
                kept_bits: probed.mode,
                folds_names,
                created: probed.identity.ctime,
            });
        }
    }

    /// The area's directory.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// The area's path, for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A name in the area that nothing has yet.
    pub fn new_name(&self) -> Vec<u8> {
        self.next.fetch_add(1, Ordering::Relaxed).to_string().into_bytes()
    }

    /// Whether the file system may take different names for one, as far as two common
    /// examples tell.
    pub fn folds_names(&self) -> bool {
        self.folds_names
    }

    /// Whether the file system takes these two names for one.
    ///
    /// # Errors
    /// Those of making and removing a file.
    pub fn is_one_name(&self, first: &[u8], second: &[u8]) -> io::Result<bool> {
        let directory = self.new_name();
        sys::make_dir(self.dir.as_fd(), &directory, 0o700)?;
        let inside = sys::open_dir(self.dir.as_fd(), &directory)?;
        drop(sys::create_file(inside.as_fd(), first, 0o600)?);
        let is_one = sys::stat_at(inside.as_fd(), second).is_ok();
        remove_tree(self.dir.as_fd(), &directory)?;
        Ok(is_one)
    }

    /// The permission bits that a new file here keeps of those asked for: what
    /// the umask or a default access list leaves.
    pub fn kept_bits(&self) -> u16 {
        self.kept_bits
    }

    /// When the area was made, by its file system's clock.
    pub fn created(&self) -> Timestamp {
        self.created
    }

    /// The present time by the area's file system's clock.
    ///
    /// # Errors
    /// Those of making a file.
    pub fn now(&self) -> io::Result<Timestamp> {
        Ok(probe(self.dir.as_fd())?.identity.ctime)
    }
}

impl Drop for StageArea {
    fn drop(&mut self) {
        // What cannot be removed now is stale once this process ends, and the
        // next restore tries again.
        let _ = remove_tree(self.parent.as_fd(), self.name.as_bytes());
    }
}

/// Makes a file to see which permission bits it keeps and what time it gets.
fn probe(dir: BorrowedFd<'_>) -> io::Result<FileStat> {
    let stat = make_probe(dir)?;
    sys::remove_file(dir, PROBE.as_bytes())?;
    Ok(stat)
}

/// The same, and whether the file system takes other names for the one of that file.
fn probe_names(dir: BorrowedFd<'_>) -> io::Result<(FileStat, bool)> {
    let stat = make_probe(dir)?;
    let others = ["PROB\u{e9}", "probe\u{301}"];
    let folds_names = others.iter().any(|name| sys::stat_at(dir, name.as_bytes()).is_ok());
    sys::remove_file(dir, PROBE.as_bytes())?;
    Ok((stat, folds_names))
}

/// A name in small letters, of which one can be written in two ways.
const PROBE: &str = "prob\u{e9}";

fn make_probe(dir: BorrowedFd<'_>) -> io::Result<FileStat> {
    sys::stat_fd(sys::create_file(dir, PROBE.as_bytes(), 0o777)?)
}

/// That an area is this process's own: where others may write beside it, somebody can
/// have put another directory in its place before it was opened, in which he could
/// change what is staged. What this process makes in its own has the same owner as that,
/// whatever a file system makes of owners.
fn check_own(area: &OwnedFd, made: &FileStat) -> io::Result<()> {
    if sys::stat_fd(area)?.owner.uid == made.owner.uid {
        return Ok(());
    }
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "somebody else changes what is there"))
}

/// Removes the areas in a directory that no living process holds.
pub fn remove_stale_areas(dir: BorrowedFd<'_>) {
    for name in sys::names(dir).unwrap_or_default() {
        if name.starts_with(AREA_PREFIX.as_bytes())
            && let Ok(area) = sys::open_dir(dir, &name)
            && matches!(sys::try_lock(&area), Ok(true))
        {
            // Best effort: it costs space, and the next restore tries again.
            let _ = remove_tree(dir, &name);
        }
    }
}

/// Removes an entry and all below it, following no links.
///
/// # Errors
/// The first that is met; the rest is left.
pub(super) fn remove_tree(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    if sys::stat_at(dir, name)?.file_type != FileType::Directory {
        return sys::remove_file(dir, name);
    }
    // Directories on the way down, each with its name and those still in it.
    let mut way = vec![open_for_removal(dir, name)?];
    while let Some((open, name, below)) = way.last_mut() {
        if let Some(entry) = below.pop_front() {
            match sys::remove_file(open.as_fd(), &entry) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(_) => {
                    let next = open_for_removal(open.as_fd(), &entry)?;
                    way.push(next);
                }
            }
        } else {
            let name = std::mem::take(name);
            way.pop();
            let parent = way.last().map_or(dir, |(open, ..)| open.as_fd());
            sys::remove_empty_dir(parent, &name)?;
        }
    }
    Ok(())
}

type Removal = (OwnedFd, Vec<u8>, VecDeque<Vec<u8>>);

fn open_for_removal(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Removal> {
    let open = sys::open_dir(dir, name)?;
    // A read-only directory does not give up its entries.
    let _ = sys::set_mode(&open, 0o700);
    let below = sys::names(open.as_fd())?.into();
    Ok((open, name.to_vec(), below))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> OwnedFd {
        std::fs::File::open(path).unwrap().into()
    }

    #[test]
    fn an_area_goes_with_all_it_holds() {
        let top = tempfile::tempdir().unwrap();
        let dir = open(top.path());
        let area = StageArea::create(dir.as_fd(), top.path()).unwrap();
        let deep = area.path().join("0/sub");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("file"), b"x").unwrap();
        std::os::unix::fs::symlink("/", deep.join("link")).unwrap();
        assert_ne!(area.new_name(), area.new_name());
        drop(area);
        assert_eq!(std::fs::read_dir(top.path()).unwrap().count(), 0);
    }

    #[test]
    fn only_areas_that_nobody_holds_are_stale() {
        let top = tempfile::tempdir().unwrap();
        let dir = open(top.path());
        let held = StageArea::create(dir.as_fd(), top.path()).unwrap();
        std::fs::create_dir(top.path().join(".larder-tmp-left")).unwrap();
        std::fs::write(top.path().join(".larder-tmp-left/0"), b"half").unwrap();
        remove_stale_areas(dir.as_fd());
        assert!(held.path().exists());
        assert!(!top.path().join(".larder-tmp-left").exists());
    }

    /// Where others may write beside it, one of them may have swapped the area for a
    /// directory in which he can change what is staged.
    #[test]
    fn an_area_that_somebody_else_made_is_not_used() {
        if !rustix::process::geteuid().is_root() {
            // Only root can give directories away.
            return;
        }
        let top = tempfile::tempdir().unwrap();
        let dir = open(top.path());
        let (made, folds) = probe_names(dir.as_fd()).unwrap();
        assert!(!folds, "the tests' file system tells names apart");
        check_own(&dir, &made).unwrap();
        std::os::unix::fs::chown(top.path(), Some(1234), None).unwrap();
        assert!(check_own(&dir, &made).is_err());
    }

    #[test]
    fn the_file_system_says_which_names_are_one() {
        let top = tempfile::tempdir().unwrap();
        let dir = open(top.path());
        let area = StageArea::create(dir.as_fd(), top.path()).unwrap();
        assert!(area.is_one_name(b"a", b"a").unwrap());
        assert!(!area.is_one_name(b"a", b"b").unwrap());
        assert_eq!(area.is_one_name(b"a", b"A").unwrap(), area.folds_names());
        assert_eq!(std::fs::read_dir(area.path()).unwrap().count(), 0);
    }
}
