//! How long a store may go on trying.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

/// When a store has to give up, whatever it is doing.
#[derive(Clone, Debug, Default)]
pub struct Patience {
    /// No request begins or goes on after this.
    pub deadline: Option<Instant>,
    /// Set when the user asks to stop: nothing is tried again then.
    pub stop: Arc<AtomicBool>,
}

impl Patience {
    /// Whether the user asked to stop.
    pub fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed) || self.deadline.is_some_and(|at| Instant::now() >= at)
    }
}
