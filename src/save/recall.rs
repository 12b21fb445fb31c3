//! What the stat record knows: units whose files are all as they were, and
//! the chunks that they were cut into then.

use std::collections::HashMap;
use std::path::PathBuf;

use crate::chunking::{Plan, Unit};
use crate::files::Walked;
use crate::format::{EntryIndex, StatRecord, Stream, align};
use crate::ids::ChunkId;

/// For each unit of a plan, its chunks with their raw lengths, if the record
/// vouches for all of its files.
pub(super) type RecalledUnits = Vec<Option<Vec<(ChunkId, u32)>>>;

/// What the records know of the walked mounts.
#[derive(Debug)]
pub(super) struct Recalled {
    pub(super) units: RecalledUnits,
    /// For each entry, whether it is a file that is as its record says. No
    /// change of it since has gone unnoticed, however short a time ago it was
    /// recorded.
    pub(super) vouched: Vec<bool>,
}

/// Looks up every unit of the plan in the records of the walked mounts.
pub(super) fn recall(
    walked: &Walked,
    plan: &Plan,
    records: &HashMap<PathBuf, StatRecord>,
) -> Recalled {
    let mut units = vec![None; plan.units.len()];
    let mut vouched = vec![false; walked.tree.entries().len()];
    for (mount, location) in walked.tree.mounts().iter().zip(&walked.locations) {
        let Some(record) = records.get(location) else {
            continue;
        };
        let memory = Memory::of(walked, mount, record);
        for (index, at) in mount.entries.clone().zip(&memory.at) {
            vouched[index as usize] = at.is_some();
        }
        for (unit, recalled) in plan.units.iter().zip(&mut units) {
            let files = match unit {
                Unit::Bundle(files) => &plan.small[files.clone()],
                Unit::Large(entry) => std::slice::from_ref(entry),
            };
            if mount.entries.contains(&files[0]) {
                *recalled = memory.chunks(walked, files);
            }
        }
    }
    Recalled { units, vouched }
}

/// A record, matched with a walked mount.
struct Memory<'a> {
    record: &'a StatRecord,
    start: EntryIndex,
    /// For each entry of the mount, where its data lies in the record's
    /// stream, if the file is the same.
    at: Vec<Option<u64>>,
    stream: Stream,
}

impl<'a> Memory<'a> {
    fn of(walked: &Walked, mount: &crate::format::Mount, record: &'a StatRecord) -> Self {
        let tree = &walked.tree;
        let recorded = &record.tree;
        let matches = match recorded.mounts().first() {
            Some(recorded_mount) => align(tree, mount, recorded, recorded_mount),
            None => vec![],
        };
        let same = |index: EntryIndex, found: EntryIndex| {
            record.unchanged(found, walked.state(index)?).map(|file| file.at)
        };
        let at = mount
            .entries
            .clone()
            .zip(matches)
            .map(|(index, found)| found.and_then(|found| same(index, found)))
            .collect();
        Self { record, start: mount.entries.start, at, stream: record.stream() }
    }

    /// The chunks that these files made up together, if they made up whole
    /// chunks, in this order, with nothing between.
    fn chunks(&self, walked: &Walked, files: &[EntryIndex]) -> Option<Vec<(ChunkId, u32)>> {
        let at = |file: EntryIndex| self.at[(file - self.start) as usize];
        let start = at(files[0])?;
        let mut end = start;
        for &file in files {
            if at(file)? != end {
                return None;
            }
            end += walked.tree.data_len(file);
        }
        let whole = self.stream.whole_chunks(start..end)?;
        Some(self.record.sequence[whole].to_vec())
    }
}
