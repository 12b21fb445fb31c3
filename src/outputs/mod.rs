//! What CI systems are told of a command, for the steps that come after it: facts of
//! each cache, and one file a system that makes text of them.
//!
//! Nothing here reads the environment or writes a file: `src/cli/outputs.rs` does.

pub(crate) mod azure;
pub(crate) mod buildkite;
pub(crate) mod circleci;
pub(crate) mod dotenv;
mod facts;
pub(crate) mod github;
mod names;
pub(crate) mod summary;
#[cfg(test)]
mod testing;
mod values;

pub(crate) use facts::{Cache, Command, Done, Fact, Found, Kind, Saved};
pub(crate) use names::Names;
pub(crate) use values::Extent;
