//! The store's clock: the one that tells when objects were put.

use std::time::Duration;

use larder::store::PutMode;

use crate::{Fresh, key};

/// What the coarsest clocks lag by.
const COARSE: Duration = Duration::from_secs(2);

pub(crate) fn now_is_when_objects_are_put(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    let now = || fresh.store.now().unwrap();
    let modified = || fresh.store.head(&key("a")).unwrap().modified;
    let mut before = now();
    for _ in 0..20 {
        // Overwritten so fast that a file system has to tell states apart.
        for n in 0..10 {
            fresh.put("a", vec![n], PutMode::Overwrite).unwrap();
        }
        let (put, after) = (modified(), now());
        assert!(put + COARSE >= before, "put at {put:?}, after {before:?}");
        assert!(after + COARSE >= put, "put at {put:?}, before {after:?}");
        before = after;
    }
}

pub(crate) fn asking_for_the_time_leaves_nothing(fresh: impl Fn() -> Fresh) {
    let fresh = fresh();
    fresh.store.now().unwrap();
    assert!(fresh.store.list("", None, 9).unwrap().objects.is_empty());
}
