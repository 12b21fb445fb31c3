//! From paths as users give them to mounts as caches record them.
//!
//! A path inside the working directory is recorded relative to it, one inside
//! the home directory relative to that, and any other from the root: so a
//! cache means the right places on a machine where those lie elsewhere.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use crate::files::WalkSource;
use crate::format::Anchor;
use crate::relpath::RelPath;

/// The directories that paths are told relative to.
#[derive(Clone, Debug)]
pub struct Surroundings {
    /// The working directory, absolute.
    pub working_directory: PathBuf,
    /// The same directory as the shell calls it, if that is another name.
    pub logical_directory: Option<PathBuf>,
    /// The home directory, if there is one.
    pub home: Option<PathBuf>,
}

impl Surroundings {
    /// The same with another working directory, absolute.
    #[must_use]
    pub fn at(&self, directory: &Path) -> Self {
        if directory == self.working_directory {
            return self.clone();
        }
        // The shell's name of a directory above, if that leads there, too.
        let logical_directory =
            self.working_directory.strip_prefix(directory).ok().and_then(|below| {
                let logical = self.logical_directory.as_ref().filter(|it| it.ends_with(below))?;
                let above = logical.ancestors().nth(below.iter().count())?;
                above.canonicalize().is_ok_and(|real| real == directory).then(|| above.to_owned())
            });
        let working_directory = directory.to_owned();
        Self { working_directory, logical_directory, home: self.home.clone() }
    }

    /// What a path means: the place that is recorded, and where it lies.
    ///
    /// `..` is resolved by names alone, as shells do.
    pub fn locate(&self, path: &Path) -> WalkSource {
        let home = self.home.as_deref().map(clean);
        let working_directory = clean(&self.working_directory);
        let (absolute, says_home) = match (path.strip_prefix("~"), &home) {
            (Ok(below), Some(home)) => (clean(&home.join(below)), true),
            _ => (clean(&working_directory.join(path)), false),
        };
        let logical = self.logical_directory.as_deref().map(clean);
        for directory in std::iter::once(&working_directory).chain(&logical) {
            if let Some(path) = below(&absolute, directory) {
                let location = join(&working_directory, &path);
                return WalkSource { anchor: Anchor::WorkingDirectory, path, location };
            }
        }
        // A container's user who is not in its passwd file has `/` for a home: all
        // paths lie below that, and only those with `~` mean it.
        let home = home.filter(|home| says_home || home.parent().is_some());
        if let Some(path) = home.and_then(|home| below(&absolute, &home)) {
            return WalkSource { anchor: Anchor::Home, path, location: absolute };
        }
        let path = below(&absolute, Path::new("/")).unwrap_or_default();
        WalkSource { anchor: Anchor::Root, path, location: absolute }
    }

    /// The mounts that these paths mean, in order, each place once: a path
    /// inside another one is saved with it.
    pub fn mounts<'a>(&self, paths: impl IntoIterator<Item = &'a Path>) -> Vec<WalkSource> {
        let mut sources: Vec<WalkSource> =
            paths.into_iter().map(|path| self.locate(path)).collect();
        sources.sort_by(|a, b| a.location.cmp(&b.location));
        sources.dedup_by(|next, kept| next.location.starts_with(&kept.location));
        sources.sort_by(|a, b| (a.anchor, &a.path).cmp(&(b.anchor, &b.path)));
        sources
    }
}

/// Resolves `.` and `..` by names alone.
fn clean(path: &Path) -> PathBuf {
    let mut cleaned = PathBuf::from("/");
    for component in path.components() {
        match component {
            Component::Normal(name) => cleaned.push(name),
            Component::ParentDir => {
                cleaned.pop();
            }
            Component::RootDir | Component::CurDir | Component::Prefix(_) => {}
        }
    }
    cleaned
}

fn below(path: &Path, directory: &Path) -> Option<RelPath> {
    let below: OsString = path.strip_prefix(directory).ok()?.into();
    RelPath::new(below.as_bytes()).ok()
}

fn join(directory: &Path, path: &RelPath) -> PathBuf {
    let mut joined = directory.to_owned();
    joined.extend(path.names().map(std::ffi::OsStr::from_bytes));
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    fn here() -> Surroundings {
        Surroundings {
            working_directory: "/data/proj".into(),
            logical_directory: Some("/home/me/proj".into()),
            home: Some("/home/me".into()),
        }
    }

    fn check(path: &str, recorded: &str, location: &str) {
        check_in(&here(), path, recorded, location);
    }

    fn check_in(surroundings: &Surroundings, path: &str, recorded: &str, location: &str) {
        let source = surroundings.locate(Path::new(path));
        let mount = crate::format::Mount {
            anchor: source.anchor,
            path: source.path.clone(),
            entries: 0..0,
        };
        assert_eq!((&*mount.to_string(), source.location.to_str()), (recorded, Some(location)));
    }

    #[test]
    fn paths_are_recorded_relative_to_what_moves_with_them() {
        check("node_modules", "node_modules", "/data/proj/node_modules");
        check("./a//b/../c/", "a/c", "/data/proj/a/c");
        check(".", ".", "/data/proj");
        check("/data/proj/x", "x", "/data/proj/x");
        check("/home/me/proj/x", "x", "/data/proj/x");
        check("~/.cargo", "~/.cargo", "/home/me/.cargo");
        check("/home/me/.cargo", "~/.cargo", "/home/me/.cargo");
        check("~", "~", "/home/me");
        check("../other", "/data/other", "/data/other");
        check("/opt/cache", "/opt/cache", "/opt/cache");
        check("/../..", "/", "/");
    }

    #[test]
    fn a_home_at_the_root_is_where_only_a_tilde_leads() {
        let container = Surroundings {
            working_directory: "/woodpecker/src".into(),
            logical_directory: None,
            home: Some("/".into()),
        };
        check_in(&container, "vendor", "vendor", "/woodpecker/src/vendor");
        check_in(&container, "~/.npm", "~/.npm", "/.npm");
        check_in(&container, "/usr/local/bundle", "/usr/local/bundle", "/usr/local/bundle");
    }

    #[test]
    fn a_directory_above_has_the_shells_name_too() {
        let top = tempfile::tempdir().unwrap();
        let top = top.path().canonicalize().unwrap();
        std::fs::create_dir_all(top.join("data/proj/web/src")).unwrap();
        std::os::unix::fs::symlink("data/proj", top.join("proj")).unwrap();
        let check = |directory: &str, logical: Option<&str>| {
            let here = Surroundings {
                working_directory: top.join("data/proj/web/src"),
                logical_directory: Some(top.join("proj/web/src")),
                home: None,
            };
            let at = here.at(&top.join(directory)).logical_directory;
            assert_eq!(at, logical.map(|logical| top.join(logical)), "{directory}");
        };
        check("data/proj/web/src", Some("proj/web/src"));
        check("data/proj", Some("proj"));
        check("data", None);
        check("data/proj/other", None);
    }

    #[test]
    fn nested_paths_are_one_mount() {
        let paths = ["a/b", "z", "a", "a/b/c", "ab", "a"].map(Path::new);
        let mounts = here().mounts(paths);
        let recorded: Vec<_> = mounts.iter().map(|mount| mount.path.to_string()).collect();
        assert_eq!(recorded, ["a", "ab", "z"]);
    }
}
