//! Sweeping: deleting what the plan says, and nothing that changed since.

use std::collections::BTreeSet;

use super::plan::Plan;
use super::report::Removed;
use super::{Run, Survey};
use crate::error::Error;
use crate::format::{GcState, Layout};
use crate::ids::PackId;
use crate::progress::{Context, Warning};
use crate::repository::{ListedDelta, Removal, Repository};
use crate::store::{ObjectKey, ObjectMeta};
use crate::workers;

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
    let all = survey.marks.all.iter().zip(&survey.verdicts).enumerate();
    let judged = all.filter_map(|(number, (marked, reason))| Some((number, marked, (*reason)?)));
    let outcomes =
        workers::try_map(REMOVERS, judged.collect(), context, |(number, marked, reason)| {
            Ok((number, reason, repository.remove_manifest(&marked.listed)?))
        })?;
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

/// Deletes what is doomed; gives what is gone.
pub(super) fn delete_packs(
    repository: &Repository,
    plan: &Plan,
    context: Context<'_>,
) -> Result<BTreeSet<PackId>, Error> {
    let mut gone: BTreeSet<PackId> = plan.to_delete().into_iter().collect();
    let objects: Vec<ObjectKey> = gone.iter().map(|pack| Layout::pack(*pack)).collect();
    for error in repository.delete_all(&objects)? {
        let pack = ObjectKey::new(&error.object).ok().and_then(|key| Layout::parse_pack(&key));
        match pack {
            Some(pack) => drop(gone.remove(&pack)),
            // It may be any.
            None => gone.clear(),
        }
        context.progress.warn(Warning::NotDeleted { error: error.to_string() });
    }
    Ok(gone)
}

/// Deletes index deltas that the table has taken in, and tables that no state
/// names. Savers that are about to read them upload a little more.
pub(super) fn delete_hints(
    run: &Run<'_>,
    deltas: Vec<ListedDelta>,
    state: &GcState,
) -> Result<(), Error> {
    let is_old = |object: &ObjectMeta| run.now.since(object.modified.into()) >= run.request.grace;
    let mut tables = run.repository.list_tables()?;
    tables.retain(|object| Layout::parse_table(&object.key) != state.table && is_old(object));
    let deltas = deltas.into_iter().map(|delta| delta.object);
    let objects: Vec<ObjectKey> =
        deltas.chain(tables.into_iter().map(|object| object.key)).collect();
    for error in run.repository.delete_all(&objects)? {
        run.context.progress.warn(Warning::NotDeleted { error: error.to_string() });
    }
    Ok(())
}
