//! What all threads of a soak share.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::figures::Figures;
use crate::ledger::{Ledger, Moment, Slot};
use crate::options::{Options, Sabotage};
use crate::place::Place;
use crate::process::{self, Ended, Plan};
use crate::sandbox::Noise;
use crate::trees::Tree;

pub(crate) const SCOPES: [&str; 2] = ["org/app", "org/lib"];

/// Violations that are told; more would say no more.
const TOLD: usize = 10;

#[derive(Debug)]
pub(crate) struct World {
    pub(crate) options: Options,
    pub(crate) place: Place,
    /// Machines' directories, and the log.
    pub(crate) top: PathBuf,
    pub(crate) began: Instant,
    stop: AtomicBool,
    ledger: Mutex<Ledger>,
    figures: Mutex<Figures>,
    lines: Mutex<Lines>,
    misses: Mutex<Vec<Miss>>,
    violations: Mutex<Vec<String>>,
    log: Mutex<File>,
}

/// The trees of all keys.
#[derive(Debug, Default)]
struct Lines {
    /// What each key is to hold next.
    latest: BTreeMap<Slot, (u64, Tree)>,
    /// Every tree that was ever saved, by its number.
    all: HashMap<u64, Arc<Tree>>,
    /// How many keys were made that change their names.
    named: u64,
}

/// A restore that found nothing, to be judged once all flushes that it may be
/// due to have told what they removed.
#[derive(Debug)]
struct Miss {
    slots: Vec<Slot>,
    span: (Moment, Moment),
}

/// Fails only if a thread panicked, and then the soak failed anyway.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

impl World {
    pub(crate) fn new(options: Options, place: Place, top: PathBuf) -> Self {
        let log = options.log.clone().unwrap_or_else(|| top.join("log"));
        let log = Mutex::new(File::create(log).unwrap());
        let ledger = Ledger::new(place.uses_count());
        Self {
            options,
            place,
            top,
            began: Instant::now(),
            stop: AtomicBool::new(false),
            ledger: Mutex::new(ledger),
            figures: Mutex::default(),
            lines: Mutex::default(),
            misses: Mutex::default(),
            violations: Mutex::default(),
            log,
        }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    pub(crate) fn figures(&self) -> MutexGuard<'_, Figures> {
        lock(&self.figures)
    }

    pub(crate) fn count(&self, what: &'static str, number: u64) {
        self.figures().add(what, number);
    }

    pub(crate) fn noise(&self, stream: u64) -> Noise {
        Noise(self.options.seed ^ (stream + 1).wrapping_mul(0x1234_5678_9abc_def1))
    }

    /// A directory of a machine of its own.
    pub(crate) fn machine(&self, name: &str) -> PathBuf {
        let machine = self.top.join(name);
        for part in ["home", "work"] {
            fs::create_dir_all(machine.join(part)).unwrap();
        }
        machine
    }

    /// Ends the loops.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Something is wrong: no more is done to the store, so that it can be
    /// looked at.
    pub(crate) fn violation(&self, what: impl Into<String>) {
        let what = what.into();
        self.log(format_args!("VIOLATION {what}"));
        let mut violations = lock(&self.violations);
        if violations.len() < TOLD {
            eprintln!("soak: violation: {what}");
            violations.push(what);
        }
        self.stop();
    }

    /// The same, if a rule says so.
    pub(crate) fn check(&self, verdict: Result<(), String>, what: impl FnOnce() -> String) {
        if let Err(why) = verdict {
            self.violation(format!("{}: {why}", what()));
        }
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        lock(&self.violations).clone()
    }

    pub(crate) fn is_sound(&self) -> bool {
        lock(&self.violations).is_empty()
    }

    pub(crate) fn log(&self, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(lock(&self.log), "{line}");
    }

    /// Runs larder on a machine.
    pub(crate) fn larder(
        &self,
        kind: &'static str,
        machine: &str,
        arguments: &[String],
        plan: &Plan,
    ) -> Ended {
        let directory = self.top.join(machine);
        let mut command = Command::new(env!("CARGO_BIN_EXE_larder"));
        command
            .args(arguments)
            .current_dir(directory.join("work"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", directory.join("home"))
            .env("XDG_CACHE_HOME", directory.join("cache"));
        self.place.lead(&mut command);
        let ended = process::run(&mut command, plan);
        self.note(kind, machine, arguments, &ended);
        ended
    }

    fn note(&self, kind: &'static str, machine: &str, arguments: &[String], ended: &Ended) {
        self.figures().ended(kind, ended);
        let (began, end) = ended.span();
        let arguments = arguments.join(" ");
        let how = match ended.code {
            Some(code) => format!("exit {code}"),
            None => "killed".to_owned(),
        };
        let paused = if ended.was_paused { ", paused" } else { "" };
        let Ended { json, stderr, .. } = ended;
        let stderr = stderr.trim_end().replace('\n', " / ");
        self.log(format_args!(
            "{began:.3} {end:.3} {machine}: {arguments}: {how}{paused}: {json} {stderr}"
        ));
        if ended.hung {
            self.violation(format!("{machine} hung: {arguments}"));
        }
        if stderr.contains("panicked") {
            self.violation(format!("{machine} panicked: {arguments}: {stderr}"));
        }
    }

    /// What is to be done to the next process of a kind.
    pub(crate) fn plan(&self, kind: &str, noise: &mut Noise) -> Plan {
        let mean = self.figures().mean(kind);
        let mut some_time = |most: f64| {
            let part = noise.below(1_000) as f64 / 1_000.0;
            Duration::from_secs_f64(most * part)
        };
        let (early, pause) = (some_time(mean * 1.3), some_time(self.options.grace() as f64 * 1.5));
        let mut plan = Plan::default();
        let fate = noise.below(100);
        let Options { kill_percent, mut pause_percent, .. } = self.options;
        if kind == "flush" {
            // Many have nothing to do, and are over before that.
            pause_percent *= 2;
        }
        if fate < kill_percent {
            plan.kill = Some(early);
        } else if fate < kill_percent + pause_percent {
            let longer = Duration::from_secs(self.options.grace());
            plan.pause = Some((early, longer + pause));
            if noise.below(4) == 0 {
                plan.kill = Some(early + longer + pause + Duration::from_millis(noise.below(400)));
            }
        }
        plan
    }

    /// The next tree of a key and its number; the last one again, if that is
    /// wanted and there is one.
    pub(crate) fn next_tree(
        &self,
        slot: &Slot,
        again: bool,
        noise: &mut Noise,
    ) -> (u64, Arc<Tree>) {
        let mut lines = lock(&self.lines);
        let lines = &mut *lines;
        let family = slot.bytes().fold(0, |sum, byte| sum + u64::from(byte));
        let number = lines.all.len() as u64 + 1;
        let tree = match lines.latest.get(slot) {
            Some((number, _)) if again => return (*number, Arc::clone(&lines.all[number])),
            Some((_, tree)) => {
                let mut tree = tree.clone();
                tree.change(family, noise);
                tree
            }
            // Begins where another key is, as branches do.
            None if !lines.latest.is_empty() && noise.below(3) > 0 => {
                let which = noise.below(lines.latest.len() as u64);
                let (_, other) = lines.latest.values().nth(which as usize).unwrap();
                let mut tree = other.clone();
                tree.change(family, noise);
                tree
            }
            None => Tree::plant(family, noise),
        };
        lines.latest.insert(slot.clone(), (number, tree.clone()));
        let tree = Arc::new(tree.stamped(number));
        lines.all.insert(number, Arc::clone(&tree));
        (number, tree)
    }

    /// The tree of a number.
    pub(crate) fn tree(&self, number: u64) -> Option<Arc<Tree>> {
        let tree = lock(&self.lines).all.get(&number).cloned()?;
        if self.options.sabotage == Some(Sabotage::Tree) && number.is_multiple_of(5) {
            let mut tree = (*tree).clone();
            tree.spoil();
            return Some(Arc::new(tree));
        }
        Some(tree)
    }

    /// The number of the key that changes its name, now and then a new one.
    pub(crate) fn named(&self, advance: bool) -> u64 {
        let mut lines = lock(&self.lines);
        lines.named += u64::from(advance);
        lines.named
    }

    /// Notes that a restore found nothing under any of these keys.
    pub(crate) fn missed(&self, slots: Vec<Slot>, span: (Moment, Moment)) {
        lock(&self.misses).push(Miss { slots, span });
    }

    /// Judges the misses that can be judged.
    pub(crate) fn judge_misses(&self) {
        let ledger = self.ledger();
        let mut misses = lock(&self.misses);
        let all = std::mem::take(&mut *misses);
        let (later, now): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|miss| ledger.is_undecided(miss.span.1));
        *misses = later;
        drop(misses);
        let verdicts: Vec<_> = now
            .iter()
            .flat_map(|miss| miss.slots.iter().map(|slot| ledger.may_be_absent(slot, miss.span)))
            .collect();
        drop(ledger);
        self.count("misses explained", now.len() as u64);
        for verdict in verdicts {
            self.check(verdict, || "a restore found nothing".into());
        }
    }
}

impl Slot {
    pub(crate) fn new(scope: &str, key: impl Into<String>) -> Self {
        Self { scope: scope.into(), key: key.into() }
    }

    fn bytes(&self) -> impl Iterator<Item = u8> {
        self.scope.bytes().chain(self.key.bytes())
    }
}
