//! One pack: is it there, does its footer say what manifests say, and do its
//! chunks unpack to what their names say?

use std::collections::HashMap;
use std::sync::Mutex;

use rayon::prelude::*;

use super::{Needed, Verdict, VerifyReport, VerifyRequest};
use crate::compression::Unpacker;
use crate::error::Error;
use crate::format::{FormatError, Layout, Location};
use crate::ids::{ChunkId, PackId};
use crate::progress::Context;
use crate::repository::Repository;
use crate::secrets::Sealing;
use crate::store::ObjectKey;
use crate::sync::lock;

/// Bytes of a pack that are read at once.
const READ: u64 = 16 << 20;

/// What is wrong with one pack, which a listing found with this length.
pub(super) fn check(
    repository: &Repository,
    pack: PackId,
    len: Option<u64>,
    needed: &Needed,
    request: &VerifyRequest,
    report: &mut VerifyReport,
    context: Context<'_>,
) -> Result<Verdict, Error> {
    let object = Layout::pack(pack);
    let Some(len) = len else { return Ok(missing(object)) };
    let footer = match repository.pack_footer(pack, len) {
        Ok(footer) => footer,
        Err(error) if error.is_damage() => {
            let mut verdict = Verdict { is_bad: true, ..Verdict::of(error) };
            let Ok(sealing) = repository.keys().sealing_of(needed.sealed_by) else {
                report.closed_packs += 1;
                return Ok(verdict);
            };
            let read = check_without_footer(
                repository,
                (&object, len),
                needed,
                &sealing,
                &mut verdict,
                context,
            );
            report.read_bytes += read?;
            return Ok(verdict);
        }
        Err(error) if error.is_newer() => return Ok(Verdict::of(error)),
        Err(Error::Store(error)) if error.is_not_found() => return Ok(missing(object)),
        Err(error) => return Err(error),
    };
    let said = footer.locations(pack).unwrap_or_default();
    let said: HashMap<(ChunkId, u64), Location> =
        said.into_iter().map(|(id, at)| ((id, at.offset), at)).collect();
    let mut verdict = Verdict::default();
    let mut sound = vec![];
    for (&(id, offset), &location) in &needed.chunks {
        if said.get(&(id, offset)) == Some(&location) {
            sound.push((id, location));
        } else {
            let why = "a manifest says it lies there, but the pack does not";
            verdict.problems.push(Error::DamagedChunk { chunk: id, object: object.clone(), why });
            verdict.chunks.insert((id, offset));
        }
    }
    if request.read_data {
        let Ok(sealing) = repository.keys().sealing_of(footer.sealed_by) else {
            report.closed_packs += 1;
            return Ok(verdict);
        };
        sound.sort_by_key(|(_, location)| location.offset);
        let read = read_chunks(repository, &object, &sound, &sealing, &mut verdict, context)?;
        report.read_bytes += read;
    }
    Ok(verdict)
}

/// Where a footer says nothing, bytes have to: what manifests need is read, and may be
/// sound. What is not is no problem of its own.
fn check_without_footer(
    repository: &Repository,
    (object, len): (&ObjectKey, u64),
    needed: &Needed,
    sealing: &Sealing,
    verdict: &mut Verdict,
    context: Context<'_>,
) -> Result<u64, Error> {
    let mut chunks: Vec<(ChunkId, Location)> = vec![];
    for (&(id, offset), &location) in &needed.chunks {
        if location.end() <= len {
            chunks.push((id, location));
        } else {
            verdict.chunks.insert((id, offset));
        }
    }
    chunks.sort_by_key(|(_, location)| location.offset);
    let read = read_chunks(repository, object, &chunks, sealing, verdict, context);
    verdict.problems.truncate(1);
    read
}

fn missing(object: ObjectKey) -> Verdict {
    let source = FormatError::Inconsistent("it is not there, but caches need it");
    Verdict { is_lost: true, ..Verdict::of(Error::Damaged { object, source }) }
}

impl Verdict {
    fn of(problem: Error) -> Self {
        Self { problems: vec![problem], ..Self::default() }
    }
}

/// Reads chunks, given in order, and checks each against its name.
fn read_chunks(
    repository: &Repository,
    object: &ObjectKey,
    chunks: &[(ChunkId, Location)],
    sealing: &Sealing,
    verdict: &mut Verdict,
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
        let found: Mutex<Vec<(ChunkId, u64, &'static str)>> = Mutex::default();
        let unpacker = || Unpacker::new(sealing.clone());
        batch.par_iter().for_each_init(unpacker, |unpacker, (id, at)| {
            let from = usize::try_from(at.offset - start).unwrap_or(usize::MAX);
            let stored = &bytes[from..][..at.stored_len as usize];
            if let Err(why) = unpacker.unpack(*id, stored, at.raw_len) {
                lock(&found).push((*id, at.offset, why));
            }
        });
        for (chunk, offset, why) in lock(&found).drain(..) {
            let object = object.clone();
            verdict.problems.push(Error::DamagedChunk { chunk, object, why });
            verdict.chunks.insert((chunk, offset));
            verdict.is_bad = true;
        }
    }
    Ok(read)
}
