//! Making objects visible: the end of a put, and all of a copy.
//!
//! The rules are those of savers (`docs/protocol.md`). Where a save that was overtaken by
//! garbage collection would read its files again, a put cannot: its bytes have gone by.
//! It moves what it relied on out of packs that are condemned, which are there for a grace
//! period yet.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::read;
use super::{Condition, Contents, Details, Found, Info, ObjectError, ObjectName, Shared, Writer};
use crate::error::Error;
use crate::format::{
    Anchor, Annotation, ChunkTable, FileData, FormatError, Kind, Layout, Lifetime, Location,
    Manifest, ManifestFacts, NewEntry, Timestamp, Tree, TreeBuilder,
};
use crate::ids::{ChunkId, PackId, Scope};
use crate::progress::Warning;
use crate::relpath::RelPath;
use crate::repository::{Refreshed, StoredManifest};
use crate::reuse;
use crate::secrets::KeyId;
use crate::store::{PutMode, Version};

/// How often a put that garbage collection overtook is mended, and how often a copy of an
/// object that others put meanwhile is made anew.
const MAX_ROUNDS: u32 = 5;

/// If it is longer ago that it was looked what can be relied on, it is looked again before
/// an object is replaced: one that turns out to be lost afterwards has taken the other's
/// place. Shorter than any grace period, and than most puts take.
const LONG_AGO: Duration = Duration::from_secs(60);

/// The name of the file in an object's tree, where its key gives none.
const FILE: &str = "object";

/// Chunks to be put again, and how they are read if they have to be.
pub(super) struct Source<'a> {
    pub(super) name: &'a ObjectName,
    pub(super) chunks: &'a [(ChunkId, Location)],
    pub(super) sealed_by: Option<KeyId>,
}

impl Shared {
    pub(super) fn put(
        self: &Arc<Self>,
        name: &ObjectName,
        contents: Contents,
        details: Details,
        condition: &Condition,
    ) -> Result<Info, ObjectError> {
        let mode = self.mode(name, condition)?;
        self.publish(name, contents, details, mode)
    }

    /// How a put under a condition is asked of the store.
    fn mode(&self, name: &ObjectName, condition: &Condition) -> Result<PutMode, ObjectError> {
        match condition {
            Condition::None => Ok(PutMode::Overwrite),
            Condition::Absent => match self.find(name) {
                // Also where it can be read by nobody, the store would say that it is there.
                Err(ObjectError::NotFound) => Ok(PutMode::Create),
                Ok(_) => Err(ObjectError::Condition),
                Err(error) => Err(error),
            },
            Condition::Etag(etag) => {
                let found = self.find(name)?;
                if found.info.details.etag == *etag {
                    Ok(PutMode::IfMatch(found.stored.version.clone()))
                } else {
                    Err(ObjectError::Condition)
                }
            }
        }
    }

    /// Publishes an object, and looks whether it lasts (S4).
    pub(super) fn publish(
        self: &Arc<Self>,
        name: &ObjectName,
        mut contents: Contents,
        details: Details,
        mut mode: PutMode,
    ) -> Result<Info, ObjectError> {
        let annotation = details.to_annotation().ok_or(ObjectError::DetailsTooLong)?;
        contents.settle(self)?;
        if contents.looked.elapsed() > LONG_AGO && self.knowledge.look()?.epoch != contents.epoch {
            contents = self.moved(name, &contents)?;
        }
        let mut own: Option<Version> = None;
        for _ in 0..MAX_ROUNDS {
            let manifest = self.manifest(name, &contents, annotation.clone())?;
            let version = match self.repository().put_manifest(&manifest, mode) {
                Ok((_, version)) => version,
                Err(Error::Store(error)) if error.is_conflict() && own.is_some() => {
                    match self.again(name, &contents, &details)? {
                        Some(again) => mode = again,
                        None => return Ok(info(name, &manifest, details)),
                    }
                    continue;
                }
                Err(Error::Store(error)) if error.is_conflict() => {
                    return Err(ObjectError::Condition);
                }
                Err(error) => return Err(error.into()),
            };
            let state = self.knowledge.look()?;
            let context = self.knowledge.context();
            if reuse::is_settled_by(&state, self.repository(), &manifest, context)? {
                self.news.add(&name.scope, contents.epoch, std::mem::take(&mut contents.new));
                return Ok(self.keep(manifest, version, details).info);
            }
            contents = match self.moved(name, &contents) {
                Ok(contents) => contents,
                Err(error) => {
                    self.take_back(name, &version);
                    return Err(error.into());
                }
            };
            mode = PutMode::IfMatch(version.clone());
            own = Some(version);
        }
        if let Some(version) = own {
            self.take_back(name, &version);
        }
        Err(Error::SaveOvertaken(MAX_ROUNDS).into())
    }

    /// How to put these contents once more, what was put of them not being there as it was;
    /// `None` if somebody else has put another in its place.
    fn again(
        &self,
        name: &ObjectName,
        contents: &Contents,
        details: &Details,
    ) -> Result<Option<PutMode>, Error> {
        let is_same =
            |found: &Found| found.info.details == *details && found.info.len == contents.len();
        Ok(match self.read(name)? {
            // Used, or moved by a flush: it refers to the same packs yet.
            Some(now) if is_same(&now) => Some(PutMode::IfMatch(now.stored.version.clone())),
            Some(_) => None,
            // A flush that has judged an older one may have removed it (S4).
            None => Some(PutMode::Create),
        })
    }

    fn take_back(&self, name: &ObjectName, version: &Version) {
        self.cache.drop(name);
        if let Err(error) = self.repository().take_back(&name.scope, &name.key, version) {
            self.warn(Warning::NotDeleted { error: error.to_string() });
        }
    }

    /// Remembers what was just put.
    pub(super) fn keep(&self, manifest: Manifest, version: Version, details: Details) -> Found {
        let name = ObjectName { scope: manifest.scope.clone(), key: manifest.key.clone() };
        let info = info(&name, &manifest, details);
        let stored = StoredManifest { modified: manifest.facts.saved, manifest, version };
        let found = Found { info, stored: Arc::new(stored) };
        self.cache.keep(&found);
        found
    }

    /// The manifest of contents that are in the store.
    pub(super) fn manifest(
        &self,
        name: &ObjectName,
        contents: &Contents,
        annotation: Annotation,
    ) -> Result<Manifest, Error> {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let saved = self.knowledge.now()?;
        let (sequence, chunks) = chunk_table(&contents.chunks);
        let tree = tree(name, contents.len, Timestamp { secs: saved.unix(), nanos: 0 });
        let manifest = Manifest {
            scope: name.scope.clone(),
            key: name.key.clone(),
            writer: concat!("larder ", env!("CARGO_PKG_VERSION")).to_owned(),
            created: i64::try_from(created).unwrap_or(i64::MAX),
            facts: ManifestFacts {
                epoch: contents.epoch,
                saved,
                used: None,
                lifetime: Lifetime::ByPolicy,
                moves: 0,
            },
            annotation,
            tree: tree.map_err(|source| unsound(name, source))?,
            sequence,
            chunks,
            sealed_by: contents.sealed_by,
            signed_by: None,
        };
        // What its own reader would refuse must never be published.
        manifest.check().map_err(|source| unsound(name, source))?;
        Ok(manifest)
    }

    /// The same contents, without what lies in packs that are condemned, or gone.
    fn moved(self: &Arc<Self>, name: &ObjectName, contents: &Contents) -> Result<Contents, Error> {
        let view = self.knowledge.view(&name.scope)?;
        let packs: HashSet<PackId> = contents.chunks.iter().map(|(_, at)| at.pack).collect();
        let (listed, mut rest): (HashSet<PackId>, HashSet<PackId>) =
            packs.into_iter().partition(|pack| view.avoids(*pack));
        if contents.epoch.saturating_add(1) < view.epoch() {
            rest = reuse::missing(self.repository(), rest, self.knowledge.context())?;
        } else {
            rest.clear();
        }
        let bad: HashSet<PackId> = listed.into_iter().chain(rest).collect();
        let (chunks, sealed_by) = (&contents.chunks, contents.sealed_by);
        let source = Source { name, chunks, sealed_by };
        let mut writer = Writer::by(Arc::clone(self), view);
        self.transfer(&mut writer, &source, 0..contents.len, &bad)?;
        let mut moved = writer.finish()?;
        moved.settle(self)?;
        moved.new.extend(contents.new.iter().filter(|(_, at)| !bad.contains(&at.pack)));
        Ok(moved)
    }

    /// Gives the bytes `range` of a source to a writer: chunks in good packs as they are,
    /// all else read and written anew.
    pub(super) fn transfer(
        &self,
        writer: &mut Writer,
        source: &Source<'_>,
        range: Range<u64>,
        bad: &HashSet<PackId>,
    ) -> Result<(), Error> {
        let is_sealed_alike = source.sealed_by == self.compression.sealed_by();
        let mut to_read = range.start..range.start;
        let mut start = 0;
        for &(id, at) in source.chunks {
            let chunk = start..start + u64::from(at.raw_len);
            start = chunk.end;
            if chunk.end <= range.start {
                continue;
            }
            if chunk.start >= range.end {
                break;
            }
            let is_whole = chunk.start >= range.start && chunk.end <= range.end;
            if is_whole && is_sealed_alike && !bad.contains(&at.pack) {
                self.rewrite(writer, source, &to_read)?;
                writer.append(id, at);
                to_read = chunk.end..chunk.end;
            } else {
                to_read.end = chunk.end.min(range.end);
            }
        }
        self.rewrite(writer, source, &to_read)
    }

    fn rewrite(
        &self,
        writer: &mut Writer,
        source: &Source<'_>,
        range: &Range<u64>,
    ) -> Result<(), Error> {
        let sealing = self.repository().keys().sealing_of(source.sealed_by);
        for fetch in read::plan(source.chunks, range.clone()) {
            let needed_by = || Layout::manifest(&source.name.scope, &source.name.key);
            let sealing = sealing.clone().unwrap_or_default();
            for bytes in self.fetch_for(&fetch, sealing, needed_by)? {
                writer.write(&bytes)?;
            }
        }
        Ok(())
    }

    pub(super) fn contents_of(
        self: &Arc<Self>,
        from: &Found,
        range: Range<u64>,
    ) -> Result<Contents, ObjectError> {
        let view = self.knowledge.view_for([&*from.stored])?;
        let mut writer = Writer::beside(Arc::clone(self), &from.info.name.scope, &view)?;
        let chunks = from.chunks();
        let sealed_by = from.stored.manifest.sealed_by;
        let source = Source { name: &from.info.name, chunks: &chunks, sealed_by };
        self.transfer(&mut writer, &source, range, &view.avoid)?;
        Ok(writer.finish()?)
    }

    pub(super) fn copy(
        self: &Arc<Self>,
        from: &Found,
        to: &ObjectName,
        details: &Details,
        condition: &Condition,
    ) -> Result<Info, ObjectError> {
        let mut from = from.clone();
        for _ in 0..MAX_ROUNDS {
            let is_touch = from.info.name == *to && *condition == Condition::None;
            let mode = if is_touch {
                PutMode::IfMatch(from.stored.version.clone())
            } else {
                self.mode(to, condition)?
            };
            let contents = self.relied_on(&from, &to.scope)?;
            match self.publish(to, contents, details.clone(), mode) {
                Err(ObjectError::Condition) if is_touch => {}
                result => return result,
            }
            // Used, moved, or replaced by another: then the copy was before that.
            let now = self.find(to)?;
            if now.info.details.etag != from.info.details.etag {
                return Ok(now.info);
            }
            from = now;
        }
        Err(Error::SaveOvertaken(MAX_ROUNDS).into())
    }

    /// All of an object, without what is about to be collected as garbage.
    fn relied_on(self: &Arc<Self>, from: &Found, scope: &Scope) -> Result<Contents, ObjectError> {
        let view = self.knowledge.view_for([&*from.stored])?;
        let manifest = &from.stored.manifest;
        if manifest.chunks.packs().iter().all(|pack| !view.avoid.contains(pack)) {
            let epoch = view.state.epoch;
            return Ok(Contents::stored(from.chunks(), epoch, manifest.sealed_by));
        }
        let mut writer = Writer::beside(Arc::clone(self), scope, &view)?;
        let chunks = from.chunks();
        let source =
            Source { name: &from.info.name, chunks: &chunks, sealed_by: manifest.sealed_by };
        self.transfer(&mut writer, &source, 0..from.info.len, &view.avoid)?;
        Ok(writer.finish()?)
    }

    pub(super) fn used(&self, found: &Found) {
        let now = self.knowledge.now();
        let is_due = |now| {
            found.stored.last_used() <= now
                && now.since(found.stored.last_used()) >= self.refresh_after
        };
        let refreshed = match now {
            Ok(now) if is_due(now) => self.repository().refresh(&found.stored),
            Ok(_) => Ok(Refreshed::Yes),
            Err(error) => Err(error),
        };
        if let Err(error) = refreshed {
            self.warn(Warning::NotRefreshed { error: error.to_string() });
        }
    }
}

fn info(name: &ObjectName, manifest: &Manifest, details: Details) -> Info {
    Info {
        name: name.clone(),
        len: manifest.tree.raw_bytes(),
        modified: manifest.facts.saved,
        details,
    }
}

/// The rows of chunks in order, and the table of them, each once.
fn chunk_table(chunks: &[(ChunkId, Location)]) -> (Vec<u32>, ChunkTable) {
    let mut rows = std::collections::HashMap::new();
    let mut table = ChunkTable::default();
    let row =
        |&(id, at): &(ChunkId, Location)| *rows.entry(id).or_insert_with(|| table.push(id, at));
    (chunks.iter().map(row).collect(), table)
}

/// The tree of one file: what `larder restore` makes of an object.
fn tree(name: &ObjectName, size: u64, mtime: Timestamp) -> Result<Tree, FormatError> {
    let last = name.key.as_str().rsplit('/').next().unwrap_or_default();
    let path = RelPath::new(last).ok().filter(|path| !path.is_empty() && last.len() <= 255);
    let path = path.unwrap_or_else(|| RelPath::new(FILE).expect("a plain name"));
    let file = path.as_bytes().to_vec();
    let mut builder = TreeBuilder::default();
    builder.begin_mount(Anchor::WorkingDirectory, path)?;
    let kind = Kind::File(FileData { size, at: 0 });
    builder.push(0, NewEntry { name: &file, kind, target: b"", mode: 0o644, mtime })?;
    builder.finish()
}

/// A manifest that was to be put, and would not be read.
fn unsound(name: &ObjectName, source: FormatError) -> Error {
    match Layout::manifest(&name.scope, &name.key) {
        Ok(object) => Error::Damaged { object, source },
        Err(error) => error.into(),
    }
}
