//! Marks: what a flush knew of each manifest, kept for the next one.
//!
//! A manifest that is still in the same version refers to the same packs, so
//! the next flush need not read it. Marks are a hint: one whose version is not
//! that of the listing is not used, and without any, all manifests are read.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::envelope::{self, EnvelopeKind};
use super::manifest::WireFacts;
use super::{FormatError, Location, ManifestFacts};
use crate::ids::PackId;

const KIND: EnvelopeKind = EnvelopeKind { letter: b'K', name: "gc marks", version: 1 };

/// What is known of one manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The object's key.
    pub object: String,
    /// The version of the object that this was read from.
    pub version: String,
    /// Its lifetime, and the like.
    pub facts: ManifestFacts,
    /// The packs it refers to, and what of each.
    pub packs: Vec<(PackId, Extents)>,
}

/// Parts of a pack: runs of bytes, which rise and neither overlap nor touch.
///
/// What a cache uses of a pack is nearly always one run, or a few.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extents {
    runs: Vec<(u64, u64)>,
}

impl Extents {
    /// What these chunks take up, pack by pack, in the order of their ids.
    pub fn of(locations: impl IntoIterator<Item = Location>) -> Vec<(PackId, Self)> {
        let mut by_pack: HashMap<PackId, Vec<(u64, u64)>> = HashMap::new();
        for at in locations {
            by_pack.entry(at.pack).or_default().push((at.offset, at.end()));
        }
        let mut packs: Vec<_> =
            by_pack.into_iter().map(|(pack, runs)| (pack, Self::joined(runs))).collect();
        packs.sort_unstable_by_key(|(pack, _)| *pack);
        packs
    }

    fn joined(mut runs: Vec<(u64, u64)>) -> Self {
        runs.sort_unstable();
        let mut joined: Vec<(u64, u64)> = vec![];
        for (start, end) in runs {
            match joined.last_mut() {
                Some(last) if start <= last.1 => last.1 = last.1.max(end),
                _ => joined.push((start, end)),
            }
        }
        joined.shrink_to_fit();
        Self { runs: joined }
    }

    /// Adds what the other has.
    pub fn add(&mut self, other: &Self) {
        if self.runs == other.runs {
            return;
        }
        let mut runs = std::mem::take(&mut self.runs);
        runs.extend_from_slice(&other.runs);
        *self = Self::joined(runs);
    }

    /// Bytes in all runs together.
    pub fn bytes(&self) -> u64 {
        self.runs.iter().map(|(start, end)| end - start).sum()
    }

    /// Whether one run holds all these bytes.
    pub fn contains(&self, start: u64, end: u64) -> bool {
        let after = self.runs.partition_point(|run| run.0 <= start);
        after.checked_sub(1).is_some_and(|at| end <= self.runs[at].1)
    }

    /// The runs, joined over gaps of up to so many bytes.
    pub fn over_gaps(&self, gap: u64) -> Vec<(u64, u64)> {
        let mut joined: Vec<(u64, u64)> = vec![];
        for &(start, end) in &self.runs {
            match joined.last_mut() {
                Some(last) if start - last.1 <= gap => last.1 = end,
                _ => joined.push((start, end)),
            }
        }
        joined
    }

    /// One past the last byte of the last run; 0 if there is none.
    pub fn end(&self) -> u64 {
        self.runs.last().map_or(0, |run| run.1)
    }
}

#[derive(Serialize, Deserialize)]
struct Wire {
    /// The ids of all packs, 16 bytes each.
    packs: ByteBuf,
    marks: Vec<WireMark>,
}

#[derive(Serialize, Deserialize)]
struct WireMark {
    object: String,
    version: String,
    facts: WireFacts,
    /// For each pack it refers to: its number in `packs`, and how many runs.
    packs: Vec<(u32, u32)>,
    /// Gap before and length of each run, pack after pack.
    runs: Vec<(u64, u64)>,
}

/// The marks' bytes.
pub fn encode_marks<'a>(marks: impl Iterator<Item = &'a Mark>) -> Vec<u8> {
    let mut numbers: HashMap<PackId, u32> = HashMap::new();
    let mut ids = vec![];
    let wire_marks = marks.map(|mark| {
        let mut runs = vec![];
        let packs = mark.packs.iter().map(|(pack, extents)| {
            let mut at = 0;
            for &(start, end) in &extents.runs {
                runs.push((start - at, end - start));
                at = end;
            }
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            let number = *numbers.entry(*pack).or_insert_with(|| {
                ids.extend(pack.to_bytes());
                next
            });
            (number, u32::try_from(extents.runs.len()).unwrap_or(u32::MAX))
        });
        WireMark {
            object: mark.object.clone(),
            version: mark.version.clone(),
            facts: WireFacts::of(&mark.facts),
            packs: packs.collect(),
            runs,
        }
    });
    let marks = wire_marks.collect();
    envelope::seal(KIND, &Wire { packs: ByteBuf::from(ids), marks })
}

/// The longest marks that are read, in bytes: of some millions of manifests.
pub const MAX_MARKS_LEN: u64 = 1 << 30;

/// Reads marks.
///
/// # Errors
/// [`FormatError`] if these are not the bytes of sound marks.
pub fn decode_marks(bytes: &[u8]) -> Result<Vec<Mark>, FormatError> {
    let wire: Wire = envelope::open(KIND, bytes, MAX_MARKS_LEN)?;
    let (packs, []) = wire.packs.as_chunks::<16>() else {
        return Err(FormatError::Inconsistent("the list of packs is cut off"));
    };
    wire.marks.into_iter().map(|mark| mark.into_mark(packs)).collect()
}

impl WireMark {
    fn into_mark(self, ids: &[[u8; 16]]) -> Result<Mark, FormatError> {
        let mut runs = self.runs.into_iter();
        let mut packs = Vec::with_capacity(self.packs.len());
        for (number, count) in self.packs {
            let id = ids
                .get(number as usize)
                .ok_or(FormatError::Inconsistent("a mark names a pack that is not listed"))?;
            let mut extents = Extents::default();
            let mut at = 0u64;
            for (gap, len) in runs.by_ref().take(count as usize) {
                let start = at.checked_add(gap).filter(|_| len > 0);
                let end = start.and_then(|start| start.checked_add(len));
                let (Some(start), Some(end)) = (start, end) else {
                    return Err(FormatError::Inconsistent("a run of bytes overflows"));
                };
                extents.runs.push((start, end));
                at = end;
            }
            if extents.runs.len() != count as usize {
                return Err(FormatError::Inconsistent("a mark has too few runs"));
            }
            packs.push((PackId::from_bytes(*id), extents));
        }
        if runs.next().is_some() {
            return Err(FormatError::Inconsistent("a mark has too many runs"));
        }
        let facts = self.facts.into_facts();
        Ok(Mark { object: self.object, version: self.version, facts, packs })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extents(runs: &[(u64, u64)]) -> Extents {
        Extents::joined(runs.to_vec())
    }

    #[test]
    fn runs_join() {
        let mut all = extents(&[(8, 10), (20, 30), (10, 12)]);
        assert_eq!(all.runs, [(8, 12), (20, 30)]);
        all.add(&extents(&[(11, 21), (40, 41)]));
        assert_eq!(all.runs, [(8, 30), (40, 41)]);
        assert_eq!((all.bytes(), all.end()), (23, 41));
        assert!(all.contains(8, 30) && all.contains(40, 41));
        assert!(!all.contains(7, 9) && !all.contains(29, 31) && !all.contains(29, 41));
        assert_eq!(all.over_gaps(9), [(8, 30), (40, 41)]);
        assert_eq!(all.over_gaps(10), [(8, 41)]);
        assert_eq!((Extents::default().bytes(), Extents::default().end()), (0, 0));
    }

    #[test]
    fn chunks_become_runs_of_their_packs() {
        let at = |pack, offset| Location {
            pack: PackId::from_bytes([pack; 16]),
            offset,
            stored_len: 10,
            raw_len: 10,
        };
        let of = Extents::of([at(2, 8), at(1, 30), at(2, 18), at(2, 50)]);
        let pack = |pack| PackId::from_bytes([pack; 16]);
        let expected =
            vec![(pack(1), extents(&[(30, 40)])), (pack(2), extents(&[(8, 28), (50, 60)]))];
        assert_eq!(of, expected);
    }

    fn marks() -> impl Strategy<Value = Vec<Mark>> {
        let runs = prop::collection::vec((0..1u64 << 40, 1..1u64 << 20), 0..5);
        let runs = runs.prop_map(|runs| {
            extents(&runs.iter().map(|&(start, len)| (start, start + len)).collect::<Vec<_>>())
        });
        let packs = prop::collection::btree_map(0..4u8, runs, 0..4);
        let mark = (any::<String>(), any::<String>(), any::<u64>(), packs);
        let mark = mark.prop_map(|(object, version, epoch, packs)| Mark {
            object,
            version,
            facts: ManifestFacts { epoch, ..ManifestFacts::default() },
            packs: packs
                .into_iter()
                .map(|(id, runs)| (PackId::from_bytes([id; 16]), runs))
                .collect(),
        });
        prop::collection::vec(mark, 0..6)
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(marks in marks()) {
            prop_assert_eq!(decode_marks(&encode_marks(marks.iter())), Ok(marks));
        }

        #[test]
        fn hostile_bytes_are_refused(
            packs in prop::collection::vec((0..3u32, any::<u32>()), 0..3),
            runs in prop::collection::vec((any::<u64>(), any::<u64>()), 0..4),
        ) {
            let facts = WireFacts::of(&ManifestFacts::default());
            let mark = WireMark { object: String::new(), version: String::new(), facts, packs, runs };
            let wire = Wire { packs: ByteBuf::from([0; 32]), marks: vec![mark] };
            // Refused or sound; never a panic.
            for mark in decode_marks(&envelope::seal(KIND, &wire)).into_iter().flatten() {
                for (_, extents) in mark.packs {
                    prop_assert!(extents.runs.iter().all(|(start, end)| start < end));
                }
            }
        }
    }
}
