//! `larder keygen`.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use larder::files::FileError;
use larder::secrets::{EncryptionKey, SigningKey};
use serde_json::json;

use super::Prepared;
use super::args::{self, Global};
use super::exit::{Exit, Failure};
use super::session::Session;
use super::{output, secrets};

/// A key belongs to no store.
pub(super) fn prepare(global: Global, arguments: args::Keygen) -> Result<Prepared, Failure> {
    let keys = if arguments.public { Some(secrets::keys(&global)?) } else { None };
    let session = Session::without_store(global)?;
    let work = move |session: &Session| match keys {
        Some(keys) => match keys.signer() {
            Some(public) => {
                tell(session, &[("public_key", secrets::PUBLIC_KEYS, &public.to_string())]);
                Ok(Exit::Success)
            }
            None => Err(Failure::NoSecret { place: secrets::SIGNING_KEY.to_owned() }),
        },
        None => generate(session, &arguments),
    };
    Ok(Prepared { session, transfers: false, work: Box::new(work) })
}

fn generate(session: &Session, arguments: &args::Keygen) -> Result<Exit, Failure> {
    let (name, variable, secret, public) = if arguments.encryption {
        ("encryption_key", secrets::ENCRYPTION_KEY, EncryptionKey::generate().to_text(), None)
    } else {
        let key = SigningKey::generate();
        ("signing_key", secrets::SIGNING_KEY, key.to_text(), Some(key.public().to_string()))
    };
    let mut lines = vec![];
    match &arguments.output {
        Some(path) => write(path, &secret)?,
        None => lines.push((name, variable, secret.as_str())),
    }
    lines.extend(public.iter().map(|key| ("public_key", secrets::PUBLIC_KEYS, key.as_str())));
    tell(session, &lines);
    Ok(Exit::Success)
}

/// Writes a secret into a file of its own that nobody else can read.
fn write(path: &Path, secret: &str) -> Result<(), Failure> {
    let mut options = std::fs::OpenOptions::new();
    let file = options.write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| {
        writeln!(file, "{secret}")?;
        file.sync_all()
    })
    .map_err(|error| FileError::new("write the key to", path, error).into())
    .map_err(Failure::Larder)
}

/// As a file of variables is written, which most CI systems can read.
fn tell(session: &Session, lines: &[(&str, &str, &str)]) {
    if session.json {
        let object: serde_json::Map<_, _> =
            lines.iter().map(|(name, _, value)| ((*name).to_owned(), json!(value))).collect();
        output::json(&object);
    } else {
        for (_, variable, value) in lines {
            output::line(format!("{variable}={value}"));
        }
    }
}
