//! The store as one actor has it: every request waits until it is answered by
//! whoever schedules.

use std::fmt;
use std::io;
use std::ops::Range;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use larder::store::{
    MemoryStore, Object, ObjectKey, ObjectMeta, Operation, Page, PutMode, Store, StoreError,
    StoreErrorKind, Version,
};

/// What an actor asks the store.
#[derive(Clone, Debug)]
pub(crate) enum Request {
    Get { key: ObjectKey, max_len: u64 },
    GetRange { key: ObjectKey, range: Range<u64> },
    Head { key: ObjectKey },
    Put { key: ObjectKey, body: Bytes, mode: PutMode },
    List { prefix: String, after: Option<ObjectKey>, limit: usize },
    Delete { keys: Vec<ObjectKey> },
    DeleteIfMatch { key: ObjectKey, version: Version },
    Now,
}

/// What the store answers.
#[derive(Debug)]
pub(crate) enum Answer {
    Object(Object),
    Bytes(Bytes),
    Meta(ObjectMeta),
    Put(Version),
    Page(Page),
    /// Those that could not be deleted.
    Deleted(Vec<StoreError>),
    Time(SystemTime),
}

pub(crate) type Outcome = Result<Answer, StoreError>;

impl Request {
    /// Does it, now.
    pub(crate) fn perform(&self, store: &MemoryStore) -> Outcome {
        Ok(match self {
            Self::Get { key, max_len } => Answer::Object(store.get(key, *max_len)?),
            Self::GetRange { key, range } => Answer::Bytes(store.get_range(key, range.clone())?),
            Self::Head { key } => Answer::Meta(store.head(key)?),
            Self::Put { key, body, mode } => {
                Answer::Put(store.put(key, body.clone(), mode.clone())?)
            }
            Self::List { prefix, after, limit } => {
                Answer::Page(store.list(prefix, after.as_ref(), *limit)?)
            }
            Self::Delete { keys } => Answer::Deleted(store.delete(keys)?),
            Self::DeleteIfMatch { key, version } => {
                store.delete_if_match(key, version)?;
                Answer::Deleted(vec![])
            }
            Self::Now => Answer::Time(store.now()?),
        })
    }

    pub(crate) fn operation(&self) -> Operation {
        match self {
            Self::Get { .. } | Self::GetRange { .. } => Operation::Get,
            Self::Head { .. } => Operation::Head,
            Self::Put { .. } => Operation::Put,
            Self::List { .. } => Operation::List,
            Self::Delete { .. } | Self::DeleteIfMatch { .. } => Operation::Delete,
            Self::Now => Operation::Now,
        }
    }

    pub(crate) fn changes_the_store(&self) -> bool {
        matches!(self.operation(), Operation::Put | Operation::Delete)
    }

    /// What it is about: objects, or a prefix of such.
    pub(crate) fn objects(&self) -> Vec<&str> {
        match self {
            Self::List { prefix, .. } => vec![prefix.as_str()],
            _ => self.keys().iter().map(ObjectKey::as_str).collect(),
        }
    }

    /// The objects that it names.
    pub(crate) fn keys(&self) -> &[ObjectKey] {
        match self {
            Self::Get { key, .. }
            | Self::GetRange { key, .. }
            | Self::Head { key }
            | Self::Put { key, .. }
            | Self::DeleteIfMatch { key, .. } => std::slice::from_ref(key),
            Self::Delete { keys } => keys,
            Self::List { .. } | Self::Now => &[],
        }
    }

    /// An error that a client sees when the network fails it.
    pub(crate) fn error(&self, why: &'static str) -> StoreError {
        let kind = StoreErrorKind::Io(io::Error::new(io::ErrorKind::ConnectionReset, why));
        let object = self.keys().first().map_or("", ObjectKey::as_str);
        StoreError::new(self.operation(), object, kind)
    }
}

/// A request that waits for its answer.
pub(crate) struct Pending {
    pub(crate) request: Request,
    reply: SyncSender<Outcome>,
}

impl Pending {
    pub(crate) fn answer(self, outcome: Outcome) {
        // Nobody has stopped waiting for it.
        let _ = self.reply.send(outcome);
    }
}

/// Where an actor's requests lie until they are answered.
#[derive(Default)]
pub(crate) struct Desk {
    state: Mutex<State>,
    news: Condvar,
}

#[derive(Default)]
struct State {
    pending: Vec<Pending>,
    /// Requests so far.
    asked: u64,
    has_ended: bool,
    /// Why no request is answered any more: the process is dead.
    dead: bool,
}

/// What there is on a desk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// Requests wait; so many were made in all.
    Waiting(u64),
    /// The actor has ended.
    Ended,
    /// Nothing happened for so long that it hangs.
    Nothing,
}

const DEAD: &str = "this process is dead";

impl Desk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a request is there, or the actor has ended.
    pub(crate) fn wait(&self, patience: Duration) -> News {
        let began = Instant::now();
        let mut state = self.state();
        while state.pending.is_empty() && !state.has_ended {
            let Some(left) = patience.checked_sub(began.elapsed()) else {
                return News::Nothing;
            };
            state = self.news.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if state.has_ended { News::Ended } else { News::Waiting(state.asked) }
    }

    /// Requests so far.
    pub(crate) fn asked(&self) -> u64 {
        self.state().asked
    }

    /// Takes one of the waiting requests: `choose` gets them all.
    pub(crate) fn take(&self, choose: impl FnOnce(&[&Request]) -> usize) -> Pending {
        let mut state = self.state();
        let requests: Vec<&Request> =
            state.pending.iter().map(|pending| &pending.request).collect();
        let chosen = choose(&requests);
        state.pending.swap_remove(chosen)
    }

    /// Whether any of the waiting requests is like this.
    pub(crate) fn is_any(&self, like: impl Fn(&Request) -> bool) -> bool {
        self.state().pending.iter().any(|pending| like(&pending.request))
    }

    /// The actor is dead from now on: it learns nothing more. Gives the requests
    /// that were on their way.
    pub(crate) fn kill(&self) -> Vec<Request> {
        let mut state = self.state();
        state.dead = true;
        let pending = std::mem::take(&mut state.pending);
        drop(state);
        let mut requests = vec![];
        for pending in pending {
            requests.push(pending.request.clone());
            let error = pending.request.error(DEAD);
            pending.answer(Err(error));
        }
        requests
    }

    /// The actor tells that it has ended.
    pub(crate) fn end(&self) {
        self.state().has_ended = true;
        self.news.notify_all();
    }

    fn ask(&self, request: Request) -> Outcome {
        let (reply, answer) = sync_channel(1);
        let mut state = self.state();
        if state.dead {
            return Err(request.error(DEAD));
        }
        state.asked += 1;
        state.pending.push(Pending { request, reply });
        drop(state);
        self.news.notify_all();
        answer.recv().expect("every request is answered")
    }
}

/// The store, for one actor.
pub(crate) struct Scheduled {
    pub(crate) desk: Arc<Desk>,
    /// The most objects of a page: a listing of more takes several turns.
    pub(crate) page: usize,
}

impl fmt::Debug for Scheduled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Scheduled")
    }
}

impl Store for Scheduled {
    fn location(&self) -> String {
        "simulation".to_owned()
    }

    fn get(&self, key: &ObjectKey, max_len: u64) -> Result<Object, StoreError> {
        match self.desk.ask(Request::Get { key: key.clone(), max_len })? {
            Answer::Object(object) => Ok(object),
            other => unreachable!("{other:?}"),
        }
    }

    fn get_range(&self, key: &ObjectKey, range: Range<u64>) -> Result<Bytes, StoreError> {
        match self.desk.ask(Request::GetRange { key: key.clone(), range })? {
            Answer::Bytes(bytes) => Ok(bytes),
            other => unreachable!("{other:?}"),
        }
    }

    fn head(&self, key: &ObjectKey) -> Result<ObjectMeta, StoreError> {
        match self.desk.ask(Request::Head { key: key.clone() })? {
            Answer::Meta(meta) => Ok(meta),
            other => unreachable!("{other:?}"),
        }
    }

    fn put(&self, key: &ObjectKey, body: Bytes, mode: PutMode) -> Result<Version, StoreError> {
        match self.desk.ask(Request::Put { key: key.clone(), body, mode })? {
            Answer::Put(version) => Ok(version),
            other => unreachable!("{other:?}"),
        }
    }

    fn list(
        &self,
        prefix: &str,
        after: Option<&ObjectKey>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        let limit = limit.min(self.page);
        let request = Request::List { prefix: prefix.to_owned(), after: after.cloned(), limit };
        match self.desk.ask(request)? {
            Answer::Page(page) => Ok(page),
            other => unreachable!("{other:?}"),
        }
    }

    fn delete(&self, keys: &[ObjectKey]) -> Result<Vec<StoreError>, StoreError> {
        match self.desk.ask(Request::Delete { keys: keys.to_vec() })? {
            Answer::Deleted(failed) => Ok(failed),
            other => unreachable!("{other:?}"),
        }
    }

    fn delete_if_match(&self, key: &ObjectKey, version: &Version) -> Result<(), StoreError> {
        let request = Request::DeleteIfMatch { key: key.clone(), version: version.clone() };
        match self.desk.ask(request)? {
            Answer::Deleted(_) => Ok(()),
            other => unreachable!("{other:?}"),
        }
    }

    fn now(&self) -> Result<SystemTime, StoreError> {
        match self.desk.ask(Request::Now)? {
            Answer::Time(time) => Ok(time),
            other => unreachable!("{other:?}"),
        }
    }
}
