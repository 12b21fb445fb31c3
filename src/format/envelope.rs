//! The envelope around every msgpack payload: what it is, how long, and a hash.
//!
//! ```text
//! 0   6  "larder"
//! 6   1  kind: a letter
//! 7   1  version of that kind
//! 8   8  length of the payload, little-endian
//! 16  32 blake3 of these 16 bytes and the payload
//! 48  …  the payload, one zstd frame
//! ```
//! The hash is of the payload before compression: it vouches for what is
//! decoded, whatever the compressor did. It covers the header, so that what a newer
//! larder wrote is told from a version that rotted: only the former has a hash that is
//! right. For that, all versions of a kind are sealed alike.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::FormatError;

/// What an envelope holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct EnvelopeKind {
    /// The letter that stands for the kind in the header.
    pub letter: u8,
    /// What a person calls it.
    pub name: &'static str,
    /// The version that this program writes, and the newest it reads.
    pub version: u8,
}

const MAGIC: &[u8; 6] = b"larder";
/// What the hash covers besides the payload.
const HASHED_LEN: usize = 16;
pub(super) const HEADER_LEN: usize = 48;

/// Speed over size: these payloads are about one part in a hundred of the
/// chunks they describe, and level 3 is where zstd's ratio flattens for them.
const LEVEL: i32 = 3;

/// How far back a frame may refer, as a power of two: 8 MiB, which is the most of
/// zstd's levels up to 19. A frame can ask for 2 GiB in a few bytes.
const MAX_WINDOW_LOG: u32 = 23;

/// Serializes `value` with its field names and seals it.
pub(super) fn seal<T: Serialize>(kind: EnvelopeKind, value: &T) -> Vec<u8> {
    // Serializing into memory fails only for types that msgpack cannot hold;
    // the types here are structs, integers, byte strings and their lists.
    let payload = rmp_serde::to_vec_named(value).expect("plain data always serializes");
    seal_payload(kind, &payload)
}

/// Seals bytes that are msgpack already.
pub(super) fn seal_payload(kind: EnvelopeKind, payload: &[u8]) -> Vec<u8> {
    let mut sealed = Vec::with_capacity(HEADER_LEN + payload.len() / 2);
    sealed.extend_from_slice(MAGIC);
    sealed.push(kind.letter);
    sealed.push(kind.version);
    sealed.extend_from_slice(&(payload.len() as u64).to_le_bytes());
    let hash = hash(&sealed, payload);
    sealed.extend_from_slice(hash.as_bytes());
    let frame = zstd::bulk::compress(payload, LEVEL).expect("compressing into memory cannot fail");
    sealed.extend_from_slice(&frame);
    sealed
}

/// Opens an envelope whose payload may have at most `max_len` bytes.
pub(super) fn open<T: DeserializeOwned>(
    kind: EnvelopeKind,
    bytes: &[u8],
    max_len: u64,
) -> Result<T, FormatError> {
    if !bytes.starts_with(MAGIC) || bytes.get(6) != Some(&kind.letter) {
        return Err(FormatError::WrongKind(kind.name));
    }
    let (header, frame) = bytes.split_at_checked(HEADER_LEN).ok_or(FormatError::Truncated)?;
    if header[7] == 0 {
        return Err(FormatError::WrongKind(kind.name));
    }
    let (hashed, expected) = header.split_at(HASHED_LEN);
    let len = payload_len(header);
    if header[7] > kind.version {
        return Err(check_newer(kind, header, frame, max_len));
    }
    if len > max_len {
        return Err(FormatError::TooLong { claimed: len, allowed: max_len });
    }
    let payload = decompress(frame, len)?;
    if hash(hashed, &payload).as_bytes() != expected {
        return Err(FormatError::Checksum);
    }
    rmp_serde::from_slice(&payload).map_err(|error| FormatError::Encoding(error.to_string()))
}

/// What is the matter with an envelope that states a version above the one known:
/// damage, or a newer larder. Where the hash cannot be computed within `max_len`, nothing
/// is proved, and it counts as newer: that costs no cache.
fn check_newer(kind: EnvelopeKind, header: &[u8], frame: &[u8], max_len: u64) -> FormatError {
    use std::io::Read;
    let newer = FormatError::NewerVersion { found: header[7], known: kind.version };
    let (hashed, expected) = header.split_at(HASHED_LEN);
    let len = payload_len(header);
    if len > max_len {
        return newer;
    }
    // None of it is used, so none is kept.
    let mut hasher = blake3::Hasher::new();
    hasher.update(hashed);
    let read = zstd::stream::read::Decoder::with_buffer(frame)
        .and_then(|decoder| hasher.update_reader(decoder.take(len.saturating_add(1))).map(drop));
    match read {
        Err(_) => FormatError::Compression,
        Ok(()) if hasher.finalize().as_bytes() == expected => newer,
        Ok(()) => FormatError::Checksum,
    }
}

fn payload_len(header: &[u8]) -> u64 {
    u64::from_le_bytes(header[8..HASHED_LEN].try_into().expect("eight bytes"))
}

fn hash(header: &[u8], payload: &[u8]) -> blake3::Hash {
    blake3::Hasher::new().update(header).update(payload).finalize()
}

/// Opens the first of several envelopes that lie one after the other, and gives
/// the bytes after it.
pub(super) fn open_first<T: DeserializeOwned>(
    kind: EnvelopeKind,
    bytes: &[u8],
    max_len: u64,
) -> Result<(T, &[u8]), FormatError> {
    let frame = bytes.get(HEADER_LEN..).ok_or(FormatError::Truncated)?;
    let frame_len = zstd::zstd_safe::find_frame_compressed_size(frame);
    let end = frame_len.map_err(|_| FormatError::Compression)?.saturating_add(HEADER_LEN);
    let (first, rest) = bytes.split_at_checked(end).ok_or(FormatError::Truncated)?;
    Ok((open(kind, first, max_len)?, rest))
}

/// Decompresses a frame that must yield exactly `len` bytes.
fn decompress(frame: &[u8], len: u64) -> Result<Vec<u8>, FormatError> {
    use std::io::Read;
    let Ok(mut decoder) = zstd::stream::read::Decoder::with_buffer(frame) else {
        return Err(FormatError::Compression);
    };
    // What the frame may ask for beside the payload.
    decoder.window_log_max(MAX_WINDOW_LOG).map_err(|_| FormatError::Compression)?;
    // A header may claim a length its frame does not have: past a bound, the
    // buffer grows with what really comes out, so a lie costs little memory.
    let likely = usize::try_from(len).unwrap_or(usize::MAX).min(frame.len().saturating_mul(16));
    let mut payload = Vec::with_capacity(likely);
    decoder
        .take(len.saturating_add(1))
        .read_to_end(&mut payload)
        .map_err(|_| FormatError::Compression)?;
    if payload.len() as u64 == len { Ok(payload) } else { Err(FormatError::Checksum) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIND: EnvelopeKind = EnvelopeKind { letter: b'X', name: "test", version: 1 };

    #[test]
    fn opens_what_it_sealed() {
        let sealed = seal(KIND, &vec![7u32; 1000]);
        assert_eq!(open::<Vec<u32>>(KIND, &sealed, 1 << 20), Ok(vec![7; 1000]));
    }

    #[test]
    fn opens_one_after_the_other() {
        let both = [seal(KIND, &"one"), seal(KIND, &"two")].concat();
        let (one, rest) = open_first::<String>(KIND, &both, 1 << 20).unwrap();
        assert_eq!((&*one, open::<String>(KIND, rest, 1 << 20).unwrap().as_str()), ("one", "two"));
        let (_, rest) = open_first::<String>(KIND, rest, 1 << 20).unwrap();
        assert!(rest.is_empty());
        for len in 0..both.len() / 2 {
            assert!(open_first::<String>(KIND, &both[..len], 1 << 20).is_err(), "cut to {len}");
        }
    }

    /// A zstd frame's header has a few bits that mean nothing, or only a hint: a
    /// flip there changes no value, and that is all that is promised.
    #[test]
    fn no_damaged_byte_changes_the_value() {
        let text = "a text that is somewhat longer than one word".to_owned();
        let sealed = seal(KIND, &text);
        let mut unnoticed = 0;
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut damaged = sealed.clone();
                damaged[at] ^= 1 << bit;
                if let Ok(read) = open::<String>(KIND, &damaged, 1 << 20) {
                    assert_eq!(read, text, "byte {at}, bit {bit}");
                    unnoticed += 1;
                }
            }
        }
        assert!(unnoticed < 8, "{unnoticed} flips were not noticed");
        for len in 0..sealed.len() {
            assert!(open::<String>(KIND, &sealed[..len], 1 << 20).is_err(), "cut to {len}");
        }
    }

    /// Sealed as a larder would that knows the version after the one known here.
    #[test]
    fn only_a_true_version_counts_as_newer() {
        let newer = EnvelopeKind { version: 2, ..KIND };
        let known = FormatError::NewerVersion { found: 2, known: 1 };
        let sealed = seal(newer, &"a text that is somewhat longer than one word");
        assert_eq!(open::<u32>(KIND, &sealed, 1 << 20), Err(known.clone()));
        // Its kind is as sure as its version.
        let mut other = sealed.clone();
        other[6] = b'Y';
        let other_kind = EnvelopeKind { letter: b'Y', ..KIND };
        assert_eq!(open::<u32>(other_kind, &other, 1 << 20), Err(FormatError::Checksum));
        // What rotted has the version, too, but not the hash.
        let mut unnoticed = 0;
        for at in 6..sealed.len() {
            for bit in 0..8 {
                let mut damaged = sealed.clone();
                damaged[at] ^= 1 << bit;
                unnoticed += u32::from(open::<u32>(KIND, &damaged, u64::MAX) == Err(known.clone()));
            }
        }
        assert!(unnoticed < 8, "{unnoticed} flips were not noticed");
        for version in 2..=u8::MAX {
            let mut flipped = seal(KIND, &"x");
            flipped[7] = version;
            assert_eq!(open::<String>(KIND, &flipped, 1 << 20), Err(FormatError::Checksum));
        }
        // More than this program would ever read: not for it to judge.
        let long = seal(newer, &vec![0u8; 4096]);
        assert_eq!(open::<u32>(KIND, &long, 100), Err(known));
    }

    /// A decoder would allocate as much before it reads on.
    #[test]
    fn a_frame_that_refers_far_back_is_refused() {
        let payload = rmp_serde::to_vec_named(&"x").unwrap();
        for (log, is_read) in
            [(20, true), (MAX_WINDOW_LOG, true), (MAX_WINDOW_LOG + 1, false), (27, false)]
        {
            // A header without the length of its contents: that would be the window.
            let mut sealed = seal_payload(KIND, &payload)[..HEADER_LEN].to_vec();
            sealed.extend([0x28, 0xb5, 0x2f, 0xfd, 0, u8::try_from(log - 10).unwrap() << 3]);
            // The last block, raw.
            let block = payload.len() << 3 | 1;
            sealed.extend(&block.to_le_bytes()[..3]);
            sealed.extend(&payload);
            let opened = open::<String>(KIND, &sealed, 1 << 20);
            assert_eq!(opened.is_ok(), is_read, "2^{log}: {opened:?}");
        }
    }

    /// Every list is a step deeper: a million of them, passed over or not, must not use
    /// up the stack of a thread.
    #[test]
    fn nesting_is_bounded() {
        #[derive(serde::Deserialize)]
        struct Other {
            #[expect(dead_code, reason = "it is only decoded")]
            other: (),
        }
        let lists = vec![0x91; 1_000_000];
        let passed_over = [&[0x81, 0xa1, b'x'][..], &lists].concat();
        let read = move || {
            assert!(open::<Other>(KIND, &seal_payload(KIND, &passed_over), 1 << 20).is_err());
            assert!(open::<Vec<Other>>(KIND, &seal_payload(KIND, &lists), 1 << 20).is_err());
        };
        // Threads have two megabytes.
        std::thread::Builder::new().stack_size(1 << 20).spawn(read).unwrap().join().unwrap();
    }

    #[test]
    fn claims_are_checked_before_allocation() {
        let mut sealed = seal(KIND, &"x");
        sealed[8..16].copy_from_slice(&u64::MAX.to_le_bytes());
        assert!(matches!(open::<String>(KIND, &sealed, 1 << 20), Err(FormatError::TooLong { .. })));
        sealed[8..16].copy_from_slice(&(1u64 << 20).to_le_bytes());
        assert_eq!(open::<String>(KIND, &sealed, 1 << 20), Err(FormatError::Checksum));
    }
}
