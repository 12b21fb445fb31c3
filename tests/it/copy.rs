//! Copies of caches: another key for what one holds, safe from flushes that run
//! meanwhile.

use std::sync::Arc;

use larder::flush::Reason;
use larder::format::{Layout, Lifetime};
use larder::restore::{Hit, RestoreRequest, restore};
use larder::save::{Copied, CopyRequest, copy, find_whole};
use larder::store::{MemoryStore, Operation, Store, When};

use crate::faults::{restore_request, save_request, sound, with_context};
use crate::flush::{DAY, World, removed};
use crate::meanwhile::Meanwhile;
use crate::support::contents;

fn request(world: &World) -> CopyRequest {
    CopyRequest {
        scope: save_request(&world.sandbox.work("a")).scope,
        from: "a".parse().unwrap(),
        to: "b".parse().unwrap(),
        replace: true,
        lifetime: Lifetime::ByPolicy,
    }
}

fn copied(world: &World, store: Arc<dyn Store>) -> Copied {
    with_context(|context| copy(store, &request(world), context)).unwrap()
}

#[test]
fn a_copy_is_one_small_object() {
    let world = World::new();
    let a = world.tree("a");
    world.save("a", &a);
    let before = world.store.contents();
    let report = copied(&world, world.store.clone());
    let after = world.store.contents();
    let new: Vec<u64> = after
        .iter()
        .filter(|(object, _)| !before.contains_key(object))
        .map(|(_, body)| body.len() as u64)
        .collect();
    assert_eq!(report, Copied::Yes { uploaded_bytes: new[0] });
    assert!(new.len() == 1 && new[0] < 2_000, "{new:?}");
    assert_eq!(world.restore("b", &a), Hit::Exact);
    sound(&world.store);
    // Another one takes its place.
    let b = world.tree("other");
    world.save("b", &b);
    copied(&world, world.store.clone());
    assert_eq!(world.restore("b", &a), Hit::Exact);
    // Unless it is to stay.
    world.save("b", &b);
    let gently = CopyRequest { replace: false, ..request(&world) };
    let kept = with_context(|context| copy(world.store.clone(), &gently, context)).unwrap();
    assert_eq!((kept, world.restore("b", &b)), (Copied::AlreadyThere, Hit::Exact));
}

#[test]
fn of_nothing_there_is_no_copy() {
    let world = World::new();
    assert_eq!(copied(&world, Arc::new(MemoryStore::new())), Copied::NothingThere);
    world.save("other", &world.tree("other"));
    let before = world.store.contents();
    assert_eq!(copied(&world, world.store.clone()), Copied::NothingThere);
    assert_eq!(world.store.contents(), before);
}

#[test]
fn a_copy_outlives_what_it_was_made_of() {
    let world = World::new();
    let a = world.tree("a");
    world.save("a", &a);
    let pinned = CopyRequest { lifetime: Lifetime::Pinned, ..request(&world) };
    with_context(|context| copy(world.store.clone(), &pinned, context)).unwrap();
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
    copied(&world, world.store.clone());
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
        assert_eq!(copied(&world, store.clone()), Copied::NothingThere, "{before:?}");
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
    assert_eq!(copied(&world, outer.clone()), Copied::NothingThere);
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
        if let Ok(Copied::Yes { .. }) = copied {
            assert!(holds(&a));
            assert!(life > 4, "a copy takes more requests than {life}");
            return;
        }
        assert!(copied.is_err() && (holds(&a) || holds(&old)), "{copied:?} after {life}");
    }
}

/// A copy that is not to replace anything loses to a save in the same moment.
#[test]
fn a_save_in_the_same_moment_stays() {
    let world = Arc::new(World::new());
    let (a, other) = (world.tree("a"), world.tree("other"));
    world.save("a", &a);
    let saving = Arc::clone(&world);
    let tree = other.clone();
    let store = Meanwhile::new(&world, (Operation::Put, "manifests/"), move || {
        saving.save("b", &tree);
    });
    let gently = CopyRequest { replace: false, ..request(&world) };
    let kept = with_context(|context| copy(store, &gently, context)).unwrap();
    assert_eq!((kept, world.restore("b", &other)), (Copied::AlreadyThere, Hit::Exact));
}

/// The asset manager went by whether anything was there.
#[test]
fn what_lost_a_pack_is_not_whole() {
    let world = World::new();
    world.save("a", &world.tree("a"));
    let scope = request(&world).scope;
    let whole = |key: &str| {
        let key = key.parse().unwrap();
        let found = with_context(|context| find_whole(world.store.clone(), &scope, &key, context));
        found.unwrap().is_some()
    };
    assert!(whole("a") && !whole("b"));
    let packs: Vec<_> = world.packs().into_iter().map(Layout::pack).collect();
    world.store.delete(&packs[..1]).unwrap();
    assert!(!whole("a"));
    assert_eq!(copied(&world, world.store.clone()), Copied::NothingThere);
    assert_eq!(world.keys(), ["a"]);
}

/// An interrupt or a failure between the put and the look: what nobody looked at
/// again does not stay.
#[test]
fn an_unsettled_copy_is_taken_back() {
    let world = World::new();
    world.save("a", &world.tree("a"));
    world.store.fail_all(Some(Operation::Get), "gc/state", When::Before);
    let gets = |store: &MemoryStore| {
        store.calls().iter().filter(|call| call.operation == Operation::Put).count()
    };
    let before = gets(&world.store);
    let failed = with_context(|context| copy(world.store.clone(), &request(&world), context));
    assert!(failed.is_err() && gets(&world.store) == before);
    world.store.clear_faults();
    let world = Arc::new(World::new());
    world.save("a", &world.tree("a"));
    let failing = Arc::clone(&world);
    let store = Meanwhile::new(&world, (Operation::Put, "manifests/"), move || {
        failing.store.fail_all(Some(Operation::Get), "gc/state", When::Before);
    });
    let failed = with_context(|context| copy(store, &request(&world), context));
    assert!(failed.is_err());
    world.store.clear_faults();
    assert_eq!(world.keys(), ["a"]);
}
