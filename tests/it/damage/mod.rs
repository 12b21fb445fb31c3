//! Damage of every kind in every place: it is noticed, named, and never
//! becomes a file.
//!
//! [`table`] has what must come of it; a [`cell`] does the damage and runs every
//! command, each on a copy of the damaged store. After each of them: no file was restored
//! that is not what was saved, no cache that was whole is lost, nothing that a newer larder
//! wrote is changed, and a following save of the key makes it whole again.
//!
//! Where damage must not matter, the command must succeed as if there were
//! none: a damaged index only costs space, a damaged stat record only time.

mod cell;
mod harm;
mod local;
mod table;
mod world;

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::support::{Sandbox, assert_same, contents, write};
use cell::{Cell, Complaints};
use harm::{Damage, Place, seal_as_newer};
use local::LocalCell;
use table::{NONE, Outcomes, TABLE, rendered};
use world::World;

/// Threads that wait for the clock's tick most of the time.
const THREADS: usize = 8;

#[test]
fn every_kind_in_every_place() {
    let world = World::new();
    let rows = TABLE.iter().rev();
    let cells = rows.flat_map(|(place, damages, outcomes)| {
        damages.iter().map(|damage| (*place, *damage, *outcomes))
    });
    let cells: Mutex<Vec<(Place, Damage, Outcomes)>> = Mutex::new(cells.collect());
    let complaints: Mutex<Complaints> = Mutex::default();
    std::thread::scope(|threads| {
        for _ in 0..THREADS {
            threads.spawn(|| {
                loop {
                    let next = cells.lock().unwrap().pop();
                    let Some((place, damage, expected)) = next else { return };
                    let (found, mut wrong) = run(&world, place, damage);
                    if found != expected {
                        wrong.push(format!("{damage:?} of {place:?} comes to {found:?}"));
                    }
                    complaints.lock().unwrap().append(&mut wrong);
                }
            });
        }
    });
    let complaints = complaints.into_inner().unwrap();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

fn run(world: &World, place: Place, damage: Damage) -> (Outcomes, Complaints) {
    if place.is_local() {
        let mut cell = LocalCell::new(world, place, damage);
        return (cell.run(), cell.complaints);
    }
    let mut cell = Cell::new(world, place, damage);
    (cell.run(), cell.complaints)
}

#[test]
fn no_damage_is_left_out() {
    for place in Place::ALL {
        for damage in Damage::ALL {
            let rows =
                TABLE.iter().filter(|(at, kinds, _)| *at == place && kinds.contains(&damage));
            let reasons =
                NONE.iter().filter(|(at, kinds, _)| at.contains(&place) && kinds.contains(&damage));
            assert_eq!(rows.count() + reasons.count(), 1, "{damage:?} of {place:?}");
        }
    }
}

#[test]
fn the_page_shows_the_table() {
    let page = include_str!("../../../docs/reliability.md");
    assert!(page.contains(&rendered()), "docs/reliability.md should have:\n{}", rendered());
}

/// A store in a directory, with the cache `k` and another one that shares nothing.
fn saved() -> Sandbox {
    let sandbox = Sandbox::new();
    write(sandbox.work("other/file"), "of another cache");
    sandbox.larder(["save", "--key", "other", "other"]).ok();
    write(sandbox.work("tree/file"), "some text".repeat(100));
    sandbox.save(&[]);
    sandbox
}

/// The newest file below a directory of the store.
fn newest(sandbox: &Sandbox, below: &str) -> PathBuf {
    let files = contents(&sandbox.store().join(below)).into_keys();
    files.max_by_key(|path| path.file_name().map(ToOwned::to_owned)).unwrap()
}

fn change(path: &PathBuf, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    crate::support::chmod(path, 0o600);
    fs::write(path, bytes).unwrap();
}

#[test]
fn the_chunk_is_named() {
    let sandbox = saved();
    change(&newest(&sandbox, "packs"), |pack| pack[20] ^= 1);
    let restore = ["restore", "--key", "k", "--to", "out"];
    let run = sandbox.larder(restore).exits(4);
    assert!(run.stderr.contains("chunk ") && run.stderr.contains("packs/"), "{}", run.stderr);
    assert!(run.stderr.contains("--no-reuse"), "{}", run.stderr);
    let error = sandbox.larder(["--json"].iter().chain(&restore)).exits(4).json();
    assert_eq!(error["exit_code"], 4);
    assert!(error["error"].as_str().unwrap().contains("chunk "));
    // The other cache is as good as before.
    sandbox.larder(["verify", "--read-data", "other"]).ok();
    let run = sandbox.larder(["verify", "--read-data"]).exits(4);
    assert!(run.stdout.contains("damaged: k in scope default"), "{}", run.stdout);
    assert!(!run.stdout.contains("damaged: other"), "{}", run.stdout);
}

#[test]
fn what_a_newer_larder_wrote_is_left_alone() {
    let sandbox = saved();
    let manifest = newest(&sandbox, "manifests/default").with_file_name("k");
    change(&manifest, |bytes| seal_as_newer(bytes));
    let newer = fs::read(&manifest).unwrap();
    let commands: [&[&str]; 4] = [
        &["restore", "--key", "k"],
        &["verify", "--read-data", "--repair"],
        &["flush", "--all-scopes"],
        &["flush", "--all-scopes", "--dry-run"],
    ];
    for command in commands {
        let run =
            sandbox.larder(command).exits(11).says("manifests/default/k was written by a newer");
        assert!(run.stderr.contains("hint: update larder"), "{}", run.stderr);
    }
    let run = sandbox.larder(["verify"]).exits(11);
    assert!(run.stdout.contains("was written by a newer larder"), "{}", run.stdout);
    assert!(!run.stdout.contains("damaged: k"), "{}", run.stdout);
    assert!(fs::read(&manifest).unwrap() == newer);
    sandbox.larder(["restore", "--key", "other"]).ok();
    // Whose key it is may save it as it can.
    sandbox.larder(["save", "--key", "k", "tree"]).ok().says("was written by a newer larder");
    sandbox.larder(["verify", "--read-data"]).ok();
}

#[test]
fn a_marker_that_cannot_be_read_is_made_anew() {
    let sandbox = saved();
    let marker = sandbox.store().join("format");
    for bytes in [vec![], vec![0; 100_000]] {
        change(&marker, |marker| *marker = bytes);
        sandbox.larder(["restore", "--key", "k"]).exits(11).says("larder verify --repair");
        let run = sandbox.larder(["verify", "--repair"]).ok();
        assert!(run.stdout.contains("the format marker was made anew"), "{}", run.stdout);
        sandbox.restore_to("out", &[]);
        assert_same(&sandbox.work("tree"), &sandbox.path("out/tree"));
    }
    // It is only lost, and told so.
    fs::remove_file(&marker).unwrap();
    let run = sandbox.larder(["verify"]).exits(4);
    assert!(run.stdout.contains("the object format is missing"), "{}", run.stdout);
    sandbox.larder(["verify", "--repair"]).ok();
    sandbox.larder(["verify"]).ok();
    // Something of that name that is not larder's is none of its business.
    let foreign = Sandbox::new();
    write(foreign.store().join("format"), "letter");
    foreign.larder(["verify", "--repair"]).exits(11);
    write(foreign.store().join("letters/one"), "Dear");
    foreign.larder(["verify", "--repair"]).exits(11);
    assert_eq!(fs::read(foreign.store().join("format")).unwrap(), b"letter");
}

/// Every single byte of a small store's objects may rot.
#[test]
fn every_byte_of_a_small_store() {
    let sandbox = Sandbox::in_memory();
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
