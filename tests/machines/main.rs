//! larder on machines that fail: system calls that do not work, processes that are
//! killed, power that is lost, files that change under it. The program itself is run,
//! on a store in a directory; what it leaves is judged by running it again.
//!
//! Each test has a short form for the suite and a long one, by an environment variable:
//! see docs/reliability.md.

// Helpers of tests panic like the tests that call them; figures are for whoever reads
// the log; seeds are cut to size.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::cast_possible_truncation)]
#![cfg(target_os = "linux")]

mod calls;
mod faults;
mod kills;
mod power;
mod races;
mod real;
mod sample;
mod tracer;
mod tree;
mod world;

#[path = "../it/support.rs"]
#[allow(dead_code, reason = "helpers of other tests, too")]
mod support;
