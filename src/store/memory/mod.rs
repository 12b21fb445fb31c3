//! A store in memory: for tests, which can watch it, stop its clock, break its
//! objects and make its operations fail.

mod faults;

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::ops::{Bound, Range};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;

use super::{
    Object, ObjectKey, ObjectMeta, Operation, Page, PutMode, Store, StoreError, StoreErrorKind,
    Version, check_batch,
};
use faults::Faults;
pub use faults::When;

/// What was asked of a [`MemoryStore`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// The kind of request.
    pub operation: Operation,
    /// The keys asked for; the prefix of a listing.
    pub objects: Vec<String>,
    /// The range of a get that asked for one.
    pub range: Option<Range<u64>>,
    /// The condition of a put, or of a delete that had one.
    pub mode: Option<PutMode>,
    /// Bytes put, or bytes answered.
    pub bytes: u64,
    /// Whether the caller was told that it succeeded.
    pub ok: bool,
}

/// A store in memory.
///
/// Its clock stands still until it is told to move, so that ages in tests are
/// what the test says they are.
pub struct MemoryStore {
    state: Mutex<State>,
}

struct State {
    objects: BTreeMap<ObjectKey, Stored>,
    /// Counts every put, and so names the versions: none ever comes back.
    puts: u64,
    now: SystemTime,
    calls: Vec<Call>,
    faults: Faults,
    ignores_conditions: bool,
}

#[derive(Clone)]
struct Stored {
    body: Bytes,
    modified: SystemTime,
    version: u64,
}

/// The clock of a new store: 2026-01-01, as good as any other instant that is
/// not the clock's own zero.
const FIRST_INSTANT: Duration = Duration::from_secs(1_767_225_600);

impl MemoryStore {
    /// A store without objects.
    pub fn new() -> Self {
        Self {
            state: Mutex::new(State {
                objects: BTreeMap::new(),
                puts: 0,
                now: UNIX_EPOCH + FIRST_INSTANT,
                calls: Vec::new(),
                faults: Faults::default(),
                ignores_conditions: false,
            }),
        }
    }

    /// Another store with the same objects, of the same times and versions, and the
    /// same clock: what is done to one of them does not show in the other.
    pub fn fork(&self) -> Self {
        let state = self.state();
        let fork = Self::new();
        *fork.state() = State {
            objects: state.objects.clone(),
            puts: state.puts,
            now: state.now,
            calls: Vec::new(),
            faults: Faults::default(),
            ignores_conditions: state.ignores_conditions,
        };
        fork
    }

    /// Sets the store's clock, backwards too.
    pub fn set_clock(&self, now: SystemTime) {
        self.state().now = now;
    }

    /// Moves the store's clock forward.
    pub fn advance_clock(&self, by: Duration) {
        self.state().now += by;
    }

    /// What was asked so far, in the order of the answers.
    pub fn calls(&self) -> Vec<Call> {
        self.state().calls.clone()
    }

    /// What was asked since the last time this was called.
    pub fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut self.state().calls)
    }

    /// Makes the operation fail that comes after `skip` others from now on:
    /// once, whatever it is.
    pub fn fail_nth(&self, skip: u64, when: When) {
        self.state().faults.fail_nth(skip, when);
    }

    /// Makes every operation fail that is of this kind (or any, if none is
    /// given) and has a key or prefix containing `pattern` (which may be empty).
    pub fn fail_all(&self, operation: Option<Operation>, pattern: &str, when: When) {
        self.state().faults.fail_all(operation, pattern, when);
    }

    /// Makes all operations fail without effect that come after `life` others
    /// from now on: whoever asks has been killed then.
    pub fn die_after(&self, life: u64) {
        self.state().faults.die_after(life);
    }

    /// Takes all puts from now on whatever their condition, and says that all went
    /// well: some services do.
    pub fn ignore_conditions(&self) {
        self.state().ignores_conditions = true;
    }

    /// Lets all operations succeed again.
    pub fn clear_faults(&self) {
        self.state().faults = Faults::default();
    }

    /// Changes an object's bytes behind the store's back, as a rotten disk
    /// does: version and time stay. `false` if there is no such object.
    pub fn corrupt(&self, key: &ObjectKey, change: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut state = self.state();
        let Some(stored) = state.objects.get_mut(key) else {
            return false;
        };
        let mut body = stored.body.to_vec();
        change(&mut body);
        stored.body = body.into();
        true
    }

    /// Inverts the bits of one byte of an object. `false` if there is no such
    /// byte.
    pub fn flip_byte(&self, key: &ObjectKey, at: usize) -> bool {
        let mut flipped = false;
        self.corrupt(key, |body| {
            if let Some(byte) = body.get_mut(at) {
                *byte = !*byte;
                flipped = true;
            }
        });
        flipped
    }

    /// Cuts an object off. `false` if there is no such object.
    pub fn truncate(&self, key: &ObjectKey, len: usize) -> bool {
        self.corrupt(key, |body| body.truncate(len))
    }

    /// Every object's bytes, without leaving a trace in the calls.
    pub fn contents(&self) -> BTreeMap<ObjectKey, Bytes> {
        let state = self.state();
        let objects = state.objects.iter();
        objects.map(|(key, stored)| (key.clone(), stored.body.clone())).collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere in a test must not hide behind a poisoned lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs one operation: fails it where a fault says so, and logs it.
    fn call<T>(
        &self,
        mut call: Call,
        effect: impl FnOnce(&mut State) -> Result<T, StoreErrorKind>,
        bytes: impl FnOnce(&T) -> u64,
    ) -> Result<T, StoreError> {
        let mut state = self.state();
        let fault = state.faults.next(call.operation, &call.objects);
        let answer = match fault {
            Some(When::Before) => Err(injected("the request was lost")),
            Some(When::After) => {
                effect(&mut state).and_then(|_| Err(injected("the answer was lost")))
            }
            None => effect(&mut state),
        };
        call.ok = answer.is_ok();
        call.bytes += answer.as_ref().map_or(0, bytes);
        let object = call.objects.first().cloned().unwrap_or_default();
        let operation = call.operation;
        state.calls.push(call);
        answer.map_err(|kind| StoreError::new(operation, object, kind))
    }
}

impl State {
    fn stored(&self, key: &ObjectKey) -> Result<&Stored, StoreErrorKind> {
        self.objects.get(key).ok_or(StoreErrorKind::NotFound)
    }

    fn put(
        &mut self,
        key: &ObjectKey,
        body: Bytes,
        mode: &PutMode,
    ) -> Result<Version, StoreErrorKind> {
        let mode = if self.ignores_conditions { &PutMode::Overwrite } else { mode };
        match (mode, self.objects.get(key)) {
            (PutMode::Create, Some(_)) => return Err(StoreErrorKind::AlreadyExists),
            (PutMode::IfMatch(wanted), old)
                if old.map(Stored::version).as_ref() != Some(wanted) =>
            {
                return Err(StoreErrorKind::VersionMismatch);
            }
            _ => {}
        }
        self.puts += 1;
        let stored = Stored { body, modified: self.now, version: self.puts };
        let version = stored.version();
        self.objects.insert(key.clone(), stored);
        Ok(version)
    }

    fn delete_if_match(
        &mut self,
        key: &ObjectKey,
        version: &Version,
    ) -> Result<(), StoreErrorKind> {
        if self.objects.get(key).map(Stored::version).as_ref() != Some(version) {
            return Err(StoreErrorKind::VersionMismatch);
        }
        self.objects.remove(key);
        Ok(())
    }

    fn list(&self, prefix: &str, after: Option<&ObjectKey>, limit: usize) -> Page {
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let mut found = self
            .objects
            .range((start, Bound::Unbounded))
            .filter(|(key, _)| key.as_str().starts_with(prefix))
            .map(|(key, stored)| stored.meta(key));
        let objects: Vec<_> = found.by_ref().take(limit).collect();
        let more = found.next().is_some();
        Page { objects, more }
    }
}

impl Stored {
    fn version(&self) -> Version {
        Version::new(self.version.to_string())
    }

    fn meta(&self, key: &ObjectKey) -> ObjectMeta {
        ObjectMeta {
            key: key.clone(),
            len: self.body.len() as u64,
            modified: self.modified,
            version: self.version(),
        }
    }

    fn get(&self, key: &ObjectKey, max_len: u64) -> Result<Object, StoreErrorKind> {
        let meta = self.meta(key);
        if meta.len > max_len {
            let len = meta.len;
            return Err(StoreErrorKind::TooLong { len, max_len });
        }
        let body = self.body.clone();
        Ok(Object { meta, body })
    }

    fn get_range(&self, range: &Range<u64>) -> Result<Bytes, StoreErrorKind> {
        let (Range { start, end }, len) = (range.clone(), self.body.len() as u64);
        match (usize::try_from(start), usize::try_from(end)) {
            (Ok(from), Ok(to)) if start < end && end <= len => Ok(self.body.slice(from..to)),
            _ => Err(StoreErrorKind::RangeOutside { start, end, len }),
        }
    }
}

fn injected(what: &str) -> StoreErrorKind {
    let why = format!("injected fault: {what}");
    StoreErrorKind::Io(io::Error::new(io::ErrorKind::ConnectionReset, why))
}

fn call(operation: Operation, objects: Vec<String>) -> Call {
    Call { operation, objects, range: None, mode: None, bytes: 0, ok: false }
}

impl Store for MemoryStore {
    fn location(&self) -> String {
        "memory".to_owned()
    }

    fn get(&self, key: &ObjectKey, max_len: u64) -> Result<Object, StoreError> {
        self.call(
            call(Operation::Get, vec![key.to_string()]),
            |state| state.stored(key)?.get(key, max_len),
            |object| object.meta.len,
        )
    }

    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.call(
            Call { range: Some(range.clone()), ..call(Operation::Get, vec![key.to_string()]) },
            |state| state.stored(key)?.get_range(&range),
            |bytes| bytes.len() as u64,
        )
    }

    fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StoreError> {
        self.call(
            call(Operation::Head, vec![key.to_string()]),
            |state| Ok(state.stored(key)?.meta(key)),
            |_| 0,
        )
    }

    fn put(&self, key: &ObjectKey, body: Bytes, mode: PutMode) -> Result<Version, StoreError> {
        self.call(
            Call {
                mode: Some(mode.clone()),
                bytes: body.len() as u64,
                ..call(Operation::Put, vec![key.to_string()])
            },
            |state| state.put(key, body, &mode),
            |_| 0,
        )
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        check_batch(Operation::List, prefix, limit)?;
        self.call(
            call(Operation::List, vec![prefix.to_owned()]),
            |state| Ok(state.list(prefix, after, limit)),
            |_| 0,
        )
    }

    fn delete(&self, keys: &[ObjectKey]) -> Result<Vec<StoreError>, StoreError> {
        check_batch(Operation::Delete, "memory", keys.len())?;
        self.call(
            call(Operation::Delete, keys.iter().map(ToString::to_string).collect()),
            |state| {
                for key in keys {
                    state.objects.remove(key);
                }
                Ok(Vec::new())
            },
            |_| 0,
        )
    }

    fn delete_if_match(&self, key: &ObjectKey, version: &Version) -> Result<(), StoreError> {
        self.call(
            Call {
                mode: Some(PutMode::IfMatch(version.clone())),
                ..call(Operation::Delete, vec![key.to_string()])
            },
            |state| state.delete_if_match(key, version),
            |()| 0,
        )
    }

    /// No call: neither logged nor struck by faults.
    fn now(&self) -> Result<SystemTime, StoreError> {
        Ok(self.state().now)
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryStore {
    /// Without the bodies, which would drown whatever this is printed for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("MemoryStore")
            .field("objects", &state.objects.len())
            .field("calls", &state.calls.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> ObjectKey {
        ObjectKey::new(text).unwrap()
    }

    #[test]
    fn faults_strike_before_or_after_the_effect() {
        let store = MemoryStore::new();
        let put = |name: &str| store.put(&key(name), "x".into(), PutMode::Create);
        store.fail_nth(1, When::Before);
        store.fail_nth(2, When::After);
        put("a").unwrap();
        assert!(!put("b").unwrap_err().is_conflict());
        put("c").unwrap_err();
        assert!(put("c").unwrap_err().is_conflict(), "it had taken place");
        assert_eq!(store.contents().len(), 2);

        store.fail_all(Some(Operation::Get), "a", When::Before);
        store.get(&key("a"), 9).unwrap_err();
        store.get(&key("c"), 9).unwrap();
        store.head(&key("a")).unwrap();
        store.clear_faults();
        store.get(&key("a"), 9).unwrap();
    }

    #[test]
    fn a_lost_answer_still_tells_what_had_no_effect() {
        let store = MemoryStore::new();
        store.fail_all(None, "", When::After);
        assert!(store.head(&key("a")).unwrap_err().is_not_found());
    }

    #[test]
    fn calls_are_logged() {
        let store = MemoryStore::new();
        store.put(&key("a"), "abc".into(), PutMode::Create).unwrap();
        store.get_range(&key("a"), 1..2).unwrap();
        store.delete(&[key("a"), key("b")]).unwrap();
        let calls = store.take_calls();
        let bytes: Vec<_> = calls.iter().map(|call| call.bytes).collect();
        assert_eq!(bytes, [3, 1, 0]);
        assert_eq!(calls[0].mode, Some(PutMode::Create));
        assert_eq!(calls[1].range, Some(1..2));
        assert_eq!(calls[2].objects, ["a", "b"]);
        assert!(calls.iter().all(|call| call.ok));
        assert!(store.calls().is_empty());

        let version = store.put(&key("a"), "abc".into(), PutMode::Create).unwrap();
        store.fail_all(Some(Operation::Delete), "a", When::After);
        store.delete_if_match(&key("a"), &version).unwrap_err();
        assert!(store.delete_if_match(&key("a"), &version).unwrap_err().is_conflict());
        let calls = store.take_calls();
        assert_eq!((calls[1].operation, calls[1].ok), (Operation::Delete, false));
        assert_eq!(calls[1].mode, Some(PutMode::IfMatch(version)));
    }

    #[test]
    fn the_clock_obeys() {
        let store = MemoryStore::new();
        let modified = || {
            let version = store.put(&key("a"), Bytes::new(), PutMode::Overwrite);
            (store.head(&key("a")).unwrap().modified, version.unwrap())
        };
        let (first, version) = modified();
        let (second, next) = modified();
        assert_eq!(first, second);
        assert_ne!(version, next);
        store.advance_clock(Duration::from_secs(60));
        assert_eq!(modified().0, first + Duration::from_secs(60));
        assert_eq!(store.now().unwrap(), first + Duration::from_secs(60));
        store.set_clock(UNIX_EPOCH);
        assert_eq!((modified().0, store.now().unwrap()), (UNIX_EPOCH, UNIX_EPOCH));
        store.take_calls();
        store.fail_all(None, "", When::Before);
        assert_eq!(store.now().unwrap(), UNIX_EPOCH);
        assert!(store.calls().is_empty());
    }

    #[test]
    fn objects_rot() {
        let store = MemoryStore::new();
        store.put(&key("a"), "abc".into(), PutMode::Create).unwrap();
        let before = store.head(&key("a")).unwrap();
        assert!(store.flip_byte(&key("a"), 0));
        assert!(!store.flip_byte(&key("a"), 3));
        assert_eq!(store.contents()[&key("a")], &b"\x9ebc"[..]);
        assert_eq!(store.head(&key("a")).unwrap(), before);
        assert!(store.truncate(&key("a"), 1));
        assert_eq!(store.head(&key("a")).unwrap().len, 1);
        assert!(!store.truncate(&key("b"), 1));
    }
}
