//! How a run ends: exit codes, and errors as people and programs read them.

use std::borrow::Cow;
use std::path::PathBuf;

use anstyle::{AnsiColor, Style};
use larder::code::Code;
use larder::error::Error;
use larder::harmless;
use larder::secrets::InvalidKey;
use larder::store::{InvalidLocation, StoreError, StoreErrorKind};
use larder::tier::InvalidTier;

use super::{log, output};
use crate::assets::AssetsFailure;
use crate::config::ConfigError;
use crate::keys::KeyError;
use crate::plugin::InvalidSetting;
use crate::serve::ServeFailure;

/// The exit codes; `--help` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Success = 0,
    Failure = 1,
    Usage = 2,
    Miss = 3,
    Damage = 4,
    Store = 5,
    NoBucket = 6,
    Denied = 7,
    Credentials = 8,
    Region = 9,
    NotS3 = 10,
    OtherStore = 11,
    /// These four are the asset manager's: what each means depends on the step.
    Assets100 = 100,
    Assets101 = 101,
    Assets102 = 102,
    Assets103 = 103,
    Interrupted = 130,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed, as it is reported.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error(transparent)]
    Larder(#[from] Error),
    #[error(transparent)]
    Location(#[from] InvalidLocation),
    #[error(transparent)]
    LocalCache(#[from] InvalidTier),
    #[error("invalid value {value:?} for --exclude: {why}")]
    Exclude { value: String, why: String },
    #[error("invalid key in {place}: {why}")]
    Secret { place: String, why: InvalidKey },
    #[error("there is no key in {place}")]
    NoSecret { place: String },
    #[error("there is more than one signing key")]
    SeveralSigningKeys,
    #[error("cannot read the key file {}: {error}", path.display())]
    SecretFile { path: PathBuf, error: std::io::Error },
    #[error("no key is given")]
    NoKey,
    #[error("there is nothing to save: no path is given")]
    NoPaths,
    #[error("both a key and caches of larder.toml are given")]
    KeyAndCaches,
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{} exists already", .0.display())]
    ConfigExists(PathBuf),
    #[error("{}:{line}: {setting}: {error}", path.display())]
    InConfig { path: PathBuf, line: usize, setting: &'static str, error: Box<KeyError> },
    #[error("{cache}: {failure}")]
    OfCache { cache: String, failure: Box<Failure> },
    #[error(transparent)]
    Setting(#[from] InvalidSetting),
    #[error(transparent)]
    Assets(AssetsFailure),
    #[error(transparent)]
    Template(KeyError),
    #[error(transparent)]
    Serve(#[from] ServeFailure),
    #[error("there is nothing to save at {}", .0.display())]
    NoMount(PathBuf),
    #[error("the mounts {} and {} would both be recorded as {name:?}", first.display(), second.display())]
    SameName { first: PathBuf, second: PathBuf, name: String },
    #[error(
        "--grace {} is shorter than --longest-save {}",
        humantime::format_duration(*grace), humantime::format_duration(*longest_save)
    )]
    ShortGrace { grace: std::time::Duration, longest_save: std::time::Duration },
    #[error("gave up after {}", humantime::format_duration(*.0))]
    TimedOut(std::time::Duration),
    #[error("there is no home directory to keep caches in")]
    NoCacheDirectory,
    #[error("cannot tell the working directory: {0}")]
    NoWorkingDirectory(std::io::Error),
}

impl From<AssetsFailure> for Failure {
    fn from(failure: AssetsFailure) -> Self {
        match failure {
            AssetsFailure::Larder(error) => Self::Larder(error),
            other => Self::Assets(other),
        }
    }
}

impl From<KeyError> for Failure {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Larder(error) => Self::Larder(error),
            other => Self::Template(other),
        }
    }
}

impl Failure {
    /// The code that it is looked up by, in docs/errors.md.
    pub(super) fn code(&self) -> Code {
        match self {
            Self::Larder(error) => error.code(),
            Self::Location(error) => error.code(),
            Self::LocalCache(error) => error.code(),
            Self::Exclude { .. } => Code::InvalidExclude,
            Self::Secret { .. }
            | Self::NoSecret { .. }
            | Self::SeveralSigningKeys
            | Self::SecretFile { .. } => Code::InvalidSecret,
            Self::NoKey => Code::NoKey,
            Self::NoPaths => Code::MissingArgument,
            Self::KeyAndCaches => Code::ArgumentConflict,
            Self::Config(error) => error.code(),
            Self::ConfigExists(_) => Code::ConfigExists,
            Self::InConfig { error, .. } => error.code(),
            Self::OfCache { failure, .. } => failure.code(),
            Self::Setting(error) => error.code(),
            Self::Assets(failure) => failure.code(),
            Self::Template(error) => error.code(),
            Self::Serve(error) => error.code(),
            Self::NoMount(_) => Code::NothingThere,
            Self::SameName { .. } => Code::SameName,
            Self::ShortGrace { .. } => Code::ShortGrace,
            Self::TimedOut(_) => Code::TimedOut,
            Self::NoCacheDirectory => Code::NoCacheDirectory,
            Self::NoWorkingDirectory(_) => Code::NoWorkingDirectory,
        }
    }

    /// What turns into which exit code is decided in [`exit_of`]; only the asset
    /// manager has numbers that mean something else in each step.
    pub(super) fn exit(&self) -> Exit {
        let own = match self {
            Self::OfCache { failure, .. } => return failure.exit(),
            Self::Assets(failure) => failure.exit_code(),
            _ => None,
        };
        match own {
            Some(100) => Exit::Assets100,
            Some(101) => Exit::Assets101,
            Some(102) => Exit::Assets102,
            Some(103) => Exit::Assets103,
            _ => exit_of(self.code()),
        }
    }

    /// The same, said of a cache of the configuration file.
    pub(super) fn of_cache(self, cache: &str) -> Self {
        Self::OfCache { cache: cache.to_owned(), failure: Box::new(self) }
    }

    /// What to do about it, where that is known.
    pub(super) fn hint(&self) -> Option<Cow<'static, str>> {
        match self {
            Self::Larder(error) => error.hint().map(Cow::Owned),
            Self::Location(error) => error.hint(),
            Self::LocalCache(error) => Some(error.hint().into()),
            Self::Setting(error) => error.hint().map(Cow::Owned),
            Self::Assets(failure) => failure.hint().map(Cow::Owned),
            Self::Template(error) => error.hint().map(Cow::Owned),
            Self::Serve(error) => error.hint().map(Cow::Borrowed),
            Self::NoMount(_) => {
                Some("make sure that an earlier step makes it, or take it out of mount".into())
            }
            Self::SameName { .. } => {
                Some("leave preserve_path=false out: then paths stay as they are".into())
            }
            Self::Secret { .. } | Self::NoSecret { .. } => Some(
                "`larder keygen` prints a key that signs and its public half, `larder keygen \
                 --encryption` one that encrypts"
                    .into(),
            ),
            Self::SecretFile { .. } => None,
            Self::SeveralSigningKeys => Some(
                "give the one to sign with: old ones count among those of --require-signature"
                    .into(),
            ),
            Self::NoKey => Some(
                "give --key, or name=… in --store; or run larder in a repository with a \
                 larder.toml, which `larder init` writes"
                    .into(),
            ),
            Self::KeyAndCaches => Some("leave --key out, or the names of caches".into()),
            Self::NoPaths => Some("name directories or files after --key".into()),
            Self::Config(error) => error.hint().map(Cow::Owned),
            Self::ConfigExists(_) => {
                Some("--dry-run prints what would be written; --force replaces the file".into())
            }
            Self::InConfig { error, .. } => error.hint().map(Cow::Owned),
            Self::OfCache { failure, .. } => failure.hint(),
            Self::ShortGrace { .. } => Some(
                "what a save has uploaded is condemned when the grace period is over: give a \
                 longer one, or say by --longest-save that all saves are shorter"
                    .into(),
            ),
            Self::TimedOut(_) => Some(
                "give more time, by --timeout, LARDER_TIMEOUT or the plugin's setting timeout"
                    .into(),
            ),
            Self::NoCacheDirectory => Some("set HOME, or give --store".into()),
            Self::Exclude { .. } => {
                Some("write it as in a .gitignore, such as '*.log' or '/target'".into())
            }
            Self::NoWorkingDirectory(_) => {
                Some("run larder in a directory that exists and that this user may enter".into())
            }
        }
    }

    /// Whether `--ignore-error` means this: the store is at fault, and neither
    /// the command line nor what is to be saved, nor did the user interrupt.
    pub(super) fn is_ignorable(&self) -> bool {
        if let Self::OfCache { failure, .. } = self {
            return failure.is_ignorable();
        }
        let exit = self.exit();
        !matches!(exit, Exit::Usage | Exit::Interrupted | Exit::Success)
            && !matches!(
                self,
                Self::Larder(
                    Error::NothingThere(_)
                        | Error::Unreadable(_)
                        | Error::InTheWay { .. }
                        | Error::OneName { .. }
                        | Error::Disturbed { .. }
                        | Error::NoRoom { .. }
                        | Error::NotInCache { .. }
                        | Error::File(_)
                        | Error::NoThread(_)
                        | Error::Store(StoreError { kind: StoreErrorKind::File(_), .. })
                ) | Self::NoMount(_)
                    | Self::Assets(_)
            )
    }

    /// What went wrong with a store over the network, as a word for programs.
    fn reason(&self) -> Option<&'static str> {
        match self {
            Self::OfCache { failure, .. } => failure.reason(),
            Self::Larder(Error::Store(error)) => match &error.kind {
                StoreErrorKind::Remote(error) => Some(error.kind.name()),
                _ => None,
            },
            _ => None,
        }
    }

    /// Tells a person on stderr; a program that reads JSON also on stdout.
    pub(super) fn report(&self, json: bool, ignored: bool) {
        let mut error = serde_json::json!({
            "code": self.code().to_string(),
            "hint": self.hint(),
            "reason": self.reason(),
            "exit_code": if ignored { 0 } else { self.exit() as u8 },
        });
        if let Self::OfCache { cache, .. } = self {
            error["cache"] = cache.as_str().into();
        }
        if !log::failure(ignored, &self.to_string(), &error) {
            self.tell(ignored);
        }
        if json {
            error["error"] = self.to_string().into();
            output::json(&error);
        }
    }

    fn tell(&self, ignored: bool) {
        const ERROR: Style = AnsiColor::Red.on_default().bold();
        const WARNING: Style = AnsiColor::Yellow.on_default().bold();
        const HINT: Style = AnsiColor::Cyan.on_default().bold();
        let text = self.to_string();
        let text = harmless::text(&text);
        if ignored {
            anstream::eprintln!("{WARNING}warning:{WARNING:#} {text} (ignored)");
        } else {
            anstream::eprintln!("{ERROR}error[{}]:{ERROR:#} {text}", self.code());
        }
        if let Some(hint) = self.hint() {
            anstream::eprintln!("{HINT}hint:{HINT:#} {}", harmless::text(&hint));
        }
    }
}

/// The exit code of what has this code, where nothing else is said.
pub(super) fn exit_of(code: Code) -> Exit {
    match code {
        Code::CommandLine
        | Code::UnknownArgument
        | Code::InvalidArgument
        | Code::MissingArgument
        | Code::ArgumentConflict
        | Code::InvalidName
        | Code::NameTooLong
        | Code::NoKey
        | Code::InvalidExclude
        | Code::ShortGrace
        | Code::LocationIncomplete
        | Code::LocationWord
        | Code::LocationValue
        | Code::LocationTwice
        | Code::UnknownHome
        | Code::InvalidLocalCache
        | Code::InvalidSecret
        | Code::ServeNeedsKeys
        | Code::InvalidServeKeys
        | Code::NoSystem
        | Code::UnknownSystem
        | Code::SeveralSystems
        | Code::ForeignStep
        | Code::NoStep
        | Code::MissingSetting
        | Code::UnknownSetting
        | Code::InvalidSetting
        | Code::SettingConflict
        | Code::SettingsFile
        | Code::SameName
        | Code::AssetsGlob
        | Code::AssetsNoPlain
        | Code::AssetsNoPrefix
        | Code::KeyTemplate
        | Code::ConfigUnreadable
        | Code::ConfigMistake
        | Code::NoSuchCache
        | Code::NoCaches
        | Code::SamePlace
        | Code::SameKey => Exit::Usage,
        Code::NoCacheDirectory
        | Code::AssetsNoBucket
        | Code::AssetsNoRepository
        | Code::AssetsPackageDirectory
        | Code::AssetsRepository
        | Code::AssetsNoPackages
        | Code::AssetsNoCommitHash
        | Code::AssetsPlainName
        | Code::ConfigExists
        | Code::NothingThere
        | Code::Unreadable
        | Code::NotInCache
        | Code::InTheWay
        | Code::FileDenied
        | Code::FileSystemFull
        | Code::FileFailed
        | Code::NoWorkingDirectory
        | Code::NoThread
        | Code::CannotListen
        | Code::FlushOvertaken
        | Code::NotFenced
        | Code::SaveOvertaken => Exit::Failure,
        Code::ObjectGone
        | Code::ObjectChanged
        | Code::ObjectLength
        | Code::StoreFull
        | Code::StoreFailed
        | Code::ClockSkew
        | Code::Throttled
        | Code::NoAnswer
        | Code::Network
        | Code::Certificate
        | Code::Unsupported
        | Code::RemoteRefused
        | Code::TimedOut => Exit::Store,
        Code::NoBucket => Exit::NoBucket,
        Code::StoreDenied | Code::RemoteDenied => Exit::Denied,
        Code::NoCredentials
        | Code::RoleRefused
        | Code::BadCredentials
        | Code::ExpiredCredentials => Exit::Credentials,
        Code::WrongRegion => Exit::Region,
        Code::NotS3 => Exit::NotS3,
        Code::MarkerUnreadable
        | Code::StoreVersion
        | Code::StoreChunking
        | Code::NotAStore
        | Code::NewerObject => Exit::OtherStore,
        Code::Damaged | Code::Missing | Code::DamagedChunk => Exit::Damage,
        // As restores have it: what is not trusted is not there.
        Code::Distrusted => Exit::Miss,
        Code::Interrupted => Exit::Interrupted,
    }
}
