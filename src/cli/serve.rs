//! `larder serve`.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use larder::objects::{Objects, Options};
use larder::progress::{Progress, Warning};
use larder::store::Patience;
use serde_json::json;
use zeroize::Zeroizing;

use super::args::{self, Global};
use super::exit::{Exit, Failure};
use super::log::{self, Fields};
use super::session::Session;
use super::{Prepared, output, progress};
use crate::serve::{self, Address, Caches, Keys, ServeFailure, Served, Settings, Watch};

const ACCESS_KEY: &str = "LARDER_SERVE_ACCESS_KEY";
const SECRET_KEY: &str = "LARDER_SERVE_SECRET_KEY";

/// A server has no time in which it is to be done: neither a flag nor a larder.toml that
/// is meant for saves ends it.
pub(super) fn prepare(global: Global, arguments: args::Serve) -> Result<Prepared, Failure> {
    share_arenas();
    let session = Session::open_lasting(global)?;
    let work = Box::new(move |session: &Session| run(session, arguments));
    Ok(Prepared { session, transfers: false, work })
}

/// Begins anew with fewer arenas of the C library's allocator. Each of the many threads
/// that wait for the store would have one of its own, and keep what was freed in it: more
/// than is in use (docs/benchmarks.md). That can only be said before the process begins.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn share_arenas() {
    use std::os::unix::process::CommandExt as _;
    const ARENAS: &str = "MALLOC_ARENA_MAX";
    if std::env::var_os(ARENAS).is_some() {
        return;
    }
    let Ok(program) = std::env::current_exe() else { return };
    let mut again = std::process::Command::new(program);
    // It takes the place of this one, or, if that cannot be, this one goes on.
    let _ = again.args(std::env::args_os().skip(1)).env(ARENAS, "2").exec();
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn share_arenas() {}

fn run(session: &Session, arguments: args::Serve) -> Result<Exit, Failure> {
    let settings = Settings {
        keys: keys(session, arguments.keys.as_deref())?,
        caches: Caches { http: arguments.http_cache, turborepo: arguments.turborepo },
        limits: (&arguments.limits).into(),
        listen: arguments.listen,
        admin: arguments.admin,
        buckets: arguments.buckets,
    };
    settings.check()?;
    // Not stopped by signals: what is under way then is to be finished, which takes
    // requests.
    let patience = Patience { deadline: None, stop: Arc::new(AtomicBool::new(false)) };
    let store = session.store_with(&patience)?;
    let teller = Arc::new(Teller::of(session));
    let defaults = Options::default();
    let options = Options {
        level: arguments.compression_level.unwrap_or(defaults.level),
        trusted_scopes: session.trusted_scopes.clone(),
        refresh_after: session.refresh_after(),
        ..defaults
    };
    let objects = Objects::open(session.access(&store), options, Arc::clone(&teller) as _)?;
    session.tell_lack(&store);
    // From now on there is no end to be seen.
    session.done();
    let watch: Arc<dyn Watch> = teller;
    serve::serve(settings, &objects, &store, &watch, session.stop())?;
    objects.close();
    session.tell_requests(&store);
    Ok(Exit::Success)
}

/// The keys of clients: of the environment, and of a file.
fn keys(session: &Session, file: Option<&Path>) -> Result<Keys, ServeFailure> {
    let mut keys = Keys::default();
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (variable(ACCESS_KEY), variable(SECRET_KEY).map(Zeroizing::new)) {
        (None, None) => {}
        (Some(access_key), Some(secret)) => {
            let place = format!("{ACCESS_KEY} and {SECRET_KEY}");
            let added = keys.add(&access_key, secret);
            added.map_err(|why| ServeFailure::Keys { place, why })?;
        }
        (Some(_), None) => {
            return Err(ServeFailure::HalfKey { given: ACCESS_KEY, missing: SECRET_KEY });
        }
        (None, Some(_)) => {
            return Err(ServeFailure::HalfKey { given: SECRET_KEY, missing: ACCESS_KEY });
        }
    }
    if let Some(path) = file {
        let unread = |error| ServeFailure::KeyFile { path: path.to_owned(), error };
        let text = Zeroizing::new(std::fs::read_to_string(path).map_err(unread)?);
        let mode = std::fs::metadata(path).map_err(unread)?.permissions().mode();
        if mode & 0o077 != 0 {
            session.warn_that(format_args!(
                "other users of this machine may read the keys in {}: chmod 600 it",
                path.display()
            ));
        }
        let place = path.display().to_string();
        keys.add_file(&text).map_err(|why| ServeFailure::Keys { place, why })?;
    }
    Ok(keys)
}

/// Tells what the server does: where it listens as the result, all else as messages.
struct Teller {
    json: bool,
    quiet: bool,
    verbose: bool,
}

impl Teller {
    fn of(session: &Session) -> Self {
        Self { json: session.json, quiet: session.quiet, verbose: session.verbose > 0 }
    }
}

impl Progress for Teller {
    fn warn(&self, warning: Warning) {
        if !self.quiet {
            log::warning(None, progress::describe(&warning), &warning);
        }
    }
}

impl Watch for Teller {
    fn listening(&self, on: &[&Address], admin: Option<&Address>) {
        if self.json {
            let on: Vec<String> = on.iter().map(ToString::to_string).collect();
            output::json(&json!({ "listening": on, "admin": admin.map(ToString::to_string) }));
        } else if !self.quiet {
            for address in on {
                output::line(format_args!("listening on {address}"));
            }
            if let Some(address) = admin {
                output::line(format_args!("/healthz and /metrics on {address}"));
            }
        }
    }

    fn served(&self, served: &Served) {
        if self.verbose {
            log::info(None, line(served), &Fields::Request { request: served });
        }
    }

    fn failed(&self, text: &str) {
        log::error(text, &Fields::Note);
    }
}

/// A request in one line.
fn line(served: &Served) -> String {
    format!(
        "{} {} {} {} in, {} out, {} ms, {}",
        served.status,
        served.method,
        served.path,
        served.received,
        served.sent,
        served.took.as_millis(),
        served.operation,
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_request_is_one_line() {
        let served = Served {
            method: "PUT".to_owned(),
            path: "/cache/blobs/sha256:0".to_owned(),
            operation: "PutObject",
            status: 200,
            received: 1024,
            sent: 0,
            took: Duration::from_millis(12),
        };
        assert_eq!(line(&served), "200 PUT /cache/blobs/sha256:0 1024 in, 0 out, 12 ms, PutObject");
        let json = serde_json::to_string(&served).unwrap();
        assert_eq!(
            json,
            r#"{"method":"PUT","path":"/cache/blobs/sha256:0","operation":"PutObject","status":200,"received_bytes":1024,"sent_bytes":0,"seconds":0.012}"#
        );
    }
}
