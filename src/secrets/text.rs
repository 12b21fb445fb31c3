//! Keys as people keep them: one word that says what it is.
//!
//! ```text
//! larder-signing-key-1-…       36 bytes in base64 for URLs: the key's 32, and a
//! larder-public-key-1-…        check of 4, so that one that lost a character is
//! larder-encryption-key-1-…    refused before anything is done with it
//! ```
//! The word in front keeps one from being taken for another, and lets tools that look
//! for secrets find them.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

/// Bytes of the check at the end.
const CHECK_LEN: usize = 4;

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Encryption,
    Signing,
    Public,
}

impl Purpose {
    const ALL: [Self; 3] = [Self::Encryption, Self::Signing, Self::Public];

    fn prefix(self) -> &'static str {
        match self {
            Self::Encryption => "larder-encryption-key-1-",
            Self::Signing => "larder-signing-key-1-",
            Self::Public => "larder-public-key-1-",
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Encryption => "an encryption key",
            Self::Signing => "a signing key",
            Self::Public => "a public key",
        }
    }
}

/// A text that is not the key that it should be. It does not repeat the text, which may
/// be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// Another kind of key.
    #[error("it is {found}, not {wanted}")]
    OtherPurpose {
        /// What it is.
        found: &'static str,
        /// What it should be.
        wanted: &'static str,
    },
    /// No key of larder's.
    #[error("it is not {wanted}: that begins with {prefix}")]
    NoKey {
        /// What it should be.
        wanted: &'static str,
        /// How that begins.
        prefix: &'static str,
    },
    /// A key of which something is missing or mistyped.
    #[error("it is not whole: characters are missing or wrong")]
    Mistyped,
}

/// The text of a key.
pub(super) fn write(purpose: Purpose, key: &[u8; 32]) -> Zeroizing<String> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(32 + CHECK_LEN));
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(&check(purpose, key));
    let mut text = Zeroizing::new(purpose.prefix().to_owned());
    // As long as it gets, so that no copy is left behind by growing.
    text.reserve(2 * bytes.len());
    URL_SAFE_NO_PAD.encode_string(&*bytes, &mut text);
    text
}

/// The key that a text is.
pub(super) fn read(purpose: Purpose, text: &str) -> Result<Zeroizing<[u8; 32]>, InvalidKey> {
    let wanted = purpose.name();
    let Some(encoded) = text.trim().strip_prefix(purpose.prefix()) else {
        let is_other = |other: &Purpose| text.trim().starts_with(other.prefix());
        return Err(match Purpose::ALL.into_iter().find(is_other) {
            Some(other) => InvalidKey::OtherPurpose { found: other.name(), wanted },
            None => InvalidKey::NoKey { wanted, prefix: purpose.prefix() },
        });
    };
    let bytes = Zeroizing::new(URL_SAFE_NO_PAD.decode(encoded).unwrap_or_default());
    let Some((key, given)) = bytes.split_first_chunk::<32>() else {
        return Err(InvalidKey::Mistyped);
    };
    if given == check(purpose, key) { Ok(Zeroizing::new(*key)) } else { Err(InvalidKey::Mistyped) }
}

fn check(purpose: Purpose, key: &[u8; 32]) -> [u8; CHECK_LEN] {
    let mut hasher = blake3::Hasher::new_derive_key("larder 2026-11-22 check of a key's text");
    hasher.update(purpose.prefix().as_bytes()).update(key);
    let mut check = [0; CHECK_LEN];
    hasher.finalize_xof().fill(&mut check);
    check
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for purpose in Purpose::ALL {
            let text = write(purpose, &[7; 32]);
            assert_eq!(*read(purpose, &text).unwrap(), [7; 32]);
            assert_eq!(*read(purpose, &format!(" {}\n", *text)).unwrap(), [7; 32]);
        }
        // The first key of RFC 8032, 7.1.
        let key = [
            0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64,
            0x07, 0x3a, 0x0e, 0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68,
            0xf7, 0x07, 0x51, 0x1a,
        ];
        assert_eq!(
            *write(Purpose::Public, &key),
            "larder-public-key-1-11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURrTURRM"
        );
    }

    #[test]
    fn mistakes_are_told_apart() {
        let signing = write(Purpose::Signing, &[7; 32]);
        let error = |text: &str| read(Purpose::Public, text).unwrap_err().to_string();
        assert_eq!(error(&signing), "it is a signing key, not a public key");
        assert_eq!(
            error("hunter2"),
            "it is not a public key: that begins with larder-public-key-1-"
        );
        let public = write(Purpose::Public, &[7; 32]);
        let start = Purpose::Public.prefix().len();
        for at in start..public.len() {
            let mut mistyped = public.to_string();
            let other = if &public[at..=at] == "x" { "y" } else { "x" };
            mistyped.replace_range(at..=at, other);
            assert_eq!(read(Purpose::Public, &mistyped), Err(InvalidKey::Mistyped), "{at}");
            assert_eq!(read(Purpose::Public, &public[..at]), Err(InvalidKey::Mistyped), "{at}");
        }
        assert_eq!(read(Purpose::Public, &format!("{}A", *public)), Err(InvalidKey::Mistyped));
    }
}
