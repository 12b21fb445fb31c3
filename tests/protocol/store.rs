//! What all processes share: packs, manifests and the state of the collection, each
//! request on them atomic, and what the properties need to know of the past.
//!
//! Packs do not interact: each rule of the protocol speaks of one pack at a time. So
//! the model follows one content. Every pack holds it, and every manifest names the
//! one pack that it takes it from.

use std::fmt;

/// Keys of manifests, at most.
pub(crate) const KEYS: usize = 2;

/// Savers, at most.
pub(crate) const SAVERS: usize = 2;

/// Rounds of a saver, at most.
const ROUNDS: u8 = 2;

/// Saves: the one before, and each saver's rounds.
pub(crate) const SAVES: usize = 1 + SAVERS * ROUNDS as usize;

/// Counts the commits of flushes.
pub(crate) type Epoch = u8;

/// A pack's id. Ids are given out by save, so none comes back.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Pack(u8);

impl Pack {
    /// The pack that was there before.
    pub(crate) const OLD: Self = Self(0);

    /// The pack that this run of a flush may fill.
    pub(crate) fn filled(run: u8) -> Self {
        Self(SAVES as u8 + run)
    }

    pub(crate) fn is_filled(self) -> bool {
        usize::from(self.0) >= SAVES
    }

    /// The pack that this save may upload.
    pub(crate) fn of(save: Save) -> Self {
        Self(save.0)
    }
}

impl fmt::Debug for Pack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "p{}", self.0)
    }
}

/// A set of packs.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub(crate) struct Packs(u16);

impl Packs {
    pub(crate) const NONE: Self = Self(0);

    pub(crate) fn one(pack: Pack) -> Self {
        Self(1 << pack.0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn has(self, pack: Pack) -> bool {
        self.0 & (1 << pack.0) != 0
    }

    pub(crate) fn with(self, pack: Pack) -> Self {
        Self(self.0 | (1 << pack.0))
    }

    pub(crate) fn without(self, pack: Pack) -> Self {
        self.minus(Self::one(pack))
    }

    pub(crate) fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(crate) fn minus(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    pub(crate) fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(crate) fn iter(self) -> impl Iterator<Item = Pack> {
        (0..16).map(Pack).filter(move |&pack| self.has(pack))
    }

    /// All its subsets, itself first.
    pub(crate) fn subsets(self) -> impl Iterator<Item = Self> {
        let mut next = Some(self);
        std::iter::from_fn(move || {
            let subset = next?;
            next = (subset.0 != 0).then(|| Self((subset.0 - 1) & self.0));
            Some(subset)
        })
    }
}

impl fmt::Debug for Packs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

/// One publication of a manifest: which saver's, and in which of its rounds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Save(u8);

impl Save {
    /// The one that made the manifest that was there before.
    pub(crate) const OLD: Self = Self(0);

    pub(crate) fn new(saver: usize, round: u8) -> Self {
        let save = 1 + 2 * u8::try_from(saver).unwrap() + round;
        assert!(usize::from(save) < SAVES);
        Self(save)
    }
}

impl fmt::Debug for Save {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "s{}", self.0)
    }
}

/// A manifest. Two are the same version if they are equal: a version is an entity
/// tag of the contents, and contents have the save's time in them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Manifest {
    pub(crate) save: Save,
    pub(crate) epoch: Epoch,
    pub(crate) pack: Pack,
    /// A refresh may change this number. It may as well leave all as it is, and
    /// with it the version.
    pub(crate) refreshed: u8,
}

/// `gc/state`. Its version, too, is its contents.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub(crate) struct GcState {
    pub(crate) epoch: Epoch,
    pub(crate) condemned: Packs,
    pub(crate) doomed: Packs,
    /// The packs in the index table that it names.
    pub(crate) table: Packs,
    /// The number of the run that claimed it.
    pub(crate) claim: u8,
    /// What is being repacked (P1).
    pub(crate) repack: Option<Repack>,
}

/// What a flush announces before it repacks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Repack {
    pub(crate) emptied: Pack,
    pub(crate) filled: Pack,
}

impl GcState {
    pub(crate) fn lists(self, pack: Pack) -> bool {
        self.condemned.has(pack) || self.doomed.has(pack)
    }
}

/// What has happened that never may.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub(crate) struct Faults {
    /// A delete was sent for a pack that no committed state doomed.
    pub(crate) undoomed_delete: bool,
    /// A state was put over one that its writer had not seen.
    pub(crate) unseen_state: bool,
    /// A flush removed or replaced a manifest that is not the one it read.
    pub(crate) unseen_manifest: bool,
}

/// The shared store.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Store {
    pub(crate) packs: Packs,
    pub(crate) manifests: [Option<Manifest>; KEYS],
    /// Per pack, the epoch of the index delta that tells of it, if there is one.
    pub(crate) deltas: [Option<Epoch>; SAVES],
    pub(crate) state: GcState,
    /// Packs whose delete was sent. It may arrive at any time from then on, more
    /// than once, and after its sender died.
    pub(crate) deletes: Packs,
    /// Per save, whether a saver said that it succeeded.
    pub(crate) good: [bool; SAVES],
    pub(crate) faults: Faults,
}

impl Store {
    pub(crate) fn say_success(&mut self, save: Save) {
        self.good[usize::from(save.0)] = true;
    }

    pub(crate) fn is_good(&self, manifest: &Manifest) -> bool {
        self.good[usize::from(manifest.save.0)]
    }

    pub(crate) fn put_delta(&mut self, manifest: &Manifest) {
        self.deltas[usize::from(manifest.pack.0)] = Some(manifest.epoch);
    }

    pub(crate) fn delta(&self, pack: Pack) -> Option<Epoch> {
        self.deltas.get(usize::from(pack.0)).copied().flatten()
    }

    /// The packs that index deltas tell of.
    pub(crate) fn told(&self) -> impl Iterator<Item = Pack> {
        (0..SAVES as u8).map(Pack).filter(|&pack| self.delta(pack).is_some())
    }

    /// The packs that manifests name.
    pub(crate) fn referred(&self) -> Packs {
        self.manifests.iter().flatten().fold(Packs::NONE, |packs, m| packs.with(m.pack))
    }
}
