//! larder: a content-defined-chunking, deduplicating cache store for CI.

pub mod chunking;
pub mod files;
pub mod format;
pub mod ids;
pub mod relpath;
pub mod store;
