//! Finding objects: one by its name, many by a prefix, and the buckets.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::{Bucket, Condition, Details, Found, Info, ObjectError, ObjectName, Shared};
use crate::error::Error;
use crate::format::Layout;
use crate::ids::{Key, Scope};
use crate::progress::Warning;
use crate::repository::{ListedManifest, StoredManifest};
use crate::store::{MAX_BATCH, ObjectKey};
use crate::store_time::StoreTime;
use crate::sync::lock;
use crate::workers;

/// Manifests that are read at once for a page of a listing.
const READERS: usize = 16;

/// An object as a listing shows it: by its name.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its key.
    pub key: Key,
    /// When it was put or used last.
    pub modified: StoreTime,
    pub(super) manifest: ListedManifest,
}

/// How long a list is gone on with.
const GOES_ON: Duration = Duration::from_secs(60);

/// Lists that are kept to be gone on with, and the longest of them: some 40 MB each.
const MAX_LISTS: usize = 4;
const MAX_LEN: usize = 100_000;

/// The last lists that have several pages.
#[derive(Debug, Default)]
pub(super) struct Lists(Mutex<VecDeque<List>>);

#[derive(Debug)]
struct List {
    of: (Scope, String),
    made: Instant,
    listed: Arc<Vec<Listed>>,
}

impl Listed {
    pub(super) fn name(&self) -> ObjectName {
        ObjectName { scope: self.manifest.scope.clone(), key: self.key.clone() }
    }
}

impl Found {
    /// The object that a manifest is of, if it is one's.
    fn of(stored: StoredManifest) -> Option<Self> {
        let manifest = &stored.manifest;
        let details = Details::of(&manifest.annotation)?;
        let name = ObjectName { scope: manifest.scope.clone(), key: manifest.key.clone() };
        let (len, modified) = (manifest.tree.raw_bytes(), manifest.facts.saved);
        // Its bytes are all that its chunks hold.
        let is_whole = manifest.tree.entries().len() <= 1
            && manifest
                .sequence
                .iter()
                .map(|&row| u64::from(manifest.chunks.get(row).1.raw_len))
                .sum::<u64>()
                == len;
        let info = Info { name, len, modified, details };
        is_whole.then(|| Self { info, stored: Arc::new(stored) })
    }
}

impl Shared {
    pub(super) fn find(&self, name: &ObjectName) -> Result<Found, ObjectError> {
        let object = Layout::manifest(&name.scope, &name.key)?;
        if let Some(found) = self.cache.get(name) {
            match self.repository().store().head(&object) {
                Ok(now) if now.version == found.stored.version => return Ok(found),
                Ok(_) => {}
                Err(error) if error.is_not_found() => {
                    self.cache.drop(name);
                    return Err(ObjectError::NotFound);
                }
                Err(error) => return Err(error.into()),
            }
        }
        self.read(name)?.ok_or(ObjectError::NotFound)
    }

    /// Reads what is there now; nothing, if that is no object that can be relied on.
    pub(super) fn read(&self, name: &ObjectName) -> Result<Option<Found>, Error> {
        let stored = match self.repository().manifest(&name.scope, &name.key) {
            Ok(stored) => stored,
            Err(error) if error.is_unusable() => {
                let error = error.to_string();
                self.warn(Warning::Distrusted { error });
                None
            }
            Err(error) => return Err(error),
        };
        let found = stored.and_then(Found::of);
        match &found {
            Some(found) => {
                self.knowledge.learn(&found.stored);
                self.cache.keep(found);
            }
            None => self.cache.drop(name),
        }
        Ok(found)
    }

    pub(super) fn list(&self, scope: &Scope, prefix: &str) -> Result<Vec<Listed>, Error> {
        let listed = self.repository().list_manifests(scope, prefix)?;
        let listed = listed.into_iter().map(|manifest| Listed {
            key: manifest.key.clone(),
            modified: manifest.modified.into(),
            manifest,
        });
        let mut listed: Vec<Listed> = listed.collect();
        // The store's order is that of encoded names.
        listed.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(listed)
    }

    pub(super) fn list_anew(&self, scope: &Scope, prefix: &str) -> Result<Arc<Vec<Listed>>, Error> {
        let made = Instant::now();
        let listed = Arc::new(self.list(scope, prefix)?);
        let of = (scope.clone(), prefix.to_owned());
        let lists = &mut *lock(&self.lists.0);
        lists.retain(|list| list.of != of && list.made.elapsed() < GOES_ON);
        if (MAX_BATCH..MAX_LEN).contains(&listed.len()) {
            lists.truncate(MAX_LISTS - 1);
            lists.push_front(List { of, made, listed: Arc::clone(&listed) });
        }
        Ok(listed)
    }

    pub(super) fn list_on(&self, scope: &Scope, prefix: &str) -> Result<Arc<Vec<Listed>>, Error> {
        let is_it = |list: &&List| {
            list.of.0 == *scope && list.of.1 == prefix && list.made.elapsed() < GOES_ON
        };
        let kept = lock(&self.lists.0).iter().find(is_it).map(|list| Arc::clone(&list.listed));
        kept.map_or_else(|| self.list_anew(scope, prefix), Ok)
    }

    /// The objects that were listed, as they are now; a request for each that is not known
    /// in this version.
    pub(super) fn read_listed(&self, listed: &[Listed]) -> Result<Vec<Option<Found>>, Error> {
        let items = listed.iter().collect();
        workers::try_map(READERS, items, self.knowledge.context(), |listed: &Listed| {
            let name = listed.name();
            match self.cache.get_version(&name, &listed.manifest.version) {
                Some(found) => Ok(Some(found)),
                None => self.read(&name),
            }
        })
    }

    pub(super) fn buckets(&self) -> Result<Vec<Bucket>, Error> {
        let scopes = self.scopes(Bucket::scopes())?;
        let mut buckets: Vec<Bucket> = scopes.iter().filter_map(Bucket::of_scope).collect();
        buckets.sort_unstable();
        Ok(buckets)
    }

    /// The scopes with manifests whose names begin so: a request for each.
    pub(super) fn scopes(&self, prefix: &str) -> Result<Vec<Scope>, Error> {
        let prefix = Layout::manifests_of_scopes(prefix);
        let mut scopes = vec![];
        let mut after: Option<ObjectKey> = None;
        loop {
            let page = self.repository().store().list(&prefix, after.as_ref(), 1)?;
            let Some(first) = page.objects.into_iter().next() else { return Ok(scopes) };
            after = match Layout::parse_manifest(&first.key) {
                Some((scope, _)) => {
                    let after = Layout::after_manifests_of(&scope);
                    scopes.push(scope);
                    Some(after)
                }
                None => Some(first.key),
            };
        }
    }

    pub(super) fn delete(
        &self,
        names: &[ObjectName],
    ) -> Result<Vec<(ObjectName, Error)>, ObjectError> {
        let mut failed = vec![];
        for batch in names.chunks(MAX_BATCH) {
            let mut objects = Vec::with_capacity(batch.len());
            for name in batch {
                self.cache.drop(name);
                objects.push(Layout::manifest(&name.scope, &name.key)?);
            }
            for error in self.repository().store().delete(&objects)? {
                let at = objects.iter().position(|object| object.as_str() == error.object);
                match at {
                    Some(at) => failed.push((batch[at].clone(), error.into())),
                    None => return Err(error.into()),
                }
            }
        }
        Ok(failed)
    }

    pub(super) fn delete_if(
        &self,
        name: &ObjectName,
        condition: &Condition,
    ) -> Result<(), ObjectError> {
        let found = self.find(name)?;
        match condition {
            Condition::Absent => return Err(ObjectError::Condition),
            Condition::Etag(etag) if *etag != found.info.details.etag => {
                return Err(ObjectError::Condition);
            }
            Condition::Etag(_) | Condition::None => {}
        }
        self.cache.drop(name);
        let object = Layout::manifest(&name.scope, &name.key)?;
        match self.repository().store().delete_if_match(&object, &found.stored.version) {
            Err(error) if error.is_conflict() => Err(ObjectError::Condition),
            result => Ok(result?),
        }
    }
}
