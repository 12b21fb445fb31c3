//! The pack that all puts of this process fill together.
//!
//! Who puts a small object waits for its pack to be in the store, and so do all others
//! whose chunks are in it: the first of them closes it, once everybody who is writing
//! waits, or the window is over. So a hundred small objects that come at one time are one
//! pack, and one alone waits for nobody.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::error::Error;
use crate::format::{Layout, Location, PackBuilder};
use crate::ids::{ChunkId, PackId};
use crate::secrets::KeyId;
use crate::store::{Operation, PutMode, RemoteError, Store, StoreError, StoreErrorKind};
use crate::sync::lock;
use crate::upload::PACK_TARGET;

/// Bytes of packs that are being put at one time, unless it is a single one.
const MAX_PUTTING: usize = 2 * PACK_TARGET;

/// Chunks whose places are remembered after their packs were put: some 12 MB.
const MAX_PLACED: usize = 100_000;

/// A chunk to be placed.
#[derive(Debug)]
pub(super) struct NewChunk {
    pub(super) id: ChunkId,
    pub(super) raw_len: u32,
    pub(super) stored: Vec<u8>,
}

/// A pack of this process, while somebody depends on it.
#[derive(Debug)]
pub(super) struct Pack {
    id: PackId,
    /// The epoch that its first chunk's writer went by.
    epoch: u64,
    /// How its put ended.
    end: OnceLock<Result<(), Failure>>,
}

/// Why a pack was not put, for all who wait for it.
#[derive(Debug)]
enum Failure {
    Remote(RemoteError),
    Other(String),
}

/// Where a chunk lies, and the pack that has to be put for that.
pub(super) type Place = (Location, Arc<Pack>);

/// The packs that this process fills.
#[derive(Debug)]
pub(super) struct Packs {
    store: Arc<dyn Store>,
    sealed_by: Option<KeyId>,
    window: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    filling: Option<Filling>,
    /// Bytes being put.
    putting: usize,
    /// Who is writing, those who wait for their packs included.
    writers: usize,
    waiting: usize,
    /// Chunks of packs that are being filled or put, or were put lately.
    placed: HashMap<ChunkId, Place>,
    /// These packs with their chunks, the oldest first.
    packs: VecDeque<(Arc<Pack>, Vec<ChunkId>)>,
    counts: PackCounts,
}

#[derive(Debug)]
struct Filling {
    builder: PackBuilder,
    pack: Arc<Pack>,
    /// Whether somebody sees to it that it is put.
    is_led: bool,
}

/// What was put so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct PackCounts {
    pub(super) packs: u64,
    /// Bytes of packs, with headers and footers.
    pub(super) bytes: u64,
}

/// Somebody who is writing: whoever waits for a pack waits for those to catch up.
#[derive(Debug)]
pub(super) struct Writing(Arc<Packs>);

impl Drop for Writing {
    fn drop(&mut self) {
        lock(&self.0.state).writers -= 1;
        self.0.changed.notify_all();
    }
}

impl Packs {
    pub(super) fn new(
        store: Arc<dyn Store>,
        sealed_by: Option<KeyId>,
        window: Duration,
    ) -> Arc<Self> {
        let (state, changed) = (Mutex::default(), Condvar::new());
        Arc::new(Self { store, sealed_by, window, state, changed })
    }

    pub(super) fn writing(self: &Arc<Self>) -> Writing {
        lock(&self.state).writers += 1;
        Writing(Arc::clone(self))
    }

    pub(super) fn counts(&self) -> PackCounts {
        lock(&self.state).counts
    }

    /// Where a chunk lies, if this process has placed it lately, in a pack that `is_good`.
    pub(super) fn find(
        &self,
        id: &ChunkId,
        raw_len: u32,
        is_good: impl Fn(&Pack) -> bool,
    ) -> Option<Place> {
        let state = lock(&self.state);
        let (at, pack) = state.placed.get(id)?;
        (at.raw_len == raw_len && is_good(pack)).then(|| (*at, Arc::clone(pack)))
    }

    /// Puts chunks into packs, and tells where each lies; one that `is_good` says has been
    /// placed meanwhile lies there, and is told so.
    pub(super) fn place(
        self: &Arc<Self>,
        chunks: Vec<NewChunk>,
        epoch: u64,
        is_good: impl Fn(&Pack) -> bool,
    ) -> Vec<(Place, bool)> {
        let mut state = lock(&self.state);
        let mut places = Vec::with_capacity(chunks.len());
        for chunk in chunks {
            state = self.make_room(state);
            if let Some((at, pack)) = state.placed.get(&chunk.id)
                && is_good(pack)
            {
                places.push(((*at, Arc::clone(pack)), false));
                continue;
            }
            let filling = state.filling.take().unwrap_or_else(|| self.begin(epoch));
            places.push((state.add(filling, &chunk), true));
        }
        places
    }

    fn begin(&self, epoch: u64) -> Filling {
        let id = PackId::generate();
        // Most are short: of the small objects of a few milliseconds.
        let builder = PackBuilder::new(id, 1 << 20).sealed_by(self.sealed_by);
        Filling { builder, pack: Arc::new(Pack { id, epoch, end: OnceLock::new() }), is_led: false }
    }

    /// Waits until the pack that is being filled has room, or there is none.
    fn make_room<'a>(
        self: &'a Arc<Self>,
        mut state: MutexGuard<'a, State>,
    ) -> MutexGuard<'a, State> {
        while state.filling.as_ref().is_some_and(|filling| filling.builder.len() >= PACK_TARGET) {
            if state.may_put() {
                let Some(full) = state.take_filling() else { break };
                drop(state);
                self.put_beside(full);
                state = lock(&self.state);
            } else {
                state = self.wait(state);
            }
        }
        state
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a pack in a thread of its own, or, if there is none to be had, at once.
    fn put_beside(self: &Arc<Self>, full: Filling) {
        let shared = Arc::new(Mutex::new(Some(full)));
        let (packs, theirs) = (Arc::clone(self), Arc::clone(&shared));
        let work = move || {
            if let Some(full) = lock(&theirs).take() {
                packs.put(full);
            }
        };
        if std::thread::Builder::new().name("put pack".to_owned()).spawn(work).is_err()
            && let Some(full) = lock(&shared).take()
        {
            self.put(full);
        }
    }

    fn put(&self, filling: Filling) {
        let Filling { builder, pack, .. } = filling;
        let reserved = builder.len();
        let bytes = Bytes::from(builder.finish());
        let len = bytes.len() as u64;
        let put = self.store.put(&Layout::pack(pack.id), bytes, PutMode::Create);
        let mut state = lock(&self.state);
        state.putting -= reserved;
        match put {
            Ok(_) => {
                state.counts.packs += 1;
                state.counts.bytes += len;
                let _ = pack.end.set(Ok(()));
            }
            Err(error) => {
                state.forget(|other| other.id == pack.id);
                let _ = pack.end.set(Err(Failure::of(error)));
            }
        }
        state.forget_oldest();
        drop(state);
        self.changed.notify_all();
    }

    /// Waits until these packs are in the store, and sees to it if nobody else does.
    ///
    /// # Errors
    /// That of a put that failed.
    pub(super) fn settle(&self, packs: &[Arc<Pack>]) -> Result<(), Error> {
        let mut state = lock(&self.state);
        state.waiting += 1;
        self.changed.notify_all();
        for pack in packs {
            while pack.end.get().is_none() {
                state = match state.filling.as_mut().filter(|it| it.pack.id == pack.id) {
                    Some(filling) if !filling.is_led => {
                        filling.is_led = true;
                        self.lead(pack, state)
                    }
                    _ => self.wait(state),
                };
            }
        }
        state.waiting -= 1;
        drop(state);
        packs.iter().try_for_each(|pack| pack.result())
    }

    /// Closes the pack that is being filled, once the window is over or everybody waits.
    fn lead<'a>(&'a self, pack: &Pack, mut state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        let over = Instant::now() + self.window;
        loop {
            let is_filling = state.filling.as_ref().is_some_and(|it| it.pack.id == pack.id);
            if !is_filling {
                return state;
            }
            let left = over.saturating_duration_since(Instant::now());
            let is_due = left.is_zero() || state.waiting >= state.writers;
            if is_due && state.may_put() {
                let taken = state.take_filling();
                drop(state);
                if let Some(filling) = taken {
                    self.put(filling);
                }
                return lock(&self.state);
            }
            state = if is_due {
                self.wait(state)
            } else {
                let waited = self.changed.wait_timeout(state, left);
                waited.unwrap_or_else(PoisonError::into_inner).0
            };
        }
    }
}

impl State {
    fn may_put(&self) -> bool {
        let len = self.filling.as_ref().map_or(0, |filling| filling.builder.len());
        self.putting == 0 || self.putting + len <= MAX_PUTTING
    }

    fn take_filling(&mut self) -> Option<Filling> {
        let filling = self.filling.take()?;
        self.putting += filling.builder.len();
        Some(filling)
    }

    fn add(&mut self, mut filling: Filling, chunk: &NewChunk) -> Place {
        let at = filling.builder.push(chunk.id, &chunk.stored, chunk.raw_len);
        let pack = Arc::clone(&filling.pack);
        match self.packs.back_mut() {
            Some((last, chunks)) if last.id == pack.id => chunks.push(chunk.id),
            _ => self.packs.push_back((Arc::clone(&pack), vec![chunk.id])),
        }
        self.placed.insert(chunk.id, (at, Arc::clone(&pack)));
        self.filling = Some(filling);
        (at, pack)
    }

    fn forget(&mut self, is_bad: impl Fn(&Pack) -> bool) {
        let (bad, good) = std::mem::take(&mut self.packs).into_iter().partition(|it| is_bad(&it.0));
        self.packs = good;
        let bad: VecDeque<(Arc<Pack>, Vec<ChunkId>)> = bad;
        for (pack, chunks) in bad {
            self.forget_chunks(&pack, &chunks);
        }
    }

    fn forget_oldest(&mut self) {
        while self.placed.len() > MAX_PLACED
            && self.packs.front().is_some_and(|(pack, _)| pack.end.get().is_some())
            && let Some((pack, chunks)) = self.packs.pop_front()
        {
            self.forget_chunks(&pack, &chunks);
        }
    }

    fn forget_chunks(&mut self, pack: &Pack, chunks: &[ChunkId]) {
        for id in chunks {
            // It may have been placed anew.
            if self.placed.get(id).is_some_and(|(at, _)| at.pack == pack.id) {
                self.placed.remove(id);
            }
        }
    }
}

impl Pack {
    pub(super) fn id(&self) -> PackId {
        self.id
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether it is known to be in the store.
    pub(super) fn is_there(&self) -> bool {
        matches!(self.end.get(), Some(Ok(())))
    }

    fn result(&self) -> Result<(), Error> {
        let Some(Err(failure)) = self.end.get() else { return Ok(()) };
        let kind = match failure {
            Failure::Remote(error) => StoreErrorKind::Remote(error.clone()),
            Failure::Other(why) => StoreErrorKind::Io(std::io::Error::other(why.clone())),
        };
        Err(StoreError::new(Operation::Put, Layout::pack(self.id), kind).into())
    }
}

impl Failure {
    fn of(error: StoreError) -> Self {
        match error.kind {
            StoreErrorKind::Remote(error) => Self::Remote(error),
            other => Self::Other(other.to_string()),
        }
    }
}
