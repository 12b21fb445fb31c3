//! The caches of larder.toml that a command is about: each by its own key and settings,
//! several at once.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use larder::error::Error;
use larder::files::WalkSource;
use larder::ids::Key;
use larder::progress::Context;
use larder::workers;

use super::args::KeyText;
use super::exit::{Exit, Failure};
use super::log::{self, Fields};
use super::session::Session;
use crate::config::{Cache, Config, ConfigError, Written};
use crate::keys::{Engine, KeyError, Rendered};

/// How many are worked on at once: enough that one is fetched while another is written,
/// few enough that their memory stays what a small runner has.
const AT_ONCE: usize = 4;

/// What a command is about.
#[derive(Debug)]
pub(super) enum Wanted<'a> {
    /// Keys that were given, the first of them the one to go by.
    Keys(Vec<Rendered>),
    /// Caches of the configuration file.
    Caches(Vec<Named<'a>>),
}

/// A cache of the configuration file, as it is now.
#[derive(Debug)]
pub(super) struct Named<'a> {
    pub(super) cache: &'a Cache,
    pub(super) key: Rendered,
    pub(super) restore_keys: Vec<String>,
    /// What it is relative to.
    pub(super) directory: &'a Path,
    /// Sorted, not overlapping.
    pub(super) sources: Vec<WalkSource>,
}

impl<'a> Wanted<'a> {
    /// The keys that were given; without one, the caches that the words name, or all.
    pub(super) fn of(
        session: &'a Session,
        key: Option<&KeyText>,
        words: &[impl AsRef<Path>],
    ) -> Result<Self, Failure> {
        let keys = session.keys(key)?;
        if !keys.is_empty() {
            return Ok(Self::Keys(keys));
        }
        let Some(config) = session.config() else { return Err(Failure::NoKey) };
        let names: Vec<String> =
            words.iter().map(|word| word.as_ref().to_string_lossy().into_owned()).collect();
        let caches = config.choose(&names)?;
        let named = caches.into_iter().map(|cache| Named::of(session, config, cache));
        let named = named.collect::<Result<Vec<_>, Failure>>()?;
        check(&named.iter().collect::<Vec<_>>())?;
        Ok(Self::Caches(named))
    }
}

impl<'a> Named<'a> {
    /// A cache, with what its templates give now.
    pub(super) fn of(
        session: &Session,
        config: &'a Config,
        cache: &'a Cache,
    ) -> Result<Self, Failure> {
        let engine = Engine::new(session.key_surroundings_in(&config.directory));
        let of_line = |setting, line| {
            move |error| match error {
                KeyError::Larder(error) => Failure::Larder(error),
                error => Failure::InConfig {
                    path: config.path.clone(),
                    line,
                    setting,
                    error: Box::new(error),
                },
            }
        };
        let texts = |setting, written: &[Written<String>]| {
            let texts = written.iter().map(|Written { value, line }| {
                engine.render_text(value).map_err(of_line(setting, *line))
            });
            texts.collect::<Result<Vec<String>, Failure>>()
        };
        let Written { value, line } = &cache.key;
        let paths = texts("paths", &cache.paths)?;
        if let Some((_, written)) = paths.iter().zip(&cache.paths).find(|(path, _)| path.is_empty())
        {
            // It would be all of the directory.
            let (path, template) = (config.path.clone(), written.value.clone());
            return Err(ConfigError::EmptyPath { path, line: written.line, template }.into());
        }
        let surroundings = session.surroundings.at(&config.directory);
        Ok(Self {
            cache,
            key: engine.render(value).map_err(of_line("key", *line))?,
            restore_keys: texts("restore-keys", &cache.restore_keys)?,
            directory: &config.directory,
            sources: surroundings.mounts(paths.iter().map(Path::new)),
        })
    }
}

/// That neither a key nor a place belongs to two caches.
pub(super) fn check(named: &[&Named<'_>]) -> Result<(), Failure> {
    check_keys(named)?;
    check_places(named, |source| source.location.clone())
}

/// That no key belongs to two caches: a save of one would replace the other.
fn check_keys(named: &[&Named<'_>]) -> Result<(), Failure> {
    let mut keys = BTreeMap::new();
    for Named { cache, key, .. } in named {
        if let Some(first) = keys.insert(&key.key, &cache.name) {
            let (first, second) = (first.clone(), cache.name.clone());
            return Err(ConfigError::SameKey { first, second, key: key.key.clone() }.into());
        }
    }
    Ok(())
}

/// That no place belongs to two caches: what one of them restores, the other would
/// replace.
pub(super) fn check_places(
    named: &[&Named<'_>],
    place: impl Fn(&WalkSource) -> PathBuf,
) -> Result<(), Failure> {
    let mut places: Vec<(PathBuf, &str, &WalkSource)> = vec![];
    for Named { cache, sources, .. } in named {
        let of_cache = sources.iter().map(|source| (real(&place(source)), &*cache.name, source));
        places.extend(of_cache);
    }
    places.sort_by(|(a, ..), (b, ..)| a.cmp(b));
    let mut outer: Option<&(PathBuf, &str, &WalkSource)> = None;
    for inner in &places {
        match outer {
            Some((place, first, _)) if inner.0.starts_with(place) => {
                if *first != inner.1 {
                    let (first, second) = ((*first).to_owned(), inner.1.to_owned());
                    let path = inner.2.location.clone();
                    return Err(ConfigError::SamePlace { first, second, path }.into());
                }
            }
            _ => outer = Some(inner),
        }
    }
    Ok(())
}

/// A place by its one name: with the symbolic links above it followed, as far as there is
/// anything. One that is the place itself is saved and restored as that.
fn real(place: &Path) -> PathBuf {
    let (Some(parent), Some(name)) = (place.parent(), place.file_name()) else {
        return place.to_owned();
    };
    for above in parent.ancestors() {
        if let (Ok(real), Ok(below)) = (above.canonicalize(), parent.strip_prefix(above)) {
            return real.join(below).join(name);
        }
    }
    place.to_owned()
}

/// Tells where a key is not there, and is the name of a cache, whose key may be meant.
pub(super) fn hint_of_name(session: &Session, key: &Key) {
    let Some(config) = session.config() else { return };
    let Some(cache) = config.caches.iter().find(|cache| cache.name == key.as_str()) else {
        return;
    };
    let now = match Named::of(session, config, cache) {
        Ok(named) => format!("now {}", named.key.key),
        Err(_) => "what `larder config` shows".to_owned(),
    };
    let text = format!(
        "hint: {key} is the name of a cache in {}, and its key is {now}",
        config.path.display()
    );
    log::info(None, text, &Fields::Note);
}

/// Works on all of them, some at once. What goes wrong with one stops no other; the
/// first that failed, in the order of the file, is how it ends.
pub(super) fn each<T: Send>(
    session: &Session,
    items: Vec<(&str, T)>,
    work: impl Fn(&str, T, Context<'_>) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    let failures = Mutex::new(vec![]);
    let numbered: Vec<_> = items.into_iter().enumerate().collect();
    workers::for_each(AT_ONCE, numbered, |(number, (name, item))| {
        let display = session.display().cache(name);
        let context = session.context_of(&display);
        let done = context.check().map_err(Failure::from).and_then(|()| work(name, item, context));
        // Its bar goes before what came of it is told.
        drop(display);
        let Err(failure) = done else { return };
        let failure = session.explain(failure);
        if is_ignored(session, &failure) && !is_stop(&failure) {
            session.display().suspend(|| failure.of_cache(name).report(session.json, true));
        } else {
            let mut failures = failures.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            failures.push((number, name.to_owned(), failure));
        }
    });
    let mut failures = failures.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    failures.sort_by_key(|(number, ..)| *number);
    // That all were stopped is one thing to tell.
    let stop = failures.iter().position(|(.., failure)| is_stop(failure));
    let stop = stop.map(|at| failures.remove(at).2);
    failures.retain(|(.., failure)| !is_stop(failure));
    let failures = failures.into_iter().map(|(_, name, failure)| failure.of_cache(&name));
    let mut failures: Vec<Failure> = stop.into_iter().chain(failures).collect();
    // What is ignored is not how it ends, if anything else failed.
    let last = failures.iter().position(|failure| !is_ignored(session, failure)).unwrap_or(0);
    let last = (!failures.is_empty()).then(|| failures.remove(last));
    session.display().clear();
    for failure in failures {
        failure.report(session.json, is_ignored(session, &failure));
    }
    last.map_or(Ok(()), Err)
}

fn is_ignored(session: &Session, failure: &Failure) -> bool {
    session.ignore_error && failure.is_ignorable()
}

/// Whether all work was stopped, not that of one cache.
fn is_stop(failure: &Failure) -> bool {
    matches!(failure, Failure::Larder(Error::Interrupted) | Failure::TimedOut(_))
}

/// How a restore or lookup of several ends.
pub(super) fn exit(is_miss: bool) -> Exit {
    if is_miss { Exit::Miss } else { Exit::Success }
}
