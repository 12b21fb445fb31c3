//! Layers: bytes that are made as they are read, of any length, and the same each time.

use std::ops::Range;

use bytes::Bytes;

use crate::sandbox::Noise;

/// What is made at a time.
const BLOCK: u64 = 64 << 10;

/// A layer of an image.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    number: u64,
    len: u64,
    /// The build that made it: later ones change a few bytes in the middle.
    build: u64,
}

/// So many layers of lengths from the shortest to the longest, each longer than the one
/// before by one factor.
pub(crate) fn layers(count: u32, shortest: u64, longest: u64) -> Vec<Layer> {
    let factor = (longest as f64 / shortest as f64).powf(1.0 / f64::from(count - 1));
    let len = |number: u32| (shortest as f64 * factor.powi(number.cast_signed())).round() as u64;
    // No multiples of anything.
    let layer = |number: u32| Layer { number: number.into(), len: len(number) + 7, build: 0 };
    (0..count).map(layer).collect()
}

impl Layer {
    /// The same layer as the next build makes it: a few bytes more in its middle.
    pub(crate) fn rebuilt(&self) -> Self {
        Self { build: self.build + 1, len: self.len + INSERTED.len() as u64, ..self.clone() }
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// What it is called. Not its digest, which would take reading it once more.
    pub(crate) fn key(&self) -> String {
        let name = blake3::hash(&[self.number.to_le_bytes(), self.build.to_le_bytes()].concat());
        format!("blobs/sha256:{}", name.to_hex())
    }

    /// The bytes of a range.
    pub(crate) fn read(&self, range: Range<u64>) -> Bytes {
        let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
        let middle = (self.len - INSERTED.len() as u64 * self.build) / 2;
        let mut at = range.start;
        while at < range.end {
            if self.build == 0 || at < middle {
                let end = if self.build == 0 { range.end } else { range.end.min(middle) };
                self.original(at..end, &mut bytes);
                at = end;
            } else if at < middle + INSERTED.len() as u64 {
                bytes.push(INSERTED[(at - middle) as usize]);
                at += 1;
            } else {
                let shift = INSERTED.len() as u64;
                self.original(at - shift..range.end - shift, &mut bytes);
                at = range.end;
            }
        }
        bytes.into()
    }

    fn original(&self, range: Range<u64>, bytes: &mut Vec<u8>) {
        let mut at = range.start;
        while at < range.end {
            let block = at / BLOCK;
            let from = (at % BLOCK) as usize;
            let end = range.end.min((block + 1) * BLOCK);
            let made = self.block(block);
            bytes.extend_from_slice(&made[from..from + (end - at) as usize]);
            at = end;
        }
    }

    /// Of four bytes, three are noise: about what compressors leave of programs.
    fn block(&self, number: u64) -> Vec<u8> {
        let mut noise = Noise(self.number << 40 | number);
        let mut block = noise.bytes(BLOCK as usize * 3 / 4);
        block.resize(BLOCK as usize, b'.');
        block
    }
}

/// What a build inserts.
const INSERTED: &[u8] = b"built again";
