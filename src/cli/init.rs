//! `larder init`.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use larder::files::FileError;
use serde_json::json;

use super::Prepared;
use super::args::{self, Global};
use super::exit::{Exit, Failure};
use super::log::{self, Fields};
use super::output;
use super::session::Session;
use crate::config::{self, FILE_NAME};
use crate::git;
use crate::init::{Draft, draft};

/// What to keep is no matter of any store.
pub(super) fn prepare(global: Global, arguments: args::Init) -> Result<Prepared, Failure> {
    let session = Session::without_store(global)?;
    let work = move |session: &Session| run(session, &arguments);
    Ok(Prepared { session, transfers: false, work: Box::new(work) })
}

fn run(session: &Session, arguments: &args::Init) -> Result<Exit, Failure> {
    let directory = session.surroundings.locate(&arguments.directory).location;
    if !directory.is_dir() {
        let error = io::Error::from(io::ErrorKind::NotADirectory);
        return Err(file_error("write a file in", &arguments.directory, error));
    }
    let draft = draft(&directory);
    if !arguments.dry_run {
        write(&directory, &draft.text, arguments.force)?;
    }
    tell(session, arguments, &draft);
    if let Some(other) = hidden_by(&directory) {
        let text = format!("in {} it counts instead of {}", directory.display(), other.display());
        log::info(None, text, &Fields::Note);
    }
    Ok(Exit::Success)
}

/// The file that counted in a directory which has none of its own.
fn hidden_by(directory: &Path) -> Option<PathBuf> {
    if git::root(directory) == Some(directory) {
        return None;
    }
    config::find(directory.parent()?)
}

/// Writes the file whole, or not at all.
fn write(directory: &Path, text: &str, replace: bool) -> Result<(), Failure> {
    let path = directory.join(FILE_NAME);
    // As any other new file: the umask takes from it.
    let mode = Permissions::from_mode(0o666);
    let made = tempfile::Builder::new().prefix(".larder").permissions(mode).tempfile_in(directory);
    let mut file = made.map_err(|error| file_error("write", &path, error))?;
    file.write_all(text.as_bytes()).map_err(|error| file_error("write", &path, error))?;
    let moved = if replace { file.persist(&path) } else { file.persist_noclobber(&path) };
    match moved {
        Ok(_) => Ok(()),
        Err(failed) if failed.error.kind() == io::ErrorKind::AlreadyExists => {
            Err(Failure::ConfigExists(path))
        }
        Err(failed) => Err(file_error("write", &path, failed.error)),
    }
}

fn file_error(operation: &'static str, path: &Path, error: io::Error) -> Failure {
    Failure::Larder(FileError::new(operation, path, error).into())
}

fn tell(session: &Session, arguments: &args::Init, draft: &Draft) {
    let path = arguments.directory.join(FILE_NAME);
    let shown = path.strip_prefix(".").unwrap_or(&path).display();
    if session.json {
        let caches =
            draft.caches.iter().map(|(name, files)| json!({ "name": name, "files": files }));
        output::json(&json!({
            "path": path.to_string_lossy(),
            "written": !arguments.dry_run,
            "caches": caches.collect::<Vec<_>>(),
            "text": draft.text,
        }));
        return;
    }
    if arguments.dry_run {
        return output::raw(draft.text.trim_end());
    }
    if session.quiet {
        return;
    }
    if draft.caches.is_empty() {
        return output::line(format_args!(
            "wrote {shown} without any cache: nothing was found here that larder knows\n\
             a comment in it shows how one is written; try `larder config` then"
        ));
    }
    output::line(format_args!("wrote {shown}:"));
    for (name, files) in &draft.caches {
        output::line(format_args!("  {name} ({})", files.join(", ")));
    }
    output::line("read it, change it, and try `larder config`, then `larder save`");
}
