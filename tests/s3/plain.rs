//! Plain objects: what other programs put and read, beside larder's own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

use larder::store::{
    ObjectKey, Patience, PlainKey, PutMode, S3Config, S3Store, Store as _, StoreErrorKind,
};

use crate::http::Answer;
use crate::proxy::plan::{Fault, Rule, When, Which};
use crate::sandbox::{Noise, write};
use crate::server::REGION;
use crate::support::{Job, count, lines};

/// S3's least length of a part, in bytes.
const LEAST_PART: u64 = 5 << 20;

const PARTS: Which = Which { method: "PUT", target: "partNumber=" };
const COMPLETE: Which = Which { method: "POST", target: "uploadId=" };
/// Keys that a careless client, or a careless server, takes for others.
const ODD: [&str; 10] =
    ["a b", " a ", "ä/日本", "a+b", "a%41", "a:b", "a#b", "a?b=c&d", "~a'(b)*!", "a\\b\"<c>&amp;"];

fn key(text: &str) -> PlainKey {
    PlainKey::new(text).unwrap()
}

/// The job's store, with more words.
fn store_with(job: &Job, words: &[(&str, &str)]) -> S3Store {
    let (url, keys) = (job.proxy.url(), &job.bucket.server.keys);
    let own = [
        ("bucket", &*job.bucket.name),
        ("prefix", &job.prefix),
        ("region", REGION),
        ("access_key_id", &keys.access_key),
        ("secret_access_key", &keys.secret_key),
    ];
    let mut words = words.to_vec();
    if !words.iter().any(|(word, _)| *word == "endpoint_url") {
        words.push(("endpoint_url", &url));
    }
    let config = S3Config::from_words(own.into_iter().chain(words)).unwrap();
    S3Store::open(config, Patience::default()).unwrap()
}

fn store(job: &Job) -> S3Store {
    store_with(job, &[])
}

/// A file with these bytes.
fn file(job: &Job, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = job.sandbox.work(name);
    write(&path, bytes);
    path
}

fn listed(store: &S3Store, prefix: &str) -> BTreeMap<String, u64> {
    let found = store.list_plain(prefix).unwrap();
    found.into_iter().map(|found| (found.key.as_str().to_owned(), found.len)).collect()
}

fn with_type(metadata: &[(&str, &str)], kind: &str) -> BTreeMap<String, String> {
    let pairs = metadata.iter().copied().chain([("Content-Type", kind)]);
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

#[test]
fn a_file_becomes_an_object_with_its_metadata() {
    let Some(mut job) = Job::new() else { return };
    let path = file(&job, "app.js", "some bytes");
    let metadata = [("Commit", "c0ffee"), ("built-by", "drone, step 7")];
    let expected = [("commit", "c0ffee"), ("built-by", "drone, step 7")];
    for prefix in ["some/prefix", ""] {
        job.prefix = prefix.into();
        let store = store(&job);
        let to = key("artifacts/c0ffee/app.js");
        assert_eq!(store.put_plain(&to, &path, &metadata).unwrap(), 10);
        let name = format!("{prefix}/{to}");
        let name = name.trim_start_matches('/');
        assert_eq!(job.bucket.get(name), b"some bytes");
        assert_eq!(job.bucket.metadata(name), with_type(&expected, "application/octet-stream"));
        let found = store.list_plain("artifacts/c0").unwrap();
        assert_eq!((&found[0].key, found[0].len, found.len()), (&to, 10, 1));
        assert!(found[0].modified > SystemTime::UNIX_EPOCH);
        // An empty one in its place.
        let empty = file(&job, "empty", "");
        assert_eq!(store.put_plain(&to, &empty, &[]).unwrap(), 0);
        assert_eq!(job.bucket.get(name), b"");
    }
}

#[test]
fn odd_keys_survive_all_calls() {
    for prefix in ["a b/ä+%41", ""] {
        let Some(mut job) = Job::new() else { return };
        job.prefix = prefix.into();
        let store = store(&job);
        for (len, odd) in ODD.into_iter().enumerate() {
            let path = file(&job, "file", "x".repeat(len));
            store.put_plain(&key(&format!("from/{odd}")), &path, &[("k", "v")]).unwrap();
        }
        let expected = |directory: &str| -> BTreeMap<String, u64> {
            let odd = ODD.into_iter().zip(0..);
            odd.map(|(odd, len)| (format!("{directory}/{odd}"), len)).collect()
        };
        assert_eq!(listed(&store, "from/"), expected("from"));
        for odd in ODD {
            let (from, to) = (key(&format!("from/{odd}")), key(&format!("to/{odd}")));
            assert!(store.copy_plain(&from, &to).unwrap(), "{odd}");
            let name = format!("{prefix}/{to}");
            assert_eq!(job.bucket.metadata(name.trim_start_matches('/'))["k"], "v", "{odd}");
        }
        assert_eq!(listed(&store, "to/"), expected("to"));
        // As a server without larder's encoding sees them.
        let seen: BTreeSet<_> = job.bucket.keys_with("to/").into_iter().collect();
        let below = |name: String| format!("{prefix}/{name}").trim_start_matches('/').to_owned();
        assert_eq!(seen, expected("to").into_keys().map(below).collect());

        let keys: Vec<_> = ODD.iter().map(|odd| key(&format!("to/{odd}"))).collect();
        assert!(store.delete_plain(&keys).unwrap().is_empty());
        assert_eq!(listed(&store, "to/"), BTreeMap::new());
        assert_eq!(listed(&store, "from/a%41"), [("from/a%41".to_owned(), 4)].into());
        assert_eq!(listed(&store, "").len(), ODD.len());
    }
}

#[test]
fn what_is_not_there_is_not_copied() {
    let Some(job) = Job::new() else { return };
    let store = store(&job);
    let (from, to) = (key("from"), key("to"));
    assert!(!store.copy_plain(&from, &to).unwrap());
    assert!(job.bucket.objects().is_empty());
    // Deleted between the look and the copy.
    store.put_plain(&from, &file(&job, "file", "bytes"), &[]).unwrap();
    let gone = Fault::refusal(404, "NoSuchKey", "The specified key does not exist.");
    let plan = [Rule::new(Which { method: "PUT", target: "/to" }, When::Always, gone)];
    let (copied, _) = job.under(plan, || store.copy_plain(&from, &to));
    assert!(!copied.unwrap());
    assert!(store.copy_plain(&from, &from).unwrap(), "onto itself: nothing to do");
    assert!(!store.copy_plain(&to, &to).unwrap());
}

#[test]
fn copies_are_the_same_also_in_parts() {
    let Some(job) = Job::new() else { return };
    let bytes = Noise(3).bytes(12 << 20);
    let name = |name: &str| format!("{}/{name}", job.prefix);
    job.bucket.put_described(&name("from ä+"), bytes.clone());
    let described = job.bucket.metadata(&name("from ä+"));
    assert_eq!((&*described["commit"], &*described["Cache-Control"]), ("c0ffee", "no-cache"));
    let cut = store(&job).copying_in_parts(LEAST_PART, LEAST_PART);
    for (store, to, parts) in [(store(&job), "whole", 0), (cut, "in parts", 3)] {
        let (copied, log) = job.under([], || store.copy_plain(&key("from ä+"), &key(to)));
        assert!(copied.unwrap());
        assert_eq!(count(&log, "PUT", "partNumber="), parts, "{}", lines(&log));
        assert_eq!(count(&log, "GET", ""), 0, "the bytes stay there: {}", lines(&log));
        assert!(job.bucket.get(&name(to)) == bytes, "{to}");
        assert_eq!(job.bucket.metadata(&name(to)), described, "{to}");
    }
}

/// All parts are of one object, or there is no copy.
#[test]
fn a_source_that_is_replaced_is_not_mixed() {
    let Some(job) = Job::new() else { return };
    let store = store(&job).copying_in_parts(LEAST_PART, LEAST_PART);
    let name = format!("{}/from", job.prefix);
    job.bucket.put(&name, vec![1; 12 << 20]);
    let plan = [Rule::new(PARTS, When::First(3), Fault::slow_down())];
    let (copied, log) = job.under(plan, || {
        std::thread::scope(|threads| {
            let copy = threads.spawn(|| store.copy_plain(&key("from"), &key("to")));
            while job.bucket.uploads().is_empty() && !copy.is_finished() {}
            job.bucket.put(&name, vec![2; 12 << 20]);
            copy.join().unwrap()
        })
    });
    // Or it came after the last part.
    match copied {
        Ok(copied) => assert!(copied),
        Err(error) => {
            assert!(matches!(error.kind, StoreErrorKind::VersionMismatch), "{error}");
            assert_eq!(count(&log, "DELETE", "uploadId="), 1, "{}", lines(&log));
        }
    }
    assert_eq!(job.bucket.uploads(), [] as [String; 0]);
    if job.bucket.objects().contains_key(&format!("{}/to", job.prefix)) {
        assert!(job.bucket.get(&format!("{}/to", job.prefix)).iter().all(|byte| *byte == 1));
    }
}

/// A copy that takes long begins with a status of success.
#[test]
fn success_with_an_error_in_its_body_is_an_error() {
    let Some(job) = Job::new() else { return };
    let whole = store(&job);
    let cut = store(&job).copying_in_parts(LEAST_PART, LEAST_PART);
    let (from, to) = (key("from"), key("to"));
    whole.put_plain(&from, &file(&job, "file", vec![7; 6 << 20]), &[]).unwrap();
    let copies = Which { method: "PUT", target: "/to" };
    for store in [&whole, &cut] {
        let passing = [
            Fault::refusal(200, "InternalError", "Once more."),
            Fault::refusal(200, "SlowDown", "Slower."),
            Fault::Answer(Answer::new(200, "application/xml", "")),
            Fault::Answer(Answer::new(200, "application/xml", "<CopyObjectResult/>")),
        ];
        for fault in passing {
            let plan = [Rule::new(copies, When::First(1), fault.clone())];
            let (copied, log) = job.under(plan, || store.copy_plain(&from, &to));
            assert!(copied.unwrap(), "{fault:?}: {}", lines(&log));
            assert_eq!(listed(store, "to"), [("to".to_owned(), 6 << 20)].into(), "{fault:?}");
            store.delete_plain(std::slice::from_ref(&to)).unwrap();
        }
        let lasting = Fault::refusal(200, "AccessDenied", "No.");
        let plan = [Rule::new(copies, When::Always, lasting)];
        let (copied, _) = job.under(plan, || store.copy_plain(&from, &to));
        let error = copied.unwrap_err().to_string();
        assert!(error.contains("AccessDenied"), "{error}");
        assert_eq!(listed(store, "to"), BTreeMap::new());
    }
    assert_eq!(job.bucket.uploads(), [] as [String; 0]);
}

#[test]
fn all_pages_are_listed() {
    let Some(job) = Job::new() else { return };
    let store = store(&job);
    let path = file(&job, "file", "x");
    let keys: Vec<_> = (0..1010).map(|number| key(&format!("many/{number:04} ä"))).collect();
    std::thread::scope(|threads| {
        for share in keys.chunks(keys.len().div_ceil(8)) {
            let (store, path) = (&store, &path);
            threads.spawn(move || {
                for key in share {
                    store.put_plain(key, path, &[]).unwrap();
                }
            });
        }
    });
    let found: Vec<_> = store.list_plain("many/").unwrap().into_iter().map(|o| o.key).collect();
    assert_eq!(found, keys);
    // What is no plain key, such as a folder of S3's console, is passed over.
    job.bucket.put(&format!("{}/many/folder/", job.prefix), "");
    store.put(&ObjectKey::new("beside").unwrap(), "x".into(), PutMode::Create).unwrap();
    assert_eq!(store.list_plain("many/").unwrap().len(), keys.len());
    assert!(store.delete_plain(&keys).unwrap().is_empty());
    assert_eq!(listed(&store, ""), [("beside".to_owned(), 1)].into());
}

#[test]
fn long_files_are_put_in_parts_or_not_at_all() {
    let Some(job) = Job::new() else { return };
    let store = store(&job);
    let bytes = Noise(5).bytes((40 << 20) + 1);
    let path = file(&job, "long", &bytes);
    let name = format!("{}/long", job.prefix);
    let plan = [
        Rule::new(PARTS, When::Nth(1), Fault::refusal(500, "InternalError", "Once more.")),
        Rule::new(COMPLETE, When::First(1), Fault::LoseAnswer),
    ];
    let metadata = [("commit", "c0ffee")];
    let (put, log) = job.under(plan, || store.put_plain(&key("long"), &path, &metadata));
    assert_eq!(put.unwrap(), bytes.len() as u64);
    assert_eq!(count(&log, "PUT", "partNumber="), 3 + 1, "{}", lines(&log));
    assert!(job.bucket.get(&name) == bytes);
    assert_eq!(job.bucket.metadata(&name)["commit"], "c0ffee");

    let denied = Fault::refusal(403, "AccessDenied", "No.");
    let plan = [Rule::new(PARTS, When::Nth(1), denied)];
    let (put, log) = job.under(plan, || store.put_plain(&key("other"), &path, &[]));
    put.unwrap_err();
    assert_eq!(count(&log, "DELETE", "uploadId="), 1, "{}", lines(&log));
    assert_eq!(job.bucket.uploads(), [] as [String; 0]);
    assert_eq!(listed(&store, ""), [("long".to_owned(), bytes.len() as u64)].into());
}

/// What was read of a file that changes meanwhile is of no state that it had.
#[test]
fn a_file_that_changes_its_length_is_an_error() {
    let Some(job) = Job::new() else { return };
    let store = store(&job);
    for (name, len) in [("grows", 60 << 20), ("shrinks", 20 << 20)] {
        let path = job.sandbox.work(name);
        write(&path, "");
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        file.set_len(40 << 20).unwrap();
        // The last part waits until the file has changed.
        let plan = [Rule::new(PARTS, When::First(3), Fault::slow_down())];
        let (put, log) = job.under(plan, || {
            std::thread::scope(|threads| {
                let put = threads.spawn(|| store.put_plain(&key(name), &path, &[]));
                while job.bucket.uploads().is_empty() && !put.is_finished() {}
                file.set_len(len).unwrap();
                put.join().unwrap()
            })
        });
        let error = put.unwrap_err();
        assert!(matches!(error.kind, StoreErrorKind::File(_)), "{error}");
        let told = error.to_string();
        assert!(told.contains(path.to_str().unwrap()), "{told}");
        assert!(told.contains("its length changed"), "{told}");
        assert_eq!(job.bucket.uploads(), [] as [String; 0], "{}", lines(&log));
    }
    assert!(job.bucket.objects().is_empty());
}

#[test]
fn what_cannot_be_put_is_named() {
    let Some(mut job) = Job::new() else { return };
    job.prefix = "p".repeat(20);
    let store = store(&job);
    let (path, absent) = (file(&job, "file", "x"), job.sandbox.work("absent"));
    let error = store.put_plain(&key("k"), &absent, &[]).unwrap_err().to_string();
    assert!(error.starts_with("put k: cannot open "), "{error}");
    assert!(error.contains("absent"), "{error}");
    let error = store.put_plain(&key("k"), job.sandbox.work(".").as_path(), &[]).unwrap_err();
    assert!(error.to_string().contains("no regular file"), "{error}");
    for metadata in [("a b", "c"), ("", "c"), ("a", "ä"), ("a", "b\nc")] {
        let error = store.put_plain(&key("k"), &path, &[metadata]).unwrap_err();
        assert!(matches!(error.kind, StoreErrorKind::Io(_)), "{error}");
    }
    let long = key(&"k".repeat(1004));
    for error in [
        store.put_plain(&long, &path, &[]).unwrap_err(),
        store.copy_plain(&long, &key("k")).unwrap_err(),
        store.copy_plain(&key("k"), &long).unwrap_err(),
    ] {
        assert!(error.to_string().contains("1025 of at most 1024 bytes"), "{error}");
    }
    assert!(job.proxy.take_log().is_empty(), "nothing of that is sent");
    store.put_plain(&key(&"k".repeat(1003)), &path, &[]).unwrap();
}

/// Who pays and who owns the bucket is said with every request there is.
#[test]
fn every_request_says_what_the_location_asks() {
    let Some(job) = Job::new() else { return };
    let words = [
        ("request_payer", "requester"),
        ("expected_bucket_owner", "larder"),
        ("storage_class", "STANDARD"),
        ("tags", "team=a b+c"),
    ];
    let store = store_with(&job, &words).copying_in_parts(LEAST_PART, LEAST_PART);
    let denied = Fault::refusal(403, "AccessDenied", "No.");
    let plan = [Rule::new(Which { method: "PUT", target: "/refused" }, When::Always, denied)];
    let ((), log) = job.under(plan, || {
        let (short, long) = (file(&job, "s", "x"), file(&job, "l", vec![0; 17 << 20]));
        store.put_plain(&key("short"), &short, &[]).unwrap();
        store.put_plain(&key("long"), &long, &[]).unwrap();
        store.put_plain(&key("refused"), &long, &[]).unwrap_err();
        assert!(store.copy_plain(&key("short"), &key("short2")).unwrap());
        assert!(store.copy_plain(&key("long"), &key("long2")).unwrap());
        store.get(&ObjectKey::new("short").unwrap(), 10).unwrap();
        let keys: Vec<_> = listed(&store, "").keys().map(|text| key(text)).collect();
        assert_eq!(keys.len(), 4);
        store.delete_plain(&keys[..1]).unwrap();
        store.delete_plain(&keys[1..]).unwrap();
    });
    for entry in &log {
        let header = |name| entry.request.header(name);
        let (target, log) = (entry.request.target(), lines(&log));
        assert_eq!(header("x-amz-request-payer"), Some("requester"), "{target}: {log}");
        assert_eq!(header("x-amz-expected-bucket-owner"), Some("larder"), "{target}: {log}");
        let copies = header("x-amz-copy-source").is_some();
        assert_eq!(header("x-amz-source-expected-bucket-owner").is_some(), copies, "{target}");
        let is_part = target.contains("partNumber=");
        let makes = entry.is("PUT", "") && !is_part || entry.is("POST", "uploads");
        let tags = makes.then_some("team=a%20b%2Bc");
        assert_eq!(header("x-amz-tagging"), tags, "{target}");
        assert_eq!(header("x-amz-storage-class").is_some(), makes, "{target}");
        let directive = (copies && !is_part).then_some("REPLACE");
        assert_eq!(header("x-amz-tagging-directive"), directive, "{target}");
    }
    assert_eq!(count(&log, "DELETE", "uploadId="), 1, "{}", lines(&log));
}

/// The server has the key only while it answers, so each request must bring it.
#[test]
fn objects_are_encrypted_with_the_callers_key() {
    let Some(job) = Job::new() else { return };
    let Some((url, ca)) = job.bucket.server.tls() else { return };
    let secret = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
    let words = [("endpoint_url", &*url), ("ca_file", &ca), ("sse_customer_key", secret)];
    let store = store_with(&job, &words);
    let (short, long) = (Noise(1).bytes(1000), Noise(2).bytes((17 << 20) + 3));
    for (name, bytes) in [("short", &short), ("long", &long)] {
        store.put_plain(&key(name), &file(&job, name, bytes), &[("k", "v")]).unwrap();
        let object = store.get(&ObjectKey::new(name).unwrap(), 1 << 30).unwrap();
        assert!(object.body == bytes[..], "{name}");
    }
    let keyless = store_with(&job, &words[..2]);
    keyless.get(&ObjectKey::new("short").unwrap(), 1 << 30).unwrap_err();
    let cut = store_with(&job, &words).copying_in_parts(LEAST_PART, LEAST_PART);
    assert!(cut.copy_plain(&key("short"), &key("short2")).unwrap());
    assert!(cut.copy_plain(&key("long"), &key("long2")).unwrap());
    for (name, bytes) in [("short2", &short), ("long2", &long)] {
        let object = store.get(&ObjectKey::new(name).unwrap(), 1 << 30).unwrap();
        assert!(object.body == bytes[..], "{name}");
    }
    assert_eq!(listed(&store, "").len(), 4);
}

/// Says in a process of its own how much memory a put takes.
#[cfg(target_os = "linux")]
#[test]
fn a_file_that_is_put_is_not_held_in_memory() {
    const CHILD: &str = "LARDER_TEST_PUTS_A_LONG_FILE";
    const LEN: u64 = 384 << 20;
    let Some(job) = Job::new() else { return };
    if std::env::var_os(CHILD).is_none() {
        let test = "plain::a_file_that_is_put_is_not_held_in_memory";
        let mut child = Command::new(std::env::current_exe().unwrap());
        let status = child.args(["--exact", test]).env(CHILD, "1").status().unwrap();
        assert!(status.success());
        return;
    }
    let url = &job.bucket.server.endpoint;
    let store = store_with(&job, &[("endpoint_url", url)]);
    let path = file(&job, "sparse", "");
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(LEN).unwrap();
    assert_eq!(store.put_plain(&key("sparse"), &path, &[]).unwrap(), LEN);
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    // Four parts of 16 MiB, the program, and room for what allocators keep.
    assert!(peak << 10 < LEN / 2, "{peak} kB at most were in use");
}
