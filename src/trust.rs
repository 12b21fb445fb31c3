//! Whom a saver believes.
//!
//! What a manifest or an index delta says of chunks is hearsay: whoever may write to
//! the store can name a pack with junk in it. A restore finds out, for it hashes all
//! that it reads, but by then the chunk was not uploaded. So savers of scopes that
//! matter believe only each other, and who may write in the name of a scope is for
//! the store's policies to say: `docs/trust.md`.

use std::fmt;
use std::str::FromStr;

use globset::{GlobBuilder, GlobMatcher};

use crate::ids::Scope;

/// The scopes whose savers believe each other and nobody else.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedScopes {
    patterns: Vec<ScopePattern>,
}

impl TrustedScopes {
    /// Those that match one of these.
    pub fn new(patterns: Vec<ScopePattern>) -> Self {
        Self { patterns }
    }

    /// Whether a scope is one of them.
    pub fn has(&self, scope: &Scope) -> bool {
        self.patterns.iter().any(|pattern| pattern.matches(scope))
    }

    /// The only scopes that a saver of this scope believes; `None`: all.
    pub fn believed_in(&self, scope: &Scope) -> Option<&Self> {
        self.has(scope).then_some(self)
    }
}

/// A scope, or a pattern of scopes: `*` stands for anything but `/`, `**` for
/// anything, `?` for one character, `[a-z]` for one of these.
#[derive(Clone, Debug)]
pub struct ScopePattern {
    matcher: GlobMatcher,
}

impl ScopePattern {
    fn matches(&self, scope: &Scope) -> bool {
        self.matcher.is_match(scope.as_str())
    }
}

impl PartialEq for ScopePattern {
    fn eq(&self, other: &Self) -> bool {
        self.matcher.glob() == other.matcher.glob()
    }
}

impl Eq for ScopePattern {}

impl fmt::Display for ScopePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.matcher.glob().glob())
    }
}

/// A text that is no pattern of scopes, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid pattern of scopes {text:?}: {why}")]
pub struct InvalidPattern {
    text: String,
    why: String,
}

impl FromStr for ScopePattern {
    type Err = InvalidPattern;

    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let invalid = |why: String| InvalidPattern { text: text.to_owned(), why };
        if text.is_empty() {
            return Err(invalid("it is empty".to_owned()));
        }
        // A star that passed slashes would let `org/*/main` match `org/pr-1/x/main`.
        let glob = GlobBuilder::new(text).literal_separator(true).backslash_escape(true).build();
        let glob = glob.map_err(|error| invalid(error.kind().to_string()))?;
        Ok(Self { matcher: glob.compile_matcher() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_scopes_with_stars() {
        let check = |pattern: &str, scope: &str, expected: bool| {
            let trusted = TrustedScopes::new(vec![pattern.parse().unwrap()]);
            let scope: Scope = scope.parse().unwrap();
            assert_eq!(trusted.has(&scope), expected, "{pattern} {scope}");
            assert_eq!(trusted.believed_in(&scope).is_some(), expected);
        };
        check("main", "main", true);
        check("main", "pr-1/main", false);
        check("main", "main2", false);
        check("main", "MAIN", false);
        check("release/*", "release/1.x", true);
        check("release/*", "release/1.x/pr-2", false);
        check("release/**", "release/1.x/pr-2", true);
        check("org/*/main", "org/app/main", true);
        check("org/*/main", "org/app/pr-1/main", false);
        check("v?", "v2", true);
    }

    #[test]
    fn nobody_is_picked_where_nobody_is_trusted() {
        let scope: Scope = "main".parse().unwrap();
        assert!(!TrustedScopes::default().has(&scope));
        assert_eq!(TrustedScopes::default().believed_in(&scope), None);
    }

    #[test]
    fn what_is_no_pattern_is_told() {
        let told = |text: &str| text.parse::<ScopePattern>().unwrap_err().to_string();
        assert_eq!(told(""), "invalid pattern of scopes \"\": it is empty");
        assert!(told("a[").starts_with("invalid pattern of scopes \"a[\": "), "{}", told("a["));
    }
}
