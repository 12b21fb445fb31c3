//! One row of the table: damage of one kind in one place, and every command on a
//! copy of the store of its own.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use larder::error::Error;
use larder::flush::{RepairReport, RepairRequest, repair};
use larder::format::{Layout, SealedManifest};
use larder::repository::Repository;
use larder::restore::Hit;
use larder::store::{MemoryStore, PutMode, Store};
use larder::verify::VerifyReport;

use super::harm::{Damage, Place, harm, object};
use super::table::Outcome::{self, Drops, Exits, Fine, Mends, Miss, Older, Warns};
use super::table::{Outcomes, exit_code};
use super::world::{Files, World, below, flush_it, heard, restore_it, save_it, verify_it};
use crate::support::{contents, ctimes, stage_areas, write};

/// What is found wrong, in words.
pub(super) type Complaints = Vec<String>;

pub(super) struct Cell<'w> {
    world: &'w World,
    place: Place,
    damage: Damage,
    /// Of its own, for restores.
    directory: std::path::PathBuf,
    pub(super) complaints: Complaints,
}

impl<'w> Cell<'w> {
    pub(super) fn new(world: &'w World, place: Place, damage: Damage) -> Self {
        let directory = world.path(&format!("{place:?}-{damage:?}"));
        Self { world, place, damage, directory, complaints: vec![] }
    }

    fn complain(&mut self, text: impl Into<String>) {
        let text = text.into();
        self.complaints.push(format!("{:?} of {:?}: {text}", self.damage, self.place));
    }

    fn hurt(&self) -> Arc<MemoryStore> {
        let store = self.world.store.fork();
        harm(self.world, &store, self.place, self.damage);
        Arc::new(store)
    }

    /// Runs every command.
    pub(super) fn run(&mut self) -> Outcomes {
        let restore = self.restore(&self.hurt(), true, "a");
        let (save, after_save) = self.save();
        let verify = self.verify(false);
        let read_data = self.verify(true);
        let flush = self.flush(restore);
        let (repair, after_repair) = self.repair();
        let _ = fs::remove_dir_all(&self.directory);
        [restore, save, after_save, verify, read_data, flush, repair, after_repair]
    }

    /// Restores the victim, into nothing or over another tree, and fails unless the
    /// files are those of `tree`, or the older one, or all is as it was.
    fn restore(&mut self, store: &Arc<MemoryStore>, over: bool, tree: &str) -> Outcome {
        let to = self.directory.join("to");
        if over {
            write(to.join("tree/large/kept"), b"what was there");
            write(to.join("tree/mine"), b"what the cache does not hold");
        } else {
            fs::create_dir_all(&to).unwrap();
        }
        let before = (contents(&to), ctimes(&to.join("tree/large")));
        let restored = restore_it(store, &to);
        let files = below(&to.join("tree"));
        let is = |wanted: &str| files == self.world.files(wanted);
        let outcome = match restored {
            Ok((report, warned)) if report.hit == Hit::Miss => {
                if warned {
                    Warns
                } else {
                    Miss
                }
            }
            Ok((_, true)) if is(tree) => Warns,
            Ok(_) if is(tree) => Fine,
            Ok(_) if is("before") => Older,
            Ok(_) => {
                self.complain(format!("wrong files were restored: {:?}", names(&files)));
                Fine
            }
            Err(error) => self.failed("restore", &error),
        };
        if matches!(outcome, Miss | Exits(_))
            && before != (contents(&to), ctimes(&to.join("tree/large")))
        {
            self.complain("a restore that failed changed something");
        }
        if !stage_areas(&to).is_empty() {
            self.complain("a stage area was left");
        }
        fs::remove_dir_all(&to).unwrap();
        outcome
    }

    /// An error must name the object, and say what to do.
    fn failed(&mut self, command: &str, error: &Error) -> Outcome {
        let object = object(self.world, self.place);
        let text = error.to_string();
        let names_it = text.contains(object.as_str())
            || self.place == Place::Marker && text.contains("format");
        if !names_it {
            self.complain(format!("{command} does not name {object}: {text}"));
        }
        if error.hint().is_none() {
            self.complain(format!("{command} has no hint: {text}"));
        }
        Exits(exit_code(error.code()))
    }

    /// Saves a changed tree under the victim's key. What that relied on may be
    /// damaged still; a save that relies on nothing must make the cache whole.
    fn save(&mut self) -> (Outcome, Outcome) {
        let store = self.hurt();
        let intact = self.intact(&store);
        let next = self.world.tree("next");
        let saved = match save_it(&store, &next, true) {
            Ok((_, true)) => Warns,
            Ok((_, false)) => Fine,
            Err(error) => self.failed("save", &error),
        };
        self.still_intact(&store, &intact, "save");
        let tree = if matches!(saved, Exits(_)) { "a" } else { "next" };
        let after = self.restore(&store, false, tree);
        if !matches!(saved, Exits(_)) {
            self.heals(&store, false, "save");
        }
        (saved, after)
    }

    /// A following save of the key makes the cache whole.
    fn heals(&mut self, store: &Arc<MemoryStore>, reuse: bool, after: &str) {
        if let Err(error) = save_it(store, &self.world.tree("next"), reuse) {
            return self.complain(format!("no save after {after}: {error}"));
        }
        let restored = self.restore(store, false, "next");
        if !matches!(restored, Fine | Warns) {
            self.complain(format!("not whole by a save after {after}: {restored:?}"));
        }
    }

    fn verify(&mut self, read_data: bool) -> Outcome {
        match verify_it(&self.hurt(), read_data) {
            Ok((report, warned)) => self.verdict(&report, warned),
            Err(error) => self.failed("verify", &error),
        }
    }

    fn verdict(&mut self, report: &VerifyReport, warned: bool) -> Outcome {
        match report.problems.first() {
            None if warned => Warns,
            None => Fine,
            Some(problem) => self.failed("verify", problem),
        }
    }

    fn flush(&mut self, restore: Outcome) -> Outcome {
        let store = self.hurt();
        let intact = self.intact(&store);
        let before = self.bytes(&store);
        let flushed = match flush_it(&store) {
            Ok((_, true)) => Warns,
            Ok((_, false)) => Fine,
            Err(error) => self.failed("flush", &error),
        };
        self.still_intact(&store, &intact, "flush");
        self.leaves_newer_alone(&store, before.as_ref(), "flush");
        let after = self.restore(&store, false, "a");
        if after != restore {
            self.complain(format!("restore is {restore:?}, and {after:?} after a flush"));
        }
        flushed
    }

    fn repair(&mut self) -> (Outcome, Outcome) {
        let store = self.hurt();
        let intact = self.intact(&store);
        let before = self.bytes(&store);
        let repaired = match mend(&store) {
            Ok((report, _)) if !report.dropped.is_empty() => Drops,
            Ok((report, _)) if has_mended(&report) => Mends,
            Ok((_, true)) => Warns,
            Ok((_, false)) => Fine,
            Err(error) => self.failed("repair", &error),
        };
        self.still_intact(&store, &intact, "repair");
        self.leaves_newer_alone(&store, before.as_ref(), "repair");
        let after = self.restore(&store, false, "a");
        if !matches!(repaired, Exits(_)) {
            if matches!(after, Exits(_)) {
                self.complain("a repair leaves a cache that cannot be restored");
            }
            if let Some(problem) = verify_it(&store, true)
                .ok()
                .and_then(|(found, _)| found.problems.into_iter().next())
            {
                self.complain(format!("a repair leaves a problem: {problem}"));
            }
            self.heals(&store, true, "repair");
        }
        (repaired, after)
    }

    fn bytes(&self, store: &MemoryStore) -> Option<bytes::Bytes> {
        store.contents().remove(&object(self.world, self.place))
    }

    fn leaves_newer_alone(
        &mut self,
        store: &MemoryStore,
        before: Option<&bytes::Bytes>,
        command: &str,
    ) {
        // Deltas are taken away unread: they are for the time until the next flush.
        let is_read = self.place != Place::Delta;
        if self.damage == Damage::Newer && is_read && self.bytes(store).as_ref() != before {
            self.complain(format!("{command} changed what a newer larder wrote"));
        }
    }

    /// The keys of which all can be restored, whatever there is to say of the rest.
    fn intact(&self, store: &MemoryStore) -> BTreeSet<String> {
        let store = store.fork();
        let marker = self.world.store.contents()[&Layout::marker()].clone();
        store.put(&Layout::marker(), marker, PutMode::Overwrite).unwrap();
        let contents = store.contents();
        let keys = contents.keys().filter_map(Layout::parse_manifest).map(|(_, key)| key);
        let (found, _) = verify_it(&Arc::new(store.fork()), true).unwrap();
        let damaged: BTreeSet<_> = found.damaged.iter().map(|found| found.key.clone()).collect();
        let readable = |key: &larder::ids::Key| {
            let object = super::world::manifest_of(key.as_str());
            SealedManifest::decode(&contents[&object]).is_ok_and(|manifest| manifest.key == *key)
        };
        let intact = keys.filter(|key| !damaged.contains(key) && readable(key));
        intact.map(|key| key.to_string()).collect()
    }

    fn still_intact(&mut self, store: &MemoryStore, before: &BTreeSet<String>, command: &str) {
        let after = self.intact(store);
        let lost: Vec<_> = before.difference(&after).collect();
        if !lost.is_empty() {
            self.complain(format!("{command} lost {lost:?}"));
        }
        assert!(before.contains("e") && before.contains("b"), "{before:?}");
    }
}

fn names(files: &Files) -> Vec<(&Path, usize)> {
    files.iter().map(|(path, bytes)| (path.as_path(), bytes.len())).collect()
}

/// What `larder verify --read-data --repair` does.
fn mend(store: &Arc<MemoryStore>) -> Result<(RepairReport, bool), Error> {
    let marker_reset = Repository::mend_marker(store.clone())?;
    let (mut found, _) = verify_it(store, true)?;
    if let Some(newer) = found.take_newer() {
        return Err(newer);
    }
    let request = RepairRequest {
        damaged: found.damaged,
        bad_packs: found.bad_packs,
        state_is_stale: found.state_is_stale,
        ..RepairRequest::default()
    };
    let (repaired, warned) = heard(|context| repair(store.clone(), &request, context))?;
    Ok((RepairReport { marker_reset, ..repaired }, warned))
}

fn has_mended(report: &RepairReport) -> bool {
    report.marker_reset || report.state_reset || !report.bad_packs.is_empty()
}
