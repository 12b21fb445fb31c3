//! Saves and restores on a server that does as it should, and how many
//! requests they take.

use std::thread;

use crate::proxy::Entry;
use crate::sandbox::{Noise, assert_same, write};
use crate::support::{Job, MANIFESTS, PACKS, PREFIX, count, lines};

#[test]
fn another_machine_gets_what_was_saved() {
    let Some(job) = Job::with_tree() else { return };
    let saved = job.save("k");
    assert_eq!(saved["unchanged"], false);
    assert!(job.bucket.objects().keys().all(|key| key.starts_with(&format!("{PREFIX}/"))));

    let other = job.elsewhere();
    let restored = other.restore("k", "out");
    assert_eq!(restored["hit"], "exact");
    assert_eq!(restored["files"], saved["files"]);
    assert_same(&job.tree(), &other.sandbox.path("out/tree"));

    let verified = other.larder(["--json", "verify", "--read-data"]).ok().json();
    assert_eq!(verified["manifests"], 1);
    assert_eq!(verified["problems"], serde_json::json!([]));
}

#[test]
fn an_unchanged_save_takes_five_requests_at_most_and_puts_nothing() {
    let Some(job) = Job::with_tree() else { return };
    job.save("k");
    let before = job.bucket.objects();
    let (saved, log) = job.under([], || job.save("k"));
    assert_eq!(saved["unchanged"], true);
    assert_eq!(saved["files_read"], 0);
    assert!(log.len() <= 5, "{}", lines(&log));
    assert_eq!(writes(&log), 0, "{}", lines(&log));
    assert_eq!(job.bucket.objects(), before);
}

#[test]
fn a_save_under_another_key_uploads_no_pack() {
    let Some(job) = Job::with_tree() else { return };
    let (_, first) = job.under([], || job.save("main-1"));
    assert_eq!(count(&first, "PUT", PACKS), 1, "{}", lines(&first));
    let (saved, log) = job.under([], || job.save("main-2"));
    assert_eq!((&saved["new_chunks"], &saved["packs_written"]), (&0.into(), &0.into()));
    assert_eq!(count(&log, "PUT", PACKS), 0, "{}", lines(&log));
    assert_eq!(count(&log, "PUT", MANIFESTS), 1, "{}", lines(&log));
    job.assert_restorable("main-2");
}

#[test]
fn a_pack_is_one_put_and_neighbours_are_one_get() {
    let Some(job) = Job::new() else { return };
    let mut noise = Noise(17);
    for number in 0..20 {
        write(job.tree().join(format!("{number}.bin")), noise.bytes(4 << 20));
    }
    let (saved, log) = job.under([], || job.save("k"));
    let packs = saved["packs_written"].as_u64().unwrap() as usize;
    assert!((2..=4).contains(&packs), "{saved}");
    assert_eq!(count(&log, "PUT", PACKS), packs, "{}", lines(&log));
    // The format marker, the manifest, the index delta.
    assert_eq!(writes(&log), packs + 3, "{}", lines(&log));

    let other = job.elsewhere();
    let (_, log) = other.under([], || other.restore("k", "out"));
    assert_same(&job.tree(), &other.sandbox.path("out/tree"));
    let fetched: u64 =
        log.iter().filter(|entry| entry.is("GET", PACKS)).map(|entry| entry.received).sum();
    assert!(fetched < 81 << 20, "no byte twice: {fetched}");
    // 80 MiB in ranges of 8 MiB, cut where a pack ends.
    assert!(count(&log, "GET", PACKS) <= 10 + packs, "{}", lines(&log));
}

#[test]
fn a_restore_over_an_intact_tree_fetches_no_pack() {
    let Some(job) = Job::with_tree() else { return };
    job.save("k");
    let (restored, log) =
        job.under([], || job.larder(["--json", "restore", "--key", "k"]).ok().json());
    assert_eq!(restored["files_unchanged"], restored["files"]);
    assert_eq!(count(&log, "GET", PACKS), 0, "{}", lines(&log));
}

#[test]
fn what_lies_beside_the_prefix_is_not_seen() {
    let Some(job) = Job::with_tree() else { return };
    let others = ["some/prefix2/manifests/default/k", "some/prefi", "some/prefix-x/format", "z"];
    for key in others {
        job.bucket.put(key, "somebody else's");
    }
    job.save("k");
    let listed = job.larder(["--json", "list", "--all-scopes"]).ok().json();
    assert_eq!(listed["caches"].as_array().unwrap().len(), 1, "{listed}");
    job.larder(["delete", "--prefix", ""]).ok();
    let listed = job.larder(["--json", "list"]).ok().json();
    assert_eq!(listed["caches"], serde_json::json!([]));
    for key in others {
        assert_eq!(job.bucket.get(key), b"somebody else's");
    }
}

#[test]
fn a_whole_bucket_can_be_the_store() {
    let Some(job) = Job::with_tree() else { return };
    let location = job.bucket.location(&job.proxy.url(), "").replace("/?", "?");
    let mut save = job.command(["save", "--key", "k", "tree"]);
    job.run(save.env("LARDER_STORE", &location)).ok();
    assert_eq!(job.bucket.keys_with("format"), ["format"]);
    let out = job.sandbox.path("out");
    let mut restore = job.command(["restore", "--key", "k", "--to", out.to_str().unwrap()]);
    job.run(restore.env("LARDER_STORE", &location)).ok();
    assert_same(&job.tree(), &out.join("tree"));
}

#[test]
fn keys_lead_to_what_they_name() {
    let Some(job) = Job::with_tree() else { return };
    // What URLs and signatures encode in ways of their own.
    let keys = ["a b+c", "ä/ö", "50%", "x?y=z&w#v", "~'()*!", "..", "a//b"];
    for key in keys {
        job.save(key);
    }
    let listed = job.larder(["--json", "list"]).ok().json();
    assert_eq!(listed["caches"].as_array().unwrap().len(), keys.len(), "{listed}");
    for key in keys {
        job.larder(["lookup", "--key", key]).ok();
        job.larder(["delete", key]).ok();
        job.larder(["lookup", "--key", key]).exits(3);
    }
}

#[test]
fn the_newest_for_a_prefix_is_restored() {
    let Some(job) = Job::with_tree() else { return };
    for key in ["npm-1", "npm-2", "other"] {
        job.save(key);
        // S3 tells times in seconds, as this server's listings do.
        thread::sleep(std::time::Duration::from_millis(1100));
    }
    let found = job.larder(["--json", "lookup", "--key", "npm-3", "--restore-key", "npm-"]);
    assert_eq!(found.ok().json()["key"], "npm-2");
}

#[test]
fn machines_that_save_at_once_do_not_harm_each_other() {
    let Some(job) = Job::with_tree() else { return };
    let machines: Vec<Job> = (0..4).map(|_| job.elsewhere()).collect();
    thread::scope(|scope| {
        for (number, machine) in machines.iter().enumerate() {
            scope.spawn(move || {
                write(machine.tree().join("same"), Noise(1).bytes(200_000));
                write(machine.tree().join("own"), Noise(100 + number as u64).bytes(200_000));
                // One key of its own, and one that all of them want.
                machine.save(&format!("own-{number}"));
                machine.save("all");
            });
        }
    });
    for (number, machine) in machines.iter().enumerate() {
        machine.assert_restorable(&format!("own-{number}"));
    }
    let other = job.elsewhere();
    other.restore("all", "out");
    let own = std::fs::read(other.sandbox.path("out/tree/own")).unwrap();
    assert!((0..4).any(|number| own == Noise(100 + number).bytes(200_000)));
    let verified = job.larder(["--json", "verify", "--read-data"]).ok().json();
    assert_eq!(verified["manifests"], 5);
}

fn writes(log: &[Entry]) -> usize {
    log.iter().filter(|entry| !matches!(entry.request.method(), "GET" | "HEAD")).count()
}
