//! The claim: which flush is at work, and that only one of them decides.
//!
//! The claim only keeps flushes from doing the same work twice: many pipelines
//! flush at their end, all at once. What makes it safe is that the state is put
//! only in place of the version that was read: whoever was overtaken finds out
//! before it has decided anything (`docs/protocol.md`, F6).

use std::time::Duration;

use bytes::Bytes;

use super::marks::Marked;
use crate::error::Error;
use crate::format::{Claim, GcState, Layout};
use crate::ids::FlushId;
use crate::repository::{Repository, StoredState};
use crate::store::{PutMode, Version};
use crate::store_time::StoreTime;

/// How long a flush that has not finished keeps others from beginning: longer
/// than any takes, and short enough that the one of the next night begins.
pub const LEASE: Duration = Duration::from_secs(15 * 60);

/// Whether another flush is at work.
pub(super) fn is_busy(state: &GcState, now: StoreTime, grace: Duration) -> bool {
    // Where grace is short, so are flushes.
    state.claim.is_some_and(|claim| now.since(claim.at) < LEASE.min(grace))
}

/// A claimed state: as long as nobody else claims it, what this flush puts
/// counts.
#[derive(Debug)]
pub(super) struct Claimed<'r> {
    repository: &'r Repository,
    pub(super) state: GcState,
    version: Version,
    /// Whether there was a state before.
    had_state: bool,
}

impl<'r> Claimed<'r> {
    /// Claims the state that was read.
    ///
    /// # Errors
    /// [`Error::FlushOvertaken`] if another was faster; [`Error::NotFenced`] if
    /// the store would let two of them be.
    pub(super) fn take(
        repository: &'r Repository,
        found: StoredState,
        now: StoreTime,
        unfenced: bool,
    ) -> Result<Self, Error> {
        let store = repository.store();
        if !unfenced && !store.has_conditional_writes() {
            return Err(Error::NotFenced);
        }
        let claim = Some(Claim { by: FlushId::generate(), at: now });
        let state = GcState { claim, ..found.state };
        let version = repository.put_gc_state(&state, found.version.as_ref())?;
        let claimed = Self { repository, state, version, had_state: found.version.is_some() };
        if !unfenced {
            claimed.check_fence()?;
        }
        Ok(claimed)
    }

    /// Some services ignore conditions and say that all went well. They would
    /// also put this, which is there already.
    fn check_fence(&self) -> Result<(), Error> {
        let again = Bytes::from(self.state.encode());
        let put = self.repository.store().put(&Layout::gc_state(), again, PutMode::Create);
        match put {
            // Only known since it was tried.
            _ if !self.repository.store().has_conditional_writes() => Err(Error::NotFenced),
            Ok(_) => Err(Error::NotFenced),
            Err(error) if error.is_conflict() => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Refuses a state that is earlier than what was saved by it: what it lists as
    /// condemned for long may be in use again, by savers who have read a later one.
    ///
    /// # Errors
    /// [`Error::Damaged`] or [`Error::Missing`] name the state then.
    pub(super) fn check_age(&self, marked: &[Marked]) -> Result<(), Error> {
        let is_later = |marked: &&Marked| marked.mark.facts.epoch > self.state.epoch;
        let Some(later) = marked.iter().find(is_later) else { return Ok(()) };
        if self.repository.gc_state()?.version != Some(self.version.clone()) {
            return Err(Error::FlushOvertaken);
        }
        Err(Repository::stale_state(self.had_state, later.listed.object.clone()))
    }

    /// Puts the next state.
    ///
    /// # Errors
    /// [`Error::FlushOvertaken`] if somebody else has claimed it since.
    pub(super) fn put(&mut self, state: GcState) -> Result<(), Error> {
        self.version = self.repository.put_gc_state(&state, Some(&self.version))?;
        self.state = state;
        Ok(())
    }

    /// Acts by this claim; the last state that `act` puts has to be one without
    /// it. If it fails, other flushes may begin at once, or when the claim ends if
    /// telling them fails too.
    ///
    /// # Errors
    /// Those of `act`.
    pub(super) fn act<T>(
        mut self,
        act: impl FnOnce(&mut Self) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let result = act(&mut self);
        match &result {
            // It is another's now.
            Ok(_) | Err(Error::FlushOvertaken) => {}
            Err(_) => drop(self.put(GcState { claim: None, ..self.state.clone() })),
        }
        result
    }
}
