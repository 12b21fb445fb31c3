//! larder: a content-defined-chunking, deduplicating cache store for CI.
//!
//! CI jobs want directories back that another job made: dependencies, build
//! outputs. larder keeps them in a [`store`], under a [key](ids::Key) in a
//! [scope](ids::Scope), so that saving costs what changed, and restoring about
//! what it costs to create the files.
//!
//! # The flow
//!
//! A **save** ([`save::save`]) walks the paths in parallel ([`files::walk`])
//! into one flat [`Tree`](format::Tree). From its names and sizes alone it
//! [plans](chunking::plan) the chunks: bundles of neighbouring small files, and
//! large files that FastCDC cuts. What the local [stat record](records) vouches
//! for is not read again; everything else is read, cut and hashed on all cores.
//! Chunks that the store has (as the nearest manifests and the index
//! tell) are dropped, the others compressed and put into packs, which are
//! uploaded while the rest is still being read. The
//! [manifest](format::Manifest) comes last and makes all of it visible at once.
//!
//! A **restore** ([`restore::restore`]) finds a manifest, compares its tree with
//! what is in place, fetches the chunks of what is missing in long ranges of
//! packs, and verifies and writes each of them on all cores into stage areas
//! beside the target. When every byte is there, all is moved into place.
//!
//! [`verify`](mod@verify) checks a store, [`stats`](mod@stats) counts what it
//! holds, [`diff`](mod@diff) compares two keys, [`usage`](mod@usage) tells what makes
//! one big, and [`doctor`](mod@doctor) tries out what a store can do.
//!
//! # The layers
//!
//! Lower layers never use higher ones:
//!
//! 1. words: [`ids`], [`relpath`], [`harmless`] text, [`store::ObjectKey`], the [`code`]s of
//!    errors;
//! 2. formats, bytes in and bytes out: [`mod@format`], [`chunking`], [`secrets`];
//! 3. edges: [`files`], [`store`], [`mounts`], [`records`], [`tier`];
//! 4. state: [`repository`], the index of known chunks, [`compression`], the
//!    filling of packs, [`progress`], and the [`error`]s of all below;
//! 5. conductors, which never use each other: [`save`](mod@save),
//!    [`restore`](mod@restore), [`verify`](mod@verify), [`stats`](mod@stats),
//!    [`diff`](mod@diff), [`usage`](mod@usage);
//! 6. the command line, the only place that prints or reads the environment.
//!
//! `docs/architecture.md` has the map, `docs/format.md` every byte that is kept,
//! `docs/design.md` the reasons.

// Nothing in it is unsafe; docs/architecture.md lists what is, in tests.
#![cfg_attr(not(any(test, fuzzing)), forbid(unsafe_code))]
#![cfg_attr(test, allow(clippy::cast_possible_truncation, reason = "test data is small"))]
#![cfg_attr(fuzzing, allow(dead_code, unused_imports, reason = "the program uses the rest"))]

// Tells how much memory a decoder asks for.
#[cfg(any(test, fuzzing))]
#[global_allocator]
static ALLOCATOR: fuzzing::memory::Counting = fuzzing::memory::Counting;

// The front ends are modules of the program, which fuzz targets cannot reach. To them,
// the library is another crate.
#[cfg(fuzzing)]
extern crate self as larder;
#[cfg(fuzzing)]
mod config;
#[cfg(fuzzing)]
mod excerpt;
#[cfg(fuzzing)]
mod explain;
#[cfg(fuzzing)]
mod git;
#[cfg(fuzzing)]
mod keys;
#[cfg(fuzzing)]
mod plugin;
#[cfg(fuzzing)]
mod values;

mod budget;
pub mod chunking;
pub mod code;
pub mod compression;
pub mod diff;
pub mod doctor;
pub mod error;
pub mod files;
pub mod flush;
pub mod format;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod harmless;
pub mod ids;
mod index;
pub mod mounts;
mod object_key;
pub mod objects;
pub mod progress;
pub mod records;
pub mod relpath;
pub mod repository;
pub mod restore;
mod reuse;
pub mod save;
pub mod secrets;
pub mod size;
pub mod stats;
pub mod store;
pub mod store_time;
mod sync;
mod threads;
pub mod tier;
pub mod trust;
mod upload;
pub mod usage;
pub mod verify;
pub mod workers;
