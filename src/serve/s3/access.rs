//! Whose requests are answered: signatures are checked by s3s, with the secrets of the
//! keys, and what each key may do here.

use std::sync::Arc;

use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::dto::{CopyObjectInput, CopySource, UploadPartCopyInput};
use s3s::{S3Request, S3Result, s3_error};

use super::super::keys::{Keys, Rights};

/// The keys of a server that has some.
pub(super) struct Access(pub(super) Arc<Keys>);

#[async_trait::async_trait]
impl S3Auth for Access {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let secret = self.0.secret(access_key);
        secret.map(SecretKey::from).ok_or_else(|| s3_error!(InvalidAccessKeyId))
    }
}

/// Whether a call changes something.
fn writes(operation: &str) -> bool {
    !["Get", "Head", "List"].iter().any(|reads| operation.starts_with(reads))
}

impl Access {
    /// What the key may do that a request is signed with.
    fn rights(&self, access_key: Option<&str>) -> S3Result<&Rights> {
        let known = access_key.and_then(|key| self.0.rights(key));
        known.ok_or_else(|| s3_error!(AccessDenied, "the request is not signed"))
    }

    /// Whether the source of a copy may be read, too.
    fn check_source<T>(&self, request: &S3Request<T>, source: &CopySource) -> S3Result<()> {
        let key = request.credentials.as_ref().map(|known| known.access_key.as_str());
        let rights = self.rights(key)?;
        match source {
            CopySource::Bucket { bucket, .. } if rights.allow(bucket, false) => Ok(()),
            _ => Err(s3_error!(AccessDenied, "the key is not for the source of the copy")),
        }
    }
}

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let key = context.credentials().map(|known| known.access_key.as_str());
        let rights = self.rights(key)?;
        let writes = writes(context.s3_op().name());
        if writes && rights.is_read_only() {
            return Err(s3_error!(AccessDenied, "the key is only for reading"));
        }
        match context.s3_path().get_bucket_name() {
            Some(bucket) if !rights.allow(bucket, writes) => {
                Err(s3_error!(AccessDenied, "the key is not for this bucket"))
            }
            _ => Ok(()),
        }
    }

    async fn copy_object(&self, request: &mut S3Request<CopyObjectInput>) -> S3Result<()> {
        self.check_source(request, &request.input.copy_source)
    }

    async fn upload_part_copy(&self, request: &mut S3Request<UploadPartCopyInput>) -> S3Result<()> {
        self.check_source(request, &request.input.copy_source)
    }
}

#[cfg(test)]
mod tests {
    use super::writes;

    #[test]
    fn what_only_reads_is_known() {
        for operation in ["GetObject", "HeadBucket", "ListObjectsV2"] {
            assert!(!writes(operation), "{operation}");
        }
        for operation in ["PutObject", "CopyObject", "DeleteObjects", "CreateMultipartUpload"] {
            assert!(writes(operation), "{operation}");
        }
    }
}
