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
    /// Permission bits, set-id and sticky bits included.
    pub mode: u16,
    /// Whether what lets a file act in another's name is set, too: set-id and sticky
    /// bits as `mode` has them, and attributes that are not the user's own. Otherwise
    /// none is added, and what is there stays: a directory may have its group's bit
    /// from the one above it.
    pub privileged: bool,
    /// Modification time.
    pub mtime: Timestamp,
    /// Owner, if it is to be set.
    pub owner: Option<Owner>,
    /// Extended attributes to set.
    pub xattrs: &'a [Xattr],
}

/// The bits of a mode that say who may do what, and not in whose name.
pub(super) const PERMISSIONS: u16 = 0o777;

impl<'a> Metadata<'a> {
    /// The attributes that are to be set.
    pub fn wanted_xattrs(&self) -> impl Iterator<Item = &'a Xattr> {
        let all = self.privileged;
        self.xattrs.iter().filter(move |xattr| all || xattr.is_users_own())
    }

    /// The bits that are to be set.
    pub fn wanted_bits(&self) -> u16 {
        if self.privileged { self.mode } else { self.mode & PERMISSIONS }
    }

    /// Whether a file with this mode has the bits that are to be set.
    pub fn has_bits(&self, mode: u16) -> bool {
        let counts = if self.privileged { !0 } else { PERMISSIONS };
        self.mode & counts == mode & counts
    }
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
    let mode_is_right = metadata.wanted_bits() & !kept_bits == 0;
    finish(&file, metadata, !mode_is_right)
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
    pub fn finish(&self, metadata: &Metadata<'_>) -> io::Result<FileStat> {
        finish(&self.file, metadata, true)
    }
}

/// Sets what is recorded of an open file or directory: by its handle, whatever its
/// name leads to by now. The order matters: a new owner clears set-id bits, and every
/// call before the last moves times.
fn finish(file: &OwnedFd, metadata: &Metadata<'_>, set_mode: bool) -> io::Result<FileStat> {
    if let Some(owner) = metadata.owner {
        sys::set_owner(file, owner)?;
    }
    for xattr in metadata.wanted_xattrs() {
        sys::set_xattr(file, xattr)?;
    }
    if set_mode || metadata.owner.is_some() {
        // Looked at after the change of owner: what that cleared must not come back.
        let others = if metadata.privileged { 0 } else { sys::stat_fd(file)?.mode & !PERMISSIONS };
        sys::set_mode(file, metadata.wanted_bits() | others)?;
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
        sys::set_owner_at(at.0, at.1, owner)?;
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
    finish(&file, metadata, true)
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
            return finish(&target, metadata, true);
        }
        sys::write_full_at(target.as_fd(), &buffer[..len], at)?;
        at += len as u64;
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn metadata(mode: u16, privileged: bool) -> Metadata<'static> {
        Metadata { mode, privileged, mtime: Timestamp::default(), owner: None, xattrs: &[] }
    }

    /// Whoever may write in the target can put a link in the place of what was there.
    #[test]
    fn metadata_is_never_set_through_a_link() {
        let top = tempfile::tempdir().unwrap();
        let outside = top.path().join("outside");
        std::fs::write(&outside, "mine").unwrap();
        std::fs::set_permissions(&outside, PermissionsExt::from_mode(0o640)).unwrap();
        symlink("outside", top.path().join("link")).unwrap();
        let dir: OwnedFd = std::fs::File::open(top.path()).unwrap().into();
        let state = || {
            let found = std::fs::metadata(&outside).unwrap();
            (found.mode(), found.uid(), found.mtime(), found.ctime(), found.ctime_nsec())
        };
        let before = state();
        let at = (dir.as_fd(), &b"link"[..]);
        let owner = Some(Owner { uid: 0, gid: 0 });
        let xattr = Xattr { name: b"user.x".to_vec(), value: vec![] };
        let all = Metadata { owner, xattrs: std::slice::from_ref(&xattr), ..metadata(0o777, true) };
        assert!(set_metadata(at, &all).is_err());
        // What it falls back on where a file cannot be opened.
        assert!(sys::set_mode_at(at.0, at.1, 0o700).is_err());
        assert_eq!(state(), before);
        sys::set_mode_at(at.0, b"outside", 0o604).unwrap();
        assert_eq!(state().0 & 0o7777, 0o604);
        assert!(copy_file(at, (at.0, b"copy"), &all).is_err());
    }

    #[test]
    fn set_id_bits_are_neither_added_nor_taken_unless_asked_for() {
        let top = tempfile::tempdir().unwrap();
        let dir: OwnedFd = std::fs::File::open(top.path()).unwrap().into();
        let check = |there: u32, wanted: u16, privileged: bool, after: u16| {
            let path = top.path().join("file");
            std::fs::write(&path, "x").unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(there)).unwrap();
            let at = (dir.as_fd(), &b"file"[..]);
            let metadata = metadata(wanted, privileged);
            let stat = set_metadata(at, &metadata).unwrap();
            assert_eq!(stat.mode, after, "{there:o} {wanted:o}");
            assert!(metadata.has_bits(stat.mode));
        };
        check(0o644, 0o4755, false, 0o755);
        check(0o644, 0o4755, true, 0o4755);
        check(0o4711, 0o755, false, 0o4755);
        check(0o4711, 0o755, true, 0o755);
    }
}
