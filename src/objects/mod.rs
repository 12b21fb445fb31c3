//! Objects: byte strings under names, in a store of caches.
//!
//! What `larder serve` gives to S3 clients. An object is a cache of one file: cut into
//! chunks, packed, named by a manifest, collected as garbage like any other. So it is
//! deduplicated against all that the store holds, whoever saved it, and everything that
//! reads a store (`verify`, `stats`, `flush`) reads objects, too.
//!
//! A save makes one cache and ends. Here many small objects come and go for days, so
//! three things are shared by all that are being put at one time: what is known of the
//! store's chunks ([`knowledge`]), the pack that is being filled ([`packs`]), and the
//! look at the state of garbage collection that each owes once its manifest is there
//! ([`publish`]).
//!
//! Nothing is answered before it is durable, and nothing that must last is kept in this
//! process alone: any number of them may serve one store.

mod contents;
mod details;
mod knowledge;
mod listing;
mod name;
mod packs;
mod publish;
mod read;
mod uploads;

use std::sync::Arc;
use std::time::Duration;

use crate::error::Error;
use crate::format::FormatError;
use crate::repository::{Access, REFRESH_AFTER, Repository, StoredManifest};
use crate::store_time::StoreTime;
use crate::trust::TrustedScopes;
pub use contents::{Contents, Writer};
pub use details::Details;
pub use listing::Listed;
pub use name::{Bucket, InvalidBucket, ObjectName, UploadId};
pub use read::Fetch;
pub use uploads::{Part, Upload};

/// How objects are put.
#[derive(Clone, Debug)]
pub struct Options {
    /// zstd level for new chunks; see [`crate::compression::LEVELS`].
    pub level: i32,
    /// How long a put waits for others to share its pack, at most.
    pub window: Duration,
    /// Scopes whose savers believe only each other.
    pub trusted_scopes: TrustedScopes,
    /// How long ago an object that is read may have been used last before its manifest is
    /// put again.
    pub refresh_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            level: crate::compression::DEFAULT_LEVEL,
            window: Duration::from_millis(10),
            trusted_scopes: TrustedScopes::default(),
            refresh_after: REFRESH_AFTER,
        }
    }
}

/// When a put may take effect.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Always.
    #[default]
    None,
    /// If there is no object of this name.
    Absent,
    /// If the object of this name has this entity tag.
    Etag(String),
}

/// Why something was not done that the store could do.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// There is no such object.
    #[error("there is no such object")]
    NotFound,
    /// The condition is not met.
    #[error("the condition is not met")]
    Condition,
    /// There is no such upload: it was completed or aborted, or never begun.
    #[error("there is no such upload")]
    NoSuchUpload,
    /// An upload has no part of this number with this entity tag.
    #[error("part {0} was not uploaded, or has another entity tag")]
    InvalidPart(u32),
    /// A part that is not the last one is too short.
    #[error("part {0} is shorter than 5 MiB and not the last")]
    PartTooShort(u32),
    /// What is kept beside its bytes is too long.
    #[error("metadata and parts are too long")]
    DetailsTooLong,
    /// The store failed.
    #[error(transparent)]
    Failed(#[from] Error),
}

/// What is known of an object without its bytes.
#[derive(Clone, Debug)]
pub struct Info {
    /// Its name.
    pub name: ObjectName,
    /// Its length in bytes.
    pub len: u64,
    /// When it was put, or copied onto itself, by the store's clock.
    pub modified: StoreTime,
    /// What it has beside its bytes.
    pub details: Details,
}

/// An object, and where its bytes lie.
#[derive(Clone, Debug)]
pub struct Found {
    /// What is known of it.
    pub info: Info,
    stored: Arc<StoredManifest>,
}
