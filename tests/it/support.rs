//! Sandboxes to run larder in, trees to run it on, and an independent judge.

// Named, since other tests have this file elsewhere.
#[path = "noise.rs"]
mod noise;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read, Seek};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

pub(crate) use noise::Noise;

/// No run takes longer unless it hangs.
const TIMEOUT: Duration = Duration::from_secs(100);

/// A store, a home and a working directory of their own.
pub(crate) struct Sandbox {
    top: TempDir,
}

impl Sandbox {
    pub(crate) fn new() -> Self {
        Self::of(tempfile::Builder::new().prefix("larder-it-").tempdir().unwrap())
    }

    /// A sandbox below some other directory than that for temporary files.
    #[allow(dead_code, reason = "for some of the tests that have this file")]
    pub(crate) fn within(directory: &Path) -> Self {
        Self::of(tempfile::Builder::new().prefix("larder-it-").tempdir_in(directory).unwrap())
    }

    /// In memory, where the machine has such a place: for tests of hundreds of small
    /// restores, which a disk's journal makes ten times as slow.
    #[allow(dead_code, reason = "for some of the tests that have this file")]
    pub(crate) fn in_memory() -> Self {
        let there = tempfile::Builder::new().prefix("larder-it-").tempdir_in("/dev/shm");
        there.map_or_else(|_| Self::new(), Self::of)
    }

    fn of(top: TempDir) -> Self {
        // Some tests run larder as another user.
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let sandbox = Self { top };
        for name in ["home", "work"] {
            fs::create_dir(sandbox.path(name)).unwrap();
        }
        sandbox
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.top.path().join(name)
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("store")
    }

    /// A path in the working directory.
    pub(crate) fn work(&self, name: impl AsRef<Path>) -> PathBuf {
        self.path("work").join(name)
    }

    /// larder in the working directory, in an environment of its own.
    pub(crate) fn command<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command
            .args(arguments)
            .current_dir(self.path("work"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            // Nothing here must survive a power failure.
            .env("LARDER_STORE", format!("file://{}?sync=never", self.store().display()));
        command
    }

    pub(crate) fn larder<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        run(&mut self.command(arguments))
    }

    /// Saves `tree` in the working directory under the key `k`.
    pub(crate) fn save(&self, more: &[&str]) -> serde_json::Value {
        let arguments = ["--json", "save", "--key", "k", "tree"];
        self.larder(arguments.iter().chain(more)).ok().json()
    }

    /// Restores the key `k` below a directory.
    pub(crate) fn restore_to(&self, to: &str, more: &[&str]) -> serde_json::Value {
        let to = self.path(to);
        let arguments = ["--json", "restore", "--key", "k", "--to", to.to_str().unwrap()];
        self.larder(arguments.iter().chain(more)).ok().json()
    }

    /// Restores the key `k` in place.
    pub(crate) fn restore(&self, more: &[&str]) -> serde_json::Value {
        let arguments = ["--json", "restore", "--key", "k"];
        self.larder(arguments.iter().chain(more)).ok().json()
    }
}

/// A process that ended.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    pub(crate) fn exits(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    #[track_caller]
    pub(crate) fn json(&self) -> serde_json::Value {
        assert_eq!(self.stdout.lines().count(), 1, "one object on one line: {}", self.stdout);
        serde_json::from_str(&self.stdout).unwrap()
    }

    #[track_caller]
    #[allow(dead_code, reason = "for the pipelines in tests/s3 alone")]
    pub(crate) fn prints(self, text: &str) -> Self {
        assert!(self.stdout.contains(text), "{text:?} is not in: {}", self.stdout);
        self
    }

    #[track_caller]
    pub(crate) fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "{text:?} is not in: {}", self.stderr);
        self
    }
}

/// Runs a command to its end, or kills it when it seems to hang.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Run {
    let run = run_whatever_it_does(command);
    assert!(!run.stderr.contains("panicked"), "{}", run.stderr);
    run
}

/// As [`run`], for who judges for himself what the command says.
#[track_caller]
pub(crate) fn run_whatever_it_does(command: &mut Command) -> Run {
    let mut out = tempfile::tempfile().unwrap();
    let mut err = tempfile::tempfile().unwrap();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(err.try_clone().unwrap())
        .spawn()
        .unwrap();
    let code = wait(&mut child);
    let text = |file: &mut File| {
        let mut bytes = vec![];
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes).into_owned()
    };
    Run { code, stdout: text(&mut out), stderr: text(&mut err) }
}

/// Waits for a process, which it kills when it seems to hang.
#[track_caller]
pub(crate) fn wait(child: &mut Child) -> Option<i32> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        if began.elapsed() > TIMEOUT {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("larder hangs");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Writes a file, and the directories above it.
pub(crate) fn write(path: impl AsRef<Path>, bytes: impl AsRef<[u8]>) {
    let path = path.as_ref();
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

pub(crate) fn chmod(path: impl AsRef<Path>, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// Sets a modification time, of a link itself too.
pub(crate) fn set_mtime(path: impl AsRef<Path>, secs: i64, nanos: i64) {
    use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: secs, tv_nsec: nanos },
    };
    utimensat(CWD, path.as_ref(), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// A tree as package managers leave them: `files` small files in packages, a
/// few larger ones, links of both kinds.
pub(crate) fn plant(root: &Path, files: u64, seed: u64) {
    let mut noise = Noise(seed);
    for number in 0..files {
        let path = root.join(format!("pkg{:02}/lib{}/f{number}.js", number % 23, number % 4));
        let len = noise.below(6000) as usize;
        write(&path, noise.bytes(len));
        if number % 50 == 7 {
            chmod(&path, 0o755);
            fs::hard_link(&path, root.join(format!("pkg{:02}/hard{number}", number % 23))).unwrap();
            let link = root.join(format!("pkg{:02}/soft{number}", number % 23));
            std::os::unix::fs::symlink(format!("lib{}", number % 4), link).unwrap();
        }
    }
    write(root.join("big.bin"), noise.bytes(3 << 20));
    fs::create_dir_all(root.join("empty/dir")).unwrap();
}

/// What `find` says of a tree: all but directories' sizes.
pub(crate) fn listing(root: &Path) -> Vec<String> {
    let mut command = Command::new("find");
    // The path itself may be a file; what lies below may be too long to name.
    let (from, start) = match fs::symlink_metadata(root).unwrap().is_dir() {
        true => (root, OsStr::new(".")),
        false => (root.parent().unwrap(), root.file_name().unwrap()),
    };
    command.env("LC_ALL", "C").current_dir(from).arg(start).args(["(", "-type", "d", "-printf"]);
    command.args([r"%P\t%y\t%m\t%T@\t%n\n", ")", "-o", "-printf"]);
    command.arg(r"%P\t%y\t%m\t%T@\t%n\t%l\t%s\n");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut lines: Vec<String> = output
        .stdout
        .split(|&byte| byte == b'\n')
        .map(|line| line.escape_ascii().to_string())
        .collect();
    lines.sort();
    lines
}

/// Fails unless both trees are the same to `find` and `diff`.
#[track_caller]
pub(crate) fn assert_same(a: &Path, b: &Path) {
    assert_same_listing(a, b);
    let mut command = Command::new("diff");
    let output = command.args(["-r", "--no-dereference"]).args([a, b]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Fails unless both trees have the same entries with the same metadata.
#[track_caller]
pub(crate) fn assert_same_listing(a: &Path, b: &Path) {
    let (of_a, of_b) = (listing(a), listing(b));
    let only = |x: &[String], y: &[String]| -> Vec<String> {
        x.iter().filter(|line| y.binary_search(line).is_err()).cloned().collect()
    };
    let (only_a, only_b) = (only(&of_a, &of_b), only(&of_b, &of_a));
    assert!(of_a == of_b, "only {}: {only_a:#?}\nonly {}: {only_b:#?}", a.display(), b.display());
}

/// All of a tree that a change cannot leave alone, change times included.
pub(crate) fn ctimes(root: &Path) -> BTreeMap<PathBuf, (i64, i64, u64)> {
    let mut found = BTreeMap::new();
    visit(root, &mut |path, metadata| {
        let (secs, nanos) = (metadata.ctime(), metadata.ctime_nsec());
        found.insert(path.to_owned(), (secs, nanos, metadata.ino()));
    });
    found
}

/// A directory's files and their bytes.
pub(crate) fn contents(root: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    visit(root, &mut |path, metadata| {
        if metadata.is_file() {
            found.insert(path.to_owned(), fs::read(path).unwrap());
        }
    });
    found
}

pub(crate) fn visit(path: &Path, seen: &mut impl FnMut(&Path, &fs::Metadata)) {
    let Ok(metadata) = fs::symlink_metadata(path) else { return };
    seen(path, &metadata);
    if metadata.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            visit(&entry.unwrap().path(), seen);
        }
    }
}

/// Stage areas that were left anywhere below.
pub(crate) fn stage_areas(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    visit(root, &mut |path, _| {
        if path.file_name().is_some_and(|name| name.as_bytes().starts_with(b".larder-tmp-")) {
            found.push(path.to_owned());
        }
    });
    found
}

/// Now, in nanoseconds, for seeds that a failure prints.
pub(crate) fn nanos_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64
}
