//! Uploads in parts: assembled, gone on with by another process, ended.

use super::*;

fn begin(objects: &Objects, key: &str) -> Upload {
    let id = objects.begin_upload(&bucket(), &key.parse().unwrap(), details("")).unwrap();
    objects.upload(&bucket(), id).unwrap()
}

fn put_part(objects: &Objects, upload: &Upload, number: u32, bytes: &[u8]) {
    let contents = contents(objects, bytes);
    objects.put_part(upload, number, contents, details(&format!("etag {number}"))).unwrap();
}

fn is_gone(objects: &Objects, upload: &Upload) -> bool {
    matches!(objects.upload(&bucket(), upload.id), Err(ObjectError::NoSuchUpload))
}

#[test]
fn parts_become_an_object() {
    let store = Arc::new(MemoryStore::new());
    let objects = open(&store);
    let bytes = noise(2_500_000, 1);
    let upload = begin(&objects, "k");
    put_part(&objects, &upload, 3, &bytes[2_000_000..]);
    put_part(&objects, &upload, 1, b"wrong");
    put_part(&objects, &upload, 1, &bytes[..1_000_000]);
    // Another process takes it on.
    let objects = open(&store);
    let upload = objects.upload(&bucket(), upload.id).unwrap();
    put_part(&objects, &upload, 2, &bytes[1_000_000..2_000_000]);
    let parts = objects.parts(&upload).unwrap();
    let told: Vec<(u32, u64)> = parts.iter().map(|part| (part.number, part.len)).collect();
    assert_eq!(told, [(1, 1_000_000), (2, 1_000_000), (3, 500_000)]);
    assert_eq!(parts[1].details.etag, "etag 2");
    assert_eq!(get(&objects, "k"), None);
    let missing = objects.complete(&upload, &[1, 4], details("m"), &Condition::None);
    assert!(matches!(missing, Err(ObjectError::NoSuchPart(4))));
    store.take_calls();
    let info = objects.complete(&upload, &[1, 2, 3], details("m"), &Condition::None).unwrap();
    assert_eq!((info.len, puts_of(&store, "packs/")), (2_500_000, 0));
    assert!(get(&objects, "k").unwrap() == bytes);
    assert!(is_gone(&objects, &upload));
    assert!(store.contents().keys().all(|key| !key.as_str().contains("upload")));
}

#[test]
fn a_condition_that_is_not_met_leaves_the_upload() {
    let store = Arc::new(MemoryStore::new());
    let objects = open(&store);
    put(&objects, "k", b"there");
    let upload = begin(&objects, "k");
    put_part(&objects, &upload, 1, b"part");
    let refused = objects.complete(&upload, &[1], details("m"), &Condition::Absent);
    assert!(matches!(refused, Err(ObjectError::Condition)));
    objects.complete(&upload, &[1], details("m"), &Condition::None).unwrap();
    assert_eq!(get(&objects, "k").unwrap(), b"part");
}

#[test]
fn uploads_are_listed_until_they_end() {
    let store = Arc::new(MemoryStore::new());
    let objects = open(&store);
    let (one, other) = (begin(&objects, "b"), begin(&objects, "a"));
    put_part(&objects, &one, 1, b"x");
    let listed = |objects: &Objects| -> Vec<String> {
        let uploads = objects.uploads(&bucket()).unwrap();
        uploads.iter().map(|upload| upload.key.as_str().to_owned()).collect()
    };
    assert_eq!(listed(&objects), ["a", "b"]);
    assert_eq!(objects.list(&bucket(), "").unwrap().len(), 0);
    objects.abort(&one).unwrap();
    assert!(is_gone(&objects, &one) && !is_gone(&objects, &other));
    assert_eq!(listed(&open(&store)), ["a"]);
    assert_eq!(objects.uploads(&"bucket2".parse().unwrap()).unwrap().len(), 0);
}

/// Killed at any request: what was acknowledged is there, and nothing is half there.
#[test]
fn an_upload_that_is_killed_is_whole_or_not_there() {
    let bytes = noise(600_000, 1);
    for life in 0.. {
        let store = Arc::new(MemoryStore::new());
        let objects = open(&store);
        store.die_after(life);
        let upload_all = || -> Result<(), ObjectError> {
            let id = objects.begin_upload(&bucket(), &"k".parse().unwrap(), details(""))?;
            let upload = objects.upload(&bucket(), id)?;
            for (number, part) in (1..).zip(bytes.chunks(300_000)) {
                let mut writer = objects.writer(&bucket().scope())?;
                writer.write(part)?;
                objects.put_part(&upload, number, writer.finish()?, details("p"))?;
            }
            objects.complete(&upload, &[1, 2], details("m"), &Condition::None)?;
            Ok(())
        };
        let result = upload_all();
        store.clear_faults();
        let there = get(&open(&store), "k");
        match (&result, &there) {
            (Ok(()), Some(there)) | (Err(_), Some(there)) => assert!(*there == bytes),
            (Ok(()), None) => panic!("acknowledged, and not there"),
            (Err(_), None) => {}
        }
        if result.is_ok() {
            break;
        }
    }
}
