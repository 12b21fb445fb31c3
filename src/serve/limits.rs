//! What one server takes on: how long, how large, and how much at one time.
//!
//! Whoever can connect can send. So everything that a client decides has a bound here:
//! lengths, times without a byte, connections, and the memory that bodies take while
//! they are under way.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The bounds of a server; the flags of `larder serve` say what each is for.
#[derive(Clone, Debug)]
pub(crate) struct Limits {
    /// The most bytes of one object that is put whole, or of one part.
    pub(crate) max_body: u64,
    /// The most bytes of all headers of a request.
    pub(crate) max_header: usize,
    /// The most headers of a request.
    pub(crate) max_headers: usize,
    /// How long the headers of a request may take, and a connection be idle before them.
    pub(crate) header_timeout: Duration,
    /// How long neither a byte of a body may come nor one of an answer be taken.
    pub(crate) body_timeout: Duration,
    /// How long a request may take in all.
    pub(crate) request_timeout: Option<Duration>,
    /// The most connections at one time; others wait to be accepted.
    pub(crate) max_connections: usize,
    /// The most bytes of bodies in memory; other transfers wait.
    pub(crate) transfer_memory: u64,
    /// How long requests may go on once the server is asked to stop.
    pub(crate) shutdown_timeout: Duration,
}

/// What one unit of the budget stands for: what a request costs that transfers nothing.
const UNIT: u64 = 64 << 10;

/// The memory that bodies may take.
///
/// Bytes and not transfers are counted, so that a thousand small objects at once can
/// share packs, while a few large ones wait for each other.
#[derive(Clone, Debug)]
pub(super) struct Budget {
    units: Arc<Semaphore>,
    all: u32,
}

/// A share of the budget; dropped, it is free again.
#[derive(Debug)]
pub(super) struct Share {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Budget {
    pub(super) fn new(bytes: u64) -> Self {
        let all = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX).clamp(1, u32::MAX >> 4);
        Self { units: Arc::new(Semaphore::new(all as usize)), all }
    }

    /// Waits for room for so many bytes: in turn, so that the large do not starve. More
    /// than there is counts as all there is.
    pub(super) async fn take(&self, bytes: u64) -> Share {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.all);
        // Nobody closes the semaphore.
        Share { _permit: Arc::clone(&self.units).acquire_many_owned(units).await.ok() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_waits() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let budget = Budget::new(10 * UNIT);
            let first = budget.take(9 * UNIT).await;
            let second = budget.take(1).await;
            assert_eq!(budget.units.available_permits(), 0);
            drop((first, second));
            // More than there is does not wait for ever.
            let all = budget.take(u64::MAX).await;
            assert_eq!(budget.units.available_permits(), 0);
            drop(all);
            assert_eq!(budget.units.available_permits(), 10);
        });
    }
}
