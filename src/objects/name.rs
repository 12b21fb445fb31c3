//! Names of buckets, objects and uploads, and the scopes and keys that they are in the
//! store.
//!
//! A bucket is a scope, an object a key in it. The scopes begin with `s3:` and
//! `s3-upload:`, which no `org/repo` does, so that caches and objects cannot meet.

use std::fmt;
use std::str::FromStr;

use ulid::Ulid;

use crate::ids::{InvalidName, Key, Scope};

/// What the scopes of buckets begin with.
const BUCKETS: &str = "s3:";

/// What the scopes of uploads begin with that are not complete.
const UPLOADS: &str = "s3-upload:";

/// A bucket: 3 to 63 lower-case letters, digits, dots and hyphens, as Amazon has it, less
/// the prefixes that are reserved there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Bucket(String);

/// A name that no bucket can have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid bucket name {0:?}: it has to be 3 to 63 lower-case letters, digits, dots and hyphens, \
     and to begin and end with a letter or digit"
)]
pub struct InvalidBucket(String);

impl Bucket {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The scope that its objects are kept in.
    pub fn scope(&self) -> Scope {
        known(format!("{BUCKETS}{}", self.0))
    }

    /// The bucket whose objects a scope has, if it is one's.
    pub fn of_scope(scope: &Scope) -> Option<Self> {
        scope.as_str().strip_prefix(BUCKETS)?.parse().ok()
    }

    /// What the scopes of all its uploads begin with.
    pub(super) fn uploads(&self) -> String {
        format!("{UPLOADS}{}/", self.0)
    }

    /// What the names of all scopes of buckets begin with.
    pub(super) fn scopes() -> &'static str {
        BUCKETS
    }
}

impl FromStr for Bucket {
    type Err = InvalidBucket;

    fn from_str(text: &str) -> Result<Self, InvalidBucket> {
        let is_edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = text.as_bytes();
        let is_valid = (3..=63).contains(&bytes.len())
            && bytes.iter().all(|&byte| is_edge(byte) || matches!(byte, b'.' | b'-'))
            && bytes.first().is_some_and(|&byte| is_edge(byte))
            && bytes.last().is_some_and(|&byte| is_edge(byte))
            && !text.contains("..")
            && text.parse::<std::net::Ipv4Addr>().is_err();
        if is_valid { Ok(Self(text.to_owned())) } else { Err(InvalidBucket(text.to_owned())) }
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An object's place: the scope that holds it, and its key there.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// The namespace: a bucket's, or another's.
    pub scope: Scope,
    /// The name in it.
    pub key: Key,
}

impl ObjectName {
    /// The object of a bucket with this key.
    ///
    /// # Errors
    /// [`InvalidName`] if the key is empty, longer than [`crate::ids::MAX_NAME_LEN`]
    /// bytes, or has a control character.
    pub fn new(bucket: &Bucket, key: &str) -> Result<Self, InvalidName> {
        Ok(Self { scope: bucket.scope(), key: key.parse()? })
    }
}

/// An upload in parts: fresh for each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct UploadId(Ulid);

impl UploadId {
    /// A fresh id.
    pub fn generate() -> Self {
        Self(Ulid::generate())
    }

    /// The scope that its parts are kept in.
    pub(super) fn scope(self, bucket: &Bucket) -> Scope {
        known(format!("{}{self}", bucket.uploads()))
    }

    /// The upload to a bucket whose parts a scope has, if it is one's.
    pub(super) fn of_scope(scope: &Scope, bucket: &Bucket) -> Option<Self> {
        scope.as_str().strip_prefix(&bucket.uploads())?.parse().ok()
    }
}

impl fmt::Display for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl FromStr for UploadId {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        // One spelling each: an upload is found by its name.
        match Ulid::from_string(text) {
            Ok(id) if id.to_string() == text => Ok(Self(id)),
            _ => Err(()),
        }
    }
}

fn known(text: String) -> Scope {
    text.try_into().expect("a bucket's name is short and has no control characters")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_checked() {
        for good in ["abc", "my-bucket.1", "1a2", &"x".repeat(63)] {
            let bucket: Bucket = good.parse().unwrap();
            assert_eq!(Bucket::of_scope(&bucket.scope()), Some(bucket));
        }
        for bad in ["", "ab", "-ab", "ab-", "Abc", "a_b", "a..b", "10.0.0.1", "a/b"] {
            assert!(bad.parse::<Bucket>().is_err(), "{bad}");
        }
        assert_eq!(Bucket::of_scope(&"org/repo".parse().unwrap()), None);
    }

    #[test]
    fn uploads_belong_to_their_bucket() {
        let (bucket, other): (Bucket, Bucket) =
            ("abc".parse().unwrap(), "ab".repeat(2).parse().unwrap());
        let upload = UploadId::generate();
        assert_eq!(UploadId::of_scope(&upload.scope(&bucket), &bucket), Some(upload));
        assert_eq!(UploadId::of_scope(&upload.scope(&bucket), &other), None);
        assert_eq!(upload.to_string().parse(), Ok(upload));
    }
}
