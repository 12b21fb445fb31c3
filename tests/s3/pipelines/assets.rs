//! The pipeline in s3-asset-manager's page, and its exit codes.

use std::path::Path;
use std::process::Command;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Runner, encode, remove, yaml};
use crate::sandbox::{assert_same_listing, plant, write};

const PAGE: &str = include_str!("pages/s3-asset-manager.md");

/// The indented tasks of the page, `check` and `upload`.
fn tasks(runner: &Runner) -> Vec<Value> {
    let page = PAGE.replace("bucket-name", runner.bucket());
    // What the reader's pipeline has under this name.
    let keys = &runner.job.bucket.server.keys;
    let mut text = format!(
        "creds: &aws_creds\n  AWS_ACCESS_KEY_ID: '{}'\n  AWS_SECRET_ACCESS_KEY: '{}'\ntasks:\n",
        keys.access_key, keys.secret_key
    );
    let mut is_task = false;
    for line in page.lines() {
        is_task = line.starts_with("    - task:") || (is_task && line.starts_with("      "));
        if is_task {
            text.push_str(line);
            text.push('\n');
        }
    }
    yaml(&text)["tasks"].as_array().unwrap().clone()
}

/// A task as Concourse runs it: `run.path` in the image, with `params` for its
/// environment. The image has the binary under that name.
fn task(runner: &Runner, task: &Value) -> Command {
    let name = task["config"]["run"]["path"].as_str().unwrap();
    let image = runner.sandbox().path("image");
    std::fs::create_dir_all(&image).unwrap();
    let program = image.join(name);
    if !program.exists() {
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_larder"), &program).unwrap();
    }
    let mut command = runner.entrypoint(&[]);
    let mut renamed = Command::new(program);
    renamed.current_dir(command.get_current_dir().unwrap()).env_clear();
    for (variable, value) in command.get_envs() {
        if let Some(value) = value {
            renamed.env(variable, value);
        }
    }
    std::mem::swap(&mut command, &mut renamed);
    for (variable, value) in task["params"].as_object().unwrap() {
        command.env(variable, encode(value));
    }
    command
}

/// A git repository with two packages' sources.
fn repository(root: &Path) {
    plant(&root.join("lambdas"), 5, 1);
    write(root.join("README"), "first");
    git(root, &["init", "-q"]);
    commit(root);
}

fn git(root: &Path, arguments: &[&str]) -> String {
    let run = Command::new("git")
        .args(["-c", "user.name=test", "-c", "user.email=test@example.org"])
        .args(arguments)
        .current_dir(root)
        .output()
        .unwrap();
    assert!(run.status.success(), "{run:?}");
    String::from_utf8(run.stdout).unwrap().trim().to_owned()
}

fn commit(root: &Path) -> String {
    git(root, &["add", "-A"]);
    git(root, &["commit", "-q", "--allow-empty", "-m", "change"]);
    git(root, &["rev-parse", "HEAD"])
}

/// A machine whose `repo-name` is at the commit of another's.
fn clone(from: &Runner) -> Runner {
    let next = from.another();
    let (source, target) = (from.sandbox().work("repo-name"), next.sandbox().work("repo-name"));
    git(
        next.sandbox().work("").as_path(),
        &["clone", "-q", source.to_str().unwrap(), target.to_str().unwrap()],
    );
    next
}

fn build(runner: &Runner) {
    write(runner.sandbox().work("packages/one.zip"), vec![1; 300_000]);
    write(runner.sandbox().work("packages/tw o+ü.zip"), "two");
}

/// The page's pipeline, four times: a first build, the same commit again, a commit
/// that changes nothing of the sources, and one that does.
#[test]
fn the_page() {
    let Some(runner) = Runner::new() else { return };
    let all = tasks(&runner);
    let [check, upload] = all.as_slice() else { panic!("{all:?}") };
    let root = runner.sandbox().work("repo-name");
    repository(&root);
    let first = git(&root, &["rev-parse", "HEAD"]);

    runner
        .run(&mut task(&runner, check))
        .ok()
        .prints("no packages are stored; they have to be built");
    let left = |runner: &Runner, name: &str| {
        std::fs::read_to_string(runner.sandbox().work("packages").join(name)).ok()
    };
    assert_eq!(left(&runner, ".commit-hash"), Some(first.clone()));
    assert_eq!(left(&runner, ".found"), None);
    let code = left(&runner, ".code-hash").unwrap();
    build(&runner);
    write(runner.sandbox().work("packages/.hidden"), "no package");
    runner.run(&mut task(&runner, upload)).ok().prints("2 files").prints("wrote 4 plain objects");

    // What deployments read.
    let mut plain = vec![];
    for directory in [format!("artifacts/{first}"), format!("cache/{code}")] {
        for name in ["one.zip", "tw o+ü.zip"] {
            let key = format!("{directory}/{name}");
            let body = std::fs::read(runner.sandbox().work("packages").join(name)).unwrap();
            assert_eq!(runner.job.bucket.get(&key), body);
            let metadata = runner.job.bucket.metadata(&key);
            let has = |name: &str| metadata.get(name).map(String::as_str);
            assert_eq!(has("commit-hash"), Some(first.as_str()));
            assert_eq!(has("code-hash"), Some(code.as_str()));
            assert_eq!(has("package-hash"), Some(STANDARD.encode(Sha256::digest(&body)).as_str()));
            plain.push(key);
        }
    }
    plain.sort();
    let objects = runner.job.bucket.objects();
    let found: Vec<&String> = objects.keys().filter(|key| !key.starts_with("larder/")).collect();
    assert_eq!(found, plain.iter().collect::<Vec<_>>());

    // The same commit, on a machine that knows nothing.
    let again = clone(&runner);
    again.run(&mut task(&again, check)).ok().prints("packages of this commit are stored");
    assert_eq!(left(&again, ".found"), Some(String::new()));
    again.run(&mut task(&again, upload)).ok().prints("nothing is uploaded");

    // A commit with the same sources: its packages are there, and no data moved.
    write(root.join("README"), "second");
    let second = commit(&root);
    let next = clone(&runner);
    let packs = runner.packs();
    next.run(&mut task(&next, check)).ok().prints("packages of the same sources are stored");
    assert_eq!(left(&next, ".found"), Some(String::new()));
    assert_eq!(left(&next, ".code-hash"), Some(code.clone()));
    assert_eq!(runner.packs(), packs);
    let copied = format!("artifacts/{second}/tw o+ü.zip");
    assert_eq!(runner.job.bucket.get(&copied), b"two");
    // The metadata of a copy say what was built.
    assert_eq!(runner.job.bucket.metadata(&copied)["commit-hash"], first);
    next.run(&mut task(&next, upload)).ok().prints("nothing is uploaded");

    // Restored without plain objects.
    let store = format!("s3://{}/larder", runner.bucket());
    let key = format!("artifacts/{second}");
    let arguments =
        ["restore", "--store", &store, "--scope", "assets", "--key", &key, "--to", "got"];
    next.run(&mut next.entrypoint_with_keys(&arguments)).ok();
    let names = std::fs::read_dir(next.sandbox().work("got")).unwrap().count();
    assert_eq!(names, 2);

    // A commit that changes the sources.
    write(root.join("lambdas/new.js"), "new");
    commit(&root);
    let last = clone(&runner);
    last.run(&mut task(&last, check)).ok().prints("they have to be built");
    assert_ne!(left(&last, ".code-hash"), Some(code));
    assert_eq!(left(&last, ".found"), None);
}

/// Plain objects that somebody deleted, or that never were, come from the store.
#[test]
fn plain_objects_are_completed() {
    let Some(runner) = Runner::new() else { return };
    let root = runner.sandbox().work("repo");
    repository(&root);
    let with = |step: &str, plain: &str| {
        let mut command = runner.entrypoint_with_keys(&["plugin", step]);
        command
            .env("PACKAGE_ASSETS_BUCKET", runner.bucket())
            .env("CODE_HASH_FIND_FILTER", "lambdas/**")
            .env("LARDER_ASSETS_PLAIN", plain);
        runner.run(&mut command).ok()
    };
    with("check", "false");
    build(&runner);
    with("upload", "false");
    runner.assert_all_below(&["larder/"]);
    let first = git(&root, &["rev-parse", "HEAD"]);
    with("check", "true").prints("packages of this commit are stored");
    let one = format!("artifacts/{first}/one.zip");
    assert_eq!(runner.job.bucket.get(&one), vec![1; 300_000]);
    // Half of them gone.
    runner.job.bucket.delete(&one);
    with("check", "true");
    assert_eq!(runner.job.bucket.get(&one), vec![1; 300_000]);
    // A commit of the same sources, of which no plain objects are in the cache.
    let second = commit(&root);
    with("check", "true").prints("packages of the same sources");
    let copied = format!("artifacts/{second}/one.zip");
    assert_eq!(runner.job.bucket.get(&copied), vec![1; 300_000]);
    assert_eq!(runner.job.bucket.metadata(&copied)["commit-hash"], second);
}

/// A machine with a repository, that runs steps with one filter.
struct Pipeline {
    runner: Runner,
}

impl Pipeline {
    fn new() -> Option<Self> {
        let runner = Runner::new()?;
        repository(&runner.sandbox().work("repo"));
        Some(Self { runner })
    }

    #[track_caller]
    fn run(&self, step: &str, variables: &[(&str, &str)]) -> crate::sandbox::Run {
        let mut command = self.runner.entrypoint_with_keys(&["plugin", step]);
        command
            .env("PACKAGE_ASSETS_BUCKET", self.runner.bucket())
            .env("CODE_HASH_FIND_FILTER", "lambdas/**")
            .envs(variables.iter().copied());
        self.runner.run(&mut command)
    }

    fn package(&self, name: &str) -> std::path::PathBuf {
        self.runner.sandbox().work("packages").join(name)
    }

    fn head(&self) -> String {
        git(&self.runner.sandbox().work("repo"), &["rev-parse", "HEAD"])
    }
}

/// A check took the manifest for the packages: of those that a rule of the bucket
/// had deleted, it said that they were stored, for ever.
#[test]
fn packages_that_are_gone_are_not_found() {
    let Some(pipeline) = Pipeline::new() else { return };
    let plain = [("LARDER_ASSETS_PLAIN", "false")];
    pipeline.run("check", &plain).ok();
    build(&pipeline.runner);
    pipeline.run("upload", &plain).ok();
    for pack in pipeline.runner.packs() {
        pipeline.runner.job.bucket.delete(&pack);
    }
    for _ in 0..2 {
        pipeline.run("check", &plain).ok().prints("they have to be built");
        assert!(!pipeline.package(".found").exists());
    }
    // With plain objects, too: what is there is not what the store can give.
    pipeline.run("check", &[]).ok().prints("they have to be built");
    pipeline.run("upload", &[]).ok();
    pipeline.run("check", &[]).ok().prints("packages of this commit are stored");
    let store = format!("s3://{}/larder", pipeline.runner.bucket());
    let verify = ["verify", "--read-data", "--all-scopes", "--store", &store];
    pipeline.runner.run(&mut pipeline.runner.entrypoint_with_keys(&verify)).ok();
}

/// The commit's own manifest is damaged, and the packages of the same sources are
/// whole: then those are the commit's again.
#[test]
fn a_damaged_manifest_is_replaced() {
    let Some(pipeline) = Pipeline::new() else { return };
    let plain = [("LARDER_ASSETS_PLAIN", "false")];
    pipeline.run("check", &plain).ok();
    build(&pipeline.runner);
    pipeline.run("upload", &plain).ok();
    let manifests = pipeline.runner.job.bucket.keys_with("/manifests/");
    let of_commit = manifests.iter().find(|key| key.contains(&pipeline.head())).unwrap();
    pipeline.runner.job.bucket.put(of_commit, "nonsense");
    pipeline.run("check", &plain).ok().says("warning: not used: ").prints("of the same sources");
    pipeline.run("check", &plain).ok().prints("packages of this commit are stored");
}

/// The store would take plain objects beside it for somebody else's.
#[test]
fn plain_objects_and_a_store_at_the_root_do_not_go_together() {
    let Some(pipeline) = Pipeline::new() else { return };
    let store = format!("s3://{}", pipeline.runner.bucket());
    let check = ["assets", "check", "--store", &store, "--plain"];
    pipeline
        .runner
        .run(&mut pipeline.runner.entrypoint_with_keys(&check))
        .exits(2)
        .says("a prefix");
}

/// Both steps mean the same directory.
#[test]
fn the_package_directory_may_be_in_the_home_directory() {
    let Some(pipeline) = Pipeline::new() else { return };
    let home = [("PACKAGE_DIRECTORY", "~/packages")];
    pipeline.run("check", &home).ok();
    write(pipeline.runner.sandbox().path("home/packages/one.zip"), "one");
    pipeline.run("upload", &home).ok().prints("1 file, 3 B");
    // A hash that is none is no reason to fall over.
    write(pipeline.runner.sandbox().path("home/packages/.commit-hash"), "a".repeat(600));
    pipeline.run("upload", &home).exits(103);
}

/// Links were stored as links, which lead nowhere once they are restored.
#[test]
fn packages_that_are_links_are_what_they_lead_to() {
    let Some(pipeline) = Pipeline::new() else { return };
    pipeline.run("check", &[]).ok();
    write(pipeline.runner.sandbox().work("built/app.zip"), "app");
    std::os::unix::fs::symlink("../built/app.zip", pipeline.package("app.zip")).unwrap();
    std::os::unix::fs::symlink("nowhere", pipeline.package("broken")).unwrap();
    pipeline.run("upload", &[]).ok().prints("1 file, 3 B");
    let commit = pipeline.head();
    let name = format!("artifacts/{commit}/app.zip");
    assert_eq!(pipeline.runner.job.bucket.get(&name), b"app");
    let store = format!("s3://{}/larder", pipeline.runner.bucket());
    let key = format!("artifacts/{commit}");
    let restore = ["restore", "--store", &store, "--scope", "assets", "--key", &key, "--to", "got"];
    pipeline.runner.run(&mut pipeline.runner.entrypoint_with_keys(&restore)).ok();
    assert_eq!(std::fs::read(pipeline.runner.sandbox().work("got/app.zip")).unwrap(), b"app");
    // A plain object that is lost comes back.
    pipeline.runner.job.bucket.delete(&name);
    pipeline.run("check", &[]).ok().prints("wrote 1 plain object");
    assert_eq!(pipeline.runner.job.bucket.get(&name), b"app");
}

/// A name that no object can have was found out after the commit had been stored:
/// from then on every check of it failed.
#[test]
fn a_name_that_no_object_can_have_stores_nothing() {
    use std::os::unix::ffi::OsStrExt as _;
    let Some(pipeline) = Pipeline::new() else { return };
    pipeline.run("check", &[]).ok();
    let odd = pipeline.package("x").with_file_name(std::ffi::OsStr::from_bytes(b"\xff.zip"));
    write(&odd, "odd");
    write(pipeline.package("plain.zip"), "plain");
    pipeline.run("upload", &[]).exits(1).says("cannot be the name of a plain object");
    assert_eq!(pipeline.runner.job.bucket.objects().len(), 0);
    pipeline.run("check", &[]).ok().prints("they have to be built");
    write(pipeline.package("plain.zip"), "plain");
    pipeline.run("upload", &[("LARDER_ASSETS_PLAIN", "false")]).ok().prints("2 files");
}

/// Only the first page was seen; and the server does the copying.
#[test]
fn more_packages_than_a_page_has() {
    let Some(pipeline) = Pipeline::new() else { return };
    pipeline.run("check", &[]).ok();
    for number in 0..1_050 {
        write(pipeline.package(&format!("{number}.zip")), format!("package {number}"));
    }
    let bytes = |log: &[crate::proxy::Entry]| log.iter().map(|entry| entry.sent).sum::<u64>();
    let (_, log) = pipeline.runner.job.under([], || pipeline.run("upload", &[]).ok());
    let puts = log.iter().filter(|entry| entry.is("PUT", "/artifacts/")).count();
    let copies = log.iter().filter(|entry| entry.is("PUT", "/cache/") && entry.sent == 0).count();
    assert_eq!((puts, copies), (1_050, 1_050));
    commit(&pipeline.runner.sandbox().work("repo"));
    let (run, log) = pipeline.runner.job.under([], || pipeline.run("check", &[]).ok());
    run.prints("packages of the same sources").prints("wrote 1,050 plain objects");
    assert!(bytes(&log) < 100_000, "{}", bytes(&log));
    let name = format!("artifacts/{}/", pipeline.head());
    assert_eq!(pipeline.runner.job.bucket.keys_with(&name).len(), 1_050);
}

/// The number of each failure is what pipelines look at.
#[test]
fn exit_codes_are_those_of_the_asset_manager() {
    let Some(runner) = Runner::new() else { return };
    let run = |step: &str, variables: &[(&str, &str)], bucket: bool| {
        let mut command = runner.entrypoint_with_keys(&["plugin", step]);
        if bucket {
            command.env("PACKAGE_ASSETS_BUCKET", runner.bucket());
        }
        runner.run(command.envs(variables.iter().copied()))
    };
    let work = runner.sandbox().work("");
    write(work.join("file"), "");

    run("check", &[], false).exits(100).says("error[L0221]: no bucket is given");
    run("check", &[], true).exits(101).says("error[L0222]: there is no directory ./repo");
    repository(&work.join("repo"));
    run("check", &[("PACKAGE_DIRECTORY", "file/x")], true).exits(102).says("file/x");
    run("check", &[("GIT_REPO_PATH", ".")], true).exits(103).says("is not the root of a git");
    std::fs::create_dir(work.join("empty")).unwrap();
    git(&work.join("empty"), &["init", "-q"]);
    run("check", &[("GIT_REPO_PATH", "empty")], true).exits(103).says("it has no commit");
    git(&work, &["init", "-q", "--bare", "bare.git"]);
    run("check", &[("GIT_REPO_PATH", "bare.git")], true).exits(103).says("bare repository");
    run("check", &[], true).exits(0);

    run("upload", &[("PACKAGE_DIRECTORY", "nowhere")], true).exits(100).says("nowhere");
    run("upload", &[], false).exits(101).says("error[L0221]: no bucket is given");
    run("upload", &[], true).exits(102).says("there are no files to keep");
    build(&runner);
    std::fs::remove_file(work.join("packages/.commit-hash")).unwrap();
    run("upload", &[], true).exits(103).says("does not say which commit");
    write(work.join("packages/.commit-hash"), "../../evil");
    run("upload", &[], true).exits(103);
    // Found before: not even a bucket is needed.
    write(work.join("packages/.found"), "");
    run("upload", &[], false).exits(0);
    assert_eq!(runner.job.bucket.objects().len(), 0);

    // A step is the asset manager's, whatever else is there, unless that is denied.
    let mut other = runner.entrypoint_with_keys(&["plugin", "upload"]);
    other.env("PLUGIN_MTU", "1400");
    runner.run(&mut other).exits(0);
    let mut foreign = runner.entrypoint(&["plugin", "check"]);
    foreign.env("PLUGIN_BUCKET", "b").env("LARDER_PLUGIN", "drone");
    runner
        .run(&mut foreign)
        .exits(2)
        .says("is one of the asset manager, but these are settings of drone");
    let mut stepless = runner.entrypoint(&["plugin"]);
    stepless.env("PACKAGE_ASSETS_BUCKET", "bucket");
    runner.run(&mut stepless).exits(2).says("larder plugin check");
}

/// On the command line: a directory for a store, and no variables.
#[test]
fn natively() {
    let Some(runner) = Runner::new() else { return };
    let root = runner.sandbox().work("src");
    repository(&root);
    let run = |arguments: &[&str]| {
        let mut command = runner.entrypoint(arguments);
        command.env("LARDER_STORE", runner.sandbox().path("store"));
        runner.run(&mut command)
    };
    let check = [
        "--json",
        "assets",
        "check",
        "--repository",
        "src",
        "--filter",
        "lambdas/** x",
        "--packages",
        "out",
    ];
    let report = run(&check).ok().json();
    assert_eq!(report["found"], Value::Null);
    plant(&runner.sandbox().work("out/deep"), 4, 7);
    let report = run(&["--json", "assets", "upload", "--packages", "out"]).ok().json();
    assert_eq!((&report["files"], &report["plain_objects_written"]), (&5.into(), &0.into()));
    assert_eq!(run(&check).ok().json()["found"], "commit");
    commit(&root);
    let report = run(&check).ok().json();
    assert_eq!(report["found"], "code");
    let key = format!("artifacts/{}", report["commit"].as_str().unwrap());
    run(&["restore", "--scope", "assets", "--key", &key, "--to", "got"]).ok();
    assert_same_listing(&runner.sandbox().work("out/deep"), &runner.sandbox().work("got/deep"));
    // Packages of a commit stay, those of sources are a cache.
    let shown = |key: &str| run(&["--json", "show", "--scope", "assets", key]).ok().json();
    assert_eq!(shown(&key)["pinned"], true);
    assert_eq!(shown(&format!("cache/{}", report["code_hash"].as_str().unwrap()))["pinned"], false);

    run(&["assets", "upload", "--packages", "out", "--plain"]).exits(0);
    // As the plugin does it, plain objects are for buckets.
    let mut plugin = runner.entrypoint(&["plugin", "check"]);
    plugin.env("LARDER_STORE", runner.sandbox().path("store"));
    plugin.envs([("GIT_REPO_PATH", "src"), ("PACKAGE_DIRECTORY", "out")]);
    runner.run(&mut plugin).ok().prints("packages of this commit are stored");
    remove(runner.sandbox().work("out"));
    run(&["assets", "check", "--repository", "src", "--packages", "out", "--plain"])
        .exits(2)
        .says("plain objects need a store in S3");
    run(&["assets", "check", "--repository", "src", "--packages", "out", "--filter", "no-such/**"])
        .exits(0);
    let lone = commit(&root);
    run(&["assets", "check", "--repository", "src", "--packages", "out", "--filter", "no-such/**"])
        .ok()
        .says("warning: no file in src matches no-such/**")
        .prints(&lone);
}
