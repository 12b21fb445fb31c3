//! A store of terabytes that takes no room: what it holds is computed when asked.
//!
//! Packs and index deltas are there in listings only; manifests are encoded for
//! each get. What a flush itself puts is really kept, in a directory.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use larder::chunking;
use larder::format::{FormatMarker, Layout};
use larder::ids::{DeltaId, StoreId};
use larder::store::{
    Fsync, LocalStore, Object, ObjectKey, ObjectMeta, Operation, Page, PutMode, Store, StoreError,
    StoreErrorKind, Version,
};
use larder::store_time::StoreTime;
use rustix::time::{ClockId, clock_gettime};

use super::world::{OWN_PACKS, RENEWED_PACKS, Renewed, World};

/// The store.
#[derive(Debug)]
pub(crate) struct Synthetic {
    world: World,
    state: Mutex<State>,
    kept: LocalStore,
    /// How far its clock is ahead of the machine's.
    ahead: AtomicI64,
    latency: Duration,
    pub(crate) spent: Spent,
}

/// What calls of the store cost, which is none of flush's cost.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    cpu_nanos: AtomicU64,
    /// Deletes of many objects, and the most objects of one.
    pub(crate) batches: AtomicU64,
    pub(crate) largest_batch: AtomicU64,
    pub(crate) manifest_gets: AtomicU64,
}

#[derive(Debug)]
struct State {
    /// Packs in the order of their keys.
    packs: Vec<u32>,
    deleted: HashSet<u32>,
    removed: HashSet<u32>,
    renewed: BTreeMap<u32, Renewed>,
    /// Epoch and number of each index delta that is there, in order.
    deltas: Vec<(u64, u32)>,
}

fn nanos(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    u64::try_from(time.tv_sec * 1_000_000_000 + time.tv_nsec).expect("clocks run forwards")
}

/// CPU time of the whole process so far.
pub(crate) fn process_cpu() -> Duration {
    Duration::from_nanos(nanos(ClockId::ProcessCPUTime))
}

impl Spent {
    pub(crate) fn cpu(&self) -> Duration {
        Duration::from_nanos(self.cpu_nanos.load(Ordering::Relaxed))
    }
}

impl Synthetic {
    pub(crate) fn new(world: World, kept: &Path, latency: Duration) -> Self {
        let kept = LocalStore::open(kept, Fsync::Never).expect("the place is writable");
        let marker = FormatMarker::new(StoreId::generate(), chunking::parameters());
        kept.put(&Layout::marker(), marker.encode().into(), PutMode::Create).expect("it is empty");
        let deltas = (0..world.manifests).map(|number| (0, number)).collect();
        let store = Self {
            state: Mutex::new(State {
                packs: vec![],
                deleted: HashSet::new(),
                removed: HashSet::new(),
                renewed: BTreeMap::new(),
                deltas,
            }),
            world,
            kept,
            ahead: AtomicI64::new(0),
            latency,
            spent: Spent::default(),
        };
        let packs = 0..store.world.packs();
        store.with(|state| store.add_packs(state, packs));
        store
    }

    /// Lets the store's clock run ahead.
    pub(crate) fn advance(&self, by: Duration) {
        let seconds = i64::try_from(by.as_secs()).expect("not that far");
        self.ahead.fetch_add(seconds, Ordering::Relaxed);
    }

    /// Every cache of which the number divides by `one_in` is saved again.
    pub(crate) fn renew(&self, one_in: usize) {
        let at = self.time();
        self.with(|state| {
            let first = self.world.packs();
            let epoch = 1;
            for (count, manifest) in (0..).zip((0..self.world.manifests).step_by(one_in)) {
                let first_pack = first + count * RENEWED_PACKS;
                state.renewed.insert(manifest, Renewed { at, first_pack });
                state.deltas.push((epoch, manifest));
            }
            let count = u32::try_from(state.renewed.len()).expect("not more than manifests");
            self.add_packs(state, first..first + count * RENEWED_PACKS);
        });
    }

    pub(crate) fn world(&self) -> &World {
        &self.world
    }

    /// Packs that are there.
    pub(crate) fn packs(&self) -> usize {
        self.with(|state| state.packs.len() - state.deleted.len())
    }

    /// Manifests that are there.
    pub(crate) fn manifests(&self) -> usize {
        self.world.manifests as usize - self.with(|state| state.removed.len())
    }

    fn add_packs(&self, state: &mut State, packs: Range<u32>) {
        state.packs.extend(packs);
        let mut packs = std::mem::take(&mut state.packs);
        packs.sort_by_cached_key(|&pack| {
            let id = self.pack_id(state, pack).to_bytes();
            (id[15], id)
        });
        packs.shrink_to_fit();
        state.packs = packs;
    }

    fn with<T>(&self, use_it: impl FnOnce(&mut State) -> T) -> T {
        use_it(&mut self.state.lock().expect("no panic while it was held"))
    }

    fn time(&self) -> i64 {
        StoreTime::from(SystemTime::now()).unix() + self.ahead.load(Ordering::Relaxed)
    }

    fn born(&self, state: &State, pack: u32) -> i64 {
        match pack.checked_sub(self.world.packs()) {
            None => self.world.saved(pack / OWN_PACKS),
            Some(_) => state.renewed.values().next().map_or(0, |renewed| renewed.at),
        }
    }

    fn pack_id(&self, state: &State, pack: u32) -> larder::ids::PackId {
        self.world.pack_id(pack, self.born(state, pack))
    }

    fn manifest_meta(&self, state: &State, manifest: u32) -> Option<ObjectMeta> {
        let renewed = state.renewed.get(&manifest);
        let at = renewed.map_or_else(|| self.world.saved(manifest), |renewed| renewed.at);
        (manifest < self.world.manifests && !state.removed.contains(&manifest)).then(|| {
            ObjectMeta {
                key: self.world.manifest_object(manifest),
                // What one of this shape has; flush only reads ahead by it.
                len: u64::from(self.world.chunks_a_pack) * 1_300,
                modified: StoreTime::from_unix(at).to_system(),
                version: Version::new(World::version(manifest, renewed.is_some().into())),
            }
        })
    }

    fn pack_meta(&self, state: &State, pack: u32) -> Option<ObjectMeta> {
        (!state.deleted.contains(&pack)).then(|| ObjectMeta {
            key: Layout::pack(self.pack_id(state, pack)),
            len: self.world.pack_len(pack),
            modified: StoreTime::from_unix(self.born(state, pack)).to_system(),
            version: Version::new(World::version(pack, 2)),
        })
    }

    fn delta_meta(&self, (epoch, number): (u64, u32)) -> ObjectMeta {
        let mut id = [7; 16];
        id[..4].copy_from_slice(&number.to_be_bytes());
        ObjectMeta {
            key: Layout::delta(epoch, DeltaId::from_bytes(id)),
            len: 250_000,
            modified: StoreTime::from_unix(self.world.newest).to_system(),
            version: Version::new(World::version(number, 3)),
        }
    }

    fn parse_delta(object: &ObjectKey) -> Option<(u64, u32)> {
        let (epoch, id) = Layout::parse_delta(object)?;
        Some((epoch, u32::from_be_bytes(id.to_bytes()[..4].try_into().ok()?)))
    }

    /// Counts what answering costs, and makes it take as long as a network
    /// would.
    fn answer<T>(&self, answer: impl FnOnce() -> T) -> T {
        let (began, cpu) = (Instant::now(), nanos(ClockId::ThreadCPUTime));
        let answered = answer();
        let cpu = nanos(ClockId::ThreadCPUTime) - cpu;
        self.spent.cpu_nanos.fetch_add(cpu, Ordering::Relaxed);
        std::thread::sleep(self.latency.saturating_sub(began.elapsed()));
        answered
    }

    fn delete_one(&self, state: &mut State, key: &ObjectKey) -> Result<(), StoreError> {
        if let Some(pack) = World::parse_pack(key) {
            assert!(state.deleted.insert(pack), "a pack is deleted once");
        } else if let Some(delta) = Self::parse_delta(key) {
            if let Ok(at) = state.deltas.binary_search(&delta) {
                state.deltas.remove(at);
            }
        } else {
            self.kept.delete(std::slice::from_ref(key))?;
        }
        Ok(())
    }
}

/// A page of what lies in order, given by numbers.
fn page(
    count: usize,
    object: impl Fn(usize) -> Option<ObjectMeta>,
    key: impl Fn(usize) -> ObjectKey,
    (prefix, after, limit): (&str, Option<&ObjectKey>, usize),
) -> Page {
    let is_before = |at: usize| {
        let key = key(at);
        key.as_str() < prefix || after.is_some_and(|after| key <= *after)
    };
    let (mut start, mut end) = (0, count);
    while start < end {
        let middle = start.midpoint(end);
        if is_before(middle) { start = middle + 1 } else { end = middle }
    }
    let mut rest = (start..count).filter_map(object);
    let mut rest = rest.by_ref().take_while(|object| object.key.as_str().starts_with(prefix));
    let objects = rest.by_ref().take(limit).collect();
    Page { objects, more: rest.next().is_some() }
}

impl Store for Synthetic {
    fn location(&self) -> String {
        "a synthetic store".to_owned()
    }

    fn get(&self, key: &ObjectKey, max_len: u64) -> Result<Object, StoreError> {
        self.answer(|| {
            let Some(manifest) = self.world.parse_manifest(key) else {
                return self.kept.get(key, max_len);
            };
            self.spent.manifest_gets.fetch_add(1, Ordering::Relaxed);
            let (meta, renewed) = self.with(|state| {
                (self.manifest_meta(state, manifest), state.renewed.get(&manifest).copied())
            });
            let not_found = || StoreError::new(Operation::Get, key, StoreErrorKind::NotFound);
            let meta = meta.ok_or_else(not_found)?;
            let renewed_at = renewed.map_or(0, |renewed| renewed.at);
            let born = |pack: u32| match pack.checked_sub(self.world.packs()) {
                None => self.world.saved(pack / OWN_PACKS),
                Some(_) => renewed_at,
            };
            let body = Bytes::from(self.world.manifest(manifest, renewed, born).encode());
            Ok(Object { meta: ObjectMeta { len: body.len() as u64, ..meta }, body })
        })
    }

    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.answer(|| self.kept.get_range(key, range))
    }

    fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StoreError> {
        self.answer(|| match self.world.parse_manifest(key) {
            None => self.kept.head(key),
            Some(manifest) => {
                let meta = self.with(|state| self.manifest_meta(state, manifest));
                let kind = StoreErrorKind::NotFound;
                meta.ok_or_else(|| StoreError::new(Operation::Head, key, kind))
            }
        })
    }

    fn put(&self, key: &ObjectKey, body: Bytes, mode: PutMode) -> Result<Version, StoreError> {
        assert!(!key.as_str().starts_with("packs/") && self.world.parse_manifest(key).is_none());
        self.answer(|| self.kept.put(key, body, mode))
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let asked = (prefix, after, limit);
        self.answer(|| {
            if prefix.starts_with("packs/") {
                return Ok(self.with(|state| {
                    let object = |at: usize| self.pack_meta(state, state.packs[at]);
                    let key = |at: usize| Layout::pack(self.pack_id(state, state.packs[at]));
                    page(state.packs.len(), object, key, asked)
                }));
            }
            if prefix.starts_with("manifests/") {
                let number = |at: usize| u32::try_from(at).expect("there are fewer");
                return Ok(self.with(|state| {
                    let object = |at: usize| self.manifest_meta(state, number(at));
                    let key = |at: usize| self.world.manifest_object(number(at));
                    page(self.world.manifests as usize, object, key, asked)
                }));
            }
            if prefix.starts_with("index/deltas/") {
                return Ok(self.with(|state| {
                    let object = |at: usize| Some(self.delta_meta(state.deltas[at]));
                    let key = |at: usize| self.delta_meta(state.deltas[at]).key;
                    page(state.deltas.len(), object, key, asked)
                }));
            }
            self.kept.list(prefix, after, limit)
        })
    }

    fn delete(&self, keys: &[ObjectKey]) -> Result<Vec<StoreError>, StoreError> {
        if !keys.is_empty() {
            self.spent.batches.fetch_add(1, Ordering::Relaxed);
        }
        self.spent.largest_batch.fetch_max(keys.len() as u64, Ordering::Relaxed);
        self.answer(|| {
            self.with(|state| keys.iter().try_for_each(|key| self.delete_one(state, key)))?;
            Ok(vec![])
        })
    }

    fn delete_if_match(&self, key: &ObjectKey, version: &Version) -> Result<(), StoreError> {
        self.answer(|| {
            let Some(manifest) = self.world.parse_manifest(key) else {
                return self.kept.delete_if_match(key, version);
            };
            self.with(|state| match self.manifest_meta(state, manifest) {
                Some(meta) if meta.version == *version => {
                    state.removed.insert(manifest);
                    Ok(())
                }
                _ => {
                    let kind = StoreErrorKind::VersionMismatch;
                    Err(StoreError::new(Operation::Delete, key, kind))
                }
            })
        })
    }

    fn now(&self) -> Result<SystemTime, StoreError> {
        Ok(StoreTime::from_unix(self.time()).to_system())
    }
}
