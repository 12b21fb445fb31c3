//! Flush over the real code and the store in memory, whose clock the tests move.
//!
//! That clock is months away from this machine's: nothing here could pass if an
//! age were counted by the runner's clock.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use larder::error::Error;
use larder::flush::{FlushReport, FlushRequest, Policy, Reason, Scopes, flush};
use larder::format::{Layout, Lifetime};
use larder::ids::PackId;
use larder::restore::{Hit, restore};
use larder::save::{SaveReport, save};
use larder::store::{MemoryStore, Operation, PutMode, Store, When, list_all};

use crate::faults::{restore_request, save_request, sound, with_context};
use crate::support::{Noise, Sandbox, assert_same, write};

pub(crate) const HOUR: Duration = Duration::from_secs(3_600);
pub(crate) const DAY: Duration = Duration::from_secs(86_400);

/// A store, and trees to save in it.
pub(crate) struct World {
    pub(crate) sandbox: Sandbox,
    pub(crate) store: Arc<MemoryStore>,
}

pub(crate) fn policy() -> Policy {
    Policy::new(Scopes::All, 14 * DAY)
}

pub(crate) fn flush_request() -> FlushRequest {
    FlushRequest::new(policy())
}

impl World {
    pub(crate) fn new() -> Self {
        Self { sandbox: Sandbox::in_memory(), store: Arc::new(MemoryStore::new()) }
    }

    /// A tree of some files of its own, and one that all trees have.
    pub(crate) fn tree(&self, name: &str) -> PathBuf {
        let tree = self.sandbox.work(name);
        let mut noise = Noise(name.bytes().fold(7, |seed, byte| seed * 31 + u64::from(byte)));
        for number in 0..4 {
            write(tree.join(format!("d{number}/f")), noise.bytes(150_000));
        }
        write(tree.join("shared"), Noise(1).bytes(200_000));
        tree
    }

    pub(crate) fn try_save(&self, key: &str, tree: &Path) -> Result<SaveReport, Error> {
        let request = larder::save::SaveRequest { key: key.parse().unwrap(), ..save_request(tree) };
        with_context(|context| save(self.store.clone(), &request, context))
    }

    pub(crate) fn save(&self, key: &str, tree: &Path) -> SaveReport {
        self.try_save(key, tree).unwrap()
    }

    /// Restores a key, and fails unless it is this tree or a miss.
    pub(crate) fn restore(&self, key: &str, tree: &Path) -> Hit {
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

    pub(crate) fn try_flush(&self, request: &FlushRequest) -> Result<FlushReport, Error> {
        with_context(|context| flush(self.store.clone(), request, context))
    }

    pub(crate) fn flush(&self) -> FlushReport {
        self.try_flush(&flush_request()).unwrap()
    }

    pub(crate) fn pass(&self, time: Duration) {
        self.store.advance_clock(time);
    }

    pub(crate) fn packs(&self) -> BTreeSet<PackId> {
        let objects = self.store.contents().into_keys();
        objects.filter_map(|object| Layout::parse_pack(&object)).collect()
    }

    pub(crate) fn keys(&self) -> Vec<String> {
        let objects = self.store.contents().into_keys();
        let keys = objects.filter_map(|object| Layout::parse_manifest(&object));
        keys.map(|(_, key)| key.to_string()).collect()
    }
}

pub(crate) fn removed(report: &FlushReport) -> Vec<(&str, Reason)> {
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

/// A flush died while it repacked. The next one ends that and condemns what was
/// filled; its dry run did not say so.
#[test]
fn a_dry_run_knows_that_a_repacking_ends() {
    let world = World::new();
    let (a, b) = (world.tree("a"), world.tree("b"));
    world.save("a", &a);
    world.save("b", &b);
    world.pass(15 * DAY);
    assert_eq!(world.restore("b", &b), Hit::Exact);
    let before = world.packs();
    let object = Layout::manifest(&"default".parse().unwrap(), &"b".parse().unwrap()).unwrap();
    world.store.fail_all(Some(Operation::Put), object.as_str(), When::Before);
    world.try_flush(&FlushRequest { repack: true, ..flush_request() }).unwrap_err();
    world.store.clear_faults();
    let filled: Vec<_> = world.packs().difference(&before).copied().collect();
    assert_eq!(filled.len(), 1);
    world.pass(2 * DAY);
    let dry = world.try_flush(&FlushRequest { dry_run: true, ..flush_request() }).unwrap();
    assert_eq!(dry.condemned.packs, filled);
    assert_eq!(dry.condemned, world.flush().condemned);
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

/// A save was paused for longer than two grace periods, just before it put its
/// index delta; the cache itself was replaced meanwhile, and its pack deleted.
/// The next save of the same contents believed the delta, and said that it had
/// succeeded. The soak found it: a save that flushes overtook meets its own delta
/// when it begins again.
#[test]
fn a_delta_that_comes_late_is_not_believed() {
    let world = World::new();
    let a = world.tree("a");
    world.save("a", &a);
    let mut objects = world.store.contents().into_iter();
    let delta = objects.find(|(key, _)| Layout::parse_delta(key).is_some()).unwrap();
    let come_late = || {
        let (key, body) = delta.clone();
        world.store.put(&key, body, PutMode::Overwrite).unwrap();
    };
    world.pass(20 * DAY);
    assert_eq!(world.flush().condemned.packs.len(), 1);
    // One epoch later, its pack is condemned.
    come_late();
    let report = world.save("b", &a);
    assert_eq!(report.new_chunks, report.chunks, "a condemned pack is reused");
    world.pass(2 * DAY);
    assert_eq!(world.flush().deleted.packs.len(), 1);
    assert_eq!(world.restore("b", &a), Hit::Exact);
    // Two epochs later, it is gone.
    let b = Layout::manifest(&"default".parse().unwrap(), &"b".parse().unwrap()).unwrap();
    world.store.delete(&[b]).unwrap();
    come_late();
    world.save("c", &a);
    assert_eq!(world.restore("c", &a), Hit::Exact);
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
    world.store.delete(std::slice::from_ref(&object)).unwrap();
    assert_eq!(world.flush().condemned.packs.len(), 1);
    world.store.put(&object, body, PutMode::Overwrite).unwrap();
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
            .put(&Layout::gc_state(), before[&Layout::gc_state()].clone(), PutMode::Overwrite)
            .unwrap();
    }
}

/// Pipelines that flush at their end begin at the same moment: all but one have
/// nothing to do, which is no failure.
#[test]
fn of_many_flushes_at_once_one_works() {
    let world = World::new();
    world.save("a", &world.tree("a"));
    let reports: Vec<_> = std::thread::scope(|threads| {
        let all: Vec<_> =
            (0..8).map(|_| threads.spawn(|| world.try_flush(&flush_request()))).collect();
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    let reports: Vec<FlushReport> = reports.into_iter().map(Result::unwrap).collect();
    assert!(reports.iter().any(|report| report.busy.is_none()));
    assert!(reports.iter().all(|report| report.busy.is_some() || report.manifests == 1));
    sound(&world.store);
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

/// A store in which a flush has something of everything to do, and what is in
/// it that must be there afterwards.
fn busy_store(world: &World) -> Vec<(&'static str, PathBuf)> {
    // Packs that are condemned and due: of a cache that has expired.
    world.save("gone", &world.tree("gone"));
    world.pass(15 * DAY);
    world.flush();
    world.pass(10 * DAY);
    // A pack of which little is in use: only the shared file.
    world.save("sparse", &world.tree("sparse"));
    let kept = world.tree("kept");
    world.save("kept", &kept);
    let expired = world.tree("expired");
    world.save("expired", &expired);
    world.pass(15 * DAY);
    // Used since.
    assert_eq!(world.restore("kept", &kept), Hit::Exact);
    let young = world.tree("young");
    world.save("young", &young);
    // Of a save that died, too young to be condemned.
    let stray = PackId::generate();
    world.store.put(&Layout::pack(stray), "stray".into(), PutMode::Create).unwrap();
    vec![("kept", kept), ("young", young)]
}

fn copy_of(world: &World) -> World {
    let copy = World::new();
    copy.store.set_clock(world.store.now().unwrap());
    let objects = list_all(&*world.store, "").unwrap();
    let contents = world.store.contents();
    let now = copy.store.now().unwrap();
    for object in objects {
        copy.store.set_clock(object.modified);
        let body = contents[&object.key].clone();
        copy.store.put(&object.key, body, PutMode::Create).unwrap();
    }
    copy.store.set_clock(now);
    copy.store.take_calls();
    copy
}

#[test]
fn a_flush_is_killed_at_every_operation() {
    let origin = World::new();
    let kept = busy_store(&origin);
    let request = FlushRequest { repack: true, ..flush_request() };
    // What a flush that nothing happens to leaves in the end.
    let whole = copy_of(&origin);
    let report = whole.try_flush(&request).unwrap();
    assert_eq!(report.removed.len(), 2);
    assert!(!report.deleted.packs.is_empty() && !report.condemned.packs.is_empty(), "{report:?}");
    assert_eq!(report.repacked.as_ref().unwrap().packs, 1, "{report:?}");

    let operations = whole.store.take_calls().len() as u64;
    for number in 0..=operations {
        // It is killed with its request on the way, or after that took effect.
        for after in [false, true] {
            let world = copy_of(&origin);
            if after {
                world.store.fail_nth(number, When::After);
                world.store.die_after(number + 1);
            } else {
                world.store.die_after(number);
            }
            let result = world.try_flush(&request);
            world.store.clear_faults();
            assert_eq!(result.is_err(), number < operations, "{number} {after}");
            sound(&world.store);
            // Run again: nothing lost.
            world
                .try_flush(&FlushRequest { take_over: true, repack: true, ..flush_request() })
                .unwrap();
            sound(&world.store);
            for (key, tree) in &kept {
                assert_eq!(world.restore(key, tree), Hit::Exact, "{number} {after}");
            }
            assert_eq!(world.keys(), ["kept", "young"], "{number} {after}");
            // And nothing leaked.
            for _ in 0..3 {
                world.pass(DAY);
                world.flush();
            }
            for (key, tree) in &kept {
                assert_eq!(world.restore(key, tree), Hit::Exact, "{number} {after}");
            }
            let report = world.flush();
            assert_eq!(report.held.packs, [], "{number} {after}: {report:?}");
            assert_eq!(report.used_packs as usize, world.packs().len(), "{number} {after}");
        }
    }
}

#[test]
fn sparse_packs_are_emptied_and_their_caches_not_rejuvenated() {
    let world = World::new();
    let (a, b) = (world.tree("a"), world.tree("b"));
    world.save("a", &a);
    let pack_of_a = world.packs();
    world.save("b", &b);
    world.pass(14 * DAY);
    assert_eq!(world.restore("b", &b), Hit::Exact);
    world.pass(DAY);
    let repack = FlushRequest { repack: true, ..flush_request() };
    let dry = world.try_flush(&FlushRequest { dry_run: true, ..copy(&repack) }).unwrap();
    let report = world.try_flush(&repack).unwrap();
    assert_eq!(removed(&report), [("a", Reason::Age)]);
    assert_eq!(dry.repacked, report.repacked);
    let repacked = report.repacked.unwrap();
    assert_eq!((repacked.packs, repacked.manifests, repacked.packs_written), (1, 1, 1));
    assert!((200_000..210_000).contains(&repacked.moved_bytes), "{repacked:?}");
    // Whoever had read the old manifest finds its packs.
    assert!(pack_of_a.is_subset(&world.packs()));
    assert_eq!(world.restore("b", &b), Hit::Exact);

    assert_eq!(BTreeSet::from_iter(world.flush().condemned.packs), pack_of_a);
    world.pass(2 * DAY);
    assert_eq!(BTreeSet::from_iter(world.flush().deleted.packs), pack_of_a);
    sound(&world.store);
    assert_eq!(world.restore("b", &b), Hit::Exact);
    // Its last use was that restore, not its move.
    world.pass(15 * DAY);
    assert_eq!(removed(&world.flush()), [("b", Reason::Age)]);
}

/// A flush that dies while it repacks, and comes back after another has taken
/// over: what it had read must not be put any more.
#[test]
fn a_late_move_has_no_effect() {
    let world = World::new();
    let (a, b) = (world.tree("a"), world.tree("b"));
    world.save("a", &a);
    world.save("b", &b);
    world.pass(15 * DAY);
    assert_eq!(world.restore("b", &b), Hit::Exact);
    let object = Layout::manifest(&"default".parse().unwrap(), &"b".parse().unwrap()).unwrap();
    let seen = world.store.head(&object).unwrap().version;
    // Its put of the moved manifest is on its way when it dies.
    world.store.fail_all(Some(Operation::Put), object.as_str(), When::Before);
    let repack = FlushRequest { repack: true, ..flush_request() };
    world.try_flush(&repack).unwrap_err();
    world.store.clear_faults();
    assert_eq!(world.store.head(&object).unwrap().version, seen);

    let report = world.try_flush(&FlushRequest { take_over: true, ..flush_request() }).unwrap();
    assert_eq!(report.broken, []);
    let late = world.store.contents()[&object].clone();
    let put = world.store.put(&object, late, PutMode::IfMatch(seen));
    assert!(put.unwrap_err().is_conflict());
    // What it had written is garbage now, and goes.
    for _ in 0..3 {
        world.pass(2 * DAY);
        world.flush();
    }
    assert_eq!(world.flush().used_packs as usize, world.packs().len());
    assert_eq!(world.restore("b", &b), Hit::Exact);
}

#[test]
fn a_store_that_ignores_conditions_is_not_flushed() {
    let world = World::new();
    world.save("a", &world.tree("a"));
    world.store.ignore_conditions();
    let error = world.try_flush(&flush_request()).unwrap_err();
    assert!(matches!(error, Error::NotFenced), "{error}");
    assert_eq!(world.keys(), ["a"]);
    world.pass(15 * DAY);
    let request = FlushRequest { unfenced: true, take_over: true, ..flush_request() };
    assert_eq!(removed(&world.try_flush(&request).unwrap()), [("a", Reason::Age)]);
}
