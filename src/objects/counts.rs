//! What was put, in numbers.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Shared;

/// What was put so far by this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Chunks that the store did not have.
    pub new_chunks: u64,
    /// Bytes of these, uncompressed.
    pub new_bytes: u64,
    /// Chunks that the store had.
    pub reused_chunks: u64,
    /// Bytes of these, uncompressed.
    pub reused_bytes: u64,
    /// Packs put into the store.
    pub packs: u64,
    /// Bytes of these.
    pub pack_bytes: u64,
}

/// The same while it is being counted.
#[derive(Debug, Default)]
pub(super) struct Counters {
    new_chunks: AtomicU64,
    new_bytes: AtomicU64,
    reused_chunks: AtomicU64,
    reused_bytes: AtomicU64,
}

impl Counters {
    pub(super) fn count_new(&self, chunks: u64, bytes: u64) {
        self.new_chunks.fetch_add(chunks, Ordering::Relaxed);
        self.new_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn count_reused(&self, chunks: u64, bytes: u64) {
        self.reused_chunks.fetch_add(chunks, Ordering::Relaxed);
        self.reused_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Shared {
    pub(super) fn counts(&self) -> Counts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let packs = self.packs.counts();
        Counts {
            new_chunks: read(&self.counts.new_chunks),
            new_bytes: read(&self.counts.new_bytes),
            reused_chunks: read(&self.counts.reused_chunks),
            reused_bytes: read(&self.counts.reused_bytes),
            packs: packs.packs,
            pack_bytes: packs.bytes,
        }
    }
}
