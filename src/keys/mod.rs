//! Key templates: `npm-{{ os }}-{{ hash("**/package-lock.json") }}`, as people write
//! them, to the keys of the library.
//!
//! A front end, and no part of the library: that knows keys as names and nothing of
//! what is in them, while templates speak of a repository, of CI systems' variables
//! and of the day. Nothing of these is read but through [`Surroundings`], so that
//! tests, and whoever renders for another process, say what is there.
//!
//! The language is Jinja's, as far as its expressions go; `minijinja` reads and
//! evaluates them. Whatever a template names must be known and be there: a key with a
//! hole in it would find caches that are not meant.

mod branch;
mod calendar;
mod engine;
mod failure;
mod files;
mod functions;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod names;
mod slug;
mod split;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::SystemTime;

use larder::ids::Key;
use serde::Serialize;

pub(crate) use engine::Engine;
pub(crate) use failure::KeyError;
pub(crate) use files::HashedFile;

/// What templates can speak of.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// What globs are relative to; the repository is the one that it lies in.
    pub(crate) directory: PathBuf,
    pub(crate) variables: BTreeMap<OsString, OsString>,
    pub(crate) now: SystemTime,
    /// As [`std::env::consts::OS`] has it.
    pub(crate) os: &'static str,
    /// As [`std::env::consts::ARCH`] has it.
    pub(crate) arch: &'static str,
    /// Ends the hashing of files.
    pub(crate) stop: Arc<AtomicBool>,
}

impl Surroundings {
    /// A variable; one that is set to nothing counts as unset.
    fn variable(&self, name: &str) -> Option<&OsString> {
        self.variables.get(&OsString::from(name)).filter(|value| !value.is_empty())
    }
}

/// A key, and what made it what it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Rendered {
    pub(crate) template: String,
    pub(crate) key: Key,
    pub(crate) parts: Vec<Part>,
}

impl Rendered {
    /// A key that is given as it is.
    pub(crate) fn literal(key: Key) -> Self {
        let text = key.as_str().to_owned();
        Self { template: text.clone(), key, parts: vec![Part::Text { value: text }] }
    }
}

/// Whether a text is a template, and not to be taken as it is.
pub(crate) fn is_template(text: &str) -> bool {
    ["{{", "{%", "{#"].iter().any(|opening| text.contains(opening))
}

/// A part of a template and of its key, in the order of both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Part {
    /// What the template has literally.
    Text { value: String },
    /// What stands between braces.
    Expression {
        /// As written, without the braces.
        source: String,
        value: String,
        /// What its calls of `hash()` took in.
        hashes: Vec<FilesHash>,
    },
}

/// A call of `hash()`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct FilesHash {
    pub(crate) globs: Vec<String>,
    pub(crate) hash: String,
    /// In the order of their paths.
    pub(crate) files: Vec<HashedFile>,
}

/// The first digits of a hash, in hexadecimal.
fn short_hash(hasher: &blake3::Hasher, len: usize) -> String {
    let mut digits = hasher.finalize().to_string();
    digits.truncate(len);
    digits
}
