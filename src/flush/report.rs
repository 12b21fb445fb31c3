//! What a flush did, or would do.

use std::collections::BTreeSet;

use super::Survey;
use super::marks::Marked;
use super::plan::{Living, Plan};
use super::policy::Reason;
use super::repack::RepackReport;
use crate::format::Claim;
use crate::ids::{Key, PackId, Scope};
use crate::store_time::StoreTime;

/// Packs, and their bytes together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Which packs.
    pub packs: Vec<PackId>,
    /// Their bytes.
    pub bytes: u64,
}

/// A cache that was removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Removed {
    /// Its namespace.
    pub scope: Scope,
    /// Its key.
    pub key: Key,
    /// Why.
    pub reason: Reason,
    /// When it was last saved or used.
    pub last_used: StoreTime,
}

/// What a flush did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FlushReport {
    /// The store's time when it began.
    pub now: StoreTime,
    /// Another flush is at work: nothing was done.
    pub busy: Option<Claim>,
    /// Nothing was changed: this is what would have been done.
    pub dry_run: bool,
    /// Caches looked at.
    pub manifests: u64,
    /// Manifests that had to be read; all others are as the last flush saw them.
    pub manifests_read: u64,
    /// Caches that were removed.
    pub removed: Vec<Removed>,
    /// Packs that are in use.
    pub used_packs: u64,
    /// Their bytes, dead parts included.
    pub used_bytes: u64,
    /// Bytes of dead parts in them, which only repacking frees.
    pub dead_bytes: u64,
    /// Packs that nothing refers to any more, listed from now on.
    pub condemned: Tally,
    /// Packs that were condemned, and are in use again.
    pub pardoned: Tally,
    /// Packs that were deleted.
    pub deleted: Tally,
    /// Packs that nothing refers to, still kept for the grace period: those
    /// condemned now or before, and those too young to be.
    pub held: Tally,
    /// Bytes that the packs in use have above the budget, where nothing more
    /// may be removed.
    pub over_budget: u64,
    /// Index deltas that went into the index table.
    pub deltas_merged: u64,
    /// Caches that refer to packs that are not there: their saver died before
    /// it could tell that they are not.
    pub broken: Vec<(Scope, Key)>,
    /// What was repacked, if that was asked for.
    pub repacked: Option<RepackReport>,
}

impl FlushReport {
    /// What the plan comes to.
    pub(super) fn of(
        now: StoreTime,
        survey: &Survey,
        living: &Living,
        plan: &Plan,
        max_size: Option<u64>,
    ) -> Self {
        let len = |pack: &PackId| survey.lens.get(pack).copied().unwrap_or(0);
        let tally = |packs: &mut dyn Iterator<Item = &PackId>| {
            let packs: Vec<PackId> = packs.copied().collect();
            let bytes = packs.iter().map(len).sum();
            Tally { packs, bytes }
        };
        let used_bytes = living.keys().map(len).sum();
        let living_bytes: u64 = living.values().map(crate::format::Extents::bytes).sum();
        Self {
            now,
            manifests: survey.marks.all.len() as u64,
            manifests_read: survey.marks.read,
            used_packs: living.len() as u64,
            used_bytes,
            dead_bytes: u64::saturating_sub(used_bytes, living_bytes),
            condemned: tally(&mut plan.condemned.iter()),
            pardoned: tally(&mut plan.pardoned.iter()),
            deleted: tally(&mut plan.to_delete().iter()),
            held: tally(&mut plan.held()),
            over_budget: max_size.map_or(0, |max_size| u64::saturating_sub(used_bytes, max_size)),
            broken: broken(survey, plan),
            ..Self::default()
        }
    }
}

impl FlushReport {
    /// Takes over what was really deleted of what was to be.
    pub(super) fn count_deleted(&mut self, deleted: &BTreeSet<PackId>, survey: &Survey) {
        self.deleted.packs.retain(|pack| deleted.contains(pack));
        let lens = self.deleted.packs.iter().filter_map(|pack| survey.lens.get(pack));
        self.deleted.bytes = lens.sum();
    }
}

impl Removed {
    pub(super) fn of((marked, reason): (&Marked, Reason)) -> Self {
        Self {
            scope: marked.listed.scope.clone(),
            key: marked.listed.key.clone(),
            reason,
            last_used: marked.last_used(),
        }
    }
}

/// Caches that stay and need packs that are not there, or will not be.
fn broken(survey: &Survey, plan: &Plan) -> Vec<(Scope, Key)> {
    let lost: BTreeSet<PackId> = plan.to_delete().into_iter().collect();
    let is_lost = |pack: &PackId| lost.contains(pack) || !survey.lens.contains_key(pack);
    let staying = survey.staying();
    let broken = staying.filter(|marked| marked.mark.packs.packs().any(|pack| is_lost(&pack)));
    broken.map(|marked| (marked.listed.scope.clone(), marked.listed.key.clone())).collect()
}
