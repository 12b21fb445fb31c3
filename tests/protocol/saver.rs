//! A saver: rules S1 to S5.
//!
//! It wants the one content there is. Whether something else in its manifest is
//! new, so that it publishes one although the pack is the same, is left open: it may
//! do either.

use crate::knowledge::Knowledge;
use crate::setting::Setting;
use crate::store::{Manifest, Pack, Save, Store};
use crate::weakening::Weakening;

/// Where a saver is.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Saver {
    /// Before its first request, or at the top again.
    Starting { round: u8 },
    /// It has read the manifest of this key, its own or a similar one.
    Near { round: u8, near: usize, manifest: Option<Manifest> },
    /// It has read the state, and uses what it knows.
    Looked { round: u8, knowledge: Knowledge },
    /// Its manifest is there.
    Published { round: u8, manifest: Manifest },
    /// Its second look found a higher epoch, and its pack not listed.
    Unsure { round: u8, manifest: Manifest },
    /// It has said that it succeeded, or has ended without a word.
    Ended,
}

/// One request of a saver, and what follows from its answer.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum SaverStep {
    ReadManifest(usize),
    ReadState,
    /// The same, and the index table that it names.
    ReadStateAndTable,
    ReadDelta(Pack),
    Ask(Pack),
    Upload,
    /// No request: it says that it succeeded.
    SayUnchanged,
    Publish(Pack),
    PutDelta,
    LookAgain,
    AskAgain,
}

impl Saver {
    pub(crate) fn is_in_second_round(&self) -> bool {
        match self {
            Self::Starting { round }
            | Self::Near { round, .. }
            | Self::Looked { round, .. }
            | Self::Published { round, .. }
            | Self::Unsure { round, .. } => *round > 0,
            Self::Ended => false,
        }
    }

    /// Everything that the saver of this key may do next.
    pub(crate) fn steps(
        &self,
        setting: &Setting,
        store: &Store,
        key: usize,
        mut may: impl FnMut(SaverStep),
    ) {
        match self {
            Self::Starting { .. } if setting.is(Weakening::StateBeforeManifest) => {
                may(SaverStep::ReadState);
            }
            Self::Starting { .. } => (0..setting.keys).map(SaverStep::ReadManifest).for_each(may),
            Self::Near { manifest, near, .. } => {
                may(SaverStep::ReadState);
                if !store.state.table.is_empty() {
                    may(SaverStep::ReadStateAndTable);
                }
                if setting.is(Weakening::UnchangedUnseen) && *near == key && manifest.is_some() {
                    may(SaverStep::SayUnchanged);
                }
            }
            Self::Looked { knowledge, .. } => {
                let manifests = (0..setting.keys).filter(|&near| {
                    let is_own = near == key;
                    store.manifests[near].is_some()
                        && (!is_own || setting.is(Weakening::StateBeforeManifest))
                });
                manifests.map(SaverStep::ReadManifest).for_each(&mut may);
                store.told().map(SaverStep::ReadDelta).for_each(&mut may);
                knowledge.doubtful().iter().map(SaverStep::Ask).for_each(&mut may);
                knowledge.usable().iter().map(SaverStep::Publish).for_each(&mut may);
                if knowledge.usable().is_empty() {
                    may(SaverStep::Upload);
                }
                if knowledge.unchanged().is_some() {
                    may(SaverStep::SayUnchanged);
                }
            }
            Self::Published { manifest, .. } => {
                let is_new = manifest.pack == Pack::of(manifest.save);
                if setting.index && is_new && store.delta(manifest.pack).is_none() {
                    may(SaverStep::PutDelta);
                }
                may(SaverStep::LookAgain);
            }
            Self::Unsure { .. } => may(SaverStep::AskAgain),
            Self::Ended => {}
        }
    }

    pub(crate) fn step(
        &self,
        setting: &Setting,
        store: &mut Store,
        number: usize,
        step: SaverStep,
    ) -> Self {
        let key = setting.savers[number];
        match self.clone() {
            Self::Starting { round } => match step {
                SaverStep::ReadManifest(near) => {
                    Self::Near { round, near, manifest: store.manifests[near] }
                }
                _ => Self::Looked { round, knowledge: Knowledge::new(setting, &store.state) },
            },
            Self::Near { manifest, .. } if step == SaverStep::SayUnchanged => {
                succeed(store, &manifest.unwrap())
            }
            Self::Near { round, near, manifest } => {
                let mut knowledge = Knowledge::new(setting, &store.state);
                match manifest {
                    Some(own) if near == key => knowledge.hear_own(setting, &own),
                    Some(other) => knowledge.hear(setting, other.pack, other.epoch),
                    None => {}
                }
                if step == SaverStep::ReadStateAndTable {
                    knowledge.hear_table(&store.state);
                }
                Self::Looked { round, knowledge }
            }
            Self::Looked { round, knowledge } => {
                use_knowledge(setting, store, (number, round), knowledge, step)
            }
            Self::Published { round, manifest } => match step {
                SaverStep::PutDelta => {
                    store.put_delta(&manifest);
                    self.clone()
                }
                _ => look_again(setting, store, round, manifest),
            },
            Self::Unsure { round, manifest } => {
                if store.packs.has(manifest.pack) || setting.is(Weakening::SecondLookUnasked) {
                    succeed(store, &manifest)
                } else {
                    again(setting, round)
                }
            }
            Self::Ended => unreachable!("it takes no step any more"),
        }
    }
}

/// From S1 to the manifest: learning, asking, uploading.
fn use_knowledge(
    setting: &Setting,
    store: &mut Store,
    (number, round): (usize, u8),
    mut knowledge: Knowledge,
    step: SaverStep,
) -> Saver {
    let key = setting.savers[number];
    let save = Save::new(number, round);
    match step {
        SaverStep::ReadManifest(near) => match &store.manifests[near] {
            Some(own) if near == key => knowledge.hear_own(setting, own),
            Some(other) => knowledge.hear(setting, other.pack, other.epoch),
            None => {}
        },
        SaverStep::ReadDelta(pack) => knowledge.hear(setting, pack, store.delta(pack).unwrap()),
        SaverStep::Ask(pack) => knowledge.asked(pack, store.packs.has(pack)),
        SaverStep::Upload => {
            let pack = Pack::of(save);
            store.packs = store.packs.with(pack);
            knowledge.uploaded(pack);
        }
        SaverStep::SayUnchanged => return succeed(store, &knowledge.unchanged().unwrap()),
        SaverStep::Publish(pack) => {
            let manifest = Manifest { save, epoch: knowledge.epoch(), pack, refreshed: 0 };
            return publish(setting, store, key, round, manifest);
        }
        _ => unreachable!("{step:?} is no step between the looks"),
    }
    Saver::Looked { round, knowledge }
}

/// S3: the manifest carries the epoch that was read at S1.
fn publish(
    setting: &Setting,
    store: &mut Store,
    key: usize,
    round: u8,
    manifest: Manifest,
) -> Saver {
    let recorded =
        if setting.is(Weakening::RecordLaterEpoch) { store.state.epoch } else { manifest.epoch };
    store.manifests[key] = Some(Manifest { epoch: recorded, ..manifest });
    if setting.is(Weakening::NoSecondLook) {
        return succeed(store, &manifest);
    }
    Saver::Published { round, manifest }
}

/// S4: the state, read once more.
fn look_again(setting: &Setting, store: &mut Store, round: u8, manifest: Manifest) -> Saver {
    if store.state.epoch == manifest.epoch {
        succeed(store, &manifest)
    } else if store.state.lists(manifest.pack) {
        again(setting, round)
    } else {
        Saver::Unsure { round, manifest }
    }
}

fn again(setting: &Setting, round: u8) -> Saver {
    if round + 1 < setting.rounds { Saver::Starting { round: round + 1 } } else { Saver::Ended }
}

fn succeed(store: &mut Store, manifest: &Manifest) -> Saver {
    store.say_success(manifest.save);
    Saver::Ended
}
