//! Packs: their ends, their footers, and chunks out of stored bytes.

use std::io::Read as _;
use std::sync::OnceLock;

use super::memory;
use super::object::{Form, decode};
use crate::compression::{Compression, Unpacker};
use crate::format::fuzzing::Sealed;
use crate::format::{
    Location, MAX_CHUNK_LEN, PACK_TRAILER_LEN, PackBuilder, PackFooter, footer_range,
};
use crate::ids::{ChunkId, PackId};
use crate::secrets::{EncryptionKey, Keys, SEAL_LEN, Sealing};

/// Bytes that are unpacked of one pack: each chunk may claim 16 MiB.
const UNPACKED: u64 = 64 << 20;

/// What unpacking may take beside the chunk.
const AT_LEAST: usize = 1 << 20;

const ID: PackId = PackId::from_bytes([7; 16]);

/// A pack gives the chunks that it was made of, or says that it does not.
///
/// # Panics
/// If a promise is broken.
pub fn pack(data: &[u8]) {
    match super::choose(data, 4) {
        (0, bytes) => check_pack(bytes, &Sealing::default()),
        (1, rest) => {
            let footer = Form::of(rest).object(Sealed::PackFooter);
            footer.iter().for_each(|bytes| drop(check_footer(bytes)));
        }
        (2, rest) => check_stored(rest),
        (_, rest) => check_damage(rest),
    }
}

fn check_pack(bytes: &[u8], sealing: &Sealing) {
    let len = bytes.len() as u64;
    let trailer = &bytes[bytes.len().saturating_sub(PACK_TRAILER_LEN as usize)..];
    let Ok(range) = footer_range(len, trailer) else { return };
    assert!(range.start <= range.end && range.end <= len);
    let Some(chunks) = check_footer(&bytes[range.start as usize..range.end as usize]) else {
        return;
    };
    let mut unpacker = Unpacker::new(sealing.clone());
    let mut room = UNPACKED;
    for (id, at) in chunks {
        let stored = usize::try_from(at.end()).ok().and_then(|end| bytes.get(..end));
        let Some(stored) = stored.map(|stored| &stored[at.offset as usize..]) else { return };
        let Some(left) = room.checked_sub(at.raw_len.into()) else { return };
        room = left;
        check_unpacking(&mut unpacker, sealing, id, stored, at.raw_len);
    }
}

/// The chunks of a footer, if that is one.
fn check_footer(bytes: &[u8]) -> Option<Vec<(ChunkId, Location)>> {
    let footer = decode(bytes, PackFooter::decode)?;
    assert_eq!(PackFooter::decode(&footer.encode()), Ok(footer.clone()));
    let chunks = footer.locations(ID).ok()?;
    let mut end = 8;
    for (_, at) in &chunks {
        assert!(at.offset == end && (1..=MAX_CHUNK_LEN).contains(&at.raw_len));
        assert!((1..=at.raw_len + SEAL_LEN).contains(&at.stored_len));
        end = at.end();
    }
    Some(chunks)
}

fn check_unpacking(
    unpacker: &mut Unpacker,
    sealing: &Sealing,
    id: ChunkId,
    stored: &[u8],
    raw_len: u32,
) -> bool {
    // Of what is sealed, what was packed is a part; twice, where lists grow.
    let allowed = raw_len as usize + 2 * stored.len() + AT_LEAST;
    match memory::within(allowed, || unpacker.unpack(id, stored, raw_len)) {
        Ok(raw) => {
            assert_eq!((sealing.name(raw), raw.len()), (id, raw_len as usize));
            true
        }
        Err(why) => {
            super::check_message(why);
            false
        }
    }
}

/// Stored bytes of a chunk that has whatever another decoder makes of them, or claims so.
fn check_stored(data: &[u8]) {
    let Some((claimed, stored)) = data.split_first_chunk::<4>() else { return };
    let claimed = u32::from_le_bytes(*claimed);
    let mut raw = vec![];
    let decoder = zstd::stream::read::Decoder::with_buffer(stored);
    let read = decoder.and_then(|it| it.take(u64::from(MAX_CHUNK_LEN) + 1).read_to_end(&mut raw));
    let raw_len = match u32::try_from(raw.len()) {
        Ok(len @ 1..=MAX_CHUNK_LEN) if read.is_ok() => len,
        _ => claimed % MAX_CHUNK_LEN + 1,
    };
    let open = Sealing::default();
    let mut unpacker = Unpacker::new(open.clone());
    if stored.len() > raw_len as usize {
        return;
    }
    let id = ChunkId::of(&raw);
    let first = check_unpacking(&mut unpacker, &open, id, stored, raw_len);
    check_unpacking(&mut unpacker, &open, id, stored, claimed % MAX_CHUNK_LEN + 1);
    // What went wrong before does not show.
    assert_eq!(check_unpacking(&mut unpacker, &open, id, stored, raw_len), first);
    let id = ChunkId::of(data);
    let sound = Compression::new(1, open.clone()).pack(id, data);
    assert!(check_unpacking(&mut unpacker, &open, id, &sound, data.len() as u32));
}

/// A pack of these bytes, sealed or not, in which one bit is another: never another chunk.
fn check_damage(data: &[u8]) {
    static KEY: OnceLock<EncryptionKey> = OnceLock::new();
    let Some(([at, more, bit, piece], rest)) = data.split_first_chunk::<4>() else { return };
    let key = KEY.get_or_init(EncryptionKey::generate).clone();
    let sealing = match bit & 8 {
        0 => Sealing::default(),
        _ => Keys::new(&[key], None, vec![]).sealing(),
    };
    let compression = Compression::new(1, sealing.clone());
    let mut builder = PackBuilder::new(ID, 0).sealed_by(sealing.key());
    for raw in rest.chunks(usize::from(*piece) * 16 + 1) {
        let id = compression.name(raw);
        builder.push(id, &compression.pack(id, raw), raw.len() as u32);
    }
    let mut bytes = builder.finish();
    check_pack(&bytes, &sealing);
    let at = usize::from(u16::from_le_bytes([*at, *more])) % bytes.len();
    bytes[at] ^= 1 << (bit % 8);
    check_pack(&bytes, &sealing);
}
