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
mod repair;
mod report;
mod sweep;
#[cfg(test)]
mod testing;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::error::Error;
use crate::format::{Claim, GcState, Mark, References};
use crate::ids::{FlushId, PackId, TableId};
use crate::index::TableBuilder;
use crate::progress::{Context, Warning};
use crate::repository::{Access, ListedPack, Repository, StoredState};
use crate::store_time::StoreTime;
use crate::sync::lock;
use claim::Claimed;
pub use claim::LEASE;
use marks::{Marked, Marks};
use plan::{Living, Plan};
pub use policy::{Policy, Reason, Scopes};
pub use repack::RepackReport;
pub use repair::{RepairReport, RepairRequest, repair};
pub use report::{FlushReport, Removed, Tally};

/// How long a pack that nobody refers to is kept, and kept again, unless said
/// otherwise: four times as long as the longest save that anyone should have.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(86_400);

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

impl FlushRequest {
    /// A flush by this policy, as `larder flush` does it unless told otherwise.
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            grace: DEFAULT_GRACE,
            repack: false,
            dry_run: false,
            take_over: false,
            unfenced: false,
        }
    }
}

/// Removes caches that have had their time, and packs that nobody needs.
///
/// # Errors
/// [`Error`] says what failed. If it names a damaged object, nothing was
/// removed; after any other, the next flush goes on from there.
pub fn flush(
    access: impl Into<Access>,
    request: &FlushRequest,
    context: Context<'_>,
) -> Result<FlushReport, Error> {
    let Some(repository) = Repository::open(access)? else {
        return Ok(FlushReport::default());
    };
    let found = repository.gc_state()?;
    let now = StoreTime::from(repository.store().now()?);
    if claim::is_busy(&found.state, now, request.grace) && !request.take_over {
        return Ok(FlushReport { busy: found.state.claim, now, ..FlushReport::default() });
    }
    let run = Run { repository: &repository, request, now, context };
    if request.dry_run {
        return run.rehearse(&found);
    }
    let claimed = match Claimed::take(&repository, found, now, request.unfenced) {
        // Begun at the same moment, and was faster.
        Err(Error::FlushOvertaken) => {
            let other = repository.gc_state()?.state.claim;
            let busy = other.or(Some(Claim { by: FlushId::generate(), at: now }));
            return Ok(FlushReport { busy, now, ..FlushReport::default() });
        }
        claimed => claimed?,
    };
    claimed.act(|claimed| run.act(claimed))
}

/// One run of a flush.
struct Run<'a> {
    repository: &'a Repository,
    request: &'a FlushRequest,
    /// The store's time when it began.
    now: StoreTime,
    context: Context<'a>,
}

/// What a flush knows of a store when it decides.
struct Survey {
    marks: Marks,
    packs: Vec<ListedPack>,
    /// The length of each pack.
    lens: HashMap<PackId, u64>,
    /// For each manifest, why it is to be removed, if it is.
    verdicts: Vec<Option<Reason>>,
}

impl Survey {
    /// Manifests that are not to be removed.
    fn staying(&self) -> impl Iterator<Item = &Marked> {
        let judged = self.marks.all.iter().zip(&self.verdicts);
        judged.filter(|(_, verdict)| verdict.is_none()).map(|(marked, _)| marked)
    }

    /// Manifests that are, and why.
    fn to_remove(&self) -> impl Iterator<Item = (&Marked, Reason)> {
        let judged = self.marks.all.iter().zip(&self.verdicts);
        judged.filter_map(|(marked, verdict)| Some((marked, (*verdict)?)))
    }

    /// Packs that these refer to.
    fn left(&self) -> BTreeSet<PackId> {
        self.to_remove().flat_map(|(marked, _)| marked.mark.packs.packs()).collect()
    }
}

impl Run<'_> {
    /// Tells what [`Run::act`] would do.
    fn rehearse(&self, found: &StoredState) -> Result<FlushReport, Error> {
        let known = marks::known(self.repository, self.context)?;
        let survey = self.survey(known, |_| {})?;
        let living = marks::living(survey.staying());
        let plan = self.plan(&found.state, &living, &survey);
        let mut report = self.report(&survey, &living, &plan);
        report.removed = survey.to_remove().map(Removed::of).collect();
        report.dry_run = true;
        if self.request.repack {
            report.repacked = Some(repack::rehearse(&living, &survey, &plan));
        }
        Ok(report)
    }

    fn act(&self, claimed: &mut Claimed<'_>) -> Result<FlushReport, Error> {
        repack::fence(self.repository, claimed, self.context)?;
        // Before the manifests: what a delta of these lists, they refer to.
        let deltas = self.repository.list_deltas(0)?;
        let table = TableBuilder::from_table(self.repository, claimed.state.table, self.context)?;
        let known = if table.is_whole() {
            marks::known(self.repository, self.context)?
        } else {
            // What was in the table is to be read again.
            HashMap::new()
        };
        let table = Mutex::new(table);
        let mut survey = self.survey(known, |references| {
            let mut table = lock(&table);
            for (id, at) in references.chunks.rows() {
                table.add(*id, at.pack);
            }
        })?;

        claimed.check_age(&survey.marks.all)?;
        let removed = sweep::remove_manifests(self.repository, &mut survey, self.context)?;
        let living = marks::living(survey.staying());
        let plan = self.plan(&claimed.state, &living, &survey);
        let mut report = self.report(&survey, &living, &plan);
        report.removed = removed;

        let table = table.into_inner().unwrap_or_else(PoisonError::into_inner);
        let table = self.put_table(table, &claimed.state, &living, &survey, &plan)?;
        self.context.check()?;
        // Grace begins when it is known to everybody, however long all this took.
        let now = StoreTime::from(self.repository.store().now()?);
        claimed.put(GcState { table, ..plan.commit(&claimed.state, now) })?;

        let deleted = sweep::delete_packs(self.repository, &plan, self.context)?;
        report.count_deleted(&deleted, &survey);
        report.deltas_merged = deltas.len() as u64;
        sweep::delete_hints(self, deltas, &claimed.state)?;
        self.repository.put_gc_marks(survey.staying().map(Marked::named))?;
        if self.request.repack {
            let repacked =
                repack::repack(self.repository, claimed, &living, &survey, &plan, self.context)?;
            report.repacked = Some(repacked);
        }
        let mut rest = claimed.state.clone();
        rest.doomed.retain(|pack| !deleted.contains(pack));
        rest.claim = None;
        claimed.put(rest)?;
        Ok(report)
    }

    /// Looks at everything and judges the manifests.
    fn survey(
        &self,
        known: HashMap<String, Mark>,
        seen: impl Fn(&References) + Sync,
    ) -> Result<Survey, Error> {
        let marks = marks::mark(self.repository, known, seen, self.context)?;
        // After the manifests: then a pack of theirs that is not listed is gone.
        let packs = self.repository.list_packs()?;
        let lens = packs.iter().map(|pack| (pack.id, pack.len)).collect();
        let verdicts = policy::judge(&marks.all, &lens, &self.request.policy, self.now);
        Ok(Survey { marks, packs, lens, verdicts })
    }

    fn plan(&self, state: &GcState, living: &Living, survey: &Survey) -> Plan {
        Plan::make(state, living, &survey.left(), &survey.packs, self.now, self.request.grace)
    }

    fn report(&self, survey: &Survey, living: &Living, plan: &Plan) -> FlushReport {
        let max_size = self.request.policy.max_size;
        let report = FlushReport::of(self.now, survey, living, plan, max_size);
        for (scope, key) in &report.broken {
            let object = format!("{key} in scope {scope}");
            self.context.progress.warn(Warning::Broken { object });
        }
        report
    }

    /// Writes a new index table, unless the one before says the same.
    fn put_table(
        &self,
        table: TableBuilder,
        state: &GcState,
        living: &Living,
        survey: &Survey,
        plan: &Plan,
    ) -> Result<Option<TableId>, Error> {
        let is_same = table.is_whole() && survey.marks.read == 0;
        if is_same && plan.condemned.is_empty() && plan.doomed.is_empty() && state.table.is_some() {
            return Ok(state.table);
        }
        let is_kept = |pack: &PackId| living.contains_key(pack) && !plan.left_over.contains(pack);
        let len = |pack: PackId| survey.lens.get(&pack).copied().filter(|_| is_kept(&pack));
        table.write(self.repository, len).map(Some)
    }
}
