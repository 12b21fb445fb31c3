//! Taking turns: two restores to one place, one after the other.
//!
//! At once, each would move its files in between the other's. The restore that comes
//! later waits, and then compares with what the first has left: the same cache is in
//! place already, another one replaces it whole. The locks lie with the stat records of
//! this user on this machine; restores that have no records in common, as in two
//! containers with one directory, see each other only by what changes under them.

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use super::RestoreRequest;
use super::target::Target;
use crate::error::Error;
use crate::progress::{Context, Warning};
use crate::records::Records;

/// Places that are locked of one restore: two of the same cache meet at the first.
const MOST_PLACES: usize = 64;

/// Between two looks: short beside a restore, and long beside a look.
const WAIT: Duration = Duration::from_millis(20);

/// The right to change the targets, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _locks: Vec<File>,
}

/// Waits until no other restore changes these targets.
pub(super) fn wait_for(
    targets: &[Target],
    request: &RestoreRequest,
    context: Context<'_>,
) -> Result<Turn, Error> {
    let Some(records) = &request.records else { return Ok(Turn { _locks: vec![] }) };
    let mut places: Vec<&Path> = targets.iter().map(|target| &*target.location).collect();
    // In one order for all, so that no two wait for each other.
    places.sort_unstable();
    places.truncate(MOST_PLACES);
    let mut locks = vec![];
    for place in places {
        locks.extend(lock(records, place, context)?);
    }
    Ok(Turn { _locks: locks })
}

/// Waits for one place; `None` where there are no locks.
fn lock(records: &Records, place: &Path, context: Context<'_>) -> Result<Option<File>, Error> {
    let mut is_told = false;
    loop {
        match records.try_lock(place) {
            Ok(Some(lock)) => return Ok(Some(lock)),
            // Where no record can be written, none tells of another restore.
            Err(_) => return Ok(None),
            Ok(None) => {}
        }
        if !is_told {
            is_told = true;
            context.progress.warn(Warning::OtherRestore { path: place.to_owned() });
        }
        context.check()?;
        std::thread::sleep(WAIT);
    }
}
