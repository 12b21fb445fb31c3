//! Flush over the real code and the store in memory, whose clock the tests move.
//!
//! That clock is months away from this machine's: nothing here could pass if an
//! age were counted by the runner's clock.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use larder::error::Error;
use larder::flush::{FlushReport, FlushRequest, Policy, Reason, flush};
use larder::format::{Layout, Lifetime};
use larder::ids::PackId;
use larder::restore::{Hit, restore};
use larder::save::{SaveReport, save};
use larder::store::{
    MemoryStore, Object, ObjectKey, ObjectMeta, Operation, Page, PutMode, Store, StoreError,
    Version, When, list_all,
};

use crate::faults::{restore_request, save_request, sound, with_context};
use crate::support::{Noise, Sandbox, assert_same, write};

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);

/// A store, and trees to save in it.
struct World {
    sandbox: Sandbox,
    store: Arc<MemoryStore>,
}

pub(crate) fn policy() -> Policy {
    Policy {
        scope: None,
        age: 14 * DAY,
        key_ages: vec![],
        pins: vec![],
        keep_last: 0,
        max_size: None,
    }
}

pub(crate) fn flush_request() -> FlushRequest {
    FlushRequest {
        policy: policy(),
        grace: DAY,
        repack: false,
        dry_run: false,
        take_over: false,
        unfenced: false,
    }
}

impl World {
    fn new() -> Self {
        Self { sandbox: Sandbox::new(), store: Arc::new(MemoryStore::new()) }
    }

    /// A tree of some files of its own, and one that all trees have.
    fn tree(&self, name: &str) -> PathBuf {
        let tree = self.sandbox.work(name);
        let mut noise = Noise(name.bytes().fold(7, |seed, byte| seed * 31 + u64::from(byte)));
        for number in 0..4 {
            write(tree.join(format!("d{number}/f")), noise.bytes(150_000));
        }
        write(tree.join("shared"), Noise(1).bytes(200_000));
        tree
    }

    fn try_save(&self, key: &str, tree: &Path) -> Result<SaveReport, Error> {
        let request = larder::save::SaveRequest { key: key.parse().unwrap(), ..save_request(tree) };
        with_context(|context| save(self.store.clone(), &request, context))
    }

    fn save(&self, key: &str, tree: &Path) -> SaveReport {
        self.try_save(key, tree).unwrap()
    }

    /// Restores a key, and fails unless it is this tree or a miss.
    fn restore(&self, key: &str, tree: &Path) -> Hit {
        let out = self.sandbox.path("out");
        let request = larder::restore::RestoreRequest {
            keys: vec![key.parse().unwrap()],
            ..restore_request(&out)
        };
        let report = with_context(|context| restore(self.store.clone(), &request, context));
        let hit = report.unwrap().hit;
        if hit != Hit::Miss {
            assert_same(tree, &out.join("tree"));
            fs::remove_dir_all(&out).unwrap();
        }
        hit
    }

    fn try_flush(&self, request: &FlushRequest) -> Result<FlushReport, Error> {
        with_context(|context| flush(self.store.clone(), request, context))
    }

    fn flush(&self) -> FlushReport {
        self.try_flush(&flush_request()).unwrap()
    }

    fn pass(&self, time: Duration) {
        self.store.advance_clock(time);
    }

    fn packs(&self) -> BTreeSet<PackId> {
        let objects = self.store.contents().into_keys();
        objects.filter_map(|object| Layout::parse_pack(&object)).collect()
    }

    fn keys(&self) -> Vec<String> {
        let objects = self.store.contents().into_keys();
        let keys = objects.filter_map(|object| Layout::parse_manifest(&object));
        keys.map(|(_, key)| key.to_string()).collect()
    }
}

fn removed(report: &FlushReport) -> Vec<(&str, Reason)> {
    report.removed.iter().map(|removed| (removed.key.as_str(), removed.reason)).collect()
}

#[test]
fn unused_caches_go_and_then_their_packs() {
    let world = World::new();
    let (a, b) = (world.tree("a"), world.tree("b"));
    world.save("a", &a);
    world.pass(10 * DAY);
    world.save("b", &b);
    let before = world.packs();
    assert_eq!(world.flush().removed, []);

    world.pass(5 * DAY);
    let report = world.flush();
    assert_eq!(removed(&report), [("a", Reason::Age)]);
    assert_eq!(world.keys(), ["b"]);
    // The pack of `a` has the shared file, and stays.
    assert_eq!((report.condemned.packs.len(), report.used_packs), (0, 2));
    assert!(report.dead_bytes > 500_000, "{report:?}");

    // Without it, both packs go, by two steps.
    world.pass(11 * DAY);
    let report = world.flush();
    assert_eq!(removed(&report), [("b", Reason::Age)]);
    assert_eq!(BTreeSet::from_iter(report.condemned.packs.clone()), before);
    assert_eq!(report.held, report.condemned);
    assert_eq!(world.packs(), before);
    world.pass(23 * HOUR);
    let report = world.flush();
    assert!(report.deleted.packs.is_empty() && report.held.packs.len() == 2, "{report:?}");
    world.pass(HOUR);
    let report = world.flush();
    assert_eq!(BTreeSet::from_iter(report.deleted.packs), before);
    assert!(report.deleted.bytes > 1_000_000);
    assert!(world.packs().is_empty());
    nothing_is_left(&world);
}

/// What garbage collection itself keeps is bounded, too.
fn nothing_is_left(world: &World) {
    world.pass(2 * DAY);
    world.flush();
    world.pass(2 * DAY);
    world.flush();
    let objects: Vec<String> =
        world.store.contents().into_keys().map(|object| object.to_string()).collect();
    let tables = objects.iter().filter(|object| object.starts_with("index/tables/")).count();
    let others = objects.iter().filter(|object| !object.starts_with("index/tables/"));
    assert_eq!(others.collect::<Vec<_>>(), ["format", "gc/marks", "gc/state"]);
    assert_eq!(tables, 2, "one table: {objects:?}");
}

#[test]
fn a_restore_counts_as_use_once_a_day() {
    let world = World::new();
    let a = world.tree("a");
    world.save("a", &a);
    world.store.take_calls();
    let puts = || {
        let calls = world.store.take_calls();
        calls.iter().filter(|call| call.operation == Operation::Put).count()
    };
    assert_eq!(world.restore("a", &a), Hit::Exact);
    assert_eq!(puts(), 0);
    world.pass(10 * DAY);
    assert_eq!(world.restore("a", &a), Hit::Exact);
    assert_eq!(puts(), 1);
    world.pass(23 * HOUR);
    assert_eq!(world.restore("a", &a), Hit::Exact);
    assert_eq!(puts(), 0);
    world.pass(14 * DAY - 23 * HOUR);
    assert_eq!(world.flush().removed, []);
    world.pass(HOUR);
    assert_eq!(removed(&world.flush()), [("a", Reason::Age)]);
    assert_eq!(world.restore("a", &a), Hit::Miss);
}

#[test]
fn an_unchanged_save_counts_as_use() {
    let world = World::new();
    let a = world.tree("a");
    world.save("a", &a);
    world.pass(10 * DAY);
    assert!(world.save("a", &a).unchanged);
    world.pass(10 * DAY);
    assert_eq!(world.flush().removed, []);
}

/// A cache that is restored every day is not the newest because of that.
#[test]
fn use_does_not_make_a_cache_newer() {
    let world = World::new();
    let (old, new) = (world.tree("old"), world.tree("new"));
    world.save("k-old", &old);
    world.pass(DAY);
    world.save("k-new", &new);
    world.pass(5 * DAY);
    assert_eq!(world.restore("k-old", &old), Hit::Exact);
    let out = world.sandbox.path("out");
    let request = larder::restore::RestoreRequest {
        keys: vec![],
        restore_keys: vec!["k-".to_owned()],
        ..restore_request(&out)
    };
    let report = with_context(|context| restore(world.store.clone(), &request, context)).unwrap();
    assert_eq!(report.key.unwrap().as_str(), "k-new");
    assert_same(&new, &out.join("tree"));
}

#[test]
fn saves_say_how_long_they_live() {
    let world = World::new();
    let tree = world.tree("a");
    let save_for = |key: &str, lifetime| {
        let request = larder::save::SaveRequest {
            key: key.parse().unwrap(),
            lifetime,
            ..save_request(&tree)
        };
        with_context(|context| save(world.store.clone(), &request, context)).unwrap()
    };
    save_for("short", Lifetime::For(3 * DAY));
    save_for("pinned", Lifetime::Pinned);
    save_for("plain", Lifetime::ByPolicy);
    world.pass(4 * DAY);
    assert_eq!(removed(&world.flush()), [("short", Reason::Ttl)]);
    world.pass(40 * DAY);
    assert_eq!(removed(&world.flush()), [("plain", Reason::Age)]);
    // Another lifetime is a change, though all files are the same.
    assert!(!save_for("pinned", Lifetime::ByPolicy).unchanged);
    world.pass(15 * DAY);
    assert_eq!(removed(&world.flush()), [("pinned", Reason::Age)]);
}

#[test]
fn a_dry_run_says_what_a_run_does_and_changes_nothing() {
    let world = World::new();
    for name in ["a", "b", "c"] {
        world.save(name, &world.tree(name));
        world.pass(6 * DAY);
    }
    let check = |request: &FlushRequest| {
        let before = world.store.contents();
        let dry = world.try_flush(&FlushRequest { dry_run: true, ..copy(request) }).unwrap();
        assert!(dry.dry_run);
        assert!(before == world.store.contents(), "a dry run changed something");
        let mut wet = world.try_flush(request).unwrap();
        wet.dry_run = true;
        wet.deltas_merged = 0;
        assert_eq!(dry, wet);
        dry
    };
    assert_eq!(check(&flush_request()).removed.len(), 1);
    let budget = Policy { max_size: Some(1_500_000), ..policy() };
    let squeezed = check(&FlushRequest { policy: budget, ..flush_request() });
    assert_eq!(removed(&squeezed), [("b", Reason::Size)]);
    world.pass(2 * DAY);
    assert!(!check(&flush_request()).deleted.packs.is_empty());
}

fn copy(request: &FlushRequest) -> FlushRequest {
    FlushRequest { policy: request.policy.clone(), ..*request }
}

/// The saver had read the old manifest, and slept while two flushes ran.
#[test]
fn a_condemned_pack_is_not_reused() {
    let world = World::new();
    let a = world.tree("a");
    world.save("a", &a);
    world.pass(20 * DAY);
    assert_eq!(world.flush().condemned.packs.len(), 1);
    // The pack is there, and the index would still know it.
    let report = world.save("a2", &a);
    assert_eq!(report.new_chunks, report.chunks);
    world.pass(2 * DAY);
    assert_eq!(world.flush().deleted.packs.len(), 1);
    assert_eq!(world.restore("a2", &a), Hit::Exact);
    sound(&world.store);
}

#[test]
fn what_is_used_again_is_pardoned() {
    let world = World::new();
    let a = world.tree("a");
    world.save("a", &a);
    world.pass(2 * DAY);
    let (object, body) = {
        let all = world.store.contents();
        all.into_iter().find(|(key, _)| key.as_str().starts_with("manifests/")).unwrap()
    };
    // A saver that had read the state before the flush publishes after it: here
    // its manifest is put as it would be.
    world.store.delete(&[object.clone()]).unwrap();
    assert_eq!(world.flush().condemned.packs.len(), 1);
    world.store.put(&object, body, larder::store::PutMode::Overwrite).unwrap();
    world.pass(2 * DAY);
    let report = world.flush();
    assert_eq!((report.pardoned.packs.len(), report.deleted.packs.len()), (1, 0));
    assert_eq!(world.restore("a", &a), Hit::Exact);
    // And savers may use it again.
    assert_eq!(world.save("a2", &a).new_chunks, 0);
}

#[test]
fn the_index_survives_its_deltas() {
    let world = World::new();
    let a = world.tree("a");
    world.save("a", &a);
    let report = world.flush();
    assert_eq!(report.deltas_merged, 1);
    assert!(list_all(&*world.store, Layout::deltas()).unwrap().is_empty());
    let request =
        larder::save::SaveRequest { scope: "another".parse().unwrap(), ..save_request(&a) };
    let report = with_context(|context| save(world.store.clone(), &request, context)).unwrap();
    assert_eq!((report.new_chunks, report.packs_written), (0, 0));
}

#[test]
fn unchanged_manifests_are_read_once() {
    let world = World::new();
    for name in ["a", "b"] {
        world.save(name, &world.tree(name));
    }
    assert_eq!(world.flush().manifests_read, 2);
    assert_eq!(world.flush().manifests_read, 0);
    world.save("c", &world.tree("c"));
    let report = world.flush();
    assert_eq!((report.manifests, report.manifests_read), (3, 1));
    // Marks are worth nothing without their checksum.
    world.store.flip_byte(&Layout::gc_marks(), 70);
    assert_eq!(world.flush().manifests_read, 3);
}

#[test]
fn what_cannot_be_read_stops_everything() {
    let world = World::new();
    world.save("a", &world.tree("a"));
    world.save("b", &world.tree("b"));
    world.flush();
    world.pass(30 * DAY);
    let manifest = Layout::manifest(&"default".parse().unwrap(), &"b".parse().unwrap()).unwrap();
    let before = world.store.contents();
    for damaged in [manifest, Layout::gc_state()] {
        world.store.flip_byte(&damaged, 60);
        // A manifest that was read before is known by its version: forget that.
        world.store.delete(&[Layout::gc_marks()]).unwrap();
        let error = world.try_flush(&flush_request()).unwrap_err();
        assert!(error.is_damage() && error.to_string().contains(damaged.as_str()), "{error}");
        world.store.flip_byte(&damaged, 60);
        let after = world.store.contents();
        let lost =
            before.keys().filter(|key| !after.contains_key(key) && **key != Layout::gc_marks());
        assert_eq!(lost.count(), 0);
        world
            .store
            .put(
                &Layout::gc_state(),
                before[&Layout::gc_state()].clone(),
                larder::store::PutMode::Overwrite,
            )
            .unwrap();
    }
}

#[test]
fn a_second_flush_waits_for_the_first() {
    let world = World::new();
    world.save("a", &world.tree("a"));
    world.pass(20 * DAY);
    // It dies when it is about to delete.
    world.store.fail_all(Some(Operation::Delete), "manifests/", When::Before);
    world.store.fail_all(Some(Operation::Put), "gc/state", When::After);
    world.try_flush(&flush_request()).unwrap_err();
    world.store.clear_faults();
    let report = world.flush();
    assert!(report.busy.is_some() && report.removed.is_empty());
    let report = world.try_flush(&FlushRequest { take_over: true, ..flush_request() }).unwrap();
    assert_eq!(removed(&report), [("a", Reason::Age)]);
}

/// A store to which something happens in the instant before a request.
struct Meanwhile<F> {
    store: Arc<MemoryStore>,
    /// The request, by its kind and what its key begins with.
    before: (Operation, &'static str),
    happens: Mutex<Option<F>>,
}

impl<F: FnOnce() + Send> Meanwhile<F> {
    fn new(world: &World, before: (Operation, &'static str), happens: F) -> Arc<Self> {
        let happens = Mutex::new(Some(happens));
        Arc::new(Self { store: Arc::clone(&world.store), before, happens })
    }

    fn ask(&self, operation: Operation, key: &str) -> &MemoryStore {
        if self.before.0 == operation
            && key.starts_with(self.before.1)
            && let Some(happens) = self.happens.lock().unwrap().take()
        {
            happens();
        }
        &self.store
    }
}

impl<F> std::fmt::Debug for Meanwhile<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl<F: FnOnce() + Send> Store for Meanwhile<F> {
    fn location(&self) -> String {
        self.store.location()
    }
    fn get(&self, key: &ObjectKey, max_len: u64) -> Result<Object, StoreError> {
        self.ask(Operation::Get, key.as_str()).get(key, max_len)
    }
    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.ask(Operation::Get, key.as_str()).get_range(key, range)
    }
    fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StoreError> {
        self.ask(Operation::Head, key.as_str()).head(key)
    }
    fn put(&self, key: &ObjectKey, body: Bytes, mode: PutMode) -> Result<Version, StoreError> {
        self.ask(Operation::Put, key.as_str()).put(key, body, mode)
    }
    fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.ask(Operation::List, prefix).list(prefix, after, limit)
    }
    fn delete(&self, keys: &[ObjectKey]) -> Result<Vec<StoreError>, StoreError> {
        self.ask(Operation::Delete, keys[0].as_str()).delete(keys)
    }
    fn delete_if_match(&self, key: &ObjectKey, version: &Version) -> Result<(), StoreError> {
        self.ask(Operation::Delete, key.as_str()).delete_if_match(key, version)
    }
    fn now(&self) -> Result<SystemTime, StoreError> {
        self.store.now()
    }
}

/// The save found its cache, and was about to mark it as used, when a flush
/// removed it for its age. The save then said that all was well.
#[test]
fn an_unchanged_save_notices_that_its_cache_goes() {
    let world = Arc::new(World::new());
    let a = world.tree("a");
    world.save("a", &a);
    world.pass(20 * DAY);
    let flushing = Arc::clone(&world);
    let store = Meanwhile::new(&world, (Operation::Put, "manifests/"), move || {
        assert_eq!(removed(&flushing.flush()), [("a", Reason::Age)]);
    });
    let request = larder::save::SaveRequest { key: "a".parse().unwrap(), ..save_request(&a) };
    with_context(|context| save(store, &request, context)).unwrap();
    assert_eq!(world.restore("a", &a), Hit::Exact);
    // Its pack was condemned by then.
    world.pass(2 * DAY);
    world.flush();
    assert_eq!(world.restore("a", &a), Hit::Exact);
}

/// A delta outlives the commit by a moment, and told of condemned packs, which
/// were then reused: a flush at work could doom them.
#[test]
fn a_delta_tells_of_no_condemned_pack() {
    let world = Arc::new(World::new());
    let a = world.tree("a");
    world.save("a", &a);
    world.pass(20 * DAY);
    let saving = Arc::clone(&world);
    let store = Meanwhile::new(&world, (Operation::Delete, "index/deltas/"), move || {
        let report = saving.save("a2", &a);
        assert_eq!(report.new_chunks, report.chunks);
    });
    with_context(|context| flush(store, &flush_request(), context)).unwrap();
    assert_eq!(world.keys(), ["a2"]);
}

/// The flush was suspended while it removed a cache, and then condemned the
/// pack as of the time when it had begun: the next flush deleted it at once,
/// under the hands of a restore.
#[test]
fn grace_begins_when_a_flush_commits() {
    let world = Arc::new(World::new());
    let a = world.tree("a");
    world.save("a", &a);
    world.pass(20 * DAY);
    let sleeping = Arc::clone(&world);
    let store = Meanwhile::new(&world, (Operation::Delete, "manifests/"), move || {
        sleeping.pass(2 * DAY);
    });
    let report = with_context(|context| flush(store, &flush_request(), context)).unwrap();
    assert_eq!(report.condemned.packs.len(), 1);
    assert!(world.flush().deleted.packs.is_empty());
    world.pass(DAY);
    assert_eq!(world.flush().deleted.packs.len(), 1);
}
