//! `larder lookup`.

use std::time::Instant;

use larder::error::Error;
use larder::ids::Key;
use larder::repository::Repository;
use larder::restore::{Hit, newest_first};
use larder::store::Requests;
use serde_json::json;

use super::args;
use super::caches::{self, Wanted};
use super::colors::{GOOD, NOTABLE};
use super::exit::{Exit, Failure};
use super::explain;
use super::output::{self, RequestsJson};
use super::outputs::Outputs;
use super::session::Session;
use crate::explain::Explanation;
use crate::keys::Rendered;
use crate::outputs::{Command, Fact, Found};

pub(super) fn run(session: &Session, arguments: &args::Lookup) -> Result<Exit, Failure> {
    let wanted = match Wanted::of(session, arguments.find.key.as_ref(), &arguments.caches)? {
        Wanted::Keys(_) if !arguments.caches.is_empty() => return Err(Failure::KeyAndCaches),
        Wanted::Keys(keys) => {
            vec![(None, keys, session.restore_keys(&arguments.find.restore_keys)?)]
        }
        Wanted::Caches(caches) => caches
            .into_iter()
            .map(|named| {
                let more = &arguments.find.restore_keys;
                let restore_keys = [named.restore_keys.as_slice(), more].concat();
                (Some(named.cache.name.as_str()), vec![named.key], restore_keys)
            })
            .collect(),
    };
    let outputs = Outputs::new(Command::Lookup, &arguments.outputs);
    for (cache, keys, _) in &wanted {
        keys.first().into_iter().for_each(|key| outputs.expect(*cache, &key.key));
    }
    let looked = look_up(session, arguments, wanted, &outputs);
    Ok(caches::exit(outputs.end(session, looked)?))
}

/// A cache's name, if it has one, its keys, and prefixes.
type Sought<'a> = (Option<&'a str>, Vec<Rendered>, Vec<String>);

/// Looks all of them up. Gives whether one of them is a miss.
fn look_up(
    session: &Session,
    arguments: &args::Lookup,
    wanted: Vec<Sought<'_>>,
    outputs: &Outputs,
) -> Result<bool, Failure> {
    let store = session.store_for_reading()?;
    let repository = Repository::open(session.access(&store))?;
    let mut has_miss = false;
    let mut told = Requests::default();
    for (cache, keys, restore_keys) in wanted {
        let began = Instant::now();
        let found = match &repository {
            Some(repository) => find(repository, session, &keys, &restore_keys)?,
            None => None,
        };
        has_miss |= found.is_none();
        let hit = found.as_ref().map_or(Hit::Miss, |(hit, _)| *hit);
        let key = found.as_ref().map(|(_, key)| key.to_string());
        outputs.tell(cache, Fact::LookedUp(Found { kind: hit.into(), key }), began.elapsed());
        let (find, wanted) = (&arguments.find, keys.first());
        let why = explain::of_hit(session, find, hit, || Ok(repository.clone()), wanted);
        let asked = store.requests();
        let requests = match cache {
            Some(_) => RequestsJson::asked(asked.since(&told)),
            None => RequestsJson::of(&store),
        };
        told = asked;
        tell(session, cache, found, why.as_ref(), &requests);
    }
    Ok(has_miss)
}

fn tell(
    session: &Session,
    cache: Option<&str>,
    found: Option<(Hit, Key)>,
    why: Option<&Explanation>,
    requests: &RequestsJson,
) {
    session.done();
    let hit = found.as_ref().map_or(Hit::Miss, |(hit, _)| *hit);
    let key = found.map(|(_, key)| key);
    if session.json {
        let scope = &session.scope;
        let mut result = json!({ "hit": hit, "key": key, "scope": scope, "requests": requests });
        if let Some(cache) = cache {
            result["cache"] = cache.into();
        }
        if let Some(why) = why {
            result["explanation"] = json!(why);
        }
        output::json(&result);
    } else if !session.quiet {
        let text = match (hit, key) {
            (Hit::Exact, Some(key)) => format!("{GOOD}exact{GOOD:#} {key}"),
            (Hit::Prefix, Some(key)) => format!("{NOTABLE}prefix{NOTABLE:#} {key}"),
            _ => format!("{NOTABLE}miss{NOTABLE:#}"),
        };
        let why = why.map(explain::text).unwrap_or_default();
        session.tell(cache, &format!("{text}\n{why}"));
    }
}

/// As `restore` finds a key, but without fetching any manifest.
fn find(
    repository: &Repository,
    session: &Session,
    keys: &[Rendered],
    restore_keys: &[String],
) -> Result<Option<(Hit, Key)>, Error> {
    for Rendered { key, .. } in keys {
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
