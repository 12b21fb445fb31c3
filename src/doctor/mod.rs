//! Trying out a store: what it can do, and what it costs where it cannot.
//!
//! All probes use objects of a name of their own, which are deleted at the end.

mod conditions;

use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use ulid::Ulid;

use crate::error::Error;
use crate::progress::Context;
use crate::store::{MAX_BATCH, ObjectKey, Operation, PutMode, Store, StoreError, StoreErrorKind};

/// Bytes that are put and got to measure throughput.
const LOAD: usize = 8 << 20;

/// Small requests of which the median counts.
const LATENCY_PROBES: usize = 7;

/// The most that the clocks may differ: signatures are refused from 15 minutes
/// on, and ages are told in days.
const MAX_SKEW: Duration = Duration::from_secs(5 * 60);

/// How a probe went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// As it should be.
    Ok,
    /// larder works without it, and something is lost.
    Lacking,
    /// larder does not work without it.
    Failed,
}

/// One ability of a store.
#[derive(Debug, serde::Serialize)]
pub struct Finding {
    /// What was tried.
    pub ability: &'static str,
    /// How it went.
    pub verdict: Verdict,
    /// What was seen.
    pub detail: String,
    /// What larder does not have without it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<&'static str>,
}

/// What a store can do.
#[derive(Debug, Default, serde::Serialize)]
pub struct Report {
    /// In the order in which they were tried.
    pub findings: Vec<Finding>,
    /// The median time of a small request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_seconds: Option<f64>,
    /// Bytes per second of one put.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub put_bytes_per_second: Option<f64>,
    /// Bytes per second of one get.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub get_bytes_per_second: Option<f64>,
    /// The error that an ability which larder needs failed with.
    #[serde(skip)]
    pub failure: Option<StoreError>,
}

impl Report {
    /// Whether caches can be saved and restored.
    pub fn works(&self) -> bool {
        self.failure.is_none()
    }

    fn add(
        &mut self,
        ability: &'static str,
        verdict: Verdict,
        detail: impl Into<String>,
        cost: Option<&'static str>,
    ) {
        self.findings.push(Finding { ability, verdict, detail: detail.into(), cost });
    }

    /// Notes an ability that larder needs.
    fn needed<T>(
        &mut self,
        ability: &'static str,
        result: Result<T, StoreError>,
        told: impl FnOnce(&T) -> String,
    ) -> Option<T> {
        match result {
            Ok(value) => {
                self.add(ability, Verdict::Ok, told(&value), None);
                Some(value)
            }
            Err(error) => {
                self.add(ability, Verdict::Failed, error.kind.to_string(), None);
                self.failure.get_or_insert(error);
                None
            }
        }
    }
}

/// Tries a store out.
///
/// # Errors
/// [`Error::Interrupted`]. That a store cannot do something is no error but a
/// finding.
pub fn examine(store: &dyn Store, context: Context<'_>) -> Result<Report, Error> {
    let probe = Probe { store, id: Ulid::generate() };
    let mut report = Report::default();
    let result = probe.run(&mut report, context);
    // Whatever happened, nothing stays.
    let cleaned = probe.clean();
    result?;
    if let Err(error) = cleaned
        && report.failure.is_none()
    {
        report.add("delete", Verdict::Failed, error.kind.to_string(), Some(NO_DELETE));
        report.failure = Some(error);
    }
    Ok(report)
}

const NO_DELETE: &str = "the probes' objects below doctor/ stay, and flush cannot free space";
const NO_TIME: &str = "the age of caches is unknown, and a flush cannot tell which have expired";

struct Probe<'a> {
    store: &'a dyn Store,
    id: Ulid,
}

impl Probe<'_> {
    fn key(&self, name: &str) -> ObjectKey {
        ObjectKey::new(format!("doctor/{}/{name}", self.id)).expect("a plain name")
    }

    fn run(&self, report: &mut Report, context: Context<'_>) -> Result<(), Error> {
        let first = self.key("first");
        let body = Bytes::from_static(b"larder was here");
        let listed = self.store.list("", None, 1);
        report.needed("list", listed, |_| "keys are listed".to_owned());
        context.check()?;
        let put = self.store.put(&first, body.clone(), PutMode::Overwrite);
        let Some(version) = report.needed("put", put, |_| "objects are stored".to_owned()) else {
            return Ok(());
        };
        context.check()?;
        self.read(report, &first, &body);
        context.check()?;
        self.conditional_create(report, &first);
        context.check()?;
        self.conditional_replace(report, &first, version);
        context.check()?;
        self.conditional_delete(report);
        context.check()?;
        self.missing(report);
        self.clock(report, &first);
        context.check()?;
        self.latency(report, &first);
        context.check()?;
        self.throughput(report);
        self.delete(report, &first);
        Ok(())
    }

    fn read(&self, report: &mut Report, key: &ObjectKey, body: &Bytes) {
        let same = |got: &Bytes, wanted: &[u8]| {
            if got == wanted { Ok(()) } else { Err(damaged(key)) }
        };
        let whole = self.store.get(key, 1 << 10).and_then(|object| same(&object.body, body));
        report.needed("get", whole, |()| "what was put comes back".to_owned());
        let part = self.store.get_range(key, 7..10).and_then(|part| same(&part, &body[7..10]));
        report.needed("ranged get", part, |()| "parts of objects are read".to_owned());
    }

    /// Without the right to list, S3 does not tell what is not there from what
    /// may not be read.
    fn missing(&self, report: &mut Report) {
        let key = self.key("missing");
        let answer = match self.store.get(&key, 1 << 10) {
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => Err(error),
            Ok(_) => Err(damaged(&key)),
        };
        report
            .needed("missing objects", answer, |()| "what is not there is reported so".to_owned());
    }

    fn clock(&self, report: &mut Report, key: &ObjectKey) {
        const ABILITY: &str = "clock";
        let there = match self.store.now() {
            Ok(there) => there,
            Err(error) => {
                let detail = error.kind.to_string();
                return report.add(ABILITY, Verdict::Lacking, detail, Some(NO_TIME));
            }
        };
        let skew = apart(there, SystemTime::now());
        let detail = format!("differs from this machine's by {} s at most", skew.as_secs() + 1);
        if skew > MAX_SKEW {
            let cost = "signed requests are refused when the clocks differ by 15 minutes";
            return report.add(ABILITY, Verdict::Lacking, detail, Some(cost));
        }
        // The object was put a moment ago, by the clock that ages are told by.
        match self.store.head(key).map(|meta| apart(meta.modified, there)) {
            Ok(age) if age > MAX_SKEW => {
                let detail = format!("a new object is dated {} s from the answers", age.as_secs());
                let cost = "a flush may remove caches too early, or too late";
                report.add(ABILITY, Verdict::Lacking, detail, Some(cost));
            }
            _ => report.add(ABILITY, Verdict::Ok, detail, None),
        }
    }

    fn latency(&self, report: &mut Report, key: &ObjectKey) {
        let mut times = vec![];
        for _ in 0..LATENCY_PROBES {
            let began = Instant::now();
            if self.store.head(key).is_ok() {
                times.push(began.elapsed());
            }
        }
        times.sort_unstable();
        if let Some(median) = times.get(times.len() / 2) {
            report.latency_seconds = Some(median.as_secs_f64());
        }
    }

    fn throughput(&self, report: &mut Report) {
        // What does not compress on the way, and is not all the same.
        let mut bytes = Vec::with_capacity(LOAD);
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.id.to_bytes());
        bytes.resize(LOAD, 0);
        hasher.finalize_xof().fill(&mut bytes);
        let (key, body) = (self.key("load"), Bytes::from(bytes));
        let began = Instant::now();
        let put = self.store.put(&key, body.clone(), PutMode::Create);
        let put_took = began.elapsed();
        if report.needed("large put", put, |_| rate(put_took)).is_none() {
            return;
        }
        report.put_bytes_per_second = Some(per_second(put_took));
        let began = Instant::now();
        let got = self
            .store
            .get_range(&key, 0..LOAD as u64)
            .and_then(|got| if got == body { Ok(()) } else { Err(damaged(&key)) });
        let get_took = began.elapsed();
        if report.needed("large get", got, |()| rate(get_took)).is_some() {
            report.get_bytes_per_second = Some(per_second(get_took));
        }
    }

    fn delete(&self, report: &mut Report, first: &ObjectKey) {
        let one = self.store.delete(std::slice::from_ref(first)).and_then(|failed| {
            match failed.into_iter().next() {
                Some(error) => Err(error),
                None => match self.store.head(first) {
                    Err(error) if error.is_not_found() => Ok(()),
                    Err(error) => Err(error),
                    Ok(_) => Err(damaged(first)),
                },
            }
        });
        report.needed("delete", one, |()| "objects are deleted".to_owned());
    }

    fn clean(&self) -> Result<(), StoreError> {
        let prefix = format!("doctor/{}/", self.id);
        let left: Vec<_> = match self.store.list(&prefix, None, MAX_BATCH) {
            Ok(page) => page.objects.into_iter().map(|object| object.key).collect(),
            // Who may not list may still delete what was put.
            Err(_) => {
                let raced =
                    (0..conditions::RACERS).map(|racer| self.key(&format!("raced-{racer}")));
                let others = ["first", "raced", "expired", "load"].map(|name| self.key(name));
                raced.chain(others).collect()
            }
        };
        match self.store.delete(&left)?.pop() {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }
}

fn apart(one: SystemTime, other: SystemTime) -> Duration {
    one.duration_since(other).unwrap_or_else(|error| error.duration())
}

#[expect(clippy::cast_precision_loss, reason = "a few megabytes")]
fn per_second(took: Duration) -> f64 {
    LOAD as f64 / took.as_secs_f64().max(1e-9)
}

fn rate(took: Duration) -> String {
    format!("{:.0} MB/s in one request", per_second(took) / 1e6)
}

fn damaged(key: &ObjectKey) -> StoreError {
    let error = std::io::Error::other("the store does not give back what was put");
    StoreError::new(Operation::Get, key, StoreErrorKind::Io(error))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;
    use crate::progress::NoProgress;
    use crate::store::{MemoryStore, When};

    fn examined(store: &MemoryStore) -> Report {
        let stop = AtomicBool::new(false);
        examine(store, Context { progress: &NoProgress, stop: &stop }).unwrap()
    }

    #[test]
    fn a_sound_store_has_all_abilities_and_keeps_nothing() {
        let store = MemoryStore::new();
        store.set_clock(SystemTime::now());
        let report = examined(&store);
        let odd: Vec<_> = report.findings.iter().filter(|f| f.verdict != Verdict::Ok).collect();
        assert!(odd.is_empty(), "{odd:?}");
        assert!(report.works() && report.latency_seconds.is_some());
        assert!(store.list("", None, 10).unwrap().objects.is_empty());
    }

    #[test]
    fn a_clock_that_is_off_is_told_of() {
        let store = MemoryStore::new();
        store.set_clock(SystemTime::now() - Duration::from_secs(3600));
        let report = examined(&store);
        let lacking = report.findings.iter().find(|f| f.verdict == Verdict::Lacking).unwrap();
        assert_eq!(lacking.ability, "clock");
        assert!(lacking.detail.contains("360"), "{}", lacking.detail);
        assert!(report.works());
    }

    #[test]
    fn what_fails_is_named() {
        let store = MemoryStore::new();
        store.fail_all(Some(Operation::List), "", When::Before);
        let report = examined(&store);
        assert!(!report.works());
        let failed: Vec<_> = report
            .findings
            .iter()
            .filter(|finding| finding.verdict == Verdict::Failed)
            .map(|finding| finding.ability)
            .collect();
        assert_eq!(failed, ["list"]);
    }
}
