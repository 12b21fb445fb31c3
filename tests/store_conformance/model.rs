//! Random operations: every store answers as a plain map would.

use std::collections::BTreeMap;

use bytes::Bytes;
use larder::store::{ObjectKey, PutMode, Store, StoreError, Version};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use crate::{Fresh, key};

/// Few names, so that operations meet; none lies below another, which a file
/// system could not hold.
const NAMES: [&str; 6] = ["a-b", "a.b", "a/b", "a/c", "a/d/e", "b"];

#[derive(Clone, Debug)]
enum Step {
    Create(usize, Vec<u8>),
    Overwrite(usize, Vec<u8>),
    /// With the version seen so many states of the key ago.
    IfMatch(usize, usize, Vec<u8>),
    Get(usize, u64),
    Range(usize, u64, u64),
    Head(usize),
    Delete(Vec<usize>),
    /// With the version seen so many states of the key ago.
    DeleteIfMatch(usize, usize),
    List(usize, Option<usize>, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let name = || 0..NAMES.len();
    let body = || proptest::collection::vec(any::<u8>(), 0..20);
    prop_oneof![
        (name(), body()).prop_map(|(name, body)| Step::Create(name, body)),
        (name(), body()).prop_map(|(name, body)| Step::Overwrite(name, body)),
        (name(), 0..3usize, body()).prop_map(|(name, ago, body)| Step::IfMatch(name, ago, body)),
        (name(), 0..25u64).prop_map(|(name, max)| Step::Get(name, max)),
        (name(), 0..20u64, 0..20u64).prop_map(|(name, start, end)| Step::Range(name, start, end)),
        name().prop_map(Step::Head),
        proptest::collection::vec(name(), 0..3).prop_map(Step::Delete),
        (name(), 0..3usize).prop_map(|(name, ago)| Step::DeleteIfMatch(name, ago)),
        (0..PREFIXES.len(), proptest::option::of(name()), 1..4usize)
            .prop_map(|(prefix, after, limit)| Step::List(prefix, after, limit)),
    ]
}

const PREFIXES: [&str; 5] = ["", "a", "a/", "a/d/", "c"];

/// What a store must answer: the model's whole knowledge.
#[derive(Default)]
struct Model {
    objects: BTreeMap<ObjectKey, (Bytes, Version)>,
    /// Every version each key has had.
    history: BTreeMap<ObjectKey, Vec<Version>>,
    versions_are_of_contents: bool,
}

impl Model {
    fn step(&mut self, store: &dyn Store, step: &Step) -> Result<(), TestCaseError> {
        match step {
            Step::Create(name, body) => self.put(store, *name, body, PutMode::Create),
            Step::Overwrite(name, body) => self.put(store, *name, body, PutMode::Overwrite),
            Step::IfMatch(name, ago, body) => {
                let version = self.version(&key(NAMES[*name]), *ago);
                self.put(store, *name, body, PutMode::IfMatch(version))
            }
            Step::Get(name, max_len) => {
                let key = key(NAMES[*name]);
                let found = store.get(&key, *max_len).map(|object| object.body);
                let wanted = self.body(&key, |body| match body.len() as u64 {
                    len if len > *max_len => {
                        Err(format!("the object has {len} bytes, more than the {max_len} allowed"))
                    }
                    _ => Ok(body.clone()),
                });
                same(found, wanted)
            }
            Step::Range(name, start, end) => {
                let key = key(NAMES[*name]);
                let found = store.get_range(&key, *start..*end);
                let wanted = self.body(&key, |body| match body.len() as u64 {
                    len if start >= end || *end > len => {
                        Err(format!("bytes {start}..{end} are outside the object of {len} bytes"))
                    }
                    _ => Ok(body.slice(*start as usize..*end as usize)),
                });
                same(found, wanted)
            }
            Step::Head(name) => {
                let key = key(NAMES[*name]);
                let found = store.head(&key).map(|meta| (meta.len, meta.version));
                let absent = || "no such object".to_owned();
                let known = self.objects.get(&key).ok_or_else(absent);
                same(found, known.map(|(body, version)| (body.len() as u64, version.clone())))
            }
            Step::Delete(names) => {
                let keys: Vec<_> = names.iter().map(|name| key(NAMES[*name])).collect();
                for key in &keys {
                    self.objects.remove(key);
                }
                let errors = store.delete(&keys).unwrap();
                prop_assert!(errors.is_empty(), "{errors:?}");
                Ok(())
            }
            Step::DeleteIfMatch(name, ago) => {
                let key = key(NAMES[*name]);
                let version = self.version(&key, *ago);
                let is_there = self.objects.get(&key).is_some_and(|known| known.1 == version);
                let wanted = if is_there {
                    self.objects.remove(&key);
                    Ok(())
                } else {
                    Err("the object was changed meanwhile".to_owned())
                };
                same(store.delete_if_match(&key, &version), wanted)
            }
            Step::List(prefix, after, limit) => self.list(store, *prefix, *after, *limit),
        }
    }

    /// The version that a key had so many states ago.
    fn version(&self, key: &ObjectKey, ago: usize) -> Version {
        let versions = self.history.get(key);
        let version = versions.and_then(|all| all.iter().rev().nth(ago));
        version.cloned().unwrap_or(Version::new("never"))
    }

    fn put(
        &mut self,
        store: &dyn Store,
        name: usize,
        body: &[u8],
        mode: PutMode,
    ) -> Result<(), TestCaseError> {
        let key = key(NAMES[name]);
        let body = Bytes::copy_from_slice(body);
        let version = self.objects.get(&key).map(|(_, version)| version);
        let refusal = match &mode {
            PutMode::Create if version.is_some() => Some("the object already exists"),
            PutMode::IfMatch(wanted) if version != Some(wanted) => {
                Some("the object was changed meanwhile")
            }
            _ => None,
        };
        match (store.put(&key, body.clone(), mode), refusal) {
            (Err(error), Some(refusal)) => prop_assert_eq!(error.kind.to_string(), refusal),
            (Ok(version), None) => {
                let history = self.history.entry(key.clone()).or_default();
                let may_come_back = self.versions_are_of_contents;
                prop_assert!(may_come_back || !history.contains(&version), "{version:?} came back");
                history.push(version.clone());
                self.objects.insert(key, (body, version));
            }
            (found, refusal) => prop_assert!(false, "{found:?}, not {refusal:?}"),
        }
        Ok(())
    }

    fn list(
        &self,
        store: &dyn Store,
        prefix: usize,
        after: Option<usize>,
        limit: usize,
    ) -> Result<(), TestCaseError> {
        let (prefix, after) = (PREFIXES[prefix], after.map(|name| key(NAMES[name])));
        let page = store.list(prefix, after.as_ref(), limit).unwrap();
        let found: Vec<_> = page.objects.into_iter().map(|meta| (meta.key, meta.version)).collect();
        let mut wanted: Vec<_> = self
            .objects
            .iter()
            .filter(|(key, _)| key.as_str().starts_with(prefix) && Some(*key) > after.as_ref())
            .map(|(key, (_, version))| (key.clone(), version.clone()))
            .collect();
        prop_assert_eq!(page.more, wanted.len() > limit);
        wanted.truncate(limit);
        prop_assert_eq!(found, wanted);
        Ok(())
    }

    fn body(
        &self,
        key: &ObjectKey,
        answer: impl FnOnce(&Bytes) -> Result<Bytes, String>,
    ) -> Result<Bytes, String> {
        let known = self.objects.get(key);
        known.map_or(Err("no such object".to_owned()), |(body, _)| answer(body))
    }
}

fn same<T: PartialEq + std::fmt::Debug>(
    found: Result<T, StoreError>,
    wanted: Result<T, String>,
) -> Result<(), TestCaseError> {
    prop_assert_eq!(found.map_err(|error| error.kind.to_string()), wanted);
    Ok(())
}

pub(crate) fn answers_are_those_of_the_model(fresh: impl Fn() -> Fresh) {
    let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
    let steps = proptest::collection::vec(step(), 1..40);
    let run = |steps: Vec<Step>| {
        let fresh = fresh();
        let versions_are_of_contents = fresh.versions_are_of_contents;
        let mut model = Model { versions_are_of_contents, ..Model::default() };
        steps.iter().try_for_each(|step| model.step(&*fresh.store, step))
    };
    TestRunner::new(config).run(&steps, run).unwrap();
}
