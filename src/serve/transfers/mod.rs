//! Bodies on their way: what all protocols have in common that put and get objects.
//!
//! They share one budget of memory, one bound on lengths, and one place where what fails
//! is told to whoever runs the server.

mod receive;
mod send;

use std::sync::Arc;

use larder::objects::{ObjectError, Objects};

pub(super) use receive::{Digest, NotReceived};

use super::limits::{Budget, Limits, Share};
use super::{Watch, blocking};

/// What transfers work with.
#[derive(Clone)]
pub(super) struct Transfers {
    objects: Objects,
    budget: Budget,
    max_body: u64,
    watch: Arc<dyn Watch>,
}

impl Transfers {
    pub(super) fn new(objects: Objects, limits: &Limits, watch: Arc<dyn Watch>) -> Self {
        let budget = Budget::new(limits.transfer_memory);
        Self { objects, budget, max_body: limits.max_body, watch }
    }

    /// The most bytes of one body.
    pub(super) fn max_body(&self) -> u64 {
        self.max_body
    }

    /// Waits for memory for what is neither an object received nor one sent.
    pub(super) async fn room(&self, bytes: u64) -> Share {
        self.budget.take(bytes).await
    }

    /// Asks the objects for something, which may take its time. What the store is at fault
    /// for is told.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Objects) -> Result<T, ObjectError> + Send + 'static,
    ) -> Result<T, ObjectError> {
        let objects = self.objects.clone();
        let done = blocking(move || work(&objects)).await;
        done.inspect_err(|error| self.tell(error))
    }

    /// Tells whoever runs the server what the store is at fault for.
    pub(super) fn tell(&self, error: &ObjectError) {
        if let ObjectError::Failed(cause) = error {
            let hint = cause.hint().map(|hint| format!(" ({hint})")).unwrap_or_default();
            self.watch.failed(&format!("{}: {cause}{hint}", cause.code()));
        }
    }
}
