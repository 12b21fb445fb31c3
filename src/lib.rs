//! larder: a content-defined-chunking, deduplicating cache store for CI.

#![cfg_attr(test, allow(clippy::cast_possible_truncation, reason = "test data is small"))]

mod budget;
pub mod chunking;
pub mod compression;
pub mod error;
pub mod files;
pub mod format;
pub mod ids;
mod index;
pub mod mounts;
mod object_key;
pub mod progress;
pub mod records;
pub mod relpath;
pub mod repository;
pub mod restore;
pub mod save;
pub mod stats;
pub mod store;
mod upload;
pub mod verify;
