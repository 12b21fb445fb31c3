//! Bodies that become objects or parts of them.

use larder::objects::{Details, UploadId};
use s3s::dto::{ETag, PutObjectInput, PutObjectOutput, UploadPartInput, UploadPartOutput};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::checksums::{Algorithm, Checksums, Type};
use super::details::{headers_of, refuse, refuse_unsupported};
use super::receive::Expected;
use super::{Answer, Service, conditions};

/// The highest number of a part.
const MAX_PART: i32 = 10_000;

/// The fields of an input that tell checksums.
macro_rules! checksums_of {
    ($input:expr) => {
        [
            (Algorithm::Crc32, $input.checksum_crc32.clone()),
            (Algorithm::Crc32c, $input.checksum_crc32c.clone()),
            (Algorithm::Crc64Nvme, $input.checksum_crc64nvme.clone()),
            (Algorithm::Sha1, $input.checksum_sha1.clone()),
            (Algorithm::Sha256, $input.checksum_sha256.clone()),
        ]
    };
}
pub(super) use checksums_of;

/// Sets the fields of an output that tell checksums.
macro_rules! set_checksums {
    ($output:expr, $checksums:expr) => {{
        let get = |algorithm: Algorithm| $checksums.get(algorithm.name()).cloned();
        $output.checksum_crc32 = get(Algorithm::Crc32);
        $output.checksum_crc32c = get(Algorithm::Crc32c);
        $output.checksum_crc64nvme = get(Algorithm::Crc64Nvme);
        $output.checksum_sha1 = get(Algorithm::Sha1);
        $output.checksum_sha256 = get(Algorithm::Sha256);
    }};
}
pub(super) use set_checksums;

/// What kind the checksums of an object are, if it has any.
pub(super) fn checksum_type(checksums: &Checksums) -> Option<s3s::dto::ChecksumType> {
    let first = checksums.values().next()?;
    Some(s3s::dto::ChecksumType::from_static(Type::of_checksum(first).name()))
}

/// The number of a part.
///
/// # Errors
/// `InvalidArgument` if it is none.
pub(super) fn part_number(number: i32) -> S3Result<u32> {
    match u32::try_from(number) {
        Ok(valid @ 1..) if number <= MAX_PART => Ok(valid),
        _ => Err(s3_error!(
            InvalidArgument,
            "Part number must be an integer between 1 and {MAX_PART}, inclusive"
        )),
    }
}

/// The id of an upload.
///
/// # Errors
/// `NoSuchUpload` if no upload can have it.
pub(super) fn upload_id(text: &str) -> S3Result<UploadId> {
    let unknown = |()| s3_error!(NoSuchUpload, "The specified multipart upload does not exist.");
    text.parse().map_err(unknown)
}

pub(super) async fn put_object(
    service: &Service,
    mut request: S3Request<PutObjectInput>,
) -> Answer<PutObjectOutput> {
    let body = request.input.body.take();
    let input = &request.input;
    let name = service.name(&input.bucket, &input.key)?;
    refuse_unsupported!(input)?;
    refuse([("x-amz-write-offset-bytes", input.write_offset_bytes.is_some())])?;
    let condition = conditions::of_put(input.if_match.as_ref(), input.if_none_match.as_ref())?;
    let mut details = headers_of!(input).to_details(input.metadata.clone());
    let asked = input.checksum_algorithm.as_ref().map(s3s::dto::ChecksumAlgorithm::as_str);
    let expected = Expected::new(
        &request,
        input.content_length,
        input.content_md5.clone(),
        checksums_of!(input),
        asked,
    );
    let whole = service.receive(body, name.scope.clone(), expected, &request).await?;
    details.etag = whole.sums.etag();
    details.checksums.clone_from(&whole.sums.checksums);
    let mut output = PutObjectOutput {
        e_tag: Some(ETag::Strong(details.etag.clone())),
        checksum_type: checksum_type(&details.checksums),
        ..PutObjectOutput::default()
    };
    set_checksums!(output, details.checksums);
    let put = move |objects: &larder::objects::Objects| {
        objects.put(&name, whole.contents, details, &condition)
    };
    service.ask(put).await?;
    Ok(S3Response::new(output))
}

pub(super) async fn upload_part(
    service: &Service,
    mut request: S3Request<UploadPartInput>,
) -> Answer<UploadPartOutput> {
    let body = request.input.body.take();
    let input = &request.input;
    let number = part_number(input.part_number)?;
    let upload = service.upload(&input.bucket, &input.key, &input.upload_id).await?;
    let sse = input.sse_customer_algorithm.is_some();
    refuse([("x-amz-server-side-encryption-customer-algorithm", sse)])?;
    // What the upload was begun with, parts have, too, whether or not they say so.
    let asked = upload.details.checksums.keys().next().map(String::as_str);
    let expected = Expected::new(
        &request,
        input.content_length,
        input.content_md5.clone(),
        checksums_of!(input),
        asked,
    );
    let scope = upload.bucket.scope();
    let whole = service.receive(body, scope, expected, &request).await?;
    let details = Details {
        etag: whole.sums.etag(),
        checksums: whole.sums.checksums.clone(),
        ..Details::default()
    };
    let mut output =
        UploadPartOutput { e_tag: Some(ETag::Strong(details.etag.clone())), ..Default::default() };
    set_checksums!(output, details.checksums);
    let put = move |objects: &larder::objects::Objects| {
        objects.put_part(&upload, number, whole.contents, details)
    };
    service.ask(put).await?;
    Ok(S3Response::new(output))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_have_numbers_to_ten_thousand() {
        assert_eq!(part_number(1).unwrap(), 1);
        assert_eq!(part_number(10_000).unwrap(), 10_000);
        for bad in [-1, 0, 10_001] {
            assert!(part_number(bad).is_err(), "{bad}");
        }
    }
}
