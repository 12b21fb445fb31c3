//! One suite that every store passes: the contract of `larder::store::Store`,
//! case by case.
//!
//! A store joins with one line at the end of this file: its name and a function
//! that gives a fresh one. Cases know nothing of the store they run on.

// A test's helpers panic like the tests that call them, and count small things.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::needless_pass_by_value)]

mod conditions;
mod listing;
mod model;
mod objects;

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use larder::store::{
    Fsync, LocalStore, MemoryStore, Metered, ObjectKey, PutMode, Store, StoreError, Version,
};

/// A store without objects, and what must outlive it.
struct Fresh {
    store: Arc<dyn Store>,
    _guard: Box<dyn Any>,
}

impl Fresh {
    fn new(store: impl Store + 'static, guard: impl Any) -> Self {
        Self { store: Arc::new(store), _guard: Box::new(guard) }
    }

    fn put(
        &self,
        name: &str,
        body: impl Into<Bytes>,
        mode: PutMode,
    ) -> Result<Version, StoreError> {
        self.store.put(&key(name), body.into(), mode)
    }

    /// Puts objects whose bodies are their names.
    fn fill(&self, names: &[&str]) {
        for name in names {
            self.put(name, name.to_string(), PutMode::Create).unwrap();
        }
    }

    fn body(&self, name: &str) -> Bytes {
        self.store.get(&key(name), u64::MAX).unwrap().body
    }
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(name).unwrap()
}

fn memory() -> Fresh {
    Fresh::new(MemoryStore::new(), ())
}

fn local(fsync: Fsync) -> Fresh {
    let root = tempfile::tempdir().unwrap();
    Fresh::new(LocalStore::open(root.path(), fsync).unwrap(), root)
}

fn metered() -> Fresh {
    let root = tempfile::tempdir().unwrap();
    let local = LocalStore::open(root.path(), Fsync::Never).unwrap();
    Fresh::new(Metered::new(local), root)
}

macro_rules! stores {
    ($($name:ident: $fresh:expr;)+) => {$(
        mod $name {
            use super::*;
            stores!(@cases $fresh;
                objects: round_trips, absent_objects, limits_of_a_get, edges_of_ranges,
                    overwriting_is_seen, deletes, times_do_not_fall, readers_see_whole_objects,
                    keys_are_apart;
                conditions: creating_twice, racing_creates, if_match, counting_by_if_match,
                    creates_race_with_overwrites, if_match_races_with_delete,
                    versions_never_come_back, versions_survive_deletes;
                listing: order_of_keys, pages, prefixes, starting_points, bounds,
                    listing_while_writing, listing_while_overwriting, many_objects;
                model: answers_are_those_of_the_model;
            );
        }
    )+};
    (@cases $fresh:expr; $($module:ident: $($case:ident),+;)+) => {$($(
        #[test]
        fn $case() {
            $module::$case(|| $fresh);
        }
    )+)+};
}

stores! {
    in_memory: memory();
    local_synced: local(Fsync::Always);
    local_unsynced: local(Fsync::Never);
    metered_local: metered();
}
