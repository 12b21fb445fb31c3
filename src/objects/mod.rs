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

mod cache;
mod contents;
mod counts;
mod details;
mod knowledge;
mod listing;
mod name;
mod news;
mod packs;
mod publish;
mod read;
mod uploads;

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::compression::Compression;
use crate::error::Error;
use crate::format::LayoutError;
use crate::ids::Scope;
use crate::progress::{Progress, Warning};
use crate::repository::{Access, REFRESH_AFTER, Repository, StoredManifest};
use crate::store::StoreError;
use crate::store_time::StoreTime;
use crate::trust::TrustedScopes;
use cache::Cache;
pub use contents::{Contents, Writer};
use counts::Counters;
pub use counts::Counts;
pub use details::Details;
use knowledge::Knowledge;
pub use listing::Listed;
use listing::Lists;
pub use name::{Bucket, InvalidBucket, ObjectName, UploadId};
use news::News;
use packs::Packs;
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
    /// An upload has no part of this number.
    #[error("part {0} was not uploaded")]
    NoSuchPart(u32),
    /// What is kept beside its bytes is too long.
    #[error("metadata and parts are too long")]
    DetailsTooLong,
    /// The store failed.
    #[error(transparent)]
    Failed(#[from] Error),
}

impl From<LayoutError> for ObjectError {
    fn from(error: LayoutError) -> Self {
        Self::Failed(error.into())
    }
}

impl From<StoreError> for ObjectError {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
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

/// The objects of a store. Cheap to clone; any number of threads may use it at once.
///
/// Calls block.
#[derive(Clone, Debug)]
pub struct Objects {
    shared: Arc<Shared>,
}

/// What all that is put and read at one time share.
#[derive(Debug)]
struct Shared {
    knowledge: Knowledge,
    packs: Arc<Packs>,
    compression: Compression,
    news: Arc<News>,
    cache: Cache,
    lists: Lists,
    counts: Counters,
    refresh_after: Duration,
}

impl Shared {
    fn repository(&self) -> &Repository {
        self.knowledge.repository()
    }

    fn warn(&self, warning: Warning) {
        self.knowledge.context().progress.warn(warning);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.news.end();
    }
}

impl Objects {
    /// Opens a store, or makes one.
    ///
    /// # Errors
    /// Those of [`Repository::open`] and [`Repository::create`].
    pub fn open(
        access: impl Into<Access>,
        options: Options,
        progress: Arc<dyn Progress + Send + Sync>,
    ) -> Result<Self, Error> {
        let access = access.into();
        let store = Arc::clone(&access.store);
        let sealing = access.keys.sealing();
        let repository = match Repository::open(access.clone())? {
            Some(repository) => repository,
            None => Repository::create(access)?,
        };
        let Options { level, window, trusted_scopes, refresh_after } = options;
        let news = News::start(repository.clone(), Arc::clone(&progress));
        let packs = Packs::new(store, sealing.key(), window);
        let shared = Shared {
            knowledge: Knowledge::new(repository, trusted_scopes, progress),
            packs,
            compression: Compression::new(level, sealing),
            news,
            cache: Cache::default(),
            lists: Lists::default(),
            counts: Counters::default(),
            refresh_after,
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Takes the bytes of what is to be put in this scope, or in an upload to it.
    ///
    /// # Errors
    /// Those of the store.
    pub fn writer(&self, scope: &Scope) -> Result<Writer, Error> {
        Writer::new(Arc::clone(&self.shared), scope)
    }

    /// Puts an object, in place of what has its name.
    ///
    /// Once this returns, it is durable and every later read sees it. When it fails, the
    /// old object or the new one is there, never a mixture.
    ///
    /// # Errors
    /// [`ObjectError::Condition`], and then nothing was changed.
    pub fn put(
        &self,
        name: &ObjectName,
        contents: Contents,
        details: Details,
        condition: &Condition,
    ) -> Result<Info, ObjectError> {
        self.shared.put(name, contents, details, condition)
    }

    /// Copies an object that was found, with other details, without reading or putting
    /// its bytes. Onto itself, it counts as put now; if somebody else has put another
    /// there since, that stays.
    ///
    /// # Errors
    /// Those of [`Objects::put`].
    pub fn copy(
        &self,
        from: &Found,
        to: &ObjectName,
        details: &Details,
        condition: &Condition,
    ) -> Result<Info, ObjectError> {
        self.shared.copy(from, to, details, condition)
    }

    /// The bytes `range` of an object that was found, to be put again: chunks that lie in
    /// it whole are not read.
    ///
    /// # Errors
    /// Those of the store, and of chunks that are damaged.
    pub fn contents_of(&self, from: &Found, range: Range<u64>) -> Result<Contents, ObjectError> {
        self.shared.contents_of(from, range)
    }

    /// Finds an object.
    ///
    /// # Errors
    /// [`ObjectError::NotFound`] if there is none, or one that cannot be read or trusted,
    /// which is told as a warning.
    pub fn find(&self, name: &ObjectName) -> Result<Found, ObjectError> {
        self.shared.find(name)
    }

    /// The bytes that one of [`Found::fetches`] gives, verified.
    ///
    /// # Errors
    /// Those of the store, and of chunks that are damaged.
    pub fn fetch(&self, found: &Found, fetch: &Fetch) -> Result<Vec<Bytes>, ObjectError> {
        self.shared.fetch(found, fetch)
    }

    /// Counts as a use of the object: makes now the time of its last use, if that was long
    /// ago. Failing to is a warning.
    pub fn used(&self, found: &Found) {
        self.shared.used(found);
    }

    /// Deletes objects, whether they are there or not; gives those that are still there,
    /// and why.
    ///
    /// # Errors
    /// If nothing is known of a batch of them.
    pub fn delete(&self, names: &[ObjectName]) -> Result<Vec<(ObjectName, Error)>, ObjectError> {
        self.shared.delete(names)
    }

    /// Deletes an object if the condition is met.
    ///
    /// # Errors
    /// [`ObjectError::Condition`] and [`ObjectError::NotFound`]: nothing was changed.
    pub fn delete_if(&self, name: &ObjectName, condition: &Condition) -> Result<(), ObjectError> {
        self.shared.delete_if(name, condition)
    }

    /// The objects of a bucket whose keys begin with `prefix`, in the order of their bytes.
    ///
    /// # Errors
    /// Those of the store.
    pub fn list(&self, bucket: &Bucket, prefix: &str) -> Result<Arc<Vec<Listed>>, ObjectError> {
        Ok(self.shared.list_anew(&bucket.scope(), prefix)?)
    }

    /// The same for whoever has seen the beginning of such a list: if that was lately, what
    /// was put since need not be in it. So a long list is not made anew for each of its
    /// pages.
    ///
    /// # Errors
    /// Those of the store.
    pub fn list_on(&self, bucket: &Bucket, prefix: &str) -> Result<Arc<Vec<Listed>>, ObjectError> {
        Ok(self.shared.list_on(&bucket.scope(), prefix)?)
    }

    /// What is known of objects that were listed; `None` of those that are gone, or are
    /// none. One that this process has not seen as it is takes a request.
    ///
    /// # Errors
    /// Those of the store.
    pub fn infos(&self, listed: &[Listed]) -> Result<Vec<Option<Info>>, ObjectError> {
        let found = self.shared.read_listed(listed)?;
        Ok(found.into_iter().map(|found| found.map(|found| found.info)).collect())
    }

    /// The buckets that have objects.
    ///
    /// # Errors
    /// Those of the store.
    pub fn buckets(&self) -> Result<Vec<Bucket>, ObjectError> {
        Ok(self.shared.buckets()?)
    }

    /// What was put so far.
    pub fn counts(&self) -> Counts {
        self.shared.counts()
    }

    /// Tells other savers of chunks that they were not told of yet: the last thing to do.
    pub fn close(&self) {
        self.shared.news.tell_all();
    }
}
