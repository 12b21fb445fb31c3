//! Names and relative paths as caches record them: bytes, `/` between names.
//!
//! Unix file names are bytes, not text; so are these. A [`RelPath`] cannot
//! climb, is not absolute and has no empty names, so whatever it is joined to
//! stays an ancestor. The order of paths is the order of their names compared
//! one after the other as bytes, parents before children, which is also the
//! order in which trees are walked and recorded.

use std::cmp::Ordering;
use std::fmt;

pub use crate::harmless::name as display;

/// A path below some directory; empty for that directory itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct RelPath(Vec<u8>);

/// Bytes that are no relative path of a cache.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid path {0:?} in a cache: names must not be empty, `.` or `..`, nor hold `/` or NUL")]
pub struct InvalidPath(String);

/// Whether these bytes can name an entry of a directory.
pub fn is_name(name: &[u8]) -> bool {
    !name.is_empty() && name != b"." && name != b".." && !name.iter().any(|b| matches!(b, b'/' | 0))
}

impl RelPath {
    /// Checks a path.
    ///
    /// # Errors
    /// [`InvalidPath`] where a name is empty, `.`, `..` or holds a NUL.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Result<Self, InvalidPath> {
        let bytes = bytes.into();
        if bytes.is_empty() || bytes.split(|&b| b == b'/').all(is_name) {
            Ok(Self(bytes))
        } else {
            Err(InvalidPath(display(&bytes).into_owned()))
        }
    }

    /// The path as bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether this is the directory itself.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The names, outermost first.
    pub fn names(&self) -> impl DoubleEndedIterator<Item = &[u8]> {
        self.0.split(|&b| b == b'/').filter(|name| !name.is_empty())
    }

    /// What is left of this path below `ancestor`, where it lies there.
    pub fn below(&self, ancestor: &RelPath) -> Option<RelPath> {
        if ancestor.is_empty() {
            return Some(self.clone());
        }
        match self.0.strip_prefix(ancestor.as_bytes())? {
            [] => Some(Self::default()),
            [b'/', rest @ ..] => Some(Self(rest.to_vec())),
            _ => None,
        }
    }
}

impl PartialOrd for RelPath {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for RelPath {
    fn cmp(&self, other: &Self) -> Ordering {
        self.names().cmp(other.names())
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() {
            "."
        } else {
            return f.write_str(&display(&self.0));
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str) -> RelPath {
        RelPath::new(text).unwrap()
    }

    #[test]
    fn paths_cannot_climb() {
        for bad in ["/", "/a", "a/", "a//b", ".", "a/./b", "..", "a/../b", "a\0b"] {
            assert!(RelPath::new(bad).is_err(), "{bad}");
        }
        assert_eq!(path("a/b").names().collect::<Vec<_>>(), [b"a", b"b"]);
        assert_eq!(path("").names().count(), 0);
    }

    #[test]
    fn order_is_by_names_not_by_bytes() {
        assert!(path("a/b") < path("a-b"));
        assert!(path("a") < path("a/b"));
        assert!(path("") < path("a"));
    }

    #[test]
    fn below_knows_siblings_apart() {
        assert_eq!(path("app/x").below(&path("app")), Some(path("x")));
        assert_eq!(path("app").below(&path("app")), Some(path("")));
        assert_eq!(path("app2/x").below(&path("app")), None);
        assert_eq!(path("a").below(&path("")), Some(path("a")));
    }
}
