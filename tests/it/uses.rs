//! Uses of a cache while a flush is at the same manifest.

use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bytes::Bytes;
use larder::flush::{FlushRequest, Reason};
use larder::restore::{Hit, RestoreRequest, restore};
use larder::save::{SaveRequest, save};
use larder::store::{
    MemoryStore, Object, ObjectKey, ObjectMeta, Page, PutMode, Store, StoreError, Version,
};

use crate::faults::{restore_request, save_request, sound, with_context};
use crate::flush::{DAY, HOUR, World, flush_request, removed};

/// The store in memory; just before the first conditional put of a manifest,
/// something else happens to it.
struct Meddled<F> {
    store: Arc<MemoryStore>,
    meddle: Mutex<Option<F>>,
}

impl<F> fmt::Debug for Meddled<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

impl<F: FnOnce() + Send> Store for Meddled<F> {
    fn location(&self) -> String {
        self.store.location()
    }
    fn get(&self, key: &ObjectKey, max_len: u64) -> Result<Object, StoreError> {
        self.store.get(key, max_len)
    }
    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.store.get_range(key, range)
    }
    fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StoreError> {
        self.store.head(key)
    }
    fn put(&self, key: &ObjectKey, body: Bytes, mode: PutMode) -> Result<Version, StoreError> {
        if key.as_str().starts_with("manifests/") && matches!(mode, PutMode::IfMatch(_)) {
            let meddle = self.meddle.lock().unwrap().take();
            if let Some(meddle) = meddle {
                meddle();
            }
        }
        self.store.put(key, body, mode)
    }
    fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.store.list(prefix, after, limit)
    }
    fn delete(&self, keys: &[ObjectKey]) -> Result<Vec<StoreError>, StoreError> {
        self.store.delete(keys)
    }
    fn delete_if_match(&self, key: &ObjectKey, version: &Version) -> Result<(), StoreError> {
        self.store.delete_if_match(key, version)
    }
    fn now(&self) -> Result<SystemTime, StoreError> {
        self.store.now()
    }
    fn has_conditional_writes(&self) -> bool {
        self.store.has_conditional_writes()
    }
}

/// A use was not put down where a flush moved the manifest at that moment: the
/// cache went as if it had not been used. The soak found it.
#[test]
fn a_use_counts_while_the_manifest_is_moved() {
    for is_save in [false, true] {
        let world = Arc::new(World::new());
        let (a, b) = (world.tree("a"), world.tree("b"));
        world.save("a", &a);
        world.save("b", &b);
        world.pass(14 * DAY);
        assert_eq!(world.restore("b", &b), Hit::Exact);
        world.pass(DAY);
        let flushing = Arc::clone(&world);
        let meddle = move || {
            let repack = FlushRequest { repack: true, ..flush_request() };
            let report = flushing.try_flush(&repack).unwrap();
            assert_eq!(report.repacked.unwrap().manifests, 1);
        };
        let store = Meddled { store: world.store.clone(), meddle: Mutex::new(Some(meddle)) };
        let store = Arc::new(store);
        with_context(|context| {
            if is_save {
                let request = SaveRequest { key: "b".parse().unwrap(), ..save_request(&b) };
                assert!(save(store.clone(), &request, context).unwrap().unchanged);
            } else {
                let request = RestoreRequest {
                    keys: vec!["b".parse().unwrap()],
                    ..restore_request(&world.sandbox.path("used"))
                };
                assert_eq!(restore(store.clone(), &request, context).unwrap().hit, Hit::Exact);
            }
        });
        assert!(store.meddle.lock().unwrap().is_none(), "it was not put again");
        world.pass(14 * DAY - HOUR);
        assert_eq!(removed(&world.flush()), [], "{is_save}");
        assert_eq!(world.restore("b", &b), Hit::Exact);
    }
}

/// A save found its cache as it is to be, and a flush removed it before that
/// counted as a use: the save said that it succeeded, and nothing was there.
#[test]
fn an_unchanged_save_brings_back_what_is_removed_meanwhile() {
    let world = Arc::new(World::new());
    let a = world.tree("a");
    world.save("a", &a);
    world.pass(15 * DAY);
    let flushing = Arc::clone(&world);
    let meddle = move || assert_eq!(removed(&flushing.flush()), [("a", Reason::Age)]);
    let store = Meddled { store: world.store.clone(), meddle: Mutex::new(Some(meddle)) };
    let request = SaveRequest { key: "a".parse().unwrap(), ..save_request(&a) };
    with_context(|context| save(Arc::new(store), &request, context)).unwrap();
    assert_eq!(world.restore("a", &a), Hit::Exact);
    sound(&world.store);
}
