//! `larder man`: manual pages, made of the same descriptions as `--help`.

use std::fs;
use std::path::Path;

use clap_mangen::Man;
use larder::error::Error;
use larder::files::FileError;

use super::Prepared;
use super::args::{self, Global};
use super::exit::{Exit, Failure};
use super::output;
use super::session::Session;

/// It has nothing to do with any store.
pub(super) fn prepare(global: Global, arguments: args::Man) -> Result<Prepared, Failure> {
    let work = move |session: &Session| {
        session.done();
        match &arguments.directory {
            None => output::raw(page(whole()).1.trim_end()),
            Some(directory) => write_all(directory)?,
        }
        Ok(Exit::Success)
    };
    Ok(Prepared {
        session: Session::without_store(global)?,
        transfers: false,
        work: Box::new(work),
    })
}

/// The command with all that it takes, where each command knows its full name.
fn whole() -> clap::Command {
    // Lines of a long version would be filled like a paragraph.
    let version = env!("CARGO_PKG_VERSION");
    let mut command = args::command().disable_help_subcommand(true).long_version(version);
    command.build();
    command
}

/// A page's file name and text.
fn page(command: clap::Command) -> (String, String) {
    let man = Man::new(command).manual("larder");
    let mut text = vec![];
    man.render(&mut text).expect("memory takes any text");
    (man.get_filename(), escaped(&String::from_utf8_lossy(&text)))
}

/// The same in ASCII: what else bytes mean depends on how a page is called up.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        if char.is_ascii() {
            escaped.push(char);
        } else {
            escaped.push_str(&format!("\\[u{:04X}]", u32::from(char)));
        }
    }
    escaped
}

/// Writes the page of a command, and those of its commands.
fn write_all(directory: &Path) -> Result<(), Error> {
    fs::create_dir_all(directory).map_err(|error| FileError::new("create", directory, error))?;
    let mut commands = vec![whole()];
    while let Some(command) = commands.pop() {
        commands.extend(command.get_subcommands().filter(|one| !one.is_hide_set()).cloned());
        let (name, text) = page(command);
        let path = directory.join(name);
        fs::write(&path, text).map_err(|error| FileError::new("write", &path, error))?;
    }
    Ok(())
}
