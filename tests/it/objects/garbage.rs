//! Objects and garbage collection: ages, and flushes between any two requests of a put.

use super::*;
use larder::flush::{FlushRequest, Policy, Scopes, flush};
use larder::store::ObjectKey;

const DAY: Duration = Duration::from_secs(86_400);

/// A flush that removes what was not used for so many days.
fn flush_after(store: &Arc<MemoryStore>, days: u32, max_size: Option<u64>) {
    let mut request = FlushRequest::new(Policy::new(Scopes::All, DAY * days));
    request.policy.max_size = max_size;
    request.grace = Duration::ZERO;
    let stop = AtomicBool::new(false);
    let context = Context { progress: &NoProgress, stop: &stop };
    flush(Arc::clone(store), &request, context).unwrap();
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
