//! The pipelines in vela-s3-cache's page, and what its parameters do.

use std::process::Command;

use serde_json::Value;

use super::{Runner, blocks, encode, remove, yaml};
use crate::sandbox::{Run, assert_same, plant, write};

const PAGE: &str = include_str!("pages/vela-s3-cache.md");

/// What Vela tells every step.
const BUILD: [(&str, &str); 3] =
    [("VELA", "true"), ("VELA_REPO_ORG", "octo"), ("VELA_REPO_NAME", "app")];

/// The entrypoint as Vela starts it for a step: parameters and secrets are
/// variables.
fn step(runner: &Runner, step: &Value) -> Command {
    let mut command = runner.entrypoint(&["plugin"]);
    command.envs(BUILD);
    for (name, value) in step["parameters"].as_object().unwrap() {
        command.env(format!("PARAMETER_{}", name.to_uppercase()), encode(value));
    }
    let keys = &runner.job.bucket.server.keys;
    for secret in step["secrets"].as_array().into_iter().flatten() {
        let name = secret.as_str().unwrap();
        let value = if name.contains("access") { &keys.access_key } else { &keys.secret_key };
        command.env(name.to_uppercase(), value);
    }
    command
}

/// The same, with keys: the page's examples leave them to the reader.
fn step_with_keys(runner: &Runner, parsed: &Value) -> Command {
    let mut command = step(runner, parsed);
    let keys = &runner.job.bucket.server.keys;
    command
        .env("CACHE_S3_ACCESS_KEY", &keys.access_key)
        .env("CACHE_S3_SECRET_KEY", &keys.secret_key);
    command
}

/// The page's steps, by their names.
fn steps(runner: &Runner, languages: &[&str]) -> Vec<(String, Value)> {
    let page = PAGE.replace("mybucket", runner.bucket());
    let mut all = vec![];
    for block in blocks(&page, languages) {
        // What a reader makes of a diff.
        let lines = block.lines().filter(|line| !line.starts_with('-'));
        let text: Vec<String> = lines
            .map(|line| line.strip_prefix('+').map_or(line.to_owned(), |rest| format!(" {rest}")))
            .collect();
        for step in yaml(&text.join("\n"))["steps"].as_array().unwrap() {
            all.push((step["name"].as_str().unwrap().to_owned(), step.clone()));
        }
    }
    all
}

/// Every example of the page: restore, rebuild, flush, and secrets.
#[test]
fn the_page() {
    let Some(runner) = Runner::new() else { return };
    let examples = steps(&runner, &["yaml"]);
    let names: Vec<&str> = examples.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["restore_cache", "rebuild_cache", "flushing_cache"]);
    let [restore, rebuild, flush] = [0, 1, 2].map(|at| &examples[at].1);

    let gradle = runner.sandbox().work(".gradle");
    runner
        .run(&mut step_with_keys(&runner, restore))
        .ok()
        .prints("There is no cache for archive.tgz\n");
    plant(&gradle, 60, 1);
    runner.run(&mut step_with_keys(&runner, rebuild)).ok().prints("saved archive.tgz: 63 files");
    assert_eq!(runner.caches(), ["octo/app archive.tgz"]);
    runner.assert_all_below(&["larder/"]);

    let next = runner.another();
    next.run(&mut step_with_keys(&next, restore)).ok().prints("restored archive.tgz: 63 files");
    assert_same(&gradle, &next.sandbox().work(".gradle"));
    let packs = runner.packs();
    next.run(&mut step_with_keys(&next, rebuild)).ok().prints("archive.tgz is unchanged");
    assert_eq!(runner.packs(), packs);
    next.run(&mut step_with_keys(&next, flush)).ok().prints("0 caches removed, 1 kept");

    // With the secrets that the page's diff adds.
    let secrets = steps(&runner, &["diff"]);
    let [(_, with_secrets)] = secrets.as_slice() else { panic!("{secrets:?}") };
    let third = runner.another();
    third.run(&mut step(&third, with_secrets)).ok().prints("restored archive.tgz");
    assert_same(&gradle, &third.sandbox().work(".gradle"));
}

/// A step with these parameters, as YAML, beside bucket and keys.
#[track_caller]
fn run(runner: &Runner, parameters: &str) -> Run {
    let bucket = runner.bucket();
    let parsed = yaml(&format!("parameters:\n  bucket: {bucket}\n{parameters}"));
    runner.run(&mut step_with_keys(runner, &parsed))
}

#[test]
fn mounts_come_back_where_they_were_or_by_their_last_names() {
    let Some(runner) = Runner::new() else { return };
    plant(&runner.sandbox().work("foo/test1"), 5, 1);
    write(runner.sandbox().work("foo/test2"), "two");
    let mounts = "  action: rebuild\n  mount: [foo/test1, foo/test2, foo/test1/sub]\n";
    write(runner.sandbox().work("foo/test1/sub/x"), "x");
    for (more, above) in
        [("", "foo/"), ("  preserve_path: true\n", "foo/"), ("  preserve_path: false\n", "")]
    {
        run(&runner, &format!("{mounts}{more}")).ok().prints("8 files");
        let next = runner.another();
        run(&next, "  action: restore\n").ok();
        for name in ["test1", "test2"] {
            let restored = next.sandbox().work(format!("{above}{name}"));
            assert_same(&runner.sandbox().work(format!("foo/{name}")), &restored);
        }
    }
    plant(&runner.sandbox().work("bar/test1"), 1, 1);
    let same = "  action: rebuild\n  preserve_path: false\n  mount: [foo/test1, bar/test1]\n";
    run(&runner, same).exits(2).says("would both be recorded as \"test1\"");
    let within = "  action: rebuild\n  preserve_path: false\n  mount: [., ../home/x]\n";
    write(runner.sandbox().path("home/x"), "x");
    run(&runner, within).exits(2).says("would both be recorded");
    // The home directory is a mount like any other: it does not spill its files.
    let home = format!(
        "  action: rebuild\n  preserve_path: false\n  mount: {}\n",
        runner.sandbox().path("home").display()
    );
    run(&runner, &home).ok();
    let next = runner.another();
    run(&next, "  action: restore\n").ok();
    assert_eq!(std::fs::read_to_string(next.sandbox().work("home/x")).unwrap(), "x");
}

/// It failed with "file conflict detected".
#[test]
fn files_that_are_in_the_way_are_replaced() {
    let Some(runner) = Runner::new() else { return };
    write(runner.sandbox().work("m/file"), "cached");
    run(&runner, "  action: rebuild\n  mount: m\n").ok();
    let next = runner.another();
    write(next.sandbox().work("m/file"), "other");
    write(next.sandbox().work("m/own"), "own");
    run(&next, "  action: restore\n").ok();
    let read = |name| std::fs::read_to_string(next.sandbox().work(name)).unwrap();
    assert_eq!((read("m/file"), read("m/own")), ("cached".to_owned(), "own".to_owned()));
}

#[test]
fn mounts_must_exist() {
    let Some(runner) = Runner::new() else { return };
    plant(&runner.sandbox().work("m"), 3, 1);
    run(&runner, "  action: rebuild\n  mount: [m, nowhere]\n")
        .exits(1)
        .says("error[L0401]: there is nothing to save at nowhere");
    assert_eq!(runner.job.bucket.objects().len(), 0);
    run(&runner, "  action: rebuild\n").exits(2).says("the setting mount is missing");
}

/// `repo` bled into `repo-2`, for lack of a slash.
#[test]
fn a_flush_takes_old_caches_of_the_repository() {
    let Some(runner) = Runner::new() else { return };
    plant(&runner.sandbox().work("m"), 3, 1);
    for repo in ["repo", "repo-2"] {
        for filename in ["one.tgz", "two.tgz"] {
            run(
                &runner,
                &format!("  action: rebuild\n  mount: m\n  prefix: ci\n  repo: {repo}\n  filename: {filename}\n"),
            )
            .ok();
        }
    }
    std::thread::sleep(std::time::Duration::from_secs(2));
    let flushed = run(&runner, "  action: flush\n  age: 1s\n  prefix: ci\n  repo: repo\n").ok();
    flushed
        .prints("removed: one.tgz in scope ci/octo/repo,")
        .prints("removed: two.tgz in scope ci/octo/repo,")
        .prints("2 caches removed, 2 kept")
        .prints("freed 0 B in total; ");
    assert_eq!(runner.caches(), ["ci/octo/repo-2 one.tgz", "ci/octo/repo-2 two.tgz"]);
    // What lies below the repository's path is the repository's.
    run(&runner, "  action: rebuild\n  mount: m\n  path: ci/octo/repo-2/main\n").ok();
    std::thread::sleep(std::time::Duration::from_secs(2));
    run(&runner, "  action: flush\n  age: 1s\n  prefix: ci\n  repo: repo-2\n").ok();
    assert_eq!(runner.caches(), [""; 0]);
}

#[test]
fn path_filename_and_level() {
    let Some(runner) = Runner::new() else { return };
    let tree = runner.sandbox().work("m");
    std::fs::create_dir(&tree).unwrap();
    let text: String = (0..40_000).map(|line| format!("line {}\n", line * 7919 % 1_000)).collect();
    write(tree.join("text"), &text);
    let stored = |level: &str| {
        let key = format!("level{level}");
        let parameters = format!(
            "  action: rebuild\n  mount: m\n  path: shared/{key}\n  compression_level: {level}\n"
        );
        run(&runner, &parameters).ok();
        let objects = runner.job.bucket.objects();
        for pack in objects.keys().filter(|key| !key.ends_with("/format")) {
            runner.job.bucket.delete(pack);
        }
        objects.iter().filter(|(key, _)| key.contains("/packs/")).map(|(_, len)| len).sum::<u64>()
    };
    let [fast, default, small] = ["1", "-1", "9"].map(stored);
    assert!(fast >= default && default > small, "{fast} {default} {small}");
    run(&runner, "  action: rebuild\n  mount: m\n  path: /shared/\n  filename: deps.tgz\n").ok();
    assert_eq!(runner.caches(), ["shared deps.tgz"]);
    remove(&tree);
    run(&runner, "  action: restore\n  path: shared\n  filename: deps.tgz\n").ok();
    assert_eq!(std::fs::read_to_string(tree.join("text")).unwrap(), text);
}

#[test]
fn timeouts_and_log_levels() {
    let Some(runner) = Runner::new() else { return };
    plant(&runner.sandbox().work("m"), 3, 1);
    // Whether the command or the request at hand notices first.
    run(&runner, "  action: rebuild\n  mount: m\n  timeout: 1ms\n").exits(5).says("--timeout");
    run(&runner, "  action: rebuild\n  mount: m\n  timeout: 0\n")
        .exits(2)
        .says("PARAMETER_TIMEOUT");
    let quiet = run(&runner, "  action: rebuild\n  mount: m\n  log_level: error\n").ok();
    assert_eq!((quiet.stdout.as_str(), quiet.stderr.as_str()), ("", ""));
    std::os::unix::net::UnixListener::bind(runner.sandbox().work("m/socket")).unwrap();
    let warned = run(&runner, "  action: rebuild\n  mount: m\n  log_level: warn\n").ok();
    assert_eq!(warned.stdout, "");
    warned.says("warning: ").says("socket");
    run(&runner, "  action: rebuild\n  mount: m\n  timeout: 4000000000000000h\n").ok();
    run(&runner, "  action: restore\n  log_level: debug\n").ok().says("requests: ");
    run(&runner, "  action: restore\n  log_level: trace\n").ok().says("store: S3(");
}

/// Parameters and secrets that are files.
#[test]
fn files_stand_for_variables() {
    let Some(runner) = Runner::new() else { return };
    plant(&runner.sandbox().work("m"), 3, 1);
    let files = runner.sandbox().path("vela");
    let keys = &runner.job.bucket.server.keys;
    for (name, text) in [
        ("parameters/s3-cache/action", "rebuild"),
        ("parameters/s3-cache/root", runner.bucket()),
        ("parameters/s3-cache/mount", "m"),
        ("secrets/s3-cache/access_key", &keys.access_key),
        ("secrets/s3-cache/secret_key", &keys.secret_key),
    ] {
        let path = files.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        write(path, format!("{text}\n"));
    }
    let mut command = runner.entrypoint(&["plugin"]);
    runner
        .run(command.envs(BUILD).env("LARDER_PLUGIN_FILES", &files))
        .ok()
        .prints("saved archive.tgz");
    let mut command = runner.entrypoint(&["plugin"]);
    command.envs(BUILD).env("LARDER_PLUGIN_FILES", &files).env("S3_CACHE_ACTION", "restore");
    runner.run(&mut command).ok().prints("restored archive.tgz");
}
