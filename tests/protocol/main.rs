//! The protocol of garbage collection (`docs/protocol.md`), as a model that is
//! searched to the last state: first as it is, where every promise must hold; then
//! with one rule weakened at a time, where a promise must break.
//!
//! `cargo test --test protocol -- --nocapture` prints how many states there are, and
//! the requests by which each weakening breaks its promise. With `--ignored` it
//! searches wider bounds, for minutes.

// A test's helpers panic like the tests that call them, and count small things. What
// they print is half of what they are for.
#![allow(clippy::unwrap_used, clippy::cast_possible_truncation, clippy::print_stdout)]

mod collection;
mod decision;
mod flush;
mod knowledge;
mod repack;
mod restorer;
mod saver;
mod setting;
mod store;
mod trace;
mod weakening;

use std::collections::BTreeSet;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use collection::{DOOMED_FIRST, GOOD_STAYS_GOOD, NOTHING_LEAKS, ONE_DECIDES, READ_FIRST};
use setting::{
    CLAIMS, INDEX, LONE_SAVER, ONE_KEY, REPACK, REPACK_ALONE, REPACK_REUSED, RESTORER, Setting,
    TWO_KEYS,
};
use weakening::Weakening;

/// Searches a model until these are found, or to its end. Breadth first: what is
/// found is found in about as few requests as can be.
fn search(name: &str, setting: Setting, until: HasDiscoveries) -> impl Checker<Setting> + use<> {
    let start = Instant::now();
    let checker = setting.checker().finish_when(until).spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("{name}: {states} states, {depth} deep, {:.1?}", start.elapsed());
    checker
}

fn check(name: &str, setting: Setting) {
    search(name, setting, HasDiscoveries::AnyFailures).assert_properties();
}

#[test]
fn one_saver() {
    check("one saver", LONE_SAVER);
}

#[test]
fn savers_of_one_key() {
    check("savers of one key", ONE_KEY);
}

#[test]
fn savers_of_two_keys() {
    check("savers of two keys", TWO_KEYS);
}

#[test]
fn a_restorer_and_manifests_that_expire() {
    check("a restorer", RESTORER);
}

#[test]
fn deltas_and_tables() {
    check("deltas and tables", INDEX);
}

#[test]
fn flushes_that_claim() {
    check("flushes that claim", CLAIMS);
}

#[test]
fn repacking() {
    check("repacking", REPACK);
}

#[test]
fn repacking_what_is_reused() {
    check("repacking what is reused", REPACK_REUSED);
}

#[test]
fn repacking_alone() {
    check("repacking alone", REPACK_ALONE);
}

#[test]
#[ignore = "takes minutes"]
fn wider_bounds() {
    check("savers of one key, packs of any age", Setting { grace: true, ..ONE_KEY });
    check("savers of one key, four runs", Setting { runs: 4, ..ONE_KEY });
    check("savers of two keys, three runs", Setting { runs: 3, rounds: 1, ..TWO_KEYS });
    check("savers of two keys, a restorer", Setting { restores: true, ..TWO_KEYS });
    check("one saver, three flushes", Setting { flushes: 3, runs: 4, ..LONE_SAVER });
}

#[test]
#[ignore = "takes minutes"]
fn wider_bounds_of_repacking() {
    check("repacking alone, six runs", Setting { flushes: 2, runs: 6, ..REPACK_ALONE });
    check("repacking, packs of any age", Setting { grace: true, ..REPACK });
    check("repacking, manifests expire", Setting { expires: true, ..REPACK_REUSED });
    check("repacking, deltas and tables", Setting { index: true, ..REPACK_REUSED });
    check("repacking, two savers", Setting { savers: &[0, 0], keys: 1, ..REPACK_REUSED });
}

/// A model in which nothing happens keeps every promise.
#[test]
fn what_should_be_seen_is_seen() {
    for setting in [TWO_KEYS, REPACK] {
        let setting = Setting { looks_for_sights: true, ..setting };
        search("sights", setting, HasDiscoveries::All).assert_properties();
    }
}

/// Each rule weakened, where, and the promise that breaks.
const BREAKS: [(Weakening, Setting, &str); 32] = [
    (Weakening::MarkBeforeState, LONE_SAVER, GOOD_STAYS_GOOD),
    (Weakening::DoomAtFirstSight, LONE_SAVER, GOOD_STAYS_GOOD),
    (Weakening::DoomUnmarked, LONE_SAVER, GOOD_STAYS_GOOD),
    (Weakening::CondemnSilently, LONE_SAVER, GOOD_STAYS_GOOD),
    (Weakening::DeleteBeforeCommit, LONE_SAVER, DOOMED_FIRST),
    (Weakening::DeleteBeforeCommit, LONE_SAVER, GOOD_STAYS_GOOD),
    (Weakening::PardonDoomed, LONE_SAVER, GOOD_STAYS_GOOD),
    (Weakening::DeleteOwnOnly, LONE_SAVER, NOTHING_LEAKS),
    (Weakening::ForgetEarly, LONE_SAVER, GOOD_STAYS_GOOD),
    (Weakening::PutState, LONE_SAVER, ONE_DECIDES),
    (Weakening::PutState, LONE_SAVER, GOOD_STAYS_GOOD),
    (Weakening::RemoveAnyVersion, RESTORER, READ_FIRST),
    (Weakening::CountAsRemoved, RESTORER, GOOD_STAYS_GOOD),
    (Weakening::StaleTable, INDEX, GOOD_STAYS_GOOD),
    (Weakening::UseCondemned, LONE_SAVER, GOOD_STAYS_GOOD),
    (Weakening::StateBeforeManifest, ONE_KEY, GOOD_STAYS_GOOD),
    (Weakening::TrustAnyEpoch, LONE_SAVER, GOOD_STAYS_GOOD),
    (Weakening::TrustTwoBehind, LONE_SAVER, GOOD_STAYS_GOOD),
    (Weakening::RecordLaterEpoch, LONE_SAVER, GOOD_STAYS_GOOD),
    (Weakening::NoSecondLook, LONE_SAVER, GOOD_STAYS_GOOD),
    (Weakening::SecondLookUnasked, LONE_SAVER, GOOD_STAYS_GOOD),
    (Weakening::UnchangedUnseen, LONE_SAVER, GOOD_STAYS_GOOD),
    (Weakening::RefreshAnyVersion, RESTORER, GOOD_STAYS_GOOD),
    (Weakening::Unannounced, REPACK, GOOD_STAYS_GOOD),
    (Weakening::CondemnFilled, REPACK, GOOD_STAYS_GOOD),
    (Weakening::TakeOffUnfenced, REPACK, GOOD_STAYS_GOOD),
    (Weakening::FenceSameVersion, REPACK, GOOD_STAYS_GOOD),
    (Weakening::FenceAnyVersion, REPACK, READ_FIRST),
    (Weakening::FenceAnyVersion, Setting { runs: 4, ..REPACK }, GOOD_STAYS_GOOD),
    (Weakening::MoveAsReadLater, REPACK, GOOD_STAYS_GOOD),
    (Weakening::MoveAnyVersion, REPACK, READ_FIRST),
    (Weakening::MoveAnyVersion, REPACK, GOOD_STAYS_GOOD),
];

#[test]
fn each_rule_is_needed() {
    for (weakening, setting, promise) in BREAKS {
        let setting = Setting { weakened: Some(weakening), ..setting };
        let until = HasDiscoveries::AllOf(BTreeSet::from([promise]));
        let found = search(&format!("{weakening:?}"), setting, until);
        let Some(path) = found.discovery(promise) else {
            panic!("with {weakening:?} it still holds that {promise}");
        };
        println!("  it no longer holds that {promise}:");
        for line in trace::tell(path) {
            println!("    {line}");
        }
    }
}
