//! What is handed to others: packages, completions, manual pages, and what the
//! program says of its own build.

// Helpers of tests panic like the tests that call them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

const LARDER: &str = env!("CARGO_BIN_EXE_larder");
/// An evening in 2023.
const EPOCH: &str = "1700000000";

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn has(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).exists())
}

/// What a command prints, which has to succeed and to warn of nothing.
#[track_caller]
fn prints(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let told = String::from_utf8_lossy(&stderr);
    assert!(status.success() && told.is_empty(), "{command:?} ends with {status}: {told}");
    String::from_utf8(stdout).unwrap()
}

#[track_caller]
fn larder(arguments: &[&str]) -> String {
    prints(Command::new(LARDER).args(arguments))
}

/// Runs a script of packaging/ with the program of these tests, quickly.
fn package(script: &str, dist: &Path, umask: &str) -> String {
    let path = repository().join("packaging").join(script);
    let line = format!("umask {umask}; exec sh {}", path.display());
    prints(
        Command::new("sh")
            .args(["-c", &line])
            .env("LARDER_BINARY", LARDER)
            .env("LARDER_DIST", dist)
            .env("LARDER_GZIP_LEVEL", "1")
            .env("LARDER_DEB_OPTIONS", "-Zgzip -z1")
            .env("SOURCE_DATE_EPOCH", EPOCH),
    )
}

/// Makes a package twice, and gives the directory it is in, and its path.
fn packed(script: &str, name: &str) -> (tempfile::TempDir, PathBuf) {
    let dist = tempfile::tempdir().unwrap();
    let (first, again) = (dist.path().join("first"), dist.path().join("again"));
    assert!(package(script, &first, "022").contains(name));
    package(script, &again, "077");
    let path = first.join(name);
    assert_eq!(fs::read(&path).unwrap(), fs::read(again.join(name)).unwrap(), "not reproducible");
    let check = ["--check", "--quiet", &format!("{name}.sha256")].map(str::to_owned);
    prints(Command::new("sha256sum").args(check).current_dir(&first));
    (dist, path)
}

/// What a copy of the program prints as its version, and this one does, too.
fn assert_runs(copy: &Path) {
    assert_eq!(prints(Command::new(copy).arg("--version")), larder(&["--version"]));
}

/// The names of all manual pages.
fn pages() -> BTreeSet<String> {
    let place = tempfile::tempdir().unwrap();
    larder(&["man", place.path().to_str().unwrap()]);
    let names = fs::read_dir(place.path()).unwrap();
    names.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[test]
#[cfg(target_os = "linux")]
fn the_tarball_is_what_the_action_downloads() {
    let name = format!("larder-{}-{}", std::env::consts::ARCH, std::env::consts::OS);
    let (place, archive) = packed("tarball.sh", &format!("{name}.tar.gz"));
    let listed = prints(Command::new("tar").arg("-tzf").arg(&archive));
    let listed: BTreeSet<&str> = listed.lines().collect();
    let files = ["larder", "README.md", "LICENSE-MIT", "LICENSE-APACHE", "CHANGELOG.md"];
    let shells =
        ["larder.bash", "_larder", "larder.fish"].map(|file| format!("completions/{file}"));
    let pages = pages().into_iter().map(|page| format!("man/man1/{page}"));
    for file in files.map(str::to_owned).into_iter().chain(shells).chain(pages) {
        assert!(listed.contains(format!("{name}/{file}").as_str()), "{file} is not in {listed:?}");
    }
    prints(Command::new("tar").arg("-xzf").arg(&archive).current_dir(place.path()));
    assert_runs(&place.path().join(&name).join("larder"));
}

#[test]
fn the_debian_package_has_all_in_its_places() {
    // Only Debian and its relatives make them.
    if !has("dpkg-deb") {
        return;
    }
    let architecture = prints(Command::new("dpkg").arg("--print-architecture"));
    let architecture = architecture.trim();
    let version = env!("CARGO_PKG_VERSION");
    let (place, deb) = packed("deb.sh", &format!("larder_{version}_{architecture}.deb"));
    let field = |name: &str| {
        let value = prints(Command::new("dpkg-deb").arg("--field").arg(&deb).arg(name));
        value.trim().to_owned()
    };
    assert_eq!(field("Package"), "larder");
    assert_eq!(
        (field("Version").as_str(), field("Architecture").as_str()),
        (version, architecture)
    );
    assert!(field("Depends").contains("libc6 (>= "), "{}", field("Depends"));
    let root = place.path().join("root");
    prints(Command::new("dpkg-deb").arg("--raw-extract").arg(&deb).arg(&root));
    prints(
        Command::new("md5sum").args(["--check", "--quiet", "DEBIAN/md5sums"]).current_dir(&root),
    );
    let mut files: Vec<String> = [
        "bin/larder",
        "share/bash-completion/completions/larder",
        "share/zsh/vendor-completions/_larder",
        "share/fish/vendor_completions.d/larder.fish",
        "share/doc/larder/README.md",
        "share/doc/larder/copyright",
        "share/doc/larder/changelog.gz",
    ]
    .map(str::to_owned)
    .into();
    files.extend(pages().into_iter().map(|page| format!("share/man/man1/{page}.gz")));
    for file in files {
        let path = root.join("usr").join(file);
        assert!(path.exists(), "{}", path.display());
        if path.extension().is_some_and(|extension| extension == "gz") {
            prints(Command::new("gzip").arg("--test").arg(&path));
        }
    }
    assert_runs(&root.join("usr/bin/larder"));
}

/// What bash proposes after these words, the last of which is begun.
fn completed(words: &[&str]) -> Vec<String> {
    let script = r#"
        eval "$("$1" completions bash)"
        shift
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        _larder larder "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let mut command = Command::new("bash");
    let told = prints(command.args(["-c", script, "bash", LARDER]).args(words));
    told.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_flags() {
    assert_eq!(completed(&["larder", "sa"]), ["save"]);
    assert_eq!(completed(&["larder", "restore", "--fail"]), ["--fail-on-miss"]);
    assert_eq!(completed(&["larder", "assets", "up"]), ["upload"]);
    assert!(completed(&["larder", "completions", ""]).contains(&"zsh".to_owned()));
}

#[test]
fn other_shells_can_read_their_completions() {
    for (shell, start) in [
        ("zsh", "#compdef larder"),
        ("fish", "# Print an optspec"),
        ("elvish", ""),
        ("powershell", ""),
    ] {
        let script = larder(&["completions", shell]);
        assert!(script.contains("fail-on-miss") && script.starts_with(start), "{shell}");
        if ["zsh", "fish"].contains(&shell) && has(shell) {
            let place = tempfile::tempdir().unwrap();
            let path = place.path().join("script");
            fs::write(&path, script).unwrap();
            prints(Command::new(shell).arg("-n").arg(path));
        }
    }
}

#[test]
fn manual_pages_are_sound() {
    let place = tempfile::tempdir().unwrap();
    larder(&["man", place.path().join("new/man1").to_str().unwrap()]);
    for name in pages() {
        let path = place.path().join("new/man1").join(&name);
        let text = fs::read_to_string(&path).unwrap();
        let title = name.strip_suffix(".1").unwrap();
        assert!(text.contains(&format!(".TH {title} 1")), "{name}");
        for part in [".SH NAME", ".SH SYNOPSIS", ".SH DESCRIPTION", ".SH OPTIONS", "Example"] {
            assert!(text.contains(part), "{name} has no {part}");
        }
        assert!(text.is_ascii(), "{name}");
        if has("groff") {
            prints(Command::new("groff").args(["-ww", "-man", "-Tutf8", "-z"]).arg(&path));
        }
    }
    let own = fs::read_to_string(place.path().join("new/man1/larder.1")).unwrap();
    assert_eq!(larder(&["man"]).trim_end(), own.trim_end());
}

#[test]
fn the_version_says_which_stores_it_can_use() {
    let number = format!("larder {}", env!("CARGO_PKG_VERSION"));
    assert_eq!(larder(&["-V"]).trim(), number);
    let long = larder(&["--version"]);
    let mut lines = long.lines();
    assert_eq!(lines.next(), Some(number.as_str()));
    for name in ["commit: ", "target: ", "formats: store 1, ", "chunking: 1", "libraries: zstd "] {
        assert!(lines.next().is_some_and(|line| line.starts_with(name)), "{name} in {long}");
    }
}

/// The build script, compiled, and the lines that it prints in a directory.
struct BuildScript {
    place: tempfile::TempDir,
}

impl BuildScript {
    fn new() -> Self {
        let place = tempfile::tempdir().unwrap();
        let rustc = std::env::var_os("RUSTC").unwrap_or("rustc".into());
        let source = repository().join("build.rs");
        prints(
            Command::new(rustc)
                .args(["--edition=2024", "-o"])
                .arg(place.path().join("script"))
                .arg(source)
                .current_dir(repository()),
        );
        Self { place }
    }

    fn says(&self, root: &Path, variables: &[(&str, &str)]) -> String {
        prints(
            Command::new(self.place.path().join("script"))
                .env_remove("LARDER_COMMIT")
                .env_remove("SOURCE_DATE_EPOCH")
                .env("CARGO_MANIFEST_DIR", root)
                .env("TARGET", "some-target")
                .env("PROFILE", "release")
                .envs(variables.iter().copied())
                .current_dir(root),
        )
    }
}

#[test]
fn a_build_knows_its_commit_or_goes_on_without() {
    const COMMIT: &str = "cargo:rustc-env=LARDER_BUILD_COMMIT=";
    const DATE: &str = "cargo:rustc-env=LARDER_BUILD_DATE=";
    let script = BuildScript::new();
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let outside = script.says(root, &[]);
    assert!(!outside.contains("LARDER_BUILD_COMMIT") && outside.contains("=some-target"));

    let packager = [("LARDER_COMMIT", "v1-5-gabc"), ("SOURCE_DATE_EPOCH", "1709210096")];
    let given = script.says(root, &packager);
    assert!(given.contains(&format!("{COMMIT}v1-5-gabc\n")), "{given}");
    assert!(given.contains(&format!("{DATE}2024-02-29\n")), "{given}");

    let git = |arguments: &[&str]| {
        let mut command = Command::new("git");
        command.arg("-C").arg(root).args(["-c", "user.name=n", "-c", "user.email=e@localhost"]);
        let command = command.args(arguments).env("GIT_COMMITTER_DATE", "2026-11-20T12:00:00Z");
        prints(command).trim().to_owned()
    };
    git(&["init", "--quiet"]);
    assert!(!script.says(root, &[]).contains("LARDER_BUILD_COMMIT"), "there is no commit yet");
    fs::write(root.join("Cargo.toml"), "").unwrap();
    git(&["add", "."]);
    git(&["commit", "--quiet", "--message=first"]);
    let head = git(&["rev-parse", "HEAD"]);
    let told = script.says(root, &[]);
    assert!(told.contains(&format!("{COMMIT}{head}\n")), "{told}");
    assert!(told.contains(&format!("{DATE}2026-11-20\n")), "{told}");
    // What is watched is there: cargo takes what is not for changed.
    for path in told.lines().filter_map(|line| line.strip_prefix("cargo:rerun-if-changed=")) {
        let is_there = root.join(path).exists()
            || ["build.rs", "src", "Cargo.lock"].iter().any(|name| path.ends_with(name));
        assert!(is_there, "{path}");
    }
    fs::write(root.join("Cargo.toml"), "changed").unwrap();
    assert!(script.says(root, &[]).contains(&format!("{COMMIT}{head}, with changes\n")));
    assert!(!script.says(root, &[("PROFILE", "debug")]).contains(COMMIT));
    let below = root.join("vendor/larder");
    fs::create_dir_all(&below).unwrap();
    assert!(!script.says(&below, &[]).contains(COMMIT), "that is another project's commit");
    fs::write(below.join(".cargo_vcs_info.json"), r#"{"git": {"sha1": "0a1b"}}"#).unwrap();
    assert!(script.says(&below, &[]).contains(&format!("{COMMIT}0a1b\n")));
}
