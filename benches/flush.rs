//! What does a flush of a store of 10 TB cost: in time, memory and requests?
//!
//! Each store goes through the same days: a flush that knows nothing, one after
//! every fiftieth cache was saved again, one after a fifth of the caches have
//! expired, one that deletes their packs, and a rehearsal. Of 10,000 caches the
//! bounds are checked.
//!
//! Not a bench of criterion: every flush changes the store, and requests and
//! memory count as much as time. Each runs in a process of its own, as larder's
//! do: memory that was used and freed before is not counted again, nor hidden.
//!
//! `--manifests N` is one size only; `--chunks N` (of each pack) and `--files N`
//! make the caches larger, `--latency MS` the store slower.

#![allow(clippy::print_stdout, reason = "it prints what it finds")]

#[path = "synthetic/random.rs"]
mod random;
#[path = "synthetic/store.rs"]
mod store;
#[path = "synthetic/world.rs"]
mod world;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use larder::flush::{FlushReport, FlushRequest, Policy, Scopes, flush};
use larder::format::{GcState, Manifest};
use larder::progress::{Context, NoProgress};
use larder::store::{MAX_BATCH, Metered, Requests, Store};
use larder::store_time::StoreTime;
use store::{Synthetic, process_cpu};
use world::{Shape, World};

const DAY: Duration = Duration::from_secs(86_400);

/// How long packs are held, twice.
const GRACE: Duration = DAY;

/// At which size the bounds hold: 160,000 packs of 64 MB are 10 TB.
const BOUNDED: u32 = 10_000;

const SIZES: [u32; 3] = [1_000, BOUNDED, 100_000];

/// One flush of the series.
struct Step {
    name: &'static str,
    /// Days since the one before.
    days: u32,
    /// Every so manieth cache was saved again meanwhile, if any was.
    renew_one_in: Option<usize>,
    /// Days that a cache is kept.
    age: u32,
    dry_run: bool,
}

const FOR_EVER: u32 = 1_000;

const STEPS: [Step; 5] = [
    Step { name: "first", days: 0, renew_one_in: None, age: FOR_EVER, dry_run: false },
    Step { name: "2 % changed", days: 2, renew_one_in: Some(50), age: FOR_EVER, dry_run: false },
    Step { name: "19 % expired", days: 2, renew_one_in: None, age: 14, dry_run: false },
    Step { name: "their packs", days: 2, renew_one_in: None, age: FOR_EVER, dry_run: false },
    Step { name: "rehearsal", days: 1, renew_one_in: None, age: 14, dry_run: true },
];

struct Options {
    shape: Shape,
    /// All sizes, if none is given.
    manifests: Option<u32>,
    /// Which step of which store this process is to run, if not all of all.
    step: Option<(usize, PathBuf)>,
}

impl Options {
    fn parse() -> Self {
        let latency = Duration::ZERO;
        let shape = Shape { manifests: BOUNDED, chunks_a_pack: 200, files: 2_000, latency };
        let mut options = Self { shape, manifests: None, step: None };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut text = || arguments.next().unwrap_or_else(|| panic!("{argument} of what?"));
            let mut number = || text().parse::<u32>().expect("a number");
            match argument.as_str() {
                "--manifests" => {
                    options.shape.manifests = number();
                    options.manifests = Some(options.shape.manifests);
                }
                "--chunks" => options.shape.chunks_a_pack = number(),
                "--files" => options.shape.files = number(),
                "--latency" => options.shape.latency = Duration::from_millis(number().into()),
                "--step" => options.step = Some((number() as usize, text().into())),
                // What cargo adds.
                "--bench" => {}
                _ => panic!("what is {argument}?"),
            }
        }
        options
    }
}

/// What one flush came to.
struct Row {
    report: FlushReport,
    requests: Requests,
    manifest_gets: u64,
    batches: u64,
    wall: Duration,
    /// CPU time of all but the store's calls, and of those.
    cpu: Duration,
    store_cpu: Duration,
    /// Memory before it, and at its peak, in MiB.
    before: u64,
    peak: u64,
}

fn measure(store: &Arc<Metered<Synthetic>>, step: &Step) -> Row {
    let policy = Policy { keep_last: 1, ..Policy::new(Scopes::All, step.age * DAY) };
    let request = FlushRequest { grace: GRACE, dry_run: step.dry_run, ..FlushRequest::new(policy) };
    let context = Context { progress: &NoProgress, stop: &AtomicBool::new(false) };
    let shared: Arc<dyn Store> = Arc::<Metered<Synthetic>>::clone(store);
    let spent = &store.inner().spent;
    forget_peak();
    let before = memory("VmRSS");
    let (began, cpu, store_cpu) = (Instant::now(), process_cpu(), spent.cpu());
    let report = flush(shared, &request, context).expect("nothing is broken");
    let wall = began.elapsed();
    let store_cpu = spent.cpu() - store_cpu;
    Row {
        wall,
        cpu: (process_cpu() - cpu).saturating_sub(store_cpu),
        store_cpu,
        before,
        peak: memory("VmHWM"),
        report,
        requests: store.requests(),
        manifest_gets: spent.manifest_gets.load(Ordering::Relaxed),
        batches: spent.batches.load(Ordering::Relaxed),
    }
}

/// The kernel's figure for this process, in MiB.
fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("it is Linux");
    let line = status.lines().find(|line| line.starts_with(name)).expect("it is there");
    let kilobytes = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    kilobytes.expect("a number").div_ceil(1024)
}

/// Makes the peak what is in use now.
fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").expect("a process may");
}

/// Runs one flush; tells whether it keeps to its bounds.
fn run_step(shape: Shape, number: usize, directory: &Path) -> bool {
    let step = &STEPS[number];
    let store = Synthetic::open(shape, directory);
    store.advance(step.days * DAY);
    if let Some(one_in) = step.renew_one_in {
        store.renew(one_in);
    }
    if number == 0 {
        print_head(&store, shape);
    }
    let store = Arc::new(Metered::new(store));
    let row = measure(&store, step);
    print_row(step, &row);
    check_outcome(&row, store.inner());
    store.inner().leave(directory);
    shape.manifests != BOUNDED || check_bounds(&row)
}

fn print_head(store: &Synthetic, shape: Shape) {
    let body = store.sample(shape.manifests - 1);
    let manifest = Manifest::decode(&body).expect("it is what larder reads");
    println!(
        "\n{} manifests, {} packs; a manifest has {} packs, {} chunks, {} entries, {} KB\n",
        shape.manifests,
        store.packs(),
        manifest.chunks.packs().len(),
        manifest.chunks.rows().len(),
        manifest.tree.entries().len(),
        body.len() / 1000,
    );
    println!(
        "| flush | wall s | CPU s | store's s | MiB before | MiB peak | list | get | of \
         manifests | put | head | delete | of these batches | MB read | MB written | removed | \
         condemned | deleted |\n|{}",
        " --- |".repeat(18)
    );
}

fn print_row(step: &Step, row: &Row) {
    let Row { report, requests, .. } = row;
    println!(
        "| {} | {:.1} | {:.1} | {:.1} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} \
         | {} | {} |",
        step.name,
        row.wall.as_secs_f64(),
        row.cpu.as_secs_f64(),
        row.store_cpu.as_secs_f64(),
        row.before,
        row.peak,
        requests.list,
        requests.get,
        row.manifest_gets,
        requests.put,
        requests.head,
        requests.delete,
        row.batches,
        requests.bytes_read / 1_000_000,
        requests.bytes_written / 1_000_000,
        report.removed.len(),
        report.condemned.packs.len(),
        report.deleted.packs.len(),
    );
}

/// A bench of what goes wrong would be worth nothing.
fn check_outcome(row: &Row, store: &Synthetic) {
    let report = &row.report;
    assert!(report.broken.is_empty(), "no cache lost a pack");
    if !report.dry_run {
        assert_eq!(report.used_packs + report.held.packs.len() as u64, store.packs());
        assert_eq!(report.manifests - report.removed.len() as u64, store.manifests());
    }
}

/// What a flush of this store may cost.
fn check_bounds(row: &Row) -> bool {
    let Row { report, requests, .. } = row;
    // Manifests are deleted one by one; all else in batches.
    let deleted = [report.deleted.packs.len() as u64, report.deltas_merged, 1];
    let batches: u64 = deleted.iter().map(|count| count.div_ceil(MAX_BATCH as u64)).sum();
    // Half of the CPU time of flush itself would be the time on two idle cores.
    let bounds = [
        ("seconds of CPU", row.cpu.as_secs(), 60),
        ("MiB at the peak", row.peak, 256),
        ("listings", requests.list, 200),
        ("gets of manifests", row.manifest_gets, report.manifests_read),
        ("batches of deletes", row.batches, batches),
    ];
    let broken = bounds.iter().filter(|(_, found, most)| found > most);
    broken.map(|(what, found, most)| println!("**{found} {what}, of at most {most}**")).count() == 0
}

/// Every saver reads the state twice: how long is it, and what does that cost?
fn print_state_sizes() {
    println!("| packs condemned | bytes of `gc/state` | µs to decode |\n| --- | --- | --- |");
    for count in [0, 100, 1_000, 5_000, 20_000] {
        let born = |pack: u32| 1_790_000_000 + i64::from(pack / 16) * 4_000;
        let packs = (0..count).map(|pack| World::pack_id(pack, born(pack)));
        let condemned: BTreeMap<_, _> =
            packs.map(|pack| (pack, StoreTime::from_unix(1_799_000_000))).collect();
        let doomed = BTreeSet::new();
        let state = GcState { epoch: 7, condemned, doomed, ..GcState::default() };
        let bytes = state.encode();
        let began = Instant::now();
        let read = GcState::decode(&bytes).expect("it is sound");
        let took = began.elapsed().as_micros();
        assert_eq!(read, state);
        println!("| {count} | {} | {took} |", bytes.len());
    }
}

/// Runs all flushes of one size, each in a process that owes no memory to
/// another.
fn run_all(shape: Shape) -> bool {
    let directory = tempfile::tempdir().expect("there is space");
    Synthetic::create(shape, directory.path());
    let run = |number: usize| {
        let mut command = Command::new(std::env::current_exe().expect("it runs"));
        command.args(std::env::args().skip(1));
        command.args(["--manifests", &shape.manifests.to_string()]);
        command.args(["--step", &number.to_string()]).arg(directory.path());
        command.status().expect("it starts").success()
    };
    // Also after one that failed, unless it left nothing to go on from.
    (0..STEPS.len()).map(run).fold(true, |all, one| all & one)
}

fn main() -> ExitCode {
    let options = Options::parse();
    let kept = match (options.step, options.manifests) {
        (Some((number, directory)), _) => run_step(options.shape, number, &directory),
        (None, Some(_)) => run_all(options.shape),
        (None, None) => {
            print_state_sizes();
            let run = |manifests| run_all(Shape { manifests, ..options.shape });
            SIZES.into_iter().map(run).fold(true, |all, one| all & one)
        }
    };
    if kept { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
