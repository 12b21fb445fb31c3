//! The bytes of everything larder keeps: bytes in, bytes out; no I/O, no clock.
//!
//! `docs/format.md` describes the same byte for byte. Decoders take hostile
//! input: they check every length before they allocate, every index before
//! they use it, and give a [`FormatError`] instead of a wrong value.

mod align;
mod chunk_table;
mod envelope;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gc_marks;
mod gc_state;
mod index;
mod index_table;
mod layout;
mod manifest;
mod marker;
mod pack;
mod sealed_manifest;
mod stat_record;
mod stream;
#[cfg(test)]
pub(crate) mod testing;
mod tree;
mod tree_builder;
mod tree_columns;
mod versions;

use crate::code::Code;

pub use align::{align, subtree_ends};
pub use chunk_table::{ChunkTable, Location, MAX_CHUNK_LEN};
pub use gc_marks::{Extents, Mark, Parts, Runs, decode_marks, encode_marks};
pub use gc_state::{Claim, GcState, Repacking};
pub use index::IndexDelta;
pub use index_table::{IdPrefix, IndexFilter, IndexRow, IndexTableWriter};
pub use layout::{Layout, LayoutError};
pub use manifest::{Annotation, Lifetime, MAX_ANNOTATION_LEN, Manifest, ManifestFacts};
pub use marker::{ChunkingParameters, FORMAT_VERSION, FormatMarker, MarkerError};
pub use pack::{PACK_TRAILER_LEN, PackBuilder, PackFooter, footer_range};
pub use sealed_manifest::{MAX_MANIFEST_LEN, OpenError, References, SealedManifest};
pub use stat_record::{FileIdentity, FileState, StatRecord};
pub use stream::{Piece, Stream};
pub use tree::{
    Anchor, Entry, EntryIndex, FileData, Hole, Kind, Mount, Owner, Timestamp, Tree, Xattr,
};
pub use tree_builder::{NewEntry, TreeBuilder};
pub use versions::FORMATS;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Shorter than its own header or trailer says.
    #[error("it is truncated")]
    Truncated,
    /// Not this kind of object at all.
    #[error("it is not a larder {0}")]
    WrongKind(&'static str),
    /// Written by a version of larder that this one does not know.
    #[error("it has format version {found}, and this larder reads up to {known}")]
    NewerVersion {
        /// The version that the object states.
        found: u8,
        /// The newest version that this program reads.
        known: u8,
    },
    /// The contents do not have the hash that was recorded for them.
    #[error("its contents do not match their checksum")]
    Checksum,
    /// It claims more than is allowed.
    #[error("it claims {claimed} bytes, more than the {allowed} allowed")]
    TooLong {
        /// What it claims.
        claimed: u64,
        /// The limit.
        allowed: u64,
    },
    /// The compressed stream is broken.
    #[error("its compressed data is corrupt")]
    Compression,
    /// The msgpack is broken or misses a field.
    #[error("its data is malformed: {0}")]
    Encoding(String),
    /// A rule of the format is broken.
    #[error("it is inconsistent: {0}")]
    Inconsistent(&'static str),
}

impl FormatError {
    /// The code of an object of which this is the matter.
    pub fn code(&self) -> Code {
        match self {
            Self::NewerVersion { .. } => Code::NewerObject,
            Self::Truncated
            | Self::WrongKind(_)
            | Self::Checksum
            | Self::TooLong { .. }
            | Self::Compression
            | Self::Encoding(_)
            | Self::Inconsistent(_) => Code::Damaged,
        }
    }
}
