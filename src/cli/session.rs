//! What all commands share: the store, the surroundings, progress, and stopping.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Builder;
use std::time::{Duration, Instant, SystemTime};

use larder::error::Error;
use larder::files;
use larder::ids::Scope;
use larder::mounts::Surroundings;
use larder::progress::{Context, Progress, Warning};
use larder::records::Records;
use larder::repository::{Access, REFRESH_AFTER};
use larder::restore::{Selection, scopes};
use larder::secrets::Keys;
use larder::store::{InvalidLocation, Metered, Patience, S3Config, S3Store, Store, StoreLocation};
use larder::tier::{Tier, TierLocation};
use larder::trust::TrustedScopes;

use super::args::{self, Global, KeyText, LocalCache, Record};
use super::exit::{Exit, Failure};
use super::log::{self, Fields};
use super::output::{self, RequestsJson};
use super::progress::Display;
use super::secrets;
use super::settings::{self, Origin, Settings};
use crate::config::Config;
use crate::keys::{self, Engine, Rendered};

/// One run of the program.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) scope: Scope,
    pub(super) fallback_scopes: Vec<Scope>,
    pub(super) trusted_scopes: TrustedScopes,
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) verbose: u8,
    pub(super) ignore_error: bool,
    pub(super) surroundings: Surroundings,
    keys: Arc<Keys>,
    /// The configuration file, for commands that go by one.
    config: Option<Config>,
    /// Whether the store is that of the file.
    has_store_of_file: bool,
    location: StoreLocation,
    cache_directory: Option<PathBuf>,
    display: Display,
    stop: Arc<AtomicBool>,
    /// How long the command may take, and whether that is over.
    timeout: Option<Duration>,
    timed_out: Arc<AtomicBool>,
    began: Instant,
    /// When the part of the work began that is going on.
    part_began: Mutex<Instant>,
}

/// How long after its time a command may still speak to the store: as long as one
/// that is interrupted.
const LAST_WORDS: Duration = Duration::from_secs(3);

/// A store whose requests are counted.
pub(super) type CountedStore = Arc<Metered<Arc<dyn Store>>>;

impl Session {
    /// The run that the flags, and else the configuration file, ask for.
    pub(super) fn open(global: Global) -> Result<Self, Failure> {
        Self::open_until(global, |timeout| timeout)
    }

    /// The same, of a command that goes on until it is stopped.
    pub(super) fn open_lasting(global: Global) -> Result<Self, Failure> {
        Self::open_until(global, |_| None)
    }

    fn open_until(
        mut global: Global,
        timeout: impl FnOnce(Option<Duration>) -> Option<Duration>,
    ) -> Result<Self, Failure> {
        let (config, settings) = Settings::of(&global, &surroundings()?)?;
        global.scope = Some(settings.scope.value);
        global.fallback_scopes = settings.fallback_scopes.value;
        global.trusted_scopes = settings.trusted_scopes.value;
        global.threads = settings.threads.value;
        global.timeout = timeout(settings.timeout.value);
        global.ignore_error = Some(settings.ignore_error.value);
        global.require_signature = settings.require_signature.value;
        let has_store_of_file = matches!(settings.store.origin, Origin::File(_));
        let session = Self::open_at(settings.store.value, global)?;
        Ok(Self { config, has_store_of_file, ..session })
    }

    /// The run that the flags ask for, if it has nothing to do with a store: then
    /// there need not be one.
    pub(super) fn without_store(global: Global) -> Result<Self, Failure> {
        let silent = Global { verbose: 0, ..global };
        Self::open_at(StoreLocation::directory(PathBuf::new()), silent)
    }

    /// The run that the flags ask for, but with this store.
    pub(super) fn open_at(location: StoreLocation, global: Global) -> Result<Self, Failure> {
        files::raise_open_file_limit();
        let threads = global.threads.map_or(0, std::num::NonZero::get);
        start_pool(threads)?;
        let surroundings = surroundings()?;
        let keys = Arc::new(secrets::keys(&global)?);
        let stop = Arc::new(AtomicBool::new(false));
        stop_on_signals(&stop)?;
        let timed_out = Arc::new(AtomicBool::new(false));
        if let Some(timeout) = global.timeout {
            stop_after(timeout, &stop, &timed_out)?;
        }
        let ignore_error = global.ignore_error.unwrap_or(false)
            || matches!(&location, StoreLocation::S3(config) if config.ignore_error);
        if global.verbose > 1 {
            // No secret is in it: they hide themselves.
            log::info(None, format_args!("store: {location:?}"), &Fields::Note);
        }
        let display = Display::new(global.quiet);
        if let StoreLocation::S3(config) = &location {
            for &word in &config.without_effect {
                display.warn(Warning::WithoutEffect { word });
            }
        }
        Ok(Self {
            scope: global.scope.unwrap_or_else(settings::default_scope),
            fallback_scopes: global.fallback_scopes,
            trusted_scopes: TrustedScopes::new(global.trusted_scopes),
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose,
            ignore_error,
            surroundings,
            keys,
            config: None,
            has_store_of_file: false,
            location,
            cache_directory: cache_directory(),
            display,
            stop,
            timeout: global.timeout,
            timed_out,
            began: Instant::now(),
            part_began: Mutex::new(Instant::now()),
        })
    }

    pub(super) fn store_for_writing(&self) -> Result<CountedStore, Failure> {
        self.store_with(&self.patience())
    }

    /// The store for writing, with another patience than this run's.
    pub(super) fn store_with(&self, patience: &Patience) -> Result<CountedStore, Failure> {
        let store = self.location.open_for_writing(patience).map_err(Error::from)?;
        Ok(Arc::new(Metered::new(store)))
    }

    pub(super) fn store_for_reading(&self) -> Result<CountedStore, Failure> {
        let store = self.location.open_for_reading(&self.patience()).map_err(Error::from)?;
        Ok(Arc::new(Metered::new(store)))
    }

    /// A store with the keys of this run.
    pub(super) fn access(&self, store: &CountedStore) -> Access {
        Access::new(Arc::clone(store) as Arc<dyn Store>, Arc::clone(&self.keys))
    }

    /// Has warnings told although it is quiet.
    pub(super) fn show_warnings(&mut self) {
        self.display.show_warnings();
    }

    /// Set when the user asks to stop.
    pub(super) fn stop(&self) -> &AtomicBool {
        &self.stop
    }

    /// How long the command may take.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// A part of a cache, as the user names it.
    pub(super) fn selection(&self, given: &Path) -> Selection {
        let source = self.surroundings.locate(given);
        Selection { anchor: source.anchor, path: source.path, given: given.to_owned() }
    }

    /// The scopes to look for a key in, in order.
    pub(super) fn scopes(&self) -> Vec<&Scope> {
        scopes(&self.scope, &self.fallback_scopes)
    }

    /// The store's location, without secrets.
    pub(super) fn location(&self) -> &StoreLocation {
        &self.location
    }

    /// Whether the store has a bucket for itself.
    pub(super) fn is_at_root(&self) -> bool {
        matches!(&self.location, StoreLocation::S3(config) if config.prefix.is_empty())
    }

    /// The bucket that the store lies in, all of it; `None` for other stores.
    pub(super) fn bucket(&self) -> Result<Option<S3Store>, Failure> {
        let StoreLocation::S3(config) = &self.location else { return Ok(None) };
        let config = S3Config { prefix: String::new(), ..S3Config::clone(config) };
        let bucket = S3Store::open(config, self.patience()).map_err(Error::from)?;
        Ok(Some(bucket))
    }

    fn patience(&self) -> Patience {
        // Later than the flag, which ends the work: what it has to put in order then
        // takes requests, too.
        let after = |timeout: Duration| timeout.checked_add(LAST_WORDS);
        // One that no clock reaches is none.
        let deadline = self.timeout.and_then(|timeout| self.began.checked_add(after(timeout)?));
        Patience { deadline, stop: Arc::clone(&self.stop) }
    }

    /// The configuration file, for commands that go by one.
    pub(super) fn config(&self) -> Option<&Config> {
        self.config.as_ref()
    }

    /// The keys that are meant: what was given, or the names in the store's
    /// location. None, if there is neither.
    pub(super) fn keys(&self, given: Option<&KeyText>) -> Result<Vec<Rendered>, Failure> {
        if let Some(KeyText(text)) = given {
            let engine = Engine::new(self.key_surroundings());
            return Ok(vec![match text.parse() {
                Ok(key) if !keys::is_template(text) => Rendered::literal(key),
                _ => engine.render(text)?,
            }]);
        }
        let names = match &self.location {
            // A file's caches have keys of their own.
            StoreLocation::S3(config) if !self.has_store_of_file => config.names.as_slice(),
            _ => &[],
        };
        let keys = names.iter().map(|name| match name.parse() {
            Ok(key) => Ok(Rendered::literal(key)),
            Err(_) => Err(Failure::from(InvalidLocation::value("name", name))),
        });
        keys.collect()
    }

    /// What keys may begin with instead, as given.
    pub(super) fn restore_keys(&self, given: &[String]) -> Result<Vec<String>, Failure> {
        let engine = Engine::new(self.key_surroundings());
        let rendered = given.iter().map(|text| match keys::is_template(text) {
            true => Ok(engine.render_text(text)?),
            false => Ok(text.clone()),
        });
        rendered.collect()
    }

    /// Being stopped by the clock is not being stopped by the user.
    pub(super) fn explain(&self, failure: Failure) -> Failure {
        use larder::error::Error;
        match (failure, self.timeout) {
            (Failure::Larder(Error::Interrupted | Error::Store(_)), Some(timeout))
                if self.timed_out.load(Ordering::Relaxed) =>
            {
                Failure::TimedOut(timeout)
            }
            // A request that was cut off for it.
            (Failure::Larder(Error::Store(_)), _) if self.stop.load(Ordering::Relaxed) => {
                Error::Interrupted.into()
            }
            (failure, _) => failure,
        }
    }

    /// What key templates can speak of, in the working directory.
    pub(super) fn key_surroundings(&self) -> keys::Surroundings {
        self.key_surroundings_in(&self.surroundings.working_directory)
    }

    /// What key templates can speak of, in a directory.
    pub(super) fn key_surroundings_in(&self, directory: &Path) -> keys::Surroundings {
        keys::Surroundings {
            directory: directory.to_owned(),
            variables: std::env::vars_os().collect(),
            now: SystemTime::now(),
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            stop: Arc::clone(&self.stop),
        }
    }

    pub(super) fn context(&self) -> Context<'_> {
        Context { progress: &self.display, stop: &self.stop }
    }

    /// Where progress is shown.
    pub(super) fn display(&self) -> &Display {
        &self.display
    }

    /// The same as [`Session::context`], with another who watches.
    pub(super) fn context_of<'a>(&'a self, progress: &'a dyn Progress) -> Context<'a> {
        Context { progress, stop: &self.stop }
    }

    /// Where stat records lie, unless they are not wanted.
    pub(super) fn records(&self, record: &Record) -> Option<Records> {
        let caches = self.cache_directory.as_ref().filter(|_| !record.no_stat_record)?;
        Some(Records::new(caches.join("records")))
    }

    /// Where chunks are kept on this machine, if that is wanted. An empty text
    /// turns off what the environment says.
    pub(super) fn tier(&self, wanted: &LocalCache) -> Result<Option<Arc<Tier>>, Failure> {
        let location = match &wanted.local_cache {
            Some(text) if text.is_empty() => None,
            Some(text) => Some(TierLocation::parse(text, self.surroundings.home.as_deref())?),
            None => {
                let written = self.config.as_ref().and_then(|file| file.local_cache.as_ref());
                written.map(|written| written.value.clone())
            }
        };
        Ok(location.map(|location| Arc::new(Tier::new(location))))
    }

    /// The same, for those who have no flag for it.
    pub(super) fn tier_by_environment(&self) -> Result<Option<Arc<Tier>>, Failure> {
        let local_cache = std::env::var(settings::LOCAL_CACHE).ok();
        self.tier(&LocalCache { local_cache })
    }

    /// What `save --skip-unreadable` would be, for those who have no flag for it.
    pub(super) fn skips_unreadable(&self) -> bool {
        let text = std::env::var(args::SKIP_UNREADABLE).unwrap_or_default();
        crate::plugin::boolean(&text).unwrap_or(false)
    }

    /// How long ago a cache that is used may have been used last before its
    /// manifest is put again.
    pub(super) fn refresh_after(&self) -> Duration {
        match &self.location {
            StoreLocation::S3(config) => config.touch_refresh.unwrap_or(REFRESH_AFTER),
            _ => REFRESH_AFTER,
        }
    }

    /// Says so when a store turned out to have no conditional writes, unless
    /// the user knows.
    pub(super) fn tell_lack(&self, store: &CountedStore) {
        let known = matches!(&self.location,
            StoreLocation::S3(config) if config.conditional_writes == Some(false));
        if !known && !store.has_conditional_writes() {
            self.display.warn(Warning::NoConditionalWrites);
        }
    }

    /// Ends progress; what comes next is the result. Gives how long the work took,
    /// or, if there is more of it, this part.
    pub(super) fn done(&self) -> Duration {
        self.display.clear();
        let mut began = self.part_began.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *began, Instant::now()).elapsed()
    }

    /// Prints lines of a result; of several caches, with the name of the one.
    pub(super) fn tell(&self, cache: Option<&str>, text: &str) {
        let mut lines = vec![];
        for line in text.lines() {
            lines.push(cache.map_or(line.to_owned(), |name| format!("{name}: {line}")));
        }
        // At once: others tell of theirs meanwhile.
        self.display.suspend(|| output::line(lines.join("\n")));
    }

    /// Tells of something that stops nothing.
    pub(super) fn warn(&self, warning: Warning) {
        self.display.warn(warning);
    }

    /// The same, where only a front end can tell.
    pub(super) fn warn_that(&self, text: impl std::fmt::Display) {
        self.display.warn_that(text);
    }

    /// Tells about the store, if that is wanted.
    pub(super) fn tell_requests(&self, store: &CountedStore) {
        if self.verbose > 0 {
            let fields = Fields::Requests { requests: RequestsJson::of(store) };
            self.display.suspend(|| log::info(None, output::requests(store), &fields));
        }
    }
}

/// `$PWD`, if it names the working directory.
fn logical_directory() -> Option<PathBuf> {
    let logical = PathBuf::from(std::env::var_os("PWD")?);
    let real = std::env::current_dir().ok()?;
    let same = logical.is_absolute() && logical != real && logical.canonicalize().ok()? == real;
    same.then_some(logical)
}

/// The directories that paths are told relative to.
pub(super) fn surroundings() -> Result<Surroundings, Failure> {
    Ok(Surroundings {
        working_directory: std::env::current_dir().map_err(Failure::NoWorkingDirectory)?,
        logical_directory: logical_directory(),
        home: home(),
    })
}

fn home() -> Option<PathBuf> {
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty())
}

/// Where larder keeps what is this user's.
pub(super) fn cache_directory() -> Option<PathBuf> {
    let xdg = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let caches = xdg.filter(|path| path.is_absolute()).or_else(|| {
        let below = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
        Some(home()?.join(below))
    });
    Some(caches?.join("larder"))
}

/// Starts the threads that read, hash, compress and write.
fn start_pool(threads: usize) -> Result<(), Error> {
    let Err(error) = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global() else {
        return Ok(());
    };
    let cause = std::error::Error::source(&error).and_then(|cause| cause.downcast_ref());
    match cause.map(std::io::Error::raw_os_error) {
        Some(number) => {
            Err(Error::NoThread(std::io::Error::from_raw_os_error(number.unwrap_or(0))))
        }
        // That the pool exists already is no failure.
        None => Ok(()),
    }
}

/// Asks the work to stop and clean up when its time is over.
fn stop_after(
    timeout: Duration,
    stop: &Arc<AtomicBool>,
    timed_out: &Arc<AtomicBool>,
) -> Result<(), Error> {
    let (stop, timed_out) = (Arc::clone(stop), Arc::clone(timed_out));
    let watch = move || {
        std::thread::sleep(timeout);
        timed_out.store(true, Ordering::Relaxed);
        stop.store(true, Ordering::Relaxed);
    };
    Builder::new().spawn(watch).map(drop).map_err(Error::NoThread)
}

/// The first Ctrl-C or SIGTERM asks the work to stop and clean up; the second
/// ends the process at once. Even then nothing is half there.
fn stop_on_signals(stop: &Arc<AtomicBool>) -> Result<(), Error> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]) else {
        return Ok(());
    };
    let stop = Arc::clone(stop);
    let watch = move || {
        for _ in signals.forever() {
            if stop.swap(true, Ordering::Relaxed) {
                std::process::exit(Exit::Interrupted as i32);
            }
        }
    };
    Builder::new().spawn(watch).map(drop).map_err(Error::NoThread)
}
