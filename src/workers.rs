//! Work that waits for requests, on many things: a few threads at once.
//!
//! The caller is one of these threads, so that a single item costs no other, and
//! the others end before the call does. Items are begun in their order, each by
//! whoever is free, and end in any. Where it is the processor that has to do
//! the work, rayon is the place for it.

use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

use crate::budget::FirstError;
use crate::error::Error;
use crate::progress::Context;
use crate::sync::lock;

/// Works on every item, on so many threads at most.
pub fn for_each<T: Send>(threads: usize, items: Vec<T>, work: impl Fn(T) + Sync) {
    let threads = threads.min(items.len());
    let queue = Mutex::new(items.into_iter());
    let next = || lock(&queue).next();
    let run = || {
        while let Some(item) = next() {
            work(item);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            // With fewer threads than it might be, it takes longer.
            if Builder::new().spawn_scoped(scope, run).is_err() {
                break;
            }
        }
        run();
    });
}

/// As [`for_each`], until one item fails or the work shall stop: from then on no
/// item is begun, and those that were are worked on to their end.
///
/// # Errors
/// [`Error::Interrupted`] if the work shall stop by now; else that of the item
/// that failed first.
pub fn try_for_each<T: Send>(
    threads: usize,
    items: Vec<T>,
    context: Context<'_>,
    work: impl Fn(T) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    let failure = FirstError::default();
    for_each(threads, items, |item| {
        if failure.none()
            && context.check().is_ok()
            && let Err(error) = work(item)
        {
            failure.set(error);
        }
    });
    context.check()?;
    failure.into_result()
}

/// As [`try_for_each`]; gives what came of each item, in the order of the items.
///
/// # Errors
/// Those of [`try_for_each`].
pub fn try_map<T: Send, R: Send>(
    threads: usize,
    items: Vec<T>,
    context: Context<'_>,
    work: impl Fn(T) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let results = Mutex::new(Vec::with_capacity(items.len()));
    let numbered = items.into_iter().enumerate().collect();
    try_for_each(threads, numbered, context, |(number, item)| {
        let result = work(item)?;
        lock(&results).push((number, result));
        Ok(())
    })?;
    let mut results = results.into_inner().unwrap_or_else(PoisonError::into_inner);
    results.sort_unstable_by_key(|(number, _)| *number);
    Ok(results.into_iter().map(|(_, result)| result).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use super::*;
    use crate::progress::NoProgress;

    fn context(stop: &AtomicBool) -> Context<'_> {
        Context { progress: &NoProgress, stop }
    }

    /// An error that tells which item it is of.
    fn failed(item: u32) -> Result<u32, Error> {
        Err(Error::SaveOvertaken(item))
    }

    #[test]
    fn every_item_is_worked_on_once() {
        for threads in [1, 3, 100] {
            let seen = Mutex::new(vec![]);
            for_each(threads, (0..50).collect(), |item| lock(&seen).push(item));
            let mut seen = seen.into_inner().unwrap();
            seen.sort_unstable();
            assert_eq!(seen, (0..50).collect::<Vec<_>>(), "{threads} threads");
        }
    }

    #[test]
    fn no_thread_is_started_in_vain() {
        let caller = std::thread::current().id();
        for (threads, items) in [(8, 0), (8, 1), (8, 3), (3, 9)] {
            let count = threads.min(items);
            let (seen, barrier) = (Mutex::new(HashSet::new()), Barrier::new(count));
            for_each(threads, vec![(); items], |()| {
                lock(&seen).insert(std::thread::current().id());
                barrier.wait();
            });
            let seen = seen.into_inner().unwrap();
            assert_eq!(seen.len(), count, "{items} items");
            assert!(items == 0 || seen.contains(&caller));
        }
    }

    #[test]
    fn results_come_in_the_order_of_the_items() {
        let stop = AtomicBool::new(false);
        let barrier = Barrier::new(2);
        let squares = try_map(2, (0..10).collect(), context(&stop), |item: u32| {
            // Of each two, the second may be done first.
            barrier.wait();
            Ok(item * item)
        });
        assert_eq!(squares.unwrap(), (0..10).map(|item| item * item).collect::<Vec<_>>());
    }

    #[test]
    fn no_item_is_begun_after_an_error() {
        let stop = AtomicBool::new(false);
        let begun = Mutex::new(vec![]);
        let result = try_map(1, (0..10).collect(), context(&stop), |item| {
            lock(&begun).push(item);
            if item >= 3 { failed(item) } else { Ok(item) }
        });
        assert!(matches!(result, Err(Error::SaveOvertaken(3))), "{result:?}");
        assert_eq!(*lock(&begun), [0, 1, 2, 3]);
    }

    #[test]
    fn what_was_begun_before_an_error_comes_to_its_end() {
        let stop = AtomicBool::new(false);
        let (barrier, ended) = (Barrier::new(2), AtomicUsize::new(0));
        let result = try_map(2, vec![0, 1], context(&stop), |item| {
            barrier.wait();
            if item == 0 {
                return failed(item);
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
            ended.fetch_add(1, Ordering::Relaxed);
            Ok(item)
        });
        assert!(matches!(result, Err(Error::SaveOvertaken(0))), "{result:?}");
        assert_eq!(ended.into_inner(), 1);
    }

    #[test]
    fn it_stops_when_it_shall() {
        let stop = AtomicBool::new(false);
        let begun = AtomicUsize::new(0);
        let result = try_for_each(1, (0..10).collect(), context(&stop), |item| {
            begun.fetch_add(1, Ordering::Relaxed);
            stop.store(item == 4, Ordering::Relaxed);
            // Why it failed may be that it was to stop.
            if item == 4 { failed(item).map(drop) } else { Ok(()) }
        });
        assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
        assert_eq!(begun.into_inner(), 5);
        let result = try_map(4, Vec::<u32>::new(), context(&stop), Ok);
        assert!(matches!(result, Err(Error::Interrupted)), "{result:?}");
    }
}
