//! The system calls that larder makes on files, as plain functions.
//!
//! What only one system has is here and nowhere else. Names are single names,
//! resolved in an open directory; but for those that say so, none of these calls
//! follows a symbolic link.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{self, AtFlags, Mode, OFlags, Timespec, Timestamps};
use rustix::io::retry_on_intr;

use super::stat::{FileStat, FileType};
use crate::format::{Hole, Owner, Timestamp, Xattr};

/// Opens; again, if a signal came in between: a file system that waits for another
/// machine, or for a program, lets itself be interrupted.
fn open_at(dir: BorrowedFd<'_>, name: &[u8], flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
    Ok(retry_on_intr(|| fs::openat(dir, name, flags, mode))?)
}

/// Opens a directory for reading and as a place for other calls.
pub(super) fn open_dir(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open_at(dir, name, flags, Mode::empty())
}

/// As [`open_dir`], but follows a symbolic link.
pub(super) fn open_dir_following(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    open_at(dir, name, flags, Mode::empty())
}

/// Opens a file for reading. A fifo does not block: the caller looks at what
/// it got.
pub(super) fn open_read(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    open_at(dir, name, flags, Mode::empty())
}

/// As [`open_read`], by a path whose links are followed.
pub(super) fn open_path(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    Ok(retry_on_intr(|| fs::open(path, flags, Mode::empty()))?)
}

/// Creates a file that must not exist yet.
pub(super) fn create_file(dir: BorrowedFd<'_>, name: &[u8], mode: u16) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open_at(dir, name, flags, bits(mode))
}

/// Opens a file that this program made, to fill it further.
pub(super) fn open_write(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open_at(dir, name, flags, Mode::empty())
}

fn bits(mode: u16) -> Mode {
    Mode::from_bits_truncate(u32::from(mode))
}

pub(super) fn make_dir(dir: BorrowedFd<'_>, name: &[u8], mode: u16) -> io::Result<()> {
    Ok(fs::mkdirat(dir, name, bits(mode))?)
}

pub(super) fn stat_at(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<FileStat> {
    Ok(fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?.into())
}

pub(super) fn stat_fd(file: impl AsFd) -> io::Result<FileStat> {
    Ok(fs::fstat(file)?.into())
}

pub(super) fn read_link(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>> {
    Ok(fs::readlinkat(dir, name, Vec::new())?.into_bytes())
}

pub(super) fn make_symlink(target: &[u8], dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    Ok(fs::symlinkat(target, dir, name)?)
}

pub(super) fn make_hard_link(
    from: (BorrowedFd<'_>, &[u8]),
    to: (BorrowedFd<'_>, &[u8]),
) -> io::Result<()> {
    Ok(fs::linkat(from.0, from.1, to.0, to.1, AtFlags::empty())?)
}

pub(super) fn rename(from: (BorrowedFd<'_>, &[u8]), to: (BorrowedFd<'_>, &[u8])) -> io::Result<()> {
    Ok(fs::renameat(from.0, from.1, to.0, to.1)?)
}

pub(super) fn remove_file(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    Ok(fs::unlinkat(dir, name, AtFlags::empty())?)
}

pub(super) fn remove_empty_dir(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<()> {
    Ok(fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
}

/// The names in a directory, but for `.` and `..`, in the system's order.
pub(super) fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<Vec<u8>>> {
    let mut names = vec![];
    for entry in retry_on_intr(|| fs::Dir::read_from(dir))? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(name.to_vec());
        }
    }
    Ok(names)
}

/// Reads until the buffer is full or the file ends; says how much it was.
pub(super) fn read_full(file: impl AsFd, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::read(&file, &mut buffer[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(filled)
}

/// As [`read_full`], from a place in the file.
pub(super) fn read_full_at(file: impl AsFd, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::pread(&file, &mut buffer[filled..], at + filled as u64) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(filled)
}

/// Writes all bytes at a place in the file.
pub(super) fn write_full_at(file: impl AsFd, bytes: &[u8], at: u64) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        match rustix::io::pwrite(&file, &bytes[written..], at + written as u64) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => written += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn times(mtime: Timestamp) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: fs::UTIME_OMIT },
        last_modification: Timespec { tv_sec: mtime.secs, tv_nsec: mtime.nanos.into() },
    }
}

pub(super) fn set_mtime(file: impl AsFd, mtime: Timestamp) -> io::Result<()> {
    Ok(fs::futimens(file, &times(mtime))?)
}

/// As [`set_mtime`], for what cannot be opened: symbolic links.
pub(super) fn set_mtime_at(dir: BorrowedFd<'_>, name: &[u8], mtime: Timestamp) -> io::Result<()> {
    Ok(fs::utimensat(dir, name, &times(mtime), AtFlags::SYMLINK_NOFOLLOW)?)
}

pub(super) fn set_mode(file: impl AsFd, mode: u16) -> io::Result<()> {
    Ok(fs::fchmod(file, bits(mode))?)
}

/// As [`set_mode`], for what cannot be opened yet. Fails for symbolic links.
///
/// The call that takes a name follows them, and the one that does not is younger than
/// kernels that are in use: so the entry is held by a handle that needs no rights.
#[cfg(target_os = "linux")]
pub(super) fn set_mode_at(dir: BorrowedFd<'_>, name: &[u8], mode: u16) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let entry = fs::openat(dir, name, flags, Mode::empty())?;
    if stat_fd(&entry)?.file_type == FileType::Symlink {
        return Err(rustix::io::Errno::LOOP.into());
    }
    Ok(fs::chmod(&*handle_path(&entry), bits(mode))?)
}

/// As [`set_mode`], for what cannot be opened yet. Follows no symbolic links.
#[cfg(not(target_os = "linux"))]
pub(super) fn set_mode_at(dir: BorrowedFd<'_>, name: &[u8], mode: u16) -> io::Result<()> {
    Ok(fs::chmodat(dir, name, bits(mode), AtFlags::SYMLINK_NOFOLLOW)?)
}

pub(super) fn set_owner(file: impl AsFd, owner: Owner) -> io::Result<()> {
    let (uid, gid) = (fs::Uid::from_raw(owner.uid), fs::Gid::from_raw(owner.gid));
    Ok(fs::fchown(file, Some(uid), Some(gid))?)
}

/// As [`set_owner`], for what cannot be opened: symbolic links.
pub(super) fn set_owner_at(dir: BorrowedFd<'_>, name: &[u8], owner: Owner) -> io::Result<()> {
    let (uid, gid) = (fs::Uid::from_raw(owner.uid), fs::Gid::from_raw(owner.gid));
    Ok(fs::chownat(dir, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?)
}

pub(super) fn set_len(file: impl AsFd, len: u64) -> io::Result<()> {
    Ok(retry_on_intr(|| fs::ftruncate(&file, len))?)
}

/// Bytes that are free for this user on the file system of a directory; `None` where that
/// tells little: without a length of its own, or where files are compressed.
pub(super) fn free_bytes(directory: BorrowedFd<'_>) -> io::Result<Option<u64>> {
    let stat = fs::fstatvfs(directory)?;
    // The last of the space is root's.
    let is_root = rustix::process::geteuid().is_root();
    let free = if is_root { stat.f_bfree } else { stat.f_bavail };
    let is_known = stat.f_blocks > 0 && !compresses(directory);
    Ok(is_known.then(|| free.saturating_mul(stat.f_frsize)))
}

/// Whether a directory lies on a file system that may compress what is written.
#[cfg(target_os = "linux")]
fn compresses(directory: BorrowedFd<'_>) -> bool {
    // Btrfs, ZFS, bcachefs, F2FS.
    const KINDS: [u64; 4] = [0x9123_683e, 0x2fc1_2fc1, 0xca45_1a4e, 0xf2f5_2010];
    #[allow(clippy::cast_sign_loss, reason = "a number of 32 bits, signed on some machines")]
    let kind = fs::fstatfs(directory).map(|stat| stat.f_type as u64 & 0xffff_ffff);
    kind.is_ok_and(|kind| KINDS.contains(&kind))
}

/// APFS does so too, for a few files that the system itself brings.
#[cfg(not(target_os = "linux"))]
fn compresses(_: BorrowedFd<'_>) -> bool {
    false
}

/// The file's holes, where the file system tells.
pub(super) fn holes(file: impl AsFd, size: u64) -> io::Result<Vec<Hole>> {
    use rustix::io::Errno;
    let mut holes = vec![];
    let mut at = 0;
    while at < size {
        let data = match fs::seek(&file, fs::SeekFrom::Data(at)) {
            Ok(data) => data.min(size),
            // No data after this place.
            Err(Errno::NXIO) => size,
            Err(Errno::INVAL | Errno::OPNOTSUPP) => return Ok(vec![]),
            Err(error) => return Err(error.into()),
        };
        if data > at {
            holes.push(Hole { offset: at, len: data - at });
        }
        if data >= size {
            break;
        }
        at = match fs::seek(&file, fs::SeekFrom::Hole(data)) {
            Ok(hole) => hole.min(size),
            Err(Errno::NXIO) => size,
            Err(error) => return Err(error.into()),
        };
    }
    Ok(holes)
}

/// Takes the advisory lock on an open file or directory if nobody has it.
pub(super) fn try_lock(file: impl AsFd) -> io::Result<bool> {
    match retry_on_intr(|| fs::flock(&file, fs::FlockOperation::NonBlockingLockExclusive)) {
        Ok(()) => Ok(true),
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Where the system lets a file be reached by its handle, so that attribute
/// calls need no path: they have no `*at` form.
#[cfg(target_os = "linux")]
fn by_handle(dir: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
    let mut path = handle_path(dir).into_bytes();
    path.push(b'/');
    path.extend_from_slice(name);
    path
}

/// The path by which this process reaches what a handle stands for.
#[cfg(target_os = "linux")]
fn handle_path(handle: impl AsFd) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", handle.as_fd().as_raw_fd())
}

/// The entry's extended attributes, sorted by name.
#[cfg(target_os = "linux")]
pub(super) fn xattrs(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<Xattr>> {
    use rustix::io::Errno;
    let path = by_handle(dir, name);
    // The system's limit on a list of names, and on a value.
    let mut list = vec![0; 64 << 10];
    let len = match fs::llistxattr(&*path, &mut list) {
        Ok(len) => len,
        Err(Errno::OPNOTSUPP) => return Ok(vec![]),
        Err(error) => return Err(error.into()),
    };
    let mut found = vec![];
    let mut value = vec![0; 64 << 10];
    for attribute in list[..len].split(|&byte| byte == 0).filter(|name| !name.is_empty()) {
        match fs::lgetxattr(&*path, attribute, &mut value) {
            Ok(len) => {
                found.push(Xattr { name: attribute.to_vec(), value: value[..len].to_vec() });
            }
            // Vanished meanwhile, or not for this user.
            Err(Errno::NODATA | Errno::ACCESS | Errno::PERM) => {}
            Err(error) => return Err(error.into()),
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

#[cfg(target_os = "linux")]
pub(super) fn set_xattr(file: impl AsFd, xattr: &Xattr) -> io::Result<()> {
    Ok(fs::fsetxattr(file, &*xattr.name, &xattr.value, fs::XattrFlags::empty())?)
}

/// Not offered on this system.
#[cfg(not(target_os = "linux"))]
pub(super) fn xattrs(_dir: BorrowedFd<'_>, _name: &[u8]) -> io::Result<Vec<Xattr>> {
    Ok(vec![])
}

/// Not offered on this system.
#[cfg(not(target_os = "linux"))]
pub(super) fn set_xattr(_: impl AsFd, _: &Xattr) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Lets this process open as many files as the system allows it: deep trees
/// are walked with a handle per level.
pub fn raise_open_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // The old limit also works, for all but very deep trees.
    let _ = setrlimit(Resource::Nofile, limit);
}
