//! What can be said on a soak's command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Runs savers, restorers and flushers against one store, kills and pauses
/// them, and checks every restore byte for byte.
///
/// Without arguments: a short soak, of the server that LARDER_TEST_S3 names or
/// else of a directory.
#[derive(Clone, Debug, Parser)]
#[command(name = "soak")]
pub(crate) struct Options {
    /// How long processes come and go
    #[arg(long, default_value_t = 0.0)]
    pub(crate) minutes: f64,
    /// The same in seconds
    #[arg(long, default_value_t = 0.0)]
    pub(crate) seconds: f64,
    /// A directory for the store, which must be absent or empty, instead of a
    /// bucket
    #[arg(long, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,
    /// Start the tests' own S3 server, and stop it if all went well
    #[arg(long)]
    pub(crate) start_server: bool,
    /// Processes that save at any time
    #[arg(long, default_value_t = 4)]
    pub(crate) savers: u64,
    /// Processes that restore at any time
    #[arg(long, default_value_t = 3)]
    pub(crate) restorers: u64,
    /// Processes that flush at any time
    #[arg(long, default_value_t = 2)]
    pub(crate) flushers: u64,
    /// The grace period of all flushes in seconds [default: 4; 2 in a soak of
    /// less than a minute]
    #[arg(long)]
    grace: Option<u64>,
    /// Of a hundred processes, so many are killed
    #[arg(long, default_value_t = 15)]
    pub(crate) kill_percent: u64,
    /// Of a hundred processes, so many are paused for longer than the grace
    /// period; every fourth of them is killed soon after
    #[arg(long, default_value_t = 8)]
    pub(crate) pause_percent: u64,
    /// What random choices begin with [default: the time]
    #[arg(long, default_value_t = crate::sandbox::nanos_now())]
    pub(crate) seed: u64,
    /// Where a line for each process goes [default: a temporary file, which is
    /// kept if something is wrong]
    #[arg(long, value_name = "FILE")]
    pub(crate) log: Option<PathBuf>,
    /// Print the summary as one JSON object
    #[arg(long)]
    pub(crate) json: bool,
    /// Do this behind larder's back, to see that the soak notices
    #[arg(long, value_enum)]
    pub(crate) sabotage: Option<Sabotage>,

    // What `cargo test` passes on to all tests.
    #[arg(hide = true)]
    filters: Vec<String>,
    #[arg(long, hide = true)]
    list: bool,
    #[arg(long, hide = true)]
    ignored: bool,
    #[arg(long, hide = true)]
    exact: bool,
    #[arg(long, hide = true)]
    nocapture: bool,
    #[arg(long, hide = true)]
    include_ignored: bool,
    #[arg(short, long, hide = true)]
    quiet: bool,
    #[arg(long, hide = true)]
    skip: Vec<String>,
    #[arg(long, hide = true)]
    test_threads: Option<u64>,
}

/// What can be broken on purpose: each check must be seen to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Sabotage {
    /// Delete the packs of a cache that is in use
    Pack,
    /// Flip a byte in a pack of a cache that is in use
    Flip,
    /// Delete the manifest of a cache that no flush may remove
    Manifest,
    /// Put an old manifest back in place of a newer one
    Rollback,
    /// Expect other bytes than were saved
    Tree,
    /// Tell the ledger other ages than the flushes
    Ages,
    /// Leave a pack that nothing refers to after the last flush
    Orphan,
    /// Leave an object that is none of larder's
    Litter,
    /// Leave the state of a flush that has not finished
    State,
}

/// Shorter than this, a soak is a test among others.
const SHORT: f64 = 60.0;

impl Options {
    /// Whether there is nothing to do: `cargo test` only asks for names, or
    /// means other tests.
    pub(crate) fn is_not_meant(&self) -> bool {
        let is_meant = |filter: &String| "soak".contains(filter.as_str());
        let is_listed = !self.filters.is_empty() && !self.filters.iter().any(is_meant);
        self.list || self.ignored || is_listed || self.skip.iter().any(is_meant)
    }

    /// Whether it is a test among others, which says little if all is well.
    pub(crate) fn is_test(&self) -> bool {
        self.minutes + self.seconds == 0.0 && !self.json
    }

    /// How long processes come and go, in seconds.
    pub(crate) fn duration(&self) -> f64 {
        match self.minutes * 60.0 + self.seconds {
            0.0 => 8.0,
            given => given,
        }
    }

    /// The grace period in seconds.
    pub(crate) fn grace(&self) -> u64 {
        self.grace.unwrap_or(if self.duration() < SHORT { 2 } else { 4 })
    }
}
