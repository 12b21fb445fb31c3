//! Objects in envelopes, of what a fuzzer gives: the checksum would stop it at the door.

use super::memory;
use crate::format::FormatError;
use crate::format::fuzzing::{Sealed, declared_len, seal};

/// What decoders may have at once, whatever they read: `serde` believes a list's length
/// up to a megabyte, and a manifest has some twenty lists.
const AT_LEAST: u64 = 32 << 20;

/// What they may have for each byte of the payload: the pairs of attributes of the value
/// `0x92 0x90 0x90` take 48 bytes each, twice while a tree is made of them, and lists
/// have room for twice what is in them.
const PER_BYTE: u64 = 100;

/// How the bytes become an object, by the first of them.
pub(super) enum Form<'a> {
    /// The object itself.
    Object(&'a [u8]),
    /// The payload, to be sealed.
    Payload(&'a [u8]),
    /// The payload as JSON: its lists have no lengths to get wrong, so changes go
    /// deeper. Byte strings are texts or lists of numbers.
    Json(&'a [u8]),
}

impl<'a> Form<'a> {
    pub(super) fn of(data: &'a [u8]) -> Self {
        match super::choose(data, 3) {
            (0, rest) => Self::Object(rest),
            (1, rest) => Self::Payload(rest),
            (_, rest) => Self::Json(rest),
        }
    }

    /// The object's bytes; `None` if the JSON is none.
    pub(super) fn object(self, kind: Sealed) -> Option<Vec<u8>> {
        match self {
            Self::Object(bytes) => Some(bytes.to_vec()),
            Self::Payload(payload) => Some(seal(kind, payload)),
            Self::Json(text) => {
                let value: serde_json::Value = serde_json::from_slice(text).ok()?;
                Some(seal(kind, &rmp_serde::to_vec(&value).ok()?))
            }
        }
    }
}

/// Decodes within the memory that an object may take; checks what is said of one that
/// is refused.
pub(super) fn decode<T>(
    bytes: &[u8],
    decode: impl FnOnce(&[u8]) -> Result<T, FormatError>,
) -> Option<T> {
    let allowed = AT_LEAST + declared_len(bytes).saturating_mul(PER_BYTE);
    let allowed = usize::try_from(allowed).unwrap_or(usize::MAX / 2);
    match memory::within(allowed, || decode(bytes)) {
        Ok(value) => Some(value),
        Err(error) => {
            super::check_message(&error.to_string());
            None
        }
    }
}
