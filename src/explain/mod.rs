//! Why a key was not found: the keys that are nearest to it, and where they come apart.
//!
//! A save notes in the manifest how its key was made of a template; here that is
//! compared with how the wanted key is made now. What a manifest notes is hearsay, and
//! decides nothing.

mod compare;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod record;

use larder::error::Error;
use larder::format::Annotation;
use larder::ids::{Key, Scope};
use larder::repository::Repository;
use larder::restore::nearest_keys;
use serde::Serialize;

use crate::keys::Rendered;
#[cfg(test)]
pub(crate) use compare::FileDifference;
use compare::compare;
pub(crate) use compare::{Change, Difference};
use record::Record;

/// Keys that are looked at: the nearest one mostly tells, two more tell if it does not.
const NEAREST: usize = 3;

/// Scopes that are named where the wanted one has nothing.
const OTHER_SCOPES: usize = 5;

/// What is to be noted in a manifest of how its key was made.
pub(crate) fn note(rendered: &Rendered) -> Annotation {
    Record::of(rendered).map(Record::into_annotation).unwrap_or_default()
}

/// Why a key was not found.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    pub(crate) wanted: Key,
    /// Its template, if it was made of one.
    pub(crate) template: Option<String>,
    /// The scopes that were looked in, in order.
    pub(crate) scopes: Vec<Scope>,
    /// Caches of these scopes, the nearest first.
    pub(crate) nearest: Vec<Near>,
    /// Other scopes of the store, if these have no caches at all.
    pub(crate) other_scopes: Vec<Scope>,
}

/// A cache that is there.
#[derive(Debug, Serialize)]
pub(crate) struct Near {
    pub(crate) key: Key,
    pub(crate) scope: Scope,
    /// When it was saved, in seconds since 1970 by the store's clock.
    pub(crate) saved: i64,
    /// Whether it tells how its key was made.
    pub(crate) is_noted: bool,
    pub(crate) differences: Vec<Difference>,
}

/// Looks for what is nearest to a key that was not found.
///
/// # Errors
/// Those of the store. A manifest that cannot be read is passed over.
pub(crate) fn explain(
    repository: Option<&Repository>,
    scopes: &[&Scope],
    wanted: &Rendered,
) -> Result<Explanation, Error> {
    let here = Record::of(wanted);
    let mut explanation = Explanation {
        wanted: wanted.key.clone(),
        template: here.as_ref().map(|record| record.template.clone()),
        scopes: scopes.iter().map(|scope| (*scope).clone()).collect(),
        nearest: vec![],
        other_scopes: vec![],
    };
    let Some(repository) = repository else { return Ok(explanation) };
    let mut nearest = nearest_keys(repository, scopes, &wanted.key, NEAREST)?;
    if nearest.is_empty() {
        explanation.other_scopes = other_scopes(repository)?;
    }
    // Of those that are for something else, the newest is enough to see that.
    let related = nearest.iter().take_while(|near| begins_alike(&near.key, &wanted.key)).count();
    nearest.truncate(related.max(1));
    for listed in nearest {
        let stored = match repository.manifest(&listed.scope, &listed.key) {
            Ok(Some(stored)) => stored,
            // Deleted since, or nothing to compare with.
            Ok(None) => continue,
            Err(error) if error.is_unusable() => continue,
            Err(error) => return Err(error),
        };
        let there = Record::read(&stored.manifest.annotation);
        let differences = match (&here, &there) {
            (Some(here), Some(there)) => compare(here, there),
            (None, Some(there)) => vec![Difference::Template { there: there.template.clone() }],
            (_, None) => vec![],
        };
        explanation.nearest.push(Near {
            key: listed.key,
            scope: listed.scope,
            saved: stored.manifest.facts.saved.unix(),
            is_noted: there.is_some(),
            differences,
        });
    }
    // Where one was made as the wanted key is, those of other caches tell nothing.
    let by_template = |near: &Near| {
        near.is_noted
            && !near.differences.iter().any(|it| matches!(it, Difference::Template { .. }))
    };
    if explanation.nearest.iter().any(by_template) {
        explanation.nearest.retain(by_template);
    }
    Ok(explanation)
}

/// Whether two keys have the same first word.
fn begins_alike(a: &Key, b: &Key) -> bool {
    let word = |key: &Key| -> String {
        key.as_str().chars().take_while(|letter| letter.is_alphanumeric()).collect()
    };
    word(a) == word(b)
}

fn other_scopes(repository: &Repository) -> Result<Vec<Scope>, Error> {
    let listed = repository.list_all_manifests()?;
    let mut scopes: Vec<Scope> = listed.into_iter().map(|listed| listed.scope).collect();
    scopes.sort_unstable();
    scopes.dedup();
    scopes.truncate(OTHER_SCOPES);
    Ok(scopes)
}

#[cfg(test)]
mod tests;
