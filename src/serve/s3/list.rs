//! Listings of objects, in both versions of the call.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use larder::objects::{Bucket, Listed};
use s3s::dto::{
    CommonPrefix, ETag, ListObjectsInput, ListObjectsOutput, ListObjectsV2Input,
    ListObjectsV2Output, Object, ObjectStorageClass, Owner, Timestamp,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::pages::{After, Entry, Query, Writing, limit, page, told};
use super::{Answer, Service};

/// Who owns everything: there is nobody else.
pub(super) fn owner() -> Owner {
    Owner { display_name: Some("larder".to_owned()), id: Some("larder".to_owned()) }
}

/// A page, as both versions tell it.
struct Told {
    contents: Vec<Object>,
    prefixes: Vec<CommonPrefix>,
    next: Option<String>,
}

/// What both versions ask for.
struct Asked {
    bucket: Bucket,
    prefix: String,
    delimiter: String,
    after: After,
    limit: usize,
    writing: Writing,
    with_owner: bool,
}

impl Asked {
    async fn list(self, service: &Service) -> S3Result<Told> {
        let Self { bucket, prefix, delimiter, after, limit, writing, with_owner } = self;
        let (of, goes_on) = (prefix.clone(), goes_on(&after));
        let all = service
            .ask(move |objects| match goes_on {
                true => objects.list_on(&bucket, &of),
                false => objects.list(&bucket, &of),
            })
            .await?;
        let query = Query { prefix: &prefix, delimiter: &delimiter, after, limit };
        let page = page(&all, |listed: &Listed| listed.key.as_str(), &query);
        let (mut prefixes, mut listed) = (vec![], vec![]);
        for entry in page.entries {
            match entry {
                Entry::Name(at) => listed.push(all[at].clone()),
                Entry::Prefix(prefix) => {
                    prefixes.push(CommonPrefix { prefix: Some(writing.write(prefix)) });
                }
            }
        }
        let contents = service.objects_of(listed, writing, with_owner).await?;
        Ok(Told { contents, prefixes, next: page.next })
    }
}

/// Whether a page is one of several.
fn goes_on(after: &After) -> bool {
    matches!(after, After::Entry(_))
}

impl Service {
    /// What is told of objects that are listed, less those that are gone meanwhile.
    async fn objects_of(
        &self,
        listed: Vec<Listed>,
        writing: Writing,
        with_owner: bool,
    ) -> S3Result<Vec<Object>> {
        if listed.is_empty() {
            return Ok(vec![]);
        }
        let infos = self.ask(move |objects| objects.infos(&listed)).await?;
        let objects = infos.into_iter().flatten().map(|info| Object {
            key: Some(writing.write(info.name.key.as_str())),
            e_tag: Some(ETag::Strong(info.details.etag)),
            size: i64::try_from(info.len).ok(),
            last_modified: Some(Timestamp::from(info.modified.to_system())),
            storage_class: Some(ObjectStorageClass::from_static(ObjectStorageClass::STANDARD)),
            owner: with_owner.then(owner),
            ..Object::default()
        });
        Ok(objects.collect())
    }
}

pub(super) async fn version_two(
    service: &Service,
    request: S3Request<ListObjectsV2Input>,
) -> Answer<ListObjectsV2Output> {
    let input = request.input;
    let writing = Writing::of(input.encoding_type.as_ref())?;
    let limit = limit(input.max_keys, "max-keys")?;
    let after = match (&input.continuation_token, &input.start_after) {
        (Some(token), _) => After::Entry(entry_of(token)?),
        (None, Some(name)) => After::Name(name.clone()),
        (None, None) => After::Nothing,
    };
    let asked = Asked {
        bucket: service.bucket(&input.bucket)?,
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone().unwrap_or_default(),
        after,
        limit,
        writing,
        with_owner: input.fetch_owner.unwrap_or(false),
    };
    let page = asked.list(service).await?;
    Ok(S3Response::new(ListObjectsV2Output {
        name: Some(input.bucket),
        prefix: Some(writing.write(input.prefix.unwrap_or_default())),
        delimiter: writing.write_opt(input.delimiter),
        start_after: writing.write_opt(input.start_after),
        continuation_token: input.continuation_token,
        max_keys: told(limit),
        key_count: told(page.contents.len() + page.prefixes.len()),
        is_truncated: Some(page.next.is_some()),
        next_continuation_token: page.next.map(token_of),
        contents: Some(page.contents),
        common_prefixes: Some(page.prefixes),
        encoding_type: input.encoding_type,
        request_charged: None,
    }))
}

pub(super) async fn version_one(
    service: &Service,
    request: S3Request<ListObjectsInput>,
) -> Answer<ListObjectsOutput> {
    let input = request.input;
    let writing = Writing::of(input.encoding_type.as_ref())?;
    let limit = limit(input.max_keys, "max-keys")?;
    let marker = input.marker.clone().filter(|marker| !marker.is_empty());
    let asked = Asked {
        bucket: service.bucket(&input.bucket)?,
        prefix: input.prefix.clone().unwrap_or_default(),
        delimiter: input.delimiter.clone().unwrap_or_default(),
        // What the page before told as its last: names and beginnings alike.
        after: marker.map_or(After::Nothing, After::Entry),
        limit,
        writing,
        with_owner: true,
    };
    let page = asked.list(service).await?;
    Ok(S3Response::new(ListObjectsOutput {
        name: Some(input.bucket),
        prefix: Some(writing.write(input.prefix.unwrap_or_default())),
        marker: Some(writing.write(input.marker.unwrap_or_default())),
        delimiter: writing.write_opt(input.delimiter),
        max_keys: told(limit),
        is_truncated: Some(page.next.is_some()),
        next_marker: writing.write_opt(page.next),
        contents: Some(page.contents),
        common_prefixes: Some(page.prefixes),
        encoding_type: input.encoding_type,
        request_charged: None,
    }))
}

/// The last entry of a page, as what clients hand back and do not read.
fn token_of(entry: String) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(entry)
}

fn entry_of(token: &str) -> S3Result<String> {
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).ok();
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .ok_or_else(|| s3_error!(InvalidArgument, "The continuation token provided is incorrect"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_come_back_as_entries() {
        assert_eq!(entry_of(&token_of("a/ü".to_owned())).unwrap(), "a/ü");
        assert!(entry_of("a token of another").is_err());
    }
}
