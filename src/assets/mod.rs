//! The packages of each commit, and those of commits with the same sources: what
//! `larder assets check` and `upload` do.
//!
//! A commit's packages are kept under `artifacts/<commit>`, and under
//! `cache/<code hash>` those that were made of certain sources. The next commit
//! with these sources gets the same packages: a manifest, and no data.

mod check;
mod code_hash;
mod failure;
mod packages;
mod plain;
mod upload;

use std::io;
use std::path::{Path, PathBuf};

use larder::error::Error;
use larder::files::FileError;
use larder::ids::{Key, Scope};
use larder::progress::Context;
use larder::repository::Access;
use larder::trust::TrustedScopes;

pub(crate) use check::{CheckReport, Found, check};
pub(crate) use code_hash::{InvalidGlob, Sources};
pub(crate) use failure::{AssetsFailure, Step};
pub(crate) use plain::Plain;
pub(crate) use upload::{UploadReport, is_found, upload};

/// What a check leaves in the package directory for the steps after it.
const FOUND: &str = ".found";
const COMMIT_HASH: &str = ".commit-hash";
const CODE_HASH: &str = ".code-hash";

/// Where packages are, and where they are kept.
pub(crate) struct Assets<'a> {
    /// The package directory.
    pub(crate) packages: &'a Path,
    pub(crate) access: Access,
    pub(crate) scope: &'a Scope,
    /// Whom a save of these scopes believes.
    pub(crate) trusted_scopes: &'a TrustedScopes,
    /// Where every package is kept as an object, too, if it is.
    pub(crate) plain: Option<Plain>,
    pub(crate) context: Context<'a>,
}

impl Assets<'_> {
    /// A file for the steps after this one.
    fn leave(&self, name: &str, text: &str) -> Result<(), AssetsFailure> {
        let path = self.packages.join(name);
        let written = std::fs::write(&path, text);
        Ok(written.map_err(|error| Error::from(FileError::new("write", path, error)))?)
    }

    /// What an earlier step left, if it did, and if it can be what that wrote: a
    /// hash.
    fn left(&self, name: &str) -> Option<String> {
        let text = std::fs::read_to_string(self.packages.join(name)).ok()?;
        let text = text.trim();
        let is_hash =
            [40, 64].contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_hash.then(|| text.to_owned())
    }
}

/// The key of a commit's packages.
fn artifacts(commit: &str) -> Key {
    format!("artifacts/{commit}").parse().expect("hashes make names")
}

/// The key of packages that were made of certain sources.
fn cache(code_hash: &str) -> Key {
    format!("cache/{code_hash}").parse().expect("hashes make names")
}

/// Makes the package directory, and removes what an earlier check left there:
/// what that found is no longer true.
fn prepare_directory(packages: &Path) -> io::Result<()> {
    std::fs::create_dir_all(packages)?;
    for name in [FOUND, CODE_HASH, COMMIT_HASH] {
        match std::fs::remove_file(packages.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// A package: a file below the package directory.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Package {
    /// Its path relative to that directory, as bytes.
    path: Vec<u8>,
    /// Length in bytes.
    len: u64,
}

impl Package {
    fn below(&self, directory: &Path) -> PathBuf {
        directory.join(larder::files::os_name(&self.path))
    }
}
