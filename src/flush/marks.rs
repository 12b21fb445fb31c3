//! Marking: what every manifest of the store refers to.
//!
//! Manifests that are in the version that the last flush saw are known from its
//! marks; all others are read, a few at once. If any cannot be read, the flush
//! must end: what it refers to cannot be told from garbage.

use std::collections::HashMap;

use super::plan::Living;
use crate::budget::Budget;
use crate::error::Error;
use crate::format::{Mark, Parts, References};
use crate::progress::{Context, Phase, Warning};
use crate::repository::{ListedManifest, Repository};
use crate::store_time::StoreTime;
use crate::workers;

/// Manifests read at once: a service takes some ten milliseconds for each, and
/// ten thousand of them are not to take minutes.
const READERS: usize = 16;

/// Bytes of manifests being read, unpacked.
const BUDGET: usize = 64 << 20;

/// How much longer a manifest is than its object, at the most that is likely.
const UNPACKED: usize = 6;

/// A manifest and what it refers to.
#[derive(Clone, Debug)]
pub(super) struct Marked {
    pub(super) listed: ListedManifest,
    pub(super) mark: Mark,
}

impl Marked {
    /// What the next flush is told of it.
    pub(super) fn named(&self) -> (&str, &Mark) {
        (self.listed.object.as_str(), &self.mark)
    }

    /// When the cache was last saved or used.
    pub(super) fn last_used(&self) -> StoreTime {
        self.mark.facts.used.unwrap_or_else(|| self.listed.modified.into())
    }
}

/// All manifests of a store.
#[derive(Debug, Default)]
pub(super) struct Marks {
    /// In the order of their objects' keys.
    pub(super) all: Vec<Marked>,
    /// How many of them had to be read.
    pub(super) read: u64,
}

/// Marks of the last flush, by the objects' keys. Damaged ones are worth no
/// more than none.
pub(super) fn known(
    repository: &Repository,
    context: Context<'_>,
) -> Result<HashMap<String, Mark>, Error> {
    match repository.gc_marks() {
        Ok(marks) => Ok(marks),
        Err(error) if error.is_damage() => {
            context.progress.warn(Warning::IgnoredDamage { error: error.to_string() });
            Ok(HashMap::new())
        }
        Err(error) => Err(error),
    }
}

/// Marks all manifests; `seen` gets what each one that is read refers to.
pub(super) fn mark(
    repository: &Repository,
    mut known: HashMap<String, Mark>,
    seen: impl Fn(&References) + Sync,
    context: Context<'_>,
) -> Result<Marks, Error> {
    let listed = repository.list_all_manifests()?;
    let mut marks = Marks::default();
    let mut unknown = vec![];
    for listed in listed {
        match known.remove(listed.object.as_str()) {
            Some(mark) if mark.version == listed.version.as_str() => {
                marks.all.push(Marked { listed, mark });
            }
            _ => unknown.push(listed),
        }
    }
    drop(known);
    marks.read = unknown.len() as u64;
    let bytes = unknown.iter().map(|listed| listed.len).sum();
    context.progress.begin(Phase::Mark, unknown.len() as u64, bytes);
    marks.all.extend(read(repository, unknown, seen, context)?);
    marks.all.sort_unstable_by(|a, b| a.listed.object.cmp(&b.listed.object));
    Ok(marks)
}

fn read(
    repository: &Repository,
    unknown: Vec<ListedManifest>,
    seen: impl Fn(&References) + Sync,
    context: Context<'_>,
) -> Result<Vec<Marked>, Error> {
    let budget = Budget::new(BUDGET);
    let read = workers::try_map(READERS, unknown, context, |listed| {
        let len = usize::try_from(listed.len).unwrap_or(usize::MAX);
        let _permit = budget.take(len.saturating_mul(UNPACKED));
        // Deleted since it was listed, if it is not there.
        let Some((listed, references)) = repository.references(&listed)? else { return Ok(None) };
        seen(&references);
        context.progress.advance(1, listed.len);
        Ok(Some(of_references(listed, &references)))
    })?;
    Ok(read.into_iter().flatten().collect())
}

fn of_references(listed: ListedManifest, references: &References) -> Marked {
    let locations = references.chunks.rows().iter().map(|(_, at)| *at);
    let mark = Mark {
        version: listed.version.as_str().to_owned(),
        facts: references.facts.clone(),
        packs: Parts::of(locations),
    };
    Marked { listed, mark }
}

/// What these manifests refer to together.
pub(super) fn living<'a>(marked: impl Iterator<Item = &'a Marked>) -> Living {
    let mut living = Living::new();
    for (pack, runs) in marked.flat_map(|manifest| manifest.mark.packs.iter()) {
        living.entry(pack).or_default().add(runs);
    }
    living
}
