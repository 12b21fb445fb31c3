//! How many requests run at once: fewer where the server says that it is too
//! much, and slowly more again.
//!
//! Additive increase, multiplicative decrease, as TCP does it (RFC 5681): what
//! a server can take is not known, changes, and is shared with jobs that this
//! one knows nothing of.

use std::sync::Mutex;

use tokio::sync::Notify;

use crate::budget::lock;

/// Counts requests under way and holds others back.
#[derive(Debug)]
pub(super) struct Limiter {
    most: f64,
    state: Mutex<State>,
    freed: Notify,
}

#[derive(Debug)]
struct State {
    running: usize,
    limit: f64,
}

/// The right to have one request under way.
#[derive(Debug)]
pub(super) struct Slot<'a>(&'a Limiter);

impl Limiter {
    pub(super) fn new(most: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "a number of connections")]
        let most = most.max(1) as f64;
        Self { most, state: Mutex::new(State { running: 0, limit: most }), freed: Notify::new() }
    }

    /// Waits until another request may run.
    pub(super) async fn slot(&self) -> Slot<'_> {
        loop {
            // Before the look at the state: a slot that is freed in between
            // wakes it all the same.
            let freed = self.freed.notified();
            {
                let mut state = lock(&self.state);
                #[expect(clippy::cast_precision_loss, reason = "a number of connections")]
                if (state.running as f64) < state.limit.floor() {
                    state.running += 1;
                    return Slot(self);
                }
            }
            freed.await;
        }
    }

    /// A request succeeded: after about as many as run at once, one more may.
    pub(super) fn succeeded(&self) {
        let mut state = lock(&self.state);
        if state.limit < self.most {
            state.limit = (state.limit + 1.0 / state.limit).min(self.most);
            self.freed.notify_one();
        }
    }

    /// The server wants fewer requests.
    pub(super) fn throttled(&self) {
        let mut state = lock(&self.state);
        state.limit = (state.limit / 2.0).max(1.0);
    }
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).running -= 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(limiter: &Limiter) -> f64 {
        lock(&limiter.state).limit
    }

    #[test]
    fn fewer_at_once_and_slowly_more() {
        let limiter = Limiter::new(8);
        limiter.throttled();
        assert!((limit(&limiter) - 4.0).abs() < 0.01);
        for _ in 0..10 {
            limiter.throttled();
        }
        assert!((limit(&limiter) - 1.0).abs() < 0.01, "one request always may");
        for _ in 0..100 {
            limiter.succeeded();
        }
        assert!((limit(&limiter) - 8.0).abs() < 0.01, "never more than were asked for");
    }

    #[test]
    fn who_waits_goes_on_when_a_slot_is_freed() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        runtime.block_on(async {
            let limiter = Limiter::new(1);
            let held = limiter.slot().await;
            let mut second = std::pin::pin!(limiter.slot());
            let pending = std::future::poll_fn(|context| {
                std::task::Poll::Ready(second.as_mut().poll(context).is_pending())
            });
            assert!(pending.await, "the only slot is taken");
            drop(held);
            let _second = second.await;
        });
    }
}
