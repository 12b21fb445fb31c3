//! Packages as plain objects in the bucket, one a file, as deployments read them
//! that know nothing of larder: `artifacts/<commit>/<file>`.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use larder::error::Error;
use larder::files::{self, FileError};
use larder::format::{Kind, Tree};
use larder::ids::Key;
use larder::repository::Repository;
use larder::restore::{Destination, RestoreRequest, restore};
use larder::store::{PlainKey, S3Store};
use sha2::{Digest as _, Sha256};

use super::assets::AssetsFailure;
use super::exit::Failure;
use super::session::Session;

/// The bucket that a store lies in.
pub(super) struct Plain {
    bucket: S3Store,
}

/// What each object says of itself in its metadata.
pub(super) struct Facts<'a> {
    pub(super) commit: &'a str,
    pub(super) code: Option<&'a str>,
}

impl Plain {
    /// The bucket, if plain objects are wanted.
    pub(super) fn of(session: &Session, wanted: bool) -> Result<Option<Self>, Failure> {
        if !wanted {
            return Ok(None);
        }
        let bucket = session.bucket()?.ok_or(AssetsFailure::NoPlain)?;
        Ok(Some(Self { bucket }))
    }

    /// Puts a file with what deployments go by: Lambda compares the hash of what
    /// it runs, SHA-256 in base64.
    fn put(&self, key: &PlainKey, file: &Path, facts: &Facts<'_>) -> Result<(), Failure> {
        let hash = sha256(file).map_err(|error| FileError::new("read", file, error));
        let hash = hash.map_err(Error::from)?;
        let mut metadata = vec![("commit-hash", facts.commit), ("package-hash", hash.as_str())];
        metadata.extend(facts.code.map(|code| ("code-hash", code)));
        self.bucket.put_plain(key, file, &metadata).map_err(Error::from)?;
        Ok(())
    }
}

/// Puts all packages of a directory under one key's name, and under a second by
/// copying them on the server. Gives the number of objects written.
pub(super) fn put_all(
    session: &Session,
    plain: &Plain,
    packages: &Path,
    first: &Key,
    second: Option<&Key>,
    facts: &Facts<'_>,
) -> Result<u64, Failure> {
    let mut written = 0;
    for Package { path, .. } in packages_of(session, first)? {
        session.context().check()?;
        let name = object(first, &path)?;
        let file = packages.join(files::os_name(&path));
        // A link that leads to no file.
        if !file.is_file() {
            continue;
        }
        plain.put(&name, &file, facts)?;
        written += 1;
        if let Some(second) = second {
            let copy = object(second, &path)?;
            // Deleted in this moment, it is put anew.
            if !plain.bucket.copy_plain(&name, &copy).map_err(Error::from)? {
                plain.put(&copy, &file, facts)?;
            }
            written += 1;
        }
    }
    Ok(written)
}

/// Sees to it that all packages under a key are plain objects, too: copies those
/// that another key has, and brings the others back from the store. Gives the
/// number of objects written.
pub(super) fn complete(
    session: &Session,
    plain: &Plain,
    key: &Key,
    from: Option<&Key>,
    facts: &Facts<'_>,
) -> Result<u64, Failure> {
    let listed = plain.bucket.list_plain(&format!("{key}/")).map_err(Error::from)?;
    let there: HashMap<&str, u64> =
        listed.iter().map(|object| (object.key.as_str(), object.len)).collect();
    let mut lacking = vec![];
    let mut written = 0;
    for Package { path, len } in packages_of(session, key)? {
        session.context().check()?;
        let name = object(key, &path)?;
        let is_same = |&there: &u64| len.is_none_or(|len| len == there);
        if there.get(name.as_str()).is_some_and(is_same) {
            continue;
        }
        let copied = match from {
            Some(from) => {
                let source = object(from, &path)?;
                plain.bucket.copy_plain(&source, &name).map_err(Error::from)?
            }
            None => false,
        };
        if copied {
            written += 1;
        } else {
            lacking.push((path, name));
        }
    }
    if !lacking.is_empty() {
        written += put_from_store(session, plain, key, &lacking, facts)?;
    }
    Ok(written)
}

/// Puts packages that no plain object has, and gives how many.
fn put_from_store(
    session: &Session,
    plain: &Plain,
    key: &Key,
    lacking: &[(Vec<u8>, PlainKey)],
    facts: &Facts<'_>,
) -> Result<u64, Failure> {
    let directory = tempfile::tempdir()
        .map_err(|error| FileError::new("make a directory in", std::env::temp_dir(), error))
        .map_err(Error::from)?;
    let below = Destination::Below(directory.path().to_owned());
    let request = RestoreRequest::new(session.scope.clone(), vec![key.clone()], below);
    restore(session.store_for_reading()?, &request, session.context())?;
    let mut written = 0;
    for (path, name) in lacking {
        let file = directory.path().join(files::os_name(path));
        // A link out of the packages leads nowhere from there.
        if file.is_file() {
            plain.put(name, &file, facts)?;
            written += 1;
        }
    }
    Ok(written)
}

/// A file under a key, or a link, which as an object is what it leads to.
struct Package {
    path: Vec<u8>,
    /// The file's length, in bytes.
    len: Option<u64>,
}

/// The files and links under a key.
fn packages_of(session: &Session, key: &Key) -> Result<Vec<Package>, Failure> {
    let repository = Repository::open(session.store_for_reading()?)?;
    let stored = match repository {
        Some(repository) => repository.manifest(&session.scope, key)?,
        None => None,
    };
    let tree = stored.map(|stored| stored.manifest.tree).unwrap_or_default();
    let package = |index| {
        let len = match tree.entry(index).kind {
            Kind::Directory => return None,
            Kind::Symlink => None,
            Kind::File(file) => Some(file.size),
            Kind::HardLink { first } => Some(length(&tree, first)),
        };
        Some(Package { path: tree.path(index), len })
    };
    Ok(tree.indexes().filter_map(package).collect())
}

fn length(tree: &Tree, index: u32) -> u64 {
    match tree.entry(index).kind {
        Kind::File(file) => file.size,
        _ => 0,
    }
}

/// The object of a package.
fn object(key: &Key, path: &[u8]) -> Result<PlainKey, Failure> {
    let name = format!("{key}/{}", String::from_utf8_lossy(path));
    // What is not UTF-8 would get the name of another.
    let name = PlainKey::new(name).ok().filter(|_| std::str::from_utf8(path).is_ok());
    name.ok_or_else(|| AssetsFailure::PlainName(larder::relpath::display(path).into_owned()).into())
}

fn sha256(file: &Path) -> io::Result<String> {
    let mut reader = std::fs::File::open(file)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 128 << 10];
    loop {
        match reader.read(&mut buffer)? {
            0 => return Ok(STANDARD.encode(hasher.finalize())),
            len => hasher.update(&buffer[..len]),
        }
    }
}
