//! Repairing a store whose objects were damaged, lost, or are not larder's.

use std::time::Duration;

use larder::error::Error;
use larder::flush::{RepairReport, RepairRequest, repair};
use larder::format::{GcState, Layout, Location, References};
use larder::ids::{ChunkId, PackId};
use larder::restore::Hit;
use larder::save::{SaveRequest, save};
use larder::store::{Call, ObjectKey, Operation, PutMode, Store, list_all};
use larder::verify::{VerifyReport, VerifyRequest, verify};

use crate::faults::{save_request, sound, with_context};
use crate::flush::World;

const DAY: Duration = Duration::from_secs(86_400);

fn check(world: &World) -> VerifyReport {
    let request = VerifyRequest { scope: None, keys: vec![], read_data: true };
    with_context(|context| verify(world.store.clone(), &request, context)).unwrap()
}

/// What `larder verify --read-data --repair` does.
fn mend(world: &World) -> RepairReport {
    let found = check(world);
    let request = RepairRequest {
        damaged: found.damaged,
        bad_packs: found.bad_packs,
        ..RepairRequest::default()
    };
    with_context(|context| repair(world.store.clone(), &request, context)).unwrap()
}

fn dropped(report: &RepairReport) -> Vec<&str> {
    report.dropped.iter().map(|(_, key)| key.as_str()).collect()
}

fn only_pack(world: &World) -> PackId {
    let packs = world.packs();
    assert_eq!(packs.len(), 1);
    *packs.first().unwrap()
}

/// A store that lost its marker alone goes on with the next save; one that lost what
/// garbage collection knows, too, must not: its packs may be about to go.
#[test]
fn a_store_without_its_marker_goes_on_if_its_state_is_known() {
    for (flushed, lost) in [(false, false), (true, false), (true, true)] {
        let world = World::new();
        let a = world.tree("a");
        world.save("a", &a);
        if flushed {
            world.pass(2 * DAY);
            world.flush();
        }
        world.store.delete(&[Layout::marker()]).unwrap();
        if lost {
            world.store.delete(&[Layout::gc_state()]).unwrap();
        }
        let saved = world.try_save("b", &a);
        if lost {
            assert!(matches!(saved, Err(Error::NotAStore { .. })), "{saved:?}");
            continue;
        }
        saved.unwrap();
        assert_eq!((world.restore("a", &a), world.restore("b", &a)), (Hit::Exact, Hit::Exact));
        sound(&world.store);
    }
}

/// A rule of a bucket's lifecycle deleted a pack that was in use; saves found their
/// caches unchanged, and so these stayed broken for ever.
#[test]
fn a_save_that_asks_for_packs_mends_its_cache() {
    let world = World::new();
    let (a, b) = (world.tree("a"), world.tree("b"));
    world.save("a", &a);
    let old = only_pack(&world);
    world.save("b", &b);
    let save_a = |check_packs| {
        let request = SaveRequest { key: "a".parse().unwrap(), check_packs, ..save_request(&a) };
        world.store.take_calls();
        let report = with_context(|context| save(world.store.clone(), &request, context)).unwrap();
        let asked = |call: &Call| {
            call.operation == Operation::Head && call.objects[0].starts_with("packs/")
        };
        (report, world.store.take_calls().iter().filter(|call| asked(call)).count())
    };
    // One request a pack, and only for those who ask.
    assert!(matches!(save_a(false), (report, 0) if report.unchanged));
    assert!(matches!(save_a(true), (report, 1 | 2) if report.unchanged));
    world.store.delete(&[Layout::pack(old)]).unwrap();
    assert!(save_a(false).0.unchanged);
    let (mended, _) = save_a(true);
    assert!(!mended.unchanged && mended.new_chunks == mended.chunks, "{mended:?}");
    assert_eq!(world.restore("a", &a), Hit::Exact);
}

#[test]
fn a_cache_without_its_pack_is_removed_and_comes_back() {
    let world = World::new();
    let (a, b) = (world.tree("a"), world.tree("b"));
    world.save("a", &a);
    let pack_of_a = only_pack(&world);
    world.save("c", &world.tree("c"));
    world.store.delete(&[Layout::pack(pack_of_a)]).unwrap();
    // `c` needs the shared file of it, too.
    let report = mend(&world);
    assert_eq!(dropped(&report), ["a", "c"]);
    assert_eq!((report.indexed_packs, report.orphans.len()), (1, 1));
    sound(&world.store);
    // What is left of `c` is used again.
    let saved = world.save("c", &world.tree("c"));
    assert!(saved.new_chunks < saved.chunks, "{saved:?}");
    world.save("a", &a);
    world.save("b", &b);
    sound(&world.store);
    assert_eq!(world.restore("a", &a), Hit::Exact);
    assert_eq!(mend(&world).dropped, []);
}

/// What a key's manifest says of its chunks.
fn chunks(world: &World, key: &str) -> Vec<(ChunkId, Location)> {
    let object = Layout::manifest(&"default".parse().unwrap(), &key.parse().unwrap()).unwrap();
    let references = References::decode(&world.store.contents()[&object]).unwrap();
    references.chunks.rows().to_vec()
}

#[test]
fn only_caches_that_need_the_damaged_chunk_go() {
    let world = World::new();
    let (a, b) = (world.tree("a"), world.tree("b"));
    world.save("a", &a);
    let pack = only_pack(&world);
    world.save("b", &b);
    let of_b = chunks(&world, "b");
    let of_a = chunks(&world, "a");
    let only_of_a = of_a.iter().find(|chunk| !of_b.contains(chunk)).unwrap();
    assert!(of_b.iter().any(|(_, at)| at.pack == pack), "b needs the pack, too");
    world.store.flip_byte(&Layout::pack(pack), only_of_a.1.offset as usize + 20);
    let found = check(&world);
    assert_eq!(found.bad_packs, [pack].into());
    let damaged: Vec<_> = found.damaged.iter().map(|found| found.key.as_str()).collect();
    assert_eq!(damaged, ["a"]);

    let report = mend(&world);
    assert_eq!(dropped(&report), ["a"]);
    assert_eq!(report.bad_packs, [pack]);
    assert!(report.moved_bytes > 0, "{report:?}");
    sound(&world.store);
    // The damaged chunk is in no index, near manifest or delta any more.
    world.save("a", &a);
    sound(&world.store);
    for (key, tree) in [("a", &a), ("b", &b)] {
        assert_eq!(world.restore(key, tree), Hit::Exact);
    }
    for _ in 0..3 {
        world.pass(2 * DAY);
        world.flush();
    }
    assert!(!world.packs().contains(&pack));
    sound(&world.store);
}

#[test]
fn the_index_is_made_anew_from_packs() {
    let world = World::new();
    let a = world.tree("a");
    world.save("a", &a);
    let index = list_all(&*world.store, "index/").unwrap();
    world.store.delete(&index.into_iter().map(|object| object.key).collect::<Vec<_>>()).unwrap();
    assert_eq!(mend(&world).indexed_packs, 1);
    let request = SaveRequest { scope: "another".parse().unwrap(), ..save_request(&a) };
    let save =
        |context: larder::progress::Context<'_>| save(world.store.clone(), &request, context);
    assert_eq!(with_context(save).unwrap().new_chunks, 0);
}

#[test]
fn a_manifest_that_cannot_be_read_goes() {
    let world = World::new();
    let (a, b) = (world.tree("a"), world.tree("b"));
    world.save("a", &a);
    world.save("b", &b);
    let object = Layout::manifest(&"default".parse().unwrap(), &"a".parse().unwrap()).unwrap();
    world.store.flip_byte(&object, 100);
    assert_eq!(dropped(&mend(&world)), ["a"]);
    assert_eq!(world.restore("a", &a), Hit::Miss);
    assert_eq!(world.save("a", &a).new_chunks, 0);
    assert_eq!(world.restore("a", &a), Hit::Exact);
    assert_eq!(world.restore("b", &b), Hit::Exact);
}

#[test]
fn an_unreadable_state_is_made_anew() {
    let world = World::new();
    let (a, b) = (world.tree("a"), world.tree("b"));
    world.save("a", &a);
    world.pass(20 * DAY);
    let condemned = world.flush().condemned.packs;
    world.save("b", &b);
    let epoch = |world: &World| {
        GcState::decode(&world.store.contents()[&Layout::gc_state()]).unwrap().epoch
    };
    let before = epoch(&world);
    world.store.flip_byte(&Layout::gc_state(), 60);
    // Without it nobody can tell what may be used.
    assert!(world.try_save("c", &a).unwrap_err().is_damage());
    assert!(!check(&world).problems.is_empty());

    assert!(mend(&world).state_reset);
    assert!(epoch(&world) > before + 1);
    assert!(check(&world).problems.is_empty());
    // What was condemned still is: nobody refers to it.
    assert_eq!(world.save("a", &a).reused_chunks, 2, "only the shared file, of b's pack");
    world.pass(2 * DAY);
    assert_eq!(world.flush().deleted.packs, condemned);
    assert_eq!(world.restore("a", &a), Hit::Exact);
    assert_eq!(world.restore("b", &b), Hit::Exact);
}

#[test]
fn orphans_and_foreign_objects_are_listed() {
    let world = World::new();
    world.save("a", &world.tree("a"));
    let put = |object: &ObjectKey| world.store.put(object, "x".into(), PutMode::Create).unwrap();
    let foreign = ObjectKey::new("notes.txt").unwrap();
    put(&foreign);
    let stray = PackId::generate();
    put(&Layout::pack(stray));
    let report = mend(&world);
    assert_eq!(report.foreign, [foreign]);
    assert_eq!((report.orphans, report.orphan_bytes), (vec![stray], 1));
    assert_eq!(report.bad_packs, [stray]);
}

#[test]
fn a_repair_waits_for_a_flush() {
    let world = World::new();
    world.save("a", &world.tree("a"));
    world.store.fail_all(Some(Operation::Put), "gc/marks", larder::store::When::Before);
    world.store.fail_all(Some(Operation::Put), "gc/state", larder::store::When::After);
    assert!(
        with_context(|context| {
            larder::flush::flush(world.store.clone(), &crate::flush::flush_request(), context)
        })
        .is_err()
    );
    world.store.clear_faults();
    assert!(mend(&world).is_busy);
    world.pass(DAY);
    assert!(!mend(&world).is_busy);
}
