//! The state of garbage collection: which packs must not be used any more.
//!
//! `docs/protocol.md` has the rules. Every saver reads this object twice, so it
//! holds only what they need: an epoch that tells whether anything changed, the
//! packs that are condemned or doomed, and the name of the index table.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::FormatError;
use super::envelope::{self, EnvelopeKind};
use crate::ids::{FlushId, PackId, TableId};
use crate::store_time::StoreTime;

pub(super) const KIND: EnvelopeKind = EnvelopeKind { letter: b'G', name: "gc state", version: 1 };

/// What garbage collection has decided.
///
/// Of a store that was never flushed, it is the default: epoch 0, and nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcState {
    /// Rises with every commit of a flush.
    pub epoch: u64,
    /// The flush that is at work, or died at it.
    pub claim: Option<Claim>,
    /// Packs that no manifest referred to, and since when that is known. They
    /// may be needed again: by savers that had begun before.
    pub condemned: BTreeMap<PackId, StoreTime>,
    /// Packs that are being deleted, or were. They never come back.
    pub doomed: BTreeSet<PackId>,
    /// The index table that counts.
    pub table: Option<TableId>,
    /// Packs whose living chunks are being moved, and where to.
    pub repacking: Option<Repacking>,
}

/// A flush that has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Which one.
    pub by: FlushId,
    /// When it began.
    pub at: StoreTime,
}

/// Chunks that are being moved from sparse packs to new ones.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Repacking {
    /// The packs whose chunks are being moved.
    pub emptied: BTreeSet<PackId>,
    /// The packs they are moved to.
    pub filled: BTreeSet<PackId>,
}

impl GcState {
    /// The longest state that is read, in bytes: room for millions of packs.
    pub const MAX_LEN: u64 = 64 << 20;

    /// Whether a saver must not use this pack.
    pub fn is_listed(&self, pack: PackId) -> bool {
        self.condemned.contains_key(&pack) || self.doomed.contains(&pack)
    }

    /// All packs that a saver must not use.
    pub fn listed(&self) -> HashSet<PackId> {
        self.condemned.keys().chain(&self.doomed).copied().collect()
    }

    /// The state's bytes.
    pub fn encode(&self) -> Vec<u8> {
        envelope::seal(KIND, &Wire::of(self))
    }

    /// Reads a state.
    ///
    /// # Errors
    /// [`FormatError`] if these are not the bytes of a sound state.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let wire: Wire = envelope::open(KIND, bytes, Self::MAX_LEN)?;
        wire.into_state()
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    epoch: u64,
    claim: Option<(ByteBuf, i64)>,
    /// Time and packs of each flush that condemned any: all of one have one time.
    condemned: Vec<(i64, ByteBuf)>,
    doomed: ByteBuf,
    table: Option<ByteBuf>,
    repacking: Option<(ByteBuf, ByteBuf)>,
}

impl Wire {
    fn of(state: &GcState) -> Self {
        let mut by_time: BTreeMap<StoreTime, Vec<u8>> = BTreeMap::new();
        for (pack, at) in &state.condemned {
            by_time.entry(*at).or_default().extend(pack.to_bytes());
        }
        Self {
            epoch: state.epoch,
            claim: state.claim.map(|claim| (id(claim.by.to_bytes()), claim.at.unix())),
            condemned: by_time
                .into_iter()
                .map(|(at, packs)| (at.unix(), ByteBuf::from(packs)))
                .collect(),
            doomed: to_bytes(&state.doomed),
            table: state.table.map(|table| id(table.to_bytes())),
            repacking: state
                .repacking
                .as_ref()
                .map(|moving| (to_bytes(&moving.emptied), to_bytes(&moving.filled))),
        }
    }

    fn into_state(self) -> Result<GcState, FormatError> {
        let mut condemned = BTreeMap::new();
        for (at, packs) in &self.condemned {
            let at = StoreTime::from_unix(*at);
            condemned.extend(to_packs(packs)?.into_iter().map(|pack| (pack, at)));
        }
        let claim = self.claim.map(|(by, at)| -> Result<Claim, FormatError> {
            let by = FlushId::from_bytes(to_id(&by)?);
            Ok(Claim { by, at: StoreTime::from_unix(at) })
        });
        let repacking = self.repacking.map(|(emptied, filled)| -> Result<_, FormatError> {
            Ok(Repacking { emptied: to_packs(&emptied)?, filled: to_packs(&filled)? })
        });
        let table = self.table.map(|table| to_id(&table).map(TableId::from_bytes));
        Ok(GcState {
            epoch: self.epoch,
            claim: claim.transpose()?,
            condemned,
            doomed: to_packs(&self.doomed)?,
            table: table.transpose()?,
            repacking: repacking.transpose()?,
        })
    }
}

fn id(bytes: [u8; 16]) -> ByteBuf {
    ByteBuf::from(bytes.to_vec())
}

fn to_id(bytes: &ByteBuf) -> Result<[u8; 16], FormatError> {
    let exact = <[u8; 16]>::try_from(bytes.as_slice());
    exact.map_err(|_| FormatError::Inconsistent("an id is not 16 bytes long"))
}

fn to_bytes(packs: &BTreeSet<PackId>) -> ByteBuf {
    ByteBuf::from(packs.iter().flat_map(|pack| pack.to_bytes()).collect::<Vec<_>>())
}

fn to_packs(bytes: &ByteBuf) -> Result<BTreeSet<PackId>, FormatError> {
    let (packs, []) = bytes.as_chunks::<16>() else {
        return Err(FormatError::Inconsistent("the list of packs is cut off"));
    };
    Ok(packs.iter().map(|pack| PackId::from_bytes(*pack)).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packs() -> impl Strategy<Value = BTreeSet<PackId>> {
        let ids = prop::collection::btree_set(any::<[u8; 16]>(), 0..9);
        ids.prop_map(|ids| ids.into_iter().map(PackId::from_bytes).collect())
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(
            epoch in any::<u64>(),
            claim in prop::option::of((any::<[u8; 16]>(), any::<i64>())),
            condemned in prop::collection::btree_map(any::<[u8; 16]>(), 0..4i64, 0..9),
            doomed in packs(),
            table in prop::option::of(any::<[u8; 16]>()),
            repacking in prop::option::of((packs(), packs())),
        ) {
            let state = GcState {
                epoch,
                claim: claim.map(|(by, at)| Claim {
                    by: FlushId::from_bytes(by),
                    at: StoreTime::from_unix(at),
                }),
                condemned: condemned
                    .into_iter()
                    .map(|(pack, at)| (PackId::from_bytes(pack), StoreTime::from_unix(at)))
                    .collect(),
                doomed,
                table: table.map(TableId::from_bytes),
                repacking: repacking.map(|(emptied, filled)| Repacking { emptied, filled }),
            };
            prop_assert_eq!(GcState::decode(&state.encode()), Ok(state));
        }

        #[test]
        fn hostile_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(GcState::decode(&bytes).is_err());
        }
    }

    #[test]
    fn lists_that_are_cut_off_are_refused() {
        let mut wire = Wire::of(&GcState::default());
        wire.doomed = ByteBuf::from(vec![0; 17]);
        assert!(GcState::decode(&envelope::seal(KIND, &wire)).is_err());
        let mut wire = Wire::of(&GcState::default());
        wire.table = Some(ByteBuf::from(vec![0; 15]));
        assert!(GcState::decode(&envelope::seal(KIND, &wire)).is_err());
    }
}
