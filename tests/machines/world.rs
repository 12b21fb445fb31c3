//! What is tried on broken machines: a store with some caches, and commands on it, each
//! of which has work of every kind to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Noise, Run, Sandbox, chmod, run, set_mtime, write};
use crate::tree::{self, Tree};

/// A command that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Trial {
    /// The first save of a store that is not there.
    FirstSave,
    /// A save that replaces what the key holds, and fills the local cache.
    Save,
    /// A restore into a tree that is there, with its stat record.
    Restore,
    /// A restore where nothing is, through a local cache.
    RestoreAnew,
    /// A flush that removes a cache, repacks, and frees.
    Flush,
    Delete,
    Verify,
    /// A repair of a store with a cache whose pack is gone.
    Repair,
    List,
}

impl Trial {
    pub(crate) const ALL: [Self; 9] = [
        Self::FirstSave,
        Self::Save,
        Self::Restore,
        Self::RestoreAnew,
        Self::Flush,
        Self::Delete,
        Self::Verify,
        Self::Repair,
        Self::List,
    ];

    fn arguments(self) -> &'static [&'static str] {
        match self {
            Self::FirstSave => &["save", "--key", "k", "tree"],
            Self::Save => &["save", "--local-cache", "../tier", "--key", "k", "tree"],
            Self::Restore => &["restore", "--delete-extra", "--key", "k", "--to", "../out"],
            Self::RestoreAnew => {
                &["restore", "--local-cache", "../tier", "--key", "k", "--to", "../fresh/out"]
            }
            Self::Flush => &[
                "flush",
                "--repack",
                "--max-size",
                "2MB",
                "--pin",
                "k",
                "--pin",
                "other",
                "--grace",
                "1s",
                "--longest-save",
                "1s",
            ],
            Self::Delete => &["delete", "unneeded"],
            Self::Verify => &["verify", "--read-data"],
            Self::Repair => &["verify", "--repair"],
            Self::List => &["list", "--json"],
        }
    }

    pub(crate) fn saves(self) -> bool {
        matches!(self, Self::FirstSave | Self::Save)
    }
}

/// What is ready to be tried, as directories that are copied for each try.
pub(crate) struct Template {
    sandbox: Sandbox,
    trial: Trial,
    /// What the key `k` holds before and after.
    pub(crate) old: Tree,
    pub(crate) new: Tree,
    other: Tree,
}

/// A copy of a template, in which one thing is tried.
pub(crate) struct World<'t> {
    pub(crate) sandbox: Sandbox,
    template: &'t Template,
}

/// Two versions of a tree: the second has files that are changed, added and gone.
fn plant(root: &Path, version: u64) {
    let mut noise = Noise(version);
    let mut same = Noise(99);
    for number in 0..12 {
        let mut bytes = same.bytes(3_000);
        if number % 3 == version % 3 {
            bytes = noise.bytes(2_500);
        }
        let path = root.join(format!("d{}/f{number}", number % 3));
        write(&path, bytes);
        set_mtime(&path, 1_700_000_000 + i64::try_from(version).unwrap(), 0);
    }
    write(root.join(format!("only-{version}/deep/file")), noise.bytes(700));
    chmod(root.join("d0/f0"), 0o755);
    fs::hard_link(root.join("d0/f0"), root.join("d1/hard")).unwrap();
    std::os::unix::fs::symlink(format!("f{version}"), root.join("d2/soft")).unwrap();
    let mut large = same.bytes(700_000);
    large.extend(noise.bytes(300_000));
    write(root.join("large"), large);
    fs::create_dir_all(root.join("empty")).unwrap();
}

/// A sandbox in memory, where there is such a place: what is tried is which calls are
/// made and not how long a disk takes for them. `TMPDIR` says otherwise.
pub(crate) fn sandbox() -> Sandbox {
    let memory = Path::new("/dev/shm");
    match std::env::var_os("TMPDIR") {
        None if memory.is_dir() => Sandbox::within(memory),
        _ => Sandbox::new(),
    }
}

impl Template {
    pub(crate) fn new(trial: Trial) -> Self {
        let sandbox = sandbox();
        for (name, version) in [("old", 1), ("new", 2), ("other", 6), ("unneeded", 9)] {
            plant(&sandbox.path(name).join("tree"), version);
        }
        // So that its pack, which others have parts of, is worth repacking.
        write(sandbox.path("unneeded/tree/more"), Noise(7).bytes(1_500_000));
        let save = |name: &str, key: &str| {
            let mut command = sandbox.command(["save", "--key", key, "tree"]);
            run(command.current_dir(sandbox.path(name))).ok();
        };
        if trial == Trial::Flush {
            save("other", "unneeded");
            sandbox.larder(["delete", "unneeded"]).ok();
            fs::remove_file(sandbox.path("other/tree/large")).unwrap();
        }
        if trial != Trial::FirstSave {
            save("unneeded", "unneeded");
            save("old", "k");
        }
        if trial == Trial::Restore {
            sandbox.larder(["restore", "--key", "k", "--to", "../out"]).ok();
        }
        if !trial.saves() {
            save("new", "k");
            save("other", "other");
        }
        if trial == Trial::Flush {
            // Condemns the pack of what was deleted, which the next one deletes.
            let quick = ["flush", "--grace", "1s", "--longest-save", "1s", "--pin", "*"];
            let flushed = sandbox.larder(quick).ok();
            assert!(flushed.stdout.contains("in 1 pack"), "{flushed:?}");
            std::thread::sleep(std::time::Duration::from_millis(2_100));
        }
        if trial == Trial::Repair {
            fs::remove_file(sandbox.store().join("manifests/default/unneeded")).unwrap();
            write(sandbox.store().join("manifests/default/unneeded"), b"rubbish");
            let _ = fs::remove_dir_all(sandbox.store().join("index"));
        }
        let read = |name: &str| tree::read(&sandbox.path(name).join("tree"));
        let (old, new, other) = (read("old"), read("new"), read("other"));
        copy(&sandbox.path("new/tree"), &sandbox.work("tree"));
        for name in ["old", "new"] {
            fs::remove_dir_all(sandbox.path(name)).unwrap();
        }
        Self { sandbox, trial, old, new, other }
    }

    pub(crate) fn world(&self) -> World<'_> {
        let sandbox = sandbox();
        for name in ["store", "work", "out", "cache"] {
            if self.sandbox.path(name).exists() {
                copy(&self.sandbox.path(name), &sandbox.path(name));
            }
        }
        fs::create_dir(sandbox.path("fresh")).unwrap();
        World { sandbox, template: self }
    }
}

impl World<'_> {
    /// The command that is tried.
    pub(crate) fn command(&self) -> Command {
        let mut command = self.sandbox.command(self.template.trial.arguments());
        // With all that has to do with the disk.
        command.env("LARDER_STORE", self.sandbox.store()).env("LARDER_THREADS", "2");
        command
    }

    /// The directory that holds all that is tried.
    pub(crate) fn top(&self) -> PathBuf {
        self.sandbox.store().parent().unwrap().to_owned()
    }

    /// Where a restore puts its tree.
    pub(crate) fn target(&self) -> PathBuf {
        let to = if self.template.trial == Trial::Restore { "out" } else { "fresh/out" };
        self.sandbox.path(to).join("tree")
    }

    /// Judges what a run has left that ended by itself.
    pub(crate) fn judge(&self, run: &Run) -> Result<(), String> {
        let code = run.code.ok_or("it was killed")?;
        if !(0..=11).contains(&code) && code != 130 {
            return Err(format!("the exit code {code} is not documented"));
        }
        if run.stderr.contains("panicked") {
            return Err("it panicked".to_owned());
        }
        if code != 0 && !run.stderr.contains("error[L") && code != 4 {
            return Err("it does not say what failed".to_owned());
        }
        self.judge_state(code == 0)
    }

    /// Judges what a run has left, which said that it succeeded or did not.
    pub(crate) fn judge_state(&self, said_done: bool) -> Result<(), String> {
        let trial = self.template.trial;
        let verified = self.larder(&["verify", "--read-data"]);
        let may_be_damaged = trial == Trial::Repair && !said_done;
        if verified.code != Some(0) && !may_be_damaged {
            return Err(format!("the store is damaged: {verified:?}"));
        }
        self.judge_target(said_done)?;
        self.judge_key(said_done)?;
        self.judge_next()
    }

    /// The target of a restore is old or new, entry by entry; the new one, if it says so.
    fn judge_target(&self, said_done: bool) -> Result<(), String> {
        let Template { trial, old, new, .. } = self.template;
        if !matches!(trial, Trial::Restore | Trial::RestoreAnew) {
            return Ok(());
        }
        let target = tree::read(&self.target());
        if said_done && target != *new {
            return Err(format!("it is not restored: {}", difference(&target, new)));
        }
        match tree::stranger(&target, [old, new]) {
            Some(path) => Err(format!("{} is neither old nor new", path.display())),
            None => Ok(()),
        }
    }

    /// A key holds what it held, or what was saved.
    fn judge_key(&self, said_done: bool) -> Result<(), String> {
        let Template { trial, old, new, .. } = self.template;
        let run = self.restore("k", "check");
        let restored = tree::read(&self.sandbox.path("check/tree"));
        match run.code {
            Some(0) => {}
            Some(3) if *trial == Trial::FirstSave && !said_done => return Ok(()),
            _ => return Err(format!("k cannot be restored: {run:?}")),
        }
        let is_old_allowed = *trial == Trial::Save && !said_done;
        if restored != *new && !(is_old_allowed && restored == *old) {
            return Err(format!("k is something else: {}", difference(&restored, new)));
        }
        Ok(())
    }

    /// The next run succeeds, gives what it should, and leaves nothing.
    fn judge_next(&self) -> Result<(), String> {
        let Template { trial, new, other, .. } = self.template;
        let mut command = self.command();
        if matches!(trial, Trial::Flush | Trial::Repair) {
            // What failed while it gave back its claim seems to be at work still.
            command.arg("--take-over");
        }
        let next = run(&mut command);
        if next.code != Some(0) && !(*trial == Trial::Repair && next.code == Some(4)) {
            return Err(format!("the next run fails: {next:?}"));
        }
        let verified = self.larder(&["verify", "--read-data"]);
        if verified.code != Some(0) {
            return Err(format!("the store is damaged after the next run: {verified:?}"));
        }
        self.judge_target(true)?;
        for (key, expected) in [("k", new), ("other", other)] {
            if key == "other" && trial.saves() {
                continue;
            }
            let to = format!("check-{key}");
            let run = self.restore(key, &to);
            let restored = tree::read(&self.sandbox.path(&to).join("tree"));
            if run.code != Some(0) || restored != *expected {
                return Err(format!("{key} cannot be restored after the next run: {run:?}"));
            }
        }
        self.judge_litter()
    }

    /// Makes what a killed run has left look old: a young file may have a writer, and is
    /// left alone by others.
    pub(crate) fn age_what_is_left(&self) {
        for directory in ["store/tmp#", "tier/tier-tmp", "cache/larder/records"] {
            for entry in fs::read_dir(self.sandbox.path(directory)).into_iter().flatten() {
                let path = entry.unwrap().path();
                if directory != "cache/larder/records" || path.extension().is_some() {
                    set_mtime(&path, 1_700_000_000, 0);
                }
            }
        }
    }

    /// Temporary files and stage areas are gone.
    pub(crate) fn judge_litter(&self) -> Result<(), String> {
        for directory in ["store/tmp#", "tier/tier-tmp"] {
            let mut entries = fs::read_dir(self.sandbox.path(directory)).into_iter().flatten();
            if let Some(entry) = entries.next() {
                return Err(format!("{} is left", entry.unwrap().path().display()));
            }
        }
        let mut left = crate::support::stage_areas(&self.sandbox.path("work"));
        for name in ["out", "fresh"] {
            left.extend(crate::support::stage_areas(&self.sandbox.path(name)));
        }
        for entry in fs::read_dir(self.sandbox.path("cache/larder/records")).into_iter().flatten() {
            let path = entry.unwrap().path();
            // The locks of places stay, like their records.
            let is_left = path.extension().is_some_and(|extension| extension != "lock");
            left.extend(is_left.then_some(path));
        }
        if left.is_empty() { Ok(()) } else { Err(format!("{left:?} is left")) }
    }

    fn larder(&self, arguments: &[&str]) -> Run {
        self.sandbox.larder(arguments)
    }

    fn restore(&self, key: &str, to: &str) -> Run {
        let _ = fs::remove_dir_all(self.sandbox.path(to));
        let to = format!("../{to}");
        let arguments = ["restore", "--no-stat-record", "--fail-on-miss", "--key", key, "--to"];
        self.larder(&[&arguments[..], &[&to]].concat())
    }
}

/// The first difference of two trees, in words.
fn difference(found: &Tree, expected: &Tree) -> String {
    for path in found.keys().chain(expected.keys()) {
        match (found.get(path), expected.get(path)) {
            (Some(_), None) => return format!("{} is too much", path.display()),
            (None, Some(_)) => return format!("{} is missing", path.display()),
            (a, b) if a != b => return format!("{} differs", path.display()),
            _ => {}
        }
    }
    "no difference".to_owned()
}

/// Copies a tree with its links and times.
pub(crate) fn copy(from: &Path, to: &Path) {
    let mut command = Command::new("cp");
    run(command.arg("-aT").args([from, to])).ok();
}
