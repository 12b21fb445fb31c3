//! What packs say of files that manifests leave undecided: both are read, and
//! hashed.
//!
//! Nearly all of these lie in one chunk with their neighbours, so each chunk is
//! fetched once, for all files in it that are asked for, and neighbours of a pack
//! together. What is kept of a file is its hash.

use std::collections::{BTreeMap, HashMap};

use super::{Change, Contents, Diff};
use crate::compression::Unpacker;
use crate::error::Error;
use crate::format::{EntryIndex, Kind, Layout, Location, Manifest, Piece, Stream};
use crate::ids::{ChunkId, PackId};
use crate::progress::{Context, Phase};
use crate::repository::Repository;
use crate::secrets::Sealing;
use crate::workers;

/// Bytes of a pack that are fetched at once.
const BATCH: u64 = 8 << 20;

/// Bytes between two chunks that are fetched with them rather than asking twice.
const GAP: u64 = 256 << 10;

/// Batches at once: two are on their way while two are hashed.
const READERS: usize = 4;

/// Where the bytes lie that a hash is of.
#[derive(Clone, Copy, Debug)]
struct Slice {
    /// The number of the hash.
    number: usize,
    offset: u32,
    len: u32,
}

/// A chunk, and what is asked of it.
#[derive(Debug)]
struct Asked {
    id: ChunkId,
    at: Location,
    sealing: Sealing,
    slices: Vec<Slice>,
}

/// Decides all contents of the diff that are unknown.
pub(super) fn decide(
    repository: &Repository,
    diff: &mut Diff,
    context: Context<'_>,
) -> Result<(), Error> {
    let streams = [diff.first.stream(), diff.second.stream()];
    let sealings = [repository.sealing(&diff.first), repository.sealing(&diff.second)];
    let pairs: Vec<[EntryIndex; 2]> = diff.changes.iter().filter_map(undecided).collect();
    let mut asked = HashMap::new();
    let mut scattered = vec![];
    for (number, pair) in pairs.iter().enumerate() {
        for (side, manifest) in [&diff.first, &diff.second].into_iter().enumerate() {
            let pieces = pieces(manifest, &streams[side], pair[side]);
            match pieces.as_slice() {
                &[Piece { position, offset, len }] => {
                    let row = manifest.sequence[position];
                    let slice = Slice { number: number * 2 + side, offset, len };
                    ask(&mut asked, manifest, &sealings[side], row, slice);
                }
                _ => scattered.push((number * 2 + side, manifest, pieces)),
            }
        }
    }
    let batches = batches(asked);
    let to_read = batches.iter().map(|(_, chunks)| len(chunks)).sum();
    context.progress.begin(Phase::Compare, pairs.len() as u64 * 2, to_read);
    let mut hashes = vec![None; pairs.len() * 2];
    let found = workers::try_map(READERS, batches, context, |(pack, chunks)| {
        hash_slices(repository, pack, &chunks, context)
    })?;
    for (number, hash) in found.into_iter().flatten() {
        hashes[number] = Some(hash);
    }
    for (number, manifest, pieces) in scattered {
        hashes[number] = Some(hash_pieces(repository, manifest, &pieces, context)?);
    }
    let mut same = hashes.chunks_exact(2).map(|pair| pair[0] == pair[1]);
    for change in &mut diff.changes {
        if undecided(change).is_some()
            && let Change::Changed { what, .. } = change
        {
            let is_same = same.next().expect("each undecided change has a pair of hashes");
            what.contents = if is_same { Contents::Same } else { Contents::Differ };
        }
    }
    diff.changes.retain(|change| match change {
        Change::Changed { what, .. } => what.any(),
        Change::Added(_) | Change::Removed(_) => true,
    });
    Ok(())
}

/// The entries of a change whose contents are unknown.
fn undecided(change: &Change) -> Option<[EntryIndex; 2]> {
    match *change {
        Change::Changed { before, after, what } if what.contents == Contents::Unknown => {
            Some([before, after])
        }
        _ => None,
    }
}

/// Where the data of a file lies, or of the file that a hard link is another name of.
fn pieces(manifest: &Manifest, stream: &Stream, index: EntryIndex) -> Vec<Piece> {
    let tree = &manifest.tree;
    let index = match tree.entry(index).kind {
        Kind::HardLink { first } => first,
        _ => index,
    };
    match tree.entry(index).kind {
        Kind::File(file) => stream.pieces(file.at, tree.data_len(index)).collect(),
        _ => vec![],
    }
}

fn ask(
    asked: &mut HashMap<ChunkId, Asked>,
    manifest: &Manifest,
    sealing: &Sealing,
    row: u32,
    slice: Slice,
) {
    let (id, at) = manifest.chunks.get(row);
    let new = || Asked { id, at, sealing: sealing.clone(), slices: vec![] };
    asked.entry(id).or_insert_with(new).slices.push(slice);
}

/// Chunks that are fetched together, in the order of their packs.
fn batches(asked: HashMap<ChunkId, Asked>) -> Vec<(PackId, Vec<Asked>)> {
    let mut packs: BTreeMap<(PackId, u64), Asked> = BTreeMap::new();
    for (_, chunk) in asked {
        packs.insert((chunk.at.pack, chunk.at.offset), chunk);
    }
    let mut batches: Vec<(PackId, Vec<Asked>)> = vec![];
    for ((pack, offset), chunk) in packs {
        let open = batches.last_mut().filter(|(of, chunks)| {
            let (Some(first), Some(last)) = (chunks.first(), chunks.last()) else { return false };
            let (end, gap) = (chunk.at.end(), offset.saturating_sub(last.at.end()));
            *of == pack && gap <= GAP && end - first.at.offset <= BATCH
        });
        match open {
            Some((_, chunks)) => chunks.push(chunk),
            None => batches.push((pack, vec![chunk])),
        }
    }
    batches
}

/// Bytes from the first of these chunks to the last.
fn len(chunks: &[Asked]) -> u64 {
    let start = chunks.first().map_or(0, |chunk| chunk.at.offset);
    chunks.iter().map(|chunk| chunk.at.end()).max().unwrap_or(start) - start
}

fn hash_slices(
    repository: &Repository,
    pack: PackId,
    chunks: &[Asked],
    context: Context<'_>,
) -> Result<Vec<(usize, blake3::Hash)>, Error> {
    let object = Layout::pack(pack);
    let start = chunks.first().map_or(0, |chunk| chunk.at.offset);
    let bytes = repository.store().get_range(&object, start..start + len(chunks))?;
    // One save has filled the pack, and so with one key.
    let sealing = chunks.first().map(|chunk| chunk.sealing.clone()).unwrap_or_default();
    let mut unpacker = Unpacker::new(sealing);
    let mut hashes = vec![];
    for Asked { id, at, slices, .. } in chunks {
        let from = usize::try_from(at.offset - start).unwrap_or(usize::MAX);
        let raw = unpack(&mut unpacker, *id, *at, &bytes[from..][..at.stored_len as usize])?;
        for slice in slices {
            let data = &raw[slice.offset as usize..][..slice.len as usize];
            hashes.push((slice.number, blake3::hash(data)));
        }
    }
    context.progress.advance(hashes.len() as u64, bytes.len() as u64);
    Ok(hashes)
}

/// Hashes a file of several chunks, one after the other.
fn hash_pieces(
    repository: &Repository,
    manifest: &Manifest,
    pieces: &[Piece],
    context: Context<'_>,
) -> Result<blake3::Hash, Error> {
    let mut hasher = blake3::Hasher::new();
    let mut unpacker = Unpacker::new(repository.sealing(manifest));
    for piece in pieces {
        context.check()?;
        let (id, at) = manifest.chunks.get(manifest.sequence[piece.position]);
        let object = Layout::pack(at.pack);
        let stored = repository.store().get_range(&object, at.offset..at.end())?;
        let raw = unpack(&mut unpacker, id, at, &stored)?;
        hasher.update(&raw[piece.offset as usize..][..piece.len as usize]);
    }
    context.progress.advance(1, 0);
    Ok(hasher.finalize())
}

fn unpack<'a>(
    unpacker: &'a mut Unpacker,
    id: ChunkId,
    at: Location,
    stored: &'a [u8],
) -> Result<&'a [u8], Error> {
    let damaged = |why| Error::DamagedChunk { chunk: id, object: Layout::pack(at.pack), why };
    unpacker.unpack(id, stored, at.raw_len).map_err(damaged)
}
