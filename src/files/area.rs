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
use super::stat::FileType;
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
            sys::make_dir(parent.as_fd(), name.as_bytes(), 0o700).map_err(failed)?;
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
            let (kept_bits, created) = probe(dir.as_fd()).map_err(failed)?;
            let path = path.join(&name);
            return Ok(Self {
                parent,
                name,
                dir,
                path,
                next: AtomicU32::new(0),
                kept_bits,
                created,
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
        Ok(probe(self.dir.as_fd())?.1)
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
fn probe(dir: BorrowedFd<'_>) -> io::Result<(u16, Timestamp)> {
    const NAME: &[u8] = b"probe";
    let file = sys::create_file(dir, NAME, 0o777)?;
    let stat = sys::stat_fd(&file)?;
    sys::remove_file(dir, NAME)?;
    Ok((stat.mode, stat.identity.ctime))
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
}
