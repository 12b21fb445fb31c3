//! A store in memory with everything in it that can be damaged, and what was
//! saved in it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use larder::error::Error;
use larder::flush::{FlushReport, flush};
use larder::format::{GcState, Layout, Location, SealedManifest};
use larder::ids::{ChunkId, TableId};
use larder::progress::{Context, Progress, Warning};
use larder::restore::{RestoreReport, RestoreRequest, restore};
use larder::save::{SaveReport, SaveRequest, save};
use larder::store::{MemoryStore, ObjectKey, Store};
use larder::verify::{VerifyReport, VerifyRequest, verify};

use crate::faults::{restore_request, save_request};
use crate::flush::flush_request;
use crate::support::{Noise, Sandbox, contents, write};

/// The key whose objects are damaged. The others stand by, and must not suffer.
pub(super) const VICTIM: &str = "a";

const HOUR: Duration = Duration::from_secs(3_600);

pub(super) type Files = BTreeMap<PathBuf, Vec<u8>>;

/// A store, and states that it was in.
pub(super) struct World {
    sandbox: Sandbox,
    /// The store: flushed twice, and then saved to.
    pub(super) store: MemoryStore,
    /// The same, before the second flush.
    pub(super) old: MemoryStore,
    /// A store that has nothing to do with it.
    pub(super) foreign: MemoryStore,
}

impl World {
    pub(super) fn new() -> Self {
        let sandbox = Sandbox::in_memory();
        let store = Arc::new(MemoryStore::new());
        plant(&sandbox);
        let put = |key: &str, tree: &str| {
            save_as(&store, key, &sandbox.work(tree)).unwrap();
        };
        put(VICTIM, "before");
        put("gone", "foreign");
        let gone = Layout::manifest(&"default".parse().unwrap(), &"gone".parse().unwrap());
        store.delete(&[gone.unwrap()]).unwrap();
        store.advance_clock(30 * HOUR);
        flush_it(&store).unwrap();
        put("b", "b");
        let old = store.fork();
        put(VICTIM, "a");
        put("c", "c");
        store.advance_clock(30 * HOUR);
        flush_it(&store).unwrap();
        put("d", "d");
        put("e", "e");

        let foreign = Arc::new(MemoryStore::new());
        save_as(&foreign, "x", &sandbox.work("foreign")).unwrap();
        flush_it(&foreign).unwrap();
        Self { sandbox, store: store.fork(), old, foreign: foreign.fork() }
    }

    /// A directory of this name, beside those that were saved.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.sandbox.path(name)
    }

    /// A tree that was saved, or is to be.
    pub(super) fn tree(&self, name: &str) -> PathBuf {
        self.sandbox.work(name)
    }

    pub(super) fn files(&self, tree: &str) -> Files {
        below(&self.tree(tree))
    }

    fn manifest(&self, key: &str) -> SealedManifest {
        let object = manifest_of(key);
        SealedManifest::decode(&self.store.contents()[&object]).unwrap()
    }

    /// A chunk that only the victim needs, and where it lies.
    pub(super) fn chunk(&self) -> (ChunkId, Location) {
        let others: BTreeSet<_> =
            self.manifest("c").chunks.rows().iter().map(|(id, _)| *id).collect();
        let manifest = self.manifest(VICTIM);
        let newest = manifest.chunks.packs().into_iter().max().unwrap();
        let rows = manifest.chunks.rows().iter();
        let mut own = rows.filter(|(id, at)| at.pack == newest && !others.contains(id));
        *own.next().unwrap()
    }
}

/// The trees: `a` came after `before`, `c` has a file of it, and `next`, which comes
/// after it, has files of all.
fn plant(sandbox: &Sandbox) {
    let large = |name: &str| {
        Noise(name.bytes().fold(7, |seed, byte| seed * 31 + u64::from(byte))).bytes(140_000)
    };
    let trees: [(&str, &[&str]); 8] = [
        ("before", &["kept", "dropped"]),
        ("a", &["kept", "own", "shared"]),
        ("b", &["b"]),
        ("c", &["shared", "c"]),
        ("d", &["d"]),
        ("e", &["e"]),
        ("next", &["kept", "own", "shared", "b", "d", "new"]),
        ("foreign", &["foreign"]),
    ];
    for (tree, files) in trees {
        for file in files {
            write(sandbox.work(tree).join("large").join(file), large(file));
        }
        write(sandbox.work(tree).join("small"), format!("a small file of {tree}"));
    }
}

pub(super) fn manifest_of(key: &str) -> ObjectKey {
    Layout::manifest(&"default".parse().unwrap(), &key.parse().unwrap()).unwrap()
}

/// The index table that a store's state names.
pub(super) fn table_of(store: &MemoryStore) -> TableId {
    GcState::decode(&store.contents()[&Layout::gc_state()]).unwrap().table.unwrap()
}

pub(super) fn below(root: &Path) -> Files {
    let strip =
        |(path, bytes): (PathBuf, Vec<u8>)| (path.strip_prefix(root).unwrap().to_owned(), bytes);
    contents(root).into_iter().map(strip).collect()
}

/// Hears warnings.
#[derive(Default)]
struct Ears {
    warned: AtomicBool,
}

impl Progress for Ears {
    fn warn(&self, _: Warning) {
        self.warned.store(true, Ordering::Relaxed);
    }
}

/// Runs a command; gives whether it warned, too.
pub(super) fn heard<T>(
    run: impl FnOnce(Context<'_>) -> Result<T, Error>,
) -> Result<(T, bool), Error> {
    let (ears, stop) = (Ears::default(), AtomicBool::new(false));
    let done = run(Context { progress: &ears, stop: &stop })?;
    Ok((done, ears.warned.load(Ordering::Relaxed)))
}

fn save_as(store: &Arc<MemoryStore>, key: &str, tree: &Path) -> Result<(SaveReport, bool), Error> {
    let request = SaveRequest { key: key.parse().unwrap(), ..save_request(tree) };
    heard(|context| save(store.clone(), &request, context))
}

/// Saves under the victim's key.
pub(super) fn save_it(
    store: &Arc<MemoryStore>,
    tree: &Path,
    reuse: bool,
) -> Result<(SaveReport, bool), Error> {
    let request = SaveRequest { key: VICTIM.parse().unwrap(), reuse, ..save_request(tree) };
    heard(|context| save(store.clone(), &request, context))
}

/// Restores the victim.
pub(super) fn restore_it(
    store: &Arc<MemoryStore>,
    to: &Path,
) -> Result<(RestoreReport, bool), Error> {
    let request = RestoreRequest { keys: vec![VICTIM.parse().unwrap()], ..restore_request(to) };
    heard(|context| restore(store.clone(), &request, context))
}

pub(super) fn flush_it(store: &Arc<MemoryStore>) -> Result<(FlushReport, bool), Error> {
    heard(|context| flush(store.clone(), &flush_request(), context))
}

pub(super) fn verify_it(
    store: &Arc<MemoryStore>,
    read_data: bool,
) -> Result<(VerifyReport, bool), Error> {
    let request = VerifyRequest { scope: None, keys: vec![], read_data };
    heard(|context| verify(store.clone(), &request, context))
}
