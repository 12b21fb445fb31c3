//! A file that is opened once by its path, and read in pieces by any thread.
//!
//! For what sends files elsewhere as they are. Here the path is the user's, and
//! symbolic links in it are followed.

use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use super::error::FileError;
use super::stat::FileType;
use super::sys;

/// A regular file that is open for reading.
#[derive(Debug)]
pub struct OpenFile {
    path: PathBuf,
    file: OwnedFd,
    size: u64,
}

impl OpenFile {
    /// Opens a file.
    ///
    /// # Errors
    /// [`FileError`] if that fails, or it is no regular file.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let failed = |error| FileError::new("open", path, error);
        let file = sys::open_path(path).map_err(failed)?;
        let stat = sys::stat_fd(&file).map_err(failed)?;
        if stat.file_type != FileType::Regular {
            return Err(failed(io::Error::other("it is no regular file")));
        }
        Ok(Self { path: path.to_owned(), file, size: stat.size })
    }

    /// The file's length when it was opened, in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// These bytes of the file.
    ///
    /// # Errors
    /// [`FileError`] if it cannot be read, or has become shorter.
    pub fn read(&self, range: Range<u64>) -> Result<Vec<u8>, FileError> {
        let failed = |error| FileError::new("read", &self.path, error);
        let len = usize::try_from(range.end - range.start).map_err(io::Error::other);
        let mut bytes = vec![0; len.map_err(failed)?];
        let read = sys::read_full_at(&self.file, &mut bytes, range.start).map_err(failed)?;
        if read == bytes.len() { Ok(bytes) } else { Err(self.changed()) }
    }

    /// Fails if the file is not as long any more as when it was opened: then what
    /// was read is of no state that it ever had.
    ///
    /// # Errors
    /// [`FileError`] if so, or if it cannot be looked at.
    pub fn check_len(&self) -> Result<(), FileError> {
        let stat = sys::stat_fd(&self.file);
        let stat = stat.map_err(|error| FileError::new("look at", &self.path, error))?;
        if stat.size == self.size { Ok(()) } else { Err(self.changed()) }
    }

    fn changed(&self) -> FileError {
        let why = "its length changed while it was read";
        FileError::new("read", &self.path, io::Error::other(why))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_in_pieces_as_long_as_its_length_stays() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "0123456789").unwrap();
        let opened = OpenFile::open(file.path()).unwrap();
        assert_eq!(opened.size(), 10);
        assert_eq!(opened.read(3..7).unwrap(), b"3456");
        opened.check_len().unwrap();
        for len in [11, 9] {
            file.as_file().set_len(len).unwrap();
            let error = opened.check_len().unwrap_err().to_string();
            assert!(error.contains(file.path().to_str().unwrap()), "{error}");
            assert!(error.contains("its length changed"), "{error}");
        }
        assert_eq!(opened.read(0..9).unwrap().len(), 9);
        assert!(opened.read(0..10).is_err());
    }

    #[test]
    fn only_files_are_opened() {
        let directory = tempfile::tempdir().unwrap();
        let error = OpenFile::open(directory.path()).unwrap_err().to_string();
        assert!(error.contains("no regular file"), "{error}");
        assert!(OpenFile::open(&directory.path().join("absent")).is_err());
    }
}
