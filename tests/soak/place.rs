//! Where the store is, seen without larder: a new bucket, or a directory.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::sandbox::{set_mtime, visit};
use crate::server::{Bucket, server};

/// Where the store lies in its bucket.
const PREFIX: &str = "soak/";

#[derive(Debug)]
pub(crate) enum Place {
    Bucket(Bucket),
    Directory(PathBuf),
}

impl Place {
    /// A new bucket on the server under test.
    pub(crate) fn bucket() -> Option<Self> {
        Some(Self::Bucket(server()?.bucket()))
    }

    /// As `--store` takes it. A use counts after a second, not after a day.
    pub(crate) fn location(&self) -> String {
        match self {
            Self::Bucket(bucket) => {
                let prefix = PREFIX.trim_end_matches('/');
                bucket.location(&bucket.server.endpoint, prefix) + "&touch_refresh=1s"
            }
            Self::Directory(path) => format!("file://{}?sync=never", path.display()),
        }
    }

    /// Whether a use that is a second old is put down.
    pub(crate) fn uses_count(&self) -> bool {
        matches!(self, Self::Bucket(_))
    }

    /// Gives a command what it needs to get there.
    pub(crate) fn lead(&self, command: &mut Command) {
        command.env("LARDER_STORE", self.location());
        if let Self::Bucket(bucket) = self {
            command
                .env("AWS_EC2_METADATA_DISABLED", "true")
                .env("AWS_ACCESS_KEY_ID", &bucket.server.keys.access_key)
                .env("AWS_SECRET_ACCESS_KEY", &bucket.server.keys.secret_key);
        }
    }

    /// All objects of the store and their lengths.
    pub(crate) fn objects(&self) -> BTreeMap<String, u64> {
        match self {
            Self::Bucket(bucket) => {
                let all = bucket.objects().into_iter();
                all.map(|(key, len)| (key.trim_start_matches(PREFIX).to_owned(), len)).collect()
            }
            Self::Directory(root) => {
                let mut found = BTreeMap::new();
                visit(root, &mut |path, metadata| {
                    if metadata.is_file() {
                        let name = path.strip_prefix(root).unwrap().to_str().unwrap();
                        found.insert(name.to_owned(), metadata.len());
                    }
                });
                found
            }
        }
    }

    pub(crate) fn get(&self, key: &str) -> Vec<u8> {
        match self {
            Self::Bucket(bucket) => bucket.get(&format!("{PREFIX}{key}")),
            Self::Directory(root) => fs::read(root.join(key)).unwrap(),
        }
    }

    /// Behind larder's back.
    pub(crate) fn put(&self, key: &str, bytes: Vec<u8>) {
        match self {
            Self::Bucket(bucket) => bucket.put(&format!("{PREFIX}{key}"), bytes),
            Self::Directory(root) => crate::sandbox::write(root.join(key), bytes),
        }
    }

    /// Behind larder's back.
    pub(crate) fn delete(&self, key: &str) {
        match self {
            Self::Bucket(bucket) => bucket.delete(&format!("{PREFIX}{key}")),
            Self::Directory(root) => fs::remove_file(root.join(key)).unwrap(),
        }
    }

    /// Makes what killed processes left in a directory old enough to be removed
    /// by the next that writes there: an hour.
    pub(crate) fn age_temporary_files(&self) -> u64 {
        let Self::Directory(root) = self else { return 0 };
        let mut count = 0;
        visit(&root.join("tmp#"), &mut |path, metadata| {
            if metadata.is_file() {
                set_mtime(path, 0, 0);
                count += 1;
            }
        });
        count
    }

    /// For whoever looks at what was left.
    pub(crate) fn describe(&self, keep: &Path) -> String {
        let hint = match self {
            Self::Bucket(_) => " (the keys are in LARDER_TEST_S3_ACCESS_KEY and …_SECRET_KEY)",
            Self::Directory(_) => "",
        };
        format!("the store is {}{hint}; the log is {}", self.location(), keep.display())
    }
}
