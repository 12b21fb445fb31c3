//! Jobs that save to a bucket and restore from it, through a proxy or not.

use std::ffi::OsStr;
use std::path::PathBuf;
use std::process::Command;

use crate::proxy::plan::Rule;
use crate::proxy::{Entry, Proxy};
use crate::sandbox::{Run, Sandbox, assert_same, plant, run};
use crate::server::{Bucket, server};

/// Where the store is in its bucket, unless a test wants it elsewhere.
pub(crate) const PREFIX: &str = "some/prefix";
/// What packs' keys have in them.
pub(crate) const PACKS: &str = "/packs/";
/// The same of manifests.
pub(crate) const MANIFESTS: &str = "/manifests/";

/// A machine with a tree, a bucket of its own, and a proxy before the server.
pub(crate) struct Job {
    pub(crate) sandbox: Sandbox,
    pub(crate) bucket: Bucket,
    pub(crate) proxy: Proxy,
    /// Where the store is in the bucket.
    pub(crate) prefix: String,
}

impl Job {
    /// A job, or none without a server. The tree is not there yet.
    pub(crate) fn new() -> Option<Self> {
        let bucket = server()?.bucket();
        let proxy = Proxy::new(bucket.server.address(), []);
        Some(Self { sandbox: Sandbox::new(), bucket, proxy, prefix: PREFIX.into() })
    }

    /// A job with the tree that most tests save.
    pub(crate) fn with_tree() -> Option<Self> {
        let job = Self::new()?;
        plant(&job.tree(), 120, 5);
        Some(job)
    }

    /// The same bucket, as another machine sees it.
    pub(crate) fn elsewhere(&self) -> Self {
        let proxy = Proxy::new(self.bucket.server.address(), []);
        let (bucket, prefix) = (self.bucket.clone(), self.prefix.clone());
        Self { sandbox: Sandbox::new(), bucket, proxy, prefix }
    }

    /// The store, by way of the proxy.
    pub(crate) fn location(&self) -> String {
        self.bucket.location(&self.proxy.url(), &self.prefix)
    }

    /// larder with the store at hand but nothing to sign with: what is not in
    /// the variables set here is not in its environment.
    pub(crate) fn bare<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = self.sandbox.command(arguments);
        command
            .env("LARDER_STORE", self.location())
            // Without credentials the SDK would look for an instance's, at an
            // address that some machines let it wait for.
            .env("AWS_EC2_METADATA_DISABLED", "true");
        command
    }

    /// larder with the keys in its environment.
    pub(crate) fn command<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = self.bare(arguments);
        let keys = &self.bucket.server.keys;
        command
            .env("AWS_ACCESS_KEY_ID", &keys.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &keys.secret_key);
        command
    }

    /// Runs a command, whatever it ends with, and looks for secrets in what it
    /// printed.
    #[track_caller]
    pub(crate) fn run(&self, command: &mut Command) -> Run {
        let ended = run(command);
        for secret in [&self.bucket.server.keys.secret_key, crate::fakes::SESSION] {
            for text in [&ended.stdout, &ended.stderr] {
                assert!(!text.contains(secret), "a secret is printed: {text}");
            }
        }
        ended
    }

    #[track_caller]
    pub(crate) fn larder<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Run {
        self.run(&mut self.command(arguments))
    }

    /// Saves `tree` under a key.
    #[track_caller]
    pub(crate) fn save(&self, key: &str) -> serde_json::Value {
        self.larder(["--json", "save", "--key", key, "tree"]).ok().json()
    }

    /// Restores a key below a directory.
    #[track_caller]
    pub(crate) fn restore(&self, key: &str, to: &str) -> serde_json::Value {
        let to = self.sandbox.path(to);
        let arguments =
            ["--json", "restore", "--key", key, "--fail-on-miss", "--to", to.to_str().unwrap()];
        self.larder(arguments).ok().json()
    }

    /// What went through the proxy while something was done by this plan.
    #[track_caller]
    pub(crate) fn under<T>(
        &self,
        plan: impl Into<Vec<Rule>>,
        action: impl FnOnce() -> T,
    ) -> (T, Vec<Entry>) {
        self.proxy.take_log();
        self.proxy.plan(plan);
        let result = action();
        self.proxy.plan([]);
        (result, self.proxy.take_log())
    }

    /// Fails unless another machine finds under a key what this one saved.
    #[track_caller]
    pub(crate) fn assert_restorable(&self, key: &str) {
        let other = self.elsewhere();
        other.restore(key, "out");
        assert_same(&self.tree(), &other.sandbox.path("out/tree"));
    }

    pub(crate) fn tree(&self) -> PathBuf {
        self.sandbox.work("tree")
    }
}

/// A log, a line each, for messages.
pub(crate) fn lines(log: &[Entry]) -> String {
    let line = |entry: &Entry| {
        let Entry { request, status, sent, received, fault } = entry;
        let (method, target) = (request.method(), request.target());
        let status = status.map_or("-".to_owned(), |status| status.to_string());
        format!("{method} {target} {status} >{sent} <{received} {fault:?}\n")
    };
    log.iter().map(line).collect()
}

/// Of a log: how many requests of this method had this in path or query.
pub(crate) fn count(log: &[Entry], method: &str, target: &str) -> usize {
    log.iter().filter(|entry| entry.is(method, target)).count()
}

/// Of a log: how many requests something was done to.
pub(crate) fn struck(log: &[Entry]) -> usize {
    log.iter().filter(|entry| entry.fault.is_some()).count()
}
