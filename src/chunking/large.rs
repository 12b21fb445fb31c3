//! Where the chunks of a large file end: FastCDC, fed piece by piece.

use fastcdc::v2020::{FastCDC, Normalization};

/// Shortest chunk, in bytes. The three keep a chunk large enough to be worth
/// its 50 bytes of tables, and small enough that a changed byte costs little.
pub(super) const MIN: u32 = 32 << 10;
/// Average chunk, in bytes.
pub(super) const AVERAGE: u32 = 128 << 10;
/// Longest chunk, in bytes.
pub(super) const MAX: u32 = 512 << 10;

/// Cuts a stream of bytes that arrives in pieces, at the places where FastCDC
/// would cut it if it came whole.
#[derive(Debug, Clone, Copy, Default)]
pub struct LargeFileCutter;

impl LargeFileCutter {
    /// The ends of the chunks that `buffer` surely begins with. `buffer` starts
    /// where a chunk starts; `last` says that nothing follows it. What lies
    /// after the last end belongs in front of the next piece.
    pub fn ends(self, buffer: &[u8], last: bool) -> Vec<usize> {
        let max = MAX as usize;
        let chunks =
            FastCDC::with_level(buffer, MIN as usize, AVERAGE as usize, max, Normalization::Level1);
        // A cut depends on at most `MAX` bytes after the chunk's start: with
        // fewer in the buffer, what follows may still move it.
        chunks
            .take_while(|chunk| last || buffer.len() - chunk.offset >= max)
            .map(|chunk| chunk.offset + chunk.length)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that look random and never change: splitmix64.
    fn noise(len: usize, mut seed: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(len + 8);
        while bytes.len() < len {
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = seed;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            bytes.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
        }
        bytes.truncate(len);
        bytes
    }

    fn in_pieces(data: &[u8], piece: usize) -> Vec<usize> {
        let mut ends = vec![];
        let (mut start, mut filled) = (0, 0);
        while start < data.len() {
            filled = (filled + piece).min(data.len());
            let cuts = LargeFileCutter.ends(&data[start..filled], filled == data.len());
            let base = start;
            ends.extend(cuts.iter().map(|end| base + end));
            start = ends.last().copied().unwrap_or(0);
        }
        ends
    }

    #[test]
    fn pieces_do_not_move_cuts() {
        let data = noise(5 << 20, 1);
        let whole = LargeFileCutter.ends(&data, true);
        assert_eq!(whole.last(), Some(&data.len()));
        for piece in [4096, 100_000, 512 << 10, 513 << 10, 4 << 20] {
            assert_eq!(in_pieces(&data, piece), whole, "pieces of {piece}");
        }
    }

    /// The format: these cuts must never move.
    #[test]
    fn golden_cuts() {
        insta::assert_compact_debug_snapshot!(
            LargeFileCutter.ends(&noise(2 << 20, 7), true),
            @"[69978, 338739, 482872, 590547, 818023, 988788, 1065306, 1218984, 1405346, 1618354, 1653627, 1804909, 1943098, 2097152]"
        );
    }
}
