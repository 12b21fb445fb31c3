//! Signed and encrypted caches, from outside.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::support::{Run, Sandbox, assert_same, run, write};

/// The variables that `larder keygen` prints.
fn keygen(sandbox: &Sandbox, more: &[&str]) -> Vec<(String, String)> {
    let run = sandbox.larder(["keygen"].iter().chain(more)).ok();
    run.stdout
        .lines()
        .map(|line| line.split_once('=').unwrap())
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// A signing key and its public half.
fn signer(sandbox: &Sandbox) -> (String, String) {
    let lines = keygen(sandbox, &[]);
    assert_eq!(lines[0].0, "LARDER_SIGNING_KEY");
    assert_eq!(lines[1].0, "LARDER_REQUIRE_SIGNATURE");
    (lines[0].1.clone(), lines[1].1.clone())
}

fn encryption_key(sandbox: &Sandbox) -> String {
    let lines = keygen(sandbox, &["--encryption"]);
    assert_eq!((lines.len(), lines[0].0.as_str()), (1, "LARDER_ENCRYPTION_KEY"));
    lines[0].1.clone()
}

fn with(sandbox: &Sandbox, variables: &[(&str, &str)], arguments: &[&str]) -> Run {
    let mut command: Command = sandbox.command(arguments);
    command.envs(variables.iter().copied());
    run(&mut command)
}

const SAVE: [&str; 5] = ["--json", "save", "--key", "k", "tree"];
const RESTORE: [&str; 6] = ["--json", "restore", "--key", "k", "--to", "out"];

fn sandbox_with_tree() -> Sandbox {
    let sandbox = Sandbox::new();
    write(sandbox.work("tree/small"), b"a secret that somebody keeps");
    let long: Vec<u8> = (0..600_000u32).flat_map(|n| (n / 7).to_le_bytes()).collect();
    write(sandbox.work("tree/long"), &long);
    sandbox
}

fn restored(run: Run) -> Value {
    let report = run.ok().json();
    assert_eq!(report["hit"], "exact", "{report}");
    report
}

#[test]
fn a_restore_that_requires_signatures_takes_anything_else_for_a_miss() {
    let sandbox = sandbox_with_tree();
    let (ours, public) = signer(&sandbox);
    let (theirs, _) = signer(&sandbox);
    let require = [("LARDER_REQUIRE_SIGNATURE", public.as_str())];
    let missed = |why: &str| {
        let run = with(&sandbox, &require, &RESTORE).ok().says(why);
        assert_eq!(run.json()["hit"], "miss");
        assert!(!sandbox.work("out").exists());
        // The other commands know of it, too.
        with(&sandbox, &require, &["lookup", "--key", "k"]).exits(3).says(why);
        with(&sandbox, &require, &["show", "k"]).exits(3).says("error[L0609]").says(why);
    };
    sandbox.larder(SAVE).ok();
    missed("it is not signed");
    // A save that changes nothing signs what is there.
    let report = with(&sandbox, &[("LARDER_SIGNING_KEY", &theirs)], &SAVE).ok().json();
    assert_eq!((&report["new_chunks"], &report["unchanged"]), (&0.into(), &false.into()));
    missed("which is not trusted here");
    with(&sandbox, &[("LARDER_SIGNING_KEY", &ours)], &SAVE).ok();
    restored(with(&sandbox, &require, &RESTORE));
    assert_same(&sandbox.work("tree"), &sandbox.work("out/tree"));
    let again = with(&sandbox, &[("LARDER_SIGNING_KEY", &ours)], &SAVE).ok().json();
    assert_eq!(again["unchanged"], true);
    // Who asks for none reads it as before.
    restored(sandbox.larder(["--json", "restore", "--key", "k", "--to", "again"]));
    // The next of the restore-keys counts then.
    sandbox.larder(["save", "--key", "k-newer", "tree/small"]).ok();
    let prefix = ["--json", "restore", "--key", "none", "--restore-key", "k", "--to", "third"];
    let report = with(&sandbox, &require, &prefix).ok().json();
    assert_eq!((&report["hit"], &report["key"]), (&"prefix".into(), &"k".into()));
}

#[test]
fn flushes_refreshes_and_repacking_keep_signatures_and_need_no_key() {
    let sandbox = sandbox_with_tree();
    let (ours, public) = signer(&sandbox);
    let secret = encryption_key(&sandbox);
    let save = [("LARDER_SIGNING_KEY", ours.as_str()), ("LARDER_ENCRYPTION_KEY", secret.as_str())];
    let read =
        [("LARDER_REQUIRE_SIGNATURE", public.as_str()), ("LARDER_ENCRYPTION_KEY", secret.as_str())];
    // Most of the pack is not in use any more.
    write(sandbox.work("tree/other"), vec![0xa5; 100]);
    with(&sandbox, &save, &["save", "--key", "whole", "tree"]).ok();
    with(&sandbox, &save, &["save", "--key", "k", "tree/small", "tree/other"]).ok();
    sandbox.larder(["delete", "whole"]).ok();
    let flush = ["--json", "flush", "--grace", "1s", "--longest-save", "1s", "--repack"];
    let reports: Vec<Value> = (0..3)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(1_100));
            sandbox.larder(flush).ok().json()
        })
        .collect();
    let moved = |report: &Value| report["repacked"]["manifests"] == 1;
    assert!(reports.iter().any(moved), "{reports:?}");
    sandbox.larder(["verify"]).ok();
    restored(with(&sandbox, &read, &RESTORE));
    assert_same(&sandbox.work("tree/small"), &sandbox.work("out/tree/small"));
    with(&sandbox, &read, &["verify", "--read-data"]).ok();
}

#[test]
fn an_encrypted_store_shows_no_contents_and_no_names() {
    let sandbox = sandbox_with_tree();
    let secret = encryption_key(&sandbox);
    let key = [("LARDER_ENCRYPTION_KEY", secret.as_str())];
    with(&sandbox, &key, &SAVE).ok();
    let mut whole = vec![];
    collect(&sandbox.store(), &mut whole);
    for word in ["somebody keeps", "small", "tree"] {
        let shows = whole.windows(word.len()).any(|window| window == word.as_bytes());
        assert!(!shows, "{word}");
    }
    // The same chunks have the same names for all that have the key.
    let again = with(&sandbox, &key, &["--json", "save", "--key", "other", "tree"]).ok().json();
    assert_eq!(again["new_chunks"], 0);
    restored(with(&sandbox, &key, &RESTORE));
    assert_same(&sandbox.work("tree"), &sandbox.work("out/tree"));
    let restored_again = restored(with(&sandbox, &key, &RESTORE));
    assert_eq!(restored_again["fetched_bytes"], 0, "what is in place is recognised");
    with(&sandbox, &key, &["verify", "--read-data"]).ok();
    // Without the key, and with another.
    let other = encryption_key(&sandbox);
    for key in ["", other.as_str()] {
        let run = with(&sandbox, &[("LARDER_ENCRYPTION_KEY", key)], &RESTORE).ok();
        assert_eq!(run.says("which is not given").json()["hit"], "miss");
    }
    // What is not encrypted is nobody's whom the key is meant to keep out.
    sandbox.larder(["save", "--key", "open", "tree"]).ok();
    let open = ["--json", "restore", "--key", "open", "--to", "open"];
    let run = with(&sandbox, &key, &open).ok().says("it is not encrypted");
    assert_eq!(run.json()["hit"], "miss");
}

/// Chunks that do not compress are stored longer than they are: a local cache took them
/// for damaged, and threw them away.
#[test]
fn encrypted_chunks_are_kept_on_the_machine_too() {
    let sandbox = Sandbox::new();
    let noise = crate::support::Noise(7).bytes(300_000);
    write(sandbox.work("tree/noise"), noise);
    let secret = encryption_key(&sandbox);
    let key = [("LARDER_ENCRYPTION_KEY", secret.as_str())];
    with(&sandbox, &key, &["save", "--key", "k", "--local-cache", "chunks", "tree"]).ok();
    let restore = [&RESTORE[..], &["--local-cache", "chunks"]].concat();
    let report = restored(with(&sandbox, &key, &restore));
    assert_eq!(report["fetched_bytes"], 0);
    assert_same(&sandbox.work("tree"), &sandbox.work("out/tree"));
}

#[test]
fn keys_are_rotated_by_putting_the_new_one_first() {
    let sandbox = sandbox_with_tree();
    let (old, new) = (encryption_key(&sandbox), encryption_key(&sandbox));
    with(&sandbox, &[("LARDER_ENCRYPTION_KEY", &old)], &SAVE).ok();
    let both = format!("{new},{old}");
    let both = [("LARDER_ENCRYPTION_KEY", both.as_str())];
    restored(with(&sandbox, &both, &RESTORE));
    let saved = with(&sandbox, &both, &SAVE).ok().json();
    assert_eq!((&saved["reused_chunks"], &saved["unchanged"]), (&0.into(), &false.into()));
    let mut alone = RESTORE;
    alone[5] = "with-the-new-one";
    restored(with(&sandbox, &[("LARDER_ENCRYPTION_KEY", &new)], &alone));
    assert_same(&sandbox.work("tree"), &sandbox.work("with-the-new-one/tree"));
    let lost = with(&sandbox, &[("LARDER_ENCRYPTION_KEY", &old)], &RESTORE).ok();
    assert_eq!(lost.says("which is not given").json()["hit"], "miss");
}

#[test]
fn secrets_are_never_shown_and_mistakes_in_them_are_told() {
    let sandbox = sandbox_with_tree();
    let (ours, public) = signer(&sandbox);
    let secret = encryption_key(&sandbox);
    let keys = [("LARDER_SIGNING_KEY", ours.as_str()), ("LARDER_ENCRYPTION_KEY", secret.as_str())];
    for arguments in
        [&["-vv", "save", "--key", "k", "tree"][..], &["config"], &["-vv", "show", "k"]]
    {
        let run = with(&sandbox, &keys, arguments).ok();
        for hidden in [&ours, &secret] {
            assert!(!run.stdout.contains(hidden) && !run.stderr.contains(hidden), "{run:?}");
        }
    }
    let printed = with(&sandbox, &keys, &["keygen", "--public"]).ok().stdout;
    assert_eq!(printed.trim(), format!("LARDER_REQUIRE_SIGNATURE={public}"));
    let mistyped = &ours[..ours.len() - 1];
    let run = with(&sandbox, &[("LARDER_SIGNING_KEY", mistyped)], &SAVE).exits(2);
    assert!(!run.stderr.contains(mistyped), "{run:?}");
    run.says("error[L0118]").says("LARDER_SIGNING_KEY");
    with(&sandbox, &[("LARDER_SIGNING_KEY", &public)], &SAVE)
        .exits(2)
        .says("it is a public key, not a signing key");
    with(&sandbox, &[("LARDER_REQUIRE_SIGNATURE", &ours)], &RESTORE).exits(2);
    // Files, for those who mount secrets.
    let file = sandbox.work("ci.key");
    sandbox.larder(["keygen", "--encryption", "--output", "ci.key"]).ok();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    sandbox.larder(["keygen", "--output", "ci.key"]).exits(1).says("ci.key");
    with(&sandbox, &[("LARDER_ENCRYPTION_KEY_FILE", "ci.key")], &SAVE).ok();
    let restore = ["--json", "restore", "--key", "k", "--to", "from-file"];
    restored(with(&sandbox, &[("LARDER_ENCRYPTION_KEY_FILE", "ci.key")], &restore));
    with(&sandbox, &[("LARDER_ENCRYPTION_KEY_FILE", "none")], &SAVE).exits(2).says("none");
}

/// All bytes of all objects, unpacked where they are zstd frames in an envelope.
fn collect(directory: &Path, into: &mut Vec<u8>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, into);
            continue;
        }
        let bytes = fs::read(&path).unwrap();
        if let Some(frame) = bytes.get(48..).filter(|_| bytes.starts_with(b"larder")) {
            into.extend(zstd::decode_all(frame).unwrap_or_default());
        }
        into.extend(bytes);
    }
}
