//! From bytes to chunks that are placed: an object's, or a part's, while it comes in.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use rayon::prelude::*;

use super::Shared;
use super::knowledge::View;
use super::packs::{NewChunk, Pack, Place, Writing};
use crate::chunking::{LARGE_FILE, LargeFileCutter};
use crate::error::Error;
use crate::format::Location;
use crate::ids::{ChunkId, PackId, Scope};
use crate::reuse;
use crate::secrets::KeyId;

/// Bytes of an object, or of a part of one, in chunks that are placed. They are durable
/// once it is put.
#[derive(Debug)]
pub struct Contents {
    /// The chunks in order.
    pub(super) chunks: Vec<(ChunkId, Location)>,
    pub(super) len: u64,
    /// The epoch by which the packs were chosen.
    pub(super) epoch: u64,
    pub(super) sealed_by: Option<KeyId>,
    /// When it was looked what can be relied on.
    pub(super) looked: Instant,
    /// Those that were placed for it.
    pub(super) new: Vec<(ChunkId, Location)>,
    /// Packs that have to be in the store first.
    packs: Vec<Arc<Pack>>,
    writing: Option<Writing>,
}

impl Contents {
    /// Its length in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// A tag of 32 hexadecimal digits, of these bytes as they are cut: an entity tag for
    /// what is copied without being read, whose MD5 nobody knows.
    pub fn tag(&self) -> String {
        let mut hasher = blake3::Hasher::new_derive_key("larder 2026-11 entity tag of chunks");
        for (id, _) in &self.chunks {
            hasher.update(id.as_bytes());
        }
        hasher.finalize().to_hex()[..32].to_owned()
    }

    /// What lies in the store already.
    pub(super) fn stored(
        chunks: Vec<(ChunkId, Location)>,
        epoch: u64,
        sealed_by: Option<KeyId>,
    ) -> Self {
        let len = chunks.iter().map(|(_, at)| u64::from(at.raw_len)).sum();
        let (looked, new, packs) = (Instant::now(), vec![], vec![]);
        Self { chunks, len, epoch, sealed_by, looked, new, packs, writing: None }
    }

    /// Waits until all of it is in the store.
    ///
    /// # Errors
    /// That of a put of a pack that failed.
    pub(super) fn settle(&mut self, shared: &Shared) -> Result<(), Error> {
        let settled = shared.packs.settle(&self.packs);
        self.packs.clear();
        self.writing = None;
        settled
    }
}

/// Takes the bytes of an object, or of a part of one, in order.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    view: Arc<View>,
    /// What is not cut yet.
    buffer: Vec<u8>,
    contents: Contents,
    waits_for: HashSet<PackId>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, scope: &Scope) -> Result<Self, Error> {
        let view = shared.knowledge.view(scope)?;
        Ok(Self::by(shared, view))
    }

    /// The same for who appends chunks that the store had at another look. So that it is
    /// looked again whether they last, the older of the two is noted (S3).
    pub(super) fn beside(
        shared: Arc<Shared>,
        scope: &Scope,
        look: &reuse::View,
    ) -> Result<Self, Error> {
        let mut writer = Self::new(shared, scope)?;
        writer.contents.epoch = writer.contents.epoch.min(look.state.epoch);
        Ok(writer)
    }

    pub(super) fn by(shared: Arc<Shared>, view: Arc<View>) -> Self {
        let writing = Some(shared.packs.writing());
        let sealed_by = shared.compression.sealed_by();
        let contents = Contents {
            writing,
            looked: view.looked(),
            ..Contents::stored(vec![], view.epoch(), sealed_by)
        };
        Self { shared, view, buffer: vec![], contents, waits_for: HashSet::new() }
    }

    /// Takes the next bytes: a few MiB at a time keep all cores busy. Blocks while packs
    /// are put more slowly than they are filled.
    ///
    /// # Errors
    /// None so far: what fails later, [`super::Objects::put`] tells.
    pub fn write(&mut self, block: &[u8]) -> Result<(), Error> {
        self.buffer.extend_from_slice(block);
        let ends = LargeFileCutter.ends(&self.buffer, false);
        self.place(&ends);
        Ok(())
    }

    /// There are no more bytes.
    ///
    /// # Errors
    /// As [`Writer::write`].
    pub fn finish(mut self) -> Result<Contents, Error> {
        self.flush();
        Ok(self.contents)
    }

    /// Ends the last chunk here.
    fn flush(&mut self) {
        let is_small = self.contents.chunks.is_empty() && self.buffer.len() < LARGE_FILE as usize;
        let ends = match self.buffer.len() {
            0 => vec![],
            len if is_small => vec![len],
            _ => LargeFileCutter.ends(&self.buffer, true),
        };
        self.place(&ends);
    }

    /// Appends a chunk that the store has. What was written before ends there.
    pub(super) fn append(&mut self, id: ChunkId, at: Location) {
        self.flush();
        self.contents.len += u64::from(at.raw_len);
        self.contents.chunks.push((id, at));
        self.shared.counts.count_reused(1, u64::from(at.raw_len));
    }

    /// Places the chunks that the buffer begins with.
    fn place(&mut self, ends: &[usize]) {
        let Some(&end) = ends.last() else { return };
        let buffer = std::mem::take(&mut self.buffer);
        let starts = [0].into_iter().chain(ends.iter().copied());
        let raw: Vec<&[u8]> = starts.zip(ends).map(|(start, &end)| &buffer[start..end]).collect();
        let shared = Arc::clone(&self.shared);
        let compression = &shared.compression;
        let len_of = |raw: &[u8]| u32::try_from(raw.len()).expect("a chunk is shorter than 4 GiB");
        let ids: Vec<(ChunkId, u32)> =
            raw.par_iter().map(|raw| (compression.name(raw), len_of(raw))).collect();

        let (mut places, new) = self.find(&ids);
        let packed: Vec<NewChunk> = new
            .par_iter()
            .map(|&at| {
                let (id, raw_len) = ids[at];
                NewChunk { id, raw_len, stored: compression.pack(id, raw[at]) }
            })
            .collect();
        let is_good = |pack: &Pack| self.view.relies_on(pack.id(), pack.epoch());
        let placed = self.shared.packs.place(packed, self.view.epoch(), is_good);
        for (&at, (place, is_new)) in new.iter().zip(placed) {
            if is_new {
                self.contents.new.push((ids[at].0, place.0));
            }
            places.insert(ids[at].0, self.waiting_for(place));
        }
        self.count(&ids, &new);
        for (id, raw_len) in ids {
            self.contents.len += u64::from(raw_len);
            self.contents.chunks.push((id, places[&id]));
        }
        self.buffer = buffer;
        self.buffer.drain(..end);
    }

    /// Where chunks lie already, and which of them, each once, do not.
    fn find(&mut self, ids: &[(ChunkId, u32)]) -> (HashMap<ChunkId, Location>, Vec<usize>) {
        let view = Arc::clone(&self.view);
        let is_good = |pack: &Pack| view.relies_on(pack.id(), pack.epoch());
        let mut places = HashMap::new();
        let mut rest = vec![];
        let mut seen = HashSet::new();
        for (number, &(id, raw_len)) in ids.iter().enumerate() {
            if !seen.insert(id) {
                continue;
            }
            match self.shared.packs.find(&id, raw_len, is_good) {
                Some(place) => {
                    places.insert(id, self.waiting_for(place));
                }
                None => rest.push(number),
            }
        }
        let asked: Vec<(ChunkId, u32)> = rest.iter().map(|&number| ids[number]).collect();
        let located = self.shared.knowledge.locate(&view, &asked);
        let mut new = vec![];
        for (number, at) in rest.into_iter().zip(located) {
            match at {
                Some(at) => {
                    places.insert(ids[number].0, at);
                }
                None => new.push(number),
            }
        }
        (places, new)
    }

    /// The location of a chunk, whose pack has to be there before the contents are.
    fn waiting_for(&mut self, (at, pack): Place) -> Location {
        if !pack.is_there() && self.waits_for.insert(pack.id()) {
            self.contents.packs.push(pack);
        }
        at
    }

    fn count(&self, ids: &[(ChunkId, u32)], new: &[usize]) {
        let bytes = |numbers: &mut dyn Iterator<Item = u32>| numbers.map(u64::from).sum::<u64>();
        let all = bytes(&mut ids.iter().map(|(_, len)| *len));
        let fresh = bytes(&mut new.iter().map(|&at| ids[at].1));
        self.shared.counts.count_new(new.len() as u64, fresh);
        self.shared.counts.count_reused((ids.len() - new.len()) as u64, all - fresh);
    }
}
