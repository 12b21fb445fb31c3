//! Failures of the local file system, always with the path and what was tried.

use std::io;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use crate::code::Code;

/// An operation on a file or directory that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}: {source}", shown(path))]
pub struct FileError {
    /// What was tried, as in "cannot read".
    pub action: &'static str,
    /// On which file or directory.
    pub path: PathBuf,
    /// Why it failed.
    pub source: io::Error,
}

impl FileError {
    /// An error of `action` on `path`.
    pub fn new(
        action: &'static str,
        path: impl Into<PathBuf>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self { action, path: path.into(), source: source.into() }
    }

    /// The code that it is looked up by.
    pub fn code(&self) -> Code {
        match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Code::FileSystemFull,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Code::FileDenied,
            _ => Code::FileFailed,
        }
    }

    /// What a person can do about it, where that is known.
    pub fn hint(&self) -> Option<&'static str> {
        if let Some(Errno::MFILE | Errno::NFILE) = Errno::from_io_error(&self.source) {
            return Some("allow more open files (`ulimit -n`)");
        }
        match self.source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Some("free some space there")
            }
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Some("check the permissions there")
            }
            _ => None,
        }
    }
}

/// A path as a person may read it, whatever its bytes are.
pub(crate) fn shown(path: &Path) -> String {
    crate::relpath::display(path.as_os_str().as_encoded_bytes()).into_owned()
}
