//! Repacking: moving what is in use out of packs that are mostly not.
//!
//! The rules P1 and P2 of `docs/protocol.md`: the packs to be filled are named
//! in the state before the first of them is put, and a manifest is moved only
//! if it is still the version that was marked before that.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use bytes::Bytes;

use super::Survey;
use super::claim::Claimed;
use super::marks::Marked;
use super::plan::{Living, Plan};
use crate::compression::Unpacker;
use crate::error::Error;
use crate::format::{
    ChunkTable, Extents, FormatError, GcState, Layout, Location, PackBuilder, Repacking,
};
use crate::ids::{ChunkId, PackId};
use crate::progress::{Context, Phase, Warning};
use crate::repository::{Refreshed, Repository, StoredSealed};
use crate::secrets::KeyId;
use crate::store::PutMode;
use crate::upload::PACK_TARGET;

/// The most bytes that one flush moves: what is left waits for the next one.
const MOST: u64 = 8 << 30;

/// Keys that packs of one flush can be sealed with, more of which wait for the next.
const MOST_KEYS: u64 = 16;

/// Bytes not in use that are read along to save a request.
const GAP: u64 = 256 << 10;

/// What was repacked, or would be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepackReport {
    /// Packs whose chunks in use were moved.
    pub packs: u64,
    /// Bytes moved.
    pub moved_bytes: u64,
    /// Bytes that become free once the packs are deleted.
    pub dead_bytes: u64,
    /// Packs that the chunks were moved to.
    pub packs_written: u64,
    /// Manifests moved.
    pub manifests: u64,
    /// Manifests that were saved or used meanwhile, and refer to the old packs
    /// still.
    pub manifests_changed: u64,
}

/// A pack to be emptied, such as one that is mostly not in use.
pub(super) struct Sparse<'a> {
    pub(super) id: PackId,
    pub(super) len: u64,
    /// What of it is in use.
    pub(super) extents: &'a Extents,
    /// Its chunks by what manifests say of it; if not given, its footer is asked.
    pub(super) rows: Option<Rows>,
}

/// Chunks of a pack, and the key that they are sealed with.
pub(super) type Rows = (Option<KeyId>, Vec<(ChunkId, Location)>);

/// Packs of which less than half is in use, the sparsest first.
fn sparse<'a>(living: &'a Living, survey: &Survey, plan: &Plan) -> Vec<Sparse<'a>> {
    let lost: BTreeSet<PackId> = plan.to_delete().into_iter().collect();
    let mut sparse: Vec<Sparse<'a>> = living
        .iter()
        .filter(|(pack, _)| !lost.contains(pack))
        .filter_map(|(&id, extents)| {
            Some(Sparse { id, len: *survey.lens.get(&id)?, extents, rows: None })
        })
        .filter(|pack| pack.extents.bytes().saturating_mul(2) < pack.len)
        .collect();
    sparse.sort_unstable_by_key(|pack| (pack.extents.bytes(), pack.id));
    let mut moved = 0;
    sparse.retain(|pack| {
        moved += pack.extents.bytes();
        moved <= MOST
    });
    sparse
}

/// Tells what [`repack`] would do, as far as that can be told without reading.
pub(super) fn rehearse(living: &Living, survey: &Survey, plan: &Plan) -> RepackReport {
    let sparse = sparse(living, survey, plan);
    let ids: BTreeSet<PackId> = sparse.iter().map(|pack| pack.id).collect();
    let moved_bytes: u64 = sparse.iter().map(|pack| pack.extents.bytes()).sum();
    RepackReport {
        packs: sparse.len() as u64,
        moved_bytes,
        dead_bytes: sparse.iter().map(|pack| pack.len - pack.extents.bytes()).sum(),
        packs_written: moved_bytes.div_ceil(PACK_TARGET as u64),
        manifests: survey.staying().filter(|marked| refers_to(marked, &ids)).count() as u64,
        manifests_changed: 0,
    }
}

fn refers_to(marked: &Marked, packs: &BTreeSet<PackId>) -> bool {
    marked.mark.packs.packs().any(|pack| packs.contains(&pack))
}

/// Where moved chunks lie now, by where they lay.
type Moves = HashMap<(PackId, u64), Location>;

/// Moves what is in use out of sparse packs. The packs themselves stay for
/// those who are reading them: the next flushes delete them.
pub(super) fn repack(
    repository: &Repository,
    claimed: &mut Claimed<'_>,
    living: &Living,
    survey: &Survey,
    plan: &Plan,
    context: Context<'_>,
) -> Result<RepackReport, Error> {
    let sparse = sparse(living, survey, plan);
    empty(repository, claimed, &sparse, survey.staying(), context)
}

/// Moves what is in use out of these packs, for these manifests.
pub(super) fn empty<'a>(
    repository: &Repository,
    claimed: &mut Claimed<'_>,
    packs: &[Sparse<'_>],
    manifests: impl Iterator<Item = &'a Marked>,
    context: Context<'_>,
) -> Result<RepackReport, Error> {
    let bytes: u64 = packs.iter().map(|pack| pack.extents.bytes()).sum();
    context.progress.begin(Phase::Repack, packs.len() as u64, bytes);
    let mut report = RepackReport::default();
    if packs.is_empty() {
        return Ok(report);
    }
    // Each is at least half full, but the last of each key. Ids that are not used cost
    // nothing.
    let count = 2 * bytes.div_ceil(PACK_TARGET as u64) + MOST_KEYS;
    let filled: BTreeSet<PackId> = (0..count).map(|_| PackId::generate()).collect();
    let emptied = packs.iter().map(|pack| pack.id).collect();
    let announced = Repacking { emptied, filled: filled.clone() };
    claimed.put(GcState { repacking: Some(announced), ..claimed.state.clone() })?;

    let (moves, emptied) = copy(repository, packs, filled, &mut report, context)?;
    for marked in manifests.filter(|marked| refers_to(marked, &emptied)) {
        context.check()?;
        match move_manifest(repository, marked, &moves)? {
            Refreshed::Yes => report.manifests += 1,
            Refreshed::Changed => report.manifests_changed += 1,
        }
    }
    claimed.put(GcState { repacking: None, ..claimed.state.clone() })?;
    Ok(report)
}

/// Copies what is in use of sparse packs into new ones. A pack that is damaged
/// is left as it is.
fn copy(
    repository: &Repository,
    sparse: &[Sparse<'_>],
    filled: BTreeSet<PackId>,
    report: &mut RepackReport,
    context: Context<'_>,
) -> Result<(Moves, BTreeSet<PackId>), Error> {
    let mut ids = filled.into_iter();
    let (mut moves, mut emptied) = (Moves::new(), BTreeSet::new());
    // A pack has chunks that were sealed with one key.
    let mut open: HashMap<Option<KeyId>, PackBuilder> = HashMap::new();
    let mut put = |pack: PackBuilder| -> Result<(), Error> {
        let object = Layout::pack(pack.id());
        report.packs_written += 1;
        repository.store().put(&object, Bytes::from(pack.finish()), PutMode::Create)?;
        Ok(())
    };
    for pack in sparse {
        context.check()?;
        let (sealed_by, chunks) = match read_living(repository, pack) {
            Ok(chunks) => chunks,
            Err(error) if error.is_damage() => {
                context.progress.warn(Warning::IgnoredDamage { error: error.to_string() });
                continue;
            }
            Err(error) => return Err(error),
        };
        let len: usize = chunks.iter().map(|(.., stored)| stored.len()).sum();
        if open.get(&sealed_by).is_some_and(|open| open.len() + len > PACK_TARGET)
            && let Some(full) = open.remove(&sealed_by)
        {
            put(full)?;
        }
        let into = match open.entry(sealed_by) {
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(none) => {
                // What is left waits for the next flush.
                let Some(id) = ids.next() else { break };
                none.insert(PackBuilder::new(id, PACK_TARGET).sealed_by(sealed_by))
            }
        };
        for (id, at, stored) in chunks {
            let moved = into.push(id, &stored, at.raw_len);
            moves.insert((pack.id, at.offset), moved);
        }
        emptied.insert(pack.id);
        report.packs += 1;
        report.moved_bytes += len as u64;
        report.dead_bytes += pack.len - pack.extents.bytes();
        context.progress.advance(1, len as u64);
    }
    for last in open.into_values().filter(|last| !last.is_empty()) {
        put(last)?;
    }
    Ok((moves, emptied))
}

/// A chunk as it is stored.
type Stored = (ChunkId, Location, Bytes);

/// The chunks of a pack that are in use, and the key that they are sealed with. They
/// are verified, unless that key is not at hand: then whoever has it will.
fn read_living(
    repository: &Repository,
    pack: &Sparse<'_>,
) -> Result<(Option<KeyId>, Vec<Stored>), Error> {
    let object = Layout::pack(pack.id);
    let damaged = |source| Error::Damaged { object: object.clone(), source };
    let (sealed_by, all) = match &pack.rows {
        Some(rows) => rows.clone(),
        None => {
            let footer = repository.pack_footer(pack.id, pack.len)?;
            (footer.sealed_by, footer.locations(pack.id).map_err(damaged)?)
        }
    };
    let mut chunks = vec![];
    let sealing = repository.keys().sealing_of(sealed_by);
    if sealing.is_err() && pack.rows.is_some() {
        // Neither its footer nor its bytes vouch for any of it.
        let why = "its footer cannot be read, and there is no key for its chunks";
        return Err(damaged(FormatError::Inconsistent(why)));
    }
    let mut unpacker = sealing.ok().map(Unpacker::new);
    for (start, end) in pack.extents.over_gaps(GAP) {
        if end > pack.len {
            return Err(damaged(FormatError::Truncated));
        }
        let bytes = repository.store().get_range(&object, start..end)?;
        let inside = all.iter().filter(|(_, at)| at.offset >= start && at.end() <= end);
        for &(id, at) in inside.filter(|(_, at)| pack.extents.contains(at.offset, at.end())) {
            let from = usize::try_from(at.offset - start).unwrap_or(usize::MAX);
            let stored = bytes.slice(from..from + at.stored_len as usize);
            if let Some(unpacker) = &mut unpacker {
                let damaged = |why| Error::DamagedChunk { chunk: id, object: object.clone(), why };
                unpacker.unpack(id, &stored, at.raw_len).map_err(damaged)?;
            }
            chunks.push((id, at, stored));
        }
    }
    Ok((sealed_by, chunks))
}

/// Makes a manifest refer to the new places, if it is as it was marked.
fn move_manifest(
    repository: &Repository,
    marked: &Marked,
    moves: &Moves,
) -> Result<Refreshed, Error> {
    let listed = &marked.listed;
    let found = repository.sealed(&listed.scope, &listed.key)?;
    let Some(mut found) = found.filter(|found| found.version == listed.version) else {
        return Ok(Refreshed::Changed);
    };
    let mut chunks = ChunkTable::default();
    for &(id, at) in found.manifest.chunks.rows() {
        chunks.push(id, moves.get(&(at.pack, at.offset)).copied().unwrap_or(at));
    }
    found.manifest.chunks = chunks;
    put_again(repository, found)
}

/// Puts a manifest with other bytes, and without making now the time of its
/// last use.
fn put_again(repository: &Repository, mut found: StoredSealed) -> Result<Refreshed, Error> {
    found.manifest.facts.used = Some(found.last_used());
    found.manifest.facts.moves = found.manifest.facts.moves.wrapping_add(1);
    repository.replace_sealed(&found.manifest, &found.version)
}

/// Ends what a flush that died has left half moved: no move that it read can
/// take effect any more.
pub(super) fn fence(
    repository: &Repository,
    claimed: &mut Claimed<'_>,
    context: Context<'_>,
) -> Result<(), Error> {
    let Some(Repacking { emptied, .. }) = claimed.state.repacking.clone() else {
        return Ok(());
    };
    let marks = super::marks::mark(repository, HashMap::new(), |_| {}, context)?;
    for marked in marks.all.iter().filter(|marked| refers_to(marked, &emptied)) {
        context.check()?;
        let listed = &marked.listed;
        let Some(found) = repository.sealed(&listed.scope, &listed.key)? else { continue };
        // Changed, by now or after: that has another version, too.
        if found.version == listed.version {
            put_again(repository, found)?;
        }
    }
    claimed.put(GcState { repacking: None, ..claimed.state.clone() })
}
