//! A store of terabytes that takes no room: what it holds is computed when asked.
//!
//! Packs and index deltas are there in listings only; manifests are encoded for
//! each get. What a flush itself puts is really kept, in a directory.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use larder::chunking;
use larder::format::{FormatMarker, Layout};
use larder::ids::{DeltaId, Scope, StoreId};
use larder::store::{
    Fsync, LocalStore, MAX_BATCH, Object, ObjectKey, ObjectMeta, Operation, Page, PutMode, Store,
    StoreError, StoreErrorKind, Version,
};
use larder::store_time::StoreTime;
use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use super::world::{OWN_PACKS, RENEWED_PACKS, Renewed, Shape, World};

/// The store.
#[derive(Debug)]
pub(crate) struct Synthetic {
    world: World,
    state: Mutex<State>,
    kept: LocalStore,
    latency: Duration,
    pub(crate) spent: Spent,
}

/// What calls of the store cost, which is none of flush's cost.
#[derive(Debug, Default)]
pub(crate) struct Spent {
    cpu_nanos: AtomicU64,
    /// Deletes of many objects.
    pub(crate) batches: AtomicU64,
    pub(crate) manifest_gets: AtomicU64,
}

/// What flushes have changed, and all that one process leaves to the next.
#[derive(Debug, Default, Serialize, Deserialize)]
struct State {
    /// When the youngest cache of each family was first saved.
    newest: i64,
    /// How far the store's clock is ahead of the machine's, in seconds.
    ahead: i64,
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
    /// A new store of this shape, in an empty directory.
    pub(crate) fn create(shape: Shape, directory: &Path) {
        let store = Self::with_state(
            shape,
            directory,
            State {
                newest: StoreTime::from(SystemTime::now()).unix() - 2 * 86_400,
                deltas: (0..shape.manifests).map(|number| (0, number)).collect(),
                ..State::default()
            },
        );
        let marker = FormatMarker::new(StoreId::generate(), chunking::parameters());
        let put = store.kept.put(&Layout::marker(), marker.encode().into(), PutMode::Create);
        put.expect("it is empty");
        store.with(|state| store.add_packs(state, 0..store.world.packs()));
        store.leave(directory);
    }

    /// The store that another process left.
    pub(crate) fn open(shape: Shape, directory: &Path) -> Self {
        let state = fs::read(directory.join("state")).expect("a store was left there");
        let state = rmp_serde::from_slice(&state).expect("as it was left");
        Self::with_state(shape, directory, state)
    }

    /// Leaves the store to the next process.
    pub(crate) fn leave(&self, directory: &Path) {
        let state = self.with(|state| rmp_serde::to_vec(state)).expect("it is plain data");
        fs::write(directory.join("state"), state).expect("there is space");
    }

    fn with_state(shape: Shape, directory: &Path, state: State) -> Self {
        let kept = LocalStore::open(&directory.join("kept"), Fsync::Never);
        Self {
            world: World::new(shape, state.newest),
            state: Mutex::new(state),
            kept: kept.expect("the place is writable"),
            latency: shape.latency,
            spent: Spent::default(),
        }
    }

    /// Lets the store's clock run ahead.
    pub(crate) fn advance(&self, by: Duration) {
        self.with(|state| state.ahead += i64::try_from(by.as_secs()).expect("not that far"));
    }

    /// Every cache of which the number divides by `one_in` is saved again.
    pub(crate) fn renew(&self, one_in: usize) {
        let at = self.time();
        self.with(|state| {
            let first = self.world.packs();
            let epoch = 1;
            for (count, manifest) in (0..).zip((0..self.world.shape.manifests).step_by(one_in)) {
                let first_pack = first + count * RENEWED_PACKS;
                state.renewed.insert(manifest, Renewed { at, first_pack });
                state.deltas.push((epoch, manifest));
            }
            let count = u32::try_from(state.renewed.len()).expect("not more than manifests");
            self.add_packs(state, first..first + count * RENEWED_PACKS);
        });
    }

    /// A manifest of a store that was just made.
    pub(crate) fn sample(&self, manifest: u32) -> Vec<u8> {
        self.world.manifest(manifest, None, |pack| self.world.saved(pack / OWN_PACKS)).encode()
    }

    /// Packs that are there.
    pub(crate) fn packs(&self) -> u64 {
        self.with(|state| state.packs.len() - state.deleted.len()) as u64
    }

    /// Manifests that are there.
    pub(crate) fn manifests(&self) -> u64 {
        u64::from(self.world.shape.manifests) - self.with(|state| state.removed.len()) as u64
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
        StoreTime::from(SystemTime::now()).unix() + self.with(|state| state.ahead)
    }

    fn born(&self, state: &State, pack: u32) -> i64 {
        match pack.checked_sub(self.world.packs()) {
            None => self.world.saved(pack / OWN_PACKS),
            Some(_) => state.renewed.values().next().map_or(0, |renewed| renewed.at),
        }
    }

    fn pack_id(&self, state: &State, pack: u32) -> larder::ids::PackId {
        World::pack_id(pack, self.born(state, pack))
    }

    fn manifest_meta(&self, state: &State, manifest: u32) -> Option<ObjectMeta> {
        let renewed = state.renewed.get(&manifest);
        let at = renewed.map_or_else(|| self.world.saved(manifest), |renewed| renewed.at);
        (manifest < self.world.shape.manifests && !state.removed.contains(&manifest)).then(|| {
            ObjectMeta {
                key: World::manifest_object(manifest),
                // What one of this shape has; flush only reads ahead by it.
                len: u64::from(self.world.shape.chunks_a_pack) * 1_300,
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
        let scope: Scope = "platform".parse().expect("a scope");
        ObjectMeta {
            key: Layout::delta(epoch, &scope, DeltaId::from_bytes(id)),
            len: 250_000,
            modified: StoreTime::from_unix(self.world.newest).to_system(),
            version: Version::new(World::version(number, 3)),
        }
    }

    fn parse_delta(object: &ObjectKey) -> Option<(u64, u32)> {
        let (epoch, _, id) = Layout::parse_delta(object)?;
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
            let Some(manifest) = World::parse_manifest(key) else {
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
        self.answer(|| match World::parse_manifest(key) {
            None => self.kept.head(key),
            Some(manifest) => {
                let meta = self.with(|state| self.manifest_meta(state, manifest));
                let kind = StoreErrorKind::NotFound;
                meta.ok_or_else(|| StoreError::new(Operation::Head, key, kind))
            }
        })
    }

    fn put(&self, key: &ObjectKey, body: Bytes, mode: PutMode) -> Result<Version, StoreError> {
        assert!(!key.as_str().starts_with("packs/") && World::parse_manifest(key).is_none());
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
                    let key = |at: usize| World::manifest_object(number(at));
                    page(self.world.shape.manifests as usize, object, key, asked)
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
        assert!(keys.len() <= MAX_BATCH, "every other store refuses {}", keys.len());
        if !keys.is_empty() {
            self.spent.batches.fetch_add(1, Ordering::Relaxed);
        }
        self.answer(|| {
            self.with(|state| keys.iter().try_for_each(|key| self.delete_one(state, key)))?;
            Ok(vec![])
        })
    }

    fn delete_if_match(&self, key: &ObjectKey, version: &Version) -> Result<(), StoreError> {
        self.answer(|| {
            let Some(manifest) = World::parse_manifest(key) else {
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
