//! Signatures: ed25519, by whoever saves, of what a manifest says.

use std::fmt;
use std::str::FromStr;

use ed25519_dalek::{Signer, VerifyingKey};
use zeroize::Zeroizing;

use super::text::{self, InvalidKey, Purpose};

/// 32 bytes from the system's random numbers.
pub(super) fn random() -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    getrandom::fill(&mut *bytes).expect("the system has random numbers");
    bytes
}

/// A key that signs: to be kept secret.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// A new key from the system's random numbers.
    pub fn generate() -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(&random()))
    }

    /// The key as a text, to be kept secret.
    pub fn to_text(&self) -> Zeroizing<String> {
        text::write(Purpose::Signing, self.0.as_bytes())
    }

    /// What others need to check its signatures.
    pub fn public(&self) -> PublicKey {
        PublicKey(self.0.verifying_key().to_bytes())
    }

    /// Signs a message.
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature { by: self.public(), bytes: self.0.sign(message).to_bytes() }
    }
}

impl FromStr for SigningKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let key = text::read(Purpose::Signing, text)?;
        Ok(Self(ed25519_dalek::SigningKey::from_bytes(&key)))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey(of {})", self.public())
    }
}

/// A key that checks signatures: for everybody.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublicKey([u8; 32]);

impl PublicKey {
    /// The key with exactly these bytes, whether or not they are any.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The key's bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl FromStr for PublicKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let key = text::read(Purpose::Public, text)?;
        // Some are no point of the curve, or one that anybody can sign for.
        let is_sound = VerifyingKey::from_bytes(&key).is_ok_and(|key| !key.is_weak());
        if is_sound { Ok(Self(*key)) } else { Err(InvalidKey::Mistyped) }
    }
}

impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::write(Purpose::Public, &self.0))
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// A signature, and whose it says to be.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature {
    /// The key that checks it.
    pub by: PublicKey,
    /// The 64 bytes of ed25519.
    pub bytes: [u8; 64],
}

impl Signature {
    /// Whether `by` has signed this message. The strict check: no signature can be
    /// changed into another of the same message.
    pub fn is_of(&self, message: &[u8]) -> bool {
        let signature = ed25519_dalek::Signature::from_bytes(&self.bytes);
        VerifyingKey::from_bytes(self.by.as_bytes())
            .is_ok_and(|key| key.verify_strict(message, &signature).is_ok())
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature(by {})", self.by)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_message_by_one_key() {
        let key = SigningKey::generate();
        let signature = key.sign(b"message");
        assert!(signature.is_of(b"message"));
        assert!(!signature.is_of(b"massage"));
        let by = SigningKey::generate().public();
        assert!(!Signature { by, ..signature }.is_of(b"message"));
        for at in 0..64 {
            let mut bytes = signature.bytes;
            bytes[at] ^= 1;
            assert!(!Signature { bytes, ..signature }.is_of(b"message"), "{at}");
        }
    }

    /// Key 1 of RFC 8032, 7.1: an empty message.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let secret = [
            0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec,
            0x2c, 0xc4, 0x44, 0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03,
            0x1c, 0xae, 0x7f, 0x60,
        ];
        let key = SigningKey(ed25519_dalek::SigningKey::from_bytes(&secret));
        assert_eq!(key.public().as_bytes()[..4], [0xd7, 0x5a, 0x98, 0x01]);
        assert_eq!(key.sign(b"").bytes[..4], [0xe5, 0x56, 0x43, 0x00]);
    }

    /// The point of order one: anything is signed by it where that is not looked at.
    #[test]
    fn weak_keys_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        let text = PublicKey(identity).to_string();
        assert_eq!(text.parse::<PublicKey>(), Err(InvalidKey::Mistyped));
        let signature = Signature { by: PublicKey(identity), bytes: [0; 64] };
        assert!(!signature.is_of(b"anything"));
    }

    #[test]
    fn keys_are_texts() {
        let key = SigningKey::generate();
        assert_eq!(key.to_text().parse::<SigningKey>().unwrap().public(), key.public());
        assert_eq!(key.public().to_string().parse(), Ok(key.public()));
        assert!(!format!("{key:?}").contains(&**key.to_text()));
    }
}
