//! Deleting: one object, many at once, or one in a certain version.

use std::cell::Cell;
use std::sync::atomic::Ordering;

use aws_sdk_s3::types::{Delete, ObjectIdentifier};

use super::S3Store;
use super::failure::{self, Again, Failure, classify};
use super::request::Asked;
use crate::store::error::{RemoteErrorKind, StoreErrorKind};
use crate::store::{ObjectKey, Operation, Store as _, StoreError, Version, check_batch};

/// The deletes that one conditional delete has sent so far.
#[derive(Default)]
struct Sent {
    count: Cell<u32>,
    /// Whether one of them may have been carried out, its answer being lost.
    may_have_worked: Cell<bool>,
}

impl Sent {
    /// What a failed attempt means; nothing, if it is done all the same.
    fn settle(&self, failure: Failure) -> Option<Failure> {
        if matches!(failure.kind, StoreErrorKind::NotFound) {
            // Gone: by the delete whose answer was lost, if there was one.
            return (!self.may_have_worked.get()).then(mismatch);
        }
        let unmet = failure.is(412) || failure.has_code(&["PreconditionFailed"]);
        Some(if unmet { mismatch() } else { failure })
    }
}

impl Failure {
    /// Whether the request may have been carried out all the same.
    fn may_have_worked(&self) -> bool {
        match self.status {
            // Also of a connection that never came about: texts tell these
            // apart, and whoever is told of a delete too many loses nothing.
            None => true,
            Some(status) => matches!(status, 408 | 500 | 502 | 504),
        }
    }
}

fn mismatch() -> Failure {
    StoreErrorKind::VersionMismatch.into_failure(Again::No)
}

fn lacks_condition(failure: &Failure) -> bool {
    failure.is(501) || failure.has_code(&["NotImplemented"])
}

impl S3Store {
    /// Deletes up to [`MAX_BATCH`](crate::store::MAX_BATCH) objects, and returns
    /// what became of those that could not be deleted.
    pub(super) fn delete_batch(&self, keys: &[&str]) -> Result<Vec<StoreError>, StoreError> {
        let what = keys.first().copied().unwrap_or_default();
        check_batch(Operation::Delete, what, keys.len())?;
        match keys {
            [] => Ok(vec![]),
            [key] => {
                self.delete_one(key)?;
                Ok(vec![])
            }
            keys => match self.delete_many(what, keys) {
                Err(error) if is_unsupported(&error) => {
                    Ok(keys.iter().filter_map(|key| self.delete_one(key).err()).collect())
                }
                result => result,
            },
        }
    }

    fn delete_one(&self, key: &str) -> Result<(), StoreError> {
        self.run(Operation::Delete, key, Asked::Delete, async |_| {
            match self.send_delete(key, None).await {
                Err(failure) if matches!(failure.kind, StoreErrorKind::NotFound) => Ok(()),
                answer => answer,
            }
        })
    }

    async fn send_delete(&self, key: &str, only: Option<&Version>) -> Result<(), Failure> {
        let sent = self
            .client()
            .delete_object()
            .bucket(&self.config.bucket)
            .key(self.name(key))
            .set_if_match(only.map(|version| version.as_str().to_owned()))
            .send()
            .await;
        sent.map(|_| ()).map_err(|error| classify(&error))
    }

    /// Deletes an object if it is there in this version.
    pub(super) fn delete_version(
        &self,
        key: &ObjectKey,
        version: &Version,
    ) -> Result<(), StoreError> {
        let sent = Sent::default();
        self.run(Operation::Delete, key, Asked::Head, async |_| {
            let result = self.look_and_delete(key, version, &sent).await;
            result.err().and_then(|failure| sent.settle(failure)).map_or(Ok(()), Err)
        })
    }

    /// One attempt at that. It looks first, each time: some services take the
    /// condition and delete whatever is there.
    async fn look_and_delete(
        &self,
        key: &ObjectKey,
        version: &Version,
        sent: &Sent,
    ) -> Result<(), Failure> {
        if self.send_head(key).await?.version != *version {
            return Err(mismatch());
        }
        if self.has_conditional_deletes() {
            match self.send_counted(key, Some(version), sent).await {
                Err(failure) if lacks_condition(&failure) => {
                    self.conditional_deletes.store(false, Ordering::Relaxed);
                }
                answer => return answer,
            }
        }
        self.send_counted(key, None, sent).await
    }

    fn has_conditional_deletes(&self) -> bool {
        self.has_conditional_writes() && self.conditional_deletes.load(Ordering::Relaxed)
    }

    /// Sends a delete within an attempt that is counted for its look.
    async fn send_counted(
        &self,
        key: &ObjectKey,
        only: Option<&Version>,
        sent: &Sent,
    ) -> Result<(), Failure> {
        sent.count.set(sent.count.get() + 1);
        self.counters.add(Asked::Delete, sent.count.get());
        // Until it is known better, also if the time limit ends this here.
        let before = sent.may_have_worked.replace(true);
        let result = self.send_delete(key.as_str(), only).await;
        if result.as_ref().is_err_and(|failure| !failure.may_have_worked()) {
            sent.may_have_worked.set(before);
        }
        result
    }

    fn delete_many(&self, what: &str, keys: &[&str]) -> Result<Vec<StoreError>, StoreError> {
        let within = self.name("");
        let invalid = |error: aws_sdk_s3::error::BuildError| {
            let kind = StoreErrorKind::Io(std::io::Error::other(error));
            StoreError::new(Operation::Delete, what, kind)
        };
        let mut batch = Delete::builder().quiet(true);
        for key in keys {
            let object = ObjectIdentifier::builder().key(self.name(key)).build();
            batch = batch.objects(object.map_err(invalid)?);
        }
        let batch = batch.build().map_err(invalid)?;
        let answer = self.run(Operation::Delete, what, Asked::Delete, async |_| {
            let sent = self
                .client()
                .delete_objects()
                .bucket(&self.config.bucket)
                .delete(batch.clone())
                .send()
                .await;
            sent.map_err(|error| classify(&error))
        })?;
        let failed = answer.errors().iter().filter(|error| error.code() != Some("NoSuchKey"));
        Ok(failed
            .map(|error| {
                let name = error.key().unwrap_or_default();
                let key = name.strip_prefix(&within).unwrap_or(name);
                let kind = failure::of_code(
                    error.code().unwrap_or("no code"),
                    error.message().unwrap_or_default(),
                );
                StoreError::new(Operation::Delete, key, kind)
            })
            .collect())
    }
}

fn is_unsupported(error: &StoreError) -> bool {
    matches!(&error.kind, StoreErrorKind::Remote(error)
        if error.kind == RemoteErrorKind::Unsupported)
}
