//! Any tree and any edits to it come back, and nothing else.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use proptest::prelude::*;

use crate::support::{Noise, Sandbox, assert_same, chmod, run, set_mtime};

/// One step of a tree's life. Names come from few, so that steps meet.
#[derive(Clone, Debug)]
enum Edit {
    File { path: Vec<u8>, len: usize, seed: u64 },
    Directory { path: Vec<u8> },
    Symlink { path: Vec<u8>, target: u8 },
    HardLink { from: Vec<u8>, to: Vec<u8> },
    Remove { path: Vec<u8> },
    Mode { path: Vec<u8>, mode: u32 },
    Time { path: Vec<u8>, secs: i64, nanos: i64 },
    Rename { from: Vec<u8>, to: Vec<u8> },
    Append { path: Vec<u8>, len: usize },
}

const NAMES: [&str; 6] = ["a", "b", "b-", "c.d", "long name with spaces", "z"];

fn path(names: &[u8]) -> String {
    let names: Vec<&str> =
        names.iter().map(|&name| NAMES[usize::from(name) % NAMES.len()]).collect();
    names.join("/")
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let path = || prop::collection::vec(0..6u8, 1..4);
    let len = prop_oneof![6 => 0..5_000usize, 1 => 100_000..700_000usize];
    let edit = prop_oneof![
        6 => (path(), len, 0..4u64).prop_map(|(path, len, seed)| Edit::File { path, len, seed }),
        3 => path().prop_map(|path| Edit::Directory { path }),
        1 => (path(), any::<u8>()).prop_map(|(path, target)| Edit::Symlink { path, target }),
        2 => (path(), path()).prop_map(|(from, to)| Edit::HardLink { from, to }),
        2 => path().prop_map(|path| Edit::Remove { path }),
        1 => (path(), 0..0o10000u32).prop_map(|(path, mode)| Edit::Mode { path, mode }),
        1 => (path(), -1_000_000..3_000_000_000i64, 0..1_000_000_000i64)
            .prop_map(|(path, secs, nanos)| Edit::Time { path, secs, nanos }),
        1 => (path(), path()).prop_map(|(from, to)| Edit::Rename { from, to }),
        2 => (path(), 1..2_000usize).prop_map(|(path, len)| Edit::Append { path, len }),
    ];
    prop::collection::vec(edit, 1..25)
}

/// Does what can be done; what cannot (there is a file where a directory would
/// have to be) changes nothing.
fn apply(root: &Path, edit: &Edit) {
    let at = |names: &[u8]| root.join(path(names));
    let there = |names: &[u8]| fs::symlink_metadata(at(names)).is_ok();
    let make_parent = |names: &[u8]| {
        let _ = fs::create_dir_all(at(names).parent().unwrap());
    };
    match edit {
        Edit::File { path, len, seed } => {
            make_parent(path);
            // Through a link it would write elsewhere, perhaps outside.
            if !fs::symlink_metadata(at(path)).is_ok_and(|found| found.is_symlink()) {
                let _ = fs::write(at(path), Noise(*seed).bytes(*len));
            }
        }
        Edit::Append { path, len } => {
            if fs::symlink_metadata(at(path)).is_ok_and(|found| found.is_file()) {
                let mut bytes = fs::read(at(path)).unwrap();
                bytes.extend(vec![b'+'; *len]);
                fs::write(at(path), bytes).unwrap();
            }
        }
        Edit::Directory { path } => {
            let _ = fs::create_dir_all(at(path));
        }
        Edit::Symlink { path, target } => {
            make_parent(path);
            let _ = symlink(NAMES[usize::from(*target) % NAMES.len()], at(path));
        }
        Edit::HardLink { from, to } => {
            make_parent(to);
            // Caches hold several names of files only: links become two.
            if fs::symlink_metadata(at(from)).is_ok_and(|found| found.is_file()) {
                let _ = fs::hard_link(at(from), at(to));
            }
        }
        Edit::Remove { path } => {
            let _ = fs::remove_file(at(path)).or_else(|_| fs::remove_dir_all(at(path)));
        }
        Edit::Mode { path, mode } => {
            if there(path) && !fs::symlink_metadata(at(path)).unwrap().is_symlink() {
                // Mode bits that keep this test's own user out are for others.
                let keep = if rustix::process::geteuid().is_root() { 0 } else { 0o700 };
                chmod(at(path), mode | keep);
            }
        }
        Edit::Time { path, secs, nanos } => {
            if there(path) {
                set_mtime(at(path), *secs, *nanos);
            }
        }
        Edit::Rename { from, to } => {
            make_parent(to);
            let _ = fs::rename(at(from), at(to));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        max_shrink_iters: 60,
        ..ProptestConfig::default()
    })]

    #[test]
    fn edits_saves_and_restores_match_a_plain_copy(
        rounds in prop::collection::vec(edits(), 2..4),
        record in any::<bool>(),
    ) {
        let sandbox = Sandbox::new();
        let tree = sandbox.work("tree");
        fs::create_dir(&tree).unwrap();
        let options: &[&str] = if record { &[] } else { &["--no-stat-record"] };
        let save = |key: &str| {
            let arguments = ["save", "--key", key, "tree"];
            sandbox.larder(arguments.iter().chain(options)).ok();
        };
        for (number, edits) in rounds.iter().enumerate() {
            for edit in edits {
                apply(&tree, edit);
            }
            let copy = sandbox.path(format!("copy{number}"));
            run(std::process::Command::new("cp").arg("-a").args([&tree, &copy])).ok();
            save(&format!("k{number}"));
        }
        // Each state over the one before it, in place and elsewhere.
        for number in (0..rounds.len()).chain((0..rounds.len()).rev()) {
            let (copy, out) = (sandbox.path(format!("copy{number}")), sandbox.path("out"));
            let key = format!("k{number}");
            let arguments = ["restore", "--delete-extra", "--setuid", "--key", &key];
            sandbox.larder(arguments.iter().chain(options)).ok();
            assert_same(&copy, &tree);
            let to = ["--to", out.to_str().unwrap()];
            sandbox.larder(arguments.iter().chain(options).chain(&to)).ok();
            assert_same(&copy, &out.join("tree"));
        }
        sandbox.larder(["verify", "--read-data"]).ok();
    }
}
