//! Packages as plain objects in the bucket, one a file, as deployments read them
//! that know nothing of larder: `artifacts/<commit>/<file>`.

use std::collections::HashMap;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use larder::error::Error;
use larder::files::FileError;
use larder::ids::Key;
use larder::progress::{Context, Phase};
use larder::store::{PlainKey, S3Store};
use larder::workers;
use sha2::{Digest as _, Sha256};

use super::{AssetsFailure, Package};

/// Objects that are put or copied at once.
const AT_ONCE: usize = 8;

/// The bucket that a store lies in.
pub(crate) struct Plain {
    pub(crate) bucket: S3Store,
}

/// What each object says of itself in its metadata.
#[derive(Clone, Copy)]
pub(super) struct Facts<'a> {
    pub(super) commit: &'a str,
    pub(super) code: Option<&'a str>,
}

impl Plain {
    /// Puts all packages of a directory under one key's name, and under a second
    /// by copying them on the server. Gives the number of objects written.
    pub(super) fn put_all(
        &self,
        packages: &[Package],
        directory: &Path,
        (first, second): (&Key, Option<&Key>),
        facts: Facts<'_>,
        context: Context<'_>,
    ) -> Result<u64, AssetsFailure> {
        let mut work = vec![];
        for package in packages {
            let second = second.map(|second| object(second, package)).transpose()?;
            work.push((package.below(directory), package.len, object(first, package)?, second));
        }
        let written = AtomicU64::new(0);
        context.progress.begin(Phase::Plain, work.len() as u64, total(packages));
        workers::try_for_each(AT_ONCE, work, context, |(file, len, name, copy)| {
            self.put(&name, &file, facts)?;
            written.fetch_add(1, Ordering::Relaxed);
            if let Some(copy) = copy {
                // Deleted in this moment, it is put anew.
                if !self.bucket.copy_plain(&name, &copy)? {
                    self.put(&copy, &file, facts)?;
                }
                written.fetch_add(1, Ordering::Relaxed);
            }
            context.progress.advance(1, len);
            Ok(())
        })?;
        Ok(written.into_inner())
    }

    /// Copies packages from under another key's name, in place of what there is, or,
    /// without one, looks which are there. Gives the number of objects written, and
    /// the packages that are in neither.
    pub(super) fn copy_missing<'p>(
        &self,
        packages: &'p [Package],
        key: &Key,
        from: Option<&Key>,
        context: Context<'_>,
    ) -> Result<(u64, Vec<&'p Package>), AssetsFailure> {
        // What is under the name already may be of another build, which died.
        let there = if from.is_none() { self.list(key)? } else { HashMap::new() };
        let sources = from.map(|from| self.list(from)).transpose()?.unwrap_or_default();
        let mut work = vec![];
        let mut lacking = vec![];
        for package in packages {
            let name = object(key, package)?;
            let has = |listed: &HashMap<PlainKey, u64>, name: &PlainKey| {
                listed.get(name) == Some(&package.len)
            };
            if has(&there, &name) {
                continue;
            }
            let source = from.map(|from| object(from, package)).transpose()?;
            match source.filter(|source| has(&sources, source)) {
                Some(source) => work.push((package, source, name)),
                None => lacking.push(package),
            }
        }
        context.progress.begin(Phase::Plain, work.len() as u64, 0);
        let copied = workers::try_map(AT_ONCE, work, context, |(package, source, name)| {
            context.progress.advance(1, 0);
            Ok((package, self.bucket.copy_plain(&source, &name)?))
        })?;
        let written = copied.iter().filter(|(_, copied)| *copied).count() as u64;
        // Deleted since they were listed.
        lacking.extend(copied.iter().filter(|(_, copied)| !copied).map(|(package, _)| *package));
        Ok((written, lacking))
    }

    /// The objects under a key's name, and their lengths.
    fn list(&self, key: &Key) -> Result<HashMap<PlainKey, u64>, AssetsFailure> {
        let listed = self.bucket.list_plain(&format!("{key}/")).map_err(Error::from)?;
        Ok(listed.into_iter().map(|object| (object.key, object.len)).collect())
    }

    /// Puts a file with what deployments go by: Lambda compares the hash of what
    /// it runs, SHA-256 in base64.
    fn put(&self, key: &PlainKey, file: &Path, facts: Facts<'_>) -> Result<(), Error> {
        let hash = sha256(file).map_err(|error| FileError::new("read", file, error))?;
        let mut metadata = vec![("commit-hash", facts.commit), ("package-hash", hash.as_str())];
        metadata.extend(facts.code.map(|code| ("code-hash", code)));
        self.bucket.put_plain(key, file, &metadata)?;
        Ok(())
    }
}

fn total(packages: &[Package]) -> u64 {
    packages.iter().map(|package| package.len).sum()
}

/// The object of a package.
fn object(key: &Key, package: &Package) -> Result<PlainKey, AssetsFailure> {
    // What is not UTF-8 would get the name of another.
    let path = std::str::from_utf8(&package.path).ok();
    let name = path.and_then(|path| PlainKey::new(format!("{key}/{path}")).ok());
    name.ok_or_else(|| {
        AssetsFailure::PlainName(larder::relpath::display(&package.path).into_owned())
    })
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
