//! The keys of plain objects: what other programs call theirs.

use std::fmt;

/// S3's limit on a key's length, in bytes.
pub(super) const MAX_LEN: usize = 1024;

/// A plain object's key below a store's prefix: segments joined by `/`, 1 to
/// 1,024 bytes of UTF-8 in all.
///
/// A segment is not empty, `.` or `..`, which servers and URLs resolve each in
/// their way, and has no control characters, which XML cannot say. All else is
/// fine: spaces, `:`, `#`, `?`, `+`, `%`, and any script.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlainKey(String);

/// A text that is no plain object's key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid key of a plain object: {0:?}")]
pub struct InvalidPlainKey(String);

impl PlainKey {
    /// Checks a key.
    ///
    /// # Errors
    /// [`InvalidPlainKey`] if it breaks the rules of the type.
    pub fn new(text: impl Into<String>) -> Result<Self, InvalidPlainKey> {
        let text = text.into();
        if text.len() <= MAX_LEN && text.split('/').all(is_segment) {
            Ok(Self(text))
        } else {
            Err(InvalidPlainKey(text))
        }
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_segment(segment: &str) -> bool {
    // U+FFFE and U+FFFF are as little in XML as control characters.
    let is_none = |char: char| char.is_control() || matches!(char, '\u{fffe}' | '\u{ffff}');
    !matches!(segment, "" | "." | "..") && !segment.contains(is_none)
}

impl fmt::Display for PlainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PlainKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PlainKey({:?})", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_what_servers_and_urls_agree_on() {
        for good in ["a", "a b/ä/日本", "a:b#c?d+e%41", "...", ".a/b.", "a\\b", " a "] {
            assert!(PlainKey::new(good).is_ok(), "{good}");
        }
        for bad in
            ["", "/a", "a/", "a//b", "../a", "a/..", "a/./b", "a\nb", "a\0", "\u{85}", "\u{ffff}"]
        {
            assert!(PlainKey::new(bad).is_err(), "{bad:?}");
        }
        assert!(PlainKey::new("x".repeat(1024)).is_ok());
        assert!(PlainKey::new("ä".repeat(512) + "x").is_err());
    }
}
