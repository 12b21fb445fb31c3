//! What a flush does to repack: rules P1 and P2.
//!
//! It empties one pack, any that a manifest names, into a new one.

use crate::setting::Setting;
use crate::store::{GcState, KEYS, Manifest, Packs, Repack, Store};
use crate::weakening::Weakening;

/// The manifests that a flush read, by key.
pub(crate) type Read = [Option<Manifest>; KEYS];

/// A flush that has announced what it empties.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Repacking {
    repack: Repack,
    is_filled: bool,
    /// The manifests that are still to be moved, as they were read.
    read: Read,
}

/// One request of it.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum RepackStep {
    Fill,
    ReadAgain(usize),
    Move(usize),
}

impl Repacking {
    pub(crate) fn new(repack: Repack, read: &Read) -> Self {
        let read = read.map(|read| read.filter(|manifest| manifest.pack == repack.emptied));
        Self { repack, is_filled: false, read }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.is_filled && self.read.iter().all(Option::is_none)
    }

    /// Whether a manifest is no longer what it read.
    pub(crate) fn is_late(&self, store: &Store) -> bool {
        let mut read = self.read.iter().zip(&store.manifests);
        self.is_filled && read.any(|(read, there)| read.is_some() && read != there)
    }

    pub(crate) fn steps(&self, setting: &Setting, store: &Store, mut may: impl FnMut(RepackStep)) {
        if !self.is_filled {
            may(RepackStep::Fill);
            return;
        }
        for key in (0..KEYS).filter(|&key| self.read[key].is_some()) {
            may(RepackStep::Move(key));
            if setting.is(Weakening::MoveAsReadLater)
                && store.manifests[key].is_some_and(|there| there.pack == self.repack.emptied)
            {
                may(RepackStep::ReadAgain(key));
            }
        }
    }

    pub(crate) fn step(&mut self, setting: &Setting, store: &mut Store, step: RepackStep) {
        match step {
            RepackStep::Fill => {
                self.is_filled = true;
                if store.packs.has(self.repack.emptied) {
                    store.packs = store.packs.with(self.repack.filled);
                } else {
                    self.read = [None; KEYS];
                }
            }
            RepackStep::ReadAgain(key) => self.read[key] = store.manifests[key],
            RepackStep::Move(key) => {
                let read = self.read[key].take().unwrap();
                let moved = Manifest { pack: self.repack.filled, ..read };
                let whatever = setting.is(Weakening::MoveAnyVersion);
                replace(store, key, &read, moved, whatever);
            }
        }
    }
}

/// F7: puts a manifest if what is there is what was read.
fn replace(store: &mut Store, key: usize, read: &Manifest, new: Manifest, whatever: bool) {
    let is_read = store.manifests[key] == Some(*read);
    if is_read || whatever {
        store.faults.unseen_manifest |= !is_read;
        store.manifests[key] = Some(new);
    }
}

/// P2: puts a manifest that names a pack which somebody else was emptying once more,
/// as another version.
pub(crate) fn fence(setting: &Setting, store: &mut Store, key: usize, read: &Manifest) {
    let number = u8::from(!setting.is(Weakening::FenceSameVersion));
    let fenced = Manifest { refreshed: read.refreshed + number, ..*read };
    replace(store, key, read, fenced, setting.is(Weakening::FenceAnyVersion));
}

/// P2: the manifests to fence before the announcement in this state is taken off.
pub(crate) fn to_fence(setting: &Setting, seen: &GcState, read: &Read) -> Read {
    match seen.repack {
        Some(repack) if !setting.is(Weakening::TakeOffUnfenced) => {
            read.map(|read| read.filter(|manifest| manifest.pack == repack.emptied))
        }
        _ => [None; KEYS],
    }
}

/// P1: what a flush that leaves an announcement as it is may condemn.
pub(crate) fn spare(setting: &Setting, repack: &Repack, packs: Packs) -> Packs {
    if setting.is(Weakening::CondemnFilled) { packs } else { packs.without(repack.filled) }
}
