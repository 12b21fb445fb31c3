//! What counts for a run, of flags, variables and larder.toml, in this order; and where
//! each value came from.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use larder::ids::Scope;
use larder::mounts::Surroundings;
use larder::secrets::PublicKey;
use larder::store::StoreLocation;
use larder::tier::TierLocation;
use larder::trust::ScopePattern;

use super::args::Global;
use super::exit::Failure;
use super::session::cache_directory;
use crate::config::{self, Config, Written};

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    Flag(&'static str),
    Variable(&'static str),
    /// This line of the configuration file.
    File(usize),
    Default,
}

/// A value, and where it came from.
#[derive(Clone, Debug)]
pub(super) struct Sourced<T> {
    pub(super) value: T,
    pub(super) origin: Origin,
}

impl<T> Sourced<T> {
    fn new(value: T, origin: Origin) -> Self {
        Self { value, origin }
    }

    fn map<U>(self, change: impl FnOnce(T) -> U) -> Sourced<U> {
        Sourced { value: change(self.value), origin: self.origin }
    }
}

/// The settings of a run that can stand in larder.toml.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) store: Sourced<StoreLocation>,
    pub(super) scope: Sourced<Scope>,
    pub(super) fallback_scopes: Sourced<Vec<Scope>>,
    pub(super) trusted_scopes: Sourced<Vec<ScopePattern>>,
    /// `None`: chunks are not kept on this machine.
    pub(super) local_cache: Sourced<Option<TierLocation>>,
    /// `None`: one per core.
    pub(super) threads: Sourced<Option<NonZeroUsize>>,
    /// `None`: as long as it takes.
    pub(super) timeout: Sourced<Option<Duration>>,
    pub(super) ignore_error: Sourced<bool>,
    /// Empty: no signature is asked for.
    pub(super) require_signature: Sourced<Vec<PublicKey>>,
}

/// The variable of `--local-cache`.
pub(super) const LOCAL_CACHE: &str = "LARDER_LOCAL_CACHE";

/// The configuration file that counts, if there is one.
fn read_config(
    global: &Global,
    working_directory: &Path,
    home: Option<&Path>,
) -> Result<Option<Config>, Failure> {
    if global.no_config {
        return Ok(None);
    }
    let path = global.config.clone().or_else(|| config::find(working_directory));
    path.map(|path| Ok(Config::read(&path, working_directory, home)?)).transpose()
}

/// The scope of those who name none.
pub(super) fn default_scope() -> Scope {
    "default".parse().expect("the name follows the rules")
}

impl Settings {
    /// Those of a run, and the configuration file that they come from, if there is one.
    pub(super) fn of(
        global: &Global,
        around: &Surroundings,
    ) -> Result<(Option<Config>, Self), Failure> {
        let home = around.home.as_deref();
        let config = read_config(global, &around.working_directory, home)?;
        let settings = Self::resolve(global, config.as_ref(), home, cache_directory().as_deref())?;
        Ok((config, settings))
    }

    /// The same for a file that was read; `caches` is where this user's caches lie.
    fn resolve(
        global: &Global,
        config: Option<&Config>,
        home: Option<&Path>,
        caches: Option<&Path>,
    ) -> Result<Self, Failure> {
        let given = global.store.as_ref().map(|text| text.parse::<StoreLocation>()).transpose()?;
        let store = layer(global, "store", given, config.and_then(|file| file.store.as_ref()));
        let Sourced { value, origin } = store;
        let store = match (value, caches) {
            (Some(store), _) => store,
            (None, Some(caches)) => StoreLocation::directory(caches.join("store")),
            (None, None) => return Err(Failure::NoCacheDirectory),
        };
        let scope = config.and_then(|file| file.scope.as_ref());
        let fallbacks = config.and_then(|file| file.fallback_scopes.as_ref());
        let trusted = config.and_then(|file| file.trusted_scopes.as_ref());
        let threads = config.and_then(|file| file.threads.as_ref());
        let timeout = config.and_then(|file| file.timeout.as_ref());
        let signers = config.and_then(|file| file.require_signature.as_ref());
        let ignored = config.and_then(|file| file.ignore_error.as_ref());
        Ok(Self {
            store: Sourced { value: store, origin },
            scope: layer(global, "scope", global.scope.clone(), scope)
                .map(|scope| scope.unwrap_or_else(default_scope)),
            fallback_scopes: list(global, "fallback_scopes", &global.fallback_scopes, fallbacks),
            trusted_scopes: list(global, "trusted_scopes", &global.trusted_scopes, trusted),
            local_cache: local_cache(config, home)?,
            threads: layer(global, "threads", global.threads, threads),
            timeout: layer(global, "timeout", global.timeout, timeout),
            ignore_error: layer(global, "ignore_error", global.ignore_error, ignored)
                .map(|ignored| ignored.unwrap_or(false)),
            require_signature: list(
                global,
                "require_signature",
                &global.require_signature,
                signers,
            ),
        })
    }
}

/// What was given to this run, or else is written in the file.
fn layer<T: Clone>(
    global: &Global,
    id: &str,
    given: Option<T>,
    written: Option<&Written<T>>,
) -> Sourced<Option<T>> {
    match (given, written) {
        (Some(value), _) => Sourced::new(Some(value), global.origin(id)),
        (None, Some(written)) => {
            Sourced::new(Some(written.value.clone()), Origin::File(written.line))
        }
        (None, None) => Sourced::new(None, Origin::Default),
    }
}

/// The same of a list, of which one that is empty was not given.
fn list<T: Clone>(
    global: &Global,
    id: &str,
    given: &[T],
    written: Option<&Written<Vec<T>>>,
) -> Sourced<Vec<T>> {
    let given = (!given.is_empty()).then(|| given.to_vec());
    layer(global, id, given, written).map(Option::unwrap_or_default)
}

/// The same where only some commands have the flag.
fn local_cache(
    config: Option<&Config>,
    home: Option<&Path>,
) -> Result<Sourced<Option<TierLocation>>, Failure> {
    if let Some(text) = std::env::var(LOCAL_CACHE).ok().filter(|text| !text.is_empty()) {
        let location = TierLocation::parse(&text, home)?;
        return Ok(Sourced::new(Some(location), Origin::Variable(LOCAL_CACHE)));
    }
    Ok(match config.and_then(|file| file.local_cache.as_ref()) {
        Some(Written { value, line }) => Sourced::new(Some(value.clone()), Origin::File(*line)),
        None => Sourced::new(None, Origin::Default),
    })
}
