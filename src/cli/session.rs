//! What all commands share: the store, the surroundings, progress, and stopping.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use larder::files;
use larder::ids::Scope;
use larder::mounts::Surroundings;
use larder::progress::Context;
use larder::records::Records;
use larder::store::{Metered, Patience, Requests, Store, StoreLocation};
use larder::tier::{Tier, TierLocation};

use super::args::{Global, LocalCache, Record};
use super::exit::{Exit, Failure};
use super::progress::Display;

/// One run of the program.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) scope: Scope,
    pub(super) json: bool,
    pub(super) quiet: bool,
    pub(super) verbose: bool,
    pub(super) surroundings: Surroundings,
    location: StoreLocation,
    cache_directory: Option<PathBuf>,
    display: Display,
    stop: Arc<AtomicBool>,
    began: Instant,
}

/// A store whose requests are counted.
pub(super) type CountedStore = Arc<Metered<Arc<dyn Store>>>;

impl Session {
    pub(super) fn open(global: Global) -> Result<Self, Failure> {
        files::raise_open_file_limit();
        let threads = global.threads.map_or(0, std::num::NonZero::get);
        // Fails only if the pool exists already, and nothing ran yet.
        let _ = rayon::ThreadPoolBuilder::new().num_threads(threads).build_global();
        let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
        let surroundings = Surroundings {
            working_directory: std::env::current_dir().map_err(Failure::NoWorkingDirectory)?,
            logical_directory: logical_directory(),
            home: home.clone(),
        };
        let cache_directory = cache_directory(home);
        let location = match &global.store {
            Some(text) => text.parse()?,
            None => {
                let caches = cache_directory.as_ref().ok_or(Failure::NoCacheDirectory)?;
                StoreLocation::directory(caches.join("store"))
            }
        };
        let stop = Arc::new(AtomicBool::new(false));
        stop_on_signals(&stop);
        Ok(Self {
            scope: global.scope,
            json: global.json,
            quiet: global.quiet,
            verbose: global.verbose,
            surroundings,
            location,
            cache_directory,
            display: Display::new(global.quiet),
            stop,
            began: Instant::now(),
        })
    }

    pub(super) fn store_for_writing(&self) -> Result<CountedStore, Failure> {
        let store = self.location.open_for_writing(&self.patience()).map_err(larder::error::Error::from)?;
        Ok(Arc::new(Metered::new(store)))
    }

    pub(super) fn store_for_reading(&self) -> Result<CountedStore, Failure> {
        let store = self.location.open_for_reading(&self.patience()).map_err(larder::error::Error::from)?;
        Ok(Arc::new(Metered::new(store)))
    }

    fn patience(&self) -> Patience {
        Patience { deadline: None, stop: Arc::clone(&self.stop) }
    }

    pub(super) fn context(&self) -> Context<'_> {
        Context { progress: &self.display, stop: &self.stop }
    }

    /// Where stat records lie, unless they are not wanted.
    pub(super) fn records(&self, record: &Record) -> Option<Records> {
        let caches = self.cache_directory.as_ref().filter(|_| !record.no_stat_record)?;
        Some(Records::new(caches.join("records")))
    }

    /// Where chunks are kept on this machine, if that is wanted. An empty text
    /// turns off what the environment says.
    pub(super) fn tier(&self, wanted: &LocalCache) -> Result<Option<Arc<Tier>>, Failure> {
        let Some(text) = wanted.local_cache.as_ref().filter(|text| !text.is_empty()) else {
            return Ok(None);
        };
        let location = TierLocation::parse(text, self.surroundings.home.as_deref())?;
        Ok(Some(Arc::new(Tier::new(location))))
    }

    /// Ends progress; what comes next is the result.
    pub(super) fn done(&self) -> Duration {
        self.display.clear();
        self.began.elapsed()
    }

    /// Tells about the store, if that is wanted.
    pub(super) fn tell_requests(&self, requests: &Requests) {
        if self.verbose {
            anstream::eprintln!(
                "requests: {} get, {} put, {} head, {} list, {} delete; {} read, {} written",
                requests.get,
                requests.put,
                requests.head,
                requests.list,
                requests.delete,
                super::output::bytes(requests.bytes_read),
                super::output::bytes(requests.bytes_written),
            );
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

fn cache_directory(home: Option<PathBuf>) -> Option<PathBuf> {
    let xdg = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let caches = xdg.filter(|path| path.is_absolute()).or_else(|| {
        let below = if cfg!(target_os = "macos") { "Library/Caches" } else { ".cache" };
        Some(home?.join(below))
    });
    Some(caches?.join("larder"))
}

/// The first Ctrl-C or SIGTERM asks the work to stop and clean up; the second
/// ends the process at once. Even then nothing is half there.
fn stop_on_signals(stop: &Arc<AtomicBool>) {
    use signal_hook::consts::{SIGINT, SIGTERM};
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]) else {
        return;
    };
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        for _ in signals.forever() {
            if stop.swap(true, Ordering::Relaxed) {
                std::process::exit(Exit::Interrupted as i32);
            }
        }
    });
}
