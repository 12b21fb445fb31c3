//! What a command did for each of its caches.

use std::ops::AddAssign;
use std::time::Duration;

use larder::restore::{Hit, RestoreReport};
use larder::save::SaveReport;

/// A command that tells of what it did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Restore,
    Lookup,
    Save,
}

impl Command {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Restore => "restore",
            Self::Lookup => "lookup",
            Self::Save => "save",
        }
    }
}

/// One run of a command.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) command: Command,
    pub(crate) caches: Vec<Cache>,
    /// Whether keys were looked for in several scopes, so that the one that had them is
    /// worth a word.
    pub(crate) tells_scopes: bool,
    /// How long all of it took.
    pub(crate) took: Duration,
}

/// A cache that the command was about.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    /// Its name in the configuration file, if it is one of these.
    pub(crate) name: Option<String>,
    /// The key that was looked for first, or saved under.
    pub(crate) key: String,
    /// What came of it; nothing, if it failed.
    pub(crate) fact: Option<Fact>,
    pub(crate) took: Duration,
}

/// What came of a cache.
#[derive(Clone, Debug)]
pub(crate) enum Fact {
    Restored { found: Found, amounts: Amounts },
    LookedUp(Found),
    Saved(Saved),
}

/// How a key was found, the worst first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Something went wrong: nobody knows.
    #[default]
    Failed,
    Miss,
    Prefix,
    Exact,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Miss => "miss",
            Self::Prefix => "prefix",
            Self::Exact => "exact",
        }
    }
}

impl From<Hit> for Kind {
    fn from(hit: Hit) -> Self {
        match hit {
            Hit::Exact => Self::Exact,
            Hit::Prefix => Self::Prefix,
            Hit::Miss => Self::Miss,
        }
    }
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) kind: Kind,
    /// The key that was found.
    pub(crate) key: Option<String>,
    /// The scope that it was found in.
    pub(crate) scope: Option<String>,
}

/// What a restore moved, and what it did not have to, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    /// Of all files.
    pub(crate) files: u64,
    /// Fetched from the store.
    pub(crate) fetched: u64,
    /// Taken from the local cache, as stored.
    pub(crate) local: u64,
    /// Of files that were in place.
    pub(crate) in_place: u64,
    /// What an archive of the whole cache would have moved beyond what was fetched: the
    /// stored, compressed bytes of its chunks, less those fetched. An estimate: an archive
    /// has what occurs twice in it twice, and compresses better, being one stream.
    pub(crate) avoided: u64,
}

impl AddAssign for Amounts {
    fn add_assign(&mut self, other: Self) {
        self.files += other.files;
        self.fetched += other.fetched;
        self.local += other.local;
        self.in_place += other.in_place;
        self.avoided += other.avoided;
    }
}

impl From<&RestoreReport> for Fact {
    fn from(report: &RestoreReport) -> Self {
        Self::Restored {
            found: Found {
                kind: report.hit.into(),
                key: report.key.as_ref().map(ToString::to_string),
                scope: report.scope.as_ref().map(ToString::to_string),
            },
            amounts: Amounts {
                files: report.raw_bytes,
                fetched: report.fetched_bytes,
                local: report.local_cache_bytes,
                in_place: report.unchanged_bytes,
                avoided: report.stored_bytes.saturating_sub(report.fetched_bytes),
            },
        }
    }
}

/// What became of a key that was to be saved, in the order in which one of several
/// speaks for all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum SaveResult {
    #[default]
    Failed,
    Saved,
    DryRun,
    /// The key had exactly this.
    Unchanged,
    /// The key was there, and was not to be replaced.
    Exists,
}

impl SaveResult {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Saved => "saved",
            Self::DryRun => "dry-run",
            Self::Unchanged => "unchanged",
            Self::Exists => "exists",
        }
    }
}

/// What a save did.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Saved {
    pub(crate) result: SaveResult,
    /// Bytes of all files.
    pub(crate) files: u64,
    /// Bytes put into the store.
    pub(crate) uploaded: u64,
    pub(crate) new_chunks: u64,
    pub(crate) reused_chunks: u64,
}

impl Saved {
    pub(crate) fn of(report: &SaveReport, is_dry_run: bool) -> Self {
        let result = match report {
            SaveReport { already_there: true, .. } => SaveResult::Exists,
            SaveReport { unchanged: true, .. } => SaveResult::Unchanged,
            _ if is_dry_run => SaveResult::DryRun,
            _ => SaveResult::Saved,
        };
        Self {
            result,
            files: report.raw_bytes,
            uploaded: report.uploaded_bytes,
            new_chunks: report.new_chunks,
            reused_chunks: report.reused_chunks,
        }
    }
}

impl Cache {
    /// What was found of it.
    pub(crate) fn found(&self) -> Found {
        match &self.fact {
            Some(Fact::Restored { found, .. } | Fact::LookedUp(found)) => found.clone(),
            _ => Found::default(),
        }
    }

    /// What was moved of it.
    pub(crate) fn amounts(&self) -> Amounts {
        match &self.fact {
            Some(Fact::Restored { amounts, .. }) => *amounts,
            _ => Amounts::default(),
        }
    }

    /// What was saved of it.
    pub(crate) fn saved(&self) -> Saved {
        match &self.fact {
            Some(Fact::Saved(saved)) => *saved,
            _ => Saved::default(),
        }
    }
}

impl Done {
    /// The worst of how keys were found: `Exact` only if all are.
    pub(crate) fn kind(&self) -> Kind {
        self.caches.iter().map(|cache| cache.found().kind).min().unwrap_or_default()
    }

    /// What was moved of all.
    pub(crate) fn amounts(&self) -> Amounts {
        let mut sum = Amounts::default();
        self.caches.iter().for_each(|cache| sum += cache.amounts());
        sum
    }

    /// What was saved of all.
    pub(crate) fn saved(&self) -> Saved {
        let mut sum = Saved::default();
        for saved in self.caches.iter().map(Cache::saved) {
            sum.files += saved.files;
            sum.uploaded += saved.uploaded;
            sum.new_chunks += saved.new_chunks;
            sum.reused_chunks += saved.reused_chunks;
        }
        let results = self.caches.iter().map(|cache| cache.saved().result);
        Saved { result: results.min().unwrap_or_default(), ..sum }
    }
}
