//! The S3 server that the tests run against, and buckets in it.
//!
//! `tests/run.sh` starts one and tells where by variables; any other server,
//! best one that is thrown away, can be named by the same ones:
//!
//! ```text
//! LARDER_TEST_S3=http://127.0.0.1:9000
//! LARDER_TEST_S3_ACCESS_KEY=… LARDER_TEST_S3_SECRET_KEY=…
//! LARDER_TEST_S3_SERVER=rgw       what it is: rgw, moto, or another name
//! LARDER_TEST_S3_TLS=https://127.0.0.1:9443 LARDER_TEST_S3_CA=/tmp/ca.pem
//! ```
//!
//! The last two are left out where there is no TLS.

use std::collections::BTreeMap;
use std::env;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::OnceLock;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Builder, Credentials, Region};
use tokio::runtime::{Handle, Runtime};

pub(crate) const REGION: &str = "us-east-1";

/// A pair of keys that the server knows.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
}

/// The server under test.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) endpoint: String,
    pub(crate) keys: Keys,
    kind: String,
    runtime: Runtime,
    client: Client,
}

/// The server, or none where none was started: the caller then says nothing of
/// S3, and returns. Only a bare `cargo test` may come to that.
pub(crate) fn server() -> Option<&'static Server> {
    static SERVER: OnceLock<Option<Server>> = OnceLock::new();
    let server = SERVER.get_or_init(Server::from_environment).as_ref();
    if server.is_none() {
        let test = std::thread::current().name().unwrap_or_default().to_owned();
        let note = format!(
            "note: {test} tests nothing: LARDER_TEST_S3 is not set; `sh tests/run.sh` starts a server\n"
        );
        // What a test prints is shown only if it fails; this goes past that.
        let _ = std::io::stderr().write_all(note.as_bytes());
    }
    server
}

impl Server {
    fn from_environment() -> Option<Self> {
        let endpoint = env::var("LARDER_TEST_S3").ok().filter(|url| !url.is_empty())?;
        let variable = |name: &str| {
            env::var(name).unwrap_or_else(|_| panic!("{name} is needed beside LARDER_TEST_S3"))
        };
        let access_key = variable("LARDER_TEST_S3_ACCESS_KEY");
        let secret_key = variable("LARDER_TEST_S3_SECRET_KEY");
        let keys = Keys { access_key, secret_key };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let config = Builder::new()
            .behavior_version(BehaviorVersion::latest())
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .region(Region::new(REGION))
            .endpoint_url(&endpoint)
            .force_path_style(true)
            .credentials_provider(Credentials::new(
                &keys.access_key,
                &keys.secret_key,
                None,
                None,
                "tests",
            ))
            .build();
        let kind = env::var("LARDER_TEST_S3_SERVER").unwrap_or_default();
        Some(Self { endpoint, keys, kind, runtime, client: Client::from_conf(config) })
    }

    /// The server's address, for a proxy before it.
    pub(crate) fn address(&self) -> SocketAddr {
        let authority = self.endpoint.trim_start_matches("http://").trim_end_matches('/');
        authority.parse().expect("LARDER_TEST_S3 is http://ADDRESS:PORT")
    }

    /// Its address for TLS, and the file with its certificate.
    pub(crate) fn tls(&self) -> Option<(String, String)> {
        let variable = |name| env::var(name).ok().filter(|value| !value.is_empty());
        Some((variable("LARDER_TEST_S3_TLS")?, variable("LARDER_TEST_S3_CA")?))
    }

    /// Whether it refuses what S3 refuses: moto takes any key and any checksum.
    pub(crate) fn is_strict(&self) -> bool {
        self.kind != "moto"
    }

    /// Whether it is Ceph's, of which more is known than what all have.
    #[allow(dead_code, reason = "for tests/s3 alone")]
    pub(crate) fn is_ceph(&self) -> bool {
        self.kind == "rgw"
    }

    /// An empty bucket that no other test has.
    pub(crate) fn bucket(&'static self) -> Bucket {
        let name = format!("larder-{}", ulid::Ulid::generate()).to_lowercase();
        let bucket = Bucket { server: self, name };
        let create = self.client.create_bucket().bucket(&bucket.name);
        bucket.wait(create.send()).unwrap();
        bucket
    }
}

/// A bucket, seen without larder.
#[derive(Clone, Debug)]
pub(crate) struct Bucket {
    pub(crate) server: &'static Server,
    pub(crate) name: String,
}

impl Bucket {
    fn handle(&self) -> &Handle {
        self.server.runtime.handle()
    }

    fn wait<T>(&self, future: impl Future<Output = T>) -> T {
        self.handle().block_on(future)
    }

    /// A store below a prefix, as `--store` takes it, without keys.
    pub(crate) fn location(&self, endpoint: &str, prefix: &str) -> String {
        let name = &self.name;
        format!("s3://{name}/{prefix}?endpoint_url={endpoint}&region={REGION}&use_path_style=true")
    }

    /// All objects and their lengths.
    pub(crate) fn objects(&self) -> BTreeMap<String, u64> {
        let list = self.server.client.list_objects_v2().bucket(&self.name);
        let mut pages = list.into_paginator().send();
        let mut found = BTreeMap::new();
        self.wait(async {
            while let Some(page) = pages.next().await {
                for object in page.unwrap().contents() {
                    let len = object.size().unwrap_or_default().unsigned_abs();
                    found.insert(object.key().unwrap().to_owned(), len);
                }
            }
        });
        found
    }

    /// The keys that have this in them.
    pub(crate) fn keys_with(&self, part: &str) -> Vec<String> {
        self.objects().into_keys().filter(|key| key.contains(part)).collect()
    }

    pub(crate) fn put(&self, key: &str, body: impl Into<Vec<u8>>) {
        let put = self.server.client.put_object().bucket(&self.name).key(key);
        let body: Vec<u8> = body.into();
        self.wait(put.body(body.into()).send()).unwrap();
    }

    pub(crate) fn get(&self, key: &str) -> Vec<u8> {
        let get = self.server.client.get_object().bucket(&self.name).key(key);
        let body = self.wait(async { get.send().await.unwrap().body.collect().await });
        body.unwrap().to_vec()
    }

    pub(crate) fn delete(&self, key: &str) {
        let delete = self.server.client.delete_object().bucket(&self.name).key(key);
        self.wait(delete.send()).unwrap();
    }

    /// The metadata that an object was put with, its type among it.
    #[allow(dead_code, reason = "for tests/s3 alone")]
    pub(crate) fn metadata(&self, key: &str) -> BTreeMap<String, String> {
        let head = self.server.client.head_object().bucket(&self.name).key(key);
        let told = self.wait(head.send()).unwrap();
        let mut found: BTreeMap<_, _> = told.metadata.unwrap_or_default().into_iter().collect();
        found.extend(told.content_type.map(|text| ("Content-Type".into(), text)));
        found.extend(told.cache_control.map(|text| ("Cache-Control".into(), text)));
        found
    }

    /// The keys of objects of which parts were put, and which nobody completed.
    #[allow(dead_code, reason = "for tests/s3 alone")]
    pub(crate) fn uploads(&self) -> Vec<String> {
        let list = self.server.client.list_multipart_uploads().bucket(&self.name);
        let found = self.wait(list.send()).unwrap().uploads.unwrap_or_default();
        found.into_iter().filter_map(|upload| upload.key).collect()
    }

    /// Puts an object with metadata such as other programs give theirs.
    #[allow(dead_code, reason = "for tests/s3 alone")]
    pub(crate) fn put_described(&self, key: &str, body: Vec<u8>) {
        let put = self.server.client.put_object().bucket(&self.name).key(key).body(body.into());
        let put =
            put.metadata("commit", "c0ffee").content_type("text/css").cache_control("no-cache");
        self.wait(put.send()).unwrap();
    }

    /// Lets everyone do, or nobody, such things as `s3:PutObject`.
    pub(crate) fn policy(&self, effect: &str, actions: &[&str]) {
        let arn = format!("arn:aws:s3:::{}", self.name);
        let policy = serde_json::json!({
            "Version": "2012-10-17",
            "Statement": [{
                "Effect": effect,
                "Principal": "*",
                "Action": actions,
                "Resource": [&arn, format!("{arn}/*")],
            }],
        });
        self.set_policy(&policy);
    }

    /// Gives the bucket a policy.
    pub(crate) fn set_policy(&self, policy: &serde_json::Value) {
        let put = self.server.client.put_bucket_policy().bucket(&self.name);
        self.wait(put.policy(policy.to_string()).send()).unwrap();
    }
}
