//! What a large store holds, as a function of numbers: nothing of it is kept.
//!
//! Caches come in families, as the keys of one job do from commit to commit.
//! Each has packs of its own, and still uses parts of those of its predecessors:
//! more of the last one's than of the one's before, and less the older they are.

use std::time::Duration;

use larder::format::{
    Anchor, Annotation, ChunkTable, FileData, Kind, Layout, Location, Manifest, ManifestFacts,
    NewEntry, Timestamp, Tree, TreeBuilder,
};
use larder::ids::{ChunkId, PackId};
use larder::relpath::RelPath;
use larder::store::ObjectKey;
use larder::store_time::StoreTime;
use serde::{Deserialize, Serialize};

use super::random::Random;

/// Caches of a family, the oldest first.
const FAMILY: u32 = 20;

/// Packs that a save adds.
pub(crate) const OWN_PACKS: u32 = 16;

/// Packs of its predecessors that a cache still uses parts of.
const OLDER_PACKS: u32 = 24;

/// One pack of so many is what a save left that died before it published.
const DEAD_ONE_IN: u64 = 32;

/// Packs that a cache adds when it is saved again under its key.
pub(crate) const RENEWED_PACKS: u32 = 4;

/// Chunks beside each other that go out of use together.
const BLOCK: u32 = 8;

/// Bytes of a pack, about.
const PACK_LEN: u64 = 64_000_000;

const HOUR: i64 = 3_600;

/// How large a store is, and how far away.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) manifests: u32,
    pub(crate) chunks_a_pack: u32,
    pub(crate) files: u32,
    pub(crate) latency: Duration,
}

/// What is in it at first.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) shape: Shape,
    /// When the youngest of each family was saved.
    pub(crate) newest: i64,
    /// Of all caches alike: what flush makes of it depends on its length only.
    tree: Tree,
}

/// A cache that was saved again, under the same key.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Renewed {
    pub(crate) at: i64,
    /// The first of its [`RENEWED_PACKS`] new packs.
    pub(crate) first_pack: u32,
}

fn mixed(number: u64) -> u64 {
    Random::new(number).number()
}

/// What hides the number in an id, made of the bytes after it.
fn mask(id: &[u8; 16]) -> u32 {
    let (_, random) = id.split_last_chunk().expect("an id has 16 bytes");
    let [a, b, c, d, ..] = mixed(u64::from_be_bytes(*random) & 0xffff_ffff_ffff).to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

impl World {
    pub(crate) fn new(shape: Shape, newest: i64) -> Self {
        Self { shape, newest, tree: tree(shape.files) }
    }

    /// Packs that the store begins with.
    pub(crate) fn packs(&self) -> u32 {
        self.shape.manifests * OWN_PACKS
    }

    /// When a cache was first saved.
    pub(crate) fn saved(&self, manifest: u32) -> i64 {
        self.newest - 12 * HOUR * i64::from(FAMILY - 1 - manifest % FAMILY)
    }

    pub(crate) fn manifest_object(manifest: u32) -> ObjectKey {
        let (scope, key) = names(manifest);
        let (scope, key) = (scope.parse().expect("a scope"), key.parse().expect("a key"));
        Layout::manifest(&scope, &key).expect("both are short")
    }

    /// The cache whose manifest lies there.
    pub(crate) fn parse_manifest(object: &ObjectKey) -> Option<u32> {
        let (scope, key) = Layout::parse_manifest(object)?;
        let family: u32 = scope.as_str().rsplit('-').next()?.parse().ok()?;
        let member: u32 = key.as_str().split('-').nth(3)?.parse().ok()?;
        Some(family * FAMILY + member)
    }

    /// An id as random as real ones, in which the pack's number can be found.
    pub(crate) fn pack_id(pack: u32, born: i64) -> PackId {
        let mut id = [0; 16];
        let millis = u64::try_from(born * 1000).expect("after 1970");
        id[..6].copy_from_slice(&millis.to_be_bytes()[2..]);
        id[10..].copy_from_slice(&mixed(pack.into()).to_be_bytes()[2..]);
        let hidden = pack ^ mask(&id);
        id[6..10].copy_from_slice(&hidden.to_be_bytes());
        PackId::from_bytes(id)
    }

    pub(crate) fn parse_pack(object: &ObjectKey) -> Option<u32> {
        let id = Layout::parse_pack(object)?.to_bytes();
        Some(u32::from_be_bytes(id[6..10].try_into().ok()?) ^ mask(&id))
    }

    /// Where each chunk of a pack lies, and how long it is.
    fn chunks(&self, pack: u32) -> impl Iterator<Item = (u32, u64, u32)> {
        let mean = PACK_LEN / u64::from(self.shape.chunks_a_pack);
        let mut random = Random::new(u64::from(pack) << 32);
        let mut offset = 8;
        (0..self.shape.chunks_a_pack).map(move |number| {
            let len = mean / 2 + random.number() % mean;
            let at = offset;
            offset += len;
            (number, at, u32::try_from(len).expect("chunks are short"))
        })
    }

    /// What a listing says of a pack.
    pub(crate) fn pack_len(&self, pack: u32) -> u64 {
        let last = self.chunks(pack).last();
        let footer = 60 * u64::from(self.shape.chunks_a_pack) + 20;
        last.map_or(0, |(_, at, len)| at + u64::from(len)) + footer
    }

    /// Whether no cache ever referred to it.
    fn is_dead(&self, pack: u32) -> bool {
        pack < self.packs() && mixed(u64::from(pack) << 8).is_multiple_of(DEAD_ONE_IN)
    }

    /// Packs that a cache uses, and how many saves ago each was put.
    fn packs_of(&self, manifest: u32, renewed: Option<Renewed>) -> Vec<(u32, u64)> {
        let own = manifest * OWN_PACKS;
        let first_of_family = own - manifest % FAMILY * OWN_PACKS;
        let oldest = own.saturating_sub(OLDER_PACKS).max(first_of_family);
        let kept = renewed.map_or(own, |_| own + RENEWED_PACKS);
        let new = renewed.map_or(0..0, |new| new.first_pack..new.first_pack + RENEWED_PACKS);
        let age = |pack: u32| u64::from((own + OWN_PACKS - 1 - pack) / OWN_PACKS);
        (oldest..own)
            .chain(kept..own + OWN_PACKS)
            .filter(|&pack| !self.is_dead(pack))
            .map(|pack| (pack, age(pack)))
            .chain(new.map(|pack| (pack, 0)))
            .collect()
    }

    /// Whether a chunk is in use so many saves after it was put.
    fn is_used(pack: u32, chunk: u32, age: u64) -> bool {
        let lifetime = match mixed(u64::from(pack) << 32 | u64::from(chunk / BLOCK)) % 10 {
            0..4 => 0,
            4..6 => 1,
            _ => 2,
        };
        lifetime >= age
    }

    /// The manifest of a cache; `born` tells when a pack was put.
    pub(crate) fn manifest(
        &self,
        manifest: u32,
        renewed: Option<Renewed>,
        born: impl Fn(u32) -> i64,
    ) -> Manifest {
        let mut chunks = ChunkTable::default();
        for (pack, age) in self.packs_of(manifest, renewed) {
            let id = Self::pack_id(pack, born(pack));
            for (number, offset, stored_len) in self.chunks(pack) {
                if Self::is_used(pack, number, age) {
                    let raw_len = stored_len * 2 + number;
                    let at = Location { pack: id, offset, stored_len, raw_len };
                    chunks.push(chunk_id(pack, number), at);
                }
            }
        }
        let (scope, key) = names(manifest);
        let saved = renewed.map_or_else(|| self.saved(manifest), |renewed| renewed.at);
        Manifest {
            scope: scope.parse().expect("a scope"),
            key: key.parse().expect("a key"),
            writer: "larder".to_owned(),
            created: saved,
            facts: ManifestFacts {
                epoch: u64::from(renewed.is_some()),
                saved: StoreTime::from_unix(saved),
                ..ManifestFacts::default()
            },
            annotation: Annotation::default(),
            tree: self.tree.clone(),
            sequence: (0..u32::try_from(chunks.rows().len()).expect("a few")).collect(),
            sealed_by: None,
            signed_by: None,
            chunks,
        }
    }

    /// What a store calls a state of an object: as long as S3's.
    pub(crate) fn version(number: u32, state: u64) -> String {
        let hash = (mixed(u64::from(number)), mixed(state ^ u64::from(number) << 32));
        format!("\"{:016x}{:016x}\"", hash.0, hash.1)
    }
}

fn names(manifest: u32) -> (String, String) {
    let (family, member) = (manifest / FAMILY, manifest % FAMILY);
    let lockfile = mixed(u64::from(manifest) << 16);
    let scope = format!("platform/service-{family:06}");
    (scope, format!("modules-linux-x64-{member:02}-{lockfile:016x}"))
}

fn chunk_id(pack: u32, number: u32) -> ChunkId {
    let mut random = Random::new(u64::from(pack) << 24 | u64::from(number));
    let mut id = [0; ChunkId::LEN];
    for part in id.chunks_exact_mut(8) {
        part.copy_from_slice(&random.number().to_be_bytes());
    }
    ChunkId::from_bytes(id)
}

/// So many short files in directories of 20.
fn tree(files: u32) -> Tree {
    const SIZE: u64 = 4_000;
    let mut builder = TreeBuilder::default();
    let path = RelPath::new("node_modules").expect("it is relative");
    builder.begin_mount(Anchor::WorkingDirectory, path).expect("it is the only mount");
    let mut push = |depth, name: &str, kind, mode| {
        let mtime = Timestamp::default();
        let new = NewEntry { name: name.as_bytes(), kind, target: b"", mode, mtime };
        builder.push(depth, new).expect("entries come in path order");
    };
    push(0, "node_modules", Kind::Directory, 0o755);
    for file in 0..files {
        if file % 20 == 0 {
            push(1, &format!("package-{:05}", file / 20), Kind::Directory, 0o755);
        }
        let kind = Kind::File(FileData { size: SIZE, at: SIZE * u64::from(file) });
        push(2, &format!("file-{:02}.js", file % 20), kind, 0o644);
    }
    builder.finish().expect("the tree is sound")
}
