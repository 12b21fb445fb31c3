//! Objects over the wire: getting, and putting at once or in parts.

use std::ops::Range;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::operation::put_object::builders::PutObjectFluentBuilder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    ChecksumAlgorithm, CompletedMultipartUpload, CompletedPart, RequestPayer, ServerSideEncryption,
    StorageClass,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

use super::config::{Checksums, CustomerKey, Encryption, S3Config};
use super::failure::{Again, Failure, classify};
use super::request::Asked;
use super::{S3Store, time};
use crate::store::error::{RemoteErrorKind, StoreErrorKind};
use crate::store::{ObjectKey, ObjectMeta, Operation, PutMode, Store as _, StoreError, Version};

/// Objects longer than this are put in parts, in bytes: far above a pack, so
/// that a pack is one request, and below what one connection may be trusted
/// with.
const LONGEST_AT_ONCE: usize = 64 << 20;

/// Length of parts, in bytes. S3 takes up to 10,000 parts: objects up to 160 GB.
const PART: usize = 16 << 20;

/// Parts that are put at once.
const PARTS_AT_ONCE: usize = 4;

/// Metadata that says which put made an object.
const NONCE: &str = "larder-put";

/// The fewest bytes that must come within the time a server may be silent.
const LEAST_PROGRESS: usize = 16 << 10;

/// An answer with a body that has not come yet.
pub(super) struct Got {
    /// The object's length, whatever part of it was asked for.
    pub(super) len: u64,
    pub(super) modified: SystemTime,
    pub(super) version: Version,
    /// Bytes that the body must have.
    expected: u64,
    body: ByteStream,
}

impl Got {
    /// Appends the body to `into`. What came before a failure stays there.
    pub(super) async fn read(
        &mut self,
        into: &mut Vec<u8>,
        read_timeout: Duration,
    ) -> Result<(), Failure> {
        let expected = usize::try_from(self.expected).unwrap_or(usize::MAX);
        let start = into.len();
        // The server's word alone does not reserve memory without bound.
        into.reserve(expected.min(64 << 20));
        let mut window = tokio::time::Instant::now() + read_timeout;
        let mut in_window = 0;
        loop {
            let next = tokio::time::timeout_at(window, self.body.next()).await;
            let now = tokio::time::Instant::now();
            match next {
                Ok(Some(Ok(bytes))) => {
                    in_window += bytes.len();
                    if into.len() - start + bytes.len() > expected {
                        return Err(Failure::broken_body("the answer is longer than announced"));
                    }
                    into.extend_from_slice(&bytes);
                }
                Ok(Some(Err(error))) => {
                    let why = format!("the answer broke off: {}", super::failure::causes(&error));
                    return Err(Failure::broken_body(why));
                }
                Ok(None) => break,
                Err(_) => {}
            }
            if now >= window {
                if in_window < LEAST_PROGRESS {
                    let why = format!("the answer stalled for {} s", read_timeout.as_secs());
                    return Err(Failure::broken_body(why));
                }
                (window, in_window) = (now + read_timeout, 0);
            }
        }
        let len = into.len() - start;
        if len == expected {
            Ok(())
        } else {
            let why = format!("the answer ended after {len} of {expected} bytes");
            Err(Failure::broken_body(why))
        }
    }
}

/// An object that is to be put.
#[derive(Clone)]
pub(super) struct Put<'a> {
    pub(super) key: &'a ObjectKey,
    pub(super) body: Bytes,
    /// What tells this put from any other.
    pub(super) nonce: &'a str,
}

impl Put<'_> {
    pub(super) fn is_long(&self) -> bool {
        self.body.len() > LONGEST_AT_ONCE
    }
}

/// The condition of a put, as headers have it.
#[derive(Clone, Default)]
struct Condition {
    if_none_match: Option<String>,
    if_match: Option<String>,
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

impl S3Config {
    pub(super) fn payer(&self) -> Option<RequestPayer> {
        self.requester_pays.then_some(RequestPayer::Requester)
    }

    fn customer_key(&self) -> [Option<String>; 3] {
        let Encryption::Customer(CustomerKey(key)) = &self.encryption else {
            return [None, None, None];
        };
        use md5::Digest as _;
        let digest = md5::Md5::digest(key);
        [Some("AES256".into()), Some(STANDARD.encode(key)), Some(STANDARD.encode(digest))]
    }

    fn encryption(&self) -> Option<ServerSideEncryption> {
        match self.encryption {
            Encryption::BucketDefault | Encryption::Customer(_) => None,
            Encryption::S3 => Some(ServerSideEncryption::Aes256),
            Encryption::Kms { dual_layer: false, .. } => Some(ServerSideEncryption::AwsKms),
            Encryption::Kms { dual_layer: true, .. } => Some(ServerSideEncryption::AwsKmsDsse),
        }
    }

    fn kms_key(&self) -> Option<String> {
        match &self.encryption {
            Encryption::Kms { key_id, .. } => key_id.clone(),
            _ => None,
        }
    }

    /// Tags as the header has them: like a URL's query.
    fn tagging(&self) -> Option<String> {
        let encode = |text: &str| -> String {
            let byte = |byte: u8| match byte {
                b if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) => char::from(b).to_string(),
                b => format!("%{b:02X}"),
            };
            text.bytes().map(byte).collect()
        };
        let pairs: Vec<_> =
            self.tags.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect();
        (!pairs.is_empty()).then(|| pairs.join("&"))
    }

    fn class(&self) -> Option<StorageClass> {
        self.storage_class.as_deref().map(StorageClass::from)
    }
}

impl S3Store {
    /// Asks for an object or a part of it.
    pub(super) async fn send_get(
        &self,
        key: &ObjectKey,
        range: Option<Range<u64>>,
    ) -> Result<Got, Failure> {
        let [algorithm, customer_key, digest] = self.config.customer_key();
        let header = range.as_ref().map(|r| format!("bytes={}-{}", r.start, r.end - 1));
        let sending = self
            .client()
            .get_object()
            .bucket(&self.config.bucket)
            .key(self.name(key.as_str()))
            .set_range(header)
            .set_request_payer(self.config.payer())
            .set_expected_bucket_owner(self.config.expected_owner.clone())
            .set_sse_customer_algorithm(algorithm)
            .set_sse_customer_key(customer_key)
            .set_sse_customer_key_md5(digest)
            .send();
        let answer = self.in_time(sending).await?.map_err(|error| classify(&error))?;
        let length = answer.content_length().and_then(|len| u64::try_from(len).ok());
        let (Some(version), Some(length)) = (answer.e_tag(), length) else {
            return Err(not_s3());
        };
        let (len, expected) = match &range {
            None => (length, length),
            Some(range) => {
                // A server that ignores the range would send all of it.
                let (start, total) =
                    answer.content_range().and_then(content_range).ok_or_else(not_s3)?;
                if start != range.start {
                    let why = format!("bytes from {start} on came, not from {}", range.start);
                    return Err(Failure::broken_body(why));
                }
                (total, range.end.min(total) - range.start)
            }
        };
        Ok(Got {
            len,
            modified: time(answer.last_modified()),
            version: Version::new(version),
            expected,
            body: answer.body,
        })
    }

    pub(super) async fn send_head(&self, key: &ObjectKey) -> Result<ObjectMeta, Failure> {
        self.look(key).await.map(|(meta, _)| meta)
    }

    /// What is known of an object, and which put made it.
    async fn look(&self, key: &ObjectKey) -> Result<(ObjectMeta, Option<String>), Failure> {
        let [algorithm, customer_key, digest] = self.config.customer_key();
        let sending = self
            .client()
            .head_object()
            .bucket(&self.config.bucket)
            .key(self.name(key.as_str()))
            .set_request_payer(self.config.payer())
            .set_expected_bucket_owner(self.config.expected_owner.clone())
            .set_sse_customer_algorithm(algorithm)
            .set_sse_customer_key(customer_key)
            .set_sse_customer_key_md5(digest)
            .send();
        let answer = self.in_time(sending).await?.map_err(|error| classify(&error))?;
        let len = answer.content_length().and_then(|len| u64::try_from(len).ok());
        let (Some(version), Some(len)) = (answer.e_tag(), len) else {
            return Err(not_s3());
        };
        let nonce = answer.metadata().and_then(|metadata| metadata.get(NONCE)).cloned();
        let modified = time(answer.last_modified());
        let meta = ObjectMeta { key: key.clone(), len, modified, version: Version::new(version) };
        Ok((meta, nonce))
    }

    /// Waits for the beginning of an answer.
    async fn in_time<T>(&self, sending: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::time::timeout(self.config.read_timeout, sending).await.map_err(|_| {
            let detail = format!("no answer within {} s", self.config.read_timeout.as_secs());
            Failure::local(RemoteErrorKind::TimedOut, detail, Again::Yes)
        })
    }

    pub(super) fn put_at_once(&self, put: &Put<'_>, mode: &PutMode) -> Result<Version, StoreError> {
        let asked = Asked::Put(put.body.len() as u64);
        self.run(Operation::Put, put.key, asked, async |attempt| {
            let condition = self.condition(put.key, mode).await?;
            let sent = self.put_request(put, condition).send().await;
            match sent {
                Ok(answer) => answer.e_tag().map(Version::new).ok_or_else(not_s3),
                Err(error) => self.settle(put, mode, attempt, classify(&error)).await,
            }
        })
    }

    fn put_request(&self, put: &Put<'_>, condition: Condition) -> PutObjectFluentBuilder {
        let [algorithm, customer_key, digest] = self.config.customer_key();
        self.client()
            .put_object()
            .bucket(&self.config.bucket)
            .key(self.name(put.key.as_str()))
            .body(ByteStream::from(put.body.clone()))
            .metadata(NONCE, put.nonce)
            .set_if_none_match(condition.if_none_match)
            .set_if_match(condition.if_match)
            .set_storage_class(self.config.class())
            .set_tagging(self.config.tagging())
            .set_server_side_encryption(self.config.encryption())
            .set_ssekms_key_id(self.config.kms_key())
            .set_request_payer(self.config.payer())
            .set_expected_bucket_owner(self.config.expected_owner.clone())
            .set_sse_customer_algorithm(algorithm)
            .set_sse_customer_key(customer_key)
            .set_sse_customer_key_md5(digest)
    }

    /// The headers for a mode. A server without conditional puts is asked what
    /// is there instead: that is right unless somebody puts the same key in the
    /// same moment.
    async fn condition(&self, key: &ObjectKey, mode: &PutMode) -> Result<Condition, Failure> {
        if self.has_conditional_writes() || *mode == PutMode::Overwrite {
            return Ok(Condition::of(mode));
        }
        let there = match self.send_head(key).await {
            Ok(meta) => Some(meta.version),
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
    async fn done_before(&self, put: &Put<'_>) -> Result<Option<Version>, Failure> {
        match self.look(put.key).await {
            Ok((meta, nonce)) => Ok((nonce.as_deref() == Some(put.nonce)).then_some(meta.version)),
            Err(failure) if failure.again == Again::No => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// What a failed put means.
    async fn settle(
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

    /// Puts a long object part by part, and makes it appear at the end.
    pub(super) fn put_in_parts(
        &self,
        put: &Put<'_>,
        mode: &PutMode,
    ) -> Result<Version, StoreError> {
        self.runtime.block_on(async {
            let upload = self.begin_parts(put).await?;
            let result = self.send_parts(put, mode, &upload).await;
            if result.is_err() {
                // Parts that nobody completes are billed until somebody aborts.
                // If this fails, a rule of the bucket's lifecycle has to.
                let _ = self
                    .client()
                    .abort_multipart_upload()
                    .bucket(&self.config.bucket)
                    .key(self.name(put.key.as_str()))
                    .upload_id(&upload)
                    .send()
                    .await;
            }
            result
        })
    }

    async fn begin_parts(&self, put: &Put<'_>) -> Result<String, StoreError> {
        let algorithm = self.checksum();
        self.persist(Operation::Put, put.key, Asked::Put(0), async |_| {
            let [sse, customer_key, digest] = self.config.customer_key();
            let sent = self
                .client()
                .create_multipart_upload()
                .bucket(&self.config.bucket)
                .key(self.name(put.key.as_str()))
                .metadata(NONCE, put.nonce)
                .set_checksum_algorithm(algorithm.clone())
                .set_storage_class(self.config.class())
                .set_tagging(self.config.tagging())
                .set_server_side_encryption(self.config.encryption())
                .set_ssekms_key_id(self.config.kms_key())
                .set_request_payer(self.config.payer())
                .set_expected_bucket_owner(self.config.expected_owner.clone())
                .set_sse_customer_algorithm(sse)
                .set_sse_customer_key(customer_key)
                .set_sse_customer_key_md5(digest)
                .send()
                .await;
            let answer = sent.map_err(|error| classify(&error))?;
            answer.upload_id().map(str::to_owned).ok_or_else(not_s3)
        })
        .await
    }

    /// The checksum of parts: the same must be named when an upload begins and
    /// with every part, or some servers refuse to complete it.
    fn checksum(&self) -> Option<ChecksumAlgorithm> {
        (self.config.checksums == Checksums::Supported).then_some(ChecksumAlgorithm::Crc32)
    }

    async fn send_parts(
        &self,
        put: &Put<'_>,
        mode: &PutMode,
        upload: &str,
    ) -> Result<Version, StoreError> {
        use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
        let parts = (0..put.body.len().div_ceil(PART)).map(|index| {
            let bytes = put.body.slice(index * PART..put.body.len().min((index + 1) * PART));
            self.send_part(put.key, upload, i32::try_from(index + 1).unwrap_or(i32::MAX), bytes)
        });
        let parts: Vec<CompletedPart> =
            stream::iter(parts).buffered(PARTS_AT_ONCE).try_collect().await?;
        let completed = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        self.persist(Operation::Put, put.key, Asked::Put(0), async |attempt| {
            let condition = self.condition(put.key, mode).await?;
            let [algorithm, customer_key, digest] = self.config.customer_key();
            let sent = self
                .client()
                .complete_multipart_upload()
                .bucket(&self.config.bucket)
                .key(self.name(put.key.as_str()))
                .upload_id(upload)
                .multipart_upload(completed.clone())
                .set_if_none_match(condition.if_none_match)
                .set_if_match(condition.if_match)
                .set_request_payer(self.config.payer())
                .set_expected_bucket_owner(self.config.expected_owner.clone())
                .set_sse_customer_algorithm(algorithm)
                .set_sse_customer_key(customer_key)
                .set_sse_customer_key_md5(digest)
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

    async fn send_part(
        &self,
        key: &ObjectKey,
        upload: &str,
        number: i32,
        bytes: Bytes,
    ) -> Result<CompletedPart, StoreError> {
        let algorithm = self.checksum();
        self.persist(Operation::Put, key, Asked::Put(bytes.len() as u64), async |_| {
            let [sse, customer_key, digest] = self.config.customer_key();
            let sent = self
                .client()
                .upload_part()
                .bucket(&self.config.bucket)
                .key(self.name(key.as_str()))
                .upload_id(upload)
                .part_number(number)
                .body(ByteStream::from(bytes.clone()))
                .set_checksum_algorithm(algorithm.clone())
                .set_request_payer(self.config.payer())
                .set_expected_bucket_owner(self.config.expected_owner.clone())
                .set_sse_customer_algorithm(sse)
                .set_sse_customer_key(customer_key)
                .set_sse_customer_key_md5(digest)
                .send()
                .await;
            let answer = sent.map_err(|error| classify(&error))?;
            Ok(CompletedPart::builder()
                .part_number(number)
                .set_e_tag(answer.e_tag)
                .set_checksum_crc32(answer.checksum_crc32)
                .build())
        })
        .await
    }
}

/// First byte and whole length from `bytes 0-99/1234`.
fn content_range(header: &str) -> Option<(u64, u64)> {
    let (range, total) = header.strip_prefix("bytes ")?.split_once('/')?;
    let (start, _) = range.split_once('-')?;
    Some((start.parse().ok()?, total.parse().ok()?))
}

/// Something answered with success, and not as S3 does.
fn not_s3() -> Failure {
    let detail = "the endpoint's answer is not that of an S3 service";
    Failure::local(RemoteErrorKind::NotS3, detail, Again::No)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(content_range("bytes 5-9/100"), Some((5, 100)));
        for odd in ["", "bytes */100", "bytes 5-9/*", "5-9/100", "bytes 5/100"] {
            assert_eq!(content_range(odd), None, "{odd}");
        }
    }

    #[test]
    fn tags_are_encoded_as_a_query() {
        let mut config = S3Config::new("bucket", "");
        assert_eq!(config.tagging(), None);
        config.tags = vec![("team".into(), "a&b".into()), ("ä".into(), String::new())];
        assert_eq!(config.tagging().as_deref(), Some("team=a%26b&%C3%A4="));
    }
}
