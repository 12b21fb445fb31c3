//! The filter `slug`: any text as a word that is safe in keys, paths and URLs.

use crate::keys::short_hash;

/// The longest slug: several fit into a key, with room for the rest of it.
const MAX_LEN: usize = 64;

/// Digits of the hash that stands for what was cut off.
const HASH_LEN: usize = 8;

/// So that the hash is none of anything else. Part of what keys mean: with another,
/// caches under long names are not found.
const DOMAIN: &str = "larder 2026-11 key template slug v1";

/// Lower case, with `-` for every run of what is neither a letter or digit of ASCII
/// nor one of `.` and `_`; none at either end. A text that is longer than 64
/// characters after that is cut, and ends in a hash of all of it; one of which
/// nothing is left is its hash. So a slug is never empty, and is its own slug.
pub(super) fn slug(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        match c.to_ascii_lowercase() {
            c @ ('a'..='z' | '0'..='9' | '.' | '_') => slug.push(c),
            _ if slug.is_empty() || slug.ends_with('-') => {}
            _ => slug.push('-'),
        }
    }
    slug.truncate(slug.trim_end_matches('-').len());
    let hash =
        || short_hash(blake3::Hasher::new_derive_key(DOMAIN).update(text.as_bytes()), HASH_LEN);
    if slug.is_empty() {
        return hash();
    }
    if slug.len() > MAX_LEN {
        // All of it is ASCII: any place is one to cut.
        slug.truncate(MAX_LEN - HASH_LEN - 1);
        slug.truncate(slug.trim_end_matches('-').len());
        slug.push('-');
        slug.push_str(&hash());
    }
    slug
}

#[cfg(test)]
mod tests {
    use larder::ids::Key;
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: &str) {
        assert_eq!(slug(text), expected, "{text}");
    }

    #[test]
    fn slugs_are_always_the_same() {
        check("main", "main");
        check("Feature/JIRA-12_a.b", "feature-jira-12_a.b");
        check("  --a   b-- ", "a-b");
        check("renovate/größe", "renovate-gr-e");
        check(&"x".repeat(64), &"x".repeat(64));
        check(&"x".repeat(65), &format!("{}-40b74ce0", "x".repeat(55)));
        check("ключ", "fa289774");
        check("", "fabe330e");
    }

    #[test]
    fn what_is_cut_still_counts() {
        let long = |end: &str| slug(&format!("{}{end}", "branch-".repeat(20)));
        assert_ne!(long("a"), long("b"));
        assert_ne!(slug("ключ"), slug("замок"));
    }

    proptest! {
        #[test]
        fn a_slug_is_a_key_and_its_own_slug(text in any::<String>()) {
            let once = slug(&text);
            prop_assert!(once.parse::<Key>().is_ok());
            prop_assert!(once.len() <= MAX_LEN);
            prop_assert_eq!(slug(&once), once);
        }

        #[test]
        fn long_names_too(text in "[-A-Za-z/. ]{60,200}") {
            let once = slug(&text);
            prop_assert!(once.parse::<Key>().is_ok());
            prop_assert!(once.len() <= MAX_LEN);
            prop_assert_eq!(slug(&once), once);
        }
    }
}
