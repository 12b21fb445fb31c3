//! Pull requests under the policies of `docs/trust.md`: what they can do, and what they
//! cannot. The proxy refuses what the policies do not allow, whatever the server; where
//! the server is Ceph's, it has to refuse most of it by itself.

use std::process::Command;
use std::sync::OnceLock;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::http::Head;
use crate::policy::{allows, of_bucket, of_the_page};
use crate::proxy::Entry;
use crate::proxy::plan::{Fault, Rule};
use crate::sandbox::{Noise, Run, assert_same, write};
use crate::support::{Job, count, lines, struck};

macro_rules! policy {
    ($name:ident, $heading:literal) => {
        fn $name(request: &Head) -> bool {
            static POLICY: OnceLock<Value> = OnceLock::new();
            allows(POLICY.get_or_init(|| of_the_page($heading)), request)
        }
    };
}

const OF_PULL_REQUESTS: &str = "The role of pull requests";

policy!(main_may, "The role of the main branch");
policy!(pull_requests_may, "The role of pull requests");
policy!(flush_may, "The role of the nightly flush");

/// Refuses what a role may not do.
fn role(may: fn(&Head) -> bool) -> [Rule; 1] {
    [Rule::unless(may, Fault::refusal(403, "AccessDenied", "Access Denied"))]
}

/// A job with a tree, in a bucket that is the store, as the page has it.
fn job() -> Option<Job> {
    let job = Job { prefix: String::new(), ..Job::with_tree()? };
    write(
        job.sandbox.work("larder.toml"),
        "fallback-scopes = ['main']\ntrusted-scopes = ['main']\n\
         [cache.t]\nkey = 't-1'\npaths = ['tree']\n",
    );
    Some(job)
}

impl Job {
    /// A command of a scope's job. A use is noted at once, not once a day.
    fn of_scope(&self, scope: &str, arguments: &[&str]) -> Command {
        let mut command = self.command(arguments);
        let location = format!("{}&touch_refresh=1ms", self.location());
        command.env("LARDER_STORE", location).env("LARDER_SCOPE", scope);
        command
    }

    /// Runs one with a role's rights, and gives what was refused.
    #[track_caller]
    fn as_role(
        &self,
        may: fn(&Head) -> bool,
        scope: &str,
        arguments: &[&str],
    ) -> (Run, Vec<Entry>) {
        let mut command = self.of_scope(scope, arguments);
        let (run, log) = self.under(role(may), || self.run(&mut command));
        (run, log.into_iter().filter(|entry| entry.fault.is_some()).collect())
    }

    /// The same, if nothing may be refused.
    #[track_caller]
    fn allowed(&self, may: fn(&Head) -> bool, scope: &str, arguments: &[&str]) -> Value {
        let (run, refused) = self.as_role(may, scope, arguments);
        let run = run.ok();
        assert!(refused.is_empty(), "{}", lines(&refused));
        assert_eq!(run.stderr, "");
        run.json()
    }
}

const SAVE: &[&str] = &["--json", "save", "--no-stat-record", "--key", "k", "tree"];

fn restore(to: &str) -> [&str; 7] {
    ["--json", "restore", "--fail-on-miss", "--key", "k", "--to", to]
}

/// Servers tell times in seconds: from now on, what was used before was so some time ago.
fn a_second_later() {
    thread::sleep(Duration::from_millis(1_100));
}

#[test]
fn a_pull_request_saves_and_restores_under_the_documented_policy() {
    let Some(job) = job() else { return };
    let whole = job.allowed(main_may, "main", SAVE);
    let manifest = job.bucket.get("manifests/main/k");

    a_second_later();
    // What main has saved is restored; that it was used is not noted, and not told.
    let (run, refused) = job.as_role(pull_requests_may, "pr-7", &restore("first"));
    let run = run.ok();
    assert_eq!((run.stderr.as_str(), &run.json()["matched_scope"]), ("", &"main".into()));
    assert_eq!(count(&refused, "PUT", "/manifests/main/k"), 1, "{}", lines(&refused));
    assert_eq!(refused.len(), 1, "{}", lines(&refused));
    assert_same(&job.tree(), &job.sandbox.work("first/tree"));

    // What it changes is saved, and found by its next run, which saves again.
    write(job.tree().join("new"), Noise(8).bytes(200_000));
    let saved = job.allowed(pull_requests_may, "pr-7", SAVE);
    let new = saved["new_chunks"].as_u64().unwrap();
    assert!(new > 0 && new < whole["chunks"].as_u64().unwrap(), "{saved}");
    let found = job.allowed(pull_requests_may, "pr-7", &restore("second"));
    assert_eq!(found["matched_scope"], "pr-7");
    assert_same(&job.tree(), &job.sandbox.work("second/tree"));
    write(job.tree().join("new"), Noise(9).bytes(200_000));
    let saved = job.allowed(pull_requests_may, "pr-7", SAVE);
    let new = saved["new_chunks"].as_u64().unwrap();
    assert_eq!(job.bucket.get("manifests/main/k"), manifest);

    // The same by the names of caches.
    job.allowed(pull_requests_may, "pr-7", &["--json", "save", "t"]);
    job.allowed(pull_requests_may, "pr-7", &["--json", "restore", "t"]);

    // Main uploads the same once more, and refreshes and replaces what is its own.
    let saved = job.allowed(main_may, "main", SAVE);
    assert_eq!(saved["new_chunks"], new);
    job.allowed(main_may, "main", SAVE);
    job.allowed(main_may, "main", &restore("third"));
    assert_same(&job.tree(), &job.sandbox.work("third/tree"));

    // The flush puts its state and a table, and deletes the deltas.
    job.allowed(flush_may, "main", &["--json", "flush", "--all-scopes", "--repack"]);
    assert!(job.bucket.keys_with("index/deltas/").is_empty());
    job.allowed(main_may, "main", &["--json", "verify", "--all-scopes", "--read-data"]);
}

#[test]
fn a_pull_request_cannot_write_main_under_the_documented_policy() {
    let Some(job) = job() else { return };
    job.allowed(main_may, "main", SAVE);
    let before = job.bucket.objects();
    let manifest = job.bucket.get("manifests/main/k");

    write(job.tree().join("a"), "what somebody would have main restore");
    // The setting of whom to trust is its own to change, and its scope to claim.
    write(job.sandbox.work("larder.toml"), "");
    let (run, refused) = job.as_role(pull_requests_may, "main", SAVE);
    run.exits(7).says("permission denied");
    assert!(struck(&refused) > 0);
    let (run, _) = job.as_role(pull_requests_may, "main", &["delete", "k"]);
    run.exits(7);
    let (run, _) = job.as_role(pull_requests_may, "pr-7", &["flush", "--all-scopes"]);
    run.exits(7);

    assert_eq!(job.bucket.get("manifests/main/k"), manifest);
    let after = job.bucket.objects();
    assert!(before.iter().all(|(key, len)| after.get(key) == Some(len)));
    // Packs come before the manifest that was refused. Nothing else is new.
    assert!(after.keys().all(|key| before.contains_key(key) || key.starts_with("packs/")));
}

/// All that a pull request could ask for itself, without larder.
#[test]
fn the_documented_policies_are_no_wider_than_they_are_said_to_be() {
    let id = ulid::Ulid::generate();
    let long = "a".repeat(200);
    let request = |method: &str, key: &str, header: Option<&str>| Head {
        first: [method.to_owned(), format!("/acme/{key}"), "HTTP/1.1".to_owned()],
        headers: header
            .map(|value| ("if-none-match".to_owned(), value.to_owned()))
            .into_iter()
            .collect(),
    };
    let check = |may: fn(&Head) -> bool, method: &str, key: &str, [plain, create]: [bool; 2]| {
        assert_eq!(may(&request(method, key, None)), plain, "{method} {key}");
        assert_eq!(
            may(&request(method, key, Some("*"))),
            create,
            "{method} {key} if it is not there"
        );
    };
    let (never, always, to_create) = ([false; 2], [true; 2], [false, true]);
    let delta = |scope: &str| format!("index/deltas/0000000007/{scope}/{id}");
    for (may, own, others) in [
        (pull_requests_may as fn(&Head) -> bool, "pr-7", ["main", "release-1"]),
        (main_may, "main", ["pr-7", "other"]),
    ] {
        check(may, "PUT", &format!("manifests/{own}/k"), always);
        check(may, "PUT", &delta(own), to_create);
        check(may, "PUT", &format!("packs/0a/{id}"), to_create);
        for other in others {
            check(may, "PUT", &format!("manifests/{other}/k"), never);
            check(may, "PUT", &delta(other), never);
            check(may, "PUT", &delta(&format!("{other}/{own}")), never);
            check(may, "PUT", &delta(&format!("{other}-{long}%2B/{own}")), never);
            check(may, "GET", &format!("manifests/{other}/k"), always);
        }
        for key in ["gc/state", "gc/marks", "index/tables/x/rows", "other"] {
            check(may, "PUT", key, never);
            check(may, "GET", key, always);
        }
        for key in [format!("manifests/{own}/k"), delta(own), format!("packs/0a/{id}")] {
            check(may, "DELETE", &key, never);
        }
        check(may, "POST", "?delete", never);
        check(may, "GET", "?list-type=2&prefix=packs%2F", always);
    }
    check(pull_requests_may, "PUT", "format", never);
    check(main_may, "PUT", "format", to_create);
    check(flush_may, "POST", "?delete", always);
    check(flush_may, "PUT", "gc/state", always);
}

/// A server that keeps the policy by itself, in its own words: nothing in between. Jobs
/// without credentials are the pull requests here, and the bucket's owner is main.
#[test]
fn a_server_that_knows_policies_keeps_pull_requests_out_of_main() {
    let Some(job) = job() else { return };
    if !job.bucket.server.is_ceph() {
        return;
    }
    job.run(&mut job.of_scope("main", SAVE)).ok();
    job.bucket.set_policy(&of_bucket(&of_the_page(OF_PULL_REQUESTS), &job.bucket.name));
    let pull_request = |scope: &str, arguments: &[&str]| {
        let mut command = job.bare(arguments);
        let location = format!("{}&touch_refresh=1ms&anonymous=true", job.location());
        job.run(command.env("LARDER_STORE", location).env("LARDER_SCOPE", scope))
    };
    a_second_later();
    let found = pull_request("pr-7", &restore("first")).ok();
    assert_eq!((found.stderr.as_str(), &found.json()["matched_scope"]), ("", &"main".into()));
    write(job.tree().join("new"), Noise(8).bytes(200_000));
    for _ in 0..2 {
        let saved = pull_request("pr-7", SAVE).ok();
        assert_eq!(saved.stderr, "");
    }
    assert_eq!(pull_request("pr-7", &restore("second")).ok().json()["matched_scope"], "pr-7");
    assert_same(&job.tree(), &job.sandbox.work("second/tree"));

    let manifest = job.bucket.get("manifests/main/k");
    pull_request("main", SAVE).exits(7).says("permission denied");
    pull_request("main", &["delete", "k"]).exits(7);
    pull_request("pr-7", &["flush", "--all-scopes"]).exits(7);
    assert_eq!(job.bucket.get("manifests/main/k"), manifest);
    // Main reads what others have put into its bucket, and a flush removes it.
    job.run(&mut job.of_scope("pr-7", &restore("third"))).ok();
    assert!(!job.bucket.keys_with("index/deltas/").is_empty());
    job.run(&mut job.of_scope("pr-7", &["delete", "k"])).ok();
    job.run(&mut job.of_scope("main", &["flush", "--all-scopes"])).ok();
    assert_eq!(job.bucket.keys_with("manifests/"), ["manifests/main/k"]);
    assert!(job.bucket.keys_with("index/deltas/").is_empty());
}
