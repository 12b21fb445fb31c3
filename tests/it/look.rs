//! `diff`, `du` and `report`: looking at what keys hold.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use serde_json::{Value, json};

use crate::cli::{said, sandbox};
use crate::support::{Noise, Sandbox, chmod, plant, set_mtime, write};

/// Gives everything the same time, as npm does: then times tell nothing.
fn forget_times(sandbox: &Sandbox, names: &[&str]) {
    names.iter().for_each(|name| set_mtime(sandbox.work(name), 499_162_500, 0));
}

/// The keys `one` and `two`, with every sort of change between them.
fn changed() -> Sandbox {
    let sandbox = sandbox();
    write(sandbox.work("tree/sub/twin"), "before");
    write(sandbox.work("tree/was/gone.js"), "gone");
    std::os::unix::fs::symlink("a.txt", sandbox.work("tree/other")).unwrap();
    for name in ["tree/sub/twin", "tree/was/gone.js"] {
        chmod(sandbox.work(name), 0o644);
    }
    chmod(sandbox.work("tree/was"), 0o755);
    forget_times(&sandbox, &["tree/a.txt", "tree/sub/twin", "tree/was/gone.js"]);
    sandbox.larder(["save", "--key", "one", "tree"]).ok();

    write(sandbox.work("tree/sub/twin"), "behind");
    write(sandbox.work("tree/sub/new.css"), "new");
    write(sandbox.work("tree/sub/b.bin"), Noise(2).bytes(300_000));
    fs::remove_dir_all(sandbox.work("tree/was")).unwrap();
    fs::remove_file(sandbox.work("tree/link")).unwrap();
    fs::create_dir(sandbox.work("tree/link")).unwrap();
    fs::remove_file(sandbox.work("tree/other")).unwrap();
    std::os::unix::fs::symlink("sub", sandbox.work("tree/other")).unwrap();
    for name in ["tree/sub/twin", "tree/sub/new.css"] {
        chmod(sandbox.work(name), 0o644);
    }
    chmod(sandbox.work("tree/a.txt"), 0o600);
    chmod(sandbox.work("tree/link"), 0o755);
    forget_times(&sandbox, &["tree/a.txt", "tree/sub/twin"]);
    sandbox.larder(["save", "--key", "two", "tree"]).ok();
    sandbox
}

/// Some of many small files change within their lengths: no manifest tells which.
#[test]
fn packs_decide_what_manifests_leave_open() {
    let sandbox = Sandbox::new();
    let name = |number: u32| format!("tree/{number:03}");
    let mut names: Vec<String> = (0..300).map(name).collect();
    let mut random = Noise(5);
    for (number, name) in names.iter().enumerate() {
        write(sandbox.work(name), random.bytes(10 + number * 7));
    }
    names.push("tree/large".to_owned());
    write(sandbox.work("tree/large"), Noise(6).bytes(900_000));
    let all: Vec<&str> = names.iter().map(String::as_str).collect();
    forget_times(&sandbox, &all);
    sandbox.larder(["save", "--key", "one", "tree"]).ok();
    let mut changed = BTreeSet::new();
    for number in [3, 77, 78, 150, 299] {
        let path = sandbox.work(name(number));
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        write(path, bytes);
        changed.insert(name(number));
    }
    forget_times(&sandbox, &all);
    sandbox.larder(["save", "--key", "two", "tree"]).ok();

    let diff = |more: &[&str]| {
        sandbox.larder(["--json", "diff", "one", "two"].iter().chain(more)).ok().json()
    };
    let unsure = diff(&[]);
    assert!(unsure["unsure"]["files"].as_u64().unwrap() > 20, "{}", unsure["unsure"]);
    let decided = diff(&["--read-data"]);
    assert_eq!(decided["unsure"]["files"], 0);
    let told = decided["changes"].as_array().unwrap().iter();
    let told: BTreeSet<String> =
        told.map(|change| change["path"].as_str().unwrap().to_owned()).collect();
    assert_eq!(told, changed);
    // Neighbours of a pack are fetched together: there are a few packs, and some fifty
    // chunks that are not shared.
    let gets = |diff: &Value| diff["requests"]["get"].as_u64().unwrap();
    let of_packs = gets(&decided) - gets(&unsure);
    assert!((2..=8).contains(&of_packs), "{of_packs}");
}

#[test]
fn differences_as_a_person_sees_them() {
    let sandbox = changed();
    let say = |arguments: &str| said(&sandbox, &sandbox.larder(arguments.split(' ')));
    insta::assert_snapshot!(say("diff one two"), @r#"
    M 2500 tree/a.txt (perhaps contents, mode 0644 -> 0600)
    M 0 tree/link (kind l -> d, mode 0777 -> 0755)
    M 0 tree/other (target a.txt -> sub)
    M 2500 tree/sub/again (perhaps contents, mode 0644 -> 0600)
    M 300000 tree/sub/b.bin (contents, 200000 -> 300000)
    + 3 tree/sub/new.css
    ? 6 tree/sub/twin (perhaps contents)
    - 0 tree/was
    - 4 tree/was/gone.js
    exit 0
    "#);
    insta::assert_snapshot!(say("diff one two --read-data"), @"
    M 2500 tree/a.txt (mode 0644 -> 0600)
    M 0 tree/link (kind l -> d, mode 0777 -> 0755)
    M 0 tree/other (target a.txt -> sub)
    M 2500 tree/sub/again (mode 0644 -> 0600)
    M 300000 tree/sub/b.bin (contents, 200000 -> 300000)
    + 3 tree/sub/new.css
    M 6 tree/sub/twin (contents)
    - 0 tree/was
    - 4 tree/was/gone.js
    exit 0
    ");
    insta::assert_snapshot!(say("diff two one --exit-code"), @r#"
    M 2500 tree/a.txt (perhaps contents, mode 0600 -> 0644)
    M 0 tree/link (kind d -> l, mode 0755 -> 0777)
    M 0 tree/other (target sub -> a.txt)
    M 2500 tree/sub/again (perhaps contents, mode 0600 -> 0644)
    M 200000 tree/sub/b.bin (contents, 300000 -> 200000)
    - 3 tree/sub/new.css
    ? 6 tree/sub/twin (perhaps contents)
    + 0 tree/was
    + 4 tree/was/gone.js
    exit 1
    "#);
    insta::assert_snapshot!(say("diff one two --stat"), @r#"
    added 1 file, N B
    removed 1 file and 1 other, N B
    changed 3 files and 2 others, N B
    perhaps 1 file, N B
    shared 0 chunks, N B stored
    gone 3 chunks, N B stored
    new 4 chunks, N B stored
    exit 0
    "#);
    insta::assert_snapshot!(say("diff one one --exit-code --times"), @"exit 0");
    insta::assert_snapshot!(say("diff one one --stat"), @r#"
    added 0 files, N B
    removed 0 files, N B
    changed 0 files, N B
    shared 3 chunks, N B stored
    gone 0 chunks, N B stored
    new 0 chunks, N B stored
    exit 0
    "#);
    insta::assert_snapshot!(say("diff none one"), @r#"
    2> there is no cache for none
    exit 3
    "#);
    insta::assert_snapshot!(say("diff none no-more --exit-code"), @r#"
    2> there is no cache for none
    2> there is no cache for no-more
    exit 3
    "#);
    insta::assert_snapshot!(say("--scope other diff one two"), @r#"
    2> there is no cache for one
    2> there is no cache for two
    exit 3
    "#);
}

#[test]
fn sizes_as_a_person_sees_them() {
    let sandbox = changed();
    let say = |arguments: &str| said(&sandbox, &sandbox.larder(arguments.split(' ')));
    insta::assert_snapshot!(say("du one"), @r#"
    raw stored files path
    N B N B 5 tree
    N B N B 3 tree/sub
    N B N B 1 tree/was
    N B N B 5 total
    exit 0
    "#);
    insta::assert_snapshot!(say("du one --depth 0"), @r#"
    raw stored files path
    N B N B 5 tree
    N B N B 5 total
    exit 0
    "#);
    insta::assert_snapshot!(say("du one --by extension -n 2"), @r#"
    raw stored files extension
    N B N B 1 .bin
    N B N B 1 .txt
    N B N B 5 total (2 of 4 shown)
    exit 0
    "#);
    insta::assert_snapshot!(say("du one --by file --top 0"), @r#"
    raw stored files path
    N B N B 1 tree/sub/b.bin
    N B N B 1 tree/a.txt
    N B N B 1 tree/was/gone.js
    N B N B 1 tree/sub/twin
    N B N B 5 total
    exit 0
    "#);
    insta::assert_snapshot!(say("du none"), @r#"
    2> there is no cache for none
    exit 3
    "#);
}

/// Terminals of 40 columns have room for the numbers and the end of a path.
#[test]
fn columns_are_narrow() {
    let sandbox = Sandbox::new();
    plant(&sandbox.work("tree"), 1200, 7);
    write(sandbox.work("tree/large"), Noise(3).bytes(12_000_000));
    sandbox.larder(["save", "--key", "k", "tree"]).ok();
    let shown = sandbox.larder(["du", "k", "-n", "6"]).ok().stdout;
    let lines: Vec<&str> = shown.lines().collect();
    assert_eq!(lines.len(), 8, "a title, six rows and the total: {shown}");
    let path = lines[0].find("path").unwrap();
    assert!(path <= 25, "{shown}");
    for line in &lines {
        let (numbers, name) = line.split_at(path);
        assert!(numbers.ends_with("  ") && !name.starts_with(' '), "not aligned: {shown}");
        assert_eq!(line.trim_end(), *line);
    }
    assert!(lines[1].ends_with("  tree"), "the whole comes first: {shown}");
}

/// A rebuilt tree whose files all are as they were, but for their times.
#[test]
fn times_count_only_if_asked() {
    let sandbox = sandbox();
    sandbox.larder(["save", "--key", "one", "tree"]).ok();
    set_mtime(sandbox.work("tree/sub/b.bin"), 1_000_000_000, 0);
    sandbox.larder(["save", "--key", "two", "tree"]).ok();
    let say = |arguments: &str| said(&sandbox, &sandbox.larder(arguments.split(' ')));
    insta::assert_snapshot!(say("diff one two --exit-code"), @"exit 0");
    insta::assert_snapshot!(say("diff one two --times"), @r#"
    M 200000 tree/sub/b.bin (time)
    exit 0
    "#);
}

/// Names can hold line ends and bytes that are no text; a line is a path all the same.
#[test]
fn odd_names_stay_on_their_lines() {
    let sandbox = sandbox();
    sandbox.larder(["save", "--key", "one", "tree"]).ok();
    write(sandbox.work("tree/odd\nname\x1b[2J/x.a\nb"), "1");
    write(sandbox.work(OsStr::from_bytes(b"tree/\xff\xfe.\xff")), "22");
    for name in
        [&b"tree/odd\nname\x1b[2J"[..], b"tree/odd\nname\x1b[2J/x.a\nb", b"tree/\xff\xfe.\xff"]
    {
        chmod(sandbox.work(OsStr::from_bytes(name)), 0o755);
    }
    sandbox.larder(["save", "--key", "two", "tree"]).ok();
    let say = |arguments: &str| said(&sandbox, &sandbox.larder(arguments.split(' ')));
    insta::assert_snapshot!(say("diff one two"), @r#"
    + 0 tree/odd\nname\u{1b}[2J
    + 1 tree/odd\nname\u{1b}[2J/x.a\nb
    + 2 tree/\xff\xfe.\xff
    exit 0
    "#);
    insta::assert_snapshot!(say("du two"), @r#"
    raw stored files path
    N B N B 5 tree
    N B N B 2 tree/sub
    N B N B 1 tree/odd\nname\u{1b}[2J
    N B N B 5 total
    exit 0
    "#);
    insta::assert_snapshot!(say("du two --by extension"), @r#"
    raw stored files extension
    N B N B 1 .bin
    N B N B 1 .txt
    N B N B 1 .\xff
    N B N B 1 .a\nb
    N B N B 1 (none)
    N B N B 5 total
    exit 0
    "#);
}

#[test]
fn values_for_programs() {
    let sandbox = changed();
    let json = |arguments: &str| {
        let run = sandbox.larder(["--json"].into_iter().chain(arguments.split(' ')));
        assert_eq!(run.stderr, "");
        run.json()
    };
    let diff = json("diff one two");
    assert_eq!((&diff["first"], &diff["second"]), (&json!("one"), &json!("two")));
    assert_eq!(diff["same"], false);
    assert_eq!(diff["requests"]["get"], 3, "the marker and two manifests: no pack is read");
    let change = |path: &str| -> Value {
        let changes = diff["changes"].as_array().unwrap();
        changes.iter().find(|change| change["path"] == path).unwrap().clone()
    };
    let mode = change("tree/a.txt");
    assert_eq!(mode["change"], "changed");
    assert_eq!(mode["what"], json!(["perhaps contents", "mode"]), "its neighbours changed");
    assert_eq!((&mode["before"]["mode"], &mode["after"]["mode"]), (&json!("0644"), &json!("0600")));
    let twin = change("tree/sub/twin");
    assert_eq!((&twin["change"], &twin["what"]), (&json!("unsure"), &json!(["perhaps contents"])));
    let new = change("tree/sub/new.css");
    assert_eq!((&new["before"], &new["after"]["size"]), (&Value::Null, &json!(3)));
    assert_eq!(change("tree/other")["after"]["target"], "sub");

    // What is new for the second key is what its save uploaded.
    let saved = json("save --key three tree --no-reuse --dry-run");
    let sum = &diff["shared_chunks"]["chunks"].as_u64().unwrap();
    assert_eq!(sum + diff["new_chunks"]["chunks"].as_u64().unwrap(), saved["chunks"]);
    assert_eq!(json("diff one none")["missing_keys"], json!(["none"]));
    assert_eq!(json("diff one one")["same"], true);

    let usage = json("du one --depth 9 -n 1");
    let shown = json("show one");
    for field in ["files", "raw_bytes", "stored_bytes"] {
        assert_eq!(usage[field], shown[field], "{field}");
        assert_eq!(usage["rows"][0][field], shown[field], "{field} of the only mount");
    }
    assert_eq!((&usage["rows"][0]["path"], &usage["rows_in_all"]), (&json!("tree"), &json!(3)));
    let extensions = json("du one --by extension");
    let names: BTreeSet<_> = extensions["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["extension"].as_str())
        .collect();
    assert_eq!(names, BTreeSet::from([None, Some("bin"), Some("js"), Some("txt")]));
}

#[test]
fn a_report_is_one_page_of_the_store() {
    let sandbox = changed();
    let run = sandbox.larder(["--json", "restore", "--key", "two", "--to", "there"]).ok();
    write(sandbox.work("runs.jsonl"), run.stdout + "{\"hit\":\n");
    let arguments = ["report", "--html", "page.html", "--runs", "runs.jsonl"];
    insta::assert_snapshot!(said(&sandbox, &sandbox.larder(arguments)), @r#"
    page.html: N B, of 2 caches (N s)
    2> warning: left out of the hit rates: runs.jsonl, line 2: EOF while parsing a value (column 7)
    exit 0
    "#);
    let page = fs::read_to_string(sandbox.work("page.html")).unwrap();
    for part in ["<h1>larder report</h1>", ">sub</span>", "100.0\u{202f}%", "default-src 'none'"] {
        assert!(page.replace("&#x27;", "'").contains(part), "{part}");
    }
    // Nothing else is left beside it, and an older page is replaced.
    let arguments = ["--json", "report", "--html", "page.html", "--all-scopes", "--top", "0"];
    let told = sandbox.larder(arguments).ok().json();
    let counted = sandbox.larder(["--json", "stats"]).ok().json();
    for field in ["raw_bytes", "unique_bytes", "stored_bytes", "packs", "pack_bytes"] {
        assert_eq!(told[field], counted[field], "{field}");
    }
    assert_eq!(told["caches"], json!(2));
    let len = fs::metadata(sandbox.work("page.html")).unwrap().len();
    assert!(told["html_bytes"] == json!(len) && len < page.len() as u64);
    let hidden = fs::read_dir(sandbox.work(".")).unwrap();
    let hidden = hidden.filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().starts_with(".larder-report")
    });
    assert_eq!(hidden.count(), 0);
    insta::assert_snapshot!(
        said(&sandbox, &sandbox.larder(["report", "--html", "none/page.html"])), @"
    2> error[L0407]: cannot write none/page.html: No such file or directory (os error 2)
    exit 1
    ");
    insta::assert_snapshot!(
        said(&sandbox, &sandbox.larder(["report", "--html", "p", "--runs", "none.jsonl"])), @"
    2> error[L0407]: cannot read none.jsonl: No such file or directory (os error 2)
    exit 1
    ");
}
