//! The soak's rules, which must say no where they should: a soak is worth what
//! its ledger notices.

#[path = "../soak/ledger.rs"]
#[allow(dead_code)]
mod ledger;

use ledger::{Fate, Ledger, Lifetime, Removal, Rules, Slot};

const CONTENT: u64 = 7;

fn slot() -> Slot {
    Slot { scope: "s".into(), key: "pr-1".into() }
}

/// A ledger of a store where uses count, in which saves of one key ran, each
/// with its content.
fn ledger(saves: &[(u64, f64, f64, Fate)]) -> Ledger {
    let mut ledger = Ledger::new(true);
    for &(content, began, ended, fate) in saves {
        let id = ledger.begin_save(&slot(), content, Lifetime::ByPolicy, began);
        if fate != Fate::Running {
            ledger.end_save(&id, fate, ended);
        }
    }
    ledger
}

fn rules(age: f64) -> Rules {
    Rules { age, ..Rules::default() }
}

fn removal(reason: &str, last_used: f64, judged: f64) -> Removal {
    Removal { slot: slot(), reason: reason.into(), last_used, judged }
}

#[test]
fn what_was_replaced_does_not_come_back() {
    let holds = |saves: &[(u64, f64, f64, Fate)], read| {
        ledger(saves).may_hold(&slot(), CONTENT, read).is_ok()
    };
    let read = (100.0, 101.0);
    let saved = (CONTENT, 10.0, 11.0, Fate::Said);
    assert!(holds(&[saved], read));
    // Saved by nobody, or only later.
    assert!(!holds(&[(8, 10.0, 11.0, Fate::Said)], read));
    assert!(!holds(&[(CONTENT, 102.0, 103.0, Fate::Said)], read));
    assert!(!holds(&[(CONTENT, 10.0, 11.0, Fate::Nothing)], read));
    // Replaced for certain; or by a save that overlaps with either, or may have
    // done nothing.
    assert!(!holds(&[saved, (8, 12.0, 13.0, Fate::Said)], read));
    assert!(holds(&[saved, (8, 10.5, 13.0, Fate::Said)], read));
    assert!(holds(&[saved, (8, 12.0, 100.5, Fate::Said)], read));
    assert!(holds(&[saved, (8, 12.0, 13.0, Fate::Silent)], read));
    // Saved once more since.
    assert!(holds(&[saved, (8, 12.0, 13.0, Fate::Said), (CONTENT, 14.0, 15.0, Fate::Said)], read));
    // What a killed process has sent may come a little later, and no more.
    let killed = (CONTENT, 10.0, 11.0, Fate::Silent);
    assert!(holds(&[killed, (8, 12.0, 13.0, Fate::Said)], read));
    assert!(!holds(&[killed, (8, 20.0, 21.0, Fate::Said)], read));
}

#[test]
fn only_what_nobody_vouched_for_may_be_broken() {
    let broken = |saves: &[(u64, f64, f64, Fate)]| {
        ledger(saves).may_be_broken(&slot(), (100.0, 101.0)).is_ok()
    };
    assert!(!broken(&[(1, 10.0, 11.0, Fate::Said)]));
    assert!(!broken(&[(1, 10.0, 11.0, Fate::Nothing)]));
    assert!(broken(&[(1, 10.0, 11.0, Fate::Silent)]));
    assert!(broken(&[(1, 10.0, 0.0, Fate::Running)]));
    assert!(broken(&[(1, 10.0, 100.5, Fate::Said)]), "it may have begun another round");
    // The next save mends it.
    assert!(!broken(&[(1, 10.0, 11.0, Fate::Silent), (2, 20.0, 21.0, Fate::Said)]));
}

#[test]
fn what_is_gone_was_removed_by_someone() {
    let read = (100.0, 101.0);
    let saved = [(1, 10.0, 11.0, Fate::Said)];
    let absent = |ledger: &Ledger| ledger.may_be_absent(&slot(), read).is_ok();
    assert!(absent(&ledger(&[])));
    assert!(absent(&ledger(&[(1, 10.0, 11.0, Fate::Silent)])));
    assert!(!absent(&ledger(&saved)));

    // A flush that told all it did, and another that was killed.
    for (fate, age, has_max_size, explains) in [
        (Fate::Said, 20.0, true, false),
        (Fate::Silent, 20.0, false, true),
        (Fate::Silent, 60.0, false, false),
        (Fate::Silent, 60.0, true, true),
    ] {
        let mut ledger = ledger(&saved);
        let flush = ledger.begin_flush(Rules { has_max_size, ..rules(age) }, 50.0);
        ledger.end_flush(flush, fate, 51.0);
        assert_eq!(absent(&ledger), explains, "{fate:?} {age} {has_max_size}");
    }
    // One that removed this save, or an earlier one.
    for (last_used, explains) in [(10.0, true), (5.0, false)] {
        let mut ledger = ledger(&saved);
        let flush = ledger.begin_flush(rules(1.0), 50.0);
        ledger.removed(flush, removal("age", last_used, 50.0)).ok();
        ledger.end_flush(flush, Fate::Said, 51.0);
        assert_eq!(absent(&ledger), explains, "{last_used}");
    }
    // Pinned, it stays.
    let mut ledger = Ledger::new(true);
    let id = ledger.begin_save(&slot(), 1, Lifetime::Pinned, 10.0);
    ledger.end_save(&id, Fate::Said, 11.0);
    let flush = ledger.begin_flush(Rules { has_max_size: true, ..rules(1.0) }, 50.0);
    ledger.end_flush(flush, Fate::Silent, 51.0);
    assert!(!absent(&ledger));
}

#[test]
fn flushes_remove_only_what_they_may() {
    let check = |rules: Rules, lifetime, removal: Removal, used: Option<f64>| {
        let mut ledger = Ledger::new(true);
        let id = ledger.begin_save(&slot(), 1, lifetime, 10.0);
        ledger.end_save(&id, Fate::Said, 11.0);
        if let Some(at) = used {
            ledger.used(&slot(), at, at + 1.0);
        }
        let flush = ledger.begin_flush(rules, 50.0);
        ledger.removed(flush, removal).is_ok()
    };
    let plain = |age, removal| check(rules(age), Lifetime::ByPolicy, removal, None);
    assert!(plain(20.0, removal("age", 10.0, 50.0)));
    assert!(!plain(45.0, removal("age", 10.0, 50.0)), "too young");
    assert!(!plain(20.0, removal("age", 5.0, 50.0)), "judged without its last save");
    assert!(!plain(20.0, removal("size", 10.0, 50.0)), "nobody asked for a size");
    let other = Rules { scope: Some("other".into()), ..rules(20.0) };
    assert!(!check(other, Lifetime::ByPolicy, removal("age", 10.0, 50.0), None));
    let by_key = Rules { key_age: Some(("pr-".into(), 45.0)), ..rules(20.0) };
    assert!(!check(by_key, Lifetime::ByPolicy, removal("age", 10.0, 50.0), None));
    assert!(!check(rules(20.0), Lifetime::Pinned, removal("age", 10.0, 50.0), None));
    assert!(!check(rules(20.0), Lifetime::For(45.0), removal("ttl", 10.0, 50.0), None));
    let used = |last_used| {
        let removal = removal("age", last_used, 50.0);
        check(rules(15.0), Lifetime::ByPolicy, removal, Some(30.0))
    };
    assert!(used(30.0));
    assert!(!used(20.0), "a use was forgotten");
}
