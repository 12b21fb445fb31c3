//! How much a tier keeps: room is taken before it is filled, and made by
//! removing what was not used for longest.
//!
//! Adding up all files for each chunk would cost more than the chunk saves. So
//! a file, the *tally*, has the bytes that are taken, and processes take room
//! by [leases](Lease): many chunks' worth at once, under the tally's lock. A
//! lease is counted before it is filled: a process that is killed leaves the
//! tally too high, never too low. When it reaches the limit, everything is
//! counted anew, and the least recently used is removed.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, DirEntry, File, Metadata};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::fs::FlockOperation;
use rustix::io::retry_on_intr;
use ulid::Ulid;

use super::{TEMP_DIR, lock};
use crate::files::FileError;

/// The file with the bytes that are taken.
const TALLY: &str = "tier-tally";

/// The most that is leased at once, in bytes: thousands of small chunks, and
/// little beside any limit worth having.
const MAX_LEASE: u64 = 32 << 20;

/// Leases are no larger than this part of the limit, or several processes
/// would keep each other's unused room free.
const LEASE_PART: u64 = 16;

/// How long to wait for another process to let go of the tally. It holds it
/// longest while it counts and removes: seconds, for a million entries.
const PATIENCE: Duration = Duration::from_secs(5);

/// A temporary file is written within moments. One this old was left by a
/// process that was killed.
const STALE_AFTER: Duration = Duration::from_secs(10 * 60);

/// What file systems hand out space in, mostly.
const BLOCK: u64 = 4096;

/// Bytes that a file takes on disk.
pub(super) fn footprint(len: u64) -> u64 {
    len.next_multiple_of(BLOCK)
}

/// The room of one tier, as this process has it.
#[derive(Debug)]
pub(super) struct Room {
    directory: PathBuf,
    limit: u64,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    lease: Lease,
    /// Bytes that threads have taken and a count does not see yet.
    unwritten: u64,
}

/// Room that is counted in the tally and not all filled yet.
#[derive(Debug, Default)]
struct Lease {
    /// The count that it was added to; `None` before the first lease.
    count: Option<Ulid>,
    taken: u64,
    left: u64,
}

/// Room that was taken for an entry. To be dropped when the entry is there, or
/// will not be.
#[derive(Debug)]
pub(super) struct Taken<'r> {
    room: &'r Room,
    bytes: u64,
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        lock(&self.room.held).unwritten -= self.bytes;
    }
}

impl Room {
    pub(super) fn new(directory: PathBuf, limit: u64) -> Self {
        Self { directory, limit, held: Mutex::default() }
    }

    pub(super) fn limit(&self) -> u64 {
        self.limit
    }

    /// Takes room for an entry, after making some if there is none. `None` if
    /// none can be made: the entry is too large beside those being written.
    pub(super) fn take(&self, bytes: u64) -> Result<Option<Taken<'_>>, FileError> {
        let mut held = lock(&self.held);
        if held.lease.left < bytes {
            self.renew(&mut held, bytes)?;
        }
        if held.lease.left < bytes {
            return Ok(None);
        }
        held.lease.left -= bytes;
        held.unwritten += bytes;
        Ok(Some(Taken { room: self, bytes }))
    }

    fn renew(&self, held: &mut Held, bytes: u64) -> Result<(), FileError> {
        let lease = &mut held.lease;
        if lease.count.is_none() {
            self.make_directories()?;
            remove_stale(&self.directory.join(TEMP_DIR));
        }
        let mut file = self.open_tally()?;
        let mut tally = match Tally::read(&mut file) {
            Some(mut tally) => {
                tally.settle(lease);
                tally
            }
            // New, or not ours: what is there decides.
            None => Tally::of(count(&self.directory).bytes + held.unwritten),
        };
        *lease = Lease::default();
        let wanted = MAX_LEASE.min(self.limit / LEASE_PART).max(bytes);
        self.make_room(&mut tally, wanted, held.unwritten)?;
        let granted = if tally.bytes + wanted > self.limit { 0 } else { wanted };
        tally.bytes += granted;
        self.write_tally(&mut file, &tally)?;
        *lease = Lease { count: Some(tally.count), taken: granted, left: granted };
        Ok(())
    }

    /// Gives back what is left of the lease. Removes entries if there are more
    /// than the limit allows: it may have been lowered, or another process
    /// counted what this one had not filled yet.
    pub(super) fn settle(&self) -> Result<(), FileError> {
        let mut held = lock(&self.held);
        let lease = std::mem::take(&mut held.lease);
        // Who adds nothing needs no lock to see that all is well; and no tally,
        // where it cannot be read.
        let path = self.directory.join(TALLY);
        let seen = File::open(path).ok().and_then(|mut file| Tally::read(&mut file));
        let is_well = seen.is_none_or(|tally| tally.bytes <= self.limit);
        if lease.count.is_none() && is_well {
            return Ok(());
        }
        let mut file = self.open_tally()?;
        if let Some(mut tally) = Tally::read(&mut file) {
            tally.settle(&lease);
            self.make_room(&mut tally, 0, held.unwritten)?;
            self.write_tally(&mut file, &tally)?;
        }
        Ok(())
    }

    /// Makes room for so many bytes, if there is none; and then more than is
    /// needed right now, so that the next time is far off.
    fn make_room(&self, tally: &mut Tally, wanted: u64, unwritten: u64) -> Result<(), FileError> {
        if tally.bytes.saturating_add(wanted) > self.limit {
            let target = (self.limit - self.limit / 10).saturating_sub(wanted + unwritten);
            *tally = Tally::of(self.evict(target)? + unwritten);
        }
        Ok(())
    }

    fn make_directories(&self) -> Result<(), FileError> {
        let failed = |error| FileError::new("make", &self.directory, error);
        if let Some(parent) = self.directory.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        // Chunks hold files that others may not read. Who shares a tier makes
        // its directory, with whatever mode suits.
        let mut private = DirBuilder::new();
        private.mode(0o700);
        for (directory, builder) in
            [(&self.directory, private), (&self.directory.join(TEMP_DIR), DirBuilder::new())]
        {
            match builder.create(directory) {
                Err(error) if !directory.is_dir() => {
                    return Err(FileError::new("make", directory, error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The tally, locked until the file is closed.
    fn open_tally(&self) -> Result<File, FileError> {
        let path = self.directory.join(TALLY);
        let open =
            || File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = open().map_err(|error| FileError::new("open", &path, error))?;
        let began = Instant::now();
        // Where there are no locks, the count may be wrong until the next one.
        while let Err(rustix::io::Errno::WOULDBLOCK) =
            retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive))
        {
            if began.elapsed() > PATIENCE {
                return Err(FileError::new("lock", &path, io::ErrorKind::TimedOut));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        Ok(file)
    }

    fn write_tally(&self, file: &mut File, tally: &Tally) -> Result<(), FileError> {
        let path = self.directory.join(TALLY);
        tally.write(file).map_err(|error| FileError::new("write", path, error))
    }

    /// Removes the least recently used entries until the rest takes `target`
    /// bytes at most; says what the rest takes.
    ///
    /// Looks at everything twice rather than hold all names in memory: there
    /// may be millions.
    fn evict(&self, target: u64) -> Result<u64, FileError> {
        let census = count(&self.directory);
        let mut excess = census.bytes.saturating_sub(target);
        if excess == 0 {
            return Ok(census.bytes);
        }
        // All that was last used before this second goes; of what was used in
        // it, as much as is needed.
        let mut last = 0;
        for (&second, &bytes) in &census.by_second {
            last = second;
            if bytes >= excess {
                break;
            }
            excess -= bytes;
        }
        let mut left = census.bytes;
        let mut failure = None;
        visit(&self.directory, |entry, metadata| {
            let second = last_used(metadata);
            let bytes = footprint(metadata.len());
            if second < last || (second == last && excess > 0) {
                match fs::remove_file(entry.path()) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        failure
                            .get_or_insert_with(|| FileError::new("remove", entry.path(), error));
                    }
                    _ => left = left.saturating_sub(bytes),
                }
                if second == last {
                    excess = excess.saturating_sub(bytes);
                }
            }
        });
        match failure {
            Some(error) if left > target => Err(error),
            _ => Ok(left),
        }
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if lock(&self.held).lease.count.is_some() {
            // A run that failed did not settle; if this fails too, the next
            // count comes sooner.
            let _ = self.settle();
        }
    }
}

/// What the tally says. Its file holds one line of fixed length.
#[derive(Debug, PartialEq, Eq)]
struct Tally {
    /// Names the count that `bytes` began with.
    count: Ulid,
    bytes: u64,
}

impl Tally {
    fn of(bytes: u64) -> Self {
        Self { count: Ulid::generate(), bytes }
    }

    /// Ends a lease. If everything was counted since it began, it is not known
    /// how much of what filled it was: then that is counted twice.
    fn settle(&mut self, lease: &Lease) {
        match lease.count {
            None => {}
            Some(count) if count == self.count => {
                self.bytes = self.bytes.saturating_sub(lease.left);
            }
            Some(_) => self.bytes = self.bytes.saturating_add(lease.taken - lease.left),
        }
    }

    fn read(file: &mut File) -> Option<Self> {
        let mut text = String::new();
        file.take(64).read_to_string(&mut text).ok()?;
        let (count, bytes) = text.strip_suffix('\n')?.split_once(' ')?;
        Some(Self { count: Ulid::from_string(count).ok()?, bytes: bytes.parse().ok()? })
    }

    fn write(&self, file: &mut File) -> io::Result<()> {
        file.rewind()?;
        file.write_all(format!("{} {:020}\n", self.count, self.bytes).as_bytes())?;
        let len = file.stream_position()?;
        file.set_len(len)
    }
}

/// What lies in a tier: its bytes, and those last used in each second.
#[derive(Debug, Default)]
struct Census {
    bytes: u64,
    by_second: BTreeMap<u64, u64>,
}

fn count(directory: &Path) -> Census {
    let mut census = Census::default();
    visit(directory, |_, metadata| {
        let bytes = footprint(metadata.len());
        census.bytes += bytes;
        *census.by_second.entry(last_used(metadata)).or_default() += bytes;
    });
    census
}

/// Shows all entries. Nothing else is touched, whatever lies beside them: a
/// directory given by mistake must not lose a file.
fn visit(directory: &Path, mut see: impl FnMut(&DirEntry, &Metadata)) {
    let is_hex = |name: &str, len| {
        name.len() == len && name.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    };
    for shard in 0..=u8::MAX {
        let shard = format!("{shard:02x}");
        let entries = fs::read_dir(directory.join(&shard));
        for entry in entries.into_iter().flatten().flatten() {
            let is_entry = entry
                .file_name()
                .to_str()
                .is_some_and(|name| name.starts_with(&shard) && is_hex(name, 64));
            if is_entry
                && let Ok(metadata) = entry.metadata()
                && metadata.is_file()
            {
                see(&entry, &metadata);
            }
        }
    }
}

/// When an entry was last used, in seconds since 1970. Times in the future,
/// from a clock that was wrong, would keep it for ever.
fn last_used(metadata: &Metadata) -> u64 {
    let used = metadata.modified().ok().filter(|&used| used <= SystemTime::now());
    used.and_then(|used| used.duration_since(UNIX_EPOCH).ok()).map_or(0, |since| since.as_secs())
}

/// Removes what killed processes left half written.
fn remove_stale(temporaries: &Path) {
    for entry in fs::read_dir(temporaries).into_iter().flatten().flatten() {
        let is_ours =
            entry.file_name().to_str().is_some_and(|name| Ulid::from_string(name).is_ok());
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.ok().and_then(|then| SystemTime::now().duration_since(then).ok());
        if is_ours && age.is_some_and(|age| age > STALE_AFTER) {
            // Another process may have been first.
            let _ = fs::remove_file(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_entry(directory: &Path, id: u8, len: usize, used: u64) -> PathBuf {
        let name = format!("{id:02x}").repeat(32);
        let path = directory.join(&name[..2]).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, vec![0; len]).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.set_modified(UNIX_EPOCH + Duration::from_secs(used)).unwrap();
        path
    }

    fn tally(directory: &Path) -> u64 {
        let mut file = File::open(directory.join(TALLY)).unwrap();
        Tally::read(&mut file).unwrap().bytes
    }

    #[test]
    fn unused_room_is_given_back() {
        let top = tempfile::tempdir().unwrap();
        let room = Room::new(top.path().join("a/tier"), 160 * BLOCK);
        room.take(BLOCK).unwrap();
        let directory = top.path().join("a/tier");
        assert_eq!(tally(&directory), 10 * BLOCK, "a lease");
        room.take(12 * BLOCK).unwrap();
        assert_eq!(tally(&directory), 13 * BLOCK, "the old lease's rest is given back");
        drop(room);
        assert_eq!(tally(&directory), 13 * BLOCK);
    }

    #[test]
    fn a_lease_over_a_count_is_counted_on_the_safe_side() {
        let top = tempfile::tempdir().unwrap();
        let (one, two) = (Room::new(top.path().into(), 1600), Room::new(top.path().into(), 1600));
        one.take(60).unwrap();
        assert_eq!(tally(top.path()), 100);
        // Another process counts: what was filled of the lease may be in it.
        fs::remove_file(top.path().join(TALLY)).unwrap();
        two.take(10).unwrap();
        assert_eq!(tally(top.path()), 100, "the other one's");
        drop(one);
        assert_eq!(tally(top.path()), 160);
        drop(two);
        assert_eq!(tally(top.path()), 70);
    }

    #[test]
    fn a_count_does_not_forget_what_is_being_written() {
        let top = tempfile::tempdir().unwrap();
        let room = Room::new(top.path().into(), 4 * BLOCK);
        let one = room.take(2 * BLOCK).unwrap().unwrap();
        let two = room.take(BLOCK).unwrap().unwrap();
        assert!(room.take(2 * BLOCK).unwrap().is_none(), "nothing can be removed yet");
        assert_eq!(tally(top.path()), 3 * BLOCK);
        write_entry(top.path(), 1, 8000, 500);
        drop(one);
        assert!(room.take(2 * BLOCK).unwrap().is_some(), "now it can");
        drop(two);
        assert_eq!(count(top.path()).bytes, 0);
    }

    #[test]
    fn the_least_recently_used_goes_first() {
        let top = tempfile::tempdir().unwrap();
        let ages = [(1, 500), (2, 300), (3, 900), (4, 100), (5, 700)];
        let paths = ages.map(|(id, used)| write_entry(top.path(), id, 4000, used));
        let room = Room::new(top.path().into(), 5 * BLOCK);
        room.take(BLOCK).unwrap();
        // 90 % of five blocks less the new one: three of the old ones.
        assert_eq!(paths.map(|path| path.exists()), [true, false, true, false, true]);
        assert_eq!(tally(top.path()), 4 * BLOCK);
    }

    #[test]
    fn times_in_the_future_do_not_keep_entries_for_ever() {
        let top = tempfile::tempdir().unwrap();
        let old = write_entry(top.path(), 1, 4000, 500);
        let future = write_entry(top.path(), 2, 4000, 99_999_999_999);
        let room = Room::new(top.path().into(), 2 * BLOCK + BLOCK / 2);
        room.take(BLOCK).unwrap();
        assert_eq!([old, future].map(|path| path.exists()), [true, false]);
    }

    #[test]
    fn a_lowered_limit_holds_once_a_run_settles() {
        let top = tempfile::tempdir().unwrap();
        let paths = [(1, 500), (2, 300), (3, 400)].map(|(id, used)| {
            let path = write_entry(top.path(), id, 4000, used);
            Room::new(top.path().into(), 160 * BLOCK).take(BLOCK).unwrap();
            path
        });
        let there = || paths.clone().map(|path| path.exists());
        Room::new(top.path().into(), 160 * BLOCK).settle().unwrap();
        assert_eq!(there(), [true, true, true]);
        Room::new(top.path().into(), 2 * BLOCK + BLOCK / 2).settle().unwrap();
        assert_eq!(there(), [true, false, true]);
        assert_eq!(tally(top.path()), 2 * BLOCK);
    }

    #[test]
    fn only_entries_are_removed() {
        let top = tempfile::tempdir().unwrap();
        let strangers = ["11/notes", "tier-tmp/notes", "photo", "zz/x"].map(|name| {
            let path = top.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, vec![0; 100_000]).unwrap();
            path
        });
        let misplaced = top.path().join("12").join("11".repeat(32));
        fs::create_dir_all(misplaced.parent().unwrap()).unwrap();
        fs::write(&misplaced, b"x").unwrap();
        let entry = write_entry(top.path(), 0x11, 4000, 500);
        Room::new(top.path().into(), BLOCK).take(BLOCK).unwrap();
        assert!(strangers.iter().all(|path| path.exists()) && misplaced.exists());
        assert!(!entry.exists());
    }

    #[test]
    fn a_tally_that_means_nothing_is_made_anew() {
        let top = tempfile::tempdir().unwrap();
        write_entry(top.path(), 1, 5000, 500);
        for text in ["", "x", "01ARZ3NDEKTSV4RRFFQ69G5FAV 12", "\0\0\0\0\n", "0 0\n"] {
            fs::write(top.path().join(TALLY), text).unwrap();
            Room::new(top.path().into(), 16 * BLOCK).take(BLOCK).unwrap();
            assert_eq!(tally(top.path()), 3 * BLOCK, "{text:?}");
        }
    }

    #[test]
    fn only_old_temporary_files_are_removed() {
        let top = tempfile::tempdir().unwrap();
        let make = |name: &str, age: Duration| {
            let path = top.path().join(TEMP_DIR).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let file = File::create(&path).unwrap();
            file.set_modified(SystemTime::now() - age).unwrap();
            path
        };
        let left = make(&Ulid::generate().to_string(), STALE_AFTER * 2);
        let living = make(&Ulid::generate().to_string(), Duration::ZERO);
        let foreign = make("notes", STALE_AFTER * 2);
        Room::new(top.path().into(), 16 * BLOCK).take(BLOCK).unwrap();
        assert_eq!([left, living, foreign].map(|path| path.exists()), [false, true, true]);
    }
}
