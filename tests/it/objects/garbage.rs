//! Objects and garbage collection: ages, and flushes between any two requests of a put.

use super::*;
use crate::meanwhile::Meanwhile;
use larder::flush::{FlushRequest, Policy, Scopes, flush};
use larder::store::ObjectKey;

const DAY: Duration = Duration::from_secs(86_400);

/// A flush that removes what was not used for so many days.
fn flush_after(store: &Arc<MemoryStore>, days: u32, max_size: Option<u64>) {
    flush_over(store.clone(), days, max_size);
}

fn flush_over(store: Arc<dyn Store>, days: u32, max_size: Option<u64>) {
    let mut request = FlushRequest::new(Policy::new(Scopes::All, DAY * days));
    request.policy.max_size = max_size;
    request.grace = Duration::ZERO;
    let stop = AtomicBool::new(false);
    let context = Context { progress: &NoProgress, stop: &stop };
    flush(store, &request, context).unwrap();
}

/// A flush that has marked when this happens, and commits what it has decided by that.
fn flush_amid(store: &Arc<MemoryStore>, happens: impl FnOnce() + Send + 'static) {
    let at = (Operation::Put, "index/tables/");
    let watched = Meanwhile::over(store.clone(), at, happens);
    flush_over(watched.clone(), 14, None);
    assert!(watched.has_happened());
}

/// Opens a store to which something happens in the instant before a request.
fn open_meanwhile(
    store: &Arc<MemoryStore>,
    before: (Operation, &'static str),
    happens: impl FnOnce() + Send + 'static,
) -> Objects {
    let options = Options { window: FOR_EVER, ..Options::default() };
    let watched: Arc<dyn Store> = Meanwhile::over(store.clone(), before, happens);
    Objects::open(watched, options, Arc::new(NoProgress)).unwrap()
}

fn packs(store: &MemoryStore) -> Vec<ObjectKey> {
    let is_pack = |key: &ObjectKey| key.as_str().starts_with("packs/");
    store.contents().keys().filter(|key| is_pack(key)).cloned().collect()
}

#[test]
fn objects_obey_ages_and_touches() {
    let store = Arc::new(MemoryStore::new());
    let objects = open(&store);
    for key in ["left", "touched", "read"] {
        put(&objects, key, &noise(200_000, key.len() as u64));
    }
    let upload = objects.begin_upload(&bucket(), &"u".parse().unwrap(), details("")).unwrap();
    store.advance_clock(DAY * 10);
    let objects = open(&store);
    let found = objects.find(&name("touched")).unwrap();
    objects.copy(&found, &name("touched"), &found.info.details, &Condition::None).unwrap();
    objects.used(&objects.find(&name("read")).unwrap());
    store.advance_clock(DAY * 6);
    for _ in 0..3 {
        flush_after(&store, 14, None);
        store.advance_clock(Duration::from_secs(60));
    }
    assert_eq!(get(&objects, "left"), None);
    assert!(get(&objects, "touched").unwrap() == noise(200_000, 7));
    assert!(get(&objects, "read").unwrap() == noise(200_000, 4));
    assert!(matches!(objects.upload(&bucket(), upload), Err(ObjectError::NoSuchUpload)));
    assert_eq!(packs(&store).len(), 2);
}

#[test]
fn objects_obey_the_budget() {
    let store = Arc::new(MemoryStore::new());
    let objects = open(&store);
    for number in 0..4 {
        put(&objects, &number.to_string(), &noise(300_000, number));
        store.advance_clock(Duration::from_secs(60));
    }
    flush_after(&store, 14, Some(700_000));
    let there: Vec<bool> =
        (0..4).map(|number| get(&objects, &number.to_string()).is_some()).collect();
    assert_eq!(there, [false, false, true, true]);
}

/// What was removed is about to be deleted, and comes again: by a process that knew it
/// before, and by one that did not. Whatever the flushes do between, nothing that was
/// acknowledged is lost.
#[test]
fn what_is_being_collected_is_not_relied_on() {
    let bytes = noise(1_500_000, 1);
    for flushes_before in 0..4 {
        for flushes_amid in 0..4 {
            let store = Arc::new(MemoryStore::new());
            let objects = open(&store);
            put(&objects, "a", &bytes);
            objects.close();
            objects.delete(&[name("a")]).unwrap();
            store.advance_clock(DAY);
            let tick = || {
                flush_after(&store, 14, None);
                store.advance_clock(Duration::from_secs(60));
            };
            (0..flushes_before).for_each(|_| tick());
            let contents = contents(&objects, &bytes);
            (0..flushes_amid).for_each(|_| tick());
            let mut result = objects.put(&name("b"), contents, details("e"), &Condition::None);
            if result.is_err() {
                // Its packs are gone by now: the client is told to try again.
                assert!(flushes_before + flushes_amid >= 2, "{flushes_before} {flushes_amid}");
                assert_eq!(get(&objects, "b"), None);
                result = put_if(&objects, "b", &bytes, &Condition::None);
            }
            result.unwrap();
            (0..4).for_each(|_| tick());
            assert!(get(&objects, "b").unwrap() == bytes, "{flushes_before} {flushes_amid}");
            assert!(get(&open(&store), "b").unwrap() == bytes);
        }
    }
}

/// The same of parts: flushes come between them and their completion.
#[test]
fn parts_outlive_flushes() {
    let bytes = noise(1_500_000, 1);
    for flushes in 0..4 {
        let store = Arc::new(MemoryStore::new());
        let objects = open(&store);
        let id = objects.begin_upload(&bucket(), &"k".parse().unwrap(), details("")).unwrap();
        let upload = objects.upload(&bucket(), id).unwrap();
        for (number, part) in (1..).zip(bytes.chunks(500_000)) {
            let contents = contents(&objects, part);
            objects.put_part(&upload, number, contents, details("p")).unwrap();
            flush_after(&store, 14, None);
            store.advance_clock(Duration::from_secs(60));
        }
        for _ in 0..flushes {
            flush_after(&store, 14, None);
            store.advance_clock(Duration::from_secs(60));
        }
        objects.complete(&upload, &[1, 2, 3], details("m"), &Condition::None).unwrap();
        for _ in 0..3 {
            flush_after(&store, 14, None);
            store.advance_clock(Duration::from_secs(60));
        }
        assert!(get(&open(&store), "k").unwrap() == bytes);
    }
}

/// A put that garbage collection had overtaken was moving what it relied on when a reader
/// refreshed its manifest. It took that for an object that another had put in place of its
/// own, and said success; the pack was deleted.
#[test]
fn what_is_used_while_it_is_moved_is_put_again() {
    let store = Arc::new(MemoryStore::new());
    let bytes = noise(100_000, 1);
    let is_used = {
        let (store, reader) = (store.clone(), open(&store));
        move || {
            store.advance_clock(DAY * 2);
            reader.used(&reader.find(&name("k")).unwrap());
        }
    };
    // It reads the pack only to move what is in there.
    let objects = open_meanwhile(&store, (Operation::Get, "packs/"), is_used);
    put(&objects, "a", &bytes);
    store.advance_clock(DAY);
    open(&store).delete(&[name("a")]).unwrap();
    flush_after(&store, 14, None);
    store.advance_clock(DAY);
    let put_k = {
        let (objects, bytes) = (objects.clone(), bytes.clone());
        move || drop(put(&objects, "k", &bytes))
    };
    flush_amid(&store, put_k);
    flush_after(&store, 14, None);
    assert!(get(&open(&store), "k").unwrap() == bytes);
}

/// What is copied was looked at, and a new pack for the rest of it was begun by another
/// look: what had been condemned between the two counted as good.
#[test]
fn what_is_condemned_between_two_looks_is_moved() {
    let store = Arc::new(MemoryStore::new());
    let bytes = noise(100_000, 1);
    put(&open(&store), "a", &bytes);
    // So old that its packs are asked for.
    for _ in 0..2 {
        store.advance_clock(DAY);
        flush_after(&store, 14, None);
    }
    let is_condemned = {
        let store = store.clone();
        move || {
            open(&store).delete(&[name("a")]).unwrap();
            flush_after(&store, 14, None);
        }
    };
    let objects = open_meanwhile(&store, (Operation::Head, "packs/"), is_condemned);
    let found = objects.find(&name("a")).unwrap();
    let contents = objects.contents_of(&found, 0..u64::MAX).unwrap();
    store.advance_clock(DAY);
    let put_k = {
        let objects = objects.clone();
        move || drop(objects.put(&name("k"), contents, details("e"), &Condition::None).unwrap())
    };
    flush_amid(&store, put_k);
    flush_after(&store, 14, None);
    assert!(get(&open(&store), "k").unwrap() == bytes);
}
