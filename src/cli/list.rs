//! `larder list`.

use larder::repository::{ListedManifest, Repository};
use larder::restore::newest_first;
use serde_json::json;

use super::args;
use super::exit::{Exit, Failure};
use super::output::{self, RequestsJson, age, unix};
use super::session::Session;

pub(super) fn run(session: &Session, arguments: &args::List) -> Result<Exit, Failure> {
    let store = session.store_for_reading()?;
    let mut listed = vec![];
    if let Some(repository) = Repository::open(session.access(&store))? {
        listed = if arguments.scopes.all_scopes {
            repository.list_all_manifests()?
        } else {
            repository.list_manifests(&session.scope, &arguments.prefix)?
        };
        listed.retain(|found| found.key.as_str().starts_with(&arguments.prefix));
    }
    let listed = newest_first(listed);
    session.done();
    if session.json {
        let caches = listed.iter().map(|found| {
            json!({ "scope": found.scope, "key": found.key, "last_used": unix(found.modified) })
        });
        let caches: Vec<_> = caches.collect();
        output::json(&json!({ "caches": caches, "requests": RequestsJson::of(&store) }));
    } else {
        for found in &listed {
            output::line(line(found, arguments.scopes.all_scopes));
        }
    }
    Ok(Exit::Success)
}

/// The key comes last: it has any length, and may hold spaces.
fn line(found: &ListedManifest, with_scope: bool) -> String {
    let age = age(found.modified);
    if with_scope {
        format!("{age:>15}  {}  {}", found.scope, found.key)
    } else {
        format!("{age:>15}  {}", found.key)
    }
}
