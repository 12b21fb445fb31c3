//! Objects with payloads that no encoder makes, for fuzz targets.

use super::envelope::{self, EnvelopeKind};
use super::{gc_marks, gc_state, index, index_table, pack, sealed_manifest, stat_record};

/// What lies in an envelope.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Sealed {
    Manifest,
    PackFooter,
    IndexDelta,
    IndexFilter,
    GcState,
    GcMarks,
    StatRecord,
}

impl Sealed {
    fn kind(self) -> EnvelopeKind {
        match self {
            Self::Manifest => sealed_manifest::KIND,
            Self::PackFooter => pack::FOOTER,
            Self::IndexDelta => index::KIND,
            Self::IndexFilter => index_table::KIND,
            Self::GcState => gc_state::KIND,
            Self::GcMarks => gc_marks::KIND,
            Self::StatRecord => stat_record::KIND,
        }
    }
}

/// Seals a payload as it is.
pub(crate) fn seal(kind: Sealed, payload: &[u8]) -> Vec<u8> {
    envelope::seal_payload(kind.kind(), payload)
}

/// The bytes that the first envelope in an object says it unpacks to, as far as it can
/// be right: no frame holds more than some thousand times its length.
pub(crate) fn declared_len(bytes: &[u8]) -> u64 {
    let declared = bytes.get(8..16).and_then(|len| len.try_into().ok()).map(u64::from_le_bytes);
    declared.unwrap_or(0).min(bytes.len() as u64 * 40_000)
}

/// The payload of the first envelope in a sound object, for seeds.
#[cfg(test)]
pub(crate) fn payload(bytes: &[u8]) -> Vec<u8> {
    let frame = &bytes[envelope::HEADER_LEN..];
    let len = usize::try_from(declared_len(bytes)).unwrap();
    zstd::bulk::decompress(frame, len).unwrap()
}
