//! Reading files so that what was read is one state of the file, or said not
//! to be.
//!
//! Files are read, not mapped: a file that someone shortens then gives an
//! error, not a signal.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use super::stat::{FileStat, FileType};
use super::sys;
use crate::format::{FileIdentity, Hole, Timestamp};

/// The state that a file was seen in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Which file, and its last change of any kind.
    pub identity: FileIdentity,
    /// Length in bytes.
    pub size: u64,
    /// Last change of its contents.
    pub mtime: Timestamp,
}

impl Seen {
    fn is(&self, stat: &FileStat) -> bool {
        stat.file_type == FileType::Regular
            && (self.identity, self.size, self.mtime) == (stat.identity, stat.size, stat.mtime)
    }

    fn of(stat: &FileStat) -> Self {
        Self { identity: stat.identity, size: stat.size, mtime: stat.mtime }
    }
}

/// How a read ended.
#[derive(Debug)]
pub enum ReadOutcome {
    /// The buffer got the contents that the file had in the state it was seen in.
    Same,
    /// The buffer got the contents of this later state.
    Changed(FileStat),
    /// The file grew past the limit; nothing was read.
    Grown(FileStat),
    /// It kept changing while it was read; nothing was read.
    Unstable,
    /// It is no regular file any more; nothing was read.
    Replaced,
}

/// How often a file that changes while it is read is read again, and how long
/// is waited before each: a writer that is just finishing gets its moment.
const RETRIES: [Duration; 3] =
    [Duration::from_millis(1), Duration::from_millis(20), Duration::from_millis(100)];

/// Appends a whole file of at most `limit` bytes to `buffer`.
///
/// # Errors
/// Those of opening and reading it; `NotFound` if it vanished.
pub fn read_small(
    (dir, name): (BorrowedFd<'_>, &[u8]),
    seen: Seen,
    limit: u64,
    buffer: &mut Vec<u8>,
) -> io::Result<ReadOutcome> {
    let start = buffer.len();
    let mut expected = seen;
    let mut waits = RETRIES.iter();
    loop {
        let size = usize::try_from(expected.size).map_err(io::Error::other)?;
        let file = sys::open_read(dir, name)?;
        buffer.resize(start + size, 0);
        let read = sys::read_full(&file, &mut buffer[start..]);
        // Looked at after the read: whoever changed the file before now shows
        // in this, and so cannot have been half read.
        let after = sys::stat_fd(&file)?;
        if after.file_type != FileType::Regular {
            buffer.truncate(start);
            return Ok(ReadOutcome::Replaced);
        }
        if expected.is(&after) && read? == size {
            let same = expected == seen;
            return Ok(if same { ReadOutcome::Same } else { ReadOutcome::Changed(after) });
        }
        buffer.truncate(start);
        if after.size > limit {
            return Ok(ReadOutcome::Grown(after));
        }
        expected = Seen::of(&after);
        match waits.next() {
            Some(&wait) => std::thread::sleep(wait),
            None => return Ok(ReadOutcome::Unstable),
        }
    }
}

/// Reads the data of a file piece by piece, without its holes.
#[derive(Debug)]
pub struct LargeReader {
    file: OwnedFd,
    opened: FileStat,
    holes: Vec<Hole>,
    /// Where in the file the next piece begins.
    at: u64,
    /// How many of the holes lie before that.
    passed: usize,
}

impl LargeReader {
    /// Opens a file; `None` if it is no regular file.
    ///
    /// # Errors
    /// Those of opening it.
    pub fn open((dir, name): (BorrowedFd<'_>, &[u8])) -> io::Result<Option<Self>> {
        let file = sys::open_read(dir, name)?;
        let opened = sys::stat_fd(&file)?;
        if opened.file_type != FileType::Regular {
            return Ok(None);
        }
        let sparse = opened.allocated < opened.size;
        let holes = if sparse { sys::holes(&file, opened.size)? } else { vec![] };
        Ok(Some(Self { file, opened, holes, at: 0, passed: 0 }))
    }

    /// The file's state when it was opened.
    pub fn stat(&self) -> &FileStat {
        &self.opened
    }

    /// The file's holes.
    pub fn holes(&self) -> &[Hole] {
        &self.holes
    }

    /// Appends up to `len` bytes of data to `buffer`; fewer only at the end.
    ///
    /// # Errors
    /// Those of reading; `UnexpectedEof` if the file was shortened meanwhile.
    pub fn read(&mut self, len: usize, buffer: &mut Vec<u8>) -> io::Result<()> {
        let goal = buffer.len() + len;
        while buffer.len() < goal {
            let next_hole = self.holes.get(self.passed).copied();
            let end = next_hole.map_or(self.opened.size, |hole| hole.offset);
            if self.at == end {
                let Some(hole) = next_hole else { break };
                self.at = hole.offset + hole.len;
                self.passed += 1;
                continue;
            }
            let left = usize::try_from(end - self.at).unwrap_or(usize::MAX);
            let start = buffer.len();
            buffer.resize(start + left.min(goal - start), 0);
            let read = sys::read_full_at(&self.file, &mut buffer[start..], self.at)?;
            if read < buffer.len() - start {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.at += read as u64;
        }
        Ok(())
    }

    /// Whether all data was read.
    pub fn is_at_end(&self) -> bool {
        let end = self.opened.size;
        self.at == end
            || self
                .holes
                .last()
                .is_some_and(|hole| hole.offset + hole.len == end && self.at >= hole.offset)
    }

    /// Whether the file is still as it was when it was opened.
    ///
    /// # Errors
    /// Those of looking at it.
    pub fn is_unchanged(&self) -> io::Result<bool> {
        Ok(sys::stat_fd(&self.file)?.same_state(&self.opened))
    }
}

/// Appends a part of a file's data to `buffer`: `len` bytes from `offset` on,
/// both counted without the holes.
///
/// # Errors
/// Those of reading; `UnexpectedEof` if the file is shorter.
pub fn read_part(
    (dir, name): (BorrowedFd<'_>, &[u8]),
    holes: &[Hole],
    offset: u64,
    len: u32,
    buffer: &mut Vec<u8>,
) -> io::Result<()> {
    let file = sys::open_read(dir, name)?;
    for (at, run) in data_runs(holes, offset, u64::from(len)) {
        let start = buffer.len();
        let run = usize::try_from(run).map_err(io::Error::other)?;
        buffer.resize(start + run, 0);
        if sys::read_full_at(&file, &mut buffer[start..], at)? < run {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(())
}

/// Where in a file with these holes its data from `offset` on lies: places and
/// lengths that together have `len` bytes.
pub(super) fn data_runs(holes: &[Hole], offset: u64, len: u64) -> Vec<(u64, u64)> {
    let mut runs = vec![];
    let (mut at, mut left) = (offset, len);
    let mut holes = holes.iter().peekable();
    while left > 0 {
        while let Some(hole) = holes.next_if(|hole| hole.offset <= at) {
            at += hole.len;
        }
        let run = holes.peek().map_or(left, |hole| left.min(hole.offset - at));
        runs.push((at, run));
        at += run;
        left -= run;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_lies_between_the_holes() {
        let holes = [Hole { offset: 0, len: 10 }, Hole { offset: 20, len: 5 }];
        assert_eq!(data_runs(&holes, 0, 4), [(10, 4)]);
        assert_eq!(data_runs(&holes, 0, 15), [(10, 10), (25, 5)]);
        assert_eq!(data_runs(&holes, 12, 3), [(27, 3)]);
        assert_eq!(data_runs(&[], 7, 2), [(7, 2)]);
    }
}
