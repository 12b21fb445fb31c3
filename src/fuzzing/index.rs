//! What tells where chunks are, and what garbage collection keeps.

use super::object::{Form, decode};
use crate::format::fuzzing::Sealed;
use crate::format::{GcState, IndexDelta, IndexFilter, IndexRow, decode_marks, encode_marks};
use crate::ids::ChunkId;

/// Whatever is an index delta, a table, a state or marks is sound.
///
/// # Panics
/// If a promise is broken.
pub fn index(data: &[u8]) {
    let (kind, rest) = super::choose(data, 4);
    match kind {
        0 => {
            Form::of(rest).object(Sealed::IndexDelta).into_iter().for_each(|it| check_delta(&it));
        }
        1 => check_table(rest),
        2 => Form::of(rest).object(Sealed::GcState).into_iter().for_each(|it| check_state(&it)),
        _ => Form::of(rest).object(Sealed::GcMarks).into_iter().for_each(|it| check_marks(&it)),
    }
}

fn check_delta(bytes: &[u8]) {
    let Some(delta) = decode(bytes, IndexDelta::decode) else { return };
    assert_eq!(IndexDelta::decode(&delta.encode()).as_ref(), Ok(&delta));
    for (_, at) in delta.chunks.rows() {
        assert!(at.end() > at.offset && at.stored_len <= at.raw_len);
    }
    assert!(delta.chunks.packs().len() <= delta.chunks.rows().len());
}

/// A filter, and as many of the last bytes for rows as the first one says.
fn check_table(data: &[u8]) {
    let (rows, rest) = super::choose(data, u8::MAX);
    let split = rest.len().saturating_sub(usize::from(rows) * IndexRow::LEN);
    let (filter, bytes) = rest.split_at(split);
    let Some(filter) = Form::of(filter).object(Sealed::IndexFilter) else { return };
    let Some(filter) = decode(&filter, IndexFilter::decode) else { return };
    let id = |number: u8| ChunkId::from_bytes([number; 32]);
    for id in (0..=u8::MAX).map(id).chain([ChunkId::of(data)]) {
        let rows = filter.rows_for(&id);
        assert!(rows.start <= rows.end && rows.end <= filter.rows());
        assert!(rows.is_empty() || filter.is_hook(&id));
    }
    let count = (bytes.len() / IndexRow::LEN) as u32;
    let Ok(all) = filter.decode_rows(0..count, bytes) else { return };
    for (number, row) in (0..).zip(&all) {
        let own = &bytes[number as usize * IndexRow::LEN..][..IndexRow::LEN];
        assert_eq!(row.to_bytes(), own);
        assert_eq!(filter.decode_rows(number..number + 1, own), Ok(vec![row.clone()]));
    }
}

fn check_state(bytes: &[u8]) {
    let Some(state) = decode(bytes, GcState::decode) else { return };
    assert_eq!(GcState::decode(&state.encode()).as_ref(), Ok(&state));
    assert!(state.listed().into_iter().all(|pack| state.is_listed(pack)));
}

fn check_marks(bytes: &[u8]) {
    let Some(marks) = decode(bytes, decode_marks) else { return };
    let encoded = encode_marks(marks.iter().map(|(object, mark)| (&**object, mark)));
    assert_eq!(decode_marks(&encoded).as_ref(), Ok(&marks));
    for mark in marks.values() {
        for (_, runs) in mark.packs.iter() {
            let mut last = 0;
            for (start, end) in runs {
                assert!(last <= start && start < end, "runs rise");
                last = end;
            }
        }
    }
}
