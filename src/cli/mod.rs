//! The command line: the only place with arguments, environment, printing and
//! exit codes.

mod args;
mod delete;
mod doctor;
mod exit;
mod flush;
mod list;
mod lookup;
mod output;
mod progress;
mod restore;
mod save;
mod session;
mod show;
mod stats;
mod verify;

use clap::Parser;

use args::{Arguments, Command};
use exit::{Exit, Failure};
use session::Session;

/// Runs the command that the process was called for.
pub(crate) fn run() -> Exit {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version go to stdout, mistakes to stderr.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Success };
        }
    };
    arguments.global.color.write_global();
    let json = arguments.global.json;
    let transfers = matches!(arguments.command, Command::Save(_) | Command::Restore(_));
    let session = match Session::open(arguments.global) {
        Ok(session) => session,
        Err(failure) => {
            failure.report(json, false);
            return failure.exit();
        }
    };
    match dispatch(&session, arguments.command) {
        Ok(exit) => exit,
        Err(failure) => {
            let failure = session.explain(failure);
            let ignored = transfers && session.ignore_error && failure.is_ignorable();
            failure.report(json, ignored);
            if ignored { Exit::Success } else { failure.exit() }
        }
    }
}

fn dispatch(session: &Session, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Save(arguments) => save::run(session, &arguments),
        Command::Restore(arguments) => restore::run(session, arguments),
        Command::Lookup(arguments) => lookup::run(session, &arguments),
        Command::List(arguments) => list::run(session, &arguments),
        Command::Show(arguments) => show::run(session, &arguments),
        Command::Delete(arguments) => delete::run(session, &arguments),
        Command::Flush(arguments) => flush::run(session, arguments),
        Command::Verify(arguments) => verify::run(session, &arguments),
        Command::Stats(arguments) => stats::run(session, &arguments),
        Command::Doctor => doctor::run(session),
    }
}
