//! How trees are cut into chunks.
//!
//! Small files are bundled, large ones are cut on their own: see [`plan`] and
//! [`LargeFileCutter`]. Everything here is part of the store's format: the
//! rules have a version in the format marker, and golden tests hold them.

mod bundle;
mod large;
mod plan;

pub use large::LargeFileCutter;
pub use plan::{Plan, Unit, plan};

use crate::format::ChunkingParameters;

/// The parameters that this version of larder cuts by. `docs/design.md` has
/// the measurements that chose them.
pub fn parameters() -> ChunkingParameters {
    ChunkingParameters {
        version: 1,
        large_file: LARGE_FILE,
        bundle_target: bundle::TARGET,
        fastcdc: [large::MIN, large::AVERAGE, large::MAX],
    }
}

/// Files from this length on are cut on their own, in bytes: below it, FastCDC
/// would hardly find a cut, and a chunk of its own costs more than it saves.
pub const LARGE_FILE: u32 = 128 << 10;
