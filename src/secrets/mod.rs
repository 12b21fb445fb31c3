//! Keys: what larder encrypts and signs with, and what it demands of others.
//!
//! Both are options. With an encryption key, whoever can read the store learns
//! neither contents nor names of files; with a signing key, whoever can write to it
//! cannot pass off a cache as another's. `docs/security.md` says what each promises
//! and what it does not, `docs/format.md` every byte.
//!
//! The algorithms are those of well-kept crates: XChaCha20-Poly1305, ed25519, and
//! blake3's keyed mode.

mod encryption;
mod signature;
mod text;

use std::sync::Arc;

use encryption::Cipher;
pub use encryption::{EncryptionKey, KeyId, SEAL_LEN, Sealing};
pub use signature::{PublicKey, Signature, SigningKey};
pub use text::InvalidKey;

/// Why a manifest that is sound is not relied on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Distrust {
    /// A signature is required, and it has none.
    #[error("it is not signed")]
    NotSigned,
    /// It is signed by somebody who is not trusted.
    #[error("it is signed by {0}, which is not trusted here")]
    Signer(PublicKey),
    /// The signature is not of what it holds.
    #[error("its signature is not of what it holds")]
    Signature,
    /// It has to be encrypted, and is not.
    #[error("it is not encrypted")]
    NotEncrypted,
    /// It is encrypted with a key that is not given.
    #[error("it is encrypted with the key {0}, which is not given")]
    NoKey(KeyId),
    /// What is encrypted is not what somebody with the key has written.
    #[error("it was changed by somebody who has not its encryption key, or it is damaged")]
    Forged,
}

/// The keys of one run.
#[derive(Clone, Debug, Default)]
pub struct Keys {
    /// The first encrypts; all decrypt.
    ciphers: Vec<Arc<Cipher>>,
    signing: Option<SigningKey>,
    /// Whose signatures count. If there are none, none is asked for.
    required: Vec<PublicKey>,
}

impl Keys {
    /// Keys to encrypt with (the first) and to decrypt with (all), to sign with, and
    /// whose signatures are required of what is read. The own key's counts, too, if any
    /// does.
    pub fn new(
        encryption: &[EncryptionKey],
        signing: Option<SigningKey>,
        required: Vec<PublicKey>,
    ) -> Self {
        let ciphers = encryption.iter().map(|key| Arc::new(Cipher::new(key))).collect();
        Self { ciphers, signing, required }
    }

    /// How new chunks are named and sealed.
    pub fn sealing(&self) -> Sealing {
        Sealing::under(self.ciphers.first().cloned())
    }

    /// How those were that were sealed under this key, or under none.
    ///
    /// # Errors
    /// [`Distrust::NoKey`] if the key is not one of these.
    pub fn sealing_of(&self, key: Option<KeyId>) -> Result<Sealing, Distrust> {
        let Some(id) = key else { return Ok(Sealing::default()) };
        let cipher = self.ciphers.iter().find(|cipher| cipher.id() == id);
        cipher.map(|cipher| Sealing::under(Some(Arc::clone(cipher)))).ok_or(Distrust::NoKey(id))
    }

    /// Whether what is not encrypted is not to be relied on.
    pub fn encrypts(&self) -> bool {
        !self.ciphers.is_empty()
    }

    /// Whether what is not signed is not to be relied on.
    pub fn requires_signature(&self) -> bool {
        !self.required.is_empty()
    }

    /// Whether only what a manifest holds says if it is to be relied on.
    pub fn demand_anything(&self) -> bool {
        self.encrypts() || self.requires_signature()
    }

    /// The key to sign with.
    pub fn signing(&self) -> Option<&SigningKey> {
        self.signing.as_ref()
    }

    /// The public half of the key to sign with.
    pub fn signer(&self) -> Option<PublicKey> {
        self.signing.as_ref().map(SigningKey::public)
    }

    /// Whether the signatures of this key count.
    pub fn accepts(&self, key: &PublicKey) -> bool {
        self.required.contains(key) || self.signer().as_ref() == Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_key_seals_and_all_open() {
        let (old, new) = (EncryptionKey::generate(), EncryptionKey::generate());
        let before = Keys::new(std::slice::from_ref(&old), None, vec![]);
        let rotated = Keys::new(&[new, old], None, vec![]);
        let id = before.sealing().key();
        assert_ne!(rotated.sealing().key(), id);
        assert_eq!(rotated.sealing_of(id).unwrap().key(), id);
        assert_eq!(rotated.sealing_of(None).unwrap().key(), None);
        let newest = rotated.sealing().key();
        assert_eq!(before.sealing_of(newest).unwrap_err(), Distrust::NoKey(newest.unwrap()));
    }

    #[test]
    fn the_own_signature_counts() {
        let (own, other) = (SigningKey::generate(), SigningKey::generate());
        let keys = Keys::new(&[], Some(own.clone()), vec![other.public()]);
        assert!(keys.accepts(&own.public()) && keys.accepts(&other.public()));
        assert!(!keys.accepts(&SigningKey::generate().public()));
        assert!(!Keys::default().requires_signature());
    }
}
