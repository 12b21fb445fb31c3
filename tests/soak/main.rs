//! A soak: savers, restorers and flushers as processes of their own, against
//! one real store, for as long as one likes; some are killed, and some paused
//! for longer than the grace period.
//!
//! ```text
//! cargo test --test soak -- --minutes 15 --start-server
//! cargo test --test soak -- --minutes 5 --store /tmp/soak
//! cargo test --test soak -- --sabotage pack          must fail
//! ```
//! Without arguments it is a test of some twenty seconds among others. Whatever
//! is restored is compared byte for byte with what was saved (`trees`); whether
//! it may be that, or missing, or broken, is for the `ledger` to say, which
//! knows what was saved and removed when. In the end the store must be whole and
//! hold nothing that nobody needs (`reckoning`).

// Helpers of tests panic like the tests that call them; this is a program that
// prints.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::cast_possible_truncation
)]
#![cfg(unix)]

mod figures;
mod ledger;
mod options;
mod place;
mod process;
mod reckoning;
mod sabotage;
#[path = "../it/support.rs"]
#[allow(dead_code)]
mod sandbox;
#[path = "../s3/server.rs"]
#[allow(dead_code)]
mod server;
mod trees;
mod workers;
mod world;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;
use serde_json::json;

use crate::options::Options;
use crate::place::Place;
use crate::world::World;

fn main() -> ExitCode {
    let options = Options::parse();
    if options.is_not_meant() {
        return ExitCode::SUCCESS;
    }
    if options.start_server {
        return with_server();
    }
    let top = tempfile::Builder::new().prefix("larder-soak-").tempdir().unwrap();
    let place = match &options.store {
        Some(directory) => Place::Directory(std::path::absolute(directory).unwrap()),
        None => Place::bucket().unwrap_or_else(|| Place::Directory(top.path().join("store"))),
    };
    let world = World::new(options, place, top.path().to_owned());
    eprintln!("soak: seed {}, {}", world.options.seed, world.place.location());
    soak(&world);
    if world.is_sound() {
        reckoning::reckon(&world);
    }
    tell(&world);
    if world.is_sound() {
        return ExitCode::SUCCESS;
    }
    let log = top.keep().join("log");
    let log = world.options.log.clone().unwrap_or(log);
    eprintln!("soak: FAILED; {}", world.place.describe(&log));
    ExitCode::FAILURE
}

/// What a thread does, by its number, until it is over.
type Work = fn(&World, u64);

/// Lets everything run at once, until the time is over or something is wrong.
fn soak(world: &World) {
    let options = &world.options;
    let loops: [(u64, Work); 3] = [
        (options.savers, workers::save),
        (options.restorers, workers::restore),
        (options.flushers, workers::flush),
    ];
    std::thread::scope(|threads| {
        let started: Vec<_> = loops
            .into_iter()
            .flat_map(|(count, work)| (0..count).map(move |number| (work, number)))
            .map(|(work, number)| threads.spawn(move || work(world, number)))
            .collect();
        let watched = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| watch(world)));
        if watched.is_err() {
            world.violation("the soak itself panicked");
        }
        for thread in started {
            if thread.join().is_err() {
                world.violation("the soak itself panicked");
            }
        }
    });
    world.judge_misses();
}

/// Tells how it goes, and ends it.
fn watch(world: &World) {
    let (end, mut next, mut is_struck) = (world.options.duration(), 10.0, false);
    while !world.is_over() {
        std::thread::sleep(Duration::from_millis(200));
        world.judge_misses();
        let so_far = world.began.elapsed().as_secs_f64();
        if so_far > end / 2.0 && !is_struck {
            is_struck = true;
            sabotage::strike(world);
        }
        if so_far > next {
            next += 10.0;
            eprintln!("soak: {so_far:4.0} s: {}", world.figures().line());
        }
        if so_far > end {
            world.stop();
        }
    }
}

fn tell(world: &World) {
    let figures = world.figures();
    let seconds = world.began.elapsed().as_secs_f64();
    if world.options.json {
        let mut printed = figures.json();
        printed["seconds"] = json!(seconds);
        printed["seed"] = json!(world.options.seed);
        printed["violations"] = json!(world.violations());
        println!("{printed}");
    } else if world.options.is_test() && world.is_sound() {
        println!("soak: {}; ok", figures.line());
    } else {
        println!("{}", figures.table());
        println!("{seconds:.0} s, seed {}", world.options.seed);
        for violation in world.violations() {
            println!("violation: {violation}");
        }
    }
}

/// Runs this program once more, with the tests' own S3 server.
fn with_server() -> ExitCode {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/s3/server.sh");
    let server = |action: &str| {
        let mut command = Command::new("sh");
        let output = command.arg(&script).arg(action).stderr(std::process::Stdio::inherit());
        let output = output.output().unwrap();
        assert!(output.status.success(), "server.sh {action} failed");
        String::from_utf8(output.stdout).unwrap()
    };
    let variables = server("start");
    let variable = |name: &str| {
        let mut words = variables.split_whitespace();
        words.find_map(|word| word.strip_prefix(name)?.strip_prefix('=')).unwrap().to_owned()
    };
    let mut command = Command::new(std::env::current_exe().unwrap());
    let status = command
        .args(std::env::args_os().skip(1).filter(|argument| argument != "--start-server"))
        .env("LARDER_TEST_S3", variable("AWS_ENDPOINT_URL"))
        .env("LARDER_TEST_S3_ACCESS_KEY", variable("AWS_ACCESS_KEY_ID"))
        .env("LARDER_TEST_S3_SECRET_KEY", variable("AWS_SECRET_ACCESS_KEY"))
        .status()
        .unwrap();
    if status.success() {
        server("stop");
        return ExitCode::SUCCESS;
    }
    eprintln!("soak: the server is left running: sh tests/s3/server.sh stop");
    ExitCode::FAILURE
}
