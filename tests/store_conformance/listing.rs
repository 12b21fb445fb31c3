//! Listings: whole keys in the order of their bytes, page after page.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use larder::store::{MAX_BATCH, ObjectKey, PutMode, list_all};

use crate::{Fresh, key};

/// Names whose order as paths is not their order as bytes, sorted as bytes. No
/// one lies below another, which a file system could not hold.
const TRICKY: [&str; 16] = [
    "!", "%41", "%4a", "A", "a%2Fz", "a-", "a-b/c", "a.", "a.b", "a/-", "a/b", "a/b-c", "a/c/d",
    "a0", "aa/a", "~",
];

fn names(fresh: &Fresh, prefix: &str) -> Vec<String> {
    let all = list_all(&*fresh.store, prefix).unwrap();
    all.into_iter().map(|meta| meta.key.to_string()).collect()
}

pub(crate) fn order_of_keys(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    let mut shuffled = TRICKY;
    shuffled.reverse();
    shuffled.swap(3, 9);
    fresh.fill(&shuffled);
    assert!(TRICKY.is_sorted());
    assert_eq!(names(&fresh, ""), TRICKY);
    for meta in list_all(&*fresh.store, "").unwrap() {
        assert_eq!(fresh.store.head(&meta.key).unwrap(), meta);
    }
}

pub(crate) fn pages(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    fresh.fill(&TRICKY);
    for limit in [1, 2, 3, 7, TRICKY.len(), MAX_BATCH] {
        let mut found = Vec::new();
        loop {
            let after = found.last().cloned();
            let page = fresh.store.list("", after.as_ref(), limit).unwrap();
            assert!(page.objects.len() <= limit);
            assert!(!page.more || page.objects.len() == limit, "a page is filled");
            found.extend(page.objects.into_iter().map(|meta| meta.key));
            if !page.more {
                break;
            }
        }
        let found: Vec<_> = found.iter().map(ObjectKey::as_str).collect();
        assert_eq!(found, TRICKY, "limit {limit}");
    }
}

pub(crate) fn prefixes(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    assert!(names(&fresh, "").is_empty());
    fresh.fill(&TRICKY);
    let prefixes = [
        "a", "a/", "a/b", "a/b-", "a/c", "a/c/", "a/c/d", "a-", "a-b/", "aa", "%4", "b", "a/x/",
        "a/b/",
    ];
    for prefix in prefixes {
        let wanted: Vec<_> = TRICKY.into_iter().filter(|name| name.starts_with(prefix)).collect();
        assert_eq!(names(&fresh, prefix), wanted, "prefix {prefix:?}");
    }
    // What cannot begin a key begins none; above all it leads nowhere else.
    for prefix in ["/", "a//", "../", "./", "a/../a/", "..", "a#", "ä/", "\0"] {
        assert!(names(&fresh, prefix).is_empty(), "prefix {prefix:?}");
    }
}

pub(crate) fn starting_points(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    fresh.fill(&TRICKY);
    let others = ["a", "a/b/c", "a/zz", "b", "zz/zz", "~~", "a-b/c/d"];
    for after in others.into_iter().chain(TRICKY) {
        for prefix in ["", "a", "a/", "b"] {
            let page = fresh.store.list(prefix, Some(&key(after)), MAX_BATCH).unwrap();
            let found: Vec<_> = page.objects.iter().map(|meta| meta.key.as_str()).collect();
            let wanted: Vec<_> = TRICKY
                .into_iter()
                .filter(|name| name.starts_with(prefix) && *name > after)
                .collect();
            assert_eq!(found, wanted, "prefix {prefix:?} after {after:?}");
            assert!(!page.more);
        }
    }
}

pub(crate) fn bounds(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    fresh.fill(&["a", "b"]);
    fresh.store.list("", None, 0).unwrap_err();
    fresh.store.list("", None, MAX_BATCH + 1).unwrap_err();
    assert!(fresh.store.list("", None, 1).unwrap().more);
    assert!(!fresh.store.list("", None, 2).unwrap().more);
}

/// Objects that stay are seen once, whatever comes and goes around them.
pub(crate) fn listing_while_writing(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    let stay: BTreeSet<String> = (0..60).map(|n| format!("d{}/{n}-stays", n % 4)).collect();
    for name in &stay {
        fresh.put(name, "x", PutMode::Create).unwrap();
    }
    churn(
        &fresh,
        |store, round| {
            let key = key(&format!("d{}/{round}-goes", round % 4));
            store.put(&key, "x".into(), PutMode::Create).unwrap();
            store.delete(&[key]).unwrap();
        },
        &stay,
    );
}

pub(crate) fn listing_while_overwriting(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    // More than one reading of the kernel's directory buffer returns.
    let stay: BTreeSet<String> =
        (0..1500).map(|n| format!("m/{n:04}-{}", "n".repeat(40))).collect();
    for name in &stay {
        fresh.put(name, "x", PutMode::Create).unwrap();
    }
    let names: Vec<_> = stay.iter().collect();
    churn(
        &fresh,
        |store, round| {
            // One all the time, and all from time to time.
            let name = if round % 2 == 0 { 700 } else { round * 7 % names.len() };
            let key = key(names[name]);
            store.put(&key, "y".into(), PutMode::Overwrite).unwrap();
        },
        &stay,
    );
}

fn churn(
    fresh: &Fresh,
    write: impl Fn(&dyn larder::store::Store, usize) + Send + Sync,
    stay: &BTreeSet<String>,
) {
    // Dropped by a failure too, or the writer would go on for ever.
    struct Done<'a>(&'a AtomicBool);
    impl Drop for Done<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let (store, done, write) = (&*fresh.store, &done, &write);
        let writer = scope.spawn(move || {
            let rounds = (0..).take_while(|_| !done.load(Ordering::Relaxed));
            rounds.for_each(|round| write(store, round));
        });
        let done = Done(done);
        for _ in 0..25 {
            let mut found = names(fresh, "");
            assert!(found.is_sorted());
            let all = found.len();
            found.dedup();
            assert_eq!(found.len(), all, "a key came twice");
            found.retain(|name| stay.contains(name));
            assert_eq!(found.len(), stay.len(), "a key was missed");
        }
        drop(done);
        writer.join().unwrap();
    });
}

pub(crate) fn many_objects(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    let count = 2 * MAX_BATCH + 1;
    let mut wanted: Vec<_> = (0..count).map(|n| format!("p/{:02x}/{n}", n % 64)).collect();
    for name in &wanted {
        fresh.put(name, "", PutMode::Create).unwrap();
    }
    wanted.sort_unstable();
    assert_eq!(names(&fresh, ""), wanted);
    assert_eq!(
        names(&fresh, "p/0"),
        wanted.iter().filter(|name| name.starts_with("p/0")).cloned().collect::<Vec<_>>()
    );
}
