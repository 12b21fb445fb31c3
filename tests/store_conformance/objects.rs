//! Single objects: what was put is what is read.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use bytes::Bytes;
use larder::store::{MAX_BATCH, PutMode, StoreErrorKind};

use crate::{Fresh, key};

pub(crate) fn round_trips(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    let large: Vec<u8> = (0..5u32 << 20).map(|n| (n % 251) as u8).collect();
    let bodies = [Bytes::new(), "x".into(), large.into()];
    for (name, body) in ["empty", "one/byte", "a/b/c/large"].into_iter().zip(bodies) {
        let version = fresh.put(name, body.clone(), PutMode::Create).unwrap();
        let object = fresh.store.get(&key(name), body.len() as u64).unwrap();
        assert_eq!(object.meta.key, key(name));
        assert_eq!(object.meta.len, body.len() as u64);
        assert_eq!(object.meta.version, version);
        assert!(object.body == body, "{name}");
        assert_eq!(fresh.store.head(&key(name)).unwrap(), object.meta);
    }
}

pub(crate) fn absent_objects(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    fresh.fill(&["dir/there"]);
    // Not the directory, not below an object, not beside one.
    for name in ["absent", "dir", "dir/there/below", "dir/the"] {
        let key = key(name);
        assert!(fresh.store.get(&key, 9).unwrap_err().is_not_found(), "{name}");
        assert!(fresh.store.get_range(&key, 0..1).unwrap_err().is_not_found());
        let error = fresh.store.head(&key).unwrap_err();
        assert!(error.is_not_found());
        assert_eq!(error.to_string(), format!("head {name}: no such object"));
        assert!(fresh.store.delete(&[key]).unwrap().is_empty());
    }
    assert_eq!(fresh.body("dir/there"), "dir/there");
}

pub(crate) fn limits_of_a_get(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    fresh.put("a", "12345", PutMode::Create).unwrap();
    assert_eq!(fresh.store.get(&key("a"), 5).unwrap().body, "12345");
    let error = fresh.store.get(&key("a"), 4).unwrap_err();
    assert!(matches!(error.kind, StoreErrorKind::TooLong { len: 5, max_len: 4 }), "{error}");
}

pub(crate) fn edges_of_ranges(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    fresh.put("a", "12345", PutMode::Create).unwrap();
    fresh.put("empty", "", PutMode::Create).unwrap();
    let range = |name: &str, range| fresh.store.get_range(&key(name), range);
    assert_eq!(range("a", 0..5).unwrap(), "12345");
    assert_eq!(range("a", 1..3).unwrap(), "23");
    assert_eq!(range("a", 4..5).unwrap(), "5");
    let outside = [
        ("a", 0, 6),
        ("a", 4, 6),
        ("a", 5, 6),
        ("a", 5, 5),
        ("a", 2, 2),
        ("a", 3, 2),
        ("a", 9, 12),
        ("a", 0, u64::MAX),
        ("a", u64::MAX - 1, u64::MAX),
        ("empty", 0, 0),
        ("empty", 0, 1),
    ];
    for (name, start, end) in outside {
        let error = range(name, start..end).unwrap_err();
        assert!(
            matches!(error.kind, StoreErrorKind::RangeOutside { start: s, end: e, .. } if (s, e) == (start, end)),
            "{name} {start}..{end}: {error}"
        );
    }
}

pub(crate) fn overwriting_is_seen(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    for body in ["first", "second, longer", "3", ""] {
        let version = fresh.put("a/b", body, PutMode::Overwrite).unwrap();
        assert_eq!(fresh.body("a/b"), body);
        let meta = fresh.store.head(&key("a/b")).unwrap();
        assert_eq!((meta.len, meta.version), (body.len() as u64, version));
    }
}

pub(crate) fn deletes(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    fresh.fill(&["a/1", "a/2", "b"]);
    let delete = |names: &[&str]| {
        let keys: Vec<_> = names.iter().map(|name| key(name)).collect();
        let errors = fresh.store.delete(&keys).unwrap();
        assert!(errors.is_empty(), "{errors:?}");
    };
    delete(&[]);
    delete(&["a/1", "absent", "a/absent", "absent/absent"]);
    assert!(fresh.store.head(&key("a/1")).unwrap_err().is_not_found());
    assert_eq!(fresh.body("a/2"), "a/2");
    delete(&["a/1", "a/2", "a/2"]);
    fresh.fill(&["a/1"]);
    assert_eq!(fresh.body("a/1"), "a/1");

    let keys: Vec<_> = (0..MAX_BATCH).map(|n| key(&format!("n/{n}"))).collect();
    for key in keys.iter().step_by(50) {
        let put = fresh.store.put(key, "x".into(), PutMode::Create);
        put.unwrap();
    }
    assert!(fresh.store.delete(&keys).unwrap().is_empty());
    assert!(fresh.store.list("n/", None, 9).unwrap().objects.is_empty());
    let too_many: Vec<_> = (0..=MAX_BATCH).map(|_| key("b")).collect();
    fresh.store.delete(&too_many).unwrap_err();
    assert_eq!(fresh.body("b"), "b");
}

pub(crate) fn times_do_not_fall(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    let mut last = None;
    for n in 0..50 {
        let name = format!("{}", n % 3);
        fresh.put(&name, "x", PutMode::Overwrite).unwrap();
        let modified = fresh.store.head(&key(&name)).unwrap().modified;
        // Of one key strictly; between keys a file system may lag by the
        // nanoseconds that set two states of one key apart.
        let lag = std::time::Duration::from_micros(100);
        assert!(last.is_none_or(|last| modified + lag >= last), "{n}");
        last = Some(modified);
    }
}

/// A reader during overwrites gets one body whole, with its own version.
pub(crate) fn readers_see_whole_objects(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    let body = |n: usize| Bytes::from(vec![n as u8; 1000 + 7000 * (n % 5)]);
    fresh.put("a/b", body(0), PutMode::Create).unwrap();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let store = &*fresh.store;
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    let object = store.get(&key("a/b"), 1 << 20).unwrap();
                    let n = usize::from(object.body[0]);
                    assert!(object.body == body(n), "a mixture");
                    assert_eq!(object.meta.len, object.body.len() as u64);
                }
            });
        }
        for n in 1..200 {
            fresh.put("a/b", body(n), PutMode::Overwrite).unwrap();
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// Keys differ wherever their bytes do, and the longest ones are taken.
pub(crate) fn keys_are_apart(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    let long = "s".repeat(255);
    let deep = [long.as_str(); 4].join("/");
    let names =
        ["a%2Fb", "a%2fb", "a+b", "a=b", "a@b", "a!b", "~", "...", ".a", "-", &long[1..], &deep];
    fresh.fill(&names);
    for name in names {
        assert_eq!(fresh.body(name), name.to_owned());
    }
}
