//! A store as a service over HTTP, for clients that speak S3, and for the caches of build
//! tools.
//!
//! The library's `objects` know what an object is; here is what surrounds them: where the
//! server listens ([`listen`]), what it takes on ([`limits`]), who may use it ([`keys`],
//! [`guard`]), which protocol a request speaks ([`route`]), the S3 calls ([`s3`]), the other
//! protocols ([`caches`]), and how all of them move bodies ([`transfers`]). What it counts and how it is stands in [`metrics`] and [`health`].
//!
//! A request comes in by [`connection`], is given an [`exchange`] that watches it to its
//! last byte, and is answered by [`answer`]. Nothing here prints: what is to be told goes
//! to a [`Watch`].

mod answer;
mod caches;
mod chunked;
mod connection;
mod exchange;
mod failure;
mod guard;
mod health;
mod keys;
mod limits;
mod listen;
mod metrics;
mod patient;
mod route;
mod s3;
mod transfers;
mod unsigned;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::objects::{Bucket, Objects};
use larder::store::{Metered, Store};
use serde::{Serialize, Serializer};
use tokio::runtime;

pub(crate) use caches::Enabled as Caches;
pub(crate) use failure::ServeFailure;
#[cfg(test)]
pub(crate) use keys::InvalidKeys;
pub(crate) use keys::Keys;
pub(crate) use limits::Limits;
pub(crate) use listen::Address;

/// The store behind a server, whose requests are counted.
pub(crate) type Backend = Arc<Metered<Arc<dyn Store>>>;

/// What a server is to be.
#[derive(Debug)]
pub(crate) struct Settings {
    /// Where it listens.
    pub(crate) listen: Vec<Address>,
    /// Where its own pages are, if not at the same places.
    pub(crate) admin: Option<Address>,
    /// The only buckets that there are; none means that every name is a bucket.
    pub(crate) buckets: Vec<Bucket>,
    /// Who may use it; with none, everybody on this machine.
    pub(crate) keys: Keys,
    /// What it speaks beside S3.
    pub(crate) caches: Caches,
    pub(crate) limits: Limits,
}

impl Settings {
    /// Checks what must not be: a server for everybody, without keys.
    ///
    /// # Errors
    /// [`ServeFailure::NoKeys`] if it were one.
    pub(crate) fn check(&self) -> Result<(), ServeFailure> {
        let mut all = self.listen.iter().chain(&self.admin);
        match all.find(|address| !address.is_local()).filter(|_| self.keys.is_empty()) {
            Some(address) => Err(ServeFailure::NoKeys(address.to_string())),
            None => Ok(()),
        }
    }
}

/// A request that is over. For programs it is an object of these names.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Served {
    pub(crate) method: String,
    /// Without the query, which may hold a signature.
    pub(crate) path: String,
    /// The call, such as `PutObject`.
    pub(crate) operation: &'static str,
    pub(crate) status: u16,
    /// Bytes of the request's body, and of the answer's.
    #[serde(rename = "received_bytes")]
    pub(crate) received: u64,
    #[serde(rename = "sent_bytes")]
    pub(crate) sent: u64,
    #[serde(rename = "seconds", serialize_with = "as_seconds")]
    pub(crate) took: Duration,
}

fn as_seconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(time.as_secs_f64())
}

/// Whoever is told what a server does. All methods may be called from any thread.
pub(crate) trait Watch: Send + Sync {
    /// It listens: on these, and, if elsewhere, for its own pages on that.
    fn listening(&self, on: &[&Address], admin: Option<&Address>);
    /// A request is over.
    fn served(&self, served: &Served);
    /// Something failed that the server could not help.
    fn failed(&self, text: &str);
}

/// How often it is looked whether to stop. Signals only set a flag: it is shared with what
/// blocks.
const STOP_LOOK: Duration = Duration::from_millis(50);

/// Serves until `stop` is set, and then until the requests under way are answered.
///
/// # Errors
/// [`ServeFailure`] if it cannot begin.
pub(crate) fn serve(
    settings: Settings,
    objects: &Objects,
    store: &Backend,
    watch: &Arc<dyn Watch>,
    stop: &AtomicBool,
) -> Result<(), ServeFailure> {
    settings.check()?;
    let runtime = runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(ServeFailure::NoThread)?;
    let patience = settings.limits.shutdown_timeout;
    let served = runtime.block_on(connection::run(settings, objects, store, watch, async {
        while !stop.load(Ordering::Relaxed) {
            tokio::time::sleep(STOP_LOOK).await;
        }
    }));
    // What goes on for clients that have left: it ends, or not in time.
    runtime.shutdown_timeout(patience);
    served
}

/// Runs what blocks where it may. If it panics, so does this.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => unreachable!("nothing cancels it while somebody waits"),
    }
}
