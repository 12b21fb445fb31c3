//! Manifests as they are kept: what garbage collection needs in the open, and a body
//! with all else.
//!
//! Whoever flushes or refreshes a cache changes what is open, and needs no key for it:
//! the body stays as it is, byte for byte. A body may be encrypted. It belongs to one
//! scope, key and list of chunks, and cannot be moved to another.
//!
//! A signature is of the scope, the key, the time of the save, the names and lengths
//! of the chunks, and the body. It is not of what others may change: facts of use, and
//! where chunks lie, for a chunk that is not what its name says is never used.

use serde::{Deserialize, Serialize};
use serde_bytes::{ByteBuf, Bytes};

use super::chunk_table::{self, ChunkTable};
use super::envelope::{self, EnvelopeKind};
use super::manifest::{Annotation, MAX_ANNOTATION_LEN, Manifest, ManifestFacts, WireFacts};
use super::tree_builder::check_stream;
use super::{FormatError, tree_columns};
use crate::ids::{Key, Scope};
use crate::secrets::{Distrust, KeyId, Keys, PublicKey, Signature};

pub(super) const KIND: EnvelopeKind = EnvelopeKind { letter: b'M', name: "manifest", version: 1 };

/// What is encrypted of a manifest.
pub(super) const BODY: EnvelopeKind =
    EnvelopeKind { letter: b'B', name: "manifest body", version: 1 };

/// The longest manifest that is read, in bytes before compression: room for
/// some ten million files.
pub const MAX_MANIFEST_LEN: u64 = 1 << 30;

/// The most chunks of a stream, each counted as often as it occurs: so that one short
/// object cannot claim more than memory holds. Four terabytes in chunks of usual length.
const MAX_SEQUENCE: usize = 1 << 25;

/// A manifest as it is kept.
#[derive(Clone, Debug)]
pub struct SealedManifest {
    /// The namespace of the key.
    pub scope: Scope,
    /// The name it was saved under.
    pub key: Key,
    /// What garbage collection needs to know of it.
    pub facts: ManifestFacts,
    /// The chunks and where they lie, each once.
    pub chunks: ChunkTable,
    sealed_by: Option<KeyId>,
    signature: Option<Signature>,
    body: Vec<u8>,
}

/// Why a manifest cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It is not sound.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// It is not to be trusted.
    #[error(transparent)]
    Distrust(#[from] Distrust),
}

#[derive(Deserialize)]
struct Wire {
    scope: Scope,
    key: Key,
    facts: WireFacts,
    chunks: chunk_table::Columns,
    sealed_by: Option<ByteBuf>,
    signature: Option<WireSignature>,
    body: ByteBuf,
}

/// A manifest less its body, which is most of it.
#[derive(Deserialize)]
struct WireReferences {
    scope: Scope,
    key: Key,
    facts: WireFacts,
    chunks: chunk_table::Columns,
    sealed_by: Option<ByteBuf>,
}

#[derive(Serialize, Deserialize)]
struct WireSignature {
    by: ByteBuf,
    bytes: ByteBuf,
}

#[derive(Serialize, Deserialize)]
struct WireBody {
    writer: String,
    created: i64,
    annotation: ByteBuf,
    tree: tree_columns::Columns,
    sequence: Vec<u32>,
}

/// What a manifest refers to, and for how long.
#[derive(Clone, Debug)]
pub struct References {
    /// The namespace of the key.
    pub scope: Scope,
    /// The name it was saved under.
    pub key: Key,
    /// What garbage collection needs to know of it.
    pub facts: ManifestFacts,
    /// The chunks and where they lie, each once.
    pub chunks: ChunkTable,
    /// The key that the chunks are sealed with; `None` if they are not encrypted.
    pub sealed_by: Option<KeyId>,
}

impl References {
    /// Reads these of a manifest, and passes over its body.
    ///
    /// # Errors
    /// [`FormatError`] if these are not the bytes of a manifest. The body is not
    /// looked at, so one that is unsound can pass.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let wire: WireReferences = envelope::open(KIND, bytes, MAX_MANIFEST_LEN)?;
        Ok(Self {
            scope: wire.scope,
            key: wire.key,
            facts: wire.facts.into_facts(),
            chunks: ChunkTable::from_columns(&wire.chunks)?,
            sealed_by: key_id(wire.sealed_by.as_ref())?,
        })
    }
}

impl SealedManifest {
    /// Closes a manifest: with the key that its chunks are sealed with, and signed, if
    /// there is a key to sign with.
    ///
    /// # Errors
    /// [`Distrust::NoKey`] if that key is not there.
    pub fn close(manifest: &Manifest, keys: &Keys) -> Result<Self, Distrust> {
        let wire = WireBody {
            writer: manifest.writer.clone(),
            created: manifest.created,
            annotation: ByteBuf::from(manifest.annotation.as_bytes()),
            tree: tree_columns::Columns::of(&manifest.tree),
            sequence: manifest.sequence.clone(),
        };
        // What is encrypted cannot be compressed any more. In the open, the envelope
        // around all of it compresses best.
        let body = match manifest.sealed_by {
            Some(_) => envelope::seal(BODY, &wire),
            None => rmp_serde::to_vec_named(&wire).expect("plain data always serializes"),
        };
        Self::close_over(manifest, body, keys)
    }

    /// Closes a manifest over a body that is written already.
    pub(super) fn close_over(
        manifest: &Manifest,
        body: Vec<u8>,
        keys: &Keys,
    ) -> Result<Self, Distrust> {
        let sealing = keys.sealing_of(manifest.sealed_by)?;
        let mut sealed = Self {
            scope: manifest.scope.clone(),
            key: manifest.key.clone(),
            facts: manifest.facts.clone(),
            chunks: manifest.chunks.clone(),
            sealed_by: manifest.sealed_by,
            signature: None,
            body: vec![],
        };
        sealed.body = sealing.seal_body(&sealed.belongs_to(), body);
        sealed.signature = keys.signing().map(|key| key.sign(&sealed.statement()));
        Ok(sealed)
    }

    /// The manifest, if it is sound, and as far as these keys ask for it, encrypted
    /// and signed.
    ///
    /// # Errors
    /// [`OpenError`] says what is in the way.
    pub fn open(self, keys: &Keys) -> Result<Manifest, OpenError> {
        let signed_by = self.signer()?;
        if keys.requires_signature() {
            let by = signed_by.ok_or(Distrust::NotSigned)?;
            if !keys.accepts(&by) {
                return Err(Distrust::Signer(by).into());
            }
        }
        let wire = match self.sealed_by {
            None if keys.encrypts() => return Err(Distrust::NotEncrypted.into()),
            None => rmp_serde::from_slice(&self.body)
                .map_err(|error| FormatError::Encoding(error.to_string()))?,
            Some(_) => {
                let sealing = keys.sealing_of(self.sealed_by)?;
                let body = sealing.open_body(&self.belongs_to(), &self.body);
                envelope::open(BODY, &body.ok_or(Distrust::Forged)?, MAX_MANIFEST_LEN)?
            }
        };
        Ok(self.with_body(wire, signed_by)?)
    }

    fn with_body(
        self,
        wire: WireBody,
        signed_by: Option<PublicKey>,
    ) -> Result<Manifest, FormatError> {
        if wire.sequence.len() > MAX_SEQUENCE {
            return Err(FormatError::Inconsistent("there are too many chunks in its stream"));
        }
        let mut stream_len = 0u64;
        for &row in &wire.sequence {
            let (_, location) = self.chunks.rows().get(row as usize).ok_or(
                FormatError::Inconsistent("the sequence names a chunk that is not listed"),
            )?;
            // Cannot overflow: fewer than 2^32 rows of at most 2^24 bytes.
            stream_len += u64::from(location.raw_len);
        }
        let tree = wire.tree.into_tree()?;
        check_stream(&tree, stream_len)?;
        let annotation = wire.annotation.into_vec();
        let claimed = annotation.len() as u64;
        let allowed = MAX_ANNOTATION_LEN as u64;
        let annotation =
            Annotation::new(annotation).ok_or(FormatError::TooLong { claimed, allowed })?;
        Ok(Manifest {
            scope: self.scope,
            key: self.key,
            writer: wire.writer,
            created: wire.created,
            facts: self.facts,
            annotation,
            tree,
            sequence: wire.sequence,
            chunks: self.chunks,
            sealed_by: self.sealed_by,
            signed_by,
        })
    }

    /// Who has signed it, if anybody says so.
    fn signer(&self) -> Result<Option<PublicKey>, Distrust> {
        match &self.signature {
            None => Ok(None),
            Some(signature) if signature.is_of(&self.statement()) => Ok(Some(signature.by)),
            Some(_) => Err(Distrust::Signature),
        }
    }

    /// What a body belongs to, as a hash.
    fn belongs_to(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key("larder 2026-11-22 a manifest's body");
        self.hash_identity(&mut hasher);
        *hasher.finalize().as_bytes()
    }

    /// What is signed, as a hash.
    fn statement(&self) -> [u8; 32] {
        let mut hasher =
            blake3::Hasher::new_derive_key("larder 2026-11-22 signature of a manifest");
        self.hash_identity(&mut hasher);
        hasher.update(&self.facts.saved.unix().to_le_bytes());
        hasher.update(&self.sealed_by.map_or([0; 8], |key| *key.as_bytes()));
        hasher.update(&self.body);
        *hasher.finalize().as_bytes()
    }

    /// Each part with its length before it: no two manifests give the same bytes.
    fn hash_identity(&self, hasher: &mut blake3::Hasher) {
        let texts = [self.scope.as_str(), self.key.as_str()];
        for text in texts {
            hasher.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
        }
        hasher.update(&(self.chunks.rows().len() as u64).to_le_bytes());
        for (id, at) in self.chunks.rows() {
            hasher.update(id.as_bytes()).update(&at.raw_len.to_le_bytes());
        }
    }

    /// The manifest's bytes.
    pub fn encode(&self) -> Vec<u8> {
        #[derive(Serialize)]
        struct Borrowed<'a> {
            scope: &'a Scope,
            key: &'a Key,
            facts: WireFacts,
            chunks: chunk_table::Columns,
            sealed_by: Option<&'a Bytes>,
            signature: Option<WireSignature>,
            body: &'a Bytes,
        }
        let wire = Borrowed {
            scope: &self.scope,
            key: &self.key,
            facts: WireFacts::of(&self.facts),
            chunks: self.chunks.to_columns(),
            sealed_by: self.sealed_by.as_ref().map(|key| Bytes::new(key.as_bytes())),
            signature: self.signature.map(|signature| WireSignature {
                by: ByteBuf::from(signature.by.as_bytes()),
                bytes: ByteBuf::from(signature.bytes),
            }),
            body: Bytes::new(&self.body),
        };
        envelope::seal(KIND, &wire)
    }

    /// Reads a manifest, and leaves it closed.
    ///
    /// # Errors
    /// [`FormatError`] if these are not the bytes of a manifest. The body is not
    /// looked at.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let wire: Wire = envelope::open(KIND, bytes, MAX_MANIFEST_LEN)?;
        let read = |signature: WireSignature| -> Result<_, FormatError> {
            let by = PublicKey::from_bytes(exactly(&signature.by)?);
            Ok(Signature { by, bytes: exactly(&signature.bytes)? })
        };
        Ok(Self {
            scope: wire.scope,
            key: wire.key,
            facts: wire.facts.into_facts(),
            chunks: ChunkTable::from_columns(&wire.chunks)?,
            sealed_by: key_id(wire.sealed_by.as_ref())?,
            signature: wire.signature.map(read).transpose()?,
            body: wire.body.into_vec(),
        })
    }
}

/// The name of a key, if there is one.
pub(super) fn key_id(bytes: Option<&ByteBuf>) -> Result<Option<KeyId>, FormatError> {
    bytes.map(|bytes| Ok(KeyId::from_bytes(exactly(bytes)?))).transpose()
}

/// Bytes of one length.
fn exactly<const N: usize>(bytes: &[u8]) -> Result<[u8; N], FormatError> {
    <[u8; N]>::try_from(bytes)
        .map_err(|_| FormatError::Inconsistent("a key or signature has another length"))
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use crate::ids::ChunkId;
    use crate::secrets::{EncryptionKey, SigningKey};
    use crate::store_time::StoreTime;

    fn keys(encryption: &[EncryptionKey], signing: Option<&SigningKey>) -> Keys {
        Keys::new(encryption, signing.cloned(), vec![])
    }

    fn requiring(key: &SigningKey) -> Keys {
        Keys::new(&[], None, vec![key.public()])
    }

    fn manifest() -> Manifest {
        let file = |number: u32| (ChunkId::of(&number.to_le_bytes()), 1000 + number, 900);
        testing::manifest(testing::small_tree(), &(0..4).map(file).collect::<Vec<_>>())
    }

    fn reopened(sealed: &SealedManifest, keys: &Keys) -> Result<Manifest, OpenError> {
        SealedManifest::decode(&sealed.encode())?.open(keys)
    }

    type Change = fn(&mut SealedManifest);

    /// What of a manifest nobody but its saver may change.
    fn changes() -> Vec<(&'static str, Change)> {
        vec![
            ("scope", |sealed| sealed.scope = "other/scope".parse().unwrap()),
            ("key", |sealed| sealed.key = "other-key".parse().unwrap()),
            ("body", |sealed| *sealed.body.last_mut().unwrap() ^= 1),
            ("a chunk more", |sealed| {
                let (_, at) = sealed.chunks.get(0);
                sealed.chunks.push(ChunkId::of(b"more"), at);
            }),
            ("other chunks", |sealed| {
                let rows: Vec<_> = sealed.chunks.rows().iter().rev().copied().collect();
                sealed.chunks = ChunkTable::default();
                for (id, at) in rows {
                    sealed.chunks.push(id, at);
                }
            }),
        ]
    }

    #[test]
    fn a_signature_covers_all_but_what_flushes_change() {
        let key = SigningKey::generate();
        let signed = SealedManifest::close(&manifest(), &keys(&[], Some(&key))).unwrap();
        assert_eq!(reopened(&signed, &requiring(&key)).unwrap().signed_by, Some(key.public()));
        let saved = |sealed: &mut SealedManifest| sealed.facts.saved = StoreTime::from_unix(77);
        for (what, change) in changes().into_iter().chain([("saved", saved as Change)]) {
            let mut changed = signed.clone();
            change(&mut changed);
            let refused = reopened(&changed, &requiring(&key)).unwrap_err();
            assert_eq!(refused, OpenError::Distrust(Distrust::Signature), "{what}");
            // One that is wrong is worse than none, for whoever asks for none.
            assert!(reopened(&changed, &Keys::default()).is_err(), "{what}");
        }
        let mut moved = signed.clone();
        moved.facts.used = Some(StoreTime::from_unix(5));
        moved.facts.moves += 1;
        moved.facts.epoch += 1;
        let (id, mut at) = moved.chunks.get(0);
        at.offset += 1;
        let rest = moved.chunks.rows()[1..].to_vec();
        moved.chunks = ChunkTable::default();
        for (id, at) in std::iter::once((id, at)).chain(rest) {
            moved.chunks.push(id, at);
        }
        assert!(reopened(&moved, &requiring(&key)).is_ok());
    }

    #[test]
    fn only_required_signatures_count() {
        let (ours, theirs) = (SigningKey::generate(), SigningKey::generate());
        let unsigned = SealedManifest::close(&manifest(), &Keys::default()).unwrap();
        let by_them = SealedManifest::close(&manifest(), &keys(&[], Some(&theirs))).unwrap();
        let why = |sealed| reopened(sealed, &requiring(&ours)).unwrap_err();
        assert_eq!(why(&unsigned), Distrust::NotSigned.into());
        assert_eq!(why(&by_them), Distrust::Signer(theirs.public()).into());
        let both = Keys::new(&[], None, vec![ours.public(), theirs.public()]);
        assert!(reopened(&by_them, &both).is_ok());
        let mut passed_off = by_them.clone();
        passed_off.signature.as_mut().unwrap().by = ours.public();
        assert_eq!(why(&passed_off), Distrust::Signature.into());
    }

    #[test]
    fn an_encrypted_manifest_shows_no_names_and_cannot_be_changed() {
        let key = EncryptionKey::generate();
        let ours = keys(std::slice::from_ref(&key), None);
        let manifest = Manifest { sealed_by: Some(key.id()), ..manifest() };
        let sealed = SealedManifest::close(&manifest, &ours).unwrap();
        let opened = reopened(&sealed, &ours).unwrap();
        assert!(opened.same_contents(&manifest));
        assert_eq!(opened.sealed_by, Some(key.id()));
        for (what, change) in changes() {
            let mut changed = sealed.clone();
            change(&mut changed);
            let refused = reopened(&changed, &ours).unwrap_err();
            assert_eq!(refused, Distrust::Forged.into(), "{what}");
        }
        assert_eq!(
            reopened(&sealed, &Keys::default()).unwrap_err(),
            Distrust::NoKey(key.id()).into()
        );
        let in_the_open = SealedManifest::close(&self::manifest(), &Keys::default()).unwrap();
        assert_eq!(reopened(&in_the_open, &ours).unwrap_err(), Distrust::NotEncrypted.into());
        let name = testing::small_tree().name(1).to_vec();
        let shows = |sealed: &SealedManifest| {
            sealed.body.windows(name.len()).any(|window| window == &*name)
        };
        assert!(shows(&in_the_open) && !shows(&sealed), "{name:?}");
        // Flushes need no key.
        let references = References::decode(&sealed.encode()).unwrap();
        assert_eq!(references.chunks, manifest.chunks);
    }
}
