//! Writing files from chunks.
//!
//! A file that lies in one chunk is written at once by the thread that
//! unpacked it. A file of several chunks is made with its full length first,
//! then filled in place by whichever threads have its chunks; the one that
//! brings the last piece finishes it.

use std::collections::HashMap;
use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::RestoreRequest;
use super::compare::{Action, Comparison};
use super::stage::{Live, Stage};
use crate::compression::Unpacker;
use crate::error::Error;
use crate::files::{self, DirCursor, FileError, FileStat, LargeFile, Metadata};
use crate::format::{EntryIndex, FileIdentity, Kind, Manifest, Stream, Tree};
use crate::ids::ChunkId;
use crate::progress::Context;
use crate::secrets::Sealing;
use crate::sync::lock;

/// What was written.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// New files and what tells a later change of each.
    pub(super) identities: Vec<(EntryIndex, FileIdentity)>,
    /// Files that turned out to be in place with the right contents.
    pub(super) same: Vec<EntryIndex>,
    /// Bytes fetched from packs.
    pub(super) fetched_bytes: u64,
    /// Stored bytes taken from the local tier.
    pub(super) local_cache_bytes: u64,
}

/// Metadata of an entry, as far as the request wants it.
pub(super) fn metadata<'a>(
    tree: &'a Tree,
    index: EntryIndex,
    request: &RestoreRequest,
) -> Metadata<'a> {
    let entry = tree.entry(index);
    Metadata {
        mode: entry.mode,
        privileged: request.setuid,
        mtime: entry.mtime,
        owner: tree.owner(index).filter(|_| request.owner),
        xattrs: if request.xattrs { tree.xattrs(index) } else { &[] },
    }
}

/// Writes files, on any number of threads.
pub(super) struct FileWriter<'a> {
    tree: &'a Tree,
    stream: Stream,
    comparison: &'a Comparison,
    stage: &'a Stage<'a>,
    request: &'a RestoreRequest,
    context: Context<'a>,
    sealing: Sealing,
    kept_bits: u16,
    /// The files with data, by their places in the stream.
    by_place: Vec<(u64, EntryIndex)>,
    /// The files that do not lie in one chunk.
    large: HashMap<EntryIndex, Filling>,
    idle: Mutex<Vec<Kit<'a>>>,
    written: Mutex<Written>,
}

/// A file of several chunks that is being filled.
#[derive(Debug)]
struct Filling {
    made: Mutex<bool>,
    /// Bytes of data that are still to come.
    left: AtomicU64,
}

/// What a thread works with, and leaves to the next one.
struct Kit<'a> {
    staged: DirCursor<'a, Stage<'a>>,
    live: DirCursor<'a, Live<'a>>,
    unpacker: Unpacker,
    buffer: Vec<u8>,
}

impl<'a> FileWriter<'a> {
    pub(super) fn new(
        (manifest, sealing): (&Manifest, Sealing),
        tree: &'a Tree,
        comparison: &'a Comparison,
        stage: &'a Stage<'a>,
        files: &[EntryIndex],
        request: &'a RestoreRequest,
        context: Context<'a>,
    ) -> Self {
        let stream = manifest.stream();
        let mut by_place = vec![];
        let mut large = HashMap::new();
        for &file in files {
            let Kind::File(data) = tree.entry(file).kind else {
                continue;
            };
            let len = tree.data_len(file);
            if len == 0 {
                continue;
            }
            by_place.push((data.at, file));
            let in_one_chunk = stream.pieces(data.at, len).nth(1).is_none();
            if !in_one_chunk || !tree.holes(file).is_empty() {
                let filling = Filling { made: Mutex::new(false), left: AtomicU64::new(len) };
                large.insert(file, filling);
            }
        }
        by_place.sort_unstable();
        Self {
            tree,
            stream,
            comparison,
            stage,
            request,
            context,
            sealing,
            kept_bits: stage.kept_bits(),
            by_place,
            large,
            idle: Mutex::default(),
            written: Mutex::default(),
        }
    }

    /// A thread's turn at writing; [`Session::end`] hands in what it did.
    pub(super) fn session(&self) -> Session<'_, 'a> {
        let idle = lock(&self.idle).pop();
        let kit = idle.unwrap_or_else(|| Kit {
            staged: DirCursor::new(self.tree, self.stage),
            live: DirCursor::new(self.tree, &self.stage.live),
            unpacker: Unpacker::new(self.sealing.clone()),
            buffer: vec![],
        });
        Session { writer: self, kit, written: Written::default() }
    }

    /// Makes the files that have no data.
    pub(super) fn make_empty_files(&self, files: &[EntryIndex]) -> Result<(), Error> {
        let mut session = self.session();
        for &file in files {
            if self.tree.data_len(file) == 0 {
                session.empty_file(file)?;
            }
        }
        session.end();
        Ok(())
    }

    pub(super) fn finish(self) -> Written {
        self.written.into_inner().unwrap_or_default()
    }

    fn failed(&self, file: EntryIndex, error: io::Error) -> Error {
        FileError::new("write", self.stage.live.location(file), error).into()
    }
}

/// A thread's turn at writing.
pub(super) struct Session<'w, 'a> {
    writer: &'w FileWriter<'a>,
    kit: Kit<'a>,
    written: Written,
}

impl Session<'_, '_> {
    /// Unpacks a chunk, checks it, and writes it wherever the stream has it.
    /// Nothing is written of a chunk that is not what its name says.
    pub(super) fn write(
        &mut self,
        id: ChunkId,
        stored: &[u8],
        raw_len: u32,
        positions: &[usize],
    ) -> Result<(), WriteError> {
        // Taken out, so that its bytes can be lent beside the rest of the kit.
        let mut unpacker = std::mem::take(&mut self.kit.unpacker);
        let raw = unpacker.unpack(id, stored, raw_len).map_err(WriteError::Chunk)?;
        for &position in positions {
            self.write_at(position, raw)?;
        }
        self.kit.unpacker = unpacker;
        Ok(())
    }

    /// Writes the parts of all files that lie in one chunk of the stream.
    fn write_at(&mut self, position: usize, raw: &[u8]) -> Result<(), Error> {
        let writer = self.writer;
        let chunk = writer.stream.range(position);
        let end_of = |&(at, file): &(u64, EntryIndex)| at + writer.tree.data_len(file);
        let first = writer.by_place.partition_point(|place| end_of(place) <= chunk.start);
        for &(at, file) in &writer.by_place[first..] {
            if at >= chunk.end {
                break;
            }
            let (from, to) = (at.max(chunk.start), end_of(&(at, file)).min(chunk.end));
            let within = |place: u64| usize::try_from(place - chunk.start).unwrap_or(usize::MAX);
            let bytes = &raw[within(from)..within(to)];
            let written = match writer.large.get(&file) {
                Some(filling) => self.fill(file, filling, from - at, bytes),
                None => self.small_file(file, bytes),
            };
            written.map_err(|error| writer.failed(file, error))?;
            let done = u64::from(to == end_of(&(at, file)));
            writer.context.progress.advance(done, bytes.len() as u64);
        }
        Ok(())
    }

    fn small_file(&mut self, file: EntryIndex, bytes: &[u8]) -> io::Result<()> {
        let writer = self.writer;
        if writer.comparison.action(file) == Action::Check && self.is_in_place(file, bytes) {
            self.written.same.push(file);
            return Ok(());
        }
        let metadata = metadata(writer.tree, file, writer.request);
        let at = self.kit.staged.entry(file)?;
        let stat = files::small_file(at, bytes, &metadata, writer.kept_bits)?;
        self.written.identities.push((file, stat.identity));
        Ok(())
    }

    /// Whether the file that is in place has these contents.
    fn is_in_place(&mut self, file: EntryIndex, bytes: &[u8]) -> bool {
        let buffer = &mut self.kit.buffer;
        buffer.clear();
        let Ok(len) = u32::try_from(bytes.len()) else {
            return false;
        };
        let read = self.kit.live.entry(file);
        read.and_then(|at| files::read_part(at, &[], 0, len, buffer)).is_ok() && buffer == bytes
    }

    fn empty_file(&mut self, file: EntryIndex) -> Result<(), Error> {
        let writer = self.writer;
        let Kind::File(data) = writer.tree.entry(file).kind else {
            return Ok(());
        };
        let metadata = metadata(writer.tree, file, writer.request);
        let mut make = || -> io::Result<FileStat> {
            let at = self.kit.staged.entry(file)?;
            if data.size == 0 {
                return files::small_file(at, &[], &metadata, writer.kept_bits);
            }
            // All of it is holes.
            LargeFile::create(at, data.size)?;
            LargeFile::open(at)?.finish(&metadata)
        };
        let stat = make().map_err(|error| writer.failed(file, error))?;
        self.written.identities.push((file, stat.identity));
        writer.context.progress.advance(1, 0);
        Ok(())
    }

    fn fill(
        &mut self,
        file: EntryIndex,
        filling: &Filling,
        offset: u64,
        bytes: &[u8],
    ) -> io::Result<()> {
        let writer = self.writer;
        let Kind::File(data) = writer.tree.entry(file).kind else {
            return Ok(());
        };
        let holes = writer.tree.holes(file);
        let at = self.kit.staged.entry(file)?;
        {
            let mut made = lock(&filling.made);
            if !*made {
                LargeFile::create(at, data.size)?;
                *made = true;
            }
        }
        let open = LargeFile::open(at)?;
        open.fill(holes, offset, bytes)?;
        let len = bytes.len() as u64;
        // Acquire and release: whoever finishes the file does so after all
        // pieces were written.
        if filling.left.fetch_sub(len, Ordering::AcqRel) == len {
            let stat = open.finish(&metadata(writer.tree, file, writer.request))?;
            self.written.identities.push((file, stat.identity));
        }
        Ok(())
    }

    /// Hands in what was written, and leaves the kit to the next thread.
    pub(super) fn end(self) {
        let mut all = lock(&self.writer.written);
        all.identities.extend(self.written.identities);
        all.same.extend(self.written.same);
        drop(all);
        lock(&self.writer.idle).push(self.kit);
    }
}

/// Why a chunk was not written.
pub(super) enum WriteError {
    /// The chunk is damaged: so.
    Chunk(&'static str),
    /// A file could not be written.
    Other(Error),
}

impl From<Error> for WriteError {
    fn from(error: Error) -> Self {
        Self::Other(error)
    }
}
