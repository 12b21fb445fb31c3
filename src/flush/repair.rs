//! Repair: making a store sound again after its objects were damaged.
//!
//! What cannot be restored is removed, so that the next saves bring it back
//! instead of relying on it. All of it goes by the rules that flushes go by:
//! saves and restores may go on meanwhile.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};

use super::claim::{self, Claimed};
use super::marks::{self, Marks};
use super::plan::Living;
use super::repack::{self, Sparse};
use crate::error::Error;
use crate::format::{GcState, Layout, Location, References};
use crate::ids::{ChunkId, Key, PackId, Scope};
use crate::index::TableBuilder;
use crate::progress::{Context, Phase, Warning};
use crate::repository::{Access, ListedManifest, ListedPack, Removal, Repository, StoredState};
use crate::secrets::KeyId;
use crate::store::{MAX_BATCH, ObjectKey};
use crate::store_time::StoreTime;
use crate::sync::lock;
use crate::workers;

/// Footers read at once: each is two small requests, one after the other.
const READERS: usize = 8;

/// What to repair, as a verification found it.
#[derive(Debug, Default)]
pub struct RepairRequest {
    /// Caches that cannot be restored.
    pub damaged: Vec<ListedManifest>,
    /// Packs of which something cannot be read.
    pub bad_packs: BTreeSet<PackId>,
    /// The state of garbage collection is lost, or an earlier one was put back.
    pub state_is_stale: bool,
    /// Begin although a flush has not finished.
    pub take_over: bool,
    /// Go on without conditional writes: no flush runs.
    pub unfenced: bool,
}

/// What was repaired.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct RepairReport {
    /// A flush is at work: nothing was done.
    pub is_busy: bool,
    /// The format marker was lost or could not be read, and was made anew before.
    pub marker_reset: bool,
    /// The state of garbage collection could not be read or was an earlier one, and was
    /// made anew.
    pub state_reset: bool,
    /// Caches that were removed: the next saves of them bring them back.
    pub dropped: Vec<(Scope, Key)>,
    /// Caches that were saved anew meanwhile, and stay.
    pub saved_meanwhile: u64,
    /// Packs of which something cannot be read; no save uses them any more.
    pub bad_packs: Vec<PackId>,
    /// Bytes that were moved out of those, since other caches need them.
    pub moved_bytes: u64,
    /// Packs that the new index table was made of.
    pub indexed_packs: u64,
    /// Packs that no cache refers to: flushes will delete them.
    pub orphans: Vec<PackId>,
    /// Their bytes.
    pub orphan_bytes: u64,
    /// Objects that are none of larder's. They are left alone.
    pub foreign: Vec<ObjectKey>,
}

/// Removes what cannot be restored, and makes the index anew from the packs.
///
/// # Errors
/// [`Error`] says what failed. What was done by then stays done; repairing
/// again does the rest. If it [is newer](Error::is_newer), only a newer larder can.
pub fn repair(
    access: impl Into<Access>,
    request: &RepairRequest,
    context: Context<'_>,
) -> Result<RepairReport, Error> {
    let mut report = RepairReport::default();
    let Some(repository) = Repository::open(access)? else {
        return Ok(report);
    };
    let now = StoreTime::from(repository.store().now()?);
    let found = match repository.gc_state() {
        Ok(found) if !request.state_is_stale => found,
        Err(error) if !error.is_damage() => return Err(error),
        _ => {
            report.state_reset = true;
            replacement(&repository, request, now, context)?
        }
    };
    refuse_newer(&repository, &found.state)?;
    if claim::is_busy(&found.state, now, claim::LEASE) && !request.take_over {
        return Ok(RepairReport { is_busy: true, ..RepairReport::default() });
    }
    let claimed = Claimed::take(&repository, found, now, request.unfenced)?;
    claimed.act(|claimed| act(&repository, claimed, request, now, &mut report, context))?;
    Ok(report)
}

fn act(
    repository: &Repository,
    claimed: &mut Claimed<'_>,
    request: &RepairRequest,
    now: StoreTime,
    report: &mut RepairReport,
    context: Context<'_>,
) -> Result<(), Error> {
    drop_manifests(repository, &request.damaged, report, context)?;
    repack::fence(repository, claimed, context)?;
    let deltas = repository.list_deltas(0)?;
    let rows = Mutex::new(Rows::new());
    let see = |references: &References| note_rows(&mut lock(&rows), references, &request.bad_packs);
    let marks = marks::mark(repository, HashMap::new(), see, context)?;
    let rows = rows.into_inner().unwrap_or_else(PoisonError::into_inner);
    let living = marks::living(marks.all.iter());
    let packs = repository.list_packs()?;

    let mut bad_packs = request.bad_packs.clone();
    let (table, lens) = read_footers(repository, &packs, &mut bad_packs, context)?;
    report.indexed_packs = lens.len() as u64;
    // A table that counts names no pack that a flush may be about to delete.
    let is_listed = |pack: &PackId| claimed.state.is_listed(*pack) || bad_packs.contains(pack);
    let len = |pack: PackId| lens.get(&pack).copied().filter(|_| !is_listed(&pack));
    let table = table.write(repository, len)?;
    // No grace for these: who has them in use is moved, below.
    let mut next = claimed.state.clone();
    next.epoch += 1;
    next.table = Some(table);
    let is_doomed = |pack: &&PackId| claimed.state.doomed.contains(pack);
    for pack in bad_packs.iter().filter(|pack| !is_doomed(pack)) {
        next.condemned.entry(*pack).or_insert(now);
    }
    claimed.put(next)?;

    let sparse = still_needed(&bad_packs, &living, &packs, &rows);
    let moved = repack::empty(repository, claimed, &sparse, marks.all.iter(), context)?;
    report.moved_bytes = moved.moved_bytes;
    report.bad_packs = bad_packs.into_iter().collect();
    // What they list is in the table now.
    let deltas: Vec<ObjectKey> = deltas.into_iter().map(|delta| delta.object).collect();
    repository.delete_all(&deltas)?;
    look_for_orphans(repository, &packs, &living, report)?;
    claimed.put(GcState { claim: None, ..claimed.state.clone() })
}

/// A state in place of one that cannot be read: all that is not in use is
/// condemned, and the epoch is later than any that was.
fn replacement(
    repository: &Repository,
    request: &RepairRequest,
    now: StoreTime,
    context: Context<'_>,
) -> Result<StoredState, Error> {
    // Those that cannot be read either would stop this; they go first.
    drop_manifests(repository, &request.damaged, &mut RepairReport::default(), context)?;
    let marks = marks::mark(repository, HashMap::new(), |_| {}, context)?;
    let living = marks::living(marks.all.iter());
    let packs = repository.list_packs()?.into_iter().map(|pack| pack.id);
    let condemned: BTreeMap<PackId, StoreTime> =
        packs.filter(|pack| !living.contains_key(pack)).map(|pack| (pack, now)).collect();
    let epoch = last_epoch(repository, &marks)?.saturating_add(2);
    let version = match repository.store().head(&Layout::gc_state()) {
        Ok(found) => Some(found.version),
        Err(error) if error.is_not_found() => None,
        Err(error) => return Err(error.into()),
    };
    let state = GcState { epoch, condemned, ..GcState::default() };
    Ok(StoredState { state, version })
}

/// What a repair would put others in place of must not be a newer larder's. (A delta is
/// a hint for the time until the next flush, and goes unread.)
fn refuse_newer(repository: &Repository, state: &GcState) -> Result<(), Error> {
    let marks = repository.gc_marks().map(drop);
    let table = state.table.map_or(Ok(()), |table| TableBuilder::look(repository, table));
    [marks, table].into_iter().try_for_each(|found| match found {
        Err(error) if error.is_damage() => Ok(()),
        found => found,
    })
}

fn last_epoch(repository: &Repository, marks: &Marks) -> Result<u64, Error> {
    let of_manifests = marks.all.iter().map(|marked| marked.mark.facts.epoch);
    let deltas = repository.list_deltas(0)?;
    let epochs = of_manifests.chain(deltas.iter().map(|delta| delta.epoch));
    Ok(epochs.max().unwrap_or(0))
}

fn drop_manifests(
    repository: &Repository,
    damaged: &[ListedManifest],
    report: &mut RepairReport,
    context: Context<'_>,
) -> Result<(), Error> {
    for listed in damaged {
        context.check()?;
        match repository.remove_manifest(listed)? {
            Removal::Removed => report.dropped.push((listed.scope.clone(), listed.key.clone())),
            Removal::Changed => report.saved_meanwhile += 1,
            Removal::Gone => {}
        }
    }
    Ok(())
}

/// The length of each pack.
type Lens = HashMap<PackId, u64>;

/// Makes an index of what all packs say of themselves. Those that say nothing
/// sound are bad.
fn read_footers(
    repository: &Repository,
    packs: &[ListedPack],
    bad_packs: &mut BTreeSet<PackId>,
    context: Context<'_>,
) -> Result<(TableBuilder, Lens), Error> {
    context.progress.begin(Phase::Index, packs.len() as u64, 0);
    let to_read = packs.iter().filter(|pack| !bad_packs.contains(&pack.id)).copied().collect();
    let read = Mutex::new((TableBuilder::default(), Lens::new()));
    let bad = workers::try_map(READERS, to_read, context, |pack: ListedPack| {
        let footer = repository.pack_footer(pack.id, pack.len);
        context.progress.advance(1, 0);
        match footer {
            Ok(footer) => {
                let (table, lens) = &mut *lock(&read);
                lens.insert(pack.id, pack.len);
                for (id, ..) in &footer.chunks {
                    table.add(*id, pack.id);
                }
                Ok(None)
            }
            Err(error) if error.is_damage() => {
                context.progress.warn(Warning::IgnoredDamage { error: error.to_string() });
                Ok(Some(pack.id))
            }
            // Deleted since it was listed.
            Err(Error::Store(error)) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    })?;
    bad_packs.extend(bad.into_iter().flatten());
    Ok(std::mem::take(&mut *lock(&read)))
}

/// What manifests need of packs, and where it lies, in order; and the key that it is
/// sealed with.
type Rows = HashMap<PackId, (Option<KeyId>, BTreeMap<u64, (ChunkId, Location)>)>;

fn note_rows(rows: &mut Rows, references: &References, packs: &BTreeSet<PackId>) {
    for &(id, at) in references.chunks.rows() {
        if packs.contains(&at.pack) {
            let (sealed_by, of_pack) = rows.entry(at.pack).or_default();
            *sealed_by = references.sealed_by;
            of_pack.insert(at.offset, (id, at));
        }
    }
}

/// Bad packs of which caches need what is sound. Their footers may be what is not.
fn still_needed<'a>(
    bad_packs: &BTreeSet<PackId>,
    living: &'a Living,
    packs: &[ListedPack],
    rows: &Rows,
) -> Vec<Sparse<'a>> {
    let bad = packs.iter().filter(|pack| bad_packs.contains(&pack.id));
    bad.filter_map(|pack| {
        let extents = living.get(&pack.id)?;
        let rows = rows.get(&pack.id);
        let rows = rows.map(|(key, rows)| (*key, rows.values().copied().collect()));
        Some(Sparse { id: pack.id, len: pack.len, extents, rows })
    })
    .collect()
}

fn look_for_orphans(
    repository: &Repository,
    packs: &[ListedPack],
    living: &Living,
    report: &mut RepairReport,
) -> Result<(), Error> {
    let orphans = packs.iter().filter(|pack| !living.contains_key(&pack.id));
    for pack in orphans {
        report.orphans.push(pack.id);
        report.orphan_bytes += pack.len;
    }
    let mut after: Option<ObjectKey> = None;
    loop {
        let page = repository.store().list("", after.as_ref(), MAX_BATCH)?;
        after = page.objects.last().map(|object| object.key.clone());
        let keys = page.objects.into_iter().map(|object| object.key);
        report.foreign.extend(keys.filter(|key| !Layout::is_known(key)));
        if !page.more || after.is_none() {
            return Ok(());
        }
    }
}
