//! Reports on stores in memory, whose bytes and clock the tests know.

use std::sync::Arc;

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use larder::files::WalkSource;
use larder::flush::{FlushReport, Policy, Scopes};
use larder::format::{Anchor, Claim, Layout, Lifetime};
use larder::ids::FlushId;
use larder::progress::NoProgress;
use larder::relpath::RelPath;
use larder::repository::Access;
use larder::save::{SaveRequest, save};
use larder::store::MemoryStore;
use sha2::Digest as _;
use tempfile::TempDir;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

/// A store, and a directory to save to it.
struct World {
    store: Arc<MemoryStore>,
    directory: TempDir,
}

impl World {
    fn new() -> Self {
        Self { store: Arc::new(MemoryStore::new()), directory: TempDir::new().unwrap() }
    }

    /// Adds a file of bytes that no compression makes fewer.
    fn write(&self, path: &str, len: usize) {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().update(path.as_bytes()).finalize_xof().fill(&mut bytes);
        let path = self.directory.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }

    /// Saves the directory as it is.
    fn save(&self, scope: &str, key: &str, lifetime: Lifetime) {
        let source = WalkSource {
            anchor: Anchor::WorkingDirectory,
            path: RelPath::new("tree").unwrap(),
            location: self.directory.path().to_owned(),
        };
        let (scope, key) = (scope.parse().unwrap(), key.parse().unwrap());
        let request = SaveRequest { lifetime, ..SaveRequest::new(scope, key, vec![source]) };
        with_context(|context| save(self.store.clone(), &request, context)).unwrap();
    }

    /// The report with what differs from that of all scopes.
    fn report_with(&self, change: impl FnOnce(&mut ReportRequest)) -> Report {
        let mut request = ReportRequest {
            scope: None,
            flush: FlushRequest {
                dry_run: true,
                ..FlushRequest::new(Policy::new(Scopes::All, 14 * DAY))
            },
            top: 20,
            runs: None,
        };
        change(&mut request);
        let access = Access::from(self.store.clone());
        with_context(|context| gather(&access, request, context)).unwrap()
    }

    fn report(&self) -> Report {
        self.report_with(|_| {})
    }
}

fn with_context<T>(run: impl FnOnce(Context<'_>) -> T) -> T {
    let stop = AtomicBool::new(false);
    run(Context { progress: &NoProgress, stop: &stop })
}

/// Two caches of one scope, the second with all of the first and more, and one of
/// another scope; each is ten days younger than the one before.
fn grown() -> World {
    let world = World::new();
    world.write("lib/deep/down/a", 400_000);
    world.write("lib/b", 300_000);
    world.save("o/r", "first", Lifetime::ByPolicy);
    world.store.advance_clock(10 * DAY);
    world.write("lib/new", 200_000);
    world.save("o/r", "second", Lifetime::For(30 * DAY));
    world.store.advance_clock(10 * DAY);
    world.save("o/s", "third", Lifetime::Pinned);
    world
}

#[test]
fn sums_are_those_of_what_was_saved() {
    let report = grown().report();
    let stats = &report.stats;
    assert_eq!((stats.keys.len(), report.scopes), (3, 2));
    assert_eq!(stats.raw_bytes, 700_000 + 900_000 + 900_000);
    assert_eq!(stats.unique_bytes, 900_000);
    let keys: Vec<_> = stats.keys.iter().map(|key| key.key.as_str()).collect();
    assert_eq!(keys, ["second", "third", "first"], "the largest come first");
    assert!(stats.keys.iter().all(|key| key.only_here_bytes == 0));
    let packs = stats.packs.iter().map(|pack| pack.len).sum::<u64>();
    assert_eq!((stats.pack_bytes, stats.unreferenced_bytes), (packs, 0));
    assert!(stats.stored_bytes >= 900_000 && stats.stored_bytes < packs);
}

#[test]
fn tiles_are_what_du_says() {
    let world = grown();
    let report = world.report();
    assert_eq!(report.maps.len(), 3);
    for map in &report.maps {
        let key = &report.stats.keys[map.cache];
        assert_eq!(map.total.stored_bytes, key.stored_bytes);
        assert_eq!(map.total.raw_bytes, key.raw_bytes);
        check_tiles(&map.tiles, map.total);
    }
    let second = &report.maps[0].tiles;
    // The only mount and the only directory in it are not drawn around all else.
    let names: Vec<_> = second.iter().map(|tile| tile.name.as_str()).collect();
    assert_eq!(names, ["deep/down", "b", "new"]);
    assert_eq!(second[0].path, "tree/lib/deep/down");
    assert_eq!(second[0].size.raw_bytes, 400_000);
    assert_eq!(world.report_with(|request| request.top = 1).maps.len(), 1);
}

/// Tiles are all of what is around them, and fill it in proportion.
fn check_tiles(tiles: &[Tile], whole: Size) {
    let sum = |count: fn(&Size) -> u64| tiles.iter().map(|tile| count(&tile.size)).sum::<u64>();
    assert_eq!(sum(|size| size.stored_bytes), whole.stored_bytes);
    assert_eq!(sum(|size| size.raw_bytes), whole.raw_bytes);
    assert_eq!(sum(|size| size.files), whole.files);
    for tile in tiles {
        let area = tile.rect.width * tile.rect.height / 10_000.0;
        let share = tile.size.stored_bytes as f64 / whole.stored_bytes as f64;
        assert!((area - share).abs() < 1e-9, "{tile:?}");
        if !tile.inside.is_empty() {
            check_tiles(&tile.inside, tile.size);
        }
    }
}

#[test]
fn what_is_small_is_one_tile() {
    let world = World::new();
    world.write("large", 1_000_000);
    for number in 0..40 {
        world.write(&format!("small/{number}"), 1_000);
    }
    world.save("o/r", "k", Lifetime::ByPolicy);
    let report = world.report();
    let map = &report.maps[0];
    check_tiles(&map.tiles, map.total);
    let [large, small] = map.tiles.as_slice() else { panic!("{:?}", map.tiles) };
    assert_eq!((large.name.as_str(), small.name.as_str()), ("large", "small"));
    assert_eq!((small.size.files, small.inside.len()), (40, 0));
}

#[test]
fn the_flush_is_foretold() {
    let world = grown();
    let report = world.report();
    let fates = |report: &Report| -> Vec<(String, Fate)> {
        let keys = report.stats.keys.iter().map(|key| key.key.to_string());
        keys.zip(report.fates.iter().copied()).collect()
    };
    let in_days = |days: u32| Fate::At(report.now.after(days * DAY));
    assert_eq!(
        fates(&report),
        [
            ("second".to_owned(), in_days(20)),
            ("third".to_owned(), Fate::Pinned),
            ("first".to_owned(), Fate::Now(larder::flush::Reason::Age)),
        ]
    );
    let Outlook::Told(told) = &report.outlook else { panic!("{:?}", report.outlook) };
    assert!(told.dry_run && told.removed.len() == 1);
    let kept = world.report_with(|request| request.flush.policy.keep_last = 2);
    assert_eq!(fates(&kept)[2].1, Fate::Last);
    let filled: Vec<_> = report
        .history
        .periods
        .iter()
        .filter(|period| period.caches + period.packs > 0)
        .map(|period| (period.caches, period.raw_bytes, period.packs))
        .collect();
    assert_eq!(filled, [(1, 700_000, 1), (1, 900_000, 1), (1, 900_000, 0)]);
}

const HOSTILE: &str = "</script><img src=x onerror=alert(1)>'\"&amp;{{ 7*7 }}";

#[test]
fn names_cannot_become_markup() {
    let world = World::new();
    // A slash would end the name of a file.
    let file = HOSTILE.replace('/', "");
    world.write(&format!("{file}/{file}"), 90_000);
    world.write(&format!("{file}/other"), 90_000);
    world.write("other", 90_000);
    world.save(HOSTILE, HOSTILE, Lifetime::ByPolicy);
    world.store.advance_clock(20 * DAY);
    let mut runs = Runs::default();
    let line = serde_json::json!({
        "command": "restore", "hit": "exact", "cache": HOSTILE, "scope": HOSTILE, "time": 1,
    });
    let bad = serde_json::json!({ "command": "restore", "hit": HOSTILE });
    runs.read(HOSTILE, format!("{line}\n{bad}\n").as_bytes()).unwrap();
    assert_eq!(runs.unread, 1);
    let scope = HOSTILE.parse().unwrap();
    let page = world
        .report_with(|request| {
            request.flush.policy.scopes = Scopes::One(scope);
            request.runs = Some(runs);
        })
        .page();
    assert!(page.matches("onerror").count() > 8, "the names are there");
    assert!(!page.contains("<img") && !page.contains("49"), "and nothing else is");
    assert_eq!((page.matches("<script").count(), page.matches("</script").count()), (1, 1));
    // No attribute ends early: its quotes are escaped.
    assert!(!page.contains("alert(1)>") && !page.contains("'\"&"));
}

#[test]
fn the_policy_knows_what_is_in_the_page() {
    let page = grown().report().page();
    let between = |from: &str, to: &str| -> Vec<String> {
        let parts = page.split(from).skip(1);
        parts.map(|part| part.split(to).next().unwrap().to_owned()).collect()
    };
    let [policy] = between("Content-Security-Policy\" content=\"", "\">").try_into().unwrap();
    let policy = policy.replace("&#x27;", "'").replace("&#x2f;", "/");
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    let parts = [between("<style>", "</style>"), between("<script>", "</script>")].concat();
    assert_eq!(parts.len(), 3);
    for part in parts {
        let hash = STANDARD.encode(sha2::Sha256::digest(part));
        assert!(policy.contains(&format!("'sha256-{hash}'")), "{policy}");
    }
    assert!(!page.contains("style=") && !page.contains("onclick=\""));
}

#[test]
fn every_store_has_a_page() {
    let says = |page: &str, texts: &[&str]| {
        for text in texts {
            assert!(page.contains(text), "no {text:?} in\n{page}");
        }
    };
    let empty = World::new().report().page();
    says(&empty, &["There is no cache here yet", "Nothing was saved yet", "keeps no record"]);

    let world = grown();
    let scope: Scope = "o/r".parse().unwrap();
    let one = world.report_with(|request| {
        request.scope = Some(scope);
        request.top = 0;
        request.runs = Some(Runs::default());
    });
    says(&one.page(), &["Scope o&#x2f;r", "No cache is drawn", "0.0\u{202f}%"]);
    assert_eq!((one.stats.keys.len(), one.stats.packs.len()), (2, 2));

    let mut busy = world.report();
    let claim = Claim { by: FlushId::generate(), at: busy.now };
    let told = FlushReport { busy: Some(claim), now: busy.now, ..FlushReport::default() };
    busy.outlook = Outlook::Told(Box::new(told));
    busy.fates = busy.outlook.fates(&busy.stats.keys, &busy.flush.policy, busy.now);
    assert_eq!(busy.fates, [Fate::Unknown; 3]);
    says(&busy.page(), &["Another flush has been at work since 2026-01-21 00:00 UTC"]);

    let object = Layout::manifest(&"o/s".parse().unwrap(), &"third".parse().unwrap()).unwrap();
    assert!(world.store.truncate(&object, 20));
    let damaged = world.report().page();
    says(&damaged, &["1 manifest cannot be read", "A flush would stop"]);
}

#[test]
fn a_page_has_only_so_many_rows() {
    let report = grown().report();
    let (keys, fates) = (report.stats.keys.clone(), report.fates.clone());
    let mut many = report;
    many.stats.keys = keys.iter().cycle().take(2_500).cloned().collect();
    many.fates = fates.iter().cycle().take(2_500).copied().collect();
    let page = many.page();
    assert!(page.contains("500 more are left out"));
    assert!(page.matches("<tr>").count() < 2_100);
}
