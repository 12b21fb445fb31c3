//! The end of a save: from contents to a manifest and stat records.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use super::cut::Contents;
use super::{SaveReport, SaveRequest};
use crate::chunking::{self, Plan, Unit};
use crate::error::Error;
use crate::files::{FileError, Walked};
use crate::format::{
    ChunkTable, EntryIndex, FileData, FileIdentity, FormatError, Kind, Location, Manifest,
    ManifestFacts, StatRecord,
};
use crate::ids::ChunkId;
use crate::index::KnownChunks;
use crate::progress::{Context, Warning};
use crate::records::{Records, lasting};
use crate::upload::Uploaded;

/// A manifest that can be published, and what goes with it.
pub(super) struct Assembled {
    pub(super) manifest: Manifest,
    pub(super) local: Local,
    pub(super) report: SaveReport,
}

/// What stays on this machine.
pub(super) struct Local {
    identities: Vec<Option<FileIdentity>>,
    locations: Vec<PathBuf>,
}

/// Puts the contents into the tree, and both into a manifest.
pub(super) fn assemble(
    mut walked: Walked,
    plan: &Plan,
    contents: &Contents,
    known: &KnownChunks,
    uploaded: &Uploaded,
    mut vouched: Vec<bool>,
    request: &SaveRequest,
) -> Result<Assembled, Error> {
    let left_out = apply_changes(&mut walked, &mut vouched, contents);
    place_files(&mut walked, plan, contents, &left_out);
    let lasts = |(&identity, vouched)| {
        if vouched { Some(identity) } else { lasting(identity, walked.began) }
    };
    let mut identities: Vec<_> = walked.identities.iter().zip(vouched).map(lasts).collect();
    let mut tree = walked.tree;
    if !left_out.is_empty() {
        let (kept, origins) = tree.select(|index| !left_out.contains_key(&index));
        identities = origins.iter().map(|&origin| identities[origin as usize]).collect();
        tree = kept;
    }
    let (sequence, chunks) = chunk_table(contents, known, uploaded);
    let report = SaveReport {
        files: tree.file_count(),
        raw_bytes: tree.raw_bytes(),
        files_read: contents.files_read,
        chunks: chunks.rows().len() as u64,
        new_chunks: uploaded.chunks.rows().len() as u64,
        new_raw_bytes: uploaded.chunks.rows().iter().map(|(_, at)| u64::from(at.raw_len)).sum(),
        uploaded_bytes: uploaded.bytes,
        reused_chunks: reused(&chunks, uploaded),
        packs_written: uploaded.packs,
        ..SaveReport::default()
    };
    let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let manifest = Manifest {
        scope: request.scope.clone(),
        key: request.key.clone(),
        writer: concat!("larder ", env!("CARGO_PKG_VERSION")).to_owned(),
        created: i64::try_from(created).unwrap_or(i64::MAX),
        facts: ManifestFacts { lifetime: request.lifetime, ..ManifestFacts::default() },
        annotation: request.annotation.clone(),
        tree,
        sequence,
        chunks,
        sealed_by: None,
        signed_by: None,
    };
    // A manifest that its own reader would refuse must never be published.
    let inconsistent =
        |error: FormatError| FileError::new("record", ".", std::io::Error::other(error));
    manifest.check().map_err(inconsistent)?;
    let local = Local { identities, locations: walked.locations };
    Ok(Assembled { manifest, local, report })
}

/// Entries that are not to be in the manifest.
type LeftOut = HashMap<EntryIndex, ()>;

/// Takes over what files were found to be when they were read. The records do
/// not vouch for those any more.
fn apply_changes(walked: &mut Walked, vouched: &mut [bool], contents: &Contents) -> LeftOut {
    let mut left_out = LeftOut::new();
    for changed in &contents.changed {
        vouched[changed.entry as usize] = false;
        match &changed.now {
            None => {
                left_out.insert(changed.entry, ());
            }
            Some((stat, holes)) => {
                walked.tree.set_metadata(changed.entry, stat.mode, stat.mtime);
                walked.tree.set_file(changed.entry, FileData { size: stat.size, at: 0 });
                walked.tree.set_holes(changed.entry, holes.clone());
                walked.identities[changed.entry as usize] = stat.identity;
            }
        }
    }
    // Other names of a file that was left out have no contents either.
    for index in walked.tree.indexes() {
        if let Kind::HardLink { first } = walked.tree.entry(index).kind
            && left_out.contains_key(&first)
        {
            left_out.insert(index, ());
        }
    }
    left_out
}

/// Tells every file where its data lies in the stream: unit after unit, and
/// within a bundle file after file.
fn place_files(walked: &mut Walked, plan: &Plan, contents: &Contents, left_out: &LeftOut) {
    let tree = &mut walked.tree;
    let mut at = 0;
    let mut place = |entry: EntryIndex, at: u64| -> u64 {
        let Kind::File(file) = tree.entry(entry).kind else {
            return 0;
        };
        let len = tree.data_len(entry);
        tree.set_file(entry, FileData { size: file.size, at: if len == 0 { 0 } else { at } });
        len
    };
    for (unit, chunks) in contents.units.iter().enumerate() {
        match plan.units.get(unit) {
            Some(Unit::Bundle(files)) => {
                let mut within = at;
                for &entry in &plan.small[files.clone()] {
                    if !left_out.contains_key(&entry) && !contents.grown.contains(&entry) {
                        within += place(entry, within);
                    }
                }
            }
            Some(Unit::Large(entry)) => {
                place(*entry, at);
            }
            None => {
                place(contents.grown[unit - plan.units.len()], at);
            }
        }
        at += chunks.iter().map(|&(_, len)| u64::from(len)).sum::<u64>();
    }
}

/// The stream's chunks in order, and where each of them lies.
fn chunk_table(
    contents: &Contents,
    known: &KnownChunks,
    uploaded: &Uploaded,
) -> (Vec<u32>, ChunkTable) {
    let new: HashMap<ChunkId, Location> = uploaded.chunks.rows().iter().copied().collect();
    let mut rows: HashMap<ChunkId, u32> = HashMap::new();
    let mut table = ChunkTable::default();
    let mut sequence = vec![];
    for (id, _) in contents.units.iter().flatten() {
        let row = *rows.entry(*id).or_insert_with(|| {
            let location = new.get(id).copied().or_else(|| known.location(id));
            table.push(*id, location.expect("a chunk is known to the store or was just uploaded"))
        });
        sequence.push(row);
    }
    (sequence, table)
}

/// Chunks that were not uploaded. Of those that were, some may be in no file:
/// what was read of a file that then changed.
fn reused(chunks: &ChunkTable, uploaded: &Uploaded) -> u64 {
    let new: HashSet<ChunkId> = uploaded.chunks.rows().iter().map(|&(id, _)| id).collect();
    chunks.rows().iter().filter(|(id, _)| !new.contains(id)).count() as u64
}

/// Leaves a stat record for each mount. Failing to costs the next save time,
/// and so is only a warning.
pub(super) fn write_records(
    records: &Records,
    manifest: &Manifest,
    local: &Local,
    context: Context<'_>,
) {
    let sequence: Vec<(ChunkId, u32)> = manifest
        .sequence
        .iter()
        .map(|&row| manifest.chunks.get(row))
        .map(|(id, at)| (id, at.raw_len))
        .collect();
    for (mount, location) in manifest.tree.mounts().iter().zip(&local.locations) {
        let (tree, origins) = manifest.tree.select(|index| mount.entries.contains(&index));
        let record = StatRecord {
            chunking: chunking::parameters(),
            identities: origins.iter().map(|&index| local.identities[index as usize]).collect(),
            tree,
            sequence: sequence.clone(),
            sealed_by: manifest.sealed_by,
        };
        if let Err(error) = records.write(location, &record) {
            context.progress.warn(Warning::NoRecord { error: error.to_string() });
        }
    }
}
