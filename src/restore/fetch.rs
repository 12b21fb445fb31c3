//! Getting chunks, and having them written.
//!
//! A few threads fetch ranges of packs, ahead of the work and bounded in
//! memory; two more read what the local tier has. rayon unpacks, checks and
//! writes the chunks. What the tier turns out not to have after all, and what
//! came damaged, is fetched in a second round.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use rayon::prelude::*;

use super::RestoreRequest;
use super::compare::{Action, Comparison};
use super::plan::{self, Fetch, Wanted};
use super::stage::Stage;
use super::write::{FileWriter, WriteError, Written};
use crate::budget::{Budget, FirstError, Permit};
use crate::error::Error;
use crate::format::{EntryIndex, FormatError, Kind, Layout, Manifest, Tree};
use crate::ids::PackId;
use crate::progress::{Context, Phase};
use crate::repository::Repository;
use crate::store::{StoreError, StoreErrorKind};
use crate::sync::lock;
use crate::threads::beside;
use crate::tier::{Entry, Tier};
use crate::workers;

/// Bytes fetched or read, and not yet written.
const BUDGET: usize = 48 << 20;

/// The tier's part of that: a disk is never far behind. It has a part of its
/// own because it is so much faster: it would keep all of it filled, and what
/// comes over the network would begin when the tier is done.
const TIER_BUDGET: usize = 8 << 20;

/// Ranges fetched at once.
const FETCHERS: usize = 8;

/// Threads that read from the tier: one reads while the other waits for room.
const READERS: usize = 2;

/// Stored bytes that one task unpacks: short enough to keep all cores busy to
/// the end.
const TASK: u64 = 1 << 20;

/// Damaged chunks that are fetched once more: bytes that were changed on the way
/// are few, and where there are many it is the store that is damaged.
const MAX_FETCHED_AGAIN: usize = 16;

/// Fetches and writes all files that are not in place.
pub(super) fn fetch(
    repository: &Repository,
    manifest: &Manifest,
    tree: &Tree,
    comparison: &Comparison,
    stage: &Stage<'_>,
    request: &RestoreRequest,
    context: Context<'_>,
) -> Result<Written, Error> {
    let files: Vec<EntryIndex> = tree
        .indexes()
        .filter(|&index| matches!(tree.entry(index).kind, Kind::File(_)))
        .filter(|&index| comparison.is_new(index))
        .collect();
    let bytes = files.iter().map(|&file| tree.data_len(file)).sum();
    context.progress.begin(Phase::Restore, files.len() as u64, bytes);
    let sealed = (manifest, repository.sealing(manifest));
    let writer = FileWriter::new(sealed, tree, comparison, stage, &files, request, context);
    writer.make_empty_files(&files)?;

    let tier = request.tier.as_deref();
    let (kept, rest) = look_up(tier, plan::wanted(manifest, tree, &files));
    let mut fetcher = Fetcher {
        repository,
        manifest,
        tier,
        writer: &writer,
        context,
        failure: FirstError::default(),
        lost: Mutex::default(),
        is_second_round: false,
        fetched: AtomicU64::new(0),
        kept: AtomicU64::new(0),
    };
    fetcher.run(plan::coalesce(rest), batches(kept));
    let mut lost = std::mem::take(&mut *lock(&fetcher.lost));
    fetcher.is_second_round = true;
    lost.sort_by_key(|chunk| (chunk.location.pack, chunk.location.offset));
    fetcher.run(plan::coalesce(lost), vec![]);

    let (fetched, kept) = (fetcher.fetched.into_inner(), fetcher.kept.into_inner());
    context.check()?;
    fetcher.failure.into_result()?;
    let mut written = writer.finish();
    written.fetched_bytes = fetched;
    written.local_cache_bytes = kept;
    // A file that is in place takes its other names along.
    let same: HashSet<EntryIndex> = written.same.iter().copied().collect();
    written.same.extend(tree.indexes().filter(|&index| match tree.entry(index).kind {
        Kind::HardLink { first } => {
            comparison.action(index) == Action::Check && same.contains(&first)
        }
        _ => false,
    }));
    Ok(written)
}

/// A wanted chunk that the tier seems to have.
type Kept = (Wanted, Entry);

/// Asks the tier for each chunk; gives what it seems to have, and the rest.
fn look_up(tier: Option<&Tier>, wanted: Vec<Wanted>) -> (Vec<Kept>, Vec<Wanted>) {
    let Some(tier) = tier else {
        return (vec![], wanted);
    };
    let find = |chunk: &Wanted| tier.find(chunk.id, chunk.location.raw_len);
    let found: Vec<Option<Entry>> = wanted.par_iter().map(find).collect();
    let (mut kept, mut rest) = (vec![], vec![]);
    for (chunk, found) in wanted.into_iter().zip(found) {
        match found {
            Some(entry) => kept.push((chunk, entry)),
            None => rest.push(chunk),
        }
    }
    (kept, rest)
}

/// Splits what the tier has into tasks.
fn batches(kept: Vec<Kept>) -> Vec<Vec<Kept>> {
    let mut batches: Vec<Vec<Kept>> = vec![];
    let mut len = TASK;
    for (chunk, entry) in kept {
        match batches.last_mut() {
            Some(last) if len < TASK => last.push((chunk, entry)),
            _ => {
                batches.push(vec![(chunk, entry)]);
                len = 0;
            }
        }
        len += u64::from(entry.stored_len);
    }
    batches
}

/// Where bytes came from.
#[derive(Clone, Copy)]
enum Origin {
    Pack(PackId),
    Tier,
}

/// A wanted chunk and its stored bytes, not verified yet.
type Stored = (Wanted, Bytes);

/// What the threads of a restore share.
struct Fetcher<'a, 'w> {
    repository: &'a Repository,
    manifest: &'a Manifest,
    tier: Option<&'a Tier>,
    writer: &'a FileWriter<'w>,
    context: Context<'a>,
    failure: FirstError,
    /// What the tier seemed to have, and did not, and what came damaged.
    lost: Mutex<Vec<Wanted>>,
    is_second_round: bool,
    /// Bytes of ranges that were fetched.
    fetched: AtomicU64,
    /// Stored bytes of the tier that were used.
    kept: AtomicU64,
}

impl<'w> Fetcher<'_, 'w> {
    /// Gets and writes chunks, until all are written or something failed.
    fn run(&self, fetches: Vec<Fetch>, batches: Vec<Vec<Kept>>) {
        let of_tier = if batches.is_empty() { 0 } else { TIER_BUDGET };
        let budget = Budget::new(BUDGET - of_tier);
        let tier_budget = Budget::new(of_tier);
        // `in_place_scope` waits for the tasks, `thread::scope` for the threads
        // that spawn them: this order, because they spawn until they end.
        rayon::in_place_scope(|tasks| {
            std::thread::scope(|threads| {
                beside(threads, || {
                    workers::for_each(READERS, batches, |batch| {
                        self.read(batch, &tier_budget, tasks);
                    });
                });
                workers::for_each(FETCHERS, fetches, |fetch| self.fetch(fetch, &budget, tasks));
            });
        });
    }

    fn may_fetch_again(&self) -> bool {
        !self.is_second_round && lock(&self.lost).len() < MAX_FETCHED_AGAIN
    }

    fn goes_on(&self) -> bool {
        self.failure.none() && self.context.check().is_ok()
    }

    fn fetch<'scope>(&'scope self, fetch: Fetch, budget: &Arc<Budget>, tasks: &rayon::Scope<'scope>)
    where
        'w: 'scope,
    {
        if !self.goes_on() {
            return;
        }
        let permit = budget.take(usize::try_from(fetch.len()).unwrap_or(usize::MAX));
        match self.get(&fetch) {
            Ok(bytes) => {
                self.fetched.fetch_add(fetch.len(), Ordering::Relaxed);
                self.spawn_all(tasks, fetch, &bytes, permit);
            }
            Err(error) => self.failure.set(error),
        }
    }

    fn get(&self, fetch: &Fetch) -> Result<Bytes, Error> {
        let object = Layout::pack(fetch.pack);
        let missing = |error: StoreError| -> Error {
            if error.is_not_found() {
                match Layout::manifest(&self.manifest.scope, &self.manifest.key) {
                    Ok(needed_by) => Error::Missing { object: object.clone(), needed_by },
                    Err(error) => error.into(),
                }
            } else if matches!(error.kind, StoreErrorKind::RangeOutside { .. }) {
                Error::Damaged { object: object.clone(), source: FormatError::Truncated }
            } else {
                error.into()
            }
        };
        self.repository.store().get_range(&object, fetch.bytes.clone()).map_err(missing)
    }

    /// Splits what was fetched into tasks.
    fn spawn_all<'scope>(
        &'scope self,
        tasks: &rayon::Scope<'scope>,
        fetch: Fetch,
        bytes: &Bytes,
        permit: Permit,
    ) where
        'w: 'scope,
    {
        let Fetch { pack, bytes: range, chunks } = fetch;
        let permit = Arc::new(permit);
        let stored = |chunk: Wanted| {
            let from = usize::try_from(chunk.location.offset - range.start).unwrap_or(usize::MAX);
            let len = chunk.location.stored_len as usize;
            (chunk, bytes.slice(from..from + len))
        };
        let mut chunks = chunks.into_iter().map(stored).peekable();
        while chunks.peek().is_some() {
            let mut task = vec![];
            let mut len = 0;
            while let Some(chunk) = chunks.next_if(|_| len < TASK) {
                len += chunk.1.len() as u64;
                task.push(chunk);
            }
            self.spawn(tasks, task, Origin::Pack(pack), Arc::clone(&permit));
        }
    }

    fn read<'scope>(
        &'scope self,
        batch: Vec<Kept>,
        budget: &Arc<Budget>,
        tasks: &rayon::Scope<'scope>,
    ) where
        'w: 'scope,
    {
        if !self.goes_on() {
            return;
        }
        let len = batch.iter().map(|(_, entry)| entry.stored_len as usize).sum();
        let permit = budget.take(len);
        let mut task = vec![];
        for (chunk, entry) in batch {
            match self.tier.and_then(|tier| tier.read(&entry)) {
                Some(stored) => task.push((chunk, stored.into())),
                None => lock(&self.lost).push(chunk),
            }
        }
        self.spawn(tasks, task, Origin::Tier, Arc::new(permit));
    }

    fn spawn<'scope>(
        &'scope self,
        tasks: &rayon::Scope<'scope>,
        task: Vec<Stored>,
        origin: Origin,
        permit: Arc<Permit>,
    ) where
        'w: 'scope,
    {
        tasks.spawn(move |_| {
            let _held = permit;
            if self.failure.none()
                && let Err(error) = self.write(task, origin)
            {
                self.failure.set(error);
            }
        });
    }

    fn write(&self, task: Vec<Stored>, origin: Origin) -> Result<(), Error> {
        let mut session = self.writer.session();
        for (chunk, stored) in task {
            let written =
                session.write(chunk.id, &stored, chunk.location.raw_len, &chunk.positions);
            match (written, origin) {
                (Ok(()), Origin::Tier) => {
                    self.kept.fetch_add(stored.len() as u64, Ordering::Relaxed);
                }
                (Ok(()), Origin::Pack(_)) => {
                    // Only now: its bytes are known to be right.
                    if let Some(tier) = self.tier {
                        tier.add(chunk.id, &stored);
                    }
                }
                (Err(WriteError::Chunk(_)), Origin::Tier) => {
                    if let Some(tier) = self.tier {
                        tier.remove(chunk.id);
                    }
                    lock(&self.lost).push(chunk);
                }
                (Err(WriteError::Chunk(_)), Origin::Pack(_)) if self.may_fetch_again() => {
                    lock(&self.lost).push(chunk);
                }
                (Err(WriteError::Chunk(why)), Origin::Pack(pack)) => {
                    let object = Layout::pack(pack);
                    return Err(Error::DamagedChunk { chunk: chunk.id, object, why });
                }
                (Err(WriteError::Other(error)), _) => return Err(error),
            }
        }
        session.end();
        Ok(())
    }
}
