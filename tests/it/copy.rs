//! Copies of caches: another key for what one holds, safe from flushes that run
//! meanwhile.

use std::sync::Arc;

use larder::flush::Reason;
use larder::format::Lifetime;
use larder::restore::{Hit, RestoreRequest, restore};
use larder::save::{CopyReport, CopyRequest, copy};
use larder::store::{MemoryStore, Operation, Store};

use crate::faults::{restore_request, save_request, sound, with_context};
use crate::flush::{DAY, World, removed};
use crate::meanwhile::Meanwhile;
use crate::support::contents;

fn request(world: &World) -> CopyRequest {
    CopyRequest {
        scope: save_request(&world.sandbox.work("a")).scope,
        from: "a".parse().unwrap(),
        to: "b".parse().unwrap(),
        lifetime: Lifetime::ByPolicy,
    }
}

fn copied(world: &World, store: Arc<dyn Store>) -> Option<CopyReport> {
    with_context(|context| copy(store, &request(world), context)).unwrap()
}

#[test]
fn a_copy_is_one_small_object() {
    let world = World::new();
    let a = world.tree("a");
    world.save("a", &a);
    let before = world.store.contents();
    let report = copied(&world, world.store.clone()).unwrap();
    assert_eq!((report.files, report.raw_bytes), (5, 800_000));
    let after = world.store.contents();
    let new: Vec<u64> = after
        .iter()
        .filter(|(object, _)| !before.contains_key(object))
        .map(|(_, body)| body.len() as u64)
        .collect();
    assert_eq!(new, [report.uploaded_bytes]);
    assert!(report.uploaded_bytes < 2_000, "{report:?}");
    assert_eq!(world.restore("b", &a), Hit::Exact);
    sound(&world.store);
    // Another one takes its place.
    let b = world.tree("other");
    world.save("b", &b);
    copied(&world, world.store.clone()).unwrap();
    assert_eq!(world.restore("b", &a), Hit::Exact);
}

#[test]
fn of_nothing_there_is_no_copy() {
    let world = World::new();
    assert_eq!(copied(&world, Arc::new(MemoryStore::new())), None);
    world.save("other", &world.tree("other"));
    let before = world.store.contents();
    assert_eq!(copied(&world, world.store.clone()), None);
    assert_eq!(world.store.contents(), before);
}

#[test]
fn a_copy_outlives_what_it_was_made_of() {
    let world = World::new();
    let a = world.tree("a");
    world.save("a", &a);
    let pinned = CopyRequest { lifetime: Lifetime::Pinned, ..request(&world) };
    with_context(|context| copy(world.store.clone(), &pinned, context)).unwrap().unwrap();
    for _ in 0..3 {
        world.pass(20 * DAY);
        world.flush();
    }
    assert_eq!(world.keys(), ["b"]);
    assert_eq!(world.restore("b", &a), Hit::Exact);
}

#[test]
fn a_copy_uses_what_it_is_made_of() {
    let world = World::new();
    world.save("a", &world.tree("a"));
    world.pass(10 * DAY);
    copied(&world, world.store.clone()).unwrap();
    world.pass(10 * DAY);
    assert_eq!(removed(&world.flush()), []);
    world.pass(10 * DAY);
    assert_eq!(removed(&world.flush()), [("a", Reason::Age), ("b", Reason::Age)]);
}

/// The source goes, and its packs are condemned, between any two requests of the
/// copy: then there is no copy, or one that is whole, and never one that a later
/// flush breaks.
#[test]
fn a_flush_comes_between() {
    for before in [
        (Operation::Get, "manifests/"),
        (Operation::Get, "gc/state"),
        (Operation::Put, "manifests/"),
    ] {
        let world = Arc::new(World::new());
        let a = world.tree("a");
        world.save("a", &a);
        world.pass(20 * DAY);
        let flushing = Arc::clone(&world);
        let store = Meanwhile::new(&world, before, move || {
            assert_eq!(removed(&flushing.flush()), [("a", Reason::Age)]);
        });
        assert_eq!(copied(&world, store.clone()), None, "{before:?}");
        assert!(store.has_happened());
        assert_eq!(world.keys(), Vec::<String>::new(), "{before:?}");
        sound(&world.store);
        // Nothing is left that anything could rely on, and the next save is whole.
        for _ in 0..3 {
            world.pass(2 * DAY);
            world.flush();
        }
        assert!(world.packs().is_empty());
        world.save("a", &a);
        assert_eq!(world.restore("a", &a), Hit::Exact);
    }
}

/// Somebody saves the other key in the moment in which a copy is taken back: theirs
/// stays.
#[test]
fn only_the_own_copy_is_taken_back() {
    let world = Arc::new(World::new());
    let (a, other) = (world.tree("a"), world.tree("other"));
    world.save("a", &a);
    world.pass(20 * DAY);
    let flushing = Arc::clone(&world);
    let inner = Meanwhile::new(&world, (Operation::Put, "manifests/"), move || {
        flushing.flush();
    });
    let saving = Arc::clone(&world);
    let tree = other.clone();
    let outer = Meanwhile::over(inner, (Operation::Delete, "manifests/"), move || {
        saving.save("b", &tree);
    });
    assert_eq!(copied(&world, outer.clone()), None);
    assert!(outer.has_happened());
    assert_eq!(world.restore("b", &other), Hit::Exact);
}

/// Whatever request is its last: the other key has what it had, or all of the copy.
#[test]
fn a_copy_is_killed_at_every_request() {
    for life in 0.. {
        let world = World::new();
        let (a, old) = (world.tree("a"), world.tree("old"));
        world.save("a", &a);
        world.save("b", &old);
        world.store.die_after(life);
        let copied = with_context(|context| copy(world.store.clone(), &request(&world), context));
        world.store.clear_faults();
        sound(&world.store);
        let holds = |tree: &std::path::Path| {
            let out = world.sandbox.path("got");
            let restored =
                RestoreRequest { keys: vec!["b".parse().unwrap()], ..restore_request(&out) };
            with_context(|context| restore(world.store.clone(), &restored, context)).unwrap();
            // By what they hold: no two files of the trees are the same.
            let bodies = |root| contents(root).into_values().collect::<Vec<_>>();
            let same = bodies(&out.join("tree")) == bodies(tree);
            std::fs::remove_dir_all(&out).unwrap();
            same
        };
        if let Ok(Some(_)) = copied {
            assert!(holds(&a));
            assert!(life > 4, "a copy takes more requests than {life}");
            return;
        }
        assert!(copied.is_err() && (holds(&a) || holds(&old)), "{copied:?} after {life}");
    }
}
