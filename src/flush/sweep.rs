//! Sweeping: deleting what the plan says, and nothing that changed since.

use std::collections::{BTreeSet, HashSet};
use std::sync::Mutex;
use std::time::Duration;

use super::marks::Marked;
use super::plan::Plan;
use super::report::{FlushReport, Removed};
use super::{Reason, Survey};
use crate::budget::FirstError;
use crate::error::Error;
use crate::format::{GcState, Layout};
use crate::ids::PackId;
use crate::progress::{Context, Warning};
use crate::repository::{Removal, Repository};
use crate::store::{ObjectKey, ObjectMeta};
use crate::store_time::StoreTime;
use crate::sync::lock;

/// Manifests removed at once: each takes a request of its own, since each has
/// its own condition.
const REMOVERS: usize = 8;

/// Removes the manifests that were judged; what was saved or used meanwhile is
/// acquitted.
pub(super) fn remove_manifests(
    repository: &Repository,
    survey: &mut Survey,
    context: Context<'_>,
) -> Result<Vec<Removed>, Error> {
    let outcomes = {
        let all = survey.marks.all.iter().zip(&survey.verdicts).enumerate();
        let judged = all.filter_map(|(number, (marked, reason))| Some((number, marked, (*reason)?)));
        remove_all(repository, judged.collect(), context)?
    };
    let mut removed = vec![];
    for (number, reason, outcome) in outcomes {
        match outcome {
            Removal::Removed => removed.push(Removed::of((&survey.marks.all[number], reason))),
            Removal::Changed => survey.verdicts[number] = None,
            Removal::Gone => {}
        }
    }
    Ok(removed)
}

type Outcome = (usize, Reason, Removal);

fn remove_all(
    repository: &Repository,
    judged: Vec<(usize, &Marked, Reason)>,
    context: Context<'_>,
) -> Result<Vec<Outcome>, Error> {
    let removers = REMOVERS.min(judged.len());
    let queue = Mutex::new(judged.into_iter());
    let outcomes = Mutex::new(vec![]);
    let failure = FirstError::default();
    std::thread::scope(|threads| {
        for _ in 0..removers {
            threads.spawn(|| {
                while failure.none()
                    && context.check().is_ok()
                    && let Some((number, marked, reason)) = next(&queue)
                {
                    match repository.remove_manifest(&marked.listed) {
                        Ok(outcome) => lock(&outcomes).push((number, reason, outcome)),
                        Err(error) => failure.set(error),
                    }
                }
            });
        }
    });
    context.check()?;
    failure.into_result()?;
    let mut outcomes = std::mem::take(&mut *lock(&outcomes));
    outcomes.sort_unstable_by_key(|(number, ..)| *number);
    Ok(outcomes)
}

fn next<T>(queue: &Mutex<impl Iterator<Item = T>>) -> Option<T> {
    lock(queue).next()
}

/// Deletes what is doomed; gives what is still there.
pub(super) fn delete_packs(
    repository: &Repository,
    plan: &Plan,
    report: &mut FlushReport,
    survey: &Survey,
    context: Context<'_>,
) -> Result<BTreeSet<PackId>, Error> {
    let objects: Vec<ObjectKey> = plan.to_delete().into_iter().map(Layout::pack).collect();
    let mut still_there = BTreeSet::new();
    for error in repository.delete_all(&objects)? {
        let pack = ObjectKey::new(&error.object).ok().and_then(|key| Layout::parse_pack(&key));
        still_there.extend(pack);
        context.progress.warn(Warning::NotDeleted { error: error.to_string() });
    }
    report.deleted.packs.retain(|pack| !still_there.contains(pack));
    report.deleted.bytes =
        report.deleted.packs.iter().filter_map(|pack| survey.lens.get(pack)).sum();
    Ok(still_there)
}

/// Deletes index deltas that the table has taken in, and tables that no state
/// names. Savers that are about to read them upload a little more.
pub(super) fn delete_hints(
    repository: &Repository,
    deltas: Vec<ObjectMeta>,
    state: &GcState,
    now: StoreTime,
    grace: Duration,
    context: Context<'_>,
) -> Result<(), Error> {
    let named: HashSet<ObjectKey> = state.table.map(Layout::table_objects).into_iter().flatten().collect();
    let is_old = |object: &ObjectMeta| now.since(object.modified.into()) >= grace;
    let tables = repository.list_tables()?;
    let tables = tables.into_iter().filter(|object| !named.contains(&object.key) && is_old(object));
    let objects: Vec<ObjectKey> = deltas.into_iter().chain(tables).map(|object| object.key).collect();
    for error in repository.delete_all(&objects)? {
        context.progress.warn(Warning::NotDeleted { error: error.to_string() });
    }
    Ok(())
}
