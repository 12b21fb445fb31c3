//! Damage of every kind in every place: it is noticed, named, and never
//! becomes a file.
//!
//! Where damage must not matter, the command must succeed as if there were
//! none: a damaged index only costs space, a damaged stat record only time.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{
    Run, Sandbox, assert_same, chmod, contents, ctimes, plant, run, stage_areas, write,
};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Flip,
    Truncation,
    Zeros,
    Deletion,
    /// Another object of the same kind lies there.
    Swap,
}
use Kind::{Deletion, Flip, Swap, Truncation, Zeros};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Place {
    Marker,
    Manifest,
    PackBody,
    PackFooter,
    Delta,
    StatRecord,
}
use Place::{Delta, Manifest, Marker, PackBody, PackFooter, StatRecord};

/// What must come of it: the exit codes of restore into nothing, restore over
/// a tree in which everything differs, save, verify, and verify --read-data.
const MATRIX: &[(Place, Kind, [i32; 5])] = &[
    // Not a store any more: nobody touches it.
    (Marker, Flip, [11, 11, 11, 11, 11]),
    (Marker, Truncation, [11, 11, 11, 11, 11]),
    (Marker, Zeros, [11, 11, 11, 11, 11]),
    // Without a marker there is no store: a miss. A save puts it back, where there
    // is nothing but what a store has.
    (Marker, Deletion, [0, 0, 0, 0, 0]),
    // A save makes a manifest anew, whatever lies there.
    (Manifest, Flip, [4, 4, 0, 4, 4]),
    (Manifest, Truncation, [4, 4, 0, 4, 4]),
    (Manifest, Zeros, [4, 4, 0, 4, 4]),
    (Manifest, Deletion, [0, 0, 0, 0, 0]),
    (Manifest, Swap, [4, 4, 0, 4, 4]),
    // A save reads no packs. Without reading data, verify sees what the length
    // and the footer tell.
    (PackBody, Flip, [4, 4, 0, 0, 4]),
    (PackBody, Truncation, [4, 4, 0, 4, 4]),
    (PackBody, Zeros, [4, 4, 0, 0, 4]),
    (PackBody, Deletion, [4, 4, 0, 4, 4]),
    (PackBody, Swap, [4, 4, 0, 4, 4]),
    // A restore needs no footer: the manifest knows where chunks lie.
    (PackFooter, Flip, [0, 0, 0, 4, 4]),
    (PackFooter, Truncation, [0, 0, 0, 4, 4]),
    (PackFooter, Zeros, [0, 0, 0, 4, 4]),
    (Delta, Flip, [0, 0, 0, 0, 0]),
    (Delta, Truncation, [0, 0, 0, 0, 0]),
    (Delta, Zeros, [0, 0, 0, 0, 0]),
    (Delta, Deletion, [0, 0, 0, 0, 0]),
    (Delta, Swap, [0, 0, 0, 0, 0]),
    (StatRecord, Flip, [0, 0, 0, 0, 0]),
    (StatRecord, Truncation, [0, 0, 0, 0, 0]),
    (StatRecord, Zeros, [0, 0, 0, 0, 0]),
    (StatRecord, Deletion, [0, 0, 0, 0, 0]),
    (StatRecord, Swap, [0, 0, 0, 0, 0]),
];

/// A store with two caches that share nothing: so each has its own pack, delta
/// and record, of which one is damaged and the other is what it is swapped with.
struct Case {
    sandbox: Sandbox,
}

impl Case {
    fn new() -> Self {
        let sandbox = Sandbox::new();
        plant(&sandbox.work("other"), 60, 21);
        plant(&sandbox.work("tree"), 60, 22);
        // Its record must vouch for it, or damage to the record shows nothing.
        std::thread::sleep(std::time::Duration::from_millis(50));
        sandbox.larder(["save", "--key", "other", "other"]).ok();
        sandbox.save(&[]);
        let copy = ["cp", "-a"];
        let mut command = std::process::Command::new(copy[0]);
        run(command.arg(copy[1]).args([sandbox.work("tree"), sandbox.path("good")])).ok();
        // What a restore meets that has all to do.
        for name in ["big.bin", "pkg00/lib0/f0.js", "mine"] {
            write(sandbox.path("differs/tree").join(name), b"what was there");
        }
        Self { sandbox }
    }

    /// A copy of the case, because damage is for good.
    fn again(&self) -> Self {
        let sandbox = Sandbox::new();
        let mut command = std::process::Command::new("cp");
        let from = self.sandbox.path(".");
        run(command.arg("-a").arg(from).arg(sandbox.path("."))).ok();
        Self { sandbox }
    }

    /// The objects of a kind: the one to damage, and another.
    fn objects(&self, place: Place) -> (PathBuf, Option<PathBuf>) {
        let store = self.sandbox.store();
        let (directory, newest_is_ours) = match place {
            Marker => return (store.join("format"), None),
            Manifest => {
                let manifests = store.join("manifests/default");
                return (manifests.join("k"), Some(manifests.join("other")));
            }
            PackBody | PackFooter => (store.join("packs"), true),
            Delta => (store.join("index/deltas"), true),
            StatRecord => (self.sandbox.path("cache/larder/records"), false),
        };
        let mut files: Vec<PathBuf> = contents(&directory).into_keys().collect();
        files.sort_by_key(|path| path.file_name().map(ToOwned::to_owned));
        assert_eq!(files.len(), 2, "{place:?}: {files:?}");
        let newest = files.pop().unwrap();
        let oldest = files.pop().unwrap();
        if !newest_is_ours {
            // Named by a hash: told apart by age.
            let age = |path: &Path| fs::metadata(path).unwrap().modified().unwrap();
            if age(&newest) < age(&oldest) {
                return (oldest, Some(newest));
            }
        }
        (newest, Some(oldest))
    }

    fn damage(&self, place: Place, kind: Kind) -> PathBuf {
        let (path, other) = self.objects(place);
        chmod(&path, 0o600);
        let mut bytes = fs::read(&path).unwrap();
        let len = bytes.len();
        // Near the end lies a footer; a fifth into it, the body of anything.
        let at = match place {
            PackFooter => len - 40,
            // In the store's id, which is any id, a flip tells nothing.
            Marker => 4,
            _ => len / 5,
        };
        match kind {
            Flip => bytes[at] ^= 0x10,
            Truncation if place == PackFooter => bytes.truncate(len - 9),
            Truncation => bytes.truncate(at),
            Zeros => bytes[at..(at + 24).min(len)].fill(0),
            Deletion => {
                fs::remove_file(&path).unwrap();
                return path;
            }
            Swap => bytes = fs::read(other.unwrap()).unwrap(),
        }
        fs::write(&path, bytes).unwrap();
        path
    }

    fn restore(&self, to: &str) -> Run {
        let to = self.sandbox.path(to);
        self.sandbox.larder(["restore", "--key", "k", "--to", to.to_str().unwrap()])
    }

    fn verify(&self, more: &[&str]) -> Run {
        self.sandbox.larder(["verify"].iter().chain(more))
    }
}

#[track_caller]
fn check(run: &Run, code: i32, object: &Path, case: &str) {
    assert_eq!(run.code, Some(code), "{case}: {}{}", run.stdout, run.stderr);
    if code == 4 {
        let name = object.file_name().unwrap().to_str().unwrap();
        let told = format!("{}{}", run.stdout, run.stderr);
        assert!(told.contains(name), "{case} does not name {name}: {told}");
    }
}

#[test]
fn every_kind_in_every_place() {
    let pristine = Case::new();
    for &(place, kind, codes) in MATRIX {
        let case = pristine.again();
        let sandbox = &case.sandbox;
        let object = case.damage(place, kind);
        let [into_nothing, over, save, verify, read_data] = codes;

        let name = format!("{kind:?} of {place:?}, restore");
        check(&case.restore("out"), into_nothing, &object, &name);
        let out = sandbox.path("out/tree");
        let is_hit = into_nothing == 0 && !(kind == Deletion && matches!(place, Marker | Manifest));
        if is_hit {
            assert_same(&sandbox.path("good"), &out);
        } else {
            assert!(!out.exists(), "{name}");
            assert!(contents(&sandbox.path("out")).is_empty(), "{name}");
        }

        let name = format!("{kind:?} of {place:?}, restore over another tree");
        let before = (ctimes(&sandbox.path("differs/tree")), contents(&sandbox.path("differs")));
        check(&case.restore("differs"), over, &object, &name);
        if !is_hit {
            let after = (ctimes(&sandbox.path("differs/tree")), contents(&sandbox.path("differs")));
            let changed: Vec<_> =
                after.0.iter().filter(|(path, state)| before.0.get(*path) != Some(state)).collect();
            // The area's coming and going shows in the directory's own times.
            let root = sandbox.path("differs/tree");
            assert!(changed.iter().all(|(path, _)| **path == root), "{name}: {changed:?}");
            assert_eq!(after.1, before.1, "{name}");
        }
        assert_eq!(stage_areas(&sandbox.path(".")), Vec::<PathBuf>::new(), "{name}");

        let name = format!("{kind:?} of {place:?}, verify");
        check(&case.verify(&[]), verify, &object, &name);
        check(&case.verify(&["--read-data"]), read_data, &object, &name);

        let name = format!("{kind:?} of {place:?}, save");
        let saved = sandbox.larder(["save", "--key", "k", "tree"]);
        check(&saved, save, &object, &name);
        if save == 0 && !matches!(place, PackBody | PackFooter) {
            case.restore("after").ok();
            assert_same(&sandbox.path("good"), &sandbox.path("after/tree"));
        }
        // What heals: a save that trusts nothing in the store.
        if save == 0 {
            sandbox.larder(["save", "--no-reuse", "--key", "k", "tree"]).ok();
            case.restore("healed").ok();
            assert_same(&sandbox.path("good"), &sandbox.path("healed/tree"));
            sandbox.larder(["verify", "--read-data", "k"]).ok();
        }
    }
}

/// Somebody saves with another key while a pack that both need is damaged: no
/// chunk of the pack may be taken for good once the damage is known to be there.
#[test]
fn the_chunk_is_named() {
    let case = Case::new();
    case.damage(PackBody, Flip);
    let run = case.restore("out").exits(4);
    assert!(run.stderr.contains("chunk ") && run.stderr.contains("packs/"), "{}", run.stderr);
    assert!(run.stderr.contains("--no-reuse"), "{}", run.stderr);
    let run = case.sandbox.larder(["--json", "restore", "--key", "k", "--to", "out2"]).exits(4);
    let error = run.json();
    assert_eq!(error["exit_code"], 4);
    assert!(error["error"].as_str().unwrap().contains("chunk "));
    // The other cache is as good as before.
    case.sandbox.larder(["verify", "--read-data", "other"]).ok();
    let run = case.verify(&["--read-data"]).exits(4);
    assert!(run.stdout.contains("damaged: k in scope default"), "{}", run.stdout);
    assert!(!run.stdout.contains("damaged: other"), "{}", run.stdout);
}

/// Every single byte of a small store's objects may rot.
#[test]
fn every_byte_of_a_small_store() {
    let sandbox = Sandbox::new();
    write(sandbox.work("tree/file"), b"some text, some text, some text");
    write(sandbox.work("tree/sub/other"), b"other text");
    sandbox.save(&["--no-stat-record"]);
    let store = std::sync::Arc::new(larder::store::MemoryStore::new());
    use larder::store::{ObjectKey, PutMode, Store};
    let load = |store: &larder::store::MemoryStore| {
        for (path, bytes) in contents(&sandbox.store()) {
            let name = path.strip_prefix(sandbox.store()).unwrap().to_str().unwrap().to_owned();
            if !name.contains('#') {
                store
                    .put(&ObjectKey::new(name).unwrap(), bytes.into(), PutMode::Overwrite)
                    .unwrap();
            }
        }
    };
    load(&store);
    let objects: Vec<(ObjectKey, usize)> =
        store.contents().into_iter().map(|(key, body)| (key, body.len())).collect();
    assert!(objects.len() >= 4, "{objects:?}");
    let good = contents(&sandbox.work("tree"));
    let stop = std::sync::atomic::AtomicBool::new(false);
    let context =
        larder::progress::Context { progress: &larder::progress::NoProgress, stop: &stop };
    let mut refused = 0;
    for (key, len) in objects {
        for at in 0..len {
            store.flip_byte(&key, at);
            let to = sandbox.path("rot");
            let request = crate::faults::restore_request(&to);
            match larder::restore::restore(store.clone(), &request, context) {
                Ok(report) => {
                    let found = contents(&to.join("tree"));
                    let same = good.values().eq(found.values());
                    assert!(same, "byte {at} of {key}: {report:?}, {found:?}");
                }
                Err(_) => {
                    refused += 1;
                    assert!(!to.join("tree").exists(), "byte {at} of {key}");
                }
            }
            let _ = fs::remove_dir_all(&to);
            store.flip_byte(&key, at);
        }
    }
    assert!(refused > 500, "only {refused} were noticed");
}
