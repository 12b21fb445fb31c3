//! What `hash()` hashes: the files that globs match, by their names and contents.
//!
//! The same tree has the same hash on every machine, so only what is in the tree
//! counts: its `.gitignore` files, up to the root of the repository, but neither a
//! user's own ignored files nor those of one clone; names, but neither modes nor times
//! nor the order in which a directory is read.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use globset::{GlobBuilder, GlobMatcher};
use ignore::WalkBuilder;
use larder::error::Error;
use larder::files::{AREA_PREFIX, FileError};
use rustix::io::Errno;
use serde::Serialize;

use crate::git;

/// So that the hash is none of anything else. Part of what keys mean: with another,
/// no cache is found under a key that has a hash.
const DOMAIN: &str = "larder 2026-11 key template files v1";

/// A file that went into a hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct HashedFile {
    /// Its path relative to the working directory, with `/` between names.
    pub(crate) path: String,
    /// The blake3 hash of what it holds, as `b3sum` prints it.
    pub(crate) hash: String,
}

/// Why globs have no hash.
#[derive(Debug)]
pub(super) enum NoHash {
    /// A glob that cannot be read.
    Glob {
        glob: String,
        why: String,
    },
    /// Nothing matches.
    Nothing,
    /// A directory was named, and no file.
    Directory(String),
    Larder(Error),
}

impl From<FileError> for NoHash {
    fn from(error: FileError) -> Self {
        Self::Larder(error.into())
    }
}

/// Hashes what the globs match below a directory.
pub(super) fn hash(
    directory: &Path,
    globs: &[String],
    stop: &AtomicBool,
) -> Result<(blake3::Hasher, Vec<HashedFile>), NoHash> {
    let check = || match stop.load(Ordering::Relaxed) {
        true => Err(NoHash::Larder(Error::Interrupted)),
        false => Ok(()),
    };
    let files = find(directory, &Globs::new(globs)?, check)?;
    if files.is_empty() {
        let is_directory = |glob: &&String| !is_wild(glob) && directory.join(glob).is_dir();
        return Err(match globs.iter().find(is_directory) {
            Some(glob) => NoHash::Directory(glob.clone()),
            None => NoHash::Nothing,
        });
    }
    let mut hasher = blake3::Hasher::new_derive_key(DOMAIN);
    let mut hashed = vec![];
    for (name, path) in &files {
        check()?;
        let contents = hash_contents(path).map_err(|error| FileError::new("read", path, error))?;
        hasher.update(&(name.len() as u64).to_le_bytes());
        hasher.update(name);
        hasher.update(contents.as_bytes());
        let path = String::from_utf8_lossy(name).into_owned();
        hashed.push(HashedFile { path, hash: contents.to_string() });
    }
    Ok((hasher, hashed))
}

fn hash_contents(path: &Path) -> io::Result<blake3::Hash> {
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(File::open(path)?)?;
    Ok(hasher.finalize())
}

/// The characters with which a glob is more than a path.
fn is_wild(text: &str) -> bool {
    text.contains(['*', '?', '[', '{', '\\'])
}

/// A glob with wildcards, and the directory that all it matches is in.
struct Wild {
    glob: GlobMatcher,
    base: PathBuf,
}

/// Which files are meant.
#[derive(Default)]
struct Globs {
    /// Files that are named in full: they count although they are ignored.
    named: Vec<PathBuf>,
    wild: Arc<Vec<Wild>>,
    /// What does not count.
    without: Vec<GlobMatcher>,
}

impl Globs {
    fn new(texts: &[String]) -> Result<Self, NoHash> {
        let mut globs = Self::default();
        let mut wild = vec![];
        for text in texts {
            let (is_excluded, given) = match text.strip_prefix('!') {
                Some(rest) => (true, rest),
                None => (false, text.as_str()),
            };
            // However it is spelt, a path is one name in the hash.
            let parts = given.split('/').filter(|name| !matches!(*name, "" | "."));
            let path = &parts.collect::<Vec<_>>().join("/");
            let invalid = |why: &str| NoHash::Glob { glob: text.clone(), why: why.to_owned() };
            if path.is_empty() {
                return Err(invalid("it names nothing"));
            }
            if given.starts_with('/') || path.split('/').any(|name| name == "..") {
                return Err(invalid(
                    "it must be relative to the working directory, and stay in it",
                ));
            }
            let glob = GlobBuilder::new(path).literal_separator(true).build();
            let glob = glob.map_err(|error| invalid(&error.kind().to_string()))?.compile_matcher();
            if is_excluded {
                globs.without.push(glob);
            } else if is_wild(path) {
                let base = path.split('/').take_while(|name| !is_wild(name)).collect();
                wild.push(Wild { glob, base });
            } else {
                globs.named.push(path.into());
            }
        }
        globs.wild = Arc::new(wild);
        Ok(globs)
    }

    fn excludes(&self, path: &Path) -> bool {
        self.without.iter().any(|glob| glob.is_match(path))
    }
}

/// The files that are meant: by their paths as bytes, which are in the same order
/// everywhere, where they lie.
fn find(
    directory: &Path,
    globs: &Globs,
    check: impl Fn() -> Result<(), NoHash>,
) -> Result<BTreeMap<Vec<u8>, PathBuf>, NoHash> {
    let mut files = BTreeMap::new();
    let mut add = |path: &Path| {
        if !globs.excludes(path) {
            files.insert(path.as_os_str().as_bytes().to_owned(), directory.join(path));
        }
    };
    for path in &globs.named {
        if is_file(&directory.join(path))? {
            add(path);
        }
    }
    if globs.wild.is_empty() {
        return Ok(files);
    }
    for entry in walk(directory, Arc::clone(&globs.wild)) {
        check()?;
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) => match unreadable(error, directory) {
                Some(error) => return Err(error.into()),
                None => continue,
            },
        };
        let Ok(path) = entry.path().strip_prefix(directory) else { continue };
        let is_directory = entry.file_type().is_some_and(|kind| kind.is_dir());
        let is_wanted = !is_directory && globs.wild.iter().any(|wild| wild.glob.is_match(path));
        if is_wanted && is_file(entry.path())? {
            add(path);
        }
    }
    Ok(files)
}

/// All below a directory that is neither ignored nor git's own, where a glob may match.
/// Links to directories are not followed, as git does not follow them.
fn walk(directory: &Path, globs: Arc<Vec<Wild>>) -> ignore::Walk {
    let is_in_repository = git::root(directory).is_some();
    let top = directory.to_owned();
    WalkBuilder::new(directory)
        .standard_filters(false)
        .git_ignore(true)
        // A tree counts the same where it came without its repository; but what lies
        // above it is then not known to belong to it.
        .require_git(is_in_repository)
        .parents(is_in_repository)
        .filter_entry(move |entry| {
            let path = entry.path().strip_prefix(&top).unwrap_or(entry.path());
            let name = entry.file_name();
            // Areas of restores that are going on hold copies.
            let is_kept_away =
                name == OsStr::new(".git") || name.as_bytes().starts_with(AREA_PREFIX.as_bytes());
            let may_match =
                |wild: &Wild| path.starts_with(&wild.base) || wild.base.starts_with(path);
            entry.depth() == 0 || (!is_kept_away && globs.iter().any(may_match))
        })
        .build()
}

/// Whether there is a file, or a link to one. A link that leads nowhere is none.
fn is_file(path: &Path) -> Result<bool, FileError> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(metadata.is_file()),
        Err(error) if is_absence(&error) => Ok(false),
        Err(error) => Err(FileError::new("look at", path, error)),
    }
}

fn is_absence(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || Errno::from_io_error(error) == Some(Errno::LOOP)
}

/// The error of a walk, unless something only went away meanwhile.
fn unreadable(error: ignore::Error, directory: &Path) -> Option<FileError> {
    let path = path_of(&error).unwrap_or(directory).to_owned();
    let text = error.to_string();
    let error = error.into_io_error().unwrap_or_else(|| io::Error::other(text));
    (!is_absence(&error)).then(|| FileError::new("look at", path, error))
}

fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } => path_of(err),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::git::planted as tree;

    fn hashed(directory: &Path, globs: &[&str]) -> Result<(String, Vec<String>), NoHash> {
        let globs: Vec<String> = globs.iter().map(|glob| (*glob).to_owned()).collect();
        let (hasher, files) = hash(directory, &globs, &AtomicBool::new(false))?;
        let paths = files.into_iter().map(|file| file.path).collect();
        Ok((hasher.finalize().to_string(), paths))
    }

    /// Which files globs match.
    fn check(root: &Path, globs: &[&str], expected: &[&str]) {
        let found = match hashed(root, globs) {
            Ok((_, paths)) => paths,
            Err(NoHash::Nothing) => vec![],
            Err(error) => panic!("{globs:?}: {error:?}"),
        };
        assert_eq!(found, expected, "{globs:?}");
    }

    /// Hashes are in keys: a change here makes the caches under them unknown.
    #[test]
    fn the_hash_is_always_the_same() {
        let files = [("a/package-lock.json", "{}"), ("b/package-lock.json", "1\n"), ("c", "c")];
        let root = tree(&files);
        let (found, paths) = hashed(root.path(), &["**/package-lock.json"]).unwrap();
        assert_eq!(found, "34bc705aba709af47253873291cf3cf7be05701dec5ed12f39100cafadeea7f9");
        assert_eq!(paths, ["a/package-lock.json", "b/package-lock.json"]);
        // However the globs are written, whatever else is there, in whatever order it
        // was made.
        let same = |root: &Path, globs: &[&str]| assert_eq!(hashed(root, globs).unwrap().0, found);
        same(root.path(), &["b/*.json", "./a/package-lock.json", "**/package-lock.json"]);
        same(root.path(), &["{b,a}/**"]);
        same(root.path(), &["a/.//package-lock.json", ".//b/./*"]);
        let mut reversed = files;
        reversed.reverse();
        same(tree(&reversed).path(), &["**/*.json"]);
        same(tree(&files[..2]).path(), &["**"]);
    }

    #[test]
    fn names_contents_and_borders_count() {
        let of = |files: &[(&str, &str)]| hashed(tree(files).path(), &["**"]).unwrap().0;
        let all = [
            of(&[("a", "1"), ("b", "2")]),
            of(&[("a", "2"), ("b", "1")]),
            of(&[("a", "12"), ("b", "")]),
            of(&[("a", "1"), ("c", "2")]),
            of(&[("ab", "12")]),
            of(&[("d/a", "1"), ("b", "2")]),
            of(&[("a", "1\n"), ("b", "2")]),
            of(&[("a", "1\r\n"), ("b", "2")]),
        ];
        let different: std::collections::BTreeSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }

    #[test]
    fn wildcards_leave_out_what_is_ignored() {
        let files = [
            (".gitignore", "node_modules/\n*.gen\n"),
            (".npmrc", ""),
            ("node_modules/x/package.json", ""),
            ("package.json", ""),
            ("sub/.gitignore", "!kept.gen\nown.json"),
            ("sub/kept.gen", ""),
            ("sub/own.json", ""),
            ("sub/package.json", ""),
            ("z.gen", ""),
        ];
        let root = tree(&files);
        let json = ["package.json", "sub/package.json"];
        let check_all = |root: &Path| {
            check(root, &["**/*.json"], &json);
            check(root, &["**/*.gen"], &["sub/kept.gen"]);
            check(root, &["node_modules/**"], &[]);
            // What is named in full is meant.
            check(root, &["z.gen", "*.json"], &["package.json", "z.gen"]);
            check(root, &["node_modules/x/package.json"], &["node_modules/x/package.json"]);
            check(root, &["**/*.json", "!sub/**"], &json[..1]);
            check(root, &["*", "!*.json", "!.git*"], &[".npmrc"]);
        };
        check_all(root.path());
        // The same in a repository, and from a directory of it.
        std::fs::create_dir(root.path().join(".git")).unwrap();
        std::fs::write(root.path().join(".git/x.json"), "").unwrap();
        check_all(root.path());
        check(&root.path().join("sub"), &["*"], &[".gitignore", "kept.gen", "package.json"]);
    }

    #[test]
    fn what_lies_above_a_tree_without_a_repository_is_not_asked() {
        let root = tree(&[(".gitignore", "*.json"), ("tree/a.json", "")]);
        check(&root.path().join("tree"), &["*.json"], &["a.json"]);
    }

    #[test]
    fn links_to_files_count_as_these() {
        let root = tree(&[("shared/x.js", "1"), ("l/a.js", "a"), (".larder-tmp-x/a.js", "")]);
        let link = |to: &str, at: &str| {
            std::os::unix::fs::symlink(to, root.path().join(at)).unwrap();
        };
        link("../shared", "l/shared");
        link("../shared/x.js", "l/x.js");
        link("nowhere", "l/broken.js");
        link("loop.js", "l/loop.js");
        check(root.path(), &["**/*.js"], &["l/a.js", "l/x.js", "shared/x.js"]);
        check(root.path(), &["l/broken.js", "l/loop.js", "l/none.js"], &[]);
        let before = hashed(root.path(), &["l/*"]).unwrap();
        std::fs::write(root.path().join("shared/x.js"), "2").unwrap();
        assert_ne!(hashed(root.path(), &["l/*"]).unwrap(), before);
    }

    #[test]
    fn what_is_no_glob_or_no_file_is_told_apart() {
        let root = tree(&[("src/x", "")]);
        let of = |glob: &str| hashed(root.path(), &[glob]).unwrap_err();
        for glob in ["../x", "/etc/**", "a/../../b", "a[", "{", "", "./", "!"] {
            assert!(matches!(of(glob), NoHash::Glob { .. }), "{glob}");
        }
        assert!(matches!(of("src"), NoHash::Directory(path) if path == "src"));
        assert!(matches!(of("*.rs"), NoHash::Nothing));
        assert!(matches!(of("!src/**"), NoHash::Nothing));
    }
}
