//! From an object to its bytes: which pieces of packs, and what is in them.

use std::ops::Range;

use bytes::Bytes;

use super::{Found, Info, ObjectError, Shared};
use crate::compression::Unpacker;
use crate::error::Error;
use crate::format::{FormatError, Layout, LayoutError, Location, Stream};
use crate::ids::{ChunkId, PackId};
use crate::object_key::ObjectKey;
use crate::secrets::Sealing;
use crate::store::{StoreError, StoreErrorKind};

/// The most bytes of an object that one fetch gives: what is in memory for each that goes
/// on.
const MAX_LEN: u64 = 4 << 20;

/// Bytes between two chunks that are read along: what a request's latency would transfer.
const MAX_GAP: u64 = 256 << 10;

/// Consecutive bytes of an object that one request gets.
#[derive(Clone, Debug)]
pub struct Fetch {
    pack: PackId,
    /// Where in the pack.
    range: Range<u64>,
    pieces: Vec<Piece>,
    len: u64,
}

/// A part of a chunk.
#[derive(Clone, Debug)]
struct Piece {
    id: ChunkId,
    at: Location,
    part: Range<usize>,
}

impl Fetch {
    /// Bytes of the object that it gives.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it gives none, which none does.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn begin(piece: Piece) -> Self {
        let range = piece.at.offset..piece.at.end();
        let len = piece.part.len() as u64;
        Self { pack: piece.at.pack, range, pieces: vec![piece], len }
    }

    /// Takes a piece along, if that costs little.
    fn extend(&mut self, piece: Piece) -> Result<(), Piece> {
        let at = &piece.at;
        let is_near = at.pack == self.pack
            && at.offset >= self.range.start
            && at.offset <= self.range.end.saturating_add(MAX_GAP);
        let len = self.len + piece.part.len() as u64;
        let span = at.end().max(self.range.end) - self.range.start;
        if !is_near || len > MAX_LEN || span > MAX_LEN + MAX_GAP {
            return Err(piece);
        }
        self.range.end = self.range.end.max(at.end());
        self.len = len;
        self.pieces.push(piece);
        Ok(())
    }
}

/// The bytes `range` of a run of chunks, as fetches in order. What lies outside is left
/// out.
pub(super) fn plan(chunks: &[(ChunkId, Location)], range: Range<u64>) -> Vec<Fetch> {
    let stream = Stream::new(chunks.iter().map(|(id, at)| (*id, at.raw_len)));
    let end = chunks.iter().map(|(_, at)| u64::from(at.raw_len)).sum::<u64>().min(range.end);
    let mut fetches: Vec<Fetch> = vec![];
    for piece in stream.pieces(range.start, end.saturating_sub(range.start)) {
        let (id, at) = chunks[piece.position];
        let from = piece.offset as usize;
        let piece = Piece { id, at, part: from..from + piece.len as usize };
        let left = match fetches.last_mut() {
            Some(last) => last.extend(piece).err(),
            None => Some(piece),
        };
        fetches.extend(left.map(Fetch::begin));
    }
    fetches
}

impl Found {
    /// The object's chunks in order.
    pub(super) fn chunks(&self) -> Vec<(ChunkId, Location)> {
        let manifest = &self.stored.manifest;
        manifest.sequence.iter().map(|&row| manifest.chunks.get(row)).collect()
    }

    /// Fetches that give the bytes `range` of it, in order; of what lies beyond its end,
    /// none.
    pub fn fetches(&self, range: Range<u64>) -> Vec<Fetch> {
        plan(&self.chunks(), range)
    }
}

impl Shared {
    pub(super) fn fetch(&self, found: &Found, fetch: &Fetch) -> Result<Vec<Bytes>, ObjectError> {
        let sealing = self.repository().sealing(&found.stored.manifest);
        let needed_by = || manifest_of(&found.info);
        Ok(self.fetch_for(fetch, sealing, needed_by)?)
    }

    /// Reads what a fetch is for, and checks it.
    pub(super) fn fetch_for(
        &self,
        fetch: &Fetch,
        sealing: Sealing,
        needed_by: impl Fn() -> Result<ObjectKey, LayoutError>,
    ) -> Result<Vec<Bytes>, Error> {
        let object = Layout::pack(fetch.pack);
        let failed = |error: StoreError| -> Error {
            if error.is_not_found() {
                match needed_by() {
                    Ok(needed_by) => Error::Missing { object: object.clone(), needed_by },
                    Err(error) => error.into(),
                }
            } else if matches!(error.kind, StoreErrorKind::RangeOutside { .. }) {
                Error::Damaged { object: object.clone(), source: FormatError::Truncated }
            } else {
                error.into()
            }
        };
        let stored =
            self.repository().store().get_range(&object, fetch.range.clone()).map_err(failed)?;
        let mut unpacker = Unpacker::new(sealing);
        let unpacked = fetch.pieces.iter().map(|piece| {
            let from = usize::try_from(piece.at.offset - fetch.range.start).unwrap_or(usize::MAX);
            let stored = stored.slice(from..from + piece.at.stored_len as usize);
            let raw = unpacker.unpack(piece.id, &stored, piece.at.raw_len);
            let damaged =
                |why| Error::DamagedChunk { chunk: piece.id, object: object.clone(), why };
            let raw = raw.map_err(damaged)?;
            Ok(Bytes::copy_from_slice(&raw[piece.part.clone()]))
        });
        unpacked.collect()
    }
}

/// The object that an object's manifest lies in.
pub(super) fn manifest_of(info: &Info) -> Result<ObjectKey, LayoutError> {
    Layout::manifest(&info.name.scope, &info.name.key)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACK: PackId = PackId::from_bytes([1; 16]);

    fn chunk(name: u8, pack: PackId, offset: u64, raw_len: u32) -> (ChunkId, Location) {
        (ChunkId::of(&[name]), Location { pack, offset, stored_len: raw_len, raw_len })
    }

    /// Of each fetch: its range of the pack, and the parts of chunks that it gives.
    fn planned(chunks: &[(ChunkId, Location)], range: Range<u64>) -> Vec<(Range<u64>, Vec<usize>)> {
        let fetches = plan(chunks, range);
        let lens = |fetch: &Fetch| fetch.pieces.iter().map(|piece| piece.part.len()).collect();
        fetches.iter().map(|fetch| (fetch.range.clone(), lens(fetch))).collect()
    }

    #[test]
    fn neighbours_are_fetched_together() {
        let other = PackId::from_bytes([2; 16]);
        let chunks = [
            chunk(1, PACK, 8, 100),
            chunk(2, PACK, 108, 100),
            chunk(3, other, 8, 100),
            chunk(4, PACK, 1_000, 100),
            // The same again: nothing more is read for it.
            chunk(4, PACK, 1_000, 100),
            chunk(5, PACK, 9 << 20, 100),
        ];
        assert_eq!(
            planned(&chunks, 0..600),
            [
                (8..208, vec![100, 100]),
                (8..108, vec![100]),
                (1_000..1_100, vec![100, 100]),
                (9 << 20..(9 << 20) + 100, vec![100]),
            ]
        );
        assert_eq!(planned(&chunks, 150..260), [(108..208, vec![50]), (8..108, vec![60])]);
        assert_eq!(planned(&chunks, 599..9_999), [(9 << 20..(9 << 20) + 100, vec![1])]);
        assert_eq!(planned(&chunks, 600..700), []);
        assert_eq!(planned(&[], 0..1), []);
    }

    #[test]
    fn what_is_repeated_is_bounded() {
        let chunks = vec![chunk(1, PACK, 8, 512 << 10); 20];
        let lens: Vec<u64> = plan(&chunks, 0..10 << 20).iter().map(Fetch::len).collect();
        assert_eq!(lens, [4 << 20, 4 << 20, 2 << 20]);
    }
}
