//! Where a local tier lies and how large it may grow, as people write it:
//! `DIR[:SIZE]`.

use std::path::{Path, PathBuf};

use crate::code::Code;
use crate::size;

/// Bytes that a tier may take if nobody says: a few dependency trees of
/// several versions, on disks that have room for the trees themselves.
pub const DEFAULT_SIZE: u64 = 10_000_000_000;

/// A directory for a tier, and the bytes that it may take.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierLocation {
    /// The directory; made when it is needed.
    pub directory: PathBuf,
    /// The most that its entries may take on disk, in bytes.
    pub size: u64,
}

/// A text that is no location of a tier, and why.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTier {
    /// There is a size at most.
    #[error("the local cache {0:?} has no directory")]
    NoDirectory(String),
    /// What follows the last colon is no size.
    #[error("the local cache's size {0:?} is not a size")]
    Size(String),
    /// Nothing would fit.
    #[error("the local cache's size {0:?} leaves room for nothing")]
    Zero(String),
    /// `~` where the home directory is not known, or another user's.
    #[error("cannot tell which directory {0:?} begins with")]
    Home(String),
}

impl InvalidTier {
    /// The code that it is looked up by.
    pub fn code(&self) -> Code {
        match self {
            Self::NoDirectory(_) | Self::Size(_) | Self::Zero(_) => Code::InvalidLocalCache,
            Self::Home(_) => Code::UnknownHome,
        }
    }

    /// What to write instead.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::NoDirectory(_) => "give a directory first, such as ~/larder-chunks:20GB",
            Self::Size(_) => {
                "give a whole number and a unit, such as 20GB or 512MiB; a directory whose name \
                 has a colon ends with a slash"
            }
            Self::Zero(_) => "to keep nothing, leave out --local-cache and LARDER_LOCAL_CACHE",
            Self::Home(_) => "write the directory out, or put ./ before the ~",
        }
    }
}

impl TierLocation {
    /// Reads a location, `~` standing for `home`. What follows the last colon
    /// is the size, unless it holds a slash.
    ///
    /// # Errors
    /// [`InvalidTier`], saying what part of it means nothing.
    pub fn parse(text: &str, home: Option<&Path>) -> Result<Self, InvalidTier> {
        let (directory, size) = match text.rsplit_once(':') {
            Some((directory, size)) if !size.contains('/') => (directory, parse_size(size)?),
            _ => (text, DEFAULT_SIZE),
        };
        if directory.is_empty() {
            return Err(InvalidTier::NoDirectory(text.to_owned()));
        }
        let unknown = || InvalidTier::Home(directory.to_owned());
        let directory = match directory.strip_prefix('~') {
            None => directory.into(),
            Some("") => home.ok_or_else(unknown)?.to_owned(),
            Some(rest) => {
                let below = rest.strip_prefix('/').ok_or_else(unknown)?;
                home.ok_or_else(unknown)?.join(below.trim_start_matches('/'))
            }
        };
        Ok(Self { directory, size })
    }
}

/// A size that is given after a directory.
fn parse_size(text: &str) -> Result<u64, InvalidTier> {
    match size::parse(text) {
        None => Err(InvalidTier::Size(text.to_owned())),
        Some(0) => Err(InvalidTier::Zero(text.to_owned())),
        Some(size) => Ok(size),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<TierLocation, InvalidTier> {
        TierLocation::parse(text, Some(Path::new("/home/ci")))
    }

    #[test]
    fn directories_and_sizes() {
        #[track_caller]
        fn check(text: &str, directory: &str, size: u64) {
            assert_eq!(parse(text), Ok(TierLocation { directory: directory.into(), size }));
        }
        check("/var/cache/larder", "/var/cache/larder", DEFAULT_SIZE);
        check("/c:20GB", "/c", 20_000_000_000);
        check("c:512MiB", "c", 512 << 20);
        check("c:1 tib", "c", 1 << 40);
        check("c:7kb", "c", 7_000);
        check("c:900B", "c", 900);
        check("~/c:1KiB", "/home/ci/c", 1024);
        check("~", "/home/ci", DEFAULT_SIZE);
        check("/a:b/", "/a:b/", DEFAULT_SIZE);
        check("/a:b/c:3MB", "/a:b/c", 3_000_000);
        check("a:b:1TB", "a:b", 1_000_000_000_000);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        use InvalidTier::{Home, NoDirectory, Size, Zero};
        #[track_caller]
        fn check(text: &str, error: InvalidTier) {
            assert_eq!(parse(text), Err(error));
        }
        check(":5GB", NoDirectory(":5GB".to_owned()));
        check("", NoDirectory(String::new()));
        for size in ["", "20", "GB", "20XB", "-1GB", "1.5GB", "20G", "lots", "99999999999TB"] {
            check(&format!("/c:{size}"), Size(size.to_owned()));
        }
        check("/c:0MiB", Zero("0MiB".to_owned()));
        check("~other/c", Home("~other/c".to_owned()));
        assert_eq!(TierLocation::parse("~/c", None), Err(Home("~/c".to_owned())));
    }
}
