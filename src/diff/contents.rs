//! Whether two files hold the same bytes, told from the chunks that they lie in.
//!
//! A manifest has hashes of chunks, not of files. A file that is cut on its own
//! has chunks of its own, and they tell all. A small file shares its chunk with
//! its neighbours: if the chunks are the same, so are the files in them; if not,
//! any of the neighbours can be why. Then the lengths may tell, or that the file
//! was not written in between; else nothing does.

use crate::format::{EntryIndex, Hole, Kind, Stream, Timestamp, Tree};
use crate::ids::ChunkId;

/// Whether two files hold the same bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Contents {
    /// They do: their chunks say so; or they have the same length, and the same
    /// time to the nanosecond.
    #[default]
    Same,
    /// They do not, or have other holes.
    Differ,
    /// They may: they have the same length, and only packs could tell.
    Unknown,
}

/// A regular file as a manifest has it.
pub(super) struct File<'a> {
    stream: &'a Stream,
    size: u64,
    at: u64,
    data_len: u64,
    holes: &'a [Hole],
    mtime: Timestamp,
}

impl<'a> File<'a> {
    /// The file that an entry is; for what is no file, an empty one.
    pub(super) fn of(tree: &'a Tree, stream: &'a Stream, index: EntryIndex) -> Self {
        let (size, at) = match tree.entry(index).kind {
            Kind::File(file) => (file.size, file.at),
            _ => (0, 0),
        };
        let (data_len, holes) = (tree.data_len(index), tree.holes(index));
        Self { stream, size, at, data_len, holes, mtime: tree.entry(index).mtime }
    }

    fn parts(&self) -> impl Iterator<Item = Part> + '_ {
        self.stream.pieces(self.at, self.data_len).map(|piece| Part {
            chunk: self.stream.id(piece.position),
            offset: piece.offset,
            len: piece.len,
            is_whole: piece.len == self.stream.chunk_len(piece.position),
        })
    }

    /// Whether it was cut on its own: then its contents decide where. Bundles do
    /// not divide files, so a file in several chunks was.
    fn is_cut(&self) -> bool {
        let range = self.at..self.at + self.data_len;
        self.stream.whole_chunks(range).is_some_and(|chunks| chunks.len() > 1)
    }

    /// Whether its time tells when it was written. Archives set whole seconds,
    /// and some package managers the same for every file of every version.
    fn has_own_time(&self) -> bool {
        self.mtime.nanos != 0
    }
}

/// A part of a file within one chunk.
struct Part {
    chunk: ChunkId,
    offset: u32,
    len: u32,
    /// Whether it is all of the chunk.
    is_whole: bool,
}

impl Part {
    /// What is left of it after some bytes.
    fn after(self, len: u32) -> Option<Self> {
        let left = self.len - len;
        (left > 0).then_some(Self { offset: self.offset + len, len: left, is_whole: false, ..self })
    }
}

pub(super) fn compare(a: &File<'_>, b: &File<'_>) -> Contents {
    if a.size != b.size || a.holes != b.holes {
        return Contents::Differ;
    }
    match compare_chunks(a, b) {
        Contents::Unknown if a.is_cut() && b.is_cut() => Contents::Differ,
        Contents::Unknown if a.mtime == b.mtime && a.has_own_time() => Contents::Same,
        known => known,
    }
}

/// What chunks prove of two files with equally much data.
fn compare_chunks(a: &File<'_>, b: &File<'_>) -> Contents {
    let (mut parts_of_a, mut parts_of_b) = (a.parts(), b.parts());
    let (mut part_of_a, mut part_of_b) = (parts_of_a.next(), parts_of_b.next());
    let mut contents = Contents::Same;
    while let (Some(x), Some(y)) = (part_of_a, part_of_b) {
        if x.chunk != y.chunk && x.is_whole && y.is_whole && x.len == y.len {
            return Contents::Differ;
        }
        if x.chunk != y.chunk || x.offset != y.offset {
            contents = Contents::Unknown;
        }
        let len = x.len.min(y.len);
        part_of_a = x.after(len).or_else(|| parts_of_a.next());
        part_of_b = y.after(len).or_else(|| parts_of_b.next());
    }
    contents
}
