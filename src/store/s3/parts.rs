//! Objects that are put part by part, and appear whole at the end.

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

use super::S3Store;
use super::body::Body;
use super::config::Checksums;
use super::failure::{Failure, classify};
use super::get::not_s3;
use super::put::Put;
use super::request::Asked;
use crate::store::{Operation, PutMode, StoreError, Version};

/// Parts of one object that are put at once.
const PARTS_AT_ONCE: usize = 4;

/// A part that is to be put.
#[derive(Clone, Copy)]
pub(super) struct Part<'a> {
    /// The key of the object.
    pub(super) key: &'a str,
    /// What the server calls the upload.
    pub(super) upload: &'a str,
    /// From 1 on.
    pub(super) number: i32,
}

impl S3Store {
    /// Puts a long object part by part, and makes it appear at the end.
    pub(super) fn put_in_parts(
        &self,
        put: &Put<'_>,
        mode: &PutMode,
    ) -> Result<Version, StoreError> {
        self.runtime.block_on(async {
            let upload = self.begin_parts(put).await?;
            let result = match self.put_parts(put, &upload).await {
                Ok(parts) => self.complete(put, mode, &upload, parts).await,
                Err(error) => Err(error),
            };
            if result.is_err() {
                self.abort(put.key, &upload).await;
            }
            result
        })
    }

    /// Parts that nobody completes are billed until somebody aborts. If this
    /// fails, a rule of the bucket's lifecycle has to.
    async fn abort(&self, key: &str, upload: &str) {
        self.counters.add(Asked::Delete, 1);
        let sending = self
            .client()
            .abort_multipart_upload()
            .bucket(&self.config.bucket)
            .key(self.name(key))
            .upload_id(upload)
            .send();
        // Whoever wants to stop does not wait for it.
        let _ = self.unless_stopped(self.in_time(sending)).await;
    }

    async fn begin_parts(&self, put: &Put<'_>) -> Result<String, StoreError> {
        self.persist(Operation::Put, put.key, Asked::Put(0), async |_| {
            let mut request = self
                .client()
                .create_multipart_upload()
                .bucket(&self.config.bucket)
                .key(self.name(put.key))
                .set_metadata(Some(put.metadata.clone()));
            request = match &put.body {
                Body::Sent(_) => request.set_checksum_algorithm(self.checksum()),
                Body::Copied(source) => source.describe(request),
            };
            let answer = request.send().await.map_err(|error| classify(&error))?;
            answer.upload_id().map(str::to_owned).ok_or_else(not_s3)
        })
        .await
    }

    /// The checksum of parts: the same must be named when an upload begins and
    /// with every part, or some servers refuse to complete it.
    fn checksum(&self) -> Option<ChecksumAlgorithm> {
        (self.config.checksums == Checksums::Supported).then_some(ChecksumAlgorithm::Crc32)
    }

    async fn put_parts(
        &self,
        put: &Put<'_>,
        upload: &str,
    ) -> Result<Vec<CompletedPart>, StoreError> {
        use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
        let parts = put.body.parts().zip(1..).map(|(range, number)| async move {
            let (key, part) = (put.key, Part { key: put.key, upload, number });
            let asked = put.body.asked(range.end - range.start);
            self.persist(Operation::Put, key, asked, async |_| match &put.body {
                Body::Copied(source) => self.send_part_of(part, source, &range).await,
                // Read for each attempt: only what is being sent is in memory.
                Body::Sent(contents) => {
                    self.send_part(part, contents.read(range.clone()).await?).await
                }
            })
            .await
        });
        let parts = stream::iter(parts).buffered(PARTS_AT_ONCE).try_collect().await?;
        match &put.body {
            Body::Copied(source) => self.check_source(source).await?,
            Body::Sent(contents) => {
                let checked = contents.check();
                checked.map_err(|kind| StoreError::new(Operation::Put, put.key, kind))?;
            }
        }
        Ok(parts)
    }

    async fn send_part(&self, part: Part<'_>, bytes: Bytes) -> Result<CompletedPart, Failure> {
        let sent = self
            .client()
            .upload_part()
            .bucket(&self.config.bucket)
            .key(self.name(part.key))
            .upload_id(part.upload)
            .part_number(part.number)
            .body(ByteStream::from(bytes))
            .set_checksum_algorithm(self.checksum())
            .send()
            .await;
        let answer = sent.map_err(|error| classify(&error))?;
        Ok(CompletedPart::builder()
            .part_number(part.number)
            .set_e_tag(answer.e_tag)
            .set_checksum_crc32(answer.checksum_crc32)
            .build())
    }

    /// Makes the object of its parts.
    async fn complete(
        &self,
        put: &Put<'_>,
        mode: &PutMode,
        upload: &str,
        parts: Vec<CompletedPart>,
    ) -> Result<Version, StoreError> {
        let completed = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        self.persist(Operation::Put, put.key, Asked::Put(0), async |attempt| {
            let condition = self.condition(put.key, mode).await?;
            let sent = self
                .client()
                .complete_multipart_upload()
                .bucket(&self.config.bucket)
                .key(self.name(put.key))
                .upload_id(upload)
                .multipart_upload(completed.clone())
                .set_if_none_match(condition.if_none_match)
                .set_if_match(condition.if_match)
                .send()
                .await;
            let failure = match sent {
                Ok(answer) => return answer.e_tag().map(Version::new).ok_or_else(not_s3),
                Err(error) => classify(&error),
            };
            // An upload that is gone was completed by an attempt before this.
            if attempt > 1
                && failure.has_code(&["NoSuchUpload"])
                && let Some(version) = self.done_before(put).await?
            {
                return Ok(version);
            }
            self.settle(put, mode, attempt, failure).await
        })
        .await
    }
}
