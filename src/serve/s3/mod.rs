//! The S3 calls, by the `s3s` crate: it knows the protocol, this what it means.
//!
//! One file a kind of call; [`S3`] is implemented here as a table of them. What is not in
//! the table is answered as `NotImplemented` by s3s.

mod access;
mod buckets;
mod checksums;
mod conditions;
mod copy;
mod delete;
mod details;
mod failure;
mod get;
mod list;
mod listing;
mod multipart;
mod pages;
mod put;
mod receive;

use std::sync::Arc;

use http::{Extensions, StatusCode};
use larder::objects::{Bucket, ObjectError, ObjectName, Objects};
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::dto::*;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Request, S3Response, S3Result};

use super::Keys;
use super::exchange::Exchange;
use super::transfers::Transfers;
use access::Access;
use buckets::Buckets;

/// The status of what a client is told of an error.
pub(super) fn status_of(error: &ObjectError) -> StatusCode {
    let told = failure::of(error);
    let status = told.status_code().or_else(|| told.code().status_code());
    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

/// The longest body that is XML: what completes an upload of ten thousand parts.
const MAX_XML_LEN: usize = 4 << 20;

type Answer<T> = S3Result<S3Response<T>>;

/// What the calls work with.
#[derive(Clone)]
pub(super) struct Service {
    transfers: Transfers,
    buckets: Buckets,
    keys: Arc<Keys>,
}

/// The calls as a service.
pub(super) fn service(buckets: Vec<Bucket>, keys: Arc<Keys>, transfers: Transfers) -> S3Service {
    let buckets = Buckets::new(buckets);
    let service = Service { transfers, buckets, keys: Arc::clone(&keys) };
    let mut builder = S3ServiceBuilder::new(service);
    let mut config = S3Config::default();
    config.xml_max_body_size = MAX_XML_LEN;
    // Uploads by forms are refused before; what was taken for one must not fill the memory.
    config.post_object_max_file_size = 0;
    builder.set_config(Arc::new(StaticConfigProvider::new(Arc::new(config))));
    if !keys.is_empty() {
        builder.set_auth(Access(Arc::clone(&keys)));
        builder.set_access(Access(keys));
    }
    builder.build()
}

impl Service {
    /// Asks the objects for something, which may take its time.
    async fn ask<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Objects) -> Result<T, ObjectError> + Send + 'static,
    ) -> S3Result<T> {
        self.transfers.ask(work).await.map_err(|error| failure::of(&error))
    }

    /// The name of an object.
    fn name(&self, bucket: &str, key: &str) -> S3Result<ObjectName> {
        let bucket = self.bucket(bucket)?;
        failure::check_key(key)?;
        ObjectName::new(&bucket, key).map_err(|error| failure::invalid_key(&error))
    }

    /// A bucket that there is.
    fn bucket(&self, name: &str) -> S3Result<Bucket> {
        self.buckets.get(name)
    }

    fn begin(extensions: &Extensions, operation: &'static str) {
        if let Some(exchange) = extensions.get::<Arc<Exchange>>() {
            exchange.is_for(operation);
        }
    }
}

/// Implements [`S3`] by functions of the modules here.
macro_rules! calls {
    ($($method:ident $operation:literal ($input:ident) -> $output:ident = $call:path;)*) => {
        #[async_trait::async_trait]
        impl S3 for Service {
            $(
                async fn $method(&self, request: S3Request<$input>) -> Answer<$output> {
                    Self::begin(&request.extensions, $operation);
                    $call(self, request).await
                }
            )*
        }
    };
}

calls! {
    get_object "GetObject" (GetObjectInput) -> GetObjectOutput = get::get_object;
    head_object "HeadObject" (HeadObjectInput) -> HeadObjectOutput = get::head_object;
    put_object "PutObject" (PutObjectInput) -> PutObjectOutput = put::put_object;
    copy_object "CopyObject" (CopyObjectInput) -> CopyObjectOutput = copy::copy_object;
    delete_object "DeleteObject" (DeleteObjectInput) -> DeleteObjectOutput = delete::delete_object;
    delete_objects "DeleteObjects" (DeleteObjectsInput) -> DeleteObjectsOutput
        = delete::delete_objects;
    create_multipart_upload "CreateMultipartUpload" (CreateMultipartUploadInput)
        -> CreateMultipartUploadOutput = multipart::create;
    upload_part "UploadPart" (UploadPartInput) -> UploadPartOutput = put::upload_part;
    upload_part_copy "UploadPartCopy" (UploadPartCopyInput) -> UploadPartCopyOutput
        = copy::upload_part_copy;
    complete_multipart_upload "CompleteMultipartUpload" (CompleteMultipartUploadInput)
        -> CompleteMultipartUploadOutput = multipart::complete;
    abort_multipart_upload "AbortMultipartUpload" (AbortMultipartUploadInput)
        -> AbortMultipartUploadOutput = multipart::abort;
    list_parts "ListParts" (ListPartsInput) -> ListPartsOutput = listing::list_parts;
    list_multipart_uploads "ListMultipartUploads" (ListMultipartUploadsInput)
        -> ListMultipartUploadsOutput = listing::list_uploads;
    list_objects "ListObjects" (ListObjectsInput) -> ListObjectsOutput = list::version_one;
    list_objects_v2 "ListObjectsV2" (ListObjectsV2Input) -> ListObjectsV2Output = list::version_two;
    head_bucket "HeadBucket" (HeadBucketInput) -> HeadBucketOutput = buckets::head;
    list_buckets "ListBuckets" (ListBucketsInput) -> ListBucketsOutput = buckets::list;
    create_bucket "CreateBucket" (CreateBucketInput) -> CreateBucketOutput = buckets::create;
    delete_bucket "DeleteBucket" (DeleteBucketInput) -> DeleteBucketOutput = buckets::delete;
    get_bucket_location "GetBucketLocation" (GetBucketLocationInput) -> GetBucketLocationOutput
        = buckets::location;
    get_bucket_versioning "GetBucketVersioning" (GetBucketVersioningInput)
        -> GetBucketVersioningOutput = buckets::versioning;
}
