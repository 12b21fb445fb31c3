//! What CI systems are told: the files and programs that a job's environment has, read
//! back as the systems read them.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use crate::support::{Run, Sandbox, chmod, contents, plant, run, write};

/// larder in a job that has a place for everything.
fn job(sandbox: &Sandbox, arguments: &[&str]) -> Command {
    let mut command = sandbox.command(arguments);
    for (variable, file) in [
        ("GITHUB_OUTPUT", "github"),
        ("GITHUB_STEP_SUMMARY", "summary"),
        ("DRONE_OUTPUT", "drone"),
        ("LARDER_DOTENV", "dotenv"),
        ("BASH_ENV", "bash"),
    ] {
        command.env(variable, sandbox.path(file));
    }
    command.env("CIRCLECI", "true");
    command
}

fn text(sandbox: &Sandbox, file: &str) -> String {
    fs::read_to_string(sandbox.path(file)).unwrap_or_default()
}

/// Outputs as GitHub's runner reads them: whichever of `=` and `<<` comes first counts.
fn outputs(sandbox: &Sandbox) -> BTreeMap<String, String> {
    let text = text(sandbox, "github");
    let mut outputs = BTreeMap::new();
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        let (equals, begin) = (line.find('='), line.find("<<"));
        let (name, value) = match (equals, begin) {
            (Some(at), _) if begin.is_none_or(|begin| at < begin) => {
                (&line[..at], line[at + 1..].to_owned())
            }
            (_, Some(at)) => {
                let end = &line[at + 2..];
                let value: Vec<&str> = lines.by_ref().take_while(|line| *line != end).collect();
                (&line[..at], value.join("\n"))
            }
            _ => panic!("neither a value nor its begin: {line}"),
        };
        outputs.insert(name.to_owned(), value);
    }
    outputs
}

/// Variables of a file with one a line.
fn variables(text: &str) -> BTreeMap<&str, &str> {
    text.lines().map(|line| line.split_once('=').unwrap()).collect()
}

const KEY: &str = "a|b=`c` <<d 'e' $(f) %0A";

#[test]
fn a_restore_tells_all_systems_what_it_moved() {
    let sandbox = Sandbox::new();
    plant(&sandbox.work("tree"), 60, 1);
    sandbox.larder(["save", "--key", KEY, "tree"]).ok();
    fs::remove_file(sandbox.work("tree/big.bin")).unwrap();
    let result = run(&mut job(&sandbox, &["--json", "restore", "--key", KEY])).ok().json();

    let found = outputs(&sandbox);
    assert_eq!(found["cache-hit"], "true");
    assert_eq!(
        (found["cache-primary-key"].as_str(), found["cache-matched-key"].as_str()),
        (KEY, KEY)
    );
    let number = |name: &str| found[name].parse::<u64>().unwrap();
    let told = |field: &str| result[field].as_u64().unwrap();
    assert_eq!(number("cache-bytes"), told("raw_bytes"));
    assert_eq!(number("cache-fetched-bytes"), told("fetched_bytes"));
    assert_eq!(number("cache-in-place-bytes"), told("raw_bytes") - (3 << 20));
    // One big file was fetched, which is noise, and the rest is what an archive has more.
    assert!(number("cache-fetched-bytes") >= 3 << 20);
    assert_eq!(number("cache-avoided-bytes"), told("stored_bytes") - told("fetched_bytes"));
    assert!(number("cache-avoided-bytes") > 0);

    let dotenv = text(&sandbox, "dotenv");
    assert_eq!(variables(&dotenv)["CACHE_MATCHED_KEY"], KEY);
    assert_eq!(dotenv, text(&sandbox, "drone"));
    let script = format!(". {}; printf %s \"$CACHE_MATCHED_KEY\"", sandbox.path("bash").display());
    let shell = run(Command::new("sh").args(["-ec", &script])).ok();
    assert_eq!(shell.stdout, KEY);
    let summary = text(&sandbox, "summary");
    assert_eq!(summary.matches("| exact | <code>a&#124;b").count(), 1, "{summary}");

    // All is in place: the whole archive is what was avoided.
    run(&mut job(&sandbox, &["-q", "restore", "--key", KEY])).ok();
    let found = outputs(&sandbox);
    assert_eq!(found["cache-fetched-bytes"], "0");
    assert_eq!(found["cache-avoided-bytes"], told("stored_bytes").to_string());
    assert_eq!(found["cache-in-place-bytes"], told("raw_bytes").to_string());
    assert_eq!(text(&sandbox, "summary").matches("#### larder restore").count(), 2);
}

/// A repository with two caches.
fn repository() -> Sandbox {
    let sandbox = Sandbox::new();
    write(
        sandbox.work("larder.toml"),
        "[cache.npm]\nkey = 'npm-1'\npaths = ['npm']\n\
         [cache.'go.mod']\nkey = 'go-1'\nrestore-keys = ['go-']\npaths = ['go']\n",
    );
    write(sandbox.work("npm/a"), "a");
    write(sandbox.work("go/b"), "b");
    sandbox
}

#[test]
fn several_caches_have_totals_and_values_of_their_own() {
    let sandbox = repository();
    run(&mut job(&sandbox, &["restore"])).ok();
    let found = outputs(&sandbox);
    let hits = |found: &BTreeMap<String, String>| {
        ["cache-hit", "cache-hit-kind", "npm-cache-hit", "go-mod-cache-hit-kind"]
            .map(|name| found[name].clone())
            .join(" ")
    };
    assert_eq!(hits(&found), "false miss false miss");

    run(&mut job(&sandbox, &["save"])).ok();
    let saved = outputs(&sandbox);
    assert_eq!((&*saved["cache-save-result"], &*saved["npm-cache-saved-key"]), ("saved", "npm-1"));
    run(&mut job(&sandbox, &["restore"])).ok();
    let found = outputs(&sandbox);
    assert_eq!(hits(&found), "true exact true exact");
    assert!(!found.contains_key("cache-matched-key"), "there are two");
    assert_eq!(found["go-mod-cache-matched-key"], "go-1");

    let toml = text(&sandbox, "work/larder.toml").replace("'go-1'", "'go-2'");
    write(sandbox.work("larder.toml"), toml);
    run(&mut job(&sandbox, &["lookup"])).ok();
    let found = outputs(&sandbox);
    assert_eq!(hits(&found), "false prefix true prefix");
    assert_eq!(found["go-mod-cache-primary-key"], "go-2");

    let dotenv = text(&sandbox, "dotenv");
    let variables = variables(&dotenv);
    assert_eq!(
        (variables["GO_MOD_CACHE_MATCHED_KEY"], variables["NPM_CACHE_HIT"]),
        ("go-1", "true")
    );
    let summary = text(&sandbox, "summary");
    let headings: Vec<&str> = summary.lines().filter(|line| line.starts_with('#')).collect();
    assert_eq!(headings, ["#### larder restore", "#### larder save", "#### larder restore"]);
}

#[test]
fn a_cache_that_fails_is_told_of_beside_the_others() {
    let sandbox = repository();
    fs::remove_dir_all(sandbox.work("go")).unwrap();
    run(&mut job(&sandbox, &["save"])).exits(1);
    let saved = outputs(&sandbox);
    let results = ["cache-save-result", "npm-cache-save-result", "go-mod-cache-save-result"];
    assert_eq!(results.map(|name| &*saved[name]), ["failed", "saved", "failed"]);

    for (path, bytes) in contents(&sandbox.store()) {
        if path.components().any(|part| part.as_os_str() == "manifests") {
            fs::write(path, &bytes[..bytes.len() / 2]).unwrap();
        }
    }
    let restore = |more: &str| run(&mut job(&sandbox, &["restore", "npm", more]));
    restore("--ignore-error").ok();
    assert_eq!(outputs(&sandbox)["cache-hit-kind"], "failed");
    assert_eq!(outputs(&sandbox)["npm-cache-hit"], "false");
    fs::remove_file(sandbox.path("github")).unwrap();
    restore("--no-stat-record").exits(4);
    assert_eq!(outputs(&sandbox)["cache-hit"], "false");
}

#[test]
fn what_is_not_wanted_is_not_told() {
    let sandbox = repository();
    let told = |arguments: &[&str]| {
        run(&mut job(&sandbox, arguments)).ok();
        let files = ["github", "summary", "drone", "bash", "dotenv"];
        let told = files.into_iter().filter(|file| fs::remove_file(sandbox.path(file)).is_ok());
        told.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(told(&["save", "npm"]), "github summary drone bash dotenv");
    assert_eq!(told(&["restore", "npm", "--ci-outputs", "summary"]), "summary dotenv");
    assert_eq!(told(&["restore", "npm", "--ci-outputs", "never"]), "dotenv");
    assert_eq!(told(&["lookup", "npm"]), "github drone bash dotenv");
    assert_eq!(told(&["list"]), "");
}

#[test]
fn a_place_that_cannot_be_written_is_a_warning() {
    let sandbox = repository();
    let gone = sandbox.path("gone/output");
    let mut command = job(&sandbox, &["restore", "npm"]);
    let run = run(command.env("GITHUB_OUTPUT", &gone)).ok();
    let warning = format!("warning: cannot write to {}: ", gone.display());
    assert_eq!(run.stderr.matches(&warning).count(), 1, "{}", run.stderr);
    assert!(run.stdout.contains("there is no cache for npm-1"), "{}", run.stdout);
    assert!(text(&sandbox, "drone").contains("NPM_CACHE_HIT=false\n"));
}

/// larder in a job of Buildkite's, whose agent does this with each value.
fn buildkite(sandbox: &Sandbox, agent: &str) -> Run {
    write(sandbox.path("bin/buildkite-agent"), format!("#!/bin/sh\n{agent}\n"));
    chmod(sandbox.path("bin/buildkite-agent"), 0o755);
    let mut command = sandbox.command(["lookup", "--key=-k%"]);
    let path = std::env::var("PATH").unwrap();
    command
        .env("PATH", format!("{}:{path}", sandbox.path("bin").display()))
        .env("LOG", sandbox.path("log"))
        .env("BUILDKITE", "true")
        .env("BUILDKITE_STEP_KEY", "test");
    run(&mut command)
}

#[test]
fn buildkite_gets_meta_data() {
    let sandbox = Sandbox::new();
    write(sandbox.work("tree/a"), "a");
    sandbox.larder(["save", "--key=-k%", "tree"]).ok();
    let quiet = buildkite(&sandbox, r#"echo "$* $(cat)" >> "$LOG""#).ok();
    assert!(!quiet.stderr.contains("warning"), "{}", quiet.stderr);
    let log = text(&sandbox, "log");
    let mut set: Vec<&str> = log.lines().collect();
    set.sort_unstable();
    assert_eq!(
        set,
        [
            "meta-data set test:cache-hit true",
            "meta-data set test:cache-hit-kind exact",
            "meta-data set test:cache-matched-key -k%",
        ]
    );
    let failed = buildkite(&sandbox, "echo 'fatal: no token' >&2; exit 1").ok();
    let told = "warning: buildkite-agent cannot set the meta-data test:cache-";
    assert_eq!(failed.stderr.matches(told).count(), 1, "{}", failed.stderr);
    assert!(failed.stderr.contains(": fatal: no token\n"));
}

#[test]
fn azure_gets_variables_by_its_log_and_results_stay_alone_on_stdout() {
    let sandbox = Sandbox::new();
    let lookup = |more: &[&str]| {
        let arguments = ["--json", "lookup", "--key", "k"];
        let mut command = sandbox.command(arguments.iter().chain(more));
        let run = run(command.env("TF_BUILD", "True")).exits(3);
        assert_eq!(run.json()["hit"], "miss");
        run.stderr
    };
    insta::assert_snapshot!(lookup(&[]), @"
    ##vso[task.setvariable variable=CACHE_HIT]false
    ##vso[task.setvariable variable=CACHE_HIT_KIND]miss
    ##vso[task.setvariable variable=CACHE_PRIMARY_KEY]k
    ##vso[task.setvariable variable=CACHE_MATCHED_KEY]
    ");
    assert_eq!(lookup(&["--log-format", "json"]), "");
    assert_eq!(lookup(&["--ci-outputs", "never"]), "");
}
