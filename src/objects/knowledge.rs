//! What this process knows of the store's chunks, and how garbage collection stood when
//! it learned that.
//!
//! A save looks once and ends. Here one look serves all that is put until the epoch
//! changes, or until so much time has passed that others may have saved what is worth
//! knowing.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use crate::error::Error;
use crate::format::{GcState, Location};
use crate::ids::{ChunkId, PackId, Scope};
use crate::index::{IndexView, KnownChunks, Presence};
use crate::progress::{Context, Progress};
use crate::repository::{Repository, StoredManifest};
use crate::reuse;
use crate::store_time::StoreTime;
use crate::sync::lock;
use crate::trust::TrustedScopes;

/// How long a look is good if nothing says otherwise. Reading the index anew takes a few
/// hundred requests at most, and what others saved meanwhile is uploaded again.
const GOOD_FOR: Duration = Duration::from_secs(600);

/// How long the store's time is counted on from when it was told.
const TIME_GOOD_FOR: Duration = Duration::from_secs(10);

/// How the store stood at one look.
#[derive(Debug)]
pub(super) struct View {
    state: GcState,
    /// Packs that must not be relied on.
    avoid: HashSet<PackId>,
    known: KnownChunks,
    looked: Instant,
}

impl View {
    pub(super) fn epoch(&self) -> u64 {
        self.state.epoch
    }

    pub(super) fn looked(&self) -> Instant {
        self.looked
    }

    /// Whether nothing that lies in a pack may be relied on.
    pub(super) fn avoids(&self, pack: PackId) -> bool {
        self.avoid.contains(&pack)
    }

    /// Whether what lies in a pack may be relied on, that was seen there at `epoch`.
    pub(super) fn relies_on(&self, pack: PackId, epoch: u64) -> bool {
        epoch.saturating_add(1) >= self.state.epoch && !self.avoid.contains(&pack)
    }
}

/// Makes views, and looks at the state.
pub(super) struct Knowledge {
    repository: Repository,
    trusted: TrustedScopes,
    progress: Arc<dyn Progress + Send + Sync>,
    stop: AtomicBool,
    /// One for scopes that believe everybody, one for those that do not.
    views: Mutex<HashMap<bool, Arc<View>>>,
    looks: Mutex<Looks>,
    looked: Condvar,
    time: Mutex<Option<(SystemTime, Instant)>>,
}

/// Looks at the state, numbered.
#[derive(Debug, Default)]
struct Looks {
    begun: u64,
    is_looking: bool,
    /// The last that ended well, and what it found.
    last: Option<(u64, Arc<GcState>)>,
}

impl fmt::Debug for Knowledge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Knowledge").finish_non_exhaustive()
    }
}

impl Knowledge {
    pub(super) fn new(
        repository: Repository,
        trusted: TrustedScopes,
        progress: Arc<dyn Progress + Send + Sync>,
    ) -> Self {
        Self {
            repository,
            trusted,
            progress,
            stop: AtomicBool::new(false),
            views: Mutex::default(),
            looks: Mutex::default(),
            looked: Condvar::new(),
            time: Mutex::default(),
        }
    }

    pub(super) fn repository(&self) -> &Repository {
        &self.repository
    }

    pub(super) fn context(&self) -> Context<'_> {
        Context { progress: &*self.progress, stop: &self.stop }
    }

    /// The store's time. It never runs ahead of the store's clock.
    pub(super) fn now(&self) -> Result<StoreTime, Error> {
        let mut time = lock(&self.time);
        match *time {
            // Of parts of seconds none is lost: a client that compares the times of its files
            // with those of objects would send what it has just sent.
            Some((told, at)) if at.elapsed() < TIME_GOOD_FOR => {
                Ok(told.checked_add(at.elapsed()).unwrap_or(told).into())
            }
            _ => {
                let at = Instant::now();
                let told = self.repository.store().now()?;
                *time = Some((told, at));
                Ok(told.into())
            }
        }
    }

    /// How the store stands, for whoever puts in this scope (S1).
    pub(super) fn view(&self, scope: &Scope) -> Result<Arc<View>, Error> {
        let believed = self.trusted.believed_in(scope);
        let mut views = lock(&self.views);
        if let Some(view) = views.get(&believed.is_some())
            && view.looked.elapsed() < GOOD_FOR
        {
            return Ok(Arc::clone(view));
        }
        let state = self.repository.gc_state()?.state;
        let avoid = state.listed();
        let index = IndexView {
            epoch: state.epoch,
            table: state.table,
            avoid: avoid.clone(),
            trusted: believed.cloned(),
            signed_only: self.repository.keys().requires_signature(),
        };
        let known = KnownChunks::of([], index);
        let view = Arc::new(View { state, avoid, known, looked: Instant::now() });
        views.insert(believed.is_some(), Arc::clone(&view));
        Ok(view)
    }

    /// Where the store has chunks, as far as is known or can be looked up.
    pub(super) fn locate(&self, view: &View, chunks: &[(ChunkId, u32)]) -> Vec<Option<Location>> {
        let known = &view.known;
        let unknown =
            |(id, raw_len): &&(ChunkId, u32)| known.presence(id, *raw_len) == Presence::Unknown;
        if chunks.iter().any(|chunk| unknown(&chunk)) {
            known.load(Some(&self.repository), self.context());
            let ids: Vec<ChunkId> = chunks.iter().filter(unknown).map(|(id, _)| *id).collect();
            if !ids.is_empty() {
                known.look_up(&ids, true, &self.repository, self.context());
            }
        }
        let locate = |(id, raw_len): &(ChunkId, u32)| match known.presence(id, *raw_len) {
            Presence::Present => known.location(id),
            Presence::Unknown | Presence::Absent => None,
        };
        chunks.iter().map(locate).collect()
    }

    /// Learns where chunks lie from a manifest that was read for another reason: what is
    /// read now is often put again soon.
    pub(super) fn learn(&self, stored: &StoredManifest) {
        let scope = &stored.manifest.scope;
        for (&believes_some, view) in &*lock(&self.views) {
            let is_sealed_alike =
                stored.manifest.sealed_by == self.repository.keys().sealing().key();
            // S2: it must be new enough to vouch for its packs.
            if is_sealed_alike
                && stored.manifest.facts.epoch.saturating_add(1) >= view.epoch()
                && (!believes_some || self.trusted.has(scope))
            {
                view.known.learn(stored.manifest.chunks.rows().iter().copied());
            }
        }
    }

    /// The state, looked at after this was called (S4). Of all who ask at one time, one
    /// looks.
    pub(super) fn look(&self) -> Result<Arc<GcState>, Error> {
        let mut looks = lock(&self.looks);
        // One that has begun already may have read the state before now.
        let needed = looks.begun + 1;
        loop {
            if let Some((number, state)) = &looks.last
                && *number >= needed
            {
                return Ok(Arc::clone(state));
            }
            if looks.is_looking {
                looks = self.looked.wait(looks).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            looks.is_looking = true;
            looks.begun += 1;
            let number = looks.begun;
            drop(looks);
            let found = self.repository.gc_state();
            looks = lock(&self.looks);
            looks.is_looking = false;
            self.looked.notify_all();
            let state = Arc::new(found?.state);
            looks.last = Some((number, Arc::clone(&state)));
            self.found(&state);
            return Ok(state);
        }
    }

    /// Views of another epoch are of no use any more.
    fn found(&self, state: &GcState) {
        lock(&self.views).retain(|_, view| view.epoch() == state.epoch);
    }

    /// How the store stands now, for whoever relies on these manifests, which were read
    /// before (S1, S2).
    pub(super) fn view_for<'a>(
        &self,
        manifests: impl IntoIterator<Item = &'a StoredManifest>,
    ) -> Result<reuse::View, Error> {
        let state = GcState::clone(&*self.look()?);
        reuse::View::look(&self.repository, manifests, state, false, self.context())
    }
}
