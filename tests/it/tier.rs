//! The local tier from outside: it saves fetches, and whatever happens to it
//! costs fetches and nothing else.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use crate::support::{
    Noise, Sandbox, assert_same, chmod, contents, nanos_now, plant, run, stage_areas, wait, write,
};

/// A tier as the command line takes it, large enough for everything here.
fn tier(sandbox: &Sandbox) -> String {
    sized(sandbox, "1GB")
}

fn sized(sandbox: &Sandbox, size: &str) -> String {
    format!("{}:{size}", sandbox.path("tier").display())
}

/// Restores the key `k` with a tier, and checks that it is the tree.
fn restore(sandbox: &Sandbox, to: &str, tier: &str) -> Value {
    let report = sandbox.restore_to(to, &["--local-cache", tier]);
    assert_same(&sandbox.work("tree"), &sandbox.path(to).join("tree"));
    report
}

/// The files of entries.
fn entries(sandbox: &Sandbox) -> Vec<PathBuf> {
    let files = contents(&sandbox.path("tier")).into_keys();
    files.filter(|path| path.file_name().is_some_and(|name| name.len() == 64)).collect()
}

fn temporaries(sandbox: &Sandbox) -> usize {
    contents(&sandbox.path("tier/tier-tmp")).len()
}

fn bytes_of(paths: &[PathBuf]) -> u64 {
    paths.iter().map(|path| fs::metadata(path).unwrap().len()).sum()
}

fn stored_bytes(sandbox: &Sandbox) -> u64 {
    let shown = sandbox.larder(["--json", "show", "k"]).ok().json();
    shown["stored_bytes"].as_u64().unwrap()
}

/// A saved tree; the tier is empty.
fn saved(files: u64, seed: u64) -> Sandbox {
    let sandbox = Sandbox::new();
    plant(&sandbox.work("tree"), files, seed);
    sandbox.save(&[]);
    sandbox
}

#[test]
fn the_second_restore_fetches_nothing() {
    let sandbox = saved(600, 71);
    let all = stored_bytes(&sandbox);
    let first = restore(&sandbox, "one", &tier(&sandbox));
    assert_eq!(first["local_cache_bytes"], 0);
    assert!(first["fetched_bytes"].as_u64().unwrap() >= all);
    assert_eq!(bytes_of(&entries(&sandbox)), all);

    // Not even the packs are needed.
    fs::rename(sandbox.store().join("packs"), sandbox.path("packs")).unwrap();
    let second = restore(&sandbox, "two", &tier(&sandbox));
    assert_eq!(second["fetched_bytes"], 0);
    assert_eq!(second["local_cache_bytes"], all);
    // The store's marker and the manifest.
    assert_eq!(second["requests"]["get"], 2);
    assert_eq!(temporaries(&sandbox), 0);

    // What is in place is not even read from the tier.
    let third = restore(&sandbox, "two", &tier(&sandbox));
    assert_eq!(third["local_cache_bytes"], 0);
    assert_eq!(third["files_unchanged"], third["files"]);
}

#[test]
fn a_save_fills_the_tier_and_uploads_the_same() {
    let plain = saved(600, 72);
    let sandbox = Sandbox::new();
    plant(&sandbox.work("tree"), 600, 72);
    let report = sandbox.save(&["--local-cache", &tier(&sandbox)]);
    let all = stored_bytes(&sandbox);
    assert_eq!(all, stored_bytes(&plain));
    assert_eq!(bytes_of(&entries(&sandbox)), all);
    let restored = restore(&sandbox, "out", &tier(&sandbox));
    assert_eq!(restored["fetched_bytes"], 0);
    assert_eq!(restored["local_cache_bytes"], all);

    // A full tier is no reason not to upload: the store is asked, not the tier.
    fs::remove_dir_all(sandbox.store()).unwrap();
    let again = sandbox.save(&["--no-stat-record", "--local-cache", &tier(&sandbox)]);
    for field in ["new_chunks", "new_raw_bytes", "packs_written", "chunks"] {
        assert_eq!(again[field], report[field], "{field}");
    }
    // And a dry run keeps nothing.
    fs::remove_dir_all(sandbox.path("tier")).unwrap();
    sandbox.save(&["--no-reuse", "--dry-run", "--local-cache", &tier(&sandbox)]);
    assert!(!sandbox.path("tier").exists());
}

#[test]
fn only_what_the_tier_lacks_is_fetched() {
    let sandbox = saved(600, 73);
    restore(&sandbox, "old", &tier(&sandbox));
    let mut noise = Noise(73);
    write(sandbox.work("tree/big.bin"), noise.bytes(1 << 20));
    write(sandbox.work("tree/pkg03/lib3/f3.js"), noise.bytes(4000));
    let report = sandbox.save(&[]);
    let new = report["new_raw_bytes"].as_u64().unwrap();
    let restored = restore(&sandbox, "new", &tier(&sandbox));
    let fetched = restored["fetched_bytes"].as_u64().unwrap();
    // Noise does not shrink; ranges may span a little that is not wanted.
    assert!((new * 9 / 10..new + (256 << 10)).contains(&fetched), "{fetched} of {new}");
    let kept = restored["local_cache_bytes"].as_u64().unwrap();
    assert!(kept >= stored_bytes(&sandbox) - new);
}

#[test]
fn a_part_is_restored_from_the_tier() {
    let sandbox = saved(600, 74);
    let to = sandbox.path("part");
    let part = |to: &Path| {
        let tier = tier(&sandbox);
        let arguments = ["--json", "restore", "--key", "k", "--local-cache", &tier, "--to"];
        let arguments = arguments.iter().copied().chain([to.to_str().unwrap(), "tree/pkg05"]);
        sandbox.larder(arguments).ok().json()
    };
    let first = part(&to);
    assert!(first["fetched_bytes"].as_u64().unwrap() > 0);
    assert!(bytes_of(&entries(&sandbox)) < stored_bytes(&sandbox));
    let second = part(&sandbox.path("again"));
    assert_eq!(second["fetched_bytes"], 0);
    assert!(second["local_cache_bytes"].as_u64().unwrap() > 0);
    assert_same(&sandbox.work("tree/pkg05"), &sandbox.path("again/tree/pkg05"));
}

#[test]
fn damaged_entries_are_fetched_and_healed() {
    let sandbox = saved(600, 75);
    restore(&sandbox, "first", &tier(&sandbox));
    let files = entries(&sandbox);
    let good = contents(&sandbox.path("tier"));
    assert!(files.len() > 12, "{}", files.len());
    let mut bad = 0;
    for (number, path) in files.iter().enumerate() {
        let mut bytes = fs::read(path).unwrap();
        match number % 8 {
            0 => {
                let at = bytes.len() / 2;
                bytes[at] ^= 1;
            }
            1 => bytes.truncate(bytes.len() - 1),
            2 => bytes.clear(),
            // Another chunk's, as good as any but for its name.
            3 => bytes = fs::read(&files[(number + 4) % files.len()]).unwrap(),
            4 => bytes.fill(0),
            5 => bytes.resize(1 << 20, 0),
            _ => continue,
        }
        bad += fs::metadata(path).unwrap().len();
        fs::write(path, bytes).unwrap();
    }
    let healing = restore(&sandbox, "second", &tier(&sandbox));
    let all = stored_bytes(&sandbox);
    assert_eq!(healing["local_cache_bytes"], all - bad);
    assert!(healing["fetched_bytes"].as_u64().unwrap() >= bad);
    let healed = contents(&sandbox.path("tier"));
    assert!(files.iter().all(|path| healed[path] == good[path]));
    assert_eq!(restore(&sandbox, "third", &tier(&sandbox))["fetched_bytes"], 0);
}

#[test]
fn what_is_no_file_is_passed_by() {
    let sandbox = saved(300, 76);
    restore(&sandbox, "first", &tier(&sandbox));
    let files = entries(&sandbox);
    for path in &files[..5] {
        fs::remove_file(path).unwrap();
    }
    std::os::unix::fs::symlink("/dev/zero", &files[0]).unwrap();
    fs::create_dir(&files[1]).unwrap();
    write(files[2].join("mine"), b"mine");
    run(std::process::Command::new("mkfifo").arg(&files[3])).ok();
    // And a whole directory of entries is something else.
    let shard = files[6].parent().unwrap();
    fs::remove_dir_all(shard).unwrap();
    write(shard, b"not a directory");
    let tier = tier(&sandbox);
    let arguments = ["restore", "--key", "k", "--to", "second", "--local-cache", &tier];
    let told = sandbox.larder(arguments).ok().says("the local cache keeps no more chunks");
    assert_eq!(told.stderr.matches("warning:").count(), 1, "{}", told.stderr);
    assert_same(&sandbox.work("tree"), &sandbox.work("second/tree"));
    assert!(files[2].join("mine").exists());
}

#[test]
fn a_damaged_pack_is_not_kept() {
    let sandbox = saved(300, 77);
    let pack = contents(&sandbox.store().join("packs")).into_keys().next().unwrap();
    let mut bytes = fs::read(&pack).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle..middle + 64].fill(0x55);
    fs::write(&pack, bytes).unwrap();
    let out = sandbox.path("out");
    let arguments = ["restore", "--key", "k", "--local-cache", &tier(&sandbox), "--to"];
    sandbox.larder(arguments.iter().copied().chain([out.to_str().unwrap()])).exits(4);
    assert!(!out.join("tree").exists());
    assert!(stage_areas(&out).is_empty());
    // Where the tier has the chunk, a damaged store does not matter.
    sandbox.save(&["--no-reuse", "--no-stat-record", "--local-cache", &tier(&sandbox)]);
    for pack in contents(&sandbox.store().join("packs")).into_keys() {
        fs::write(pack, b"gone").unwrap();
    }
    assert_eq!(restore(&sandbox, "out", &tier(&sandbox))["fetched_bytes"], 0);
}

fn age(path: &Path, secs: u64) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(secs)).unwrap();
}

#[test]
fn size_is_kept_and_the_recently_used_stay() {
    let sandbox = Sandbox::new();
    let (kept, size) = (sized(&sandbox, "6MiB"), 6 << 20);
    let mut noise = Noise(78);
    let mut save = |key: &str| {
        write(sandbox.work("tree/data"), noise.bytes(2 << 20));
        let arguments = ["save", "--key", key, "--no-stat-record", "--local-cache", &kept, "tree"];
        sandbox.larder(arguments).ok();
    };
    let restore = |key: &str, to: &str| {
        let arguments = ["--json", "restore", "--local-cache", &kept, "--key", key, "--to", to];
        sandbox.larder(arguments).ok().json()
    };
    // Two caches fit beside each other; the older one was used last.
    save("a");
    let of_a = entries(&sandbox);
    save("b");
    entries(&sandbox).iter().for_each(|path| age(path, 9_000));
    of_a.iter().for_each(|path| age(path, 5_000));
    save("c");
    assert!(bytes_of(&entries(&sandbox)) <= size);
    assert!(of_a.iter().all(|path| path.exists()), "b goes before a");
    assert_eq!(restore("c", "c")["fetched_bytes"], 0);
    // A use makes it the newest again: then c is the oldest.
    entries(&sandbox).iter().for_each(|path| age(path, 3_000));
    of_a.iter().for_each(|path| age(path, 5_000));
    assert_eq!(restore("a", "a")["fetched_bytes"], 0);
    assert!(restore("b", "b")["fetched_bytes"].as_u64().unwrap() > 0);
    assert!(bytes_of(&entries(&sandbox)) <= size);
    assert!(of_a.iter().all(|path| path.exists()), "a was used last");
}

#[test]
fn a_tree_larger_than_the_tier_is_restored() {
    let sandbox = saved(600, 79);
    assert!(stored_bytes(&sandbox) > 4 << 20);
    for size in ["1MB", "100kB", "1B"] {
        for round in 0..3 {
            restore(&sandbox, &format!("out-{size}-{round}"), &sized(&sandbox, size));
        }
        assert!(bytes_of(&entries(&sandbox)) <= 1_000_000);
    }
}

#[test]
fn several_processes_fill_and_evict() {
    let sandbox = saved(600, 80);
    let size = 2_000_000;
    let tier = sized(&sandbox, "2MB");
    for round in 0..3 {
        let children: Vec<_> = (0..4)
            .map(|number| {
                let to = format!("out-{round}-{number}");
                let arguments = ["restore", "--key", "k", "--local-cache", &tier, "--to", &to];
                let mut command = sandbox.command(arguments);
                command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
                (to.clone(), command.spawn().unwrap())
            })
            .collect();
        for (to, mut child) in children {
            assert_eq!(wait(&mut child), Some(0));
            assert_same(&sandbox.work("tree"), &sandbox.work(to).join("tree"));
        }
        assert!(bytes_of(&entries(&sandbox)) <= size);
        assert_eq!(temporaries(&sandbox), 0);
    }
    assert!(bytes_of(&entries(&sandbox)) > size / 2);
}

#[test]
fn a_lowered_size_is_kept_by_a_restore_that_adds_nothing() {
    let sandbox = saved(600, 87);
    restore(&sandbox, "one", &tier(&sandbox));
    let report = restore(&sandbox, "two", &sized(&sandbox, "2MB"));
    assert_eq!(report["fetched_bytes"], 0);
    assert!(bytes_of(&entries(&sandbox)) <= 2_000_000);
}

#[test]
fn a_tier_that_cannot_be_written_is_a_warning() {
    let sandbox = saved(300, 81);
    // A file where the directory should be: not even root can write there.
    write(sandbox.path("tier"), b"in the way");
    let tier = tier(&sandbox);
    let save = ["save", "--key", "k", "--no-reuse", "--no-stat-record", "tree"];
    let restore = ["restore", "--key", "k", "--to", "out"];
    for arguments in [save.as_slice(), restore.as_slice()] {
        let with = arguments.iter().copied().chain(["--local-cache", &tier]);
        let told = sandbox.larder(with).ok().says("the local cache keeps no more chunks: cannot");
        assert_eq!(told.stderr.matches("warning:").count(), 1, "{}", told.stderr);
    }
    assert_same(&sandbox.work("tree"), &sandbox.work("out/tree"));
    assert_eq!(fs::read(sandbox.path("tier")).unwrap(), b"in the way");
}

#[test]
fn a_tier_that_is_only_readable_is_used() {
    let sandbox = saved(300, 82);
    restore(&sandbox, "first", &tier(&sandbox));
    let all = stored_bytes(&sandbox);
    entries(&sandbox).iter().for_each(|path| age(path, 90_000));
    chmod(sandbox.path("tier"), 0o555);
    let read_only = restore(&sandbox, "second", &tier(&sandbox));
    assert_eq!(read_only["local_cache_bytes"], all);
    chmod(sandbox.path("tier"), 0o755);
}

/// A file system with room for a part of the chunks, where this user may mount
/// one.
#[test]
fn a_full_disk_is_a_warning() {
    let sandbox = saved(600, 83);
    let directory = sandbox.path("tier");
    fs::create_dir(&directory).unwrap();
    let mut mount = std::process::Command::new("mount");
    let mounted = mount.args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&directory).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        return eprintln!("not tested: this user cannot mount a small file system");
    }
    let tier = tier(&sandbox);
    let mut told = vec![];
    for to in ["one", "two"] {
        let arguments = ["restore", "--key", "k", "--to", to, "--local-cache", &tier];
        told.push(sandbox.larder(arguments).ok());
    }
    let left = temporaries(&sandbox);
    run(std::process::Command::new("umount").arg(&directory)).ok();
    for run in told {
        let run = run.says("No space left on device");
        assert_eq!(run.stderr.matches("warning:").count(), 1, "{}", run.stderr);
    }
    assert_eq!(left, 0, "half an entry is removed");
    assert_same(&sandbox.work("tree"), &sandbox.work("two/tree"));
}

#[test]
fn killed_at_any_moment() {
    let seed = nanos_now();
    eprintln!("seed {seed}");
    let mut noise = Noise(seed);
    let sandbox = saved(1_500, 84);
    let tier = sized(&sandbox, "3MB");
    for round in 0..25 {
        let to = format!("killed{round}");
        let arguments = ["restore", "--key", "k", "--local-cache", &tier, "--to", &to];
        let mut command = sandbox.command(arguments);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = command.spawn().unwrap();
        std::thread::sleep(Duration::from_micros(noise.below(120_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        let _ = fs::remove_dir_all(sandbox.work(&to));
    }
    restore(&sandbox, "out", &tier);
    assert!(bytes_of(&entries(&sandbox)) <= 3_000_000);
    // What was being written is left, and goes when it is surely dead.
    for path in contents(&sandbox.path("tier/tier-tmp")).into_keys() {
        age(&path, 3_600);
    }
    write(sandbox.path("tier/tier-tmp/01ARZ3NDEKTSV4RRFFQ69G5FAV"), b"half");
    age(&sandbox.path("tier/tier-tmp/01ARZ3NDEKTSV4RRFFQ69G5FAV"), 3_600);
    restore(&sandbox, "again", &tier);
    assert_eq!(temporaries(&sandbox), 0);
}

#[test]
fn the_environment_names_a_tier() {
    let sandbox = saved(100, 85);
    let in_environment = |more: &[&str], to: &str| {
        let arguments = ["--json", "restore", "--key", "k", "--to", to];
        let mut command = sandbox.command(arguments.iter().chain(more));
        run(command.env("LARDER_LOCAL_CACHE", "~/chunks:5MB")).ok().json()
    };
    in_environment(&[], "one");
    assert!(sandbox.path("home/chunks").is_dir());
    assert_eq!(in_environment(&[], "two")["fetched_bytes"], 0);
    // An empty text is none.
    assert_ne!(in_environment(&["--local-cache", ""], "three")["fetched_bytes"], 0);
}

#[test]
fn sizes_that_mean_nothing_are_refused() {
    let sandbox = saved(10, 86);
    let refused = |value: &str| {
        let arguments = ["restore", "--key", "k", "--to", "out", "--local-cache", value];
        sandbox.larder(arguments).exits(2).stderr
    };
    insta::assert_snapshot!(refused("/c:20XB"), @r#"
    error[L0116]: the local cache's size "20XB" is not a size
    hint: give a whole number and a unit, such as 20GB or 512MiB; a directory whose name has a colon ends with a slash
    "#);
    insta::assert_snapshot!(refused("/c:0GB"), @r#"
    error[L0116]: the local cache's size "0GB" leaves room for nothing
    hint: to keep nothing, leave out --local-cache and LARDER_LOCAL_CACHE
    "#);
    insta::assert_snapshot!(refused(":5GB"), @r#"
    error[L0116]: the local cache ":5GB" has no directory
    hint: give a directory first, such as ~/larder-chunks:20GB
    "#);
    assert!(!sandbox.work("out").exists());
}
