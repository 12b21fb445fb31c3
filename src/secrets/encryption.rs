//! Encryption: how a tenant's chunks are named, and how they and manifests are sealed.
//!
//! A tenant is whoever has the key. Chunks still deduplicate among all that have it,
//! for the name of a chunk is a keyed hash of its bytes: the same bytes have the same
//! name under one key, and nobody without it can tell whether a store has given bytes.
//!
//! ```text
//! 0   24  nonce, random
//! 24  …   ciphertext, as long as the text
//!     16  Poly1305 tag
//! ```

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, Tag, XChaCha20Poly1305, XNonce};
use zeroize::Zeroizing;

use super::text::{self, InvalidKey, Purpose};
use crate::ids::ChunkId;

const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;

/// Bytes that sealing adds.
pub const SEAL_LEN: u32 = 40;

/// A key that encrypts.
#[derive(Clone)]
pub struct EncryptionKey(Zeroizing<[u8; 32]>);

impl EncryptionKey {
    /// A new key from the system's random numbers.
    pub fn generate() -> Self {
        Self(super::signature::random())
    }

    /// The key as a text, to be kept secret.
    pub fn to_text(&self) -> Zeroizing<String> {
        text::write(Purpose::Encryption, &self.0)
    }

    /// What stores call it.
    pub fn id(&self) -> KeyId {
        KeyId::of(&self.0)
    }
}

impl FromStr for EncryptionKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        text::read(Purpose::Encryption, text).map(Self)
    }
}

impl fmt::Debug for EncryptionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EncryptionKey({})", self.id())
    }
}

/// What tells one encryption key from another, and nothing else of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyId([u8; 8]);

impl KeyId {
    fn of(key: &[u8; 32]) -> Self {
        let mut id = [0; 8];
        id.copy_from_slice(&blake3::derive_key("larder 2026-11-22 encryption key id", key)[..8]);
        Self(id)
    }

    /// The id with exactly these bytes.
    pub const fn from_bytes(bytes: [u8; 8]) -> Self {
        Self(bytes)
    }

    /// The id's bytes.
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// A key at work: one key for each use, derived from it.
pub(super) struct Cipher {
    id: KeyId,
    names: Zeroizing<[u8; 32]>,
    chunks: XChaCha20Poly1305,
    manifests: XChaCha20Poly1305,
}

impl Cipher {
    pub(super) fn new(key: &EncryptionKey) -> Self {
        let derived = |context| Zeroizing::new(blake3::derive_key(context, &*key.0));
        let cipher = |context| XChaCha20Poly1305::new(&(*derived(context)).into());
        Self {
            id: key.id(),
            names: derived("larder 2026-11-22 names of chunks"),
            chunks: cipher("larder 2026-11-22 contents of chunks"),
            manifests: cipher("larder 2026-11-22 bodies of manifests"),
        }
    }

    pub(super) fn id(&self) -> KeyId {
        self.id
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cipher({})", self.id)
    }
}

/// How chunks are named and sealed: under a key, or, by default, in the open.
#[derive(Clone, Debug, Default)]
pub struct Sealing(Option<Arc<Cipher>>);

impl Sealing {
    pub(super) fn under(cipher: Option<Arc<Cipher>>) -> Self {
        Self(cipher)
    }

    /// The key, if there is one.
    pub fn key(&self) -> Option<KeyId> {
        self.0.as_ref().map(|cipher| cipher.id)
    }

    /// The name of a chunk with these raw bytes.
    pub fn name(&self, raw: &[u8]) -> ChunkId {
        match &self.0 {
            Some(cipher) => ChunkId::from_bytes(*blake3::keyed_hash(&cipher.names, raw).as_bytes()),
            None => ChunkId::of(raw),
        }
    }

    /// What is stored of a chunk that was packed like this.
    pub(crate) fn seal_chunk(&self, id: ChunkId, packed: Vec<u8>) -> Vec<u8> {
        match &self.0 {
            Some(cipher) => seal(&cipher.chunks, id.as_bytes(), &packed),
            None => packed,
        }
    }

    /// A chunk as it was packed, in `buffer` if it is not what is stored itself;
    /// `None` if nobody with the key has sealed it under this name.
    pub(crate) fn open_chunk<'a>(
        &self,
        id: ChunkId,
        stored: &'a [u8],
        buffer: &'a mut Vec<u8>,
    ) -> Option<&'a [u8]> {
        match &self.0 {
            Some(cipher) => open(&cipher.chunks, id.as_bytes(), stored, buffer),
            None => Some(stored),
        }
    }

    /// A manifest's body, sealed together with what it belongs to; as it is, without a
    /// key.
    pub(crate) fn seal_body(&self, belongs_to: &[u8], body: Vec<u8>) -> Vec<u8> {
        match &self.0 {
            Some(cipher) => seal(&cipher.manifests, belongs_to, &body),
            None => body,
        }
    }

    /// A manifest's body; `None` if nobody with the key has sealed it for this.
    pub(crate) fn open_body(&self, belongs_to: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let mut body = vec![];
        match &self.0 {
            Some(cipher) => {
                open(&cipher.manifests, belongs_to, sealed, &mut body)?;
            }
            None => body.extend_from_slice(sealed),
        }
        Some(body)
    }
}

/// Seals a text. Nonces are drawn: with 24 bytes of them, a hundred years of saves do
/// not meet one twice.
fn seal(cipher: &XChaCha20Poly1305, belongs_to: &[u8], text: &[u8]) -> Vec<u8> {
    let mut sealed = vec![0; NONCE_LEN];
    getrandom::fill(&mut sealed).expect("the system has random numbers");
    sealed.extend_from_slice(text);
    let (nonce, body) = sealed.split_at_mut(NONCE_LEN);
    let nonce = XNonce::try_from(&*nonce).expect("it was split off at this length");
    let tag = cipher
        .encrypt_inout_detached(&nonce, belongs_to, body.into())
        .expect("a chunk or manifest is shorter than 256 GiB");
    sealed.extend_from_slice(&tag);
    sealed
}

fn open<'a>(
    cipher: &XChaCha20Poly1305,
    belongs_to: &[u8],
    sealed: &[u8],
    buffer: &'a mut Vec<u8>,
) -> Option<&'a [u8]> {
    let (nonce, rest) = sealed.split_at_checked(NONCE_LEN)?;
    let (body, tag) = rest.split_at_checked(rest.len().checked_sub(TAG_LEN)?)?;
    buffer.clear();
    buffer.extend_from_slice(body);
    let nonce = XNonce::try_from(nonce).ok()?;
    let tag = Tag::try_from(tag).ok()?;
    cipher.decrypt_inout_detached(&nonce, belongs_to, buffer.as_mut_slice().into(), &tag).ok()?;
    Some(buffer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealing(key: &EncryptionKey) -> Sealing {
        Sealing::under(Some(Arc::new(Cipher::new(key))))
    }

    #[test]
    fn names_of_chunks_tell_nothing_without_the_key() {
        let (one, other) = (EncryptionKey::generate(), EncryptionKey::generate());
        let name = sealing(&one).name(b"raw");
        assert_eq!(name, sealing(&one).name(b"raw"), "or nothing would deduplicate");
        assert_ne!(name, sealing(&other).name(b"raw"));
        assert_ne!(name, ChunkId::of(b"raw"));
        assert_eq!(Sealing::default().name(b"raw"), ChunkId::of(b"raw"));
    }

    #[test]
    fn only_who_has_the_key_can_open_and_nobody_can_change() {
        let key = EncryptionKey::generate();
        let (ours, theirs) = (sealing(&key), sealing(&EncryptionKey::generate()));
        let id = ours.name(b"some text");
        let stored = ours.seal_chunk(id, b"some text".to_vec());
        assert_eq!(stored.len(), 9 + SEAL_LEN as usize);
        let mut buffer = vec![];
        assert_eq!(ours.open_chunk(id, &stored, &mut buffer), Some(&b"some text"[..]));
        assert_eq!(theirs.open_chunk(id, &stored, &mut buffer), None);
        assert_eq!(ours.open_chunk(ChunkId::of(b"x"), &stored, &mut buffer), None, "swapped");
        assert_ne!(ours.seal_chunk(id, b"some text".to_vec()), stored, "nonces are fresh");
        assert!(!stored.windows(4).any(|window| window == b"text"));
        for at in 0..stored.len() {
            let mut changed = stored.clone();
            changed[at] ^= 1;
            assert_eq!(ours.open_chunk(id, &changed, &mut buffer), None, "{at}");
            assert_eq!(ours.open_chunk(id, &stored[..at], &mut buffer), None, "cut to {at}");
        }
    }

    #[test]
    fn a_body_belongs_to_its_key() {
        let ours = sealing(&EncryptionKey::generate());
        let sealed = ours.seal_body(b"npm", b"tree".to_vec());
        assert_eq!(ours.open_body(b"npm", &sealed), Some(b"tree".to_vec()));
        assert_eq!(ours.open_body(b"pip", &sealed), None);
    }

    #[test]
    fn keys_hide_themselves() {
        let key = EncryptionKey::generate();
        let text = key.to_text();
        assert_eq!(text.parse::<EncryptionKey>().unwrap().id(), key.id());
        let shown = format!("{key:?} {:?}", Cipher::new(&key));
        assert_eq!(shown, format!("EncryptionKey({0}) Cipher({0})", key.id()));
    }
}
