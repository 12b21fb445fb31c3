//! Telling other savers of new chunks: what a save does once, for all that is put within
//! some minutes.
//!
//! Nobody depends on it: until they are told, others upload what they do not know of.
//! What is never told, for this process was killed, the next flush finds in the packs.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::format::{ChunkTable, IndexDelta, Location};
use crate::ids::{ChunkId, Scope};
use crate::progress::{Progress, Warning};
use crate::repository::Repository;
use crate::sync::lock;

/// How long new chunks wait to be told of together: so that one day's deltas are about as
/// many as a saver reads.
const EVERY: Duration = Duration::from_secs(300);

/// So many chunks do not wait: a delta of them has 500 KB.
const MANY: usize = 10_000;

/// Chunks that others were not told of yet.
pub(super) struct News {
    repository: Repository,
    progress: Arc<dyn Progress + Send + Sync>,
    waiting: Mutex<Waiting>,
    came: Condvar,
}

#[derive(Debug, Default)]
struct Waiting {
    chunks: BTreeMap<(Scope, u64), Vec<(ChunkId, Location)>>,
    count: usize,
    is_over: bool,
}

impl fmt::Debug for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("News").finish_non_exhaustive()
    }
}

impl News {
    /// Begins to tell, until it is said that it is over.
    pub(super) fn start(
        repository: Repository,
        progress: Arc<dyn Progress + Send + Sync>,
    ) -> Arc<Self> {
        let waiting = Mutex::default();
        let news = Arc::new(Self { repository, progress, waiting, came: Condvar::new() });
        let theirs = Arc::clone(&news);
        // Without the thread, all is told at the end.
        let _ = std::thread::Builder::new().name("tell news".to_owned()).spawn(move || {
            while theirs.wait() {
                theirs.tell_all();
            }
        });
        news
    }

    /// Has others told of chunks that a manifest refers to by now (S3: with the epoch that
    /// they were placed at).
    pub(super) fn add(&self, scope: &Scope, epoch: u64, chunks: Vec<(ChunkId, Location)>) {
        if chunks.is_empty() {
            return;
        }
        let mut waiting = lock(&self.waiting);
        waiting.count += chunks.len();
        waiting.chunks.entry((scope.clone(), epoch)).or_default().extend(chunks);
        if waiting.count >= MANY {
            self.came.notify_all();
        }
    }

    /// Ends the telling. What waits is told of by nobody, unless [`News::tell_all`] is
    /// called.
    pub(super) fn end(&self) {
        lock(&self.waiting).is_over = true;
        self.came.notify_all();
    }

    /// Waits until there is something to tell; `false` if it is over.
    fn wait(&self) -> bool {
        let quiet = |waiting: &mut Waiting| waiting.count < MANY && !waiting.is_over;
        let waited = self.came.wait_timeout_while(lock(&self.waiting), EVERY, quiet);
        !waited.unwrap_or_else(PoisonError::into_inner).0.is_over
    }

    /// Tells of all that waits.
    pub(super) fn tell_all(&self) {
        let chunks = {
            let mut waiting = lock(&self.waiting);
            waiting.count = 0;
            std::mem::take(&mut waiting.chunks)
        };
        for ((scope, epoch), rows) in chunks {
            let mut chunks = ChunkTable::default();
            for (id, at) in rows {
                chunks.push(id, at);
            }
            if let Err(error) = self.repository.put_delta(&scope, &IndexDelta { epoch, chunks }) {
                self.progress.warn(Warning::NotTold { error: error.to_string() });
            }
        }
    }
}
