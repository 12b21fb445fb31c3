//! The report: a store in pictures, for those who pay for it and who tune it.
//!
//! [`gather`] puts together what the library's conductors tell, none of which knows
//! another: sums of all caches, what the largest hold, and what a flush would do.
//! [`Report::page`] makes one HTML page of it, which loads nothing from anywhere.

mod chart;
mod history;
mod outlook;
mod page;
mod runs;
#[cfg(test)]
mod tests;
mod tiles;
mod treemap;
mod units;

use std::cmp::Reverse;
use std::collections::HashSet;
use std::time::SystemTime;

use larder::error::Error;
use larder::flush::FlushRequest;
use larder::ids::{Key, Scope};
use larder::progress::Context;
use larder::repository::Access;
use larder::stats::{KeyStats, Stats, stats};
use larder::store_time::StoreTime;
use larder::usage::{Size, usage};
use larder::workers;

use history::History;
use outlook::Fate;
pub(crate) use outlook::Outlook;
pub(crate) use runs::Runs;
use tiles::Tile;

/// Manifests of large caches that are read at once: each can be long.
const READERS: usize = 4;

/// What to report on.
pub(crate) struct ReportRequest {
    /// The scope, or `None` for all of them.
    pub(crate) scope: Option<Scope>,
    /// The flush whose work is foretold.
    pub(crate) flush: FlushRequest,
    /// How many caches are drawn.
    pub(crate) top: usize,
    /// What restores and saves told, if that is known.
    pub(crate) runs: Option<Runs>,
}

/// What there is to tell of a store.
pub(crate) struct Report {
    /// The store, without secrets.
    pub(crate) location: String,
    scope: Option<Scope>,
    /// The store's time, as far as it told it.
    now: StoreTime,
    /// Sums; the caches with the most stored bytes come first.
    pub(crate) stats: Stats,
    /// The number of scopes of these caches.
    pub(crate) scopes: u64,
    /// What the largest of them hold.
    maps: Vec<CacheMap>,
    history: History,
    flush: FlushRequest,
    pub(crate) outlook: Outlook,
    /// What the flush would do with each cache of `stats`.
    fates: Vec<Fate>,
    pub(crate) runs: Option<Runs>,
}

/// What a cache holds, as tiles of a treemap.
struct CacheMap {
    /// The number of the cache in the report.
    cache: usize,
    total: Size,
    tiles: Vec<Tile>,
}

/// Reads all that the report tells; changes nothing.
///
/// # Errors
/// Those of the store. Damaged manifests are part of the report.
pub(crate) fn gather(
    access: &Access,
    request: ReportRequest,
    context: Context<'_>,
) -> Result<Report, Error> {
    let ReportRequest { scope, flush, top, runs } = request;
    let mut stats = stats(access.clone(), scope.as_ref(), context)?;
    stats.keys.sort_by(|a, b| largest_first(a).cmp(&largest_first(b)));
    let outlook = Outlook::of(access, &flush, context)?;
    // A store without any object tells no time.
    let now = outlook.now().unwrap_or_else(|| SystemTime::now().into());
    let maps = maps(access, stats.keys.iter().take(top), context)?;
    let saves = stats.keys.iter().map(|key| (key.saved, key.raw_bytes));
    let packs = stats.packs.iter().map(|pack| (pack.modified, pack.len));
    Ok(Report {
        location: access.location(),
        now,
        scopes: stats.keys.iter().map(|key| &key.scope).collect::<HashSet<_>>().len() as u64,
        maps,
        history: History::of(now, saves, packs),
        fates: outlook.fates(&stats.keys, &flush.policy, now),
        scope,
        stats,
        flush,
        outlook,
        runs,
    })
}

fn largest_first(key: &KeyStats) -> (Reverse<(u64, u64)>, &Scope, &Key) {
    (Reverse((key.stored_bytes, key.raw_bytes)), &key.scope, &key.key)
}

/// What these caches hold, of those that are still there.
fn maps<'a>(
    access: &Access,
    keys: impl Iterator<Item = &'a KeyStats>,
    context: Context<'_>,
) -> Result<Vec<CacheMap>, Error> {
    let maps = workers::try_map(READERS, keys.enumerate().collect(), context, |(cache, key)| {
        let found = usage(access.clone(), &key.scope, &key.key, context)?;
        Ok(found.map(|usage| CacheMap {
            cache,
            total: usage.total(),
            tiles: tiles::of_usage(&usage),
        }))
    })?;
    Ok(maps.into_iter().flatten().collect())
}
