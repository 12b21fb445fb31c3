//! `larder flush` and `larder verify --repair` as people and programs meet them.

use crate::cli::{said, sandbox};
use crate::support::Sandbox;

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    let sandbox = Sandbox::new();
    let say = |line: &str| {
        let run = sandbox.larder(line.split(' ')).exits(2);
        run.stderr
            .lines()
            .take_while(|line| !line.starts_with("For more"))
            .collect::<Vec<_>>()
            .join("\n")
    };
    insta::assert_snapshot!(say("flush --age soon"), @"error[L0103]: invalid value 'soon' for '--age <DURATION>': expected number at 0; write it as 90s, 10m, 1h30m or 14d");
    insta::assert_snapshot!(say("flush --age 0d"), @"error[L0103]: invalid value '0d' for '--age <DURATION>': it must be longer than nothing");
    insta::assert_snapshot!(say("flush --age -5d"), @"error[L0103]: invalid value '-5d' for '--age <DURATION>': expected number at 0; write it as 90s, 10m, 1h30m or 14d");
    insta::assert_snapshot!(say("flush --age 10ms"), @"error[L0103]: invalid value '10ms' for '--age <DURATION>': it must be a second or more");
    insta::assert_snapshot!(say("flush --max-size 0GB"), @"error[L0103]: invalid value '0GB' for '--max-size <SIZE>': it must be more than nothing; to delete all caches use `larder delete`");
    insta::assert_snapshot!(say("flush --max-size -1GB"), @"error[L0103]: invalid value '-1GB' for '--max-size <SIZE>': write it as 500GB, 20GiB or 900MB");
    insta::assert_snapshot!(say("flush --max-size 100"), @"error[L0103]: invalid value '100' for '--max-size <SIZE>': write it as 500GB, 20GiB or 900MB");
    insta::assert_snapshot!(say("flush --key-age pr-*"), @"error[L0103]: invalid value 'pr-*' for '--key-age <PATTERN=AGE>': write it as PATTERN=AGE, such as 'pr-*=3d'");
    insta::assert_snapshot!(say("flush --key-age pr-*=x"), @"error[L0103]: invalid value 'pr-*=x' for '--key-age <PATTERN=AGE>': expected number at 0; write it as 90s, 10m, 1h30m or 14d");
    insta::assert_snapshot!(say("flush --pin [a"), @"error[L0103]: invalid value '[a' for '--pin <PATTERN>': unclosed character class; missing ']'");
    insta::assert_snapshot!(say("flush --grace 1h"), @r#"
    error[L0110]: --grace 1h is shorter than --longest-save 6h
    hint: what a save has uploaded is condemned when the grace period is over: give a longer one, or say by --longest-save that all saves are shorter
    "#);
    insta::assert_snapshot!(say("save --key k --ttl 0s tree"), @"error[L0103]: invalid value '0s' for '--ttl <DURATION>': it must be longer than nothing");
    insta::assert_snapshot!(say("save --key k --ttl 1d --pin tree"), @"
    error[L0105]: the argument '--ttl <DURATION>' cannot be used with '--pin'

    Usage: larder save --key <KEY> --ttl <DURATION> --store <LOCATION> <PATH|CACHE>...
    ");
}

#[test]
fn a_flush_as_a_person_sees_it() {
    let sandbox = sandbox();
    let say = |line: &str| said(&sandbox, &sandbox.larder(line.split(' ')));
    insta::assert_snapshot!(say("flush"), @r#"
    0 caches removed, 0 kept
    in use: N B in 0 packs, of which N B are dead; waiting to be freed: N B in 0 packs (N s)
    exit 0
    "#);
    sandbox.larder(["save", "--key", "npm-1", "tree"]).ok();
    sandbox.larder(["save", "--key", "npm-2", "--pin", "tree"]).ok();
    insta::assert_snapshot!(say("flush --dry-run"), @r#"
    0 caches would be removed, 2 kept
    in use: N B in 1 pack, of which N B are dead; waiting to be freed: N B in 0 packs (N s)
    exit 0
    "#);
    // Ages are counted in whole seconds.
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    let quick = "flush --age 1s --grace 1s --longest-save 1s";
    insta::assert_snapshot!(say(&format!("{quick} --dry-run")), @r#"
    would be removed: npm-1 in scope default, last used N seconds ago
    1 cache would be removed, 1 kept
    in use: N B in 1 pack, of which N B are dead; waiting to be freed: N B in 0 packs (N s)
    exit 0
    "#);
    insta::assert_snapshot!(say(quick), @r#"
    removed: npm-1 in scope default, last used N seconds ago
    1 cache removed, 1 kept
    in use: N B in 1 pack, of which N B are dead; waiting to be freed: N B in 0 packs (N s)
    exit 0
    "#);
    sandbox.larder(["delete", "npm-2"]).ok();
    insta::assert_snapshot!(say(quick), @r#"
    0 caches removed, 0 kept
    1 pack condemned, N B
    in use: N B in 0 packs, of which N B are dead; waiting to be freed: N B in 1 pack (N s)
    exit 0
    "#);
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    insta::assert_snapshot!(say(quick), @r#"
    0 caches removed, 0 kept
    1 pack deleted, N B
    in use: N B in 0 packs, of which N B are dead; waiting to be freed: N B in 0 packs (N s)
    exit 0
    "#);
}

#[test]
fn a_repair_as_a_person_sees_it() {
    let sandbox = sandbox();
    let say = |line: &str| said(&sandbox, &sandbox.larder(line.split(' ')));
    sandbox.larder(["save", "--key", "npm-1", "tree"]).ok();
    insta::assert_snapshot!(say("verify --repair"), @r#"
    checked 1 cache, 1 pack, 3 chunks, N s: no problem found
    made the index of 1 pack
    exit 0
    "#);
    std::fs::remove_dir_all(sandbox.store().join("packs")).unwrap();
    std::fs::write(sandbox.store().join("notes.txt"), "not larder's").unwrap();
    let say = |line: &str| hide_ids(&said(&sandbox, &sandbox.larder(line.split(' '))));
    insta::assert_snapshot!(say("verify --repair"), @r#"
    the object packs/XX/ID is damaged: it is inconsistent: it is not there, but caches need it
    damaged: npm-1 in scope default
    checked 1 cache, 1 pack, 3 chunks, N s: 1 problem found
    removed: npm-1 in scope default; the next save brings it back
    not larder's: notes.txt
    made the index of 0 packs, removed 1 cache
    exit 0
    "#);
    insta::assert_snapshot!(say("verify --repair npm-1"), @r#"
    2> error[L0105]: the argument '--repair' cannot be used with '[KEYS]...'
    2> 
    2> Usage: larder verify --repair --store <LOCATION> [KEYS]...
    2> 
    2> For more information, try '--help'.
    exit 2
    "#);
    std::fs::write(sandbox.store().join("gc/state"), "rubbish").unwrap();
    insta::assert_snapshot!(say("flush"), @r#"
    2> error[L0605]: the object gc/state is damaged: it is not a larder gc state
    2> hint: `larder verify --repair` makes it anew
    exit 4
    "#);
    insta::assert_snapshot!(say("save --key npm-1 tree"), @r#"
    2> error[L0605]: the object gc/state is damaged: it is not a larder gc state
    2> hint: `larder verify --repair` makes it anew
    exit 4
    "#);
    insta::assert_snapshot!(say("verify --repair"), @r#"
    the object gc/state is damaged: it is not a larder gc state
    checked 0 caches, 0 packs, 0 chunks, N s: 1 problem found
    the state of garbage collection was made anew
    not larder's: notes.txt
    made the index of 0 packs
    exit 0
    "#);
    insta::assert_snapshot!(say("save --key npm-1 tree"), @r#"
    saved npm-1: 3 files, N B
    uploaded N B (3 new chunks of N B), reused 0 of 3 chunks, N s
    exit 0
    "#);
}

/// Ids of packs are new in every run.
fn hide_ids(text: &str) -> String {
    let is_id = |word: &str| {
        word.len() == 26 && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    };
    let hide = |word: &str| {
        word.split('/')
            .map(|part| if is_id(part) { "ID" } else { part })
            .collect::<Vec<_>>()
            .join("/")
    };
    let text = text.split(' ').map(hide).collect::<Vec<_>>().join(" ");
    let mut parts = text.split("packs/");
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |all, part| all + "packs/XX" + &part[2..])
}

#[test]
fn a_flush_in_json() {
    let sandbox = sandbox();
    sandbox.larder(["save", "--key", "k", "tree"]).ok();
    let report = sandbox.larder(["flush", "--json"]).ok().json();
    assert_eq!((&report["manifests"], &report["manifests_read"]), (&1.into(), &1.into()));
    assert_eq!(report["removed"], serde_json::json!([]));
    assert_eq!((&report["used_packs"], &report["deltas_merged"]), (&1.into(), &1.into()));
    assert_eq!(report["busy_since"], serde_json::Value::Null);
    assert!(report["requests"]["put"].as_u64().unwrap() >= 4, "{report}");
    assert!(report["store_time"].as_i64().unwrap() > 1_700_000_000);
    let shown = sandbox.larder(["show", "k", "--json"]).ok().json();
    assert_eq!((&shown["ttl"], &shown["pinned"]), (&serde_json::Value::Null, &false.into()));
    sandbox.larder(["save", "--key", "k", "--ttl", "3d", "tree"]).ok();
    let shown = sandbox.larder(["show", "k", "--json"]).ok().json();
    assert_eq!(shown["ttl"], 3 * 86_400);
}
