//! The code hash: what the files hold that packages are made of, and what they
//! are called.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};
use ignore::WalkBuilder;
use larder::error::Error;
use larder::files::FileError;
use larder::progress::Context;

/// So that the hash is none of anything else. Part of what code hashes mean: with
/// another, no stored package is found.
const DOMAIN: &str = "larder 2026-11 assets code hash v1";

/// A glob that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("invalid glob {glob:?}: {why}")]
pub(crate) struct InvalidGlob {
    glob: String,
    why: String,
}

/// A pattern for paths relative to a repository, and the directory that all it
/// matches is in.
#[derive(Debug)]
struct Pattern {
    glob: GlobMatcher,
    base: PathBuf,
    /// Whether it names hidden files, which wildcards do not match.
    names_hidden: bool,
}

impl Pattern {
    fn new(text: &str) -> Result<Self, InvalidGlob> {
        let invalid = |why: String| InvalidGlob { glob: text.to_owned(), why };
        let path = text.trim_start_matches("./");
        if path.starts_with('/') || path.split('/').any(|name| name == "..") {
            return Err(invalid("it must be relative to the repository, and stay in it".into()));
        }
        let glob = GlobBuilder::new(path).literal_separator(true).build();
        let glob = glob.map_err(|error| invalid(error.kind().to_string()))?.compile_matcher();
        let is_literal = |name: &&str| !name.contains(['*', '?', '[', '{', '\\']);
        Ok(Self {
            glob,
            base: path.split('/').take_while(is_literal).collect(),
            names_hidden: path.split('/').any(|name| name.starts_with('.')),
        })
    }

    fn matches(&self, path: &Path) -> bool {
        // What git keeps for itself changes with every fetch.
        if path.iter().any(|name| name == ".git") {
            return false;
        }
        let is_hidden = || path.iter().any(|name| name.as_bytes().starts_with(b"."));
        self.glob.is_match(path) && (self.names_hidden || !is_hidden())
    }
}

/// Which files packages are made of.
#[derive(Debug)]
pub(crate) struct Sources {
    patterns: Vec<Pattern>,
}

impl Sources {
    /// The files that these globs match, relative to a repository; `None` without
    /// globs.
    ///
    /// # Errors
    /// [`InvalidGlob`], naming the first that is.
    pub(crate) fn new(globs: &[String]) -> Result<Option<Self>, InvalidGlob> {
        let patterns: Vec<Pattern> =
            globs.iter().map(|glob| Pattern::new(glob)).collect::<Result<_, _>>()?;
        Ok((!patterns.is_empty()).then_some(Self { patterns }))
    }

    /// Hashes the files of a repository: their paths, in order, and their contents.
    /// Links are followed, unless they leave the repository. `None`
    /// if there are no files, for the hash of nothing would be that of any other
    /// repository's nothing.
    ///
    /// # Errors
    /// The first file that cannot be read.
    pub(crate) fn hash(&self, root: &Path, context: Context<'_>) -> Result<Option<String>, Error> {
        let files = find(root, &self.patterns)?;
        if files.is_empty() {
            return Ok(None);
        }
        let mut hasher = blake3::Hasher::new_derive_key(DOMAIN);
        for (name, path) in &files {
            context.check()?;
            let contents =
                hash_contents(path).map_err(|error| FileError::new("read", path, error))?;
            hasher.update(&(name.len() as u64).to_le_bytes());
            hasher.update(name);
            hasher.update(contents.as_bytes());
        }
        Ok(Some(hasher.finalize().to_string()))
    }
}

/// The files that a pattern matches: by their paths as bytes, which are in the
/// same order everywhere, where they lie.
fn find(root: &Path, patterns: &[Pattern]) -> Result<BTreeMap<Vec<u8>, PathBuf>, FileError> {
    let within = root.canonicalize().map_err(|error| FileError::new("look at", root, error))?;
    let mut files = BTreeMap::new();
    for pattern in patterns {
        let base = root.join(&pattern.base);
        match base.canonicalize() {
            Ok(path) if path.starts_with(&within) => {}
            Ok(_) => continue,
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                continue;
            }
            Err(error) => return Err(FileError::new("look at", &base, error)),
        }
        let inside = within.clone();
        let walk = WalkBuilder::new(&base)
            .standard_filters(false)
            .follow_links(true)
            .filter_entry(move |entry| {
                entry.file_name() != OsStr::new(".git") && !leaves(entry, &inside)
            })
            .build();
        for entry in walk {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if is_harmless(&error) => continue,
                Err(error) => {
                    let error = io::Error::other(error.to_string());
                    return Err(FileError::new("look at", &base, error));
                }
            };
            let Ok(path) = entry.path().strip_prefix(root) else { continue };
            let is_file = entry.file_type().is_some_and(|kind| kind.is_file());
            if is_file && pattern.matches(path) {
                files.insert(path.as_os_str().as_bytes().to_owned(), entry.path().to_owned());
            }
        }
    }
    Ok(files)
}

/// Whether an entry is a link that leads outside: what is there is of the machine,
/// and not of the commit.
fn leaves(entry: &ignore::DirEntry, within: &Path) -> bool {
    entry.path_is_symlink()
        && !entry.path().canonicalize().is_ok_and(|path| path.starts_with(within))
}

/// Links that lead nowhere, or back to where they are, have no contents.
pub(super) fn is_harmless(error: &ignore::Error) -> bool {
    match error {
        ignore::Error::WithPath { err, .. } | ignore::Error::WithDepth { err, .. } => {
            is_harmless(err)
        }
        ignore::Error::Loop { .. } => true,
        ignore::Error::Io(error) => error.kind() == io::ErrorKind::NotFound,
        _ => false,
    }
}

fn hash_contents(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::planted as repository;

    fn hashed(root: &Path, globs: &[&str]) -> Option<String> {
        let globs: Vec<String> = globs.iter().map(|glob| (*glob).to_owned()).collect();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let context = Context { progress: &larder::progress::NoProgress, stop: &stop };
        Sources::new(&globs).unwrap().unwrap().hash(root, context).unwrap()
    }

    /// Code hashes are keys in stores: a change here makes all of them unknown.
    #[test]
    fn the_hash_is_always_the_same() {
        let root = repository(&[("lambdas/a/index.js", "a"), ("lambdas/b.js", "b"), ("c", "c")]);
        let golden = "2a0722b98a0b58012e063f8293d2b12ef45c98e08218cda1a1c3e3de48f2a0d7";
        assert_eq!(hashed(root.path(), &["lambdas/**"]).as_deref(), Some(golden));
        let twice = hashed(root.path(), &["lambdas/*", "lambdas/*/*", "./lambdas/**"]);
        assert_eq!(twice.as_deref(), Some(golden));
    }

    /// The asset manager hashed contents alone: two files could change their names.
    #[test]
    fn names_count_and_so_do_borders() {
        let of = |files: &[(&str, &str)]| hashed(repository(files).path(), &["**"]).unwrap();
        let all = [
            of(&[("a", "1"), ("b", "2")]),
            of(&[("a", "2"), ("b", "1")]),
            of(&[("a", "12"), ("b", "")]),
            of(&[("a", "1"), ("c", "2")]),
            of(&[("ab", "12")]),
            of(&[("d/a", "1"), ("b", "2")]),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn globs_are_those_of_shells() {
        let root = repository(&[("l/a.js", "a"), ("l/d/b.js", "b"), ("l/.hidden", "h"), ("m", "")]);
        let of = |globs: &[&str]| hashed(root.path(), globs);
        let without_hidden = of(&["l/**"]);
        assert_eq!(of(&["l/*.js", "l/d/*.js"]), without_hidden);
        assert_ne!(of(&["l/*"]), without_hidden);
        assert_ne!(of(&["l/**", "l/.h*"]), without_hidden);
        assert_eq!(of(&["l/{a,d/b}.js"]), without_hidden);
        assert_eq!(of(&["nothing/**", "*.rs"]), None);
        std::fs::create_dir(root.path().join(".git")).unwrap();
        std::fs::write(root.path().join(".git/index"), "x").unwrap();
        assert_eq!(of(&["**", ".git/**"]), of(&["**"]));
    }

    #[test]
    fn links_are_followed_once() {
        let root = repository(&[("shared/x.js", "1"), ("l/a.js", "a")]);
        std::os::unix::fs::symlink("../shared", root.path().join("l/shared")).unwrap();
        std::os::unix::fs::symlink("..", root.path().join("l/up")).unwrap();
        std::os::unix::fs::symlink("nowhere", root.path().join("l/broken")).unwrap();
        std::os::unix::fs::symlink("/", root.path().join("l/machine")).unwrap();
        let outside = repository(&[("file", "1"), ("d/file", "1")]);
        std::os::unix::fs::symlink(outside.path().join("file"), root.path().join("l/o")).unwrap();
        std::os::unix::fs::symlink(outside.path().join("d"), root.path().join("outside")).unwrap();
        assert_eq!(hashed(root.path(), &["outside/**", "l/a.js/below/*"]), None);
        let before = hashed(root.path(), &["l/**"]);
        std::fs::write(root.path().join("shared/x.js"), "2").unwrap();
        let changed = hashed(root.path(), &["l/**"]);
        assert_ne!(changed, before);
        std::fs::write(outside.path().join("file"), "2").unwrap();
        assert_eq!(hashed(root.path(), &["l/**"]), changed);
    }

    #[test]
    fn globs_stay_in_the_repository() {
        for glob in ["../x", "/etc/**", "a/../../b", "a[", "{"] {
            assert!(Sources::new(&[glob.to_owned()]).is_err(), "{glob}");
        }
    }
}
