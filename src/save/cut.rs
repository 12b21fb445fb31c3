//! The middle of a save: read, cut, hash, drop what the store has, compress.
//!
//! A piece of work is a bundle of small files or a few MiB of a large one.
//! [`super::dispatch`] hands them out, rayon does them. Workers never wait for
//! the store: what cannot go on comes back as an [`Event`].

use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use crossbeam_channel::Sender;

use super::SaveRequest;
use super::dispatch::Dispatch;
use super::recall::RecalledUnits;
use crate::budget::{Budget, FirstError, Permit};
use crate::chunking::{LargeFileCutter, Plan};
use crate::compression::Compression;
use crate::error::Error;
use crate::files::{
    DirCursor, FileError, FileStat, LargeReader, ReadOutcome, Seen, Walked, read_small,
};
use crate::format::{EntryIndex, Hole, Kind};
use crate::ids::ChunkId;
use crate::index::{KnownChunks, Presence};
use crate::progress::{Context, Phase, Warning};
use crate::repository::Repository;
use crate::store::{MemoryStore, Store};
use crate::sync::lock;
use crate::upload::{self, ChunkSender, NewChunk, Uploaded};

/// Bytes of files in memory at once, raw or compressed.
const BUDGET: usize = 64 << 20;

/// Bytes of a large file that are read at once: enough chunks to be worth a
/// task, small enough that one file keeps several threads busy.
pub(super) const PIECE: usize = 4 << 20;

/// What the files of a bundle may grow to together while they are saved, in
/// bytes: far above any planned bundle, and below [`crate::format::MAX_CHUNK_LEN`].
const MAX_GROWN: u64 = 4 << 20;

/// How often a large file that changes while it is read is read again.
const MAX_ATTEMPTS: u32 = 4;

/// What the files turned out to hold.
#[derive(Debug, Default)]
pub(super) struct Contents {
    /// For each unit of the plan, and then for each of `grown`, its chunks in
    /// order, with their raw lengths.
    pub(super) units: Vec<Vec<(ChunkId, u32)>>,
    /// Planned as small, grown large meanwhile.
    pub(super) grown: Vec<EntryIndex>,
    /// Files that are not as the walk saw them.
    pub(super) changed: Vec<Changed>,
    /// Files whose contents were read.
    pub(super) files_read: u64,
}

/// A file that is not as the walk saw it.
#[derive(Debug)]
pub(super) struct Changed {
    pub(super) entry: EntryIndex,
    /// What it is now; `None` if it is left out.
    pub(super) now: Option<(FileStat, Vec<Hole>)>,
}

/// Work to hand out.
pub(super) enum Job {
    Bundle { unit: usize, files: Range<usize> },
    Large(Large),
    Store(Piece),
}

/// A large file that is being read.
pub(super) struct Large {
    pub(super) unit: usize,
    pub(super) entry: EntryIndex,
    pub(super) attempt: u32,
    pub(super) number: u32,
    /// `None` before the first piece.
    pub(super) reader: Option<LargeReader>,
    /// What was read after the last sure cut.
    pub(super) rest: Vec<u8>,
}

/// Bytes that were read and cut.
pub(super) struct Piece {
    pub(super) unit: usize,
    pub(super) attempt: u32,
    pub(super) number: u32,
    pub(super) bytes: Vec<u8>,
    pub(super) chunks: Vec<(ChunkId, Range<usize>)>,
    pub(super) files: u64,
    pub(super) permit: Arc<Permit>,
}

/// What workers tell the thread that hands out work.
pub(super) enum Event {
    /// A large file has more to read.
    More(Large),
    /// Chunks must be looked up before this can go on.
    Wait(Piece),
    /// A piece's chunks are in the store or on their way there.
    Done { unit: usize, attempt: u32, number: u32, chunks: Vec<(ChunkId, u32)> },
    /// A task ended without a piece.
    Nothing,
    /// Files were found changed; a vanished one has no stat.
    Changed(Changed),
    /// A small file is not small any more.
    Grown(EntryIndex),
    /// A batch of chunks was looked up, or what lookups need was read.
    LookedUp,
}

pub(super) struct Cutter<'a> {
    pub(super) walked: &'a Walked,
    pub(super) plan: &'a Plan,
    request: &'a SaveRequest,
    pub(super) repository: Option<&'a Repository>,
    pub(super) known: &'a KnownChunks,
    pub(super) context: Context<'a>,
    compression: Compression,
    pub(super) budget: Arc<Budget>,
    failure: FirstError,
    unreadable: Mutex<Vec<FileError>>,
    cursors: Mutex<Vec<DirCursor<'a, Walked>>>,
}

impl<'a> Cutter<'a> {
    pub(super) fn new(
        walked: &'a Walked,
        plan: &'a Plan,
        request: &'a SaveRequest,
        repository: Option<&'a Repository>,
        known: &'a KnownChunks,
        context: Context<'a>,
    ) -> Self {
        let sealing = repository.map(|repository| repository.keys().sealing()).unwrap_or_default();
        Self {
            walked,
            plan,
            request,
            repository,
            known,
            context,
            compression: Compression::new(request.level, sealing),
            budget: Budget::new(BUDGET),
            failure: FirstError::default(),
            unreadable: Mutex::default(),
            cursors: Mutex::default(),
        }
    }

    /// Cuts everything and uploads what is new.
    pub(super) fn run(self, recalled: RecalledUnits) -> Result<(Contents, Uploaded), Error> {
        self.begin_progress();
        let nowhere = MemoryStore::new();
        let store = self.repository.map_or(&nowhere as &dyn Store, Repository::store);
        let dry_run = self.request.dry_run;
        let tier = self.request.tier.as_deref().filter(|_| !dry_run);
        let (contents, uploaded) = std::thread::scope(|threads| {
            let sealed_by = self.compression.sealed_by();
            let (chunks, uploader) =
                upload::start(threads, store, dry_run, tier, sealed_by, &self.failure)?;
            let contents = rayon::in_place_scope(|tasks| {
                Dispatch::new(&self, chunks, recalled).run(tasks, threads)
            });
            let uploaded = uploader.join().expect("the thread that fills packs does not panic");
            Ok::<_, Error>((contents, uploaded))
        })?;
        self.context.check()?;
        self.failure.into_result()?;
        let unreadable = self.unreadable.into_inner().unwrap_or_default();
        if unreadable.is_empty() {
            Ok((contents, uploaded))
        } else {
            Err(Error::Unreadable(unreadable))
        }
    }

    fn begin_progress(&self) {
        let tree = &self.walked.tree;
        let files = tree.entries().iter().filter(|entry| matches!(entry.kind, Kind::File(_)));
        let bytes = tree.indexes().map(|index| tree.data_len(index)).sum();
        self.context.progress.begin(Phase::Save, files.count() as u64, bytes);
    }

    pub(super) fn goes_on(&self) -> bool {
        self.failure.none() && self.context.check().is_ok()
    }

    /// Does one job. Runs on a rayon worker, and so must not wait.
    pub(super) fn work(
        &self,
        job: Job,
        permit: Arc<Permit>,
        events: &Sender<Event>,
        chunks: &ChunkSender,
    ) {
        if !self.goes_on() {
            return tell(events, Event::Nothing);
        }
        match job {
            Job::Bundle { unit, files } => match self.read_bundle(unit, files, permit, events) {
                Some(piece) => self.store(piece, events, chunks),
                None => tell(events, Event::Nothing),
            },
            Job::Large(large) => match self.read_piece(large, permit, events) {
                Some(piece) => self.store(piece, events, chunks),
                None => tell(events, Event::Nothing),
            },
            Job::Store(piece) => self.store(piece, events, chunks),
        }
    }

    /// Reads the files of a bundle into one chunk.
    fn read_bundle(
        &self,
        unit: usize,
        files: Range<usize>,
        permit: Arc<Permit>,
        events: &Sender<Event>,
    ) -> Option<Piece> {
        let entries = &self.plan.small[files];
        let len: u64 = entries.iter().map(|&entry| self.walked.tree.data_len(entry)).sum();
        let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
        let mut cursor = self.cursor();
        for &entry in entries {
            let seen = self.seen(entry);
            let read =
                cursor.entry(entry).and_then(|at| read_small(at, seen, room(&bytes), &mut bytes));
            match read {
                Ok(ReadOutcome::Same) => {}
                Ok(ReadOutcome::Changed(stat)) => {
                    let now = Some((stat, vec![]));
                    tell(events, Event::Changed(Changed { entry, now }));
                }
                Ok(ReadOutcome::Grown(_)) => tell(events, Event::Grown(entry)),
                Ok(ReadOutcome::Replaced) => self.leave_out(entry, Why::Vanished, events),
                Ok(ReadOutcome::Unstable) => self.leave_out(entry, Why::Unstable, events),
                Err(error) => self.leave_out(entry, Why::Failed(error), events),
            }
        }
        lock(&self.cursors).push(cursor);
        let chunks = match bytes.len() {
            0 => vec![],
            len => vec![(self.compression.name(&bytes), 0..len)],
        };
        let files = entries.len() as u64;
        Some(Piece { unit, attempt: 0, number: 0, bytes, chunks, files, permit })
    }

    /// Reads and cuts the next piece of a large file.
    fn read_piece(
        &self,
        large: Large,
        permit: Arc<Permit>,
        events: &Sender<Event>,
    ) -> Option<Piece> {
        let Large { unit, entry, attempt, number, reader, rest: mut bytes } = large;
        let again = |attempt| {
            let first = Large { unit, entry, attempt, number: 0, reader: None, rest: vec![] };
            tell(events, Event::More(first));
        };
        let read = || -> io::Result<Option<LargeReader>> {
            let opened = match reader {
                Some(reader) => Some(reader),
                None => {
                    let mut cursor = self.cursor();
                    let opened = cursor.entry(entry).and_then(LargeReader::open);
                    lock(&self.cursors).push(cursor);
                    opened?
                }
            };
            let Some(mut reader) = opened else {
                return Ok(None);
            };
            reader.read(PIECE, &mut bytes)?;
            Ok(Some(reader))
        };
        let reader = match read() {
            Ok(Some(reader)) => reader,
            Ok(None) => {
                self.leave_out(entry, Why::Vanished, events);
                return None;
            }
            Err(error)
                if error.kind() == io::ErrorKind::UnexpectedEof && attempt + 1 < MAX_ATTEMPTS =>
            {
                again(attempt + 1);
                return None;
            }
            Err(error) => {
                self.leave_out(entry, Why::Failed(error), events);
                return None;
            }
        };
        let last = reader.is_at_end();
        if last && !reader.is_unchanged().unwrap_or(false) {
            if attempt + 1 < MAX_ATTEMPTS {
                again(attempt + 1);
            } else {
                self.leave_out(entry, Why::Unstable, events);
            }
            return None;
        }
        if last && self.differs(entry, &reader) {
            let now = Some((*reader.stat(), reader.holes().to_vec()));
            tell(events, Event::Changed(Changed { entry, now }));
        }
        let ends = LargeFileCutter.ends(&bytes, last);
        let sure = ends.last().copied().unwrap_or(0);
        if !last {
            let rest = bytes[sure..].to_vec();
            let number = number + 1;
            // Told before this piece is hashed: another thread reads on.
            tell(
                events,
                Event::More(Large { unit, entry, attempt, number, reader: Some(reader), rest }),
            );
        }
        let starts = std::iter::once(0).chain(ends.iter().copied());
        let name = |start, end| self.compression.name(&bytes[start..end]);
        let chunks = starts.zip(&ends).map(|(start, &end)| (name(start, end), start..end));
        let chunks = chunks.collect();
        Some(Piece { unit, attempt, number, bytes, chunks, files: u64::from(last), permit })
    }

    /// Hands in what the store does not have of a piece.
    fn store(&self, piece: Piece, events: &Sender<Event>, chunks: &ChunkSender) {
        let presence: Vec<Presence> =
            piece.chunks.iter().map(|(id, range)| self.known.presence(id, len_of(range))).collect();
        if presence.contains(&Presence::Unknown) {
            return tell(events, Event::Wait(piece));
        }
        for ((id, range), presence) in piece.chunks.iter().zip(presence) {
            if presence == Presence::Absent && self.known.claim(*id) {
                let raw = &piece.bytes[range.clone()];
                let stored = self.compression.pack(*id, raw);
                let permit = Arc::clone(&piece.permit);
                let chunk = NewChunk { id: *id, raw_len: len_of(range), stored, permit };
                // Fails only after the filling thread has died of a panic.
                let _ = chunks.send(chunk);
            }
        }
        let bytes = piece.chunks.iter().map(|(_, range)| range.len() as u64).sum();
        self.context.progress.advance(piece.files, bytes);
        let done = piece.chunks.iter().map(|(id, range)| (*id, len_of(range))).collect();
        let Piece { unit, attempt, number, .. } = piece;
        tell(events, Event::Done { unit, attempt, number, chunks: done });
    }

    fn leave_out(&self, entry: EntryIndex, why: Why, events: &Sender<Event>) {
        let path = self.walked.location(entry);
        tell(events, Event::Changed(Changed { entry, now: None }));
        let error = match why {
            Why::Vanished => return self.context.progress.warn(Warning::Vanished { path }),
            Why::Failed(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.context.progress.warn(Warning::Vanished { path });
            }
            Why::Failed(error) => FileError::new("read", path, error),
            Why::Unstable => {
                FileError::new("read", path, io::Error::other("it keeps changing while it is read"))
            }
        };
        if self.request.skip_unreadable {
            let error = error.to_string();
            self.context.progress.warn(Warning::SkippedUnreadable { error });
        } else {
            lock(&self.unreadable).push(error);
        }
    }

    fn cursor(&self) -> DirCursor<'a, Walked> {
        let idle = lock(&self.cursors).pop();
        idle.unwrap_or_else(|| DirCursor::new(&self.walked.tree, self.walked))
    }

    fn seen(&self, entry: EntryIndex) -> Seen {
        let Kind::File(file) = self.walked.tree.entry(entry).kind else {
            unreachable!("only files are planned");
        };
        Seen {
            identity: self.walked.identities[entry as usize],
            size: file.size,
            mtime: self.walked.tree.entry(entry).mtime,
        }
    }

    fn differs(&self, entry: EntryIndex, reader: &LargeReader) -> bool {
        let stat = reader.stat();
        let now = Seen { identity: stat.identity, size: stat.size, mtime: stat.mtime };
        self.seen(entry) != now || self.walked.tree.holes(entry) != reader.holes()
    }
}

/// How large the next file of a bundle may have grown: past that, it is cut as
/// a large one.
fn room(bundle: &[u8]) -> u64 {
    MAX_GROWN.saturating_sub(bundle.len() as u64)
}

enum Why {
    Vanished,
    Unstable,
    Failed(io::Error),
}

pub(super) fn len_of(range: &Range<usize>) -> u32 {
    u32::try_from(range.len()).expect("chunks are shorter than 4 GiB")
}

/// The receiver lives until all tasks have ended.
pub(super) fn tell(events: &Sender<Event>, event: Event) {
    let _ = events.send(event);
}
