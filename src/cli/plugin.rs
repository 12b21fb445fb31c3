//! `larder plugin`: what a CI system's settings ask for, done as the command line
//! does it.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::time::Duration;

use larder::compression;
use larder::files::WalkSource;
use larder::flush::{FlushRequest, Policy, Scopes};
use larder::format::Anchor;
use larder::ids::Key;
use larder::progress::Warning;
use larder::relpath::RelPath;
use larder::restore::{Destination, Hit, RestoreReport, RestoreRequest};
use larder::save::SaveRequest;
use larder::store::{CredentialSource, StoreLocation};
use serde_json::json;

use super::args::{self, Global};
use super::exit::{Exit, Failure};
use super::session::Session;
use super::{Prepared, assets, delete, flush, output, outputs, restore, save};
use crate::outputs::dotenv;
use crate::plugin::{
    Bounds, Environment, Given, InvalidSetting, Log, Order, Saved, System, Task, read,
};

/// The arguments of a process that was started under the name of a step, as the
/// asset manager's container starts `check` and `upload`.
pub(super) fn arguments(given: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = given.collect();
    let name = arguments.first().and_then(|path| Path::new(path).file_name()).map(OsString::from);
    if let Some(step) = name.filter(|name| name == "check" || name == "upload") {
        arguments.splice(..1, ["larder".into(), "plugin".into(), step]);
    }
    arguments
}

/// Reads what the environment asks for.
pub(super) fn prepare(global: Global, arguments: &args::Plugin) -> Result<Prepared, Failure> {
    let environment = Environment::of_process();
    let system = match arguments.step {
        // Whose step it is, is clear, whatever else is in the environment.
        Some(_) => System::named(&environment)?.unwrap_or(System::Assets),
        None => System::detect(&environment)?,
    };
    match (system, arguments.step) {
        (System::Assets, None) => Err(InvalidSetting::NoStep.into()),
        (System::Assets, Some(step)) => {
            assets::prepare_plugin(global, &environment, step, arguments.dry_run)
        }
        (other, Some(step)) => {
            let (step, system) = (step.name(), other.name());
            Err(InvalidSetting::ForeignStep { step, system }.into())
        }
        (_, None) => prepare_order(global, &environment, system, arguments.dry_run),
    }
}

fn prepare_order(
    mut global: Global,
    environment: &Environment,
    system: System,
    dry_run: bool,
) -> Result<Prepared, Failure> {
    let given = Given { store: global.store.is_some(), scope: global.scope.clone() };
    let order = read(system, environment, given)?;
    global.timeout = global.timeout.or(order.timeout);
    global.scope = Some(order.scope.clone());
    let is_told = global.quiet || global.verbose > 0;
    match order.log {
        _ if is_told => {}
        Log::Errors | Log::Warnings => global.quiet = true,
        Log::Normal => {}
        Log::Verbose => global.verbose = 1,
        Log::Trace => global.verbose = 2,
    }
    let location = match &order.store {
        Some(store) => StoreLocation::S3(Box::new(store.clone())),
        None => {
            let named = global.store.as_deref().unwrap_or_default();
            with_credentials(named.parse()?, &order.credentials)
        }
    };
    let mut session = Session::open_at(location, global)?;
    if order.log == Log::Warnings && !is_told {
        session.show_warnings();
    }
    for text in &order.warnings {
        session.warn_that(text);
    }
    let work: super::Work = if dry_run {
        Box::new(move |session| Ok(tell_order(session, &order)))
    } else {
        Box::new(move |session| run(session, &order))
    };
    // Each task is ignored by itself.
    Ok(Prepared { session, transfers: false, work })
}

/// A store that is named by itself, with the keys of the settings where it has none
/// of its own.
fn with_credentials(location: StoreLocation, credentials: &CredentialSource) -> StoreLocation {
    match location {
        StoreLocation::S3(mut config) => {
            if config.credentials == CredentialSource::Chain {
                config.credentials.clone_from(credentials);
            }
            StoreLocation::S3(config)
        }
        other => other,
    }
}

/// What a dry run prints.
fn tell_order(session: &Session, order: &Order) -> Exit {
    session.done();
    output::line(format_args!("system: {}\n{}", order.system.name(), place(session)));
    for task in &order.tasks {
        output::line(task);
    }
    Exit::Success
}

/// Where a dry run would do its work.
pub(super) fn place(session: &Session) -> String {
    let mut text = format!("store: {}\nscope: {}", session.location(), session.scope);
    if let Some(timeout) = session.timeout() {
        text.push_str(&format!("\ntimeout: {}", humantime::format_duration(timeout)));
    }
    text
}

/// Does one task after the other, and tells the CI system what was restored. What
/// goes wrong with one stops no other; the first that failed is how it ends.
fn run(session: &Session, order: &Order) -> Result<Exit, Failure> {
    let mut restored = vec![];
    let mut failed: Option<Failure> = None;
    for task in &order.tasks {
        let Err(failure) = run_task(session, task, &mut restored) else { continue };
        let failure = session.explain(failure);
        if failure.exit() == Exit::Interrupted {
            if let Some(failed) = failed {
                failed.report(session.json, false);
            }
            return Err(failure);
        }
        let is_over = matches!(failure, Failure::TimedOut(_));
        if task.transfers() && session.ignore_error && failure.is_ignorable() {
            failure.report(session.json, true);
        } else if failed.is_none() {
            failed = Some(failure);
        } else {
            failure.report(session.json, false);
        }
        if is_over {
            break;
        }
    }
    let has_restored = order.tasks.iter().any(Task::answers);
    if let Some(file) = order.output.as_ref().filter(|_| has_restored) {
        outputs::append(session, file, &told(&restored));
    }
    failed.map_or(Ok(Exit::Success), Err)
}

fn run_task(session: &Session, task: &Task, restored: &mut Vec<(Key, Hit)>) -> Result<(), Failure> {
    match task {
        Task::Say(text) => say(session, text),
        Task::Clear => {
            delete::carry_out(session, "", None)?;
        }
        Task::Restore { key, bounds } => {
            let hit = bring_back(session, key, bounds);
            restored.push((key.clone(), *hit.as_ref().unwrap_or(&Hit::Miss)));
            hit?;
        }
        Task::Save(saved) => put_by(session, saved)?,
        Task::Flush { age } => collect(session, *age)?,
    }
    Ok(())
}

fn say(session: &Session, text: &str) {
    session.done();
    if session.json {
        output::json(&json!({ "message": text, "scope": session.scope }));
    } else if !session.quiet {
        output::line(text);
    }
}

/// Restores a cache. One that cannot be had whole is none: the job goes on
/// without, as it would on its first run.
fn bring_back(session: &Session, key: &Key, bounds: &Bounds) -> Result<Hit, Failure> {
    let surroundings = &session.surroundings;
    let destination = Destination::Original {
        working_directory: surroundings.working_directory.clone(),
        home: surroundings.home.clone(),
    };
    let mut request = RestoreRequest::new(session.scope.clone(), vec![key.clone()], destination);
    request.fallback_scopes.clone_from(&session.fallback_scopes);
    request.paths = bounds.paths.iter().map(|path| session.selection(path)).collect();
    request.paths_are_bounds = true;
    if bounds.follow {
        request.trusted.clone_from(&request.paths);
    }
    request.refresh_after = session.refresh_after();
    request.records = session.records(&args::Record { no_stat_record: false });
    request.tier = session.tier_by_environment()?;
    match restore::carry_out(session, &request, summary) {
        Ok(report) => Ok(report.hit),
        Err(Failure::Larder(error)) if error.is_unreadable() => {
            session.warn(Warning::IgnoredDamage { error: error.to_string() });
            say(
                session,
                &format!(
                    "There is no sound cache for {key}; a rebuild uploads what is gone. If a rule \
                     of the bucket deletes objects by age, remove it: `larder flush` does that"
                ),
            );
            Ok(Hit::Miss)
        }
        Err(failure) => Err(failure),
    }
}

fn summary(request: &RestoreRequest, report: &RestoreReport, took: &str) -> String {
    match (report.hit, request.keys.first()) {
        (Hit::Miss, Some(key)) => format!("There is no cache for {key}"),
        _ => restore::summary(request, report, took),
    }
}

fn put_by(session: &Session, saved: &Saved) -> Result<(), Failure> {
    let mut there: Vec<&Path> = vec![];
    for path in &saved.paths {
        let location = session.surroundings.locate(path).location;
        let looked = std::fs::symlink_metadata(location).map_err(|error| error.kind());
        let is_missing =
            matches!(looked, Err(io::ErrorKind::NotFound | io::ErrorKind::NotADirectory));
        if !is_missing {
            there.push(path);
        } else if saved.allow_missing {
            say(session, &format!("There is nothing to cache for {}", path.display()));
        } else {
            return Err(Failure::NoMount(path.clone()));
        }
    }
    if there.is_empty() {
        return Ok(());
    }
    let mut sources = session.surroundings.mounts(there);
    if saved.flatten {
        sources = by_last_names(sources)?;
    }
    let mut request = SaveRequest::new(session.scope.clone(), saved.key.clone(), sources);
    request.fallback_scopes.clone_from(&session.fallback_scopes);
    request.trusted_scopes.clone_from(&session.trusted_scopes);
    // Buckets of CI systems have rules that delete by age, made for archives.
    request.check_packs = true;
    request.skip_unreadable = session.skips_unreadable();
    request.level = saved.level.unwrap_or(compression::DEFAULT_LEVEL);
    request.refresh_after = session.refresh_after();
    request.records = session.records(&args::Record { no_stat_record: false });
    request.tier = session.tier_by_environment()?;
    save::carry_out(session, request, vec![]).map(drop)
}

/// The same mounts, each recorded as its last name in the working directory.
fn by_last_names(sources: Vec<WalkSource>) -> Result<Vec<WalkSource>, Failure> {
    let mut renamed: Vec<WalkSource> = vec![];
    for source in sources {
        let is_here = source.anchor == Anchor::WorkingDirectory && source.path.is_empty();
        let name = source.location.file_name().filter(|_| !is_here);
        let path = name.and_then(|name| RelPath::new(name.as_bytes()).ok()).unwrap_or_default();
        let overlaps = |other: &&WalkSource| {
            path.below(&other.path).is_some() || other.path.below(&path).is_some()
        };
        if let Some(other) = renamed.iter().find(overlaps) {
            return Err(Failure::SameName {
                first: other.location.clone(),
                second: source.location,
                name: path.to_string(),
            });
        }
        renamed.push(WalkSource { anchor: Anchor::WorkingDirectory, path, ..source });
    }
    renamed.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(renamed)
}

/// Flushes the scope, and those below it.
fn collect(session: &Session, age: Duration) -> Result<(), Failure> {
    let policy = Policy::new(Scopes::Below(session.scope.clone()), age);
    let report = flush::carry_out(session, &FlushRequest::new(policy))?;
    if !session.quiet && !session.json && report.busy.is_none() {
        output::line(format_args!(
            "freed {} in total; {} more are freed once nothing can be using them",
            output::bytes(report.deleted.bytes),
            output::bytes(report.held.bytes)
        ));
    }
    Ok(())
}

/// What was restored, for the file of a step's outputs.
fn told(restored: &[(Key, Hit)]) -> String {
    let found: Vec<&str> =
        restored.iter().filter(|(_, hit)| *hit != Hit::Miss).map(|(key, _)| key.as_str()).collect();
    let is_hit = !found.is_empty() && found.len() == restored.len();
    dotenv::line("cache-hit", if is_hit { "true" } else { "false" })
        + &dotenv::line("key", &found.join(","))
}
