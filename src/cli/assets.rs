//! `larder assets check` and `larder assets upload`: the packages of each commit,
//! and those of commits with the same sources.
//!
//! A commit's packages are kept under `artifacts/<commit>`, and under
//! `cache/<code hash>` those that were made of certain sources. The next commit
//! with these sources gets the same packages: a manifest, no data.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use larder::files::{FileError, WalkOptions, WalkSource};
use larder::format::{Anchor, Lifetime};
use larder::ids::Key;
use larder::relpath::RelPath;
use larder::repository::Repository;
use larder::save::{CopyRequest, SaveRequest, copy, save};
use larder::store::StoreLocation;
use serde_json::json;

use super::Prepared;
use super::args::{AssetsCommand, AssetsPackages, AssetsStep, Global};
use super::exit::{Exit, Failure};
use super::output::{self, bytes, seconds, things};
use super::plain::{self, Facts, Plain};
use super::session::Session;
use crate::assets::{InvalidGlob, NotUsable, code_hash, head};
use crate::plugin::{AssetsSettings, Environment, read_assets};

/// The scope of those who name none.
const SCOPE: &str = "assets";

/// What the step of a pipeline leaves for the next.
const FOUND: &str = ".found";
const COMMIT_HASH: &str = ".commit-hash";
const CODE_HASH: &str = ".code-hash";

/// What hidden files match, which are no packages.
const HIDDEN: &str = ".*";

/// Why a step cannot be done. The asset manager's exit codes tell them apart.
#[derive(Debug, thiserror::Error)]
pub(super) enum AssetsFailure {
    #[error("no bucket is given")]
    NoBucket(AssetsStep),
    #[error("there is no directory {}", .0.display())]
    NoRepository(PathBuf),
    #[error("{} cannot be used as package directory: {error}", path.display())]
    NoPackageDirectory { step: AssetsStep, path: PathBuf, error: io::Error },
    #[error("{} cannot be used as repository: {why}", path.display())]
    Repository { path: PathBuf, why: NotUsable },
    #[error("there are no files to keep in {}", .0.display())]
    NoPackages(PathBuf),
    #[error("{} does not say which commit the packages are of", .0.display())]
    NoCommitHash(PathBuf),
    #[error(transparent)]
    Glob(#[from] InvalidGlob),
    #[error("plain objects need a store in S3")]
    NoPlain,
    #[error("{0} cannot be the name of a plain object")]
    PlainName(String),
}

impl AssetsFailure {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::NoBucket(AssetsStep::Check)
            | Self::NoPackageDirectory { step: AssetsStep::Upload, .. } => Exit::Assets100,
            Self::NoBucket(AssetsStep::Upload) | Self::NoRepository(_) => Exit::Assets101,
            Self::NoPackageDirectory { step: AssetsStep::Check, .. } | Self::NoPackages(_) => {
                Exit::Assets102
            }
            Self::Repository { .. } | Self::NoCommitHash(_) => Exit::Assets103,
            Self::Glob(_) | Self::NoPlain => Exit::Usage,
            Self::PlainName(_) => Exit::Failure,
        }
    }

    pub(super) fn hint(&self) -> &'static str {
        match self {
            Self::NoBucket(_) => "set PACKAGE_ASSETS_BUCKET, or give --store",
            Self::NoRepository(_) => "set GIT_REPO_PATH, or give --repository",
            Self::NoPackageDirectory { .. } => "set PACKAGE_DIRECTORY, or give --packages",
            Self::Repository { .. } => {
                "give the root of a clone with at least one commit by GIT_REPO_PATH or --repository"
            }
            Self::NoPackages(_) => "build them before the upload; hidden files do not count",
            Self::NoCommitHash(_) => {
                "run the check before the upload, and keep the package directory between them"
            }
            Self::Glob(_) => "write globs such as 'lambdas/** shared/*.js'",
            Self::PlainName(_) => {
                "give it a name of UTF-8 without control characters, or leave plain objects out"
            }
            Self::NoPlain => "give an S3 store, or set LARDER_ASSETS_PLAIN=false",
        }
    }
}

/// What both steps go by.
struct Job {
    packages: PathBuf,
    plain: bool,
}

/// Reads what the arguments, and else the variables, say.
pub(super) fn prepare(global: Global, command: AssetsCommand) -> Result<Prepared, Failure> {
    let mut settings = read_assets(&Environment::of_process())?;
    let (step, packages) = match command {
        AssetsCommand::Check(given) => {
            settings.repository = given.repository.unwrap_or(settings.repository);
            if let Some(filter) = given.filter {
                settings.filter = filter.split_whitespace().map(str::to_owned).collect();
            }
            (AssetsStep::Check, given.packages)
        }
        AssetsCommand::Upload(given) => (AssetsStep::Upload, given.packages),
    };
    let AssetsPackages { packages, plain } = packages;
    settings.packages = packages.unwrap_or(settings.packages);
    let job =
        Job { packages: settings.packages.clone(), plain: plain || settings.plain == Some(true) };
    prepare_step(global, settings, job, step, false)
}

/// The same for the plugin, which has the variables only, and keeps plain objects
/// unless told otherwise: those who read them know nothing of larder.
pub(super) fn prepare_plugin(
    global: Global,
    environment: &Environment,
    step: AssetsStep,
    dry_run: bool,
) -> Result<Prepared, Failure> {
    let settings = read_assets(environment)?;
    let job = Job { packages: settings.packages.clone(), plain: settings.plain.unwrap_or(true) };
    prepare_step(global, settings, job, step, dry_run)
}

/// Checks what there has to be, in the order of the asset manager.
fn prepare_step(
    mut global: Global,
    settings: AssetsSettings,
    job: Job,
    step: AssetsStep,
    dry_run: bool,
) -> Result<Prepared, Failure> {
    let AssetsSettings { store, repository, filter, .. } = settings;
    global.scope.get_or_insert_with(|| SCOPE.parse().expect("the name follows the rules"));
    if step == AssetsStep::Upload {
        if let Err(error) = std::fs::read_dir(&job.packages) {
            return Err(
                AssetsFailure::NoPackageDirectory { step, path: job.packages, error }.into()
            );
        }
        if job.packages.join(FOUND).exists() {
            // No store is needed to do nothing.
            let nowhere = StoreLocation::directory(job.packages);
            let session = Session::open_at(nowhere, global)?;
            let work = Box::new(|session: &Session| Ok(told_before(session)));
            return Ok(Prepared { session, transfers: false, work });
        }
    }
    let session = match (&global.store, store) {
        (Some(_), _) => Session::open(global)?,
        (None, Some(store)) => Session::open_at(StoreLocation::S3(Box::new(store)), global)?,
        (None, None) => return Err(AssetsFailure::NoBucket(step).into()),
    };
    let work: super::Work = match step {
        _ if dry_run => Box::new(move |session| {
            let name = if step == AssetsStep::Check { "check" } else { "upload" };
            let (store, scope) = (session.location(), &session.scope);
            let packages = job.packages.display();
            let plain = if job.plain { ", and plain objects" } else { "" };
            session.done();
            output::line(format_args!(
                "system: assets\nstore: {store}\nscope: {scope}\n{name} {packages}{plain}"
            ));
            if step == AssetsStep::Check {
                let (repository, filter) = (repository.display(), filter.join(" "));
                output::line(format_args!("repository: {repository}\nfilter: {filter}"));
            }
            Ok(Exit::Success)
        }),
        AssetsStep::Check => Box::new(move |session| check(session, &job, &repository, &filter)),
        AssetsStep::Upload => Box::new(move |session| upload(session, &job)),
    };
    Ok(Prepared { session, transfers: false, work })
}

/// What a check found.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Found {
    Commit,
    Code,
    Nothing,
}

/// Whether the packages of the commit are there, or can be had from those of the
/// same sources. Leaves for the steps after it what it learnt.
fn check(
    session: &Session,
    job: &Job,
    repository: &Path,
    filter: &[String],
) -> Result<Exit, Failure> {
    if !repository.is_dir() {
        return Err(AssetsFailure::NoRepository(repository.to_owned()).into());
    }
    prepare_directory(&job.packages).map_err(|error| {
        let path = job.packages.clone();
        AssetsFailure::NoPackageDirectory { step: AssetsStep::Check, path, error }
    })?;
    let commit = head(repository)
        .map_err(|why| AssetsFailure::Repository { path: repository.to_owned(), why })?;
    leave(job, COMMIT_HASH, &commit)?;
    let plain = Plain::of(session, job.plain)?;
    let artifacts = artifacts(&commit);
    let mut code = None;
    let mut found = Found::Nothing;
    if is_stored(session, &artifacts)? {
        found = Found::Commit;
    } else if let Some(hash) = code_of(session, repository, filter)? {
        leave(job, CODE_HASH, &hash)?;
        if adopt(session, &cache(&hash), &artifacts)? {
            found = Found::Code;
        }
        code = Some(hash);
    }
    let mut objects = 0;
    if let Some(plain) = plain.filter(|_| found != Found::Nothing) {
        let facts = Facts { commit: &commit, code: code.as_deref() };
        let from = code.as_deref().map(cache);
        objects = plain::complete(session, &plain, &artifacts, from.as_ref(), &facts)?;
    }
    if found != Found::Nothing {
        leave(job, FOUND, "")?;
    }
    report_check(session, &commit, code.as_deref(), found, objects);
    Ok(Exit::Success)
}

/// Makes the directory, and removes what an earlier check left there: what it
/// found is no longer true.
fn prepare_directory(packages: &Path) -> io::Result<()> {
    std::fs::create_dir_all(packages)?;
    for name in [FOUND, CODE_HASH, COMMIT_HASH] {
        match std::fs::remove_file(packages.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

fn artifacts(commit: &str) -> Key {
    format!("artifacts/{commit}").parse().expect("hashes make names")
}

fn cache(code_hash: &str) -> Key {
    format!("cache/{code_hash}").parse().expect("hashes make names")
}

fn leave(job: &Job, name: &str, text: &str) -> Result<(), Failure> {
    let path = job.packages.join(name);
    let written = std::fs::write(&path, text);
    written.map_err(|error| larder::error::Error::from(FileError::new("write", path, error)).into())
}

fn is_stored(session: &Session, key: &Key) -> Result<bool, Failure> {
    Ok(match Repository::open(session.store_for_reading()?)? {
        Some(repository) => repository.has_manifest(&session.scope, key)?,
        None => false,
    })
}

/// The hash of the sources, if it is said which those are.
fn code_of(
    session: &Session,
    repository: &Path,
    filter: &[String],
) -> Result<Option<String>, Failure> {
    if filter.is_empty() {
        return Ok(None);
    }
    let hash = code_hash(repository, filter).map_err(AssetsFailure::from)?;
    let hash = hash.map_err(larder::error::Error::from)?;
    if hash.is_none() {
        session.warn_that(format_args!(
            "no file in {} matches {}: the packages have no code hash",
            repository.display(),
            filter.join(" ")
        ));
    }
    Ok(hash.map(|hash| hash.to_string()))
}

/// Makes the packages under one key those of another, too. `false` if there are
/// none.
fn adopt(session: &Session, from: &Key, to: &Key) -> Result<bool, Failure> {
    let request = CopyRequest {
        scope: session.scope.clone(),
        from: from.clone(),
        to: to.clone(),
        lifetime: Lifetime::Pinned,
    };
    Ok(copy(session.store_for_reading()?, &request, session.context())?.is_some())
}

fn report_check(
    session: &Session,
    commit: &str,
    code_hash: Option<&str>,
    found: Found,
    objects: u64,
) {
    let took = session.done();
    if session.json {
        let found = match found {
            Found::Commit => Some("commit"),
            Found::Code => Some("code"),
            Found::Nothing => None,
        };
        return output::json(&json!({
            "step": "check",
            "commit": commit,
            "code_hash": code_hash,
            "found": found,
            "plain_objects_written": objects,
            "scope": session.scope,
            "seconds": took.as_secs_f64(),
        }));
    }
    if session.quiet {
        return;
    }
    output::line(format_args!("commit {commit}"));
    if let Some(hash) = code_hash {
        output::line(format_args!("code hash {hash}"));
    }
    let text: &dyn fmt::Display = match found {
        Found::Commit => &"packages of this commit are stored; nothing has to be built",
        Found::Code => &"packages of the same sources are stored; nothing has to be built",
        Found::Nothing => &"no packages are stored; they have to be built",
    };
    output::line(format_args!("{text} ({})", seconds(took)));
}

fn told_before(session: &Session) -> Exit {
    session.done();
    if session.json {
        output::json(&json!({ "step": "upload", "skipped": true, "scope": session.scope }));
    } else if !session.quiet {
        output::line("packages of this commit are stored already; nothing is uploaded");
    }
    Exit::Success
}

/// Stores the packages under the commit, and under their code hash if they have
/// one.
fn upload(session: &Session, job: &Job) -> Result<Exit, Failure> {
    if !has_packages(&job.packages).map_err(larder::error::Error::from)? {
        return Err(AssetsFailure::NoPackages(job.packages.clone()).into());
    }
    let commit = left(job, COMMIT_HASH)
        .ok_or_else(|| AssetsFailure::NoCommitHash(job.packages.join(COMMIT_HASH)))?;
    let code = left(job, CODE_HASH);
    let plain = Plain::of(session, job.plain)?;
    let artifacts = artifacts(&commit);
    let source = WalkSource {
        anchor: Anchor::WorkingDirectory,
        path: RelPath::default(),
        location: session.surroundings.locate(&job.packages).location,
    };
    let exclude = larder::files::excludes([HIDDEN]).expect("the glob is sound");
    let mut request = SaveRequest::new(session.scope.clone(), artifacts.clone(), vec![source]);
    request.walk = WalkOptions { exclude: Some(exclude), ..WalkOptions::default() };
    // Packages of a commit may be deployed years later; those under a code hash are
    // a cache.
    request.lifetime = Lifetime::Pinned;
    let store = session.store_for_writing()?;
    let report = save(store.clone(), &request, session.context())?;
    if let Some(code) = &code {
        let request = CopyRequest {
            scope: session.scope.clone(),
            from: artifacts.clone(),
            to: cache(code),
            lifetime: Lifetime::ByPolicy,
        };
        copy(store.clone(), &request, session.context())?;
    }
    let mut objects = 0;
    if let Some(plain) = plain {
        let facts = Facts { commit: &commit, code: code.as_deref() };
        let second = code.as_deref().map(cache);
        objects =
            plain::put_all(session, &plain, &job.packages, &artifacts, second.as_ref(), &facts)?;
    }
    session.tell_lack(&store);
    let took = session.done();
    if session.json {
        output::json(&json!({
            "step": "upload",
            "skipped": false,
            "commit": commit,
            "code_hash": code,
            "files": report.files,
            "raw_bytes": report.raw_bytes,
            "uploaded_bytes": report.uploaded_bytes,
            "plain_objects_written": objects,
            "scope": session.scope,
            "seconds": took.as_secs_f64(),
        }));
    } else if !session.quiet {
        let files = things(report.files, "file");
        output::line(format_args!("stored {artifacts}: {files}, {}", bytes(report.raw_bytes)));
        let also = match objects {
            0 => String::new(),
            number => format!(", wrote {}", things(number, "plain object")),
        };
        let uploaded = bytes(report.uploaded_bytes);
        output::line(format_args!("uploaded {uploaded}{also}, {}", seconds(took)));
    }
    session.tell_requests(&store);
    Ok(Exit::Success)
}

/// What a check has left, if it did, and if it can be what it wrote: a hash.
fn left(job: &Job, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(job.packages.join(name)).ok()?;
    let text = text.trim();
    let is_hash = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_hash.then(|| text.to_owned())
}

/// Whether there is any file that is not hidden.
fn has_packages(directory: &Path) -> Result<bool, FileError> {
    let unreadable = |error| FileError::new("list", directory, error);
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if entry.file_name().as_encoded_bytes().starts_with(b".") {
            continue;
        }
        let is_directory = entry.file_type().map_err(unreadable)?.is_dir();
        if !is_directory || has_packages(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}
