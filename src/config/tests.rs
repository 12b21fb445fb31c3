//! What a file says, and what is said of one that says it wrongly.

use super::*;

/// A file that lies in `/repo`, of whose user `/home/ci` is the home directory.
pub(super) fn read(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, Path::new(FILE_NAME), "/repo".into(), Some(Path::new("/home/ci")))
}

/// What a person is told of a file.
fn told(text: &str) -> String {
    let error = read(text).map(drop).expect_err("the file is wrong");
    match error.hint() {
        Some(hint) => format!("error: {error}\nhint: {hint}"),
        None => format!("error: {error}"),
    }
}

const NPM: &str = "\
[cache.npm]
key = 'npm-{{ os }}'
paths = [\"node_modules\"]
";

#[test]
fn everything_is_read() {
    let config = read(
        r#"
store = "caches"
scope = "org/repo"
local-cache = "chunks:20GB"
threads = 4
timeout = "10m"
ignore-error = true

[cache.b]
key = "b"
restore-keys = ["b-"]
paths = ["b", "~/.b"]
exclude = ["*.log"]
ttl = "3d"
compression-level = 9
if-absent = true
allow-missing = true
skip-unreadable = true
check-packs = true
owner = true
xattrs = true
setuid = true
delete-extra = true

[cache.a]
key = "a"
paths = ["a"]
pin = true
"#,
    )
    .unwrap();
    let store = StoreLocation::directory("/repo/caches".into());
    assert_eq!(config.store, Some(Written { value: store, line: 2 }));
    let local_cache = TierLocation { directory: "/repo/chunks".into(), size: 20_000_000_000 };
    assert_eq!(config.local_cache, Some(Written { value: local_cache, line: 4 }));
    assert_eq!(config.threads.map(|it| (it.value.get(), it.line)), Some((4, 5)));
    assert_eq!(config.timeout.map(|it| it.value.as_secs()), Some(600));
    assert_eq!(config.ignore_error.map(|it| it.value), Some(true));
    let [b, a] = config.caches.as_slice() else { panic!("two caches, in the file's order") };
    assert_eq!((b.name.as_str(), a.name.as_str()), ("b", "a"));
    assert_eq!(b.key, Written { value: "b".into(), line: 10 });
    let values = |list: &[Written<String>]| -> Vec<String> {
        list.iter().map(|it| it.value.clone()).collect()
    };
    assert_eq!(values(&b.restore_keys), ["b-"]);
    assert_eq!(values(&b.paths), ["b", "~/.b"]);
    assert_eq!(values(&b.exclude), ["*.log"]);
    assert_eq!(b.lifetime, larder::format::Lifetime::For(Duration::from_secs(3 * 86_400)));
    assert_eq!(a.lifetime, larder::format::Lifetime::Pinned);
    assert_eq!(b.compression_level, Some(9));
    assert!(b.flags().iter().all(|(_, is_set)| *is_set));
    assert!(!a.flags().iter().any(|(_, is_set)| *is_set));
}

#[test]
fn caches_are_chosen_by_name() {
    let config = read(&format!("{NPM}{}", NPM.replace("npm", "pip"))).unwrap();
    let names = |wanted: &[&str]| -> Vec<String> {
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        config.choose(&wanted).unwrap().iter().map(|cache| cache.name.clone()).collect()
    };
    assert_eq!(names(&[]), ["npm", "pip"]);
    assert_eq!(names(&["pip"]), ["pip"]);
    assert_eq!(names(&["pip", "npm", "pip"]), ["npm", "pip"]);
}

/// Each is a way to mistype a file, and what is said of it.
#[test]
fn mistakes_are_shown_with_what_was_meant() {
    insta::assert_snapshot!(told("scop = \"org/repo\"\n"), @r#"
    error: larder.toml:1: unknown setting "scop"
      1 | scop = "org/repo"
        | ^^^^
    hint: did you mean "scope"?
    "#);
    insta::assert_snapshot!(told(&format!("{NPM}restore_keys = [\"npm-\"]\n")), @r#"
    error: larder.toml:4: unknown setting "restore_keys" of [cache.npm]
      4 | restore_keys = ["npm-"]
        | ^^^^^^^^^^^^
    hint: did you mean "restore-keys"?
    "#);
    insta::assert_snapshot!(told("[npm]\nkey = \"npm\"\n"), @r#"
    error: larder.toml:1: unknown setting "npm"
      1 | [npm]
        |  ^^^
    hint: a cache is written [cache.npm]
    "#);
    insta::assert_snapshot!(told("[caches.npm]\nkey = \"npm\"\n"), @r#"
    error: larder.toml:1: unknown setting "caches"
      1 | [caches.npm]
        |  ^^^^^^
    hint: did you mean [cache.NAME]?
    "#);
    insta::assert_snapshot!(told("key = \"npm\"\n"), @r#"
    error: larder.toml:1: unknown setting "key"
      1 | key = "npm"
        | ^^^
    hint: key is a setting of one cache: write it below a [cache.NAME]
    "#);
    insta::assert_snapshot!(told(&format!("{NPM}store = \"s3://b\"\n")), @r#"
    error: larder.toml:4: unknown setting "store" of [cache.npm]
      4 | store = "s3://b"
        | ^^^^^
    hint: store is for all caches: write it above the first [cache.NAME]
    "#);
    insta::assert_snapshot!(told("[cache.npm]\npaths = [\"node_modules\"]\n"), @r#"
    error: larder.toml:1: [cache.npm] has no key
      1 | [cache.npm]
        |        ^^^
    hint: write key = 'npm-{{ os }}-{{ hash("**/package-lock.json") }}'
    "#);
    insta::assert_snapshot!(told("[cache.npm]\nkey = \"npm\"\npaths = \"node_modules\"\n"), @r#"
    error: larder.toml:3: paths must be a list of texts, and is a text
      3 | paths = "node_modules"
        |         ^^^^^^^^^^^^^^
    hint: write it as paths = ["node_modules"]
    "#);
    insta::assert_snapshot!(told("timeout = 10\n"), @r#"
    error: larder.toml:1: timeout must be a text, and is a number
      1 | timeout = 10
        |           ^^
    hint: write it as timeout = "10m"
    "#);
    insta::assert_snapshot!(told("timeout = \"10 parsecs\"\n"), @r#"
    error: larder.toml:1: invalid value of timeout: unknown time unit "parsecs", supported units: ns, us/µs, ms, sec, min, hours, days, weeks, months, years (and few variations); write it as 90s, 10m, 1h30m or 14d
      1 | timeout = "10 parsecs"
        |           ^^^^^^^^^^^^
    "#);
    insta::assert_snapshot!(told("store = \"s3://bucket?regoin=eu-west-1\"\n"), @r#"
    error: larder.toml:1: invalid value of store: unknown word "regoin" in the store's location
      1 | store = "s3://bucket?regoin=eu-west-1"
        |         ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    hint: did you mean "region"?
    "#);
    insta::assert_snapshot!(told("scope = org/repo\n"), @r#"
    error: larder.toml:1: string values must be quoted, expected literal string
      1 | scope = org/repo
        |         ^^^^^^^^
    "#);
    insta::assert_snapshot!(told(&format!("{NPM}compression-level = 20\n")), @r#"
    error: larder.toml:4: compression-level must be from 1 to 19
      4 | compression-level = 20
        |                     ^^
    "#);
    insta::assert_snapshot!(told(&format!("{NPM}pin = true\nttl = \"3d\"\n")), @r#"
    error: larder.toml:5: ttl says when the cache may be removed, and pin that it may not
      5 | ttl = "3d"
        |       ^^^^
    hint: leave one of them out
    "#);
    insta::assert_snapshot!(told("[cache]\nkey = \"npm\"\n"), @r#"
    error: larder.toml:2: key is a setting of one cache, and this has no name
      2 | key = "npm"
        | ^^^
    hint: write it below a [cache.NAME]
    "#);
    insta::assert_snapshot!(told("[cache.\"my cache\"]\nkey = \"npm\"\n"), @r#"
    error: larder.toml:1: "my cache" cannot name a cache
      1 | [cache."my cache"]
        |        ^^^^^^^^^^
    hint: use letters, digits, `-`, `_` and `.`
    "#);
    insta::assert_snapshot!(told(&format!("{NPM}{NPM}")), @r#"
    error: larder.toml:4: duplicate key
      4 | [cache.npm]
        |        ^^^
    hint: a [cache.NAME] and each of its settings stand there once
    "#);
    insta::assert_snapshot!(told("threads = 0\n"), @r#"
    error: larder.toml:1: threads must be 1 or more
      1 | threads = 0
        |           ^
    "#);
}

#[test]
fn a_name_that_no_cache_has_is_told_with_those_that_are() {
    let config = read(&format!("{NPM}{}", NPM.replace("npm", "pip"))).unwrap();
    let hint = |name: &str| config.choose(&[name.to_owned()]).unwrap_err().hint().unwrap();
    assert_eq!(hint("nmp"), "did you mean \"npm\"?");
    assert!(hint("node_modules").contains("it has npm, pip;"));
    let empty = read("scope = \"a\"\n").unwrap();
    insta::assert_snapshot!(
        empty.choose(&[]).unwrap_err(),
        @"larder.toml has no caches"
    );
}

#[test]
fn the_nearest_file_within_the_repository_counts() {
    let top = tempfile::tempdir().unwrap();
    let make = |path: &str| {
        let path = top.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, "").unwrap();
        path
    };
    let check = |directory: &str, file: Option<&Path>| {
        assert_eq!(find(&top.path().join(directory)).as_deref(), file, "{directory}");
    };
    let outer = make("larder.toml");
    make("repo/.git/HEAD");
    make("repo/src/main.rs");
    // What lies above a repository may be anyone's.
    check("repo/src", None);
    check("repo", None);
    check("", Some(&outer));
    std::fs::create_dir_all(top.path().join("no/repository")).unwrap();
    check("no/repository", None);
    let inner = make("repo/larder.toml");
    check("repo/src", Some(&inner));
    check("repo", Some(&inner));
}

#[test]
fn paths_of_the_file_are_relative_to_it() {
    let top = tempfile::tempdir().unwrap();
    let top = top.path().canonicalize().unwrap();
    std::fs::create_dir(top.join("sub")).unwrap();
    std::fs::write(top.join("larder.toml"), "store = \"caches\"\n").unwrap();
    let config = Config::read(Path::new("../larder.toml"), &top.join("sub"), None).unwrap();
    assert_eq!(config.directory, top);
    assert_eq!(config.store.unwrap().value, StoreLocation::directory(top.join("caches")));
}
