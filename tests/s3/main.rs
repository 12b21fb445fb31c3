//! larder on a real S3 server: what it asks of it, what it makes of networks
//! that fail, where it finds credentials, what it says when something is wrong.
//!
//! Tests count requests and compare bytes and texts; none looks at a clock.
//! They need the server that `tests/run.sh` starts (see `server`), and say so
//! where it is missing.

// Helpers of tests panic like the tests that call them; notices of what cannot
// be tested are for whoever reads the log.
#![allow(clippy::unwrap_used, clippy::print_stderr, clippy::cast_possible_truncation)]
#![cfg(unix)]

mod bad_input;
mod calls;
mod credentials;
mod fakes;
mod faults;
mod http;
mod pipelines;
mod plain;
mod policies;
mod policy;
mod proxy;
mod round_trip;
// Sandboxes, trees and their judge are those of the tests on directories.
#[path = "../it/support.rs"]
#[allow(dead_code)]
mod sandbox;
mod server;
mod support;
mod surroundings;
mod words;
