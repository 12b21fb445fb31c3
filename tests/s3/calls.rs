//! Calls of the store's contract whose requests go wrong: deletes on a condition,
//! and the time of day.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use larder::store::{ObjectKey, PutMode, Store, StoreErrorKind, Version, WireRequests};

use crate::http::Answer;
use crate::proxy::plan::{Fault, Rule, When, Which};
use crate::support::{Job, count, lines, struck};

const DELETES: Which = Which { method: "DELETE", target: "" };
const HEADS: Which = Which { method: "HEAD", target: "" };

fn key() -> ObjectKey {
    ObjectKey::new("some/object").unwrap()
}

fn store(job: &Job) -> Arc<dyn Store> {
    let keys = &job.bucket.server.keys;
    let (id, secret) = (&keys.access_key, &keys.secret_key);
    let location = job.location();
    larder::store::open(&format!("{location}&access_key_id={id}&secret_access_key={secret}"))
        .unwrap()
}

/// A store with an object, put once before.
fn with_object() -> Option<(Job, Arc<dyn Store>, Version)> {
    let job = Job::new()?;
    let store = store(&job);
    store.put(&key(), "old".into(), PutMode::Overwrite).unwrap();
    let version = store.put(&key(), "new".into(), PutMode::Overwrite).unwrap();
    Some((job, store, version))
}

fn is_there(store: &dyn Store) -> bool {
    match store.head(&key()) {
        Ok(_) => true,
        Err(error) if error.is_not_found() => false,
        Err(error) => panic!("{error}"),
    }
}

fn not_there() -> Fault {
    Fault::refusal(404, "NoSuchKey", "The specified key does not exist.")
}

/// The object is gone when the delete is repeated: it was this very delete.
#[test]
fn a_conditional_delete_whose_answer_is_lost_is_done() {
    for fault in [Fault::LoseAnswer, Fault::refusal(500, "InternalError", "Try again.")] {
        let Some((job, store, version)) = with_object() else { return };
        let before = store.wire_requests().unwrap();
        let is_lost = matches!(fault, Fault::LoseAnswer);
        let mut plan = vec![Rule::new(DELETES, When::First(1), fault)];
        if !is_lost {
            // What says so may have been carried out all the same.
            plan.push(Rule::new(HEADS, When::Nth(1), not_there()));
        }
        let (result, log) = job.under(plan, || store.delete_if_match(&key(), &version));
        result.unwrap();
        assert_eq!(count(&log, "HEAD", ""), 2, "{}", lines(&log));
        assert_eq!(count(&log, "DELETE", ""), 1, "{}", lines(&log));
        assert_eq!(is_there(&*store), !is_lost);
        let WireRequests { get, delete, retries, .. } = store.wire_requests().unwrap();
        let sent = (get - before.get, delete - before.delete, retries - before.retries);
        assert_eq!(sent, (3, 1, 1), "with the last look");
    }
}

/// The answer is lost, and the next one; the object stays gone.
#[test]
fn an_answer_that_is_lost_twice_is_no_mismatch() {
    let Some((job, store, version)) = with_object() else { return };
    let plan = [
        Rule::new(DELETES, When::First(1), Fault::ResetBeforeRequest),
        Rule::new(DELETES, When::First(1), Fault::LoseAnswer),
        Rule::new(HEADS, When::Nth(2), Fault::slow_down()),
    ];
    let (result, log) = job.under(plan, || store.delete_if_match(&key(), &version));
    result.unwrap();
    assert_eq!(struck(&log), 3, "{}", lines(&log));
    assert!(!is_there(&*store));
}

/// A delete that was refused deleted nothing: whoever did, it was not this one.
#[test]
fn what_is_gone_after_a_refusal_is_a_mismatch() {
    let Some((job, store, version)) = with_object() else { return };
    for refusal in [Fault::slow_down(), Fault::conflict()] {
        let plan = [
            Rule::new(DELETES, When::First(1), refusal),
            Rule::new(HEADS, When::Nth(1), not_there()),
        ];
        let (result, log) = job.under(plan, || store.delete_if_match(&key(), &version));
        let error = result.unwrap_err();
        assert!(matches!(error.kind, StoreErrorKind::VersionMismatch), "{error}");
        assert_eq!(struck(&log), 2, "{}", lines(&log));
        assert!(is_there(&*store));
    }
}

/// The object that somebody put after the answer was lost is not this call's to
/// delete.
#[test]
fn what_is_put_after_a_lost_answer_stays() {
    let Some((job, store, version)) = with_object() else { return };
    let name = format!("{}/{}", job.prefix, key());
    let plan = [
        Rule::new(DELETES, When::First(1), Fault::LoseAnswer),
        // Time to put it, before the second look.
        Rule::new(HEADS, When::Nth(1), Fault::slow_down()),
        Rule::new(HEADS, When::Nth(1), Fault::slow_down()),
        Rule::new(HEADS, When::Nth(1), Fault::slow_down()),
    ];
    let (result, log) = job.under(plan, || {
        std::thread::scope(|threads| {
            let delete = threads.spawn(|| store.delete_if_match(&key(), &version));
            while !job.bucket.keys_with("some/object").is_empty() && !delete.is_finished() {}
            job.bucket.put(&name, "somebody else's");
            delete.join().unwrap()
        })
    });
    // Or it came after the second look, which saw that the object was gone.
    if let Err(error) = result {
        assert!(matches!(error.kind, StoreErrorKind::VersionMismatch), "{error}");
    }
    assert_eq!(count(&log, "DELETE", ""), 1, "{}", lines(&log));
    assert_eq!(job.bucket.get(&name), b"somebody else's");
}

/// The look is what such a server leaves of the condition.
#[test]
fn a_server_without_conditional_deletes_is_asked_first() {
    let Some((job, store, version)) = with_object() else { return };
    let old = Version::new("\"somebody's\"");
    let lacks = Fault::refusal(501, "NotImplemented", "A header is not implemented.");
    let plan = [Rule::new(DELETES, When::First(1), lacks)];
    let (_, log) = job.under(plan, || {
        assert!(store.delete_if_match(&key(), &old).unwrap_err().is_conflict());
        store.delete_if_match(&key(), &version).unwrap();
    });
    let conditions = |log: &[crate::proxy::Entry]| -> Vec<bool> {
        let deletes = log.iter().filter(|entry| entry.is("DELETE", ""));
        deletes.map(|entry| entry.request.header("if-match").is_some()).collect()
    };
    assert_eq!(conditions(&log), [true, false], "{}", lines(&log));
    assert!(!is_there(&*store));
    assert!(store.has_conditional_writes(), "puts are another matter");

    let version = store.put(&key(), "again".into(), PutMode::Create).unwrap();
    let (_, log) = job.under([], || store.delete_if_match(&key(), &version).unwrap());
    assert_eq!(conditions(&log), [false], "it is not asked again: {}", lines(&log));
}

/// Any answer tells the time; a store that had none yet asks once.
#[test]
fn the_time_is_that_of_the_last_answer() {
    let Some(job) = Job::new() else { return };
    let store = store(&job);
    let (first, log) = job.under([], || store.now().unwrap());
    let (second, more) = job.under([], || store.now().unwrap());
    assert_eq!((count(&log, "HEAD", ""), log.len()), (1, 1), "{}", lines(&log));
    assert_eq!((more.len(), store.wire_requests().unwrap().get), (0, 1));
    assert!(first <= second);

    let date = |text: &str| match not_there() {
        Fault::Answer(answer) => Fault::Answer(answer.with("Date", &text)),
        other => other,
    };
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
    let plan = [Rule::always(date("Sun, 06 Nov 1994 08:49:37 GMT"))];
    job.under(plan, || store.head(&key()).unwrap_err());
    let since = store.now().unwrap().duration_since(then).unwrap();
    assert!(since < Duration::from_secs(60), "{since:?}");
    let plan = [Rule::always(date("now"))];
    job.under(plan, || store.head(&key()).unwrap_err());
    assert!(store.now().unwrap().duration_since(then).unwrap() >= since, "no date, no news");
}

#[test]
fn a_service_that_tells_no_time_is_told_of() {
    let Some(job) = Job::new() else { return };
    let silent = Answer::new(404, "application/xml", "");
    for answer in [silent.clone(), silent.with("Date", &"half past nine")] {
        let store = store(&job);
        let plan = [Rule::always(Fault::Answer(answer))];
        let (result, _) = job.under(plan, || store.now());
        let error = result.unwrap_err().to_string();
        assert!(error.starts_with("tell the time of s3://"), "{error}");
        assert!(error.contains("no header Date"), "{error}");
    }
    // A failure of another kind is told as such.
    let plan = [Rule::always(Fault::refusal(403, "AccessDenied", "No."))];
    let (result, _) = job.under(plan, || store(&job).now());
    let error = result.unwrap_err();
    assert!(error.to_string().contains("permission denied"), "{error}");
}
