//! What a directory store asks of the operating system beyond `std::fs`: the
//! one place to visit for another system. Unix so far.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, OFlags, flock};
use rustix::io::{Errno, retry_on_intr};

/// Opens a file for reading, unless its name is a symbolic link. Returns at
/// once even if it is a pipe, which has no place in a store.
pub(super) fn open_nofollow(path: &Path) -> io::Result<File> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

/// Opens a directory to read its names; again, if a signal came in between, which
/// the standard library does for files alone.
pub(super) fn read_dir(dir: &Path) -> io::Result<fs::ReadDir> {
    loop {
        match fs::read_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            answer => return answer,
        }
    }
}

/// Fills `buffer` from the file's byte `start` on.
pub(super) fn read_exact_at(file: &File, buffer: &mut [u8], start: u64) -> io::Result<()> {
    file.read_exact_at(buffer, start)
}

/// Writes all of `bytes` from the file's byte `start` on.
pub(super) fn write_all_at(file: &File, bytes: &[u8], start: u64) -> io::Result<()> {
    file.write_all_at(bytes, start)
}

/// Whether an error says that the path leads to nothing, or to something that
/// is no object: a component is a file, or the last one a symbolic link.
pub(super) fn means_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || is(error, &[Errno::LOOP])
}

/// Takes the file's exclusive lock, waiting for it. `false` if the file system
/// has no locks.
pub(super) fn lock(file: &File) -> io::Result<bool> {
    match retry_on_intr(|| flock(file, FlockOperation::LockExclusive)) {
        Ok(()) => Ok(true),
        Err(Errno::NOLCK | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Takes the file's exclusive lock if it is free. `false` if it is not, or if
/// that cannot be known.
pub(super) fn try_lock(file: &File) -> bool {
    retry_on_intr(|| flock(file, FlockOperation::NonBlockingLockExclusive)).is_ok()
}

/// Gives a file a second name, unless something has that name.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`]; [`io::ErrorKind::Unsupported`] if the file
/// system has no hard links.
pub(super) fn link_new(file: &File, from: &Path, to: &Path) -> io::Result<()> {
    match fs::hard_link(from, to) {
        // FAT answers EPERM. A refusal that is meant comes again from the
        // rename that is tried next.
        Err(error) if is(&error, &[Errno::PERM, Errno::OPNOTSUPP, Errno::NOSYS, Errno::MLINK]) => {
            Err(io::ErrorKind::Unsupported.into())
        }
        // NFS may answer so to the repetition of a request that was carried
        // out and whose answer was lost: the link is ours then.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match file.metadata() {
            Ok(metadata) if metadata.nlink() > 1 => Ok(()),
            _ => Err(error),
        },
        answer => answer,
    }
}

/// Renames a file, unless something has the new name.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`]; [`io::ErrorKind::Unsupported`] if the
/// system or the file system cannot do this in one step.
#[cfg(any(target_os = "linux", target_os = "android", target_os = "macos"))]
pub(super) fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            Err(io::ErrorKind::Unsupported.into())
        }
        answer => answer.map_err(io::Error::from),
    }
}

/// Renames a file, unless something has the new name: not known here.
#[cfg(not(any(target_os = "linux", target_os = "android", target_os = "macos")))]
pub(super) fn rename_new(_from: &Path, _to: &Path) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Makes the names in a directory durable, where the file system can.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    match File::open(dir)?.sync_all() {
        // Some network file systems have nothing to sync in a directory.
        Err(error) if is(&error, &[Errno::INVAL, Errno::OPNOTSUPP, Errno::NOSYS]) => Ok(()),
        answer => answer,
    }
}

/// The number of a file in its file system; reused once the file is gone.
pub(super) fn inode(metadata: &Metadata) -> u64 {
    metadata.ino()
}

/// Whether two files are one.
pub(super) fn same_file(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

/// The modification time in nanoseconds since 1970.
pub(super) fn mtime_nanos(metadata: &Metadata) -> i128 {
    i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec())
}

/// The modification time.
pub(super) fn modified(metadata: &Metadata) -> SystemTime {
    // Known to every Unix; the alternative is only for the type's sake.
    metadata.modified().unwrap_or(UNIX_EPOCH)
}

/// Sets the modification time, given in nanoseconds since 1970.
pub(super) fn set_mtime(file: &File, nanos: i128) -> io::Result<()> {
    let nanos = u64::try_from(nanos).map_err(|_| io::ErrorKind::InvalidInput)?;
    file.set_modified(UNIX_EPOCH + Duration::from_nanos(nanos))
}

fn is(error: &io::Error, any: &[Errno]) -> bool {
    Errno::from_io_error(error).is_some_and(|errno| any.contains(&errno))
}
