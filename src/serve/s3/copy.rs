//! Copies: of objects, also onto themselves, and of ranges of them to parts.
//!
//! No data moves: a copy is another manifest of the same chunks. BuildKit copies blobs
//! onto themselves to mark them as used.

use std::ops::Range;

use larder::objects::{Condition, Details, Found};
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopyPartResult, CopySource, ETag,
    MetadataDirective, Range as Wanted, Timestamp, UploadPartCopyInput, UploadPartCopyOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::checksums::{Algorithm, Checksums};
use super::conditions::Conditions;
use super::details::{headers_of, refuse, refuse_unsupported};
use super::get::check_version;
use super::put::{checksum_type, part_number, set_checksums};
use super::{Answer, Service};

/// The conditions on the source of a copy.
macro_rules! conditions_of {
    ($input:expr) => {
        Conditions {
            matches: $input.copy_source_if_match.clone(),
            matches_none: $input.copy_source_if_none_match.clone(),
            modified_since: $input.copy_source_if_modified_since.clone(),
            unmodified_since: $input.copy_source_if_unmodified_since.clone(),
        }
    };
}

/// The object that is to be copied, if it is there, and is what the client takes it for.
async fn source(
    service: &Service,
    source: &CopySource,
    conditions: &Conditions,
) -> S3Result<Found> {
    let CopySource::Bucket { bucket, key, version_id } = source else {
        return Err(s3_error!(NotImplemented, "access points are not implemented"));
    };
    check_version(version_id.as_deref())?;
    let name = service.name(bucket, key)?;
    let found = service.ask(move |objects| objects.find(&name)).await?;
    conditions.check_copy(&found.info)?;
    Ok(found)
}

pub(super) async fn copy_object(
    service: &Service,
    request: S3Request<CopyObjectInput>,
) -> Answer<CopyObjectOutput> {
    let input = &request.input;
    let to = service.name(&input.bucket, &input.key)?;
    refuse_unsupported!(input)?;
    let sse = input.copy_source_sse_customer_algorithm.is_some();
    refuse([("x-amz-copy-source-server-side-encryption-customer-algorithm", sse)])?;
    let replaces = replaces(input.metadata_directive.as_ref())?;
    let found = source(service, &input.copy_source, &conditions_of!(input)).await?;
    if !replaces && found.info.name == to {
        return Err(s3_error!(
            InvalidRequest,
            "This copy request is illegal because it is trying to copy an object to itself \
             without changing the object's metadata."
        ));
    }
    let of_source = found.info.details.clone();
    let details = match replaces {
        false => of_source,
        true => {
            let new = headers_of!(input).to_details(input.metadata.clone());
            Details { headers: new.headers, metadata: new.metadata, ..of_source }
        }
    };
    let copy = move |objects: &larder::objects::Objects| {
        objects.copy(&found, &to, &details, &Condition::None)
    };
    let info = service.ask(copy).await?;
    let mut result = CopyObjectResult {
        e_tag: Some(ETag::Strong(info.details.etag.clone())),
        last_modified: Some(Timestamp::from(info.modified.to_system())),
        checksum_type: checksum_type(&info.details.checksums),
        ..CopyObjectResult::default()
    };
    set_checksums!(result, info.details.checksums);
    let output = CopyObjectOutput { copy_object_result: Some(result), ..Default::default() };
    Ok(S3Response::new(output))
}

/// Whether a copy gets headers and metadata of its own.
fn replaces(directive: Option<&MetadataDirective>) -> S3Result<bool> {
    match directive.map(MetadataDirective::as_str) {
        None | Some(MetadataDirective::COPY) => Ok(false),
        Some(MetadataDirective::REPLACE) => Ok(true),
        Some(_) => Err(s3_error!(InvalidArgument, "Unknown metadata directive.")),
    }
}

pub(super) async fn upload_part_copy(
    service: &Service,
    request: S3Request<UploadPartCopyInput>,
) -> Answer<UploadPartCopyOutput> {
    let input = &request.input;
    let number = part_number(input.part_number)?;
    let sse = input.sse_customer_algorithm.is_some();
    refuse([("x-amz-server-side-encryption-customer-algorithm", sse)])?;
    let upload = service.upload(&input.bucket, &input.key, &input.upload_id).await?;
    let found = source(service, &input.copy_source, &conditions_of!(input)).await?;
    let range = source_range(input.copy_source_range.as_deref(), found.info.len)?;
    if range.end - range.start > service.transfers.max_body() {
        return Err(s3_error!(
            InvalidRequest,
            "The specified copy source is larger than the maximum allowable size for a copy \
             source: {} bytes",
            service.transfers.max_body()
        ));
    }
    let whole = range == (0..found.info.len);
    let source = &found.info.details;
    // Those of a whole object are those of the part that it becomes, unless they are of
    // parts in turn.
    let checksums = match whole && source.parts.is_empty() {
        true => source.checksums.clone(),
        false => Checksums::new(),
    };
    let mut result = CopyPartResult::default();
    set_checksums!(result, checksums);
    result.last_modified = Some(Timestamp::from(std::time::SystemTime::now()));
    let put = move |objects: &larder::objects::Objects| {
        let contents = objects.contents_of(&found, range)?;
        let etag = contents.tag();
        let details = Details { etag: etag.clone(), checksums, ..Details::default() };
        objects.put_part(&upload, number, contents, details).map(|()| etag)
    };
    result.e_tag = Some(ETag::Strong(service.ask(put).await?));
    Ok(S3Response::new(UploadPartCopyOutput {
        copy_part_result: Some(result),
        ..UploadPartCopyOutput::default()
    }))
}

/// The range of the source; it has to lie within it.
fn source_range(given: Option<&str>, len: u64) -> S3Result<Range<u64>> {
    let Some(given) = given else { return Ok(0..len) };
    let invalid = || {
        s3_error!(
            InvalidArgument,
            "The x-amz-copy-source-range value must be of the form bytes=first-last where first \
             and last are the zero-based offsets of the first and last bytes to copy"
        )
    };
    match Wanted::parse(given).map_err(|_| invalid())? {
        Wanted::Int { first, last: Some(last) } if last < len => Ok(first..last + 1),
        Wanted::Int { last: Some(_), .. } => Err(s3_error!(
            InvalidArgument,
            "Range specified is not valid for source object of size: {len}"
        )),
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_of_sources_lie_within_them() {
        assert_eq!(source_range(None, 5).unwrap(), 0..5);
        assert_eq!(source_range(Some("bytes=1-4"), 5).unwrap(), 1..5);
        for bad in ["bytes=1-5", "bytes=1-", "bytes=-1", "1-2", "bytes=a-b"] {
            assert!(source_range(Some(bad), 5).is_err(), "{bad}");
        }
    }
}
