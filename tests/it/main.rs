//! larder from outside: the binary and the library against real directories,
//! judged by other tools (`diff`, `find`) wherever those can judge.

// Helpers of tests panic like the tests that call them; notices of what a
// machine cannot test are for whoever reads the log; seeds are cut to size.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::cast_possible_truncation)]
#![cfg(unix)]

mod cli;
mod config;
mod copy;
mod damage;
mod delta;
mod faults;
mod fidelity;
mod flush;
mod flush_cli;
mod hostile;
mod incremental;
mod kill;
mod look;
mod meanwhile;
mod objects;
mod outputs;
mod properties;
mod repair;
mod secrets;
mod serve;
mod soak;
mod support;
mod tier;
mod trust;
