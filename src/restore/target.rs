//! Where the mounts of a cache go on this machine.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::{Destination, RestoreRequest};
use crate::error::Error;
use crate::files::{self, FileError, FileStat, FileType};
use crate::format::{Anchor, Mount, Tree};

/// The place of one mount.
#[derive(Debug)]
pub(super) struct Target {
    /// The directory that holds the mount's root...
    pub(super) parent: OwnedFd,
    /// ... under this name; `.` if the root is that directory itself.
    pub(super) name: Vec<u8>,
    /// The whole path.
    pub(super) location: PathBuf,
    /// What is there now.
    pub(super) there: Option<FileStat>,
}

impl Target {
    pub(super) fn place(&self) -> (BorrowedFd<'_>, &[u8]) {
        (self.parent.as_fd(), &self.name)
    }

    /// The path of the directory that `parent` is, for messages.
    pub(super) fn parent_path(&self) -> &Path {
        if self.name == b"." {
            &self.location
        } else {
            self.location.parent().unwrap_or(&self.location)
        }
    }
}

/// Finds the places of all mounts, makes the directories above them (which stay
/// if the restore fails), and removes what killed restores left there.
pub(super) fn resolve(tree: &Tree, request: &RestoreRequest) -> Result<Vec<Target>, Error> {
    let mut targets: Vec<Target> = vec![];
    for mount in tree.mounts() {
        let base = base(mount, &request.destination)?;
        let named = request.paths.iter().chain(&request.trusted).any(|selection| {
            selection.anchor == mount.anchor && selection.path.below(&mount.path).is_some()
        });
        let target = open(mount, &base, named)?;
        let overlaps = |other: &Target| {
            target.location.starts_with(&other.location)
                || other.location.starts_with(&target.location)
        };
        if targets.iter().any(overlaps) {
            let why = "two mounts of the cache would be restored there";
            return Err(Error::InTheWay { path: target.location, why });
        }
        targets.push(target);
    }
    Ok(targets)
}

fn base(mount: &Mount, destination: &Destination) -> Result<PathBuf, Error> {
    match (destination, mount.anchor) {
        (Destination::Below(directory), _) => {
            std::fs::create_dir_all(directory)
                .map_err(|error| FileError::new("create", directory, error))?;
            Ok(directory.clone())
        }
        (Destination::Original { working_directory, .. }, Anchor::WorkingDirectory) => {
            Ok(working_directory.clone())
        }
        (Destination::Original { home, .. }, Anchor::Home) => home.clone().ok_or_else(|| {
            let error = io::Error::new(io::ErrorKind::NotFound, "there is no home directory");
            FileError::new("restore", Path::new("~").join(mount.path.to_string()), error).into()
        }),
        (Destination::Original { .. }, Anchor::Root) => Ok(PathBuf::from("/")),
    }
}

/// Opens the directory above a mount, name by name below the base. Links are
/// followed only if the user named the path: else a cache could lead anywhere.
fn open(mount: &Mount, base: &Path, named: bool) -> Result<Target, Error> {
    let mut location = base.to_owned();
    let mut parent =
        files::open_directory(base).map_err(|error| FileError::new("open", base, error))?;
    let mut names = mount.path.names();
    let last = names.next_back();
    for name in names {
        location.push(files::os_name(name));
        parent = enter(parent.as_fd(), name, &location, named)?;
    }
    let name = last.unwrap_or(b".").to_vec();
    if let Some(last) = last {
        files::remove_stale_areas(parent.as_fd());
        location.push(files::os_name(last));
    }
    let there = match files::look_at((parent.as_fd(), &name)) {
        Ok(stat) => Some(stat),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(FileError::new("look at", location, error).into()),
    };
    if there.is_some_and(|stat| stat.file_type == FileType::Directory)
        && let Ok(root) = files::open_directory_at((parent.as_fd(), &name))
    {
        files::remove_stale_areas(root.as_fd());
    }
    Ok(Target { parent, name, location, there })
}

fn enter(
    parent: BorrowedFd<'_>,
    name: &[u8],
    location: &Path,
    follow: bool,
) -> Result<OwnedFd, Error> {
    loop {
        let opened = if follow {
            files::open_directory_following((parent, name))
        } else {
            files::open_directory_at((parent, name))
        };
        match opened {
            Ok(directory) => return Ok(directory),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                match files::make_directory((parent, name), 0o777) {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                        return Err(FileError::new("create", location, error).into());
                    }
                    _ => {}
                }
            }
            Err(error) => {
                let is_link = files::look_at((parent, name))
                    .is_ok_and(|stat| stat.file_type == FileType::Symlink);
                return Err(if is_link {
                    let why = "it is a symbolic link; larder restores through links only for \
                               paths that are named on the command line or in larder.toml";
                    Error::InTheWay { path: location.to_owned(), why }
                } else {
                    FileError::new("open", location, error).into()
                });
            }
        }
    }
}
