//! How fast are whole saves and restores, in bytes of files per second?
//!
//! The tree, the store and the targets lie in memory where the system has
//! such a place, so that the figure is of larder and not of a disk.

#[path = "synthetic/random.rs"]
mod random;
#[path = "synthetic/text.rs"]
mod text;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use criterion::{BatchSize, Criterion, Throughput};
use larder::files::WalkSource;
use larder::format::Anchor;
use larder::ids::{Key, Scope};
use larder::progress::{Context, NoProgress};
use larder::records::Records;
use larder::relpath::RelPath;
use larder::restore::{Destination, RestoreReport, RestoreRequest, restore};
use larder::save::{SaveReport, SaveRequest, save};
use larder::store::{Fsync, LocalStore, Store};
use random::Random;
use tempfile::TempDir;
use text::text;

const DIRECTORIES: u64 = 150;
const FILES: u64 = 20;
/// The tree has this many files that are cut on their own, too.
const LARGE_FILES: u64 = 8;
const LARGE_LEN: usize = 2 << 20;

fn temporary() -> TempDir {
    let in_memory = Path::new("/dev/shm");
    let parent = if in_memory.is_dir() { in_memory.to_owned() } else { std::env::temp_dir() };
    tempfile::Builder::new().prefix("larder-bench-").tempdir_in(parent).expect("there is space")
}

/// Makes about 3,000 files, and tells how many bytes they have.
fn make_tree(root: &Path) -> u64 {
    let mut random = Random::new(4);
    let mut bytes = 0;
    let mut write = |path: PathBuf, contents: Vec<u8>| {
        bytes += contents.len() as u64;
        fs::write(path, contents).expect("there is space");
    };
    for directory in 0..DIRECTORIES {
        let directory = root.join(format!("package-{directory:03}"));
        fs::create_dir_all(&directory).expect("there is space");
        for file in 0..FILES {
            // Most files are short, and some are not.
            let number = random.number();
            let len = (number >> 32) % (1 << (8 + number % 9));
            let len = usize::try_from(len).expect("it is below 64 KiB");
            write(directory.join(format!("file-{file:02}.js")), text(&mut random, len));
        }
    }
    for file in 0..LARGE_FILES {
        write(root.join(format!("large-{file}.bin")), text(&mut random, LARGE_LEN));
    }
    bytes
}

/// A save or restore that nobody watches or stops.
fn alone<T>(run: impl FnOnce(Context<'_>) -> T) -> T {
    run(Context { progress: &NoProgress, stop: &AtomicBool::new(false) })
}

fn store(root: &Path) -> Arc<dyn Store> {
    Arc::new(LocalStore::open(root, Fsync::Never).expect("the place is writable"))
}

fn key() -> Key {
    "bench".parse().expect("it is a key")
}

fn scope() -> Scope {
    "default".parse().expect("it is a scope")
}

fn save_tree(store: &Arc<dyn Store>, tree: &Path, records: Option<Records>) -> SaveReport {
    let path = RelPath::new("tree").expect("it is relative");
    let source = WalkSource { anchor: Anchor::WorkingDirectory, path, location: tree.to_owned() };
    let request = SaveRequest {
        refresh_after: std::time::Duration::MAX,
        records,
        ..SaveRequest::new(scope(), key(), vec![source])
    };
    alone(|context| save(Arc::clone(store), &request, context)).expect("the tree can be saved")
}

fn restore_tree(store: &Arc<dyn Store>, to: &Path, records: Option<Records>) -> RestoreReport {
    let request = RestoreRequest {
        refresh_after: std::time::Duration::MAX,
        records,
        ..RestoreRequest::new(scope(), vec![key()], Destination::Below(to.to_owned()))
    };
    alone(|context| restore(Arc::clone(store), &request, context)).expect("it can be restored")
}

/// Files by their paths below the tree.
fn read_tree(tree: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = vec![];
    let mut directories = vec![tree.to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("it is there") {
            let path = entry.expect("it is there").path();
            if path.is_dir() {
                directories.push(path);
            } else {
                let below = path.strip_prefix(tree).expect("it lies below").to_owned();
                files.push((below, fs::read(path).expect("it is there")));
            }
        }
    }
    files.sort();
    files
}

fn make_bare_files(files: &[(PathBuf, Vec<u8>)], target: &Path) {
    for (path, _) in files {
        let parent = target.join(path.parent().expect("it has a parent"));
        fs::create_dir_all(parent).expect("there is space");
    }
    let share = files.len().div_ceil(rayon::current_num_threads());
    rayon::scope(|scope| {
        for files in files.chunks(share) {
            scope.spawn(move |_| {
                for (path, bytes) in files {
                    fs::write(target.join(path), bytes).expect("there is space");
                }
            });
        }
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let place = temporary();
    let tree = place.path().join("tree");
    let bytes = make_tree(&tree);
    let records = Some(Records::new(place.path().join("records")));
    let saved = store(&place.path().join("store"));
    save_tree(&saved, &tree, records.clone());

    let mut group = criterion.benchmark_group("save_restore");
    group.sample_size(10).throughput(Throughput::Bytes(bytes));
    group.bench_function("save, first", |bencher| {
        bencher.iter_batched_ref(
            || {
                let place = temporary();
                (store(place.path()), place)
            },
            |(store, _)| save_tree(store, &tree, None),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("save, unchanged", |bencher| {
        bencher.iter(|| save_tree(&saved, &tree, records.clone()));
    });
    group.bench_function("restore, empty", |bencher| {
        bencher.iter_batched_ref(
            temporary,
            |target| restore_tree(&saved, target.path(), None),
            BatchSize::PerIteration,
        );
    });
    // What no restore can go below: the same files made by as many threads from
    // memory, with nothing fetched, unpacked, checked, timed or put in order.
    group.bench_function("floor of a restore", |bencher| {
        let files = read_tree(&tree);
        bencher.iter_batched_ref(
            temporary,
            |target| make_bare_files(&files, target.path()),
            BatchSize::PerIteration,
        );
    });
    group.bench_function("restore, intact", |bencher| {
        let target = temporary();
        restore_tree(&saved, target.path(), records.clone());
        bencher.iter(|| restore_tree(&saved, target.path(), records.clone()));
    });
    group.finish();
    criterion.final_summary();
}
