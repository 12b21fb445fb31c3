//! The stream that a tree's data lies in: chunks, one after the other.

use std::ops::Range;

use crate::ids::ChunkId;

/// A part of a stream within one of its chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The chunk's place in the sequence.
    pub position: usize,
    /// Where in the chunk the part begins.
    pub offset: u32,
    /// How long it is.
    pub len: u32,
}

/// A sequence of chunks as one run of bytes.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    ids: Vec<ChunkId>,
    /// Where each chunk begins, and where the last one ends.
    starts: Vec<u64>,
}

impl Stream {
    /// The stream of these chunks, given with their raw lengths.
    pub fn new(chunks: impl IntoIterator<Item = (ChunkId, u32)>) -> Self {
        let mut stream = Self { ids: vec![], starts: vec![0] };
        let mut end = 0;
        for (id, len) in chunks {
            end += u64::from(len);
            stream.ids.push(id);
            stream.starts.push(end);
        }
        stream
    }

    /// The chunk at a place in the sequence.
    pub fn id(&self, position: usize) -> ChunkId {
        self.ids[position]
    }

    /// How many chunks there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there are no chunks.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The bytes of the stream that a chunk makes up.
    pub fn range(&self, position: usize) -> Range<u64> {
        self.starts[position]..self.starts[position + 1]
    }

    /// Raw length of a chunk.
    pub fn chunk_len(&self, position: usize) -> u32 {
        let range = self.range(position);
        u32::try_from(range.end - range.start).expect("chunks are shorter than 4 GiB")
    }

    /// The chunks that `start..end` is made of, if it begins and ends where
    /// chunks do.
    pub fn whole_chunks(&self, range: Range<u64>) -> Option<Range<usize>> {
        let first = self.starts.binary_search(&range.start).ok()?;
        let after = self.starts.binary_search(&range.end).ok()?;
        Some(first..after)
    }

    /// The parts of chunks that `at..at + len` is made of, in order. The range
    /// must lie in the stream.
    pub fn pieces(&self, at: u64, len: u64) -> impl Iterator<Item = Piece> + '_ {
        let end = at + len;
        let first = self.starts.partition_point(|&start| start <= at).saturating_sub(1);
        (first..self.ids.len()).map_while(move |position| {
            let chunk = self.range(position);
            let (from, to) = (chunk.start.max(at), chunk.end.min(end));
            let narrow = |n: u64| u32::try_from(n).expect("chunks are shorter than 4 GiB");
            (from < to).then(|| Piece {
                position,
                offset: narrow(from - chunk.start),
                len: narrow(to - from),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_follow_chunk_borders() {
        let chunk = |text: &[u8]| (ChunkId::of(text), text.len() as u32);
        let stream = Stream::new([chunk(b"abc"), chunk(b"de"), chunk(b"fghi")]);
        let pieces = |at, len| {
            let pieces = stream.pieces(at, len).map(|p| (p.position, p.offset, p.len));
            pieces.collect::<Vec<_>>()
        };
        assert_eq!(pieces(0, 3), [(0, 0, 3)]);
        assert_eq!(pieces(1, 1), [(0, 1, 1)]);
        assert_eq!(pieces(2, 4), [(0, 2, 1), (1, 0, 2), (2, 0, 1)]);
        assert_eq!(pieces(3, 6), [(1, 0, 2), (2, 0, 4)]);
        assert_eq!(pieces(9, 0), []);
        assert_eq!(stream.whole_chunks(3..9), Some(1..3));
        assert_eq!(stream.whole_chunks(3..8), None);
    }
}
