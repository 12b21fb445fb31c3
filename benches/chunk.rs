//! What does each step from a file's bytes to a stored chunk cost, in bytes
//! per second on one core?
//!
//! Together they bound a first save: cutting and hashing touch every byte that
//! is read, compression every byte that is new.

#[path = "synthetic/random.rs"]
mod random;
#[path = "synthetic/text.rs"]
mod text;

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use larder::chunking::LargeFileCutter;
use larder::compression::DEFAULT_LEVEL;
use larder::ids::ChunkId;
use random::Random;
use text::text;

/// One large file: some two hundred chunks.
const LEN: usize = 32 << 20;

/// The chunks of a file.
fn chunks(bytes: &[u8]) -> Vec<&[u8]> {
    let ends = LargeFileCutter.ends(bytes, true);
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(&ends).map(|(start, &end)| &bytes[start..end]).collect()
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let file = text(&mut Random::new(2), LEN);
    let chunks = chunks(&file);
    let mut group = criterion.benchmark_group("chunk");
    group.sample_size(20).throughput(Throughput::Bytes(LEN as u64));
    group.bench_function("cut", |bencher| {
        bencher.iter(|| LargeFileCutter.ends(black_box(&file), true));
    });
    group.bench_function("hash", |bencher| {
        bencher.iter(|| {
            for chunk in &chunks {
                black_box(ChunkId::of(chunk));
            }
        });
    });
    group.bench_function("compress", |bencher| {
        let mut compressor =
            zstd::bulk::Compressor::new(DEFAULT_LEVEL).expect("the level is known");
        bencher.iter(|| {
            for chunk in &chunks {
                black_box(compressor.compress(chunk).expect("memory suffices"));
            }
        });
    });
    group.bench_function("decompress", |bencher| {
        let compress = |chunk: &&[u8]| {
            let stored = zstd::bulk::compress(chunk, DEFAULT_LEVEL).expect("memory suffices");
            (stored, chunk.len())
        };
        let stored: Vec<(Vec<u8>, usize)> = chunks.iter().map(compress).collect();
        let mut decompressor = zstd::bulk::Decompressor::new().expect("memory suffices");
        bencher.iter(|| {
            for (stored, len) in &stored {
                black_box(decompressor.decompress(stored, *len).expect("it was just compressed"));
            }
        });
    });
    group.finish();
    criterion.final_summary();
}
