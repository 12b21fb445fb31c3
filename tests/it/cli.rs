//! What people and programs see: summaries, JSON, errors with hints, exit codes.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::support::{Noise, Run, Sandbox, run, write};

/// A text without what differs from run to run: sizes of what is compressed,
/// times, ids, the sandbox's place, and the padding that goes with them.
fn steady(sandbox: &Sandbox, text: &str) -> String {
    let top = sandbox.path("");
    let text = text.replace(top.to_str().unwrap().trim_end_matches('/'), "TOP");
    let mut lines = vec![];
    for line in text.lines() {
        let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
        let mut steady: Vec<String> = vec![];
        for (at, word) in words.iter().enumerate() {
            let unit =
                words.get(at + 1).map_or("", |next| next.trim_end_matches([',', ':', ';', ')']));
            let is_number = word.trim_start_matches('(').parse::<f64>().is_ok();
            let is_ulid = word.trim_matches(',').len() == 26
                && word
                    .trim_matches(',')
                    .bytes()
                    .all(|b| b.is_ascii_digit() || b.is_ascii_uppercase());
            steady.push(
                if is_number && ["s", "B", "kB", "MB", "second", "seconds"].contains(&unit) {
                    let open = if word.starts_with('(') { "(" } else { "" };
                    format!("{open}N")
                } else if is_ulid {
                    "ULID".to_owned()
                } else {
                    (*word).to_owned()
                },
            );
        }
        let line = steady.join(" ");
        let line = line.replace("N kB", "N B").replace("N MB", "N B");
        lines.push(line.replace("N second ", "N seconds "));
    }
    lines.join("\n")
}

pub(crate) fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    write(sandbox.work("tree/a.txt"), "text ".repeat(500));
    write(sandbox.work("tree/sub/b.bin"), Noise(1).bytes(200_000));
    fs::hard_link(sandbox.work("tree/a.txt"), sandbox.work("tree/sub/again")).unwrap();
    std::os::unix::fs::symlink("a.txt", sandbox.work("tree/link")).unwrap();
    for name in ["tree/a.txt", "tree/sub/b.bin"] {
        crate::support::chmod(sandbox.work(name), 0o644);
    }
    for name in ["tree", "tree/sub"] {
        crate::support::chmod(sandbox.work(name), 0o755);
    }
    std::thread::sleep(std::time::Duration::from_millis(50));
    sandbox
}

/// stdout and stderr of a run, told apart.
pub(crate) fn said(sandbox: &Sandbox, run: &Run) -> String {
    let code = run.code.unwrap();
    let err = steady(sandbox, &run.stderr);
    let err: String = err.lines().map(|line| format!("2> {line}\n")).collect();
    format!("{}\n{err}exit {code}", steady(sandbox, &run.stdout)).trim_start().to_owned()
}

#[test]
fn a_session_as_a_person_sees_it() {
    let sandbox = sandbox();
    let say = |arguments: &str| said(&sandbox, &sandbox.larder(arguments.split(' ')));
    insta::assert_snapshot!(say("list"), @"exit 0");
    insta::assert_snapshot!(say("restore --key npm-1"), @r#"
    there is no cache for npm-1 (N s)
    exit 0
    "#);
    insta::assert_snapshot!(say("lookup --key npm-1"), @r#"
    miss
    exit 3
    "#);
    insta::assert_snapshot!(say("save --key npm-1 --dry-run tree"), @r#"
    would save npm-1: 3 files, N B
    would upload N B (3 new chunks of N B), reused 0 of 3 chunks, N s
    exit 0
    "#);
    insta::assert_snapshot!(say("save --key npm-1 tree"), @r#"
    saved npm-1: 3 files, N B
    uploaded N B (3 new chunks of N B), reused 0 of 3 chunks, N s
    exit 0
    "#);
    insta::assert_snapshot!(say("save --key npm-1 tree"), @r#"
    npm-1 is unchanged: 3 files, N B
    nothing was uploaded, no file read, N s
    exit 0
    "#);
    insta::assert_snapshot!(say("save --key npm-1 --if-absent tree"), @r#"
    npm-1 exists already; nothing was saved (N s)
    exit 0
    "#);
    insta::assert_snapshot!(say("rebuild --key npm-2 tree"), @r#"
    saved npm-2: 3 files, N B
    uploaded N B (0 new chunks of N B), reused 3 of 3 chunks, N s
    exit 0
    "#);
    insta::assert_snapshot!(say("lookup --key npm-1"), @r#"
    exact npm-1
    exit 0
    "#);
    insta::assert_snapshot!(say("lookup --key npm-9 --restore-key pip- --restore-key npm-"), @r#"
    prefix npm-2
    exit 0
    "#);
    insta::assert_snapshot!(say("restore --key npm-1"), @r#"
    restored npm-1: 3 files, N B
    fetched N B, 3 in place already, N s
    exit 0
    "#);
    insta::assert_snapshot!(say("restore --key npm-9 --restore-key npm- --to out"), @r#"
    restored npm-2 (the newest for a prefix; npm-9 is not there): 3 files, N B
    fetched N B, 0 in place already, N s
    exit 0
    "#);
    write(sandbox.work("tree/extra"), "x");
    insta::assert_snapshot!(say("restore --key npm-1 --delete-extra tree"), @r#"
    restored npm-1: 3 files, N B
    fetched N B, 3 in place already, removed 1 extra entry, N s
    exit 0
    "#);
    insta::assert_snapshot!(say("list"), @r#"
    N seconds ago npm-2
    N seconds ago npm-1
    exit 0
    "#);
    insta::assert_snapshot!(say("list npm-2 --all-scopes"), @r#"
    N seconds ago default npm-2
    exit 0
    "#);
    insta::assert_snapshot!(say("show npm-1 --files"), @r#"
    key npm-1
    scope default
    writer larder 0.1.0
    contents 3 files, N B
    stored N B in 3 chunks of 1 pack
    mount tree (6 entries)
    d 0755 0 tree
    f 0644 2500 tree/a.txt
    l 0777 0 tree/link -> a.txt
    d 0755 0 tree/sub
    h 0644 2500 tree/sub/again = tree/a.txt
    f 0644 200000 tree/sub/b.bin
    exit 0
    "#);
    insta::assert_snapshot!(say("verify"), @r#"
    checked 2 caches, 1 pack, 3 chunks, N s: no problem found
    exit 0
    "#);
    insta::assert_snapshot!(say("verify --read-data npm-1 npm-9"), @r#"
    not there: npm-9
    checked 1 cache, 1 pack, 3 chunks, N B read, N s: no problem found
    exit 3
    "#);
    insta::assert_snapshot!(say("stats"), @r#"
    raw stored only here files key
    N B N B N B 3 npm-1
    N B N B N B 3 npm-2
    2 caches: N B in files, N B unique, N B stored
    deduplication 2.00, compression 1.01; 1 pack with N B, of which N B unreferenced
    exit 0
    "#);
    insta::assert_snapshot!(say("delete --prefix npm-"), @r#"
    deleted npm-1
    deleted npm-2
    2 caches deleted
    exit 0
    "#);
    insta::assert_snapshot!(say("delete npm-1"), @r#"
    0 caches deleted
    exit 0
    "#);
    insta::assert_snapshot!(say("show npm-1"), @r#"
    2> there is no cache for npm-1
    exit 3
    "#);
    insta::assert_snapshot!(say("-q save --key npm-1 tree"), @"exit 0");
    insta::assert_snapshot!(say("-v restore --key npm-1"), @r#"
    restored npm-1: 3 files, N B
    fetched N B, 3 in place already, N s
    2> requests: 2 get, 0 put, 0 head, 0 list, 0 delete; N B read, N B written
    exit 0
    "#);
}

#[test]
fn mistakes_have_hints() {
    let sandbox = sandbox();
    sandbox.larder(["save", "--key", "k", "tree"]).ok();
    write(sandbox.path("other/file"), "something else");
    write(sandbox.path("file"), "no directory");
    let say = |arguments: &str| said(&sandbox, &sandbox.larder(arguments.split(' ')));
    let at = |store: &str, arguments: &str| {
        let mut command = sandbox.command(arguments.split(' '));
        said(&sandbox, &run(command.env("LARDER_STORE", sandbox.path(store))))
    };
    insta::assert_snapshot!(say("save --key k nowhere"), @r#"
    2> error[L0401]: there is nothing to save at TOP/work/nowhere
    2> hint: make it before the save; `larder save --allow-missing` saves what is there
    exit 1
    "#);
    insta::assert_snapshot!(say("save --key k --exclude [z-a] tree"), @r#"
    2> error[L0109]: invalid value "[z-a]" for --exclude: error parsing glob '[z-a]': invalid range; 'z' > 'a'
    2> hint: write it as in a .gitignore, such as '*.log' or '/target'
    exit 2
    "#);
    insta::assert_snapshot!(say("restore --key k elsewhere"), @r#"
    2> error[L0403]: the cache k holds nothing at elsewhere
    2> hint: it holds tree
    exit 1
    "#);
    insta::assert_snapshot!(say("restore --key gone --fail-on-miss"), @r#"
    there is no cache for gone (N s)
    exit 3
    "#);
    insta::assert_snapshot!(say("restore --key k --to /proc/nowhere"), @r#"
    2> error[L0407]: cannot create /proc/nowhere: No such file or directory (os error 2)
    exit 1
    "#);
    insta::assert_snapshot!(say("--store ftp://host/path list"), @r#"
    2> error[L0112]: unknown scheme "ftp" of a store
    2> hint: known: file, s3 (a directory of this name is written ./ftp:…)
    exit 2
    "#);
    insta::assert_snapshot!(at("other", "save --key k tree"), @r#"
    2> error[L0604]: TOP/other is not empty and is not a larder store (it has file)
    2> hint: choose an empty or new place, or an existing larder store
    exit 11
    "#);
    insta::assert_snapshot!(at("other", "list"), @"exit 0");
    insta::assert_snapshot!(at("file", "save --key k tree"), @r#"
    2> error[L0506]: open TOP/file: TOP/file: not a directory
    2> hint: check that the store's directory is there, and its disk or mount sound
    exit 5
    "#);
    insta::assert_snapshot!(say("save tree"), @"
    2> error[L0108]: no key is given
    2> hint: give --key, or name=… in --store; or run larder in a repository with a larder.toml, which `larder init` writes
    exit 2
    ");
    insta::assert_snapshot!(say("delete"), @r#"
    2> error[L0104]: the following required arguments were not provided:
    2> <KEY|--prefix <PREFIX>>
    2> 
    2> Usage: larder delete --store <LOCATION> <KEY|--prefix <PREFIX>>
    2> 
    2> For more information, try '--help'.
    exit 2
    "#);
    insta::assert_snapshot!(say("--scope  list"), @r#"
    2> error[L0106]: invalid value '' for '--scope <SCOPE>': invalid scope "": it is empty
    2> 
    2> For more information, try '--help'.
    exit 2
    "#);
}

/// A store that another larder made is not touched.
#[test]
fn stores_of_other_versions_are_refused() {
    let sandbox = sandbox();
    sandbox.larder(["save", "--key", "k", "tree"]).ok();
    let marker = sandbox.store().join("format");
    crate::support::chmod(&marker, 0o644);
    let good = fs::read_to_string(&marker).unwrap();
    let set = |pointer: &str, value: Value| {
        let mut marker_json: Value = serde_json::from_str(&good).unwrap();
        *marker_json.pointer_mut(pointer).unwrap() = value;
        fs::write(&marker, marker_json.to_string()).unwrap();
    };
    let say = |arguments: &str| said(&sandbox, &sandbox.larder(arguments.split(' ')));
    set("/larder", 2.into());
    insta::assert_snapshot!(say("restore --key k --to out"), @r#"
    2> error[L0602]: cannot use the store file://TOP/store?sync=never: the store has format version 2; this larder reads version 1
    2> hint: update larder here, or start a new store elsewhere
    exit 11
    "#);
    set("/chunking/bundle_target", 65_536.into());
    insta::assert_snapshot!(say("save --key k tree"), @r#"
    2> error[L0603]: cannot use the store file://TOP/store?sync=never: the store's chunking is {"version":1,"large_file":131072,"bundle_target":65536,"fastcdc":[32768,131072,524288]}; this larder uses {"version":1,"large_file":131072,"bundle_target":262144,"fastcdc":[32768,131072,524288]}
    2> hint: use the larder version that made this store, or start a new store elsewhere
    exit 11
    "#);
    set("/store", "not an id".into());
    insta::assert_snapshot!(say("list"), @r#"
    2> error[L0601]: cannot use the store file://TOP/store?sync=never: the format marker is not larder's: the store's id is not a ULID
    2> hint: if this is the right place, `larder verify --repair` mends it; if another program wrote there, choose another place
    exit 11
    "#);
    let before = crate::support::contents(&sandbox.store());
    for arguments in [
        "lookup --key k",
        "show k",
        "diff k k",
        "du k",
        "verify",
        "stats",
        "delete k",
        "save --key k tree --dry-run",
    ] {
        sandbox.larder(arguments.split(' ')).exits(11);
    }
    assert_eq!(crate::support::contents(&sandbox.store()), before);
}

fn keys(value: &Value) -> Vec<String> {
    let mut keys: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
    keys.sort();
    keys
}

/// The JSON is an interface: its fields stay.
#[test]
fn json_fields() {
    let sandbox = sandbox();
    let fields = |arguments: &str| {
        let run = sandbox.larder(["--json"].into_iter().chain(arguments.split(' ')));
        assert_eq!(run.stderr, "", "messages are no part of a good run");
        keys(&run.json()).join(" ")
    };
    insta::assert_snapshot!(fields("save --key k tree"), @"already_there chunks command dry_run files files_read key new_chunks new_raw_bytes packs_written raw_bytes requests reused_chunks scope seconds time unchanged uploaded_bytes");
    insta::assert_snapshot!(fields("restore --key k"), @"command fetched_bytes files files_compared files_unchanged hit key local_cache_bytes matched_scope raw_bytes removed requests scope seconds stored_bytes time unchanged_bytes wanted");
    insta::assert_snapshot!(fields("restore --key none"), @"command fetched_bytes files files_compared files_unchanged hit key local_cache_bytes matched_scope raw_bytes removed requests scope seconds stored_bytes time unchanged_bytes wanted");
    insta::assert_snapshot!(fields("lookup --key k"), @"hit key matched_scope requests scope");
    insta::assert_snapshot!(fields("list"), @"caches requests");
    insta::assert_snapshot!(fields("show k"), @"chunks created encryption_key entries files hit key mounts packs pinned raw_bytes same_names saved scope signed_by stored_bytes ttl writer");
    insta::assert_snapshot!(fields("show k --files"), @"chunks created encryption_key entries files hit key mounts packs pinned raw_bytes same_names saved scope signed_by stored_bytes tree ttl writer");
    insta::assert_snapshot!(fields("show none"), @"hit key scope");
    insta::assert_snapshot!(fields("diff k k"), @"added changed changes first gone_chunks new_chunks removed requests same scope second shared_chunks unsure");
    insta::assert_snapshot!(fields("diff k k --stat"), @"added changed first gone_chunks new_chunks removed requests same scope second shared_chunks unsure");
    insta::assert_snapshot!(fields("diff k none"), @"missing_keys scope");
    insta::assert_snapshot!(fields("du k"), @"by files hit key raw_bytes requests rows rows_in_all scope stored_bytes");
    insta::assert_snapshot!(fields("du none"), @"hit key scope");
    insta::assert_snapshot!(fields("stats"), @"chunks compression_ratio damaged dedup_ratio keys pack_bytes packs raw_bytes requests stored_bytes unique_bytes unreferenced_bytes");
    insta::assert_snapshot!(fields("verify --read-data"), @"chunks closed_manifests closed_packs damaged manifests missing_keys packs problems read_bytes repaired requests seconds");
    insta::assert_snapshot!(fields("delete k"), @"deleted requests scope");
}

#[test]
fn json_values() {
    let sandbox = sandbox();
    let json = |arguments: &str, code: i32| {
        let run = sandbox.larder(["--json"].into_iter().chain(arguments.split(' ')));
        run.exits(code).json()
    };
    let saved = json("save --key k-1 tree", 0);
    assert_eq!((&saved["files"], &saved["raw_bytes"]), (&3.into(), &202_500.into()));
    assert_eq!((&saved["chunks"], &saved["new_chunks"]), (&3.into(), &3.into()));
    assert_eq!((&saved["unchanged"], &saved["reused_chunks"]), (&false.into(), &0.into()));
    assert_eq!(saved["requests"]["put"], 4, "marker, pack, manifest, delta");
    assert!(saved["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(json("lookup --key k-1", 0)["hit"], "exact");
    let prefix = json("lookup --key k-2 --restore-key k-", 0);
    assert_eq!((&prefix["hit"], &prefix["key"]), (&"prefix".into(), &"k-1".into()));
    assert_eq!(json("lookup --key none", 3)["hit"], "miss");
    assert_eq!(json("restore --key none", 0)["hit"], "miss");
    assert_eq!(json("restore --key none --fail-on-miss", 3)["key"], Value::Null);
    assert_eq!(json("list", 0)["caches"][0]["key"], "k-1");
    assert_eq!(json("list other", 0)["caches"], serde_json::json!([]));
    assert_eq!(json("show k-1 --files", 0)["tree"].as_array().unwrap().len(), 6);
    assert_eq!(json("stats", 0)["keys"][0]["files"], 3);
    assert_eq!(json("verify none", 3)["missing_keys"], serde_json::json!(["none"]));
    assert_eq!(json("delete k-1", 0)["deleted"], serde_json::json!(["k-1"]));
    assert_eq!(json("delete k-1", 0)["deleted"], serde_json::json!([]));
    let error = json("save --key k nowhere", 1);
    assert!(error["error"].as_str().unwrap().contains("nowhere"));
    assert_eq!((&error["exit_code"], &error["code"]), (&1.into(), &"L0401".into()));
}

/// Restore keys are tried in order, and of each the newest key counts.
#[test]
fn restore_keys_in_order() {
    let sandbox = sandbox();
    for key in ["npm-a", "npm-b", "pip-a", "npm-c"] {
        write(sandbox.work("tree/which"), key);
        sandbox.larder(["save", "--key", key, "tree"]).ok();
        std::thread::sleep(std::time::Duration::from_millis(15));
    }
    let check = |key: &str, prefixes: &[&str], found: &str, hit: &str| {
        let mut arguments = vec!["--json", "restore", "--to", "out", "--key", key];
        prefixes.iter().for_each(|prefix| arguments.extend(["--restore-key", prefix]));
        let report = sandbox.larder(&arguments).ok().json();
        assert_eq!((&report["hit"], &report["key"]), (&hit.into(), &found.into()));
        assert_eq!(fs::read_to_string(sandbox.work("out/tree/which")).unwrap(), found);
    };
    check("npm-a", &["npm-"], "npm-a", "exact");
    check("npm-z", &["npm-"], "npm-c", "prefix");
    check("npm-z", &["none-", "pip-", "npm-"], "pip-a", "prefix");
    check("npm-z", &["npm-b", "npm-"], "npm-b", "prefix");
}

#[test]
fn help_tells_every_exit_code() {
    let sandbox = Sandbox::new();
    let help = sandbox.larder(["--help"]).ok();
    for code in ["0", "1", "2", "3", "4", "5", "130"] {
        let told =
            help.stdout.lines().any(|line| line.trim_start().starts_with(&format!("{code} ")));
        assert!(told, "{code} is not told: {}", help.stdout);
    }
    assert_eq!(help.stderr, "");
    sandbox.larder(["--version"]).ok();
    sandbox.larder(["no-such-command"]).exits(2);
}

#[test]
fn keys_are_made_of_templates() {
    let sandbox = Sandbox::new();
    write(sandbox.work("a/go.sum"), "a");
    write(sandbox.work("b/go.sum"), "b");
    let template = r#"go-{{ hash("**/go.sum") }}"#;
    insta::assert_snapshot!(said(&sandbox, &sandbox.larder(["key", template, "plain"])), @"
    go-91714961026842d7
    plain
    exit 0
    ");
    insta::assert_snapshot!(said(&sandbox, &sandbox.larder(["key", "--explain", template])), @r#"
    go-91714961026842d7
    "go-"
    {{ hash("**/go.sum") }} = "91714961026842d7"
    91714961026842d7 of 2 files:
    17762fddd969a453925d65717ac3eea21320b66b54342fde15128d6caf21215f a/go.sum
    10e5cf3d3c8a4f9f3468c8cc58eea84892a22fdadbc1acb22410190044c1d553 b/go.sum
    exit 0
    "#);
    insta::assert_snapshot!(sandbox.larder(["--json", "key", template]).ok().stdout, @r#"{"template":"go-{{ hash(\"**/go.sum\") }}","key":"go-91714961026842d7","parts":[{"kind":"text","value":"go-"},{"kind":"expression","source":"hash(\"**/go.sum\")","value":"91714961026842d7","hashes":[{"globs":["**/go.sum"],"hash":"91714961026842d7","files":[{"path":"a/go.sum","hash":"17762fddd969a453925d65717ac3eea21320b66b54342fde15128d6caf21215f"},{"path":"b/go.sum","hash":"10e5cf3d3c8a4f9f3468c8cc58eea84892a22fdadbc1acb22410190044c1d553"}]}]}]}"#);
    // All or nothing.
    let mistyped = sandbox.larder(["key", "plain", "{{ brnch }}"]);
    insta::assert_snapshot!(said(&sandbox, &mistyped), @r#"
    2> error[L0301]: invalid key template: unknown name "brnch"
    2> {{ brnch }}
    2> ^^^^^
    2> hint: did you mean branch?
    exit 2
    "#);
    // What has nothing to do with a store needs none.
    let mut command = sandbox.command(["key", "--store", "gopher://x", "plain"]);
    run(command.env_remove("HOME").env_remove("XDG_CACHE_HOME")).ok();
    // A file that root cannot read either: nothing is at the address 0.
    if cfg!(target_os = "linux") {
        fs::remove_file(sandbox.work("a/go.sum")).unwrap();
        std::os::unix::fs::symlink("/proc/self/mem", sandbox.work("a/go.sum")).unwrap();
        let unreadable = sandbox.larder(["key", template]).exits(1);
        assert!(unreadable.stderr.contains("error[L0407]: cannot read"), "{}", unreadable.stderr);
    }
}

#[test]
fn colors_are_for_terminals() {
    let sandbox = Sandbox::new();
    let plain = sandbox.larder(["save", "--key", "k", "nowhere"]).exits(1);
    assert!(!plain.stderr.contains('\x1b'));
    let bright = sandbox.larder(["--color", "always", "save", "--key", "k", "nowhere"]).exits(1);
    assert!(bright.stderr.contains('\x1b'));
}

/// Whoever reads only the beginning of a list closes the pipe.
#[test]
fn a_closed_pipe_is_no_error() {
    let sandbox = sandbox();
    sandbox.larder(["save", "--key", "k", "tree"]).ok();
    let larder = env!("CARGO_BIN_EXE_larder");
    let script = format!("'{larder}' show k --files | true; exit ${{PIPESTATUS[0]}}");
    let mut shell = Command::new("bash");
    for (name, value) in sandbox.command(["list"]).get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    run(shell.args(["-c", &script]).current_dir(sandbox.path("work"))).ok();
}

#[test]
fn threads_do_not_change_what_is_stored() {
    let sandbox = Sandbox::new();
    crate::support::plant(&sandbox.work("tree"), 200, 51);
    let save = |threads: &str, key: &str| {
        let arguments =
            ["--json", "--threads", threads, "save", "--no-stat-record", "--key", key, "tree"];
        sandbox.larder(arguments).ok().json()
    };
    let one = save("1", "one");
    let many = save("7", "many");
    assert_eq!(one["chunks"], many["chunks"]);
    assert_eq!(many["new_chunks"], 0);
}
