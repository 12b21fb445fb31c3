//! What a plugin's settings ask for, whatever system they come from.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use larder::ids::{Key, Scope};
use larder::store::{CredentialSource, S3Config};

use super::System;

/// All that one run of the plugin is to do.
#[derive(Debug, PartialEq)]
pub(crate) struct Order {
    pub(crate) system: System,
    /// The store, unless it is named elsewhere.
    pub(crate) store: Option<S3Config>,
    /// The keys that the settings have, whatever store it is.
    pub(crate) credentials: CredentialSource,
    pub(crate) scope: Scope,
    pub(crate) timeout: Option<Duration>,
    pub(crate) log: Log,
    /// A file to which results are added as `name=value`.
    pub(crate) output: Option<PathBuf>,
    /// What a person should know of the settings.
    pub(crate) warnings: Vec<String>,
    /// What to do, in this order.
    pub(crate) tasks: Vec<Task>,
}

/// How much is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Log {
    Errors,
    Warnings,
    #[default]
    Normal,
    Verbose,
    Trace,
}

/// A part of an order.
#[derive(Debug, PartialEq)]
pub(crate) enum Task {
    /// Nothing but to say this.
    Say(String),
    /// Remove all caches of the scope.
    Clear,
    /// Bring a cache back; that there is none is no error.
    Restore {
        key: Key,
        bounds: Bounds,
    },
    Save(Saved),
    /// Remove the scope's caches that were not used for so long.
    Flush {
        age: Duration,
    },
}

/// Where a cache may be restored to. Whoever may write to the store has no say in that.
#[derive(Debug, PartialEq)]
pub(crate) struct Bounds {
    /// The paths that the settings name.
    pub(crate) paths: Vec<PathBuf>,
    /// Whether links above them are the user's own, and followed.
    pub(crate) follow: bool,
}

/// Paths that are to be saved under a key.
#[derive(Debug, PartialEq)]
pub(crate) struct Saved {
    pub(crate) key: Key,
    pub(crate) paths: Vec<PathBuf>,
    /// Paths that do not exist are said and left out, and not an error.
    pub(crate) allow_missing: bool,
    /// Each path is recorded by its last name alone.
    pub(crate) flatten: bool,
    /// zstd's level, if one is asked for.
    pub(crate) level: Option<i32>,
}

impl Task {
    /// Whether it saves or restores, which a store's failure may leave undone.
    pub(crate) fn transfers(&self) -> bool {
        matches!(self, Self::Restore { .. } | Self::Save(_))
    }

    /// Whether whoever asked for it wants to know what was found.
    pub(crate) fn answers(&self) -> bool {
        matches!(self, Self::Restore { .. } | Self::Clear)
    }
}

/// What a dry run prints.
impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Say(text) => f.write_str(text),
            Self::Clear => f.write_str("remove all caches of the scope"),
            Self::Restore { key, .. } => write!(f, "restore {key}"),
            Self::Save(Saved { key, paths, allow_missing, flatten, level }) => {
                let paths: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
                write!(f, "save {key}: {}", paths.join(", "))?;
                if *allow_missing {
                    f.write_str(", what is there of it")?;
                }
                if *flatten {
                    f.write_str(", by last names")?;
                }
                level.map_or(Ok(()), |level| write!(f, ", at level {level}"))
            }
            Self::Flush { age } => {
                let age = humantime::format_duration(*age);
                write!(f, "flush what was not used for {age}")
            }
        }
    }
}
