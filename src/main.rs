//! The `larder` command: parses the command line, runs one command, and turns
//! its result into output and an exit code.

// Nothing in it is unsafe; docs/architecture.md lists what is, in tests.
#![forbid(unsafe_code)]

mod assets;
mod cli;
mod config;
mod excerpt;
mod explain;
mod git;
mod init;
mod keys;
mod outputs;
mod plugin;
#[cfg(test)]
#[path = "fuzzing/replay.rs"]
mod replay;
mod report;
mod serve;
mod values;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run().into()
}
