//! Manifests that were read or put lately, so that an object that is read in many ranges
//! is not looked up anew for each.
//!
//! What is here is never taken for what is in the store: whoever uses it asks whether it
//! is the version that is there.

use std::sync::Mutex;

use lru::LruCache;

use super::{Found, ObjectName};
use crate::store::Version;
use crate::sync::lock;

/// Bytes of memory that it takes, roughly.
const ROOM: usize = 64 << 20;

/// What an object takes beside its chunks.
const OBJECT: usize = 1_000;

/// What a chunk takes: a row of the table, and its place in the sequence.
const CHUNK: usize = 80;

/// Manifests, the least recently used of which are dropped.
#[derive(Debug)]
pub(super) struct Cache {
    kept: Mutex<Kept>,
}

#[derive(Debug)]
struct Kept {
    objects: LruCache<ObjectName, Found>,
    len: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Self { kept: Mutex::new(Kept { objects: LruCache::unbounded(), len: 0 }) }
    }
}

impl Cache {
    pub(super) fn get(&self, name: &ObjectName) -> Option<Found> {
        lock(&self.kept).objects.get(name).cloned()
    }

    /// The object, if it is known in this version.
    pub(super) fn get_version(&self, name: &ObjectName, version: &Version) -> Option<Found> {
        self.get(name).filter(|found| found.stored.version == *version)
    }

    pub(super) fn keep(&self, found: &Found) {
        let kept = &mut *lock(&self.kept);
        kept.len += room_of(found);
        if let Some((_, old)) = kept.objects.push(found.info.name.clone(), found.clone()) {
            kept.len -= room_of(&old);
        }
        while kept.len > ROOM
            && let Some((_, oldest)) = kept.objects.pop_lru()
        {
            kept.len -= room_of(&oldest);
        }
    }

    pub(super) fn drop(&self, name: &ObjectName) {
        let kept = &mut *lock(&self.kept);
        if let Some(found) = kept.objects.pop(name) {
            kept.len -= room_of(&found);
        }
    }
}

fn room_of(found: &Found) -> usize {
    OBJECT + found.stored.manifest.sequence.len() * CHUNK
}
