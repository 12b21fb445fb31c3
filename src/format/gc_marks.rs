//! Marks: what a flush knew of each manifest, kept for the next one.
//!
//! A manifest that is still in the same version refers to the same packs, so
//! the next flush need not read it. Marks are a hint: one whose version is not
//! that of the listing is not used, and without any, all manifests are read.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes};

use super::envelope::{self, EnvelopeKind};
use super::manifest::WireFacts;
use super::{FormatError, Location, ManifestFacts};
use crate::ids::PackId;

pub(super) const KIND: EnvelopeKind = EnvelopeKind { letter: b'K', name: "gc marks", version: 1 };

/// What is known of one manifest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The version of the object that this was read from.
    pub version: String,
    /// Its lifetime, and the like.
    pub facts: ManifestFacts,
    /// The packs it refers to, and what of each.
    pub packs: Parts,
}

/// A run of bytes: where it begins, and one past its end.
type Run = (u64, u64);

/// The packs that one manifest refers to, in the order of their ids, and which
/// runs of bytes in each.
///
/// A flush holds those of all manifests at once, so they are kept as they are
/// written: 16 bytes and a few for each run, in one piece.
///
/// ```text
/// for each pack:  16  id
///                  …  bytes of its runs, as a varint
/// for each run:    …  gap before it and its length, as varints
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    bytes: Box<[u8]>,
}

impl Parts {
    /// What these chunks take up.
    pub fn of(locations: impl IntoIterator<Item = Location>) -> Self {
        let mut numbers: HashMap<PackId, usize> = HashMap::new();
        let mut packs: Vec<(PackId, Vec<Run>)> = vec![];
        let mut last = 0;
        for at in locations {
            // Most chunks lie in the pack of the one before.
            if packs.get(last).is_none_or(|(pack, _)| *pack != at.pack) {
                last = *numbers.entry(at.pack).or_insert(packs.len());
                if last == packs.len() {
                    packs.push((at.pack, vec![]));
                }
            }
            packs[last].1.push((at.offset, at.end()));
        }
        packs.sort_unstable_by_key(|(pack, _)| *pack);
        let extents = packs.into_iter().map(|(pack, runs)| (pack, Extents::joined(runs)));
        Self::of_extents(extents)
    }

    fn of_extents(extents: impl Iterator<Item = (PackId, Extents)>) -> Self {
        let (mut bytes, mut runs) = (vec![], vec![]);
        for (pack, extents) in extents {
            runs.clear();
            let mut at = 0;
            for (start, end) in extents.runs {
                put_varint(&mut runs, start - at);
                put_varint(&mut runs, end - start);
                at = end;
            }
            bytes.extend(pack.to_bytes());
            put_varint(&mut bytes, runs.len() as u64);
            bytes.extend_from_slice(&runs);
        }
        Self { bytes: bytes.into_boxed_slice() }
    }

    /// The packs, and what of each.
    pub fn iter(&self) -> impl Iterator<Item = (PackId, Runs<'_>)> {
        let mut rest = &*self.bytes;
        std::iter::from_fn(move || take_part(&mut rest))
    }

    /// The packs.
    pub fn packs(&self) -> impl Iterator<Item = PackId> {
        self.iter().map(|(pack, _)| pack)
    }

    /// Checks what everything else here relies on.
    fn check(&self) -> Result<(), FormatError> {
        let mut rest = &*self.bytes;
        while !rest.is_empty() {
            let (_, mut runs) = take_part(&mut rest)
                .ok_or(FormatError::Inconsistent("a mark's list of packs is cut off"))?;
            while !runs.rest.is_empty() {
                runs.next().ok_or(FormatError::Inconsistent("a run of bytes overflows"))?;
            }
        }
        Ok(())
    }
}

fn take_part<'a>(rest: &mut &'a [u8]) -> Option<(PackId, Runs<'a>)> {
    let (id, after) = rest.split_first_chunk()?;
    *rest = after;
    let len = usize::try_from(take_varint(rest)?).ok()?;
    let (runs, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some((PackId::from_bytes(*id), Runs { rest: runs, at: 0 }))
}

/// The runs of one pack, which rise and do not overlap.
#[derive(Clone, Debug)]
pub struct Runs<'a> {
    rest: &'a [u8],
    at: u64,
}

impl Iterator for Runs<'_> {
    type Item = Run;

    fn next(&mut self) -> Option<Run> {
        let start = self.at.checked_add(take_varint(&mut self.rest)?)?;
        let len = take_varint(&mut self.rest).filter(|&len| len > 0)?;
        self.at = start.checked_add(len)?;
        Some((start, self.at))
    }
}

fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        let bits = u64::from(byte & 0x7f);
        if bits << shift >> shift != bits {
            return None;
        }
        number |= bits << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Parts of a pack: runs of bytes, which rise and neither overlap nor touch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extents {
    runs: Vec<Run>,
}

impl Extents {
    fn joined(mut runs: Vec<Run>) -> Self {
        // Nearly always they are in order, or two that are, one after the other.
        runs.sort();
        runs.dedup_by(|next, last| {
            let joins = next.0 <= last.1;
            if joins {
                last.1 = last.1.max(next.1);
            }
            joins
        });
        Self { runs }
    }

    /// Adds these runs.
    pub fn add(&mut self, runs: Runs<'_>) {
        if runs.clone().all(|(start, end)| self.contains(start, end)) {
            return;
        }
        let mut all = std::mem::take(&mut self.runs);
        all.extend(runs);
        *self = Self::joined(all);
        self.runs.shrink_to_fit();
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

#[derive(Serialize)]
struct WireMark<'a> {
    object: &'a str,
    version: &'a str,
    facts: WireFacts,
    packs: &'a Bytes,
}

#[derive(Deserialize)]
struct WireMarkRead {
    object: String,
    version: String,
    facts: WireFacts,
    packs: ByteBuf,
}

/// Marks in one envelope: all of them in one would be in memory three times
/// while they are read or written, and some megabytes compress as well.
const AT_ONCE: usize = 4_096;

/// The longest envelope of marks that is read, in bytes.
const MAX_LEN: u64 = 1 << 30;

/// The marks' bytes, a few thousand in each envelope; each mark is given with its
/// object's key.
pub fn encode_marks<'a>(marks: impl Iterator<Item = (&'a str, &'a Mark)>) -> Vec<u8> {
    let mut marks = marks
        .map(|(object, mark)| WireMark {
            object,
            version: &mark.version,
            facts: WireFacts::of(&mark.facts),
            packs: Bytes::new(&mark.packs.bytes),
        })
        .peekable();
    let mut sealed = vec![];
    while marks.peek().is_some() {
        let some: Vec<WireMark<'_>> = marks.by_ref().take(AT_ONCE).collect();
        sealed.extend(envelope::seal(KIND, &some));
    }
    sealed
}

/// Reads marks, by their objects' keys.
///
/// # Errors
/// [`FormatError`] if these are not the bytes of sound marks.
pub fn decode_marks(bytes: &[u8]) -> Result<HashMap<String, Mark>, FormatError> {
    let mut marks = HashMap::new();
    let mut rest = bytes;
    while !rest.is_empty() {
        let (some, after) = envelope::open_first::<Vec<WireMarkRead>>(KIND, rest, MAX_LEN)?;
        for mark in some {
            let packs = Parts { bytes: mark.packs.into_vec().into_boxed_slice() };
            packs.check()?;
            let facts = mark.facts.into_facts();
            marks.insert(mark.object, Mark { version: mark.version, facts, packs });
        }
        rest = after;
    }
    Ok(marks)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn extents(runs: &[Run]) -> Extents {
        Extents::joined(runs.to_vec())
    }

    fn parts(packs: &[(PackId, Extents)]) -> Parts {
        Parts::of_extents(packs.iter().cloned())
    }

    fn pack(number: u8) -> PackId {
        PackId::from_bytes([number; 16])
    }

    #[test]
    fn runs_join() {
        let mut all = extents(&[(8, 10), (20, 30), (10, 12)]);
        assert_eq!(all.runs, [(8, 12), (20, 30)]);
        let more = parts(&[(pack(1), extents(&[(11, 21), (40, 41)]))]);
        for (_, runs) in more.iter().chain(more.iter()) {
            all.add(runs);
            assert_eq!(all.runs, [(8, 30), (40, 41)]);
        }
        assert_eq!((all.bytes(), all.end()), (23, 41));
        assert!(all.contains(8, 30) && all.contains(40, 41));
        assert!(!all.contains(7, 9) && !all.contains(29, 31) && !all.contains(29, 41));
        assert_eq!(all.over_gaps(9), [(8, 30), (40, 41)]);
        assert_eq!(all.over_gaps(10), [(8, 41)]);
        assert_eq!((Extents::default().bytes(), Extents::default().end()), (0, 0));
    }

    #[test]
    fn very_many_marks_are_read_again() {
        let mark = |number: usize| {
            let (facts, packs) = (ManifestFacts::default(), Parts::default());
            (format!("manifests/s/{number}"), Mark { version: number.to_string(), facts, packs })
        };
        let marks: HashMap<String, Mark> = (0..AT_ONCE + 1).map(mark).collect();
        let mut encoded = encode_marks(marks.iter().map(|(object, mark)| (&**object, mark)));
        assert_eq!(decode_marks(&encoded), Ok(marks));
        encoded.pop();
        assert!(decode_marks(&encoded).is_err());
    }

    #[test]
    fn chunks_become_runs_of_their_packs() {
        let at =
            |number, offset| Location { pack: pack(number), offset, stored_len: 10, raw_len: 10 };
        let of = Parts::of([at(2, 8), at(1, 30), at(2, 18), at(2, 50)]);
        let found: Vec<_> =
            of.iter().map(|(pack, runs)| (pack, runs.collect::<Vec<_>>())).collect();
        assert_eq!(found, [(pack(1), vec![(30, 40)]), (pack(2), vec![(8, 28), (50, 60)])]);
        assert_eq!(of.packs().collect::<Vec<_>>(), [pack(1), pack(2)]);
    }

    /// Numbers of every length, and the longest there is.
    #[test]
    fn varints_have_all_numbers_and_no_others() {
        for shift in 0..64 {
            for number in [1 << shift, (1 << shift) - 1, u64::MAX >> shift] {
                let mut bytes = vec![];
                put_varint(&mut bytes, number);
                let mut rest = &*bytes;
                assert_eq!((take_varint(&mut rest), rest.len()), (Some(number), 0));
                assert_eq!(take_varint(&mut &bytes[..bytes.len() - 1]), None);
            }
        }
        assert_eq!(take_varint(&mut &[0xff; 11][..]), None);
        let too_long = [[0xff; 9].as_slice(), &[2]].concat();
        assert_eq!(take_varint(&mut &*too_long), None);
    }

    fn marks() -> impl Strategy<Value = HashMap<String, Mark>> {
        let runs = prop::collection::vec((0..1u64 << 40, 1..1u64 << 20), 0..5);
        let runs = runs.prop_map(|runs| {
            extents(&runs.iter().map(|&(start, len)| (start, start + len)).collect::<Vec<_>>())
        });
        let packs = prop::collection::btree_map(0..4u8, runs, 0..4);
        let mark = (any::<String>(), any::<u64>(), packs);
        let mark = mark.prop_map(|(version, epoch, packs)| Mark {
            version,
            facts: ManifestFacts { epoch, ..ManifestFacts::default() },
            packs: Parts::of_extents(packs.into_iter().map(|(number, runs)| (pack(number), runs))),
        });
        prop::collection::hash_map(any::<String>(), mark, 0..6)
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_decoded(marks in marks()) {
            let encoded = encode_marks(marks.iter().map(|(object, mark)| (&**object, mark)));
            prop_assert_eq!(decode_marks(&encoded), Ok(marks));
        }

        #[test]
        fn hostile_bytes_are_refused(
            flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            cut in any::<prop::sample::Index>(),
            runs in prop::collection::vec((0..1u64 << 60, 1..1u64 << 60), 1..4),
        ) {
            let runs: Vec<_> = runs.iter().map(|&(start, len)| (start, start + len)).collect();
            let sound = parts(&[(pack(1), extents(&runs)), (pack(2), extents(&[(1, 2)]))]);
            let mut bytes = sound.bytes.to_vec();
            for (at, flip) in flips {
                let at = at.index(bytes.len());
                bytes[at] ^= flip;
            }
            bytes.truncate(cut.index(bytes.len() + 1));
            let damaged = Parts { bytes: bytes.into() };
            // Refused or sound; never a panic.
            if damaged.check().is_ok() {
                for (_, runs) in damaged.iter() {
                    let mut last = 0;
                    for (start, end) in runs {
                        prop_assert!(last <= start && start < end);
                        last = end;
                    }
                }
            }
        }
    }
}
