//! Which tools a repository uses, by the files that it has.

use std::collections::BTreeSet;
use std::path::Path;

use ignore::WalkBuilder;

use super::ecosystems::{ECOSYSTEMS, Ecosystem};

/// How far below the top files count: deep enough for the packages of a monorepo,
/// above what examples and fixtures bring along.
const MAX_DEPTH: usize = 6;

/// Directories of other people's files, which tell nothing of this repository, even
/// where git does not ignore them.
const FOREIGN: [&str; 5] = ["node_modules", "vendor", "third_party", "target", "testdata"];

/// A tool, and where it is used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) ecosystem: &'static Ecosystem,
    /// Names of the files that tell so, each once.
    pub(super) markers: BTreeSet<String>,
    /// Their directories, relative to the top; empty for the top itself.
    pub(super) directories: BTreeSet<String>,
}

/// The tools that are used in a directory and below it, in the order of the table.
/// What git ignores does not count, nor what cannot be read.
pub(super) fn search(top: &Path) -> Vec<Found> {
    let walk = WalkBuilder::new(top)
        .hidden(false)
        .require_git(false)
        .max_depth(Some(MAX_DEPTH))
        .filter_entry(|entry| {
            let name = entry.file_name().to_str().unwrap_or_default();
            entry.depth() == 0 || (name != ".git" && !FOREIGN.contains(&name))
        })
        .build();
    let files: Vec<(String, String)> = walk
        .filter_map(Result::ok)
        .filter(|entry| entry.file_type().is_some_and(|kind| kind.is_file()))
        .filter_map(|entry| {
            let path = entry.path().strip_prefix(top).ok()?;
            let directory = path.parent()?.to_str()?.to_owned();
            Some((directory, path.file_name()?.to_str()?.to_owned()))
        })
        .collect();
    let found = ECOSYSTEMS.iter().map(|ecosystem| {
        let is_marker = |name: &str| ecosystem.markers.iter().any(|marker| matches(marker, name));
        let of_it = || files.iter().filter(|(_, name)| is_marker(name));
        Found {
            ecosystem,
            markers: of_it().map(|(_, name)| name.clone()).collect(),
            directories: of_it().map(|(directory, _)| directory.clone()).collect(),
        }
    });
    found.filter(|found| !found.markers.is_empty()).collect()
}

/// Whether a name is as a marker has it.
fn matches(marker: &str, name: &str) -> bool {
    match marker.split_once('*') {
        Some((before, after)) => {
            name.len() >= before.len() + after.len()
                && name.starts_with(before)
                && name.ends_with(after)
        }
        None => marker == name,
    }
}
