//! The model: savers, a restorer and flushes, each of which may pause before any
//! of its requests, for ever if it likes. That is also what dying is.

use stateright::{Model, Property};

use crate::flush::{Flush, FlushStep, flush_alone};
use crate::restorer::{Restorer, RestorerStep};
use crate::saver::{Saver, SaverStep};
use crate::setting::{Before, Setting};
use crate::store::{Faults, GcState, KEYS, Manifest, Pack, Packs, SAVERS, SAVES, Save, Store};

/// Flushes that run at the same time, at most.
pub(crate) const FLUSHES: usize = 3;

/// Everything at one moment.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct World {
    store: Store,
    savers: [Saver; SAVERS],
    restorer: Restorer,
    /// In order, since it makes no difference which of them is which.
    pub(crate) flushes: [Flush; FLUSHES],
    /// Runs that no flush has begun yet.
    runs: u8,
}

/// One request, arriving.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Action {
    Saver(usize, SaverStep),
    Flush(usize, FlushStep),
    Restorer(RestorerStep),
    /// A delete that some flush sent.
    Delete(Pack),
}

pub(crate) const GOOD_STAYS_GOOD: &str = "a manifest that was good stays good";
pub(crate) const DOOMED_FIRST: &str = "what is deleted was doomed";
pub(crate) const ONE_DECIDES: &str = "a state is put only over the one that was seen";
pub(crate) const READ_FIRST: &str = "a flush changes only the manifest that it read";
pub(crate) const NOTHING_LEAKS: &str = "two more flushes remove all that is unused";

impl Model for Setting {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        let mut store = Store {
            packs: Packs::one(Pack::OLD),
            manifests: [None; KEYS],
            deltas: [None; SAVES],
            state: GcState::default(),
            deletes: Packs::NONE,
            good: [false; SAVES],
            faults: Faults::default(),
        };
        let old = Manifest { save: Save::OLD, epoch: 0, pack: Pack::OLD, refreshed: 0 };
        if self.before != Before::Garbage {
            store.manifests[0] = Some(old);
            store.say_success(Save::OLD);
        }
        if self.before == Before::SavedAndGarbage {
            store.packs = store.packs.with(Pack::of(Save::new(0, 0)));
        }
        if self.index {
            store.put_delta(&old);
        }
        let mut savers = [Saver::Ended, Saver::Ended];
        savers[..self.savers.len()].fill(Saver::Starting { round: 0 });
        let restorer = if self.restores { Restorer::Starting } else { Restorer::Ended };
        vec![World { store, savers, restorer, flushes: [Flush::Idle; FLUSHES], runs: self.runs }]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        let store = &world.store;
        for (number, saver) in world.savers.iter().enumerate() {
            let key = self.savers.get(number).copied().unwrap_or_default();
            saver.steps(self, store, key, |step| actions.push(Action::Saver(number, step)));
        }
        let running = world.flushes.iter().filter(|flush| **flush != Flush::Idle).count();
        let runs = if running < self.flushes { world.runs } else { 0 };
        for (number, flush) in world.flushes.iter().enumerate() {
            if number == 0 || *flush != world.flushes[number - 1] {
                flush.steps(self, store, runs, |step| actions.push(Action::Flush(number, step)));
            }
        }
        world.restorer.steps(store, |step| actions.push(Action::Restorer(step)));
        actions.extend(store.deletes.iter().map(Action::Delete));
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        let store = &mut next.store;
        match action {
            Action::Saver(number, step) => {
                next.savers[number] = world.savers[number].step(self, store, number, step);
            }
            Action::Flush(number, step) => {
                if step == FlushStep::Begin {
                    next.runs -= 1;
                }
                let run = self.runs - next.runs;
                next.flushes[number] = world.flushes[number].step(self, store, run, step);
                next.flushes.sort_unstable();
            }
            Action::Restorer(step) => next.restorer = world.restorer.step(self, store, step),
            Action::Delete(pack) => {
                store.packs = store.packs.without(pack);
                store.deletes = store.deletes.without(pack);
            }
        }
        (next != *world).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        if self.looks_for_sights { sights(self) } else { promises() }
    }
}

/// What has to hold at every moment, whoever has died by then.
fn promises() -> Vec<Property<Setting>> {
    vec![
        Property::always(GOOD_STAYS_GOOD, |_, world: &World| world.store.good_are_whole()),
        Property::always(DOOMED_FIRST, |_, world: &World| !world.store.faults.undoomed_delete),
        Property::always(ONE_DECIDES, |_, world: &World| !world.store.faults.unseen_state),
        Property::always(READ_FIRST, |_, world: &World| !world.store.faults.unseen_manifest),
        // Where processes may stop for ever, nothing need happen at all, so this is
        // not asked of the paths of the model, but of each of its states by itself.
        Property::always(NOTHING_LEAKS, |setting: &Setting, world: &World| {
            let mut store = world.store.clone();
            for _ in 0..2 {
                flush_alone(setting, &mut store);
            }
            store.packs.minus(store.referred()).is_empty()
                && store.state.condemned.union(store.state.doomed).is_empty()
        }),
    ]
}

/// What has to be seen in the model for it to be worth its name.
fn sights(setting: &Setting) -> Vec<Property<Setting>> {
    let mut sights = vec![
        Property::sometimes("a flush is about to pardon", |_, world: &World| {
            world.flushes.iter().any(|flush| flush.pardons(&world.store))
        }),
        Property::sometimes("a flush is fenced off by another", |_, world: &World| {
            world.flushes.iter().any(|flush| flush.is_fenced_off(&world.store))
        }),
        Property::sometimes("a pack is doomed", |_, world: &World| {
            !world.store.state.doomed.is_empty()
        }),
        Property::sometimes("a saver has to save again", |_, world: &World| {
            world.savers.iter().any(Saver::is_in_second_round)
        }),
    ];
    if setting.repacks {
        sights.push(Property::sometimes("a move comes too late", |_, world: &World| {
            world.flushes.iter().any(|flush| flush.moves_too_late(&world.store))
        }));
        sights.push(Property::sometimes("a filled pack was never used", |_, world: &World| {
            let GcState { condemned, .. } = world.store.state;
            condemned.iter().any(Pack::is_filled)
        }));
    } else {
        sights.push(Property::sometimes("a dead saver's pack is gone", |_, world: &World| {
            !world.store.referred().minus(world.store.packs).is_empty()
        }));
        sights.push(Property::sometimes("two keys share a pack", |_, world: &World| {
            let [first, second] = world.store.manifests;
            first.zip(second).is_some_and(|(first, second)| first.pack == second.pack)
        }));
    }
    sights
}

impl Store {
    fn good_are_whole(&self) -> bool {
        let mut manifests = self.manifests.iter().flatten();
        manifests.all(|manifest| self.packs.has(manifest.pack) || !self.is_good(manifest))
    }
}
