//! Uploads in parts.
//!
//! Each part that was acknowledged is a manifest like an object's, in a scope that the
//! upload has for itself: so it outlives this process, others can go on with it, and what
//! nobody completes ends as caches do that nobody uses. To complete an upload is to put
//! an object whose every chunk is in the store.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::publish::Source;
use super::{
    Bucket, Condition, Contents, Details, Found, Info, Listed, ObjectError, ObjectName, Objects,
    Shared, UploadId, Writer,
};
use crate::error::Error;
use crate::format::{Annotation, Layout};
use crate::ids::{Key, Scope};
use crate::progress::Warning;
use crate::repository::StoredManifest;
use crate::store::{MAX_BATCH, ObjectKey, PutMode};
use crate::store_time::StoreTime;

/// The key of what an upload begins with.
const BEGIN: &str = "begin";

/// What the keys of parts begin with.
const PART: &str = "part-";

/// The first bytes of an annotation that is an upload's.
const MAGIC: &[u8; 8] = b"larderU\x01";

/// An upload that is neither complete nor aborted.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Its id.
    pub id: UploadId,
    /// Where the object is to be.
    pub bucket: Bucket,
    /// What the object is to be called.
    pub key: Key,
    /// What it is to have beside its bytes.
    pub details: Details,
    /// When the upload began.
    pub started: StoreTime,
}

/// A part that was uploaded.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its number.
    pub number: u32,
    /// Its length in bytes.
    pub len: u64,
    /// When it was uploaded.
    pub modified: StoreTime,
    /// Its entity tag and checksums.
    pub details: Details,
}

/// What is noted of an upload.
#[derive(Serialize, Deserialize)]
struct Note {
    key: Key,
    details: Details,
}

impl Upload {
    fn scope(&self) -> Scope {
        self.id.scope(&self.bucket)
    }

    fn of(id: UploadId, bucket: &Bucket, stored: &StoredManifest) -> Option<Self> {
        let note = stored.manifest.annotation.as_bytes().strip_prefix(MAGIC)?;
        let Note { key, details } = rmp_serde::from_slice(note).ok()?;
        let started = stored.manifest.facts.saved;
        Some(Self { id, bucket: bucket.clone(), key, details, started })
    }
}

impl Objects {
    /// Begins an upload in parts.
    ///
    /// # Errors
    /// Those of the store; [`ObjectError::DetailsTooLong`].
    pub fn begin_upload(
        &self,
        bucket: &Bucket,
        key: &Key,
        details: Details,
    ) -> Result<UploadId, ObjectError> {
        // One that could not be put at the end is refused now.
        Layout::manifest(&bucket.scope(), key)?;
        let id = UploadId::generate();
        let mut note = MAGIC.to_vec();
        let written = rmp_serde::encode::write(&mut note, &Note { key: key.clone(), details });
        let annotation = written.ok().and_then(|()| Annotation::new(note));
        let annotation = annotation.ok_or(ObjectError::DetailsTooLong)?;
        let name = ObjectName { scope: id.scope(bucket), key: known(BEGIN) };
        let sealed_by = self.shared.compression.sealed_by();
        let nothing = Contents::stored(vec![], 0, sealed_by);
        let manifest = self.shared.manifest(&name, &nothing, annotation)?;
        self.shared.repository().put_manifest(&manifest, PutMode::Create)?;
        Ok(id)
    }

    /// An upload that was begun.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchUpload`].
    pub fn upload(&self, bucket: &Bucket, id: UploadId) -> Result<Upload, ObjectError> {
        let stored = match self.shared.repository().manifest(&id.scope(bucket), &known(BEGIN)) {
            Err(error) if error.is_unusable() => None,
            stored => stored?,
        };
        let upload = stored.and_then(|stored| Upload::of(id, bucket, &stored));
        upload.ok_or(ObjectError::NoSuchUpload)
    }

    /// Keeps a part, in place of what has its number.
    ///
    /// # Errors
    /// Those of the store.
    pub fn put_part(
        &self,
        upload: &Upload,
        number: u32,
        mut contents: Contents,
        details: Details,
    ) -> Result<(), ObjectError> {
        let shared = &*self.shared;
        let name = ObjectName { scope: upload.scope(), key: known(&format!("{PART}{number:05}")) };
        let annotation = details.to_annotation().ok_or(ObjectError::DetailsTooLong)?;
        contents.settle(shared)?;
        let manifest = shared.manifest(&name, &contents, annotation)?;
        // Nobody looks whether it lasts before the upload is completed, which does.
        let (_, version) = shared.repository().put_manifest(&manifest, PutMode::Overwrite)?;
        shared.keep(manifest, version, details);
        shared.news.add(&upload.bucket.scope(), contents.epoch, std::mem::take(&mut contents.new));
        Ok(())
    }

    /// The parts of an upload, by their numbers.
    ///
    /// # Errors
    /// Those of the store.
    pub fn parts(&self, upload: &Upload) -> Result<Vec<Part>, ObjectError> {
        let parts = self.shared.found_parts(upload)?;
        let parts = parts.into_iter().map(|(number, found)| {
            let Info { len, modified, details, .. } = found.info;
            Part { number, len, modified, details }
        });
        Ok(parts.collect())
    }

    /// Makes these parts, one after the other, an object, and ends the upload.
    ///
    /// # Errors
    /// [`ObjectError::NoSuchPart`], [`ObjectError::Condition`]: the upload goes on.
    pub fn complete(
        &self,
        upload: &Upload,
        parts: &[u32],
        details: Details,
        condition: &Condition,
    ) -> Result<Info, ObjectError> {
        let name = ObjectName { scope: upload.bucket.scope(), key: upload.key.clone() };
        let contents = self.shared.assembled(upload, parts)?;
        let info = self.shared.put(&name, contents, details, condition)?;
        // What is left of it ends by its age.
        if let Err(error) = self.abort(upload) {
            self.shared.warn(Warning::NotDeleted { error: error.to_string() });
        }
        Ok(info)
    }

    /// Ends an upload, and forgets its parts.
    ///
    /// # Errors
    /// Those of the store.
    pub fn abort(&self, upload: &Upload) -> Result<(), ObjectError> {
        let shared = &*self.shared;
        let mut listed = shared.list(&upload.scope(), "")?;
        // The beginning last: as long as it is there, this can be done again.
        listed.sort_by_key(|listed| listed.key.as_str() == BEGIN);
        let objects: Vec<ObjectKey> =
            listed.iter().map(|listed| listed.manifest.object.clone()).collect();
        listed.iter().for_each(|listed| shared.cache.drop(&listed.name()));
        for batch in objects.chunks(MAX_BATCH) {
            if let Some(error) = shared.repository().store().delete(batch)?.pop() {
                return Err(error.into());
            }
        }
        Ok(())
    }

    /// The uploads to a bucket that are neither complete nor aborted.
    ///
    /// # Errors
    /// Those of the store.
    pub fn uploads(&self, bucket: &Bucket) -> Result<Vec<Upload>, ObjectError> {
        let mut uploads = vec![];
        for scope in self.shared.scopes(&bucket.uploads())? {
            let Some(id) = UploadId::of_scope(&scope, bucket) else { continue };
            match self.upload(bucket, id) {
                Ok(upload) => uploads.push(upload),
                // Ended meanwhile.
                Err(ObjectError::NoSuchUpload) => {}
                Err(error) => return Err(error),
            }
        }
        uploads.sort_by(|a, b| (&a.key, a.id).cmp(&(&b.key, b.id)));
        Ok(uploads)
    }
}

impl Shared {
    fn found_parts(&self, upload: &Upload) -> Result<Vec<(u32, Found)>, Error> {
        let mut listed = self.list(&upload.scope(), PART)?;
        listed.retain(|listed| number_of(listed).is_some());
        let found = self.read_listed(&listed)?;
        let numbers = listed.iter().filter_map(number_of);
        let mut parts: Vec<(u32, Found)> =
            numbers.zip(found).filter_map(|(number, found)| Some((number, found?))).collect();
        parts.sort_by_key(|(number, _)| *number);
        Ok(parts)
    }

    /// The contents of these parts, as far as they can be relied on (S1, S2); what cannot
    /// be is moved.
    fn assembled(
        self: &Arc<Self>,
        upload: &Upload,
        numbers: &[u32],
    ) -> Result<Contents, ObjectError> {
        let all = self.found_parts(upload)?;
        let mut parts = Vec::with_capacity(numbers.len());
        for number in numbers {
            match all.binary_search_by_key(number, |(number, _)| *number) {
                Ok(at) => parts.push(&all[at].1),
                Err(_) => return Err(ObjectError::NoSuchPart(*number)),
            }
        }
        let view = self.knowledge.view_for(parts.iter().map(|part| &*part.stored))?;
        let sealed_by = self.compression.sealed_by();
        let is_good = |part: &&Found| {
            let manifest = &part.stored.manifest;
            manifest.sealed_by == sealed_by
                && manifest.chunks.packs().iter().all(|pack| !view.avoid.contains(pack))
        };
        if parts.iter().all(is_good) {
            let chunks = parts.iter().flat_map(|part| part.chunks()).collect();
            return Ok(Contents::stored(chunks, view.state.epoch, sealed_by));
        }
        let mut writer = Writer::beside(Arc::clone(self), &upload.bucket.scope(), &view)?;
        for part in parts {
            let chunks = part.chunks();
            let sealed_by = part.stored.manifest.sealed_by;
            let source = Source { name: &part.info.name, chunks: &chunks, sealed_by };
            self.transfer(&mut writer, &source, 0..part.info.len, &view.avoid)?;
        }
        Ok(writer.finish()?)
    }
}

fn number_of(listed: &Listed) -> Option<u32> {
    listed.key.as_str().strip_prefix(PART)?.parse().ok()
}

fn known(text: &str) -> Key {
    text.parse().expect("a plain name")
}
