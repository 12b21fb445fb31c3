//! Whether a store honours conditions: a condition that is told to have been met
//! and was not shows only when many ask at once.

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use ulid::Ulid;

use super::{Probe, Report, Verdict};
use crate::store::{ObjectKey, PutMode, StoreError, Version};

/// Writers that put one new object at once, and objects that are deleted and
/// changed at once.
pub(super) const RACERS: usize = 8;

/// How often they are: on RGW 20, one object in ten is lost.
const ROUNDS: usize = 4;

const NO_CREATE: &str = "two first saves at the same time may both set the store up; packs and \
                         caches are safe, for no two have the same name";
const NO_IF_MATCH: &str = "of two changes of one cache at the same time the later one wins; \
                           saving and restoring do not need it";
const NO_DELETE_IF_MATCH: &str = "a flush may remove a cache that is saved in the very instant it \
                                  expires; the next save brings it back";

impl Probe<'_> {
    pub(super) fn conditional_create(&self, report: &mut Report, there: &ObjectKey) {
        const ABILITY: &str = "conditional create";
        let again = self.store.put(there, Bytes::from_static(b"twice"), PutMode::Create);
        match again {
            Err(error) if error.is_conflict() && self.store.has_conditional_writes() => {}
            Err(error) if error.is_conflict() => {
                let detail = "the service has no If-None-Match";
                return report.add(ABILITY, Verdict::Lacking, detail, Some(NO_CREATE));
            }
            Err(error) => {
                let detail = error.kind.to_string();
                return report.add(ABILITY, Verdict::Lacking, detail, Some(NO_CREATE));
            }
            Ok(_) => {
                let detail = "If-None-Match is ignored: an object was overwritten";
                return report.add(ABILITY, Verdict::Lacking, detail, Some(NO_CREATE));
            }
        }
        let raced = self.key("raced");
        let winners = AtomicUsize::new(0);
        std::thread::scope(|threads| {
            for racer in 0..RACERS {
                let (raced, winners) = (&raced, &winners);
                threads.spawn(move || {
                    let body = Bytes::from(format!("racer {racer}"));
                    if self.store.put(raced, body, PutMode::Create).is_ok() {
                        winners.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        });
        match winners.into_inner() {
            1 => {
                let detail = format!("of {RACERS} writers at once, one won");
                report.add(ABILITY, Verdict::Ok, detail, None);
            }
            number => {
                let detail = format!("of {RACERS} writers at once, {number} were told they won");
                report.add(ABILITY, Verdict::Lacking, detail, Some(NO_CREATE));
            }
        }
    }

    pub(super) fn conditional_replace(
        &self,
        report: &mut Report,
        key: &ObjectKey,
        version: Version,
    ) {
        const ABILITY: &str = "conditional replace";
        // Whoever ignores conditions has replaced the object already.
        let version = self.store.head(key).map_or(version, |meta| meta.version);
        let body = Bytes::from_static(b"larder was here again");
        let right = self.store.put(key, body.clone(), PutMode::IfMatch(version.clone()));
        let wrong = self.store.put(key, body, PutMode::IfMatch(version));
        let detail = match (right, wrong) {
            _ if !self.store.has_conditional_writes() => "the service has no If-Match".to_owned(),
            (Ok(_), Err(error)) if error.is_conflict() => {
                let detail = "only the version that was named is replaced";
                return report.add(ABILITY, Verdict::Ok, detail, None);
            }
            (Ok(_), Ok(_)) => "If-Match is ignored: an object was overwritten".to_owned(),
            (Err(error), _) | (_, Err(error)) => error.kind.to_string(),
        };
        report.add(ABILITY, Verdict::Lacking, detail, Some(NO_IF_MATCH));
    }

    pub(super) fn conditional_delete(&self, report: &mut Report) {
        const ABILITY: &str = "conditional delete";
        let detail = match self.deletes_by_version() {
            Ok(_) if !self.store.has_conditional_writes() => "the service has no If-Match".into(),
            Ok(None) => {
                let detail = "only the version that was named is deleted";
                return report.add(ABILITY, Verdict::Ok, detail, None);
            }
            Ok(Some(detail)) => detail,
            Err(error) => error.kind.to_string(),
        };
        report.add(ABILITY, Verdict::Lacking, detail, Some(NO_DELETE_IF_MATCH));
    }

    /// What is wrong with deletes on a condition, if anything is.
    fn deletes_by_version(&self) -> Result<Option<String>, StoreError> {
        let key = self.key("expired");
        let put = |body: &'static [u8]| {
            self.store.put(&key, Bytes::from_static(body), PutMode::Overwrite)
        };
        let (old, new) = (put(b"old")?, put(b"new")?);
        match self.store.delete_if_match(&key, &old) {
            Ok(()) => return Ok(Some("another version than the one named was deleted".into())),
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
        }
        self.store.head(&key)?;
        self.store.delete_if_match(&key, &new)?;
        match self.store.head(&key) {
            Err(error) if error.is_not_found() => self.deletes_race_with_puts(),
            Err(error) => Err(error),
            Ok(_) => Ok(Some("the version that was named is still there".into())),
        }
    }

    /// Changes and deletes one version of each of a few objects at once. A
    /// service that compares before it deletes lets both succeed, now and then.
    fn deletes_race_with_puts(&self) -> Result<Option<String>, StoreError> {
        for _ in 0..ROUNDS {
            let results: Vec<_> = std::thread::scope(|threads| {
                let racers: Vec<_> =
                    (0..RACERS).map(|racer| threads.spawn(move || self.race(racer))).collect();
                racers.into_iter().filter_map(|racer| racer.join().ok()).collect()
            });
            let lost = results.into_iter().collect::<Result<Vec<bool>, _>>()?;
            let lost = lost.into_iter().filter(|lost| *lost).count();
            if lost > 0 {
                let told = "were deleted although their change had succeeded";
                return Ok(Some(format!("of {RACERS} objects changed at once, {lost} {told}")));
            }
        }
        Ok(None)
    }

    /// Whether a delete and a change of the same version both succeed.
    fn race(&self, racer: usize) -> Result<bool, StoreError> {
        let key = self.key(&format!("raced-{racer}"));
        let body = |text: &str| Bytes::from(format!("{text} {racer} {}", Ulid::generate()));
        let version = self.store.put(&key, body("old"), PutMode::Overwrite)?;
        let start = Barrier::new(2);
        std::thread::scope(|threads| {
            let put = threads.spawn(|| {
                start.wait();
                // A delete may begin with a look. So does every other change:
                // which of the two should come first depends on the service.
                if racer.is_multiple_of(2) {
                    self.store.head(&key)?;
                }
                self.store.put(&key, body("new"), PutMode::IfMatch(version.clone()))
            });
            start.wait();
            let deleted = self.store.delete_if_match(&key, &version);
            Ok(matches!(put.join(), Ok(Ok(_))) && deleted.is_ok())
        })
    }
}
