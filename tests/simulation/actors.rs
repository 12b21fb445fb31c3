//! Who acts: threads with larder's own save, restore and flush.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::thread::JoinHandle;
use std::time::Duration;

use larder::error::Error;
use larder::files::WalkSource;
use larder::flush::{FlushReport, FlushRequest, Policy, Scopes, flush};
use larder::format::{Anchor, Lifetime};
use larder::ids::{Key, Scope};
use larder::progress::{Context, NoProgress};
use larder::relpath::RelPath;
use larder::restore::{Destination, RestoreReport, RestoreRequest, restore};
use larder::save::{Copied, CopyRequest, SaveReport, SaveRequest, copy, save};

use crate::asleep::Threads;
use crate::desk::{Desk, Scheduled};
use crate::serve::{Diary, Server, Shift};
use crate::trees::Trees;

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

/// How long packs are kept that nobody refers to, whoever flushes.
pub(crate) const GRACE: Duration = Duration::from_secs(HOUR);

/// How long ago a cache must have been used for a save or restore to refresh it.
pub(crate) const REFRESH_AFTER: Duration = Duration::from_secs(30 * MINUTE);

/// What caches are saved under: scope and key.
pub(crate) const NAMES: [(&str, &str); 5] =
    [("one", "app-1"), ("one", "app-2"), ("one", "lib-1"), ("two", "app-1"), ("two", "lib-1")];

/// What an actor does.
#[derive(Clone, Debug)]
pub(crate) enum Role {
    Save {
        name: (Scope, Key),
        tree: usize,
        lifetime: Lifetime,
        reuse: bool,
    },
    /// Of what another key holds, without a tree at hand.
    Copy {
        name: (Scope, Key),
        from: Key,
        replace: bool,
    },
    /// By the key, or, without one, by the beginning of keys.
    Restore {
        scope: Scope,
        key: Option<Key>,
        prefix: String,
    },
    /// Objects, for a while.
    Serve(Shift),
    Flush {
        age: Duration,
        max_size: Option<u64>,
        repack: bool,
        dry_run: bool,
    },
}

/// The kinds of actors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Saver,
    Restorer,
    Flusher,
    Server,
}

impl Role {
    /// One that removes no caches.
    pub(crate) fn tidy(repack: bool) -> Self {
        let age = Duration::from_secs(1_000_000 * HOUR);
        Self::Flush { age, max_size: None, repack, dry_run: false }
    }

    /// One that removes all that it may.
    pub(crate) fn purge() -> Self {
        Self::Flush { age: Duration::ZERO, max_size: None, repack: false, dry_run: false }
    }
}

/// How an actor ended.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "there is one for each actor")]
pub(crate) enum End {
    Saved(Result<SaveReport, Error>),
    Copied(Result<Copied, Error>),
    Restored(Result<RestoreReport, Error>),
    Flushed(Result<FlushReport, Error>),
    Served(Result<(), Error>),
    Panicked(String),
}

/// An actor at work.
pub(crate) struct Actor {
    pub(crate) number: usize,
    pub(crate) kind: Kind,
    pub(crate) role: Role,
    pub(crate) desk: Arc<Desk>,
    pub(crate) threads: Threads,
    /// What it tells its clients, if it serves any.
    pub(crate) diary: Arc<Diary>,
    /// Where a restore puts what it finds.
    pub(crate) target: PathBuf,
    thread: Option<JoinHandle<End>>,
    /// The turn until which it is left alone.
    pub(crate) sleeps_until: u64,
    /// Whether a request or an answer of it was lost.
    pub(crate) was_failed: bool,
}

impl Actor {
    /// Starts one. `run` tells the actors of runs apart that go on at once.
    pub(crate) fn start(
        run: u64,
        number: usize,
        kind: Kind,
        role: Role,
        trees: &Trees,
        page: usize,
    ) -> Self {
        let thread_name = format!("sim{:05}.{:05}", run % 100_000, number % 100_000);
        let desk = Arc::new(Desk::default());
        let target = trees.target(&thread_name);
        let diary = Arc::new(Diary::default());
        let thread = {
            let work = Work {
                number,
                diary: Arc::clone(&diary),
                store: Arc::new(Scheduled { desk: Arc::clone(&desk), page }),
                role: role.clone(),
                tree: trees.path(if let Role::Save { tree, .. } = role { tree } else { 0 }),
                target: target.clone(),
            };
            let desk = Arc::clone(&desk);
            let run = move || {
                let end = catch_unwind(AssertUnwindSafe(|| work.run()));
                desk.end();
                end.unwrap_or_else(|payload| End::Panicked(text_of(&*payload)))
            };
            std::thread::Builder::new().name(thread_name.clone()).spawn(run).unwrap()
        };
        Self {
            number,
            kind,
            role,
            desk,
            threads: Threads::named(&thread_name),
            diary,
            target,
            thread: Some(thread),
            sleeps_until: 0,
            was_failed: false,
        }
    }

    /// How it ended, once it has.
    pub(crate) fn end(&mut self) -> End {
        let thread = self.thread.take().expect("an actor ends once");
        thread.join().unwrap_or_else(|payload| End::Panicked(text_of(&*payload)))
    }

    pub(crate) fn label(&self) -> String {
        let kind = match self.kind {
            Kind::Saver => "save",
            Kind::Restorer => "restore",
            Kind::Flusher => "flush",
            Kind::Server => "serve",
        };
        format!("{kind}{}", self.number)
    }
}

fn text_of(payload: &(dyn std::any::Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("no text").to_owned()
}

/// What an actor's thread needs.
struct Work {
    number: usize,
    diary: Arc<Diary>,
    store: Arc<Scheduled>,
    role: Role,
    tree: PathBuf,
    target: PathBuf,
}

impl Work {
    fn run(self) -> End {
        let stop = AtomicBool::new(false);
        let context = Context { progress: &NoProgress, stop: &stop };
        match self.role {
            Role::Save { name: (scope, key), lifetime, reuse, .. } => {
                let source = WalkSource {
                    anchor: Anchor::WorkingDirectory,
                    path: RelPath::new("tree").unwrap(),
                    location: self.tree,
                };
                let request = SaveRequest {
                    level: 1,
                    reuse,
                    lifetime,
                    refresh_after: REFRESH_AFTER,
                    ..SaveRequest::new(scope, key, vec![source])
                };
                End::Saved(save(self.store, &request, context))
            }
            Role::Copy { name: (scope, to), from, replace } => {
                let lifetime = Lifetime::ByPolicy;
                let request = CopyRequest { scope, from, version: None, to, replace, lifetime };
                End::Copied(copy(self.store, &request, context))
            }
            Role::Restore { scope, key, prefix } => {
                let request = restore_request(scope, key, prefix, self.target);
                End::Restored(restore(self.store, &request, context))
            }
            Role::Serve(shift) => {
                End::Served(Server::run(self.store, self.number, &shift, self.diary))
            }
            Role::Flush { age, max_size, repack, dry_run } => {
                let policy = Policy { max_size, ..Policy::new(Scopes::All, age) };
                let request = FlushRequest {
                    grace: GRACE,
                    repack,
                    dry_run,
                    take_over: true,
                    ..FlushRequest::new(policy)
                };
                End::Flushed(flush(self.store, &request, context))
            }
        }
    }
}

/// A restore of a key, or of the newest with a prefix.
pub(crate) fn restore_request(
    scope: Scope,
    key: Option<Key>,
    prefix: String,
    to: PathBuf,
) -> RestoreRequest {
    let keys = key.into_iter().collect::<Vec<_>>();
    RestoreRequest {
        restore_keys: if keys.is_empty() { vec![prefix] } else { vec![] },
        delete_extra: true,
        refresh_after: REFRESH_AFTER,
        ..RestoreRequest::new(scope, keys, Destination::Below(to))
    }
}
