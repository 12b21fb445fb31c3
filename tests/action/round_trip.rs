//! Jobs that restore and save.

use std::fs;
use std::net::TcpListener;
use std::process::Stdio;

use rustix::process::{Pid, Signal, kill_process};

use crate::job::{Job, Step};
use crate::sandbox::write;

const TREE: [&str; 3] = ["a.txt", "sub/b.txt", "sub/c.log"];

/// A store with the tree under `npm-1`, and the start of a second job.
fn second_job() -> Job {
    let mut job = Job::new();
    job.main().ok();
    job.post().ok();
    assert_eq!(job.keys(), ["npm-1"]);
    job.next()
}

fn said(step: &Step, text: &str) -> bool {
    step.run.stdout.contains(text)
}

#[test]
fn a_miss_is_saved_and_found() {
    let mut job = Job::new();
    let main = job.main().ok();
    assert_eq!(main.hit(), ("", ""));
    assert_eq!(main.outputs["cache-primary-key"], "npm-1");
    assert!(said(&main, "there is no cache for npm-1"));
    let post = job.post().ok();
    assert!(said(&post, "saved npm-1: 3 files, 23 B"), "{}", post.run.stdout);
    let mut job = job.next();
    let main = job.main().ok();
    assert_eq!(main.hit(), ("true", "npm-1"));
    assert_eq!(job.tree(), TREE);
    assert!(main.told("warning").is_empty() && main.paths.is_empty());
}

#[test]
fn outputs_are_told_once_and_amounts_in_the_summary() {
    let mut job = Job::new();
    assert!(job.main().ok().summary.contains("| miss | <code>npm-1</code> |"));
    assert!(job.post().ok().summary.contains("| saved | <code>npm-1</code> |"));
    let mut job = job.next();
    let main = job.main().ok();
    assert!(main.summary.contains("| exact | <code>npm-1</code> | 23 B |"), "{}", main.summary);
    let names: Vec<&str> = main.outputs.keys().map(String::as_str).collect();
    assert_eq!(names, ["cache-hit", "cache-matched-key", "cache-primary-key"]);
    let mut job = job.next().variable("LARDER_CI_OUTPUTS", "never");
    assert_eq!(job.main().ok().summary, "");
}

#[test]
fn a_pull_request_finds_what_another_scope_has() {
    let mut job = second_job().input("scope", "pr-1");
    assert_eq!(job.main().ok().hit(), ("", ""));
    let mut job = job.next().input("fallback-scopes", " old \norg/repo\n");
    let main = job.main().ok();
    assert_eq!(main.hit(), ("true", "npm-1"));
    assert_eq!(job.tree(), TREE);
    assert!(said(&job.post().ok(), "npm-1 was found at the start of the job"));
    let mut job = job.next().input("key", "npm-2").input("restore-keys", "npm-");
    assert_eq!(job.main().ok().hit(), ("false", "npm-1"));
    assert!(said(&job.post().ok(), "saved npm-2"));
    assert_eq!(job.keys(), ["npm-1"], "nothing is saved into the other scope");
}

#[test]
fn what_was_found_is_not_saved_again() {
    let mut job = second_job();
    job.main().ok();
    write(job.sandbox.work("tree/new"), "new");
    let post = job.post().ok();
    assert!(said(&post, "nothing is saved"));
    assert_eq!(job.saved("npm-1").len(), 3);
}

#[test]
fn a_key_is_never_overwritten() {
    // Another job saved it between this one's start and end.
    let mut job = Job::new();
    job.main().ok();
    let before = job.sandbox.larder(["--scope", "org/repo", "save", "--key", "npm-1", "tree/sub"]);
    before.ok();
    let post = job.post().ok();
    assert!(said(&post, "npm-1 exists already: nothing was saved"));
    assert_eq!(job.saved("npm-1").len(), 2);
}

#[test]
fn a_prefix_is_no_exact_hit_and_the_key_is_saved() {
    let mut job = second_job().input("key", "npm-2").input("restore-keys", "yarn-\n  npm-\n\n");
    let main = job.main().ok();
    assert_eq!(main.hit(), ("false", "npm-1"));
    assert_eq!(main.outputs["cache-primary-key"], "npm-2");
    assert_eq!(job.tree(), TREE);
    // Inputs with expressions are evaluated anew: the key of the start counts.
    let mut job = job.input("key", "npm-3");
    job.post().ok();
    assert_eq!(job.keys(), ["npm-1", "npm-2"]);
}

#[test]
fn a_miss_fails_a_job_that_wants_it_so() {
    let mut job = Job::new().input("fail-on-cache-miss", "true");
    let main = job.main().fails("there is no cache for npm-1");
    assert_eq!(main.hit(), ("", ""));
    // Not even then is a prefix a miss.
    let mut job = second_job().input("fail-on-cache-miss", "true").input("key", "npm-2");
    job.main().fails("there is no cache for npm-2");
    let mut job = job.input("restore-keys", "npm-");
    assert_eq!(job.main().ok().hit(), ("false", "npm-1"));
}

#[test]
fn a_lookup_restores_nothing_and_a_miss_is_saved() {
    let mut job = second_job().input("lookup-only", "true");
    assert_eq!(job.main().ok().hit(), ("true", "npm-1"));
    assert!(job.tree().is_empty());
    let mut job = job.next().input("key", "npm-2");
    assert_eq!(job.main().ok().hit(), ("", ""));
    write(job.sandbox.work("tree/new"), "new");
    job.post().ok();
    assert_eq!(job.keys(), ["npm-1", "npm-2"]);
}

#[test]
fn scopes_are_repositories_unless_told_otherwise() {
    for job in [
        second_job().input("scope", "other"),
        second_job().variable("LARDER_SCOPE", "other"),
        second_job().variable("GITHUB_REPOSITORY", "other"),
    ] {
        let mut job = job;
        assert_eq!(job.main().ok().hit(), ("", ""));
    }
    let mut job = second_job().input("scope", "org/repo").variable("LARDER_SCOPE", "other");
    assert_eq!(job.main().ok().hit(), ("true", "npm-1"));
}

#[test]
fn restore_and_save_are_actions_of_their_own() {
    let mut save = Job::of("save");
    let saved = save.main().ok();
    assert!(said(&saved, "saved npm-1"));
    assert!(said(&save.main().ok(), "exists already"));
    let store = format!("file://{}", save.sandbox.store().display());
    let mut restore = Job::of("restore").input("store", &store).next();
    assert_eq!(restore.main().ok().hit(), ("true", "npm-1"));
    assert_eq!(restore.tree(), TREE);
}

#[test]
fn a_broken_store_is_a_warning_and_a_miss() {
    // What is there is no store; what was there is damaged; nobody answers.
    let foreign = |job: Job| {
        write(job.sandbox.path("other/file"), "not larder's");
        let place = job.sandbox.path("other").display().to_string();
        job.input("store", &place)
    };
    let mut job = foreign(Job::new());
    job.main().ok();
    let post = job.post().warns("larder save failed (exit code 11): L0604: ");
    assert!(post.told("warning")[0].contains("choose an empty or new place"));

    let mut job = second_job();
    for (path, bytes) in crate::sandbox::contents(&job.sandbox.store()) {
        if path.components().any(|part| part.as_os_str() == "manifests") {
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }
    }
    let main = job.main().warns("larder restore failed (exit code 4): L060");
    assert_eq!(main.hit(), ("", ""));
    assert!(job.tree().is_empty());
    // A key is not overwritten, but this one nobody can use.
    job.plant();
    assert!(said(&job.post().ok(), "saved npm-1"));
    let mut job = job.next();
    assert_eq!(job.main().ok().hit(), ("true", "npm-1"));
    assert_eq!(job.tree(), TREE);

    let dead = "s3://bucket/prefix?region=us-east-1&endpoint_url=http://127.0.0.1:9";
    let mut job = Job::new()
        .input("store", dead)
        .variable("LARDER_TIMEOUT", "1s")
        .variable("AWS_ACCESS_KEY_ID", "key")
        .variable("AWS_SECRET_ACCESS_KEY", "secret")
        .variable("AWS_EC2_METADATA_DISABLED", "true");
    assert_eq!(job.main().warns("larder restore failed (exit code 5)").hit(), ("", ""));
    job.post().warns("larder save failed (exit code 5)");
    // Whoever cannot do without a cache has none.
    job.input("fail-on-cache-miss", "true").main().fails("there is no cache for npm-1");
    // larder's own word for it changes nothing.
    let mut job = Job::new()
        .input("store", &format!("{dead}&ignore-error=true"))
        .variable("LARDER_TIMEOUT", "1s")
        .variable("LARDER_IGNORE_ERROR", "true")
        .variable("AWS_ACCESS_KEY_ID", "key")
        .variable("AWS_SECRET_ACCESS_KEY", "secret");
    assert_eq!(job.main().warns("larder restore failed").hit(), ("", ""));
}

#[test]
fn a_path_that_is_not_there_is_a_warning() {
    let mut job = Job::new().input("path", "nowhere");
    job.main().ok();
    job.post().warns("larder save failed (exit code 1)");
    let mut job = Job::new().input("path", "no*where");
    job.main().ok();
    job.post().warns("nothing matches the input path");
    // One of several is none, as in actions/cache.
    let mut job = Job::new().input("path", "nowhere\ntree");
    job.main().ok();
    job.post().ok();
    assert_eq!(job.saved("npm-1").len(), 3);
}

#[test]
fn windows_has_no_cache_yet() {
    let mut job = Job::new().variable("RUNNER_OS", "Windows");
    assert_eq!(job.main().warns("larder does not run on Windows yet").hit(), ("", ""));
    assert!(said(&job.post().ok(), "nothing is saved"));
    let mut job = Job::of("save").variable("RUNNER_OS", "Windows");
    job.main().warns("larder does not run on Windows yet");
}

#[test]
fn a_cancelled_job_ends_with_its_larder() {
    // A server that takes connections and never answers.
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = server.local_addr().unwrap();
    let store = format!("s3://bucket/prefix?region=us-east-1&endpoint_url=http://{endpoint}");
    let job = Job::new()
        .input("store", &store)
        .variable("AWS_ACCESS_KEY_ID", "key")
        .variable("AWS_SECRET_ACCESS_KEY", "secret");
    let mut node = job.command("main").stdout(Stdio::piped()).spawn().unwrap();
    let _connection = server.accept().unwrap();
    // As the runner does, which kills what is still there ten seconds later.
    for signal in [Signal::INT, Signal::TERM] {
        kill_process(Pid::from_child(&node), signal).unwrap();
    }
    assert_eq!(crate::sandbox::wait(&mut node), Some(0));
    let log = std::io::read_to_string(node.stdout.take().unwrap()).unwrap();
    assert!(log.contains("larder restore failed (exit code 130)"), "{log}");
}
