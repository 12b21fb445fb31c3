//! The rules, each as something that does not hold it.

/// A rule of `docs/protocol.md` that somebody does not hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Weakening {
    /// F1: a flush marks, and reads the state afterwards.
    MarkBeforeState,
    /// F2: a flush dooms what it finds without manifest, condemned or not.
    DoomAtFirstSight,
    /// F2: a flush dooms what is condemned without marking again.
    DoomUnmarked,
    /// F3: only a commit that dooms raises the epoch.
    CondemnSilently,
    /// F4: deletes are sent before the commit.
    DeleteBeforeCommit,
    /// F4: a doomed pack is pardoned if a manifest names it.
    PardonDoomed,
    /// F4: a flush deletes only what it doomed itself.
    DeleteOwnOnly,
    /// F5: packs are forgotten before their deletion is confirmed.
    ForgetEarly,
    /// F6: the state is put whatever is there.
    PutState,
    /// F7: a manifest is removed whatever its version.
    RemoveAnyVersion,
    /// F7: a manifest that could not be removed counts as removed.
    CountAsRemoved,
    /// The index table that the state names is that of an earlier flush.
    StaleTable,
    /// S1: packs are used though they are condemned.
    UseCondemned,
    /// S1: the state is read before the saver's own manifest.
    StateBeforeManifest,
    /// S2: whatever a manifest names is taken to be there.
    TrustAnyEpoch,
    /// S2: a manifest is trusted that is two epochs behind.
    TrustTwoBehind,
    /// S3: a manifest carries the epoch at which it is published.
    RecordLaterEpoch,
    /// S4: success is said when the manifest is there.
    NoSecondLook,
    /// S4: the second look finds none of the packs listed, and does not ask for
    /// them.
    SecondLookUnasked,
    /// S5: a manifest with the same contents is success.
    UnchangedUnseen,
    /// R2: a refresh puts the manifest whatever is there.
    RefreshAnyVersion,
    /// P1: nobody is told what is being filled.
    Unannounced,
    /// P1: flushes condemn what is being filled.
    CondemnFilled,
    /// P2: an announcement is taken off, and no manifest put anew.
    TakeOffUnfenced,
    /// P2: manifests are put anew as they were.
    FenceSameVersion,
    /// P2: manifests are put anew whatever is there.
    FenceAnyVersion,
    /// P2: a manifest is moved as it was read after the announcement.
    MoveAsReadLater,
    /// F7: a manifest is moved whatever is there.
    MoveAnyVersion,
}
