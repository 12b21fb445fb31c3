//! The command line: the only place with arguments, environment, printing and
//! exit codes.

mod args;
mod assets;
mod caches;
mod completions;
mod config;
mod delete;
mod diff;
mod doctor;
mod du;
mod entries;
mod exit;
mod flush;
mod init;
mod key;
mod list;
mod lookup;
mod man;
#[cfg(test)]
mod messages;
mod misread;
mod output;
mod plugin;
mod progress;
mod restore;
mod save;
mod session;
mod settings;
mod show;
mod stats;
mod verify;
mod version;

use args::{Arguments, Command, Global};
use exit::{Exit, Failure};
use session::Session;

/// Runs the command that the process was called for.
pub(crate) fn run() -> Exit {
    let arguments = match args::parse(&plugin::arguments(std::env::args_os())) {
        Ok(arguments) => arguments,
        Err(error) => return misread::report(&error),
    };
    arguments.global.color.write_global();
    let json = arguments.global.json;
    let prepared = match prepare(arguments) {
        Ok(prepared) => prepared,
        Err(failure) => {
            failure.report(json, false);
            return failure.exit();
        }
    };
    let Prepared { session, transfers, work } = prepared;
    match work(&session) {
        Ok(exit) => exit,
        Err(failure) => {
            let failure = session.explain(failure);
            let ignored = transfers && session.ignore_error && failure.is_ignorable();
            failure.report(json, ignored);
            if ignored { Exit::Success } else { failure.exit() }
        }
    }
}

/// What is left to do of a command, once all that it goes by is read.
type Work = Box<dyn FnOnce(&Session) -> Result<Exit, Failure>>;

/// A command that can begin.
struct Prepared {
    session: Session,
    /// Whether `--ignore-error` is for it.
    transfers: bool,
    work: Work,
}

impl Prepared {
    fn of(
        global: Global,
        work: impl FnOnce(&Session) -> Result<Exit, Failure> + 'static,
    ) -> Result<Self, Failure> {
        Ok(Self { session: Session::open(global)?, transfers: false, work: Box::new(work) })
    }

    fn transferring(self) -> Self {
        Self { transfers: true, ..self }
    }
}

fn prepare(arguments: Arguments) -> Result<Prepared, Failure> {
    let Arguments { global, command } = arguments;
    match command {
        Command::Save(arguments) => {
            Ok(Prepared::of(global, move |session| save::run(session, &arguments))?.transferring())
        }
        Command::Restore(arguments) => {
            let work = move |session: &_| restore::run(session, &arguments);
            Ok(Prepared::of(global, work)?.transferring())
        }
        Command::Lookup(arguments) => Prepared::of(global, move |on| lookup::run(on, &arguments)),
        Command::List(arguments) => Prepared::of(global, move |on| list::run(on, &arguments)),
        Command::Show(arguments) => Prepared::of(global, move |on| show::run(on, &arguments)),
        Command::Diff(arguments) => Prepared::of(global, move |on| diff::run(on, arguments)),
        Command::Du(arguments) => Prepared::of(global, move |on| du::run(on, &arguments)),
        Command::Delete(arguments) => Prepared::of(global, move |on| delete::run(on, &arguments)),
        Command::Flush(arguments) => Prepared::of(global, move |on| flush::run(on, arguments)),
        Command::Verify(arguments) => Prepared::of(global, move |on| verify::run(on, &arguments)),
        Command::Stats(arguments) => Prepared::of(global, move |on| stats::run(on, &arguments)),
        Command::Doctor => Prepared::of(global, doctor::run),
        Command::Completions(arguments) => completions::prepare(global, &arguments),
        Command::Man(arguments) => man::prepare(global, arguments),
        Command::Key(arguments) => key::prepare(global, arguments),
        Command::Init(arguments) => init::prepare(global, arguments),
        Command::Config => config::prepare(global),
        Command::Plugin(arguments) => plugin::prepare(global, &arguments),
        Command::Assets(arguments) => assets::prepare(global, arguments.step),
    }
}
