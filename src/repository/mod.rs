//! A store that was found to be larder's: its objects by what they mean.

mod access;
mod gc;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use crate::chunking;
use crate::error::Error;
use crate::format::{
    FormatError, FormatMarker, IndexDelta, Layout, Manifest, MarkerError, OpenError,
    PACK_TRAILER_LEN, PackFooter, SealedManifest, footer_range,
};
use crate::ids::{DeltaId, Key, PackId, Scope, StoreId};
use crate::secrets::{Keys, Sealing};
use crate::store::{
    MAX_BATCH, Object, ObjectKey, ObjectMeta, PutMode, Store, StoreError, Version, list_each,
};
use crate::store_time::StoreTime;
use crate::threads::beside;
pub use access::Access;
pub use gc::{Refreshed, Removal, StoredState};

/// The longest manifest or delta object that is fetched, in bytes: what its
/// largest payload takes when nothing compresses.
const MAX_OBJECT_LEN: u64 = crate::format::MAX_MANIFEST_LEN + (1 << 20);

/// Where the listing of very many packs is divided, by the first two digits of
/// their keys: four parts of about the same length, since the digits are random.
const PACK_BORDERS: [u8; 3] = [0x40, 0x80, 0xc0];

/// If the first page of packs does not go beyond these digits, there are more
/// than 16 pages, and one or two more by dividing them make no difference.
const MANY_PACKS_UP_TO: u8 = 0x10;

/// How long ago a cache that is used may have been used last before its manifest
/// is put again, unless said otherwise: once a day, for ages are counted in days.
pub const REFRESH_AFTER: Duration = Duration::from_secs(86_400);

/// A larder store, opened.
#[derive(Clone, Debug)]
pub struct Repository {
    store: Arc<dyn Store>,
    keys: Arc<Keys>,
}

/// A manifest that is in the store, as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedManifest {
    /// Its namespace.
    pub scope: Scope,
    /// Its name.
    pub key: Key,
    /// When it was last put, by the store's clock.
    pub modified: SystemTime,
    /// Bytes of the manifest itself.
    pub len: u64,
    /// The state of its object.
    pub version: Version,
    /// Its object.
    pub object: ObjectKey,
}

/// A pack that is in the store, as a listing shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedPack {
    /// Its id.
    pub id: PackId,
    /// Its bytes, with header and footer.
    pub len: u64,
    /// When it was put.
    pub modified: StoreTime,
}

/// An index delta that is in the store, as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedDelta {
    /// The epoch that its name says.
    pub epoch: u64,
    /// The scope of the save that left it, by its name.
    pub scope: Scope,
    /// Its id, which tells its age among those of its epoch.
    pub id: DeltaId,
    /// Bytes of the delta itself.
    pub len: u64,
    /// Its object.
    pub object: ObjectKey,
}

/// A manifest and the version of the object it was read from.
#[derive(Clone, Debug)]
pub struct StoredManifest {
    /// The manifest.
    pub manifest: Manifest,
    /// The state of the object.
    pub version: Version,
    /// When the object was last put, by the store's clock.
    pub modified: StoreTime,
}

impl StoredManifest {
    /// When the cache was last saved or used.
    pub fn last_used(&self) -> StoreTime {
        self.manifest.facts.used.unwrap_or(self.modified)
    }
}

/// A manifest as it is kept, and the version of the object it was read from.
#[derive(Clone, Debug)]
pub struct StoredSealed {
    /// The manifest.
    pub manifest: SealedManifest,
    /// The state of the object.
    pub version: Version,
    /// When the object was last put, by the store's clock.
    pub modified: StoreTime,
}

impl StoredSealed {
    /// When the cache was last saved or used.
    pub fn last_used(&self) -> StoreTime {
        self.manifest.facts.used.unwrap_or(self.modified)
    }
}

impl Repository {
    /// Opens a store; `None` if nothing was ever saved there.
    ///
    /// # Errors
    /// [`Error::Marker`] if this program must not use it.
    pub fn open(access: impl Into<Access>) -> Result<Option<Self>, Error> {
        let Access { store, keys } = access.into();
        let marker = match store.get(&Layout::marker(), FormatMarker::MAX_LEN) {
            Ok(marker) => FormatMarker::decode(&marker.body, &chunking::parameters()),
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) if error.is_too_long() => {
                Err(MarkerError::Unreadable("it is too long".to_owned()))
            }
            Err(error) => return Err(error.into()),
        };
        marker.map_err(|source| Error::Marker { location: store.location(), source })?;
        Ok(Some(Self { store, keys }))
    }

    /// Opens a store and reads the manifest of a key, in the time of one
    /// request: `None` if there is no store.
    ///
    /// # Errors
    /// Those of [`Repository::open`]; those of [`Repository::manifest`] are the
    /// inner result.
    #[expect(clippy::type_complexity, reason = "a name for it would say no more")]
    pub fn open_with_manifest(
        access: impl Into<Access>,
        scope: &Scope,
        key: &Key,
    ) -> Result<Option<(Self, Result<Option<StoredManifest>, Error>)>, Error> {
        let access = access.into();
        let Access { store, keys } = access.clone();
        // Not to be used before the marker says that it may.
        let ahead = Self { store, keys };
        let (opened, manifest) = std::thread::scope(|threads| {
            let manifest = beside(threads, || ahead.manifest(scope, key));
            let opened = Self::open(access);
            (opened, manifest.join())
        });
        Ok(opened?.map(|repository| (repository, manifest)))
    }

    /// Makes a place in which [`Repository::open`] found none a store. One that has
    /// lost its marker alone becomes what it was: rules that delete objects by age
    /// take the oldest first.
    ///
    /// # Errors
    /// Those of the store; [`Error::NotAStore`] if the place holds other things.
    pub fn create(access: impl Into<Access>) -> Result<Self, Error> {
        let Access { store, keys } = access.into();
        // A page of them tells: other programs' keys are nothing like these.
        let there = store.list("", None, MAX_BATCH)?.objects;
        // Somebody was first, and others have gone on from there: theirs counts.
        let has_marker = there.iter().any(|object| object.key == Layout::marker());
        check_place(&*store, &there, has_marker)?;
        Self::put_marker(Access { store, keys }, PutMode::Create)
    }

    /// Puts the marker of a store back that has lost it, or has one that nobody can
    /// read, if the place has objects of a store and no others. `false` if nothing is to
    /// be done.
    ///
    /// # Errors
    /// Those of [`Repository::open`] and [`Repository::create`].
    pub fn mend_marker(access: impl Into<Access>) -> Result<bool, Error> {
        let access = access.into();
        let store = Arc::clone(&access.store);
        let unreadable = match Self::open(access.clone()) {
            Ok(Some(_)) => return Ok(false),
            Ok(None) => None,
            Err(Error::Marker { source: source @ MarkerError::Unreadable(_), location }) => {
                Some(Error::Marker { source, location })
            }
            Err(error) => return Err(error),
        };
        let mut there = store.list("", None, MAX_BATCH)?.objects;
        let marker = there.iter().position(|object| object.key == Layout::marker());
        let mode = match (marker.map(|number| there.remove(number)), unreadable) {
            // A file of that name, and nothing to say that it is larder's.
            (Some(_), Some(error)) if there.is_empty() => return Err(error),
            (Some(marker), _) => PutMode::IfMatch(marker.version),
            (None, _) if there.is_empty() => return Ok(false),
            (None, _) => PutMode::Create,
        };
        check_place(&*store, &there, false)?;
        Self::put_marker(access, mode).map(|_| true)
    }

    /// A cache of a store that has lost its marker, if the place is one.
    ///
    /// # Errors
    /// Those of the store.
    pub fn has_lost_marker(access: &Access) -> Result<Option<ObjectKey>, Error> {
        let there = access.store.list(Layout::manifests(), None, 1)?.objects;
        Ok(there.into_iter().find_map(listed_manifest).map(|found| found.object))
    }

    fn put_marker(access: Access, mode: PutMode) -> Result<Self, Error> {
        let Access { store, keys } = access;
        let marker = FormatMarker::new(StoreId::generate(), chunking::parameters());
        match store.put(&Layout::marker(), Bytes::from(marker.encode()), mode) {
            Ok(_) => Ok(Self { store, keys }),
            // Somebody else was first: theirs counts.
            Err(error) if error.is_conflict() => match Self::open(Access { store, keys })? {
                Some(repository) => Ok(repository),
                None => Err(error.into()),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// The store itself.
    pub fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// How the chunks of a manifest are named and sealed, which [`Repository::manifest`]
    /// has given.
    pub fn sealing(&self, manifest: &Manifest) -> Sealing {
        // Its key was there when it was opened.
        self.keys.sealing_of(manifest.sealed_by).unwrap_or_default()
    }

    /// The manifest of a key, if there is one.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it cannot be read; [`Error::Distrusted`] if these keys
    /// cannot open it, or ask for another signature.
    pub fn manifest(&self, scope: &Scope, key: &Key) -> Result<Option<StoredManifest>, Error> {
        let Some(StoredSealed { manifest, version, modified }) = self.sealed(scope, key)? else {
            return Ok(None);
        };
        let object = Layout::manifest(scope, key)?;
        let manifest = manifest.open(&self.keys).map_err(|error| match error {
            OpenError::Format(source) => Error::Damaged { object, source },
            OpenError::Distrust(why) => Error::Distrusted { object, why },
        })?;
        Ok(Some(StoredManifest { manifest, version, modified }))
    }

    /// The manifest of a key, if there is one, as it is kept.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it cannot be read.
    pub fn sealed(&self, scope: &Scope, key: &Key) -> Result<Option<StoredSealed>, Error> {
        let object = Layout::manifest(scope, key)?;
        let Some(found) = self.get(&object, MAX_OBJECT_LEN)? else {
            return Ok(None);
        };
        let manifest = SealedManifest::decode(&found.body)
            .and_then(|manifest| {
                // On a file system that does not tell `K` from `k`, or if
                // somebody copied objects, this can be another's.
                if manifest.key == *key && manifest.scope == *scope {
                    Ok(manifest)
                } else {
                    Err(FormatError::Inconsistent("it is the manifest of another key"))
                }
            })
            .map_err(|source| Error::Damaged { object, source })?;
        let modified = found.meta.modified.into();
        Ok(Some(StoredSealed { manifest, version: found.meta.version, modified }))
    }

    /// An object, if it is there; one that is longer than any of its kind is damaged.
    pub(crate) fn get(&self, object: &ObjectKey, max_len: u64) -> Result<Option<Object>, Error> {
        match self.store.get(object, max_len) {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) if error.is_too_long() => {
                let source = FormatError::Inconsistent("it is too long");
                Err(Error::Damaged { object: object.clone(), source })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether there is a manifest under a key.
    ///
    /// # Errors
    /// Those of the store.
    pub fn has_manifest(&self, scope: &Scope, key: &Key) -> Result<bool, Error> {
        match self.store.head(&Layout::manifest(scope, key)?) {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Publishes a manifest: from now on its key has these contents. Gives the
    /// bytes put, and the state of the object.
    ///
    /// # Errors
    /// Those of the store; a conflict if the mode has a condition that is not met.
    pub fn put_manifest(
        &self,
        manifest: &Manifest,
        mode: PutMode,
    ) -> Result<(u64, Version), Error> {
        let object = Layout::manifest(&manifest.scope, &manifest.key)?;
        let bytes = Bytes::from(self.close(manifest)?.encode());
        let len = bytes.len() as u64;
        let version = self.store.put(&object, bytes, mode)?;
        Ok((len, version))
    }

    fn close(&self, manifest: &Manifest) -> Result<SealedManifest, Error> {
        SealedManifest::close(manifest, &self.keys).map_err(|why| {
            match Layout::manifest(&manifest.scope, &manifest.key) {
                Ok(object) => Error::Distrusted { object, why },
                Err(error) => error.into(),
            }
        })
    }

    /// Removes a manifest that was published as `version`, unless another took its
    /// place.
    ///
    /// # Errors
    /// Those of the store.
    pub fn take_back(&self, scope: &Scope, key: &Key, version: &Version) -> Result<(), Error> {
        match self.store.delete_if_match(&Layout::manifest(scope, key)?, version) {
            Err(error) if !error.is_conflict() && !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// The manifests of a scope whose keys begin with `prefix`.
    ///
    /// # Errors
    /// Those of the store.
    pub fn list_manifests(
        &self,
        scope: &Scope,
        prefix: &str,
    ) -> Result<Vec<ListedManifest>, Error> {
        let is_asked_for = |found: &ListedManifest| {
            found.scope == *scope && found.key.as_str().starts_with(prefix)
        };
        let listed = |object| listed_manifest(object).filter(is_asked_for);
        Ok(self.list_as(&Layout::manifests_with(scope, prefix), None, listed)?)
    }

    /// The first manifests of a scope, about `limit` of them: listing all of a
    /// scope with very many keys would take long.
    ///
    /// # Errors
    /// Those of the store.
    pub fn list_some_manifests(
        &self,
        scope: &Scope,
        limit: usize,
    ) -> Result<Vec<ListedManifest>, Error> {
        let prefix = Layout::manifests_of(scope);
        let mut objects: Vec<ObjectMeta> = vec![];
        loop {
            let after = objects.last().map(|object| object.key.clone());
            let page = self.store.list(&prefix, after.as_ref(), MAX_BATCH)?;
            objects.extend(page.objects);
            if !page.more || objects.len() >= limit {
                return Ok(objects.into_iter().filter_map(listed_manifest).collect());
            }
        }
    }

    /// The manifests of all scopes.
    ///
    /// # Errors
    /// Those of the store.
    pub fn list_all_manifests(&self) -> Result<Vec<ListedManifest>, Error> {
        Ok(self.list_as(Layout::manifests(), None, listed_manifest)?)
    }

    /// Deletes manifests. Their packs stay: only a flush knows who else uses
    /// them.
    ///
    /// # Errors
    /// The first that could not be deleted; others are gone or not.
    pub fn delete_manifests(&self, manifests: &[ListedManifest]) -> Result<(), Error> {
        for batch in manifests.chunks(MAX_BATCH) {
            let keys: Vec<ObjectKey> = batch.iter().map(|found| found.object.clone()).collect();
            if let Some(error) = self.store.delete(&keys)?.pop() {
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// Tells every saver of the store about new chunks of a save in this scope.
    ///
    /// # Errors
    /// Those of the store.
    pub fn put_delta(&self, scope: &Scope, delta: &IndexDelta) -> Result<u64, Error> {
        let bytes = Bytes::from(delta.encode());
        let len = bytes.len() as u64;
        let object = Layout::delta(delta.epoch, scope, DeltaId::generate());
        self.store.put(&object, bytes, PutMode::Create)?;
        Ok(len)
    }

    /// The index deltas of this and later epochs, the oldest epoch first.
    ///
    /// # Errors
    /// Those of the store.
    pub fn list_deltas(&self, since: u64) -> Result<Vec<ListedDelta>, Error> {
        let after = (since > 0).then(|| Layout::before_deltas_of(since));
        let listed = |object: ObjectMeta| {
            let (epoch, scope, id) = Layout::parse_delta(&object.key)?;
            Some(ListedDelta { epoch, scope, id, len: object.len, object: object.key })
        };
        Ok(self.list_as(Layout::deltas(), after, listed)?)
    }

    /// Reads an index delta; `None` if it is gone.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it cannot be read.
    pub fn delta(&self, listed: &ListedDelta) -> Result<Option<IndexDelta>, Error> {
        let Some(found) = self.get(&listed.object, MAX_OBJECT_LEN)? else {
            return Ok(None);
        };
        let delta = IndexDelta::decode(&found.body).and_then(|delta| {
            // What it says was true at its epoch, and nobody knows which.
            if delta.epoch == listed.epoch {
                Ok(delta)
            } else {
                Err(FormatError::Inconsistent("it is of another epoch than its name says"))
            }
        });
        delta.map(Some).map_err(|source| Error::Damaged { object: listed.object.clone(), source })
    }

    /// Reads what a pack says of itself, in two small requests.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it is no sound pack; a [`StoreError`] if it is not
    /// there.
    pub fn pack_footer(&self, pack: PackId, len: u64) -> Result<PackFooter, Error> {
        let object = Layout::pack(pack);
        let damaged = |source| Error::Damaged { object: object.clone(), source };
        let trailer_start =
            len.checked_sub(PACK_TRAILER_LEN).ok_or(FormatError::Truncated).map_err(damaged)?;
        let trailer = self.store.get_range(&object, trailer_start..len)?;
        let range = footer_range(len, &trailer).map_err(damaged)?;
        let footer = self.store.get_range(&object, range)?;
        PackFooter::decode(&footer).map_err(damaged)
    }

    /// The packs that are in the store.
    ///
    /// # Errors
    /// Those of the store.
    pub fn list_packs(&self) -> Result<Vec<ListedPack>, StoreError> {
        let first = self.store.list(Layout::packs(), None, MAX_BATCH)?;
        let mut packs: Vec<ListedPack> = first.objects.iter().filter_map(listed_pack).collect();
        let last = first.objects.last().map(|object| object.key.clone());
        let ranges = match last {
            _ if !first.more => vec![],
            Some(last) if last < Layout::before_packs_of(MANY_PACKS_UP_TO) => pack_ranges(last),
            last => vec![(last, None)],
        };
        std::thread::scope(|threads| {
            let listing: Vec<_> = ranges
                .into_iter()
                .map(|range| beside(threads, || self.list_packs_between(range)))
                .collect();
            for listed in listing {
                packs.extend(listed.join()?);
            }
            Ok(packs)
        })
    }

    fn list_packs_between(&self, (after, end): KeyRange) -> Result<Vec<ListedPack>, StoreError> {
        let is_beyond = |key: &ObjectKey| end.as_ref().is_some_and(|end| key >= end);
        let mut packs = vec![];
        list_each(self.store(), Layout::packs(), after, |object| {
            if is_beyond(&object.key) {
                return ControlFlow::Break(());
            }
            packs.extend(listed_pack(&object));
            ControlFlow::Continue(())
        })?;
        Ok(packs)
    }

    fn list_as<T>(
        &self,
        prefix: &str,
        after: Option<ObjectKey>,
        listed: impl Fn(ObjectMeta) -> Option<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut all = vec![];
        list_each(self.store(), prefix, after, |object| {
            all.extend(listed(object));
            ControlFlow::Continue(())
        })?;
        Ok(all)
    }
}

/// Whether a store may be here, where the first objects are these.
fn check_place(store: &dyn Store, there: &[ObjectMeta], has_marker: bool) -> Result<(), Error> {
    let is_foreign = |object: &ObjectMeta| !Layout::is_known(&object.key);
    let has_state = has_marker || there.iter().any(|object| object.key == Layout::gc_state());
    // Where garbage was collected and nobody knows what, no pack may be relied on.
    let is_lost = |object: &ObjectMeta| !has_state && was_flushed(&object.key);
    let in_the_way = |object: &&ObjectMeta| is_foreign(object) || is_lost(object);
    match there.iter().find(in_the_way) {
        Some(example) => {
            let example = example.key.clone();
            Err(Error::NotAStore { location: store.location(), example })
        }
        None => Ok(()),
    }
}

/// Whether an object is one that only a store has in which garbage was collected.
fn was_flushed(key: &ObjectKey) -> bool {
    *key == Layout::gc_marks()
        || Layout::parse_table(key).is_some()
        || Layout::parse_delta(key).is_some_and(|(epoch, ..)| epoch > 0)
}

/// After which key the listing of packs goes on, and before which it ends.
type KeyRange = (Option<ObjectKey>, Option<ObjectKey>);

/// All keys of packs after `first`, in ranges that are listed at once: one page
/// of very many after the other takes long.
fn pack_ranges(first: ObjectKey) -> Vec<KeyRange> {
    let borders = PACK_BORDERS.map(Layout::before_packs_of).map(Some);
    let after = [Some(first)].into_iter().chain(borders.clone());
    after.zip(borders.into_iter().chain([None])).collect()
}

fn listed_pack(object: &ObjectMeta) -> Option<ListedPack> {
    let id = Layout::parse_pack(&object.key)?;
    Some(ListedPack { id, len: object.len, modified: object.modified.into() })
}

fn listed_manifest(object: ObjectMeta) -> Option<ListedManifest> {
    let (scope, key) = Layout::parse_manifest(&object.key)?;
    Some(ListedManifest {
        scope,
        key,
        modified: object.modified,
        len: object.len,
        version: object.version,
        object: object.key,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::{MemoryStore, Metered};

    /// A store with so many packs, and how many of them are listed in how many
    /// requests.
    fn listed(packs: u32) -> (usize, u64) {
        let memory = MemoryStore::new();
        let marker = FormatMarker::new(StoreId::generate(), chunking::parameters());
        let mut ids = BTreeSet::new();
        let put = |object: &ObjectKey, body: Vec<u8>| {
            memory.put(object, body.into(), PutMode::Create).unwrap();
        };
        put(&Layout::marker(), marker.encode());
        for number in 0..packs {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&number.to_be_bytes());
            id[15] = blake3::hash(&id).as_bytes()[0];
            ids.insert(PackId::from_bytes(id));
            put(&Layout::pack(PackId::from_bytes(id)), vec![]);
        }
        let store = Arc::new(Metered::new(memory));
        let repository = Repository::open(store.clone()).unwrap().unwrap();
        let listed = repository.list_packs().unwrap();
        assert_eq!(listed.iter().map(|pack| pack.id).collect::<BTreeSet<_>>(), ids);
        (listed.len(), store.requests().list)
    }

    #[test]
    fn all_packs_are_listed_once() {
        assert_eq!(listed(0), (0, 1));
        assert_eq!(listed(1_000), (1_000, 1));
        assert_eq!(listed(2_500), (2_500, 3));
        // One page, and what is left of each quarter in pages of its own.
        let (packs, requests) = listed(20_000);
        assert_eq!(packs, 20_000);
        assert!((20..=24).contains(&requests), "{requests}");
    }
}
