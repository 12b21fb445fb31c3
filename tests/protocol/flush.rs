//! A flush: rules F1 to F7.
//!
//! Two things are left open, and so every clock is: a flush may find any part of
//! what it could condemn or doom too young, and any manifest expired.
//!
//! Packs are listed at the commit, in the model. What was listed before and is gone
//! by then was doomed in the state that the flush read, or the commit fails; what
//! came since may be left out as too young.

use crate::decision::Decision;
use crate::repack::{self, Read, RepackStep, Repacking};
use crate::setting::Setting;
use crate::store::{GcState, KEYS, Manifest, Pack, Packs, Repack, Store};
use crate::weakening::Weakening;

/// Where a flush is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Flush {
    /// It does not run.
    Idle,
    /// It has read the state, and not claimed it yet.
    Unclaimed { seen: GcState },
    /// It reads manifests, and removes what expired.
    Marking { seen: Option<GcState>, marks: Marks },
    /// It knows what is used. Some manifests it may have to fence first (P2).
    Deciding { seen: GcState, marks: Marks, to_fence: Read },
    /// It deletes, and moves manifests if it repacks.
    Committed { seen: GcState, deleting: Packs, repacking: Option<Repacking> },
}

/// What a flush has seen of the manifests.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub(crate) struct Marks {
    /// The key that is read next.
    next: usize,
    /// The packs that manifests name.
    marked: Packs,
    /// A manifest that is to be removed.
    expired: Option<(usize, Manifest)>,
    /// What was read, if the flush may have to put it anew.
    read: Read,
}

/// One request of a flush, and what follows from its answer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum FlushStep {
    Begin,
    Claim,
    /// Reads the next manifest, and finds it good to stay.
    Mark,
    /// Reads the next manifest, and finds it expired.
    Judge,
    Remove,
    ReadStateLate,
    Fence(usize),
    Commit(Decision, Plan),
    Repack(RepackStep),
    Forget,
}

/// What a commit does to the announcement of repacking.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Plan {
    /// There is none afterwards.
    None,
    /// The one that is there stays.
    Leave,
    /// This pack will be emptied.
    Empty(Pack),
}

impl Flush {
    /// Whether its commit will fail.
    pub(crate) fn is_fenced_off(&self, store: &Store) -> bool {
        matches!(self, Self::Deciding { seen, .. } if *seen != store.state)
    }

    /// Whether its commit will pardon a pack.
    pub(crate) fn pardons(&self, store: &Store) -> bool {
        matches!(self, Self::Deciding { seen, marks, .. }
            if *seen == store.state && !seen.condemned.common(marks.marked).is_empty())
    }

    /// Whether it will move a manifest that is no longer what it read.
    pub(crate) fn moves_too_late(&self, store: &Store) -> bool {
        matches!(self, Self::Committed { repacking: Some(repacking), .. }
            if repacking.is_late(store))
    }

    /// Everything that it may do next.
    pub(crate) fn steps(
        &self,
        setting: &Setting,
        store: &Store,
        runs: u8,
        mut may: impl FnMut(FlushStep),
    ) {
        match self {
            Self::Idle if runs > 0 => may(FlushStep::Begin),
            Self::Idle => {}
            Self::Unclaimed { .. } => may(FlushStep::Claim),
            Self::Marking { marks, .. } if marks.next < setting.keys => {
                may(FlushStep::Mark);
                let is_there = store.manifests[marks.next].is_some();
                if setting.expires && marks.expired.is_none() && is_there {
                    may(FlushStep::Judge);
                }
            }
            Self::Marking { marks, .. } if marks.expired.is_some() => may(FlushStep::Remove),
            Self::Marking { .. } => may(FlushStep::ReadStateLate),
            Self::Deciding { seen, marks, to_fence } => {
                let keys = (0..KEYS).filter(|&key| to_fence[key].is_some());
                keys.map(FlushStep::Fence).for_each(&mut may);
                let is_fenced = to_fence.iter().all(Option::is_none);
                marks.decisions(setting, store, seen, is_fenced, |decision, plan| {
                    may(FlushStep::Commit(decision, plan));
                });
            }
            Self::Committed { repacking: Some(repacking), .. } if !repacking.is_done() => {
                repacking.steps(setting, store, |step| may(FlushStep::Repack(step)));
            }
            Self::Committed { deleting, .. } => {
                let is_confirmed = deleting.common(store.packs).is_empty();
                if is_confirmed || setting.is(Weakening::ForgetEarly) {
                    may(FlushStep::Forget);
                }
            }
        }
    }

    /// What a step of the run of this number does, and where it leads.
    pub(crate) fn step(
        &self,
        setting: &Setting,
        store: &mut Store,
        run: u8,
        step: FlushStep,
    ) -> Self {
        match (*self, step) {
            (Self::Idle, _) => begin(setting, store),
            (Self::Unclaimed { seen }, _) => {
                let claimed = GcState { claim: run, ..seen };
                if put_state(setting, store, &seen, claimed) {
                    Self::Marking { seen: Some(claimed), marks: Marks::default() }
                } else {
                    Self::Idle
                }
            }
            (Self::Marking { marks, .. }, FlushStep::ReadStateLate) => {
                decide(setting, Some(store.state), marks)
            }
            (Self::Marking { seen, mut marks }, step) => {
                marks.step(setting, store, step);
                if marks.next == setting.keys && marks.expired.is_none() {
                    decide(setting, seen, marks)
                } else {
                    Self::Marking { seen, marks }
                }
            }
            (Self::Deciding { seen, marks, mut to_fence }, FlushStep::Fence(key)) => {
                repack::fence(setting, store, key, &to_fence[key].take().unwrap());
                Self::Deciding { seen, marks, to_fence }
            }
            (Self::Deciding { seen, marks, .. }, FlushStep::Commit(decision, plan)) => {
                commit(setting, store, run, (&seen, &marks), &decision, plan)
            }
            (Self::Committed { seen, deleting, repacking }, FlushStep::Repack(step)) => {
                let mut repacking = repacking.unwrap();
                repacking.step(setting, store, step);
                Self::Committed { seen, deleting, repacking: Some(repacking) }
            }
            (Self::Committed { seen, deleting, repacking }, _) => {
                let left = if repacking.is_some() { None } else { seen.repack };
                let next = GcState { repack: left, ..forget(seen, deleting) };
                put_state(setting, store, &seen, next);
                Self::Idle
            }
            (Self::Deciding { .. }, _) => unreachable!("{step:?} is no step of a decision"),
        }
    }
}

impl Plan {
    fn repack(self, run: u8) -> Option<Repack> {
        match self {
            Self::None | Self::Leave => None,
            Self::Empty(emptied) => Some(Repack { emptied, filled: Pack::filled(run) }),
        }
    }

    /// P1: what the state says of it.
    fn announce(self, setting: &Setting, seen: &GcState, run: u8) -> Option<Repack> {
        match self {
            Self::Leave => seen.repack,
            _ if setting.is(Weakening::Unannounced) => None,
            _ => self.repack(run),
        }
    }
}

impl Marks {
    fn step(&mut self, setting: &Setting, store: &mut Store, step: FlushStep) {
        match step {
            FlushStep::Judge => {
                self.expired = store.manifests[self.next].map(|manifest| (self.next, manifest));
                self.next += 1;
            }
            FlushStep::Remove => {
                let (key, judged) = self.expired.take().unwrap();
                if !remove(setting, store, key, &judged) {
                    self.keep(setting, key, judged);
                }
            }
            _ => {
                if let Some(manifest) = store.manifests[self.next] {
                    self.keep(setting, self.next, manifest);
                }
                self.next += 1;
            }
        }
    }

    /// All that may be committed.
    fn decisions(
        &self,
        setting: &Setting,
        store: &Store,
        seen: &GcState,
        is_fenced: bool,
        mut may: impl FnMut(Decision, Plan),
    ) {
        let mut may_commit = |plan, packs| {
            let ripest = Decision::ripest(setting, seen, self.marked, packs);
            ripest.or_less(setting).for_each(|decision| may(decision, plan));
        };
        if let Some(repack) = seen.repack {
            may_commit(Plan::Leave, repack::spare(setting, &repack, store.packs));
        }
        if is_fenced {
            may_commit(Plan::None, store.packs);
            for manifest in self.read.iter().flatten() {
                may_commit(Plan::Empty(manifest.pack), store.packs);
            }
        }
    }

    fn keep(&mut self, setting: &Setting, key: usize, manifest: Manifest) {
        self.marked = self.marked.with(manifest.pack);
        if setting.repacks {
            self.read[key] = Some(manifest);
        }
    }
}

/// F1: the state is read first, and manifests afterwards.
fn begin(setting: &Setting, store: &Store) -> Flush {
    let marks = Marks::default();
    if setting.is(Weakening::MarkBeforeState) {
        Flush::Marking { seen: None, marks }
    } else if setting.claims {
        Flush::Unclaimed { seen: store.state }
    } else {
        Flush::Marking { seen: Some(store.state), marks }
    }
}

fn decide(setting: &Setting, seen: Option<GcState>, marks: Marks) -> Flush {
    let Some(seen) = seen else { return Flush::Marking { seen, marks } };
    let to_fence = repack::to_fence(setting, &seen, &marks.read);
    Flush::Deciding { seen, marks, to_fence }
}

/// F6: compare-and-swap. Whether it was put.
fn put_state(setting: &Setting, store: &mut Store, seen: &GcState, state: GcState) -> bool {
    if store.state != *seen {
        if !setting.is(Weakening::PutState) {
            return false;
        }
        store.faults.unseen_state = true;
    }
    store.state = state;
    true
}

/// F7: removes the manifest if it is still the one that was judged. Whether it is
/// gone.
fn remove(setting: &Setting, store: &mut Store, key: usize, judged: &Manifest) -> bool {
    let Some(there) = store.manifests[key] else { return true };
    if there != *judged {
        if !setting.is(Weakening::RemoveAnyVersion) {
            return setting.is(Weakening::CountAsRemoved);
        }
        store.faults.unseen_manifest = true;
    }
    store.manifests[key] = None;
    true
}

/// F4: deletes are sent only after the commit.
fn commit(
    setting: &Setting,
    store: &mut Store,
    run: u8,
    (seen, marks): (&GcState, &Marks),
    decision: &Decision,
    plan: Plan,
) -> Flush {
    let next = decision.apply(setting, seen, store.packs);
    let next = GcState { repack: plan.announce(setting, seen, run), ..next };
    let deleting = decision.deletes(setting, &next);
    if setting.is(Weakening::DeleteBeforeCommit) {
        send_deletes(store, deleting);
    }
    if !put_state(setting, store, seen, next) {
        return Flush::Idle;
    }
    send_deletes(store, deleting);
    let repacking = plan.repack(run).map(|repack| Repacking::new(repack, &marks.read));
    if deleting.is_empty() && repacking.is_none() {
        return Flush::Idle;
    }
    Flush::Committed { seen: next, deleting, repacking }
}

fn send_deletes(store: &mut Store, deleting: Packs) {
    if !deleting.minus(store.state.doomed).is_empty() {
        store.faults.undoomed_delete = true;
    }
    store.deletes = store.deletes.union(deleting.common(store.packs));
}

/// F5: what is known to be deleted.
fn forget(seen: GcState, deleted: Packs) -> GcState {
    GcState { doomed: seen.doomed.minus(deleted), ..seen }
}

/// A whole flush while nobody else does anything, with everything old enough.
pub(crate) fn flush_alone(setting: &Setting, store: &mut Store) {
    let seen = store.state;
    let decision = Decision::ripest(setting, &seen, store.referred(), store.packs);
    let state = decision.apply(setting, &seen, store.packs);
    let deleting = decision.deletes(setting, &state);
    store.packs = store.packs.minus(deleting);
    store.state = forget(state, deleting);
}
