//! Flush: removing caches that nobody uses, and the packs that nobody needs.
//!
//! [`flush`] reads like `docs/protocol.md`, which says why no cache can be lost
//! while hundreds of jobs save and restore: claim the state, mark what all
//! manifests refer to, decide, remove what has had its time, commit, delete
//! what was doomed, and forget it.

mod claim;
mod marks;
mod plan;
mod policy;
mod repack;
mod report;
mod sweep;
#[cfg(test)]
mod testing;

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::error::Error;
use crate::format::GcState;
use crate::ids::PackId;
use crate::index::TableBuilder;
use crate::progress::{Context, Warning};
use crate::repository::{ListedPack, Repository, StoredState};
use crate::store::Store;
use crate::store_time::StoreTime;
use crate::sync::lock;
use claim::Claimed;
pub use claim::LEASE;
use marks::{Marked, Marks};
use plan::{Living, Plan};
pub use policy::{Policy, Reason};
pub use repack::RepackReport;
pub use report::{FlushReport, Removed, Tally};

/// What to flush, and how.
#[derive(Debug)]
pub struct FlushRequest {
    /// Which caches are kept, and for how long.
    pub policy: Policy,
    /// How long a pack that nobody refers to is kept before it is condemned, and
    /// then again before it is deleted. Longer than any save or restore takes.
    pub grace: Duration,
    /// Move what is in use out of packs that are mostly not.
    pub repack: bool,
    /// Only tell what would be done.
    pub dry_run: bool,
    /// Begin although another flush has not finished.
    pub take_over: bool,
    /// Go on without conditional writes: no other flush runs.
    pub unfenced: bool,
}

/// Removes caches that have had their time, and packs that nobody needs.
///
/// # Errors
/// [`Error`] says what failed. If it names a damaged object, nothing was
/// removed; after any other, the next flush goes on from there.
pub fn flush(
    store: Arc<dyn Store>,
    request: &FlushRequest,
    context: Context<'_>,
) -> Result<FlushReport, Error> {
    let Some(repository) = Repository::open(store)? else {
        return Ok(FlushReport::default());
    };
    let found = repository.gc_state()?;
    let now = StoreTime::from(repository.store().now()?);
    if claim::is_busy(&found.state, now, request.grace) && !request.take_over {
        return Ok(FlushReport { busy: found.state.claim, now, ..FlushReport::default() });
    }
    let run = Run { repository: &repository, request, now, began: Instant::now(), context };
    if request.dry_run {
        return run.rehearse(&found);
    }
    let mut claimed = Claimed::take(&repository, found, now, request.unfenced)?;
    let result = run.act(&mut claimed);
    match &result {
        // It is another's now.
        Ok(_) | Err(Error::FlushOvertaken) => {}
        Err(_) => claimed.give_up(),
    }
    result
}

/// One run of a flush.
struct Run<'a> {
    repository: &'a Repository,
    request: &'a FlushRequest,
    /// The store's time when it began.
    now: StoreTime,
    began: Instant,
    context: Context<'a>,
}

/// What a flush knows of a store when it decides.
struct Survey {
    marks: Marks,
    packs: Vec<ListedPack>,
    lens: HashMap<PackId, u64>,
    /// For each manifest, why it is to be removed, if it is.
    verdicts: Vec<Option<Reason>>,
}

impl Run<'_> {
    /// Tells what [`Run::act`] would do.
    fn rehearse(&self, found: &StoredState) -> Result<FlushReport, Error> {
        let survey = self.survey(|_| {})?;
        let living = marks::living(survey.staying());
        let plan = self.plan(&found.state, &living, &survey);
        let mut report = FlushReport::of(self.now, &survey, &living, &plan);
        report.removed = survey.to_remove().map(Removed::of).collect();
        report.dry_run = true;
        if self.request.repack {
            report.repacked = Some(repack::rehearse(&living, &survey.packs, &plan));
        }
        Ok(report)
    }

    fn act(&self, claimed: &mut Claimed<'_>) -> Result<FlushReport, Error> {
        repack::fence(self.repository, claimed, self.context)?;
        // Before the manifests: what a delta of these lists, they list too.
        let deltas = self.repository.list_deltas()?;
        let table = self.begin_table(&claimed.state)?;
        let known = if table.is_incomplete() {
            HashMap::new()
        } else {
            marks::known(self.repository, self.context)?
        };
        let table = Mutex::new(table);
        let mut survey = self.survey_with(known, |references| {
            let mut table = lock(&table);
            for (id, at) in references.chunks.rows() {
                table.add(*id, at.pack);
            }
        })?;
        self.context.check()?;

        let removed = sweep::remove_manifests(self.repository, &mut survey, self.context)?;
        let living = marks::living(survey.staying());
        let plan = self.plan(&claimed.state, &living, &survey);
        let mut report = FlushReport::of(self.now, &survey, &living, &plan);
        report.removed = removed;

        let mut next = self.commit(&claimed.state, &plan);
        next.table = self.write_table(table, &living, &survey, &claimed.state)?;
        claimed.put(next)?;

        let still_there = sweep::delete_packs(self.repository, &plan, &mut report, self.context)?;
        report.deltas_merged = deltas.len() as u64;
        sweep::delete_hints(self.repository, deltas, &claimed.state, self.now, self.request.grace)?;
        self.repository.put_gc_marks(survey.staying().map(|marked| &marked.mark))?;
        if self.request.repack {
            let repacked =
                repack::repack(self.repository, claimed, &living, &survey, &plan, self.context)?;
            report.repacked = Some(repacked);
        }
        let mut rest = claimed.state.clone();
        rest.doomed.retain(|pack| still_there.contains(pack));
        rest.claim = None;
        claimed.put(rest)?;
        Ok(report)
    }
}
