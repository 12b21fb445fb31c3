//! Buckets: which there are, and the calls about them.
//!
//! A bucket is a scope, and is there as soon as something is in it. So, unless the
//! server is told which ones there are, every name is a bucket.

use std::collections::BTreeSet;
use std::time::SystemTime;

use larder::objects::Bucket;
use s3s::dto::{
    Bucket as ListedBucket, CreateBucketInput, CreateBucketOutput, DeleteBucketInput,
    DeleteBucketOutput, GetBucketLocationInput, GetBucketLocationOutput, GetBucketVersioningInput,
    GetBucketVersioningOutput, HeadBucketInput, HeadBucketOutput, ListBucketsInput,
    ListBucketsOutput, Timestamp,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::list::owner;
use super::{Answer, Service};

/// Which buckets there are.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    /// Nothing: all that have valid names.
    given: BTreeSet<Bucket>,
}

impl Buckets {
    pub(super) fn new(given: Vec<Bucket>) -> Self {
        Self { given: given.into_iter().collect() }
    }

    /// The bucket of this name.
    pub(super) fn get(&self, name: &str) -> S3Result<Bucket> {
        let bucket = name.parse().map_err(|_| s3_error!(InvalidBucketName))?;
        if !self.given.is_empty() && !self.given.contains(&bucket) {
            return Err(s3_error!(NoSuchBucket, "The specified bucket does not exist."));
        }
        Ok(bucket)
    }

    /// Those to list, of those that have objects.
    fn listed(&self, with_objects: Vec<Bucket>) -> BTreeSet<Bucket> {
        match self.given.is_empty() {
            true => with_objects.into_iter().collect(),
            false => self.given.clone(),
        }
    }
}

pub(super) async fn head(
    service: &Service,
    request: S3Request<HeadBucketInput>,
) -> Answer<HeadBucketOutput> {
    service.bucket(&request.input.bucket)?;
    Ok(S3Response::new(HeadBucketOutput::default()))
}

pub(super) async fn list(
    service: &Service,
    request: S3Request<ListBucketsInput>,
) -> Answer<ListBucketsOutput> {
    let key = request.credentials.as_ref().map(|known| known.access_key.as_str());
    let rights = key.and_then(|key| service.keys.rights(key));
    let found = service.ask(larder::objects::Objects::buckets).await?;
    let prefix = request.input.prefix.clone().unwrap_or_default();
    let mine = service.buckets.listed(found).into_iter().filter(|bucket| {
        bucket.as_str().starts_with(&prefix)
            && rights.is_none_or(|rights| rights.sees(bucket.as_str()))
    });
    // Nothing tells when a bucket was first used; clients want some time.
    let listed = mine.map(|bucket| ListedBucket {
        name: Some(bucket.to_string()),
        creation_date: Some(Timestamp::from(SystemTime::UNIX_EPOCH)),
        ..ListedBucket::default()
    });
    Ok(S3Response::new(ListBucketsOutput {
        buckets: Some(listed.collect()),
        owner: Some(owner()),
        prefix: request.input.prefix,
        ..ListBucketsOutput::default()
    }))
}

/// There is nothing to make.
pub(super) async fn create(
    service: &Service,
    request: S3Request<CreateBucketInput>,
) -> Answer<CreateBucketOutput> {
    let bucket = service.bucket(&request.input.bucket).map_err(|error| match error.code() {
        s3s::S3ErrorCode::NoSuchBucket => {
            s3_error!(AccessDenied, "this server has the buckets of --bucket, and no others")
        }
        _ => error,
    })?;
    Ok(S3Response::new(CreateBucketOutput { location: Some(format!("/{bucket}")) }))
}

pub(super) async fn delete(
    service: &Service,
    request: S3Request<DeleteBucketInput>,
) -> Answer<DeleteBucketOutput> {
    let bucket = service.bucket(&request.input.bucket)?;
    let is_empty = service.ask(move |objects| Ok(objects.list(&bucket, "")?.is_empty())).await?;
    if !is_empty {
        return Err(s3_error!(BucketNotEmpty, "The bucket you tried to delete is not empty"));
    }
    Ok(S3Response::new(DeleteBucketOutput {}))
}

/// No region in particular.
pub(super) async fn location(
    service: &Service,
    request: S3Request<GetBucketLocationInput>,
) -> Answer<GetBucketLocationOutput> {
    service.bucket(&request.input.bucket)?;
    Ok(S3Response::new(GetBucketLocationOutput::default()))
}

/// Never enabled.
pub(super) async fn versioning(
    service: &Service,
    request: S3Request<GetBucketVersioningInput>,
) -> Answer<GetBucketVersioningOutput> {
    service.bucket(&request.input.bucket)?;
    Ok(S3Response::new(GetBucketVersioningOutput::default()))
}

#[cfg(test)]
mod tests {
    use s3s::S3ErrorCode;

    use super::*;

    #[test]
    fn every_name_is_a_bucket_unless_some_are_given() {
        let bucket = |name: &str| name.parse::<Bucket>().unwrap();
        let all = Buckets::new(vec![]);
        assert_eq!(all.get("any").unwrap(), bucket("any"));
        assert_eq!(all.get("A").unwrap_err().code(), &S3ErrorCode::InvalidBucketName);
        assert_eq!(all.listed(vec![bucket("used")]), [bucket("used")].into());
        let given = Buckets::new(vec![bucket("one")]);
        assert_eq!(given.get("one").unwrap(), bucket("one"));
        assert_eq!(given.get("any").unwrap_err().code(), &S3ErrorCode::NoSuchBucket);
        assert_eq!(given.listed(vec![bucket("used")]), [bucket("one")].into());
    }
}
