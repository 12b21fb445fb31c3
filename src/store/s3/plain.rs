//! Plain objects: files that other programs read from the bucket as they are,
//! beside what larder keeps for itself.
//!
//! There is no store format in them: a key, a file's bytes, and metadata. Their
//! keys lie below the store's prefix like all others.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::types::EncodingType;

use super::body::{Body, Contents};
use super::copy::Cuts;
use super::escape::unescape;
use super::failure::classify;
use super::headers::is_value;
use super::plain_key::{MAX_LEN, PlainKey};
use super::put::Put;
use super::request::Asked;
use super::{S3Store, time};
use crate::files::OpenFile;
use crate::store::error::StoreErrorKind;
use crate::store::{MAX_BATCH, Operation, PutMode, StoreError};

/// What a store says of a plain object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainMeta {
    /// The object's key.
    pub key: PlainKey,
    /// Length in bytes.
    pub len: u64,
    /// When it was last put, by the store's clock.
    pub modified: SystemTime,
}

impl S3Store {
    /// Copies objects of `from` bytes and more in parts of `part` bytes, which
    /// must be 5 MiB at least: for servers that copy less with one request than
    /// S3's 5 GiB.
    #[must_use]
    pub fn copying_in_parts(mut self, from: u64, part: u64) -> Self {
        self.cuts = Cuts { from: from.max(1), part: part.max(1) };
        self
    }

    /// Puts a file's bytes as an object, in place of what is there, and returns
    /// how many bytes that were. The object appears whole or not at all.
    ///
    /// Names of metadata are letters, digits and hyphens, values printable ASCII;
    /// S3 takes 2 KB of it. Files of more than 16 MiB are put in parts, each of
    /// which is read when it is sent.
    ///
    /// # Errors
    /// [`StoreErrorKind::File`] if the file cannot be read, or its length changes
    /// meanwhile; [`StoreErrorKind::Io`] if the key, with the store's prefix, or
    /// the metadata is not what S3 takes; and those of the store.
    pub fn put_plain(
        &self,
        key: &PlainKey,
        file: &Path,
        metadata: &[(&str, &str)],
    ) -> Result<u64, StoreError> {
        let failed = |kind| StoreError::new(Operation::Put, key, kind);
        self.check_len(Operation::Put, key)?;
        let metadata = checked(metadata).map_err(failed)?;
        let file = OpenFile::open(file).map_err(|error| failed(StoreErrorKind::File(error)))?;
        let body = Body::Sent(Contents::File(Arc::new(file)));
        let put = Put { key: key.as_str(), body, metadata };
        self.put_object(&put, &PutMode::Overwrite)?;
        Ok(put.body.len())
    }

    /// Copies an object with its metadata, in place of what is there; the bytes
    /// stay on the server. `false` if there is nothing to copy.
    ///
    /// Storage class, encryption and tags are those that a put gives. Where the
    /// location says no tags, those of the source stay, but for objects of 5 GiB
    /// and more, which are copied in parts.
    ///
    /// # Errors
    /// [`StoreErrorKind::VersionMismatch`] if the source is replaced while it is
    /// copied in parts; [`StoreErrorKind::Io`] if a key with the store's prefix
    /// is too long; and those of the store.
    pub fn copy_plain(&self, from: &PlainKey, to: &PlainKey) -> Result<bool, StoreError> {
        self.check_len(Operation::Head, from)?;
        self.check_len(Operation::Put, to)?;
        let looked =
            self.run(Operation::Head, from, Asked::Head, async |_| self.look(from.as_str()).await);
        let looked = match looked {
            Ok(looked) => looked,
            Err(error) if error.is_not_found() => return Ok(false),
            Err(error) => return Err(error),
        };
        // S3 refuses that, as long as nothing of it changes.
        if from == to {
            return Ok(true);
        }
        let metadata = looked.told.metadata().cloned().unwrap_or_default();
        let body = Body::Copied(Box::new(self.source(from.as_str(), looked)));
        let put = Put { key: to.as_str(), body, metadata };
        match self.put_object(&put, &PutMode::Overwrite) {
            Ok(_) => Ok(true),
            // Deleted since it was looked at.
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// All objects whose keys begin with `prefix`, which is any text, in the
    /// order in which the server lists them.
    ///
    /// Objects with keys that are no [`PlainKey`] are left out, such as the
    /// markers `a/` that S3's console makes for folders.
    ///
    /// # Errors
    /// Only those of the store: a prefix without objects is an empty list.
    pub fn list_plain(&self, prefix: &str) -> Result<Vec<PlainMeta>, StoreError> {
        let mut found = vec![];
        let mut token = None;
        loop {
            let page = self.run(Operation::List, prefix, Asked::List, async |_| {
                let sent = self
                    .client()
                    .list_objects_v2()
                    .bucket(&self.config.bucket)
                    .prefix(self.name(prefix))
                    // XML cannot say all names that somebody may have given.
                    .encoding_type(EncodingType::Url)
                    .set_continuation_token(token.clone())
                    .send()
                    .await;
                sent.map_err(|error| classify(&error))
            })?;
            found.extend(self.plain_objects(&page));
            let next = page.next_continuation_token().map(str::to_owned);
            match (page.is_truncated().unwrap_or(false), next) {
                (false, _) => return Ok(found),
                // To believe that these are all may be to delete what is used.
                (true, next) if next.is_none() || next == token => {
                    let why = "a page says that there are more, and not where";
                    let kind = StoreErrorKind::Io(io::Error::new(io::ErrorKind::InvalidData, why));
                    return Err(StoreError::new(Operation::List, prefix, kind));
                }
                (true, next) => token = next,
            }
        }
    }

    fn plain_objects(&self, page: &ListObjectsV2Output) -> impl Iterator<Item = PlainMeta> {
        let within = self.name("");
        let encoded = page.encoding_type() == Some(&EncodingType::Url);
        page.contents().iter().filter_map(move |object| {
            let name = object.key()?;
            let name = if encoded { unescape(name)? } else { name.to_owned() };
            Some(PlainMeta {
                key: PlainKey::new(name.strip_prefix(&within)?).ok()?,
                len: u64::try_from(object.size()?).ok()?,
                modified: time(object.last_modified()),
            })
        })
    }

    /// Deletes objects. One that is not there counts as deleted.
    ///
    /// # Errors
    /// The outer error means that nothing is known of those that are left.
    /// Otherwise the result names those that could not be deleted.
    pub fn delete_plain(&self, keys: &[PlainKey]) -> Result<Vec<StoreError>, StoreError> {
        let mut failed = vec![];
        for batch in keys.chunks(MAX_BATCH) {
            let batch: Vec<_> = batch.iter().map(PlainKey::as_str).collect();
            failed.extend(self.delete_batch(&batch)?);
        }
        Ok(failed)
    }

    /// Refuses a key that is too long below the store's prefix.
    fn check_len(&self, operation: Operation, key: &PlainKey) -> Result<(), StoreError> {
        let len = self.name(key.as_str()).len();
        if len <= MAX_LEN {
            return Ok(());
        }
        let why = format!("with the store's prefix the key has {len} of at most {MAX_LEN} bytes");
        Err(StoreError::new(operation, key, invalid(why)))
    }
}

/// Metadata as a put takes it, if requests can carry it.
fn checked(metadata: &[(&str, &str)]) -> Result<HashMap<String, String>, StoreErrorKind> {
    let is_name = |name: &str| {
        !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    let checked = metadata.iter().map(|(name, value)| {
        if is_name(name) && is_value(value) {
            Ok((name.to_ascii_lowercase(), (*value).to_owned()))
        } else {
            Err(invalid(format!("metadata cannot be {name:?} with the value {value:?}")))
        }
    });
    checked.collect()
}

fn invalid(why: String) -> StoreErrorKind {
    StoreErrorKind::Io(io::Error::new(io::ErrorKind::InvalidInput, why))
}
