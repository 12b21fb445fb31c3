//! The end of a soak: when nothing runs any more, the store must be whole, and
//! hold nothing that is not needed.

use std::collections::BTreeSet;
use std::time::Duration;

use larder::format::{GcState, Layout};
use larder::ids::{FlushId, PackId};
use larder::store::ObjectKey;
use serde_json::Value;

use crate::ledger::{Rules, Slot};
use crate::options::Sabotage;
use crate::process::{Ended, Plan, now};
use crate::workers::{flush_one, restore_one, save_once};
use crate::world::{SCOPES, World};

/// Flushes after which a store must have come to rest.
const ROUNDS: u32 = 12;

/// The machine of the end.
const MACHINE: &str = "judge";

type Step = fn(&World);

/// Looks at everything; each step only if all before it went well.
pub(crate) fn reckon(world: &World) {
    world.machine(MACHINE);
    let steps: [(&str, Step); 8] = [
        ("verify, and mend what killed saves left", mend),
        ("restore all", |world| restore_all(world)),
        ("flush until quiet", |world| {
            world.count("temporary files of killed processes", world.place.age_temporary_files());
            flush_until_quiet(world, 10_000, true);
        }),
        ("nothing is left over", nothing_is_left_over),
        ("verify again", |world| drop(verify(world, true))),
        ("restore all again", |world| restore_all(world)),
        ("remove all caches", remove_all),
        ("the store is empty", the_store_is_empty),
    ];
    for (name, step) in steps {
        // A test leaves out what takes longest.
        if !world.is_sound() || (name == "remove all caches" && world.options.is_test()) {
            return;
        }
        eprintln!("soak: {:4.0} s: {name}", world.began.elapsed().as_secs_f64());
        step(world);
    }
}

/// Runs larder, which must succeed.
fn larder(world: &World, kind: &'static str, arguments: &[&str]) -> Ended {
    let arguments: Vec<String> = arguments.iter().map(|&argument| argument.into()).collect();
    let ended = world.larder(kind, MACHINE, &arguments, &Plan::default());
    if ended.code != Some(0) {
        world.violation(format!("larder {} failed: {ended:?}", arguments.join(" ")));
    }
    ended
}

fn slot(value: &Value) -> Slot {
    Slot::new(value["scope"].as_str().unwrap(), value["key"].as_str().unwrap())
}

/// Verifies the store; gives the caches that are damaged, if some may be.
fn verify(world: &World, must_be_whole: bool) -> Vec<Slot> {
    let arguments = ["--json", "verify", "--read-data", "--all-scopes"].map(String::from);
    let ended = world.larder("verify", MACHINE, &arguments, &Plan::default());
    let damaged: Vec<Slot> = ended.list("/damaged").iter().map(slot).collect();
    let expected = if damaged.is_empty() { 0 } else { 4 };
    if ended.code != Some(expected) || (must_be_whole && expected != 0) {
        world.violation(format!("verify found damage: {ended:?}"));
    }
    world.count("bytes read by verify", ended.number("/read_bytes"));
    damaged
}

/// Only what a killed save left may be broken, and the next save mends it.
fn mend(world: &World) {
    let damaged = verify(world, false);
    let now = now();
    for slot in &damaged {
        let verdict = world.ledger().may_be_broken(slot, (now, now));
        world.check(verdict, || "verify found a damaged cache".into());
    }
    world.count("caches that killed saves left broken at the end", damaged.len() as u64);
    for slot in damaged.iter().filter(|_| world.is_sound()) {
        save_once(world, MACHINE, slot);
    }
    if !damaged.is_empty() && world.is_sound() {
        verify(world, true);
    }
}

/// Restores every cache, and looks whether those that must be there are.
fn restore_all(world: &World) {
    let listed = larder(world, "list", &["--json", "list", "--all-scopes"]);
    let listed: BTreeSet<Slot> = listed.list("/caches").iter().map(slot).collect();
    let began = now();
    let absent = world.ledger().slots().into_iter().filter(|slot| !listed.contains(slot));
    world.missed(absent.collect(), (began, began));
    world.judge_misses();
    for slot in &listed {
        if !restore_one(world, MACHINE, slot, None, &["--delete-extra"], &Plan::default()) {
            world.violation(format!("{slot} is listed, and cannot be restored"));
        }
    }
    world.count("caches restored at the end", listed.len() as u64);
}

/// Lets time pass, and flushes, until a flush finds nothing to do.
fn flush_until_quiet(world: &World, age: u64, repack: bool) {
    let grace = world.options.grace();
    let mut arguments = vec![
        "--json".to_owned(),
        "flush".into(),
        "--all-scopes".into(),
        "--longest-save=1s".into(),
        format!("--grace={grace}s"),
        format!("--age={age}s"),
    ];
    if repack {
        arguments.push("--repack".into());
    }
    for round in 1..=ROUNDS {
        std::thread::sleep(Duration::from_millis(grace * 1_000 + 100));
        let rules = Rules { age: age as f64, ..Rules::default() };
        let ended = flush_one(world, MACHINE, rules, &arguments, &Plan::default());
        let lists = ["/condemned/packs", "/pardoned/packs", "/deleted/packs", "/held/packs"];
        let is_quiet = ended.code == Some(0)
            && ended.json.pointer("/busy_since").is_some_and(Value::is_null)
            && lists.iter().all(|list| ended.list(list).is_empty())
            && ended.list("/removed").is_empty()
            && ended.list("/broken").is_empty()
            && ended.number("/repacked/packs") == 0
            && ended.number("/deltas_merged") == 0;
        if is_quiet {
            return world.count("flushes until quiet", u64::from(round));
        }
    }
    world.violation(format!("{ROUNDS} flushes did not bring the store to rest"));
}

/// Everything that is in the store is there for something.
fn nothing_is_left_over(world: &World) {
    match world.options.sabotage {
        Some(Sabotage::Orphan) => {
            let pack = Layout::pack(PackId::generate());
            world.place.put(pack.as_str(), b"nobody refers to this".to_vec());
        }
        Some(Sabotage::Litter) => world.place.put("index/deltas/what", b"?".to_vec()),
        Some(Sabotage::State) => {
            let mut state = GcState::decode(&world.place.get("gc/state")).unwrap();
            let at = larder::store_time::StoreTime::from_unix(0);
            state.claim = Some(larder::format::Claim { by: FlushId::generate(), at });
            world.place.put("gc/state", state.encode());
        }
        _ => {}
    }
    let stats = larder(world, "stats", &["--json", "stats", "--all-scopes"]);
    if stats.json["unreferenced_bytes"] != 0 {
        let bytes = &stats.json["unreferenced_bytes"];
        world.violation(format!("{bytes} bytes of packs are left over by what stats says"));
    }
    let state = check_state(world);
    let needed = needed_packs(world);
    let mut packs = BTreeSet::new();
    for object in world.place.objects().into_keys() {
        let key = ObjectKey::new(&object).ok();
        let pack = key.as_ref().and_then(Layout::parse_pack);
        packs.extend(pack);
        let is_known = match object.split('/').next() {
            Some("format" | "manifests") => true,
            Some("gc") => object == "gc/state" || object == "gc/marks",
            Some("packs") => pack.is_some_and(|pack| needed.contains(&pack)),
            // Only the table that the state names; no delta after a flush.
            Some("index") => key.is_some_and(|key| {
                let table = Layout::parse_table(&key);
                table.is_some() && table == state.table
            }),
            // A directory's own.
            Some("lock#") => true,
            _ => false,
        };
        if !is_known {
            world.violation(format!("the object {object} is left over"));
        }
    }
    if let Some(pack) = needed.difference(&packs).next() {
        world.violation(format!("pack {pack} is needed, and is not there"));
    }
    world.count("packs at the end", packs.len() as u64);
}

/// The state's lists must be empty.
fn check_state(world: &World) -> GcState {
    let state = GcState::decode(&world.place.get("gc/state")).unwrap();
    let is_empty = state.condemned.is_empty() && state.doomed.is_empty();
    if !is_empty || state.claim.is_some() || state.repacking.is_some() {
        world.violation(format!("the state of garbage collection is not at rest: {state:?}"));
    }
    world.figures().add("epoch at the end", state.epoch);
    state
}

/// The packs that caches refer to, as `show` tells them one by one.
fn needed_packs(world: &World) -> BTreeSet<PackId> {
    let listed = larder(world, "list", &["--json", "list", "--all-scopes"]);
    let mut needed = BTreeSet::new();
    for slot in listed.list("/caches").iter().map(slot) {
        let shown = larder(world, "show", &["--json", "--scope", &slot.scope, "show", &slot.key]);
        let packs = shown.list("/packs").iter().filter_map(Value::as_str);
        needed.extend(packs.filter_map(|pack| pack.parse::<PackId>().ok()));
    }
    needed
}

/// Deletes what is left: its packs must go, too.
fn remove_all(world: &World) {
    for scope in SCOPES {
        for prefix in ["keep", "main-", "pr-", "tmp-"] {
            larder(world, "delete", &["--json", "--scope", scope, "delete", "--prefix", prefix]);
        }
    }
    flush_until_quiet(world, 10_000, false);
}

fn the_store_is_empty(world: &World) {
    check_state(world);
    for object in world.place.objects().into_keys() {
        let stays = ["format", "gc/state", "gc/marks"].contains(&object.as_str())
            || object.starts_with("index/tables/")
            || object.starts_with("lock#/");
        if !stays {
            world.violation(format!("the object {object} outlived all caches"));
        }
    }
}
