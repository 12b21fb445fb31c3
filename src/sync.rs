//! Locks that another thread's panic does not close.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks a mutex whose data is sound after every single change, so that
/// another thread's panic is no reason for a second one.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
