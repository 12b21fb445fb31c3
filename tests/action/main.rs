//! The GitHub action: its scripts under node, as the runner runs them, against
//! this larder and stores in directories.
//!
//! The runner gives inputs and state in variables, reads outputs, state and
//! additions to the PATH from files, and obeys lines of the log that look like
//! commands (`job`). Needs node, which `tests/run.sh` installs.

// Helpers of tests panic like the tests that call them.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation)]
#![cfg(unix)]

mod download;
mod inputs;
mod job;
mod paths;
mod round_trip;
#[path = "../it/support.rs"]
#[allow(dead_code)]
mod sandbox;
