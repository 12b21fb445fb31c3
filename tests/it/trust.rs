//! Scopes that may read each other, and scopes that do not believe each other: what
//! `docs/trust.md` promises where policies say who writes in whose name.

use std::fs;
use std::path::Path;

use larder::error::Error;
use larder::flush::flush;
use larder::format::{IndexDelta, Layout};
use larder::ids::{Key, Scope};
use larder::repository::Repository;
use larder::restore::{Hit, RestoreReport, RestoreRequest, restore};
use larder::save::{SaveReport, SaveRequest, save};
use larder::store::{Operation, PutMode, Store};
use larder::trust::TrustedScopes;

use crate::faults::{restore_request, save_request, with_context};
use crate::flush::{DAY, World, flush_request};
use crate::support::{Noise, Sandbox, assert_same, write};

fn scope(name: &str) -> Scope {
    name.parse().unwrap()
}

fn scopes(names: &[&str]) -> Vec<Scope> {
    names.iter().map(|name| scope(name)).collect()
}

/// Who saves, where else they look, and whom scopes like theirs trust.
struct Saver<'a> {
    scope: &'a str,
    fallbacks: &'a [&'a str],
    trusted: &'a [&'a str],
}

const PULL_REQUEST: Saver<'_> = Saver { scope: "pr-1", fallbacks: &["main"], trusted: &["main"] };
const MAIN: Saver<'_> = Saver { scope: "main", fallbacks: &[], trusted: &["main", "release/*"] };
const CREDULOUS: Saver<'_> = Saver { trusted: &[], ..MAIN };

impl World {
    fn save_as(&self, saver: &Saver<'_>, key: &str, tree: &Path) -> SaveReport {
        let trusted = saver.trusted.iter().map(|pattern| pattern.parse().unwrap());
        let request = SaveRequest {
            scope: scope(saver.scope),
            key: key.parse().unwrap(),
            fallback_scopes: scopes(saver.fallbacks),
            trusted_scopes: TrustedScopes::new(trusted.collect()),
            ..save_request(tree)
        };
        with_context(|context| save(self.store.clone(), &request, context)).unwrap()
    }

    fn restore_as(
        &self,
        names: &[&str],
        keys: &[&str],
        restore_keys: &[&str],
        to: &str,
    ) -> Result<RestoreReport, Error> {
        let request = RestoreRequest {
            scope: scope(names[0]),
            fallback_scopes: scopes(&names[1..]),
            keys: keys.iter().map(|key| key.parse().unwrap()).collect(),
            restore_keys: restore_keys.iter().map(|&key| key.to_owned()).collect(),
            ..restore_request(&self.sandbox.path(to))
        };
        with_context(|context| restore(self.store.clone(), &request, context))
    }

    fn delete_with(&self, prefix: &str) {
        let keys = self.store.contents().into_keys();
        let keys: Vec<_> = keys.filter(|key| key.as_str().starts_with(prefix)).collect();
        assert!(!keys.is_empty(), "there is something to delete");
        self.store.delete(&keys).unwrap();
    }

    /// Copies of what is there now, for several ends of one story.
    fn again(&self) -> Self {
        let world = Self::new();
        for (key, body) in self.store.contents() {
            world.store.put(&key, body, PutMode::Create).unwrap();
        }
        world
    }
}

/// A key that another scope has goes before a prefix in the own, and a prefix in the own
/// scope before the same in another.
#[test]
fn the_key_in_another_scope_goes_before_a_prefix_in_the_own() {
    let world = World::new();
    let trees = ["a", "b", "c"].map(|name| world.tree(name));
    world.save_as(&CREDULOUS, "npm-2", &trees[0]);
    world.save_as(&Saver { scope: "old", ..CREDULOUS }, "npm-3", &trees[1]);
    world.save_as(&Saver { scope: "pr-1", ..CREDULOUS }, "npm-1", &trees[2]);
    let check = |scopes: &[&str], keys: &[&str], restore_keys: &[&str], expected: &str| {
        let report = world.restore_as(scopes, keys, restore_keys, "out").unwrap();
        let name = |it: Option<String>| it.unwrap_or_default();
        let found = (report.hit, name(report.scope.map(|it| it.to_string())));
        let told =
            format!("{:?} {} {}", found.0, found.1, name(report.key.map(|it| it.to_string())));
        assert_eq!(told, expected, "{scopes:?} {keys:?} {restore_keys:?}");
    };
    let all = ["pr-1", "main", "old"];
    check(&all, &["npm-1"], &[], "Exact pr-1 npm-1");
    check(&all, &["npm-2"], &["npm-"], "Exact main npm-2");
    check(&all, &["npm-3"], &["npm-"], "Exact old npm-3");
    check(&all, &["npm-4", "npm-3"], &["npm-"], "Exact old npm-3");
    check(&all, &["npm-3", "npm-1"], &[], "Exact pr-1 npm-1");
    check(&all, &["npm-4"], &["npm-"], "Prefix pr-1 npm-1");
    check(&all, &["npm-4"], &["npm-2", "npm-"], "Prefix main npm-2");
    check(&all, &[], &["npm-3"], "Prefix old npm-3");
    check(&["pr-1"], &["npm-2"], &[], "Miss  ");
    check(&["pr-2", "pr-2", "main"], &["npm-1"], &["pip-", "npm-"], "Prefix main npm-2");
}

#[test]
fn the_first_save_of_a_pull_request_uploads_only_what_is_new() {
    let world = World::new();
    let tree = world.tree("tree");
    let whole = world.save_as(&CREDULOUS, "npm-2", &tree);
    // There are manifests alone to tell of chunks.
    world.delete_with("index/deltas/");
    let alone = world.again().save_as(&Saver { fallbacks: &[], ..PULL_REQUEST }, "npm-2", &tree);
    assert_eq!((alone.new_chunks, alone.reused_chunks), (whole.chunks, 0));

    write(tree.join("d1/f"), Noise(99).bytes(150_000));
    for key in ["npm-2", "npm-3"] {
        world.store.take_calls();
        let report = world.again().save_as(&PULL_REQUEST, key, &tree);
        assert!(report.new_chunks > 0 && report.new_chunks < whole.chunks, "{report:?}");
        assert_eq!(report.new_chunks + report.reused_chunks, report.chunks);
    }
}

/// Only the own scope's objects are written, but for the time of the last use of what was
/// restored.
#[test]
fn a_restore_from_another_scope_writes_nothing_there_but_its_use() {
    let world = World::new();
    let tree = world.tree("tree");
    world.save_as(&CREDULOUS, "k", &tree);
    world.pass(2 * DAY);
    world.store.take_calls();
    world.restore_as(&["pr-1", "main"], &["k"], &[], "out").unwrap();
    assert_same(&tree, &world.sandbox.path("out/tree"));
    let is_write = |operation| matches!(operation, Operation::Put | Operation::Delete);
    let calls = world.store.take_calls();
    let writes: Vec<_> = calls.iter().filter(|call| is_write(call.operation)).collect();
    let [refresh] = writes.as_slice() else { panic!("{writes:?}") };
    assert_eq!(
        refresh.objects,
        [Layout::manifest(&scope("main"), &"k".parse().unwrap()).unwrap().to_string()]
    );
}

/// A pull request saves what main has too, and puts junk into its pack: all else, its
/// footer too, still says that the chunks are there.
fn with_a_lie() -> World {
    let world = World::new();
    let tree = world.tree("tree");
    world.save_as(&PULL_REQUEST, "k", &tree);
    for pack in world.packs() {
        let object = Layout::pack(pack);
        let changed = world.store.corrupt(&object, |bytes| {
            // Past the header, and far before the footer.
            let end = bytes.len() - 40_000;
            bytes[100..end].fill(0x5a);
        });
        assert!(changed);
    }
    world
}

/// Where the lie is told, beside the pack: each is what is left when all others are gone.
fn tellers() -> Vec<(&'static str, World)> {
    let liar = with_a_lie();
    let delta = liar.again();
    delta.delete_with("manifests/");
    let manifest = liar.again();
    manifest.delete_with("index/");
    let table = liar.again();
    with_context(|context| flush(table.store.clone(), &flush_request(), context)).unwrap();
    assert!(table.store.contents().keys().any(|key| Layout::parse_table(key).is_some()));
    assert!(
        Repository::open(table.store.clone()).unwrap().unwrap().list_deltas(0).unwrap().is_empty()
    );
    table.delete_with("manifests/");
    vec![("delta", delta), ("manifest", manifest), ("table", table)]
}

#[test]
fn a_trusted_scope_never_reuses_what_only_an_untrusted_one_vouches_for() {
    for (teller, world) in tellers() {
        let tree = world.tree("tree");
        // The lie is one that is believed by those who do not care.
        let fallbacks: &[&str] = &["pr-1"];
        let fooled = world.again().save_as(&Saver { fallbacks, ..CREDULOUS }, "k", &tree);
        assert_eq!((fooled.new_chunks, fooled.reused_chunks), (0, fooled.chunks), "{teller}");

        let report = world.save_as(&Saver { fallbacks, ..MAIN }, "k", &tree);
        assert_eq!((report.new_chunks, report.reused_chunks), (report.chunks, 0), "{teller}");
        world.restore_as(&["main"], &["k"], &[], "out").unwrap();
        assert_same(&tree, &world.sandbox.path("out/tree"));
    }
}

/// The price of it: what a pull request uploaded is uploaded again. What trusted scopes
/// uploaded is not.
#[test]
fn trusted_scopes_reuse_what_they_have_told_each_other() {
    let world = World::new();
    let tree = world.tree("tree");
    let first = world.save_as(&MAIN, "k", &tree);
    let release = Saver { scope: "release/1", ..MAIN };
    // By the delta, as by a manifest that is looked at.
    assert_eq!(world.save_as(&release, "k", &tree).new_chunks, 0);
    let manifests = world.again();
    manifests.delete_with("index/");
    let near = Saver { scope: "release/2", fallbacks: &["main"], ..MAIN };
    assert_eq!(manifests.save_as(&near, "k", &tree).new_chunks, 0);
    // Once flushed, there is only the table, which anybody may have had a say in.
    let flushed = world.again();
    with_context(|context| flush(flushed.store.clone(), &flush_request(), context)).unwrap();
    let other = Saver { scope: "release/2", ..MAIN };
    assert_eq!(flushed.again().save_as(&other, "k", &tree).new_chunks, first.chunks);
    assert_eq!(flushed.save_as(&Saver { trusted: &[], ..other }, "k", &tree).new_chunks, 0);
}

/// A delta is the word of the scope that it is named after, whatever it says: a policy
/// decides who may use that name.
#[test]
fn a_delta_is_believed_by_its_name() {
    let liar = with_a_lie();
    let tree = liar.tree("tree");
    let repository = Repository::open(liar.store.clone()).unwrap().unwrap();
    let listed = repository.list_deltas(0).unwrap().remove(0);
    let IndexDelta { epoch, chunks } = repository.delta(&listed).unwrap().unwrap();
    liar.delete_with("index/");
    liar.delete_with("manifests/");
    for (name, is_believed) in [("pr-1", false), ("main/pr-1", false), ("main", true)] {
        let world = liar.again();
        let repository = Repository::open(world.store.clone()).unwrap().unwrap();
        let delta = IndexDelta { epoch, chunks: chunks.clone() };
        repository.put_delta(&scope(name), &delta).unwrap();
        let report = world.save_as(&MAIN, "k", &tree);
        assert_eq!(report.reused_chunks > 0, is_believed, "{name}");
    }
}

/// What a saver that believes everybody gets for it: a cache that cannot be restored, and
/// says so. Nothing wrong is written.
#[test]
fn who_was_lied_to_restores_nothing_wrong() {
    let world = with_a_lie();
    let tree = world.tree("tree");
    let report = world.save_as(&Saver { scope: "pr-2", ..CREDULOUS }, "k", &tree);
    assert_eq!(report.new_chunks, 0);
    let out = world.sandbox.path("out");
    write(out.join("tree/d0/f"), "as it was");
    let failure = world.restore_as(&["pr-2"], &["k"], &[], "out").unwrap_err();
    assert!(failure.is_damage() && matches!(failure, Error::DamagedChunk { .. }), "{failure:?}");
    assert!(failure.to_string().contains("packs/"), "{failure}");
    assert_eq!(fs::read(out.join("tree/d0/f")).unwrap(), b"as it was");
    assert_eq!(fs::read_dir(out.join("tree")).unwrap().count(), 1);
    // Main, where it looks at itself alone, is as it was.
    assert_eq!(world.restore_as(&["main"], &["k"], &[], "other").unwrap().hit, Hit::Miss);
}

#[test]
fn the_command_line_tells_the_scope_that_was_found() {
    let sandbox = Sandbox::new();
    write(sandbox.work("tree/a"), "a");
    sandbox.larder(["--scope", "main", "save", "--key", "npm-1", "tree"]).ok();
    let pull_request = |arguments: &[&str]| {
        let mut command = sandbox.command(arguments);
        command
            .env("LARDER_SCOPE", "pr-1")
            .env("LARDER_FALLBACK_SCOPES", "old,main")
            .env("GITHUB_OUTPUT", sandbox.path("github"));
        crate::support::run(&mut command).ok()
    };
    let told = pull_request(&["restore", "--key", "npm-1"]).stdout;
    assert!(told.starts_with("restored npm-1 of main: 1 file"), "{told}");
    let told =
        pull_request(&["--json", "restore", "--key", "npm-2", "--restore-key", "npm-"]).json();
    assert_eq!((&told["scope"], &told["matched_scope"]), (&"pr-1".into(), &"main".into()));
    let told = pull_request(&["lookup", "--key", "npm-1"]).stdout;
    assert_eq!(told.trim(), "exact npm-1 of main");
    let told =
        pull_request(&["--json", "lookup", "--key", "npm-2", "--restore-key", "npm-"]).json();
    assert_eq!((&told["hit"], &told["matched_scope"]), (&"prefix".into(), &"main".into()));
    let outputs = fs::read_to_string(sandbox.path("github")).unwrap();
    assert_eq!(outputs.matches("cache-matched-scope").count(), 4, "{outputs}");
    let told = pull_request(&["restore", "--explain", "--key", "npm-2"]).stdout;
    assert!(
        told.contains("looked for npm-2 in pr-1, old, main\n  near is npm-1 of main, saved"),
        "{told}"
    );
    // The own scope is what it was: nothing to tell.
    sandbox.larder(["--scope", "pr-1", "save", "--key", "npm-1", "tree"]).ok();
    let told = pull_request(&["restore", "--key", "npm-1"]).stdout;
    assert!(told.starts_with("restored npm-1: 1 file"), "{told}");
}

#[test]
fn larder_toml_says_whom_to_trust() {
    let sandbox = Sandbox::new();
    write(sandbox.work("tree/a"), Noise(3).bytes(200_000));
    write(
        sandbox.work("larder.toml"),
        "fallback-scopes = ['main']\ntrusted-scopes = ['main', 'release/*']\n\
         [cache.t]\nkey = 't-1'\nrestore-keys = ['t-']\npaths = ['tree']\n",
    );
    let save = |scope: &str| {
        sandbox.larder(["--scope", scope, "--json", "save", "--no-stat-record"]).ok().json()["new_chunks"]
            .as_u64()
            .unwrap()
    };
    let new = save("pr-1");
    assert!(new > 0);
    assert_eq!(save("pr-2"), 0);
    assert_eq!(save("main"), new);
    assert_eq!(save("release/1"), 0);
    let shown =
        sandbox.larder(["config", "--trusted-scope", "a", "--trusted-scope", "b/*"]).ok().stdout;
    assert!(shown.contains("fallback-scopes = main "), "{shown}");
    assert!(shown.contains("trusted-scopes = a, b/*"), "{shown}");
    let key: Key = "t-1".parse().unwrap();
    let found = sandbox.larder(["--scope", "pr-3", "--json", "lookup"]).ok().json();
    assert_eq!(
        (found["key"].as_str(), &found["matched_scope"]),
        (Some(key.as_str()), &"main".into())
    );
}
