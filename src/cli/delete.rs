//! `larder delete`.

use larder::ids::Key;
use larder::repository::Repository;
use serde_json::json;

use super::exit::{Exit, Failure};
use super::output::{self, RequestsJson, things};
use super::session::Session;
use super::{args, caches};

pub(super) fn run(session: &Session, arguments: &args::Delete) -> Result<Exit, Failure> {
    let prefix = arguments.key.as_ref().map(Key::as_str);
    let prefix = prefix.or(arguments.prefix.as_deref()).unwrap_or_default();
    carry_out(session, prefix, arguments.key.as_ref())
}

/// Deletes the keys that begin with a prefix, or of them only this one, and tells
/// which they were.
pub(super) fn carry_out(
    session: &Session,
    prefix: &str,
    only: Option<&Key>,
) -> Result<Exit, Failure> {
    let store = session.store_for_reading()?;
    let mut deleted = vec![];
    if let Some(repository) = Repository::open(session.access(&store))? {
        deleted = repository.list_manifests(&session.scope, prefix)?;
        if let Some(key) = only {
            deleted.retain(|found| found.key == *key);
        }
        repository.delete_manifests(&deleted)?;
    }
    session.done();
    if session.json {
        let keys: Vec<_> = deleted.iter().map(|found| &found.key).collect();
        let requests = RequestsJson::of(&store);
        output::json(&json!({ "deleted": keys, "scope": session.scope, "requests": requests }));
    } else if !session.quiet {
        for found in &deleted {
            output::line(format_args!("deleted {}", found.key));
        }
        output::line(format_args!("{} deleted", things(deleted.len() as u64, "cache")));
        if let (Some(key), true) = (only, deleted.is_empty()) {
            caches::hint_of_name(session, key);
        }
    }
    Ok(Exit::Success)
}
