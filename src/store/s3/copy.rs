//! Copying an object to another key of the bucket: its bytes stay on the server.

use std::ops::Range;

use aws_sdk_s3::operation::create_multipart_upload::builders::CreateMultipartUploadFluentBuilder;
use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use aws_sdk_s3::types::CompletedPart;
use aws_smithy_types::DateTime;
use aws_smithy_types::date_time::Format;

use super::S3Store;
use super::escape::escape;
use super::failure::{Again, Failure, classify};
use super::get::Looked;
use super::parts::Part;
use super::put::Condition;
use super::request::Asked;
use crate::store::error::StoreErrorKind;
use crate::store::{Operation, StoreError, Version};

/// Where copies are cut, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cuts {
    /// Objects of this length and more are copied in parts.
    pub(super) from: u64,
    /// Length of a part.
    pub(super) part: u64,
}

impl Default for Cuts {
    /// S3 copies up to 5 GiB with one request. Parts may be as long, but a
    /// request for one would take minutes.
    fn default() -> Self {
        Self { from: 5 << 30, part: 1 << 30 }
    }
}

/// An object that is copied.
#[derive(Clone, Debug)]
pub(super) struct Source {
    key: String,
    /// How the header for it names it.
    header: String,
    len: u64,
    version: Version,
    cuts: Cuts,
    /// All that the server said of it.
    told: HeadObjectOutput,
}

impl Source {
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn part(&self) -> u64 {
        self.cuts.part
    }

    pub(super) fn is_long(&self) -> bool {
        self.len >= self.cuts.from
    }

    /// Says of a copy in parts what was said of the source: of a whole copy the
    /// server does it.
    pub(super) fn describe(
        &self,
        request: CreateMultipartUploadFluentBuilder,
    ) -> CreateMultipartUploadFluentBuilder {
        let told = &self.told;
        let expires = told.expires_string();
        let expires = expires.and_then(|text| DateTime::from_str(text, Format::HttpDate).ok());
        request
            .set_cache_control(told.cache_control.clone())
            .set_content_disposition(told.content_disposition.clone())
            .set_content_encoding(told.content_encoding.clone())
            .set_content_language(told.content_language.clone())
            .set_content_type(told.content_type.clone())
            .set_expires(expires)
    }
}

impl S3Store {
    /// What is needed to copy an object that was looked at.
    pub(super) fn source(&self, key: &str, looked: Looked) -> Source {
        let Looked { len, version, told } = looked;
        let bucket = &self.config.bucket;
        // The form for access points, whose ARNs have slashes themselves.
        let between = if bucket.starts_with("arn:") { "/object/" } else { "/" };
        let header = escape(&format!("{bucket}{between}{}", self.name(key)), "/");
        Source { key: key.to_owned(), header, len, version, cuts: self.cuts, told }
    }

    /// Copies all of an object with one request.
    pub(super) async fn send_copy(
        &self,
        key: &str,
        source: &Source,
        condition: Condition,
    ) -> Result<Version, Failure> {
        let sent = self
            .client()
            .copy_object()
            .bucket(&self.config.bucket)
            .key(self.name(key))
            .copy_source(&source.header)
            .set_if_none_match(condition.if_none_match)
            .set_if_match(condition.if_match)
            .send()
            .await;
        let answer = sent.map_err(|error| classify(&error))?;
        let made = answer.copy_object_result().and_then(|result| result.e_tag());
        made.map(Version::new).ok_or_else(broken)
    }

    /// Copies a range of an object as a part of another.
    pub(super) async fn send_part_of(
        &self,
        part: Part<'_>,
        source: &Source,
        range: &Range<u64>,
    ) -> Result<CompletedPart, Failure> {
        let sent = self
            .client()
            .upload_part_copy()
            .bucket(&self.config.bucket)
            .key(self.name(part.key))
            .upload_id(part.upload)
            .part_number(part.number)
            .copy_source(&source.header)
            .copy_source_range(format!("bytes={}-{}", range.start, range.end - 1))
            .customize()
            // Ceph RGW wants to be told that a part without a body has none.
            .mutate_request(|request| {
                request.headers_mut().insert("content-length", "0");
            })
            .send()
            .await;
        let answer = sent.map_err(|error| classify(&error))?;
        let made = answer.copy_part_result().and_then(|result| result.e_tag());
        let part = CompletedPart::builder().part_number(part.number);
        Ok(part.e_tag(made.ok_or_else(broken)?).build())
    }

    /// Fails if the source of a copy in parts was replaced meanwhile: parts of two
    /// objects make none. S3 has a condition for each part instead, which Ceph RGW
    /// passes over.
    pub(super) async fn check_source(&self, source: &Source) -> Result<(), StoreError> {
        let key = &*source.key;
        self.persist(Operation::Head, key, Asked::Head, async |_| {
            let same = self.look(key).await?.version == source.version;
            let replaced = || StoreErrorKind::VersionMismatch.into_failure(Again::No);
            same.then_some(()).ok_or_else(replaced)
        })
        .await
    }
}

/// A copy that takes long is answered at first with a status of success alone;
/// what became of it is in the body, which may never come.
fn broken() -> Failure {
    Failure::broken_body("the answer to a copy does not say that it was made")
}
