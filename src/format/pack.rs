//! Packs: immutable objects that hold many chunks and say which.
//!
//! ```text
//! 0   8  "larderP" and the version, 1
//! 8   …  the chunks' stored bytes, one after the other
//!     …  the footer: an envelope of kind F with ids and lengths
//!     4  length of the footer, little-endian
//!     4  "LRDR"
//! ```
//! Chunks come first so that a pack can be filled while they are still being
//! compressed; the footer makes every index rebuildable from the packs alone.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::envelope::{self, EnvelopeKind};
use super::{FormatError, Location};
use crate::ids::{ChunkId, PackId};
use crate::secrets::KeyId;

pub(super) const HEADER: &[u8; 8] = b"larderP\x01";
const TRAILER: &[u8; 4] = b"LRDR";
pub(super) const FOOTER: EnvelopeKind =
    EnvelopeKind { letter: b'F', name: "pack footer", version: 1 };

/// Bytes at the end of a pack that tell where its footer begins.
pub const PACK_TRAILER_LEN: u64 = 8;

/// A footer holds 40 bytes a chunk; this bounds it to about a million chunks.
const MAX_FOOTER_LEN: u64 = 64 << 20;

/// A pack that is being filled.
#[derive(Debug)]
pub struct PackBuilder {
    id: PackId,
    bytes: Vec<u8>,
    footer: PackFooter,
}

impl PackBuilder {
    /// An empty pack with room for `capacity` bytes, for chunks in the open.
    pub fn new(id: PackId, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity);
        bytes.extend_from_slice(HEADER);
        Self { id, bytes, footer: PackFooter::default() }
    }

    /// The same for chunks that are sealed under a key; `None` leaves it as it is.
    pub fn sealed_by(mut self, key: Option<KeyId>) -> Self {
        self.footer.sealed_by = key;
        self
    }

    /// Adds a chunk's stored bytes and tells where they lie.
    ///
    /// # Panics
    /// If the lengths break the rules of [`Location`].
    pub fn push(&mut self, id: ChunkId, stored: &[u8], raw_len: u32) -> Location {
        let location = Location {
            pack: self.id,
            offset: self.bytes.len() as u64,
            stored_len: u32::try_from(stored.len()).expect("a chunk is shorter than 4 GiB"),
            raw_len,
        };
        location.check().expect("a chunk is never stored longer than it is");
        self.bytes.extend_from_slice(stored);
        self.footer.chunks.push((id, location.stored_len, raw_len));
        location
    }

    /// The pack's id.
    pub fn id(&self) -> PackId {
        self.id
    }

    /// Bytes so far, without the footer.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether no chunk was added yet.
    pub fn is_empty(&self) -> bool {
        self.footer.chunks.is_empty()
    }

    /// The finished pack.
    pub fn finish(mut self) -> Vec<u8> {
        let footer = self.footer.encode();
        let footer_len = u32::try_from(footer.len()).expect("a footer is shorter than 4 GiB");
        self.bytes.extend_from_slice(&footer);
        self.bytes.extend_from_slice(&footer_len.to_le_bytes());
        self.bytes.extend_from_slice(TRAILER);
        self.bytes
    }
}

/// What a pack says of itself: its chunks in order, with stored and raw length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackFooter {
    /// Chunk, stored length, raw length.
    pub chunks: Vec<(ChunkId, u32, u32)>,
    /// The key that they are sealed with; `None` if they are not encrypted.
    pub sealed_by: Option<KeyId>,
}

#[derive(Serialize, Deserialize)]
struct Wire {
    ids: ByteBuf,
    stored_len: Vec<u32>,
    raw_len: Vec<u32>,
    sealed_by: Option<ByteBuf>,
}

/// Where the footer lies in a pack of `pack_len` bytes, by its last
/// [`PACK_TRAILER_LEN`] bytes.
///
/// # Errors
/// [`FormatError`] if these are not the last bytes of a pack of this length.
pub fn footer_range(pack_len: u64, trailer: &[u8]) -> Result<Range<u64>, FormatError> {
    let Some((len, magic)) = trailer.split_first_chunk::<4>() else {
        return Err(FormatError::WrongKind("pack"));
    };
    if magic != TRAILER {
        return Err(FormatError::WrongKind("pack"));
    }
    let end = pack_len.saturating_sub(PACK_TRAILER_LEN);
    let start = end
        .checked_sub(u64::from(u32::from_le_bytes(*len)))
        .filter(|&start| start >= HEADER.len() as u64)
        .ok_or(FormatError::Truncated)?;
    Ok(start..end)
}

impl PackFooter {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let ids = self.chunks.iter().flat_map(|(id, ..)| *id.as_bytes()).collect::<Vec<_>>();
        let wire = Wire {
            ids: ByteBuf::from(ids),
            stored_len: self.chunks.iter().map(|&(_, stored, _)| stored).collect(),
            raw_len: self.chunks.iter().map(|&(.., raw)| raw).collect(),
            sealed_by: self.sealed_by.map(|key| ByteBuf::from(key.as_bytes())),
        };
        envelope::seal(FOOTER, &wire)
    }

    /// Reads a footer.
    ///
    /// # Errors
    /// [`FormatError`] if these are not the bytes of a sound footer.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let wire: Wire = envelope::open(FOOTER, bytes, MAX_FOOTER_LEN)?;
        let (ids, []) = wire.ids.as_chunks::<{ ChunkId::LEN }>() else {
            return Err(FormatError::Inconsistent("the list of chunk ids is cut off"));
        };
        if wire.stored_len.len() != ids.len() || wire.raw_len.len() != ids.len() {
            return Err(FormatError::Inconsistent("the footer's columns differ in length"));
        }
        let lens = wire.stored_len.iter().zip(&wire.raw_len);
        let chunks = ids
            .iter()
            .zip(lens)
            .map(|(id, (&stored, &raw))| (ChunkId::from_bytes(*id), stored, raw));
        let sealed_by = super::sealed_manifest::key_id(wire.sealed_by.as_ref())?;
        Ok(Self { chunks: chunks.collect(), sealed_by })
    }

    /// The locations that the footer vouches for, in the pack called `pack`.
    ///
    /// # Errors
    /// [`FormatError::Inconsistent`] if a length is out of bounds.
    pub fn locations(&self, pack: PackId) -> Result<Vec<(ChunkId, Location)>, FormatError> {
        let mut offset = HEADER.len() as u64;
        self.chunks
            .iter()
            .map(|&(id, stored_len, raw_len)| {
                let location = Location { pack, offset, stored_len, raw_len };
                location.check()?;
                offset = location.end();
                Ok((id, location))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pack_describes_itself() {
        let mut pack = PackBuilder::new(PackId::generate(), 0);
        let id = pack.id();
        let placed: Vec<_> = [&b"first"[..], b"second"]
            .iter()
            .map(|raw| (ChunkId::of(raw), pack.push(ChunkId::of(raw), raw, 10)))
            .collect();
        let bytes = pack.finish();
        let trailer = &bytes[bytes.len() - 8..];
        let range = footer_range(bytes.len() as u64, trailer).unwrap();
        let footer = PackFooter::decode(&bytes[range.start as usize..range.end as usize]).unwrap();
        assert_eq!(footer.locations(id).unwrap(), placed);
        let (_, second) = placed[1];
        assert_eq!(&bytes[second.offset as usize..second.end() as usize], b"second");
    }

    #[test]
    fn a_cut_pack_is_noticed() {
        let mut pack = PackBuilder::new(PackId::generate(), 0);
        pack.push(ChunkId::of(b"x"), b"x", 1);
        let bytes = pack.finish();
        let trailer = &bytes[bytes.len() - 8..];
        assert_eq!(footer_range(20, trailer), Err(FormatError::Truncated));
        assert_eq!(footer_range(8, trailer), Err(FormatError::Truncated));
        assert!(footer_range(bytes.len() as u64 - 1, &bytes[bytes.len() - 9..][..8]).is_err());
        assert!(footer_range(4, b"LRDR").is_err());
    }
}
