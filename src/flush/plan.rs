//! What a flush makes of each pack: `docs/protocol.md`, rules F2 and F4.
//!
//! Nothing here asks the store: the state, the marks and the listing of packs
//! go in, and the next state comes out.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use crate::format::{Extents, GcState};
use crate::ids::PackId;
use crate::repository::ListedPack;
use crate::store_time::StoreTime;

/// What is alive: the packs that manifests refer to, and what of each.
pub(super) type Living = HashMap<PackId, Extents>;

/// What a flush decides about packs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// Not referred to, and old enough: listed from now on, or listed before and
    /// referred to until now by what this flush has removed.
    pub(super) condemned: BTreeSet<PackId>,
    /// Condemned, and referred to again.
    pub(super) pardoned: BTreeSet<PackId>,
    /// Condemned a grace period ago, and still not referred to: to be deleted.
    pub(super) doomed: BTreeSet<PackId>,
    /// Doomed by a flush that did not see them gone.
    pub(super) left_over: BTreeSet<PackId>,
    /// Condemned before, and not long enough ago.
    pub(super) waiting: BTreeSet<PackId>,
    /// Not referred to, and too young to tell: a save may be about to publish.
    pub(super) young: BTreeSet<PackId>,
}

impl Plan {
    /// Decides. `left` are the packs that removed manifests referred to: who was
    /// restoring one of these has a grace period from now on.
    ///
    /// A repacking that the state announces is over by then: the fence (P2) has
    /// ended it, and the packs that it filled are packs like others.
    pub(super) fn make(
        state: &GcState,
        living: &Living,
        left: &BTreeSet<PackId>,
        packs: &[ListedPack],
        now: StoreTime,
        grace: Duration,
    ) -> Self {
        let mut plan = Self::default();
        for pack in packs {
            let id = pack.id;
            let set = match state.condemned.get(&id) {
                // Dead for good: whoever refers to it never said it succeeded.
                _ if state.doomed.contains(&id) => &mut plan.left_over,
                Some(_) if living.contains_key(&id) => &mut plan.pardoned,
                Some(_) if left.contains(&id) => &mut plan.condemned,
                Some(&since) if now.since(since) >= grace => &mut plan.doomed,
                Some(_) => &mut plan.waiting,
                None if living.contains_key(&id) => continue,
                None if now.since(pack.modified) >= grace => &mut plan.condemned,
                None => &mut plan.young,
            };
            set.insert(id);
        }
        plan
    }

    /// The state that this makes of `state`, before anything is deleted.
    pub(super) fn commit(&self, state: &GcState, now: StoreTime) -> GcState {
        let mut condemned: BTreeMap<PackId, StoreTime> = state.condemned.clone();
        condemned.retain(|pack, _| self.waiting.contains(pack));
        condemned.extend(self.condemned.iter().map(|pack| (*pack, now)));
        let doomed = self.doomed.union(&self.left_over).copied().collect();
        GcState { epoch: state.epoch + 1, condemned, doomed, ..state.clone() }
    }

    /// Packs that a delete is to be sent for.
    pub(super) fn to_delete(&self) -> Vec<PackId> {
        self.left_over.union(&self.doomed).copied().collect()
    }

    /// Packs that nothing refers to and that are there after this flush.
    pub(super) fn held(&self) -> impl Iterator<Item = &PackId> {
        self.condemned.iter().chain(&self.waiting).chain(&self.young)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::pack;
    use super::*;

    const GRACE: Duration = Duration::from_secs(100);

    fn at(seconds: i64) -> StoreTime {
        StoreTime::from_unix(seconds)
    }

    fn set(packs: &[u8]) -> BTreeSet<PackId> {
        packs.iter().map(|&number| pack(number)).collect()
    }

    /// At 1,000 seconds: of packs that are all there since 500, those listed as
    /// condemned since 800 or 950, or doomed, and those referred to.
    fn make(early: &[u8], late: &[u8], doomed: &[u8], living: &[u8]) -> (Plan, GcState) {
        let mut condemned: BTreeMap<_, _> = early.iter().map(|&n| (pack(n), at(800))).collect();
        condemned.extend(late.iter().map(|&n| (pack(n), at(950))));
        let state = GcState { epoch: 7, condemned, doomed: set(doomed), ..GcState::default() };
        let living = living.iter().map(|&n| (pack(n), Extents::default())).collect();
        let packs: Vec<_> = (0..9)
            .map(|n| ListedPack {
                id: pack(n),
                len: 10,
                modified: at(if n == 8 { 950 } else { 500 }),
            })
            .collect();
        let plan = Plan::make(&state, &living, &BTreeSet::new(), &packs, at(1_000), GRACE);
        let next = plan.commit(&state, at(1_000));
        (plan, next)
    }

    #[test]
    fn packs_go_through_their_states() {
        let (plan, next) = make(&[0, 1], &[2, 3], &[4], &[1, 3, 5]);
        assert_eq!(plan.doomed, set(&[0]));
        assert_eq!(plan.pardoned, set(&[1, 3]));
        assert_eq!(plan.waiting, set(&[2]));
        assert_eq!(plan.left_over, set(&[4]));
        assert_eq!(plan.condemned, set(&[6, 7]));
        assert_eq!(plan.young, set(&[8]));
        assert_eq!(next.epoch, 8);
        assert_eq!(
            next.condemned,
            [(pack(2), at(950)), (pack(6), at(1_000)), (pack(7), at(1_000))].into()
        );
        assert_eq!(next.doomed, set(&[0, 4]));
    }

    #[test]
    fn a_doomed_pack_is_never_pardoned() {
        let (plan, next) = make(&[], &[], &[4], &[4]);
        assert_eq!(plan.left_over, set(&[4]));
        assert_eq!(next.doomed, set(&[4]));
    }

    /// A save published its manifest after a flush had looked for such, and
    /// before that one condemned its pack; the next flush removes it.
    #[test]
    fn grace_begins_when_the_last_manifest_goes() {
        let state = GcState { condemned: [(pack(1), at(0))].into(), ..GcState::default() };
        let packs = [ListedPack { id: pack(1), len: 10, modified: at(0) }];
        let plan = Plan::make(&state, &Living::new(), &set(&[1]), &packs, at(1_000), GRACE);
        assert_eq!(plan.condemned, set(&[1]));
        assert_eq!(plan.commit(&state, at(1_000)).condemned, [(pack(1), at(1_000))].into());
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let state = GcState {
            condemned: [(pack(1), at(0))].into(),
            doomed: set(&[2]),
            ..GcState::default()
        };
        let plan = Plan::make(&state, &Living::new(), &BTreeSet::new(), &[], at(1_000), GRACE);
        let next = plan.commit(&state, at(1_000));
        assert!(next.condemned.is_empty() && next.doomed.is_empty());
    }
}
