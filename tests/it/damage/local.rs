//! Rows of what lies on this machine, beside the store: the local cache and stat
//! records. They only save time, so damage to them must never show.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use larder::error::Error;
use larder::records::Records;
use larder::restore::{RestoreRequest, restore};
use larder::save::{SaveRequest, save};
use larder::store::MemoryStore;
use larder::tier::{Tier, TierLocation};

use super::cell::Complaints;
use super::harm::{Damage, Place, damaged};
use super::table::Outcome::{self, Exits, Fine, No, Warns};
use super::table::{Outcomes, exit_code};
use super::world::{VICTIM, World, below, heard};
use crate::faults::{restore_request, save_request};
use crate::support::{contents, set_mtime, write};

/// One such row: a store, and a machine with a local cache and records.
pub(super) struct LocalCell<'w> {
    world: &'w World,
    place: Place,
    damage: Damage,
    directory: PathBuf,
    store: Arc<MemoryStore>,
    pub(super) complaints: Complaints,
}

impl<'w> LocalCell<'w> {
    pub(super) fn new(world: &'w World, place: Place, damage: Damage) -> Self {
        let directory = world.path(&format!("{place:?}-{damage:?}"));
        let store = Arc::new(world.store.fork());
        Self { world, place, damage, directory, store, complaints: vec![] }
    }

    pub(super) fn run(&mut self) -> Outcomes {
        self.prepare();
        let restore = self.restore();
        self.prepare();
        let (save, after) = self.save();
        let _ = fs::remove_dir_all(&self.directory);
        [restore, save, after, No, No, No, No, No]
    }

    fn complain(&mut self, text: &str) {
        self.complaints.push(format!("{:?} of {:?}: {text}", self.damage, self.place));
    }

    fn tree(&self) -> PathBuf {
        self.directory.join("machine/tree")
    }

    fn records(&self) -> PathBuf {
        self.directory.join("records")
    }

    fn tier(&self) -> PathBuf {
        self.directory.join("tier")
    }

    /// Makes the tree what it is in the world.
    fn lay(&self, name: &str) {
        let _ = fs::remove_dir_all(self.tree());
        for (path, bytes) in self.world.files(name) {
            write(self.tree().join(path), bytes);
        }
        set_mtime(self.tree().join("small"), 1_700_000_000, 0);
        // A record vouches for what is older than the clock's grain.
        std::thread::sleep(Duration::from_millis(40));
    }

    /// Leaves a record and chunks on the machine, and damages one of them.
    fn prepare(&mut self) {
        self.forget();
        let mut older = vec![];
        for name in ["before", "a"] {
            self.lay(name);
            self.save_from(&self.tree(), VICTIM).unwrap();
            older.push(fs::read(self.record()).unwrap());
        }
        self.restore_to(&self.directory.join("filling")).unwrap();
        let path = match self.place {
            Place::TierEntry => self.entry(),
            Place::TierTally => self.tier().join("tier-tally"),
            _ => self.record(),
        };
        let bytes = fs::read(&path).unwrap();
        let len = bytes.len();
        let bytes = match self.damage {
            Damage::Deletion => return fs::remove_file(&path).unwrap(),
            Damage::Earlier => older.swap_remove(0),
            Damage::OtherOfKind => self.other_of_kind(&path),
            Damage::OtherKind => vec![b'x'; 5000],
            damage => damaged(bytes, damage, (0, len, len / 3), self.place),
        };
        fs::write(path, bytes).unwrap();
    }

    fn record(&self) -> PathBuf {
        self.only(&self.records(), |_| true)
    }

    fn entry(&self) -> PathBuf {
        let id = self.world.chunk().0.to_string();
        self.only(&self.tier(), |path| path.ends_with(&id))
    }

    fn only(&self, below: &Path, is_wanted: impl Fn(&Path) -> bool) -> PathBuf {
        let mut found = contents(below).into_keys().filter(|path| is_wanted(path));
        found.next().unwrap_or_else(|| panic!("{:?}: nothing in {}", self.place, below.display()))
    }

    fn other_of_kind(&self, path: &Path) -> Vec<u8> {
        if self.place == Place::TierEntry {
            let is_entry = |other: &Path| other != path && other.parent() != Some(&self.tier());
            return fs::read(self.only(&self.tier(), is_entry)).unwrap();
        }
        self.save_from(&self.world.tree("b"), "b").unwrap();
        let other = self.only(&self.records(), |other| other != path);
        let bytes = fs::read(&other).unwrap();
        fs::remove_file(other).unwrap();
        bytes
    }

    /// Restores in place, where a file has changed that looks as if it had not, or
    /// where nothing is.
    fn restore(&mut self) -> Outcome {
        match self.place {
            Place::StatRecord => self.change_unseen(),
            _ => fs::remove_dir_all(self.tree()).unwrap(),
        }
        let outcome = self.told("restore", |cell| cell.restore_to(&cell.directory.join("machine")));
        if below(&self.tree()) != self.world.files("a") {
            self.complain("wrong files were restored");
        }
        outcome
    }

    /// Saves what has changed unseen, and looks what was saved from another machine.
    fn save(&mut self) -> (Outcome, Outcome) {
        self.change_unseen();
        let saved = below(&self.tree());
        let outcome = self.told("save", |cell| cell.save_from(&cell.tree(), VICTIM));
        self.forget();
        let to = self.directory.join("another");
        let after = self.told("restore", |cell| cell.restore_to(&to));
        if below(&to.join("tree")) != saved {
            self.complain("wrong files were saved");
        }
        (outcome, after)
    }

    /// Makes it another machine.
    fn forget(&self) {
        for directory in [self.records(), self.tier(), self.directory.join("filling")] {
            let _ = fs::remove_dir_all(directory);
        }
    }

    /// Changes a byte of a file, and nothing that `ls` shows.
    fn change_unseen(&self) {
        let file = self.tree().join("small");
        let mut bytes = fs::read(&file).unwrap();
        bytes[0] ^= 1;
        fs::write(&file, bytes).unwrap();
        set_mtime(&file, 1_700_000_000, 0);
    }

    fn told(&mut self, command: &str, run: impl FnOnce(&Self) -> Result<bool, Error>) -> Outcome {
        match run(self) {
            Ok(true) => Warns,
            Ok(false) => Fine,
            Err(error) => {
                self.complain(&format!("{command}: {error}"));
                Exits(exit_code(error.code()))
            }
        }
    }

    fn save_from(&self, tree: &Path, key: &str) -> Result<bool, Error> {
        let request = SaveRequest {
            key: key.parse().unwrap(),
            records: Some(Records::new(self.records())),
            tier: Some(self.open_tier()),
            ..save_request(tree)
        };
        heard(|context| save(self.store.clone(), &request, context)).map(|(_, warned)| warned)
    }

    fn restore_to(&self, to: &Path) -> Result<bool, Error> {
        let request = RestoreRequest {
            keys: vec![VICTIM.parse().unwrap()],
            records: Some(Records::new(self.records())),
            tier: Some(self.open_tier()),
            ..restore_request(to)
        };
        heard(|context| restore(self.store.clone(), &request, context)).map(|(_, warned)| warned)
    }

    fn open_tier(&self) -> Arc<Tier> {
        Arc::new(Tier::new(TierLocation { directory: self.tier(), size: 1 << 30 }))
    }
}
