//! The loops that save, restore and flush, and what each checks of every run.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::ledger::{Fate, Lifetime, Removal, Rules, SaveId, Slot};
use crate::options::Sabotage;
use crate::process::{Ended, Plan};
use crate::sabotage::victim;
use crate::sandbox::Noise;
use crate::trees::{Tree, stamp_of};
use crate::world::{SCOPES, World};

/// Keys of each scope that are saved over and over.
const STEADY: u64 = 3;

/// Saves after which the key that changes its name does so, about.
const RENAMED: u64 = 2;

/// `larder` takes arguments that are text.
fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.into()).collect()
}

/// A pause between two runs: without one, two cores run little but linkers.
fn think(world: &World, noise: &mut Noise) {
    if !world.is_over() {
        std::thread::sleep(Duration::from_millis(noise.below(300)));
    }
}

/// How long the caches of a key live by what is said when they are saved.
fn lifetime(world: &World, slot: &Slot) -> Lifetime {
    match slot.key.split('-').next() {
        Some("keep") => Lifetime::Pinned,
        Some("tmp") => Lifetime::For(2.0 * world.options.grace() as f64),
        _ => Lifetime::ByPolicy,
    }
}

/// A machine that saves, and the tree that it has in its directory.
struct Saver<'w> {
    world: &'w World,
    machine: String,
    root: PathBuf,
    now: Tree,
}

/// Saves until it is over.
pub(crate) fn save(world: &World, number: u64) {
    let mut noise = world.noise(number);
    let mut saver = Saver::new(world, format!("saver{number}"));
    while !world.is_over() {
        let slot = slot_to_save(world, &mut noise);
        let plan = world.plan("save", &mut noise);
        saver.save(&slot, &plan, &mut noise);
        think(world, &mut noise);
    }
}

/// Saves a key once more, undisturbed: this must work.
pub(crate) fn save_once(world: &World, machine: &str, slot: &Slot) {
    let mut noise = world.noise(1_000);
    Saver::new(world, machine.to_owned()).save_with(slot, &Plan::default(), &[], &mut noise);
}

fn slot_to_save(world: &World, noise: &mut Noise) -> Slot {
    let scope = SCOPES[noise.below(2) as usize];
    let key = match noise.below(20) {
        0 => "keep".to_owned(),
        1..3 => "tmp-build".to_owned(),
        3..9 => {
            let newest = world.named(noise.below(RENAMED) == 0);
            format!("pr-{}", newest.saturating_sub(noise.below(3)))
        }
        _ => format!("main-{}", noise.below(STEADY)),
    };
    Slot::new(scope, key)
}

impl<'w> Saver<'w> {
    fn new(world: &'w World, machine: String) -> Self {
        let root = world.machine(&machine).join("work/tree");
        // What another saver of this machine left.
        let _ = fs::remove_dir_all(&root);
        fs::create_dir_all(&root).unwrap();
        Self { world, machine, root, now: Tree::default() }
    }

    fn save(&mut self, slot: &Slot, plan: &Plan, noise: &mut Noise) {
        let mut more = vec![];
        if noise.below(4) == 0 {
            more.push("--no-stat-record");
        }
        match noise.below(20) {
            0 => more.push("--no-reuse"),
            1 => more.push("--if-absent"),
            _ => {}
        }
        self.save_with(slot, plan, &more, noise);
    }

    fn save_with(&mut self, slot: &Slot, plan: &Plan, more: &[&str], noise: &mut Noise) {
        let world = self.world;
        let (content, tree) = world.next_tree(slot, noise.below(4) == 0, noise);
        tree.write_to(&self.root, &self.now);
        self.now = (*tree).clone();

        let lifetime = lifetime(world, slot);
        let mut arguments =
            words(&["--json", "--scope", &slot.scope, "save", "--key", &slot.key, "tree"]);
        arguments.extend(words(more));
        match lifetime {
            Lifetime::Pinned => arguments.push("--pin".into()),
            Lifetime::For(ttl) => arguments.push(format!("--ttl={ttl}s")),
            Lifetime::ByPolicy => {}
        }
        let id = world.ledger().begin_save(slot, content, lifetime, crate::process::now());
        let ended = world.larder("save", &self.machine, &arguments, plan);
        self.judge(slot, content, &id, &ended);
    }

    fn judge(&self, slot: &Slot, content: u64, id: &SaveId, ended: &Ended) {
        let world = self.world;
        let fate = match ended.code {
            Some(0) if ended.is("/already_there") => Fate::Nothing,
            Some(0) => Fate::Said,
            _ => Fate::Silent,
        };
        world.ledger().end_save(id, fate, ended.ended);
        match ended.code {
            None => return,
            Some(0) => {}
            Some(1) if ended.text("/error").contains("overtook this save") => {
                return world.count("saves that gave up, overtaken by flushes", 1);
            }
            Some(code) => {
                return world.violation(format!("a save of {slot} failed with {code}: {ended:?}"));
            }
        }
        if ended.is("/already_there") {
            return world.count("saves that found the key there already", 1);
        }
        let packs = ended.number("/packs_written");
        world.count("packs written by saves", packs);
        world.count("chunks new", ended.number("/new_chunks"));
        world.count("chunks reused", ended.number("/reused_chunks"));
        if ended.is("/unchanged") {
            world.count("saves that changed nothing", 1);
            // It has read what the key held, like a restore.
            let verdict = world.ledger().may_hold(slot, content, ended.span());
            return world.check(verdict, || "a save changed nothing".into());
        }
        // Each round puts packs, a manifest, and a delta if it had new chunks.
        let once = packs + 1 + u64::from(ended.number("/new_chunks") > 0);
        if ended.number("/requests/put") > once {
            world.count("saves that went another round", 1);
        }
    }
}

/// Restores until it is over.
pub(crate) fn restore(world: &World, number: u64) {
    let mut noise = world.noise(100 + number);
    let machine = format!("restorer{number}");
    let out = world.machine(&machine).join("out");
    while !world.is_over() {
        let (slot, prefix) = slot_to_restore(world, &mut noise);
        let plan = world.plan("restore", &mut noise);
        let mut more = vec![];
        if noise.below(3) > 0 {
            let _ = fs::remove_dir_all(&out);
        } else {
            more.push("--delete-extra");
        }
        if noise.below(4) == 0 {
            more.push("--no-stat-record");
        }
        restore_one(world, &machine, &slot, prefix.as_deref(), &more, &plan);
        think(world, &mut noise);
    }
}

/// What is to be restored, and the prefix to fall back to.
fn slot_to_restore(world: &World, noise: &mut Noise) -> (Slot, Option<String>) {
    if world.options.sabotage.is_some() && noise.below(4) == 0 {
        return (victim(), None);
    }
    let scope = SCOPES[noise.below(2) as usize];
    let key = match noise.below(20) {
        0 | 1 => "keep".to_owned(),
        2 | 3 => "tmp-build".to_owned(),
        4..10 => {
            let key = format!("pr-{}", world.named(false).saturating_sub(noise.below(8)));
            let prefix = (noise.below(2) == 0).then(|| "pr-".to_owned());
            return (Slot::new(scope, key), prefix);
        }
        _ => format!("main-{}", noise.below(STEADY)),
    };
    (Slot::new(scope, key), None)
}

/// Restores a key, and checks what comes of it; gives whether it is there,
/// whole.
pub(crate) fn restore_one(
    world: &World,
    machine: &str,
    slot: &Slot,
    prefix: Option<&str>,
    more: &[&str],
    plan: &Plan,
) -> bool {
    let out = world.top.join(machine).join("out");
    let to = out.to_str().unwrap();
    let mut arguments =
        words(&["--json", "--scope", &slot.scope, "restore", "--key", &slot.key, "--to", to]);
    arguments.extend(prefix.iter().flat_map(|prefix| words(&["--restore-key", prefix])));
    arguments.extend(words(more));
    let ended = world.larder("restore", machine, &arguments, plan);
    match ended.code {
        None => false,
        Some(0) if ended.text("/hit") == "miss" => {
            world.count("restores that missed", 1);
            let known = world.ledger().slots();
            let is_meant = |known: &Slot| {
                let by_prefix = prefix.is_some_and(|prefix| known.key.starts_with(prefix));
                known == slot || (known.scope == slot.scope && by_prefix)
            };
            world.missed(known.into_iter().filter(is_meant).collect(), ended.span());
            false
        }
        Some(0) => {
            world.count("restores that hit", 1);
            if ended.text("/hit") == "prefix" {
                world.count("restores that hit a prefix", 1);
                world.missed(vec![slot.clone()], ended.span());
            }
            compare(world, slot, prefix, &out, &ended);
            true
        }
        Some(4) => {
            judge_damage(world, slot, prefix, &ended);
            false
        }
        Some(code) => {
            world.violation(format!("a restore of {slot} failed with {code}: {ended:?}"));
            false
        }
    }
}

/// Compares what was restored with what was saved.
fn compare(world: &World, slot: &Slot, prefix: Option<&str>, out: &Path, ended: &Ended) {
    let found = Slot::new(&slot.scope, ended.text("/key"));
    let what = || format!("a restore of {slot} gave {found}");
    if found != *slot && !prefix.is_some_and(|prefix| found.key.starts_with(prefix)) {
        return world.violation(format!("{}, which was not asked for", what()));
    }
    let root = out.join("tree");
    let Some(content) = stamp_of(&root) else {
        return world.violation(format!("{} without its stamp", what()));
    };
    let Some(tree) = world.tree(content) else {
        return world.violation(format!("{} with the stamp {content} of no tree", what()));
    };
    match tree.compare(&root) {
        Ok(files) => {
            world.count("restores compared", 1);
            world.count("files compared", files);
        }
        Err(why) => world.violation(format!("{}, content {content}: {why}", what())),
    }
    let mut ledger = world.ledger();
    let verdict = ledger.may_hold(&found, content, ended.span());
    // It says so where it could not put down that it was there.
    if ended.stderr.is_empty() {
        ledger.used(&found, ended.began, ended.ended);
    }
    drop(ledger);
    world.check(verdict, what);
}

/// A cache may lack packs if its saver never said that it succeeded; and a
/// restore may lose them if it takes longer than the grace period.
fn judge_damage(world: &World, slot: &Slot, prefix: Option<&str>, ended: &Ended) {
    // Times in whole seconds take up to one of it.
    if ended.ended - ended.began > world.options.grace() as f64 - 1.0 {
        return world.count("restores that outlived the grace period (exit 4)", 1);
    }
    let ledger = world.ledger();
    let candidates = ledger.slots().into_iter().filter(|known| {
        let by_prefix = prefix.is_some_and(|prefix| known.key.starts_with(prefix));
        known == slot || (known.scope == slot.scope && by_prefix)
    });
    let verdicts: Vec<_> =
        candidates.map(|slot| ledger.may_be_broken(&slot, ended.span())).collect();
    drop(ledger);
    if verdicts.iter().any(Result::is_ok) {
        return world.count("restores of what a killed save left (exit 4)", 1);
    }
    let why = verdicts.into_iter().find_map(Result::err);
    world.violation(format!("a restore found damage: {why:?}: {ended:?}"));
}

/// Flushes until it is over.
pub(crate) fn flush(world: &World, number: u64) {
    let mut noise = world.noise(200 + number);
    let machine = format!("flusher{number}");
    world.machine(&machine);
    while !world.is_over() {
        let (rules, arguments) = flush_to_run(world, &mut noise);
        let plan = world.plan("flush", &mut noise);
        flush_one(world, &machine, rules, &arguments, &plan);
        think(world, &mut noise);
        std::thread::sleep(Duration::from_millis(noise.below(700)));
    }
}

fn flush_to_run(world: &World, noise: &mut Noise) -> (Rules, Vec<String>) {
    let grace = world.options.grace();
    let mut rules = Rules {
        age: (grace * 5 / 2 + noise.below(grace * 5 / 2 + 1)) as f64,
        key_age: Some(("pr-".into(), (2 * grace) as f64)),
        ..Rules::default()
    };
    let mut arguments = words(&["--json", "flush", "--longest-save", "1s"]);
    arguments.push(format!("--grace={grace}s"));
    arguments.push(format!("--age={}s", rules.age));
    arguments.push(format!("--key-age=pr-*={}s", 2 * grace));
    if noise.below(8) == 0 {
        let scope = SCOPES[noise.below(2) as usize];
        arguments.extend(words(&["--scope", scope]));
        rules.scope = Some(scope.into());
    } else {
        arguments.push("--all-scopes".into());
    }
    if noise.below(2) == 0 {
        arguments.push("--repack".into());
    }
    if noise.below(4) == 0 {
        arguments.push(format!("--max-size={}MB", 8 + noise.below(25)));
        rules.has_max_size = true;
    }
    if noise.below(4) == 0 {
        arguments.push("--take-over".into());
    }
    if world.options.sabotage == Some(Sabotage::Ages) {
        rules.age *= 100.0;
        rules.key_age = None;
    }
    (rules, arguments)
}

/// Runs a flush, and checks what it says.
pub(crate) fn flush_one(
    world: &World,
    machine: &str,
    rules: Rules,
    arguments: &[String],
    plan: &Plan,
) -> Ended {
    let number = world.ledger().begin_flush(rules, crate::process::now());
    let ended = world.larder("flush", machine, arguments, plan);
    // What it removed must be known before it counts as over.
    if ended.code == Some(0) {
        judge_flush(world, number, &ended);
    }
    let fate = if ended.code == Some(0) { Fate::Said } else { Fate::Silent };
    world.ledger().end_flush(number, fate, ended.ended);
    match ended.code {
        None | Some(0) => {}
        Some(1) if ended.text("/error").contains("has taken over") => {
            world.count("flushes that were overtaken", 1);
        }
        Some(code) => world.violation(format!("a flush failed with {code}: {ended:?}")),
    }
    ended
}

fn judge_flush(world: &World, number: usize, ended: &Ended) {
    if ended.json.pointer("/busy_since").is_some_and(|since| !since.is_null()) {
        return world.count("flushes that left the store to another", 1);
    }
    let slot = |value: &serde_json::Value| {
        Slot::new(value["scope"].as_str().unwrap(), value["key"].as_str().unwrap())
    };
    let judged = ended.json["store_time"].as_f64().unwrap();
    let mut by_reason: BTreeMap<String, u64> = BTreeMap::new();
    for removed in ended.list("/removed") {
        let removal = Removal {
            slot: slot(removed),
            reason: removed["reason"].as_str().unwrap().into(),
            last_used: removed["last_used"].as_f64().unwrap(),
            judged,
        };
        *by_reason.entry(removal.reason.clone()).or_default() += 1;
        let verdict = world.ledger().removed(number, removal);
        world.check(verdict, || "a flush removed too much".into());
    }
    for broken in ended.list("/broken") {
        world.count("caches found broken by flushes", 1);
        let verdict = world.ledger().may_be_broken(&slot(broken), ended.span());
        world.check(verdict, || "a flush found a broken cache".into());
    }
    let mut figures = world.figures();
    for (reason, what) in [
        ("age", "caches removed by age"),
        ("ttl", "caches removed by ttl"),
        ("size", "caches removed by size"),
    ] {
        figures.add(what, by_reason.get(reason).copied().unwrap_or(0));
    }
    figures.add("caches removed", ended.list("/removed").len() as u64);
    for (list, what) in [
        ("condemned", "packs condemned"),
        ("pardoned", "packs pardoned"),
        ("deleted", "packs deleted"),
    ] {
        figures.add(what, ended.list(&format!("/{list}/packs")).len() as u64);
    }
    figures.add("bytes deleted", ended.number("/deleted/bytes"));
    figures.add("packs repacked", ended.number("/repacked/packs"));
    figures.add("manifests moved by repacking", ended.number("/repacked/manifests"));
    figures
        .add("manifests that repacking found changed", ended.number("/repacked/manifests_changed"));
    figures.add("index deltas merged", ended.number("/deltas_merged"));
}
