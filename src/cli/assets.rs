//! `larder assets check` and `larder assets upload`.

use std::path::PathBuf;

use larder::store::StoreLocation;
use serde_json::json;

use super::Prepared;
use super::args::{AssetsCommand, Global};
use super::exit::{Exit, Failure};
use super::output::{self, bytes, seconds, things};
use super::session::{CountedStore, Session, surroundings};
use crate::assets::{
    Assets, AssetsFailure, CheckReport, Found, Plain, Sources, Step, UploadReport, check, is_found,
    upload,
};
use crate::plugin::{AssetsSettings, Environment, read_assets};

/// The scope of those who name none.
const SCOPE: &str = "assets";

/// Reads what the arguments, and else the variables, say.
pub(super) fn prepare(global: Global, command: AssetsCommand) -> Result<Prepared, Failure> {
    let mut settings = read_assets(&Environment::of_process())?;
    let (step, given) = match command {
        AssetsCommand::Check(given) => {
            settings.repository = given.repository.unwrap_or(settings.repository);
            if let Some(filter) = given.filter {
                settings.filter = filter.split_whitespace().map(str::to_owned).collect();
            }
            (Step::Check, given.packages)
        }
        AssetsCommand::Upload(given) => (Step::Upload, given.packages),
    };
    settings.packages = given.packages.unwrap_or(settings.packages);
    let plain = if given.plain { Some(true) } else { settings.plain.or(Some(false)) };
    prepare_step(global, AssetsSettings { plain, ..settings }, step, false)
}

/// The same for the plugin, which has the variables only, and keeps plain objects
/// unless told otherwise: those who read them know nothing of larder.
pub(super) fn prepare_plugin(
    global: Global,
    environment: &Environment,
    step: Step,
    dry_run: bool,
) -> Result<Prepared, Failure> {
    prepare_step(global, read_assets(environment)?, step, dry_run)
}

/// Checks what there has to be, in the order of the asset manager.
fn prepare_step(
    mut global: Global,
    mut settings: AssetsSettings,
    step: Step,
    dry_run: bool,
) -> Result<Prepared, Failure> {
    // Both steps mean the same directory, whatever way it is written.
    settings.packages = surroundings()?.locate(&settings.packages).location;
    global.scope.get_or_insert_with(|| SCOPE.parse().expect("the name follows the rules"));
    if step == Step::Upload
        && let Some(prepared) = look_before_upload(&global, &settings)?
    {
        return Ok(prepared);
    }
    let sources = match step {
        Step::Check => Sources::new(&settings.filter).map_err(AssetsFailure::from)?,
        Step::Upload => None,
    };
    let has_role = settings.store.as_ref().is_some_and(|store| store.role.is_some());
    let session = match (&global.store, &settings.store) {
        (Some(_), _) => {
            let session = Session::open(global)?;
            if has_role {
                session.warn_that("AWS_ROLE has no effect beside --store: say role_arn there");
            }
            session
        }
        (None, Some(store)) => {
            Session::open_at(StoreLocation::S3(Box::new(store.clone())), global)?
        }
        (None, None) => return Err(AssetsFailure::NoBucket(step).into()),
    };
    let job = Job { settings, sources };
    let work: super::Work = match step {
        _ if dry_run => Box::new(move |session| Ok(tell_order(session, step, &job))),
        Step::Check => Box::new(move |session| run_check(session, &job)),
        Step::Upload => Box::new(move |session| run_upload(session, &job)),
    };
    Ok(Prepared { session, transfers: false, work })
}

/// What an upload can know without a store: that there is nothing to do, or
/// nothing to do it with.
fn look_before_upload(
    global: &Global,
    settings: &AssetsSettings,
) -> Result<Option<Prepared>, Failure> {
    if let Err(error) = std::fs::read_dir(&settings.packages) {
        let path = settings.packages.clone();
        return Err(AssetsFailure::NoPackageDirectory { step: Step::Upload, path, error }.into());
    }
    if !is_found(&settings.packages) {
        return Ok(None);
    }
    // No store is needed to do nothing.
    let nowhere = StoreLocation::directory(PathBuf::from("."));
    let session = Session::open_at(nowhere, global.clone())?;
    let work = Box::new(|session: &Session| Ok(tell_skipped(session)));
    Ok(Some(Prepared { session, transfers: false, work }))
}

/// What both steps go by.
struct Job {
    settings: AssetsSettings,
    sources: Option<Sources>,
}

impl Job {
    /// The packages, and where they are kept.
    fn assets<'a>(
        &'a self,
        session: &'a Session,
        store: &CountedStore,
    ) -> Result<Assets<'a>, Failure> {
        Ok(Assets {
            packages: &self.settings.packages,
            access: session.access(store),
            scope: &session.scope,
            trusted_scopes: &session.trusted_scopes,
            plain: self.plain(session)?,
            context: session.context(),
        })
    }

    /// Where plain objects go. Who did not ask for them has none where there is no
    /// bucket.
    fn plain(&self, session: &Session) -> Result<Option<Plain>, Failure> {
        if self.settings.plain == Some(false) {
            return Ok(None);
        }
        match session.bucket()? {
            // There, the store would find things that are none of its own.
            Some(_) if session.is_at_root() => Err(AssetsFailure::NoPrefix.into()),
            Some(bucket) => Ok(Some(Plain { bucket })),
            None if self.settings.plain == Some(true) => Err(AssetsFailure::NoPlain.into()),
            None => Ok(None),
        }
    }
}

fn run_check(session: &Session, job: &Job) -> Result<Exit, Failure> {
    let store = session.store_for_reading()?;
    let assets = job.assets(session, &store)?;
    let report = check(&assets, &job.settings.repository, job.sources.as_ref())?;
    if report.found == Found::Nothing && report.code_hash.is_none() && job.sources.is_some() {
        session.warn_that(format_args!(
            "no file in {} matches {}: the packages have no code hash",
            job.settings.repository.display(),
            job.settings.filter.join(" ")
        ));
    }
    report_check(session, &report);
    session.tell_requests(&store);
    Ok(Exit::Success)
}

fn report_check(session: &Session, report: &CheckReport) {
    let took = session.done();
    let CheckReport { commit, code_hash, found, plain_objects } = report;
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
            "plain_objects_written": plain_objects,
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
    let text = match found {
        Found::Commit => "packages of this commit are stored; nothing has to be built",
        Found::Code => "packages of the same sources are stored; nothing has to be built",
        Found::Nothing => "no packages are stored; they have to be built",
    };
    let also = wrote(*plain_objects);
    output::line(format_args!("{text}{also} ({})", seconds(took)));
}

fn run_upload(session: &Session, job: &Job) -> Result<Exit, Failure> {
    let store = session.store_for_writing()?;
    let assets = job.assets(session, &store)?;
    let report = upload(&assets)?;
    if let Some(why) = &report.not_cached {
        session.warn_that(format_args!(
            "the packages are not there for commits with the same sources: {why}"
        ));
    }
    session.tell_lack(&store);
    report_upload(session, &report);
    session.tell_requests(&store);
    Ok(Exit::Success)
}

fn report_upload(session: &Session, report: &UploadReport) {
    let took = session.done();
    let UploadReport { commit, code_hash, key, saved, plain_objects, .. } = report;
    if session.json {
        output::json(&json!({
            "step": "upload",
            "skipped": false,
            "commit": commit,
            "code_hash": code_hash,
            "files": saved.files,
            "raw_bytes": saved.raw_bytes,
            "uploaded_bytes": saved.uploaded_bytes,
            "plain_objects_written": plain_objects,
            "scope": session.scope,
            "seconds": took.as_secs_f64(),
        }));
    } else if !session.quiet {
        let files = things(saved.files, "file");
        output::line(format_args!("stored {key}: {files}, {}", bytes(saved.raw_bytes)));
        let (uploaded, also) = (bytes(saved.uploaded_bytes), wrote(*plain_objects));
        output::line(format_args!("uploaded {uploaded}{also}, {}", seconds(took)));
    }
}

fn wrote(objects: u64) -> String {
    match objects {
        0 => String::new(),
        number => format!(", wrote {}", things(number, "plain object")),
    }
}

fn tell_skipped(session: &Session) -> Exit {
    session.done();
    if session.json {
        output::json(&json!({ "step": "upload", "skipped": true, "scope": session.scope }));
    } else if !session.quiet {
        output::line("packages of this commit are stored already; nothing is uploaded");
    }
    Exit::Success
}

/// What a dry run of the plugin prints.
fn tell_order(session: &Session, step: Step, job: &Job) -> Exit {
    session.done();
    let AssetsSettings { repository, packages, filter, plain, .. } = &job.settings;
    let plain = if *plain == Some(false) { "" } else { ", and plain objects" };
    output::line(format_args!("system: assets\n{}", super::plugin::place(session)));
    output::line(format_args!("{} {}{plain}", step.name(), packages.display()));
    if step == Step::Check {
        output::line(format_args!("repository: {}", repository.display()));
        output::line(format_args!("filter: {}", filter.join(" ")));
    }
    Exit::Success
}
