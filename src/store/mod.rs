//! Where objects are kept: the one thing that all savers and restorers share.
//!
//! A [`Store`] knows keys and bytes, and nothing of chunks, packs or
//! manifests. Its contract is what S3 gives, and no more; a directory and a
//! map in memory keep the same contract, and one conformance suite
//! (`tests/store_conformance/`) holds all of them to it.
//!
//! Calls block. Concurrency is the caller's: any number of threads may call
//! one store at once, and a store that speaks to a network keeps its runtime
//! to itself. Callers must not call a store from a rayon worker.

mod error;
mod local;
mod location;
mod memory;
mod metered;
mod patience;
mod s3;

use std::fmt;
use std::io;
use std::ops::{ControlFlow, Range};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;

pub use crate::object_key::{InvalidObjectKey, ObjectKey};
pub use error::{Operation, RemoteError, RemoteErrorKind, StoreError, StoreErrorKind};
pub use local::{Fsync, LocalStore};
pub use location::{InvalidLocation, StoreLocation, nearest, open};
pub use memory::{Call, MemoryStore, When};
pub use metered::{Metered, Requests, WireRequests};
pub use patience::Patience;
pub use s3::{
    AssumeRole, CacheMode, Checksums, CredentialSource, CustomerKey, Encryption, InvalidPlainKey,
    PlainKey, PlainMeta, S3Config, S3Store, Secret,
};

/// What tells one state of an object from another: S3's entity tag.
///
/// Opaque; equal versions of one key mean equal contents.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Version(String);

impl Version {
    /// The version that a store calls by this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The store's text for this version.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a store says of an object without giving its contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectMeta {
    /// The object's key.
    pub key: ObjectKey,
    /// Length in bytes.
    pub len: u64,
    /// When it was last put, by the store's clock.
    pub modified: SystemTime,
    /// The state this was said of.
    pub version: Version,
}

/// An object's contents and what the store says of it.
#[derive(Clone, Debug)]
pub struct Object {
    /// The state that `body` is of.
    pub meta: ObjectMeta,
    /// The whole contents.
    pub body: Bytes,
}

/// When a put may take effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PutMode {
    /// Only if there is no such object (S3: `If-None-Match: *`).
    Create,
    /// Always; what was there is replaced.
    Overwrite,
    /// Only if the object is there in this version (S3: `If-Match`).
    IfMatch(Version),
}

/// One page of a listing.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Objects in the order of their keys' bytes.
    pub objects: Vec<ObjectMeta>,
    /// Whether there may be objects after the last of these. Never so of a page
    /// without objects, since the next page could not say where to begin.
    pub more: bool,
}

/// The most objects that one listing or one delete may name: S3's limit.
pub const MAX_BATCH: usize = 1000;

/// A flat map from keys to immutable byte strings.
///
/// Every method may be called from any number of threads and processes at
/// once. Reads see what was put before they began (S3 has been strongly
/// consistent since December 2020; compatible servers that larder supports
/// are too).
pub trait Store: fmt::Debug + Send + Sync {
    /// How a person names this store: what `--store` was given, less secrets.
    fn location(&self) -> String;

    /// The whole object.
    ///
    /// Of concurrent puts, one is seen whole, never a mixture.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`]; [`StoreErrorKind::TooLong`] if the object is longer
    /// than `max_len` bytes, of which none are read then.
    fn get(&self, key: &ObjectKey, max_len: u64) -> Result<Object, StoreError>;

    /// The bytes `range` of the object, all of them.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`]; [`StoreErrorKind::RangeOutside`] if the
    /// object ends before the range does. An empty range is a caller's error
    /// and is answered like one outside the object.
    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError>;

    /// What a get would find.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotFound`].
    fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StoreError>;

    /// Stores an object, whole or not at all.
    ///
    /// Once this returns, the object is durable and every later read sees it.
    /// When it fails, the old state or the new one is there, never a mixture;
    /// which of the two is unknown unless the error is one of the two below.
    ///
    /// # Errors
    /// [`StoreErrorKind::AlreadyExists`] for [`PutMode::Create`] and
    /// [`StoreErrorKind::VersionMismatch`] for [`PutMode::IfMatch`] (also where
    /// there is no such object): nothing was changed. Of concurrent creates of
    /// one key, and of concurrent conditional puts on one version, exactly one
    /// succeeds.
    fn put(&self, key: &ObjectKey, body: Bytes, mode: PutMode) -> Result<Version, StoreError>;

    /// The objects whose keys begin with `prefix` and lie after `after`, at
    /// most `limit` (1 to [`MAX_BATCH`]) of them, in the order of their bytes.
    ///
    /// `prefix` is any text, not only whole segments. Objects put or deleted
    /// meanwhile may or may not be seen; all others are seen exactly once, also
    /// those that are overwritten.
    ///
    /// # Errors
    /// Only those of the store itself, and a limit out of bounds; a prefix
    /// without objects is an empty page.
    fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Page, StoreError>;

    /// Deletes up to [`MAX_BATCH`] objects. One that is not there counts as
    /// deleted; of no keys, nothing is asked.
    ///
    /// # Errors
    /// The outer error means that nothing is known of any of them. Otherwise
    /// the result names those that could not be deleted; all others are gone.
    /// Too many keys are a caller's error.
    fn delete(&self, keys: &[ObjectKey]) -> Result<Vec<StoreError>, StoreError>;

    /// Deletes the object if it is there in this version (S3: `If-Match`).
    ///
    /// Of concurrent conditional puts and one conditional delete on one
    /// version, exactly one succeeds. Of several such deletes, more than one may
    /// be told that it did.
    ///
    /// That takes a service that compares and deletes in one step. Some compare
    /// first (Ceph RGW 20), and some not at all (Garage): what those delete was
    /// looked at before, as where [`Store::has_conditional_writes`] is false.
    /// With these, an object that is put between the two steps is deleted in
    /// place of the one that was meant.
    ///
    /// # Errors
    /// [`StoreErrorKind::VersionMismatch`] if the object is there in another
    /// version or not at all: nothing was changed. After any other error it is
    /// unknown whether the object is still there. If it is gone when the request
    /// is repeated because its answer was lost, that counts as success.
    fn delete_if_match(&self, key: &ObjectKey, version: &Version) -> Result<(), StoreError>;

    /// What time it is by the store's clock: the one that
    /// [`ObjectMeta::modified`] is told by, and never this machine's. Only of a
    /// directory that was opened for reading, or cannot be written, this
    /// machine's clock has to do.
    ///
    /// It may lag behind what was just put, by two seconds at most where clocks
    /// are coarse: such an object's age is nothing. It never runs ahead, so that
    /// no object looks older than it is.
    ///
    /// # Errors
    /// Those of the store itself, and that a service does not tell its time.
    fn now(&self) -> Result<SystemTime, StoreError>;

    /// Whether conditional puts are believed to be exclusive. Where they are
    /// not, [`PutMode::Create`] and [`PutMode::IfMatch`] still look before they
    /// put, but two at once may both succeed.
    fn has_conditional_writes(&self) -> bool {
        true
    }

    /// What was really sent so far, repetitions and parts of long objects
    /// included; `None` for a store that is not asked over a network.
    fn wire_requests(&self) -> Option<WireRequests> {
        None
    }
}

/// Refuses what S3 would refuse, so that no store is laxer than it.
fn check_batch(
    operation: Operation,
    object: impl fmt::Display,
    count: usize,
) -> Result<(), StoreError> {
    // A list of nothing makes no sense; S3 gives it one all the same.
    let least = usize::from(operation == Operation::List);
    if (least..=MAX_BATCH).contains(&count) {
        return Ok(());
    }
    let why = format!("{count} objects at once are not between {least} and {MAX_BATCH}");
    let kind = StoreErrorKind::Io(io::Error::new(io::ErrorKind::InvalidInput, why));
    Err(StoreError::new(operation, object, kind))
}

/// All objects under a prefix, page after page.
///
/// # Errors
/// The first that a page gives; then nothing is known of the rest.
pub fn list_all(store: &dyn Store, prefix: &str) -> Result<Vec<ObjectMeta>, StoreError> {
    list_after(store, prefix, None)
}

/// All objects under a prefix that lie after a key, page after page.
///
/// # Errors
/// Those of [`list_all`].
pub fn list_after(
    store: &dyn Store,
    prefix: &str,
    after: Option<ObjectKey>,
) -> Result<Vec<ObjectMeta>, StoreError> {
    let mut objects: Vec<ObjectMeta> = Vec::new();
    list_each(store, prefix, after, |object| {
        objects.push(object);
        ControlFlow::Continue(())
    })?;
    Ok(objects)
}

/// Gives all objects under a prefix that lie after a key to `take`, page after
/// page, until it has enough. So no more of them than a page need be in memory.
///
/// # Errors
/// Those of [`list_all`].
pub fn list_each(
    store: &dyn Store,
    prefix: &str,
    mut after: Option<ObjectKey>,
    mut take: impl FnMut(ObjectMeta) -> ControlFlow<()>,
) -> Result<(), StoreError> {
    loop {
        let page = store.list(prefix, after.as_ref(), MAX_BATCH)?;
        let (more, empty) = (page.more, page.objects.is_empty());
        after = page.objects.last().map(|object| object.key.clone()).or(after);
        if page.objects.into_iter().try_for_each(&mut take).is_break() {
            return Ok(());
        }
        match (more, empty) {
            (false, _) => return Ok(()),
            (true, false) => {}
            // Neither end here nor ask forever: whoever believes that these
            // are all objects may delete what the others need.
            (true, true) => {
                let why = "a page without objects says that there are more";
                let kind = StoreErrorKind::Io(io::Error::new(io::ErrorKind::InvalidData, why));
                return Err(StoreError::new(Operation::List, prefix, kind));
            }
        }
    }
}

impl<S: Store + ?Sized> Store for Arc<S> {
    fn location(&self) -> String {
        (**self).location()
    }
    fn get(&self, key: &ObjectKey, max_len: u64) -> Result<Object, StoreError> {
        (**self).get(key, max_len)
    }
    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        (**self).get_range(key, range)
    }
    fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StoreError> {
        (**self).head(key)
    }
    fn put(&self, key: &ObjectKey, body: Bytes, mode: PutMode) -> Result<Version, StoreError> {
        (**self).put(key, body, mode)
    }
    fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        (**self).list(prefix, after, limit)
    }
    fn delete(&self, keys: &[ObjectKey]) -> Result<Vec<StoreError>, StoreError> {
        (**self).delete(keys)
    }
    fn delete_if_match(&self, key: &ObjectKey, version: &Version) -> Result<(), StoreError> {
        (**self).delete_if_match(key, version)
    }
    fn now(&self) -> Result<SystemTime, StoreError> {
        (**self).now()
    }
    fn has_conditional_writes(&self) -> bool {
        (**self).has_conditional_writes()
    }
    fn wire_requests(&self) -> Option<WireRequests> {
        (**self).wire_requests()
    }
}
