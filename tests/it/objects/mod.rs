//! Objects over a store in memory: what comes back, what is sent, and what is left when
//! the store fails or garbage is collected meanwhile.

mod garbage;
mod killed;
mod uploads;

use std::ops::Range;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Barrier};
use std::time::Duration;

use larder::mounts::Surroundings;
use larder::objects::{
    Bucket, Condition, Contents, Details, Found, Info, ObjectError, ObjectName, Objects, Options,
    Upload,
};
use larder::progress::{Context, NoProgress};
use larder::repository::Access;
use larder::save::SaveRequest;
use larder::secrets::{EncryptionKey, Keys, SigningKey};
use larder::store::{Call, MemoryStore, Operation, Store, When};

use crate::support::{Noise, Sandbox, run};

/// Longer than any test takes: whoever waits for it never ends.
const FOR_EVER: Duration = Duration::from_secs(1 << 20);

fn open(store: &Arc<MemoryStore>) -> Objects {
    let options = Options { window: FOR_EVER, ..Options::default() };
    Objects::open(Arc::clone(store), options, Arc::new(NoProgress)).unwrap()
}

fn bucket() -> Bucket {
    "bucket".parse().unwrap()
}

fn name(key: &str) -> ObjectName {
    ObjectName::new(&bucket(), key).unwrap()
}

fn noise(len: usize, seed: u64) -> Vec<u8> {
    Noise(seed).bytes(len)
}

fn details(etag: &str) -> Details {
    Details { etag: etag.to_owned(), ..Details::default() }
}

fn try_contents(objects: &Objects, bytes: &[u8]) -> Result<Contents, ObjectError> {
    let mut writer = objects.writer(&bucket().scope())?;
    for block in bytes.chunks(1 << 20) {
        writer.write(block)?;
    }
    Ok(writer.finish()?)
}

fn contents(objects: &Objects, bytes: &[u8]) -> Contents {
    try_contents(objects, bytes).unwrap()
}

fn put_if(
    objects: &Objects,
    key: &str,
    bytes: &[u8],
    condition: &Condition,
) -> Result<Info, ObjectError> {
    let etag = blake3::hash(bytes).to_string();
    objects.put(&name(key), try_contents(objects, bytes)?, details(&etag), condition)
}

fn put(objects: &Objects, key: &str, bytes: &[u8]) -> Info {
    put_if(objects, key, bytes, &Condition::None).unwrap()
}

fn range_of(objects: &Objects, found: &Found, range: Range<u64>) -> Vec<u8> {
    let fetches = found.fetches(range);
    fetches.iter().flat_map(|fetch| objects.fetch(found, fetch).unwrap()).flatten().collect()
}

fn get(objects: &Objects, key: &str) -> Option<Vec<u8>> {
    match objects.find(&name(key)) {
        Ok(found) => Some(range_of(objects, &found, 0..found.info.len)),
        Err(ObjectError::NotFound) => None,
        Err(error) => panic!("{error}"),
    }
}

fn puts_of(store: &MemoryStore, prefix: &str) -> usize {
    let is_one =
        |call: &Call| call.operation == Operation::Put && call.objects[0].starts_with(prefix);
    store.take_calls().iter().filter(|call| is_one(call)).count()
}

#[test]
fn what_is_put_comes_back() {
    let store = Arc::new(MemoryStore::new());
    let objects = open(&store);
    for len in [0, 1, 100, (128 << 10) - 1, 128 << 10, 600_000, 5_000_000] {
        let bytes = noise(len, len as u64);
        let info = put(&objects, &format!("o/{len}"), &bytes);
        assert_eq!(info.len, len as u64);
        // From this process, and from one that has not seen it.
        for objects in [&objects, &open(&store)] {
            assert!(get(objects, &format!("o/{len}")).unwrap() == bytes, "{len}");
            let found = objects.find(&name(&format!("o/{len}"))).unwrap();
            for range in [0..1, 5..17, len as u64 / 3..len as u64 / 2, 1..u64::MAX] {
                let clip = |at: u64| at.min(len as u64) as usize;
                let expected = &bytes[clip(range.start)..clip(range.end)];
                assert!(range_of(objects, &found, range.clone()) == expected, "{len} {range:?}");
            }
        }
    }
    assert_eq!(get(&objects, "o/2"), None);
}

#[test]
fn what_the_store_has_is_not_uploaded() {
    let store = Arc::new(MemoryStore::new());
    let objects = open(&store);
    let bytes = noise(3_000_000, 1);
    put(&objects, "a", &bytes);
    assert_eq!(puts_of(&store, "packs/"), 1);
    put(&objects, "b", &bytes);
    assert_eq!(puts_of(&store, "packs/"), 0);
    let counts = objects.counts();
    assert_eq!((counts.new_bytes, counts.reused_bytes), (3_000_000, 3_000_000));
    // Another process learns of it by the index, once it is told.
    objects.close();
    assert_eq!(puts_of(&store, "index/"), 1);
    let other = open(&store);
    put(&other, "c", &bytes[..2_900_000]);
    assert!(other.counts().new_bytes < 600_000, "{:?}", other.counts());
    assert!(get(&other, "c").unwrap() == bytes[..2_900_000]);
}

/// A hundred objects that come at one time are one pack; one alone waits for nobody,
/// however long the window.
#[test]
fn small_objects_share_a_pack() {
    let store = Arc::new(MemoryStore::new());
    let objects = open(&store);
    put(&objects, "alone", b"waits for nobody");
    assert_eq!(puts_of(&store, "packs/"), 1);
    let all_write = Barrier::new(100);
    std::thread::scope(|threads| {
        for number in 0..100_u64 {
            let (objects, all_write) = (&objects, &all_write);
            threads.spawn(move || {
                let contents = contents(objects, &noise(1_000, number));
                all_write.wait();
                let key = format!("small/{number}");
                objects.put(&name(&key), contents, details("e"), &Condition::None).unwrap();
            });
        }
    });
    let calls = store.take_calls();
    let count = |operation: Operation, prefix: &str| {
        let is_one =
            |call: &&Call| call.operation == operation && call.objects[0].starts_with(prefix);
        calls.iter().filter(is_one).count()
    };
    assert_eq!(count(Operation::Put, "packs/"), 1);
    assert_eq!(count(Operation::Put, "manifests/"), 100);
    // Looks at the state are shared, too, but how many of them depends on who comes when.
    assert!(count(Operation::Get, "gc/state") <= 100);
    for number in 0..100 {
        assert!(get(&objects, &format!("small/{number}")).unwrap() == noise(1_000, number));
    }
}

#[test]
fn equal_objects_of_one_time_are_uploaded_once() {
    let store = Arc::new(MemoryStore::new());
    let objects = open(&store);
    let bytes = noise(2_000_000, 3);
    let (one, other) = (contents(&objects, &bytes), contents(&objects, &bytes));
    assert_eq!(objects.counts().new_bytes, 2_000_000);
    let put = |key: &str, contents| {
        objects.put(&name(key), contents, details("e"), &Condition::None).unwrap();
    };
    std::thread::scope(|threads| {
        threads.spawn(|| put("one", one));
        threads.spawn(|| put("other", other));
    });
    assert!(get(&objects, "one").unwrap() == bytes && get(&objects, "other").unwrap() == bytes);
}

#[test]
fn conditions_hold() {
    let store = Arc::new(MemoryStore::new());
    let objects = open(&store);
    let etag = |bytes: &[u8]| Condition::Etag(blake3::hash(bytes).to_string());
    let fails = |condition: &Condition| {
        let result = put_if(&objects, "k", b"never", condition);
        assert!(matches!(result, Err(ObjectError::Condition)), "{result:?}");
    };
    assert!(matches!(put_if(&objects, "k", b"", &etag(b"1")), Err(ObjectError::NotFound)));
    put_if(&objects, "k", b"1", &Condition::Absent).unwrap();
    fails(&Condition::Absent);
    fails(&etag(b"2"));
    put_if(&objects, "k", b"2", &etag(b"1")).unwrap();
    assert!(matches!(objects.delete_if(&name("k"), &etag(b"1")), Err(ObjectError::Condition)));
    assert_eq!(get(&objects, "k").unwrap(), b"2");
    objects.delete_if(&name("k"), &etag(b"2")).unwrap();
    assert!(matches!(objects.delete_if(&name("k"), &etag(b"2")), Err(ObjectError::NotFound)));
}

/// Two processes that see nothing of each other: of creates, one succeeds.
#[test]
fn one_of_two_creates_succeeds() {
    let store = Arc::new(MemoryStore::new());
    let (one, other) = (open(&store), open(&store));
    let (mine, theirs) = (contents(&one, b"mine"), contents(&other, b"theirs"));
    one.put(&name("k"), mine, details("m"), &Condition::Absent).unwrap();
    let lost = other.put(&name("k"), theirs, details("t"), &Condition::Absent);
    assert!(matches!(lost, Err(ObjectError::Condition)));
    // What one has in its cache is not taken for what is there.
    assert_eq!(get(&one, "k").unwrap(), b"mine");
    put(&other, "k", b"newer");
    assert_eq!(get(&one, "k").unwrap(), b"newer");
    other.delete(&[name("k"), name("never")]).unwrap();
    assert_eq!(get(&one, "k"), None);
}

#[test]
fn listings_are_in_the_order_of_keys() {
    let store = Arc::new(MemoryStore::new());
    let objects = open(&store);
    // Encoded, `:` sorts before digits and `é` before letters.
    let keys = ["a", "a!", "a/b", "a0", "a:b", "aB", "a~", "aé", "b", ".", ".."];
    for key in keys {
        put(&objects, key, key.as_bytes());
    }
    let other: Bucket = "bucket2".parse().unwrap();
    let stranger = ObjectName::new(&other, "a").unwrap();
    let mut writer = objects.writer(&stranger.scope).unwrap();
    writer.write(b"x").unwrap();
    objects.put(&stranger, writer.finish().unwrap(), details("x"), &Condition::None).unwrap();
    let listed = |prefix: &str| -> Vec<String> {
        let listed = objects.list(&bucket(), prefix).unwrap();
        listed.iter().map(|listed| listed.key.as_str().to_owned()).collect()
    };
    let mut sorted = keys;
    sorted.sort_unstable();
    assert_eq!(listed(""), sorted);
    assert_eq!(listed("a/"), ["a/b"]);
    assert_eq!(listed("a:"), ["a:b"]);
    assert_eq!(listed("."), [".", ".."]);
    assert_eq!(objects.buckets().unwrap(), [bucket(), other]);

    // What this process has put, it need not read; another reads each once.
    let count = |objects: &Objects| {
        store.take_calls();
        let listed = objects.list(&bucket(), "").unwrap();
        let infos = objects.infos(&listed).unwrap();
        let lens: Vec<u64> = infos.iter().map(|info| info.as_ref().unwrap().len).collect();
        assert_eq!(lens, sorted.map(|key| key.len() as u64));
        store.take_calls().iter().filter(|call| call.operation == Operation::Get).count()
    };
    let fresh = open(&store);
    assert_eq!((count(&objects), count(&fresh), count(&fresh)), (0, keys.len(), 0));
}

/// What was put by one larder is a cache to all others: checked, counted, restored.
#[test]
fn an_object_is_a_cache_of_one_file() {
    let sandbox = Sandbox::new();
    let store = larder::store::open(sandbox.store().to_str().unwrap()).unwrap();
    let objects = Objects::open(store, Options::default(), Arc::new(NoProgress)).unwrap();
    let bytes = noise(1_000_000, 1);
    put(&objects, "dir/file.bin", &bytes);
    put(&objects, "dir/", b"");
    let target = sandbox.path("target");
    std::fs::create_dir(&target).unwrap();
    let larder = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        run(command.arg("--scope").arg("s3:bucket").current_dir(&target))
    };
    larder(&["verify", "--read-data"]).ok();
    larder(&["restore", "--key", "dir/file.bin"]).ok();
    assert!(std::fs::read(target.join("file.bin")).unwrap() == bytes);
    larder(&["restore", "--key", "dir/"]).ok();
    assert_eq!(std::fs::read(target.join("object")).unwrap(), b"");
}

/// With keys, objects are encrypted and signed as caches are, and those of others are not
/// there.
#[test]
fn objects_are_sealed_and_signed() {
    let store = Arc::new(MemoryStore::new());
    let (old, new) = (EncryptionKey::generate(), EncryptionKey::generate());
    let signing = SigningKey::generate();
    let with = |encryption: &[EncryptionKey], signing: Option<SigningKey>| {
        let required = signing.iter().map(SigningKey::public).collect();
        let keys = Arc::new(Keys::new(encryption, signing, required));
        let access = Access::new(Arc::clone(&store) as Arc<dyn Store>, keys);
        Objects::open(access, Options::default(), Arc::new(NoProgress)).unwrap()
    };
    let bytes = b"a secret, ".repeat(50_000);
    let ours = with(std::slice::from_ref(&old), Some(signing.clone()));
    put(&ours, "k", &bytes);
    put(&ours, "again", &bytes);
    assert_eq!(ours.counts().new_bytes, bytes.len() as u64);
    let shows = |body: &[u8]| body.windows(8).any(|window| window == b"a secret");
    assert!(!store.contents().values().any(|body| shows(body)));
    // Without the key there is nothing; and what is not signed is not there for us.
    let strangers = open(&store);
    assert_eq!(get(&strangers, "k"), None);
    put(&strangers, "theirs", b"x");
    assert_eq!(get(&ours, "theirs"), None);

    // A new key comes first: what is copied keeps the old one, what is cut gets the new.
    let rotated = with(&[new.clone(), old], Some(signing.clone()));
    let found = rotated.find(&name("k")).unwrap();
    rotated.copy(&found, &name("copied"), &found.info.details, &Condition::None).unwrap();
    assert!(get(&ours, "copied").unwrap() == bytes);
    let part = rotated.contents_of(&found, 10..400_000).unwrap();
    rotated.put(&name("cut"), part, details("c"), &Condition::None).unwrap();
    assert_eq!(get(&ours, "cut"), None);
    assert!(get(&with(&[new], Some(signing)), "cut").unwrap() == bytes[10..400_000]);
}

/// A cache that somebody saved in a bucket's scope is no object, and is not shown as one.
#[test]
fn caches_are_no_objects() {
    let store = Arc::new(MemoryStore::new());
    let objects = open(&store);
    put(&objects, "object", b"x");
    let directory = tempfile::tempdir().unwrap();
    let surroundings = Surroundings {
        working_directory: directory.path().to_owned(),
        logical_directory: None,
        home: None,
    };
    let sources = vec![surroundings.locate(std::path::Path::new("."))];
    let request = SaveRequest::new(bucket().scope(), "cache".parse().unwrap(), sources);
    let stop = AtomicBool::new(false);
    let context = Context { progress: &NoProgress, stop: &stop };
    larder::save::save(Arc::clone(&store), &request, context).unwrap();
    assert_eq!(get(&objects, "cache"), None);
    let infos = objects.infos(&objects.list(&bucket(), "").unwrap()).unwrap();
    assert_eq!(infos.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true]);
}

/// Whatever request of a put fails, before or after its effect: the old object is there
/// or the new one, and the next put succeeds.
#[test]
fn a_put_that_fails_leaves_the_old_or_the_new() {
    let (old, new) = (noise(300_000, 1), noise(400_000, 2));
    for when in [When::Before, When::After] {
        for skip in 0.. {
            let store = Arc::new(MemoryStore::new());
            put(&open(&store), "k", &old);
            let objects = open(&store);
            store.fail_nth(skip, when);
            let result = put_if(&objects, "k", &new, &Condition::None);
            store.clear_faults();
            let there = get(&objects, "k").unwrap();
            match &result {
                Ok(_) => assert!(there == new),
                Err(_) => assert!(there == old || there == new, "{skip}"),
            }
            put(&objects, "k", &new);
            assert!(get(&objects, "k").unwrap() == new);
            if result.is_ok() && skip > 3 {
                break;
            }
        }
    }
}

/// Everybody whose chunks are in a pack that cannot be put is told so.
#[test]
fn a_pack_that_cannot_be_put_fails_all_that_wait_for_it() {
    let store = Arc::new(MemoryStore::new());
    let objects = open(&store);
    put(&objects, "before", b"x");
    let shared_bytes = noise(200_000, 5);
    let (one, other) = (contents(&objects, &shared_bytes), contents(&objects, &shared_bytes));
    store.fail_all(Some(Operation::Put), "packs/", When::Before);
    std::thread::scope(|threads| {
        for (key, contents) in [("one", one), ("other", other)] {
            let objects = &objects;
            threads.spawn(move || {
                let result = objects.put(&name(key), contents, details("e"), &Condition::None);
                assert!(matches!(result, Err(ObjectError::Failed(_))));
            });
        }
    });
    store.clear_faults();
    assert_eq!((get(&objects, "one"), get(&objects, "other")), (None, None));
    // What was in it is not taken for stored.
    put(&objects, "one", &shared_bytes);
    assert!(get(&objects, "one").unwrap() == shared_bytes);
}

#[test]
fn copies_take_no_data() {
    let store = Arc::new(MemoryStore::new());
    let objects = open(&store);
    let bytes = noise(1_000_000, 1);
    put(&objects, "a", &bytes);
    let found = objects.find(&name("a")).unwrap();
    store.take_calls();
    let mut noted = details("other");
    noted.metadata.insert("k".to_owned(), "v".to_owned());
    objects.copy(&found, &name("b"), &noted, &Condition::None).unwrap();
    assert_eq!(puts_of(&store, "packs/"), 0);
    let copy = open(&store).find(&name("b")).unwrap();
    assert_eq!(copy.info.details, noted);
    assert!(get(&objects, "b").unwrap() == bytes);
    let onto = objects.copy(&found, &name("b"), &details("x"), &Condition::Absent);
    assert!(matches!(onto, Err(ObjectError::Condition)));

    // A touch makes it younger, and nothing else of it.
    store.advance_clock(Duration::from_secs(3_600));
    let objects = open(&store);
    let found = objects.find(&name("a")).unwrap();
    let touched = objects.copy(&found, &name("a"), &found.info.details, &Condition::None);
    assert_eq!(touched.unwrap().modified.since(found.info.modified).as_secs(), 3_600);
    // One that comes after another's put does not undo it.
    put(&objects, "a", b"newer");
    objects.copy(&found, &name("a"), &found.info.details, &Condition::None).unwrap();
    assert_eq!(get(&objects, "a").unwrap(), b"newer");
}

#[test]
fn parts_of_objects_are_put_again_mostly_unread() {
    let store = Arc::new(MemoryStore::new());
    let objects = open(&store);
    let bytes = noise(4_000_000, 1);
    put(&objects, "a", &bytes);
    let found = objects.find(&name("a")).unwrap();
    store.take_calls();
    let contents = objects.contents_of(&found, 1_000_000..3_000_000).unwrap();
    let read: u64 = store
        .take_calls()
        .iter()
        .filter(|call| call.objects[0].starts_with("packs/"))
        .map(|call| call.bytes)
        .sum();
    assert!(read < 1_100_000, "the chunks at both ends: {read}");
    objects.put(&name("b"), contents, details("b"), &Condition::None).unwrap();
    assert!(get(&objects, "b").unwrap() == bytes[1_000_000..3_000_000]);
}
