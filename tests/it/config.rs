//! `larder.toml`: caches by name, and what counts of flags, variables and the file.

use std::fs;

use serde_json::Value;

use crate::support::{Run, Sandbox};

const FILE: &str = r#"
scope = "org/repo"

[cache.npm]
key = 'npm-{{ hash("package-lock.json") }}'
restore-keys = ["npm-"]
paths = ["node_modules"]
exclude = ["*.log"]

[cache.tools]
key = "tools"
paths = ["~/tools", "{{ env('MORE_TOOLS', default='more') }}"]
ttl = "3d"
"#;

/// A repository with a file and what its caches have.
fn repository() -> Sandbox {
    let sandbox = Sandbox::new();
    for (path, text) in [
        ("work/.git/HEAD", "ref: refs/heads/main"),
        ("work/larder.toml", FILE),
        ("work/package-lock.json", "1"),
        ("work/node_modules/a/index.js", "a"),
        ("work/node_modules/a/debug.log", "log"),
        ("work/more/tool", "m"),
        ("work/packages/b/main.js", "b"),
        ("home/tools/tool", "t"),
    ] {
        let path = sandbox.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    sandbox
}

/// Results by the names of their caches.
fn results(run: &Run) -> Vec<(String, Value)> {
    let mut results: Vec<(String, Value)> = run
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|result| (result["cache"].as_str().unwrap().to_owned(), result))
        .collect();
    results.sort_by(|(a, _), (b, _)| a.cmp(b));
    results
}

#[test]
fn all_caches_are_saved_and_restored_from_any_directory_of_the_repository() {
    let sandbox = repository();
    let saved = sandbox.larder(["save", "--json"]).ok();
    let [(npm, saved_npm), (tools, saved_tools)] = results(&saved).try_into().unwrap();
    assert_eq!((npm.as_str(), tools.as_str()), ("npm", "tools"));
    assert_eq!((&saved_npm["files"], &saved_tools["files"]), (&1.into(), &2.into()));
    assert_eq!((&saved_npm["scope"], &saved_npm["command"]), (&"org/repo".into(), &"save".into()));

    for gone in ["work/node_modules", "work/more", "home/tools"] {
        fs::remove_dir_all(sandbox.path(gone)).unwrap();
    }
    let mut command = sandbox.command(["restore", "--json"]);
    let restored = crate::support::run(command.current_dir(sandbox.work("packages/b"))).ok();
    for (cache, result) in results(&restored) {
        assert_eq!((&result["hit"], &result["command"]), (&"exact".into(), &"restore".into()));
        assert_eq!(cache == "npm", result["key"].as_str().unwrap().starts_with("npm-"));
    }
    for (path, text) in
        [("work/node_modules/a/index.js", "a"), ("work/more/tool", "m"), ("home/tools/tool", "t")]
    {
        assert_eq!(fs::read_to_string(sandbox.path(path)).unwrap(), text, "{path}");
    }
    assert!(!sandbox.work("node_modules/a/debug.log").exists(), "it is excluded");
}

#[test]
fn one_cache_is_named_and_one_that_is_not_there_stops_no_other() {
    let sandbox = repository();
    let run = sandbox.larder(["save", "npm"]).ok();
    assert_eq!(run.stdout.lines().filter(|line| line.starts_with("npm: ")).count(), 2);
    assert_eq!(run.stdout.lines().count(), 2, "{}", run.stdout);
    sandbox.larder(["lookup", "npm"]).ok().prints("npm: exact npm-");
    sandbox.larder(["lookup"]).exits(3).prints("tools: miss");
    let heads: Vec<Value> = results(&sandbox.larder(["lookup", "--json"]).exits(3))
        .into_iter()
        .map(|(_, result)| result["requests"]["head"].clone())
        .collect();
    assert_eq!(heads, [1, 1], "requests are those of the one cache");
    sandbox.larder(["restore"]).ok().prints("tools: there is no cache for tools");
    sandbox.larder(["restore", "--fail-on-miss"]).exits(3);
    sandbox.larder(["restore", "--fail-on-miss", "npm"]).ok();

    fs::write(sandbox.work("package-lock.json"), "2").unwrap();
    sandbox.larder(["restore", "npm"]).ok().prints("the newest for a prefix");

    fs::remove_dir_all(sandbox.work("node_modules")).unwrap();
    let run = sandbox.larder(["save"]).exits(1).says("npm: there is nothing to save at");
    assert!(run.stdout.contains("tools: saved tools"), "{}", run.stdout);
}

#[test]
fn a_miss_is_explained() {
    let sandbox = repository();
    sandbox.larder(["save", "npm"]).ok();
    sandbox.larder(["lookup", "npm", "--explain"]).ok();
    fs::write(sandbox.work("package-lock.json"), "2").unwrap();
    let steady = |run: Run| {
        let lines = run.stdout.lines().map(|line| {
            let words = line.split_whitespace().map(|word| match word {
                word if word.ends_with(['0', '1', '2']) && word.len() < 3 => "N",
                "second" => "seconds",
                word => word,
            });
            words.collect::<Vec<_>>().join(" ")
        });
        lines.collect::<Vec<_>>().join("\n")
    };
    insta::assert_snapshot!(steady(sandbox.larder(["lookup", "npm", "--explain"]).ok()), @r#"
    npm: prefix npm-344bca575dee6fcc
    npm: looked for npm-a9aab0133520efb4, which is npm-{{ hash("package-lock.json") }}
    npm: near is npm-344bca575dee6fcc, saved N seconds ago:
    npm: {{ hash("package-lock.json") }} was "344bca575dee6fcc", and is "a9aab0133520efb4"
    npm: changed: package-lock.json
    "#);
    let run = sandbox.larder(["restore", "npm", "--explain"]).ok();
    assert!(run.stdout.contains("npm:       changed: package-lock.json"), "{}", run.stdout);
    let run = sandbox.larder(["restore", "npm", "--explain", "--json"]).ok().json();
    let near = &run["explanation"]["nearest"][0]["differences"][0];
    assert_eq!(near["files"][0]["path"], "package-lock.json");
    let run = sandbox.larder(["lookup", "npm", "--explain", "--scope", "pr"]).exits(3);
    insta::assert_snapshot!(run.stdout, @r#"
    npm: miss
    npm: looked for npm-a9aab0133520efb4, which is npm-{{ hash("package-lock.json") }}
    npm:   this scope has no caches
    npm:   there are some in org/repo
    "#);
}

#[test]
fn flags_win_over_variables_and_these_over_the_file() {
    let sandbox = repository();
    let origin = |run: Run| {
        let shown = run.ok().json();
        let settings = shown["settings"].as_array().unwrap().clone();
        let scope = settings.into_iter().find(|row| row["name"] == "scope").unwrap();
        (scope["value"].as_str().unwrap().to_owned(), scope["origin"]["kind"].clone())
    };
    let config = |more: &[&str]| sandbox.command(["config", "--json"].iter().chain(more));
    let plain = origin(crate::support::run(&mut config(&[])));
    assert_eq!(plain, ("org/repo".into(), "file".into()));
    let with_variable = origin(crate::support::run(config(&[]).env("LARDER_SCOPE", "v")));
    assert_eq!(with_variable, ("v".into(), "variable".into()));
    let with_flag = origin(crate::support::run(config(&["--scope", "f"]).env("LARDER_SCOPE", "v")));
    assert_eq!(with_flag, ("f".into(), "flag".into()));
    let without = origin(crate::support::run(&mut config(&["--no-config"])));
    assert_eq!(without, ("default".into(), "default".into()));

    let text = sandbox.larder(["config"]).ok();
    let store = sandbox.store();
    let home = sandbox.path("home");
    let shown = text
        .stdout
        .replace(store.to_str().unwrap(), "STORE")
        .replace(home.to_str().unwrap(), "HOME")
        .replace(sandbox.work("").to_str().unwrap(), "WORK/");
    let shown: String = shown
        .lines()
        .filter(|line| !line.starts_with("threads"))
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ") + "\n")
        .collect();
    insta::assert_snapshot!(shown, @r#"
    configuration file: larder.toml

    store = file://STORE?sync=never # LARDER_STORE
    scope = org/repo # larder.toml:2
    fallback-scopes = none # default
    trusted-scopes = none # default
    local-cache = none # default
    timeout = none # default
    ignore-error = false # default
    require-signature = none # default

    [cache.npm]
    key = npm-344bca575dee6fcc # npm-{{ hash("package-lock.json") }}
    restore-key = npm-
    path = WORK/node_modules
    exclude = *.log

    [cache.tools]
    key = tools
    path = WORK/more
    path = HOME/tools
    ttl = 3days
    "#);
}

#[test]
fn keys_that_are_given_win_over_the_caches_of_the_file() {
    let sandbox = repository();
    let template = "mine-{{ hash(\"package-lock.json\") }}";
    sandbox.larder(["save", "--key", template, "more"]).ok().prints("saved mine-");
    fs::remove_dir_all(sandbox.work("more")).unwrap();
    sandbox.larder(["restore", "--key", template]).ok().prints("restored mine-");
    assert!(sandbox.work("more/tool").exists());
    fs::write(sandbox.work("package-lock.json"), "2").unwrap();
    let args = ["restore", "--key", template, "--restore-key", "{{ \"mine\" }}-"];
    sandbox.larder(args).ok().prints("the newest for a prefix");
}

/// Ways to mistype a command line, and what is said of each. Those of the file are
/// beside the code that reads it.
#[test]
fn mistyped_command_lines_are_told_with_what_was_meant() {
    let sandbox = repository();
    let told = |arguments: &[&str]| {
        let run = sandbox.larder(arguments).exits(2);
        run.stderr.replace(sandbox.work("").to_str().unwrap(), "WORK/")
    };
    insta::assert_snapshot!(told(&["sav", "npm"]), @"
    error[L0102]: unrecognized subcommand 'sav'

      tip: a similar subcommand exists: 'save'

    Usage: larder [OPTIONS] <COMMAND>

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(told(&["save", "nmp"]), @r#"
    error[L0313]: there is no cache "nmp" in larder.toml
    hint: did you mean "npm"?
    "#);
    insta::assert_snapshot!(told(&["save", "--kye", "a", "node_modules"]), @"
    error[L0102]: unexpected argument '--kye' found

      tip: a similar argument exists: '--key'

    Usage: larder save [OPTIONS] [PATH|CACHE]...

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(told(&["save", "--key", "a"]), @"
    error[L0104]: there is nothing to save: no path is given
    hint: name directories or files after --key
    ");
    insta::assert_snapshot!(told(&["save", "--key", "npm-{{ oss }}", "node_modules"]), @r#"
    error[L0301]: invalid key template: unknown name "oss"
      npm-{{ oss }}
             ^^^
    hint: did you mean os?
    "#);
    insta::assert_snapshot!(told(&["save", "node_modules"]), @r#"
    error[L0313]: there is no cache "node_modules" in larder.toml
    hint: it has npm, tools; to name paths instead of caches, give --key
    "#);
    insta::assert_snapshot!(told(&["restore", "--no-config"]), @"
    error[L0108]: no key is given
    hint: give --key, or name=… in --store; or run larder in a repository with a larder.toml, which `larder init` writes
    ");
    insta::assert_snapshot!(told(&["restore", "--store", "s4://bucket"]), @r#"
    error[L0112]: unknown scheme "s4" of a store
    hint: did you mean "s3"? (a directory of this name is written ./s4:…)
    "#);
    insta::assert_snapshot!(told(&["restore", "--timeout", "10"]), @"
    error[L0103]: invalid value '10' for '--timeout <DURATION>': time unit needed, for example 10sec or 10ms; write it as 90s, 10m, 1h30m or 14d

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(told(&["restore", "--config", "larder.tml"]), @"
    error[L0311]: cannot read the configuration file larder.tml: No such file or directory (os error 2)
    hint: give --config or LARDER_CONFIG a file that is there, or leave it out
    ");
    insta::assert_snapshot!(told(&["save", "--compression-level", "high"]), @"
    error[L0103]: invalid value 'high' for '--compression-level <LEVEL>': invalid digit found in string

    For more information, try '--help'.
    ");
    insta::assert_snapshot!(told(&["lookup", "--key", "a", "npm"]), @"
    error[L0105]: both a key and caches of larder.toml are given
    hint: leave --key out, or the names of caches
    ");
    insta::assert_snapshot!(told(&["flush", "--age", "14"]), @"
    error[L0103]: invalid value '14' for '--age <DURATION>': time unit needed, for example 14sec or 14ms; write it as 90s, 10m, 1h30m or 14d

    For more information, try '--help'.
    ");
}

#[test]
fn a_place_and_a_key_belong_to_one_cache() {
    let sandbox = repository();
    let more = "[cache.a]\nkey = \"a\"\npaths = [\"node_modules/a\"]\n";
    fs::write(sandbox.work("larder.toml"), format!("{FILE}{more}")).unwrap();
    sandbox.larder(["save"]).exits(2).says("the caches \"npm\" and \"a\" both have");
    sandbox.larder(["config"]).exits(2).says("both have").prints("[cache.npm]");
    sandbox.larder(["save", "npm"]).ok();
    let more = "[cache.a]\nkey = \"tools\"\npaths = [\"packages\"]\n";
    fs::write(sandbox.work("larder.toml"), format!("{FILE}{more}")).unwrap();
    sandbox.larder(["save"]).exits(2).says("\"tools\" and \"a\" both have the key tools");
}

/// The same place by two names is still one: restored at once, each would replace what the
/// other brought back.
#[test]
fn a_place_has_one_name_whatever_links_lead_there() {
    let sandbox = repository();
    let link = sandbox.work("linked");
    std::os::unix::fs::symlink("node_modules", link).unwrap();
    let more = "[cache.a]\nkey = \"a\"\npaths = [\"linked/a\"]\n";
    fs::write(sandbox.work("larder.toml"), format!("{FILE}{more}")).unwrap();
    sandbox.larder(["save"]).exits(2).says("the caches \"npm\" and \"a\" both have");
    // Who wrote the link into the file knows of it.
    sandbox.larder(["save", "a"]).ok();
    fs::remove_dir_all(sandbox.work("node_modules/a")).unwrap();
    sandbox.larder(["restore", "a"]).ok();
    assert!(sandbox.work("node_modules/a/index.js").exists());

    let more = "[cache.a]\nkey = \"a\"\npaths = [\"~/more\"]\n";
    fs::write(sandbox.work("larder.toml"), format!("{FILE}{more}")).unwrap();
    sandbox.larder(["lookup"]).exits(3);
    let below = sandbox.path("below");
    sandbox.larder(["restore", "--to", below.to_str().unwrap()]).exits(2).says("both have");
}

/// A cache that was found by a prefix may hold anything: of this job's earlier life, or of
/// somebody who may write to the store and would like to write here.
#[test]
fn a_restore_by_name_writes_to_the_paths_of_the_file_alone() {
    let sandbox = repository();
    fs::write(sandbox.path("home/.profile"), "evil").unwrap();
    sandbox.larder(["save", "--key", "npm-0", "node_modules", "more", "~/.profile"]).ok();
    fs::write(sandbox.path("home/.profile"), "mine").unwrap();
    fs::remove_dir_all(sandbox.work("node_modules")).unwrap();
    fs::remove_dir_all(sandbox.work("more")).unwrap();
    sandbox
        .larder(["restore", "npm"])
        .ok()
        .says("npm: ~/.profile of the cache is left out")
        .says("npm: more of the cache is left out")
        .prints("2 files");
    assert_eq!(fs::read_to_string(sandbox.path("home/.profile")).unwrap(), "mine");
    assert!(sandbox.work("node_modules/a/index.js").exists() && !sandbox.work("more").exists());
}

#[test]
fn a_path_that_comes_to_nothing_is_no_path() {
    let sandbox = repository();
    let text = "[cache.a]\nkey = \"a\"\npaths = ['{{ env(\"NO_SUCH\", default=\"\") }}']\n";
    fs::write(sandbox.work("larder.toml"), text).unwrap();
    sandbox.larder(["save"]).exits(2).says("larder.toml:3: paths: ");
}

#[test]
fn init_writes_a_file_that_works_and_replaces_none() {
    let sandbox = Sandbox::new();
    fs::write(sandbox.work("package-lock.json"), "{}").unwrap();
    fs::create_dir_all(sandbox.path("home/.npm")).unwrap();
    fs::write(sandbox.path("home/.npm/a"), "a").unwrap();
    let dry = sandbox.larder(["init", "--dry-run"]).ok().prints("[cache.npm]");
    assert!(!sandbox.work("larder.toml").exists());
    sandbox.larder(["init"]).ok().prints("npm (package-lock.json)");
    assert_eq!(fs::read_to_string(sandbox.work("larder.toml")).unwrap(), dry.stdout);
    sandbox.larder(["init"]).exits(1).says("exists already");
    sandbox.larder(["init", "--force"]).ok();
    sandbox.larder(["save"]).ok().prints("npm: saved npm-");
    fs::remove_dir_all(sandbox.path("home/.npm")).unwrap();
    sandbox.larder(["restore"]).ok();
    assert_eq!(fs::read_to_string(sandbox.path("home/.npm/a")).unwrap(), "a");
}

#[test]
fn caches_with_one_key_are_an_error_and_neither_is_saved() {
    let sandbox = Sandbox::new();
    fs::create_dir_all(sandbox.work("a")).unwrap();
    fs::create_dir_all(sandbox.work("b")).unwrap();
    let file = "[cache.a]\nkey = 'k'\npaths = ['a']\n[cache.b]\nkey = 'k'\npaths = ['b']\n";
    fs::write(sandbox.work("larder.toml"), file).unwrap();
    let run = sandbox.larder(["save"]).exits(2);
    insta::assert_snapshot!(run.stderr, @r#"
    error[L0317]: the caches "a" and "b" both have the key k
    hint: a key holds one cache: begin that of "b" with its name
    "#);
    sandbox.larder(["restore"]).exits(2);
    sandbox.larder(["lookup", "--key", "k"]).exits(3);
    sandbox.larder(["save", "a"]).ok();
}

#[test]
fn a_job_that_uses_one_tool_of_many_does_not_fail_by_what_init_wrote() {
    let sandbox = Sandbox::new();
    for file in ["work/package-lock.json", "work/go.sum", "work/web/Cargo.lock"] {
        fs::create_dir_all(sandbox.path(file).parent().unwrap()).unwrap();
        fs::write(sandbox.path(file), "1").unwrap();
    }
    sandbox.larder(["init"]).ok();
    fs::create_dir_all(sandbox.path("home/.npm/_logs")).unwrap();
    fs::write(sandbox.path("home/.npm/tarball"), "t").unwrap();
    fs::write(sandbox.path("home/.npm/_logs/1.log"), "another in each run").unwrap();
    let run = sandbox.larder(["save"]).ok().prints("npm: saved ").prints(": 1 file, 1 B");
    assert_eq!(run.stdout.lines().count(), 2, "{}", run.stdout);
    let expected = ["cargo: ", "go: ", "target: "];
    for line in run.stderr.lines() {
        let rest = line.strip_prefix("warning: ").unwrap_or_else(|| panic!("{line}"));
        assert!(expected.iter().any(|name| rest.starts_with(name)), "{line}");
    }
    // What is asked for by name as well; a cache that must be there still is an error.
    sandbox.larder(["save", "go"]).ok().says("go: there is nothing to save at");
    sandbox.larder(["lookup", "go"]).exits(3);
}

#[test]
fn a_cache_is_near_only_if_its_key_was_made_the_same_way() {
    let sandbox = repository();
    sandbox.larder(["save"]).ok();
    fs::write(sandbox.work("package-lock.json"), "2").unwrap();
    let run = sandbox.larder(["lookup", "npm", "--explain"]).ok();
    assert_eq!(run.stdout.matches("near is ").count(), 1, "{}", run.stdout);
    assert!(!run.stdout.contains("another template"), "{}", run.stdout);
}

#[test]
fn a_cache_s_name_in_the_place_of_a_key_is_told() {
    let sandbox = repository();
    sandbox.larder(["save"]).ok();
    let hint = "hint: npm is the name of a cache in larder.toml, and its key is now npm-344bca5";
    for command in [["show", "npm"], ["du", "npm"], ["verify", "npm"]] {
        sandbox.larder(command).exits(3).says(hint);
    }
    sandbox.larder(["diff", "npm", "tools"]).exits(3).says(hint);
    sandbox.larder(["delete", "npm"]).ok().says(hint);
    let run = sandbox.larder(["show", "nmp"]).exits(3);
    assert!(!run.stderr.contains("hint"), "{}", run.stderr);
}

#[test]
fn what_newcomers_write_is_answered_with_what_to_write() {
    let sandbox = Sandbox::new();
    let says = |file: &[u8], code: i32, hint: &str| {
        fs::write(sandbox.work("larder.toml"), file).unwrap();
        sandbox.larder(["save"]).exits(code).says(hint);
    };
    let quotes = "hint: put a template in single quotes";
    says(b"[cache.a]\nkey = \"{{ hash(\"x\") }}\"\npaths = ['a']\n", 2, quotes);
    says(b"[cache.a]\n[cache.a]\n", 2, "hint: a [cache.NAME] and each of its settings");
    says(b"\xff\xfe[\0", 2, "hint: save it as UTF-8");
    says(b"[cache.a]\nkey = 'k'\npaths = ['$HOME/.npm']\n", 1, "hint: variables are not expanded");
    says(b"[cache.a]\nkey = 'k'\npaths = ['**/node_modules']\n", 1, "hint: paths are no globs");
    let own = "in larder.toml to its own";
    says(b"[cache.a]\nkey = '{{ hash(\"x\") }}'\npaths = ['a']\n", 2, own);
}

#[test]
fn init_tells_which_file_its_own_takes_the_place_of() {
    let sandbox = repository();
    fs::create_dir_all(sandbox.work(".git")).unwrap();
    let run = sandbox.larder(["init", "packages/b"]).ok();
    assert!(run.stderr.contains("/packages/b it counts instead of "), "{}", run.stderr);
    let run = sandbox.larder(["init", "--force"]).ok();
    assert_eq!(run.stderr, "");
}
