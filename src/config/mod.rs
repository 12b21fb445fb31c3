//! larder.toml: what a repository says of its store and its caches, so that nobody has
//! to say it in every pipeline.
//!
//! A front end, as the command line is, whose flags and variables win over it. The
//! file is read whole and checked before anything is done by it, and a mistake in it
//! is an error that shows the line. Keys and paths stay templates until a command
//! needs them: their files and variables may come about only then.

mod cache;
mod failure;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod rows;
mod table;

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use larder::ids::Scope;
use larder::secrets::PublicKey;
use larder::store::StoreLocation;
use larder::tier::TierLocation;
use larder::trust::ScopePattern;
use toml::de::DeTable;

pub(crate) use cache::Cache;
pub(crate) use failure::ConfigError;
use failure::{Misfit, Mistake};
pub(crate) use table::Written;
use table::{Source, Table};

use crate::git;
use crate::values::duration;

/// How the file is named.
pub(crate) const FILE_NAME: &str = "larder.toml";

/// The table of caches.
const CACHE: &str = "cache";

/// What a configuration file says.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The file, as people are told.
    pub(crate) path: PathBuf,
    /// Where it lies, absolute: what its paths and globs are relative to.
    pub(crate) directory: PathBuf,
    pub(crate) store: Option<Written<StoreLocation>>,
    pub(crate) scope: Option<Written<Scope>>,
    pub(crate) fallback_scopes: Option<Written<Vec<Scope>>>,
    pub(crate) trusted_scopes: Option<Written<Vec<ScopePattern>>>,
    pub(crate) local_cache: Option<Written<TierLocation>>,
    pub(crate) threads: Option<Written<NonZeroUsize>>,
    pub(crate) timeout: Option<Written<Duration>>,
    pub(crate) ignore_error: Option<Written<bool>>,
    pub(crate) require_signature: Option<Written<Vec<PublicKey>>>,
    /// In the order of the file.
    pub(crate) caches: Vec<Cache>,
}

/// The file that counts in a directory: there or, in a git repository, above it, but not
/// above its root. What lies beyond that may be anyone's.
pub(crate) fn find(directory: &Path) -> Option<PathBuf> {
    let root = git::root(directory).unwrap_or(directory);
    let within = directory.ancestors().take_while(|above| above.starts_with(root));
    within.map(|above| above.join(FILE_NAME)).find(|path| path.is_file())
}

impl Config {
    /// Reads a file; `~` in it stands for `home`.
    ///
    /// # Errors
    /// [`ConfigError`], if it cannot be read or something in it means nothing.
    pub(crate) fn read(
        path: &Path,
        working_directory: &Path,
        home: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let absolute = working_directory.join(path);
        let text = std::fs::read_to_string(&absolute)
            .map_err(|error| ConfigError::Unreadable { path: path.to_owned(), error })?;
        let directory = absolute.parent().unwrap_or(Path::new("/"));
        // A path through a symbolic link is another name of the same directory.
        let directory = directory
            .canonicalize()
            .map_err(|error: io::Error| ConfigError::Unreadable { path: path.to_owned(), error })?;
        let shown = path.strip_prefix(working_directory).unwrap_or(path);
        Self::parse(&text, shown, directory, home)
    }

    fn parse(
        text: &str,
        path: &Path,
        directory: PathBuf,
        home: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let source = Source { path, text };
        let document = DeTable::parse(text).map_err(|error| {
            let range = error.span().unwrap_or(text.len()..text.len());
            let hint = hint(text, range.start, error.message());
            let mistake = source.mistake(range, error.message());
            hint.into_iter().fold(mistake, Mistake::hint)
        })?;
        let document = document.get_ref();
        let table = Table::new(source, document, None)?;
        let store = table.text(&rows::STORE, |text| store(text, &directory, home))?;
        let local_cache =
            table.text(&rows::LOCAL_CACHE, |text| local_cache(text, &directory, home))?;
        let threads = table.number(&rows::THREADS, 1..=u32::MAX)?;
        let threads = threads.and_then(|threads| {
            let value = NonZeroUsize::new(usize::try_from(threads.value).ok()?)?;
            Some(Written { value, line: threads.line })
        });
        let caches = document.get(CACHE).map(|caches| Cache::all(source, caches)).transpose()?;
        Ok(Self {
            path: path.to_owned(),
            store,
            scope: table.text(&rows::SCOPE, named)?,
            fallback_scopes: table.list(&rows::FALLBACK_SCOPES, named)?,
            trusted_scopes: table.list(&rows::TRUSTED_SCOPES, named)?,
            local_cache,
            threads,
            timeout: table.text(&rows::TIMEOUT, |text| Ok(duration(text)?))?,
            ignore_error: table.truth(&rows::IGNORE_ERROR)?,
            require_signature: table.list(&rows::REQUIRE_SIGNATURE, named)?,
            caches: caches.unwrap_or_default(),
            directory,
        })
    }

    /// The caches of these names; all, if there are none.
    ///
    /// # Errors
    /// [`ConfigError::NoSuchCache`], and [`ConfigError::NoCaches`] if the file has none
    /// at all.
    pub(crate) fn choose(&self, names: &[String]) -> Result<Vec<&Cache>, ConfigError> {
        if self.caches.is_empty() {
            return Err(ConfigError::NoCaches(self.path.clone()));
        }
        for name in names {
            if !self.caches.iter().any(|cache| cache.name == *name) {
                let known = self.caches.iter().map(|cache| cache.name.clone()).collect();
                let path = self.path.clone();
                return Err(ConfigError::NoSuchCache { name: name.clone(), path, known });
            }
        }
        let wanted: BTreeSet<&str> = names.iter().map(String::as_str).collect();
        let is_wanted = |cache: &&Cache| wanted.is_empty() || wanted.contains(cache.name.as_str());
        Ok(self.caches.iter().filter(is_wanted).collect())
    }
}

/// What to write instead of what is no TOML, where that is known.
fn hint(text: &str, at: usize, why: &str) -> Option<&'static str> {
    let begin = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let line = text[begin..].lines().next().unwrap_or_default();
    if line.contains("{{") {
        return Some("put a template in single quotes: what is in them may have double quotes");
    }
    (why == "duplicate key").then_some("a [cache.NAME] and each of its settings stand there once")
}

/// A scope, a pattern of scopes, or a public key.
fn named<T: FromStr<Err: fmt::Display>>(text: &str) -> Result<T, Misfit> {
    text.parse().map_err(|error: T::Err| Misfit::from(error.to_string()))
}

/// A store, whose directory is relative to that of the file.
fn store(text: &str, directory: &Path, home: Option<&Path>) -> Result<StoreLocation, Misfit> {
    let location = StoreLocation::parse(text, home)
        .map_err(|error| Misfit { why: error.to_string(), hint: error.hint().map(String::from) })?;
    Ok(match location {
        StoreLocation::Directory { root, fsync } => {
            StoreLocation::Directory { root: directory.join(root), fsync }
        }
        other => other,
    })
}

/// A local cache, whose directory is relative to that of the file.
fn local_cache(text: &str, directory: &Path, home: Option<&Path>) -> Result<TierLocation, Misfit> {
    let location = TierLocation::parse(text, home)
        .map_err(|error| Misfit { why: error.to_string(), hint: Some(error.hint().to_owned()) })?;
    Ok(TierLocation { directory: directory.join(location.directory), ..location })
}

#[cfg(test)]
mod tests;
