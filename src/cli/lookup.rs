//! `larder lookup`.

use larder::error::Error;
use larder::ids::Key;
use larder::repository::Repository;
use larder::restore::{Hit, newest_first};
use serde_json::json;

use super::args;
use super::colors::{GOOD, NOTABLE};
use super::exit::{Exit, Failure};
use super::output::{self, RequestsJson};
use super::session::Session;

pub(super) fn run(session: &Session, arguments: &args::Lookup) -> Result<Exit, Failure> {
    let keys = session.keys(arguments.find.key.as_ref())?;
    let store = session.store_for_reading()?;
    let repository = Repository::open(store.clone())?;
    let found = match &repository {
        Some(repository) => find(repository, session, &keys, &arguments.find.restore_keys)?,
        None => None,
    };
    session.done();
    let hit = found.as_ref().map_or(Hit::Miss, |(hit, _)| *hit);
    let key = found.map(|(_, key)| key);
    if session.json {
        let requests = RequestsJson::of(&store);
        output::json(
            &json!({ "hit": hit, "key": key, "scope": session.scope, "requests": requests }),
        );
    } else if !session.quiet {
        match (hit, key) {
            (Hit::Exact, Some(key)) => output::line(format_args!("{GOOD}exact{GOOD:#} {key}")),
            (Hit::Prefix, Some(key)) => {
                output::line(format_args!("{NOTABLE}prefix{NOTABLE:#} {key}"));
            }
            _ => output::line(format_args!("{NOTABLE}miss{NOTABLE:#}")),
        }
    }
    Ok(if hit == Hit::Miss { Exit::Miss } else { Exit::Success })
}

/// As `restore` finds a key, but without fetching any manifest.
fn find(
    repository: &Repository,
    session: &Session,
    keys: &[Key],
    restore_keys: &[String],
) -> Result<Option<(Hit, Key)>, Error> {
    for key in keys {
        if repository.has_manifest(&session.scope, key)? {
            return Ok(Some((Hit::Exact, key.clone())));
        }
    }
    for prefix in restore_keys {
        let listed = repository.list_manifests(&session.scope, prefix)?;
        if let Some(newest) = newest_first(listed).into_iter().next() {
            return Ok(Some((Hit::Prefix, newest.key)));
        }
    }
    Ok(None)
}
