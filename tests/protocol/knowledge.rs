//! What a saver knows of packs: rules S1 and S2.

use crate::setting::Setting;
use crate::store::{Epoch, GcState, Manifest, Pack, Packs};
use crate::weakening::Weakening;

/// What a saver knows, as seen from the state that it read.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Knowledge {
    epoch: Epoch,
    listed: Packs,
    /// Packs that were there at that epoch or later.
    there: Packs,
    /// Packs that may be gone: they have to be asked for.
    heard: Packs,
    /// The manifest of the saver's key, while its pack may be used.
    own: Option<Manifest>,
}

impl Knowledge {
    /// S1: what is listed in the state is not used, whoever tells of it.
    pub(crate) fn new(setting: &Setting, state: &GcState) -> Self {
        let listed = if setting.is(Weakening::UseCondemned) {
            state.doomed
        } else {
            state.condemned.union(state.doomed)
        };
        Self { epoch: state.epoch, listed, there: Packs::NONE, heard: Packs::NONE, own: None }
    }

    /// S2: a manifest or delta vouches for its packs if its epoch is at most one
    /// behind. What others name has to be asked for.
    pub(crate) fn hear(&mut self, setting: &Setting, pack: Pack, epoch: Epoch) {
        let behind = if setting.is(Weakening::TrustTwoBehind) { 2 } else { 1 };
        let is_trusted = epoch + behind >= self.epoch || setting.is(Weakening::TrustAnyEpoch);
        if self.listed.has(pack) || self.there.has(pack) {
            return;
        }
        if is_trusted {
            self.there = self.there.with(pack);
            self.heard = self.heard.without(pack);
        } else {
            self.heard = self.heard.with(pack);
        }
    }

    /// The manifest of the saver's own key.
    pub(crate) fn hear_own(&mut self, setting: &Setting, own: &Manifest) {
        self.hear(setting, own.pack, own.epoch);
        self.own = (!self.listed.has(own.pack)).then_some(*own);
    }

    /// S2: the table that the state names vouches for what is in it.
    pub(crate) fn hear_table(&mut self, state: &GcState) {
        self.there = self.there.union(state.table.minus(self.listed));
    }

    /// S2: the saver asked whether a pack is there.
    pub(crate) fn asked(&mut self, pack: Pack, is_there: bool) {
        self.heard = self.heard.without(pack);
        if is_there {
            self.there = self.there.with(pack);
        } else {
            self.own = self.own.filter(|own| own.pack != pack);
        }
    }

    /// The saver put a pack of its own, and needs no other any more.
    pub(crate) fn uploaded(&mut self, pack: Pack) {
        self.there = Packs::one(pack);
        self.heard = Packs::NONE;
        self.own = None;
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn usable(&self) -> Packs {
        self.there
    }

    pub(crate) fn doubtful(&self) -> Packs {
        self.heard
    }

    /// S5: the manifest of the saver's key, if S1 and S2 hold against it.
    pub(crate) fn unchanged(&self) -> Option<Manifest> {
        self.own.filter(|own| self.there.has(own.pack))
    }
}
