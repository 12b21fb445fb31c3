//! Conditional puts and deletes: of those that race, exactly one succeeds.

use std::collections::HashSet;
use std::sync::Barrier;
use std::thread;

use larder::store::{PutMode, StoreError, StoreErrorKind, Version};

use crate::{Fresh, key};

pub(crate) fn creating_twice(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    let version = fresh.put("a/b", "first", PutMode::Create).unwrap();
    let error = fresh.put("a/b", "second", PutMode::Create).unwrap_err();
    assert!(matches!(error.kind, StoreErrorKind::AlreadyExists));
    assert_eq!(error.to_string(), "put a/b: the object already exists");
    assert_eq!(fresh.body("a/b"), "first");
    assert_eq!(fresh.store.head(&key("a/b")).unwrap().version, version);
}

pub(crate) fn racing_creates(fresh: impl Fn() -> Fresh) {
    const THREADS: usize = 16;
    let fresh = fresh();
    for round in 0..10 {
        // A directory of its own each, so that making it is raced for too.
        let key = key(&format!("d{round}/x/y"));
        let barrier = Barrier::new(THREADS);
        let won: Vec<bool> = thread::scope(|scope| {
            let store = &*fresh.store;
            let threads = (0..THREADS).map(|n| {
                let (key, barrier) = (&key, &barrier);
                scope.spawn(move || {
                    let body = vec![n as u8; 1000 + n];
                    barrier.wait();
                    match store.put(key, body.into(), PutMode::Create) {
                        Ok(_) => true,
                        Err(error) => {
                            assert!(matches!(error.kind, StoreErrorKind::AlreadyExists), "{error}");
                            // The winner's object is there as soon as one has lost.
                            store.get(key, 1 << 20).unwrap();
                            false
                        }
                    }
                })
            });
            let threads: Vec<_> = threads.collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let winners: Vec<_> = (0..THREADS).filter(|n| won[*n]).collect();
        assert_eq!(winners.len(), 1, "{winners:?}");
        let n = winners[0];
        assert_eq!(fresh.body(key.as_str()), vec![n as u8; 1000 + n]);
    }
}

pub(crate) fn if_match(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    let first = fresh.put("a", "first", PutMode::Create).unwrap();
    let mode = || PutMode::IfMatch(first.clone());
    let second = fresh.put("a", "second", mode()).unwrap();
    assert_ne!(first, second);
    assert_eq!(fresh.body("a"), "second");
    let mismatch = |name: &str, mode| {
        let error = fresh.put(name, "third", mode).unwrap_err();
        assert!(matches!(error.kind, StoreErrorKind::VersionMismatch), "{error}");
        assert!(error.is_conflict());
    };
    mismatch("a", mode());
    assert_eq!(fresh.body("a"), "second");
    mismatch("absent", mode());
    mismatch("absent/absent", mode());
    assert!(fresh.store.head(&key("absent")).unwrap_err().is_not_found());
    fresh.store.delete(&[key("a")]).unwrap();
    mismatch("a", PutMode::IfMatch(second));
}

pub(crate) fn counting_by_if_match(fresh: impl Fn() -> Fresh) {
    const THREADS: u32 = 8;
    const EACH: u32 = 50;
    let fresh = fresh();
    fresh.put("count", "0", PutMode::Create).unwrap();
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let store = &*fresh.store;
            scope.spawn(move || {
                let mut left = EACH;
                while left > 0 {
                    let object = store.get(&key("count"), 9).unwrap();
                    let count: u32 = str::from_utf8(&object.body).unwrap().parse().unwrap();
                    let body = (count + 1).to_string();
                    let mode = PutMode::IfMatch(object.meta.version);
                    match store.put(&key("count"), body.into(), mode) {
                        Ok(_) => left -= 1,
                        Err(error) => assert!(error.is_conflict(), "{error}"),
                    }
                }
            });
        }
    });
    assert_eq!(fresh.body("count"), (THREADS * EACH).to_string());
}

/// In whatever order a create and an overwrite take place, the overwrite's body
/// stays, since a create replaces nothing.
pub(crate) fn creates_race_with_overwrites(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    for round in 0..40 {
        let key = key(&format!("r{round}/k"));
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            let store = &*fresh.store;
            let create = scope.spawn(|| {
                barrier.wait();
                store.put(&key, "create".into(), PutMode::Create)
            });
            barrier.wait();
            let overwrite = store.put(&key, "overwrite".into(), PutMode::Overwrite);
            match create.join().unwrap() {
                Ok(version) => assert_ne!(Some(&version), overwrite.as_ref().ok()),
                Err(error) => assert!(error.is_conflict(), "{error}"),
            }
            let meta = store.head(&key).unwrap();
            assert_eq!(meta.version, overwrite.unwrap());
        });
        assert_eq!(fresh.body(key.as_str()), "overwrite");
    }
}

/// A conditional put never brings a deleted object back.
pub(crate) fn if_match_races_with_delete(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    for _ in 0..40 {
        let version = fresh.put("a", "first", PutMode::Create).unwrap();
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            let store = &*fresh.store;
            let delete = scope.spawn(|| {
                barrier.wait();
                assert!(store.delete(&[key("a")]).unwrap().is_empty());
            });
            barrier.wait();
            let put = store.put(&key("a"), "second".into(), PutMode::IfMatch(version.clone()));
            delete.join().unwrap();
            if let Err(error) = put {
                assert!(error.is_conflict(), "{error}");
            }
            // The delete took one state or the other, and was last either way.
            assert!(store.head(&key("a")).unwrap_err().is_not_found());
        });
    }
}

pub(crate) fn versions_never_come_back(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    let mut seen: HashSet<Version> = HashSet::new();
    for n in 0..1000 {
        // Bodies of one length, in one tick of any clock.
        let body = if fresh.versions_are_of_contents { n } else { n % 2 };
        let version = fresh.put("a", body.to_string(), PutMode::Overwrite);
        assert!(seen.insert(version.unwrap()), "version {n} was there before");
    }
}

pub(crate) fn versions_survive_deletes(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    let mut seen: HashSet<Version> = HashSet::new();
    for n in 0..200 {
        let mode = if n % 3 == 0 { PutMode::Overwrite } else { PutMode::Create };
        let body = if fresh.versions_are_of_contents { n } else { n % 2 };
        let version = fresh.put("a", body.to_string(), mode).unwrap();
        assert!(seen.insert(version), "version {n} was there before");
        fresh.store.delete(&[key("a")]).unwrap();
    }
}

pub(crate) fn delete_if_match(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    let mismatch = |name: &str, version: &Version| {
        let error = fresh.store.delete_if_match(&key(name), version).unwrap_err();
        assert!(matches!(error.kind, StoreErrorKind::VersionMismatch), "{error}");
        assert!(error.is_conflict());
        assert_eq!(error.to_string(), format!("delete {name}: the object was changed meanwhile"));
    };
    let old = fresh.put("a/b", "old", PutMode::Create).unwrap();
    let new = fresh.put("a/b", "new", PutMode::Overwrite).unwrap();
    fresh.fill(&["a/c"]);
    mismatch("a/b", &old);
    assert_eq!(fresh.body("a/b"), "new");
    assert_eq!(fresh.store.head(&key("a/b")).unwrap().version, new);

    fresh.store.delete_if_match(&key("a/b"), &new).unwrap();
    assert!(fresh.store.head(&key("a/b")).unwrap_err().is_not_found());
    assert_eq!(fresh.body("a/c"), "a/c");
    mismatch("a/b", &new);
    mismatch("absent", &new);
    mismatch("absent/absent", &new);

    let again = fresh.put("a/b", "again", PutMode::Create).unwrap();
    mismatch("a/b", &new);
    mismatch("a/b", &Version::new("never"));
    assert_eq!(fresh.body("a/b"), "again");
    fresh.store.delete_if_match(&key("a/b"), &again).unwrap();
}

pub(crate) fn delete_if_match_races_with_if_match(fresh: impl Fn() -> Fresh) {
    const PUTS: usize = 3;
    let fresh = fresh();
    if !fresh.store.has_conditional_writes() {
        return;
    }
    for round in 0..40 {
        let version = fresh.put("d/a", format!("first {round}"), PutMode::Overwrite).unwrap();
        let barrier = Barrier::new(PUTS + 1);
        let (deleted, put) = thread::scope(|scope| {
            let (store, barrier, version) = (&*fresh.store, &barrier, &version);
            let puts = (0..PUTS).map(|n| {
                scope.spawn(move || {
                    let mode = PutMode::IfMatch(version.clone());
                    barrier.wait();
                    won(store.put(&key("d/a"), format!("{n} of {round}").into(), mode))
                })
            });
            let puts: Vec<_> = puts.collect();
            barrier.wait();
            let deleted = won(store.delete_if_match(&key("d/a"), version));
            let put = puts.into_iter().filter_map(|put| put.join().unwrap()).count();
            (deleted.is_some(), put)
        });
        if fresh.deletes_in_one_step {
            assert_eq!(usize::from(deleted) + put, 1, "deleted: {deleted}, put: {put}");
        } else {
            assert!(deleted || put == 1, "deleted: {deleted}, put: {put}");
        }
        let there = fresh.store.head(&key("d/a")).is_ok();
        assert_eq!(there, !deleted);
    }
}

/// What is put without a condition stays: either it came after the delete, or
/// the delete finds it.
pub(crate) fn delete_if_match_races_with_overwrite(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    if !fresh.deletes_in_one_step {
        return;
    }
    for round in 0..40 {
        let version = fresh.put("a", format!("first {round}"), PutMode::Overwrite).unwrap();
        let barrier = Barrier::new(2);
        thread::scope(|scope| {
            let store = &*fresh.store;
            let delete = scope.spawn(|| {
                barrier.wait();
                won(store.delete_if_match(&key("a"), &version))
            });
            barrier.wait();
            store.put(&key("a"), "second".into(), PutMode::Overwrite).unwrap();
            delete.join().unwrap();
        });
        assert_eq!(fresh.body("a"), "second");
    }
}

/// Two flushes expire the same object: it is gone, and one of them did it. That
/// the other is told so too is allowed.
pub(crate) fn delete_if_match_races_with_itself(fresh: impl Fn() -> Fresh) {
    const THREADS: usize = 8;
    let fresh = fresh();
    for _ in 0..20 {
        let version = fresh.put("a", "x", PutMode::Create).unwrap();
        let barrier = Barrier::new(THREADS);
        let winners = thread::scope(|scope| {
            let deletes = (0..THREADS).map(|_| {
                scope.spawn(|| {
                    barrier.wait();
                    won(fresh.store.delete_if_match(&key("a"), &version))
                })
            });
            let deletes: Vec<_> = deletes.collect();
            deletes.into_iter().filter_map(|delete| delete.join().unwrap()).count()
        });
        assert!(winners >= 1, "{winners}");
        assert!(fresh.store.head(&key("a")).unwrap_err().is_not_found());
    }
}

/// What a conditional request gave, if it met its condition.
fn won<T>(answer: Result<T, StoreError>) -> Option<T> {
    match answer {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(matches!(error.kind, StoreErrorKind::VersionMismatch), "{error}");
            None
        }
    }
}
