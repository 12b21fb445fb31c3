//! Uploads in parts: beginning, completing and aborting them. Their parts come in by
//! `put` and `copy`.

use std::collections::BTreeMap;

use larder::objects::{Details, ObjectError, Part, Upload};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumType,
    CompleteMultipartUploadInput, CompleteMultipartUploadOutput, CompletedPart,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, ETag,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::checksums::{Algorithm, Checksums, Type, compare, etag_of_parts, of_parts};
use super::details::{headers_of, refuse_unsupported};
use super::put::{checksum_type, checksums_of, part_number, set_checksums, upload_id};
use super::{Answer, Service, conditions};

/// The fewest bytes of a part that is not the last.
const MIN_PART_LEN: u64 = 5 << 20;

impl Service {
    /// An upload under way.
    ///
    /// # Errors
    /// `NoSuchUpload` if there is none of this id, or it is of another object.
    pub(super) async fn upload(&self, bucket: &str, key: &str, id: &str) -> S3Result<Upload> {
        let bucket = self.bucket(bucket)?;
        let id = upload_id(id)?;
        let upload = self.ask(move |objects| objects.upload(&bucket, id)).await?;
        if upload.key.as_str() != key {
            return Err(self.failed(&ObjectError::NoSuchUpload));
        }
        Ok(upload)
    }
}

/// The checksums that an upload's parts have, and what becomes of them. In the details of
/// the upload, the type stands where an object has the checksum.
pub(super) fn checksums_of_upload(details: &Details) -> Option<(Algorithm, Type)> {
    let (algorithm, kind) = details.checksums.iter().next()?;
    Some((Algorithm::of_name(algorithm)?, Type::of_name(kind)?))
}

/// The same, as a client asks for it.
fn asked_checksums(
    algorithm: Option<&ChecksumAlgorithm>,
    kind: Option<&ChecksumType>,
) -> S3Result<Option<(Algorithm, Type)>> {
    let invalid = || s3_error!(InvalidRequest, "The checksum algorithm or type is not valid.");
    let Some(algorithm) = algorithm else {
        return match kind {
            None => Ok(None),
            Some(_) => Err(invalid()),
        };
    };
    let algorithm = Algorithm::of_name(algorithm.as_str()).ok_or_else(invalid)?;
    let kind = match kind {
        None => Type::default_of(algorithm),
        Some(kind) => Type::of_name(kind.as_str()).ok_or_else(invalid)?,
    };
    if !kind.suits(algorithm) {
        return Err(s3_error!(
            InvalidRequest,
            "The {} checksum type cannot be used with the {} checksum algorithm.",
            kind.name(),
            algorithm.name()
        ));
    }
    Ok(Some((algorithm, kind)))
}

pub(super) async fn create(
    service: &Service,
    request: S3Request<CreateMultipartUploadInput>,
) -> Answer<CreateMultipartUploadOutput> {
    let input = request.input;
    let name = service.name(&input.bucket, &input.key)?;
    let bucket = service.bucket(&input.bucket)?;
    refuse_unsupported!(input)?;
    let mut details = headers_of!(input).to_details(input.metadata.clone());
    let asked = asked_checksums(input.checksum_algorithm.as_ref(), input.checksum_type.as_ref())?;
    details.checksums =
        asked.iter().map(|(one, kind)| (one.name().to_owned(), kind.name().to_owned())).collect();
    let id = service.ask(move |objects| objects.begin_upload(&bucket, &name.key, details)).await?;
    Ok(S3Response::new(CreateMultipartUploadOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(id.to_string()),
        checksum_algorithm: input.checksum_algorithm,
        checksum_type: asked.map(|(_, kind)| ChecksumType::from_static(kind.name())),
        ..CreateMultipartUploadOutput::default()
    }))
}

pub(super) async fn abort(
    service: &Service,
    request: S3Request<AbortMultipartUploadInput>,
) -> Answer<AbortMultipartUploadOutput> {
    let S3Request { input, .. } = request;
    let upload = service.upload(&input.bucket, &input.key, &input.upload_id).await?;
    service.ask(move |objects| objects.abort(&upload)).await?;
    Ok(S3Response::new(AbortMultipartUploadOutput::default()))
}

/// A part as the client names it.
#[derive(Clone, Debug)]
struct Named {
    number: u32,
    etag: String,
    checksums: Checksums,
}

fn named(parts: Vec<CompletedPart>) -> S3Result<Vec<Named>> {
    let mut all: Vec<Named> = Vec::with_capacity(parts.len());
    for part in parts {
        let given = checksums_of!(part).into_iter();
        let given = given.filter_map(|(one, value)| Some((one.name().to_owned(), value?)));
        let number = part_number(part.part_number.unwrap_or(0))?;
        if all.last().is_some_and(|last| last.number >= number) {
            return Err(s3_error!(
                InvalidPartOrder,
                "The list of parts was not in ascending order. Parts must be ordered by part \
                 number."
            ));
        }
        let etag = part.e_tag.map(ETag::into_value).unwrap_or_default();
        all.push(Named { number, etag, checksums: given.collect() });
    }
    if all.is_empty() {
        return Err(s3_error!(MalformedXML, "You must specify at least one part"));
    }
    Ok(all)
}

/// The parts of the upload that are named, in order.
fn chosen(named: &[Named], stored: Vec<Part>) -> S3Result<Vec<Part>> {
    let mut stored: BTreeMap<u32, Part> =
        stored.into_iter().map(|part| (part.number, part)).collect();
    let mut chosen = Vec::with_capacity(named.len());
    for (index, one) in named.iter().enumerate() {
        let part = stored.remove(&one.number).filter(|part| part.details.etag == one.etag);
        let Some(part) = part else {
            return Err(s3_error!(
                InvalidPart,
                "Part {} was not uploaded, or has another entity tag.",
                one.number
            ));
        };
        if one
            .checksums
            .iter()
            .any(|(name, sum)| part.details.checksums.get(name).is_some_and(|stored| stored != sum))
        {
            return Err(s3_error!(InvalidPart, "Part {} has another checksum.", one.number));
        }
        if part.len < MIN_PART_LEN && index + 1 < named.len() {
            return Err(s3_error!(
                EntityTooSmall,
                "Part {} has {} bytes, and only the last may have fewer than {MIN_PART_LEN}.",
                one.number,
                part.len
            ));
        }
        chosen.push(part);
    }
    Ok(chosen)
}

/// What is kept of the object that the parts become.
fn details_of(upload: &Upload, parts: &[Part]) -> S3Result<Details> {
    let etags = parts.iter().map(|part| part.details.etag.as_str());
    let etag = etag_of_parts(etags).ok_or_else(|| s3_error!(InvalidPart))?;
    let mut details = Details { etag, ..upload.details.clone() };
    details.checksums.clear();
    if let Some((algorithm, kind)) = checksums_of_upload(&upload.details) {
        let each = parts.iter().map(|part| {
            (part.len, part.details.checksums.get(algorithm.name()).map(String::as_str))
        });
        // Of a range that was copied there is none: then the whole has none.
        let sum = of_parts(algorithm, kind, each);
        details.checksums = sum.map(|sum| (algorithm.name().to_owned(), sum)).into_iter().collect();
    }
    parts.iter().for_each(|part| details.push_part(part.len));
    Ok(details)
}

pub(super) async fn complete(
    service: &Service,
    request: S3Request<CompleteMultipartUploadInput>,
) -> Answer<CompleteMultipartUploadOutput> {
    let input = request.input;
    let condition = conditions::of_put(input.if_match.as_ref(), input.if_none_match.as_ref())?;
    let declared: Checksums = checksums_of!(input)
        .into_iter()
        .filter_map(|(one, value)| Some((one.name().to_owned(), value?)))
        .collect();
    let parts = input.multipart_upload.and_then(|list| list.parts).unwrap_or_default();
    let named = named(parts)?;
    let upload = match service.upload(&input.bucket, &input.key, &input.upload_id).await {
        Ok(upload) => upload,
        Err(error) => {
            // A client that did not get its answer asks again.
            let done = completed(service, &input.bucket, &input.key, &named).await;
            return done
                .map_or(Err(error), |details| Ok(output(&input.bucket, &input.key, &details)));
        }
    };
    let of = upload.clone();
    let stored = service.ask(move |objects| objects.parts(&of)).await?;
    let chosen = chosen(&named, stored)?;
    let len: u64 = chosen.iter().map(|part| part.len).sum();
    if input.mpu_object_size.is_some_and(|told| u64::try_from(told).ok() != Some(len)) {
        return Err(s3_error!(
            InvalidRequest,
            "The provided 'x-amz-mp-object-size' header does not match what was computed."
        ));
    }
    let details = details_of(&upload, &chosen)?;
    compare(&declared, &details.checksums)?;
    let answer = output(&input.bucket, &input.key, &details);
    let numbers: Vec<u32> = chosen.iter().map(|part| part.number).collect();
    service.ask(move |objects| objects.complete(&upload, &numbers, details, &condition)).await?;
    Ok(answer)
}

/// What is kept of an object that an upload of these parts has become already.
async fn completed(service: &Service, bucket: &str, key: &str, parts: &[Named]) -> Option<Details> {
    let etag = etag_of_parts(parts.iter().map(|part| part.etag.as_str()))?;
    let name = service.name(bucket, key).ok()?;
    let found = service.ask(move |objects| objects.find(&name)).await.ok()?;
    (found.info.details.etag == etag).then(|| found.info.details.clone())
}

fn output(bucket: &str, key: &str, details: &Details) -> S3Response<CompleteMultipartUploadOutput> {
    let mut output = CompleteMultipartUploadOutput {
        bucket: Some(bucket.to_owned()),
        key: Some(key.to_owned()),
        location: Some(format!("/{bucket}/{key}")),
        e_tag: Some(ETag::Strong(details.etag.clone())),
        checksum_type: checksum_type(&details.checksums),
        ..CompleteMultipartUploadOutput::default()
    };
    set_checksums!(output, details.checksums);
    S3Response::new(output)
}

#[cfg(test)]
mod tests {
    use larder::store_time::StoreTime;
    use s3s::S3ErrorCode;

    use super::*;

    fn part(number: u32, len: u64, etag: &str) -> Part {
        let details = Details { etag: etag.to_owned(), ..Details::default() };
        Part { number, len, modified: StoreTime::from_unix(0), details }
    }

    fn want(number: i32, etag: &str) -> CompletedPart {
        CompletedPart {
            part_number: Some(number),
            e_tag: Some(ETag::Strong(etag.to_owned())),
            ..CompletedPart::default()
        }
    }

    #[test]
    fn only_the_last_part_may_be_short() {
        let stored = || vec![part(1, MIN_PART_LEN, "a"), part(2, 1, "b"), part(5, 1, "c")];
        let check = |wanted: Vec<CompletedPart>| {
            let parts = named(wanted).and_then(|named| chosen(&named, stored()));
            parts.map(|parts| parts.len()).map_err(|error| error.code().clone())
        };
        assert_eq!(check(vec![want(1, "a"), want(5, "c")]), Ok(2));
        assert_eq!(check(vec![want(2, "b")]), Ok(1));
        let too_small = check(vec![want(1, "a"), want(2, "b"), want(5, "c")]);
        assert_eq!(too_small, Err(S3ErrorCode::EntityTooSmall));
        assert_eq!(check(vec![want(1, "x")]), Err(S3ErrorCode::InvalidPart));
        assert_eq!(check(vec![want(3, "a")]), Err(S3ErrorCode::InvalidPart));
        let unordered = check(vec![want(2, "b"), want(1, "a")]);
        assert_eq!(unordered, Err(S3ErrorCode::InvalidPartOrder));
        assert_eq!(check(vec![want(1, "a"), want(1, "a")]), Err(S3ErrorCode::InvalidPartOrder));
        assert_eq!(check(vec![]), Err(S3ErrorCode::MalformedXML));
        assert_eq!(check(vec![want(0, "a")]), Err(S3ErrorCode::InvalidArgument));
    }

    #[test]
    fn checksums_are_of_a_type_that_suits_them() {
        let check = |algorithm: Option<&'static str>, kind: Option<&'static str>| {
            let algorithm = algorithm.map(ChecksumAlgorithm::from_static);
            let kind = kind.map(ChecksumType::from_static);
            asked_checksums(algorithm.as_ref(), kind.as_ref())
                .ok()
                .map(|asked| asked.map(|(algorithm, kind)| (algorithm.name(), kind.name())))
        };
        assert_eq!(check(None, None), Some(None));
        assert_eq!(check(Some("CRC32"), None), Some(Some(("crc32", "COMPOSITE"))));
        assert_eq!(check(Some("CRC64NVME"), None), Some(Some(("crc64nvme", "FULL_OBJECT"))));
        let full = check(Some("CRC32C"), Some("FULL_OBJECT"));
        assert_eq!(full, Some(Some(("crc32c", "FULL_OBJECT"))));
        assert_eq!(check(Some("SHA256"), Some("FULL_OBJECT")), None);
        assert_eq!(check(Some("CRC64NVME"), Some("COMPOSITE")), None);
        assert_eq!(check(Some("MD4"), None), None);
        assert_eq!(check(None, Some("COMPOSITE")), None);
    }
}
