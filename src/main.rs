//! The `larder` command: parses the command line, runs one command, and turns
//! its result into output and an exit code.

// What is unsafe is done by libraries; see deny.toml.
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
mod report;
mod values;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run().into()
}
