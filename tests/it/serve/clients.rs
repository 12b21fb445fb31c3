//! Real clients of the caches beside S3.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::caches::with_keys;
use crate::support::{Sandbox, run, write};

/// The same as the scripts in `tests/clients/` install.
const TURBO: &str = "2.11.11";

fn is_missing(program: &str) -> bool {
    let missing = Command::new(program).arg("--version").output().is_err();
    if missing {
        eprintln!("skipped: there is no {program}: `sh tests/run.sh` installs it");
    }
    missing
}

/// Compiles a file on a machine whose caches are empty; gives what it made, and how often
/// something happened.
fn compile(sandbox: &Sandbox, machine: &str, remote: &str) -> (Vec<u8>, impl Fn(&str) -> u64) {
    let object = sandbox.path(format!("{machine}.o"));
    let ccache = |arguments: &[&str]| {
        let mut command = Command::new("ccache");
        command
            .args(arguments)
            .current_dir(sandbox.path("work"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("CCACHE_DIR", sandbox.path(machine))
            .env("CCACHE_CONFIGPATH", sandbox.path("none"))
            .env("CCACHE_REMOTE_STORAGE", remote);
        run(&mut command).ok().stdout
    };
    ccache(&["cc", "-c", "main.c", "-o", object.to_str().unwrap()]);
    let stats = ccache(&["--print-stats"]);
    let count = move |name: &str| {
        let mut rows = stats.lines().filter_map(|line| line.split_once('\t'));
        let row = rows.find(|(known, _)| *known == name);
        row.map_or(0, |(_, count)| count.parse().unwrap())
    };
    (fs::read(object).unwrap(), count)
}

#[test]
fn ccache_finds_what_another_machine_has_compiled() {
    if is_missing("ccache") || is_missing("cc") {
        return;
    }
    let server = with_keys();
    let at = server.url().replace("http://", "http://ci:the-secret-of-ci@");
    for layout in ["", "|layout=flat", "|layout=bazel"] {
        let sandbox = Sandbox::new();
        write(sandbox.work("main.c"), "int main(void) { return 0; }\n");
        let name = layout.rsplit('=').next().unwrap();
        let remote = format!("{at}/-/cache/ccache-{name}1{layout}");
        let (first, count) = compile(&sandbox, "first", &remote);
        assert_eq!((count("cache_miss"), count("remote_storage_hit")), (1, 0), "{layout}");
        assert_eq!(count("remote_storage_error"), 0, "{layout}");
        let (second, count) = compile(&sandbox, "second", &remote);
        assert_eq!((count("cache_miss"), count("remote_storage_error")), (0, 0), "{layout}");
        assert!(count("remote_storage_hit") > 0, "{layout}");
        assert!(first == second);
    }
    let page = server.ask_for("GET /metrics", &[]).text();
    assert!(page.contains("operation=\"CachePut\",status=\"2xx\"} 6"), "{page}");
}

/// The program, installed once; `None` where no client is to be installed.
fn turbo() -> Option<PathBuf> {
    if std::env::var_os("LARDER_TEST_CLIENTS").is_none() {
        eprintln!("skipped: LARDER_TEST_CLIENTS is not set, so turbo is not installed from npm");
        return None;
    }
    if is_missing("node") || is_missing("npm") {
        return None;
    }
    let home = || PathBuf::from(std::env::var_os("HOME").unwrap()).join(".cache");
    let cache = std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from);
    let prefix = cache.join("larder-tests").join(format!("turbo-{TURBO}"));
    let complete = prefix.join("complete");
    if !complete.exists() {
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(&prefix);
        run(npm.arg(format!("turbo@{TURBO}"))).ok();
        fs::write(complete, "").unwrap();
    }
    Some(prefix.join("node_modules/.bin/turbo"))
}

/// A checkout of two packages; what a build makes tells when it ran.
fn check_out(to: &Path) {
    let package = |name: &str, rest: &str| {
        let text = format!(
            r#"{{"name":"{name}","version":"1.0.0","scripts":{{"build":"sh ../../build.sh"}}{rest}}}"#
        );
        write(to.join("packages").join(name).join("package.json"), text);
    };
    package("one", "");
    package("two", r#","dependencies":{"one":"1.0.0"}"#);
    let root = r#"{"name":"tree","private":true,"packageManager":"npm@10.0.0","workspaces":["packages/*"]}"#;
    write(to.join("package.json"), root);
    let lock = r#"{"name":"tree","lockfileVersion":3,"requires":true,"packages":{
        "":{"name":"tree","workspaces":["packages/*"]},
        "node_modules/one":{"resolved":"packages/one","link":true},
        "node_modules/two":{"resolved":"packages/two","link":true},
        "packages/one":{"version":"1.0.0"},
        "packages/two":{"version":"1.0.0","dependencies":{"one":"1.0.0"}}}}"#;
    write(to.join("package-lock.json"), lock);
    let tasks = r#"{"tasks":{"build":{"dependsOn":["^build"],"outputs":["out/**"]}}}"#;
    write(to.join("turbo.json"), tasks);
    let build = "mkdir -p out && od -An -N16 -tx1 /dev/urandom > out/made && echo built\n";
    write(to.join("build.sh"), build);
}

#[test]
fn turbo_builds_nothing_that_another_machine_has_built() {
    let Some(turbo) = turbo() else { return };
    let server = with_keys();
    let build = |machine: &str, more: &[&str]| {
        let tree = server.sandbox.path(machine);
        check_out(&tree);
        let mut command = Command::new(&turbo);
        command
            .args(["run", "build", "--no-daemon"])
            .args(more)
            .current_dir(&tree)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", server.sandbox.path("home"))
            .env("TURBO_API", format!("{}/-/turbo", server.url()))
            .env("TURBO_TOKEN", "the-secret-of-ci")
            .env("TURBO_TEAM", "my-team")
            .env("TURBO_TELEMETRY_DISABLED", "1");
        let told = run(&mut command).ok().stdout;
        let made = |name: &str| fs::read(tree.join("packages").join(name).join("out/made"));
        (told, made("one").unwrap(), made("two").unwrap())
    };
    let (told, one, two) = build("first", &[]);
    assert!(told.contains("0 cached, 2 total"), "{told}");
    for (machine, more) in [("second", &[][..]), ("third", &["--preflight"])] {
        let again = build(machine, more);
        assert!(again.0.contains("2 cached, 2 total"), "{}", again.0);
        assert!(again.0.contains("FULL TURBO") && again.0.contains("built"), "{}", again.0);
        assert!((&again.1, &again.2) == (&one, &two));
    }
    let page = server.ask_for("GET /metrics", &[]).text();
    for line in ["\"TurboPut\",status=\"2xx\"} 2", "\"TurboPreflight\",status=\"2xx\"}"] {
        assert!(page.contains(line), "{line}: {page}");
    }
}
