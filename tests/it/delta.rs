//! Restores touch only what differs, and notice all that does.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use serde_json::Value;

use crate::support::{
    Sandbox, assert_same, chmod, contents, ctimes, plant, run, set_mtime, stage_areas, write,
};

/// A saved tree, and a copy of it as it was saved.
fn saved(files: u64) -> Sandbox {
    let sandbox = Sandbox::new();
    plant(&sandbox.work("tree"), files, 11);
    sandbox.save(&[]);
    keep_copy(&sandbox);
    sandbox
}

fn keep_copy(sandbox: &Sandbox) {
    let mut copy = std::process::Command::new("cp");
    run(copy.arg("-a").args([sandbox.work("tree"), sandbox.path("good")])).ok();
}

#[track_caller]
fn assert_good(sandbox: &Sandbox) {
    assert_same(&sandbox.path("good"), &sandbox.work("tree"));
    assert_eq!(stage_areas(&sandbox.path("work")), Vec::<std::path::PathBuf>::new());
}

/// Nothing was fetched or written; so many files were read.
#[track_caller]
fn assert_nothing_done(report: &Value, compared: u64) {
    assert_eq!(report["files_unchanged"], report["files"]);
    assert_eq!(report["fetched_bytes"], 0);
    assert_eq!(report["files_compared"], compared, "{report}");
    assert_eq!(report["removed"], 0);
}

#[test]
fn over_an_intact_tree_nothing_is_written() {
    let sandbox = Sandbox::new();
    plant(&sandbox.work("tree"), 300, 11);
    // Older than the clock's tick, or the save's record does not vouch for it.
    std::thread::sleep(std::time::Duration::from_millis(50));
    sandbox.save(&[]);
    let before = ctimes(&sandbox.path("work"));
    assert_nothing_done(&sandbox.restore(&[]), 0);
    assert_eq!(ctimes(&sandbox.path("work")), before);
    // Nor after a restore, whose record counts as a save's does.
    let first = sandbox.restore_to("out", &[]);
    assert_eq!(first["files_unchanged"], 0);
    let before = ctimes(&sandbox.path("out"));
    let report = sandbox.restore_to("out", &["--delete-extra"]);
    assert_nothing_done(&report, 0);
    assert_eq!(report["requests"]["get"], 2, "the marker and the manifest");
    assert_eq!(ctimes(&sandbox.path("out")), before);
}

#[test]
fn without_a_record_contents_are_compared() {
    let sandbox = saved(300);
    let before = ctimes(&sandbox.path("work"));
    let report = sandbox.restore(&["--no-stat-record"]);
    let files = report["files"].as_u64().unwrap();
    assert_nothing_done(&report, report["files_compared"].as_u64().unwrap());
    // Hard links and empty files need no reading.
    let compared = report["files_compared"].as_u64().unwrap();
    assert!(compared > files / 2 && compared < files, "{report}");
    assert_eq!(ctimes(&sandbox.path("work")), before);
}

/// npm gives every file of every package version the time 1985-10-26: another
/// version of a file with the same length looks the same.
#[test]
fn same_length_and_time_prove_nothing() {
    for options in [&[][..], &["--no-stat-record"]] {
        let sandbox = Sandbox::new();
        for number in 0..40 {
            let file = sandbox.work(format!("tree/p{}/f{number}", number % 7));
            write(&file, format!("version 1 of {number:03}"));
            set_mtime(&file, 499_162_500, 0);
        }
        std::thread::sleep(std::time::Duration::from_millis(30));
        sandbox.save(&[]);
        keep_copy(&sandbox);
        let directory = fs::metadata(sandbox.work("tree/p3")).unwrap();
        for number in [3, 10, 38] {
            let file = sandbox.work(format!("tree/p3/f{number}"));
            write(&file, format!("version 2 of {number:03}"));
            set_mtime(&file, 499_162_500, 0);
        }
        set_mtime(sandbox.work("tree/p3"), directory.mtime(), directory.mtime_nsec());
        let report = sandbox.restore(options);
        assert_eq!(report["files_unchanged"], 37, "{report}");
        assert_good(&sandbox);
    }
}

#[test]
fn only_metadata_differs() {
    for options in [&[][..], &["--no-stat-record"]] {
        let sandbox = saved(60);
        let tree = sandbox.work("tree");
        chmod(tree.join("big.bin"), 0o600);
        set_mtime(tree.join("pkg00/lib0/f0.js"), 5, 5);
        chmod(tree.join("pkg01"), 0o700);
        set_mtime(tree.join("pkg02"), 5, 5);
        set_mtime(tree.join("empty/dir"), 5, 5);
        chmod(tree.join("empty"), 0o777);
        set_mtime(tree.join("pkg07/soft7"), 5, 5);
        set_mtime(&tree, 5, 5);
        let inode = fs::metadata(tree.join("big.bin")).unwrap().ino();
        let report = sandbox.restore(options);
        assert_eq!(report["files_unchanged"], report["files"]);
        if !options.is_empty() {
            // With the record, only a part of a bundle is compared, and a part
            // has no hash to compare with.
            assert_eq!(report["fetched_bytes"], 0);
        }
        assert_eq!(fs::metadata(tree.join("big.bin")).unwrap().ino(), inode, "it was replaced");
        assert_good(&sandbox);
    }
}

#[test]
fn contents_missing_longer_shorter_and_other() {
    for options in [&[][..], &["--no-stat-record"]] {
        let sandbox = saved(200);
        let tree = sandbox.work("tree");
        fs::remove_file(tree.join("pkg00/lib0/f0.js")).unwrap();
        fs::remove_dir_all(tree.join("pkg05")).unwrap();
        write(tree.join("pkg01/lib1/f1.js"), b"");
        write(tree.join("pkg02/lib2/f2.js"), vec![1; 100_000]);
        let mut big = fs::read(tree.join("big.bin")).unwrap();
        big[1_500_000] ^= 1;
        write(tree.join("big.bin"), big);
        fs::remove_dir(tree.join("empty/dir")).unwrap();
        let report = sandbox.restore(options);
        assert!(report["files_unchanged"].as_u64() < report["files"].as_u64());
        assert_good(&sandbox);
    }
}

#[test]
fn types_change() {
    let sandbox = saved(100);
    let tree = sandbox.work("tree");
    let to_file = ["pkg07/soft7", "empty/dir"];
    let to_dir = ["pkg00/lib0/f0.js", "pkg08/lib0/f8.js"];
    let to_link = ["pkg01/lib1/f1.js", "pkg02/lib2"];
    for name in to_file {
        remove(&tree.join(name));
        write(tree.join(name), b"a file now");
    }
    for name in to_dir {
        remove(&tree.join(name));
        fs::create_dir(tree.join(name)).unwrap();
    }
    for name in to_link {
        remove(&tree.join(name));
        symlink("/etc", tree.join(name)).unwrap();
    }
    sandbox.restore(&[]);
    assert_good(&sandbox);
    // A directory with contents where a file was: not without being asked.
    remove(&tree.join("big.bin"));
    write(tree.join("big.bin/precious"), b"mine");
    let before = ctimes(&tree);
    let refused = sandbox.larder(["restore", "--key", "k"]).exits(1);
    refused.says("big.bin is in the way").says("--delete-extra");
    assert_eq!(ctimes(&tree), before);
    sandbox.restore(&["--delete-extra"]);
    assert_good(&sandbox);
}

/// A fifo or socket counts as a thing that is there, though no cache holds any.
#[test]
fn special_files_in_the_way() {
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let fifo = |path: &Path| {
        rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    };
    // Where a file goes, a fifo gives way as a file would.
    let sandbox = saved(50);
    let tree = sandbox.work("tree");
    remove(&tree.join("big.bin"));
    fifo(&tree.join("big.bin"));
    sandbox.restore(&[]);
    assert_good(&sandbox);
    // Where a directory goes, it is replaced too, not met half-way through.
    remove(&tree.join("pkg01"));
    fifo(&tree.join("pkg01"));
    sandbox.restore(&[]);
    assert_good(&sandbox);
    // A directory that holds one is not empty.
    remove(&tree.join("big.bin"));
    fs::create_dir(tree.join("big.bin")).unwrap();
    fifo(&tree.join("big.bin/pipe"));
    sandbox.larder(["restore", "--key", "k"]).exits(1).says("in the way");
    assert!(tree.join("big.bin/pipe").exists());
}

fn remove(path: &Path) {
    if fs::symlink_metadata(path).unwrap().is_dir() {
        fs::remove_dir_all(path).unwrap();
    } else {
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn extra_entries_stay_or_go() {
    let sandbox = saved(60);
    let tree = sandbox.work("tree");
    write(tree.join("pkg00/extra"), b"x");
    write(tree.join("new/deep/er"), b"x");
    symlink("/etc", tree.join("pkg01/extra-link")).unwrap();
    write(sandbox.work("beside/the-mount"), b"x");
    write(sandbox.work("beside.txt"), b"x");
    sandbox.restore(&[]);
    assert!(tree.join("pkg00/extra").exists() && tree.join("new/deep/er").exists());
    let outside = contents(Path::new("/etc/apt"));
    let report = sandbox.restore(&["--delete-extra"]);
    assert_eq!(report["removed"], 3, "topmost entries");
    assert_good(&sandbox);
    assert!(sandbox.work("beside/the-mount").exists() && sandbox.work("beside.txt").exists());
    assert_eq!(contents(Path::new("/etc/apt")), outside, "what a link points to stays");
}

#[test]
fn hard_links_that_were_broken_are_made_again() {
    for options in [&[][..], &["--no-stat-record"]] {
        let sandbox = saved(120);
        let tree = sandbox.work("tree");
        let (first, second) = (tree.join("pkg07/hard7"), tree.join("pkg07/lib3/f7.js"));
        let bytes = fs::read(&second).unwrap();
        let mtime = fs::metadata(&second).unwrap();
        // The same contents, mode and time, but a file of its own.
        fs::remove_file(&second).unwrap();
        write(&second, &bytes);
        chmod(&second, 0o755);
        set_mtime(&second, mtime.mtime(), mtime.mtime_nsec());
        sandbox.restore(options);
        assert_eq!(fs::metadata(&first).unwrap().ino(), fs::metadata(&second).unwrap().ino());
        assert_good(&sandbox);
        // The other way round: two files that became one.
        fs::remove_file(tree.join("pkg00/lib0/f0.js")).unwrap();
        fs::hard_link(tree.join("pkg01/lib1/f1.js"), tree.join("pkg00/lib0/f0.js")).unwrap();
        sandbox.restore(options);
        assert_good(&sandbox);
        // And the first of the names is gone, or has other contents.
        fs::remove_file(&first).unwrap();
        sandbox.restore(options);
        assert_good(&sandbox);
        write(&second, b"through one name, both change");
        sandbox.restore(options);
        assert_good(&sandbox);
    }
}

#[test]
fn a_part_by_path() {
    let sandbox = saved(120);
    let tree = sandbox.work("tree");
    remove(&tree.join("pkg03"));
    remove(&tree.join("pkg04"));
    write(tree.join("pkg05/extra"), b"x");
    let report = sandbox.restore(&["--delete-extra", "tree/pkg03", "tree/pkg05/lib1"]);
    assert!(!tree.join("pkg04").exists(), "it was not asked for");
    assert!(tree.join("pkg05/extra").exists(), "what was asked for does not cover it");
    assert_same(&tree.join("pkg03"), &sandbox.path("good/pkg03"));
    assert!(report["files"].as_u64().unwrap() < 30, "{report}");
    sandbox.restore_to("out", &["tree/pkg03/lib0"]);
    assert_same(&sandbox.path("out/tree/pkg03/lib0"), &sandbox.path("good/pkg03/lib0"));
    assert!(!sandbox.path("out/tree/big.bin").exists());
    // The whole after a part is whole, and knows what it did not see.
    sandbox.restore(&["--delete-extra"]);
    assert_good(&sandbox);
    let wrong = sandbox.larder(["restore", "--key", "k", "tree/nothing"]).exits(1);
    wrong.says("holds nothing at tree/nothing").says("it holds tree");
}

/// A restored tree is a valid start for a save that reads nothing.
#[test]
fn a_save_after_a_restore_reads_nothing() {
    let sandbox = saved(100);
    remove(&sandbox.work("tree"));
    sandbox.restore(&[]);
    let report = sandbox.save(&[]);
    assert_eq!((&report["files_read"], &report["unchanged"]), (&0.into(), &true.into()));
    // Nor does one after a restore that replaced some.
    write(sandbox.work("tree/big.bin"), b"changed");
    sandbox.restore(&[]);
    let report = sandbox.save(&[]);
    assert_eq!(report["unchanged"], true);
    assert!(report["files_read"].as_u64().unwrap() <= 1, "{report}");
}

#[test]
fn anchors_move_with_the_machine() {
    let sandbox = Sandbox::new();
    write(sandbox.work("here/file"), b"in the working directory");
    write(sandbox.path("home/.tool/file"), b"in the home directory");
    write(sandbox.path("elsewhere/file"), b"from the root");
    let absolute = sandbox.path("elsewhere");
    let absolute = absolute.to_str().unwrap();
    let home = sandbox.path("home/.tool");
    let paths = ["here", home.to_str().unwrap(), absolute];
    sandbox.larder(["save", "--key", "k"].iter().chain(&paths)).ok();
    let shown = sandbox.larder(["--json", "show", "k"]).ok().json();
    let mounts = serde_json::json!(["here", "~/.tool", absolute]);
    assert_eq!(shown["mounts"], mounts);

    for name in ["work2", "home2"] {
        fs::create_dir(sandbox.path(name)).unwrap();
    }
    fs::remove_dir_all(sandbox.path("elsewhere")).unwrap();
    let mut command = sandbox.command(["restore", "--key", "k"]);
    run(command.current_dir(sandbox.path("work2")).env("HOME", sandbox.path("home2"))).ok();
    let text = |name: &str| fs::read_to_string(sandbox.path(name)).unwrap();
    assert_eq!(text("work2/here/file"), "in the working directory");
    assert_eq!(text("home2/.tool/file"), "in the home directory");
    assert_eq!(text("elsewhere/file"), "from the root");
    // One of them by name, as it is written there.
    remove(&sandbox.path("home2/.tool"));
    remove(&sandbox.path("work2/here"));
    let mut command = sandbox.command(["restore", "--key", "k", "~/.tool"]);
    run(command.current_dir(sandbox.path("work2")).env("HOME", sandbox.path("home2"))).ok();
    assert!(sandbox.path("home2/.tool/file").exists() && !sandbox.path("work2/here").exists());
    // All below one directory.
    sandbox.restore_to("all", &[]);
    assert_eq!(text("all/here/file"), "in the working directory");
    assert_eq!(text("all/.tool/file"), "in the home directory");
    assert!(sandbox.path("all").join(absolute.trim_start_matches('/')).join("file").exists());
}

#[test]
fn the_working_directory_itself() {
    let sandbox = Sandbox::new();
    plant(&sandbox.path("work"), 40, 3);
    sandbox.larder(["save", "--key", "k", "."]).ok();
    let mut copy = std::process::Command::new("cp");
    run(copy.arg("-a").args([sandbox.path("work"), sandbox.path("good")])).ok();
    remove(&sandbox.work("pkg01"));
    write(sandbox.work("extra"), b"x");
    sandbox.restore(&["--delete-extra"]);
    assert_same(&sandbox.path("work"), &sandbox.path("good"));
    sandbox.restore_to("out", &[]);
    assert_same(&sandbox.path("out"), &sandbox.path("good"));
    assert_eq!(stage_areas(&sandbox.path("")), Vec::<std::path::PathBuf>::new());
}

/// A cache can come from anybody who may write to the store: through a link
/// that lies in its way it must not reach what is elsewhere.
#[test]
fn restores_do_not_go_through_links() {
    let sandbox = Sandbox::new();
    write(sandbox.work("tree/sub/file"), b"from the cache");
    sandbox.larder(["save", "--key", "k", "tree/sub"]).ok();
    write(sandbox.path("outside/sub/mine"), b"mine");
    remove(&sandbox.work("tree"));
    symlink(sandbox.path("outside"), sandbox.work("tree")).unwrap();
    sandbox.larder(["restore", "--key", "k"]).exits(1).says("symbolic link");
    assert!(!sandbox.path("outside/sub/file").exists());
    // Unless the user says that this is the way.
    sandbox.larder(["restore", "--key", "k", "tree/sub"]).ok();
    assert!(sandbox.path("outside/sub/file").exists());
}
