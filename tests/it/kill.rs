//! Killed at any moment, larder leaves a sound store and whole files.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::support::{
    Noise, Sandbox, assert_same, contents, listing, nanos_now, plant, run, stage_areas, wait, write,
};

const ROUNDS: u64 = 20;
const FILES: u64 = 2_000;

/// The seed of this run; a failure is repeated with the one it printed.
fn seed() -> u64 {
    let seed = std::env::var("LARDER_TEST_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or_else(nanos_now);
    eprintln!("LARDER_TEST_SEED={seed}");
    seed
}

fn start(sandbox: &Sandbox, arguments: &[&str]) -> Child {
    let mut command = sandbox.command(arguments);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Runs larder, and kills it after some part of the time it takes.
fn killed(sandbox: &Sandbox, arguments: &[&str], after: Duration) -> bool {
    let mut child = start(sandbox, arguments);
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap().signal().is_some()
}

fn time(what: impl FnOnce()) -> Duration {
    let began = Instant::now();
    what();
    began.elapsed()
}

fn change_some(tree: &Path, noise: &mut Noise) {
    for _ in 0..30 {
        let number = noise.below(FILES);
        let name = format!("pkg{:02}/lib{}/f{number}.js", number % 23, number % 4);
        // In place: a hard link stays one.
        let len = noise.below(6_000) as usize;
        write(tree.join(name), noise.bytes(len));
    }
    let mut big = noise.bytes(1 << 20);
    big.extend(vec![7; 2 << 20]);
    write(tree.join("big.bin"), big);
}

#[test]
fn saves_killed_at_any_moment() {
    let mut noise = Noise(seed());
    let sandbox = Sandbox::new();
    let tree = sandbox.work("tree");
    plant(&tree, FILES, 41);
    sandbox.save(&["--no-stat-record"]);
    let mut saved = listing(&tree);
    let whole = time(|| {
        change_some(&tree, &mut noise);
        sandbox.save(&["--no-stat-record"]);
    });
    let mut kills = 0;
    for round in 0..ROUNDS {
        let before = if round == 0 { listing(&tree) } else { saved };
        change_some(&tree, &mut noise);
        let after = Duration::from_micros(noise.below(whole.as_micros() as u64 + 1));
        let record: &[&str] = if round % 2 == 0 { &["--no-stat-record"] } else { &[] };
        let arguments: Vec<&str> =
            ["save", "--key", "k", "tree"].iter().chain(record).copied().collect();
        kills += u64::from(killed(&sandbox, &arguments, after));
        sandbox.larder(["verify", "--read-data"]).ok();
        // The old state or the new one, whole.
        let out = format!("out{round}");
        sandbox.restore_to(&out, &["--no-stat-record"]);
        let (now, restored) = (listing(&tree), listing(&sandbox.path(&out).join("tree")));
        assert!(restored == before || restored == now, "round {round}: a mixture");
        // And the next save works.
        sandbox.save(&[]);
        if round % 8 == 0 {
            sandbox.restore_to(&out, &["--delete-extra"]);
            assert_same(&tree, &sandbox.path(&out).join("tree"));
        }
        saved = now;
        fs::remove_dir_all(sandbox.path(&out)).unwrap();
    }
    eprintln!("{kills} of {ROUNDS} saves were killed before they were done");
    assert!(kills > ROUNDS / 4);
}

#[test]
fn restores_killed_at_any_moment() {
    let mut noise = Noise(seed());
    let sandbox = Sandbox::new();
    let tree = sandbox.work("tree");
    plant(&tree, FILES, 42);
    sandbox.larder(["save", "--key", "one", "tree"]).ok();
    let copy = |name: &str| {
        let mut command = std::process::Command::new("cp");
        run(command.arg("-a").args([tree.clone(), sandbox.path(name)])).ok();
    };
    copy("one");
    for _ in 0..8 {
        change_some(&tree, &mut noise);
    }
    fs::remove_dir_all(tree.join("pkg05")).unwrap();
    write(tree.join("only-in-two/file"), b"two");
    sandbox.larder(["save", "--key", "two", "tree"]).ok();
    copy("two");

    // What each name may hold.
    let mut states: BTreeMap<PathBuf, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for key in ["one", "two"] {
        let root = sandbox.path(key);
        for (path, bytes) in contents(&root) {
            let name = path.strip_prefix(&root).unwrap().to_owned();
            states.entry(name).or_default().insert(bytes);
        }
    }
    let whole = time(|| {
        sandbox.larder(["restore", "--delete-extra", "--key", "one"]).ok();
    });
    let mut kills = 0;
    for round in 0..ROUNDS {
        let key = if round % 2 == 0 { "two" } else { "one" };
        if round % 5 == 4 {
            // Into nothing, too.
            fs::remove_dir_all(&tree).unwrap();
        }
        let mut arguments = vec!["restore", "--delete-extra", "--key", key];
        if round % 3 == 0 {
            arguments.push("--no-stat-record");
        }
        let after = Duration::from_micros(noise.below(whole.as_micros() as u64 * 3 / 2));
        kills += u64::from(killed(&sandbox, &arguments, after));
        for (path, bytes) in contents(&tree) {
            let name = path.strip_prefix(&tree).unwrap();
            if !name.to_str().unwrap().contains(".larder-tmp-") {
                let known = states.get(name).is_some_and(|states| states.contains(&bytes));
                assert!(known, "round {round}: {} is neither old nor new", name.display());
            }
        }
        sandbox.larder(arguments).ok();
        let left = stage_areas(&sandbox.path("work"));
        assert!(left.is_empty(), "round {round}: {left:?}");
        if round % 4 == 0 {
            assert_same(&sandbox.path(key), &tree);
        } else {
            assert_eq!(listing(&sandbox.path(key)), listing(&tree), "round {round}");
        }
    }
    eprintln!("{kills} of {ROUNDS} restores were killed before they were done");
    assert!(kills > ROUNDS / 4);
    sandbox.larder(["verify", "--read-data"]).ok();
}

/// Ctrl-C is heard: the work ends soon, and cleans up after itself.
#[test]
fn interrupted_by_ctrl_c() {
    let sandbox = Sandbox::new();
    let tree = sandbox.work("tree");
    plant(&tree, FILES, 43);
    let mut noise = Noise(44);
    for number in 0..6 {
        write(tree.join(format!("large{number}")), noise.bytes(16 << 20));
    }
    let interrupt = |arguments: &[&str], after: Duration| {
        let mut child = start(&sandbox, arguments);
        std::thread::sleep(after);
        let id = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
        // Soon, on a machine that has time for it: how soon is not for a test to say.
        wait(&mut child)
    };
    let out = sandbox.path("out");
    let to = out.to_str().unwrap();
    let save = ["save", "--no-stat-record", "--key", "k", "tree"];
    let restore = ["restore", "--key", "k", "--to", to];
    for arguments in [&save[..], &restore[..]] {
        let whole = time(|| {
            sandbox.larder(arguments).ok();
        });
        let mut interrupted = 0;
        for part in 1..10 {
            if arguments[0] == "save" {
                let _ = fs::remove_dir_all(sandbox.store());
            } else {
                let _ = fs::remove_dir_all(&out);
            }
            // Before the handler is there, the signal ends the process: fine.
            match interrupt(arguments, whole * part / 10) {
                Some(130) => {
                    interrupted += 1;
                    if arguments[0] == "restore" {
                        assert!(!out.join("tree").exists());
                        assert_eq!(stage_areas(&out), Vec::<PathBuf>::new());
                    } else {
                        sandbox.larder(["lookup", "--key", "k"]).exits(3);
                        let temporary = sandbox.store().join("tmp#");
                        let left = fs::read_dir(temporary).map_or(0, Iterator::count);
                        assert_eq!(left, 0, "temporary files in the store");
                    }
                }
                Some(0) | None => {}
                code => panic!("{code:?}"),
            }
        }
        assert!(interrupted > 0, "{arguments:?} was never interrupted");
        sandbox.larder(arguments).ok();
    }
    assert_same(&tree, &out.join("tree"));
}
