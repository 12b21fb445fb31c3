//! Files that `larder init` writes are sound, whatever a repository holds.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

use super::*;
use crate::config::{Config, FILE_NAME};

/// A directory with these files.
fn directory(files: &[&str]) -> tempfile::TempDir {
    let top = tempfile::tempdir().unwrap();
    for file in files {
        let path = top.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "").unwrap();
    }
    top
}

/// The file for a directory, as it is read back.
fn config(top: &Path) -> Config {
    std::fs::write(top.join(FILE_NAME), draft(top).text).unwrap();
    let read = Config::read(&PathBuf::from(FILE_NAME), top, Some(Path::new("/home/ci")));
    read.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn what_is_written_for_each_tool_can_be_read_and_gives_keys() {
    for tool in &ecosystems::ECOSYSTEMS {
        for marker in tool.markers {
            let marker = marker.replace('*', "x");
            let top = directory(&[&marker, &format!("packages/a/{marker}")]);
            let config = config(top.path());
            let cache = config.caches.iter().find(|cache| cache.name == tool.name);
            let cache = cache.unwrap_or_else(|| panic!("{marker} makes no {}", tool.name));
            for os in ["linux", "macos"] {
                let engine = engine(top.path(), os);
                let render = |template: &str| {
                    let text = engine.render_text(template);
                    text.unwrap_or_else(|error| panic!("{}: {error}", tool.name))
                };
                let key = render(&cache.key.value);
                let start = format!("{}-{os}-x86_64-", tool.name);
                assert!(key.len() > start.len() && key.starts_with(&start), "{key}");
                assert_eq!(render(&cache.restore_keys[0].value), start);
                for path in &cache.paths {
                    let path = render(&path.value);
                    let is_library = path.starts_with("~/Library/");
                    assert!(!is_library || os == "macos", "{path} on {os}");
                    assert!(!path.starts_with('/'), "{path}");
                }
            }
        }
    }
}

fn engine(directory: &Path, os: &'static str) -> crate::keys::Engine {
    engine_with(directory, os, BTreeMap::new())
}

fn engine_with(
    directory: &Path,
    os: &'static str,
    variables: BTreeMap<OsString, OsString>,
) -> crate::keys::Engine {
    crate::keys::Engine::new(crate::keys::Surroundings {
        directory: directory.to_owned(),
        variables,
        now: std::time::SystemTime::UNIX_EPOCH,
        os,
        arch: "x86_64",
        stop: std::sync::Arc::default(),
    })
}

#[test]
fn a_file_reads_as_a_person_would_write_it() {
    let top = directory(&["package-lock.json", "web/Cargo.lock", "Cargo.lock", "go.sum"]);
    insta::assert_snapshot!(draft(top.path()).text, @r#"
    # What larder keeps for the jobs of this repository: `larder restore` before a job's work,
    # `larder save` after it. `larder config` shows what counts, and where it comes from.

    # Where it is kept. Without it, in the user's cache directory; LARDER_STORE and --store win.
    # store = "s3://bucket/prefix?region=eu-west-1"

    # The namespace of this repository's keys.
    # scope = "org/repo"

    # npm: what npm downloaded.
    # To keep node_modules instead, name it here, and run `npm ci` only when
    # `larder restore` did not find this very key: `npm ci` begins by deleting it.
    [cache.npm]
    key = 'npm-{{ os }}-{{ arch }}-{{ hash("**/package-lock.json") }}'
    restore-keys = ['npm-{{ os }}-{{ arch }}-']
    paths = ['{{ env("npm_config_cache", default=env("NPM_CONFIG_CACHE", default="~/.npm")) }}']
    exclude = ["_logs/", "_update-notifier-last-checked"]
    allow-missing = true

    # cargo: crates that cargo downloaded.
    [cache.cargo]
    key = 'cargo-{{ os }}-{{ arch }}-{{ hash("**/Cargo.lock") }}'
    restore-keys = ['cargo-{{ os }}-{{ arch }}-']
    paths = [
        '{{ env("CARGO_HOME", default="~/.cargo") }}/registry/index',
        '{{ env("CARGO_HOME", default="~/.cargo") }}/registry/cache',
        '{{ env("CARGO_HOME", default="~/.cargo") }}/git/db',
    ]
    allow-missing = true

    # target: what cargo built.
    # If jobs build with other features, profiles or targets, let the key say so, such
    # as by {{ env("CI_JOB_NAME") }}.
    [cache.target]
    key = 'target-{{ os }}-{{ arch }}-{{ hash("**/Cargo.lock", "**/rust-toolchain", "**/rust-toolchain.toml") }}'
    restore-keys = ['target-{{ os }}-{{ arch }}-']
    paths = ["target", "web/target"]
    exclude = ["incremental/"]
    allow-missing = true

    # go: modules that go downloaded, and what it built.
    [cache.go]
    key = 'go-{{ os }}-{{ arch }}-{{ hash("**/go.sum", "**/go.mod") }}'
    restore-keys = ['go-{{ os }}-{{ arch }}-']
    paths = [
        '{{ env("GOMODCACHE", default=env("GOPATH", default="~/go") ~ "/pkg/mod") }}',
        '{{ env("GOCACHE", default=env("XDG_CACHE_HOME", default=("~/Library/Caches" if os == "macos" else "~/.cache")) ~ "/go-build") }}',
    ]
    allow-missing = true
    "#);
}

#[test]
fn variables_that_move_a_tools_directory_count() {
    let files = ["package-lock.json", "go.sum", "pnpm-lock.yaml", "Cargo.lock", "uv.lock"];
    let top = directory(&files);
    let config = config(top.path());
    let check = |cache: &str, variable: &str, value: &str, expected: &str| {
        let cache = config.caches.iter().find(|it| it.name == cache).unwrap();
        let variables = [(variable.into(), value.into())].into();
        let engine = engine_with(top.path(), "linux", variables);
        assert_eq!(engine.render_text(&cache.paths[0].value).unwrap(), expected, "{variable}");
    };
    check("npm", "npm_config_cache", "/c/npm", "/c/npm");
    // The name that most write, and that npm takes as well.
    check("npm", "NPM_CONFIG_CACHE", "/c/npm", "/c/npm");
    // As in the image golang.
    check("go", "GOPATH", "/go", "/go/pkg/mod");
    check("go", "GOMODCACHE", "/c/mod", "/c/mod");
    check("go", "HOME", "/home/ci", "~/go/pkg/mod");
    check("pnpm", "PNPM_HOME", "/pnpm", "/pnpm/store");
    check("uv", "XDG_CACHE_HOME", "/c", "/c/uv");
    check("uv", "UV_CACHE_DIR", "/c/of-uv", "/c/of-uv");
    check("target", "CARGO_TARGET_DIR", "/c/target", "/c/target");
    check("target", "HOME", "/home/ci", "target");
}

#[test]
fn other_peoples_files_do_not_count() {
    let top = directory(&[
        "node_modules/a/package-lock.json",
        "vendor/b/go.sum",
        "ignored/Cargo.lock",
        "a/b/c/d/e/f/g/pom.xml",
    ]);
    std::fs::write(top.path().join(".gitignore"), "ignored/\n").unwrap();
    assert_eq!(draft(top.path()).caches, []);
    assert_eq!(config(top.path()).caches.len(), 0);
}

#[test]
fn the_origin_of_the_repository_is_the_scope() {
    let check = |address: &str, expected: Option<&str>| {
        assert_eq!(scope(address).as_deref(), expected, "{address}");
    };
    check("https://github.com/org/repo.git", Some("org/repo"));
    check("https://user:token@gitlab.example/group/sub/repo", Some("group/sub/repo"));
    check("git@github.com:org/repo.git", Some("org/repo"));
    check("ssh://git@host:2222/org/repo.git/", Some("org/repo"));
    check("/srv/git/repo.git", None);
    check("../other", None);
    check("host:repo", None);
    let top = directory(&[".git/HEAD"]);
    let text =
        "[core]\n\tbare = false\n[remote \"origin\"]\n\tfetch = x\n\turl = git@host:o/r.git\n";
    std::fs::write(top.path().join(".git/config"), text).unwrap();
    assert_eq!(config(top.path()).scope.unwrap().value.as_str(), "o/r");
}
