//! A store in a bucket of S3, or of any server that speaks its protocol.
//!
//! The SDK signs, sends and parses; here is what it does not know: what each
//! call of the [`Store`] contract is on the wire, which failures are worth
//! another try, how many requests a server can take, and whether what came is
//! what was asked for.
//!
//! Calls block their thread; a runtime of the store's own drives the sockets.

mod body;
mod client;
mod clock;
mod config;
mod copy;
mod delete;
mod escape;
mod failure;
mod get;
mod github;
mod headers;
mod limiter;
mod parts;
mod plain;
mod plain_key;
mod put;
mod request;
mod words;

use std::fmt;
use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use aws_sdk_s3::Client;
use aws_smithy_types::DateTime;
use bytes::Bytes;
use tokio::runtime::Runtime;

use super::error::StoreErrorKind;
use super::patience::Patience;
use super::{
    Object, ObjectKey, ObjectMeta, Operation, Page, PutMode, Store, StoreError, Version,
    WireRequests, check_batch,
};
use crate::sync::lock;
use body::{Body, Contents};
pub use config::{
    AssumeRole, CacheMode, Checksums, CredentialSource, CustomerKey, Encryption, S3Config, Secret,
};
use failure::{Again, Failure, classify};
use limiter::Limiter;
pub use plain::PlainMeta;
pub use plain_key::{InvalidPlainKey, PlainKey};
use put::Put;
use request::{Asked, Counters};
pub(super) use words::words;

/// Requests at once, unless the location says otherwise.
const PARALLELISM: usize = 16;

/// A store in a bucket.
pub struct S3Store {
    config: S3Config,
    runtime: Runtime,
    clients: client::Clients,
    /// Replaced when the bucket turns out to be in another region.
    client: Mutex<Client>,
    limiter: Limiter,
    patience: Patience,
    counters: Counters,
    clock: clock::Clock,
    cuts: copy::Cuts,
    /// Whether conditional puts are believed to be honoured.
    conditional: AtomicBool,
    /// The same of conditional deletes, which fewer services have.
    conditional_deletes: AtomicBool,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "S3Store({})", self.config)
    }
}

impl S3Store {
    /// Prepares to speak to a store. Nothing is asked of it yet, but
    /// configuration files are read.
    ///
    /// # Errors
    /// If a certificate cannot be read.
    pub fn open(config: S3Config, patience: Patience) -> Result<Self, StoreError> {
        let failed = |kind: StoreErrorKind| StoreError::new(Operation::Open, &config, kind);
        // Two threads: sockets need little time, but TLS and checksums must
        // not wait for each other.
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("larder-s3")
            .enable_all()
            .build()
            .map_err(|error| failed(error.into()))?;
        let clock = clock::Clock::default();
        let clients = client::Clients::prepare(&config, &clock);
        let clients = runtime.block_on(clients).map_err(failed)?;
        let client = Mutex::new(clients.client(None));
        let parallelism = config.parallelism.map_or(PARALLELISM, std::num::NonZero::get);
        let conditional = AtomicBool::new(config.conditional_writes.unwrap_or(true));
        let limiter = Limiter::new(parallelism);
        Ok(Self {
            config,
            runtime,
            clients,
            client,
            limiter,
            patience,
            counters: Counters::default(),
            clock,
            cuts: copy::Cuts::default(),
            conditional,
            conditional_deletes: AtomicBool::new(true),
        })
    }

    fn client(&self) -> Client {
        lock(&self.client).clone()
    }

    /// An object's name in the bucket.
    fn name(&self, key: &str) -> String {
        if self.config.prefix.is_empty() {
            return key.to_owned();
        }
        format!("{}/{key}", self.config.prefix)
    }
}

impl Store for S3Store {
    fn location(&self) -> String {
        self.config.to_string()
    }

    fn get(&self, key: &ObjectKey, max_len: u64) -> Result<Object, StoreError> {
        self.run(Operation::Get, key, Asked::Get, async |_| {
            let mut got = self.send_get(key, None).await?;
            if got.len > max_len {
                let kind = StoreErrorKind::TooLong { len: got.len, max_len };
                return Err(kind.into_failure(Again::No));
            }
            let mut body = Vec::new();
            got.read(&mut body, self.config.read_timeout).await?;
            let version = got.version.clone();
            let meta =
                ObjectMeta { key: key.clone(), len: got.len, modified: got.modified, version };
            Ok(Object { meta, body: body.into() })
        })
    }

    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        if range.is_empty() {
            let len = self.head(key)?.len;
            let kind = StoreErrorKind::RangeOutside { start: range.start, end: range.end, len };
            return Err(StoreError::new(Operation::Get, key, kind));
        }
        // What came before a connection broke is kept: the next attempt asks
        // for the rest, of the same object.
        let so_far: Mutex<(Vec<u8>, Option<Version>)> = Mutex::default();
        let outside = |len: u64| {
            let kind = StoreErrorKind::RangeOutside { start: range.start, end: range.end, len };
            kind.into_failure(Again::No)
        };
        self.run(Operation::Get, key, Asked::Get, async |_| {
            let (mut body, version) = std::mem::take(&mut *lock(&so_far));
            let rest = range.start + body.len() as u64..range.end;
            let mut got = match self.send_get(key, Some(rest)).await {
                Ok(got) => got,
                Err(failure) if failure.is(416) => {
                    let meta = self.send_head(key).await?;
                    return Err(outside(meta.len));
                }
                Err(failure) => {
                    *lock(&so_far) = (body, version);
                    return Err(failure);
                }
            };
            if got.len < range.end {
                return Err(outside(got.len));
            }
            if version.is_some_and(|version| version != got.version) {
                // Replaced meanwhile: nothing that came before is of use.
                let why = "the object was replaced while it was read";
                return Err(Failure::broken_body(why));
            }
            let read = got.read(&mut body, self.config.read_timeout).await;
            if let Err(failure) = read {
                *lock(&so_far) = (body, Some(got.version));
                return Err(failure);
            }
            Ok(body.into())
        })
    }

    fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StoreError> {
        self.run(Operation::Head, key, Asked::Head, async |_| self.send_head(key).await)
    }

    fn put(&self, key: &ObjectKey, body: Bytes, mode: PutMode) -> Result<Version, StoreError> {
        let body = Body::Sent(Contents::Bytes(body));
        // What tells, after an answer was lost, whether the object that is
        // there is this very one.
        self.put_object(&Put { key: key.as_str(), body, metadata: put::nonce() }, &mode)
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        check_batch(Operation::List, prefix, limit)?;
        // No key has these, and some servers repeat them in XML, which must not.
        if prefix.contains(char::is_control) {
            return Ok(Page::default());
        }
        let within = self.name("");
        let what = if prefix.is_empty() { self.location() } else { prefix.to_owned() };
        let mut page = Page::default();
        let mut after = after.map(|key| self.name(key.as_str()));
        // Other things may lie below the prefix: a page of them alone is none.
        loop {
            let room = limit - page.objects.len();
            let answer = self.run(Operation::List, &what, Asked::List, async |_| {
                let sent = self
                    .client()
                    .list_objects_v2()
                    .bucket(&self.config.bucket)
                    .prefix(self.name(prefix))
                    .set_start_after(after.clone())
                    .max_keys(i32::try_from(room).unwrap_or(1000))
                    .send()
                    .await;
                sent.map_err(|error| classify(&error))
            })?;
            page.more = answer.is_truncated().unwrap_or(false);
            after = answer.contents().last().and_then(|last| last.key()).map(str::to_owned);
            let objects = answer.contents().iter().filter_map(|found| {
                let key = found.key()?.strip_prefix(&within)?;
                Some(ObjectMeta {
                    key: ObjectKey::new(key).ok()?,
                    len: u64::try_from(found.size()?).ok()?,
                    modified: time(found.last_modified()),
                    version: Version::new(found.e_tag().unwrap_or_default()),
                })
            });
            page.objects.extend(objects);
            if !page.more || !page.objects.is_empty() || after.is_none() {
                return Ok(page);
            }
        }
    }

    fn delete(&self, keys: &[ObjectKey]) -> Result<Vec<StoreError>, StoreError> {
        let keys: Vec<_> = keys.iter().map(ObjectKey::as_str).collect();
        self.delete_batch(&keys)
    }

    fn delete_if_match(&self, key: &ObjectKey, version: &Version) -> Result<(), StoreError> {
        self.delete_version(key, version)
    }

    fn now(&self) -> Result<SystemTime, StoreError> {
        self.time_there()
    }

    fn has_conditional_writes(&self) -> bool {
        self.conditional.load(Ordering::Relaxed)
    }

    fn wire_requests(&self) -> Option<WireRequests> {
        Some(self.counters.read())
    }
}

/// A time of the server's; what it does not tell was long ago.
fn time(time: Option<&DateTime>) -> SystemTime {
    time.and_then(|time| SystemTime::try_from(*time).ok()).unwrap_or(SystemTime::UNIX_EPOCH)
}
