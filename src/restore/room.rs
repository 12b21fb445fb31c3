//! Whether there is room for what is to be written.
//!
//! What a cache unpacks to has little to do with how long it is in the store: one chunk
//! can occur a million times. So what is to be written is added up, and compared with
//! what is free on each file system, before the first file is written. Holes are left out:
//! they take no space, and how long they may be is for the file system to say.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use super::compare::{Action, Comparison};
use crate::error::Error;
use crate::files;
use crate::format::{EntryIndex, Kind, Tree};

/// Where new entries are to lie: the directory, and its path for messages.
pub(super) type Place<'a> = (BorrowedFd<'a>, PathBuf);

/// Checks that there is room for all new files. `area` gives for the topmost new entries
/// the number of their place in `places`.
pub(super) fn check(
    tree: &Tree,
    comparison: &Comparison,
    area: impl Fn(EntryIndex) -> Option<usize>,
    places: &[Place<'_>],
) -> Result<(), Error> {
    let mut needed = vec![0u64; places.len()];
    let mut area_of: Vec<Option<usize>> = vec![None; tree.entries().len()];
    for entry in tree.indexes().filter(|&entry| comparison.is_new(entry)) {
        let parent = tree.entry(entry).parent;
        let above = || area_of[parent? as usize];
        let Some(number) = area(entry).or_else(above) else { continue };
        area_of[entry as usize] = Some(number);
        // What may be in place takes its space already.
        let counts = comparison.action(entry) != Action::Check;
        if counts && matches!(tree.entry(entry).kind, Kind::File(_)) {
            needed[number] = needed[number].saturating_add(tree.data_len(entry));
        }
    }
    let mut by_device: BTreeMap<u64, (u64, &Place<'_>)> = BTreeMap::new();
    for (needed, place) in needed.into_iter().zip(places) {
        // That it cannot be asked is no reason not to try.
        let Ok(stat) = files::look_at((place.0, b".")) else { continue };
        let all = &mut by_device.entry(stat.identity.device).or_insert((0, place)).0;
        *all = all.saturating_add(needed);
    }
    for (needed, (directory, path)) in by_device.into_values() {
        if let Some(free) = files::free_bytes(*directory).filter(|&free| free < needed) {
            return Err(Error::NoRoom { path: path.clone(), needed, free });
        }
    }
    Ok(())
}
