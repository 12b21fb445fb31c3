//! How much memory a decoder asks for, for asserting that it is no more than its
//! input has a right to.
//!
//! The allocator counts what its own thread has, so that tests beside each other do
//! not disturb each other. What C libraries allocate is not counted.

// It promises that what it gives is memory. This one hands every call on, and counts.
#![allow(unsafe_code, reason = "an allocator is unsafe to write")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

/// The system's allocator, counting.
#[derive(Debug)]
pub struct Counting;

fn count(bytes: isize) {
    // A thread that ends may free what it has after its counters are gone.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call goes to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: whoever calls keeps to the rules of this function, which are the same.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size().cast_signed());
        // SAFETY: whoever calls keeps to the rules of this function, which are the same.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-layout.size().cast_signed());
        // SAFETY: whoever calls keeps to the rules of this function, which are the same.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        count(new_size.cast_signed() - layout.size().cast_signed());
        // SAFETY: whoever calls keeps to the rules of this function, which are the same.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

/// Runs something that must not have more than `limit` bytes at once.
///
/// # Panics
/// If it has.
pub fn within<T>(limit: usize, run: impl FnOnce() -> T) -> T {
    let before = LIVE.get();
    PEAK.set(before);
    let result = run();
    let most = PEAK.get() - before;
    assert!(most <= limit.cast_signed(), "{most} bytes at once, where {limit} are allowed");
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_at_once_is_counted() {
        within(2_000, || (0..10).for_each(|_| drop(std::hint::black_box(vec![0_u8; 1_500]))));
        let both = || std::hint::black_box((vec![0_u8; 1_500], vec![0_u8; 1_500]));
        assert!(std::panic::catch_unwind(|| within(2_000, both)).is_err());
        within(4_000, both);
    }
}
