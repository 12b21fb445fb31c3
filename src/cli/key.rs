//! `larder key`.

use std::fmt::Write as _;

use super::Prepared;
use super::args::{self, Global};
use super::exit::{Exit, Failure};
use super::output;
use super::session::Session;
use crate::keys::{Engine, FilesHash, KeyError, Part, Rendered};

/// What a key is, is no matter of any store.
pub(super) fn prepare(global: Global, arguments: args::KeyTemplates) -> Result<Prepared, Failure> {
    let session = Session::without_store(global)?;
    let work = move |session: &Session| run(session, &arguments);
    Ok(Prepared { session, transfers: false, work: Box::new(work) })
}

fn run(session: &Session, arguments: &args::KeyTemplates) -> Result<Exit, Failure> {
    let engine = Engine::new(session.key_surroundings());
    // A script gets all keys or none.
    let rendered: Result<Vec<Rendered>, KeyError> =
        arguments.templates.iter().map(|template| engine.render(template)).collect();
    for rendered in &rendered? {
        if session.json {
            output::json(rendered);
        } else if arguments.explain {
            output::line(explained(rendered).trim_end());
        } else {
            output::raw(&rendered.key);
        }
    }
    Ok(Exit::Success)
}

/// The key, and below it each part as it is written and what it gave.
fn explained(rendered: &Rendered) -> String {
    let mut text = format!("{}\n", rendered.key);
    for part in &rendered.parts {
        let _ = match part {
            Part::Text { value } => writeln!(text, "  {value:?}"),
            Part::Expression { source, value, .. } => {
                writeln!(text, "  {{{{ {source} }}}} = {value:?}")
            }
        };
        let hashes = match part {
            Part::Text { .. } => &[],
            Part::Expression { hashes, .. } => hashes.as_slice(),
        };
        for FilesHash { hash, files, .. } in hashes {
            let files_text = output::things(files.len() as u64, "file");
            let _ = writeln!(text, "    {hash} of {files_text}:");
            for file in files {
                let _ = writeln!(text, "      {} {}", file.hash, file.path);
            }
        }
    }
    text
}
