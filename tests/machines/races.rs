//! Others are at work in the same place: editors in a tree that is saved, a second save
//! of the key, a second restore into the directory. With `LARDER_RACES=N` it is about so
//! many edits, and a hundredth of it of saves and restores.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::sample;
use crate::support::{Noise, Sandbox, contents, run_whatever_it_does, stage_areas, wait};
use crate::tree;
use crate::world::sandbox;

/// Files of a tree that is edited.
const FILES: u64 = 24;

/// Editors at work at once.
const EDITORS: u64 = 3;

/// Bytes of a record, with its head: several pages, so that a file can be seen half
/// rewritten.
const RECORD: usize = 20_000;

/// A record of a file: whose it is, which version of the file it belongs to, and which
/// one it is in it. All that follows can be told from that.
fn record(file: u64, version: u64, number: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(RECORD);
    for word in [file, version, number] {
        bytes.extend(word.to_le_bytes());
    }
    bytes.extend(Noise(file << 48 ^ version << 8 ^ number).bytes(RECORD - 24));
    bytes
}

/// Whether a file had this content at some time: whole records of one version, in order,
/// as they were appended.
fn is_a_state(bytes: &[u8]) -> bool {
    let word = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    if bytes.is_empty() {
        return true;
    }
    bytes.len().is_multiple_of(RECORD) && {
        let (file, version) = (word(0), word(8));
        let mut records = bytes.chunks(RECORD).zip(0..);
        records.all(|(chunk, number)| *chunk == record(file, version, number))
    }
}

/// Somebody who changes a tree without pause.
struct Editor<'a> {
    root: &'a Path,
    number: u64,
    noise: Noise,
    /// Versions are used once.
    versions: &'a AtomicU64,
}

impl Editor<'_> {
    fn path(&self, file: u64) -> PathBuf {
        self.root.join(format!("d{}/f{file}", file % 4))
    }

    /// One edit, if the file is such that it can be made. Each file has one editor:
    /// two would make states of it that nobody meant.
    fn edit(&mut self) -> io::Result<()> {
        let file = self.noise.below(FILES / EDITORS) * EDITORS + self.number;
        let path = self.path(file);
        let version = self.versions.fetch_add(1, Ordering::Relaxed) + 1;
        let scratch = self.root.with_file_name(format!("scratch-{version}"));
        let is_file = fs::symlink_metadata(&path).is_ok_and(|found| found.is_file());
        match self.noise.below(12) {
            0 | 1 if is_file => self.append(file, &path)?,
            2 if is_file => File::options().write(true).open(&path)?.set_len(0)?,
            3..=5 if is_file => {
                // In place, in one call: a reader may still see half of each.
                let open = File::options().write(true).open(&path)?;
                open.set_len(open.metadata()?.len().min(RECORD as u64))?;
                open.write_all_at(&record(file, version, 0), 0)?;
            }
            0..=6 => {
                fs::write(&scratch, record(file, version, 0))?;
                fs::rename(&scratch, &path)?;
            }
            7 => {
                let mode = 0o600 | self.noise.below(0o100) as u32;
                fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            }
            8 => fs::remove_file(&path)?,
            9 => {
                symlink(format!("to-{version}"), &scratch)?;
                fs::rename(&scratch, &path)?;
            }
            10 => {
                fs::remove_file(&path)?;
                fs::create_dir(&path)?;
                fs::write(path.join("below"), record(file, version, 0))?;
            }
            _ => {
                fs::remove_file(path.join("below"))?;
                fs::remove_dir(&path)?;
            }
        }
        Ok(())
    }

    /// Appends the next record of the version that is there.
    fn append(&mut self, file: u64, path: &Path) -> io::Result<()> {
        let there = fs::read(path)?;
        if there.is_empty() || there.len() > 5 * RECORD {
            return Ok(());
        }
        let version = u64::from_le_bytes(there[8..16].try_into().unwrap());
        let next = record(file, version, (there.len() / RECORD) as u64);
        OpenOptions::new().append(true).open(path)?.write_all(&next)
    }
}

/// How many edits are made.
fn edits() -> u64 {
    sample::wanted("LARDER_RACES").map_or(600, |wanted| wanted as u64)
}

/// How often two processes race.
fn rounds() -> u64 {
    sample::wanted("LARDER_RACES").map_or(4, |wanted| wanted as u64 / 100)
}

fn save_and_check(sandbox: &Sandbox, round: u64) -> bool {
    let mut arguments = vec!["save", "--key", "k", "tree"];
    if round.is_multiple_of(2) {
        arguments.push("--skip-unreadable");
    }
    let run = run_whatever_it_does(&mut sandbox.command(&arguments));
    assert!(matches!(run.code, Some(0 | 1)), "{run:?}");
    if run.code == Some(1) {
        assert!(run.stderr.contains("error[L0402]"), "{run:?}");
        return false;
    }
    let out = format!("out{round}");
    sandbox.restore_to(&out, &["--no-stat-record"]);
    for (path, bytes) in contents(&sandbox.path(&out)) {
        let heads: Vec<_> = bytes.chunks(RECORD).map(|chunk| &chunk[8..24]).collect();
        let (len, path) = (bytes.len(), path.display());
        assert!(is_a_state(&bytes), "{path} was never so: {len} bytes, {heads:?}");
    }
    fs::remove_dir_all(sandbox.path(&out)).unwrap();
    true
}

#[test]
fn what_is_saved_of_a_changing_tree_was_there() {
    let sandbox = sandbox();
    let root = sandbox.work("tree");
    for directory in 0..4 {
        fs::create_dir_all(root.join(format!("d{directory}"))).unwrap();
    }
    let (versions, made, wanted) = (AtomicU64::new(0), AtomicU64::new(0), edits());
    let saved = AtomicU64::new(0);
    let is_over = AtomicBool::new(false);
    std::thread::scope(|threads| {
        for number in 0..EDITORS {
            let noise = Noise(0xed17 + number);
            let mut editor = Editor { root: &root, number, noise, versions: &versions };
            let (made, is_over) = (&made, &is_over);
            threads.spawn(move || {
                while !is_over.load(Ordering::Relaxed) {
                    made.fetch_add(u64::from(editor.edit().is_ok()), Ordering::Relaxed);
                    std::thread::sleep(std::time::Duration::from_micros(300));
                }
            });
        }
        // However it ends, the editors do.
        let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            for round in 0.. {
                saved.fetch_add(u64::from(save_and_check(&sandbox, round)), Ordering::Relaxed);
                if made.load(Ordering::Relaxed) >= wanted && round > 2 {
                    break;
                }
            }
        }));
        is_over.store(true, Ordering::Relaxed);
        end.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    });
    eprintln!("{} edits raced {} saves", made.into_inner(), saved.load(Ordering::Relaxed));
    assert!(saved.into_inner() > 0, "nothing could be saved");
    // Left alone, it is what is saved.
    sandbox.save(&[]);
    sandbox.restore_to("end", &[]);
    assert_eq!(tree::read(&sandbox.path("end/tree")), tree::read(&root));
    sandbox.larder(["verify", "--read-data"]).ok();
}

/// A sandbox with two trees, in directories of their own.
fn two_trees() -> (Sandbox, [tree::Tree; 2]) {
    let sandbox = sandbox();
    for (name, version) in [("a", 1), ("b", 2)] {
        for file in 0..30 {
            // Every third is the same in both.
            let version = if file % 3 == 0 { 0 } else { version };
            let path = sandbox.path(format!("{name}/tree/d{}/f{file}", file % 5));
            crate::support::write(&path, record(file, version, 0));
            crate::support::set_mtime(&path, 1_700_000_000 + version as i64, 0);
        }
    }
    let read = |name| tree::read(&sandbox.path(format!("{name}/tree")));
    let trees = ["a", "b"].map(read);
    (sandbox, trees)
}

fn start(sandbox: &Sandbox, from: &str, arguments: &[&str]) -> Child {
    let mut command = sandbox.command(arguments);
    let command = command.current_dir(sandbox.path(from)).env("LARDER_THREADS", "2");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

#[test]
fn of_two_saves_of_a_key_at_once_one_is_kept_whole() {
    let (sandbox, trees) = two_trees();
    for round in 0..rounds() {
        let mut arguments = vec!["save", "--key", "k", "tree"];
        if round.is_multiple_of(2) {
            arguments.push("--no-reuse");
        }
        let mut saves = ["a", "b"].map(|from| start(&sandbox, from, &arguments));
        for save in &mut saves {
            assert_eq!(wait(save), Some(0), "round {round}");
        }
        sandbox.larder(["verify", "--read-data"]).ok();
        let out = format!("out{round}");
        sandbox.restore_to(&out, &["--no-stat-record"]);
        let restored = tree::read(&sandbox.path(&out).join("tree"));
        assert!(trees.contains(&restored), "round {round}: a mixture");
        fs::remove_dir_all(sandbox.path(&out)).unwrap();
    }
}

#[test]
fn two_restores_into_a_directory_at_once_mix_no_file() {
    let (sandbox, [a, b]) = two_trees();
    for (from, key) in [("a", "a"), ("b", "b")] {
        assert_eq!(wait(&mut start(&sandbox, from, &["save", "--key", key, "tree"])), Some(0));
    }
    for round in 0..rounds() {
        let out = sandbox.path(format!("out{}", round % 2));
        if round % 4 < 2 {
            let _ = fs::remove_dir_all(&out);
        }
        let to = out.to_str().unwrap();
        let mut restores = ["a", "b"].map(|key| {
            start(&sandbox, "work", &["restore", "--delete-extra", "--key", key, "--to", to])
        });
        for restore in &mut restores {
            let code = wait(restore);
            assert!(matches!(code, Some(0 | 1)), "round {round}: {code:?}");
        }
        let found = tree::read(&out.join("tree"));
        let stranger = tree::stranger(&found, [&a, &b]);
        assert_eq!(stranger, None, "round {round}: neither of one nor of the other");
        // The next one is alone, and must not believe what either left behind.
        let (key, expected) = if round.is_multiple_of(2) { ("a", &a) } else { ("b", &b) };
        sandbox.larder(["restore", "--delete-extra", "--key", key, "--to", to]).ok();
        assert_eq!(tree::read(&out.join("tree")), *expected, "round {round}");
        assert_eq!(stage_areas(&out), Vec::<PathBuf>::new(), "round {round}");
    }
}
