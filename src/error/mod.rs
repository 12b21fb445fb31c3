//! What a save, a restore or any other command can fail with.

use std::path::PathBuf;

use crate::code::Code;
use crate::files::{FileError, shown};
use crate::format::{FormatError, Layout, LayoutError, MarkerError};
use crate::ids::ChunkId;
use crate::object_key::ObjectKey;
use crate::secrets::Distrust;
use crate::store::StoreError;

/// A failed command: what failed; [`Error::hint`] says what to do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The store did not do what it was asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The place holds a store that this program must not use.
    #[error("cannot use the store {location}: {source}")]
    Marker {
        /// The store.
        location: String,
        /// What is in the way.
        source: MarkerError,
    },
    /// The place holds other things, and no larder store.
    #[error("{location} is not empty and is not a larder store (it has {example})")]
    NotAStore {
        /// The place.
        location: String,
        /// Something that is there.
        example: ObjectKey,
    },
    /// An object of the store cannot be read: it is damaged, or, if
    /// [`Error::is_newer`] says so, written by a newer larder.
    #[error("the object {object} {}: {source}", fault(source))]
    Damaged {
        /// The object.
        object: ObjectKey,
        /// What is wrong with it.
        source: FormatError,
    },
    /// A manifest that is sound, and not to be relied on, or closed.
    #[error("the manifest {object} is not to be trusted: {why}")]
    Distrusted {
        /// The manifest.
        object: ObjectKey,
        /// Why not.
        why: Distrust,
    },
    /// An object that another one refers to is not in the store.
    #[error("the object {object} is missing, but {needed_by} needs it")]
    Missing {
        /// The missing object.
        object: ObjectKey,
        /// What refers to it.
        needed_by: ObjectKey,
    },
    /// A chunk in a pack does not have the contents its name stands for.
    #[error("chunk {chunk} in {object} is damaged: {why}")]
    DamagedChunk {
        /// The chunk.
        chunk: ChunkId,
        /// The pack.
        object: ObjectKey,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Scope and key cannot name an object.
    #[error(transparent)]
    Name(#[from] LayoutError),
    /// The local file system did not do what it was asked.
    #[error(transparent)]
    File(#[from] FileError),
    /// Paths that were to be saved are not there.
    #[error("there is nothing to save at {}", list(.0))]
    NothingThere(Vec<PathBuf>),
    /// Files could not be read as one state of them.
    #[error("{}", unreadable(.0))]
    Unreadable(Vec<FileError>),
    /// Paths that were to be restored are not in the cache.
    #[error("the cache {key} holds nothing at {}", list(.paths))]
    NotInCache {
        /// The key that was found.
        key: String,
        /// The paths that match nothing.
        paths: Vec<PathBuf>,
        /// What it holds instead.
        mounts: Vec<String>,
    },
    /// Something in the target is in the way of what the cache holds.
    #[error("{} is in the way: {why}", shown(path))]
    InTheWay {
        /// What is in the way.
        path: PathBuf,
        /// Why it is not replaced.
        why: &'static str,
    },
    /// Two names of the cache are one where it is to be restored.
    #[error("{} and {} are one name on this file system", shown(first), shown(second))]
    OneName {
        /// Where the one would go.
        first: PathBuf,
        /// Where the other would go.
        second: PathBuf,
    },
    /// The target changed while it was restored to.
    #[error(
        "{} changed while the cache was restored: another restore, or another program, is at \
         work there ({source})",
        shown(path)
    )]
    Disturbed {
        /// What changed.
        path: PathBuf,
        /// How that showed.
        source: std::io::Error,
    },
    /// What is to be restored is longer than what is free.
    #[error(
        "{} has no room for the cache: {needed} bytes are to be written, and {free} are free",
        shown(path)
    )]
    NoRoom {
        /// A directory on the file system.
        path: PathBuf,
        /// Bytes that are to be written.
        needed: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// Another flush has taken this one's place.
    #[error("another flush of this store has taken over")]
    FlushOvertaken,
    /// Of two flushes at once, both could succeed.
    #[error("the store has no conditional writes: two flushes at once would not notice each other")]
    NotFenced,
    /// Garbage was collected faster than a save could publish.
    #[error(
        "garbage collection overtook this save {0} times: what it reused was condemned before it could publish"
    )]
    SaveOvertaken(u32),
    /// The system does not start as many threads as are needed.
    #[error("cannot start a thread: {0}")]
    NoThread(#[source] std::io::Error),
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    /// The code that it is looked up by.
    pub fn code(&self) -> Code {
        match self {
            Self::Store(error) => error.code(),
            Self::Marker { source, .. } => source.code(),
            Self::NotAStore { .. } => Code::NotAStore,
            Self::Damaged { source, .. } => source.code(),
            Self::Distrusted { .. } => Code::Distrusted,
            Self::Missing { .. } => Code::Missing,
            Self::DamagedChunk { .. } => Code::DamagedChunk,
            Self::Name(_) => Code::NameTooLong,
            Self::File(error) => error.code(),
            Self::NothingThere(_) => Code::NothingThere,
            Self::Unreadable(_) => Code::Unreadable,
            Self::NotInCache { .. } => Code::NotInCache,
            Self::InTheWay { .. } | Self::OneName { .. } | Self::Disturbed { .. } => Code::InTheWay,
            Self::NoRoom { .. } => Code::FileSystemFull,
            Self::FlushOvertaken => Code::FlushOvertaken,
            Self::NotFenced => Code::NotFenced,
            Self::SaveOvertaken(_) => Code::SaveOvertaken,
            Self::NoThread(_) => Code::NoThread,
            Self::Interrupted => Code::Interrupted,
        }
    }

    /// What a person can do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Store(error) => return error.hint().map(String::from),
            Self::Marker { source, .. } => source.hint(),
            Self::NotAStore { .. } => "choose an empty or new place, or an existing larder store",
            Self::Damaged { source: FormatError::NewerVersion { .. }, .. } => {
                "update larder here: this one neither reads nor repairs what it does not know"
            }
            Self::Damaged { object, .. } | Self::Missing { object, .. }
                if [Layout::marker(), Layout::gc_state()].contains(object) =>
            {
                "`larder verify --repair` makes it anew"
            }
            Self::Distrusted { why, .. } => match why {
                Distrust::NoKey(_) => {
                    "give the key it was saved with, in LARDER_ENCRYPTION_KEY; several are \
                     separated by commas"
                }
                Distrust::NotEncrypted => {
                    "save the cache anew: whoever has an encryption key relies only on what was \
                     saved with one"
                }
                Distrust::NotSigned | Distrust::Signer(_) => {
                    "save it with a LARDER_SIGNING_KEY whose public half is among those of \
                     --require-signature"
                }
                Distrust::Signature | Distrust::Forged => {
                    "somebody may have changed it: find out who can write to the store, then save \
                     the cache anew"
                }
            },
            Self::Damaged { .. } | Self::Missing { .. } | Self::DamagedChunk { .. } => {
                "save the cache anew with `larder save --no-reuse`; or `larder verify --read-data \
                 --repair` removes all that is damaged, and the next saves bring it back"
            }
            Self::Name(_) => "use a shorter key or scope",
            Self::File(error) => error.hint()?,
            Self::NothingThere(paths) if have(paths, '$') => {
                "variables are not expanded: in larder.toml write ~ for the home directory, and \
                 {{ env(\"NAME\") }} for others"
            }
            Self::NothingThere(paths) if have(paths, '*') => {
                "paths are no globs: name a directory that holds all of them, and leave out the \
                 rest by exclude"
            }
            Self::NothingThere(_) => {
                "make it before the save; `larder save --allow-missing` saves what is there"
            }
            Self::Unreadable(_) => {
                "leave them out by --skip-unreadable or LARDER_SKIP_UNREADABLE=true"
            }
            Self::NotInCache { mounts, .. } => {
                return Some(format!("it holds {}", mounts.join(", ")));
            }
            Self::FlushOvertaken => {
                "this one changed nothing that the other does not know of; let it finish"
            }
            Self::NotFenced => {
                "make sure that only one flush runs at a time, and use `larder flush --unfenced`"
            }
            Self::SaveOvertaken(_) => {
                "run `larder flush` with a --grace that is longer than any save takes"
            }
            Self::InTheWay { .. } => "move it away, or restore elsewhere by `larder restore --to`",
            Self::NoThread(_) => {
                "allow more processes (`ulimit -u`, the container's limit of pids) or memory, or \
                 let fewer run at once"
            }
            Self::OneName { .. } => {
                "restore to a file system that tells them apart by `larder restore --to`, or save \
                 only one of them"
            }
            Self::Disturbed { .. } => "let the other one end, and restore again",
            Self::NoRoom { .. } => "free some space there",
            Self::Interrupted => return None,
        };
        Some(hint.to_owned())
    }

    /// Whether the store's contents, not its service, are at fault, so that repairing
    /// it is right.
    pub fn is_damage(&self) -> bool {
        self.is_unreadable() && !self.is_newer()
    }

    /// Whether this is of an object that a newer larder wrote: it is sound, and not to
    /// be removed or mended.
    pub fn is_newer(&self) -> bool {
        matches!(self, Self::Damaged { source: FormatError::NewerVersion { .. }, .. })
    }

    /// Whether this program cannot make use of something in the store, for whichever of
    /// both reasons. Who can do without it should.
    pub fn is_unreadable(&self) -> bool {
        matches!(self, Self::Damaged { .. } | Self::Missing { .. } | Self::DamagedChunk { .. })
    }

    /// Whether one object cannot be relied on, which says nothing of any other: it cannot
    /// be read, opened or trusted.
    pub fn is_unusable(&self) -> bool {
        self.is_unreadable() || matches!(self, Self::Distrusted { .. })
    }
}

/// What is the matter with an object of which this is said.
fn fault(source: &FormatError) -> &'static str {
    match source {
        FormatError::NewerVersion { .. } => "was written by a newer larder",
        _ => "is damaged",
    }
}

/// How many of a list are named before the rest is counted.
const NAMED: usize = 10;

fn have(paths: &[PathBuf], sign: char) -> bool {
    paths.iter().any(|path| path.to_string_lossy().contains(sign))
}

fn list(paths: &[PathBuf]) -> String {
    let named = paths.iter().take(NAMED).map(|path| shown(path));
    let mut text = named.collect::<Vec<_>>().join(", ");
    if paths.len() > NAMED {
        text.push_str(&format!(" and {} more", paths.len() - NAMED));
    }
    text
}

fn unreadable(errors: &[FileError]) -> String {
    let named = errors.iter().take(NAMED).map(ToString::to_string);
    let mut text = named.collect::<Vec<_>>().join("\n");
    if errors.len() > NAMED {
        text.push_str(&format!("\nand {} more", errors.len() - NAMED));
    }
    text
}

#[cfg(test)]
mod messages;
