//! How are large files best filled: by writing, or through a memory map?
//!
//! The answer (`docs/design.md`, "Files are read and written, not mapped") is
//! why restores write. The place is the system's temporary directory, or
//! `LARDER_BENCH_DIR`: the answer depends on the file system.

#![allow(unsafe_code, reason = "maps the bench's own file, which nobody else has")]

#[path = "synthetic/random.rs"]
mod random;
#[path = "synthetic/text.rs"]
mod text;

use std::fs::{File, OpenOptions};
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput};
use memmap2::MmapOptions;
use random::Random;
use text::text;

const CHUNK: usize = 128 << 10;
const CHUNKS: usize = 256;

/// A new file of the full length, with its space reserved: without that, a
/// full disk would be a signal to whoever writes through a map.
fn empty_file() -> (tempfile::TempDir, File) {
    let parent =
        std::env::var_os("LARDER_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
    let place = tempfile::tempdir_in(parent).expect("there is space");
    let path = place.path().join("file");
    let file = OpenOptions::new().read(true).write(true).create_new(true).open(path);
    let file = file.expect("there is space");
    let len = (CHUNK * CHUNKS) as u64;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, len)
        .expect("the file system reserves space");
    (place, file)
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut random = Random::new(5);
    let packed: Vec<Vec<u8>> = (0..CHUNKS)
        .map(|_| zstd::bulk::compress(&text(&mut random, CHUNK), 3).expect("it fits in memory"))
        .collect();
    let mut group = criterion.benchmark_group("fill");
    group.sample_size(20).throughput(Throughput::Bytes((CHUNK * CHUNKS) as u64));
    let mut unpacker = zstd::bulk::Decompressor::new().expect("it fits in memory");

    group.bench_function("write", |bencher| {
        let mut buffer = vec![0; CHUNK];
        bencher.iter_batched_ref(
            empty_file,
            |(_, file)| {
                for (number, chunk) in packed.iter().enumerate() {
                    unpacker.decompress_to_buffer(chunk, &mut buffer[..]).expect("it is sound");
                    black_box(blake3::hash(&buffer));
                    let at = (number * CHUNK) as u64;
                    file.write_all_at(&buffer, at).expect("there is space");
                }
            },
            BatchSize::PerIteration,
        );
    });
    for populate in [false, true] {
        let name = BenchmarkId::new("map", if populate { "populated" } else { "faulting" });
        group.bench_function(name, |bencher| {
            bencher.iter_batched_ref(
                empty_file,
                |(_, file)| {
                    for (number, chunk) in packed.iter().enumerate() {
                        let mut options = MmapOptions::new();
                        options.offset((number * CHUNK) as u64).len(CHUNK);
                        if populate {
                            options.populate();
                        }
                        // SAFETY: the file is new, its space is reserved, and
                        // nobody else has it open.
                        let mut map = unsafe { options.map_mut(&*file) }.expect("it can be mapped");
                        unpacker.decompress_to_buffer(chunk, &mut map[..]).expect("it is sound");
                        black_box(blake3::hash(&map));
                    }
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
    criterion.final_summary();
}
