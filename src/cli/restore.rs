//! `larder restore`.

use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use larder::files::WalkSource;
use larder::ids::{Key, Scope};
use larder::repository::Repository;
use larder::restore::{Destination, Hit, RestoreReport, RestoreRequest, Selection, restore};
use larder::store::Metered;
use larder::tier::Tier;
use serde::Serialize;

use super::args;
use super::caches::{self, Named, Wanted};
use super::colors::{GOOD, NOTABLE};
use super::exit::{Exit, Failure};
use super::explain;
use super::output::{self, RequestsJson, bytes, count, seconds, things};
use super::outputs::Outputs;
use super::session::{CountedStore, Session};
use crate::explain::Explanation;
use crate::keys::Rendered;
use crate::outputs::{Command, Fact};

/// What `--json` prints.
#[derive(Serialize)]
struct Json<'a> {
    command: &'static str,
    /// Its name in the configuration file.
    #[serde(skip_serializing_if = "Option::is_none")]
    cache: Option<&'a str>,
    /// When it ended.
    time: u64,
    hit: Hit,
    /// The key that was looked for first.
    wanted: Option<&'a str>,
    key: Option<&'a str>,
    scope: &'a str,
    /// The scope that the key was found in.
    matched_scope: Option<&'a str>,
    files: u64,
    files_unchanged: u64,
    files_compared: u64,
    raw_bytes: u64,
    unchanged_bytes: u64,
    stored_bytes: u64,
    fetched_bytes: u64,
    local_cache_bytes: u64,
    removed: u64,
    requests: RequestsJson,
    #[serde(skip_serializing_if = "Option::is_none")]
    explanation: Option<&'a Explanation>,
    seconds: f64,
}

pub(super) fn run(session: &Session, arguments: &args::Restore) -> Result<Exit, Failure> {
    let fail_on_miss = arguments.fail_on_miss;
    let wanted = Wanted::of(session, arguments.find.key.as_ref(), &arguments.paths)?;
    let outputs = Outputs::new(Command::Restore, &arguments.outputs);
    let restored = match wanted {
        Wanted::Keys(keys) => {
            let request = request(session, arguments, &keys)?;
            request.keys.first().into_iter().for_each(|key| outputs.expect(None, key));
            let began = Instant::now();
            let why = |store: &CountedStore, hit| why(session, arguments, hit, store, keys.first());
            restore_key(session, &request, summary, why).map(|report| {
                outputs.tell(None, Fact::from(&report), began.elapsed());
                report.hit == Hit::Miss
            })
        }
        Wanted::Caches(caches) => restore_caches(session, arguments, &caches, &outputs),
    };
    let has_miss = outputs.end(session, restored)?;
    Ok(caches::exit(has_miss && fail_on_miss))
}

/// Restores, and tells what came of it, in lines that `summary` gives.
pub(super) fn carry_out(
    session: &Session,
    request: &RestoreRequest,
    summary: impl FnOnce(&RestoreRequest, &RestoreReport, &str) -> String,
) -> Result<RestoreReport, Failure> {
    restore_key(session, request, summary, |_, _| None)
}

fn restore_key(
    session: &Session,
    request: &RestoreRequest,
    summary: impl FnOnce(&RestoreRequest, &RestoreReport, &str) -> String,
    why: impl FnOnce(&CountedStore, Hit) -> Option<Explanation>,
) -> Result<RestoreReport, Failure> {
    let store = session.store_for_reading()?;
    let report = restore(session.access(&store), request, session.context())?;
    let why = why(&store, report.hit);
    let cost = (RequestsJson::of(&store), session.done());
    tell(session, None, request, (&report, why.as_ref()), cost, summary);
    session.tell_requests(&store);
    Ok(report)
}

/// Why the key was not found, if that is asked for.
fn why(
    session: &Session,
    arguments: &args::Restore,
    hit: Hit,
    store: &CountedStore,
    wanted: Option<&Rendered>,
) -> Option<Explanation> {
    let open = || Repository::open(session.access(store));
    explain::of_hit(session, &arguments.find, hit, open, wanted)
}

/// Restores several caches of the configuration file. Gives whether one of them is a
/// miss.
fn restore_caches(
    session: &Session,
    arguments: &args::Restore,
    caches: &[Named<'_>],
    outputs: &Outputs,
) -> Result<bool, Failure> {
    if let Some(directory) = &arguments.to {
        // There, what is relative to the home directory lies beside all else.
        let directory = session.surroundings.locate(directory).location;
        caches::check_places(&caches.iter().collect::<Vec<_>>(), |source| {
            let names = source.path.names().map(std::ffi::OsStr::from_bytes);
            directory.iter().chain(names).collect()
        })?;
    }
    let tier = session.tier(&arguments.local_cache)?;
    caches.iter().for_each(|named| outputs.expect(Some(&named.cache.name), &named.key.key));
    let requests = caches.iter().map(|named| {
        let request = request_of(session, arguments, named, tier.clone());
        (named.cache.name.as_str(), (request, &named.key))
    });
    let store = session.store_for_reading()?;
    let has_miss = AtomicBool::new(false);
    let done = caches::each(session, requests.collect(), |name, (request, key), context| {
        let began = Instant::now();
        let counted: CountedStore = Arc::new(Metered::new(store.clone()));
        let report = restore(counted.clone(), &request, context)?;
        if report.hit == Hit::Miss {
            has_miss.store(true, Ordering::Relaxed);
        }
        outputs.tell(Some(name), Fact::from(&report), began.elapsed());
        let why = why(session, arguments, report.hit, &counted, Some(key));
        let cost = (RequestsJson::asked(counted.requests()), began.elapsed());
        tell(session, Some(name), &request, (&report, why.as_ref()), cost, summary);
        Ok(())
    });
    session.done();
    session.tell_requests(&store);
    done.map(|()| has_miss.into_inner())
}

fn tell(
    session: &Session,
    cache: Option<&str>,
    request: &RestoreRequest,
    (report, why): (&RestoreReport, Option<&Explanation>),
    (requests, took): (RequestsJson, Duration),
    summary: impl FnOnce(&RestoreRequest, &RestoreReport, &str) -> String,
) {
    if session.json {
        output::json(&Json {
            command: "restore",
            cache,
            time: output::unix(SystemTime::now()),
            hit: report.hit,
            wanted: request.keys.first().map(Key::as_str),
            key: report.key.as_ref().map(Key::as_str),
            scope: request.scope.as_str(),
            matched_scope: report.scope.as_ref().map(Scope::as_str),
            files: report.files,
            files_unchanged: report.files_unchanged,
            files_compared: report.files_compared,
            raw_bytes: report.raw_bytes,
            unchanged_bytes: report.unchanged_bytes,
            stored_bytes: report.stored_bytes,
            fetched_bytes: report.fetched_bytes,
            local_cache_bytes: report.local_cache_bytes,
            removed: report.removed,
            requests,
            explanation: why,
            seconds: took.as_secs_f64(),
        });
    } else if !session.quiet {
        let why = why.map(explain::text).unwrap_or_default();
        let text = summary(request, report, &seconds(took));
        session.tell(cache, &format!("{text}\n{why}"));
    }
}

fn request(
    session: &Session,
    arguments: &args::Restore,
    keys: &[Rendered],
) -> Result<RestoreRequest, Failure> {
    let keys = keys.iter().map(|rendered| rendered.key.clone()).collect();
    let working_directory = &session.surroundings.working_directory;
    let destination = destination(session, arguments, working_directory);
    Ok(RestoreRequest {
        fallback_scopes: session.fallback_scopes.clone(),
        restore_keys: session.restore_keys(&arguments.find.restore_keys)?,
        paths: arguments.paths.iter().map(|path| session.selection(path)).collect(),
        delete_extra: arguments.delete_extra,
        owner: arguments.owner,
        xattrs: arguments.xattrs,
        setuid: arguments.setuid,
        refresh_after: session.refresh_after(),
        records: session.records(&arguments.record),
        tier: session.tier(&arguments.local_cache)?,
        ..RestoreRequest::new(session.scope.clone(), keys, destination)
    })
}

/// The same for a cache of the configuration file: flags add to what it says there.
fn request_of(
    session: &Session,
    arguments: &args::Restore,
    named: &Named<'_>,
    tier: Option<Arc<Tier>>,
) -> RestoreRequest {
    let Named { cache, key, restore_keys, directory, sources } = named;
    let destination = destination(session, arguments, directory);
    RestoreRequest {
        fallback_scopes: session.fallback_scopes.clone(),
        restore_keys: [restore_keys.as_slice(), &arguments.find.restore_keys].concat(),
        // Whoever may write to the store has no say in where this goes.
        paths: sources.iter().map(selection).collect(),
        paths_are_bounds: true,
        trusted: sources.iter().map(selection).collect(),
        delete_extra: arguments.delete_extra || cache.delete_extra,
        owner: arguments.owner || cache.owner,
        xattrs: arguments.xattrs || cache.xattrs,
        setuid: arguments.setuid || cache.setuid,
        refresh_after: session.refresh_after(),
        records: session.records(&arguments.record),
        tier,
        ..RestoreRequest::new(session.scope.clone(), vec![key.key.clone()], destination)
    }
}

/// A path of larder.toml, as a part of a cache.
fn selection(source: &WalkSource) -> Selection {
    let WalkSource { anchor, path, location } = source.clone();
    Selection { anchor, path, given: location }
}

/// Where caches go that were saved in a working directory.
fn destination(
    session: &Session,
    arguments: &args::Restore,
    working_directory: &Path,
) -> Destination {
    match &arguments.to {
        // The same place has the same record, however it is named.
        Some(directory) => Destination::Below(session.surroundings.locate(directory).location),
        None => Destination::Original {
            working_directory: working_directory.to_owned(),
            home: session.surroundings.home.clone(),
        },
    }
}

/// What came of it, in lines.
pub(super) fn summary(request: &RestoreRequest, report: &RestoreReport, took: &str) -> String {
    let wanted = request.keys.iter().map(Key::as_str).collect::<Vec<_>>().join(", ");
    let Some(key) = report.key.as_ref().filter(|_| report.hit != Hit::Miss) else {
        return format!("{NOTABLE}there is no cache{NOTABLE:#} for {wanted} ({took})");
    };
    // Where it is not that of all else.
    let scope = report.scope.as_ref().filter(|scope| **scope != request.scope);
    let place = scope.map(|scope| format!(" of {scope}")).unwrap_or_default();
    let (color, how) = match report.hit {
        Hit::Exact => (GOOD, String::new()),
        Hit::Prefix | Hit::Miss => {
            (NOTABLE, format!(" (the newest for a prefix; {wanted} is not there)"))
        }
    };
    let removed = match report.removed {
        0 => String::new(),
        number => format!(", removed {}", things(number, "extra entry")),
    };
    let kept = match report.local_cache_bytes {
        0 => String::new(),
        kept => format!(", took {} from the local cache", bytes(kept)),
    };
    format!(
        "restored {color}{key}{color:#}{place}{how}: {}, {}\nfetched {}{kept}, {} in place already{removed}, {took}",
        things(report.files, "file"),
        bytes(report.raw_bytes),
        bytes(report.fetched_bytes),
        count(report.files_unchanged),
    )
}
