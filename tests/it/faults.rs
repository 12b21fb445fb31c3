//! A store operation fails, whichever it is: then the old state or the new one
//! is there, and never a mixture.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use larder::error::Error;
use larder::files::WalkSource;
use larder::format::Anchor;
use larder::progress::{Context, NoProgress};
use larder::relpath::RelPath;
use larder::restore::{Destination, Hit, RestoreReport, RestoreRequest, restore};
use larder::save::{SaveReport, SaveRequest, save};
use larder::store::{MemoryStore, When};
use larder::verify::{VerifyRequest, verify};

use crate::support::{Noise, Sandbox, assert_same, contents, listing, stage_areas, write};

pub(crate) fn save_request(tree: &Path) -> SaveRequest {
    let source = WalkSource {
        anchor: Anchor::WorkingDirectory,
        path: RelPath::new("tree").unwrap(),
        location: tree.to_owned(),
    };
    SaveRequest::new("default".parse().unwrap(), "k".parse().unwrap(), vec![source])
}

pub(crate) fn restore_request(to: &Path) -> RestoreRequest {
    let (scope, keys) = ("default".parse().unwrap(), vec!["k".parse().unwrap()]);
    let destination = Destination::Below(to.to_owned());
    RestoreRequest { delete_extra: true, ..RestoreRequest::new(scope, keys, destination) }
}

pub(crate) fn with_context<T>(run: impl FnOnce(Context<'_>) -> T) -> T {
    let stop = AtomicBool::new(false);
    run(Context { progress: &NoProgress, stop: &stop })
}

fn save_to(store: &Arc<MemoryStore>, tree: &Path) -> Result<SaveReport, Error> {
    with_context(|context| save(store.clone(), &save_request(tree), context))
}

fn restore_from(store: &Arc<MemoryStore>, to: &Path) -> Result<RestoreReport, Error> {
    with_context(|context| restore(store.clone(), &restore_request(to), context))
}

pub(crate) fn sound(store: &Arc<MemoryStore>) {
    let request = VerifyRequest { scope: None, keys: vec![], read_data: true };
    let report = with_context(|context| verify(store.clone(), &request, context)).unwrap();
    assert!(report.problems.is_empty(), "{:?}", report.problems);
}

/// Two versions of a tree, side by side.
fn versions() -> (Sandbox, PathBuf, PathBuf) {
    let sandbox = Sandbox::in_memory();
    let (old, new) = (sandbox.work("old"), sandbox.work("new"));
    let mut noise = Noise(31);
    for number in 0..30 {
        let bytes = noise.bytes(2_000);
        write(old.join(format!("d{}/f{number}", number % 3)), &bytes);
        let changed = if number % 4 == 0 { noise.bytes(2_000) } else { bytes };
        write(new.join(format!("d{}/f{number}", number % 3)), changed);
    }
    write(old.join("large"), noise.bytes(1_500_000));
    write(new.join("large"), noise.bytes(1_600_000));
    write(new.join("added/file"), b"new");
    (sandbox, old, new)
}

fn copy_of(store: &MemoryStore) -> Arc<MemoryStore> {
    use larder::store::{PutMode, Store};
    let copy = MemoryStore::new();
    for (key, body) in store.contents() {
        copy.put(&key, body, PutMode::Create).unwrap();
    }
    copy.take_calls();
    Arc::new(copy)
}

#[test]
fn a_save_fails_at_every_operation() {
    let (sandbox, old, new) = versions();
    let before = Arc::new(MemoryStore::new());
    save_to(&before, &old).unwrap();
    let (of_old, of_new) = (contents(&old), contents(&new));
    let below = |all: &BTreeMap<PathBuf, Vec<u8>>, root: &Path| -> Vec<(PathBuf, Vec<u8>)> {
        let strip = |path: &PathBuf| path.strip_prefix(root).unwrap().to_owned();
        all.iter().map(|(path, bytes)| (strip(path), bytes.clone())).collect()
    };
    let (of_old, of_new) = (below(&of_old, &old), below(&of_new, &new));
    let mut outcomes = (0, 0);
    for when in [When::Before, When::After] {
        for number in 0.. {
            let store = copy_of(&before);
            store.fail_nth(number, when);
            let result = save_to(&store, &new);
            let calls = store.take_calls();
            store.clear_faults();
            sound(&store);
            let out = sandbox.path("out");
            assert_eq!(restore_from(&store, &out).unwrap().hit, Hit::Exact);
            let restored = below(&contents(&out.join("tree")), &out.join("tree"));
            if restored == of_new {
                outcomes.1 += 1;
            } else {
                outcomes.0 += 1;
            }
            assert!(restored == of_new || restored == of_old, "{number}, {when:?}: a mixture");
            if result.is_ok() {
                assert!(restored == of_new, "{number}, {when:?}: it said that it was saved");
            }
            // The next one puts all right.
            save_to(&store, &new).unwrap();
            sound(&store);
            restore_from(&store, &out).unwrap();
            assert_same(&new, &out.join("tree"));
            fs::remove_dir_all(&out).unwrap();
            if u64::try_from(calls.len()).unwrap() <= number {
                assert!(result.is_ok());
                break;
            }
        }
    }
    assert!(outcomes.0 > 3 && outcomes.1 > 3, "both happen: {outcomes:?}");
}

#[test]
fn the_first_save_fails_at_every_operation() {
    let (sandbox, old, _) = versions();
    for when in [When::Before, When::After] {
        for number in 0.. {
            let store = Arc::new(MemoryStore::new());
            store.fail_nth(number, when);
            let result = save_to(&store, &old);
            let calls = store.take_calls().len() as u64;
            store.clear_faults();
            sound(&store);
            let out = sandbox.path("out");
            let hit = restore_from(&store, &out).unwrap().hit;
            if hit == Hit::Exact {
                assert_same(&old, &out.join("tree"));
            } else {
                assert!(result.is_err(), "{number}, {when:?}: it said that it was saved");
            }
            save_to(&store, &old).unwrap();
            restore_from(&store, &out).unwrap();
            assert_same(&old, &out.join("tree"));
            fs::remove_dir_all(&out).unwrap();
            if calls <= number {
                break;
            }
        }
    }
}

#[test]
fn a_restore_fails_at_every_operation() {
    let (sandbox, old, new) = versions();
    let store = Arc::new(MemoryStore::new());
    save_to(&store, &old).unwrap();
    let out = sandbox.path("out");
    restore_from(&store, &out).unwrap();
    save_to(&store, &new).unwrap();
    store.take_calls();
    for number in 0.. {
        // Nothing of a restore changes the store: before and after are one.
        store.fail_nth(number, When::Before);
        let (before, areas) = (listing(&out.join("tree")), stage_areas(&out));
        assert!(areas.is_empty());
        let result = restore_from(&store, &out);
        let calls = store.take_calls().len() as u64;
        store.clear_faults();
        assert!(stage_areas(&out).is_empty());
        if result.is_ok() {
            assert!(calls <= number);
            assert_same(&new, &out.join("tree"));
            break;
        }
        let after = listing(&out.join("tree"));
        // The directory in which the area lay has another time: all it shows.
        let changed: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
        assert!(changed.len() <= 1 && after.len() == before.len(), "{number}: {changed:?}");
        assert!(number < 50, "it never succeeds");
    }
}

/// Requests are part of what a store costs: these are all that a save and a
/// restore make, and in which order. The first two are made at once.
#[test]
fn requests_of_a_save_and_a_restore() {
    let (sandbox, old, new) = versions();
    let store = Arc::new(MemoryStore::new());
    let said = |store: &MemoryStore| -> String {
        let calls = store.take_calls();
        let name = |call: &larder::store::Call| {
            let kind = call.objects.first().cloned().unwrap_or_default();
            let kind = kind.split('/').next().unwrap_or_default().to_owned();
            format!("{:?} {kind}", call.operation).to_lowercase()
        };
        let mut names: Vec<_> = calls.iter().map(name).collect();
        names[..2].sort();
        // So are the last two of a save that put something.
        if names.iter().any(|name| name == "put manifests") {
            let end = names.len() - 2;
            names[end..].sort();
        }
        names.join(", ")
    };
    save_to(&store, &old).unwrap();
    insta::assert_snapshot!(said(&store), @"get format, get manifests, list , put format, get gc, list manifests, list index, put packs, put manifests, get gc, put index");
    save_to(&store, &old).unwrap();
    insta::assert_snapshot!(said(&store), @"get format, get manifests, get gc");
    save_to(&store, &new).unwrap();
    insta::assert_snapshot!(said(&store), @"get format, get manifests, get gc, list index, get index, put packs, put manifests, get gc, put index");
    restore_from(&store, &sandbox.path("out")).unwrap();
    insta::assert_snapshot!(said(&store), @"get format, get manifests, get packs");
    restore_from(&store, &sandbox.path("out")).unwrap();
    insta::assert_snapshot!(said(&store), @"get format, get manifests");
}
