//! Fetching chunks, and having them written.
//!
//! A few threads fetch ranges of packs, ahead of the work and bounded in
//! memory; rayon unpacks, checks and writes them.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use super::RestoreRequest;
use super::compare::{Action, Comparison};
use super::stage::Stage;
use super::write::{FileWriter, WriteError, Written};
use crate::budget::{Budget, FirstError, Permit, lock};
use crate::error::Error;
use crate::format::{EntryIndex, Kind, Layout, Location, Manifest, Tree};
use crate::ids::{ChunkId, PackId};
use crate::progress::{Context, Phase};
use crate::repository::Repository;
use crate::store::{StoreError, StoreErrorKind};

/// Bytes fetched at once: long enough that a request's latency is little
/// beside its transfer, short enough that several fit in memory.
const RANGE: u64 = 8 << 20;

/// Unwanted bytes that are fetched rather than asking twice: what a request's
/// latency would transfer.
const MAX_GAP: u64 = 256 << 10;

/// Bytes fetched and not yet written.
const BUDGET: usize = 48 << 20;

/// Ranges fetched at once.
const FETCHERS: usize = 4;

/// Stored bytes that one task unpacks: short enough to keep all cores busy to
/// the end.
const TASK: u64 = 1 << 20;

/// A wanted chunk: what it is, where it lies, where in the stream it is used.
struct Wanted {
    id: ChunkId,
    location: Location,
    positions: Vec<usize>,
}

/// Wanted chunks that are fetched by one request.
struct Fetch {
    pack: PackId,
    bytes: Range<u64>,
    chunks: Vec<Wanted>,
}

/// Fetches and writes all files that are not in place.
pub(super) fn fetch(
    repository: &Repository,
    manifest: &Manifest,
    tree: &Tree,
    comparison: &Comparison,
    stage: &Stage<'_>,
    request: &RestoreRequest,
    context: Context<'_>,
) -> Result<Written, Error> {
    let files: Vec<EntryIndex> = tree
        .indexes()
        .filter(|&index| matches!(tree.entry(index).kind, Kind::File(_)))
        .filter(|&index| comparison.is_new(index))
        .collect();
    let bytes = files.iter().map(|&file| tree.data_len(file)).sum();
    context.progress.begin(Phase::Restore, files.len() as u64, bytes);
    let writer = FileWriter::new(manifest, tree, comparison, stage, &files, request, context);
    let failure = FirstError::default();
    writer.make_empty_files(&files)?;

    let fetches = plan(manifest, tree, &files);
    let fetched: u64 = fetches.iter().map(|fetch| fetch.bytes.end - fetch.bytes.start).sum();
    let queue = Mutex::new(fetches.into_iter());
    let budget = Budget::new(BUDGET);
    // `in_place_scope` waits for the tasks, `thread::scope` for the fetchers
    // that spawn them: this order, because a fetcher spawns until it ends.
    rayon::in_place_scope(|tasks| {
        std::thread::scope(|threads| {
            for _ in 0..FETCHERS {
                threads.spawn(|| {
                    while let Some(fetch) = next(&queue) {
                        if !failure.none() || context.check().is_err() {
                            break;
                        }
                        let len = fetch.bytes.end - fetch.bytes.start;
                        let permit = budget.take(usize::try_from(len).unwrap_or(usize::MAX));
                        match get(repository, manifest, &fetch) {
                            Ok(bytes) => spawn(tasks, fetch, &bytes, permit, &writer, &failure),
                            Err(error) => failure.set(error),
                        }
                    }
                });
            }
        });
    });
    context.check()?;
    failure.into_result()?;
    let mut written = writer.finish();
    written.fetched_bytes = fetched;
    // A file that is in place takes its other names along.
    let same: HashSet<EntryIndex> = written.same.iter().copied().collect();
    written.same.extend(tree.indexes().filter(|&index| match tree.entry(index).kind {
        Kind::HardLink { first } => {
            comparison.action(index) == Action::Check && same.contains(&first)
        }
        _ => false,
    }));
    Ok(written)
}

fn next<T>(queue: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    lock(queue).next()
}

fn get(repository: &Repository, manifest: &Manifest, fetch: &Fetch) -> Result<bytes::Bytes, Error> {
    let object = Layout::pack(fetch.pack);
    let missing = |error: StoreError| -> Error {
        if error.is_not_found() {
            match Layout::manifest(&manifest.scope, &manifest.key) {
                Ok(needed_by) => Error::Missing { object: object.clone(), needed_by },
                Err(error) => error.into(),
            }
        } else if matches!(error.kind, StoreErrorKind::RangeOutside { .. }) {
            Error::Damaged { object: object.clone(), source: crate::format::FormatError::Truncated }
        } else {
            error.into()
        }
    };
    repository.store().get_range(&object, fetch.bytes.clone()).map_err(missing)
}

/// Splits what was fetched into tasks.
fn spawn<'scope, 'w: 'scope>(
    tasks: &rayon::Scope<'scope>,
    fetch: Fetch,
    bytes: &bytes::Bytes,
    permit: Permit,
    writer: &'scope FileWriter<'w>,
    failure: &'scope FirstError,
) {
    let Fetch { pack, bytes: range, chunks } = fetch;
    let permit = Arc::new(permit);
    let mut chunks = chunks.into_iter().peekable();
    while chunks.peek().is_some() {
        let mut task = vec![];
        let mut len = 0;
        while let Some(chunk) = chunks.next_if(|_| len < TASK) {
            len += u64::from(chunk.location.stored_len);
            task.push(chunk);
        }
        let (bytes, permit, start) = (bytes.clone(), Arc::clone(&permit), range.start);
        tasks.spawn(move |_| {
            let _held = permit;
            if failure.none()
                && let Err(error) = write(&task, pack, &bytes, start, writer)
            {
                failure.set(error);
            }
        });
    }
}

fn write(
    chunks: &[Wanted],
    pack: PackId,
    bytes: &[u8],
    start: u64,
    writer: &FileWriter<'_>,
) -> Result<(), Error> {
    let mut session = writer.session();
    for chunk in chunks {
        let Location { offset, stored_len, raw_len, .. } = chunk.location;
        let from = usize::try_from(offset - start).unwrap_or(usize::MAX);
        let stored = &bytes[from..][..stored_len as usize];
        let written = session.write(chunk.id, stored, raw_len, &chunk.positions);
        written.map_err(|error| match error {
            WriteError::Other(error) => error,
            WriteError::Chunk(why) => {
                Error::DamagedChunk { chunk: chunk.id, object: Layout::pack(pack), why }
            }
        })?;
    }
    session.end();
    Ok(())
}

/// Groups the chunks of these files by pack, and neighbours into ranges. Packs
/// come in the order in which the tree first needs them.
fn plan(manifest: &Manifest, tree: &Tree, files: &[EntryIndex]) -> Vec<Fetch> {
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
    coalesce(chunks)
}

fn coalesce(chunks: Vec<Wanted>) -> Vec<Fetch> {
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
