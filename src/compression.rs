//! Chunks to stored bytes and back: zstd where it helps, raw where not, and sealed
//! where there is a key.

use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Mutex;

use zstd::bulk::{Compressor, Decompressor};

use crate::ids::ChunkId;
use crate::secrets::{KeyId, Sealing};
use crate::sync::lock;

/// The levels that zstd's own command line offers without extra flags.
pub const LEVELS: RangeInclusive<i32> = 1..=19;

/// A first save is bound by compression, and one level more costs more of it
/// than it saves of space: `docs/design.md` has the measurements.
pub const DEFAULT_LEVEL: i32 = 2;

/// Compresses chunks on any number of threads; contexts are reused, for making
/// one costs as much as compressing a small chunk.
pub(crate) struct Compression {
    level: i32,
    sealing: Sealing,
    idle: Mutex<Vec<Compressor<'static>>>,
}

impl Compression {
    pub(crate) fn new(level: i32, sealing: Sealing) -> Self {
        Self { level, sealing, idle: Mutex::default() }
    }

    /// The key that chunks are sealed with.
    pub(crate) fn sealed_by(&self) -> Option<KeyId> {
        self.sealing.key()
    }

    /// The name of a chunk.
    pub(crate) fn name(&self, raw: &[u8]) -> ChunkId {
        self.sealing.name(raw)
    }

    /// The bytes to store for the chunk of this name: shorter than `raw`, or `raw`
    /// itself, and either sealed if there is a key.
    pub(crate) fn pack(&self, id: ChunkId, raw: &[u8]) -> Vec<u8> {
        let idle = lock(&self.idle).pop();
        let mut compressor = idle.unwrap_or_else(|| {
            Compressor::new(self.level).expect("the level was checked, so only memory can lack")
        });
        let packed = compressor.compress(raw).expect("the buffer has room for the worst case");
        lock(&self.idle).push(compressor);
        let packed = if packed.len() < raw.len() { packed } else { raw.to_vec() };
        self.sealing.seal_chunk(id, packed)
    }
}

impl fmt::Debug for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Compression").field("level", &self.level).finish_non_exhaustive()
    }
}

/// Unpacks chunks and checks that they are what their names say.
#[derive(Default)]
pub(crate) struct Unpacker {
    sealing: Sealing,
    /// Made when it is first needed.
    decompressor: Option<Decompressor<'static>>,
    buffer: Vec<u8>,
    opened: Vec<u8>,
}

impl Unpacker {
    pub(crate) fn new(sealing: Sealing) -> Self {
        Self { sealing, ..Self::default() }
    }

    /// The raw bytes of a chunk; what is wrong with it otherwise. `raw_len`
    /// was checked against [`crate::format::MAX_CHUNK_LEN`] when it was read.
    pub(crate) fn unpack<'a>(
        &'a mut self,
        id: ChunkId,
        stored: &'a [u8],
        raw_len: u32,
    ) -> Result<&'a [u8], &'static str> {
        let raw_len = raw_len as usize;
        let packed = self.sealing.open_chunk(id, stored, &mut self.opened);
        let packed = packed.ok_or("it was not sealed with this key, or is damaged")?;
        if packed.len() > raw_len {
            return Err("it is stored longer than it is");
        }
        let raw = if packed.len() == raw_len {
            packed
        } else {
            self.buffer.resize(self.buffer.len().max(raw_len), 0);
            let raw = &mut self.buffer[..raw_len];
            let decompressor = self
                .decompressor
                .get_or_insert_with(|| Decompressor::new().expect("only memory can lack"));
            match decompressor.decompress_to_buffer(packed, raw) {
                Ok(len) if len == raw_len => raw,
                Ok(_) => return Err("it is shorter than it should be"),
                Err(_) => return Err("it cannot be decompressed"),
            }
        };
        if self.sealing.name(raw) == id { Ok(raw) } else { Err("its contents have another hash") }
    }
}

impl fmt::Debug for Unpacker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unpacker").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::{EncryptionKey, Keys, SEAL_LEN};

    #[test]
    fn chunks_come_back_and_noise_is_stored_raw() {
        let compression = Compression::new(DEFAULT_LEVEL, Sealing::default());
        let text = b"the same words again and again, ".repeat(100);
        let packed = compression.pack(ChunkId::of(&text), &text);
        assert!(packed.len() < text.len() / 10);
        let mut unpacker = Unpacker::new(Sealing::default());
        let id = ChunkId::of(&text);
        assert_eq!(unpacker.unpack(id, &packed, 3200), Ok(&text[..]));
        assert_eq!(compression.pack(ChunkId::of(b"x"), b"x"), b"x");
        assert_eq!(unpacker.unpack(ChunkId::of(b"x"), b"x", 1), Ok(&b"x"[..]));
    }

    #[test]
    fn sealed_chunks_come_back_to_who_has_the_key() {
        let key = EncryptionKey::generate();
        let sealing = Keys::new(&[key], None, vec![]).sealing();
        let compression = Compression::new(DEFAULT_LEVEL, sealing.clone());
        let mut unpacker = Unpacker::new(sealing);
        for text in [b"the same words again and again, ".repeat(100), vec![7]] {
            let id = compression.name(&text);
            let stored = compression.pack(id, &text);
            let raw_len = u32::try_from(text.len()).unwrap();
            assert!(stored.len() <= text.len() + SEAL_LEN as usize);
            assert_eq!(unpacker.unpack(id, &stored, raw_len), Ok(&text[..]));
            assert!(Unpacker::new(Sealing::default()).unpack(id, &stored, raw_len).is_err());
        }
    }

    #[test]
    fn damage_is_noticed() {
        let compression = Compression::new(DEFAULT_LEVEL, Sealing::default());
        let text = b"the same words again and again, ".repeat(100);
        let id = ChunkId::of(&text);
        let packed = compression.pack(ChunkId::of(&text), &text);
        let mut unpacker = Unpacker::new(Sealing::default());
        for at in 0..packed.len() {
            let mut damaged = packed.clone();
            damaged[at] ^= 0x10;
            // Some header bits change nothing of what comes out.
            if let Ok(raw) = unpacker.unpack(id, &damaged, 3200) {
                assert_eq!(raw, text);
            }
        }
        assert!(unpacker.unpack(id, &packed[..packed.len() - 1], 3200).is_err());
        assert!(unpacker.unpack(id, &packed, 3199).is_err());
        assert!(unpacker.unpack(id, &packed, 3201).is_err());
        assert!(unpacker.unpack(ChunkId::of(b"y"), b"x", 1).is_err());
    }
}
