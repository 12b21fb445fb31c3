//! One request, as often as it takes: retries, time limits, and counting.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::S3Store;
use super::failure::{Again, Failure};
use crate::store::error::{RemoteError, RemoteErrorKind, StoreErrorKind};
use crate::store::{Operation, StoreError, WireRequests};
use crate::sync::lock;

/// The most times that a request is sent.
const MAX_ATTEMPTS: u32 = 10;

/// Of a server that cannot be connected to: it is more likely to be the wrong
/// one than to come back.
const MAX_CONNECTS: u32 = 5;

/// The longest wait before the second attempt; each one after may wait twice
/// as long as the one before.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// The longest wait before any attempt.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// How often a wait looks whether the user has asked to stop.
const GLANCE: Duration = Duration::from_millis(100);

/// How long a request may go on after the user asked to stop: enough for what
/// has to be put in order, such as a claim given back, and less than CI systems
/// wait before they kill (GitHub 7.5 s, docker 10 s).
const LAST_WORDS: Duration = Duration::from_secs(3);

/// The slowest upload that is not given up, in bytes per second.
const SLOWEST_UPLOAD: u64 = 128 << 10;

/// The slowest copy that is waited for, in bytes per second: within a server
/// that is slow, and over twenty minutes for what one request may copy.
const SLOWEST_COPY: u64 = 4 << 20;

/// Kinds of requests, as S3 bills them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Asked {
    Get,
    Head,
    /// With the bytes that are sent.
    Put(u64),
    /// With the bytes that the server copies.
    Copy(u64),
    List,
    Delete,
}

/// Requests that went over the wire.
#[derive(Debug, Default)]
pub(super) struct Counters {
    get: AtomicU64,
    put: AtomicU64,
    list: AtomicU64,
    delete: AtomicU64,
    retries: AtomicU64,
}

impl Counters {
    pub(super) fn add(&self, asked: Asked, attempt: u32) {
        let counter = match asked {
            Asked::Get | Asked::Head => &self.get,
            Asked::Put(_) | Asked::Copy(_) => &self.put,
            Asked::List => &self.list,
            Asked::Delete => &self.delete,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        if attempt > 1 {
            self.retries.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn read(&self) -> WireRequests {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WireRequests {
            get: read(&self.get),
            put: read(&self.put),
            list: read(&self.list),
            delete: read(&self.delete),
            retries: read(&self.retries),
        }
    }
}

impl S3Store {
    /// Sends a request until it succeeds, or will not. `attempt` gets the number
    /// of the attempt, from 1 on.
    pub(super) fn run<T>(
        &self,
        operation: Operation,
        object: impl fmt::Display,
        asked: Asked,
        attempt: impl AsyncFnMut(u32) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        self.runtime.block_on(self.persist(operation, object, asked, attempt))
    }

    /// As [`S3Store::run`], within the runtime.
    pub(super) async fn persist<T>(
        &self,
        operation: Operation,
        object: impl fmt::Display,
        asked: Asked,
        mut attempt: impl AsyncFnMut(u32) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        let began = Instant::now();
        let mut attempts = 0;
        loop {
            attempts += 1;
            let result = self.limited(asked, attempts, &mut attempt).await;
            let failure = match result {
                Ok(value) => {
                    self.limiter.succeeded();
                    return Ok(value);
                }
                Err(failure) => failure,
            };
            let moved = attempts == 1 && self.follow(&failure);
            let wait = self.wait(&failure, attempts);
            if !moved && (wait.is_none() || self.rest(wait.unwrap_or_default()).await.is_err()) {
                let elapsed = began.elapsed();
                let kind = self.whose_credentials(failure.kind);
                let object = match &kind {
                    StoreErrorKind::Remote(error) if error.kind.is_of_the_bucket() => {
                        self.config.to_string()
                    }
                    _ => object.to_string(),
                };
                return Err(StoreError { operation, object, attempts, elapsed, kind });
            }
        }
    }

    /// Says of which role or profile the credentials are that are missing.
    fn whose_credentials(&self, kind: StoreErrorKind) -> StoreErrorKind {
        match kind {
            StoreErrorKind::Remote(RemoteError {
                kind: RemoteErrorKind::NoCredentials,
                mut detail,
                region,
            }) => {
                let mut kind = RemoteErrorKind::NoCredentials;
                if let Some(profile) = &self.config.profile {
                    detail = format!("{detail} (profile {profile})");
                }
                if let Some(role) = &self.config.role {
                    kind = RemoteErrorKind::RoleRefused;
                    detail = format!("{}: {detail}", role.arn);
                }
                StoreErrorKind::Remote(RemoteError { kind, detail, region })
            }
            other => other,
        }
    }

    /// One attempt, within the limits on requests at once and on time.
    async fn limited<T>(
        &self,
        asked: Asked,
        number: u32,
        attempt: &mut impl AsyncFnMut(u32) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let _slot = self.limiter.slot().await;
        self.counters.add(asked, number);
        let Some(limit) = self.attempt_limit(asked) else {
            return Err(self.out_of_time());
        };
        match tokio::time::timeout(limit, self.unless_stopped(attempt(number))).await {
            Ok(Some(result)) => result,
            Ok(None) => {
                let detail = "cut off: the user asked to stop";
                Err(Failure::local(RemoteErrorKind::TimedOut, detail, Again::No))
            }
            Err(_) if self.patience.is_over() => Err(self.out_of_time()),
            Err(_) => {
                let detail = format!("no whole answer within {} s", limit.as_secs());
                Err(Failure::local(RemoteErrorKind::TimedOut, detail, Again::Yes))
            }
        }
    }

    /// What an attempt comes to, or nothing if the user asked to stop and it has
    /// gone on for [`LAST_WORDS`] since.
    pub(super) async fn unless_stopped<T>(&self, attempt: impl Future<Output = T>) -> Option<T> {
        let mut attempt = std::pin::pin!(attempt);
        let mut stopped: Option<Instant> = None;
        loop {
            if let Ok(result) = tokio::time::timeout(GLANCE, &mut attempt).await {
                return Some(result);
            }
            if self.patience.stop.load(Ordering::Relaxed)
                && stopped.get_or_insert_with(Instant::now).elapsed() >= LAST_WORDS
            {
                return None;
            }
        }
    }

    /// How long an attempt may take. Answers with a body are watched while they
    /// come, so that a slow one is not a lost one: this is far more than any
    /// takes.
    fn attempt_limit(&self, asked: Asked) -> Option<Duration> {
        let limit = match asked {
            Asked::Get => self.config.read_timeout * 20,
            Asked::Head | Asked::List | Asked::Delete => self.config.read_timeout * 2,
            Asked::Put(len) => {
                self.config.read_timeout * 2 + Duration::from_secs(len / SLOWEST_UPLOAD)
            }
            Asked::Copy(len) => {
                self.config.read_timeout * 2 + Duration::from_secs(len / SLOWEST_COPY)
            }
        };
        match self.patience.deadline {
            None => Some(limit),
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                (!left.is_zero()).then(|| limit.min(left))
            }
        }
    }

    fn out_of_time(&self) -> Failure {
        let detail = "the time that --timeout gives is over";
        Failure::local(RemoteErrorKind::TimedOut, detail, Again::No)
    }

    /// How long to wait before the next attempt, if there is to be one.
    fn wait(&self, failure: &Failure, attempts: u32) -> Option<Duration> {
        match failure.again {
            Again::No => return None,
            Again::Yes => {}
            Again::Slower => self.limiter.throttled(),
        }
        let most = if failure.is_unreachable() { MAX_CONNECTS } else { MAX_ATTEMPTS };
        if attempts >= most || self.patience.is_over() {
            return None;
        }
        let longest = FIRST_WAIT.saturating_mul(1 << (attempts - 1).min(16)).min(LONGEST_WAIT);
        // Anywhere up to the longest wait ("full jitter"): clients that failed
        // together do not come back together.
        Some(longest.mul_f64(random()).max(failure.retry_after.unwrap_or_default()))
    }

    /// Waits; an error if the user asks to stop, or time is up.
    async fn rest(&self, wait: Duration) -> Result<(), ()> {
        let end = Instant::now() + wait;
        loop {
            if self.patience.is_over() {
                return Err(());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(left.min(GLANCE)).await;
        }
    }

    /// Goes on in the region that the bucket is in, if the store's location
    /// names none. `true` if that is another than before.
    fn follow(&self, failure: &Failure) -> bool {
        match &failure.region {
            Some(region)
                if self.config.region.is_none()
                    && self.config.endpoint_url.is_none()
                    && self.clients.region() != Some(region) =>
            {
                *lock(&self.client) = self.clients.client(Some(region));
                true
            }
            _ => false,
        }
    }
}

impl Failure {
    /// Whether no connection came about.
    fn is_unreachable(&self) -> bool {
        self.status.is_none()
            && matches!(&self.kind, StoreErrorKind::Remote(error)
                if error.kind == RemoteErrorKind::Network && is_of_connecting(&error.detail))
    }
}

/// Whether the causes that the network library tells say that no connection came
/// about. One that broke ("connection reset") did.
fn is_of_connecting(detail: &str) -> bool {
    let detail = detail.to_ascii_lowercase();
    ["(connect)", "tcp connect", "dns error"].iter().any(|sign| detail.contains(sign))
}

/// A number from 0 to 1, good enough to spread retries.
fn random() -> f64 {
    let random = ulid::Ulid::generate().random() & 0xffff_ffff;
    #[expect(clippy::cast_precision_loss, reason = "32 bits fit")]
    let part = random as f64 / f64::from(u32::MAX);
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Connections that were reset were given up after five attempts, as if there
    /// were no server.
    #[test]
    fn a_broken_connection_is_not_an_absent_server() {
        assert!(is_of_connecting("client error (Connect): tcp connect error: refused"));
        assert!(is_of_connecting("client error (Connect): dns error: no such name"));
        assert!(!is_of_connecting("client error (SendRequest): connection reset by peer"));
        assert!(!is_of_connecting("connection closed before message completed"));
    }
}
