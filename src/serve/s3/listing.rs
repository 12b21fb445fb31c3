//! Listings of what is not complete: uploads, and the parts of one.

use std::collections::BTreeSet;

use larder::objects::Upload;
use s3s::dto::{
    ChecksumAlgorithm, ChecksumType, CommonPrefix, ETag, Initiator, ListMultipartUploadsInput,
    ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput, MultipartUpload, Part,
    StorageClass, Timestamp,
};
use s3s::{S3Request, S3Response};

use super::checksums::Algorithm;
use super::list::owner;
use super::multipart::checksums_of_upload;
use super::pages::{Writing, limit, told};
use super::put::set_checksums;
use super::{Answer, Service};

fn initiator() -> Initiator {
    let owner = owner();
    Initiator { display_name: owner.display_name, id: owner.id }
}

/// How an upload's checksums are told.
fn checksums(upload: &Upload) -> (Option<ChecksumAlgorithm>, Option<ChecksumType>) {
    match checksums_of_upload(&upload.details) {
        None => (None, None),
        Some((algorithm, kind)) => {
            let name = algorithm.name().to_ascii_uppercase();
            (Some(ChecksumAlgorithm::from(name)), Some(ChecksumType::from_static(kind.name())))
        }
    }
}

pub(super) async fn list_parts(
    service: &Service,
    request: S3Request<ListPartsInput>,
) -> Answer<ListPartsOutput> {
    let input = request.input;
    let limit = limit(input.max_parts, "max-parts")?;
    let upload = service.upload(&input.bucket, &input.key, &input.upload_id).await?;
    let (checksum_algorithm, checksum_type) = checksums(&upload);
    let stored = service.ask(move |objects| objects.parts(&upload)).await?;
    let after = u32::try_from(input.part_number_marker.unwrap_or(0)).unwrap_or(0);
    let mut rest = stored.into_iter().filter(|part| part.number > after);
    let parts: Vec<Part> = rest
        .by_ref()
        .take(limit)
        .map(|part| {
            let mut listed = Part {
                part_number: i32::try_from(part.number).ok(),
                size: i64::try_from(part.len).ok(),
                last_modified: Some(Timestamp::from(part.modified.to_system())),
                e_tag: Some(ETag::Strong(part.details.etag)),
                ..Part::default()
            };
            set_checksums!(listed, part.details.checksums);
            listed
        })
        .collect();
    let is_truncated = !parts.is_empty() && rest.next().is_some();
    Ok(S3Response::new(ListPartsOutput {
        bucket: Some(input.bucket),
        key: Some(input.key),
        upload_id: Some(input.upload_id),
        part_number_marker: Some(input.part_number_marker.unwrap_or(0)),
        next_part_number_marker: parts.last().and_then(|part| part.part_number),
        max_parts: told(limit),
        is_truncated: Some(is_truncated),
        parts: Some(parts),
        initiator: Some(initiator()),
        owner: Some(owner()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        checksum_algorithm,
        checksum_type,
        ..ListPartsOutput::default()
    }))
}

/// A page of uploads: in the order of their keys, and of one key the oldest first.
#[derive(Debug, Default, PartialEq, Eq)]
struct Page<T> {
    uploads: Vec<T>,
    prefixes: BTreeSet<String>,
    is_truncated: bool,
}

/// Where a page begins, and what is folded.
struct Query<'a> {
    prefix: &'a str,
    delimiter: &'a str,
    key_marker: &'a str,
    id_marker: &'a str,
    limit: usize,
}

fn page<T>(all: Vec<T>, name: impl Fn(&T) -> (String, String), query: &Query<'_>) -> Page<T> {
    let mut page = Page { uploads: vec![], prefixes: BTreeSet::new(), is_truncated: false };
    let mut named: Vec<((String, String), T)> =
        all.into_iter().map(|upload| (name(&upload), upload)).collect();
    named.sort_by(|a, b| a.0.cmp(&b.0));
    for ((key, id), upload) in named {
        if !key.starts_with(query.prefix) || !is_after(&key, &id, query) {
            continue;
        }
        let folded = folded(&key, query);
        if folded.as_ref().is_some_and(|prefix| page.prefixes.contains(prefix)) {
            continue;
        }
        if page.uploads.len() + page.prefixes.len() == query.limit {
            page.is_truncated = query.limit > 0;
            break;
        }
        match folded {
            Some(prefix) => drop(page.prefixes.insert(prefix)),
            None => page.uploads.push(upload),
        }
    }
    page
}

fn is_after(key: &str, id: &str, query: &Query<'_>) -> bool {
    if query.key_marker.is_empty() {
        return true;
    }
    // What was folded on the page before is over, as a whole.
    if folded(query.key_marker, query).as_deref() == Some(query.key_marker)
        && key.starts_with(query.key_marker)
    {
        return false;
    }
    key > query.key_marker
        || (key == query.key_marker && !query.id_marker.is_empty() && id > query.id_marker)
}

fn folded(key: &str, query: &Query<'_>) -> Option<String> {
    if query.delimiter.is_empty() {
        return None;
    }
    let rest = key.get(query.prefix.len()..)?;
    let end = query.prefix.len() + rest.find(query.delimiter)? + query.delimiter.len();
    Some(key[..end].to_owned())
}

pub(super) async fn list_uploads(
    service: &Service,
    request: S3Request<ListMultipartUploadsInput>,
) -> Answer<ListMultipartUploadsOutput> {
    let input = request.input;
    let writing = Writing::of(input.encoding_type.as_ref())?;
    let bucket = service.bucket(&input.bucket)?;
    let limit = limit(input.max_uploads, "max-uploads")?;
    let all = service.ask(move |objects| objects.uploads(&bucket)).await?;
    let query = Query {
        prefix: input.prefix.as_deref().unwrap_or_default(),
        delimiter: input.delimiter.as_deref().unwrap_or_default(),
        key_marker: input.key_marker.as_deref().unwrap_or_default(),
        id_marker: input.upload_id_marker.as_deref().unwrap_or_default(),
        limit,
    };
    let page = page(all, |upload| (upload.key.to_string(), upload.id.to_string()), &query);
    let last = page.uploads.last().map(|upload| (upload.key.to_string(), upload.id.to_string()));
    let last_prefix = page.prefixes.last().cloned();
    // Whichever of both comes last.
    let (next_key, next_id) = match (last, last_prefix) {
        (Some((key, id)), Some(prefix)) if key > prefix => (Some(key), Some(id)),
        (Some((key, id)), None) => (Some(key), Some(id)),
        (_, prefix) => (prefix, None),
    };
    let next_key = next_key.filter(|_| page.is_truncated);
    let prefixes = page.prefixes.iter();
    Ok(S3Response::new(ListMultipartUploadsOutput {
        bucket: Some(input.bucket),
        prefix: writing.write_opt(input.prefix),
        delimiter: writing.write_opt(input.delimiter),
        key_marker: Some(writing.write(input.key_marker.unwrap_or_default())),
        upload_id_marker: input.upload_id_marker,
        next_key_marker: writing.write_opt(next_key),
        next_upload_id_marker: next_id.filter(|_| page.is_truncated),
        max_uploads: told(limit),
        is_truncated: Some(page.is_truncated),
        common_prefixes: Some(
            prefixes.map(|prefix| CommonPrefix { prefix: Some(writing.write(prefix)) }).collect(),
        ),
        uploads: Some(page.uploads.iter().map(|upload| listed(upload, writing)).collect()),
        encoding_type: input.encoding_type,
        request_charged: None,
    }))
}

fn listed(upload: &Upload, writing: Writing) -> MultipartUpload {
    let (checksum_algorithm, checksum_type) = checksums(upload);
    MultipartUpload {
        key: Some(writing.write(upload.key.as_str())),
        upload_id: Some(upload.id.to_string()),
        initiated: Some(Timestamp::from(upload.started.to_system())),
        initiator: Some(initiator()),
        owner: Some(owner()),
        storage_class: Some(StorageClass::from_static(StorageClass::STANDARD)),
        checksum_algorithm,
        checksum_type,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_of_one_key_stay_in_order_across_pages() {
        let all = || vec![("b", "2"), ("a/1", "5"), ("b", "1"), ("a/2", "4"), ("c", "3")];
        let list = |key_marker: &str, id_marker: &str, limit| {
            let query = Query { prefix: "", delimiter: "/", key_marker, id_marker, limit };
            let name = |upload: &(&str, &str)| (upload.0.to_owned(), upload.1.to_owned());
            let page = page(all(), name, &query);
            (page.prefixes.into_iter().collect::<Vec<_>>(), page.uploads, page.is_truncated)
        };
        let prefix = || vec!["a/".to_owned()];
        assert_eq!(list("", "", 9), (prefix(), vec![("b", "1"), ("b", "2"), ("c", "3")], false));
        assert_eq!(list("", "", 2), (prefix(), vec![("b", "1")], true));
        assert_eq!(list("b", "1", 1), (vec![], vec![("b", "2")], true));
        assert_eq!(list("b", "2", 9), (vec![], vec![("c", "3")], false));
        assert_eq!(list("b", "", 9), (vec![], vec![("c", "3")], false));
        assert_eq!(list("a/", "", 1), (vec![], vec![("b", "1")], true));
        assert_eq!(list("", "", 0), (vec![], vec![], false));
    }
}
