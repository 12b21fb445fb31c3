//! Keys that encrypt and sign, from variables and files: never from a flag, which every
//! process of the machine can read.

use std::path::Path;
use std::str::FromStr;

use larder::secrets::{EncryptionKey, InvalidKey, Keys, SigningKey};
use zeroize::Zeroizing;

use super::args::Global;
use super::exit::Failure;

/// The variable with the key that signs.
pub(super) const SIGNING_KEY: &str = "LARDER_SIGNING_KEY";

/// The variable with the keys that encrypt and decrypt, the first of which encrypts.
pub(super) const ENCRYPTION_KEY: &str = "LARDER_ENCRYPTION_KEY";

/// The variable with the keys whose signatures are required.
pub(super) const PUBLIC_KEYS: &str = "LARDER_REQUIRE_SIGNATURE";

/// The keys of a run.
pub(super) fn keys(global: &Global) -> Result<Keys, Failure> {
    let encryption: Vec<EncryptionKey> =
        read(global.encryption_key_file.as_deref(), ENCRYPTION_KEY)?;
    let signing: Vec<SigningKey> = read(global.signing_key_file.as_deref(), SIGNING_KEY)?;
    if signing.len() > 1 {
        return Err(Failure::SeveralSigningKeys);
    }
    Ok(Keys::new(&encryption, signing.into_iter().next(), global.require_signature.clone()))
}

/// The keys in a file, or else in a variable: one after the other, with commas or white
/// space between them.
fn read<K: FromStr<Err = InvalidKey>>(
    file: Option<&Path>,
    variable: &str,
) -> Result<Vec<K>, Failure> {
    let (place, text) = match file {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .map_err(|error| Failure::SecretFile { path: path.to_owned(), error })?;
            (path.display().to_string(), Zeroizing::new(text))
        }
        None => {
            let text = std::env::var(variable).unwrap_or_default();
            (variable.to_owned(), Zeroizing::new(text))
        }
    };
    let words = text.split(|c: char| c == ',' || c.is_whitespace());
    let keys: Result<Vec<K>, InvalidKey> =
        words.filter(|word| !word.is_empty()).map(str::parse).collect();
    let keys = keys.map_err(|why| Failure::Secret { place: place.clone(), why })?;
    if keys.is_empty() && file.is_some() {
        return Err(Failure::NoSecret { place });
    }
    Ok(keys)
}
