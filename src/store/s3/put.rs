//! Putting objects: at once where that goes, and what a failed put means.
//! [`super::parts`] puts those that are too long for it.

use std::collections::HashMap;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::S3Store;
use super::body::Body;
use super::failure::{Again, Failure, classify};
use super::get::{Looked, not_s3};
use crate::store::error::StoreErrorKind;
use crate::store::{Operation, PutMode, Store as _, StoreError, Version};

/// Metadata that says which put made an object.
const NONCE: &str = "larder-put";

/// An object that is to be put.
pub(super) struct Put<'a> {
    /// Its key, as it is below the store's prefix.
    pub(super) key: &'a str,
    pub(super) body: Body,
    /// Names are in lower case, as servers give them back.
    pub(super) metadata: HashMap<String, String>,
}

/// Metadata that tells one put from any other.
pub(super) fn nonce() -> HashMap<String, String> {
    HashMap::from([(NONCE.to_owned(), ulid::Ulid::generate().to_string())])
}

/// The condition of a put, as headers have it.
#[derive(Clone, Default)]
pub(super) struct Condition {
    pub(super) if_none_match: Option<String>,
    pub(super) if_match: Option<String>,
}

impl Condition {
    fn of(mode: &PutMode) -> Self {
        match mode {
            PutMode::Create => Self { if_none_match: Some("*".into()), if_match: None },
            PutMode::Overwrite => Self::default(),
            PutMode::IfMatch(version) => {
                Self { if_none_match: None, if_match: Some(version.as_str().to_owned()) }
            }
        }
    }
}

impl S3Store {
    /// Puts an object, whole or not at all.
    pub(super) fn put_object(&self, put: &Put<'_>, mode: &PutMode) -> Result<Version, StoreError> {
        if put.body.is_long() {
            return self.put_in_parts(put, mode);
        }
        let asked = put.body.asked(put.body.len());
        self.run(Operation::Put, put.key, asked, async |attempt| {
            let condition = self.condition(put.key, mode).await?;
            match self.put_at_once(put, condition).await {
                Ok(version) => Ok(version),
                Err(failure) => self.settle(put, mode, attempt, failure).await,
            }
        })
    }

    async fn put_at_once(&self, put: &Put<'_>, condition: Condition) -> Result<Version, Failure> {
        match &put.body {
            Body::Copied(source) => self.send_copy(put.key, source, condition).await,
            Body::Sent(contents) => {
                let bytes = contents.read(0..put.body.len()).await?;
                contents.check().map_err(|kind| kind.into_failure(Again::No))?;
                self.send_put(put, bytes, condition).await
            }
        }
    }

    async fn send_put(
        &self,
        put: &Put<'_>,
        bytes: Bytes,
        condition: Condition,
    ) -> Result<Version, Failure> {
        let sent = self
            .client()
            .put_object()
            .bucket(&self.config.bucket)
            .key(self.name(put.key))
            .body(ByteStream::from(bytes))
            .set_metadata(Some(put.metadata.clone()))
            .set_if_none_match(condition.if_none_match)
            .set_if_match(condition.if_match)
            .send()
            .await;
        let answer = sent.map_err(|error| classify(&error))?;
        answer.e_tag().map(Version::new).ok_or_else(not_s3)
    }

    /// The headers for a mode. A server without conditional puts is asked what
    /// is there instead: that is right unless somebody puts the same key in the
    /// same moment.
    pub(super) async fn condition(&self, key: &str, mode: &PutMode) -> Result<Condition, Failure> {
        if self.has_conditional_writes() || *mode == PutMode::Overwrite {
            return Ok(Condition::of(mode));
        }
        let there = match self.look(key).await {
            Ok(looked) => Some(looked.version),
            Err(failure) if matches!(failure.kind, StoreErrorKind::NotFound) => None,
            Err(failure) => return Err(failure),
        };
        match mode {
            PutMode::Create if there.is_some() => {
                Err(StoreErrorKind::AlreadyExists.into_failure(Again::No))
            }
            PutMode::IfMatch(version) if there.as_ref() != Some(version) => {
                Err(StoreErrorKind::VersionMismatch.into_failure(Again::No))
            }
            _ => Ok(Condition::default()),
        }
    }

    /// Whether an earlier attempt at this very put succeeded. As long as that
    /// cannot be learnt, nothing is known of the put: the next attempt asks
    /// again.
    pub(super) async fn done_before(&self, put: &Put<'_>) -> Result<Option<Version>, Failure> {
        match self.look(put.key).await {
            Ok(looked) => Ok(looked.is_of(put).then_some(looked.version)),
            Err(failure) if failure.again == Again::No => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// What a failed put means.
    pub(super) async fn settle(
        &self,
        put: &Put<'_>,
        mode: &PutMode,
        attempt: u32,
        failure: Failure,
    ) -> Result<Version, Failure> {
        let conditional = *mode != PutMode::Overwrite;
        let unmet = failure.is(412)
            || failure.has_code(&["PreconditionFailed"])
            || (matches!(mode, PutMode::IfMatch(_)) && failure.is(404));
        if conditional && unmet && !failure.has_code(&["NoSuchBucket"]) {
            // An earlier attempt may have done it, and only its answer was lost.
            if attempt > 1
                && let Some(version) = self.done_before(put).await?
            {
                return Ok(version);
            }
            let kind = match mode {
                PutMode::Create => StoreErrorKind::AlreadyExists,
                _ => StoreErrorKind::VersionMismatch,
            };
            return Err(kind.into_failure(Again::No));
        }
        let lacks = failure.is(501) || failure.has_code(&["NotImplemented"]);
        if conditional && lacks && self.has_conditional_writes() {
            self.conditional.store(false, std::sync::atomic::Ordering::Relaxed);
            return Err(Failure { again: Again::Yes, ..failure });
        }
        Err(failure)
    }
}

impl Looked {
    /// Whether this is what a put would have made: with its nonce, if it has one.
    /// Of plain objects, which have none, it is asked only when the upload is gone
    /// that this put alone knows: length and metadata do.
    fn is_of(&self, put: &Put<'_>) -> bool {
        let found = self.told.metadata();
        let has = |(name, value)| found.is_some_and(|found| found.get(name) == Some(value));
        self.len == put.body.len() && put.metadata.iter().all(has)
    }
}
