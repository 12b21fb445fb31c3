//! Where damage is done, and how.

use larder::format::{Layout, PACK_TRAILER_LEN, footer_range};
use larder::store::{MemoryStore, ObjectKey, PutMode, Store};

use super::world::{VICTIM, World, manifest_of, table_of};

/// What is damaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Marker,
    Manifest,
    PackBody,
    PackFooter,
    PackTrailer,
    Delta,
    TableFilter,
    TableRows,
    GcState,
    GcMarks,
    TierEntry,
    TierTally,
    StatRecord,
}

impl Place {
    pub(super) const ALL: [Self; 13] = [
        Self::Marker,
        Self::Manifest,
        Self::PackBody,
        Self::PackFooter,
        Self::PackTrailer,
        Self::Delta,
        Self::TableFilter,
        Self::TableRows,
        Self::GcState,
        Self::GcMarks,
        Self::TierEntry,
        Self::TierTally,
        Self::StatRecord,
    ];

    /// Whether it is beside the store.
    pub(super) fn is_local(self) -> bool {
        matches!(self, Self::TierEntry | Self::TierTally | Self::StatRecord)
    }

    /// What the page calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Marker => "format marker",
            Self::Manifest => "manifest",
            Self::PackBody => "pack",
            Self::PackFooter => "pack footer",
            Self::PackTrailer => "pack trailer",
            Self::Delta => "index delta",
            Self::TableFilter => "index filter",
            Self::TableRows => "index rows",
            Self::GcState => "gc state",
            Self::GcMarks => "gc marks",
            Self::TierEntry => "local cache: chunk",
            Self::TierTally => "local cache: tally",
            Self::StatRecord => "stat record",
        }
    }
}

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// One bit.
    Flip,
    Truncation,
    /// All of it.
    Zeros,
    /// From somewhere on, a page of them at most.
    ZeroPage,
    Deletion,
    /// Another object of its kind lies there.
    OtherOfKind,
    /// An object of another kind lies there.
    OtherKind,
    /// What lay there before.
    Earlier,
    /// What a larder would write that knows one version more.
    Newer,
}

impl Damage {
    pub(super) const ALL: [Self; 9] = [
        Self::Flip,
        Self::Truncation,
        Self::Zeros,
        Self::ZeroPage,
        Self::Deletion,
        Self::OtherOfKind,
        Self::OtherKind,
        Self::Earlier,
        Self::Newer,
    ];

    /// What the page calls it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Flip => "bit flip",
            Self::Truncation => "truncation",
            Self::Zeros => "zeros",
            Self::ZeroPage => "page of zeros",
            Self::Deletion => "deletion",
            Self::OtherOfKind => "other of its kind",
            Self::OtherKind => "of another kind",
            Self::Earlier => "earlier state",
            Self::Newer => "newer version",
        }
    }
}

const PAGE: usize = 4096;

/// The object of a place.
pub(super) fn object(world: &World, place: Place) -> ObjectKey {
    match place {
        Place::Marker => Layout::marker(),
        Place::Manifest => manifest_of(VICTIM),
        Place::PackBody | Place::PackFooter | Place::PackTrailer => {
            Layout::pack(world.chunk().1.pack)
        }
        Place::Delta => deltas(&world.store).remove(0),
        Place::TableFilter => Layout::table_filter(table_of(&world.store)),
        Place::TableRows => Layout::table_rows(table_of(&world.store)),
        Place::GcState => Layout::gc_state(),
        Place::GcMarks => Layout::gc_marks(),
        Place::TierEntry | Place::TierTally | Place::StatRecord => {
            unreachable!("it is in no store")
        }
    }
}

fn deltas(store: &MemoryStore) -> Vec<ObjectKey> {
    let deltas = store.contents().into_keys();
    let deltas: Vec<_> = deltas.filter(|key| Layout::parse_delta(key).is_some()).collect();
    assert_eq!(deltas.len(), 2, "{deltas:?}");
    deltas
}

/// The bytes of another object of the kind.
fn other_of_kind(world: &World, place: Place) -> Vec<u8> {
    let (store, key) = match place {
        Place::Marker | Place::GcState | Place::GcMarks => (&world.foreign, object(world, place)),
        Place::Manifest => (&world.store, manifest_of("b")),
        Place::PackBody | Place::PackFooter | Place::PackTrailer => {
            let is_pack = |key: &ObjectKey| Layout::parse_pack(key).is_some();
            (&world.foreign, world.foreign.contents().into_keys().find(is_pack).unwrap())
        }
        Place::Delta => (&world.store, deltas(&world.store).remove(1)),
        Place::TableFilter => (&world.foreign, Layout::table_filter(table_of(&world.foreign))),
        Place::TableRows => (&world.foreign, Layout::table_rows(table_of(&world.foreign))),
        Place::TierEntry | Place::TierTally | Place::StatRecord => {
            unreachable!("it is in no store")
        }
    };
    store.contents()[&key].to_vec()
}

/// The bytes of an object of another kind: of the pack, which is the longest, or of
/// the manifest.
fn of_another_kind(world: &World, place: Place) -> Vec<u8> {
    let from = match place {
        Place::PackBody => Place::Manifest,
        _ => Place::PackBody,
    };
    world.store.contents()[&object(world, from)].to_vec()
}

/// Where in the object's bytes the place begins and ends, and where a single bit is
/// flipped.
fn extent(world: &World, place: Place, bytes: &[u8]) -> (usize, usize, usize) {
    let len = bytes.len();
    let trailer = len.saturating_sub(PACK_TRAILER_LEN as usize);
    match place {
        Place::PackBody => {
            let chunk = world.chunk().1.offset as usize;
            (chunk, chunk + PAGE, chunk + 100)
        }
        Place::PackFooter => {
            let footer = footer_range(len as u64, &bytes[trailer..]).unwrap();
            (footer.start as usize, footer.end as usize, footer.start as usize + 60)
        }
        Place::PackTrailer => (trailer, len, trailer + 1),
        // In the store's id, which is any id, a flip tells nothing.
        Place::Marker => (0, len, 4),
        _ => (0, len, len / 3),
    }
}

/// Does the damage to a store.
pub(super) fn harm(world: &World, store: &MemoryStore, place: Place, damage: Damage) {
    let key = object(world, place);
    if damage == Damage::Deletion {
        store.delete(&[key]).unwrap();
        return;
    }
    let bytes = store.contents()[&key].to_vec();
    let bytes = match damage {
        Damage::OtherOfKind => other_of_kind(world, place),
        Damage::OtherKind => of_another_kind(world, place),
        Damage::Earlier => world.old.contents()[&key].to_vec(),
        _ => {
            let at = extent(world, place, &bytes);
            damaged(bytes, damage, at, place)
        }
    };
    // Put, so that its version is another: nobody may go by what was known of it.
    store.put(&key, bytes.into(), PutMode::Overwrite).unwrap();
}

/// Damage to bytes that needs no other object.
pub(super) fn damaged(
    mut bytes: Vec<u8>,
    damage: Damage,
    (start, end, flip): (usize, usize, usize),
    place: Place,
) -> Vec<u8> {
    let half = start + (end - start) / 2;
    match damage {
        Damage::Flip => bytes[flip] ^= 0x10,
        Damage::Truncation => bytes.truncate(half),
        Damage::Zeros => bytes.fill(0),
        Damage::ZeroPage => bytes[half..(half + PAGE).min(end)].fill(0),
        Damage::Newer if place == Place::Marker => {
            let text = String::from_utf8(bytes).unwrap();
            bytes = text.replace("\"larder\": 1", "\"larder\": 2").into_bytes();
        }
        Damage::Newer => seal_as_newer(&mut bytes[start..end]),
        _ => unreachable!("{damage:?} needs another object"),
    }
    bytes
}

/// Raises an envelope's version, and makes its hash right again, as `docs/format.md`
/// has it.
pub(super) fn seal_as_newer(envelope: &mut [u8]) {
    assert!(envelope.starts_with(b"larder"));
    envelope[7] += 1;
    let mut payload = vec![];
    let decoder = zstd::stream::read::Decoder::with_buffer(&envelope[48..]).unwrap();
    std::io::Read::read_to_end(&mut decoder.single_frame(), &mut payload).unwrap();
    let hash = blake3::Hasher::new().update(&envelope[..16]).update(&payload).finalize();
    envelope[16..48].copy_from_slice(hash.as_bytes());
}
