//! Filling packs with new chunks and putting them into the store.
//!
//! One thread fills packs, a few put them: so packs are put while the next
//! ones are still being compressed, and a slow store holds back the reading
//! instead of filling the memory. What a restore on this machine may want later
//! goes to the local tier on the way.

use std::thread::{Scope, ScopedJoinHandle};

use bytes::Bytes;
use crossbeam_channel::{Receiver, Sender, bounded, unbounded};

use crate::budget::{FirstError, Permit};
use crate::error::Error;
use crate::format::{ChunkTable, Layout, PackBuilder};
use crate::ids::{ChunkId, PackId};
use crate::secrets::KeyId;
use crate::store::{PutMode, Store};
use crate::threads;
use crate::tier::Tier;

/// Packs are closed once they are this long, in bytes. Long enough that a
/// first save of 700 MB takes a handful of puts; short enough that a few fit in
/// memory at once, each as one request.
pub(crate) const PACK_TARGET: usize = 32 << 20;

/// Packs being put at once: with the one being filled, they are all the packs
/// in memory.
const PUTS_AT_ONCE: usize = 2;

/// A compressed chunk that the store does not have.
#[derive(Debug)]
pub(crate) struct NewChunk {
    pub(crate) id: ChunkId,
    pub(crate) raw_len: u32,
    pub(crate) stored: Vec<u8>,
    /// Held until the bytes are in a pack.
    pub(crate) permit: std::sync::Arc<Permit>,
}

/// What was put into packs.
#[derive(Debug, Default)]
pub(crate) struct Uploaded {
    /// The new chunks and where they lie.
    pub(crate) chunks: ChunkTable,
    pub(crate) packs: u64,
    /// Bytes of all packs, with headers and footers.
    pub(crate) bytes: u64,
}

/// Where workers hand in new chunks.
pub(crate) type ChunkSender = Sender<NewChunk>;

/// Starts the threads. Whoever drops the sender gets the result from the handle.
///
/// # Errors
/// [`Error::NoThread`] if the system has none for it.
pub(crate) fn start<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    store: &'env dyn Store,
    dry_run: bool,
    tier: Option<&'env Tier>,
    sealed_by: Option<KeyId>,
    failure: &'env FirstError,
) -> Result<(ChunkSender, ScopedJoinHandle<'scope, Uploaded>), Error> {
    // Unbounded, for rayon workers must not wait: the permits bound it.
    let (sender, chunks) = unbounded();
    // No queue: packs wait with the filler, which then takes no more chunks.
    let (packs, queue) = bounded(0);
    for number in 0..PUTS_AT_ONCE {
        let queue: Receiver<(PackId, Bytes)> = queue.clone();
        let started = threads::start(scope, move || {
            for (id, pack) in queue {
                if !dry_run
                    && failure.none()
                    && let Err(error) = store.put(&Layout::pack(id), pack, PutMode::Create)
                {
                    failure.set(error);
                }
            }
        });
        // One is slow, and enough.
        if number == 0 {
            started?;
        }
    }
    let filler = threads::start(scope, move || fill(&chunks, &packs, tier, sealed_by, failure))?;
    Ok((sender, filler))
}

fn fill(
    chunks: &Receiver<NewChunk>,
    packs: &Sender<(PackId, Bytes)>,
    tier: Option<&Tier>,
    sealed_by: Option<KeyId>,
    failure: &FirstError,
) -> Uploaded {
    let mut uploaded = Uploaded::default();
    let mut open: Option<PackBuilder> = None;
    let close = |pack: PackBuilder, uploaded: &mut Uploaded| {
        let id = pack.id();
        let bytes = Bytes::from(pack.finish());
        uploaded.packs += 1;
        uploaded.bytes += bytes.len() as u64;
        // The putting threads live until this sender is dropped.
        let _ = packs.send((id, bytes));
    };
    for chunk in chunks {
        if !failure.none() {
            continue;
        }
        let pack = open.get_or_insert_with(|| {
            PackBuilder::new(PackId::generate(), PACK_TARGET + (1 << 20)).sealed_by(sealed_by)
        });
        let location = pack.push(chunk.id, &chunk.stored, chunk.raw_len);
        uploaded.chunks.push(chunk.id, location);
        if let Some(tier) = tier {
            tier.add(chunk.id, &chunk.stored);
        }
        drop(chunk.permit);
        if pack.len() >= PACK_TARGET
            && let Some(full) = open.take()
        {
            close(full, &mut uploaded);
        }
    }
    if let Some(last) = open {
        close(last, &mut uploaded);
    }
    uploaded
}
