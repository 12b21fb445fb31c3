//! Where two keys come apart: the parts of their templates that gave something else,
//! and the files behind these.

use std::collections::BTreeMap;

use serde::Serialize;

use super::record::{Expression, Files, Record};

/// A difference between a key that is wanted and one that is there.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Difference {
    /// It was made by another template.
    Template { there: String },
    /// An expression gave something else.
    Value {
        source: String,
        /// What it gives here.
        here: String,
        /// What it gave when the cache was saved.
        there: String,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        files: Vec<FileDifference>,
        /// Files that were not noted with the cache: what of them changed is not known.
        unlisted: u64,
    },
}

/// What became of a hashed file since the cache was saved.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FileDifference {
    pub(crate) path: String,
    pub(crate) change: Change,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Change {
    Added,
    Changed,
    Removed,
}

/// What differs between how a key is made here and how another was made.
pub(super) fn compare(here: &Record, there: &Record) -> Vec<Difference> {
    let mut differences = vec![];
    if here.template != there.template {
        differences.push(Difference::Template { there: there.template.clone() });
    }
    // A template can have the same expression twice: the first here is the first there.
    let mut others: Vec<Option<&Expression>> = there.parts.iter().map(Some).collect();
    for expression in &here.parts {
        let same =
            |other: &Option<&Expression>| other.is_some_and(|it| it.source == expression.source);
        let Some(other) = others.iter().position(same).and_then(|at| others[at].take()) else {
            continue;
        };
        if expression.value != other.value {
            differences.push(of_values(expression, other));
        }
    }
    differences
}

fn of_values(here: &Expression, there: &Expression) -> Difference {
    let mut files = vec![];
    let mut unlisted = 0;
    for (here, there) in here.hashes.iter().zip(&there.hashes) {
        // What was not noted there may be the same file or not.
        files.extend(of_files(here, there));
        // Whoever can write to the store notes what they like.
        unlisted = u64::saturating_add(unlisted, there.unlisted);
    }
    let (source, here, there) = (here.source.clone(), here.value.clone(), there.value.clone());
    Difference::Value { source, here, there, files, unlisted }
}

fn of_files(here: &Files, there: &Files) -> Vec<FileDifference> {
    let mut before: BTreeMap<&str, &[u8]> =
        there.files.iter().map(|(path, hash)| (path.as_str(), hash.as_slice())).collect();
    let mut differences = vec![];
    for (path, hash) in &here.files {
        let change = match before.remove(path.as_str()) {
            Some(hash_before) if hash_before == hash.as_slice() => continue,
            Some(_) => Change::Changed,
            None if there.unlisted > 0 => continue,
            None => Change::Added,
        };
        differences.push(FileDifference { path: path.clone(), change });
    }
    let removed = before.into_keys().map(str::to_owned);
    differences.extend(removed.map(|path| FileDifference { path, change: Change::Removed }));
    differences.sort_by(|a, b| a.path.cmp(&b.path));
    differences
}
