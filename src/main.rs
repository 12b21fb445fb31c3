//! The `larder` command: parses the command line, runs one command, and turns
//! its result into output and an exit code.

mod assets;
mod cli;
mod git;
mod keys;
mod plugin;
mod report;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::run().into()
}
