//! What a flush decides about packs: rules F2 and F3.

use std::fmt;

use crate::setting::Setting;
use crate::store::{GcState, Packs};
use crate::weakening::Weakening;

/// What a commit does to packs. What is condemned and neither doomed nor pardoned
/// stays condemned: it is too early for it.
#[derive(Clone, Copy, PartialEq)]
pub(crate) struct Decision {
    condemned: Packs,
    doomed: Packs,
    pardoned: Packs,
}

impl fmt::Debug for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = [("condemn", self.condemned), ("doom", self.doomed), ("pardon", self.pardoned)];
        let mut map = f.debug_map();
        for (name, packs) in parts.iter().filter(|(_, packs)| !packs.is_empty()) {
            map.entry(&format_args!("{name}"), packs);
        }
        map.finish()
    }
}

impl Decision {
    /// What a flush could decide, with everything old enough for it.
    ///
    /// F2: only what is condemned already, and without manifest again, is doomed.
    pub(crate) fn ripest(setting: &Setting, seen: &GcState, marked: Packs, packs: Packs) -> Self {
        let fresh = packs.minus(marked).minus(seen.condemned).minus(seen.doomed);
        let unmarked = seen.condemned.minus(marked);
        let mut decision =
            Self { condemned: fresh, doomed: unmarked, pardoned: seen.condemned.common(marked) };
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

    /// All that a flush may decide: with a grace period, any part of the ripest may
    /// be too young.
    pub(crate) fn or_less(self, setting: &Setting) -> impl Iterator<Item = Self> {
        let parts = if setting.grace { usize::MAX } else { 1 };
        let condemned = self.condemned.subsets().take(parts);
        condemned.flat_map(move |condemned| {
            let doomed = self.doomed.subsets().take(parts);
            doomed.map(move |doomed| Self { condemned, doomed, ..self })
        })
    }

    /// The state that follows, with the next epoch (F3).
    pub(crate) fn apply(&self, setting: &Setting, seen: &GcState, packs: Packs) -> GcState {
        let condemned =
            seen.condemned.union(self.condemned).minus(self.doomed).minus(self.pardoned);
        let doomed = seen.doomed.union(self.doomed).minus(self.pardoned);
        let is_silent = setting.is(Weakening::CondemnSilently) && self.doomed.is_empty();
        let table = match (setting.index, setting.is(Weakening::StaleTable)) {
            (false, _) => Packs::NONE,
            (true, true) if !seen.table.is_empty() => seen.table,
            (true, _) => packs.minus(doomed),
        };
        let epoch = seen.epoch + u8::from(!is_silent);
        GcState { epoch, condemned, doomed, table, ..GcState::default() }
    }

    /// F4: every flush deletes all that is doomed, whoever doomed it.
    pub(crate) fn deletes(&self, setting: &Setting, state: &GcState) -> Packs {
        if setting.is(Weakening::DeleteOwnOnly) { self.doomed } else { state.doomed }
    }
}
