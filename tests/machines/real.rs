//! Limits of real systems: a full disk, one that is read-only, few open files, little
//! memory. What they make fail, and in which order, is for the system to say.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use crate::support::{Run, assert_same, chmod, plant, run_whatever_it_does, stage_areas, write};
use crate::tree;
use crate::world::{Template, Trial, sandbox};

/// A small disk of its own at a path, until it is dropped.
struct Disk<'p>(&'p Path);

impl<'p> Disk<'p> {
    /// Nothing, where nobody may mount: then the log says so.
    fn mount(path: &'p Path, size: &str) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let options = format!("size={size}");
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(path).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(path));
        }
        eprintln!("skipped: nobody may mount a small disk here");
        None
    }

    fn make_read_only(&self) {
        let mut mount = Command::new("mount");
        assert!(mount.args(["-o", "remount,ro"]).arg(self.0).status().unwrap().success());
    }

    /// Leaves no room on it.
    fn fill(&self) -> std::path::PathBuf {
        let ballast = self.0.join("ballast");
        let mut len = 1 << 20;
        let mut all = vec![];
        while len > 0 {
            all.resize(all.len() + len, 7);
            if fs::write(&ballast, &all).is_err() {
                all.truncate(all.len() - len);
                len /= 2;
            }
        }
        ballast
    }
}

impl Drop for Disk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// Runs a command in a shell that was given less of something.
fn limited(limit: &str, command: &Command) -> Run {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("ulimit {limit} && exec \"$0\" \"$@\"")]);
    shell.arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        shell.envs(value.map(|value| (name, value)));
    }
    run_whatever_it_does(shell.current_dir(command.get_current_dir().unwrap()))
}

#[test]
fn a_store_on_a_full_disk_keeps_what_it_has() {
    let sandbox = sandbox();
    let path = sandbox.path("disk");
    let Some(disk) = Disk::mount(&path, "16m") else { return };
    let tree = sandbox.work("tree");
    plant(&tree, 50, 3);
    let store = format!("file://{}/store", path.display());
    let larder = |arguments: &[&str]| {
        run_whatever_it_does(sandbox.command(arguments).env("LARDER_STORE", &store))
    };
    larder(&["save", "--key", "k", "tree"]).ok();
    let ballast = disk.fill();
    let before = sandbox.path("before");
    crate::world::copy(&tree, &before);
    fs::remove_dir_all(&tree).unwrap();
    plant(&tree, 60, 4);
    larder(&["save", "--key", "k", "tree"]).exits(5).says("error[L0505]: put ").says("hint: free");
    larder(&["verify", "--read-data"]).ok();
    let out = sandbox.path("out");
    let restore = ["restore", "--key", "k", "--to", out.to_str().unwrap()];
    larder(&restore).ok();
    assert_same(&before, &out.join("tree"));
    assert_eq!(fs::read_dir(path.join("store/tmp#")).unwrap().count(), 0);
    fs::remove_file(ballast).unwrap();
    larder(&["save", "--key", "k", "tree"]).ok();
    larder(&["restore", "--delete-extra", "--key", "k", "--to", out.to_str().unwrap()]).ok();
    assert_same(&tree, &out.join("tree"));
}

#[test]
fn a_restore_to_a_full_disk_changes_nothing() {
    let sandbox = sandbox();
    let path = sandbox.path("disk");
    let Some(disk) = Disk::mount(&path, "16m") else { return };
    let tree = sandbox.work("tree");
    plant(&tree, 50, 3);
    sandbox.save(&[]);
    sandbox.restore_to("disk", &[]);
    let before = sandbox.path("before");
    crate::world::copy(&tree, &before);
    fs::remove_dir_all(&tree).unwrap();
    plant(&tree, 60, 4);
    sandbox.save(&[]);
    let ballast = disk.fill();
    let restore = ["restore", "--delete-extra", "--key", "k", "--to", "../disk"];
    sandbox.larder(restore).exits(1).says("error[L0406]: ").says("hint: free");
    // But for the time of the directory that the stage area was in.
    assert_eq!(tree::read(&before), tree::read(&path.join("tree")));
    assert_eq!(stage_areas(&path), Vec::<std::path::PathBuf>::new());
    fs::remove_file(ballast).unwrap();
    sandbox.larder(restore).ok();
    assert_same(&tree, &path.join("tree"));
}

#[test]
fn a_read_only_disk_is_read_and_said_to_be_so() {
    let sandbox = sandbox();
    let path = sandbox.path("disk");
    let Some(disk) = Disk::mount(&path, "16m") else { return };
    let tree = sandbox.work("tree");
    plant(&tree, 20, 3);
    let store = format!("{}/store", path.display());
    let larder = |arguments: &[&str]| {
        run_whatever_it_does(sandbox.command(arguments).env("LARDER_STORE", &store))
    };
    larder(&["save", "--key", "k", "tree"]).ok();
    write(path.join("out/tree/old"), b"old");
    disk.make_read_only();
    larder(&["restore", "--key", "k", "--to", "../out"]).ok();
    assert_same(&tree, &sandbox.path("out/tree"));
    larder(&["verify", "--read-data"]).ok();
    // What is there already needs nothing written.
    larder(&["save", "--key", "k", "tree"]).ok();
    write(tree.join("new"), b"new");
    larder(&["save", "--key", "k", "tree"]).exits(7).says("error[L0504]: ");
    larder(&["flush"]).exits(7).says("error[L0504]: ");
    larder(&["restore", "--key", "k", "--to", "../disk/out"]).exits(1).says("error[L0405]: ");
    assert_eq!(fs::read_dir(path.join("out/tree")).unwrap().count(), 1);
}

/// The fewest open files that both can do with are 18, on two cores.
#[test]
fn few_open_files_are_enough_or_the_error_says_so() {
    let sandbox = sandbox();
    let tree = sandbox.work("tree");
    plant(&tree, 400, 5);
    let save = ["save", "--threads", "2", "--no-stat-record", "--key", "k", "tree"];
    let restore = ["restore", "--threads", "2", "--no-stat-record", "--key", "k", "--to", "../out"];
    for limit in [12, 24] {
        for arguments in [&save[..], &restore[..]] {
            let run = limited(&format!("-n {limit}"), &sandbox.command(arguments));
            if limit == 24 {
                run.ok();
            } else if run.code != Some(0) {
                assert!(matches!(run.code, Some(1 | 5)), "{run:?}");
                run.says("Too many open files").says("hint: ");
            }
        }
        sandbox.save(&[]);
    }
    assert_same(&tree, &sandbox.path("out/tree"));
}

/// Without memory a program ends at once, larder as any other: that is no worse than to
/// be killed.
#[test]
fn without_memory_nothing_is_half_done() {
    for (trial, kilobytes) in [(Trial::Save, 70_000), (Trial::Restore, 62_000)] {
        let template = Template::new(trial);
        let world = template.world();
        let run = limited(&format!("-v {kilobytes}"), &world.command());
        assert!(!matches!(run.code, Some(101)), "{run:?}");
        world.age_what_is_left();
        world.judge_state(run.code == Some(0)).unwrap();
    }
}

/// Runs a command as somebody whom permissions bind, which they do not root.
fn without_rights(command: &Command) -> Run {
    let mut other = Command::new("env");
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        other = Command::new("setpriv");
        other.args(["--reuid", "65534", "--regid", "65534", "--clear-groups", "--"]);
    }
    other.arg(command.get_program()).args(command.get_args()).env_clear();
    for (name, value) in command.get_envs() {
        other.envs(value.map(|value| (name, value)));
    }
    run_whatever_it_does(other.current_dir(command.get_current_dir().unwrap()))
}

const TO_OUT: [&str; 6] = ["restore", "--no-stat-record", "--key", "k", "--to", "../out"];

#[test]
fn a_directory_that_may_not_be_written_is_named() {
    let sandbox = sandbox();
    plant(&sandbox.work("tree"), 5, 6);
    sandbox.save(&[]);
    let out = sandbox.path("out");
    fs::create_dir(&out).unwrap();
    chmod(&out, 0o555);
    let run = without_rights(&sandbox.command(TO_OUT));
    run.exits(1).says("error[L0405]: cannot create files in ").says("out: Permission denied");
    assert_eq!(fs::read_dir(&out).unwrap().count(), 0);
}

/// A directory of the target could not be listed, so nothing in it was found to be too
/// much: the restore said that it had removed all that was.
#[test]
fn what_cannot_be_seen_is_not_said_to_be_removed() {
    let sandbox = sandbox();
    plant(&sandbox.work("tree"), 5, 6);
    sandbox.save(&[]);
    let out = sandbox.path("out");
    fs::create_dir(&out).unwrap();
    chmod(&out, 0o777);
    without_rights(&sandbox.command(TO_OUT)).ok();
    let closed = out.join("tree/empty/dir");
    write(closed.join("extra"), b"too much");
    chmod(&closed, 0o000);
    let mut command = sandbox.command(TO_OUT);
    let run = without_rights(command.arg("--delete-extra"));
    run.exits(1).says("error[L0405]: cannot open ").says("tree/empty/dir: Permission denied");
    assert_eq!(fs::read(closed.join("extra")).unwrap(), b"too much");
    // Who wants nothing removed needs not see it.
    without_rights(&sandbox.command(TO_OUT)).ok();
}
