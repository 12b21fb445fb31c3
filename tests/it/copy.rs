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
        version: None,
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

/// A failure between the put and the look: another job may have found the copy good
/// by then, and rely on it. A save that dies there leaves it, too.
#[test]
fn a_copy_of_which_nothing_is_known_stays() {
    for replace in [false, true] {
        let world = Arc::new(World::new());
        let a = world.tree("a");
        world.save("a", &a);
        let failing = Arc::clone(&world);
        let store = Meanwhile::new(&world, (Operation::Put, "manifests/"), move || {
            failing.store.fail_all(Some(Operation::Get), "gc/state", When::Before);
        });
        let request = CopyRequest { replace, ..request(&world) };
        let failed = with_context(|context| copy(store, &request, context));
        assert!(failed.is_err());
        world.store.clear_faults();
        assert_eq!(world.restore("b", &a), Hit::Exact, "{replace}");
        sound(&world.store);
    }
}

/// One failed request after another: the key has what it had, or the copy.
#[test]
fn a_copy_fails_at_every_request() {
    for number in 0.. {
        let world = World::new();
        let (a, old) = (world.tree("a"), world.tree("old"));
        world.save("a", &a);
        world.save("b", &old);
        world.store.take_calls();
        world.store.fail_nth(number, When::Before);
        let copied = with_context(|context| copy(world.store.clone(), &request(&world), context));
        world.store.clear_faults();
        assert!(world.keys().contains(&"b".to_owned()), "after {number}");
        sound(&world.store);
        if copied.is_ok() {
            assert!(number > 4, "a copy takes more requests than {number}");
            return;
        }
    }
}

/// What was looked at is what is copied: another save of the source in between is
/// another thing.
#[test]
fn another_version_is_not_copied() {
    let world = World::new();
    world.save("a", &world.tree("a"));
    let scope = request(&world).scope;
    let found = with_context(|context| {
        find_whole(world.store.clone(), &scope, &"a".parse().unwrap(), context)
    });
    let version = Some(found.unwrap().unwrap().version);
    let this = CopyRequest { version, ..request(&world) };
    world.save("a", &world.tree("other"));
    let copied = with_context(|context| copy(world.store.clone(), &this, context)).unwrap();
    assert_eq!(copied, Copied::NothingThere);
    assert_eq!(world.keys(), ["a"]);
}

/// The own copy was gone when it was to be put again, and that counted as somebody
/// else's: nothing was there, and was said to be.
#[test]
fn a_copy_that_is_gone_is_put_again() {
    let world = Arc::new(World::new());
    let a = world.tree("a");
    world.save("a", &a);
    // A flush at work, and a service that deletes a moment after it compared.
    let claiming = Arc::clone(&world);
    let inner = Meanwhile::new(&world, (Operation::Head, "manifests/"), move || {
        let key = Layout::manifest(&request(&claiming).scope, &"b".parse().unwrap()).unwrap();
        claiming.store.delete(&[key]).unwrap();
    });
    claim(&world);
    let gently = CopyRequest { replace: false, ..request(&world) };
    let copied = with_context(|context| copy(inner.clone(), &gently, context)).unwrap();
    assert!(inner.has_happened() && matches!(copied, Copied::Yes { .. }), "{copied:?}");
    assert_eq!(world.restore("b", &a), Hit::Exact);
}

/// Has a flush begin, and die.
fn claim(world: &World) {
    world.pass(DAY);
    let began = world.store.calls().len();
    for life in 1.. {
        world.store.die_after(life);
        let _ = world.try_flush(&crate::flush::flush_request());
        world.store.clear_faults();
        let puts = |call: &larder::store::Call| {
            call.operation == Operation::Put && call.ok && call.objects[0] == "gc/state"
        };
        if world.store.calls()[began..].iter().any(puts) {
            return;
        }
    }
}
