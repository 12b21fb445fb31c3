//! A flush: rules F1 to F7.
//!
//! Two things are left open, and so every clock is: a flush may find any part of
//! what it could condemn or doom too young, and any manifest expired.
//!
//! Packs are listed at the commit, in the model. What was listed before and is gone
//! by then was doomed in the state that the flush read, or the commit fails; what
//! came since may be left out as too young.

use crate::setting::Setting;
use crate::store::{GcState, Manifest, Packs, Store};
use crate::weakening::Weakening;

/// Where a flush is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Flush {
    /// It does not run.
    Idle,
    /// It has read the state (and, where that is done, not claimed it yet).
    Unclaimed { seen: GcState, run: u8 },
    /// It reads manifests, from `next` on, and removes the one that it found expired.
    Marking {
        seen: Option<GcState>,
        next: usize,
        marked: Packs,
        expired: Option<(usize, Manifest)>,
    },
    /// It has committed, and waits for its deletes.
    Committed { seen: GcState, deleting: Packs },
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
    Commit(Decision),
    Forget,
}

/// What a commit does to packs. What is condemned and neither doomed nor pardoned
/// stays condemned: it is too early for it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Decision {
    condemned: Packs,
    doomed: Packs,
    pardoned: Packs,
}

/// What a flush could decide: everything that is old enough for it.
///
/// F2: only what is condemned already, and without manifest again, is doomed.
fn ripest(setting: &Setting, seen: &GcState, marked: Packs, packs: Packs) -> Decision {
    let fresh = packs.minus(marked).minus(seen.condemned).minus(seen.doomed);
    let unmarked = seen.condemned.minus(marked);
    let mut decision =
        Decision { condemned: fresh, doomed: unmarked, pardoned: seen.condemned.common(marked) };
    if setting.is(Weakening::DoomAtFirstSight) {
        decision.condemned = Packs::NONE;
        decision.doomed = fresh.union(unmarked);
    }
    if setting.is(Weakening::DoomUnmarked) {
        decision.pardoned = Packs::NONE;
        decision.doomed = seen.condemned;
    }
    if setting.is(Weakening::PardonDoomed) {
        decision.pardoned = decision.pardoned.union(seen.doomed.common(marked));
    }
    decision
}

impl Decision {
    /// The state that follows, with the next epoch (F3).
    fn apply(&self, setting: &Setting, seen: &GcState, packs: Packs) -> GcState {
        let condemned =
            seen.condemned.union(self.condemned).minus(self.doomed).minus(self.pardoned);
        let doomed = seen.doomed.union(self.doomed).minus(self.pardoned);
        let is_silent = setting.is(Weakening::CondemnSilently) && self.doomed.is_empty();
        let table = match (setting.index, setting.is(Weakening::StaleTable)) {
            (false, _) => Packs::NONE,
            (true, true) if !seen.table.is_empty() => seen.table,
            (true, _) => packs.minus(doomed),
        };
        GcState { epoch: seen.epoch + u8::from(!is_silent), condemned, doomed, table, claim: 0 }
    }

    /// F4: every flush deletes all that is doomed, whoever doomed it.
    fn deletes(&self, setting: &Setting, state: &GcState) -> Packs {
        if setting.is(Weakening::DeleteOwnOnly) { self.doomed } else { state.doomed }
    }
}

impl Flush {
    /// Whether its commit will fail.
    pub(crate) fn is_fenced_off(&self, store: &Store) -> bool {
        matches!(self, Self::Marking { seen: Some(seen), .. } if *seen != store.state)
    }

    /// Whether it will pardon a pack.
    pub(crate) fn pardons(&self, store: &Store) -> bool {
        matches!(self, Self::Marking { seen: Some(seen), marked, .. }
            if *seen == store.state && !seen.condemned.common(*marked).is_empty())
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
            Self::Marking { next, expired, .. } if *next < setting.keys => {
                may(FlushStep::Mark);
                if setting.expires && expired.is_none() && store.manifests[*next].is_some() {
                    may(FlushStep::Judge);
                }
            }
            Self::Marking { expired: Some(_), .. } => may(FlushStep::Remove),
            Self::Marking { seen: None, .. } => may(FlushStep::ReadStateLate),
            Self::Marking { seen: Some(seen), marked, .. } => {
                let ripest = ripest(setting, seen, *marked, store.packs);
                for condemned in ripest.condemned.subsets() {
                    for doomed in ripest.doomed.subsets() {
                        may(FlushStep::Commit(Decision { condemned, doomed, ..ripest }));
                    }
                }
            }
            Self::Committed { deleting, .. } => {
                let is_confirmed = deleting.common(store.packs).is_empty();
                if is_confirmed || setting.is(Weakening::ForgetEarly) {
                    may(FlushStep::Forget);
                }
            }
        }
    }

    pub(crate) fn step(
        &self,
        setting: &Setting,
        store: &mut Store,
        run: u8,
        step: FlushStep,
    ) -> Self {
        match (*self, step) {
            (Self::Idle, _) => begin(setting, store, run),
            (Self::Unclaimed { seen, run }, _) => {
                let claimed = GcState { claim: run, ..seen };
                if put_state(setting, store, &seen, claimed) {
                    marking(Some(claimed))
                } else {
                    Self::Idle
                }
            }
            (Self::Marking { seen, next, marked, expired }, FlushStep::Mark) => {
                let named = store.manifests[next].map_or(Packs::NONE, |m| Packs::one(m.pack));
                Self::Marking { seen, next: next + 1, marked: marked.union(named), expired }
            }
            (Self::Marking { seen, next, marked, .. }, FlushStep::Judge) => {
                let expired = store.manifests[next].map(|manifest| (next, manifest));
                Self::Marking { seen, next: next + 1, marked, expired }
            }
            (Self::Marking { seen, next, marked, expired }, FlushStep::Remove) => {
                let (key, judged) = expired.unwrap();
                let is_gone = remove(setting, store, key, &judged);
                let kept = if is_gone { Packs::NONE } else { Packs::one(judged.pack) };
                Self::Marking { seen, next, marked: marked.union(kept), expired: None }
            }
            (Self::Marking { next, marked, expired, .. }, FlushStep::ReadStateLate) => {
                Self::Marking { seen: Some(store.state), next, marked, expired }
            }
            (Self::Marking { seen, .. }, FlushStep::Commit(decision)) => {
                commit(setting, store, &seen.unwrap(), &decision)
            }
            (Self::Committed { seen, deleting }, _) => {
                put_state(setting, store, &seen, forget(seen, deleting));
                Self::Idle
            }
            (Self::Marking { .. }, _) => unreachable!("{step:?} is no step of a flush that marks"),
        }
    }
}

fn marking(seen: Option<GcState>) -> Flush {
    Flush::Marking { seen, next: 0, marked: Packs::NONE, expired: None }
}

/// F1: the state is read first, and manifests afterwards.
fn begin(setting: &Setting, store: &Store, run: u8) -> Flush {
    if setting.is(Weakening::MarkBeforeState) {
        marking(None)
    } else if setting.claims {
        Flush::Unclaimed { seen: store.state, run }
    } else {
        marking(Some(store.state))
    }
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
        store.faults.unjudged_removal = true;
    }
    store.manifests[key] = None;
    true
}

/// F4: deletes are sent only after the commit.
fn commit(setting: &Setting, store: &mut Store, seen: &GcState, decision: &Decision) -> Flush {
    let state = decision.apply(setting, seen, store.packs);
    let deleting = decision.deletes(setting, &state);
    if setting.is(Weakening::DeleteBeforeCommit) {
        send_deletes(store, deleting);
    }
    if !put_state(setting, store, seen, state) {
        return Flush::Idle;
    }
    send_deletes(store, deleting);
    if deleting.is_empty() { Flush::Idle } else { Flush::Committed { seen: state, deleting } }
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
    let decision = ripest(setting, &seen, store.referred(), store.packs);
    let state = decision.apply(setting, &seen, store.packs);
    let deleting = decision.deletes(setting, &state);
    store.packs = store.packs.minus(deleting);
    store.state = forget(state, deleting);
}
