//! The requests of BuildKit's `type=s3` cache, replayed by an AWS SDK client against
//! `larder serve`: over a directory, and, if there is one, over a real S3 server.
//!
//! ```text
//! cargo test --test buildkit
//! cargo build --release
//! cargo test --test buildkit -- --full --bare --larder target/release/larder
//! ```
//! Without arguments it is a test of some seconds among others; `--full` has layers of
//! 1 MiB to 1 GiB, and tells what each step took, beside the same requests sent to the
//! bare server. What is asserted is bytes, counts and memory, and never a time.
//!
//! The requests are those of `cache/remotecache/s3/s3.go` of BuildKit 0.26: a manifest
//! that is not there; for each layer a HEAD, then either a put (in parts of 8 MiB, five
//! at a time, from 16 MiB on) or a touch; ranged reads. Checksums only where S3 asks for
//! them, as BuildKit says.

// Helpers of tests panic like the tests that call them; this is a program that prints.
#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss
)]
#![cfg(unix)]

mod client;
mod endpoint;
mod figures;
mod layers;
mod replay;
#[path = "../it/support.rs"]
#[allow(dead_code)]
mod sandbox;
#[path = "../s3/server.rs"]
#[allow(dead_code)]
mod server;

use std::process::ExitCode;

use clap::Parser;

use crate::endpoint::Endpoint;
use crate::figures::Figures;
use crate::layers::{Layer, layers};

/// Replays BuildKit's requests against larder serve.
#[derive(Debug, Parser)]
#[command(name = "buildkit")]
struct Options {
    /// 30 layers of 1 MiB to 1 GiB, instead of 12 of 64 KiB to 20 MiB
    #[arg(long)]
    full: bool,
    /// The longest layer in MiB
    #[arg(long, value_name = "MIB")]
    longest: Option<u64>,
    /// Where directories for stores are made [default: the system's]
    #[arg(long, value_name = "DIR")]
    directory: Option<std::path::PathBuf>,
    /// The larder to run, such as a release build [default: that of the tests]
    #[arg(long, value_name = "FILE", default_value = env!("CARGO_BIN_EXE_larder"))]
    larder: std::path::PathBuf,
    /// More words for the store in S3, such as checksums=when_required
    #[arg(long, value_name = "WORDS", default_value = "")]
    words: String,
    /// Send the same to the S3 server without larder, too, to compare
    #[arg(long)]
    bare: bool,

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

impl Options {
    fn layers(&self) -> Vec<Layer> {
        let longest = self.longest.map(|mib| mib << 20);
        if self.full {
            layers(30, 1 << 20, longest.unwrap_or(1 << 30))
        } else {
            layers(12, 64 << 10, longest.unwrap_or(20 << 20))
        }
    }

    /// Whether other tests were asked for by name.
    fn is_not_meant(&self) -> bool {
        self.list || self.ignored || self.filters.iter().any(|name| !"buildkit".contains(&**name))
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    if options.is_not_meant() {
        return ExitCode::SUCCESS;
    }
    let layers = options.layers();
    let parent = options.directory.clone().unwrap_or_else(std::env::temp_dir);
    let top = tempfile::Builder::new().prefix("larder-buildkit-").tempdir_in(parent).unwrap();
    let mut all = vec![];
    {
        let endpoint = Endpoint::over_directory(&options.larder, &top.path().join("store"));
        all.push(replay::all(&endpoint, &layers));
    }
    match server::server() {
        Some(server) => {
            let bucket = server.bucket();
            let endpoint = Endpoint::over_bucket(&options.larder, &bucket, &options.words);
            all.push(replay::all(&endpoint, &layers));
            drop(endpoint);
            if options.bare {
                let bucket = server.bucket();
                all.push(replay::all(&Endpoint::bare(&bucket), &layers));
            }
        }
        None => eprintln!("note: no S3 server: only a directory was behind larder serve"),
    }
    Figures::tell(&all, options.full || options.bare);
    ExitCode::SUCCESS
}
