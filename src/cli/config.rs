//! `larder config`.

use std::borrow::Cow;
use std::num::NonZero;
use std::path::Path;

use larder::format::Lifetime;
use larder::relpath::display;
use serde_json::{Value, json};

use super::Prepared;
use super::args::Global;
use super::caches::{self, Named};
use super::exit::{Exit, Failure};
use super::output;
use super::session::{Session, surroundings};
use super::settings::{Origin, Settings, Sourced};
use crate::config::{Cache, Config, FILE_NAME};

/// A line of what is shown: its name, its value, and where that came from.
struct Shown {
    name: &'static str,
    value: String,
    origin: Origin,
}

impl Shown {
    fn new<T>(name: &'static str, it: &Sourced<T>, text: impl FnOnce(&T) -> String) -> Self {
        Self { name, value: text(&it.value), origin: it.origin }
    }
}

/// What counts is known without a store.
pub(super) fn prepare(global: Global) -> Result<Prepared, Failure> {
    let (config, settings) = Settings::of(&global, &surroundings()?)?;
    let session = Session::without_store(global)?;
    let work = move |session: &Session| run(session, config.as_ref(), &settings);
    Ok(Prepared { session, transfers: false, work: Box::new(work) })
}

fn run(session: &Session, config: Option<&Config>, settings: &Settings) -> Result<Exit, Failure> {
    let rows = rows(settings);
    let caches = config.map(|config| config.caches.iter().map(move |cache| (config, cache)));
    let mut failed = None;
    let mut shown = vec![];
    for (config, cache) in caches.into_iter().flatten() {
        // One whose key cannot be told now may be all right later.
        let named = Named::of(session, config, cache).map_err(|failure| {
            failed.get_or_insert(failure);
        });
        shown.push((cache, named.ok()));
    }
    let told: Vec<&Named<'_>> = shown.iter().filter_map(|(_, named)| named.as_ref()).collect();
    let failed = failed.or(caches::check(&told).err());
    let path = config.map(|config| config.path.as_path());
    if session.json {
        output::json(&as_json(path, &rows, &shown));
    } else {
        output::line(as_text(path, &rows, &shown).trim_end());
    }
    failed.map_or(Ok(Exit::Success), Err)
}

fn rows(settings: &Settings) -> [Shown; 9] {
    let Settings { store, scope, local_cache, threads, timeout, ignore_error, .. } = settings;
    let Settings { fallback_scopes, trusted_scopes, require_signature, .. } = settings;
    [
        Shown::new("store", store, ToString::to_string),
        Shown::new("scope", scope, ToString::to_string),
        Shown::new("fallback-scopes", fallback_scopes, |it| listed(it)),
        Shown::new("trusted-scopes", trusted_scopes, |it| listed(it)),
        Shown::new("local-cache", local_cache, |it| match it {
            Some(it) => format!("{}:{}", it.directory.display(), it.size),
            None => "none".to_owned(),
        }),
        Shown::new("threads", threads, |it| match it {
            Some(it) => it.to_string(),
            None => std::thread::available_parallelism().map_or(1, NonZero::get).to_string(),
        }),
        Shown::new("timeout", timeout, |it| match it {
            Some(it) => humantime::format_duration(*it).to_string(),
            None => "none".to_owned(),
        }),
        Shown::new("ignore-error", ignore_error, ToString::to_string),
        Shown::new("require-signature", require_signature, |it| listed(it)),
    ]
}

fn listed(values: &[impl ToString]) -> String {
    match values {
        [] => "none".to_owned(),
        values => values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    }
}

/// Where a value came from, in words.
fn source(origin: Origin, path: Option<&Path>) -> String {
    match origin {
        Origin::Flag(flag) => flag.to_owned(),
        Origin::Variable(variable) => variable.to_owned(),
        Origin::File(line) => {
            format!("{}:{line}", path.unwrap_or(Path::new(FILE_NAME)).display())
        }
        Origin::Default => "default".to_owned(),
    }
}

fn as_text(path: Option<&Path>, rows: &[Shown], caches: &[(&Cache, Option<Named<'_>>)]) -> String {
    let file = path.map_or("none".to_owned(), |path| path.display().to_string());
    let mut text = format!("configuration file: {file}\n\n");
    let values = rows.iter().map(|row| format!("{} = {}", row.name, row.value));
    let values: Vec<String> = values.collect();
    let width = values.iter().map(|value| value.chars().count()).max().unwrap_or(0);
    for (row, value) in rows.iter().zip(values) {
        text.push_str(&format!("{value:width$}  # {}\n", source(row.origin, path)));
    }
    for (cache, named) in caches {
        text.push_str(&format!("\n[cache.{}]\n", cache.name));
        match named {
            Some(named) => text.push_str(&of_cache(named)),
            None => text.push_str(&format!("key = {}  # cannot be told now\n", cache.key.value)),
        }
    }
    text
}

fn of_cache(named: &Named<'_>) -> String {
    let Named { cache, key, restore_keys, sources, .. } = named;
    let mut lines = vec![format!("key = {}", key.key)];
    if key.template != key.key.as_str() {
        lines[0].push_str(&format!("  # {}", key.template));
    }
    lines.extend(
        restore_keys.iter().map(|prefix| format!("restore-key = {}", display(prefix.as_bytes()))),
    );
    lines.extend(sources.iter().map(|source| format!("path = {}", shown(&source.location))));
    lines.extend(cache.exclude.iter().map(|glob| format!("exclude = {}", glob.value)));
    lines.extend(more(cache));
    lines.join("\n") + "\n"
}

fn shown(path: &Path) -> Cow<'_, str> {
    display(path.as_os_str().as_encoded_bytes())
}

/// The settings of a cache that are not at their defaults.
fn more(cache: &Cache) -> Vec<String> {
    let mut lines = vec![];
    match cache.lifetime {
        Lifetime::ByPolicy => {}
        Lifetime::For(ttl) => lines.push(format!("ttl = {}", humantime::format_duration(ttl))),
        Lifetime::Pinned => lines.push("pin = true".to_owned()),
    }
    lines.extend(cache.compression_level.map(|level| format!("compression-level = {level}")));
    for (name, is_set) in cache.flags() {
        if is_set {
            lines.push(format!("{name} = true"));
        }
    }
    lines
}

fn as_json(path: Option<&Path>, rows: &[Shown], caches: &[(&Cache, Option<Named<'_>>)]) -> Value {
    let settings = rows.iter().map(|row| {
        let (kind, place) = match row.origin {
            Origin::Flag(flag) => ("flag", json!(flag)),
            Origin::Variable(variable) => ("variable", json!(variable)),
            Origin::File(line) => ("file", json!(line)),
            Origin::Default => ("default", Value::Null),
        };
        let origin = json!({ "kind": kind, "place": place });
        json!({ "name": row.name, "value": row.value, "origin": origin })
    });
    let caches = caches.iter().map(|(cache, named)| {
        let mut object = json!({ "name": cache.name, "template": cache.key.value });
        if let Some(named) = named {
            let places = named.sources.iter().map(|source| source.location.to_string_lossy());
            object["key"] = json!(named.key.key);
            object["restore_keys"] = json!(named.restore_keys);
            object["paths"] = json!(places.collect::<Vec<_>>());
        }
        object["exclude"] =
            cache.exclude.iter().map(|glob| Value::from(glob.value.as_str())).collect();
        let (ttl, pin) = match cache.lifetime {
            Lifetime::ByPolicy => (None, false),
            Lifetime::For(ttl) => (Some(ttl.as_secs()), false),
            Lifetime::Pinned => (None, true),
        };
        object["ttl_seconds"] = json!(ttl);
        object["pin"] = json!(pin);
        object["compression_level"] = json!(cache.compression_level);
        for (name, is_set) in cache.flags() {
            object[name.replace('-', "_")] = json!(is_set);
        }
        object
    });
    json!({
        "file": path.map(|path| path.to_string_lossy()),
        "settings": settings.collect::<Vec<_>>(),
        "caches": caches.collect::<Vec<_>>(),
    })
}
