//! What can be said to commands about a store and what it holds.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use globset::GlobMatcher;
use larder::ids::Key;

use super::values::{KeyAge, glob, key_age, size};
use crate::values::seconds;

#[derive(Debug, Args)]
pub(crate) struct AllScopes {
    /// In all scopes, not only in --scope
    #[arg(long)]
    pub(crate) all_scopes: bool,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only keys that begin with this
    #[arg(default_value = "")]
    pub(crate) prefix: String,

    #[command(flatten)]
    pub(crate) scopes: AllScopes,
}

#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The key
    pub(crate) key: Key,

    /// List every entry
    #[arg(long)]
    pub(crate) files: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The key to begin from
    #[arg(value_name = "KEY1")]
    pub(crate) first: Key,

    /// The key to compare with it
    #[arg(value_name = "KEY2")]
    pub(crate) second: Key,

    /// Print only totals: files, bytes, and the chunks that KEY2 needs beyond those of KEY1
    #[arg(long)]
    pub(crate) stat: bool,

    /// Read packs to decide what manifests leave open: then there is no `?`
    #[arg(long)]
    pub(crate) read_data: bool,

    /// Modification times count, too
    #[arg(long)]
    pub(crate) times: bool,

    /// Exit with 1 if the keys differ, or may differ
    #[arg(long)]
    pub(crate) exit_code: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Du {
    /// The key
    pub(crate) key: Key,

    /// What is counted together
    #[arg(long, value_enum, value_name = "WHAT", default_value = "directory")]
    pub(crate) by: By,

    /// Directories so far below the saved paths, and no further
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub(crate) depth: usize,

    /// Print the N largest; 0 means all
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) top: usize,
}

/// What `du` counts together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum By {
    /// Directories, each with all below it
    Directory,
    /// Each file for itself
    File,
    /// Files with equal extensions
    Extension,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Delete {
    /// The key
    pub(crate) key: Option<Key>,

    /// All keys that begin with this
    #[arg(long)]
    pub(crate) prefix: Option<String>,
}

/// Which caches a flush keeps, and for how long.
#[derive(Debug, Args)]
pub(crate) struct Policy {
    /// Remove caches that were not used for this long
    #[arg(long, value_name = "DURATION", default_value = "14d", value_parser = seconds,
          allow_hyphen_values = true)]
    pub(crate) age: Duration,

    /// Another age for keys that match, such as 'pr-*=3d'; the first pattern that matches counts
    #[arg(long, value_name = "PATTERN=AGE", value_parser = key_age)]
    pub(crate) key_age: Vec<KeyAge>,

    /// Never remove caches whose keys match
    #[arg(long, value_name = "PATTERN", value_parser = glob)]
    pub(crate) pin: Vec<GlobMatcher>,

    /// Keep the N caches of each scope that were used last, whatever their age
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_last: usize,

    /// Then remove the caches that were used longest ago until what is in use has no more than
    /// this, such as 500GB
    #[arg(long, value_name = "SIZE", value_parser = size, allow_hyphen_values = true)]
    pub(crate) max_size: Option<u64>,

    /// How long what nothing uses is kept, and kept again before it is deleted: longer than any
    /// save or restore takes
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = seconds,
          allow_hyphen_values = true)]
    pub(crate) grace: Duration,
}

#[derive(Debug, Args)]
pub(crate) struct Flush {
    #[command(flatten)]
    pub(crate) policy: Policy,

    /// The longest that a save or restore of this store takes; --grace may not be shorter
    #[arg(long, value_name = "DURATION", default_value = "6h", value_parser = seconds,
          allow_hyphen_values = true)]
    pub(crate) longest_save: Duration,

    /// Move what is in use out of packs that are mostly not, so that their space can be freed
    #[arg(long)]
    pub(crate) repack: bool,

    /// Tell what would be done, and change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Begin although another flush began lately and has not finished: it was killed
    #[arg(long)]
    pub(crate) take_over: bool,

    /// Go on although the store has no conditional writes: no other flush runs meanwhile
    #[arg(long)]
    pub(crate) unfenced: bool,

    #[command(flatten)]
    pub(crate) scopes: AllScopes,
}

#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The keys to check [default: all]
    pub(crate) keys: Vec<Key>,

    /// Read every byte and check it against its hash
    #[arg(long)]
    pub(crate) read_data: bool,

    /// Remove caches that cannot be restored, so that the next saves bring them back, and make
    /// the index anew from the packs; in all scopes
    #[arg(long, conflicts_with = "keys")]
    pub(crate) repair: bool,

    /// With --repair: begin although a flush began lately and has not finished
    #[arg(long, requires = "repair")]
    pub(crate) take_over: bool,

    /// With --repair: go on although the store has no conditional writes; no flush runs meanwhile
    #[arg(long, requires = "repair")]
    pub(crate) unfenced: bool,

    #[command(flatten)]
    pub(crate) scopes: AllScopes,
}

#[derive(Debug, Args)]
pub(crate) struct Stats {
    #[command(flatten)]
    pub(crate) scopes: AllScopes,
}

#[derive(Debug, Args)]
pub(crate) struct Report {
    /// Where to write the page; a file that is there is replaced
    #[arg(long, value_name = "FILE")]
    pub(crate) html: PathBuf,

    /// Draw what the N largest caches hold
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    pub(crate) top: usize,

    /// Lines that restores and saves printed with --json, for hit rates; may be given several
    /// times, and - means stdin
    #[arg(long, value_name = "RUNS")]
    pub(crate) runs: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) policy: Policy,

    #[command(flatten)]
    pub(crate) scopes: AllScopes,
}
