//! `larder save`.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use larder::compression;
use larder::error::Error;
use larder::files::{WalkOptions, WalkSource};
use larder::format::Lifetime;
use larder::ids::Key;
use larder::progress::Warning;
use larder::repository::Repository;
use larder::save::{SaveReport, SaveRequest, save};
use larder::store::Metered;
use larder::tier::Tier;
use serde::Serialize;

use super::args;
use super::caches::{self, Named, Wanted};
use super::colors::{GOOD, NOTABLE};
use super::exit::{Exit, Failure};
use super::output::{self, RequestsJson, bytes, count, seconds, things};
use super::outputs::Outputs;
use super::session::{CountedStore, Session};
use crate::config::Written;
use crate::explain::note;
use crate::keys::Rendered;
use crate::outputs::{Command, Fact, Saved};

/// What `--json` prints.
#[derive(Serialize)]
struct Json<'a> {
    command: &'static str,
    /// Its name in the configuration file.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'a str>,
    /// When it ended.
    time: u64,
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
    let wanted = Wanted::of(session, arguments.key.as_ref(), &arguments.paths)?;
    let outputs = Outputs::new(Command::Save, &arguments.outputs);
    let saved = match wanted {
        Wanted::Keys(keys) => {
            if arguments.paths.is_empty() {
                return Err(Failure::NoPaths);
            }
            let mut keys = keys;
            let others = keys.split_off(1).into_iter().map(|rendered| rendered.key).collect();
            let request = request(session, arguments, keys.remove(0))?;
            outputs.expect(None, &request.key);
            let began = Instant::now();
            carry_out(session, request, others).map(|report| {
                let saved = Saved::of(&report, arguments.dry_run);
                outputs.tell(None, Fact::Saved(saved), began.elapsed());
            })
        }
        Wanted::Caches(caches) => save_caches(session, arguments, caches, &outputs),
    };
    outputs.end(session, saved).map(|()| Exit::Success)
}

/// Saves under a key, and the same under others, and tells what came of it.
pub(super) fn carry_out(
    session: &Session,
    mut request: SaveRequest,
    others: Vec<Key>,
) -> Result<SaveReport, Failure> {
    let store = store(session, request.dry_run)?;
    let report = save(session.access(&store), &request, session.context())?;
    // The same under the other names: the store has all chunks by now, and the
    // stat record knows the files.
    let first = request.key.clone();
    for key in others {
        request.key = key;
        save(session.access(&store), &request, session.context())?;
    }
    request.key = first;
    session.tell_lack(&store);
    let took = session.done();
    tell(session, None, &request, &report, RequestsJson::of(&store), took);
    session.tell_requests(&store);
    Ok(report)
}

/// Saves several caches of the configuration file.
fn save_caches(
    session: &Session,
    arguments: &args::Save,
    caches: Vec<Named<'_>>,
    outputs: &Outputs,
) -> Result<(), Failure> {
    caches.iter().for_each(|named| outputs.expect(Some(&named.cache.name), &named.key.key));
    let tier = session.tier(&arguments.local_cache)?;
    let requests = caches.into_iter().map(|named| {
        let name = named.cache.name.as_str();
        Ok((name, request_of(session, arguments, named, tier.clone())?))
    });
    let requests = requests.collect::<Result<Vec<_>, Failure>>()?;
    let store = store(session, arguments.dry_run)?;
    if !arguments.dry_run && Repository::open(session.access(&store))?.is_none() {
        // Before they all make it; and a job may have no right to, and no need.
        Repository::create(session.access(&store))?;
    }
    let done = caches::each(session, requests, |name, request, context| {
        let began = Instant::now();
        let counted = Arc::new(Metered::new(store.clone()));
        let report = match save(counted.clone(), &request, context) {
            // What may be missing is missing, all of it: a job that did not use the tool.
            Err(Error::NothingThere(paths)) if request.allow_missing => {
                for path in paths {
                    context.progress.warn(Warning::NothingThere { path });
                }
                outputs.pass_over(name);
                return Ok(());
            }
            result => result?,
        };
        let saved = Saved::of(&report, request.dry_run);
        outputs.tell(Some(name), Fact::Saved(saved), began.elapsed());
        let requests = RequestsJson::asked(counted.requests());
        tell(session, Some(name), &request, &report, requests, began.elapsed());
        Ok(())
    });
    session.tell_lack(&store);
    session.done();
    session.tell_requests(&store);
    done
}

fn store(session: &Session, dry_run: bool) -> Result<CountedStore, Failure> {
    if dry_run { session.store_for_reading() } else { session.store_for_writing() }
}

fn tell(
    session: &Session,
    cache: Option<&str>,
    request: &SaveRequest,
    report: &SaveReport,
    requests: RequestsJson,
    took: Duration,
) {
    if session.json {
        output::json(&Json {
            command: "save",
            cache,
            time: output::unix(SystemTime::now()),
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
            requests,
            already_there: report.already_there,
            unchanged: report.unchanged,
            dry_run: request.dry_run,
            seconds: took.as_secs_f64(),
        });
    } else if !session.quiet {
        session.tell(cache, &summary(request, report, &seconds(took)));
    }
}

fn request(
    session: &Session,
    arguments: &args::Save,
    key: Rendered,
) -> Result<SaveRequest, Failure> {
    let paths = arguments.paths.iter().map(std::path::PathBuf::as_path);
    let sources = session.surroundings.mounts(paths);
    by_flags(session, arguments, key, sources, &[], session.tier(&arguments.local_cache)?)
}

/// The same for a cache of the configuration file: flags add to what it says there, or
/// take its place.
fn request_of(
    session: &Session,
    arguments: &args::Save,
    named: Named<'_>,
    tier: Option<Arc<Tier>>,
) -> Result<SaveRequest, Failure> {
    let Named { cache, key, sources, .. } = named;
    let mut request = by_flags(session, arguments, key, sources, &cache.exclude, tier)?;
    if let Some(level) = arguments.compression_level.or(cache.compression_level) {
        request.level = level;
    }
    request.lifetime = lifetime(arguments).unwrap_or(cache.lifetime);
    request.walk.owner |= cache.owner;
    request.walk.xattrs |= cache.xattrs;
    request.if_absent |= cache.if_absent;
    request.allow_missing |= cache.allow_missing;
    request.skip_unreadable |= cache.skip_unreadable;
    request.check_packs |= cache.check_packs;
    Ok(request)
}

/// What the flags ask for, with these globs left out before theirs.
fn by_flags(
    session: &Session,
    arguments: &args::Save,
    key: Rendered,
    sources: Vec<WalkSource>,
    exclude: &[Written<String>],
    tier: Option<Arc<Tier>>,
) -> Result<SaveRequest, Failure> {
    let written = exclude.iter().map(|written| written.value.as_str());
    let globs = written.chain(arguments.exclude.iter().map(String::as_str));
    Ok(SaveRequest {
        walk: WalkOptions {
            exclude: excluded(globs)?,
            owner: arguments.owner,
            xattrs: arguments.xattrs,
        },
        level: arguments.compression_level.unwrap_or(compression::DEFAULT_LEVEL),
        if_absent: arguments.if_absent,
        dry_run: arguments.dry_run,
        allow_missing: arguments.allow_missing,
        skip_unreadable: arguments.skip_unreadable,
        reuse: !arguments.no_reuse,
        check_packs: arguments.check_packs,
        lifetime: lifetime(arguments).unwrap_or_default(),
        annotation: note(&key),
        fallback_scopes: session.fallback_scopes.clone(),
        trusted_scopes: session.trusted_scopes.clone(),
        refresh_after: session.refresh_after(),
        records: session.records(&arguments.record),
        tier,
        ..SaveRequest::new(session.scope.clone(), key.key, sources)
    })
}

fn excluded<'a>(
    globs: impl Iterator<Item = &'a str>,
) -> Result<Option<larder::files::Excludes>, Failure> {
    let globs: Vec<&str> = globs.collect();
    if globs.is_empty() {
        return Ok(None);
    }
    let excluded = larder::files::excludes(globs);
    excluded.map(Some).map_err(|(value, why)| Failure::Exclude { value, why })
}

/// How long flags say that the cache lives.
fn lifetime(arguments: &args::Save) -> Option<Lifetime> {
    match (arguments.pin, arguments.ttl) {
        (true, _) => Some(Lifetime::Pinned),
        (false, Some(ttl)) => Some(Lifetime::For(ttl)),
        (false, None) => None,
    }
}

/// What came of it, in lines.
fn summary(request: &SaveRequest, report: &SaveReport, took: &str) -> String {
    let key = &request.key;
    if report.already_there {
        return format!("{key} {NOTABLE}exists already{NOTABLE:#}; nothing was saved ({took})");
    }
    let size = format!("{}, {}", things(report.files, "file"), bytes(report.raw_bytes));
    let verb = if request.dry_run { "would save" } else { "saved" };
    if report.unchanged {
        let read = if report.files_read == 0 {
            "no file".to_owned()
        } else {
            things(report.files_read, "file")
        };
        return format!(
            "{GOOD}{key}{GOOD:#} is unchanged: {size}\nnothing was uploaded, {read} read, {took}"
        );
    }
    let upload = if request.dry_run { "would upload" } else { "uploaded" };
    format!(
        "{verb} {GOOD}{key}{GOOD:#}: {size}\n{upload} {} ({} of {}), reused {} of {}, {took}",
        bytes(report.uploaded_bytes),
        things(report.new_chunks, "new chunk"),
        bytes(report.new_raw_bytes),
        count(report.reused_chunks),
        things(report.chunks, "chunk"),
    )
}
