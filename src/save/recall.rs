//! What the stat record knows: units whose files are all as they were, and
//! the chunks that they were cut into then.

use crate::chunking::{Plan, Unit};
use crate::files::Walked;
use crate::format::{EntryIndex, Kind, StatRecord, align};
use crate::ids::ChunkId;
use crate::records::Records;

/// For each unit of a plan, its chunks with their raw lengths, if the record
/// vouches for all of its files.
#[derive(Debug)]
pub(super) struct Recalled {
    pub(super) units: Vec<Option<Vec<(ChunkId, u32)>>>,
}

/// Looks up every unit of the plan in the records of the walked mounts.
pub(super) fn recall(walked: &Walked, plan: &Plan, records: Option<&Records>) -> Recalled {
    let mut units = vec![None; plan.units.len()];
    let Some(records) = records else {
        return Recalled { units };
    };
    for (mount, location) in walked.tree.mounts().iter().zip(&walked.locations) {
        let Some(record) = records.read(location) else {
            continue;
        };
        let memory = Memory::of(walked, mount, &record);
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
    Recalled { units }
}

/// A record, matched with a walked mount.
struct Memory<'a> {
    record: &'a StatRecord,
    start: EntryIndex,
    /// For each entry of the mount, where its data lies in the record's
    /// stream, if the file is the same.
    at: Vec<Option<u64>>,
    /// Where each chunk of the record's stream begins, and where the last ends.
    starts: Vec<u64>,
}

impl<'a> Memory<'a> {
    fn of(walked: &Walked, mount: &crate::format::Mount, record: &'a StatRecord) -> Self {
        let tree = &walked.tree;
        let recorded = &record.tree;
        let matches = match recorded.mounts().first() {
            Some(recorded_mount) => align(tree, mount, recorded, recorded_mount),
            None => vec![],
        };
        let same = |index: EntryIndex, found: EntryIndex| -> Option<u64> {
            let (now, then) = (tree.entry(index), recorded.entry(found));
            let (Kind::File(now_file), Kind::File(then_file)) = (now.kind, then.kind) else {
                return None;
            };
            let same = record.identities[found as usize] == Some(walked.identities[index as usize])
                && (now_file.size, now.mtime) == (then_file.size, then.mtime)
                && tree.holes(index) == recorded.holes(found);
            same.then_some(then_file.at)
        };
        let at = mount
            .entries
            .clone()
            .zip(matches)
            .map(|(index, found)| found.and_then(|found| same(index, found)))
            .collect();
        let mut end = 0;
        let ends = record.sequence.iter().map(|&(_, len)| {
            end += u64::from(len);
            end
        });
        let starts = std::iter::once(0).chain(ends).collect();
        Self {
            record,
            start: mount.entries.start,
            at,
            starts,
        }
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
        let first = self.starts.binary_search(&start).ok()?;
        let after = self.starts.binary_search(&end).ok()?;
        Some(self.record.sequence[first..after].to_vec())
    }
}
