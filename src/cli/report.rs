//! `larder report`.

use std::fs::{File, Permissions};
use std::io::{self, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use larder::error::Error;
use larder::files::FileError;
use larder::flush::FlushRequest;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::args;
use super::exit::{Exit, Failure};
use super::flush::by_policy;
use super::output::{self, RequestsJson, bytes, seconds, things};
use super::session::Session;
use crate::report::{Outlook, Report, ReportRequest, Runs, gather};

pub(super) fn run(session: &Session, arguments: args::Report) -> Result<Exit, Failure> {
    let runs = read_runs(session, &arguments)?;
    // Before minutes of reading, not after: it may be that nothing can be written there.
    let target = Target::open(&arguments.html)?;
    let flush = by_policy(session, arguments.policy, &arguments.scopes);
    let request = ReportRequest {
        scope: (!arguments.scopes.all_scopes).then(|| session.scope.clone()),
        flush: FlushRequest { dry_run: true, ..flush },
        top: arguments.top,
        runs,
    };
    let store = session.store_for_reading()?;
    let report = gather(&session.access(&store), request, session.context())?;
    let page = report.page();
    target.write(&page)?;
    let took = session.done();
    if !report.stats.damaged.is_empty() {
        let damaged = things(report.stats.damaged.len() as u64, "damaged manifest");
        session.warn_that(format_args!("not counted, and named in the page: {damaged}"));
    }
    if session.json {
        let mut printed = as_json(&report);
        printed["html"] = json!(arguments.html.display().to_string());
        printed["html_bytes"] = json!(page.len());
        printed["requests"] = json!(RequestsJson::of(&store));
        printed["seconds"] = json!(took.as_secs_f64());
        output::json(&printed);
    } else if !session.quiet {
        output::line(format_args!(
            "{}: {}, of {} ({})",
            arguments.html.display(),
            bytes(page.len() as u64),
            things(report.stats.keys.len() as u64, "cache"),
            seconds(took)
        ));
    }
    session.tell_requests(&store);
    Ok(if report.stats.damaged.is_empty() { Exit::Success } else { Exit::Damage })
}

/// What the files of runs tell, if there are any; lines that cannot be read are warned of.
fn read_runs(session: &Session, arguments: &args::Report) -> Result<Option<Runs>, Failure> {
    let mut runs = Runs::default();
    for path in &arguments.runs {
        let read = if path == Path::new("-") {
            runs.read("stdin", io::stdin().lock())
        } else {
            let file = File::open(path);
            file.and_then(|file| runs.read(&path.display().to_string(), BufReader::new(file)))
        };
        read.map_err(|error| Error::from(FileError::new("read", path.clone(), error)))?;
    }
    for line in &runs.bad_lines {
        session.warn_that(format_args!("left out of the hit rates: {line}"));
    }
    let unnamed = runs.unread - runs.bad_lines.len() as u64;
    if unnamed > 0 {
        session.warn_that(format_args!("left out as well: {}", things(unnamed, "other line")));
    }
    Ok((!arguments.runs.is_empty()).then_some(runs))
}

/// Where the page is to be: a file beside it takes its place at once, so that who looks
/// meanwhile sees the page before.
struct Target<'a> {
    path: &'a Path,
    file: NamedTempFile,
}

impl<'a> Target<'a> {
    fn open(path: &'a Path) -> Result<Self, Failure> {
        let directory = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let opened = || {
            // Its error would name the file beside the page.
            std::fs::metadata(directory)?;
            // As any other new file: the umask takes from it.
            let mode = Permissions::from_mode(0o666);
            tempfile::Builder::new()
                .prefix(".larder-report-")
                .permissions(mode)
                .tempfile_in(directory)
        };
        let file = opened().map_err(|error| unwritten(path, error))?;
        Ok(Self { path, file })
    }

    fn write(mut self, page: &str) -> Result<(), Failure> {
        let written = self.file.write_all(page.as_bytes());
        written.map_err(|error| unwritten(self.path, error))?;
        match self.file.persist(self.path) {
            Ok(_) => Ok(()),
            Err(error) => Err(unwritten(self.path, error.error)),
        }
    }
}

fn unwritten(path: &Path, error: io::Error) -> Failure {
    Error::from(FileError::new("write", path.to_owned(), error)).into()
}

fn as_json(report: &Report) -> Value {
    let stats = &report.stats;
    let outlook = match &report.outlook {
        Outlook::Told(told) => json!({
            "busy_since": told.busy.map(|claim| claim.at.unix()),
            "removed": told.removed.len(),
            "deleted_bytes": told.deleted.bytes,
            "held_bytes": told.held.bytes,
            "dead_bytes": told.dead_bytes,
        }),
        Outlook::Damaged(error) => json!({ "error": error }),
    };
    json!({
        "store": report.location,
        "caches": stats.keys.len(),
        "scopes": report.scopes,
        "raw_bytes": stats.raw_bytes,
        "unique_bytes": stats.unique_bytes,
        "stored_bytes": stats.stored_bytes,
        "dedup_ratio": stats.dedup_ratio(),
        "compression_ratio": stats.compression_ratio(),
        "packs": stats.packs.len(),
        "pack_bytes": stats.pack_bytes,
        "unreferenced_bytes": stats.unreferenced_bytes,
        "damaged": stats.damaged,
        "flush": outlook,
        "unread_lines": report.runs.as_ref().map(|runs| runs.unread),
    })
}
