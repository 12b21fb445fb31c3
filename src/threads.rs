//! Threads that may not be had: a machine or a container has so many, and no more.
//!
//! What could go on beside the caller is then done at once, which costs time and
//! nothing else; and where that cannot be, it is an error, not the panic that
//! [`std::thread::spawn`] makes of it.

use std::sync::{Arc, Mutex};
use std::thread::{Builder, Scope, ScopedJoinHandle};

use crate::error::Error;
use crate::sync::lock;

/// Work that goes on beside the caller, or is done.
#[derive(Debug)]
pub(crate) enum Beside<'scope, T> {
    Going(ScopedJoinHandle<'scope, T>),
    Done(T),
}

impl<T> Beside<'_, T> {
    /// What came of it. Panics as the work did.
    pub(crate) fn join(self) -> T {
        match self {
            Self::Going(thread) => {
                thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            }
            Self::Done(result) => result,
        }
    }
}

/// Has work done in a thread of its own; by the caller, if there is none to be had.
/// So the work must not wait for what the caller does next.
pub(crate) fn beside<'scope, T: Send + 'scope, F: FnOnce() -> T + Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: F,
) -> Beside<'scope, T> {
    // Shared: a thread that cannot be started does not give its work back.
    let work = Arc::new(Mutex::new(Some(work)));
    let take = |work: &Mutex<Option<F>>| lock(work).take().expect("the work is taken once");
    let theirs = Arc::clone(&work);
    match Builder::new().spawn_scoped(scope, move || take(&theirs)()) {
        Ok(thread) => Beside::Going(thread),
        Err(_) => Beside::Done(take(&work)()),
    }
}

/// Starts a thread without which it does not go on.
///
/// # Errors
/// [`Error::NoThread`].
pub(crate) fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>, Error> {
    Builder::new().spawn_scoped(scope, work).map_err(Error::NoThread)
}
