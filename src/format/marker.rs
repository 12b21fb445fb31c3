//! The format marker: what makes a place a larder store.
//!
//! Written once, create-only, by the first save; read first by everybody. It
//! is JSON so that whoever finds a bucket can read what it is.

use serde::{Deserialize, Serialize};

use crate::code::Code;
use crate::ids::StoreId;

/// The version of the store's layout and formats that this program writes.
pub const FORMAT_VERSION: u32 = 1;

/// How files are cut into chunks. Writers of one store must agree, or equal
/// contents get different chunks and nothing deduplicates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChunkingParameters {
    /// The cutting rules' version: bundles and the FastCDC implementation.
    pub version: u32,
    /// Files from this length on are cut on their own, in bytes.
    pub large_file: u32,
    /// The length that bundles of small files are cut for, in bytes.
    pub bundle_target: u32,
    /// The shortest, the average and the longest chunk of a large file, in bytes.
    pub fastcdc: [u32; 3],
}

/// The contents of the format marker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormatMarker {
    /// The format's version.
    pub larder: u32,
    /// The store's identity, a ULID.
    pub store: String,
    /// How the store's files are cut.
    pub chunking: ChunkingParameters,
}

/// Why a store cannot be used by this program.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MarkerError {
    /// The marker is not larder's.
    #[error("the format marker is not larder's: {0}")]
    Unreadable(String),
    /// The store was made by a newer program.
    #[error("the store has format version {found}; this larder reads version {FORMAT_VERSION}")]
    OtherVersion {
        /// The store's version.
        found: u32,
    },
    /// The store's files are cut by other rules.
    #[error("the store's chunking is {found}; this larder uses {ours}")]
    OtherChunking {
        /// The store's parameters, as JSON.
        found: String,
        /// This program's parameters, as JSON.
        ours: String,
    },
}

impl MarkerError {
    /// The code that it is looked up by.
    pub fn code(&self) -> Code {
        match self {
            Self::Unreadable(_) => Code::MarkerUnreadable,
            Self::OtherVersion { .. } => Code::StoreVersion,
            Self::OtherChunking { .. } => Code::StoreChunking,
        }
    }

    /// What a person can do about it.
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Unreadable(_) => {
                "if this is the right place, `larder verify --repair` mends it; if another program \
                 wrote there, choose another place"
            }
            Self::OtherVersion { found } if *found > FORMAT_VERSION => {
                "update larder here, or start a new store elsewhere"
            }
            Self::OtherVersion { .. } | Self::OtherChunking { .. } => {
                "use the larder version that made this store, or start a new store elsewhere"
            }
        }
    }
}

impl FormatMarker {
    /// The longest marker that is read, in bytes.
    pub const MAX_LEN: u64 = 64 << 10;

    /// A marker for a new store.
    pub fn new(store: StoreId, chunking: ChunkingParameters) -> Self {
        Self { larder: FORMAT_VERSION, store: store.to_string(), chunking }
    }

    /// The marker's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut text = serde_json::to_vec_pretty(self).expect("plain data always serializes");
        text.push(b'\n');
        text
    }

    /// Reads a marker, and refuses a store that a program which cuts by
    /// `chunking` must not touch.
    ///
    /// # Errors
    /// [`MarkerError`] says what is in the way.
    pub fn decode(bytes: &[u8], chunking: &ChunkingParameters) -> Result<Self, MarkerError> {
        // The version alone comes first: a newer marker may have other fields.
        #[derive(Deserialize)]
        struct VersionOnly {
            larder: u32,
        }
        let unreadable = |error: serde_json::Error| MarkerError::Unreadable(error.to_string());
        let VersionOnly { larder } = serde_json::from_slice(bytes).map_err(unreadable)?;
        if larder != FORMAT_VERSION {
            return Err(MarkerError::OtherVersion { found: larder });
        }
        let marker: Self = serde_json::from_slice(bytes).map_err(unreadable)?;
        if marker.store.parse::<StoreId>().is_err() {
            return Err(MarkerError::Unreadable("the store's id is not a ULID".to_owned()));
        }
        if marker.chunking != *chunking {
            let json = |p| serde_json::to_string(p).expect("plain data always serializes");
            return Err(MarkerError::OtherChunking {
                found: json(&marker.chunking),
                ours: json(chunking),
            });
        }
        Ok(marker)
    }
}
