//! Single directories and entries of them, by handle and name.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::area;
use super::stat::FileStat;
use super::sys;
use super::write::At;

/// A recorded name as this system writes it.
pub fn os_name(name: &[u8]) -> &OsStr {
    OsStr::from_bytes(name)
}

/// Opens a directory that the user named, following links.
///
/// # Errors
/// Those of the call.
pub fn open_directory(path: &Path) -> io::Result<OwnedFd> {
    let directory = rustix::fs::CWD;
    sys::open_dir_following(directory, path.as_os_str().as_bytes())
}

/// Opens a directory; fails if it is a symbolic link.
///
/// # Errors
/// Those of the call.
pub fn open_directory_at(at: At<'_>) -> io::Result<OwnedFd> {
    sys::open_dir(at.0, at.1)
}

/// Opens a directory, through a symbolic link too.
///
/// # Errors
/// Those of the call.
pub fn open_directory_following(at: At<'_>) -> io::Result<OwnedFd> {
    sys::open_dir_following(at.0, at.1)
}

/// Makes a directory.
///
/// # Errors
/// Those of the call.
pub fn make_directory(at: At<'_>, mode: u16) -> io::Result<()> {
    sys::make_dir(at.0, at.1, mode)
}

/// What the file system says of an entry; links are not followed.
///
/// # Errors
/// Those of the call.
pub fn look_at(at: At<'_>) -> io::Result<FileStat> {
    sys::stat_at(at.0, at.1)
}

/// Bytes that are free for this user on the file system of a directory; `None` where it
/// does not say, or where what it says tells little.
pub fn free_bytes(directory: BorrowedFd<'_>) -> Option<u64> {
    sys::free_bytes(directory).ok().flatten()
}

/// Makes another name for a file.
///
/// # Errors
/// Those of the call.
pub fn hard_link(from: At<'_>, to: At<'_>) -> io::Result<()> {
    sys::make_hard_link(from, to)
}

/// Moves an entry, over what is at the new place if that is no directory.
///
/// # Errors
/// Those of the call.
pub fn rename(from: At<'_>, to: At<'_>) -> io::Result<()> {
    sys::rename(from, to)
}

/// Removes an entry with all below it, following no links.
///
/// # Errors
/// The first that is met; the rest is left.
pub fn remove(at: At<'_>) -> io::Result<()> {
    area::remove_tree(at.0, at.1)
}

/// Lets this user change a directory's entries.
///
/// # Errors
/// Those of the calls.
pub fn make_writable(at: At<'_>) -> io::Result<()> {
    let directory = sys::open_dir(at.0, at.1)?;
    let mode = sys::stat_fd(&directory)?.mode;
    sys::set_mode(directory, mode | 0o700)
}
