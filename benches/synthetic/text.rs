//! Bytes that compress about as source code does.

use crate::random::Random;

/// `len` bytes of words from a small vocabulary: zstd makes about a third of
/// them, as of the files that CI jobs cache.
pub(crate) fn text(random: &mut Random, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 16);
    while bytes.len() < len {
        let number = random.number();
        // Few words are common and many are rare.
        let word = (number & 0xfff) * ((number >> 12) & 0xfff) / 0xfff;
        bytes.extend_from_slice(format!("{:x} ", word.wrapping_mul(0x9e37_79b9)).as_bytes());
    }
    bytes.truncate(len);
    bytes
}
