//! `larder init`: a larder.toml for what a repository holds.
//!
//! It goes by the files of package managers and build tools alone, and asks neither
//! these nor the network. What it writes is meant to be read and changed: each cache
//! says what it is, and where a choice was made, the other is named.

mod ecosystems;
mod search;
mod write;

use std::path::Path;

use larder::ids::Scope;

use crate::git;

/// A new configuration file.
#[derive(Debug)]
pub(crate) struct Draft {
    pub(crate) text: String,
    /// The names of its caches, and the files for which each is there.
    pub(crate) caches: Vec<(&'static str, Vec<String>)>,
}

/// The configuration file for a directory.
pub(crate) fn draft(directory: &Path) -> Draft {
    let found = search::search(directory);
    // Whose keys they are: the repository's, as its origin names it.
    let origin = git::root(directory).and_then(git::origin);
    let scope = origin.as_deref().and_then(scope);
    let caches = found.iter().map(|found| {
        (found.ecosystem.name, found.markers.iter().cloned().collect::<Vec<String>>())
    });
    Draft { text: write::text(scope.as_deref(), &found), caches: caches.collect() }
}

/// `org/repo` of the address of a git repository.
fn scope(address: &str) -> Option<String> {
    let address = address.trim_end_matches('/');
    let address = address.strip_suffix(".git").unwrap_or(address);
    let path = match address.split_once("://") {
        Some((_, rest)) => rest.split_once('/')?.1,
        // host:path, as ssh has it.
        None => address.split_once(':').filter(|(host, _)| !host.contains('/'))?.1,
    };
    let path = path.trim_start_matches('/');
    path.parse::<Scope>().ok().filter(|_| path.contains('/')).map(|scope| scope.to_string())
}

#[cfg(test)]
mod tests;
