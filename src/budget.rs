//! Bounds on work in flight: bytes in memory, and the first error of many
//! threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use crossbeam_channel::{Receiver, Sender, bounded};

use crate::error::Error;
use crate::sync::lock;

/// So many bytes may be in flight at once.
#[derive(Debug)]
pub(crate) struct Budget {
    limit: usize,
    used: Mutex<usize>,
    freed: Condvar,
    /// Holds one token at most: that something was freed since it was taken.
    news: (Sender<()>, Receiver<()>),
}

/// Bytes of a budget, given back when dropped.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self { limit, used: Mutex::new(0), freed: Condvar::new(), news: bounded(1) })
    }

    /// Tells when bytes were freed, for those who wait for other things too.
    pub(crate) fn news(&self) -> &Receiver<()> {
        &self.news.1
    }

    /// As [`Budget::take`], but gives `None` instead of waiting.
    pub(crate) fn try_take(self: &Arc<Self>, bytes: usize) -> Option<Permit> {
        let mut used = lock(&self.used);
        if *used > 0 && *used + bytes > self.limit {
            return None;
        }
        *used += bytes;
        Some(Permit { budget: Arc::clone(self), bytes })
    }

    /// Waits until `bytes` are free. More than the whole budget is granted
    /// when nothing else is in flight.
    pub(crate) fn take(self: &Arc<Self>, bytes: usize) -> Permit {
        let mut used = lock(&self.used);
        while *used > 0 && *used + bytes > self.limit {
            used = self.freed.wait(used).unwrap_or_else(PoisonError::into_inner);
        }
        *used += bytes;
        Permit { budget: Arc::clone(self), bytes }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        *lock(&self.budget.used) -= self.bytes;
        self.budget.freed.notify_all();
        // A token that is there already says the same.
        let _ = self.budget.news.0.try_send(());
    }
}

/// The first error that any thread met; the others see that they should stop.
#[derive(Debug, Default)]
pub(crate) struct FirstError {
    failed: AtomicBool,
    error: Mutex<Option<Error>>,
}

impl FirstError {
    /// Whether work should go on.
    pub(crate) fn none(&self) -> bool {
        !self.failed.load(Ordering::Relaxed)
    }

    pub(crate) fn set(&self, error: impl Into<Error>) {
        lock(&self.error).get_or_insert(error.into());
        self.failed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn into_result(self) -> Result<(), Error> {
        match self.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_kept_and_never_blocks_the_only_one() {
        let budget = Budget::new(10);
        let whole = budget.take(25);
        let waiting = {
            let budget = Arc::clone(&budget);
            std::thread::spawn(move || budget.take(4).bytes)
        };
        std::thread::sleep(std::time::Duration::from_millis(20));
        assert!(!waiting.is_finished());
        drop(whole);
        assert_eq!(waiting.join().unwrap(), 4);
        assert_eq!(*lock(&budget.used), 0);
    }
}
