//! The power goes: what a disk may hold afterwards, by what was written and in which
//! order it was forced to the disk.
//!
//! A run is written down call by call. A crash at some moment leaves of each file and of
//! each name in a directory what was forced to the disk by then; all else is there or
//! not, as chance has it, each on its own: names without the bytes they stand for, bytes
//! without their names, files cut short or full of zeros. Real file systems allow less.
//! What such a disk holds becomes a store again, and is judged as after a kill. With
//! `LARDER_POWER=N`, so many crashes of each command are tried.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::sample::{self, Tried};
use crate::support::{Noise, write};
use crate::tracer::{Plan, traced};
use crate::world::{Template, Trial, World};

/// A moment of a run: calls begin and end at different ones.
type Moment = u64;

/// A file of the model, whatever its names are.
type FileId = usize;

/// What a name leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Node {
    Directory,
    File(FileId),
}

/// When a call began and ended.
#[derive(Clone, Copy, Debug)]
struct Span {
    begin: Moment,
    end: Moment,
}

/// Something that changed a file's bytes.
#[derive(Clone, Debug)]
enum Change {
    Write { at: usize, bytes: Vec<u8> },
    Length(usize),
}

/// A file's bytes before the run, what changed them, and when they were forced to the
/// disk.
#[derive(Debug, Default)]
struct File {
    before: Vec<u8>,
    changes: Vec<(Span, Change)>,
    synced: Vec<Span>,
}

/// What a name led to before the run, and what it was made to lead to.
#[derive(Debug, Default)]
struct Name {
    before: Option<Node>,
    changes: Vec<(Span, Option<Node>)>,
}

/// All that happened to a store in one run.
#[derive(Debug, Default)]
struct History {
    files: Vec<File>,
    names: BTreeMap<PathBuf, Name>,
    /// When the names in a directory were forced to the disk.
    synced: BTreeMap<PathBuf, Vec<Span>>,
    end: Moment,
}

/// How chance treats what was not forced to the disk.
#[derive(Clone, Copy, Debug)]
enum Chance {
    /// Nothing of it is there.
    None,
    /// All names are there, and no bytes.
    Names,
    /// All bytes are there, and no names.
    Bytes,
    /// Each on its own.
    Each,
}

const CHANCES: [Chance; 5] =
    [Chance::None, Chance::Names, Chance::Bytes, Chance::Each, Chance::Each];

impl History {
    /// Runs a command, and writes down what it does to the store.
    fn record(world: &World<'_>, command: &std::process::Command) -> Self {
        let top = world.top();
        let mut history = Self::default();
        let mut inodes = BTreeMap::new();
        history.note_before(&top, Path::new("store"), &mut inodes);
        let traced = traced(&world.top(), command, &Plan::Log);
        assert_eq!(traced.run.code, Some(0), "{}", traced.run.stderr);
        let mut rest = &traced.report[..];
        while let Some((call, after)) = Call::read(rest) {
            history.end = history.end.max(call.span.end);
            history.note(&call, &top, &mut inodes);
            rest = after;
        }
        history
    }

    /// Notes what a path has, which is relative as all paths here.
    fn note_before(&mut self, top: &Path, path: &Path, inodes: &mut BTreeMap<u64, FileId>) {
        let there = top.join(path);
        let Ok(metadata) = fs::symlink_metadata(&there) else { return };
        let node = if metadata.is_dir() {
            Node::Directory
        } else {
            inodes.insert(metadata.ino(), self.files.len());
            self.files.push(File { before: fs::read(&there).unwrap(), ..File::default() });
            Node::File(self.files.len() - 1)
        };
        self.names.entry(path.to_owned()).or_default().before = Some(node);
        for entry in fs::read_dir(&there).into_iter().flatten() {
            self.note_before(top, &path.join(entry.unwrap().file_name()), inodes);
        }
    }

    /// What a name leads to at the end of all that was noted so far.
    fn now(&self, path: &Path) -> Option<Node> {
        let name = self.names.get(path)?;
        name.changes.last().map_or(name.before, |(_, node)| *node)
    }

    fn change(&mut self, path: &Path, span: Span, node: Option<Node>) {
        self.names.entry(path.to_owned()).or_default().changes.push((span, node));
    }

    fn note(&mut self, call: &Call<'_>, top: &Path, inodes: &mut BTreeMap<u64, FileId>) {
        const O_CREAT: i64 = 0o100;
        let Call { span, result, inode, offset, .. } = *call;
        let [path, other] =
            call.paths.each_ref().map(|path| path.strip_prefix(top).unwrap_or(path));
        let is_synced = matches!(call.name, "fsync" | "fdatasync");
        if result < 0 || !(path.starts_with("store") || other.starts_with("store") || is_synced) {
            return;
        }
        match call.name {
            "openat" if offset & O_CREAT != 0 && self.now(path).is_none() => {
                // A number of a file that is gone is given to a new one.
                inodes.insert(inode, self.files.len());
                self.files.push(File::default());
                self.change(path, span, Some(Node::File(self.files.len() - 1)));
            }
            "mkdir" | "mkdirat" => self.change(path, span, Some(Node::Directory)),
            "unlink" | "unlinkat" | "rmdir" => self.change(path, span, None),
            "link" | "linkat" => self.change(other, span, self.now(path)),
            "rename" | "renameat" | "renameat2" => {
                self.change(other, span, self.now(path));
                self.change(path, span, None);
            }
            "write" | "pwrite64" => {
                let change = Change::Write {
                    at: usize::try_from(offset).unwrap(),
                    bytes: call.bytes.to_vec(),
                };
                self.files[inodes[&inode]].changes.push((span, change));
            }
            "ftruncate" => {
                let change = Change::Length(usize::try_from(offset).unwrap());
                self.files[inodes[&inode]].changes.push((span, change));
            }
            "fsync" | "fdatasync" => match inodes.get(&inode) {
                Some(&file) => self.files[file].synced.push(span),
                None => self.synced.entry(path.to_owned()).or_default().push(span),
            },
            _ => {}
        }
    }

    /// What a name leads to after a crash.
    fn crashed_name(
        &self,
        path: &Path,
        at: Moment,
        chance: Chance,
        noise: &mut Noise,
    ) -> Option<Node> {
        let name = &self.names[path];
        let synced = path.parent().and_then(|parent| self.synced.get(parent));
        let synced = synced.map_or(&[][..], Vec::as_slice);
        let begun: Vec<_> = name.changes.iter().filter(|(span, _)| span.begin < at).collect();
        let safe = begun.iter().rposition(|(span, _)| is_safe(*span, synced, at));
        let from = safe.map_or(0, |safe| safe + 1);
        let kept = match chance {
            Chance::None | Chance::Bytes => from,
            Chance::Names => begun.len(),
            Chance::Each => from + noise.below((begun.len() - from) as u64 + 1) as usize,
        };
        kept.checked_sub(1).map_or(name.before, |last| begun[last].1)
    }

    /// The bytes of a file after a crash.
    fn crashed_bytes(
        &self,
        file: FileId,
        at: Moment,
        chance: Chance,
        noise: &mut Noise,
    ) -> Vec<u8> {
        let file = &self.files[file];
        let mut bytes = file.before.clone();
        for (span, change) in file.changes.iter().filter(|(span, _)| span.begin < at) {
            let is_there = is_safe(*span, &file.synced, at)
                || match chance {
                    Chance::None | Chance::Names => false,
                    Chance::Bytes => true,
                    Chance::Each => noise.below(2) == 0,
                };
            match change {
                Change::Write { at, bytes: written } => {
                    // What is not there may be zeros, or there in part, or not at all.
                    let part = match noise.below(3) {
                        _ if is_there => written.len(),
                        0 => noise.below(written.len() as u64 + 1) as usize,
                        _ => 0,
                    };
                    let reach = match noise.below(2) {
                        _ if is_there => written.len(),
                        0 => written.len(),
                        _ => part,
                    };
                    bytes.resize(bytes.len().max(at + reach), 0);
                    bytes[*at..at + part].copy_from_slice(&written[..part]);
                }
                Change::Length(len) if is_there => bytes.resize(*len, 0),
                Change::Length(_) => {}
            }
        }
        bytes
    }

    /// Makes the store what the disk may hold after a crash.
    fn crash(&self, top: &Path, at: Moment, chance: Chance, noise: &mut Noise) {
        let _ = fs::remove_dir_all(top.join("store"));
        // Directories come before what is in them.
        for path in self.names.keys() {
            let node = self.crashed_name(path, at, chance, noise);
            let there = top.join(path);
            if !there.parent().unwrap().is_dir() {
                continue;
            }
            match node {
                Some(Node::Directory) => fs::create_dir(there).unwrap(),
                Some(Node::File(file)) => {
                    write(there, self.crashed_bytes(file, at, chance, noise));
                }
                None => {}
            }
        }
    }
}

/// Whether a change was done when something began that forced it to the disk, and that
/// had ended by the crash.
fn is_safe(change: Span, synced: &[Span], at: Moment) -> bool {
    synced.iter().any(|sync| change.end < sync.begin && sync.end < at)
}

/// A system call as the tracer writes it down.
struct Call<'r> {
    span: Span,
    result: i64,
    name: &'r str,
    inode: u64,
    /// Where it writes, or to which length; or the flags of opening.
    offset: i64,
    paths: [PathBuf; 2],
    bytes: &'r [u8],
}

impl<'r> Call<'r> {
    /// The first one of a report, and what follows it.
    fn read(report: &'r [u8]) -> Option<(Self, &'r [u8])> {
        let end = report.iter().position(|&byte| byte == b'\n')?;
        let line = std::str::from_utf8(&report[..end]).unwrap();
        let words: Vec<&str> = line.split('\t').collect();
        let [begin, ended, result, name, inode, offset, path, other, len] = words[..] else {
            panic!("{line:?} is no call");
        };
        let (bytes, rest) = report[end + 1..].split_at(len.parse().unwrap());
        let call = Self {
            span: Span { begin: begin.parse().unwrap(), end: ended.parse().unwrap() },
            result: result.parse().unwrap(),
            name,
            inode: inode.parse().unwrap(),
            offset: offset.parse().unwrap(),
            paths: [path.into(), other.into()],
            bytes,
        };
        Some((call, &rest[1..]))
    }
}

/// A crash, by the number that decides about it.
#[derive(Clone, Copy, Debug)]
struct Crash {
    trial: Trial,
    number: u64,
}

impl fmt::Display for Crash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} crash {}", self.trial, self.number)
    }
}

fn crash_at(template: &Template, history: &History, crash: Crash) -> Result<Tried, String> {
    let mut noise = Noise(crash.number.wrapping_mul(0x9e37_79b9) ^ 0x706f_7765);
    // The last ones are after it said that it was done.
    let at = noise.below(history.end + history.end / 8 + 2);
    let chance = CHANCES[crash.number as usize % CHANCES.len()];
    let world = template.world();
    history.crash(&world.top(), at, chance, &mut noise);
    world.age_what_is_left();
    let judged = world.judge_state(at > history.end);
    judged.map_err(|why| format!("at {at} of {}, {chance:?}: {why}", history.end))?;
    Ok(Tried::Yes)
}

/// What a command does on a store with these settings.
fn recorded(template: &Template, settings: &str) -> History {
    let world = template.world();
    let mut command = world.command();
    let location = format!("file://{}{settings}", world.sandbox.store().display());
    History::record(&world, command.env("LARDER_STORE", location))
}

/// So many crashes of a command.
fn crash_all(trial: Trial, sampled: usize, results: &mut sample::Results) {
    let template = Template::new(trial);
    let history = recorded(&template, "");
    let count = sample::wanted("LARDER_POWER").unwrap_or(sampled) as u64;
    let crashes: Vec<Crash> = (0..count).map(|number| Crash { trial, number }).collect();
    sample::try_each(crashes.iter().collect(), results, |&crash| {
        (crash.to_string(), crash_at(&template, &history, crash))
    });
}

const WRITERS: [Trial; 5] =
    [Trial::FirstSave, Trial::Save, Trial::Flush, Trial::Delete, Trial::Repair];

#[test]
fn what_was_said_to_be_done_survives_a_power_failure() {
    let mut results = sample::Results::default();
    let is_long = sample::wanted("LARDER_POWER").is_some();
    for trial in WRITERS.into_iter().take(if is_long { WRITERS.len() } else { 3 }) {
        crash_all(trial, 5, &mut results);
    }
    results.report("crashes of the machine");
}

/// Without waiting for the disk nothing of this holds: so the crashes above are such as
/// do harm.
#[test]
fn without_waiting_for_the_disk_a_power_failure_does_harm() {
    let template = Template::new(Trial::Save);
    let history = recorded(&template, "?sync=never");
    // One of some five does.
    let mut crashes = (0..200).map(|number| Crash { trial: Trial::Save, number });
    let does_harm = |crash| crash_at(&template, &history, crash).is_err();
    assert!(crashes.any(does_harm), "no crash did any harm");
}
