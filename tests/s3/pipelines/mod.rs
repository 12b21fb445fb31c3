//! Pipelines of CI systems as their users have them: the examples in the
//! documents of the plugins that larder replaces, in `pages/`, taken from there
//! word for word.
//!
//! Each step runs as its system would run it: its settings become the environment
//! of the container's entrypoint, the store is a real S3 server, and the tree that
//! comes back is compared.

mod assets;
mod buildx;
mod drone;
mod settings;
mod vela;

use std::path::Path;
use std::process::Command;

use saphyr::{LoadableYamlNode, Yaml};
use serde_json::Value;

use crate::sandbox::{Run, Sandbox};
use crate::support::Job;

/// The code between a page's fences of these languages, or, without a fence,
/// what is indented by four spaces.
fn blocks(page: &str, languages: &[&str]) -> Vec<String> {
    let mut blocks: Vec<String> = vec![];
    let mut is_open = false;
    for line in page.lines() {
        match line.strip_prefix("```") {
            Some("") => is_open = false,
            Some(language) => {
                is_open = languages.contains(&language);
                if is_open {
                    blocks.push(String::new());
                }
            }
            None if is_open => {
                let block = blocks.last_mut().unwrap();
                block.push_str(line);
                block.push('\n');
            }
            None => {}
        }
    }
    assert!(!blocks.is_empty(), "the page has no {languages:?}");
    blocks
}

/// A document of YAML as plain values, keys that are merged (`<<`) in their places.
fn yaml(text: &str) -> Value {
    let documents = Yaml::load_from_str(text).unwrap_or_else(|error| panic!("{error}:\n{text}"));
    plain(&documents[0])
}

fn plain(node: &Yaml) -> Value {
    if let Some(mapping) = node.as_mapping() {
        let mut plain_mapping = serde_json::Map::new();
        for (name, value) in mapping {
            match (name.as_str().unwrap(), plain(value)) {
                ("<<", Value::Object(merged)) => plain_mapping.extend(merged),
                (name, value) => {
                    plain_mapping.insert(name.to_owned(), value);
                }
            }
        }
        return plain_mapping.into();
    }
    if let Some(sequence) = node.as_sequence() {
        return sequence.iter().map(plain).collect();
    }
    match (node.as_bool(), node.as_integer(), node.as_str()) {
        (Some(truth), ..) => truth.into(),
        (_, Some(number), _) => number.into(),
        (.., Some(text)) => text.into(),
        _ => Value::Null,
    }
}

/// A setting as Drone, Woodpecker and Vela put it into the environment: lists of
/// plain values with commas, maps as JSON, all else as text.
fn encode(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(parts) if parts.iter().all(|part| !part.is_object() && !part.is_array()) => {
            parts.iter().map(encode).collect::<Vec<_>>().join(",")
        }
        other => other.to_string(),
    }
}

/// A machine that has the image, and a bucket to use from it.
struct Runner {
    job: Job,
}

impl Runner {
    fn new() -> Option<Self> {
        Job::new().map(|job| Self { job })
    }

    /// Another machine, with the same bucket.
    fn another(&self) -> Self {
        Self { job: self.job.elsewhere() }
    }

    fn bucket(&self) -> &str {
        &self.job.bucket.name
    }

    fn sandbox(&self) -> &Sandbox {
        &self.job.sandbox
    }

    /// The image's entrypoint, in the environment of a step that has no settings.
    /// The server stands where Amazon's would: `AWS_ENDPOINT_URL` is what the SDKs
    /// have for that.
    fn entrypoint(&self, arguments: &[&str]) -> Command {
        let mut command = self.job.bare(arguments);
        command.env_remove("LARDER_STORE").env("AWS_ENDPOINT_URL", self.job.proxy.url());
        command
    }

    /// The same, with keys where AWS tools look for them.
    fn entrypoint_with_keys(&self, arguments: &[&str]) -> Command {
        let mut command = self.entrypoint(arguments);
        let keys = &self.job.bucket.server.keys;
        command
            .env("AWS_ACCESS_KEY_ID", &keys.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &keys.secret_key);
        command
    }

    #[track_caller]
    fn run(&self, command: &mut Command) -> Run {
        self.job.run(command)
    }

    /// The caches in the bucket, as `scope key`.
    fn caches(&self) -> Vec<String> {
        let store = format!("s3://{}/larder", self.bucket());
        let mut list =
            self.entrypoint_with_keys(&["--json", "--store", &store, "list", "--all-scopes"]);
        let listed = self.run(&mut list).ok().json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let caches = listed["caches"].as_array().unwrap().iter();
        let mut caches: Vec<String> = caches
            .map(|cache| format!("{} {}", text(&cache["scope"]), text(&cache["key"])))
            .collect();
        caches.sort();
        caches
    }

    /// All objects in the bucket lie where they should.
    fn assert_all_below(&self, prefixes: &[&str]) {
        for key in self.job.bucket.objects().into_keys() {
            assert!(prefixes.iter().any(|prefix| key.starts_with(prefix)), "{key}");
        }
    }

    fn packs(&self) -> Vec<String> {
        self.job.bucket.keys_with("larder/packs/")
    }
}

fn remove(path: impl AsRef<Path>) {
    std::fs::remove_dir_all(path).unwrap();
}
