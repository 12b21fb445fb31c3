//! `larder delete`.

use larder::repository::Repository;
use serde_json::json;

use super::args;
use super::exit::{Exit, Failure};
use super::output::{self, RequestsJson, things};
use super::session::Session;

pub(super) fn run(session: &Session, arguments: &args::Delete) -> Result<Exit, Failure> {
    let store = session.store_for_reading()?;
    let mut deleted = vec![];
    if let Some(repository) = Repository::open(store.clone())? {
        let prefix = arguments.key.as_ref().map(larder::ids::Key::as_str);
        let prefix = prefix.or(arguments.prefix.as_deref()).unwrap_or_default();
        deleted = repository.list_manifests(&session.scope, prefix)?;
        if let Some(key) = &arguments.key {
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
    }
    Ok(Exit::Success)
}
