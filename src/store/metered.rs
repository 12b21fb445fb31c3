//! Counting requests: what a save or restore cost, and the proof in tests that
//! nothing changed means nothing uploaded.
//!
//! A request is a call of the store's contract. What a store repeats below
//! that, after an error or to upload in parts, it counts itself.

use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use bytes::Bytes;
use serde::Serialize;

use super::{Object, ObjectKey, ObjectMeta, Page, PutMode, Store, StoreError, Version};

/// Requests made of a store so far, failed ones included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Requests {
    /// Objects and ranges asked for.
    pub get: u64,
    /// Objects put.
    pub put: u64,
    /// Metadata asked for.
    pub head: u64,
    /// Pages of listings.
    pub list: u64,
    /// Deletes, each of up to a thousand objects.
    pub delete: u64,
    /// Bytes of objects and ranges that were answered.
    pub bytes_read: u64,
    /// Bytes of objects whose put succeeded.
    pub bytes_written: u64,
}

impl Requests {
    /// Requests of every kind.
    pub fn total(&self) -> u64 {
        self.get + self.put + self.head + self.list + self.delete
    }

    /// What came after an earlier count of the same store.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            get: self.get - earlier.get,
            put: self.put - earlier.put,
            head: self.head - earlier.head,
            list: self.list - earlier.list,
            delete: self.delete - earlier.delete,
            bytes_read: self.bytes_read - earlier.bytes_read,
            bytes_written: self.bytes_written - earlier.bytes_written,
        }
    }
}

/// Requests that went over the wire, in the kinds that S3 bills.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct WireRequests {
    /// GET and HEAD.
    pub get: u64,
    /// PUT, and POST for long objects and their parts.
    pub put: u64,
    /// Pages of listings.
    pub list: u64,
    /// Deletes.
    pub delete: u64,
    /// Those of all these that were not the first attempt.
    pub retries: u64,
}

impl WireRequests {
    /// What these requests cost, in US dollars, by the list price of S3
    /// Standard in us-east-1 (`docs/cli.md` has the table). Storage and traffic
    /// out of the region are not in it.
    pub fn dollars(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "no one makes 2^52 requests")]
        let thousands = |count: u64| count as f64 / 1000.0;
        0.005 * thousands(self.put + self.list) + 0.000_4 * thousands(self.get)
    }
}

/// A store that counts what is asked of the store in it.
#[derive(Debug)]
pub struct Metered<S> {
    inner: S,
    get: AtomicU64,
    put: AtomicU64,
    head: AtomicU64,
    list: AtomicU64,
    delete: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
}

impl<S: Store> Metered<S> {
    /// Counts the requests made of `inner` from now on.
    pub fn new(inner: S) -> Self {
        Self {
            inner,
            get: AtomicU64::new(0),
            put: AtomicU64::new(0),
            head: AtomicU64::new(0),
            list: AtomicU64::new(0),
            delete: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
        }
    }

    /// The store whose requests are counted; asking it directly is not counted.
    pub fn inner(&self) -> &S {
        &self.inner
    }

    /// The counts so far. While requests run, the numbers need not be of one
    /// instant.
    pub fn requests(&self) -> Requests {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Requests {
            get: read(&self.get),
            put: read(&self.put),
            head: read(&self.head),
            list: read(&self.list),
            delete: read(&self.delete),
            bytes_read: read(&self.bytes_read),
            bytes_written: read(&self.bytes_written),
        }
    }
}

/// Counters guard no other data, so no order between them is needed.
fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

fn len(body: &Bytes) -> u64 {
    body.len() as u64
}

impl<S: Store> Store for Metered<S> {
    fn location(&self) -> String {
        self.inner.location()
    }

    fn get(&self, key: &ObjectKey, max_len: u64) -> Result<Object, StoreError> {
        add(&self.get, 1);
        self.inner.get(key, max_len).inspect(|object| add(&self.bytes_read, len(&object.body)))
    }

    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        add(&self.get, 1);
        self.inner.get_range(key, range).inspect(|bytes| add(&self.bytes_read, len(bytes)))
    }

    fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StoreError> {
        add(&self.head, 1);
        self.inner.head(key)
    }

    fn put(&self, key: &ObjectKey, body: Bytes, mode: PutMode) -> Result<Version, StoreError> {
        add(&self.put, 1);
        let bytes = len(&body);
        self.inner.put(key, body, mode).inspect(|_| add(&self.bytes_written, bytes))
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        add(&self.list, 1);
        self.inner.list(prefix, after, limit)
    }

    fn delete(&self, keys: &[ObjectKey]) -> Result<Vec<StoreError>, StoreError> {
        add(&self.delete, 1);
        self.inner.delete(keys)
    }

    fn delete_if_match(&self, key: &ObjectKey, version: &Version) -> Result<(), StoreError> {
        add(&self.delete, 1);
        self.inner.delete_if_match(key, version)
    }

    /// Not counted: most answers of a store tell its time anyway.
    fn now(&self) -> Result<SystemTime, StoreError> {
        self.inner.now()
    }

    fn has_conditional_writes(&self) -> bool {
        self.inner.has_conditional_writes()
    }

    fn wire_requests(&self) -> Option<WireRequests> {
        self.inner.wire_requests()
    }
}

#[cfg(test)]
mod tests {
    use super::super::MemoryStore;
    use super::*;

    #[test]
    fn requests_are_counted_by_kind() {
        let store = Metered::new(MemoryStore::new());
        let keys: Vec<_> = (0..1000).map(|n| ObjectKey::new(format!("k/{n}")).unwrap()).collect();
        let key = &keys[0];
        store.put(key, "12345".into(), PutMode::Create).unwrap();
        store.put(key, "123".into(), PutMode::Create).unwrap_err();
        let before = store.requests();
        store.get(key, 9).unwrap();
        store.get_range(key, 1..3).unwrap();
        store.head(key).unwrap();
        store.list("", None, 9).unwrap();
        let version = store.head(key).unwrap().version;
        store.delete_if_match(key, &version).unwrap();
        store.delete(&keys).unwrap();
        store.now().unwrap();
        assert_eq!(
            serde_json::to_string(&store.requests()).unwrap(),
            r#"{"get":2,"put":2,"head":2,"list":1,"delete":2,"bytes_read":7,"bytes_written":5}"#
        );
        assert_eq!(store.requests().total(), 9);
        let since = store.requests().since(&before);
        assert_eq!((since.put, since.get, since.bytes_read), (0, 2, 7));
    }
}
