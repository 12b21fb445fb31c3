//! How fast are the chunks of a tree planned, in entries per second?
//!
//! Planning looks at names and sizes only, and comes between the walk and the
//! first read: a tree of a million files waits for it.

#[path = "synthetic/random.rs"]
mod random;

use std::hint::black_box;

use criterion::{Criterion, Throughput};
use larder::chunking::plan;
use larder::format::{Anchor, FileData, Kind, NewEntry, Timestamp, Tree, TreeBuilder};
use larder::relpath::RelPath;
use random::Random;

/// Directories beside each other, and the files in each: as packages in
/// `node_modules`, some of which are heavy enough to have bundles of their own.
const DIRECTORIES: usize = 2_000;
const FILES: usize = 24;

fn tree() -> Tree {
    let mut random = Random::new(1);
    let mut builder = TreeBuilder::default();
    let path = RelPath::new("node_modules").expect("the path is relative");
    builder.begin_mount(Anchor::WorkingDirectory, path).expect("it is the only mount");
    let mut push = |depth, name: &str, kind| {
        let mtime = Timestamp::default();
        let new = NewEntry { name: name.as_bytes(), kind, target: b"", mode: 0o644, mtime };
        builder.push(depth, new).expect("entries come in path order");
    };
    push(0, "node_modules", Kind::Directory);
    for directory in 0..DIRECTORIES {
        push(1, &format!("package-{directory:05}"), Kind::Directory);
        for file in 0..FILES {
            // Half of the files below 1 KiB, one in 256 above 128 KiB.
            let number = random.number();
            let size = (number >> 32) % (1 << (4 + (number % 16)));
            let kind = Kind::File(FileData { size, at: 0 });
            push(2, &format!("file-{file:02}.js"), kind);
        }
    }
    builder.finish().expect("the tree is sound")
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let tree = tree();
    let mut group = criterion.benchmark_group("plan");
    group.throughput(Throughput::Elements(tree.entries().len() as u64));
    group.bench_function("50,000 entries", |bencher| {
        bencher.iter(|| plan(black_box(&tree)));
    });
    group.finish();
    criterion.final_summary();
}
