//! Garbage collection, simulated: the real save, restore and flush on one store
//! in memory, and a scheduler that decides every turn by chance.
//!
//! Savers, restorers and flushers ([`actors`]), and processes that serve objects
//! ([`serve`]), are threads with larder's own code. Every request that one of them makes waits on its [`desk`] until the
//! scheduler ([`run`]) gives it a turn; then exactly one request is performed.
//! Between turns, the store's clock goes on by minutes or days, processes die,
//! requests and answers are lost, or arrive when their senders are long dead.
//! Nearly everything is decided by the run's seed. A [`judge`] sees every effect,
//! knows what `docs/protocol.md` promises, and says what must not be.
//!
//! What is in a run by chance alone: ids are random, so that listings of packs
//! and deltas are in another order each time (whatever is chosen from is put in
//! an order of first use instead); and if a thread of larder waited for a lock
//! that another run's thread holds (that of the allocator, say) while it is
//! looked at ([`asleep`]), one of its requests would come a turn too late. So a
//! seed nearly always repeats its run, and a fault that it shows may take a few
//! trials to come back.
//!
//! - `LARDER_SIM_SEED=7` runs one seed, and prints its log.
//! - `LARDER_SIM_SEEDS=10000` runs so many, from `LARDER_SIM_FIRST` (1) on.

// Helpers of tests panic like the tests that call them; what was simulated is
// for whoever reads the log; seeds are cut to size.
#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::cast_possible_truncation)]
#![cfg(unix)]

mod actors;
mod asleep;
mod desk;
mod judge;
mod random;
mod run;
mod serve;
mod tally;
mod trees;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use run::{Failure, run};
use tally::Tally;
use trees::Trees;

/// Seeds of the normal suite.
const SEEDS: u64 = 200;

/// Tells a process that it is a worker: how many there are.
const WORKERS: &str = "LARDER_SIM_WORKERS";

fn variable(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

#[test]
fn no_cache_is_lost() {
    let first = variable("LARDER_SIM_FIRST").unwrap_or(1);
    let seeds = variable("LARDER_SIM_SEEDS").unwrap_or(SEEDS);
    if let Some(workers) = variable(WORKERS) {
        work((first..first + seeds).step_by(workers as usize));
    } else if let Some(seed) = variable("LARDER_SIM_SEED") {
        one(seed);
    } else {
        many(first, seeds);
    }
}

/// Runs one seed and shows what happened.
fn one(seed: u64) {
    asleep::name_rayon();
    match run(seed, &Trees::plant()) {
        Ok((tally, log)) => println!("{}\n{tally}", log.join("\n")),
        Err(failure) => fail(&failure),
    }
}

/// Runs seeds one by one, and tells the process that asked for it.
fn work(seeds: impl Iterator<Item = u64>) {
    asleep::name_rayon();
    let trees = Trees::plant();
    for seed in seeds {
        match run(seed, &trees) {
            Ok((tally, _)) => println!("{}", tally.to_line()),
            Err(failure) => fail(&failure),
        }
    }
}

/// Runs many, in several processes: so no run waits for the threads of another.
fn many(first: u64, seeds: u64) {
    let began = Instant::now();
    let workers = std::thread::available_parallelism().map_or(2, |count| count.get() as u64);
    let tally = Mutex::new(Tally::new());
    let has_failed = AtomicBool::new(false);
    let children: Vec<Child> = (0..workers.min(seeds))
        .map(|number| start(first + number, seeds - number, workers))
        .collect();
    std::thread::scope(|threads| {
        for child in children {
            threads.spawn(|| listen(child, &tally, &has_failed));
        }
    });
    assert!(!has_failed.into_inner(), "a run showed a fault, see above");
    let tally = tally.into_inner().unwrap();
    let seconds = began.elapsed().as_secs_f64();
    println!("{seeds} seeds from {first} in {seconds:.1} s:\n{tally}");
    // A few seeds may leave things out.
    if seeds >= SEEDS {
        assert!(tally.never().is_empty(), "nothing was seen of: {:?}", tally.never());
    }
}

/// This very test, as a worker.
fn start(first: u64, seeds: u64, workers: u64) -> Child {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["no_cache_is_lost", "--exact", "--nocapture"]);
    for (name, value) in
        [("LARDER_SIM_FIRST", first), ("LARDER_SIM_SEEDS", seeds), (WORKERS, workers)]
    {
        command.env(name, value.to_string());
    }
    // Where it fails says nothing: the log does.
    command.env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap()
}

/// Counts what a worker tells, until one of them has failed.
fn listen(mut child: Child, tally: &Mutex<Tally>, has_failed: &AtomicBool) {
    let output = child.stdout.take().expect("it is a pipe");
    for line in BufReader::new(output).lines() {
        let line = line.unwrap();
        match Tally::from_line(&line) {
            Some(one) => tally.lock().unwrap().merge(&one),
            // The log of a fault, mostly.
            None => println!("{line}"),
        }
        if has_failed.load(Ordering::Relaxed) {
            child.kill().unwrap();
        }
    }
    if !child.wait().unwrap().success() {
        has_failed.store(true, Ordering::Relaxed);
    }
}

fn fail(failure: &Failure) -> ! {
    let Failure { seed, turn, why, log } = failure;
    println!(
        "{}\nseed {seed}, turn {turn}: {why}\nTo repeat it: LARDER_SIM_SEED={seed} cargo test \
         --test simulation no_cache_is_lost -- --nocapture",
        log.join("\n")
    );
    panic!("seed {seed}, turn {turn}: {why}");
}
