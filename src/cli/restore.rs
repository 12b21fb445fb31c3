//! `larder restore`.

use larder::ids::Key;
use larder::restore::{Destination, Hit, RestoreReport, RestoreRequest, restore};
use serde::Serialize;

use super::args;
use super::exit::{Exit, Failure};
use super::output::{self, RequestsJson, bytes, count, seconds, things};
use super::session::Session;

/// What `--json` prints.
#[derive(Serialize)]
struct Json<'a> {
    hit: Hit,
    key: Option<&'a str>,
    scope: &'a str,
    files: u64,
    files_unchanged: u64,
    files_compared: u64,
    raw_bytes: u64,
    fetched_bytes: u64,
    local_cache_bytes: u64,
    removed: u64,
    requests: RequestsJson,
    seconds: f64,
}

pub(super) fn run(session: &Session, arguments: args::Restore) -> Result<Exit, Failure> {
    let fail_on_miss = arguments.fail_on_miss;
    let keys = session.keys(arguments.find.key.as_ref())?;
    let request = request(session, arguments, keys)?;
    let report = carry_out(session, &request, summarize)?;
    Ok(if report.hit == Hit::Miss && fail_on_miss { Exit::Miss } else { Exit::Success })
}

/// Restores, and tells what came of it, in lines that `summarize` prints.
pub(super) fn carry_out(
    session: &Session,
    request: &RestoreRequest,
    summarize: impl FnOnce(&RestoreRequest, &RestoreReport, &str),
) -> Result<RestoreReport, Failure> {
    let store = session.store_for_reading()?;
    let report = restore(store.clone(), request, session.context())?;
    let took = session.done();
    if session.json {
        output::json(&Json {
            hit: report.hit,
            key: report.key.as_ref().map(Key::as_str),
            scope: request.scope.as_str(),
            files: report.files,
            files_unchanged: report.files_unchanged,
            files_compared: report.files_compared,
            raw_bytes: report.raw_bytes,
            fetched_bytes: report.fetched_bytes,
            local_cache_bytes: report.local_cache_bytes,
            removed: report.removed,
            requests: RequestsJson::of(&store),
            seconds: took.as_secs_f64(),
        });
    } else if !session.quiet {
        summarize(request, &report, &seconds(took));
    }
    session.tell_requests(&store);
    Ok(report)
}

fn request(
    session: &Session,
    arguments: args::Restore,
    keys: Vec<Key>,
) -> Result<RestoreRequest, Failure> {
    let records = session.records(&arguments.record);
    let tier = session.tier(&arguments.local_cache)?;
    Ok(RestoreRequest {
        scope: session.scope.clone(),
        keys,
        restore_keys: arguments.find.restore_keys,
        destination: match arguments.to {
            Some(directory) => {
                // The same place has the same record, however it is named.
                Destination::Below(session.surroundings.locate(&directory).location)
            }
            None => Destination::Original {
                working_directory: session.surroundings.working_directory.clone(),
                home: session.surroundings.home.clone(),
            },
        },
        paths: arguments.paths.iter().map(|path| session.selection(path)).collect(),
        trusted: vec![],
        delete_extra: arguments.delete_extra,
        owner: arguments.owner,
        xattrs: arguments.xattrs,
        refresh_after: session.refresh_after(),
        records,
        tier,
    })
}

pub(super) fn summarize(request: &RestoreRequest, report: &RestoreReport, took: &str) {
    let wanted = request.keys.iter().map(Key::as_str).collect::<Vec<_>>().join(", ");
    let Some(key) = report.key.as_ref().filter(|_| report.hit != Hit::Miss) else {
        return output::line(format_args!("there is no cache for {wanted} ({took})"));
    };
    let how = match report.hit {
        Hit::Exact => String::new(),
        Hit::Prefix | Hit::Miss => {
            format!(" (the newest for a prefix; {wanted} is not there)")
        }
    };
    output::line(format_args!(
        "restored {key}{how}: {}, {}",
        things(report.files, "file"),
        bytes(report.raw_bytes)
    ));
    let removed = match report.removed {
        0 => String::new(),
        number => format!(", removed {}", things(number, "extra entry")),
    };
    let kept = match report.local_cache_bytes {
        0 => String::new(),
        kept => format!(", took {} from the local cache", bytes(kept)),
    };
    output::line(format_args!(
        "fetched {}{kept}, {} in place already{removed}, {took}",
        bytes(report.fetched_bytes),
        count(report.files_unchanged),
    ));
}
