//! The container image as far as it can be judged without building it:
//! `tests/image.sh` builds and runs it, where base images can be had.

// Helpers of tests panic like the tests that call them.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(repository().join(name)).unwrap()
}

/// The instructions, each on one line, without comments.
fn instructions() -> Vec<String> {
    let text = read("Dockerfile").replace("\\\n", " ");
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

/// What follows the name of the only such instruction.
fn only(name: &str) -> String {
    let lines = instructions();
    let mut found = lines.iter().filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let rest = found.next().unwrap_or_else(|| panic!("there is no {name}"));
    assert_eq!(found.next(), None, "{name} is there twice");
    rest.to_owned()
}

/// What is copied from the repository, in order.
fn copied() -> Vec<String> {
    let mut copied = vec![];
    for line in instructions() {
        let Some(rest) = line.strip_prefix("COPY ") else { continue };
        let mut words: Vec<&str> = rest.split(' ').collect();
        words.pop().expect("a target");
        if !words.iter().any(|word| word.starts_with("--from=")) {
            copied.extend(words.into_iter().map(str::to_owned));
        }
    }
    copied
}

/// Whether the builder gets to see a file at the top of the repository.
fn is_sent(name: &str) -> bool {
    let mut is_sent = true;
    for line in read(".dockerignore").lines().filter(|line| !line.starts_with('#')) {
        let (kept, pattern) = match line.strip_prefix('!') {
            Some(pattern) => (true, pattern),
            None => (false, line),
        };
        let matches = match pattern.strip_suffix('*') {
            Some(start) => name.starts_with(start),
            None => name == pattern,
        };
        if matches {
            is_sent = kept;
        }
    }
    is_sent
}

#[test]
fn all_that_is_copied_is_there_and_nothing_else_is_sent() {
    let copied = copied();
    for name in &copied {
        assert!(repository().join(name).exists(), "{name} is not there");
        assert!(is_sent(name), ".dockerignore excludes {name}");
    }
    for entry in fs::read_dir(repository()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert_eq!(is_sent(&name), copied.contains(&name), "{name}: .dockerignore and COPY differ");
    }
    let needs_script = repository().join("build.rs").exists();
    assert!(!needs_script || copied.iter().any(|name| name == "build.rs"), "build.rs");
}

/// cargo refuses a manifest that names targets whose sources are absent, and the
/// image is built without the benches.
#[test]
fn cargo_takes_the_manifest_with_what_stands_for_the_sources() {
    let place = tempfile::tempdir().unwrap();
    for name in ["Cargo.toml", "Cargo.lock"] {
        fs::copy(repository().join(name), place.path().join(name)).unwrap();
    }
    let lines = instructions();
    let script = lines.iter().find_map(|line| line.strip_prefix("RUN ")).unwrap();
    let script = script.strip_suffix(" && cargo build --locked --release").unwrap();
    let made = Command::new("sh").args(["-ec", script]).current_dir(place.path()).status();
    assert!(made.unwrap().success(), "{script}");
    let cargo = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--locked", "--format-version=1"])
        .current_dir(place.path())
        .output()
        .unwrap();
    assert!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&cargo.stdout).unwrap();
    for target in metadata["packages"][0]["targets"].as_array().unwrap() {
        let needed = ["lib", "bin"].map(serde_json::Value::from).contains(&target["kind"][0]);
        let source = PathBuf::from(target["src_path"].as_str().unwrap());
        assert!(!needed || source.exists(), "{}", source.display());
    }
}

#[test]
fn it_starts_and_is_labelled_as_the_documents_say() {
    let entrypoint = only("ENTRYPOINT");
    assert_eq!(entrypoint, r#"["/usr/local/bin/larder", "plugin"]"#);
    let page = read("docs/migrating/README.md");
    assert!(page.contains(&entrypoint), "the page has another entrypoint than {entrypoint}");
    let text = instructions().join("\n");
    for step in ["check", "upload"] {
        assert!(text.contains(&format!("ln -s larder /programs/{step}")), "{step}");
    }
    let labels = only("LABEL");
    for value in [env!("CARGO_PKG_DESCRIPTION"), env!("CARGO_PKG_LICENSE")] {
        assert!(labels.contains(&format!("\"{value}\"")), "{value} is not among {labels}");
    }
}

#[test]
fn the_compiler_is_one_that_the_manifest_allows() {
    let image = instructions()
        .iter()
        .find_map(|line| {
            line.strip_prefix("ARG RUST_IMAGE=docker.io/library/rust:").map(String::from)
        })
        .unwrap();
    let numbers = |version: &str| -> Vec<u32> {
        version.split('.').map(|number| number.parse().unwrap()).collect()
    };
    let (version, debian) = image.split_once("-slim-").unwrap();
    assert!(numbers(version) >= numbers(env!("CARGO_PKG_RUST_VERSION")), "{version} is too old");
    // The page on jobs says where a copy of the program runs.
    assert!(read("docs/ci/README.md").contains(&format!("({debian})")), "{debian}");
}
