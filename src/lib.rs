//! larder: a content-defined-chunking, deduplicating cache store for CI.

pub mod ids;
pub mod store;
