//! Who may use a server: access keys, the secrets that belong to them, and what each may
//! do.
//!
//! S3 requests are signed with the secret, which never travels. The other protocols send
//! it: as a password (HTTP basic) or as a token (bearer).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use larder::objects::Bucket;
use serde::{Deserialize, Deserializer};
use zeroize::Zeroizing;

use super::caches;

/// Why a text has no keys that can be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InvalidKeys {
    /// It is no TOML, or says something that is not known. The text itself is not shown:
    /// it holds secrets.
    #[error("line {line}: {message}")]
    Toml { line: usize, message: String },
    #[error("there is no [[key]]")]
    None,
    #[error("an access-key is empty, or has white space, a comma or a slash: {0:?}")]
    AccessKey(String),
    #[error("the secret-key of {0} is shorter than 8 characters")]
    ShortSecret(String),
    #[error("the access-key {0} is there twice")]
    Twice(String),
    #[error("the key {key}: {why}")]
    Bucket { key: String, why: larder::objects::InvalidBucket },
}

/// What the holder of a key may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    /// The buckets that it is for, and the names and teams of other caches; `None` means
    /// all.
    buckets: Option<BTreeSet<String>>,
    read_only: bool,
}

impl Rights {
    /// Whether the holder may do something of this kind with a bucket.
    pub(super) fn allow(&self, bucket: &str, writes: bool) -> bool {
        self.sees(bucket) && !(writes && self.read_only)
    }

    /// Whether the bucket is one of the holder's.
    pub(super) fn sees(&self, bucket: &str) -> bool {
        self.buckets.as_ref().is_none_or(|all| all.contains(bucket))
    }

    pub(super) fn is_read_only(&self) -> bool {
        self.read_only
    }
}

struct Secret {
    text: Zeroizing<String>,
    rights: Rights,
}

/// All keys of a server; with none of them, everybody may do everything.
#[derive(Default)]
pub(crate) struct Keys(BTreeMap<String, Secret>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Entry {
    access_key: String,
    #[serde(deserialize_with = "secret")]
    secret_key: Zeroizing<String>,
    buckets: Option<Vec<String>>,
    #[serde(default)]
    read_only: bool,
}

fn secret<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

impl Keys {
    /// Adds a key that may do everything.
    ///
    /// # Errors
    /// [`InvalidKeys`] if it cannot be used.
    pub(crate) fn add(
        &mut self,
        access_key: &str,
        secret: Zeroizing<String>,
    ) -> Result<(), InvalidKeys> {
        self.insert(access_key, secret, Rights { buckets: None, read_only: false })
    }

    /// Adds the keys of a file.
    ///
    /// # Errors
    /// [`InvalidKeys`] if there is none, or one that cannot be used.
    pub(crate) fn add_file(&mut self, text: &str) -> Result<(), InvalidKeys> {
        let file: File = toml::from_str(text).map_err(|error| {
            let start = error.span().map_or(0, |span| span.start);
            let line = text.get(..start).map_or(1, |before| before.matches('\n').count() + 1);
            InvalidKeys::Toml { line, message: error.message().to_owned() }
        })?;
        if file.key.is_empty() {
            return Err(InvalidKeys::None);
        }
        for entry in file.key {
            let check = |name: &String| match name.parse::<Bucket>() {
                // Ids of teams are no names of buckets.
                Err(why) if !caches::is_team(name) => {
                    Err(InvalidKeys::Bucket { key: entry.access_key.clone(), why })
                }
                _ => Ok(name.clone()),
            };
            let buckets = entry.buckets.as_ref();
            let buckets = buckets.map(|names| names.iter().map(check).collect()).transpose()?;
            let rights = Rights { buckets, read_only: entry.read_only };
            self.insert(&entry.access_key, entry.secret_key, rights)?;
        }
        Ok(())
    }

    fn insert(
        &mut self,
        access_key: &str,
        text: Zeroizing<String>,
        rights: Rights,
    ) -> Result<(), InvalidKeys> {
        // What would end the key within a credential scope or a header.
        let is_bad = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | '/' | ':');
        if access_key.is_empty() || access_key.contains(is_bad) {
            return Err(InvalidKeys::AccessKey(access_key.to_owned()));
        }
        if text.chars().count() < 8 {
            return Err(InvalidKeys::ShortSecret(access_key.to_owned()));
        }
        if self.0.contains_key(access_key) {
            return Err(InvalidKeys::Twice(access_key.to_owned()));
        }
        self.0.insert(access_key.to_owned(), Secret { text, rights });
        Ok(())
    }

    /// Whether there are none, so that nothing is checked.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The secret of a key, which signs.
    pub(super) fn secret(&self, access_key: &str) -> Option<&str> {
        Some(self.0.get(access_key)?.text.as_str())
    }

    /// What a key may do.
    pub(super) fn rights(&self, access_key: &str) -> Option<&Rights> {
        Some(&self.0.get(access_key)?.rights)
    }

    /// What the `Authorization` header of a protocol that sends secrets permits: basic,
    /// with the access key as user, or bearer, with the secret alone or after the access key
    /// and a colon.
    pub(super) fn rights_by_header(&self, authorization: &str) -> Option<&Rights> {
        let (scheme, value) = authorization.split_once(' ')?;
        if scheme.eq_ignore_ascii_case("bearer") {
            let token = value.trim();
            let matches = |known: &&Secret| is_same(&known.text, token);
            let known = self.0.values().find(matches).map(|known| &known.rights);
            return known.or_else(|| self.rights_by_pair(token));
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return None;
        }
        let text =
            Zeroizing::new(String::from_utf8(BASE64_STANDARD.decode(value.trim()).ok()?).ok()?);
        self.rights_by_pair(&text)
    }

    /// What an access key permits that comes with its secret, after a colon.
    fn rights_by_pair(&self, text: &str) -> Option<&Rights> {
        let (access_key, secret) = text.split_once(':')?;
        let known = self.0.get(access_key)?;
        is_same(&known.text, secret).then_some(&known.rights)
    }
}

/// Whether two secrets are the same; how long that takes tells nothing of where they
/// differ.
fn is_same(known: &str, given: &str) -> bool {
    // By their hashes, which whoever guesses cannot steer.
    blake3::hash(known.as_bytes()) == blake3::hash(given.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = r#"
        [[key]]
        access-key = "ci"
        secret-key = "a long secret"
        [[key]]
        access-key = "reader"
        secret-key = "another secret"
        buckets = ["cache", "other-cache"]
        read-only = true
    "#;

    fn keys(text: &str) -> Result<Keys, String> {
        let mut keys = Keys::default();
        keys.add_file(text).map_err(|error| error.to_string())?;
        Ok(keys)
    }

    #[test]
    fn each_key_has_its_rights() {
        let keys = keys(FILE).unwrap();
        let allow =
            |key: &str, bucket: &str, writes| keys.rights(key).unwrap().allow(bucket, writes);
        assert!(allow("ci", "any", true));
        assert!(allow("reader", "cache", false));
        assert!(!allow("reader", "cache", true));
        assert!(!allow("reader", "any", false));
        assert!(keys.rights("nobody").is_none());
        assert_eq!(keys.secret("ci"), Some("a long secret"));
        assert_eq!(format!("{keys:?}"), r#"{"ci", "reader"}"#);
    }

    #[test]
    fn secrets_are_recognised_in_headers() {
        let keys = keys(FILE).unwrap();
        let basic = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        assert!(keys.rights_by_header(&basic("ci:a long secret")).is_some());
        assert!(keys.rights_by_header(&basic("ci:another secret")).is_none());
        assert!(keys.rights_by_header(&basic("nobody:a long secret")).is_none());
        let reader = keys.rights_by_header("Bearer another secret");
        assert!(reader.is_some_and(Rights::is_read_only));
        assert!(keys.rights_by_header("bearer ci:a long secret").is_some());
        for bad in [
            "",
            "Bearer",
            "Bearer x",
            "Bearer ",
            "Bearer ci:",
            "Bearer ci:another secret",
            "Basic !",
            "Digest a long secret",
        ] {
            assert!(keys.rights_by_header(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn mistakes_are_told_without_secrets() {
        let check = |text: &str, expected: &str| assert_eq!(keys(text).unwrap_err(), expected);
        check("", "there is no [[key]]");
        check(
            "[[key]]\naccess-key = \"a\"\nsecret-key = \"very secret\"\nbukets = []",
            "line 4: unknown field `bukets`, expected one of `access-key`, `secret-key`, \
             `buckets`, `read-only`",
        );
        check(
            "[[key]]\naccess-key = \"a b\"\nsecret-key = \"very secret\"",
            "an access-key is empty, or has white space, a comma or a slash: \"a b\"",
        );
        check(
            "[[key]]\naccess-key = \"a\"\nsecret-key = \"short\"",
            "the secret-key of a is shorter than 8 characters",
        );
        let one = "[[key]]\naccess-key = \"a\"\nsecret-key = \"very secret\"\n";
        check(&one.repeat(2), "the access-key a is there twice");
        check(
            &format!("{one}buckets = [\"a/b\"]"),
            "the key a: invalid bucket name \"a/b\": it has to be 3 to 63 lower-case letters, \
             digits, dots and hyphens, and to begin and end with a letter or digit",
        );
    }
}
