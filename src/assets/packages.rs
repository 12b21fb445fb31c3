//! The packages in a directory: all files below it that are not hidden. Links
//! count as what they lead to, for whoever deploys packages has nothing else.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use ignore::WalkBuilder;
use larder::files::FileError;
use tempfile::TempDir;

use super::Package;

/// Where packages are stood side by side while links are resolved: hidden, so that
/// it is no package itself.
const AREA: &str = ".larder-packages-";

/// The packages of a directory, as they are to be stored.
#[derive(Debug)]
pub(super) struct Packages {
    /// A directory that has these packages and no links.
    pub(super) root: PathBuf,
    /// In the order of their paths.
    pub(super) all: Vec<Package>,
    /// Removes the directory, if it is not the packages' own.
    _area: Option<TempDir>,
}

impl Packages {
    /// Looks for packages. Links to nothing are none.
    ///
    /// # Errors
    /// If a directory cannot be read.
    pub(super) fn find(directory: &Path) -> Result<Self, FileError> {
        let mut all = vec![];
        let mut has_links = false;
        let walk = WalkBuilder::new(directory)
            .standard_filters(false)
            .hidden(true)
            .follow_links(true)
            .build();
        for entry in walk {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) if super::code_hash::is_harmless(&error) => {
                    has_links = true;
                    continue;
                }
                Err(error) => {
                    let error = io::Error::other(error.to_string());
                    return Err(FileError::new("look at", directory, error));
                }
            };
            // The directory itself may be one.
            has_links |= entry.depth() > 0 && entry.path_is_symlink();
            let Ok(path) = entry.path().strip_prefix(directory) else { continue };
            let Ok(metadata) = fs::metadata(entry.path()) else { continue };
            if metadata.is_file() {
                let path = path.as_os_str().as_bytes().to_owned();
                all.push(Package { path, len: metadata.len() });
            }
        }
        all.sort_by(|a, b| a.path.cmp(&b.path));
        let area = if has_links { Some(resolved(directory, &all)?) } else { None };
        let root = area.as_ref().map_or(directory, |area| area.path()).to_owned();
        Ok(Self { root, all, _area: area })
    }
}

/// A directory with the same packages, but no links.
fn resolved(directory: &Path, packages: &[Package]) -> Result<TempDir, FileError> {
    let area = tempfile::Builder::new()
        .prefix(AREA)
        .tempdir_in(directory)
        .map_err(|error| FileError::new("make a directory in", directory, error))?;
    for package in packages {
        let (from, to) = (package.below(directory), package.below(area.path()));
        let made = stand(&from, &to);
        made.map_err(|error| FileError::new("resolve the links to", from, error))?;
    }
    Ok(area)
}

/// Another name for a file, or a copy where there can be none.
fn stand(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(parent) = to.parent() {
        fs::create_dir_all(parent)?;
    }
    let file = from.canonicalize()?;
    if fs::hard_link(&file, to).is_err() {
        fs::copy(&file, to)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn found(directory: &Path) -> Vec<(String, u64)> {
        let packages = Packages::find(directory).unwrap();
        for package in &packages.all {
            let file = package.below(&packages.root);
            assert!(file.symlink_metadata().unwrap().is_file(), "{}", file.display());
        }
        let text = |package: &Package| String::from_utf8(package.path.clone()).unwrap();
        packages.all.iter().map(|package| (text(package), package.len)).collect()
    }

    #[test]
    fn hidden_files_are_none_and_links_are_what_they_lead_to() {
        let top = tempfile::tempdir().unwrap();
        let directory = top.path().join("packages");
        fs::create_dir_all(directory.join("deep/er")).unwrap();
        fs::create_dir_all(directory.join(".hidden")).unwrap();
        fs::create_dir_all(top.path().join("built")).unwrap();
        for (path, text) in
            [("a.zip", "a"), ("deep/er/b.zip", "bb"), (".found", ""), (".hidden/x", "x")]
        {
            fs::write(directory.join(path), text).unwrap();
        }
        fs::write(top.path().join("built/c.zip"), "ccc").unwrap();
        let plain = [("a.zip".to_owned(), 1), ("deep/er/b.zip".to_owned(), 2)];
        assert_eq!(found(&directory), plain);

        symlink("../built/c.zip", directory.join("c.zip")).unwrap();
        symlink("../built", directory.join("all")).unwrap();
        symlink("nowhere", directory.join("broken")).unwrap();
        symlink("..", directory.join("deep/up")).unwrap();
        let mut linked = vec![plain[0].clone(), ("all/c.zip".to_owned(), 3)];
        linked.push(("c.zip".to_owned(), 3));
        linked.push(plain[1].clone());
        assert_eq!(found(&directory), linked);
        // Nothing stays behind.
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 7);
    }
}
