//! Verify: can the caches of a store be restored?
//!
//! Without reading data: every manifest is sound, every pack it needs is
//! there, and that pack's own footer agrees about every chunk. With it: every
//! chunk unpacks to what its name says.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use rayon::prelude::*;

use crate::compression::Unpacker;
use crate::error::Error;
use crate::format::{FormatError, Layout, Location, Manifest};
use crate::ids::{ChunkId, Key, PackId, Scope};
use crate::progress::{Context, Phase};
use crate::repository::{ListedManifest, Repository};
use crate::store::{ObjectKey, Store};
use crate::sync::lock;

/// What to verify.
#[derive(Debug)]
pub struct VerifyRequest {
    /// The namespace, or all of them.
    pub scope: Option<Scope>,
    /// The keys; all if empty.
    pub keys: Vec<Key>,
    /// Read every byte.
    pub read_data: bool,
}

/// What was found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// Manifests checked.
    pub manifests: u64,
    /// Keys that were asked for and are not there.
    pub missing_keys: Vec<Key>,
    /// Packs checked.
    pub packs: u64,
    /// Chunks checked, each once.
    pub chunks: u64,
    /// Bytes of packs that were read and checked against their hashes.
    pub read_bytes: u64,
    /// What is wrong.
    pub problems: Vec<Error>,
    /// The caches that cannot be restored whole.
    pub damaged: Vec<(Scope, Key)>,
}

/// The chunks of one pack that manifests need.
#[derive(Default)]
struct Needed {
    chunks: HashMap<ChunkId, Location>,
    /// Numbers of the manifests that need any of them.
    by: Vec<usize>,
}

/// Bytes of a pack that are read at once.
const READ: u64 = 16 << 20;

/// Verifies the caches of a store.
///
/// # Errors
/// Those of the store's service; what is wrong with its contents is in the
/// report.
pub fn verify(
    store: Arc<dyn Store>,
    request: &VerifyRequest,
    context: Context<'_>,
) -> Result<VerifyReport, Error> {
    let mut report = VerifyReport::default();
    let Some(repository) = Repository::open(store)? else {
        report.missing_keys.clone_from(&request.keys);
        return Ok(report);
    };
    let manifests = choose(&repository, request, &mut report)?;
    report.manifests = manifests.len() as u64;
    let mut damaged = vec![false; manifests.len()];
    let needed = read_manifests(&repository, &manifests, &mut report, &mut damaged, context)?;
    check_packs(&repository, request, needed, &mut report, &mut damaged, context)?;
    let bad = manifests.iter().zip(&damaged).filter(|(_, damaged)| **damaged);
    report.damaged = bad.map(|(found, _)| (found.scope.clone(), found.key.clone())).collect();
    Ok(report)
}

fn choose(
    repository: &Repository,
    request: &VerifyRequest,
    report: &mut VerifyReport,
) -> Result<Vec<ListedManifest>, Error> {
    let mut manifests = match &request.scope {
        Some(scope) => repository.list_manifests(scope, "")?,
        None => repository.list_all_manifests()?,
    };
    if !request.keys.is_empty() {
        manifests.retain(|found| request.keys.contains(&found.key));
        let is_missing = |key: &&Key| !manifests.iter().any(|found| found.key == **key);
        report.missing_keys = request.keys.iter().filter(is_missing).cloned().collect();
    }
    Ok(manifests)
}

fn read_manifests(
    repository: &Repository,
    manifests: &[ListedManifest],
    report: &mut VerifyReport,
    damaged: &mut [bool],
    context: Context<'_>,
) -> Result<BTreeMap<PackId, Needed>, Error> {
    let mut needed: BTreeMap<PackId, Needed> = BTreeMap::new();
    for (number, found) in manifests.iter().enumerate() {
        context.check()?;
        match repository.manifest(&found.scope, &found.key) {
            Ok(Some(stored)) => add_needs(&mut needed, &stored.manifest, number),
            // Deleted since it was listed.
            Ok(None) => {}
            Err(error) if error.is_damage() => {
                report.problems.push(error);
                damaged[number] = true;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(needed)
}

fn add_needs(needed: &mut BTreeMap<PackId, Needed>, manifest: &Manifest, number: usize) {
    for &(id, location) in manifest.chunks.rows() {
        let pack = needed.entry(location.pack).or_default();
        pack.chunks.insert(id, location);
        if pack.by.last() != Some(&number) {
            pack.by.push(number);
        }
    }
}

fn check_packs(
    repository: &Repository,
    request: &VerifyRequest,
    needed: BTreeMap<PackId, Needed>,
    report: &mut VerifyReport,
    damaged: &mut [bool],
    context: Context<'_>,
) -> Result<(), Error> {
    let lens: HashMap<PackId, u64> =
        repository.list_packs()?.into_iter().map(|pack| (pack.id, pack.len)).collect();
    let to_read =
        if request.read_data { needed.keys().filter_map(|pack| lens.get(pack)).sum() } else { 0 };
    context.progress.begin(Phase::Verify, needed.len() as u64, to_read);
    for (pack, needed) in needed {
        context.check()?;
        report.packs += 1;
        report.chunks += needed.chunks.len() as u64;
        let object = Layout::pack(pack);
        let problems = match lens.get(&pack) {
            None => vec![missing(&object)],
            Some(&len) => check_pack(repository, pack, len, &needed, request, report, context)?,
        };
        if !problems.is_empty() {
            needed.by.iter().for_each(|&number| damaged[number] = true);
            report.problems.extend(problems);
        }
        context.progress.advance(1, 0);
    }
    Ok(())
}

fn missing(object: &ObjectKey) -> Error {
    Error::Damaged {
        object: object.clone(),
        source: FormatError::Inconsistent("it is not there, but caches need it"),
    }
}

/// What is wrong with one pack.
fn check_pack(
    repository: &Repository,
    pack: PackId,
    len: u64,
    needed: &Needed,
    request: &VerifyRequest,
    report: &mut VerifyReport,
    context: Context<'_>,
) -> Result<Vec<Error>, Error> {
    let object = Layout::pack(pack);
    let said = match repository.pack_footer(pack, len) {
        Ok(footer) => footer.locations(pack).unwrap_or_default(),
        Err(error) if error.is_damage() => return Ok(vec![error]),
        Err(Error::Store(error)) if error.is_not_found() => return Ok(vec![missing(&object)]),
        Err(error) => return Err(error),
    };
    let said: HashMap<(ChunkId, u64), Location> =
        said.into_iter().map(|(id, at)| ((id, at.offset), at)).collect();
    let mut problems = vec![];
    let mut sound = vec![];
    for (&id, &location) in &needed.chunks {
        if said.get(&(id, location.offset)) == Some(&location) {
            sound.push((id, location));
        } else {
            let why = "a manifest says it lies there, but the pack does not";
            problems.push(Error::DamagedChunk { chunk: id, object: object.clone(), why });
        }
    }
    if request.read_data {
        sound.sort_by_key(|(_, location)| location.offset);
        report.read_bytes += read_chunks(repository, &object, &sound, &mut problems, context)?;
    }
    Ok(problems)
}

/// Reads chunks, given in order, and checks each against its name.
fn read_chunks(
    repository: &Repository,
    object: &ObjectKey,
    chunks: &[(ChunkId, Location)],
    problems: &mut Vec<Error>,
    context: Context<'_>,
) -> Result<u64, Error> {
    let mut read = 0;
    let mut rest = chunks;
    while let Some((_, first)) = rest.first() {
        context.check()?;
        let start = first.offset;
        let end_of_batch = rest.partition_point(|(_, at)| at.end() - start <= READ).max(1);
        let (batch, after) = rest.split_at(end_of_batch);
        rest = after;
        let end = batch.iter().map(|(_, at)| at.end()).max().unwrap_or(start);
        let bytes = repository.store().get_range(object, start..end)?;
        read += bytes.len() as u64;
        context.progress.advance(0, bytes.len() as u64);
        let found: Mutex<Vec<Error>> = Mutex::default();
        batch.par_iter().for_each_init(Unpacker::new, |unpacker, (id, at)| {
            let from = usize::try_from(at.offset - start).unwrap_or(usize::MAX);
            let stored = &bytes[from..][..at.stored_len as usize];
            if let Err(why) = unpacker.unpack(*id, stored, at.raw_len) {
                let object = object.clone();
                lock(&found).push(Error::DamagedChunk { chunk: *id, object, why });
            }
        });
        problems.append(&mut lock(&found));
    }
    Ok(read)
}
