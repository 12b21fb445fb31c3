//! What garbage collection reads and changes in a store.
//!
//! The rules are those of `docs/protocol.md`; here is how each of its steps is
//! one request.

use std::collections::HashMap;

use bytes::Bytes;

use super::{ListedManifest, MAX_OBJECT_LEN, Repository, StoredManifest};
use crate::error::Error;
use crate::format::{
    FormatError, GcState, Layout, Manifest, Mark, References, SealedManifest, decode_marks,
    encode_marks,
};
use crate::ids::PackId;
use crate::store::{ObjectKey, ObjectMeta, PutMode, StoreError, Version};

/// How often a use is put down before it is left to the next one: a flush moves
/// a manifest once, and another one may come.
const MAX_REFRESHES: u32 = 3;

/// The state of garbage collection, and the version of the object it was read
/// from.
#[derive(Clone, Debug, Default)]
pub struct StoredState {
    /// The state.
    pub state: GcState,
    /// The state of the object; `None` if there was none.
    pub version: Option<Version>,
}

/// What became of a manifest that was to be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is removed.
    Removed,
    /// It was saved or used since it was listed, and stays.
    Changed,
    /// Somebody else had removed it.
    Gone,
}

/// What became of a manifest that was to be put again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refreshed {
    /// It was put.
    Yes,
    /// It was changed or removed since it was read, and is left alone.
    Changed,
}

impl Repository {
    /// The state of garbage collection.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it cannot be read.
    pub fn gc_state(&self) -> Result<StoredState, Error> {
        let object = Layout::gc_state();
        let Some(found) = self.get(&object, GcState::MAX_LEN + (1 << 20))? else {
            return Ok(StoredState::default());
        };
        let state =
            GcState::decode(&found.body).map_err(|source| Error::Damaged { object, source })?;
        Ok(StoredState { state, version: Some(found.meta.version) })
    }

    /// What is the matter with a state of an earlier epoch than a cache that was read
    /// before it was saved at: it was lost, or an earlier one was put back.
    pub fn stale_state(is_there: bool, needed_by: ObjectKey) -> Error {
        let object = Layout::gc_state();
        if !is_there {
            return Error::Missing { object, needed_by };
        }
        let why = "it is an earlier one than caches were saved by";
        Error::Damaged { object, source: FormatError::Inconsistent(why) }
    }

    /// Puts the state in place of the one that was read as `expected`.
    ///
    /// # Errors
    /// [`Error::FlushOvertaken`] if it is not that any more; then nothing was
    /// changed.
    pub fn put_gc_state(
        &self,
        state: &GcState,
        expected: Option<&Version>,
    ) -> Result<Version, Error> {
        let mode = expected.map_or(PutMode::Create, |version| PutMode::IfMatch(version.clone()));
        match self.store.put(&Layout::gc_state(), Bytes::from(state.encode()), mode) {
            Ok(version) => Ok(version),
            Err(error) if error.is_conflict() => Err(Error::FlushOvertaken),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads what a listed manifest refers to, with the version that this was
    /// read from; `None` if it is gone.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it cannot be read.
    pub fn references(
        &self,
        listed: &ListedManifest,
    ) -> Result<Option<(ListedManifest, References)>, Error> {
        let Some(found) = self.get(&listed.object, MAX_OBJECT_LEN)? else {
            return Ok(None);
        };
        let damaged = |source| Error::Damaged { object: listed.object.clone(), source };
        let references = References::decode(&found.body).map_err(damaged)?;
        if references.key != listed.key || references.scope != listed.scope {
            let why = "it is the manifest of another key";
            return Err(damaged(FormatError::Inconsistent(why)));
        }
        let read = ListedManifest {
            modified: found.meta.modified,
            len: found.meta.len,
            version: found.meta.version,
            ..listed.clone()
        };
        Ok(Some((read, references)))
    }

    /// Removes a manifest, if it is as it was listed.
    ///
    /// # Errors
    /// Those of the store.
    pub fn remove_manifest(&self, listed: &ListedManifest) -> Result<Removal, StoreError> {
        // Where versions are hashes of the contents, only the time tells that
        // it was used.
        match self.store.head(&listed.object) {
            Ok(now) if now.version != listed.version || now.modified != listed.modified => {
                return Ok(Removal::Changed);
            }
            Ok(_) => {}
            Err(error) if error.is_not_found() => return Ok(Removal::Gone),
            Err(error) => return Err(error),
        }
        match self.store.delete_if_match(&listed.object, &listed.version) {
            Ok(()) => Ok(Removal::Removed),
            Err(error) if error.is_conflict() => Ok(Removal::Changed),
            Err(error) => Err(error),
        }
    }

    /// Puts a manifest that was read as `version` again, with changes that its saver
    /// makes.
    ///
    /// # Errors
    /// Those of the store.
    pub fn replace_manifest(
        &self,
        manifest: &Manifest,
        version: &Version,
    ) -> Result<Refreshed, Error> {
        self.replace_sealed(&self.close(manifest)?, version)
    }

    /// Puts a manifest that was read as `version` again, with changes that are
    /// none of its contents.
    ///
    /// # Errors
    /// Those of the store.
    pub fn replace_sealed(
        &self,
        manifest: &SealedManifest,
        version: &Version,
    ) -> Result<Refreshed, Error> {
        let object = Layout::manifest(&manifest.scope, &manifest.key)?;
        let mode = PutMode::IfMatch(version.clone());
        match self.store.put(&object, Bytes::from(manifest.encode()), mode) {
            Ok(_) => Ok(Refreshed::Yes),
            Err(error) if error.is_conflict() => Ok(Refreshed::Changed),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes now the time of a cache's last use, unless it was saved or used by
    /// somebody else since it was read. Takes two requests; more, if a flush moves the
    /// manifest meanwhile: that keeps the old time.
    ///
    /// # Errors
    /// Those of the store.
    pub fn refresh(&self, found: &StoredManifest) -> Result<Refreshed, Error> {
        let Manifest { scope, key, .. } = &found.manifest;
        for _ in 0..MAX_REFRESHES {
            // Read again as it is kept: what was opened cannot always be closed again.
            let Some(mut now) = self.sealed(scope, key)? else { break };
            if now.version != found.version && now.last_used() != found.last_used() {
                break;
            }
            now.manifest.facts.used = None;
            if self.replace_sealed(&now.manifest, &now.version)? == Refreshed::Yes {
                return Ok(Refreshed::Yes);
            }
        }
        Ok(Refreshed::Changed)
    }

    /// Whether a pack is in the store.
    ///
    /// # Errors
    /// Those of the store.
    pub fn has_pack(&self, pack: PackId) -> Result<bool, StoreError> {
        match self.store.head(&Layout::pack(pack)) {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// What the last flush knew of manifests, by their objects; nothing if there
    /// are no marks.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it cannot be read.
    pub fn gc_marks(&self) -> Result<HashMap<String, Mark>, Error> {
        let object = Layout::gc_marks();
        let Some(found) = self.get(&object, MAX_OBJECT_LEN)? else {
            return Ok(HashMap::new());
        };
        decode_marks(&found.body).map_err(|source| Error::Damaged { object, source })
    }

    /// Keeps what this flush knows of manifests for the next one.
    ///
    /// # Errors
    /// Those of the store.
    pub fn put_gc_marks<'a>(
        &self,
        marks: impl Iterator<Item = (&'a str, &'a Mark)>,
    ) -> Result<(), StoreError> {
        let bytes = Bytes::from(encode_marks(marks));
        self.store.put(&Layout::gc_marks(), bytes, PutMode::Overwrite)?;
        Ok(())
    }

    /// The objects of all index tables that are in the store.
    ///
    /// # Errors
    /// Those of the store.
    pub fn list_tables(&self) -> Result<Vec<ObjectMeta>, StoreError> {
        let is_table = |object: &ObjectMeta| Layout::parse_table(&object.key).is_some();
        self.list_as(Layout::tables(), None, |object| is_table(&object).then_some(object))
    }

    /// Deletes objects, in batches; gives those that are still there.
    ///
    /// # Errors
    /// If nothing is known of the objects of a batch.
    pub fn delete_all(&self, objects: &[ObjectKey]) -> Result<Vec<StoreError>, StoreError> {
        let mut failed = vec![];
        for batch in objects.chunks(crate::store::MAX_BATCH) {
            failed.extend(self.store.delete(batch)?);
        }
        Ok(failed)
    }
}
