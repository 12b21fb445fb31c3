//! The pipelines in the French and the English page of drone-s3cache, and what
//! its settings do.

use std::process::Command;

use serde_json::Value;

use super::{Runner, blocks, encode, remove, yaml};
use crate::proxy::plan::{Fault, Rule, When, Which};
use crate::sandbox::{Run, assert_same, plant, write};

const FRENCH: &str = include_str!("pages/drone-s3cache.fr.md");
const ENGLISH: &str = include_str!("pages/drone-s3cache.en.md");

/// Keys of a step that are Drone's own and no settings of the plugin.
const OWN: [&str; 6] = ["image", "commands", "when", "environment", "secrets", "settings"];

/// What Drone tells every step.
const BUILD: [(&str, &str); 6] = [
    ("CI", "drone"),
    ("DRONE", "true"),
    ("DRONE_REPO", "octo/app"),
    ("DRONE_REPO_OWNER", "octo"),
    ("DRONE_REPO_NAME", "app"),
    ("DRONE_COMMIT_MESSAGE", "fix: a typo\n\nIt said teh.\n"),
];

/// The entrypoint as Drone starts it for a step.
fn step(runner: &Runner, settings: &Value) -> Command {
    let mut command = runner.entrypoint(&["plugin"]);
    command.envs(BUILD);
    let keys = &runner.job.bucket.server.keys;
    let inner = settings.get("settings").and_then(Value::as_object);
    let outer =
        settings.as_object().unwrap().iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
    for (name, value) in outer.chain(inner.into_iter().flatten()) {
        let value = encode(value)
            .replace("${AWS_ACCESS_KEY_ID}", &keys.access_key)
            .replace("${AWS_SECRET_ACCESS_KEY}", &keys.secret_key);
        command.env(format!("PLUGIN_{}", name.to_uppercase()), value);
    }
    command
}

/// The steps of a pipeline that are the plugin's, in their order.
fn steps(pipeline: &Value) -> Vec<Value> {
    let steps = pipeline["pipeline"].as_object().unwrap().values();
    let is_plugin = |step: &&Value| step["image"].as_str().unwrap().contains("s3cache");
    let mut steps: Vec<Value> = steps.filter(is_plugin).cloned().collect();
    // A map of JSON keeps no order; a pipeline restores before it rebuilds.
    steps.sort_by_key(|step| step.get("rebuild").is_some());
    steps
}

/// Every example of a page: a first build, and builds after it on other machines.
fn page(page: &str) {
    let Some(runner) = Runner::new() else { return };
    let page = page.replace("drone-cache", runner.bucket());
    let pipelines: Vec<Vec<Value>> =
        blocks(&page, &["yaml", "diff"]).iter().map(|block| steps(&yaml(block))).collect();
    let numbers: Vec<usize> = pipelines.iter().map(Vec::len).collect();
    assert_eq!(numbers, [2, 1, 1], "the page has a pipeline, and then its two steps");

    let bundle = runner.sandbox().work("vendor/bundle");
    let [restore, rebuild] = pipelines[0].as_slice() else { unreachable!() };
    runner.run(&mut step(&runner, restore)).ok().prints("There is no cache for vendor/bundle\n");
    assert!(!bundle.exists());
    plant(&bundle, 60, 1);
    runner.run(&mut step(&runner, rebuild)).ok().prints("saved vendor/bundle: 63 files");
    assert_eq!(runner.caches(), ["octo/app vendor/bundle"]);
    runner.assert_all_below(&["larder/"]);
    let packs = runner.packs();
    assert!(!packs.is_empty());

    // The next build, elsewhere, gets all of it back, and uploads nothing new.
    let next = runner.another();
    for restore in [&pipelines[0][0], &pipelines[2][0]] {
        next.run(&mut step(&next, restore)).ok().prints("restored vendor/bundle: 63 files");
        assert_same(&bundle, &next.sandbox().work("vendor/bundle"));
    }
    for rebuild in [&pipelines[0][1], &pipelines[1][0]] {
        next.run(&mut step(&next, rebuild)).ok().prints("vendor/bundle is unchanged");
    }
    assert_eq!(runner.packs(), packs);

    // A build that changes something stores that.
    write(next.sandbox().work("vendor/bundle/new"), "new");
    next.run(&mut step(&next, &pipelines[1][0])).ok().prints("saved vendor/bundle: 64 files");
    remove(&bundle);
    runner.run(&mut step(&runner, &pipelines[2][0])).ok();
    assert_same(&next.sandbox().work("vendor/bundle"), &bundle);
}

#[test]
fn the_french_page() {
    page(FRENCH);
}

#[test]
fn the_english_page() {
    page(ENGLISH);
}

/// Steps of a pipeline that is written here.
fn written(runner: &Runner, settings: &str) -> Value {
    let bucket = runner.bucket();
    yaml(&format!(
        "image: larder\nsettings:\n  bucket: {bucket}\n  aws_access_key_id: ${{AWS_ACCESS_KEY_ID}}\n  \
         aws_secret_access_key: ${{AWS_SECRET_ACCESS_KEY}}\n{settings}"
    ))
}

#[track_caller]
fn run(runner: &Runner, settings: &str, variables: &[(&str, &str)]) -> Run {
    let mut step = step(runner, &written(runner, settings));
    runner.run(step.envs(variables.iter().copied()))
}

/// Of several paths, only the last one survived; one that does not exist is told.
#[test]
fn every_path_is_a_cache_of_its_own() {
    let Some(runner) = Runner::new() else { return };
    for (name, seed) in [("a", 1), ("b/c", 2)] {
        plant(&runner.sandbox().work(name), 10, seed);
    }
    let rebuilt = run(&runner, "  rebuild: true\n  cache: [a, nowhere, b/c]\n", &[]).ok();
    rebuilt.prints("There is nothing to cache for nowhere\n").prints("saved b/c: 12 files");
    assert_eq!(runner.caches(), ["octo/app a", "octo/app b/c"]);

    let next = runner.another();
    let output = next.sandbox().path("output");
    let variables = [("DRONE_OUTPUT", output.to_str().unwrap())];
    let restored = run(&next, "  restore: true\n  cache: [b/c, nowhere, a]\n", &variables).ok();
    restored.prints("There is no cache for nowhere\n");
    for name in ["a", "b/c"] {
        assert_same(&runner.sandbox().work(name), &next.sandbox().work(name));
    }
    let told = std::fs::read_to_string(&output).unwrap();
    assert_eq!(told, "cache-hit=false\nkey=b/c,a\n");
    run(&next, "  restore: true\n  mount: [a, b/c]\n", &variables).ok();
    let told = std::fs::read_to_string(&output).unwrap();
    assert_eq!(told, "cache-hit=false\nkey=b/c,a\ncache-hit=true\nkey=a,b/c\n");
}

/// `"false"` counted as true.
#[test]
fn what_is_false_is_not_done() {
    let Some(runner) = Runner::new() else { return };
    plant(&runner.sandbox().work("a"), 3, 1);
    let nothing = run(&runner, "  restore: false\n  rebuild: 'false'\n  cache: [a]\n", &[]).ok();
    nothing.prints("neither restore, rebuild nor flush is set: nothing will be done\n");
    assert_eq!(runner.job.bucket.objects().len(), 0);
    run(&runner, "  rebuild: sure\n  cache: [a]\n", &[])
        .exits(2)
        .says("error[L0208]: \"sure\" is no value of PLUGIN_REBUILD")
        .says("hint: it takes true, false, 1, 0, yes or no");
}

#[test]
fn commits_can_say_no_cache() {
    let Some(runner) = Runner::new() else { return };
    plant(&runner.sandbox().work("a"), 3, 1);
    for variable in ["DRONE_COMMIT_MESSAGE", "CI_COMMIT_MESSAGE"] {
        let message = [("DRONE_COMMIT_MESSAGE", ""), (variable, "x [NO CACHE]")];
        for what in ["restore", "rebuild"] {
            run(&runner, &format!("  {what}: true\n  cache: [a]\n"), &message)
                .ok()
                .prints("the commit's message says [NO CACHE]: caches are left alone\n");
        }
    }
    assert_eq!(runner.job.bucket.objects().len(), 0);
}

/// A bare prefix was cleared: that of `app` was one of `app2`, too.
#[test]
fn a_commit_can_clear_its_repository_and_no_other() {
    let Some(runner) = Runner::new() else { return };
    plant(&runner.sandbox().work("a"), 3, 1);
    let rebuild = "  rebuild: true\n  cache: [a]\n";
    for repository in ["octo/app", "octo/app2", "octo/app/sub"] {
        run(&runner, rebuild, &[("DRONE_REPO", repository)]).ok();
    }
    let clear = [("DRONE_COMMIT_MESSAGE", "[CLEAR CACHE] away with it")];
    let next = runner.another();
    run(&next, "  restore: true\n  cache: [a]\n", &clear)
        .ok()
        .prints("deleted a\n")
        .prints("the commit's message says [CLEAR CACHE]: nothing is restored\n");
    assert!(!next.sandbox().work("a").exists());
    assert_eq!(runner.caches(), ["octo/app/sub a", "octo/app2 a"]);
    run(&runner, rebuild, &clear).ok();
    assert_eq!(runner.caches(), ["octo/app a", "octo/app/sub a", "octo/app2 a"]);
}

/// Woodpecker's own names, and keys that the runner has.
#[test]
fn woodpecker() {
    let Some(runner) = Runner::new() else { return };
    plant(&runner.sandbox().work("a"), 3, 1);
    let mut step = runner.entrypoint_with_keys(&["plugin"]);
    step.envs([("CI_REPO", "wood/app"), ("CI_COMMIT_MESSAGE", "x"), ("PLUGIN_CACHE", "a")])
        .envs([("PLUGIN_BUCKET", runner.bucket()), ("PLUGIN_REBUILD", "true")]);
    runner.run(&mut step).ok();
    assert_eq!(runner.caches(), ["wood/app a"]);
}

/// A server of one's own, by its settings alone.
#[test]
fn endpoint_and_path_style() {
    let Some(runner) = Runner::new() else { return };
    plant(&runner.sandbox().work("a"), 3, 1);
    let url = runner.job.proxy.url();
    let settings = format!(
        "  rebuild: true\n  cache: a\n  endpoint: {url}\n  path_style: true\n  region: us-east-1\n"
    );
    let mut step = step(&runner, &written(&runner, &settings));
    runner.run(step.env_remove("AWS_ENDPOINT_URL")).ok();
    assert_eq!(runner.caches(), ["octo/app a"]);
}

#[test]
fn a_flush_takes_old_caches_of_the_repository() {
    let Some(runner) = Runner::new() else { return };
    plant(&runner.sandbox().work("a"), 3, 1);
    for repository in ["octo/app", "octo/app2"] {
        run(&runner, "  rebuild: true\n  cache: [a]\n", &[("DRONE_REPO", repository)]).ok();
    }
    run(&runner, "  flush: true\n", &[]).ok().prints("0 caches removed, 2 kept");
    std::thread::sleep(std::time::Duration::from_secs(2));
    run(&runner, "  flush: true\n  flush_age: 1s\n", &[])
        .ok()
        .prints("removed: a in scope octo/app,");
    assert_eq!(runner.caches(), ["octo/app2 a"]);
}

/// A cache whose packs are gone is none: the build goes on without it.
#[test]
fn a_damaged_cache_is_a_missing_one() {
    let Some(runner) = Runner::new() else { return };
    plant(&runner.sandbox().work("a"), 3, 1);
    run(&runner, "  rebuild: true\n  cache: [a]\n", &[]).ok();
    for pack in runner.packs() {
        runner.job.bucket.delete(&pack);
    }
    let next = runner.another();
    run(&next, "  restore: true\n  cache: [a]\n", &[])
        .ok()
        .says("warning: not used: ")
        .prints("There is no sound cache for a; ");
    assert!(!next.sandbox().work("a").exists());
    // The next rebuild of the very same files mends it.
    run(&runner, "  rebuild: true\n  cache: [a]\n", &[]).ok().prints("saved a: 4 files");
    run(&next, "  restore: true\n  cache: [a]\n", &[]).ok();
    assert_same(&runner.sandbox().work("a"), &next.sandbox().work("a"));
}

/// A path that could not be saved took all after it down, and the flush.
#[test]
fn one_path_that_fails_stops_no_other() {
    let Some(runner) = Runner::new() else { return };
    for (path, seed) in [("a", 1), ("b", 2)] {
        plant(&runner.sandbox().work(path), 3, seed);
    }
    let manifests = Which { method: "PUT", target: "/manifests/" };
    let refused = Fault::refusal(403, "AccessDenied", "No.");
    let plan = [Rule::new(manifests, When::First(1), refused)];
    let settings = "  rebuild: true\n  flush: true\n  cache: [a, b]\n";
    let (ended, _) = runner.job.under(plan, || run(&runner, settings, &[]));
    ended
        .exits(7)
        .says("permission denied")
        .prints("saved b: 4 files")
        .prints("freed 0 B in total");
    assert_eq!(runner.caches(), ["octo/app b"]);
    // Nor does a file of outputs that cannot be written.
    let output = [("DRONE_OUTPUT", "/nonexistent/output")];
    run(&runner, "  restore: true\n  cache: [b]\n", &output)
        .ok()
        .says("warning: cannot write to /nonexistent/output");
}

/// Of several tasks, each is ignored by itself.
#[test]
fn ignored_errors_stop_nothing() {
    let Some(runner) = Runner::new() else { return };
    let output = runner.sandbox().path("output");
    let ignore = [("LARDER_IGNORE_ERROR", "true"), ("DRONE_OUTPUT", output.to_str().unwrap())];
    let settings = written(&runner, "  restore: true\n  cache: [a, b]\n");
    let mut wrong = step(&runner, &settings);
    wrong.envs(ignore).env("PLUGIN_AWS_SECRET_ACCESS_KEY", "wrong");
    let run = runner.run(&mut wrong).ok();
    assert_eq!(run.stderr.matches("(ignored)").count(), 2, "{}", run.stderr);
    assert_eq!(std::fs::read_to_string(&output).unwrap(), "cache-hit=false\nkey=\n");
    runner.run(step(&runner, &settings).env("PLUGIN_AWS_SECRET_ACCESS_KEY", "wrong")).exits(8);
    // A flush is no transfer.
    let mut flush =
        step(&runner, &written(&runner, "  restore: true\n  flush: true\n  cache: a\n"));
    flush.envs(ignore).env("PLUGIN_AWS_SECRET_ACCESS_KEY", "wrong");
    runner.run(&mut flush).exits(8).says("(ignored)").says("error[");
}

/// The workspace may be a link, or what the path goes through: the user named it.
#[test]
fn links_above_a_path_are_the_users() {
    let Some(runner) = Runner::new() else { return };
    plant(&runner.sandbox().work("top/bundle"), 3, 1);
    run(&runner, "  rebuild: true\n  cache: [top/bundle]\n", &[]).ok();
    let next = runner.another();
    std::fs::create_dir(next.sandbox().work("real")).unwrap();
    std::os::unix::fs::symlink("real", next.sandbox().work("top")).unwrap();
    run(&next, "  restore: true\n  cache: [top/bundle]\n", &[]).ok();
    assert_same(&runner.sandbox().work("top/bundle"), &next.sandbox().work("real/bundle"));
}

/// A rule of the bucket takes the oldest objects first, and the store's marker is
/// the oldest of all: rebuilds failed then, and nothing mended it.
#[test]
fn a_store_without_its_marker_goes_on() {
    let Some(runner) = Runner::new() else { return };
    for (path, seed) in [("old", 1), ("new", 2)] {
        plant(&runner.sandbox().work(path), 3, seed);
        run(&runner, &format!("  rebuild: true\n  cache: [{path}]\n"), &[]).ok();
    }
    runner.job.bucket.delete("larder/format");
    run(&runner, "  restore: true\n  cache: [new]\n", &[]).ok().prints("There is no cache for new");
    run(&runner, "  rebuild: true\n  cache: [old, new]\n", &[]).ok();
    let next = runner.another();
    run(&next, "  restore: true\n  cache: [new, old]\n", &[]).ok();
    for path in ["new", "old"] {
        assert_same(&runner.sandbox().work(path), &next.sandbox().work(path));
    }
}

/// A store in a directory of the host, and no bucket at all.
#[test]
fn a_directory_can_be_the_store() {
    let Some(runner) = Runner::new() else { return };
    plant(&runner.sandbox().work("a"), 3, 1);
    let store = runner.sandbox().path("volume");
    let mut step = runner.entrypoint(&["plugin"]);
    step.envs(BUILD).env("LARDER_STORE", &store);
    step.envs([("PLUGIN_CACHE", "a"), ("PLUGIN_REBUILD", "true")]);
    runner.run(&mut step).ok().prints("saved a: 4 files");
    assert!(store.join("format").exists());
    assert_eq!(runner.job.bucket.objects().len(), 0);
}
