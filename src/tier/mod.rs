//! The local tier: chunks kept on this machine between jobs, so that the next
//! restore fetches fewer of them.
//!
//! Each entry is a file named by its chunk, holding the stored bytes as packs
//! hold them, in one of 256 directories. Nothing vouches for an entry: whoever
//! uses its bytes hashes them, as with bytes from a store, and has what is
//! damaged [removed](Tier::remove). So nothing is forced to the disk, nothing
//! but the bytes is recorded, and whatever happens to the directory costs
//! fetches and nothing else. How much is kept is the matter of [`room`].
//!
//! A tier never fails its caller. The first thing that goes wrong with keeping
//! is remembered, for the caller to tell, and ends the keeping.

mod location;
mod room;

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use rustix::fs::{Mode, OFlags};
use ulid::Ulid;

use crate::files::FileError;
use crate::ids::ChunkId;
use crate::secrets::SEAL_LEN;

pub use location::{DEFAULT_SIZE, InvalidTier, TierLocation};
use room::Room;

/// Directory of entries that are being written. They get their names when they
/// are whole.
const TEMP_DIR: &str = "tier-tmp";

/// Entries are marked as used again after this long: fine enough to tell jobs
/// apart, coarse enough that most uses change nothing on the disk.
const GRAIN: Duration = Duration::from_secs(10 * 60);

/// A directory of chunks, shared by any number of threads and processes.
#[derive(Debug)]
pub struct Tier {
    directory: PathBuf,
    room: Room,
    /// Whether chunks are still added.
    adds: AtomicBool,
    trouble: Mutex<Option<FileError>>,
}

/// An entry that was found; it may be gone, and may be damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    id: ChunkId,
    pub(crate) stored_len: u32,
    /// Whether its last use is long enough ago to mark this one.
    is_old: bool,
}

impl Tier {
    /// A tier in this directory, which is made when something is added.
    pub fn new(location: TierLocation) -> Self {
        let TierLocation { directory, size } = location;
        Self {
            room: Room::new(directory.clone(), size),
            directory,
            adds: AtomicBool::new(true),
            trouble: Mutex::default(),
        }
    }

    /// What lies there of a chunk, told from names and lengths alone. What
    /// cannot be the chunk is removed.
    pub(crate) fn find(&self, id: ChunkId, raw_len: u32) -> Option<Entry> {
        let metadata = fs::symlink_metadata(self.path(id)).ok()?;
        let stored_len = u32::try_from(metadata.len()).ok();
        // Stored bytes are never longer than raw ones, but for a seal.
        let possible = 1..=raw_len.saturating_add(SEAL_LEN);
        let Some(stored_len) =
            stored_len.filter(|len| metadata.is_file() && possible.contains(len))
        else {
            self.remove(id);
            return None;
        };
        Some(Entry { id, stored_len, is_old: is_old(&metadata) })
    }

    /// Reads an entry's stored bytes, to be verified by the caller, and marks
    /// it as used. `None` if it is gone or changed.
    pub(crate) fn read(&self, entry: &Entry) -> Option<Vec<u8>> {
        // Should anything but a file lie there by now: no link is followed,
        // and a fifo does not block.
        let path = self.path(entry.id);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file =
            rustix::io::retry_on_intr(|| rustix::fs::open(&path, flags, Mode::empty())).ok()?;
        let mut file = File::from(file);
        let len = entry.stored_len as usize;
        let mut stored = vec![0; len];
        file.read_exact(&mut stored).ok()?;
        if entry.is_old {
            // A tier that only its owner may change is used all the same.
            let _ = file.set_modified(SystemTime::now());
        }
        Some(stored)
    }

    /// Removes an entry that turned out not to be its chunk.
    pub(crate) fn remove(&self, id: ChunkId) {
        let path = self.path(id);
        if fs::remove_file(&path).is_err() {
            // Only empty directories: nothing that somebody filled.
            let _ = fs::remove_dir(&path);
        }
    }

    /// Adds a chunk, unless it is there or something went wrong before.
    pub(crate) fn add(&self, id: ChunkId, stored: &[u8]) {
        if self.adds.load(Ordering::Relaxed)
            && let Err(error) = self.try_add(id, stored)
        {
            self.adds.store(false, Ordering::Relaxed);
            lock(&self.trouble).get_or_insert(error);
        }
    }

    /// Ends a run's adding, so that the limit holds; gives the first thing that
    /// went wrong, once.
    pub(crate) fn settle(&self) -> Option<FileError> {
        let settled = self.room.settle();
        lock(&self.trouble).take().or(settled.err())
    }

    fn try_add(&self, id: ChunkId, stored: &[u8]) -> Result<(), FileError> {
        let path = self.path(id);
        if stored.is_empty() || fs::symlink_metadata(&path).is_ok() {
            return Ok(());
        }
        let footprint = room::footprint(stored.len() as u64);
        if footprint > self.room.limit() {
            return Ok(());
        }
        let Some(_taken) = self.room.take(footprint)? else {
            return Ok(());
        };
        let temp = self.directory.join(TEMP_DIR).join(Ulid::generate().to_string());
        let added = write_new(&temp, stored)
            .map_err(|error| FileError::new("write", &temp, error))
            .and_then(|()| give_name(&temp, &path));
        if added.is_err() {
            // If it stays, a later run finds it.
            let _ = fs::remove_file(&temp);
        }
        added
    }

    fn path(&self, id: ChunkId) -> PathBuf {
        let name = id.to_string();
        let mut path = self.directory.join(&name[..2]);
        path.push(name);
        path
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    File::options().write(true).create_new(true).open(path)?.write_all(bytes)
}

/// Makes a whole file an entry. Another process may have been first: its file
/// has the same bytes.
fn give_name(temp: &Path, path: &Path) -> Result<(), FileError> {
    let failed = |error| FileError::new("write", path, error);
    match fs::rename(temp, path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parent = path.parent().unwrap_or(path);
            match fs::create_dir(parent) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(failed(error)),
                _ => fs::rename(temp, path).map_err(failed),
            }
        }
        answer => answer.map_err(failed),
    }
}

/// Times in the future, from a clock that was wrong, are old too.
fn is_old(metadata: &Metadata) -> bool {
    let age = metadata.modified().ok().and_then(|used| SystemTime::now().duration_since(used).ok());
    age.is_none_or(|age| age > GRAIN)
}

/// Locks a mutex whose data is sound after every single change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tier(directory: &Path, size: u64) -> Tier {
        Tier::new(TierLocation { directory: directory.to_owned(), size })
    }

    fn used(path: &Path) -> SystemTime {
        fs::metadata(path).unwrap().modified().unwrap()
    }

    #[test]
    fn what_is_added_is_found() {
        let top = tempfile::tempdir().unwrap();
        let tier = tier(&top.path().join("t"), 1 << 20);
        let id = ChunkId::of(b"raw bytes");
        assert_eq!(tier.find(id, 9), None);
        tier.add(id, b"stored");
        tier.add(id, b"again");
        let entry = tier.find(id, 9).unwrap();
        assert_eq!(entry.stored_len, 6);
        assert_eq!(tier.read(&entry).as_deref(), Some(&b"stored"[..]));
        assert_eq!(fs::read_dir(top.path().join("t").join(TEMP_DIR)).unwrap().count(), 0);
        tier.remove(id);
        assert_eq!(tier.read(&entry), None);
        assert_eq!(tier.find(id, 9), None);
        assert!(tier.settle().is_none());
    }

    #[test]
    fn what_cannot_be_the_chunk_is_removed() {
        let top = tempfile::tempdir().unwrap();
        let tier = tier(top.path(), 1 << 20);
        let id = ChunkId::of(b"raw bytes");
        let path = tier.path(id);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let lays: [&dyn Fn(); 4] = [
            &|| fs::write(&path, b"").unwrap(),
            &|| fs::write(&path, [7; 9 + SEAL_LEN as usize + 1]).unwrap(),
            &|| fs::create_dir(&path).unwrap(),
            &|| std::os::unix::fs::symlink("/etc/passwd", &path).unwrap(),
        ];
        for lay in lays {
            lay();
            assert_eq!(tier.find(id, 9), None);
            assert!(fs::symlink_metadata(&path).is_err(), "it is removed");
            tier.add(id, b"stored");
            assert!(tier.find(id, 9).is_some());
            tier.remove(id);
        }
        // What somebody filled is not ours to remove.
        fs::create_dir(&path).unwrap();
        fs::write(path.join("file"), b"x").unwrap();
        assert_eq!(tier.find(id, 9), None);
        tier.add(id, b"stored");
        assert!(path.join("file").exists());
    }

    #[test]
    fn an_entry_that_changes_after_it_was_found_is_not_used() {
        let top = tempfile::tempdir().unwrap();
        let tier = tier(top.path(), 1 << 20);
        let id = ChunkId::of(b"raw bytes");
        tier.add(id, b"stored");
        let entry = tier.find(id, 9).unwrap();
        fs::write(tier.path(id), b"st").unwrap();
        assert_eq!(tier.read(&entry), None);
        fs::remove_file(tier.path(id)).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", tier.path(id)).unwrap();
        assert_eq!(tier.read(&entry), None);
    }

    #[test]
    fn uses_are_marked_at_a_coarse_grain() {
        let top = tempfile::tempdir().unwrap();
        let tier = tier(top.path(), 1 << 20);
        let id = ChunkId::of(b"raw bytes");
        tier.add(id, b"stored");
        let path = tier.path(id);
        let now = SystemTime::now();
        let read_at = |time: SystemTime| {
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
            tier.read(&tier.find(id, 9).unwrap()).unwrap();
            used(&path)
        };
        let recent = now - GRAIN / 2;
        assert_eq!(read_at(recent), recent);
        assert!(read_at(now - GRAIN * 2) >= now);
        let wrong = now + GRAIN * 100;
        assert!(read_at(wrong) < wrong);
    }

    #[test]
    fn trouble_is_told_once_and_ends_the_adding() {
        let top = tempfile::tempdir().unwrap();
        let in_the_way = top.path().join("file");
        fs::write(&in_the_way, b"").unwrap();
        let tier = tier(&in_the_way, 1 << 20);
        tier.add(ChunkId::of(b"a"), b"a");
        tier.add(ChunkId::of(b"b"), b"b");
        let error = tier.settle().unwrap().to_string();
        assert!(error.starts_with("cannot make "), "{error}");
        assert!(tier.settle().is_none());
        assert_eq!(tier.find(ChunkId::of(b"a"), 1), None);
    }

    #[test]
    fn what_never_fits_is_not_added() {
        let top = tempfile::tempdir().unwrap();
        let tier = tier(&top.path().join("t"), 5000);
        tier.add(ChunkId::of(b"a"), &[1; 5000]);
        tier.add(ChunkId::of(b"b"), &[]);
        assert!(!top.path().join("t").exists() && tier.settle().is_none());
    }
}
