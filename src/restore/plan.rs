//! What to fetch, and in which requests.

use std::collections::HashMap;
use std::ops::Range;

use crate::format::{EntryIndex, Kind, Location, Manifest, Tree};
use crate::ids::{ChunkId, PackId};

/// Bytes fetched at once: long enough that a request's latency is little
/// beside its transfer, short enough that several fit in memory.
const RANGE: u64 = 8 << 20;

/// Unwanted bytes that are fetched rather than asking twice: what a request's
/// latency would transfer.
const MAX_GAP: u64 = 256 << 10;

/// A wanted chunk: what it is, where it lies, where in the stream it is used.
pub(super) struct Wanted {
    pub(super) id: ChunkId,
    pub(super) location: Location,
    pub(super) positions: Vec<usize>,
}

/// Wanted chunks that are fetched by one request.
pub(super) struct Fetch {
    pub(super) pack: PackId,
    pub(super) bytes: Range<u64>,
    pub(super) chunks: Vec<Wanted>,
}

impl Fetch {
    /// Bytes that the request asks for.
    pub(super) fn len(&self) -> u64 {
        self.bytes.end - self.bytes.start
    }
}

/// The chunks of these files, as they lie in packs. Packs come in the order in
/// which the tree first needs them.
pub(super) fn wanted(manifest: &Manifest, tree: &Tree, files: &[EntryIndex]) -> Vec<Wanted> {
    let stream = manifest.stream();
    let mut wanted: HashMap<u32, Vec<usize>> = HashMap::new();
    let mut pack_order: HashMap<PackId, usize> = HashMap::new();
    for &file in files {
        let Kind::File(data) = tree.entry(file).kind else {
            continue;
        };
        for piece in stream.pieces(data.at, tree.data_len(file)) {
            let row = manifest.sequence[piece.position];
            let positions = wanted.entry(row).or_default();
            if positions.last() != Some(&piece.position) {
                positions.push(piece.position);
            }
            let order = pack_order.len();
            pack_order.entry(manifest.chunks.get(row).1.pack).or_insert(order);
        }
    }
    let mut chunks: Vec<Wanted> = wanted
        .into_iter()
        .map(|(row, mut positions)| {
            positions.sort_unstable();
            positions.dedup();
            let (id, location) = manifest.chunks.get(row);
            Wanted { id, location, positions }
        })
        .collect();
    chunks.sort_by_key(|chunk| (pack_order[&chunk.location.pack], chunk.location.offset));
    chunks
}

/// Groups neighbours in packs into ranges.
pub(super) fn coalesce(chunks: Vec<Wanted>) -> Vec<Fetch> {
    let mut fetches: Vec<Fetch> = vec![];
    for chunk in chunks {
        let Location { pack, offset, .. } = chunk.location;
        let end = chunk.location.end();
        match fetches.last_mut() {
            // Chunks may overlap in a manifest that lies; `max` keeps the
            // range one that holds them all.
            Some(last)
                if last.pack == pack
                    && offset <= last.bytes.end.saturating_add(MAX_GAP)
                    && last.bytes.end - last.bytes.start < RANGE =>
            {
                last.bytes.end = last.bytes.end.max(end);
                last.chunks.push(chunk);
            }
            _ => fetches.push(Fetch { pack, bytes: offset..end, chunks: vec![chunk] }),
        }
    }
    fetches
}
