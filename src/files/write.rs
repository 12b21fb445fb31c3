//! Making files, links and directories, with the metadata they had.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::read::data_runs;
use super::stat::FileStat;
use super::sys;
use crate::format::{Hole, Owner, Timestamp, Xattr};

/// What is recorded of an entry beside its contents.
#[derive(Clone, Copy, Debug)]
pub struct Metadata<'a> {
    /// Permission bits.
    pub mode: u16,
    /// Modification time.
    pub mtime: Timestamp,
    /// Owner, if it is to be set.
    pub owner: Option<Owner>,
    /// Extended attributes to set.
    pub xattrs: &'a [Xattr],
}

/// A directory and a name in it.
pub type At<'a> = (BorrowedFd<'a>, &'a [u8]);

/// Makes a whole file, which must not exist yet.
///
/// `kept_bits` are the permission bits that new files keep here: if all that
/// are wanted are among them, one call per file is saved.
///
/// # Errors
/// Those of the calls.
pub fn small_file(
    at: At<'_>,
    bytes: &[u8],
    metadata: &Metadata<'_>,
    kept_bits: u16,
) -> io::Result<FileStat> {
    let file = sys::create_file(at.0, at.1, metadata.mode & 0o777)?;
    if !bytes.is_empty() {
        sys::write_full_at(&file, bytes, 0)?;
    }
    let mode_is_right = metadata.mode & !kept_bits == 0;
    finish(&file, at, metadata, !mode_is_right)
}

/// A file that is filled by several threads. It is opened anew for each piece:
/// how many files are unfinished at once is not bounded, open handles are.
#[derive(Debug)]
pub struct LargeFile {
    file: OwnedFd,
}

impl LargeFile {
    /// Makes a file of `size` zero bytes.
    ///
    /// # Errors
    /// Those of the calls.
    pub fn create(at: At<'_>, size: u64) -> io::Result<()> {
        // Whoever fills it must be able to open it, whatever its final mode.
        let file = sys::create_file(at.0, at.1, 0o600)?;
        sys::set_len(&file, size)
    }

    /// Opens a file that [`LargeFile::create`] made.
    ///
    /// # Errors
    /// Those of opening it.
    pub fn open(at: At<'_>) -> io::Result<Self> {
        Ok(Self { file: sys::open_write(at.0, at.1)? })
    }

    /// Writes a piece of the data, counted from `offset` without the holes.
    ///
    /// # Errors
    /// Those of writing.
    pub fn fill(&self, holes: &[Hole], offset: u64, mut bytes: &[u8]) -> io::Result<()> {
        for (at, len) in data_runs(holes, offset, bytes.len() as u64) {
            let (run, rest) = bytes.split_at(usize::try_from(len).map_err(io::Error::other)?);
            sys::write_full_at(&self.file, run, at)?;
            bytes = rest;
        }
        Ok(())
    }

    /// Sets the metadata, once all pieces are there.
    ///
    /// # Errors
    /// Those of the calls.
    pub fn finish(&self, at: At<'_>, metadata: &Metadata<'_>) -> io::Result<FileStat> {
        finish(&self.file, at, metadata, true)
    }
}

/// Sets what is recorded of an open file or directory. The order matters: a
/// new owner clears set-id bits, and every call before the last moves times.
fn finish(
    file: &OwnedFd,
    at: At<'_>,
    metadata: &Metadata<'_>,
    set_mode: bool,
) -> io::Result<FileStat> {
    if let Some(owner) = metadata.owner {
        sys::set_owner(at.0, at.1, owner)?;
    }
    for xattr in metadata.xattrs {
        sys::set_xattr(at.0, at.1, xattr)?;
    }
    if set_mode || metadata.owner.is_some() {
        sys::set_mode(file, metadata.mode)?;
    }
    sys::set_mtime(file, metadata.mtime)?;
    sys::stat_fd(file)
}

/// Makes a symbolic link, which must not exist yet.
///
/// # Errors
/// Those of the calls.
pub fn symlink(at: At<'_>, target: &[u8], metadata: &Metadata<'_>) -> io::Result<FileStat> {
    sys::make_symlink(target, at.0, at.1)?;
    if let Some(owner) = metadata.owner {
        sys::set_owner(at.0, at.1, owner)?;
    }
    sys::set_mtime_at(at.0, at.1, metadata.mtime)?;
    sys::stat_at(at.0, at.1)
}

/// Sets the metadata of a directory or of a regular file that stays.
///
/// # Errors
/// Those of the calls.
pub fn set_metadata(at: At<'_>, metadata: &Metadata<'_>) -> io::Result<FileStat> {
    let file = match sys::open_read(at.0, at.1) {
        // Its owner may change the mode of a file that it may not read.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            sys::set_mode_at(at.0, at.1, 0o700)?;
            sys::open_read(at.0, at.1)?
        }
        file => file?,
    };
    finish(&file, at, metadata, true)
}

/// Copies a whole file within the machine, where a hard link cannot be made.
///
/// # Errors
/// Those of reading and writing.
pub fn copy_file(from: At<'_>, to: At<'_>, metadata: &Metadata<'_>) -> io::Result<FileStat> {
    let source = sys::open_read(from.0, from.1)?;
    let target = sys::create_file(to.0, to.1, 0o600)?;
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    loop {
        let len = sys::read_full_at(&source, &mut buffer, at)?;
        if len == 0 {
            return finish(&target, to, metadata, true);
        }
        sys::write_full_at(target.as_fd(), &buffer[..len], at)?;
        at += len as u64;
    }
}
