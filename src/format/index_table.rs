//! Index tables: which packs to ask for a chunk, for the whole store.
//!
//! A table lists *hooks*: those chunks whose ids end in enough zero bits. For
//! each it names a pack that holds the chunk, and how long that is: the footer
//! at its end tells of all its other chunks too. The table is two
//! objects: its *rows*, sorted by id, and a *filter*, which is small enough to be
//! read whole. The filter rules out nearly all chunks that are not in the table,
//! and says for each other one which few rows to look at.
//!
//! Of an id, only the first 64 bits are used, as one big-endian number:
//!
//! ```text
//! 63 … 40   bucket: as many of the upper bits as the filter has bits of buckets
//! 39 … 32   fingerprint
//! 31 … 0    hook, if as many of the lower bits as the table samples by are zero
//! ```

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::FormatError;
use super::envelope::{self, EnvelopeKind};
use crate::ids::{ChunkId, PackId};

pub(super) const KIND: EnvelopeKind =
    EnvelopeKind { letter: b'T', name: "index filter", version: 1 };

/// The most rows of a table: with a byte for each, and some bits for the
/// buckets, the filter stays well below 2 MB.
const MAX_ROWS: usize = 1 << 20;

/// At two rows a bucket, this is the most that [`MAX_ROWS`] need.
const MAX_BUCKET_BITS: u8 = 19;

/// Samples of 2^-32 are enough for 2^52 chunks.
const MAX_SAMPLE_BITS: u8 = 32;

/// A byte for each row and each bucket, and the names of the fields.
const MAX_PAYLOAD_LEN: u64 = MAX_ROWS as u64 + (1 << MAX_BUCKET_BITS) + 256;

/// What an index table knows a chunk by: the first eight bytes of its id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdPrefix(u64);

impl IdPrefix {
    /// The prefix of an id.
    pub fn of(id: &ChunkId) -> Self {
        let (first, _) = id.as_bytes().split_first_chunk().expect("an id has 32 bytes");
        Self(u64::from_be_bytes(*first))
    }

    /// Whether a table that samples by so many bits lists the chunk. What is a
    /// hook at some number of bits is one at every smaller number.
    pub fn is_hook(self, sample_bits: u8) -> bool {
        self.0.trailing_zeros() >= u32::from(sample_bits)
    }

    fn bucket(self, bucket_bits: u8) -> usize {
        let upper = (self.0 >> 32) >> (32 - bucket_bits);
        usize::try_from(upper).expect("there are at most 2^19 buckets")
    }

    fn fingerprint(self) -> u8 {
        self.0.to_be_bytes()[3]
    }
}

/// A row: a chunk, a pack that holds it, and how long that is: its footer lies at
/// its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexRow {
    /// The chunk.
    pub chunk: IdPrefix,
    /// A pack that holds it.
    pub pack: PackId,
    /// Bytes of the pack.
    pub pack_len: u64,
}

impl IndexRow {
    /// Bytes of a row: row *n* lies at *n* times that.
    pub const LEN: usize = 32;

    /// The row's bytes.
    pub fn to_bytes(&self) -> [u8; Self::LEN] {
        let mut bytes = [0; Self::LEN];
        bytes[..8].copy_from_slice(&self.chunk.0.to_be_bytes());
        bytes[8..24].copy_from_slice(&self.pack.to_bytes());
        bytes[24..].copy_from_slice(&self.pack_len.to_le_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; Self::LEN]) -> Result<Self, FormatError> {
        let (chunk, rest) = bytes.split_first_chunk().expect("a row has 32 bytes");
        let (pack, rest) = rest.split_first_chunk().expect("a row has 32 bytes");
        let (len, _) = rest.split_first_chunk().expect("a row has 32 bytes");
        let pack_len = u64::from_le_bytes(*len);
        let chunk = IdPrefix(u64::from_be_bytes(*chunk));
        Ok(Self { chunk, pack: PackId::from_bytes(*pack), pack_len })
    }
}

/// The filter of a table, which is its directory too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexFilter {
    sample_bits: u8,
    bucket_bits: u8,
    /// For each bucket its first row, and then the number of rows.
    starts: Vec<u32>,
    /// A byte for each row.
    fingerprints: Vec<u8>,
    /// The hash of all rows, for who reads all of them.
    hash: [u8; 32],
}

#[derive(Serialize, Deserialize)]
struct Wire {
    sample_bits: u8,
    bucket_bits: u8,
    counts: ByteBuf,
    fingerprints: ByteBuf,
    rows: ByteBuf,
}

impl IndexFilter {
    /// The most rows that a table may have.
    pub const MAX_ROWS: usize = MAX_ROWS;

    /// The most that a table may sample by.
    pub const MAX_SAMPLE_BITS: u8 = MAX_SAMPLE_BITS;

    /// The longest filter that is read, in bytes: its payload, should nothing of
    /// it compress.
    pub const MAX_LEN: u64 = MAX_PAYLOAD_LEN + (1 << 14);

    /// Reads a filter.
    ///
    /// # Errors
    /// [`FormatError`] if these are not the bytes of a sound filter.
    pub fn decode(bytes: &[u8]) -> Result<Self, FormatError> {
        let wire: Wire = envelope::open(KIND, bytes, MAX_PAYLOAD_LEN)?;
        if wire.sample_bits > MAX_SAMPLE_BITS || wire.bucket_bits > MAX_BUCKET_BITS {
            return Err(FormatError::Inconsistent("the filter uses too many bits of an id"));
        }
        if wire.counts.len() != 1 << wire.bucket_bits {
            return Err(FormatError::Inconsistent("the filter has not the buckets that it says"));
        }
        let mut starts = Vec::with_capacity(wire.counts.len() + 1);
        let mut rows = 0;
        starts.push(rows);
        for &count in wire.counts.iter() {
            // At most 2^19 buckets of at most 255.
            rows += u32::from(count);
            starts.push(rows);
        }
        if rows as usize != wire.fingerprints.len() || rows as usize > MAX_ROWS {
            return Err(FormatError::Inconsistent("the filter has not the rows that it says"));
        }
        let Ok(hash) = wire.rows.as_slice().try_into() else {
            return Err(FormatError::Inconsistent("the filter has no hash of its rows"));
        };
        let Wire { sample_bits, bucket_bits, .. } = wire;
        let fingerprints = wire.fingerprints.into_vec();
        Ok(Self { sample_bits, bucket_bits, starts, fingerprints, hash })
    }

    /// A chunk is in the table only if its id ends in so many zero bits.
    pub fn sample_bits(&self) -> u8 {
        self.sample_bits
    }

    /// How many rows the table has.
    pub fn rows(&self) -> u32 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// The `blake3` of all rows.
    pub fn rows_hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// Whether the table tells of this chunk at all.
    pub fn is_hook(&self, id: &ChunkId) -> bool {
        IdPrefix::of(id).is_hook(self.sample_bits)
    }

    /// The rows among which this chunk's is, if it is a hook and in the table.
    /// Of a chunk that is not, they are empty in all but a few of a hundred
    /// cases.
    pub fn rows_for(&self, id: &ChunkId) -> Range<u32> {
        let prefix = IdPrefix::of(id);
        if !prefix.is_hook(self.sample_bits) {
            return 0..0;
        }
        let rows = self.bucket(prefix);
        let fingerprints = &self.fingerprints[rows.start as usize..rows.end as usize];
        if fingerprints.contains(&prefix.fingerprint()) { rows } else { 0..0 }
    }

    fn bucket(&self, prefix: IdPrefix) -> Range<u32> {
        let bucket = prefix.bucket(self.bucket_bits);
        self.starts[bucket]..self.starts[bucket + 1]
    }

    /// Reads a run of rows. Of a row that was changed, it may notice nothing:
    /// only all rows together have a hash.
    ///
    /// # Errors
    /// [`FormatError`] if these are not those rows of the table that the filter
    /// is of.
    pub fn decode_rows(
        &self,
        rows: Range<u32>,
        bytes: &[u8],
    ) -> Result<Vec<IndexRow>, FormatError> {
        let (read, []) = bytes.as_chunks::<{ IndexRow::LEN }>() else {
            return Err(FormatError::Truncated);
        };
        if rows.end > self.rows() || read.len() != rows.len() {
            return Err(FormatError::Truncated);
        }
        let check = |(number, bytes)| {
            let row = IndexRow::from_bytes(bytes)?;
            let is_listed = self.bucket(row.chunk).contains(&number)
                && self.fingerprints[number as usize] == row.chunk.fingerprint();
            match is_listed {
                true => Ok(row),
                false => Err(FormatError::Inconsistent("a row is not the one that the filter has")),
            }
        };
        rows.zip(read).map(check).collect()
    }
}

/// Lays out a table, row after row.
#[derive(Debug)]
pub struct IndexTableWriter {
    sample_bits: u8,
    bucket_bits: u8,
    counts: Vec<u8>,
    fingerprints: Vec<u8>,
    rows: Vec<u8>,
    last: Option<IdPrefix>,
}

impl IndexTableWriter {
    /// A table that samples by so many bits, and is to have about so many rows.
    ///
    /// # Panics
    /// If either is more than a table may have.
    pub fn new(sample_bits: u8, rows: usize) -> Self {
        assert!(rows <= MAX_ROWS && sample_bits <= MAX_SAMPLE_BITS, "a table has its limits");
        // Two to four rows a bucket: fewer make the counts longer, more make the
        // fingerprints match by chance more often.
        let bucket_bits = (rows / 2).max(1).ilog2();
        let bucket_bits = u8::try_from(bucket_bits).expect("2^20 rows have 2^19 buckets");
        Self {
            sample_bits,
            bucket_bits,
            counts: vec![0; 1 << bucket_bits],
            fingerprints: Vec::with_capacity(rows),
            rows: Vec::with_capacity(rows * IndexRow::LEN),
            last: None,
        }
    }

    /// Adds a row. What its bucket, or the table, has no room for is left out:
    /// ids that are hashes never fill a bucket.
    ///
    /// # Panics
    /// If its chunk is no hook, or does not come after that of the row before.
    pub fn push(&mut self, row: &IndexRow) {
        assert!(self.last < Some(row.chunk), "rows are sorted");
        assert!(row.chunk.is_hook(self.sample_bits), "rows are of hooks");
        self.last = Some(row.chunk);
        let count = &mut self.counts[row.chunk.bucket(self.bucket_bits)];
        if *count == u8::MAX || self.fingerprints.len() == MAX_ROWS {
            return;
        }
        *count += 1;
        self.fingerprints.push(row.chunk.fingerprint());
        self.rows.extend_from_slice(&row.to_bytes());
    }

    /// The filter's bytes and the rows'.
    pub fn finish(self) -> (Vec<u8>, Vec<u8>) {
        let filter = Wire {
            sample_bits: self.sample_bits,
            bucket_bits: self.bucket_bits,
            counts: ByteBuf::from(self.counts),
            fingerprints: ByteBuf::from(self.fingerprints),
            rows: ByteBuf::from(blake3::hash(&self.rows).as_bytes()),
        };
        (envelope::seal(KIND, &filter), self.rows)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn row(id: &ChunkId, number: u32) -> IndexRow {
        let pack = PackId::from_bytes([(number % 7) as u8; 16]);
        IndexRow { chunk: IdPrefix::of(id), pack, pack_len: number.into() }
    }

    /// Lays out those of these chunks that are hooks.
    fn table(sample_bits: u8, ids: &[ChunkId]) -> (IndexFilter, Vec<u8>) {
        let rows: BTreeMap<IdPrefix, IndexRow> =
            ids.iter().zip(0..).map(|(id, number)| (IdPrefix::of(id), row(id, number))).collect();
        let hooks: Vec<_> = rows.values().filter(|row| row.chunk.is_hook(sample_bits)).collect();
        let mut writer = IndexTableWriter::new(sample_bits, hooks.len());
        hooks.iter().for_each(|row| writer.push(row));
        let (filter, rows) = writer.finish();
        (IndexFilter::decode(&filter).unwrap(), rows)
    }

    fn bytes_of(rows: &Range<u32>) -> Range<usize> {
        rows.start as usize * IndexRow::LEN..rows.end as usize * IndexRow::LEN
    }

    fn ids(from: u32, count: u32) -> Vec<ChunkId> {
        (from..from + count).map(|number| ChunkId::of(&number.to_le_bytes())).collect()
    }

    #[test]
    fn the_layout_is_as_documented() {
        let mut id = [0; 32];
        id[..8].copy_from_slice(&[0x80, 1, 2, 3, 4, 5, 6, 0]);
        let prefix = IdPrefix::of(&ChunkId::from_bytes(id));
        assert_eq!((prefix.bucket(1), prefix.bucket(9), prefix.bucket(0)), (1, 0x100, 0));
        assert_eq!(prefix.fingerprint(), 3);
        assert!(prefix.is_hook(9) && !prefix.is_hook(10), "6 ends in one zero bit");
        let row = IndexRow { chunk: prefix, pack: PackId::from_bytes([9; 16]), pack_len: 256 };
        let mut bytes = vec![0x80, 1, 2, 3, 4, 5, 6, 0];
        bytes.extend([9; 16]);
        bytes.extend([0, 1, 0, 0, 0, 0, 0, 0]);
        assert_eq!(row.to_bytes()[..], bytes);
    }

    #[test]
    fn few_absent_chunks_pass() {
        for count in [1, 4, 1_000, 4_095, 60_000] {
            let (filter, _) = table(0, &ids(0, count));
            assert_eq!(filter.rows(), count);
            let absent = ids(1 << 30, 50_000);
            let passed = absent.iter().filter(|id| !filter.rows_for(id).is_empty()).count();
            assert!(passed < 1_000, "{count} rows: {passed} of 50000 pass");
        }
    }

    #[test]
    fn a_bucket_that_is_full_takes_no_more() {
        let mut writer = IndexTableWriter::new(0, 4_000);
        let crowded = |number: u64| IndexRow {
            chunk: IdPrefix(number),
            pack: PackId::from_bytes([1; 16]),
            pack_len: 9,
        };
        (0..400).for_each(|number| writer.push(&crowded(number)));
        writer.push(&crowded(u64::MAX));
        let (filter, rows) = writer.finish();
        let filter = IndexFilter::decode(&filter).unwrap();
        assert_eq!(filter.rows(), 256);
        assert_eq!(filter.decode_rows(0..256, &rows).unwrap()[255], crowded(u64::MAX));
    }

    #[test]
    fn rows_of_another_table_are_refused() {
        let (filter, _) = table(0, &ids(0, 100));
        let (_, other) = table(0, &ids(1000, 100));
        assert!(filter.decode_rows(0..100, &other).is_err());
        assert_eq!(filter.decode_rows(0..100, &other[1..]), Err(FormatError::Truncated));
        assert_eq!(filter.decode_rows(0..101, &other), Err(FormatError::Truncated));
        assert_eq!(filter.decode_rows(90..101, &other[..352]), Err(FormatError::Truncated));
    }

    /// A sealed filter whose numbers do not fit together.
    #[test]
    fn inconsistent_filters_are_refused() {
        let check = |sample_bits, bucket_bits, counts: Vec<u8>, rows| {
            let (counts, fingerprints) = (ByteBuf::from(counts), ByteBuf::from(vec![1; rows]));
            let rows = ByteBuf::from([0; 32]);
            let wire = Wire { sample_bits, bucket_bits, counts, fingerprints, rows };
            IndexFilter::decode(&envelope::seal(KIND, &wire)).is_ok()
        };
        assert!(check(0, 1, vec![2, 1], 3));
        assert!(check(32, 0, vec![0], 0));
        assert!(!check(33, 0, vec![0], 0), "more bits than a prefix has");
        assert!(!check(0, 1, vec![2, 1], 4), "more rows than counted");
        assert!(!check(0, 1, vec![2, 2], 3), "fewer rows than counted");
        assert!(!check(0, 1, vec![3], 3), "fewer buckets than said");
        assert!(!check(0, 0, vec![2, 1], 3), "more buckets than said");
        assert!(!check(0, 20, vec![0; 1 << 20], 0), "too many buckets");
        assert!(!check(0, 64, vec![], 0) && !check(0, 255, vec![], 0));
        assert!(!check(0, 13, vec![255; 1 << 13], 255 << 13), "too many rows");
    }

    /// The table of the largest size there is keeps to its limits, however its
    /// chunks are spread.
    #[test]
    fn the_longest_filter_is_read() {
        let mut writer = IndexTableWriter::new(0, MAX_ROWS);
        let mut noise = 1u64;
        let mut prefix = 0;
        for _ in 0..MAX_ROWS {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            prefix += (noise >> 32) << 12;
            writer.push(&IndexRow {
                chunk: IdPrefix(prefix),
                pack: PackId::from_bytes([0; 16]),
                pack_len: 9,
            });
        }
        let (bytes, rows) = writer.finish();
        assert!(bytes.len() as u64 <= IndexFilter::MAX_LEN);
        let filter = IndexFilter::decode(&bytes).unwrap();
        assert_eq!(filter.rows() as usize * IndexRow::LEN, rows.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

        #[test]
        fn every_hook_is_found(seed in any::<u32>(), count in 0..3_000u32, sample_bits in 0..6u8) {
            let ids = ids(seed / 2, count);
            let (filter, rows) = table(sample_bits, &ids);
            for (id, number) in ids.iter().zip(0..) {
                let at = filter.rows_for(id);
                if IdPrefix::of(id).is_hook(sample_bits) {
                    let found = filter.decode_rows(at.clone(), &rows[bytes_of(&at)]).unwrap();
                    prop_assert!(found.contains(&row(id, number)));
                } else {
                    prop_assert!(at.is_empty());
                }
            }
        }

        #[test]
        fn hooks_are_nested(prefix in any::<u64>(), bits in 0..32u8) {
            let prefix = IdPrefix(prefix);
            prop_assert!(!prefix.is_hook(bits + 1) || prefix.is_hook(bits));
        }

        #[test]
        fn hostile_bytes_are_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            flip in any::<prop::sample::Index>(),
            bit in 0..8u8,
        ) {
            prop_assert!(IndexFilter::decode(&bytes).is_err());
            let (filter, mut rows) = table(0, &ids(0, 50));
            prop_assert!(filter.decode_rows(0..50, &bytes).is_err());
            // A flip is noticed, or changes what a reader has to check anyway.
            let at = flip.index(rows.len());
            rows[at] ^= 1 << bit;
            let _ = filter.decode_rows(0..50, &rows);
            let mut writer = IndexTableWriter::new(0, 1);
            writer.push(&row(&ids(7, 1)[0], 1));
            let mut sealed = writer.finish().0;
            let at = flip.index(sealed.len());
            sealed[at] ^= 1 << bit;
            let _ = IndexFilter::decode(&sealed);
        }
    }
}
