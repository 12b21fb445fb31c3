//! Saves do the work that changes ask for, and miss none of them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Noise, Sandbox, assert_same, contents, plant, set_mtime, write};

/// Stops a writing thread, also when the test fails.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Longer than the clock's tick, so that what was written before is old.
fn let_it_age() {
    std::thread::sleep(Duration::from_millis(50));
}

#[track_caller]
fn assert_nothing_done(report: &Value) {
    assert_eq!(report["unchanged"], true, "{report}");
    assert_eq!(report["files_read"], 0, "{report}");
    assert_eq!(report["uploaded_bytes"], 0);
    assert_eq!(report["packs_written"], 0);
    assert_eq!(report["requests"]["put"], 0);
}

#[test]
fn nothing_changed_nothing_read_nothing_uploaded() {
    let sandbox = Sandbox::new();
    plant(&sandbox.work("tree"), 400, 5);
    let_it_age();
    let first = sandbox.save(&[]);
    let store = contents(&sandbox.store());
    assert_nothing_done(&sandbox.save(&[]));
    assert_nothing_done(&sandbox.save(&[]));
    assert_eq!(contents(&sandbox.store()), store);
    // A fresh checkout has no record: all is read, and still nothing uploaded.
    let report = sandbox.save(&["--no-stat-record"]);
    assert!(report["files_read"].as_u64() > Some(300));
    assert_eq!((&report["unchanged"], &report["requests"]["put"]), (&true.into(), &0.into()));
    assert_eq!(first["chunks"], report["chunks"]);
}

#[test]
fn one_file_changed() {
    let sandbox = Sandbox::new();
    plant(&sandbox.work("tree"), 400, 6);
    let_it_age();
    let first = sandbox.save(&[]);
    write(sandbox.work("tree/pkg03/lib3/f3.js"), b"changed");
    let_it_age();
    let report = sandbox.save(&[]);
    assert_eq!((&report["unchanged"], &report["new_chunks"]), (&false.into(), &1.into()));
    // Its bundle was read, and no other.
    let read = report["files_read"].as_u64().unwrap();
    assert!((1..100).contains(&read), "{report}");
    assert!(report["uploaded_bytes"].as_u64() < first["uploaded_bytes"].as_u64().map(|b| b / 4));
    sandbox.restore_to("out", &[]);
    assert_same(&sandbox.work("tree"), &sandbox.path("out/tree"));
    // A byte in the middle of a large file costs the chunks around it.
    let big = File::options().write(true).open(sandbox.work("tree/big.bin")).unwrap();
    big.write_all_at(b"?", 1_700_000).unwrap();
    drop(big);
    let report = sandbox.save(&[]);
    assert_eq!(report["files_read"], 1, "only the large one: {report}");
    assert!(report["new_chunks"].as_u64() <= Some(3), "{report}");
    sandbox.restore_to("out", &[]);
    assert_same(&sandbox.work("tree"), &sandbox.path("out/tree"));
}

/// Only metadata changed: a new manifest, and nothing read for it.
#[test]
fn a_mode_or_a_name_changed() {
    let sandbox = Sandbox::new();
    plant(&sandbox.work("tree"), 100, 7);
    let_it_age();
    sandbox.save(&[]);
    set_mtime(sandbox.work("tree/empty"), 77, 0);
    let report = sandbox.save(&[]);
    assert_eq!((&report["unchanged"], &report["packs_written"]), (&false.into(), &0.into()));
    assert_eq!(report["requests"]["put"], 1);
    sandbox.restore_to("out", &[]);
    assert_same(&sandbox.work("tree"), &sandbox.path("out/tree"));
}

/// A file that is rewritten within one tick of the clock, at the same length
/// and with its time set back, differs in nothing that `stat` tells.
#[test]
fn racy_rewrites_are_noticed() {
    let sandbox = Sandbox::new();
    let file = sandbox.work("tree/file");
    write(sandbox.work("tree/other"), b"other");
    write(&file, b"first");
    for round in 0..50 {
        let old = format!("old {round:04}");
        let new = format!("new {round:04}");
        // In place, so that the inode stays too.
        let rewrite = |text: &str| {
            let open = File::options().write(true).truncate(true).open(&file).unwrap();
            (&open).write_all(text.as_bytes()).unwrap();
            drop(open);
            set_mtime(&file, 499_162_500, 0);
        };
        rewrite(&old);
        sandbox.save(&[]);
        rewrite(&new);
        if round % 2 == 0 {
            sandbox.save(&[]);
            let show = sandbox.restore_to("out", &[]);
            assert_eq!(show["hit"], "exact");
            assert_eq!(fs::read_to_string(sandbox.path("out/tree/file")).unwrap(), new);
        } else {
            // And so is one that a restore must undo.
            sandbox.restore(&[]);
            assert_eq!(fs::read_to_string(&file).unwrap(), old);
            rewrite(&new);
            sandbox.save(&[]);
            sandbox.restore_to("out", &[]);
            assert_eq!(fs::read_to_string(sandbox.path("out/tree/file")).unwrap(), new);
        }
    }
}

#[test]
fn other_keys_and_scopes_share_all_chunks() {
    let sandbox = Sandbox::new();
    plant(&sandbox.work("tree"), 300, 8);
    sandbox.larder(["save", "--key", "npm-1", "tree"]).ok();
    for (scope, key) in [("default", "npm-2"), ("default", "unrelated"), ("org/other", "npm-1")] {
        let arguments =
            ["--json", "--scope", scope, "save", "--no-stat-record", "--key", key, "tree"];
        let report = sandbox.larder(arguments).ok().json();
        assert_eq!(report["packs_written"], 0, "{scope} {key}: {report}");
        assert_eq!(report["new_chunks"], 0);
        assert_eq!(report["requests"]["put"], 1, "the manifest alone");
    }
    let out = sandbox.path("out");
    let arguments = ["--scope", "org/other", "restore", "--key", "npm-1", "--to"];
    sandbox.larder(arguments.iter().copied().chain([out.to_str().unwrap()])).ok();
    assert_same(&sandbox.work("tree"), &out.join("tree"));
}

/// A save whose every file the record vouches for, under a key that no manifest
/// is near to: what the record knows and what the index knows must meet. This
/// once ended before the index was read, and failed.
#[test]
fn a_record_is_of_use_to_other_scopes() {
    let sandbox = Sandbox::new();
    plant(&sandbox.work("tree"), 100, 8);
    let_it_age();
    sandbox.save(&[]);
    let arguments = ["--json", "--scope", "org/other", "save", "--key", "x", "tree"];
    let report = sandbox.larder(arguments).ok().json();
    assert_eq!((&report["files_read"], &report["new_chunks"]), (&0.into(), &0.into()), "{report}");
    // Nor do they have to meet: a store that lost everything gets it again.
    fs::remove_dir_all(sandbox.store()).unwrap();
    let report = sandbox.save(&[]);
    assert_eq!(report["reused_chunks"], 0);
    sandbox.restore_to("out", &[]);
    assert_same(&sandbox.work("tree"), &sandbox.path("out/tree"));
}

#[test]
fn if_absent_keeps_what_is_there() {
    let sandbox = Sandbox::new();
    write(sandbox.work("tree/a"), b"first");
    assert_eq!(sandbox.save(&["--if-absent"])["already_there"], false);
    write(sandbox.work("tree/a"), b"second");
    let before = contents(&sandbox.store());
    let report = sandbox.save(&["--if-absent"]);
    assert_eq!((&report["already_there"], &report["requests"]["put"]), (&true.into(), &0.into()));
    assert_eq!(contents(&sandbox.store()), before);
    sandbox.restore_to("out", &[]);
    assert_eq!(fs::read(sandbox.path("out/tree/a")).unwrap(), b"first");
}

#[test]
fn a_dry_run_changes_nothing() {
    let sandbox = Sandbox::new();
    plant(&sandbox.work("tree"), 100, 9);
    let report = sandbox.save(&["--dry-run"]);
    assert!(report["new_chunks"].as_u64() > Some(1) && report["dry_run"] == true);
    assert!(!sandbox.store().exists(), "not even a store");
    assert!(!sandbox.path("cache").exists(), "nor a record");
    let_it_age();
    sandbox.save(&[]);
    let (store, records) = (contents(&sandbox.store()), contents(&sandbox.path("cache")));
    write(sandbox.work("tree/new"), b"new");
    let report = sandbox.save(&["--dry-run"]);
    assert_eq!((&report["unchanged"], &report["new_chunks"]), (&false.into(), &1.into()));
    assert_eq!(report["requests"]["put"], 0);
    assert_eq!(contents(&sandbox.store()), store);
    assert_eq!(contents(&sandbox.path("cache")), records);
}

#[test]
fn excludes_are_gitignores() {
    let sandbox = Sandbox::new();
    let names =
        ["a.log", "keep.log", "sub/b.log", "sub/c", "target/x", "deep/target/y", "top", "d/top"];
    for name in names {
        write(sandbox.work("tree").join(name), name);
    }
    let globs = [
        "--exclude",
        "*.log",
        "--exclude",
        "!keep.log",
        "--exclude",
        "target/",
        "--exclude",
        "/tree/top",
    ];
    sandbox.save(&globs);
    sandbox.restore_to("out", &[]);
    let out = sandbox.path("out/tree");
    let found: Vec<String> = contents(&out)
        .keys()
        .map(|path| path.strip_prefix(&out).unwrap().to_str().unwrap().to_owned())
        .collect();
    assert_eq!(found, ["d/top", "keep.log", "sub/c"]);
    assert!(!out.join("target").exists());
}

#[test]
fn without_reuse_everything_is_uploaded_again() {
    let sandbox = Sandbox::new();
    plant(&sandbox.work("tree"), 100, 10);
    let first = sandbox.save(&[]);
    let again = sandbox.save(&["--no-reuse"]);
    assert_eq!(again["new_chunks"], first["new_chunks"]);
    assert_eq!(again["files"], first["files"]);
    sandbox.restore_to("out", &[]);
    assert_same(&sandbox.work("tree"), &sandbox.path("out/tree"));
}

#[test]
fn paths_that_are_not_there() {
    let sandbox = Sandbox::new();
    write(sandbox.work("tree/a"), b"x");
    let failed = sandbox.larder(["save", "--key", "k", "nowhere", "tree"]).exits(1);
    failed.says("nowhere").says("--allow-missing");
    sandbox.larder(["lookup", "--key", "k"]).exits(3);
    let saved = sandbox.larder(["save", "--key", "k", "--allow-missing", "nowhere", "tree"]).ok();
    saved.says("nowhere");
    sandbox.larder(["save", "--key", "k2", "--allow-missing", "nowhere"]).exits(1);
    sandbox.restore_to("out", &[]);
    assert!(sandbox.path("out/tree/a").exists());
}

#[test]
fn nested_paths_are_saved_once() {
    let sandbox = Sandbox::new();
    write(sandbox.work("tree/sub/a"), b"x");
    write(sandbox.work("tree-2/a"), b"y");
    let arguments =
        ["--json", "save", "--key", "k", "tree/sub", "tree", "./tree/", "tree-2", "tree/sub/a"];
    let report = sandbox.larder(arguments).ok().json();
    assert_eq!(report["files"], 2);
    let shown = sandbox.larder(["--json", "show", "k"]).ok().json();
    assert_eq!(shown["mounts"], serde_json::json!(["tree", "tree-2"]));
}

/// Several files of one chunk and several chunks of one file, twice the same.
#[test]
fn equal_contents_are_stored_once() {
    let sandbox = Sandbox::new();
    let bytes = Noise(4).bytes(3 << 20);
    for name in ["tree/a/big", "tree/b/big", "tree/c"] {
        write(sandbox.work(name), &bytes);
    }
    let report = sandbox.save(&[]);
    let uploaded = report["uploaded_bytes"].as_u64().unwrap();
    assert!(uploaded < (3 << 20) + 50_000, "{report}");
    sandbox.restore_to("out", &[]);
    assert_same(&sandbox.work("tree"), &sandbox.path("out/tree"));
}

/// Files that change while they are saved: whatever is restored was there, as
/// one state, or the save says that it could not read it.
#[test]
fn files_that_change_under_a_save() {
    let sandbox = Sandbox::new();
    let tree = sandbox.work("tree");
    plant(&tree, 300, 12);
    let lens = [10usize, 3_000, 200_000, 2_500_000];
    // A state is one byte value, over a length that goes with it.
    let state = |file: usize, round: u8| vec![round; lens[file] + usize::from(round) * 7];
    for file in 0..lens.len() {
        write(tree.join(format!("hot{file}")), state(file, 0));
    }
    write(tree.join("flicker"), b"here");
    let stop = AtomicBool::new(false);
    let written: Mutex<BTreeMap<usize, BTreeSet<u8>>> = Mutex::default();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0u8;
            while !stop.load(Ordering::Relaxed) {
                round = (round + 1) % 200;
                for file in 0..lens.len() {
                    written.lock().unwrap().entry(file).or_default().insert(round);
                    let path = tree.join(format!("hot{file}"));
                    if round.is_multiple_of(3) {
                        // Replaced as a whole, as careful programs do.
                        write(sandbox.path("aside"), state(file, round));
                        fs::rename(sandbox.path("aside"), path).unwrap();
                    } else {
                        write(path, state(file, round));
                    }
                }
                let _ = fs::remove_file(tree.join("flicker"));
                if round.is_multiple_of(2) {
                    write(tree.join("flicker"), b"here");
                }
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        let _stop = StopOnDrop(&stop);
        let mut good = 0;
        for round in 0..12 {
            let to = format!("out{round}");
            let run = sandbox.larder(["save", "--key", "k", "tree"]);
            if run.code != Some(0) {
                assert!(run.stderr.contains("tree/hot"), "{}", run.stderr);
                run.exits(1);
                continue;
            }
            good += 1;
            sandbox.restore_to(&to, &[]);
            for file in 0..lens.len() {
                let Ok(bytes) = fs::read(sandbox.path(format!("{to}/tree/hot{file}"))) else {
                    continue;
                };
                let first = bytes.first().copied();
                // Truncated to nothing is a state: `fs::write` goes through it.
                let prefix_of_one = bytes.iter().all(|&byte| Some(byte) == first);
                assert!(prefix_of_one, "hot{file} in round {round} mixes states");
            }
            if let Ok(bytes) = fs::read(sandbox.path(format!("{to}/tree/flicker"))) {
                assert!(bytes.is_empty() || bytes == b"here");
            }
        }
        assert!(good > 0, "no save ever succeeded");
    });
    // Once all is quiet, the save is exact again.
    sandbox.save(&[]);
    sandbox.restore_to("quiet", &[]);
    assert_same(&tree, &sandbox.path("quiet/tree"));
    sandbox.larder(["verify", "--read-data"]).ok();
}

/// The memory map of a file that shrinks is where programs die of SIGBUS.
#[test]
fn files_that_shrink_under_a_save() {
    let sandbox = Sandbox::new();
    let path = sandbox.work("tree/shrinks");
    let bytes = Noise(1).bytes(24 << 20);
    write(&path, &bytes);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let open = File::options().write(true).open(&path).unwrap();
            while !stop.load(Ordering::Relaxed) {
                open.set_len(1 << 20).unwrap();
                std::thread::sleep(Duration::from_millis(5));
                open.write_all_at(&bytes, 0).unwrap();
            }
        });
        let _stop = StopOnDrop(&stop);
        for _ in 0..6 {
            let run = sandbox.larder(["save", "--key", "k", "tree"]);
            if run.code == Some(0) {
                sandbox.restore_to("out", &[]);
                let restored = fs::read(sandbox.path("out/tree/shrinks")).unwrap();
                assert!(bytes.starts_with(&restored), "{} bytes", restored.len());
            } else {
                run.exits(1).says("shrinks");
            }
        }
    });
    assert_eq!(fs::metadata(&path).unwrap().len(), 24 << 20);
    sandbox.save(&[]);
    sandbox.restore_to("out", &[]);
    assert_same(&sandbox.work("tree"), &sandbox.path("out/tree"));
}

/// In a container larder may run as a user without a home, or with one that it
/// cannot write to. Permissions do not keep root out; a file for a directory does.
#[test]
fn records_that_cannot_be_written_cost_time_only() {
    let sandbox = Sandbox::new();
    plant(&sandbox.work("tree"), 20, 5);
    write(sandbox.path("file"), "no directory");
    let homes = [Some(sandbox.path("file")), Some("/proc/nowhere".into()), None];
    for (at, home) in homes.into_iter().enumerate() {
        let run = |arguments: &[&str]| {
            let mut command = sandbox.command(arguments);
            command.env_remove("XDG_CACHE_HOME").env_remove("HOME");
            if let Some(home) = &home {
                command.env("HOME", home);
            }
            let run = crate::support::run(&mut command).ok();
            if home.is_some() { run.says("cannot write the stat record") } else { run }
        };
        // Without HOME the user's entry in the passwd file counts: no record then.
        let record: &[&str] = if home.is_some() { &[] } else { &["--no-stat-record"] };
        let to = sandbox.path(format!("out{at}"));
        let restore = ["restore", "--key", "k", "--to", to.to_str().unwrap()];
        run(&[&["save", "--key", "k", "tree"], record].concat());
        run(&[&restore, record].concat());
        assert_same(&sandbox.work("tree"), &to.join("tree"));
    }
}
