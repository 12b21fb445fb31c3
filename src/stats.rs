//! Stats: how much a store holds, and what deduplication and compression save.
//!
//! All manifests are read, a few at once: of each only its sums stay in memory, and
//! of each chunk of the store a few words.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, PoisonError};

use crate::budget::Budget;
use crate::error::Error;
use crate::format::{ChunkTable, Lifetime};
use crate::ids::{ChunkId, Key, PackId, Scope};
use crate::progress::{Context, Phase, Warning};
use crate::repository::{Access, ListedManifest, ListedPack, Repository};
use crate::store_time::StoreTime;
use crate::sync::lock;
use crate::workers;

/// Manifests read at once: a service takes some ten milliseconds for each.
const READERS: usize = 16;

/// Bytes of manifests being read, unpacked.
const BUDGET: usize = 256 << 20;

/// How much longer a manifest with its tree is than its object, at the most that is
/// likely.
const UNPACKED: usize = 16;

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
    /// When it was saved.
    pub saved: StoreTime,
    /// When it was last saved or used.
    pub last_used: StoreTime,
    /// How long it is to live.
    pub lifetime: Lifetime,
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
    pub packs: Vec<ListedPack>,
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

/// A chunk's lengths, and who holds it.
struct Use {
    raw_len: u32,
    /// The least, if it was stored more than once.
    stored_len: u32,
    /// How many keys do.
    keys: u32,
    /// The number of one of them.
    holder: u32,
    /// Whether one of the keys that were asked for does.
    asked_for: bool,
}

/// Reads all manifests of a store, and counts for the keys of a scope, or of
/// all of them.
///
/// # Errors
/// Those of the store.
pub fn stats(
    access: impl Into<Access>,
    scope: Option<&Scope>,
    context: Context<'_>,
) -> Result<Stats, Error> {
    let Some(repository) = Repository::open(access)? else {
        return Ok(Stats::default());
    };
    let listed = repository.list_all_manifests()?;
    let count = Count { repository: &repository, scope, context, seen: Mutex::default() };
    let read = count.read(listed)?;
    let seen = count.seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    let mut stats = seen.sums(read);
    stats.packs = repository.list_packs()?;
    stats.pack_bytes = stats.packs.iter().map(|pack| pack.len).sum();
    let dead = stats.packs.iter().filter(|pack| !seen.packs.contains(&pack.id));
    stats.unreferenced_bytes = dead.map(|pack| pack.len).sum();
    Ok(stats)
}

/// A count that is going on.
struct Count<'a> {
    repository: &'a Repository,
    scope: Option<&'a Scope>,
    context: Context<'a>,
    seen: Mutex<Seen>,
}

/// What all manifests together refer to.
#[derive(Default)]
struct Seen {
    chunks: HashMap<ChunkId, Use>,
    packs: HashSet<PackId>,
}

/// What came of reading a manifest that is there.
enum Read {
    /// Of a key that was asked for.
    Counted(KeyStats),
    /// Of another: only what it refers to counts.
    Other,
    Damaged(Key),
}

impl Count<'_> {
    /// What came of each, by its number in the listing.
    fn read(&self, listed: Vec<ListedManifest>) -> Result<Vec<Option<Read>>, Error> {
        let bytes = listed.iter().map(|listed| listed.len).sum();
        self.context.progress.begin(Phase::Mark, listed.len() as u64, bytes);
        let budget = Budget::new(BUDGET);
        let numbered = (0u32..).zip(listed).collect();
        workers::try_map(READERS, numbered, self.context, |(number, listed)| {
            let len = usize::try_from(listed.len).unwrap_or(usize::MAX / UNPACKED);
            let _permit = budget.take(len.saturating_mul(UNPACKED));
            let read = self.read_one(number, &listed);
            self.context.progress.advance(1, listed.len);
            read
        })
    }

    fn read_one(&self, number: u32, listed: &ListedManifest) -> Result<Option<Read>, Error> {
        let stored = match self.repository.manifest(&listed.scope, &listed.key) {
            Ok(Some(stored)) => stored,
            Ok(None) => return Ok(None),
            Err(error) if error.is_unreadable() => {
                return Ok(Some(Read::Damaged(listed.key.clone())));
            }
            // How many files it has nobody can tell; what it refers to counts.
            Err(error @ Error::Distrusted { .. }) => {
                self.context.progress.warn(Warning::Distrusted { error: error.to_string() });
                if let Some((_, references)) = self.repository.references(listed)? {
                    lock(&self.seen).add(number, false, &references.chunks);
                }
                return Ok(Some(Read::Other));
            }
            Err(error) => return Err(error),
        };
        let asked_for = self.scope.is_none_or(|scope| *scope == listed.scope);
        lock(&self.seen).add(number, asked_for, &stored.manifest.chunks);
        if !asked_for {
            return Ok(Some(Read::Other));
        }
        let last_used = stored.last_used();
        let manifest = stored.manifest;
        let stored_lens = manifest.chunks.rows().iter().map(|(_, at)| u64::from(at.stored_len));
        Ok(Some(Read::Counted(KeyStats {
            files: manifest.tree.file_count(),
            raw_bytes: manifest.tree.raw_bytes(),
            stored_bytes: stored_lens.sum(),
            only_here_bytes: 0,
            manifest_bytes: listed.len,
            saved: manifest.facts.saved,
            last_used,
            lifetime: manifest.facts.lifetime,
            scope: manifest.scope,
            key: manifest.key,
        })))
    }
}

impl Seen {
    fn add(&mut self, number: u32, asked_for: bool, chunks: &ChunkTable) {
        self.packs.extend(chunks.packs());
        for (id, at) in chunks.rows() {
            let known = self.chunks.entry(*id).or_insert(Use {
                raw_len: at.raw_len,
                stored_len: at.stored_len,
                keys: 0,
                holder: number,
                asked_for,
            });
            known.stored_len = known.stored_len.min(at.stored_len);
            known.keys += 1;
            known.asked_for |= asked_for;
        }
    }

    /// The sums of what was read.
    fn sums(&self, read: Vec<Option<Read>>) -> Stats {
        let mut stats = Stats::default();
        let mut only_here: HashMap<u32, u64> = HashMap::new();
        for known in self.chunks.values().filter(|known| known.asked_for) {
            stats.chunks += 1;
            stats.unique_bytes += u64::from(known.raw_len);
            stats.stored_bytes += u64::from(known.stored_len);
            if known.keys == 1 {
                *only_here.entry(known.holder).or_default() += u64::from(known.stored_len);
            }
        }
        for (number, read) in (0u32..).zip(read) {
            match read {
                Some(Read::Counted(key)) => {
                    stats.raw_bytes = stats.raw_bytes.saturating_add(key.raw_bytes);
                    let only_here_bytes = only_here.get(&number).copied().unwrap_or(0);
                    stats.keys.push(KeyStats { only_here_bytes, ..key });
                }
                Some(Read::Damaged(key)) => stats.damaged.push(key),
                Some(Read::Other) | None => {}
            }
        }
        stats
    }
}
