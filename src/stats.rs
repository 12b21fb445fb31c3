//! Stats: how much a store holds, and what deduplication and compression save.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::error::Error;
use crate::ids::{ChunkId, Key, PackId, Scope};
use crate::progress::Context;
use crate::repository::Repository;
use crate::store::Store;

/// What one key holds.
#[derive(Debug, Clone)]
pub struct KeyStats {
    /// Its namespace.
    pub scope: Scope,
    /// The key.
    pub key: Key,
    /// Regular files, hard links included.
    pub files: u64,
    /// Bytes of all files.
    pub raw_bytes: u64,
    /// Stored bytes of its chunks, shared ones included.
    pub stored_bytes: u64,
    /// Stored bytes of the chunks that no other key of the store holds.
    pub only_here_bytes: u64,
    /// Bytes of its manifest.
    pub manifest_bytes: u64,
}

/// What a store holds.
#[derive(Debug, Default, Clone)]
pub struct Stats {
    /// The keys that were asked for.
    pub keys: Vec<KeyStats>,
    /// Bytes of all files of these.
    pub raw_bytes: u64,
    /// Bytes of their chunks, each once, uncompressed.
    pub unique_bytes: u64,
    /// The same, as stored.
    pub stored_bytes: u64,
    /// Chunks, each once.
    pub chunks: u64,
    /// Packs in the store, whoever needs them.
    pub packs: u64,
    /// Bytes of these packs.
    pub pack_bytes: u64,
    /// Bytes of packs that no manifest of the store refers to.
    pub unreferenced_bytes: u64,
    /// Manifests that could not be read, and are not counted.
    pub damaged: Vec<Key>,
}

impl Stats {
    /// How often each stored byte is used: raw to unique bytes.
    pub fn dedup_ratio(&self) -> f64 {
        ratio(self.raw_bytes, self.unique_bytes)
    }

    /// Unique to stored bytes.
    pub fn compression_ratio(&self) -> f64 {
        ratio(self.unique_bytes, self.stored_bytes)
    }
}

#[allow(clippy::cast_precision_loss)]
fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 1.0 } else { a as f64 / b as f64 }
}

/// A chunk's lengths, and how many keys hold it.
struct Use {
    raw_len: u32,
    stored_len: u32,
    keys: u32,
    /// Whether one of the keys that were asked for does.
    asked_for: bool,
}

/// Reads all manifests of a store, and counts for the keys of a scope, or of
/// all of them.
///
/// # Errors
/// Those of the store.
pub fn stats(
    store: Arc<dyn Store>,
    scope: Option<&Scope>,
    context: Context<'_>,
) -> Result<Stats, Error> {
    let mut stats = Stats::default();
    let Some(repository) = Repository::open(store)? else {
        return Ok(stats);
    };
    let mut uses: HashMap<ChunkId, Use> = HashMap::new();
    let mut held: Vec<Vec<ChunkId>> = vec![];
    let mut live_packs: HashSet<PackId> = HashSet::new();
    for listed in repository.list_all_manifests()? {
        context.check()?;
        let asked_for = scope.is_none_or(|scope| *scope == listed.scope);
        let manifest = match repository.manifest(&listed.scope, &listed.key) {
            Ok(Some(stored)) => stored.manifest,
            Ok(None) => continue,
            Err(error) if error.is_damage() => {
                stats.damaged.push(listed.key);
                continue;
            }
            Err(error) => return Err(error),
        };
        live_packs.extend(manifest.chunks.packs());
        for (id, at) in manifest.chunks.rows() {
            let known = uses.entry(*id).or_insert(Use {
                raw_len: at.raw_len,
                stored_len: at.stored_len,
                keys: 0,
                asked_for,
            });
            known.keys += 1;
            known.asked_for |= asked_for;
        }
        if asked_for {
            held.push(manifest.chunks.rows().iter().map(|(id, _)| *id).collect());
            stats.keys.push(KeyStats {
                files: manifest.tree.file_count(),
                raw_bytes: manifest.tree.raw_bytes(),
                stored_bytes: 0,
                only_here_bytes: 0,
                manifest_bytes: listed.len,
                scope: listed.scope,
                key: listed.key,
            });
        }
    }
    for (key, chunks) in stats.keys.iter_mut().zip(held) {
        for chunk in chunks {
            let known = &uses[&chunk];
            key.stored_bytes += u64::from(known.stored_len);
            if known.keys == 1 {
                key.only_here_bytes += u64::from(known.stored_len);
            }
        }
        stats.raw_bytes += key.raw_bytes;
    }
    for known in uses.values().filter(|known| known.asked_for) {
        stats.chunks += 1;
        stats.unique_bytes += u64::from(known.raw_len);
        stats.stored_bytes += u64::from(known.stored_len);
    }
    let packs = repository.list_packs()?;
    stats.packs = packs.len() as u64;
    stats.pack_bytes = packs.iter().map(|pack| pack.len).sum();
    let dead = packs.iter().filter(|pack| !live_packs.contains(&pack.id));
    stats.unreferenced_bytes = dead.map(|pack| pack.len).sum();
    Ok(stats)
}
