//! `larder plugin`: what a CI system's settings ask for, done as the command line
//! does it.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use larder::compression;
use larder::files::WalkSource;
use larder::flush::{FlushRequest, Policy};
use larder::format::Anchor;
use larder::ids::Key;
use larder::progress::Warning;
use larder::relpath::RelPath;
use larder::restore::{Destination, Hit, RestoreReport, RestoreRequest};
use larder::save::SaveRequest;
use larder::store::StoreLocation;

use super::args::{self, AssetsStep, Global};
use super::exit::{Exit, Failure};
use super::session::Session;
use super::{Prepared, assets, delete, flush, output, restore, save};
use crate::plugin::{Environment, InvalidSetting, Log, Order, System, Task, read};

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
pub(super) fn prepare(mut global: Global, arguments: &args::Plugin) -> Result<Prepared, Failure> {
    let environment = Environment::of_process();
    let system = match System::detect(&environment) {
        // Named by its step, or by nothing that has to be there: it says so itself.
        Err(InvalidSetting::NoSystem) if arguments.step.is_some() => System::Assets,
        detected => detected?,
    };
    match (system, arguments.step) {
        (System::Assets, None) => Err(InvalidSetting::NoStep.into()),
        (System::Assets, Some(step)) => {
            assets::prepare_plugin(global, &environment, step, arguments.dry_run)
        }
        (other, Some(step)) => {
            let step = match step {
                AssetsStep::Check => "check",
                AssetsStep::Upload => "upload",
            };
            Err(InvalidSetting::ForeignStep { step, system: other.name() }.into())
        }
        (_, None) => {
            let order = read(system, &environment, global.store.is_some())?;
            if arguments.dry_run {
                return Prepared::of(global, move |session| {
                    output::line(order.to_string().trim_end());
                    session.done();
                    Ok(Exit::Success)
                });
            }
            global.timeout = global.timeout.or(order.timeout);
            global.scope.get_or_insert_with(|| order.scope.clone());
            match order.log {
                _ if global.quiet || global.verbose > 0 => {}
                Log::Quiet => global.quiet = true,
                Log::Normal => {}
                Log::Verbose => global.verbose = 1,
                Log::Trace => global.verbose = 2,
            }
            let session = match &order.store {
                Some(store) => {
                    Session::open_at(StoreLocation::S3(Box::new(store.clone())), global)?
                }
                None => Session::open(global)?,
            };
            let transfers = order.transfers();
            let work = Box::new(move |session: &Session| run(session, &order));
            Ok(Prepared { session, transfers, work })
        }
    }
}

/// Does one task after the other, and tells the CI system what was restored.
fn run(session: &Session, order: &Order) -> Result<Exit, Failure> {
    let mut restored: Vec<(Key, Hit)> = vec![];
    for task in &order.tasks {
        match task {
            Task::Say(text) => say(session, text),
            Task::Clear => {
                delete::carry_out(session, "", None)?;
            }
            Task::Restore { key } => restored.push((key.clone(), bring_back(session, key)?)),
            Task::Save { .. } => put_by(session, task)?,
            Task::Flush { age } => collect(session, *age)?,
        }
    }
    if let Some(file) = order.output.as_ref().filter(|_| !restored.is_empty()) {
        tell(file, &restored).map_err(larder::error::Error::from)?;
    }
    Ok(Exit::Success)
}

fn say(session: &Session, text: &str) {
    session.done();
    if !session.quiet && !session.json {
        output::line(text);
    }
}

/// Restores a cache. One that cannot be had whole is none: the job goes on
/// without, as it would on its first run.
fn bring_back(session: &Session, key: &Key) -> Result<Hit, Failure> {
    let surroundings = &session.surroundings;
    let destination = Destination::Original {
        working_directory: surroundings.working_directory.clone(),
        home: surroundings.home.clone(),
    };
    let mut request = RestoreRequest::new(session.scope.clone(), vec![key.clone()], destination);
    request.refresh_after = session.refresh_after();
    request.records = session.records(&args::Record { no_stat_record: false });
    request.tier = session.tier_by_environment()?;
    match restore::carry_out(session, &request, summarize) {
        Ok(report) => Ok(report.hit),
        Err(Failure::Larder(error)) if error.is_damage() => {
            session.warn(Warning::IgnoredDamage { error: error.to_string() });
            say(session, &format!("There is no sound cache for {key}"));
            Ok(Hit::Miss)
        }
        Err(failure) => Err(failure),
    }
}

fn summarize(request: &RestoreRequest, report: &RestoreReport, took: &str) {
    match (report.hit, request.keys.first()) {
        (Hit::Miss, Some(key)) => output::line(format_args!("There is no cache for {key}")),
        _ => restore::summarize(request, report, took),
    }
}

/// Saves what a task names.
fn put_by(session: &Session, task: &Task) -> Result<(), Failure> {
    let Task::Save { key, paths, allow_missing, flatten, level } = task else { return Ok(()) };
    let mut there: Vec<&Path> = vec![];
    for path in paths {
        let location = session.surroundings.locate(path).location;
        if std::fs::symlink_metadata(location).is_ok() {
            there.push(path);
        } else if *allow_missing {
            say(session, &format!("There is nothing to cache for {}", path.display()));
        } else {
            return Err(Failure::NoMount(path.clone()));
        }
    }
    if there.is_empty() {
        return Ok(());
    }
    let mut sources = session.surroundings.mounts(there);
    if *flatten {
        sources = by_last_names(sources)?;
    }
    let mut request = SaveRequest::new(session.scope.clone(), key.clone(), sources);
    // Buckets of CI systems have rules that delete by age, made for archives.
    request.check_packs = true;
    request.level = level.unwrap_or(compression::DEFAULT_LEVEL);
    request.refresh_after = session.refresh_after();
    request.records = session.records(&args::Record { no_stat_record: false });
    request.tier = session.tier_by_environment()?;
    save::carry_out(session, request, vec![]).map(drop)
}

/// The same mounts, each recorded as its last name in the working directory.
fn by_last_names(sources: Vec<WalkSource>) -> Result<Vec<WalkSource>, Failure> {
    let mut renamed: Vec<WalkSource> = vec![];
    for source in sources {
        let name = source.location.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
        let path = match RelPath::new(name) {
            Ok(name) if !source.path.is_empty() => name,
            // The working directory itself, or the root.
            _ => source.path.clone(),
        };
        if let Some(other) = renamed.iter().find(|other| other.path == path) {
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

/// Flushes the scope.
fn collect(session: &Session, age: Duration) -> Result<(), Failure> {
    let policy = Policy::of_scope(session.scope.clone(), age);
    flush::carry_out(session, &FlushRequest::new(policy)).map(drop)
}

/// Adds what was restored to the file of a step's outputs.
fn tell(file: &PathBuf, restored: &[(Key, Hit)]) -> Result<(), larder::files::FileError> {
    let found: Vec<&str> =
        restored.iter().filter(|(_, hit)| *hit != Hit::Miss).map(|(key, _)| key.as_str()).collect();
    let is_hit = found.len() == restored.len();
    let text = format!("cache-hit={is_hit}\nkey={}\n", found.join(","));
    let written = OpenOptions::new().append(true).create(true).open(file);
    written
        .and_then(|mut written| written.write_all(text.as_bytes()))
        .map_err(|error| larder::files::FileError::new("write", file, error))
}
