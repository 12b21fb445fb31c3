//! The outlook: what a flush would remove and free, and when each cache would go.

use std::collections::HashMap;
use std::time::Duration;

use larder::error::Error;
use larder::flush::{FlushReport, FlushRequest, Policy, Reason, flush};
use larder::format::Lifetime;
use larder::ids::{Key, Scope};
use larder::progress::Context;
use larder::repository::Access;
use larder::stats::KeyStats;
use larder::store_time::StoreTime;

use super::units::duration;

/// What a flush would do.
#[derive(Debug)]
pub(crate) enum Outlook {
    /// This.
    Told(Box<FlushReport>),
    /// Nothing: a manifest is damaged, and what it refers to cannot be told from garbage.
    Damaged(String),
}

/// What the flush would do with a cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Remove it now.
    Now(Reason),
    /// Remove it then, if it is not used before.
    At(StoreTime),
    /// Keep it, whatever its age: the save or the flush says so.
    Pinned,
    /// Keep it, for it is one of the last of its scope.
    Last,
    /// Nobody can tell.
    Unknown,
}

impl Outlook {
    /// Rehearses the flush.
    ///
    /// # Errors
    /// Those of the store.
    pub(super) fn of(
        access: &Access,
        request: &FlushRequest,
        context: Context<'_>,
    ) -> Result<Self, Error> {
        debug_assert!(request.dry_run, "a report changes nothing");
        match flush(access.clone(), request, context) {
            Ok(report) => Ok(Self::Told(Box::new(report))),
            Err(error) if error.is_unreadable() => Ok(Self::Damaged(error.to_string())),
            Err(error) => Err(error),
        }
    }

    /// The store's time, if there is one.
    pub(super) fn now(&self) -> Option<StoreTime> {
        match self {
            Self::Told(report) => Some(report.now).filter(|now| *now != StoreTime::default()),
            Self::Damaged(_) => None,
        }
    }

    /// What it says of each of these caches.
    pub(super) fn fates(&self, keys: &[KeyStats], policy: &Policy, now: StoreTime) -> Vec<Fate> {
        let Self::Told(report) = self else { return vec![Fate::Unknown; keys.len()] };
        if report.busy.is_some() {
            return vec![Fate::Unknown; keys.len()];
        }
        let removed = report.removed.iter().map(|gone| ((&gone.scope, &gone.key), gone.reason));
        let removed: HashMap<(&Scope, &Key), Reason> = removed.collect();
        let fate = |key: &KeyStats| match removed.get(&(&key.scope, &key.key)) {
            Some(reason) => Fate::Now(*reason),
            None => of_term(policy.term(&key.scope, &key.key, key.lifetime), key.last_used, now),
        };
        keys.iter().map(fate).collect()
    }
}

fn of_term(term: Option<(Duration, Reason)>, last_used: StoreTime, now: StoreTime) -> Fate {
    match term {
        None => Fate::Pinned,
        // The same comparison as the flush's, which would have removed it.
        Some((age, _)) if now.since(last_used) > age => Fate::Last,
        Some((age, _)) => Fate::At(last_used.after(age)),
    }
}

/// How long a cache is to live, by its save.
pub(super) fn lifetime(lifetime: Lifetime) -> String {
    match lifetime {
        Lifetime::ByPolicy => "by flush".to_owned(),
        Lifetime::For(ttl) => duration(ttl),
        Lifetime::Pinned => "pinned".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_goes_once_its_term_is_over() {
        let now = StoreTime::from_unix(1_000);
        let at = |seconds| Some((Duration::from_secs(seconds), Reason::Age));
        let check = |term, expected| {
            assert_eq!(of_term(term, StoreTime::from_unix(900), now), expected);
        };
        check(None, Fate::Pinned);
        check(at(99), Fate::Last);
        check(at(100), Fate::At(StoreTime::from_unix(1_000)));
        check(at(500), Fate::At(StoreTime::from_unix(1_400)));
    }
}
