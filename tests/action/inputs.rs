//! Inputs that are wrong or mean harm, and definitions that agree with the
//! scripts and with the page of documentation.

use std::collections::BTreeSet;
use std::fs;

use crate::job::{Job, definition, repository};
use crate::sandbox::write;

#[test]
fn wrong_inputs_fail_the_job() {
    let long = "k".repeat(513);
    for (name, value, message) in [
        ("key", "", "the input key is missing"),
        ("path", "", "the input path is missing"),
        ("store", "", "the input store is missing, and LARDER_STORE is not set"),
        ("path", "!tree", "the input path names nothing to save"),
        ("path", "tree/[z-a]*", "a pattern that cannot be read: tree/[z-a]*"),
        ("lookup-only", "yes", "the input lookup-only is neither true nor false: yes"),
        ("fail-on-cache-miss", "1", "the input fail-on-cache-miss is neither true nor false: 1"),
        ("larder", "nowhere/larder", "the input larder names no program"),
        ("store", "s3://bucket?nonsense=1", "unknown word \"nonsense\""),
        ("scope", "two\nlines", "invalid scope"),
        ("fallback-scopes", "main,old", "fallback-scopes has one scope a line, without commas"),
        ("fallback-scopes", "main\nt\two", "invalid scope"),
        ("key", long.as_str(), "a key has at most 512 bytes"),
        ("key", "two\nlines", "a key has to be one line of plain text"),
        ("restore-keys", "a\tb", "a key has to be one line of plain text"),
    ] {
        Job::new().input(name, value).main().fails(message);
    }
    let mut job = Job::of("save").input("key", "");
    job.main().fails("the input key is missing");
}

#[test]
fn keys_are_never_flags_or_commands() {
    let keys = [
        "--help",
        "-v",
        "::error::no",
        "%0A::error::no",
        "##[error]no",
        "x ##[add-mask]y",
        "$(touch no)`touch no`;touch no",
        "cache-hit<<EOF",
        "key with spaces, commas and 'quotes\"",
    ];
    for key in keys {
        let mut job = Job::new().input("key", key).input("restore-keys", &format!("{key}-"));
        let main = job.main().ok();
        assert_eq!(main.outputs["cache-primary-key"], key);
        assert_eq!(main.outputs.len(), 3);
        let post = job.post().ok();
        assert_eq!(job.keys(), [key]);
        let mut job = job.next();
        let again = job.main().ok();
        assert_eq!(again.hit(), ("true", key));
        for step in [&main, &post, &again] {
            let names: Vec<&str> = step.commands.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(names, ["group", "endgroup"], "{}", step.run.stdout);
        }
        assert!(!job.sandbox.work("no").exists());
    }
}

#[test]
fn a_key_of_two_lines_injects_nothing() {
    for key in ["a\ncache-hit=true", "a\r\n::error::no", "a\nlarder-0\ncache-hit<<X\ntrue\nX"] {
        let main = Job::new().input("key", key).main().fails("a key has to be one line");
        assert!(main.outputs.is_empty());
        assert_eq!(main.commands.len(), 1);
    }
}

#[test]
fn names_of_files_are_no_commands() {
    let mut job = Job::new();
    for name in ["::error::no", "##[error]no", "\n::error::no\n"] {
        let path = job.sandbox.work("tree").join(name);
        let made = std::process::Command::new("mkfifo").arg("--").arg(path).status();
        assert!(made.unwrap().success());
        write(job.sandbox.work("tree/dir").join(name), name);
    }
    job.main().ok();
    // It warns of the fifos, by their names.
    let post = job.post().ok();
    assert!(post.run.stdout.contains("is left out: it is a fifo"));
    assert!(post.told("error").is_empty());
    let mut job = job.next();
    job.main().ok();
    assert_eq!(job.tree().len(), 6);
}

/// The names that calls of a function have in scripts.
fn called(scripts: &[&str], functions: &[&str]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for script in scripts {
        let text = fs::read_to_string(repository("action").join(script)).unwrap();
        for function in functions {
            for call in text.split(&format!("{function}('")).skip(1) {
                names.insert(call.split_once('\'').unwrap().0.to_owned());
            }
        }
    }
    names
}

#[test]
fn definitions_and_scripts_agree() {
    let inputs = |scripts: &[&str]| called(scripts, &["input", "requiredInput", "flag"]);
    let main = inputs(&["main.js", "larder.js"]);
    let post = inputs(&["post.js", "larder.js"]);
    let declared = |directory| definition(directory).inputs.into_keys().collect::<BTreeSet<_>>();
    assert_eq!(declared(""), &main | &post);
    assert_eq!(declared("restore"), main);
    assert_eq!(declared("save"), post);

    let outputs = called(&["main.js"], &["setOutput"]);
    for directory in ["", "restore"] {
        let declared: BTreeSet<String> = definition(directory).outputs.into_iter().collect();
        assert_eq!(declared, outputs);
    }
    assert!(called(&["post.js"], &["setOutput"]).is_empty());
    assert_eq!(called(&["post.js"], &["state"]), called(&["main.js"], &["saveState"]));
    assert_eq!(definition("").runs["post-if"], "success()");
}

#[test]
fn the_page_names_every_input_and_output() {
    let page = fs::read_to_string(repository("docs/ci/github-actions.md")).unwrap();
    let all = definition("");
    for name in all.inputs.keys().chain(&all.outputs) {
        assert!(page.contains(&format!("\n| `{name}` |")), "the page's tables do not name {name}");
    }
}
