//! The objects of an index table, and the footers that it leads to.
//!
//! What is not there is no error: a flush replaces tables and deletes packs while
//! savers read them.

use std::ops::Range;

use bytes::Bytes;

use crate::error::Error;
use crate::format::{
    FormatError, IndexFilter, IndexRow, Layout, Location, PACK_TRAILER_LEN, PackFooter,
    footer_range,
};
use crate::ids::{ChunkId, PackId, TableId};
use crate::repository::Repository;
use crate::store::{ObjectKey, PutMode, StoreError, StoreErrorKind};

/// Puts a table. Nobody reads it before its name is told.
pub(super) fn put_table(
    repository: &Repository,
    filter: Vec<u8>,
    rows: Vec<u8>,
) -> Result<TableId, Error> {
    let table = TableId::generate();
    let store = repository.store();
    store.put(&Layout::table_rows(table), rows.into(), PutMode::Create)?;
    store.put(&Layout::table_filter(table), filter.into(), PutMode::Create)?;
    Ok(table)
}

/// Reads a table's filter, and tells how many bytes that were.
pub(super) fn read_filter(
    repository: &Repository,
    table: TableId,
) -> Result<Option<(IndexFilter, u64)>, Error> {
    let object = Layout::table_filter(table);
    let Some(found) = repository.get(&object, IndexFilter::MAX_LEN)? else {
        return Ok(None);
    };
    let filter = IndexFilter::decode(&found.body);
    let filter = filter.map_err(|source| Error::Damaged { object, source })?;
    Ok(Some((filter, found.meta.len)))
}

/// Reads a run of a table's rows.
pub(super) fn read_rows(
    repository: &Repository,
    table: TableId,
    filter: &IndexFilter,
    rows: Range<u32>,
) -> Result<Option<Vec<IndexRow>>, Error> {
    let object = Layout::table_rows(table);
    let at = |row| u64::from(row) * IndexRow::LEN as u64;
    let decoded = match read_range(repository, &object, at(rows.start)..at(rows.end))? {
        Found::Bytes(bytes) => filter.decode_rows(rows, &bytes),
        Found::Outside => Err(FormatError::Truncated),
        Found::Nothing => return Ok(None),
    };
    decoded.map(Some).map_err(|source| Error::Damaged { object, source })
}

/// Bytes at a pack's end that tell where its footer begins.
#[expect(clippy::cast_possible_truncation, reason = "it is 8")]
const TRAILER_LEN: usize = PACK_TRAILER_LEN as usize;

/// How much of a pack's end is read for its footer: one part in so many. A chunk
/// takes 40 bytes there, and some 30,000 before.
const TAIL_PART: u64 = 512;

/// The least that is read: as much again costs no time.
const MIN_TAIL: u64 = 32 << 10;

/// The longest footer that is read, in bytes: as of 100,000 chunks in a pack,
/// which is some hundred times what they have.
const MAX_FOOTER: u64 = 4 << 20;

/// Reads what a pack of this length holds, in one request; in a second one, what
/// the first lacks of a footer that is longer than most.
pub(super) fn read_footer(
    repository: &Repository,
    pack: PackId,
    pack_len: u64,
) -> Result<Option<Vec<(ChunkId, Location)>>, Error> {
    let object = Layout::pack(pack);
    let damaged = |source| Error::Damaged { object: object.clone(), source };
    let read = |range| match read_range(repository, &object, range)? {
        Found::Bytes(bytes) => Ok(Some(bytes)),
        Found::Outside => Err(damaged(FormatError::Truncated)),
        Found::Nothing => Ok(None),
    };
    let tail_start = pack_len.saturating_sub((pack_len / TAIL_PART).max(MIN_TAIL));
    let Some(tail) = read(tail_start..pack_len)? else { return Ok(None) };
    let trailer_at = tail.len().saturating_sub(TRAILER_LEN);
    let footer = footer_range(pack_len, &tail[trailer_at..]).map_err(damaged)?;
    if footer.end - footer.start > MAX_FOOTER {
        return Err(damaged(FormatError::Inconsistent("its footer is too long to be read")));
    }
    let mut body = vec![];
    if footer.start < tail_start {
        let Some(before) = read(footer.start..tail_start)? else { return Ok(None) };
        body.extend_from_slice(&before);
    }
    let skip = footer.start.saturating_sub(tail_start);
    body.extend_from_slice(&tail[usize::try_from(skip).unwrap_or(trailer_at)..trailer_at]);
    let chunks = PackFooter::decode(&body).and_then(|footer| footer.locations(pack));
    let chunks = chunks.map_err(damaged)?;
    match chunks.last() {
        Some((_, last)) if last.end() != footer.start => {
            let why = "its chunks do not end where its footer begins";
            Err(damaged(FormatError::Inconsistent(why)))
        }
        _ => Ok(Some(chunks)),
    }
}

/// What there is of a range of an object.
enum Found {
    /// All of it.
    Bytes(Bytes),
    /// The object ends before it.
    Outside,
    /// There is no such object.
    Nothing,
}

fn read_range(
    repository: &Repository,
    object: &ObjectKey,
    range: Range<u64>,
) -> Result<Found, StoreError> {
    match repository.store().get_range(object, range) {
        Ok(bytes) => Ok(Found::Bytes(bytes)),
        Err(error) if error.is_not_found() => Ok(Found::Nothing),
        Err(StoreError { kind: StoreErrorKind::RangeOutside { .. }, .. }) => Ok(Found::Outside),
        Err(error) => Err(error),
    }
}
