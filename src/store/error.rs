//! What goes wrong in a store, and what a person can do about it.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::time::Duration;

use super::InvalidLocation;

/// The kinds of request a store answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Open the store itself.
    Open,
    /// Get an object or a range of it.
    Get,
    /// Put an object.
    Put,
    /// Ask for what is known of an object.
    Head,
    /// List keys.
    List,
    /// Delete objects.
    Delete,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open => "open",
            Self::Get => "get",
            Self::Put => "put",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
        })
    }
}

/// A request that failed: which one, on what, after how much trying, and why.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {object}: {kind}")]
pub struct StoreError {
    /// What was asked for.
    pub operation: Operation,
    /// The object's key, or the prefix of a listing, or the store's location.
    pub object: String,
    /// How often it was tried.
    pub attempts: u32,
    /// How long that took in all.
    pub elapsed: Duration,
    /// Why it failed.
    #[source]
    pub kind: StoreErrorKind,
}

impl StoreError {
    /// An error of a request that was tried once.
    pub fn new(operation: Operation, object: impl fmt::Display, kind: StoreErrorKind) -> Self {
        Self { operation, object: object.to_string(), attempts: 1, elapsed: Duration::ZERO, kind }
    }

    /// Whether the object is not there.
    pub fn is_not_found(&self) -> bool {
        matches!(self.kind, StoreErrorKind::NotFound)
    }

    /// Whether a conditional put found another state than it asked for.
    pub fn is_conflict(&self) -> bool {
        matches!(self.kind, StoreErrorKind::AlreadyExists | StoreErrorKind::VersionMismatch)
    }

    /// What a person can do about it, where that is known.
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        match &self.kind {
            StoreErrorKind::NoSpace(_) => Some(
                "free space on the store's file system or choose another place with --store".into(),
            ),
            StoreErrorKind::Denied(_) => Some(
                "check that this user may read and write the store, or choose another with --store"
                    .into(),
            ),
            StoreErrorKind::Location(error) => error.hint(),
            _ => None,
        }
    }
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreErrorKind {
    /// There is no such object.
    #[error("no such object")]
    NotFound,
    /// A create-only put found an object.
    #[error("the object already exists")]
    AlreadyExists,
    /// A conditional put found another version, or no object.
    #[error("the object was changed meanwhile")]
    VersionMismatch,
    /// The object is longer than the caller takes.
    #[error("the object has {len} bytes, more than the {max_len} allowed")]
    TooLong {
        /// The object's length in bytes.
        len: u64,
        /// The most bytes the caller takes.
        max_len: u64,
    },
    /// The object ends before the range does.
    #[error("bytes {start}..{end} are outside the object of {len} bytes")]
    RangeOutside {
        /// First byte wanted.
        start: u64,
        /// One past the last byte wanted.
        end: u64,
        /// The object's length in bytes.
        len: u64,
    },
    /// The store does not let this user do it.
    #[error("permission denied: {0}")]
    Denied(#[source] io::Error),
    /// The store is full, or a quota is used up.
    #[error("no space left in the store: {0}")]
    NoSpace(#[source] io::Error),
    /// The text does not say where the store is.
    #[error("{0}")]
    Location(#[from] InvalidLocation),
    /// Any other failure of the file system or network.
    #[error("{0}")]
    Io(#[source] io::Error),
}

impl From<io::Error> for StoreErrorKind {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Denied(error)
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::NoSpace(error),
            _ => Self::Io(error),
        }
    }
}
