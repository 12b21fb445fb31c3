//! What can be said to `serve`.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use larder::objects::Bucket;

use super::values::size;
use crate::serve::{Address, Limits};
use crate::values::duration;

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Where to listen: an address with a port (0 takes a free one), or unix:PATH; may be given
    /// several times
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9440")]
    pub(crate) listen: Vec<Address>,

    /// A bucket; with this, there are no others; may be given several times [default: every name
    /// is a bucket]
    #[arg(long = "bucket", value_name = "NAME")]
    pub(crate) buckets: Vec<Bucket>,

    /// A file with the keys of clients [default: the one in LARDER_SERVE_ACCESS_KEY and
    /// LARDER_SERVE_SECRET_KEY; with none, everybody on this machine may do everything]
    #[arg(long, env = "LARDER_SERVE_KEYS", value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,

    /// Be a cache for whatever GETs and PUTs by path, too, as Bazel, Gradle and ccache do: at
    /// /-/cache/NAME/
    #[arg(long)]
    pub(crate) http_cache: bool,

    /// Be a remote cache of Turborepo, too: TURBO_API is /-/turbo
    #[arg(long)]
    pub(crate) turborepo: bool,

    /// Where /healthz and /metrics are [default: at --listen]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) admin: Option<Address>,

    /// zstd level for new chunks, 1 (fast) to 19 (small)
    /// [default: 2]
    #[arg(long, value_name = "LEVEL", value_parser = clap::value_parser!(i32).range(1..=19))]
    pub(crate) compression_level: Option<i32>,

    #[command(flatten)]
    pub(crate) limits: ServeLimits,
}

/// What the server takes on.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct ServeLimits {
    /// The largest object that is put whole, and the largest part of others
    #[arg(long, value_name = "SIZE", default_value = "5GiB", value_parser = size)]
    pub(crate) max_body: u64,

    /// The most that all headers of a request may have
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = size)]
    pub(crate) max_header: u64,

    /// The most headers that a request may have
    #[arg(long, value_name = "N", default_value = "100")]
    pub(crate) max_headers: NonZeroUsize,

    /// How long headers may take, and a connection be idle before them
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub(crate) header_timeout: Duration,

    /// How long a client may neither send a byte of a body nor take one of an answer
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    pub(crate) body_timeout: Duration,

    /// How long a request may take in all [default: as long as it takes]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) request_timeout: Option<Duration>,

    /// The most connections at one time; others wait
    #[arg(long, value_name = "N", default_value = "512")]
    pub(crate) max_connections: NonZeroUsize,

    /// The most memory for bodies under way; others wait
    #[arg(long, value_name = "SIZE", default_value = "128MiB", value_parser = size)]
    pub(crate) transfer_memory: u64,

    /// How long requests may go on after SIGTERM or Ctrl-C
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = duration)]
    pub(crate) shutdown_timeout: Duration,
}

impl From<&ServeLimits> for Limits {
    fn from(given: &ServeLimits) -> Self {
        Self {
            max_body: given.max_body,
            max_header: usize::try_from(given.max_header).unwrap_or(usize::MAX),
            max_headers: given.max_headers.get(),
            header_timeout: given.header_timeout,
            body_timeout: given.body_timeout,
            request_timeout: given.request_timeout,
            max_connections: given.max_connections.get(),
            transfer_memory: given.transfer_memory,
            shutdown_timeout: given.shutdown_timeout,
        }
    }
}
