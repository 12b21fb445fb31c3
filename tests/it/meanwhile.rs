//! What happens in the very instant before a request of a save, a restore or a
//! flush: stories that simulation and soak have found, told one by one.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use bytes::Bytes;
use larder::flush::{FlushRequest, Reason, flush};
use larder::restore::{Hit, RestoreRequest, restore};
use larder::save::{SaveRequest, save};
use larder::store::{
    Object, ObjectKey, ObjectMeta, Operation, Page, PutMode, Store, StoreError, Version,
};

use crate::faults::{restore_request, save_request, sound, with_context};
use crate::flush::{DAY, HOUR, World, flush_request, removed};

/// A store to which something happens in the instant before a request.
pub(crate) struct Meanwhile<F> {
    store: Arc<dyn Store>,
    /// The request, by its kind and what its key begins with.
    before: (Operation, &'static str),
    happens: Mutex<Option<F>>,
}

impl<F: FnOnce() + Send> Meanwhile<F> {
    pub(crate) fn new(world: &World, before: (Operation, &'static str), happens: F) -> Arc<Self> {
        Self::over(world.store.clone(), before, happens)
    }

    /// Over another store, in which more can happen.
    pub(crate) fn over(
        store: Arc<dyn Store>,
        before: (Operation, &'static str),
        happens: F,
    ) -> Arc<Self> {
        Arc::new(Self { store, before, happens: Mutex::new(Some(happens)) })
    }

    pub(crate) fn has_happened(&self) -> bool {
        self.happens.lock().unwrap().is_none()
    }

    fn ask(&self, operation: Operation, key: &str) -> &dyn Store {
        if self.before.0 == operation
            && key.starts_with(self.before.1)
            && let Some(happens) = self.happens.lock().unwrap().take()
        {
            happens();
        }
        &*self.store
    }
}

impl<F> std::fmt::Debug for Meanwhile<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meanwhile")
    }
}

impl<F: FnOnce() + Send> Store for Meanwhile<F> {
    fn location(&self) -> String {
        self.store.location()
    }
    fn get(&self, key: &ObjectKey, max_len: u64) -> Result<Object, StoreError> {
        self.ask(Operation::Get, key.as_str()).get(key, max_len)
    }
    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.ask(Operation::Get, key.as_str()).get_range(key, range)
    }
    fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StoreError> {
        self.ask(Operation::Head, key.as_str()).head(key)
    }
    fn put(&self, key: &ObjectKey, body: Bytes, mode: PutMode) -> Result<Version, StoreError> {
        self.ask(Operation::Put, key.as_str()).put(key, body, mode)
    }
    fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.ask(Operation::List, prefix).list(prefix, after, limit)
    }
    fn delete(&self, keys: &[ObjectKey]) -> Result<Vec<StoreError>, StoreError> {
        self.ask(Operation::Delete, keys[0].as_str()).delete(keys)
    }
    fn delete_if_match(&self, key: &ObjectKey, version: &Version) -> Result<(), StoreError> {
        self.ask(Operation::Delete, key.as_str()).delete_if_match(key, version)
    }
    fn now(&self) -> Result<SystemTime, StoreError> {
        self.store.now()
    }
}

/// The save found its cache, and was about to mark it as used, when a flush
/// removed it for its age. The save then said that all was well, and nothing was
/// there.
#[test]
fn an_unchanged_save_notices_that_its_cache_goes() {
    let world = Arc::new(World::new());
    let a = world.tree("a");
    world.save("a", &a);
    world.pass(20 * DAY);
    let flushing = Arc::clone(&world);
    let store = Meanwhile::new(&world, (Operation::Put, "manifests/"), move || {
        assert_eq!(removed(&flushing.flush()), [("a", Reason::Age)]);
    });
    let request = SaveRequest { key: "a".parse().unwrap(), ..save_request(&a) };
    with_context(|context| save(store, &request, context)).unwrap();
    assert_eq!(world.restore("a", &a), Hit::Exact);
    sound(&world.store);
    // Its pack was condemned by then.
    world.pass(2 * DAY);
    world.flush();
    assert_eq!(world.restore("a", &a), Hit::Exact);
}

/// A delta outlives the commit by a moment, and told of condemned packs, which
/// were then reused: a flush at work could doom them.
#[test]
fn a_delta_tells_of_no_condemned_pack() {
    let world = Arc::new(World::new());
    let a = world.tree("a");
    world.save("a", &a);
    world.pass(20 * DAY);
    let saving = Arc::clone(&world);
    let store = Meanwhile::new(&world, (Operation::Delete, "index/deltas/"), move || {
        let report = saving.save("a2", &a);
        assert_eq!(report.new_chunks, report.chunks);
    });
    with_context(|context| flush(store, &flush_request(), context)).unwrap();
    assert_eq!(world.keys(), ["a2"]);
}

/// The flush was suspended while it removed a cache, and then condemned the
/// pack as of the time when it had begun: the next flush deleted it at once,
/// under the hands of a restore.
#[test]
fn grace_begins_when_a_flush_commits() {
    let world = Arc::new(World::new());
    let a = world.tree("a");
    world.save("a", &a);
    world.pass(20 * DAY);
    let sleeping = Arc::clone(&world);
    let store = Meanwhile::new(&world, (Operation::Delete, "manifests/"), move || {
        sleeping.pass(2 * DAY);
    });
    let report = with_context(|context| flush(store, &flush_request(), context)).unwrap();
    assert_eq!(report.condemned.packs.len(), 1);
    assert!(world.flush().deleted.packs.is_empty());
    world.pass(DAY);
    assert_eq!(world.flush().deleted.packs.len(), 1);
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
        let store = Meanwhile::new(&world, (Operation::Put, "manifests/"), move || {
            let repack = FlushRequest { repack: true, ..flush_request() };
            let report = flushing.try_flush(&repack).unwrap();
            assert_eq!(report.repacked.unwrap().manifests, 1);
        });
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
        assert!(store.has_happened(), "it was not put again");
        world.pass(14 * DAY - HOUR);
        assert_eq!(removed(&world.flush()), [], "{is_save}");
        assert_eq!(world.restore("b", &b), Hit::Exact);
    }
}

/// A saver finds no store, and before it makes one somebody else does, and flushes:
/// what is there then is no foreign thing, and not the rest of a store either.
#[test]
fn a_store_that_comes_about_meanwhile_is_used() {
    let world = Arc::new(World::new());
    let a = world.tree("a");
    let others = Arc::clone(&world);
    let tree = a.clone();
    let store = Meanwhile::new(&world, (Operation::List, ""), move || {
        others.save("other", &tree);
        others.pass(2 * DAY);
        others.flush();
    });
    let request = SaveRequest { key: "a".parse().unwrap(), ..save_request(&a) };
    with_context(|context| save(store.clone(), &request, context)).unwrap();
    assert!(store.has_happened());
    assert_eq!((world.restore("a", &a), world.restore("other", &a)), (Hit::Exact, Hit::Exact));
    sound(&world.store);
}
