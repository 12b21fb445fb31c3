//! The keys of objects: what a store may be asked for.
//!
//! Narrower than what S3 allows, so that one key means the same object in a
//! bucket, in a directory on any file system, and in a URL.

use std::fmt;

/// An object's key: ASCII segments joined by `/`, at most 1,024 bytes in all.
///
/// A segment has 1 to 255 letters, digits and `- . _ ~ % + = @ !`, and is not
/// `.` or `..`. It follows that a key is a relative path that stays below its
/// root, and that its order as bytes is the order S3 lists it in.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(String);

/// A key that no store takes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid object key {0:?}")]
pub struct InvalidObjectKey(String);

/// S3's limit on a key's length.
const MAX_LEN: usize = 1024;
/// The limit of most file systems on a name's length.
const MAX_SEGMENT_LEN: usize = 255;

impl ObjectKey {
    /// Checks a key.
    ///
    /// # Errors
    /// [`InvalidObjectKey`] if it breaks the rules of the type.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidObjectKey> {
        let text = text.into();
        if text.len() <= MAX_LEN && text.split('/').all(is_segment) {
            Ok(Self(text))
        } else {
            Err(InvalidObjectKey(text))
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_segment(segment: &str) -> bool {
    (1..=MAX_SEGMENT_LEN).contains(&segment.len())
        && segment != "."
        && segment != ".."
        && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~%+=@!".contains(&byte))
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ObjectKey({})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stay_below_their_root() {
        for good in ["format", "packs/01/01J", "a%2Fb/~x", "...", "a.b/.c"] {
            assert!(ObjectKey::new(good).is_ok(), "{good}");
        }
        for bad in ["", "/a", "a/", "a//b", "../a", "a/..", "a/./b", "a b", "ä", "a\\b", "a\0"] {
            assert!(ObjectKey::new(bad).is_err(), "{bad}");
        }
        assert!(ObjectKey::new("x".repeat(255)).is_ok());
        assert!(ObjectKey::new("x".repeat(256)).is_err());
        assert!(ObjectKey::new("x/".repeat(512) + "x").is_err());
    }
}
