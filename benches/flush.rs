//! What does a flush of a store of 10 TB cost: in time, memory and requests?
//!
//! Each store goes through the same days: a flush that knows nothing, one after
//! every fiftieth cache was saved again, one after a fifth of the caches have
//! expired, one that deletes their packs, and a rehearsal. Of 10,000 caches the
//! bounds are checked.
//!
//! Not a bench of criterion: every run changes the store, and requests and memory
//! count as much as time. `--manifests N` runs one size only; `--chunks N` and
//! `--files N` make the caches larger, `--latency MS` the network slower.

#![allow(clippy::print_stdout, reason = "it prints what it finds")]

#[path = "synthetic/random.rs"]
mod random;
#[path = "synthetic/store.rs"]
mod store;
#[path = "synthetic/world.rs"]
mod world;

use std::fs;
use std::process::{Command, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};

use larder::flush::{FlushReport, FlushRequest, Policy, flush};
use larder::format::Manifest;
use larder::progress::{Context, NoProgress};
use larder::store::{Metered, Requests, Store};
use larder::store_time::StoreTime;
use store::{Synthetic, process_cpu};
use world::World;

const DAY: Duration = Duration::from_secs(86_400);

/// How long packs are held, twice.
const GRACE: Duration = DAY;

/// At which size the bounds hold: 160,000 packs of 64 MB are 10 TB.
const BOUNDED: u32 = 10_000;

const SIZES: [u32; 3] = [1_000, BOUNDED, 100_000];

#[derive(Clone, Copy)]
struct Options {
    manifests: Option<u32>,
    chunks_a_pack: u32,
    files: u32,
    latency: Duration,
}

impl Options {
    fn parse() -> Self {
        let mut options =
            Self { manifests: None, chunks_a_pack: 200, files: 2_000, latency: Duration::ZERO };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = || {
                let value = arguments.next().and_then(|value| value.parse::<u32>().ok());
                value.unwrap_or_else(|| panic!("{argument} takes a number"))
            };
            match argument.as_str() {
                "--manifests" => options.manifests = Some(number()),
                "--chunks" => options.chunks_a_pack = number(),
                "--files" => options.files = number(),
                "--latency" => options.latency = Duration::from_millis(number().into()),
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
    cpu: Duration,
    store_cpu: Duration,
    /// Memory before it, and at its peak, in MiB.
    before: u64,
    peak: u64,
}

struct Bench {
    store: Arc<Metered<Synthetic>>,
}

impl Bench {
    fn run(&self, days: u64, dry_run: bool) -> Row {
        let request = FlushRequest {
            policy: Policy {
                scope: None,
                age: days as u32 * DAY,
                key_ages: vec![],
                pins: vec![],
                keep_last: 1,
                max_size: None,
            },
            grace: GRACE,
            repack: false,
            dry_run,
            take_over: false,
            unfenced: false,
        };
        let store: Arc<dyn Store> = Arc::<Metered<Synthetic>>::clone(&self.store);
        let context = Context { progress: &NoProgress, stop: &AtomicBool::new(false) };
        let spent = &self.store.inner().spent;
        let counts = || {
            let batches = spent.batches.load(Ordering::Relaxed);
            (spent.manifest_gets.load(Ordering::Relaxed), batches)
        };
        let (gets, batches) = counts();
        let (requests, store_cpu) = (self.store.requests(), spent.cpu());
        forget_peak();
        let before = memory("VmRSS");
        let (began, cpu) = (Instant::now(), process_cpu());
        let report = flush(store, &request, context).expect("nothing is broken");
        let wall = began.elapsed();
        Row {
            wall,
            store_cpu: spent.cpu() - store_cpu,
            cpu: (process_cpu() - cpu).saturating_sub(spent.cpu() - store_cpu),
            before,
            peak: memory("VmHWM"),
            report,
            requests: self.store.requests().since(&requests),
            manifest_gets: counts().0 - gets,
            batches: counts().1 - batches,
        }
    }
}

/// The kernel's figure for this process, in MiB.
fn memory(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("it is Linux");
    let line = status.lines().find(|line| line.starts_with(name)).expect("it is there");
    let kilobytes = line.split_whitespace().nth(1).and_then(|number| number.parse::<u64>().ok());
    kilobytes.expect("a number") / 1024
}

/// Makes the peak what is in use now.
fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").expect("a process may");
}

/// Runs all flushes of one size; tells whether the bounds are kept.
fn run_all(manifests: u32, options: Options) -> bool {
    let kept = tempfile::tempdir().expect("there is space");
    let newest = StoreTime::from(SystemTime::now()).unix() - 2 * 86_400;
    let world = World::new(manifests, options.chunks_a_pack, options.files, newest);
    let synthetic = Synthetic::new(world, kept.path(), options.latency);
    let bench = Bench { store: Arc::new(Metered::new(synthetic)) };
    let store = bench.store.inner();
    check_manifest(store, manifests);

    // No cache is older than this before it is to be.
    let never = 1_000;
    let mut kept_to = true;
    let mut show = |name: &str, row: Row| {
        print_row(name, &row, store);
        kept_to &= manifests != BOUNDED || check_bounds(name, &row);
    };
    show("first", bench.run(never, false));
    store.advance(2 * DAY);
    store.renew(50);
    show("2 % changed", bench.run(never, false));
    store.advance(2 * DAY);
    show("20 % expired", bench.run(14, false));
    store.advance(2 * DAY);
    show("their packs", bench.run(never, false));
    store.advance(DAY);
    show("dry run", bench.run(14, true));
    kept_to
}

/// The manifests must be what larder reads.
fn check_manifest(store: &Synthetic, manifests: u32) {
    let object = store.world().manifest_object(manifests - 1);
    let body = store.get(&object, u64::MAX).expect("it is there").body;
    let manifest = Manifest::decode(&body).expect("it is sound");
    println!(
        "\n{manifests} manifests: {} packs in the store; a manifest has {} packs, {} chunks, \
         {} entries, {} KB\n",
        store.packs(),
        manifest.chunks.packs().len(),
        manifest.chunks.rows().len(),
        manifest.tree.entries().len(),
        body.len() / 1000,
    );
    println!(
        "| flush | manifests | packs | wall s | CPU s | store's s | MiB before | MiB peak | list | \
         get | of manifests | put | head | delete | batches | removed | condemned | deleted |\n\
         |{}",
        " --- |".repeat(18)
    );
}

fn print_row(name: &str, row: &Row, store: &Synthetic) {
    let Row { report, requests, .. } = row;
    println!(
        "| {name} | {} | {} | {:.1} | {:.1} | {:.1} | {} | {} | {} | {} | {} | {} | {} | {} | {} | \
         {} | {} | {} |",
        report.manifests,
        report.used_packs + report.held.packs.len() as u64 + report.deleted.packs.len() as u64,
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
        report.removed.len(),
        report.condemned.packs.len(),
        report.deleted.packs.len(),
    );
    assert!(report.broken.is_empty(), "no cache is broken");
    if !report.dry_run {
        let deleted = report.deleted.packs.len();
        let there = store.packs();
        assert_eq!(report.used_packs as usize + report.held.packs.len(), there, "{deleted}");
        assert_eq!(report.manifests as usize - report.removed.len(), store.manifests());
    }
}

/// What a flush of this store may cost.
fn check_bounds(name: &str, row: &Row) -> bool {
    let check = |what: &str, found: u64, most: u64| {
        let ok = found <= most;
        if !ok {
            println!("**{name}: {found} {what}, of at most {most}**");
        }
        ok
    };
    let removals = row.report.removed.len() as u64;
    let packs = row.report.deleted.packs.len() as u64;
    let deltas = row.report.deltas_merged;
    // Both cores are the store's, too: all CPU time of flush on one of them is
    // more than it takes without.
    let all = [
        check("seconds", row.cpu.as_secs(), 60),
        check("MiB", row.peak, 256),
        check("list requests", row.requests.list, 200),
        check("gets of manifests", row.manifest_gets, row.report.manifests_read),
        check(
            "deletes",
            row.requests.delete - removals,
            packs.div_ceil(1000) + deltas.div_ceil(1000) + 1,
        ),
    ];
    all.into_iter().all(|ok| ok)
}

/// A saver reads the state twice: what is that of so many condemned packs?
fn print_state_sizes() {
    use larder::format::GcState;
    use std::collections::{BTreeMap, BTreeSet};
    println!("| condemned packs | bytes of gc/state | decoded in µs |\n| --- | --- | --- |");
    let world = World::new(1, 1, 1, 1_790_000_000);
    for count in [0, 100, 1_000, 5_000, 20_000] {
        let ids = (0..count)
            .map(|pack| world.pack_id(pack * 7, 1_790_000_000 + i64::from(pack / 16) * 4_000));
        let condemned: BTreeMap<_, _> =
            ids.map(|id| (id, StoreTime::from_unix(1_790_100_000))).collect();
        let state = GcState { epoch: 7, condemned, doomed: BTreeSet::new(), ..GcState::default() };
        let bytes = state.encode();
        let began = Instant::now();
        let read = GcState::decode(&bytes).expect("it is sound");
        let took = began.elapsed().as_micros();
        assert_eq!(read, state);
        println!("| {count} | {} | {took} |", bytes.len());
    }
}

fn main() -> ExitCode {
    let options = Options::parse();
    let kept_to = match options.manifests {
        Some(manifests) => run_all(manifests, options),
        // Each in a process of its own, which owes no memory to another.
        None => {
            print_state_sizes();
            let run = |size: &u32| {
                let mut command = Command::new(std::env::current_exe().expect("it runs"));
                command.args(std::env::args().skip(1)).args(["--manifests", &size.to_string()]);
                command.status().expect("it starts").success()
            };
            SIZES.iter().map(run).fold(true, |all, one| all & one)
        }
    };
    if kept_to { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
