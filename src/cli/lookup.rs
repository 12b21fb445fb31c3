//! `larder lookup`.

use std::time::Instant;

use larder::error::Error;
use larder::format::Manifest;
use larder::ids::{Key, Scope};
use larder::repository::{ListedManifest, Repository};
use larder::restore::{self, Hit, newest_first};
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
        let hit = found.as_ref().map_or(Hit::Miss, |found| found.hit);
        let fact = Found {
            kind: hit.into(),
            key: found.as_ref().map(|found| found.key.to_string()),
            scope: found.as_ref().map(|found| found.scope.to_string()),
        };
        outputs.tell(cache, Fact::LookedUp(fact), began.elapsed());
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
    found: Option<LookedUp>,
    why: Option<&Explanation>,
    requests: &RequestsJson,
) {
    session.done();
    let hit = found.as_ref().map_or(Hit::Miss, |found| found.hit);
    if session.json {
        let (key, matched) = found.map(|LookedUp { key, scope, .. }| (key, scope)).unzip();
        let mut result = json!({
            "hit": hit,
            "key": key,
            "scope": session.scope,
            "matched_scope": matched,
            "requests": requests,
        });
        if let Some(cache) = cache {
            result["cache"] = cache.into();
        }
        if let Some(why) = why {
            result["explanation"] = json!(why);
        }
        output::json(&result);
    } else if !session.quiet {
        let text = match &found {
            Some(LookedUp { hit, key, scope }) => {
                let (color, how) = match hit {
                    Hit::Exact => (GOOD, "exact"),
                    _ => (NOTABLE, "prefix"),
                };
                let is_own = *scope == session.scope;
                let place = if is_own { String::new() } else { format!(" of {scope}") };
                format!("{color}{how}{color:#} {key}{place}")
            }
            None => format!("{NOTABLE}miss{NOTABLE:#}"),
        };
        let why = why.map(explain::text).unwrap_or_default();
        session.tell(cache, &format!("{text}\n{why}"));
    }
}

/// A key that is there.
struct LookedUp {
    hit: Hit,
    key: Key,
    scope: Scope,
}

/// As `restore` finds a key, but without fetching any manifest, unless what is in it
/// decides whether it counts.
fn find(
    repository: &Repository,
    session: &Session,
    keys: &[Rendered],
    restore_keys: &[String],
) -> Result<Option<LookedUp>, Error> {
    let scopes = session.scopes();
    if repository.keys().demand_anything() {
        let keys: Vec<Key> = keys.iter().map(|rendered| rendered.key.clone()).collect();
        let found = restore::find(repository, &scopes, &keys, restore_keys, session.context())?;
        return Ok(found.map(|found| {
            let Manifest { key, scope, .. } = found.stored.manifest;
            LookedUp { hit: found.hit, key, scope }
        }));
    }
    for &scope in &scopes {
        for Rendered { key, .. } in keys {
            if repository.has_manifest(scope, key)? {
                let (key, scope) = (key.clone(), scope.clone());
                return Ok(Some(LookedUp { hit: Hit::Exact, key, scope }));
            }
        }
    }
    for prefix in restore_keys {
        for &scope in &scopes {
            let listed = repository.list_manifests(scope, prefix)?;
            if let Some(newest) = newest_first(listed).into_iter().next() {
                let ListedManifest { key, scope, .. } = newest;
                return Ok(Some(LookedUp { hit: Hit::Prefix, key, scope }));
            }
        }
    }
    Ok(None)
}
