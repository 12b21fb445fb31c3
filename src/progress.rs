//! What long work tells while it runs: numbers for whoever watches, warnings
//! for the log, and the wish to stop in the other direction.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use serde::{Serialize, Serializer};

use crate::error::Error;
use crate::relpath::display;

/// What is being done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Looking at files.
    Walk,
    /// Reading, cutting and uploading files.
    Save,
    /// Comparing what is there with the cache.
    Compare,
    /// Fetching and writing files.
    Restore,
    /// Reading packs to check them.
    Verify,
    /// Reading manifests, to tell what is in use.
    Mark,
    /// Reading what packs say of themselves, for a new index.
    Index,
    /// Writing packages as plain objects.
    Plain,
    /// Moving what is in use out of packs that are mostly not.
    Repack,
}

/// Something that a person should know, but that stops nothing. For programs it is
/// an object with a `kind`, and paths as people read them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Warning {
    /// A socket, fifo or device was left out.
    SkippedSpecial {
        /// Where it lies.
        #[serde(serialize_with = "as_shown")]
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// A file could not be read and was left out, as asked.
    SkippedUnreadable {
        /// The error, as text.
        error: String,
    },
    /// A file vanished between being seen and being read.
    Vanished {
        /// Where it lay.
        #[serde(serialize_with = "as_shown")]
        path: PathBuf,
    },
    /// A path to be saved is not there, as was allowed.
    NothingThere {
        /// The path.
        #[serde(serialize_with = "as_shown")]
        path: PathBuf,
    },
    /// A path to be saved is a symbolic link, and was saved as that.
    LinkAsMount {
        /// The path.
        #[serde(serialize_with = "as_shown")]
        path: PathBuf,
    },
    /// A cache holds something where it may not be restored to.
    OutOfBounds {
        /// The path, as it is recorded.
        path: String,
        /// How many more there are beside it that are not named one by one.
        more: u64,
    },
    /// Another restore is at work where this one is to write; this one waits for it.
    OtherRestore {
        /// Where.
        #[serde(serialize_with = "as_shown")]
        path: PathBuf,
    },
    /// What was restored may not act in another's name as it did where it was saved.
    WithoutPrivileges {
        /// Files and directories without their set-id or sticky bits.
        bits: u64,
        /// Entries without attributes that are the system's.
        attributes: u64,
    },
    /// A cache is passed over, for it is not to be trusted or cannot be opened.
    Distrusted {
        /// Of which manifest, and why, as text.
        error: String,
    },
    /// An object that could have helped is damaged; work goes on without it.
    IgnoredDamage {
        /// What is wrong, as text.
        error: String,
    },
    /// Chunks could not be kept in the local tier: later restores fetch more.
    NotKept {
        /// The error, as text.
        error: String,
    },
    /// A word in the store's location does nothing.
    WithoutEffect {
        /// The word.
        word: &'static str,
    },
    /// The store has no conditional writes.
    NoConditionalWrites,
    /// A cache could not be marked as used: it may be removed too early.
    NotRefreshed {
        /// The error, as text.
        error: String,
    },
    /// A cache refers to packs that are gone.
    Broken {
        /// The object of its manifest.
        object: String,
    },
    /// Something that a flush would have deleted is still there; the next one
    /// tries again.
    NotDeleted {
        /// The error, as text.
        error: String,
    },
    /// Others could not be told of new chunks: until the next flush, they upload them
    /// again.
    NotTold {
        /// The error, as text.
        error: String,
    },
    /// The local stat record could not be written: the next save reads more.
    NoRecord {
        /// The error, as text.
        error: String,
    },
}

/// Not all paths are text.
fn as_shown<S: Serializer>(path: &Path, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&display(path.as_os_str().as_encoded_bytes()))
}

/// Watches long work. All methods may be called from any thread.
pub trait Progress: Sync {
    /// A phase begins; `files` and `bytes` are its whole work, where known.
    fn begin(&self, phase: Phase, files: u64, bytes: u64) {
        let _ = (phase, files, bytes);
    }
    /// So many more files and bytes of the phase are done.
    fn advance(&self, files: u64, bytes: u64) {
        let _ = (files, bytes);
    }
    /// Something a person should know.
    fn warn(&self, warning: Warning) {
        let _ = warning;
    }
}

/// Watches nothing.
#[derive(Clone, Copy, Debug)]
pub struct NoProgress;

impl Progress for NoProgress {}

/// What every command runs in: who watches, and who may stop it.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Who watches.
    pub progress: &'a dyn Progress,
    /// Set from outside when the work shall stop.
    pub stop: &'a AtomicBool,
}

impl Context<'_> {
    /// Whether the work shall stop.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if so.
    pub fn check(&self) -> Result<(), Error> {
        if self.stop.load(Ordering::Relaxed) { Err(Error::Interrupted) } else { Ok(()) }
    }
}

impl std::fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Context").finish_non_exhaustive()
    }
}
