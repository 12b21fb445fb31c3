//! BuildKit's S3 client: what it asks, and how.

use std::ops::Range;
use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{
    BehaviorVersion, Builder, Credentials, Region, RequestChecksumCalculation,
};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, MetadataDirective};
use bytes::Bytes;
use tokio::sync::Semaphore;

use crate::endpoint::Endpoint;
use crate::layers::Layer;

/// From this length on, bytes are uploaded in parts.
const IN_PARTS_FROM: u64 = 16 << 20;
/// The length of a part.
const PART: u64 = 8 << 20;
/// Parts of one layer that are sent at once.
const PARTS_AT_ONCE: usize = 5;

/// BuildKit's client.
#[derive(Clone, Debug)]
pub(crate) struct BuildKit {
    client: Client,
    bucket: String,
}

impl BuildKit {
    pub(crate) fn new(endpoint: &Endpoint) -> Self {
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .region(Region::new("us-east-1"))
            .endpoint_url(&endpoint.url)
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .credentials_provider(Credentials::new(
                &endpoint.access_key,
                &endpoint.secret_key,
                None,
                None,
                "test",
            ))
            .build();
        Self { client: Client::from_conf(config), bucket: endpoint.bucket.clone() }
    }

    /// A manifest, if it is there.
    pub(crate) async fn manifest(&self, name: &str) -> Option<Bytes> {
        let key = format!("manifests/{name}");
        match self.client.get_object().bucket(&self.bucket).key(key).send().await {
            Ok(found) => Some(found.body.collect().await.unwrap().into_bytes()),
            Err(error) => {
                assert!(error.into_service_error().is_no_such_key(), "a typed error is needed");
                None
            }
        }
    }

    /// The length of a blob, if it is there.
    pub(crate) async fn exists(&self, key: &str) -> Option<u64> {
        match self.client.head_object().bucket(&self.bucket).key(key).send().await {
            Ok(found) => {
                assert!(found.last_modified().is_some(), "ages go by Last-Modified");
                Some(found.content_length().unwrap().cast_unsigned())
            }
            Err(error) => {
                assert!(error.into_service_error().is_not_found(), "a typed error is needed");
                None
            }
        }
    }

    /// Counts as a use of a blob.
    pub(crate) async fn touch(&self, key: &str) {
        let request = self.client.copy_object().bucket(&self.bucket).key(key);
        let request = request
            .copy_source(format!("{}/{key}", self.bucket))
            .metadata("updated-at", "2026-11-22 06:00:00 +0000 UTC")
            .metadata_directive(MetadataDirective::Replace);
        request.send().await.unwrap();
    }

    /// The same of a blob that is longer than one copy may be, with copies of this length.
    pub(crate) async fn touch_in_parts(&self, key: &str, len: u64, part: u64) {
        let id = self.begin(key).await;
        let mut parts = vec![];
        for (number, start) in (1..).zip((0..len).step_by(part as usize)) {
            let end = (start + part).min(len) - 1;
            let request = self.client.upload_part_copy().bucket(&self.bucket).key(key);
            let request = request
                .copy_source(format!("{}/{key}", self.bucket))
                .copy_source_range(format!("bytes={start}-{end}"))
                .part_number(number)
                .upload_id(&id);
            let copied = request.send().await.unwrap();
            let tag = copied.copy_part_result().unwrap().e_tag().unwrap().to_owned();
            parts.push(CompletedPart::builder().part_number(number).e_tag(tag).build());
        }
        self.complete(key, &id, parts).await;
    }

    pub(crate) async fn put(&self, key: &str, bytes: Bytes) {
        let request = self.client.put_object().bucket(&self.bucket).key(key);
        request.body(bytes.into()).send().await.unwrap();
    }

    /// Uploads a layer, as the transfer manager of the SDK for Go does.
    pub(crate) async fn upload(&self, layer: &Layer) {
        let key = layer.key();
        if layer.len() < IN_PARTS_FROM {
            return self.put(&key, layer.read(0..layer.len())).await;
        }
        let id = self.begin(&key).await;
        let at_once = Arc::new(Semaphore::new(PARTS_AT_ONCE));
        let mut sent = vec![];
        for (number, start) in (1..).zip((0..layer.len()).step_by(PART as usize)) {
            // Before it is made: no more of them are in memory.
            let permit = Arc::clone(&at_once).acquire_owned().await.unwrap();
            let (client, layer, key, id) = (self.clone(), layer.clone(), key.clone(), id.clone());
            sent.push(tokio::spawn(async move {
                let _held = permit;
                let body = layer.read(start..(start + PART).min(layer.len()));
                let request = client.client.upload_part().bucket(&client.bucket).key(key);
                let request = request.upload_id(id).part_number(number).body(body.into());
                let tag = request.send().await.unwrap().e_tag().unwrap().to_owned();
                CompletedPart::builder().part_number(number).e_tag(tag).build()
            }));
        }
        let mut parts = vec![];
        for part in sent {
            parts.push(part.await.unwrap());
        }
        self.complete(&key, &id, parts).await;
    }

    async fn begin(&self, key: &str) -> String {
        let request = self.client.create_multipart_upload().bucket(&self.bucket).key(key);
        request.send().await.unwrap().upload_id().unwrap().to_owned()
    }

    async fn complete(&self, key: &str, id: &str, parts: Vec<CompletedPart>) {
        let parts = CompletedMultipartUpload::builder().set_parts(Some(parts)).build();
        let request = self.client.complete_multipart_upload().bucket(&self.bucket).key(key);
        request.upload_id(id).multipart_upload(parts).send().await.unwrap();
    }

    /// Compares a blob from some byte on with the layer that it should be.
    pub(crate) async fn compare(&self, layer: &Layer, from: u64) {
        let mut request = self.client.get_object().bucket(&self.bucket).key(layer.key());
        if from > 0 {
            request = request.range(format!("bytes={from}-"));
        }
        let mut body = request.send().await.unwrap().body;
        let mut at = from;
        while let Some(bytes) = body.next().await {
            let bytes = bytes.unwrap();
            let range: Range<u64> = at..at + bytes.len() as u64;
            assert!(range.end <= layer.len(), "{} is longer than it was", layer.key());
            assert!(layer.read(range.clone()) == bytes, "{} differs at {range:?}", layer.key());
            at = range.end;
        }
        assert_eq!(at, layer.len(), "{} is shorter than it was", layer.key());
    }
}
