//! What the functions of templates give, and the values that have to be looked up; or
//! why there are none.

use std::ops::Range;

use larder::error::Error;
use larder::files::FileError;
use minijinja::Value;

use super::failure::{KeyError, Mistake};
use super::files::{self, NoHash};
use super::{FilesHash, Surroundings, branch, names, short_hash};
use crate::git;

/// Digits of a hash, if the template says nothing else: enough that no two of a
/// million different trees share one, and short enough to read.
const HASH_LEN: usize = 16;

/// Fewer digits would make hashes of different files the same one day; more, a blake3
/// hash does not have.
const HASH_LENS: std::ops::RangeInclusive<usize> = 8..=64;

/// Bytes that the filter `replace` may put into a text: many times what a key has.
const MAX_REPLACED: usize = 64 << 10;

/// Why an expression has no value.
pub(super) enum Refusal {
    Says { why: String, hint: Option<String> },
    Larder(Error),
}

impl Refusal {
    pub(super) fn new(why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self::Says { why: why.into(), hint: Some(hint.into()) }
    }

    pub(super) fn at(self, range: Range<usize>, template: &str) -> KeyError {
        match self {
            Self::Larder(error) => error.into(),
            Self::Says { why, hint: None } => Mistake::new(range, why).of(template),
            Self::Says { why, hint: Some(hint) } => {
                Mistake::new(range, why).hint(hint).of(template)
            }
        }
    }
}

/// The function `env()`.
pub(super) fn variable(
    surroundings: &Surroundings,
    name: &str,
    default: Option<String>,
) -> Result<String, Refusal> {
    let Some(value) = surroundings.variable(name) else {
        return default.ok_or_else(|| {
            let hint = format!("set it, or write env({name:?}, default=\"…\")");
            Refusal::new(format!("the environment variable {name} is not set"), hint)
        });
    };
    value.to_str().map(str::to_owned).ok_or_else(|| Refusal::Says {
        why: format!("the environment variable {name} is no text"),
        hint: None,
    })
}

/// The filter `replace`. The engine's own would make a text ten times as long at each of
/// ten uses, until memory ends.
pub(super) fn replace(text: &str, from: &str, to: &str) -> Result<String, Refusal> {
    let grown = text.matches(from).count().saturating_mul(to.len());
    if grown > MAX_REPLACED {
        let why = "what replace() gives is too long";
        return Err(Refusal::new(why, "a key has at most 512 bytes"));
    }
    Ok(text.replace(from, to))
}

/// The function `hash()`.
pub(super) fn hash(
    surroundings: &Surroundings,
    globs: &[Value],
    len: Option<usize>,
) -> Result<FilesHash, Refusal> {
    let len = len.unwrap_or(HASH_LEN);
    let example = || format!("write {}", names::written("hash"));
    if globs.is_empty() {
        return Err(Refusal::new("hash() is of no files", example()));
    }
    if !HASH_LENS.contains(&len) {
        let why = format!("a hash has {} to {} digits", HASH_LENS.start(), HASH_LENS.end());
        return Err(Refusal::new(why, format!("leave length out for {HASH_LEN}")));
    }
    let globs = globs.iter().map(|glob| glob.as_str().map(str::to_owned));
    let globs: Option<Vec<String>> = globs.collect();
    let globs = globs.ok_or_else(|| Refusal::new("a glob must be a text", example()))?;
    match files::hash(&surroundings.directory, &globs, &surroundings.stop) {
        Ok((hasher, files)) => Ok(FilesHash { hash: short_hash(&hasher, len), globs, files }),
        Err(NoHash::Larder(error)) => Err(Refusal::Larder(error)),
        Err(NoHash::Glob { glob, why }) => {
            Err(Refusal::Says { why: format!("invalid glob {glob:?}: {why}"), hint: None })
        }
        Err(NoHash::Directory(path)) => {
            let path = path.trim_end_matches('/');
            let hint = format!("write {:?} for all files in it", format!("{path}/**"));
            Err(Refusal::new(format!("{path} is a directory"), hint))
        }
        Err(NoHash::Nothing) => Err(Refusal::new(
            "no file matches",
            "globs are relative to the working directory, in larder.toml to its own, and do not \
             match what is ignored by git",
        )),
    }
}

/// The value `commit`.
pub(super) fn commit_of(surroundings: &Surroundings) -> Result<String, Refusal> {
    let root = git::root(&surroundings.directory).ok_or_else(|| no_repository("commit", ""))?;
    git::head(root).map_err(|error| unusable("commit", error))
}

/// The value `branch`.
pub(super) fn branch_of(surroundings: &Surroundings) -> Result<String, Refusal> {
    let root = git::root(&surroundings.directory);
    let checked_out = root.map(|root| git::branch(root).map_err(|error| unusable("branch", error)));
    if let Some(branch) = checked_out.transpose()?.flatten() {
        return Ok(branch);
    }
    let variable = |name: &str| surroundings.variable(name).and_then(|value| value.to_str());
    let told = branch::told(variable).map(str::to_owned);
    told.ok_or_else(|| match root {
        Some(_) => Refusal::new(
            "there is no branch: a commit is checked out, and no variable of a CI system tells",
            "write branch | default(\"none\"), or take the branch from a variable by env()",
        ),
        None => no_repository("branch", ", and no variable of a CI system tells"),
    })
}

fn no_repository(what: &str, more: &str) -> Refusal {
    Refusal::new(
        format!("there is no {what}: the working directory is in no git repository{more}"),
        format!("write {what} | default(\"none\") where there may be none"),
    )
}

fn unusable(what: &str, error: git::NotUsable) -> Refusal {
    match error {
        git::NotUsable::Unreadable { path, error } => {
            Refusal::Larder(FileError::new("read", path, error).into())
        }
        error => Refusal::Says {
            why: format!("there is no {what} to be had from the git repository: {error}"),
            hint: None,
        },
    }
}
