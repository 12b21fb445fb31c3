//! The protocol of garbage collection (`docs/protocol.md`), as a model that is
//! searched to the last state: first as it is, where everything promised must hold;
//! then with one rule weakened at a time, where something promised must break.
//!
//! `cargo test --test protocol -- --nocapture` prints how many states there are,
//! and the requests by which each weakening breaks what it breaks.

// A test's helpers panic like the tests that call them. What it prints is half of
// what it is for.
#![allow(clippy::unwrap_used, clippy::print_stdout)]

mod collection;
mod flush;
mod knowledge;
mod restorer;
mod saver;
mod setting;
mod store;
mod weakening;

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::hash::Hash;
use std::time::Instant;

use stateright::{Checker, HasDiscoveries, Model};

use collection::{DOOMED_FIRST, GOOD_STAYS_GOOD, JUDGED_FIRST, NOTHING_LEAKS, ONE_DECIDES};
use setting::{CLAIMS, INDEX, LONE_SAVER, ONE_KEY, RESTORER, Setting, TWO_KEYS};
use weakening::Weakening;

/// Searches a model until these are found, or to its end. Breadth first: what is
/// found is found in about as few requests as can be.
fn search<M>(name: &str, model: M, until: HasDiscoveries) -> impl Checker<M> + use<M>
where
    M: Model + Send + Sync + 'static,
    M::State: Clone + Debug + Hash + PartialEq + Send + Sync,
    M::Action: Clone + Debug + PartialEq,
{
    let start = Instant::now();
    let checker = model.checker().finish_when(until).spawn_bfs().join();
    let (states, depth) = (checker.unique_state_count(), checker.max_depth());
    println!("{name}: {states} states, {depth} deep, {:.1?}", start.elapsed());
    checker
}

fn check_promises(name: &str, setting: Setting) {
    search(name, setting, HasDiscoveries::AnyFailures).assert_properties();
}

#[test]
fn one_saver_and_two_flushes() {
    check_promises("one saver", LONE_SAVER);
}

#[test]
fn savers_of_one_key() {
    check_promises("savers of one key", ONE_KEY);
}

#[test]
fn savers_of_two_keys() {
    check_promises("savers of two keys", TWO_KEYS);
}

#[test]
fn a_restorer_and_manifests_that_expire() {
    check_promises("a restorer", RESTORER);
}

#[test]
fn deltas_and_tables() {
    check_promises("deltas and tables", INDEX);
}

#[test]
fn flushes_that_claim() {
    check_promises("claims", CLAIMS);
}

/// A model in which nothing happens keeps every promise.
#[test]
fn what_should_be_seen_is_seen() {
    let setting = Setting { looks_for_sights: true, ..TWO_KEYS };
    search("sights", setting, HasDiscoveries::All).assert_properties();
}

/// Each rule weakened, where, and what no longer holds.
const BREAKS: [(Weakening, Setting, &str); 23] = [
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
    (Weakening::RemoveAnyVersion, RESTORER, JUDGED_FIRST),
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
];

#[test]
fn each_rule_is_needed() {
    for (weakening, setting, promise) in BREAKS {
        let setting = Setting { weakened: Some(weakening), ..setting };
        let until = HasDiscoveries::AllOf(BTreeSet::from([promise]));
        let found = search(&format!("{weakening:?}"), setting, until);
        let Some(path) = found.discovery(promise) else {
            panic!("without {weakening:?}, it still holds that {promise}");
        };
        println!("  it no longer holds that {promise}:");
        for action in path.into_actions() {
            println!("    {action:?}");
        }
    }
}
