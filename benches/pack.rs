//! How fast are packs filled, and their footers read, in bytes and chunks per
//! second?
//!
//! One thread fills packs for all that compress; should it be slower than
//! they are together, it would hold back the whole save.

#[path = "synthetic/random.rs"]
mod random;

use std::hint::black_box;

use criterion::{BatchSize, Criterion, Throughput};
use larder::format::{PACK_TRAILER_LEN, PackBuilder, PackFooter, footer_range};
use larder::ids::{ChunkId, PackId};
use random::Random;

/// Chunks of one pack of 32 MiB, and the stored length of each.
const CHUNKS: usize = 512;
const STORED_LEN: usize = 64 << 10;
/// What such a chunk may have been before compression.
const RAW_LEN: u32 = 160 << 10;

fn fill(id: PackId, chunks: &[(ChunkId, Vec<u8>)]) -> Vec<u8> {
    let mut pack = PackBuilder::new(id, CHUNKS * STORED_LEN + (1 << 20));
    for (chunk, stored) in chunks {
        pack.push(*chunk, stored, RAW_LEN);
    }
    pack.finish()
}

fn read_footer(pack: &[u8]) -> PackFooter {
    let len = pack.len() as u64;
    let trailer = &pack[pack.len() - usize::try_from(PACK_TRAILER_LEN).expect("it is 8")..];
    let range = footer_range(len, trailer).expect("the pack is sound");
    let at = |place: u64| usize::try_from(place).expect("the pack is in memory");
    PackFooter::decode(&pack[at(range.start)..at(range.end)]).expect("the footer is sound")
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut random = Random::new(3);
    let mut chunk = || {
        let stored: Vec<u8> =
            (0..STORED_LEN / 8).flat_map(|_| random.number().to_le_bytes()).collect();
        (ChunkId::of(&stored), stored)
    };
    let chunks: Vec<(ChunkId, Vec<u8>)> = (0..CHUNKS).map(|_| chunk()).collect();
    let id = PackId::from_bytes([7; 16]);
    let pack = fill(id, &chunks);

    let mut group = criterion.benchmark_group("pack");
    group.sample_size(20).throughput(Throughput::Bytes((CHUNKS * STORED_LEN) as u64));
    group.bench_function("fill", |bencher| {
        // Packs are dropped outside the measurement: a save hands them on.
        bencher.iter_batched(|| (), |()| fill(id, &chunks), BatchSize::PerIteration);
    });
    group.throughput(Throughput::Elements(CHUNKS as u64));
    group.bench_function("read the footer", |bencher| {
        bencher.iter(|| read_footer(black_box(&pack)));
    });
    group.finish();
    criterion.final_summary();
}
