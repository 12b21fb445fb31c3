//! Why a step cannot be done. The asset manager's exit codes tell them apart.

use std::io;
use std::path::PathBuf;

use larder::code::Code;
use larder::error::Error;

use super::InvalidGlob;
use crate::git::NotUsable;

/// A step of the asset manager.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Step {
    Check,
    Upload,
}

impl Step {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Check => "check",
            Self::Upload => "upload",
        }
    }
}

/// Why a step cannot be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AssetsFailure {
    #[error("no bucket is given")]
    NoBucket(Step),
    #[error("there is no directory {}", .0.display())]
    NoRepository(PathBuf),
    #[error("{} cannot be used as package directory: {error}", path.display())]
    NoPackageDirectory { step: Step, path: PathBuf, error: io::Error },
    #[error("{} cannot be used as repository: {why}", path.display())]
    Repository { path: PathBuf, why: NotUsable },
    #[error("there are no files to keep in {}", .0.display())]
    NoPackages(PathBuf),
    #[error("{} does not say which commit the packages are of", .0.display())]
    NoCommitHash(PathBuf),
    #[error(transparent)]
    Glob(#[from] InvalidGlob),
    #[error("plain objects need a store in S3")]
    NoPlain,
    #[error("plain objects lie at the root of the bucket, and so does the store")]
    NoPrefix,
    #[error("{0} cannot be the name of a plain object")]
    PlainName(String),
    #[error(transparent)]
    Larder(#[from] Error),
}

impl AssetsFailure {
    /// The exit code that the asset manager has for it: its numbers mean something
    /// else in each step.
    pub(crate) fn exit_code(&self) -> Option<u8> {
        match self {
            Self::NoBucket(Step::Check) | Self::NoPackageDirectory { step: Step::Upload, .. } => {
                Some(100)
            }
            Self::NoBucket(Step::Upload) | Self::NoRepository(_) => Some(101),
            Self::NoPackageDirectory { step: Step::Check, .. } | Self::NoPackages(_) => Some(102),
            Self::Repository { .. } | Self::NoCommitHash(_) => Some(103),
            Self::Glob(_)
            | Self::NoPlain
            | Self::NoPrefix
            | Self::PlainName(_)
            | Self::Larder(_) => None,
        }
    }

    /// The code that it is looked up by.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::NoBucket(_) => Code::AssetsNoBucket,
            Self::NoRepository(_) => Code::AssetsNoRepository,
            Self::NoPackageDirectory { .. } => Code::AssetsPackageDirectory,
            Self::Repository { .. } => Code::AssetsRepository,
            Self::NoPackages(_) => Code::AssetsNoPackages,
            Self::NoCommitHash(_) => Code::AssetsNoCommitHash,
            Self::Glob(_) => Code::AssetsGlob,
            Self::NoPlain => Code::AssetsNoPlain,
            Self::NoPrefix => Code::AssetsNoPrefix,
            Self::PlainName(_) => Code::AssetsPlainName,
            Self::Larder(error) => error.code(),
        }
    }

    /// What to do about it.
    pub(crate) fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::NoBucket(_) => "set PACKAGE_ASSETS_BUCKET, or give --store",
            Self::NoRepository(_) => "set GIT_REPO_PATH, or give --repository",
            Self::NoPackageDirectory { .. } => "set PACKAGE_DIRECTORY, or give --packages",
            Self::Repository { .. } => {
                "give the root of a clone with at least one commit by GIT_REPO_PATH or --repository"
            }
            Self::NoPackages(_) => "build them before the upload; hidden files do not count",
            Self::NoCommitHash(_) => {
                "run the check before the upload, and keep the package directory between them"
            }
            Self::Glob(_) => "write globs such as 'lambdas/** shared/*.js'",
            Self::NoPrefix => "give the store a prefix, such as s3://bucket/larder",
            Self::NoPlain => "give an S3 store, or set LARDER_ASSETS_PLAIN=false",
            Self::PlainName(_) => {
                "give it a name of UTF-8 without control characters, or set \
                 LARDER_ASSETS_PLAIN=false"
            }
            Self::Larder(error) => return error.hint(),
        };
        Some(hint.to_owned())
    }
}
