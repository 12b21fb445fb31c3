//! The input `path`: what its lines save.

use crate::job::Job;
use crate::sandbox::write;

/// The files that are saved of a small tree of files of many kinds.
#[track_caller]
fn check(lines: &str, expected: &[&str]) {
    let job = Job::new().input("path", lines);
    for name in [
        "packages/one/node_modules/x.js",
        "packages/one/node_modules/deep/node_modules/y.js",
        "packages/two/node_modules/.hidden/z.js",
        "packages/two/src/main.js",
        "target/debug/build.log",
        "target/debug/out",
        "target/[id].js",
        "target/i.js",
    ] {
        write(job.sandbox.work(name), name);
    }
    for name in [".npm/_logs/1.log", ".npm/index", ".m2/settings.xml"] {
        write(job.sandbox.path("home").join(name), name);
    }
    write(job.sandbox.path("elsewhere/a/one"), "one");
    write(job.sandbox.path("elsewhere/b/two"), "two");
    let top = job.sandbox.path("");
    let top = top.to_str().unwrap().trim_end_matches('/').to_owned();
    let mut job = job.input("path", &lines.replace("TOP", &top));
    job.main().ok();
    job.post().ok();
    let saved = job.saved("npm-1").into_iter();
    let mut saved: Vec<String> =
        saved.map(|path| path.replace(top.trim_start_matches('/'), "TOP")).collect();
    saved.sort();
    let mut expected: Vec<&str> = expected.to_vec();
    expected.sort_unstable();
    assert_eq!(saved, expected, "of {lines:?}");
}

const ONE: &str = "packages/one/node_modules/x.js";
const DEEP: &str = "packages/one/node_modules/deep/node_modules/y.js";
const HIDDEN: &str = "packages/two/node_modules/.hidden/z.js";

#[test]
fn plain_paths() {
    check("tree/sub", &["tree/sub/b.txt", "tree/sub/c.log"]);
    check("./tree/sub/\n  tree/a.txt  \n", &["tree/a.txt", "tree/sub/b.txt", "tree/sub/c.log"]);
    check("# a comment\ntree/a.txt", &["tree/a.txt"]);
    check("~/.m2", &[".m2/settings.xml"]);
    check("TOP/elsewhere/a", &["TOP/elsewhere/a/one"]);
}

#[test]
fn wildcards() {
    check("packages/*/node_modules", &[ONE, DEEP, HIDDEN]);
    check("**/node_modules", &[ONE, DEEP, HIDDEN]);
    check("packages/**", &[ONE, DEEP, HIDDEN, "packages/two/src/main.js"]);
    check("**/src/*.js", &["packages/two/src/main.js"]);
    check("tree/?.txt", &["tree/a.txt"]);
    check("tree/[a-c].txt\ntree/sub/[!b].*", &["tree/a.txt", "tree/sub/c.log"]);
    check("target/[i]*.js", &["target/i.js"]);
    check("target/[[]id].js", &["target/[id].js"]);
    check("~/.np*/index", &[".npm/index"]);
    check("TOP/elsewhere/*/two", &["TOP/elsewhere/b/two"]);
}

#[test]
fn exclusions() {
    check("tree\n!tree/sub", &["tree/a.txt"]);
    check("!**/*.log\ntree", &["tree/a.txt", "tree/sub/b.txt"]);
    check("tree\n! tree/sub/*.log", &["tree/a.txt", "tree/sub/b.txt"]);
    check("tree\n!sub", &["tree/a.txt", "tree/sub/b.txt", "tree/sub/c.log"]);
    check("packages/*/node_modules\n!packages/two", &[ONE, DEEP]);
    check("packages/*/node_modules\n!packages/*/node_modules/deep/**", &[ONE, HIDDEN]);
    check("~/.npm\n!~/.npm/_logs", &[".npm/index"]);
    check("TOP/elsewhere\n!TOP/elsewhere/a", &["TOP/elsewhere/b/two"]);
    check("target/debug/*\n!target/debug/build.log", &["target/debug/out"]);
}
