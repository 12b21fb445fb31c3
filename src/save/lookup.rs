//! What waits for the index: pieces and units with chunks that no near manifest
//! knows.
//!
//! They are looked up in batches, one after the other, each by a thread of its
//! own. The first only reads what every lookup needs.

use std::ops::Range;

use crossbeam_channel::Sender;

use super::cut::{Cutter, Event, Piece, len_of, tell};
use crate::ids::ChunkId;
use crate::index::{KnownChunks, Presence};
use crate::threads::beside;

/// What waits for the index.
#[derive(Default)]
pub(super) struct Lookup {
    pieces: Vec<Piece>,
    /// Units that may be recalled, once the index says that the store has them.
    units: Vec<usize>,
    /// The chunks of both that are to be looked up.
    unknown: Vec<ChunkId>,
    is_running: bool,
}

impl Lookup {
    /// Has a piece wait, if any of its chunks is still unknown; gives it back
    /// otherwise.
    pub(super) fn piece(&mut self, piece: Piece, known: &KnownChunks) -> Option<Piece> {
        let before = self.unknown.len();
        let is_unknown = |(id, range): &&(ChunkId, Range<usize>)| {
            known.presence(id, len_of(range)) == Presence::Unknown
        };
        self.unknown.extend(piece.chunks.iter().filter(is_unknown).map(|(id, _)| *id));
        if self.unknown.len() == before {
            return Some(piece);
        }
        self.pieces.push(piece);
        None
    }

    /// Has a unit wait for what the index says of these chunks.
    pub(super) fn unit(&mut self, unit: usize, unknown: impl Iterator<Item = ChunkId>) {
        self.units.push(unit);
        self.unknown.extend(unknown);
    }

    /// Reads what every lookup needs, before anything waits for it.
    pub(super) fn prefetch<'scope, 'env, 'a: 'scope>(
        &mut self,
        cutter: &'scope Cutter<'a>,
        events: &Sender<Event>,
        threads: &'scope std::thread::Scope<'scope, 'env>,
    ) {
        self.is_running = true;
        let events = events.clone();
        beside(threads, move || {
            cutter.known.load(cutter.repository, cutter.context);
            tell(&events, Event::LookedUp);
        });
    }

    /// Starts a batch, if enough waits, or anything while nothing else goes on.
    pub(super) fn start_if_due<'scope, 'env, 'a: 'scope>(
        &mut self,
        nothing_else: bool,
        cutter: &'scope Cutter<'a>,
        events: &Sender<Event>,
        threads: &'scope std::thread::Scope<'scope, 'env>,
    ) {
        if self.is_running || self.unknown.is_empty() {
            return;
        }
        // What is read first may tell of most that waits, or show that more
        // should be looked up at once.
        if !cutter.known.is_loaded() {
            return self.prefetch(cutter, events, threads);
        }
        if !nothing_else && self.unknown.len() < cutter.known.batch() {
            return;
        }
        self.is_running = true;
        let (batch, events) = (std::mem::take(&mut self.unknown), events.clone());
        beside(threads, move || {
            if let Some(repository) = cutter.repository {
                cutter.known.look_up(&batch, nothing_else, repository, cutter.context);
            }
            tell(&events, Event::LookedUp);
        });
    }

    /// Takes out all that waits, after a batch: what came meanwhile can be put
    /// back.
    pub(super) fn take_all(&mut self) -> (Vec<Piece>, Vec<usize>) {
        self.is_running = false;
        self.unknown.clear();
        (std::mem::take(&mut self.pieces), std::mem::take(&mut self.units))
    }

    /// Whether nothing waits.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_running && self.pieces.is_empty() && self.units.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::fs;
    use std::sync::atomic::AtomicBool;
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use tempfile::TempDir;

    use super::super::{SaveReport, SaveRequest, save};
    use crate::error::Error;
    use crate::files::WalkSource;
    use crate::format::{Anchor, GcState, IndexRow, Layout};
    use crate::ids::{PackId, TableId};
    use crate::index::{IndexView, TableBuilder};
    use crate::object_key::ObjectKey;
    use crate::progress::{Context, Progress, Warning};
    use crate::relpath::RelPath;
    use crate::repository::Repository;
    use crate::store::{Call, MemoryStore, Operation, PutMode, Store, When};
    use crate::store_time::StoreTime;
    use crate::sync::lock;
    use crate::verify::{VerifyRequest, verify};

    /// Remembers what was warned of.
    #[derive(Default)]
    struct Warnings(Mutex<Vec<Warning>>);

    impl Progress for Warnings {
        fn warn(&self, warning: Warning) {
            lock(&self.0).push(warning);
        }
    }

    const DIRECTORIES: usize = 5;

    /// A store, and directories each of which was saved under a scope of its own,
    /// into a pack of its own.
    struct Case {
        top: Arc<TempDir>,
        store: Arc<MemoryStore>,
        repository: Repository,
        warnings: Warnings,
    }

    impl Case {
        fn new() -> Self {
            let top = tempfile::tempdir().unwrap();
            let mut noise = blake3::Hasher::new().finalize_xof();
            for number in 0..DIRECTORIES {
                let directory = top.path().join(number.to_string());
                fs::create_dir(&directory).unwrap();
                for file in 0..200 {
                    let mut bytes = vec![0; 10_000 + file];
                    noise.fill(&mut bytes);
                    fs::write(directory.join(file.to_string()), bytes).unwrap();
                }
            }
            let case = Self::with(Arc::new(top), MemoryStore::new());
            for number in 0..DIRECTORIES {
                let report = case.save(&number.to_string(), &[number], IndexView::default());
                let report = report.unwrap();
                assert_eq!((report.packs_written, report.reused_chunks), (1, 0));
            }
            case
        }

        fn with(top: Arc<TempDir>, store: MemoryStore) -> Self {
            let store = Arc::new(store);
            let opened = Repository::open(store.clone()).unwrap();
            let repository = opened.unwrap_or_else(|| Repository::create(store.clone()).unwrap());
            Self { top, store, repository, warnings: Warnings::default() }
        }

        /// A copy, for whatever happens to it is for good.
        fn again(&self) -> Self {
            let store = MemoryStore::new();
            for (key, body) in self.store.contents() {
                store.put(&key, body, PutMode::Create).unwrap();
            }
            Self::with(Arc::clone(&self.top), store)
        }

        #[expect(clippy::needless_pass_by_value, reason = "most views are made for it")]
        fn save(
            &self,
            scope: &str,
            directories: &[usize],
            view: IndexView,
        ) -> Result<SaveReport, Error> {
            let source = |number: &usize| WalkSource {
                anchor: Anchor::WorkingDirectory,
                path: RelPath::new(number.to_string()).unwrap(),
                location: self.top.path().join(number.to_string()),
            };
            let (scope, key) = (scope.parse().unwrap(), "k".parse().unwrap());
            let sources = directories.iter().map(source).collect();
            let request = SaveRequest {
                level: 1,
                refresh_after: Duration::MAX,
                ..SaveRequest::new(scope, key, sources)
            };
            self.set_state(&view);
            let stop = AtomicBool::new(false);
            let context = Context { progress: &self.warnings, stop: &stop };
            save(self.store.clone(), &request, context)
        }

        /// Makes the state of garbage collection what it says, if it is not.
        fn set_state(&self, view: &IndexView) {
            let now = StoreTime::from(self.store.now().unwrap());
            let state = GcState {
                epoch: view.epoch,
                table: view.table,
                condemned: view.avoid.iter().map(|pack| (*pack, now)).collect(),
                ..GcState::default()
            };
            let body = state.encode();
            if self.store.contents().get(&Layout::gc_state()).is_none_or(|found| *found != body) {
                self.store.put(&Layout::gc_state(), body.into(), PutMode::Overwrite).unwrap();
            }
        }

        /// Saves all directories under a scope of their own, and tells what was
        /// asked of the store.
        fn save_all(&self, view: IndexView) -> (SaveReport, Vec<Call>) {
            self.set_state(&view);
            self.store.take_calls();
            let report = self.save("all", &[0, 1, 2, 3, 4], view).unwrap();
            let calls = self.store.take_calls();
            self.verify(1);
            (report, calls)
        }

        /// Checks that the cache of all directories, if there is one, is sound.
        fn verify(&self, least: u64) {
            let scope = Some("all".parse().unwrap());
            let request = VerifyRequest { scope, keys: vec![], read_data: true };
            let stop = AtomicBool::new(false);
            let context = Context { progress: &self.warnings, stop: &stop };
            let report = verify(self.store.clone(), &request, context).unwrap();
            assert!(report.problems.is_empty(), "{:?}", report.problems);
            assert!(report.manifests >= least);
        }

        /// Puts a table of all packs in the place of the deltas.
        fn consolidate(&self, sample_bits: u8) -> IndexView {
            let mut builder = TableBuilder::sampling_by(sample_bits);
            let lens = builder.add_all_packs(&self.repository);
            let len = |pack| lens.get(&pack).copied();
            let table = Some(builder.write(&self.repository, len).unwrap());
            let deltas = self.repository.list_deltas(0).unwrap();
            let keys: Vec<ObjectKey> = deltas.into_iter().map(|delta| delta.object).collect();
            self.store.delete(&keys).unwrap();
            IndexView { table, ..IndexView::default() }
        }

        /// The pack of one directory, and how many chunks it has.
        fn pack_of(&self, directory: usize) -> (PackId, u64) {
            let scope = directory.to_string().parse().unwrap();
            let stored = self.repository.manifest(&scope, &"k".parse().unwrap()).unwrap().unwrap();
            let chunks = stored.manifest.chunks;
            (chunks.packs()[0], chunks.rows().len() as u64)
        }

        fn warned(&self) -> usize {
            lock(&self.warnings.0).len()
        }
    }

    /// Calls of one kind on objects whose keys begin like this.
    fn count(calls: &[Call], operation: Operation, prefix: &str) -> usize {
        let fits = |call: &&Call| {
            call.operation == operation && call.objects.iter().all(|key| key.starts_with(prefix))
        };
        calls.iter().filter(fits).count()
    }

    #[test]
    fn a_table_tells_of_all_scopes() {
        let case = Case::new();
        let view = case.consolidate(0);
        let (report, calls) = case.save_all(view);
        assert_eq!((report.new_chunks, report.packs_written), (0, 0));
        assert!(report.chunks > 40, "{}", report.chunks);
        assert_eq!(count(&calls, Operation::List, "index/"), 1);
        assert_eq!(count(&calls, Operation::Get, "index/"), 2, "the filter, and the rows at once");
        assert_eq!(count(&calls, Operation::Get, "packs/"), DIRECTORIES, "a footer each");
        assert_eq!(count(&calls, Operation::Put, ""), 1, "the manifest");
        assert_eq!(case.warned(), 0);
    }

    /// Only every fourth chunk is in the table: the others are found with it.
    #[test]
    fn a_table_of_some_chunks_tells_of_their_neighbours() {
        let case = Case::new();
        let view = case.consolidate(2);
        let (report, calls) = case.save_all(view);
        assert_eq!(report.new_chunks, 0, "of {}", report.chunks);
        assert_eq!(count(&calls, Operation::Get, "index/"), 2);
        assert_eq!(count(&calls, Operation::Get, "packs/"), DIRECTORIES);
    }

    #[test]
    fn packs_that_are_gone_or_damaged_are_done_without() {
        let pristine = Case::new();
        let view = pristine.consolidate(0);
        let (pack, chunks) = pristine.pack_of(2);
        let object = Layout::pack(pack);
        let len = pristine.store.head(&object).unwrap().len as usize;

        let case = pristine.again();
        case.store.delete(std::slice::from_ref(&object)).unwrap();
        assert_eq!(case.save_all(view.clone()).0.new_chunks, chunks);
        assert_eq!(case.warned(), 0, "a flush may delete packs at any time");

        for damage in [len - 2, len - 7, len - 40] {
            let case = pristine.again();
            case.store.flip_byte(&object, damage);
            assert_eq!(case.save_all(view.clone()).0.new_chunks, chunks, "{damage}");
            assert_eq!(case.warned(), 1);
        }
        let case = pristine.again();
        case.store.truncate(&object, len - 1);
        assert_eq!(case.save_all(view).0.new_chunks, chunks);
        assert_eq!(case.warned(), 1);
    }

    #[test]
    fn packs_to_avoid_are_avoided() {
        let case = Case::new();
        let (pack, chunks) = case.pack_of(3);
        let avoid = HashSet::from([pack]);
        let avoiding = |case: &Case, view: IndexView| {
            let view = IndexView { avoid: avoid.clone(), ..view };
            assert_eq!(case.save_all(view).0.new_chunks, chunks);
            let all = case.repository.manifest(&"all".parse().unwrap(), &"k".parse().unwrap());
            assert!(!all.unwrap().unwrap().manifest.chunks.packs().contains(&pack));
        };
        // Told of by a delta, a table, a near manifest.
        avoiding(&case.again(), IndexView::default());
        let consolidated = case.again();
        avoiding(&consolidated, consolidated.consolidate(0));
        let view = IndexView { avoid: avoid.clone(), ..IndexView::default() };
        assert_eq!(case.save("3", &[3], view).unwrap().new_chunks, chunks);
    }

    #[test]
    fn damaged_tables_cost_duplicates_at_most() {
        let pristine = Case::new();
        let view = pristine.consolidate(0);
        let table = view.table.unwrap();
        let (filter, rows) = (Layout::table_filter(table), Layout::table_rows(table));
        let check = |damage: &dyn Fn(&MemoryStore) -> bool, warnings: usize| {
            let case = pristine.again();
            assert!(damage(&case.store));
            let (report, _) = case.save_all(view.clone());
            assert_eq!((report.reused_chunks, case.warned()), (0, warnings), "{report:?}");
        };
        for part in [&filter, &rows] {
            check(&|store| store.delete(std::slice::from_ref(part)).is_ok(), 0);
            check(&|store| store.truncate(part, 100), 1);
            check(&|store| store.corrupt(part, Vec::clear), 1);
        }
        check(&|store| store.flip_byte(&filter, 60), 1);
        check(&|store| store.corrupt(&rows, |rows| rows.fill(0)), 1);
        check(&|store| store.corrupt(&rows, |rows| rows.reverse()), 1);
        // All rows lead to packs of another length.
        let shift = |rows: &mut Vec<u8>| {
            rows.iter_mut().skip(24).step_by(IndexRow::LEN).for_each(|at| *at ^= 1);
        };
        check(&|store| store.corrupt(&rows, shift), DIRECTORIES);
    }

    /// What savers read of rows has no hash.
    #[test]
    fn no_flip_in_a_row_does_harm() {
        let pristine = Case::new();
        let view = pristine.consolidate(0);
        let rows = Layout::table_rows(view.table.unwrap());
        // Chunk, both halves of the pack, its length: each byte in a row of its own.
        for part in 0..4 {
            let case = pristine.again();
            for row in 0..8 {
                assert!(case.store.flip_byte(&rows, row * IndexRow::LEN + part * 8 + row));
            }
            case.save_all(view.clone());
        }
    }

    #[test]
    fn a_save_with_a_table_fails_at_every_operation() {
        let pristine = Case::new();
        let view = pristine.consolidate(1);
        for number in 0.. {
            let case = pristine.again();
            case.set_state(&view);
            case.store.take_calls();
            case.store.fail_nth(number, When::Before);
            let result = case.save("all", &[0, 1, 2, 3, 4], view.clone());
            let calls = case.store.take_calls().len() as u64;
            case.store.clear_faults();
            case.verify(u64::from(result.is_ok()));
            if calls <= number {
                assert_eq!(result.unwrap().new_chunks, 0);
                break;
            }
            assert!(number < 50, "it never succeeds");
        }
    }

    #[test]
    fn deltas_count_for_two_epochs() {
        let pristine = Case::new();
        let at = |epoch| IndexView { epoch, ..IndexView::default() };
        let case = pristine.again();
        let (report, calls) = case.save_all(at(1));
        assert_eq!((report.new_chunks, count(&calls, Operation::Get, "index/")), (0, DIRECTORIES));

        let case = pristine.again();
        let (report, calls) = case.save_all(at(2));
        assert_eq!((report.reused_chunks, count(&calls, Operation::List, "index/")), (0, 1));
        assert_eq!(count(&calls, Operation::Get, "index/"), 0);
        let listed = case.repository.list_deltas(0).unwrap();
        let epochs: Vec<u64> = listed.iter().map(|delta| delta.epoch).collect();
        assert_eq!(epochs, [0, 0, 0, 0, 0, 2]);
        assert_eq!(case.repository.list_deltas(1).unwrap(), listed[5..]);

        // Those of epochs to come are not relied on, nor those that were moved.
        let case = pristine.again();
        let first = case.repository.list_deltas(0).unwrap().remove(0);
        let (_, scope, id) = Layout::parse_delta(&first.object).unwrap();
        let body = case.store.get(&first.object, u64::MAX).unwrap().body;
        case.store.put(&Layout::delta(2, &scope, id), body.clone(), PutMode::Create).unwrap();
        case.store.put(&Layout::delta(3, &scope, id), body, PutMode::Create).unwrap();
        let (report, calls) = case.save_all(at(2));
        assert_eq!((report.reused_chunks, count(&calls, Operation::Get, "index/")), (0, 1));
        assert_eq!(case.warned(), 1);
    }

    #[test]
    fn a_table_that_is_not_there_is_no_trouble() {
        let case = Case::new();
        let table = Some(TableId::generate());
        let (report, _) = case.save_all(IndexView { table, ..IndexView::default() });
        assert_eq!((report.new_chunks, case.warned()), (0, 0), "deltas are enough");
    }
}
