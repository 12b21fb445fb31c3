//! Reading objects, and what is known of them.

use std::ops::Range;

use http::{HeaderMap, HeaderValue, StatusCode};
use larder::objects::{Found, Info};
use s3s::dto::{
    ChecksumMode, ETag, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput,
    Range as Wanted, Timestamp,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::checksums::{Algorithm, Checksums};
use super::conditions::Conditions;
use super::details::{Headers, metadata, refuse};
use super::failure::custom;
use super::put::{checksum_type, set_checksums};
use super::{Answer, Service};

/// What of an object a client gets.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Part {
    range: Range<u64>,
    /// How the range lies in the whole, if it was asked for.
    content_range: Option<String>,
    parts_count: Option<i32>,
}

/// What two calls have in common.
struct Asked<'a> {
    bucket: &'a str,
    key: &'a str,
    version: Option<&'a str>,
    conditions: Conditions,
    range: Option<Wanted>,
    part_number: Option<i32>,
    with_checksums: bool,
    headers: &'a HeaderMap,
}

macro_rules! asked {
    ($request:expr) => {{
        let input = &$request.input;
        refuse([(
            "x-amz-server-side-encryption-customer-algorithm",
            input.sse_customer_algorithm.is_some(),
        )])?;
        Asked {
            bucket: &input.bucket,
            key: &input.key,
            version: input.version_id.as_deref(),
            conditions: Conditions {
                matches: input.if_match.clone(),
                matches_none: input.if_none_match.clone(),
                modified_since: input.if_modified_since.clone(),
                unmodified_since: input.if_unmodified_since.clone(),
            },
            range: input.range,
            part_number: input.part_number,
            with_checksums: wants_checksums(input.checksum_mode.as_ref()),
            headers: &$request.headers,
        }
    }};
}

/// Sets what both outputs tell of an object.
macro_rules! describe {
    ($output:expr, $info:expr, $part:expr, $checksums:expr) => {{
        let headers = Headers::of(&$info.details);
        $output.accept_ranges = Some("bytes".to_owned());
        $output.cache_control = headers.cache_control;
        $output.content_disposition = headers.content_disposition;
        $output.content_encoding = headers.content_encoding;
        $output.content_language = headers.content_language;
        $output.content_type = headers.content_type;
        $output.expires = headers.expires;
        $output.content_length = i64::try_from($part.range.end - $part.range.start).ok();
        $output.content_range = $part.content_range;
        $output.e_tag = Some(ETag::Strong($info.details.etag.clone()));
        $output.last_modified = Some(Timestamp::from($info.modified.to_system()));
        $output.metadata = metadata(&$info.details);
        $output.parts_count = $part.parts_count;
        $output.checksum_type = checksum_type(&$checksums);
        set_checksums!($output, $checksums);
    }};
}

fn wants_checksums(mode: Option<&ChecksumMode>) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED)
}

impl Asked<'_> {
    /// The object, if it is there, and is what the client takes it for; and what of it is
    /// asked for.
    async fn find(&self, service: &Service) -> S3Result<(Found, Part, Checksums)> {
        let name = service.name(self.bucket, self.key)?;
        check_version(self.version)?;
        let found = service.ask(move |objects| objects.find(&name)).await?;
        self.conditions.check_read(&found.info)?;
        let part = self.part(&found.info)?;
        // They are of the whole: of less, they would be wrong.
        let is_whole = part.range == (0..found.info.len);
        let checksums = match self.with_checksums && is_whole {
            true => found.info.details.checksums.clone(),
            false => Checksums::new(),
        };
        Ok((found, part, checksums))
    }

    fn part(&self, info: &Info) -> S3Result<Part> {
        if let Some(number) = self.part_number {
            if self.range.is_some() {
                return Err(s3_error!(
                    InvalidRequest,
                    "Cannot specify both Range header and partNumber query parameter"
                ));
            }
            return numbered(info, number);
        }
        let range = self.range.filter(|_| self.is_still(info));
        ranged(info.len, range.as_ref())
    }

    /// Whether a range is wanted of this object, or else the whole of another: `If-Range`.
    fn is_still(&self, info: &Info) -> bool {
        let Some(wanted) = self.headers.get(http::header::IF_RANGE) else { return true };
        wanted.to_str().is_ok_and(|etag| etag.trim_matches('"') == info.details.etag)
    }
}

/// Objects have one version, which S3 calls `null`.
pub(super) fn check_version(version: Option<&str>) -> S3Result<()> {
    match version {
        None | Some("null" | "") => Ok(()),
        Some(_) => Err(s3_error!(NoSuchVersion, "The specified version does not exist.")),
    }
}

fn content_range(range: &Range<u64>, len: u64) -> String {
    format!("bytes {}-{}/{len}", range.start, range.end - 1)
}

fn ranged(len: u64, wanted: Option<&Wanted>) -> S3Result<Part> {
    let Some(wanted) = wanted else {
        return Ok(Part { range: 0..len, content_range: None, parts_count: None });
    };
    match wanted.check(len) {
        Ok(range) if !range.is_empty() => {
            let content_range = Some(content_range(&range, len));
            Ok(Part { range, content_range, parts_count: None })
        }
        _ => Err(not_satisfiable(len)),
    }
}

fn not_satisfiable(len: u64) -> S3Error {
    let mut error = s3_error!(InvalidRange, "The requested range is not satisfiable");
    if let Ok(value) = HeaderValue::try_from(format!("bytes */{len}")) {
        error.set_headers([(http::header::CONTENT_RANGE, value)].into_iter().collect());
    }
    error
}

/// A part as it was uploaded. What was put whole is its own first part.
fn numbered(info: &Info, number: i32) -> S3Result<Part> {
    let lens: Vec<u64> = info.details.part_lens().collect();
    let count = lens.len();
    let lens = if lens.is_empty() { vec![info.len] } else { lens };
    let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
    let Some(index) = index.filter(|index| *index < lens.len()) else {
        let why = "The requested partnumber is not satisfiable";
        return Err(custom("InvalidPartNumber", StatusCode::RANGE_NOT_SATISFIABLE, why));
    };
    let start: u64 = lens[..index].iter().sum();
    let range = start..start + lens[index];
    let content_range = (!range.is_empty()).then(|| content_range(&range, info.len));
    let parts_count = i32::try_from(count).ok().filter(|count| *count > 0);
    Ok(Part { range, content_range, parts_count })
}

pub(super) async fn get_object(
    service: &Service,
    request: S3Request<GetObjectInput>,
) -> Answer<GetObjectOutput> {
    let asked = asked!(request);
    let (found, part, checksums) = asked.find(service).await?;
    let mut output = GetObjectOutput::default();
    let range = part.range.clone();
    describe!(output, found.info, part, checksums);
    output.body = Some(service.transfers.send(found, range).await);
    Ok(S3Response::new(output))
}

pub(super) async fn head_object(
    service: &Service,
    request: S3Request<HeadObjectInput>,
) -> Answer<HeadObjectOutput> {
    let asked = asked!(request);
    let (found, part, checksums) = asked.find(service).await?;
    let mut output = HeadObjectOutput::default();
    describe!(output, found.info, part, checksums);
    override_headers(&mut output, &request.input);
    Ok(S3Response::new(output))
}

/// What a client wants to be told instead. Of a GET, s3s sees to it.
fn override_headers(output: &mut HeadObjectOutput, input: &HeadObjectInput) {
    let replace = |told: &mut Option<String>, wanted: &Option<String>| {
        if wanted.is_some() {
            told.clone_from(wanted);
        }
    };
    replace(&mut output.cache_control, &input.response_cache_control);
    replace(&mut output.content_disposition, &input.response_content_disposition);
    replace(&mut output.content_encoding, &input.response_content_encoding);
    replace(&mut output.content_language, &input.response_content_language);
    replace(&mut output.content_type, &input.response_content_type);
    if input.response_expires.is_some() {
        output.expires.clone_from(&input.response_expires);
    }
}

#[cfg(test)]
mod tests {
    use larder::objects::{Bucket, Details, ObjectName};
    use larder::store_time::StoreTime;
    use s3s::S3ErrorCode;

    use super::*;

    #[test]
    fn ranges_are_what_they_say() {
        let check = |len: u64, wanted: &str, expected: Result<(Range<u64>, &str), S3ErrorCode>| {
            let part = ranged(len, Some(&Wanted::parse(wanted).unwrap()));
            let found = part.map(|part| (part.range, part.content_range.unwrap()));
            let found = found.map_err(|error| error.code().clone());
            assert_eq!(found, expected.map(|(range, text)| (range, text.to_owned())), "{wanted}");
        };
        check(10, "bytes=0-0", Ok((0..1, "bytes 0-0/10")));
        check(10, "bytes=3-", Ok((3..10, "bytes 3-9/10")));
        check(10, "bytes=3-99", Ok((3..10, "bytes 3-9/10")));
        check(10, "bytes=-3", Ok((7..10, "bytes 7-9/10")));
        check(10, "bytes=-99", Ok((0..10, "bytes 0-9/10")));
        for (len, wanted) in [(10, "bytes=10-"), (10, "bytes=-0"), (0, "bytes=0-"), (0, "bytes=-1")]
        {
            check(len, wanted, Err(S3ErrorCode::InvalidRange));
        }
        assert_eq!(ranged(10, None).unwrap().range, 0..10);
        let error = not_satisfiable(10);
        assert_eq!(error.headers().unwrap()["content-range"], "bytes */10");
    }

    #[test]
    fn parts_are_found_by_their_numbers() {
        let bucket: Bucket = "abc".parse().unwrap();
        let mut info = Info {
            name: ObjectName::new(&bucket, "k").unwrap(),
            len: 19,
            modified: StoreTime::from_unix(0),
            details: Details::default(),
        };
        let whole = numbered(&info, 1).unwrap();
        assert_eq!((whole.range, whole.parts_count), (0..19, None));
        [8, 8, 3].into_iter().for_each(|len| info.details.push_part(len));
        let part = numbered(&info, 3).unwrap();
        assert_eq!((part.range, part.parts_count), (16..19, Some(3)));
        assert_eq!(part.content_range.as_deref(), Some("bytes 16-18/19"));
        for bad in [-1, 0, 4] {
            assert_eq!(numbered(&info, bad).unwrap_err().code().as_str(), "InvalidPartNumber");
        }
    }
}
