//! `larder completions`: what shells need to complete a command line.

use super::Prepared;
use super::args::{self, Global};
use super::exit::{Exit, Failure};
use super::output;
use super::session::Session;

/// It has nothing to do with any store.
pub(super) fn prepare(global: Global, arguments: &args::Completions) -> Result<Prepared, Failure> {
    let shell = arguments.shell;
    let work = move |_: &Session| {
        let mut script = vec![];
        clap_complete::generate(shell, &mut args::command(), "larder", &mut script);
        output::raw(String::from_utf8_lossy(&script).trim_end());
        Ok(Exit::Success)
    };
    Ok(Prepared {
        session: Session::without_store(global)?,
        transfers: false,
        work: Box::new(work),
    })
}
