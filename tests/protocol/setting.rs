//! How much of the world one check has, and which rule is weakened in it.

use crate::weakening::Weakening;

/// What is in the store at the beginning.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Before {
    /// A pack of which nobody knows.
    Garbage,
    /// A pack, and a manifest of key 0 whose save succeeded.
    Saved,
    /// The same, and a pack that a dead saver left.
    SavedAndGarbage,
}

/// The bounds of one check.
#[derive(Clone, Debug)]
pub(crate) struct Setting {
    /// Keys in use.
    pub(crate) keys: usize,
    /// The key of each saver.
    pub(crate) savers: &'static [usize],
    /// How often a saver saves before it ends without a word of success.
    pub(crate) rounds: u8,
    /// Whether somebody restores key 0 and refreshes its manifest.
    pub(crate) restores: bool,
    /// How many flushes may run at the same time. One that dies is one that takes no
    /// step any more.
    pub(crate) flushes: usize,
    /// How many runs they have between them.
    pub(crate) runs: u8,
    /// Whether flushes claim the state before they mark.
    pub(crate) claims: bool,
    /// Whether a flush may find a manifest expired.
    pub(crate) expires: bool,
    /// Whether savers write and read index deltas, and read the index table.
    pub(crate) index: bool,
    /// Whether packs may be too young for a flush to condemn or doom them.
    pub(crate) grace: bool,
    /// Whether flushes may repack.
    pub(crate) repacks: bool,
    pub(crate) before: Before,
    /// Whether the check looks for what should be seen, not for what never should.
    pub(crate) looks_for_sights: bool,
    pub(crate) weakened: Option<Weakening>,
}

/// One saver, whose pack two flushes take for garbage.
pub(crate) const LONE_SAVER: Setting = Setting {
    keys: 1,
    savers: &[0],
    rounds: 2,
    restores: false,
    flushes: 2,
    runs: 5,
    claims: false,
    expires: false,
    index: false,
    grace: true,
    repacks: false,
    before: Before::Garbage,
    looks_for_sights: false,
    weakened: None,
};

/// Two savers of one key.
pub(crate) const ONE_KEY: Setting =
    Setting { savers: &[0, 0], runs: 3, grace: false, ..LONE_SAVER };

/// A saver for each of two keys, whose manifests flushes read one after the other,
/// and may find expired.
pub(crate) const TWO_KEYS: Setting = Setting {
    keys: 2,
    savers: &[0, 1],
    runs: 2,
    expires: true,
    before: Before::Saved,
    ..LONE_SAVER
};

/// A restorer refreshes a manifest that flushes may find expired, and a saver may
/// replace.
pub(crate) const RESTORER: Setting =
    Setting { restores: true, runs: 4, expires: true, before: Before::Saved, ..LONE_SAVER };

/// Index deltas and tables tell of packs.
pub(crate) const INDEX: Setting = Setting { index: true, runs: 4, ..LONE_SAVER };

/// Flushes claim the state before they mark.
pub(crate) const CLAIMS: Setting = Setting { claims: true, ..LONE_SAVER };

/// Flushes repack a pack whose manifest a saver may replace, a restorer refresh, and
/// another flush find expired.
pub(crate) const REPACK: Setting = Setting { repacks: true, runs: 3, grace: false, ..RESTORER };

/// Flushes repack a pack that a saver reuses under another key.
pub(crate) const REPACK_REUSED: Setting =
    Setting { keys: 2, savers: &[1], restores: false, expires: false, ..REPACK };

/// Flushes repack, and nobody else does anything.
pub(crate) const REPACK_ALONE: Setting = Setting {
    savers: &[],
    restores: false,
    expires: false,
    flushes: 3,
    runs: 5,
    before: Before::SavedAndGarbage,
    ..REPACK
};

impl Setting {
    pub(crate) fn is(&self, weakening: Weakening) -> bool {
        self.weakened == Some(weakening)
    }
}
