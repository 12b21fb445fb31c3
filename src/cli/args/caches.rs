//! What can be said to `save`, `restore` and `lookup`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::super::outputs::CiOutputs;
use super::values::{KeyText, key_text, truth};
use crate::values::seconds;

/// The variable of `save --skip-unreadable`.
pub(crate) const SKIP_UNREADABLE: &str = "LARDER_SKIP_UNREADABLE";

#[derive(Debug, Args)]
pub(crate) struct Save {
    /// The key to save under, or a template of it; an older cache of that key is replaced
    /// [default: the name=… of --store]
    #[arg(long, value_parser = key_text)]
    pub(crate) key: Option<KeyText>,

    /// What to save: directories or files; without a key, caches of larder.toml [default: all]
    #[arg(value_name = "PATH|CACHE")]
    pub(crate) paths: Vec<PathBuf>,

    /// Leave out what matches, in gitignore syntax; may be given several times
    #[arg(long, value_name = "GLOB")]
    pub(crate) exclude: Vec<String>,

    /// zstd level for new chunks, 1 (fast) to 19 (small)
    /// [default: 2]
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(1..=19))]
    pub(crate) compression_level: Option<i32>,

    /// Do nothing if the key exists
    #[arg(long)]
    pub(crate) if_absent: bool,

    /// Read and compress, but change nothing
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Save the other paths when some do not exist
    #[arg(long)]
    pub(crate) allow_missing: bool,

    /// Leave out files that cannot be read, with a warning
    #[arg(long, env = SKIP_UNREADABLE, value_parser = truth())]
    pub(crate) skip_unreadable: bool,

    /// Upload everything anew, which mends a cache whose packs were damaged
    #[arg(long)]
    pub(crate) no_reuse: bool,

    /// Ask whether the packs are still there that the nearest caches rely on, and upload anew
    /// what is gone
    #[arg(long)]
    pub(crate) check_packs: bool,

    /// Record owners and groups
    #[arg(long)]
    pub(crate) owner: bool,

    /// Record extended attributes
    #[arg(long)]
    pub(crate) xattrs: bool,

    /// Let a flush remove the cache once it was not used for this long, such as 3d, whatever
    /// age the flush itself goes by
    #[arg(long, value_name = "DURATION", value_parser = seconds)]
    pub(crate) ttl: Option<Duration>,

    /// Let no flush remove the cache
    #[arg(long, conflicts_with = "ttl")]
    pub(crate) pin: bool,

    #[command(flatten)]
    pub(crate) local_cache: LocalCache,

    #[command(flatten)]
    pub(crate) record: Record,

    #[command(flatten)]
    pub(crate) outputs: Outputs,
}

#[derive(Debug, Args)]
pub(crate) struct LocalCache {
    /// Keep chunks in this directory for later restores on this machine, up to SIZE (such as
    /// 20GB or 512MiB) [default SIZE: 10GB]
    #[arg(long, env = "LARDER_LOCAL_CACHE", value_name = "DIR[:SIZE]")]
    pub(crate) local_cache: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Record {
    /// Neither use nor leave a record of file times, which tells the next run what changed
    #[arg(long)]
    pub(crate) no_stat_record: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Outputs {
    /// Where the CI system is told what came of it: auto, summary (that of the step alone) or never
    #[arg(
        long,
        env = "LARDER_CI_OUTPUTS",
        value_name = "WHERE",
        value_enum,
        default_value_t,
        hide_possible_values = true
    )]
    pub(crate) ci_outputs: CiOutputs,

    /// Add what came of it to this file, NAME=value a line, for GitLab's dotenv reports
    #[arg(long, env = "LARDER_DOTENV", value_name = "FILE")]
    pub(crate) dotenv: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    #[command(flatten)]
    pub(crate) find: Find,

    /// What to restore: saved paths or paths in them; without a key, caches of larder.toml
    /// [default: all]
    #[arg(value_name = "PATH|CACHE")]
    pub(crate) paths: Vec<PathBuf>,

    /// Restore below this directory instead of to the original places
    #[arg(long, value_name = "DIR")]
    pub(crate) to: Option<PathBuf>,

    /// Exit with 3 if nothing is found
    #[arg(long)]
    pub(crate) fail_on_miss: bool,

    /// Remove what the cache does not hold, inside what is restored
    #[arg(long)]
    pub(crate) delete_extra: bool,

    /// Restore owners and groups, where they were recorded
    #[arg(long)]
    pub(crate) owner: bool,

    /// Restore extended attributes, where they were recorded
    #[arg(long)]
    pub(crate) xattrs: bool,

    /// Restore set-user-ID, set-group-ID and sticky bits, and with --xattrs attributes that are
    /// the system's
    #[arg(long)]
    pub(crate) setuid: bool,

    #[command(flatten)]
    pub(crate) local_cache: LocalCache,

    #[command(flatten)]
    pub(crate) record: Record,

    #[command(flatten)]
    pub(crate) outputs: Outputs,
}

#[derive(Debug, Args)]
pub(crate) struct Find {
    /// The key to look for first, or a template of it [default: the name=… of --store]
    #[arg(long, value_parser = key_text)]
    pub(crate) key: Option<KeyText>,

    /// Then the newest key that begins with this, or what it gives; may be given several times
    #[arg(long = "restore-key", value_name = "PREFIX")]
    pub(crate) restore_keys: Vec<String>,

    /// If the key itself is not found, tell which keys are near, and what makes them others
    #[arg(long, env = "LARDER_EXPLAIN", value_parser = truth())]
    pub(crate) explain: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Lookup {
    #[command(flatten)]
    pub(crate) find: Find,

    /// Without a key: caches of larder.toml [default: all]
    #[arg(value_name = "CACHE")]
    pub(crate) caches: Vec<String>,

    #[command(flatten)]
    pub(crate) outputs: Outputs,
}
