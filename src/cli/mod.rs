//! The command line: the only place with arguments, environment, printing and
//! exit codes.

mod args;
mod assets;
mod caches;
mod ci;
mod colors;
mod completions;
mod config;
mod delete;
mod diff;
mod doctor;
mod du;
mod early;
mod entries;
mod exit;
mod explain;
mod flush;
mod init;
mod key;
mod keygen;
mod list;
mod log;
mod lookup;
mod man;
#[cfg(test)]
mod messages;
mod misread;
mod output;
mod outputs;
mod plugin;
mod progress;
mod report;
mod restore;
mod save;
mod secrets;
mod serve;
mod session;
mod settings;
mod show;
mod stats;
mod verify;
mod version;

use args::{Arguments, Command, Global};
use early::Early;
use exit::{Exit, Failure};
use session::Session;

/// Runs the command that the process was called for.
pub(crate) fn run() -> Exit {
    let variable = |name: &str| std::env::var(name).ok();
    let arguments = plugin::arguments(std::env::args_os());
    let early = Early::of(&arguments, variable);
    let color = colorchoice_clap::Color { color: early.color };
    color.write_global();
    let arguments = match args::parse(&arguments) {
        Ok(arguments) => arguments,
        Err(error) => {
            log::settle(early.log_format, None);
            return misread::report(&error);
        }
    };
    arguments.global.color.write_global();
    let ci = arguments.global.ci_log.system(variable).filter(|_| !arguments.global.quiet);
    log::settle(arguments.global.log_format, ci);
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
            // What is told now is not to be mixed with a bar.
            session.done();
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
        Command::Report(arguments) => Prepared::of(global, move |on| report::run(on, arguments)),
        Command::Serve(arguments) => serve::prepare(global, arguments),
        Command::Doctor => Prepared::of(global, doctor::run),
        Command::Completions(arguments) => completions::prepare(global, &arguments),
        Command::Man(arguments) => man::prepare(global, arguments),
        Command::Key(arguments) => key::prepare(global, arguments),
        Command::Keygen(arguments) => keygen::prepare(global, arguments),
        Command::Init(arguments) => init::prepare(global, arguments),
        Command::Config => config::prepare(global),
        Command::Plugin(arguments) => plugin::prepare(global, &arguments),
        Command::Assets(arguments) => assets::prepare(global, arguments.step),
    }
}
