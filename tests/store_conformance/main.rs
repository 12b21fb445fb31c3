//! One suite that every store passes: the contract of `larder::store::Store`,
//! case by case.
//!
//! A store joins with one line at the end of this file: its name, whether it can
//! be had here, and a function that gives a fresh one. Cases know nothing of the
//! store they run on.

// A test's helpers panic like the tests that call them, and count small things.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::needless_pass_by_value)]

mod clock;
mod conditions;
mod listing;
mod model;
mod objects;
// The server is that of the tests of S3, which have more use for it.
#[path = "../s3/server.rs"]
#[allow(dead_code)]
mod server;

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use larder::store::{
    Fsync, LocalStore, MemoryStore, Metered, ObjectKey, PutMode, Store, StoreError, Version,
};

/// A store without objects, and what must outlive it.
struct Fresh {
    store: Arc<dyn Store>,
    /// Whether versions are those of contents, as S3's entity tags are: the
    /// same bytes put again have the version that they had.
    versions_are_of_contents: bool,
    /// Whether a conditional delete compares and deletes in one step.
    deletes_in_one_step: bool,
    _guard: Box<dyn Any>,
}

impl Fresh {
    fn new(store: impl Store + 'static, guard: impl Any) -> Self {
        Self {
            store: Arc::new(store),
            versions_are_of_contents: false,
            deletes_in_one_step: true,
            _guard: Box::new(guard),
        }
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

/// A bucket of its own, all of it: keys may be as long as S3 takes them.
fn s3() -> Fresh {
    let server = server::server().unwrap();
    let location = server.bucket().location(&server.endpoint, "").replace("/?", "?");
    let server::Keys { access_key, secret_key } = &server.keys;
    let keys = format!("&access_key_id={access_key}&secret_access_key={secret_key}");
    let store = larder::store::open(&(location + &keys)).unwrap();
    Fresh {
        store,
        versions_are_of_contents: true,
        // RGW 20 compares, and then deletes what is there by then: a put in
        // those milliseconds succeeds, and its object is gone.
        deletes_in_one_step: false,
        _guard: Box::new(()),
    }
}

/// Whether there is a server of S3; if not, it says so.
fn server_runs() -> bool {
    server::server().is_some()
}

fn always() -> bool {
    true
}

macro_rules! stores {
    ($($name:ident, $can_be_had:expr, $fresh:expr;)+) => {$(
        mod $name {
            use super::*;
            stores!(@cases $can_be_had, $fresh;
                objects: round_trips, absent_objects, limits_of_a_get, edges_of_ranges,
                    overwriting_is_seen, deletes, times_do_not_fall, readers_see_whole_objects,
                    keys_are_apart;
                conditions: creating_twice, racing_creates, if_match, counting_by_if_match,
                    creates_race_with_overwrites, if_match_races_with_delete,
                    versions_never_come_back, versions_survive_deletes, delete_if_match,
                    delete_if_match_races_with_if_match, delete_if_match_races_with_overwrite,
                    delete_if_match_races_with_itself;
                clock: now_is_when_objects_are_put, asking_for_the_time_leaves_nothing;
                listing: order_of_keys, pages, prefixes, starting_points, bounds,
                    listing_while_writing, listing_while_overwriting, many_objects;
                model: answers_are_those_of_the_model;
            );
        }
    )+};
    (@cases $can_be_had:expr, $fresh:expr; $($module:ident: $($case:ident),+;)+) => {$($(
        #[test]
        fn $case() {
            if $can_be_had {
                $module::$case(|| $fresh);
            }
        }
    )+)+};
}

stores! {
    in_memory, always(), memory();
    local_synced, always(), local(Fsync::Always);
    local_unsynced, always(), local(Fsync::Never);
    metered_local, always(), metered();
    s3, server_runs(), s3();
}
