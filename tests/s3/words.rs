//! Words of a store's location that change what larder does, and abilities that
//! a server may lack.

use larder::store::{ObjectKey, PutMode, Store, StoreErrorKind};

use crate::http::Answer;
use crate::proxy::plan::{Fault, Rule, When, Which};
use crate::sandbox::{Noise, assert_same, write};
use crate::support::{Job, MANIFESTS, PACKS, count, lines};

const PUTS: Which = Which { method: "PUT", target: "" };
const ANY: Which = Which { method: "", target: "" };

/// buildx's `name` may hold several: a save writes all, a restore takes the
/// first that is there.
#[test]
fn names_stand_for_keys() {
    let Some(job) = Job::with_tree() else { return };
    let named = |names: &str| format!("{}&name={names}", job.location());
    let mut save = job.command(["--json", "save", "tree"]);
    let report = job.run(save.env("LARDER_STORE", named("main;fallback"))).ok().json();
    assert_eq!(report["key"], "main");
    let listed = job.larder(["--json", "list"]).ok().json();
    let mut keys: Vec<_> =
        listed["caches"].as_array().unwrap().iter().map(|c| c["key"].as_str().unwrap()).collect();
    keys.sort_unstable();
    assert_eq!(keys, ["fallback", "main"]);

    let other = job.elsewhere();
    let mut restore = other.command(["--json", "restore", "--to", "out"]);
    let report = other.run(restore.env("LARDER_STORE", named("absent;fallback"))).ok().json();
    assert_eq!((&report["key"], &report["hit"]), (&"fallback".into(), &"exact".into()));
    assert_same(&job.tree(), &other.sandbox.work("out/tree"));
    // A key that is given goes before; without either there is nothing to do.
    let mut restore = other.command(["--json", "restore", "--key", "main", "--to", "again"]);
    let report = other.run(restore.env("LARDER_STORE", named("fallback"))).ok().json();
    assert_eq!(report["key"], "main");
    job.larder(["save", "tree"]).exits(2).says("no key is given");
}

/// Whatever fails for the store's sake is a warning then; what the user did
/// wrong is not.
#[test]
fn errors_of_the_store_are_ignored_if_asked() {
    let Some(job) = Job::with_tree() else { return };
    let denied = || vec![Rule::always(Fault::refusal(403, "AccessDenied", "No."))];
    for arguments in [vec!["save", "--key", "k", "tree"], vec!["restore", "--key", "k"]] {
        let mut by_word = job.command(&arguments);
        by_word.env("LARDER_STORE", format!("{}&ignore-error=true", job.location()));
        let (run, _) = job.under(denied(), || job.run(&mut by_word));
        run.exits(0).says("warning: ").says("permission denied");
        let mut by_flag = job.command(&arguments);
        let (run, _) = job.under(denied(), || job.run(by_flag.arg("--ignore-error")));
        run.exits(0).says("warning: ");
        let (run, _) = job.under(denied(), || job.larder(&arguments));
        run.exits(7).says("error[L0512]: ");
    }
    let mut missing = job.command(["save", "--key", "k", "nowhere", "--ignore-error"]);
    job.run(&mut missing).exits(1).says("there is nothing to save");
    // Other commands have nothing to go on with.
    let (run, _) = job.under(denied(), || job.larder(["--ignore-error", "list"]));
    run.exits(7);
}

/// A job does not wait for a store longer than it was told to.
#[test]
fn a_timeout_ends_the_command() {
    let Some(job) = Job::with_tree() else { return };
    let plan = vec![Rule::always(Fault::Hang)];
    let (run, _) = job
        .under(plan, || job.larder(["--timeout", "1s", "restore", "--key", "k", "--fail-on-miss"]));
    run.exits(5).says("--timeout");
}

/// Where the location names no region, the bucket does.
#[test]
fn the_region_of_the_bucket_is_found() {
    let Some(job) = Job::with_tree() else { return };
    let body = "<Error><Code>PermanentRedirect</Code><Message>Elsewhere.</Message></Error>";
    let elsewhere =
        Answer::new(301, "application/xml", body).with("x-amz-bucket-region", &"eu-west-3");
    let mut save = job.command(["save", "--key", "k", "tree"]);
    save.env("LARDER_STORE", format!("s3://{}/{}", job.bucket.name, job.prefix))
        .env("AWS_ENDPOINT_URL", job.proxy.url());
    // As many requests as are made at once, before the first answer is there.
    let plan = vec![Rule::new(ANY, When::First(2), Fault::Answer(elsewhere))];
    let (run, log) = job.under(plan, || job.run(&mut save));
    // The server checks signatures against the region that they name: what was
    // redirected is signed for the region that it was told. Requests that were under way
    // by then, of which a busy machine lets there be more, are still signed for the first.
    let signed_for = |region: &str| {
        let scope = format!("/{region}/s3/");
        let names = |value: &str| value.contains(&scope);
        log.iter().filter(|entry| entry.request.header("authorization").is_some_and(names)).count()
    };
    assert!(signed_for("us-east-1") >= 1, "{}", lines(&log));
    assert!(signed_for("eu-west-3") >= 1, "{}", lines(&log));
    drop(run);
}

/// A server that has no conditional puts says so; larder looks before it puts,
/// and says what is lost.
#[test]
fn a_server_without_conditional_puts() {
    let Some(job) = Job::with_tree() else { return };
    let lacks = Fault::refusal(501, "NotImplemented", "A header is not implemented.");
    let plan = vec![Rule::new(PUTS, When::First(1), lacks)];
    let (run, log) = job.under(plan, || job.larder(["save", "--key", "k", "tree"]));
    run.exits(0).says("warning: the store has no conditional writes");
    assert!(count(&log, "HEAD", "") > 0, "{}", lines(&log));
    job.assert_restorable("k");
    // Who knows is not told, and nothing is tried that is known to fail.
    write(job.tree().join("more"), b"more");
    let mut save = job.command(["save", "--key", "k2", "tree"]);
    save.env("LARDER_STORE", format!("{}&conditional_writes=false", job.location()));
    let (run, log) = job.under(vec![], || job.run(&mut save));
    let run = run.exits(0);
    assert!(!run.stderr.contains("warning"), "{run:?}");
    for entry in log.iter().filter(|entry| entry.is("PUT", "")) {
        assert!(entry.request.header("if-none-match").is_none(), "{}", lines(&log));
    }
    job.assert_restorable("k2");
}

/// Objects too long for one request are put in parts, and all or nothing.
#[test]
fn long_objects_are_put_in_parts() {
    let Some(job) = Job::new() else { return };
    let keys = &job.bucket.server.keys;
    let location = format!(
        "{}&access_key_id={}&secret_access_key={}",
        job.location(),
        keys.access_key,
        keys.secret_key
    );
    let store = larder::store::open(&location).unwrap();
    let key = ObjectKey::new("long").unwrap();
    let body = bytes::Bytes::from(Noise(7).bytes(70 << 20));
    let refused = Fault::refusal(500, "InternalError", "Once more.");
    let parts = Which { method: "PUT", target: "partNumber=" };
    let plan = vec![Rule::new(parts, When::Nth(2), refused.clone())];
    let (put, log) = job.under(plan, || store.put(&key, body.clone(), PutMode::Create));
    put.unwrap();
    assert_eq!(count(&log, "PUT", "partNumber="), 5 + 1, "{}", lines(&log));
    let len = body.len() as u64;
    assert_eq!(store.head(&key).unwrap().len, len);
    assert!(store.get_range(&key, 0..len).unwrap() == body);

    let again = store.put(&key, body.clone(), PutMode::Create).unwrap_err();
    assert!(matches!(again.kind, StoreErrorKind::AlreadyExists), "{again}");

    // What fails leaves no parts behind that somebody pays for.
    let denied = Fault::refusal(403, "AccessDenied", "No.");
    let plan = vec![Rule::new(parts, When::Nth(3), denied)];
    let other = ObjectKey::new("other").unwrap();
    let (put, log) = job.under(plan, || store.put(&other, body, PutMode::Create));
    put.unwrap_err();
    assert_eq!(count(&log, "DELETE", "uploadId="), 1, "{}", lines(&log));
    assert!(store.head(&other).unwrap_err().is_not_found());
}

/// A machine that keeps chunks asks the store for the manifest alone.
#[test]
fn chunks_kept_on_the_machine_are_not_fetched() {
    let Some(job) = Job::with_tree() else { return };
    let kept = |arguments: &[&str]| {
        let mut command = job.command(arguments);
        command.env("LARDER_LOCAL_CACHE", job.sandbox.path("kept"));
        job.run(&mut command).ok().json()
    };
    kept(&["--json", "save", "--key", "k", "tree"]);
    let (report, log) =
        job.under(vec![], || kept(&["--json", "restore", "--key", "k", "--to", "out"]));
    assert_eq!(report["fetched_bytes"], 0);
    assert!(report["local_cache_bytes"].as_u64().unwrap() > 0);
    assert_eq!(count(&log, "GET", PACKS), 0, "{}", lines(&log));
    assert_eq!(count(&log, "GET", MANIFESTS), 1, "{}", lines(&log));
    assert_same(&job.tree(), &job.sandbox.work("out/tree"));
}

/// The doctor tells what a server can do, and leaves nothing behind.
#[test]
fn the_doctor_examines_a_server() {
    let Some(job) = Job::new() else { return };
    let report = job.larder(["--json", "doctor"]).ok().json();
    assert_eq!(report["works"], true);
    let verdicts = |report: &serde_json::Value| -> Vec<(String, String)> {
        let findings = report["findings"].as_array().unwrap().iter();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        findings.map(|f| (text(&f["ability"]), text(&f["verdict"]))).collect()
    };
    // Which conditional deletes a server honours is the server's own affair: RGW
    // 20 compares before it deletes.
    let odd = |(ability, verdict): &&(String, String)| {
        verdict != "ok" && !(ability == "conditional delete" && verdict == "lacking")
    };
    assert_eq!(verdicts(&report).iter().find(odd), None, "{report}");
    assert_eq!(job.bucket.keys_with(""), [] as [String; 0]);

    // A server that takes every put, whatever its conditions.
    let lacks = Fault::refusal(501, "NotImplemented", "A header is not implemented.");
    let plan = vec![Rule::new(PUTS, When::Nth(1), lacks)];
    let (report, _) = job.under(plan, || job.larder(["--json", "doctor"]).ok().json());
    let found = verdicts(&report);
    assert!(found.contains(&("conditional create".into(), "lacking".into())), "{report}");
    assert_eq!(report["works"], true);

    // One that lets nobody delete cannot be used for good, and it is said why.
    let denied = Fault::refusal(403, "AccessDenied", "No.");
    let plan = vec![Rule::new(Which { method: "DELETE", target: "" }, When::Always, denied)];
    let (run, _) = job.under(plan, || job.larder(["doctor"]));
    run.exits(7).says("permission denied").says("s3:DeleteObject");
}
