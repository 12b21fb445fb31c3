//! Names of things: chunks, packs, stores, scopes and keys.
//!
//! All of them are strings or hashes on the wire; here each is a type of its
//! own, so that one cannot be passed for another. Values are checked where
//! they enter the program and trusted afterwards.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use ulid::Ulid;

/// The name of a chunk: the blake3 hash of its raw (uncompressed) bytes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChunkId([u8; 32]);

impl ChunkId {
    /// Bytes of a chunk id.
    pub const LEN: usize = 32;

    /// Hashes raw bytes to their name.
    pub fn of(raw: &[u8]) -> Self {
        Self(*blake3::hash(raw).as_bytes())
    }

    /// The id with exactly these bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The id's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(blake3::Hash::from_bytes(self.0).to_hex().as_str())
    }
}

impl fmt::Debug for ChunkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Eight digits tell chunks apart in any log a person reads.
        write!(f, "ChunkId({:.8})", self.to_string())
    }
}

macro_rules! ulid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Ulid);

        impl $name {
            /// A fresh id: 48 bits of milliseconds since 1970, 80 random bits.
            pub fn generate() -> Self {
                Self(Ulid::generate())
            }

            /// The id with exactly these bytes (big-endian).
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Ulid::from_bytes(bytes))
            }

            /// The id's bytes (big-endian).
            pub const fn to_bytes(self) -> [u8; 16] {
                self.0.to_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                // Only the canonical (upper case) spelling: an object under any
                // other name was not written by larder.
                match Ulid::from_string(text) {
                    Ok(id) if id.to_string() == text => Ok(Self(id)),
                    _ => Err(InvalidName::new(stringify!($name), text, "not a ULID")),
                }
            }
        }
    };
}

ulid_id! {
    /// The name of a pack: a fresh ULID, never reused.
    PackId
}
ulid_id! {
    /// The name of an index delta: a fresh ULID, so that listing them is
    /// listing them by age.
    DeltaId
}
ulid_id! {
    /// The name of an index table: a fresh ULID, never reused.
    TableId
}
ulid_id! {
    /// The identity of a store, drawn when its format marker is created.
    StoreId
}

/// The longest key or scope, in bytes. The most that actions/cache takes for a
/// key is 512 characters.
pub const MAX_NAME_LEN: usize = 512;

/// A name that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what} {text:?}: {why}")]
pub struct InvalidName {
    what: &'static str,
    text: String,
    why: &'static str,
}

impl InvalidName {
    fn new(what: &'static str, text: &str, why: &'static str) -> Self {
        let text = text.chars().take(MAX_NAME_LEN).collect();
        Self { what, text, why }
    }
}

fn check_name(what: &'static str, text: &str) -> Result<(), InvalidName> {
    let why = if text.is_empty() {
        "it is empty"
    } else if text.len() > MAX_NAME_LEN {
        "it is longer than 512 bytes"
    } else if text.chars().any(char::is_control) {
        "it has a control character"
    } else {
        return Ok(());
    };
    Err(InvalidName::new(what, text, why))
}

macro_rules! text_name {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;

            fn from_str(text: &str) -> Result<Self, InvalidName> {
                check_name($what, text)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;

            fn try_from(text: String) -> Result<Self, InvalidName> {
                check_name($what, &text)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_name! {
    /// The name a cache is saved under: 1 to 512 bytes of UTF-8 without
    /// control characters.
    Key, "key"
}
text_name! {
    /// A namespace of keys in a store, usually `org/repo`; same rules as [`Key`].
    Scope, "scope"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert!("npm-linux-5f3e".parse::<Key>().is_ok());
        assert!("ключ/ключ".parse::<Key>().is_ok());
        assert!("x".repeat(512).parse::<Key>().is_ok());
        let why = |text: &str| text.parse::<Key>().unwrap_err().to_string();
        assert_eq!(why(""), r#"invalid key "": it is empty"#);
        assert_eq!(why("a\nb"), r#"invalid key "a\nb": it has a control character"#);
        assert!(why(&"x".repeat(513)).ends_with("it is longer than 512 bytes"));
    }

    #[test]
    fn ulids_have_one_spelling() {
        let id = PackId::generate();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!(id.to_string().to_lowercase().parse::<PackId>().is_err());
        assert_eq!(PackId::from_bytes(id.to_bytes()), id);
    }
}
