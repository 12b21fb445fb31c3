//! Tells CI systems what came of a command, for the steps after it: gathers facts while
//! it runs, and puts them where the environment has a place for them.
//!
//! Nothing here fails a command: what cannot be written is a warning.

use std::ffi::OsStr;
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{self, Stdio};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use clap::ValueEnum;
use larder::ids::Key;
use larder::workers;
use ulid::Ulid;

use super::args;
use super::ci;
use super::exit::{Exit, Failure};
use super::log::{self, LogFormat};
use super::session::Session;
use crate::outputs::{
    Cache, Command, Done, Fact, azure, buildkite, circleci, dotenv, github, summary,
};

/// What `--ci-outputs` takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum CiOutputs {
    /// Wherever the environment has a place for it
    #[default]
    Auto,
    /// The summary of the step alone
    Summary,
    /// Nowhere
    Never,
}

/// What is gathered of one command.
#[derive(Debug)]
pub(super) struct Outputs {
    command: Command,
    wanted: CiOutputs,
    dotenv: Option<PathBuf>,
    began: Instant,
    caches: Mutex<Vec<Cache>>,
}

impl Outputs {
    pub(super) fn new(command: Command, arguments: &args::Outputs) -> Self {
        Self {
            command,
            wanted: arguments.ci_outputs,
            dotenv: arguments.dotenv.clone(),
            began: Instant::now(),
            caches: Mutex::default(),
        }
    }

    /// Says which cache the command is about. It counts as failed until more is known.
    pub(super) fn expect(&self, name: Option<&str>, key: &Key) {
        self.caches.lock().unwrap_or_else(PoisonError::into_inner).push(Cache {
            name: name.map(str::to_owned),
            key: key.to_string(),
            fact: None,
            took: Duration::ZERO,
        });
    }

    /// Says what came of a cache that was expected.
    pub(super) fn tell(&self, name: Option<&str>, fact: Fact, took: Duration) {
        let mut caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cache) = caches.iter_mut().find(|cache| cache.name.as_deref() == name) {
            (cache.fact, cache.took) = (Some(fact), took);
        }
    }

    /// Says that there is nothing to tell of a cache that was expected.
    pub(super) fn pass_over(&self, name: &str) {
        let mut caches = self.caches.lock().unwrap_or_else(PoisonError::into_inner);
        caches.retain(|cache| cache.name.as_deref() != Some(name));
    }

    /// Ends the gathering: writes all, however the command ended, unless the user has
    /// stopped it. Gives back how it ended.
    pub(super) fn end<T>(self, session: &Session, ended: Result<T, Failure>) -> Result<T, Failure> {
        let ended = ended.map_err(|failure| session.explain(failure));
        let is_stopped = matches!(&ended, Err(failure) if failure.exit() == Exit::Interrupted);
        let caches = self.caches.into_inner().unwrap_or_else(PoisonError::into_inner);
        if !is_stopped && !caches.is_empty() {
            let tells_scopes = !session.fallback_scopes.is_empty();
            let (command, took) = (self.command, self.began.elapsed());
            let done = Done { command, caches, tells_scopes, took };
            write(session, &done, self.wanted, self.dotenv.as_deref());
        }
        ended
    }
}

fn write(session: &Session, done: &Done, wanted: CiOutputs, dotenv_file: Option<&Path>) {
    let mut files: Vec<(PathBuf, String)> = vec![];
    if let Some(file) = dotenv_file {
        files.push((file.to_owned(), dotenv::text(done)));
    }
    if wanted != CiOutputs::Never {
        files.extend(place("GITHUB_STEP_SUMMARY").zip(summary::text(done)));
    }
    if wanted == CiOutputs::Auto {
        let delimiter = format!("larder-{}", Ulid::generate());
        files.extend(place("GITHUB_OUTPUT").map(|file| (file, github::text(done, &delimiter))));
        files.extend(place("DRONE_OUTPUT").map(|file| (file, dotenv::text(done))));
        let bash = place("BASH_ENV").filter(|_| is_set("CIRCLECI"));
        files.extend(bash.map(|file| (file, circleci::text(done))));
        if is_set("TF_BUILD") && log::format() == LogFormat::Text {
            // Its agent reads both streams, and stdout is for results.
            let text = azure::text(done);
            session.display().suspend(|| io::stderr().write_all(text.as_bytes())).ok();
        }
        if is_set("BUILDKITE") {
            set_meta_data(session, done);
        }
    }
    for (file, text) in &files {
        append(session, file, text);
    }
}

/// A file that the environment names.
fn place(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn is_set(variable: &str) -> bool {
    ci::is_set(|name| std::env::var(name).ok(), variable)
}

/// Adds lines to a file, and warns if that cannot be done.
pub(super) fn append(session: &Session, file: &Path, text: &str) {
    if let Err(error) = append_to(file, text) {
        session.warn_that(format_args!("cannot write to {}: {error}", file.display()));
    }
}

/// Adds lines to a file, by one write: others may be adding theirs.
fn append_to(file: &Path, text: &str) -> io::Result<()> {
    let begin = if ends_within_a_line(file) { "\n" } else { "" };
    let mut to = OpenOptions::new().append(true).create(true).open(file)?;
    to.write_all(format!("{begin}{text}").as_bytes())
}

/// Whether a file has a last line without its end. One that cannot be read has none.
fn ends_within_a_line(file: &Path) -> bool {
    let last = || -> io::Result<u8> {
        if !file.metadata()?.is_file() {
            return Ok(b'\n');
        }
        let mut from = File::open(file)?;
        from.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        from.read_exact(&mut last)?;
        Ok(last[0])
    };
    last().is_ok_and(|last| last != b'\n')
}

/// How long a command waits for Buildkite's agent in all: it usually takes a fraction of
/// a second, and nothing hangs on it.
const PATIENCE: Duration = Duration::from_secs(5);

/// Requests at once.
const AT_ONCE: usize = 4;

/// Sets the build's meta-data by the agent's program, where there is one. The first that
/// fails is told of.
fn set_meta_data(session: &Session, done: &Done) {
    let step = std::env::var("BUILDKITE_STEP_KEY").ok().filter(|step| !step.is_empty());
    let deadline = Instant::now() + PATIENCE;
    let failed: Mutex<Option<(String, String)>> = Mutex::default();
    let wanted = buildkite::meta_data(done, step.as_deref());
    let agent = OsStr::new("buildkite-agent");
    workers::for_each(AT_ONCE, wanted, |(key, value)| {
        let Err(error) = set_one(agent, &key, &value, deadline) else { return };
        failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert((key, error));
    });
    if let Some((key, error)) = failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        let text = format_args!("buildkite-agent cannot set the meta-data {key}: {error}");
        session.warn_that(text);
    }
}

/// Sets one value. That there is no such program is no failure: not every container has
/// the agent's.
fn set_one(agent: &OsStr, key: &str, value: &str, deadline: Instant) -> Result<(), String> {
    let told = tempfile::tempfile().and_then(|file| Ok((file.try_clone()?, file)));
    let (mut told, stderr) = told.map_err(|error| error.to_string())?;
    let spawned = process::Command::new(agent)
        .args(["meta-data", "set", key])
        // A value might look like a flag.
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(stderr)
        .spawn();
    let mut agent = match spawned {
        Ok(agent) => agent,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    // It is shorter than a pipe; that nobody reads it shows in how the agent ends.
    let _ = agent.stdin.take().map(|mut stdin| stdin.write_all(value.as_bytes()));
    loop {
        match agent.try_wait() {
            Ok(Some(status)) if status.success() => return Ok(()),
            Ok(Some(status)) => {
                let mut text = String::new();
                let _ = told.rewind().and_then(|()| told.read_to_string(&mut text));
                let last = text.lines().rev().find(|line| !line.trim().is_empty());
                return Err(last.map_or_else(|| status.to_string(), str::to_owned));
            }
            Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
            Ok(None) => {
                let _ = agent.kill().and_then(|()| agent.wait().map(drop));
                return Err(format!("no answer after {PATIENCE:?}"));
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_added_after_whole_lines() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("out");
        append_to(&file, "a=1\n").unwrap();
        append_to(&file, "b=2\n").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "a=1\nb=2\n");
        std::fs::write(&file, "mine=0").unwrap();
        append_to(&file, "a=1\n").unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine=0\na=1\n");
        assert!(append_to(&directory.path().join("none/out"), "a=1\n").is_err());
    }

    #[test]
    fn an_agent_that_hangs_is_not_waited_for() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let agent = directory.path().join("agent");
        let set = |script: &str| {
            std::fs::write(&agent, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&agent, std::fs::Permissions::from_mode(0o755)).unwrap();
            // One that has ended is seen to have, however late it is.
            let patience = if script.contains("sleep") { 0 } else { 60 };
            let deadline = Instant::now() + Duration::from_secs(patience);
            set_one(agent.as_os_str(), "k", "-v", deadline)
        };
        assert_eq!(set("exec sleep 100"), Err("no answer after 5s".into()));
        assert_eq!(set(r#"[ "$*" = "meta-data set k" ] && [ "$(cat)" = -v ]"#), Ok(()));
        assert_eq!(
            set("echo 'fatal: no token' >&2; echo >&2; exit 1"),
            Err("fatal: no token".into())
        );
        assert_eq!(set("exit 3"), Err("exit status: 3".into()));
        let absent = directory.path().join("absent");
        assert_eq!(set_one(absent.as_os_str(), "k", "v", Instant::now()), Ok(()));
    }
}
