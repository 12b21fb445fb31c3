//! Where the mounts of a cache go on this machine.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::{Destination, RestoreRequest, Selection};
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
    /// What was there when it was looked at.
    pub(super) there: Option<FileStat>,
}

impl Target {
    pub(super) fn place(&self) -> (BorrowedFd<'_>, &[u8]) {
        (self.parent.as_fd(), &self.name)
    }

    /// Sees what is there now.
    pub(super) fn look(&mut self) -> Result<(), Error> {
        self.there = match files::look_at(self.place()) {
            Ok(stat) => Some(stat),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(FileError::new("look at", &self.location, error).into()),
        };
        Ok(())
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
    if let Destination::Below(directory) = &request.destination {
        std::fs::create_dir_all(directory)
            .map_err(|error| FileError::new("create", directory, error))?;
    }
    let bases = tree.mounts().iter().map(|mount| base(mount, &request.destination));
    let bases = bases.collect::<Result<Vec<PathBuf>, Error>>()?;
    check_apart(tree.mounts().iter().zip(&bases).map(|(mount, base)| location(mount, base)))?;
    let paths: &[Selection] = if request.paths_are_bounds { &[] } else { &request.paths };
    let named = |mount: &Mount| {
        paths.iter().chain(&request.trusted).any(|selection| {
            selection.anchor == mount.anchor && selection.path.below(&mount.path).is_some()
        })
    };
    let mounts = tree.mounts().iter().zip(&bases);
    mounts.map(|(mount, base)| open(mount, base, named(mount))).collect()
}

/// Where a mount goes.
fn location(mount: &Mount, base: &Path) -> PathBuf {
    let mut location = base.to_owned();
    location.extend(mount.path.names().map(files::os_name));
    location
}

/// That no mount goes where another one does, or below it: with other anchors, they
/// may in one tree.
fn check_apart(locations: impl Iterator<Item = PathBuf>) -> Result<(), Error> {
    let mut locations: Vec<PathBuf> = locations.collect();
    // By names: what lies below a path follows it.
    locations.sort();
    match locations.windows(2).find(|pair| pair[1].starts_with(&pair[0])) {
        Some(pair) => {
            let why = "two mounts of the cache would be restored there";
            Err(Error::InTheWay { path: pair[1].clone(), why })
        }
        None => Ok(()),
    }
}

fn base(mount: &Mount, destination: &Destination) -> Result<PathBuf, Error> {
    match (destination, mount.anchor) {
        (Destination::Below(directory), _) => Ok(directory.clone()),
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
    if let Ok(root) = files::open_directory_at((parent.as_fd(), &name)) {
        files::remove_stale_areas(root.as_fd());
    }
    Ok(Target { parent, name, location, there: None })
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
