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
    let found = match repository.store().get(&object, IndexFilter::MAX_LEN) {
        Ok(found) => found,
        Err(error) if error.is_not_found() => return Ok(None),
        Err(error) => return Err(error.into()),
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

/// Reads what a pack holds, in one request, by the place of its footer.
pub(super) fn read_footer(
    repository: &Repository,
    pack: PackId,
    footer: &Range<u32>,
) -> Result<Option<Vec<(ChunkId, Location)>>, Error> {
    let object = Layout::pack(pack);
    let footer = u64::from(footer.start)..u64::from(footer.end);
    let chunks = match read_range(repository, &object, footer.start..footer.end + PACK_TRAILER_LEN)?
    {
        Found::Bytes(bytes) => chunks_by_footer(pack, &footer, &bytes),
        Found::Outside => Err(FormatError::Truncated),
        Found::Nothing => return Ok(None),
    };
    chunks.map(Some).map_err(|source| Error::Damaged { object, source })
}

/// The chunks that a pack has by its last bytes, footer and trailer.
fn chunks_by_footer(
    pack: PackId,
    footer: &Range<u64>,
    bytes: &[u8],
) -> Result<Vec<(ChunkId, Location)>, FormatError> {
    let len = usize::try_from(footer.end - footer.start).map_err(|_| FormatError::Truncated)?;
    let (body, trailer) = bytes.split_at_checked(len).ok_or(FormatError::Truncated)?;
    // A wrong row leads to some other place, which is no fault of the pack's.
    if footer_range(footer.end + PACK_TRAILER_LEN, trailer).as_ref() != Ok(footer) {
        return Err(FormatError::Inconsistent("its footer is not where the index says"));
    }
    let chunks = PackFooter::decode(body)?.locations(pack)?;
    match chunks.last() {
        Some((_, last)) if last.end() != footer.start => {
            Err(FormatError::Inconsistent("its chunks do not end where its footer begins"))
        }
        _ => Ok(chunks),
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
