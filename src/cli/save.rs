//! `larder save`.

use larder::files::WalkOptions;
use larder::format::Lifetime;
use larder::ids::Key;
use larder::save::{SaveReport, SaveRequest, save};
use serde::Serialize;

use super::args;
use super::exit::{Exit, Failure};
use super::output::{self, RequestsJson, bytes, count, seconds, things};
use super::session::Session;

/// What `--json` prints.
#[derive(Serialize)]
struct Json<'a> {
    key: &'a str,
    scope: &'a str,
    files: u64,
    raw_bytes: u64,
    files_read: u64,
    chunks: u64,
    new_chunks: u64,
    new_raw_bytes: u64,
    uploaded_bytes: u64,
    reused_chunks: u64,
    packs_written: u64,
    requests: RequestsJson,
    already_there: bool,
    unchanged: bool,
    dry_run: bool,
    seconds: f64,
}

pub(super) fn run(session: &Session, arguments: &args::Save) -> Result<Exit, Failure> {
    let mut keys = session.keys(arguments.key.as_ref())?;
    let others = keys.split_off(1);
    let request = request(session, arguments, keys.remove(0))?;
    carry_out(session, request, others)
}

/// Saves under a key, and the same under others, and tells what came of it.
pub(super) fn carry_out(
    session: &Session,
    mut request: SaveRequest,
    others: Vec<Key>,
) -> Result<Exit, Failure> {
    let store =
        if request.dry_run { session.store_for_reading()? } else { session.store_for_writing()? };
    let report = save(store.clone(), &request, session.context())?;
    // The same under the other names: the store has all chunks by now, and the
    // stat record knows the files.
    let first = request.key.clone();
    for key in others {
        request.key = key;
        save(store.clone(), &request, session.context())?;
    }
    request.key = first;
    session.tell_lack(&store);
    let took = session.done();
    if session.json {
        output::json(&Json {
            key: request.key.as_str(),
            scope: request.scope.as_str(),
            files: report.files,
            raw_bytes: report.raw_bytes,
            files_read: report.files_read,
            chunks: report.chunks,
            new_chunks: report.new_chunks,
            new_raw_bytes: report.new_raw_bytes,
            uploaded_bytes: report.uploaded_bytes,
            reused_chunks: report.reused_chunks,
            packs_written: report.packs_written,
            requests: RequestsJson::of(&store),
            already_there: report.already_there,
            unchanged: report.unchanged,
            dry_run: request.dry_run,
            seconds: took.as_secs_f64(),
        });
    } else if !session.quiet {
        summarize(&request, &report, &seconds(took));
    }
    session.tell_requests(&store);
    Ok(Exit::Success)
}

fn request(session: &Session, arguments: &args::Save, key: Key) -> Result<SaveRequest, Failure> {
    let mut exclude = None;
    if !arguments.exclude.is_empty() {
        let globs = arguments.exclude.iter().map(String::as_str);
        exclude = Some(
            larder::files::excludes(globs)
                .map_err(|(value, why)| Failure::Exclude { value, why })?,
        );
    }
    let paths = arguments.paths.iter().map(std::path::PathBuf::as_path);
    Ok(SaveRequest {
        scope: session.scope.clone(),
        key,
        sources: session.surroundings.mounts(paths),
        walk: WalkOptions { exclude, owner: arguments.owner, xattrs: arguments.xattrs },
        level: arguments.compression_level,
        if_absent: arguments.if_absent,
        dry_run: arguments.dry_run,
        allow_missing: arguments.allow_missing,
        skip_unreadable: arguments.skip_unreadable,
        reuse: !arguments.no_reuse,
        check_packs: arguments.check_packs,
        lifetime: match (arguments.pin, arguments.ttl) {
            (true, _) => Lifetime::Pinned,
            (false, Some(ttl)) => Lifetime::For(ttl),
            (false, None) => Lifetime::ByPolicy,
        },
        refresh_after: session.refresh_after(),
        records: session.records(&arguments.record),
        tier: session.tier(&arguments.local_cache)?,
    })
}

fn summarize(request: &SaveRequest, report: &SaveReport, took: &str) {
    let key = &request.key;
    if report.already_there {
        return output::line(format_args!("{key} exists already; nothing was saved ({took})"));
    }
    let size = format!("{}, {}", things(report.files, "file"), bytes(report.raw_bytes));
    let verb = if request.dry_run { "would save" } else { "saved" };
    if report.unchanged {
        output::line(format_args!("{key} is unchanged: {size}"));
        let read = if report.files_read == 0 {
            "no file".to_owned()
        } else {
            things(report.files_read, "file")
        };
        return output::line(format_args!("nothing was uploaded, {read} read, {took}"));
    }
    output::line(format_args!("{verb} {key}: {size}"));
    let verb = if request.dry_run { "would upload" } else { "uploaded" };
    output::line(format_args!(
        "{verb} {} ({} of {}), reused {} of {}, {took}",
        bytes(report.uploaded_bytes),
        things(report.new_chunks, "new chunk"),
        bytes(report.new_raw_bytes),
        count(report.reused_chunks),
        things(report.chunks, "chunk"),
    ));
}
