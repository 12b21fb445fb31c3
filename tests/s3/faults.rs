//! Networks and servers that fail: the outcome is the one without failures, or
//! an error; never a wrong byte, and never a cache that cannot be restored.
//!
//! Each kind of failure strikes each request of a save and of a restore in
//! turn.

use std::process::Stdio;
use std::time::Duration;

use crate::proxy::Entry;
use crate::proxy::plan::{Fault, Rule, When, Which};
use crate::sandbox::{Noise, assert_same, contents, stage_areas, wait, write};
use crate::support::{Job, MANIFESTS, PACKS, count, lines, struck};

const ANY: Which = Which { method: "", target: "" };
const PUTS: Which = Which { method: "PUT", target: "" };
const OF_PACKS: Which = Which { method: "GET", target: PACKS };
const OF_MANIFESTS: Which = Which { method: "GET", target: MANIFESTS };
const OF_DELTAS: Which = Which { method: "GET", target: "/index/deltas/" };

/// What a failure must have led to.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// Another attempt.
    Retry,
    /// Another attempt, if there was anything to notice: an answer without a
    /// body has no middle in which it could break off.
    RetryOfBodies,
}

/// Strikes each request of a save and of a restore in turn, each time in a store
/// that holds one cache already.
#[track_caller]
fn each_request(fault: &Fault, which: Which, then: Then) {
    let Some(mut job) = Job::with_tree() else { return };
    let plan = |number| [Rule::new(which, When::Nth(number), fault.clone())];
    let mut number = 0;
    loop {
        job.prefix = format!("store{number}");
        job.save("before");
        write(job.tree().join("new"), Noise(1000 + number as u64).bytes(100_000));
        let (_, save) = job.under(plan(number), || job.save("k"));
        noticed(&save, then);
        let packs = job.bucket.keys_with(&format!("{}{PACKS}", job.prefix));
        assert_eq!(packs.len(), 2, "one of each save, and no other: {}", lines(&save));

        let other = job.elsewhere();
        let (_, restore) = other.under(plan(number), || other.restore("k", "out"));
        noticed(&restore, then);
        assert_same(&job.tree(), &other.sandbox.path("out/tree"));
        if struck(&save) + struck(&restore) == 0 {
            break;
        }
        number += 1;
    }
    assert!(number > 0, "the failure never struck");
}

#[track_caller]
fn noticed(log: &[Entry], then: Then) {
    let Some(at) = log.iter().position(|entry| entry.fault.is_some()) else { return };
    let hit = &log[at];
    let has_body = hit.received > 0 && hit.status.is_some_and(|status| status < 300);
    if then == Then::RetryOfBodies && !has_body {
        return;
    }
    let again = log[at + 1..].iter().any(|later| same_object(later, hit));
    assert!(again, "it was not asked for again: {}", lines(log));
}

/// Whether two requests are for the same object or listing: a lost put may be
/// looked at before it is repeated, and the rest of a body has another range.
fn same_object(a: &Entry, b: &Entry) -> bool {
    let path = |entry: &Entry| {
        let target = entry.request.target();
        target.replace("?x-id=GetObject", "").replace("?x-id=PutObject", "")
    };
    path(a) == path(b)
}

macro_rules! each_request {
    ($($name:ident: $fault:expr, $which:expr, $then:expr;)+) => {$(
        #[test]
        fn $name() {
            each_request(&$fault, $which, $then);
        }
    )+};
}

each_request! {
    slow_down: Fault::slow_down(), ANY, Then::Retry;
    slow_down_with_a_time: retry_after(), OF_PACKS, Then::Retry;
    internal_error: Fault::refusal(500, "InternalError", "Please try again."), ANY, Then::Retry;
    too_many_requests: Fault::refusal(429, "TooManyRequests", "Slower."), ANY, Then::Retry;
    bad_gateway: Fault::html(502), ANY, Then::Retry;
    reset_before_the_request: Fault::ResetBeforeRequest, ANY, Then::Retry;
    reset_in_the_request: Fault::ResetInRequest, ANY, Then::Retry;
    lost_answer: Fault::LoseAnswer, ANY, Then::Retry;
    reset_in_the_answer: Fault::ResetInAnswer, ANY, Then::RetryOfBodies;
    truncated_answer: Fault::TruncateAnswer, ANY, Then::RetryOfBodies;
    conflict: Fault::conflict(), PUTS, Then::Retry;
    corrupt_manifest: Fault::CorruptAnswer, OF_MANIFESTS, Then::Retry;
    corrupt_delta: Fault::CorruptAnswer, OF_DELTAS, Then::Retry;
    corrupt_pack: Fault::CorruptAnswer, OF_PACKS, Then::Retry;
}

/// A server that says how long it wants to be left alone.
fn retry_after() -> Fault {
    match Fault::slow_down() {
        Fault::Answer(answer) => Fault::Answer(answer.with("Retry-After", &1)),
        other => other,
    }
}

/// A server that needs a rest is given one, in every part of the work.
#[test]
fn storms_are_outlived() {
    let Some(job) = Job::with_tree() else { return };
    for which in [ANY, PUTS, OF_MANIFESTS] {
        let key = format!("k{}", which.method.len() + which.target.len());
        let storm = || vec![Rule::new(which, When::First(6), Fault::slow_down())];
        let (_, log) = job.under(storm(), || job.save(&key));
        assert!(struck(&log) > 0 || which.method == "GET", "{}", lines(&log));
        let other = job.elsewhere();
        let (_, log) = other.under(storm(), || other.restore(&key, "out"));
        assert!(struck(&log) == 6 || which.method == "PUT", "{}", lines(&log));
        assert_same(&job.tree(), &other.sandbox.path("out/tree"));
    }
}

/// One request in twenty fails, in one of the ways that are common, while a tree
/// changes from job to job.
#[test]
fn five_percent_of_requests_fail() {
    let Some(job) = Job::new() else { return };
    let faults = [
        (2, Fault::slow_down()),
        (1, Fault::ResetBeforeRequest),
        (1, Fault::LoseAnswer),
        (1, Fault::TruncateAnswer),
    ];
    let plan = |seed: u64| -> Vec<Rule> {
        let rules = faults.iter().zip(seed..);
        rules
            .map(|((percent, fault), seed)| {
                Rule::new(ANY, When::Percent(*percent, Noise(seed)), fault.clone())
            })
            .collect()
    };
    let other = job.elsewhere();
    job.proxy.plan(plan(10));
    other.proxy.plan(plan(20));
    for round in 0..12 {
        for file in 0..40 {
            let path = job.tree().join(format!("part{}/{file}", round % 4));
            write(path, Noise(round * 100 + file).bytes(5000));
        }
        job.save(&format!("k{round}"));
        let out = format!("out{round}");
        other.restore(&format!("k{round}"), &out);
        assert_same(&job.tree(), &other.sandbox.path(out).join("tree"));
    }
    for machine in [&job, &other] {
        let log = machine.proxy.take_log();
        assert!(struck(&log) > 1, "{}", lines(&log));
    }
    other.proxy.plan([]);
    let verified = other.larder(["--json", "verify", "--read-data"]).ok().json();
    assert_eq!(verified["manifests"], 12);
    assert_eq!(verified["problems"], serde_json::json!([]));
}

/// Who wins a race between conditional puts is open when a server answers 409:
/// the object need not be there.
#[test]
fn a_conflict_is_never_taken_for_present() {
    let Some(job) = Job::with_tree() else { return };
    let plan = [Rule::new(PUTS, When::First(3), Fault::conflict())];
    let (_, log) = job.under(plan, || job.save("k"));
    assert_eq!(struck(&log), 3, "{}", lines(&log));
    for entry in log.iter().filter(|entry| entry.fault.is_some()) {
        let name = entry.request.target().split('?').next().unwrap();
        let key = name.trim_start_matches('/').split_once('/').unwrap().1;
        assert!(job.bucket.objects().contains_key(key), "{key} is not there");
    }
    job.assert_restorable("k");
}

/// The answer to a put is lost, and so is what would have told that it worked.
#[test]
fn a_lost_answer_and_a_lost_question() {
    let Some(job) = Job::with_tree() else { return };
    let heads = Which { method: "HEAD", target: "" };
    for number in 0..4 {
        let key = format!("k{number}");
        write(job.tree().join("new"), Noise(500 + number as u64).bytes(100_000));
        let plan = [
            Rule::new(PUTS, When::Nth(number), Fault::LoseAnswer),
            Rule::new(heads, When::First(2), Fault::slow_down()),
        ];
        job.under(plan, || job.save(&key));
        job.assert_restorable(&key);
    }
    assert_eq!(job.bucket.keys_with(PACKS).len(), 4, "no pack was put twice");
}

/// A server that takes a request and never answers, or a byte at a time.
#[test]
fn silence_is_not_waited_for() {
    let Some(job) = Job::with_tree() else { return };
    job.save("k");
    let impatient = job.location() + "&read_timeout=1s";
    for (number, fault) in
        [Fault::Hang, Fault::DripAnswer(Duration::from_millis(50))].into_iter().enumerate()
    {
        let out = job.sandbox.path(format!("out{number}"));
        let mut restore =
            job.command(["restore", "--key", "k", "--fail-on-miss", "--to", out.to_str().unwrap()]);
        restore.env("LARDER_STORE", &impatient);
        let plan = [Rule::new(OF_PACKS, When::First(1), fault)];
        let (_, log) = job.under(plan, || job.run(&mut restore).ok());
        assert!(count(&log, "GET", PACKS) > 1, "{}", lines(&log));
        assert_same(&job.tree(), &out.join("tree"));
    }
}

/// A request that nobody answered went on for as long as the server was given,
/// and the command then said that the store had failed.
#[test]
fn an_interrupt_ends_what_hangs() {
    let Some(job) = Job::with_tree() else { return };
    let mut save = job.command(["save", "--key", "k", "tree"]);
    // Longer than this test waits.
    save.env("LARDER_STORE", job.location() + "&read_timeout=1h");
    let (code, log) = job.under([Rule::always(Fault::Hang)], || {
        let mut child = save.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while !job.proxy.is_asked() {
            std::thread::sleep(Duration::from_millis(10));
        }
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
        wait(&mut child)
    });
    assert_eq!(code, Some(130), "{}", lines(&log));
}

/// What never comes right is never written: the restore fails, and all is as it
/// was.
#[test]
fn wrong_bytes_are_not_written() {
    let Some(job) = Job::with_tree() else { return };
    job.save("k");
    let other = job.elsewhere();
    write(other.tree().join("mine"), "what was there before");
    let before = contents(&other.sandbox.path("work"));
    for which in [OF_PACKS, OF_MANIFESTS] {
        let plan = [Rule::new(which, When::Always, Fault::CorruptAnswer)];
        let (run, log) =
            other.under(plan, || other.larder(["restore", "--key", "k", "--fail-on-miss"]));
        assert!(matches!(run.code, Some(4 | 5)), "{run:?}");
        assert!(run.stderr.contains("error["), "{run:?}");
        assert!(struck(&log) > 0, "{}", lines(&log));
        assert_eq!(contents(&other.sandbox.path("work")), before);
        assert_eq!(stage_areas(&other.sandbox.path("work")), [] as [std::path::PathBuf; 0]);
    }
    other.restore("k", "out");
    assert_same(&job.tree(), &other.sandbox.path("out/tree"));
}

/// A server that is far away gets the same requests.
#[test]
fn latency_adds_no_requests() {
    let Some(job) = Job::with_tree() else { return };
    job.save("k");
    let [near, far] =
        [vec![], vec![Rule::always(Fault::Delay(Duration::from_millis(25)))]].map(|plan| {
            let (_, save) = job.under(plan.clone(), || job.save("k"));
            let other = job.elsewhere();
            let (_, restore) = other.under(plan, || other.restore("k", "out"));
            assert_same(&job.tree(), &other.sandbox.path("out/tree"));
            (save.len(), restore.len())
        });
    assert_eq!(near, far);
}
