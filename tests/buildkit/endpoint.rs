//! What is spoken to: a `larder serve` of its own over a directory or a bucket, or the
//! bare bucket.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};

use crate::server::Bucket;

const ACCESS_KEY: &str = "buildkit";
const SECRET_KEY: &str = "a secret of this test alone";

/// An S3 endpoint.
#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    pub(crate) access_key: String,
    pub(crate) secret_key: String,
    pub(crate) bucket: String,
    serve: Option<Child>,
}

impl Endpoint {
    pub(crate) fn over_directory(larder: &Path, store: &Path) -> Self {
        let mut command = Command::new(larder);
        command.arg("--store").arg(store);
        Self::serve("serve over a directory", command)
    }

    pub(crate) fn over_bucket(larder: &Path, bucket: &Bucket, words: &str) -> Self {
        let store = bucket.location(&bucket.server.endpoint, "larder");
        let store = if words.is_empty() { store } else { format!("{store}&{words}") };
        let mut command = Command::new(larder);
        command
            .args(["--store", &store])
            .env("AWS_ACCESS_KEY_ID", &bucket.server.keys.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &bucket.server.keys.secret_key);
        Self::serve("serve over S3", command)
    }

    pub(crate) fn bare(bucket: &Bucket) -> Self {
        Self {
            name: "the bare server",
            url: bucket.server.endpoint.clone(),
            access_key: bucket.server.keys.access_key.clone(),
            secret_key: bucket.server.keys.secret_key.clone(),
            bucket: bucket.name.clone(),
            serve: None,
        }
    }

    fn serve(name: &'static str, mut command: Command) -> Self {
        command
            .args(["serve", "--listen", "127.0.0.1:0", "--bucket", "cache"])
            .env("LARDER_SERVE_ACCESS_KEY", ACCESS_KEY)
            .env("LARDER_SERVE_SECRET_KEY", SECRET_KEY)
            .env("AWS_EC2_METADATA_DISABLED", "true")
            .stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().expect("larder serve tells where it listens").unwrap();
        let url = first.strip_prefix("listening on ").expect("an address").to_owned();
        Self {
            name,
            url,
            access_key: ACCESS_KEY.to_owned(),
            secret_key: SECRET_KEY.to_owned(),
            bucket: "cache".to_owned(),
            serve: Some(child),
        }
    }

    /// The process, if it is one of ours.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.serve.as_ref().map(Child::id)
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        let Some(mut child) = self.serve.take() else { return };
        let pid = Pid::from_child(&child);
        kill_process(pid, Signal::TERM).unwrap();
        let status = child.wait().unwrap();
        if !std::thread::panicking() {
            assert!(status.success(), "larder serve ended with {status}");
        }
    }
}
