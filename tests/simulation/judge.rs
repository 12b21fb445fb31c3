//! Who watches every effect on the store, and says what must not be.
//!
//! The judge knows more than any actor: what each manifest was saved from, and
//! whether its saver has said that it succeeded. All manifests that come of one
//! put of a saver, by refreshing or moving it, are one *lineage*: what was said
//! of one of them holds for all.

mod objects;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt::Write as _;
use std::time::Duration;

use larder::error::Error;
use larder::format::{GcState, Layout, Lifetime, Manifest};
use larder::ids::{Key, PackId, Scope};
use larder::restore::Hit;
use larder::save::{Copied, SaveReport};
use larder::store::{MemoryStore, ObjectKey, PutMode, Store, StoreError};
use larder::store_time::StoreTime;

use crate::actors::{Actor, End, GRACE, REFRESH_AFTER, Role};
use crate::desk::{Answer, Outcome, Request};
use crate::tally::{Event, Tally};
use crate::trees::Trees;

/// What must not be, in words.
pub(crate) type Verdict = Result<(), String>;

/// What was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Tree(usize),
    /// An object's blob.
    Object(String),
    /// A part of an upload, or its beginning: nobody says success of it.
    Part,
}

/// Everything that came of one put of a saver.
struct Lineage {
    object: ObjectKey,
    what: What,
    owner: usize,
    /// When its saver put it last.
    put_at: StoreTime,
    /// Whether its own saver has removed it.
    is_taken_back: bool,
    /// Whether a saver has said success of it.
    is_said: bool,
    /// When such a saver had last looked at the clock, if no request of it was
    /// lost.
    promised: Option<StoreTime>,
    /// How it was removed, if a flush removed it.
    removed: Option<RemovedBy>,
}

impl Lineage {
    fn new(object: ObjectKey, what: What, put_at: StoreTime) -> Self {
        Self {
            object,
            what,
            owner: usize::MAX,
            put_at,
            is_taken_back: false,
            is_said: false,
            promised: None,
            removed: None,
        }
    }
}

/// A flush that removed a cache.
#[derive(Clone, Copy)]
struct RemovedBy {
    flush: usize,
    at: StoreTime,
    /// How long the cache was to be kept after its last use; `None` if the
    /// budget could end that.
    age: Option<Duration>,
}

/// One version of a manifest.
struct Published {
    lineage: usize,
    packs: BTreeSet<PackId>,
    last_used: StoreTime,
    lifetime: Lifetime,
}

/// What an actor has seen and done.
struct Witness {
    label: String,
    role: Role,
    /// The manifests that it was told of last: version, and when.
    reads: HashMap<ObjectKey, (String, StoreTime)>,
    /// All versions of manifests that it was told of.
    seen: HashSet<String>,
    /// The lineage that it has put last, and how often it has put one.
    put: Option<usize>,
    puts: u64,
    /// What it was last told of the clock.
    now: StoreTime,
    began: StoreTime,
    /// When it was told anything: when its next request was sent.
    told: StoreTime,
    /// When it was told that a pack is not there.
    missed: Option<StoreTime>,
    /// Whether it has said which packs it is about to empty.
    has_announced: bool,
    /// The packs of the manifests that it has removed or replaced.
    left: BTreeSet<PackId>,
    /// Puts of the state by others, when it began.
    others_before: u64,
    own_state_puts: u64,
    /// The epoch when a process that serves objects had ended its last two deeds, and how
    /// often a put of it has met another version since.
    deeds: [u64; 2],
    overtaken: u64,
}

/// The object of a cache's manifest.
fn object_of(scope: &Scope, key: &Key) -> ObjectKey {
    Layout::manifest(scope, key).expect("the names are short")
}

/// Watches one run.
pub(crate) struct Judge<'a> {
    store: &'a MemoryStore,
    trees: &'a Trees,
    pub(crate) tally: Tally,
    lineages: Vec<Lineage>,
    /// The lineages of objects, by their tags.
    tags: HashMap<String, usize>,
    published: HashMap<String, Published>,
    /// The version that each manifest has now.
    manifests: BTreeMap<ObjectKey, String>,
    packs: BTreeSet<PackId>,
    /// When a cache of which success was said last ceased to need a pack.
    needed_until: HashMap<PackId, StoreTime>,
    /// How long it took until it was known that a pack is condemned.
    delays: HashMap<PackId, Duration>,
    /// Packs that were condemned while a cache needed them, which was then
    /// replaced by another save, or removed by a flush that did not come to its
    /// commit: nobody can know that they were needed until then.
    untold: BTreeSet<PackId>,
    state: GcState,
    state_puts: u64,
    witnesses: Vec<Witness>,
    /// Random ids by the order of their first use, which is the seed's.
    names: HashMap<String, usize>,
}

impl<'a> Judge<'a> {
    pub(crate) fn new(store: &'a MemoryStore, trees: &'a Trees) -> Self {
        Self {
            store,
            trees,
            tally: Tally::new(),
            lineages: vec![],
            tags: HashMap::new(),
            published: HashMap::new(),
            manifests: BTreeMap::new(),
            packs: BTreeSet::new(),
            needed_until: HashMap::new(),
            delays: HashMap::new(),
            untold: BTreeSet::new(),
            state: GcState::default(),
            state_puts: 0,
            witnesses: vec![],
            names: HashMap::new(),
        }
    }

    fn clock(&self) -> StoreTime {
        self.store.now().expect("a store in memory has a clock").into()
    }

    /// An actor begins; they do in the order of their numbers.
    pub(crate) fn begins(&mut self, actor: &Actor) {
        assert_eq!(actor.number, self.witnesses.len());
        self.witnesses.push(Witness {
            label: actor.label(),
            role: actor.role.clone(),
            reads: HashMap::new(),
            seen: HashSet::new(),
            put: None,
            puts: 0,
            now: StoreTime::default(),
            began: self.clock(),
            told: self.clock(),
            missed: None,
            has_announced: false,
            left: BTreeSet::new(),
            others_before: self.state_puts,
            own_state_puts: 0,
            deeds: [self.state.epoch; 2],
            overtaken: 0,
        });
    }

    /// An object's name, the same in every run of the seed.
    pub(crate) fn name(&mut self, key: &ObjectKey) -> String {
        let kind = match (Layout::parse_pack(key), Layout::parse_delta(key)) {
            (Some(_), _) => "pack",
            (_, Some(_)) => "delta",
            _ if Layout::parse_table(key).is_some() => "table",
            _ if key.as_str().contains("s3-upload") => "upload",
            _ => return key.to_string(),
        };
        let next = self.names.len();
        let number = *self.names.entry(key.to_string()).or_insert(next);
        format!("{kind}#{number}")
    }

    /// For the log: what a put has put.
    pub(crate) fn told_of(&mut self, request: &Request) -> String {
        let Request::Put { key, body, .. } = request else { return String::new() };
        let mut name = |pack: &PackId| self.name(&Layout::pack(*pack));
        if let Ok(manifest) = Manifest::decode(body) {
            let packs: Vec<String> = manifest.chunks.packs().iter().map(&mut name).collect();
            let facts = &manifest.facts;
            return format!(", epoch {}, packs {}", facts.epoch, packs.join(" "));
        }
        if *key != Layout::gc_state() {
            return String::new();
        }
        let Ok(state) = GcState::decode(body) else { return String::new() };
        let condemned: Vec<String> = state.condemned.keys().map(&mut name).collect();
        let doomed: Vec<String> = state.doomed.iter().map(&mut name).collect();
        let mut text = format!(", epoch {}", state.epoch);
        for (what, packs) in [("condemned", condemned), ("doomed", doomed)] {
            if !packs.is_empty() {
                let _ = write!(text, ", {what} {}", packs.join(" "));
            }
        }
        if let Some(repacking) = &state.repacking {
            let emptied: Vec<String> = repacking.emptied.iter().map(&mut name).collect();
            let _ = write!(text, ", emptying {}", emptied.join(" "));
        }
        text
    }

    /// A request took effect, whoever learns of it.
    pub(crate) fn effect(&mut self, by: usize, request: &Request, outcome: &Outcome) -> Verdict {
        if request.changes_the_store()
            && outcome.is_ok()
            && matches!(self.witnesses[by].role, Role::Flush { dry_run: true, .. })
        {
            return Err("a dry run changed something".to_owned());
        }
        match request {
            Request::Put { key, body, mode } => {
                if *key == Layout::gc_state() {
                    if outcome.is_ok() {
                        self.state_put(by, body)?;
                    }
                } else if key.as_str().starts_with(Layout::manifests()) {
                    self.manifest_put(by, key, body, mode, outcome)?;
                } else if let Some(pack) = Layout::parse_pack(key)
                    && outcome.is_ok()
                {
                    self.packs.insert(pack);
                    if matches!(self.witnesses[by].role, Role::Flush { .. }) {
                        self.tally.count(Event::Filled);
                    }
                }
            }
            Request::Delete { keys } => {
                if outcome.is_ok() {
                    self.deleted(by, keys)?;
                }
            }
            Request::DeleteIfMatch { key, .. } => match outcome {
                Ok(_) => self.deleted(by, std::slice::from_ref(key))?,
                Err(error) if error.is_conflict() => self.tally.count(Event::Acquitted),
                Err(_) => {}
            },
            _ => return Ok(()),
        }
        self.check()
    }

    /// An actor learns of an answer.
    pub(crate) fn told(&mut self, actor: usize, request: &Request, outcome: &Outcome) {
        let clock = self.clock();
        let witness = &mut self.witnesses[actor];
        witness.told = clock;
        match (request, outcome) {
            (Request::Get { key, .. }, Ok(Answer::Object(object)))
                if key.as_str().starts_with(Layout::manifests()) =>
            {
                let version = object.meta.version.as_str().to_owned();
                witness.seen.insert(version.clone());
                // What a restore reads again it only refreshes.
                let is_again =
                    matches!(witness.role, Role::Restore { .. }) && witness.reads.contains_key(key);
                if !is_again {
                    witness.reads.insert(key.clone(), (version, clock));
                }
            }
            (Request::Head { key }, Ok(Answer::Meta(meta)))
                if matches!(witness.role, Role::Serve(_))
                    && key.as_str().starts_with(Layout::manifests()) =>
            {
                witness.reads.insert(key.clone(), (meta.version.as_str().to_owned(), clock));
            }
            (Request::GetRange { key, .. }, Err(error))
                if error.is_not_found() && Layout::parse_pack(key).is_some() =>
            {
                witness.missed = Some(clock);
            }
            (Request::List { prefix, .. }, Ok(Answer::Page(page)))
                if prefix.starts_with(Layout::manifests()) =>
            {
                let versions = page.objects.iter().map(|object| object.version.as_str());
                witness.seen.extend(versions.map(str::to_owned));
            }
            (Request::Now, Ok(Answer::Time(time))) => witness.now = (*time).into(),
            _ => {}
        }
    }

    /// F3, F5, F6 and the order of a pack's states.
    fn state_put(&mut self, by: usize, body: &[u8]) -> Verdict {
        let new =
            GcState::decode(body).map_err(|error| format!("the state is damaged: {error}"))?;
        let old = std::mem::replace(&mut self.state, new);
        let (new, clock) = (&self.state, self.clock());
        self.state_puts += 1;
        let witness = &mut self.witnesses[by];
        witness.own_state_puts += 1;
        witness.has_announced |= new.repacking.is_some() && new.repacking != old.repacking;
        if new.epoch < old.epoch {
            return Err(format!("the epoch fell from {} to {}", old.epoch, new.epoch));
        }
        for pack in old.doomed.difference(&new.doomed) {
            if self.packs.contains(pack) {
                return Err(format!("{pack} was doomed, and is neither doomed nor gone"));
            }
        }
        if new.epoch > old.epoch {
            // What it has removed, it knows of.
            self.untold.retain(|pack| new.is_listed(*pack) && !witness.left.contains(pack));
        }
        let mut doomed = 0;
        for pack in new.doomed.difference(&old.doomed) {
            doomed += 1;
            match old.condemned.get(pack) {
                Some(since) if clock.since(*since) >= GRACE => {}
                Some(_) => return Err(format!("{pack} was doomed before its grace was over")),
                None => return Err(format!("{pack} was doomed without having been condemned")),
            }
        }
        let is_new = |pack: &&PackId| !old.condemned.contains_key(pack);
        let mut condemned = 0;
        for pack in new.condemned.keys().filter(is_new) {
            condemned += 1;
            self.delays.insert(*pack, clock.since(witness.told));
        }
        let is_pardoned = |pack: &&PackId| self.packs.contains(pack) && !new.is_listed(**pack);
        let pardoned = old.condemned.keys().filter(is_pardoned).count();
        self.tally.add(Event::Doomed, doomed);
        self.tally.add(Event::Condemned, condemned);
        self.tally.add(Event::Pardoned, pardoned);
        Ok(())
    }

    fn manifest_put(
        &mut self,
        by: usize,
        object: &ObjectKey,
        body: &[u8],
        mode: &PutMode,
        outcome: &Outcome,
    ) -> Verdict {
        let clock = self.clock();
        let witness = &mut self.witnesses[by];
        let is_flush = matches!(witness.role, Role::Flush { .. });
        let is_server = matches!(witness.role, Role::Serve(_));
        let is_move = is_flush && witness.has_announced;
        let Ok(Answer::Put(version)) = outcome else {
            let is_conflict = outcome.as_ref().is_err_and(StoreError::is_conflict);
            match (is_conflict, is_flush) {
                (false, _) => {}
                _ if is_server => {
                    witness.overtaken += 1;
                    self.tally.count(Event::ObjectOvertaken);
                }
                (true, true) => self.tally.count(Event::NotMoved),
                (true, false) => self.tally.count(Event::NotRefreshed),
            }
            return Ok(());
        };
        let manifest =
            Manifest::decode(body).map_err(|error| format!("{object} is damaged: {error}"))?;
        let own_object = if is_server { self.own_object(by, object, &manifest)? } else { None };
        let witness = &mut self.witnesses[by];
        let now = self.manifests.get(object).and_then(|version| self.published.get(version));
        let facts = &manifest.facts;
        let last_used = facts.used.unwrap_or(clock);
        let own = match (&witness.role, mode) {
            (Role::Save { tree, .. }, PutMode::Overwrite | PutMode::Create) => {
                Some(What::Tree(*tree))
            }
            (Role::Copy { name: (scope, to), from, .. }, _) if *object == object_of(scope, to) => {
                let read = witness.reads.get(&object_of(scope, from));
                let read = read.and_then(|(version, _)| self.published.get(version));
                let Some(read) = read else {
                    return Err(format!("{object} was copied from what was not read"));
                };
                Some(self.lineages[read.lineage].what.clone())
            }
            _ => None,
        };
        let lineage = match own {
            _ if own_object.is_some() => own_object.expect("it is one's"),
            Some(what) => {
                self.lineages.push(Lineage::new(object.clone(), what, clock));
                let lineage = self.lineages.len() - 1;
                witness.put = Some(lineage);
                witness.puts += 1;
                if witness.puts > 1 {
                    self.tally.count(Event::Round);
                }
                lineage
            }
            None => {
                let read = match mode {
                    PutMode::IfMatch(version) => Some(version.as_str()),
                    _ => witness.reads.get(object).map(|(version, _)| version.as_str()),
                };
                let read = read.and_then(|version| self.published.get(version));
                let Some(read) = read else {
                    return Err(format!("{object} was put by who had not read it"));
                };
                match now {
                    None => return Err(format!("{object} was brought back after its removal")),
                    Some(now) if now.lineage != read.lineage => {
                        return Err(format!("{object}: what was read before covers a newer save"));
                    }
                    Some(now) if is_flush && now.last_used != last_used => {
                        return Err(format!("{object}: a flush changed the time of its last use"));
                    }
                    Some(_) => {}
                }
                self.tally.count(match (is_flush, is_move) {
                    (true, true) => Event::Moved,
                    (true, false) => Event::Fenced,
                    (false, _) => Event::Refreshed,
                });
                read.lineage
            }
        };
        let packs = manifest.chunks.packs().into_iter().collect();
        let lifetime = facts.lifetime;
        let version = version.as_str().to_owned();
        self.published.insert(version.clone(), Published { lineage, packs, last_used, lifetime });
        if let Some(before) = self.manifests.insert(object.clone(), version) {
            self.is_over(by, &before);
        }
        Ok(())
    }

    /// A version of a manifest is not there any more. Who has read it may still
    /// be restoring it.
    fn is_over(&mut self, by: usize, version: &str) {
        let Published { lineage, packs, .. } = &self.published[version];
        if self.lineages[*lineage].is_said {
            let clock = self.clock();
            self.needed_until.extend(packs.iter().map(|pack| (*pack, clock)));
        }
        let condemned = packs.iter().filter(|pack| self.state.condemned.contains_key(pack));
        self.untold.extend(condemned);
        self.witnesses[by].left.extend(packs);
    }

    /// F4, F7 and R1.
    fn deleted(&mut self, by: usize, keys: &[ObjectKey]) -> Verdict {
        for key in keys {
            if let Some(pack) = Layout::parse_pack(key) {
                if !self.packs.remove(&pack) {
                    continue;
                }
                self.tally.count(Event::Deleted);
                if !self.state.doomed.contains(&pack) {
                    return Err(format!("{pack} was deleted, and was not doomed"));
                }
                let needed = self.needed_until.get(&pack);
                let rest = needed.map_or(GRACE, |until| self.clock().since(*until));
                // Its flush asked for the time, and slept before it told of it.
                let delay = self.delays.get(&pack).copied().unwrap_or_default();
                if rest + delay < GRACE && !self.untold.contains(&pack) {
                    let name = self.name(key);
                    return Err(format!("{name} was deleted {rest:?} after a cache had needed it"));
                }
            } else if let Some(version) = self.manifests.remove(key) {
                self.is_over(by, &version);
                self.removed(by, &version)?;
            }
        }
        Ok(())
    }

    fn removed(&mut self, by: usize, version: &str) -> Verdict {
        let clock = self.clock();
        let witness = &self.witnesses[by];
        let published = &self.published[version];
        let Role::Flush { age, max_size, .. } = witness.role else {
            // A copy that is not settled is taken back, and nothing else is.
            let is_own = witness.put == Some(published.lineage);
            let lineage = published.lineage;
            if is_own && !self.lineages[published.lineage].is_said {
                self.tally.count(Event::TakenBack);
                return Ok(());
            }
            return self.removed_by_server(by, lineage);
        };
        let lineage = &mut self.lineages[published.lineage];
        if !witness.seen.contains(version) {
            return Err(format!("{} was removed in a version that was not judged", lineage.object));
        }
        let age = match published.lifetime {
            Lifetime::For(ttl) => ttl,
            _ => age,
        };
        let is_old = clock.since(published.last_used) > age;
        if !is_old && max_size.is_none() {
            return Err(format!("{} was removed before its time", lineage.object));
        }
        if lineage.what == What::Part {
            self.tally.count(Event::PartRemoved);
        }
        self.tally.count(if is_old { Event::Aged } else { Event::Squeezed });
        let age = max_size.is_none().then_some(age);
        lineage.removed = Some(RemovedBy { flush: by, at: clock, age });
        let lineage = published.lineage;
        self.check_promise(lineage)
    }

    /// A cache that was said to be saved is kept for its age, less what the
    /// time of its last use may lag behind.
    fn check_promise(&self, lineage: usize) -> Verdict {
        let Lineage { object, promised, removed, .. } = &self.lineages[lineage];
        let (Some(promised), Some(RemovedBy { flush, at, age: Some(age) })) = (promised, removed)
        else {
            return Ok(());
        };
        if at.since(*promised) > age.saturating_sub(REFRESH_AFTER) {
            return Ok(());
        }
        let flush = &self.witnesses[*flush].label;
        Err(format!("{flush} removed {object}, of which success was said that shortly before"))
    }

    /// No cache of which success was said lacks anything.
    fn check(&self) -> Verdict {
        for (object, version) in &self.manifests {
            let Published { lineage, packs, .. } = &self.published[version];
            if !self.lineages[*lineage].is_said {
                continue;
            }
            for pack in packs {
                if !self.packs.contains(pack) {
                    return Err(format!("{object} was saved, and its pack {pack} is gone"));
                }
                if self.state.doomed.contains(pack) {
                    return Err(format!("{object} was saved, and its pack {pack} is doomed"));
                }
            }
        }
        Ok(())
    }

    /// An actor has ended, and was not killed.
    pub(crate) fn ended(&mut self, actor: &Actor, end: &End) -> Verdict {
        match end {
            End::Panicked(text) => Err(format!("{} panicked: {text}", actor.label())),
            End::Saved(Ok(report)) => self.saved(actor, report),
            End::Saved(Err(Error::SaveOvertaken(_)))
            | End::Copied(Err(Error::SaveOvertaken(_))) => Ok(()),
            End::Copied(Ok(copied)) => self.copied(actor, *copied),
            End::Restored(Ok(report)) => {
                let key = match (&report.key, &actor.role) {
                    (Some(key), Role::Restore { scope, .. }) => (scope.clone(), key.clone()),
                    _ => {
                        assert_eq!(report.hit, Hit::Miss);
                        self.tally.count(Event::Miss);
                        return Ok(());
                    }
                };
                self.restored(actor, &Layout::manifest(&key.0, &key.1).expect("it was read"))
            }
            End::Restored(Err(Error::Missing { object, needed_by })) => {
                self.not_restored(actor, object, needed_by)
            }
            End::Served(Ok(())) => Ok(()),
            End::Flushed(Ok(_)) => {
                self.tally.count(Event::Flush);
                Ok(())
            }
            End::Flushed(Err(error)) => {
                let witness = &self.witnesses[actor.number];
                let is_overtaken = self.state_puts > witness.others_before + witness.own_state_puts;
                if is_overtaken {
                    // Whatever it was that it could not find then.
                    self.tally.count(Event::FlushOvertaken);
                    return Ok(());
                }
                self.failed(actor, error)
            }
            End::Saved(Err(error))
            | End::Copied(Err(error))
            | End::Served(Err(error))
            | End::Restored(Err(error)) => self.failed(actor, error),
        }
    }

    fn failed(&self, actor: &Actor, error: &Error) -> Verdict {
        if actor.was_failed {
            return Ok(());
        }
        Err(format!("{} failed without a reason: {error}", actor.label()))
    }

    fn saved(&mut self, actor: &Actor, report: &SaveReport) -> Verdict {
        let Role::Save { name: (scope, key), tree, .. } = &actor.role else {
            return Err("only a save saves".to_owned());
        };
        let object = Layout::manifest(scope, key).expect("it was put");
        let witness = &self.witnesses[actor.number];
        self.tally.count(Event::Save);
        let lineage = if report.unchanged {
            self.tally.count(Event::Unchanged);
            witness.reads.get(&object).map(|(version, _)| self.published[version].lineage)
        } else {
            witness.put
        };
        if lineage.is_some_and(|lineage| self.lineages[lineage].what != What::Tree(*tree)) {
            return Err(format!("{} said success of another tree", actor.label()));
        }
        self.said(actor, lineage)
    }

    fn copied(&mut self, actor: &Actor, copied: Copied) -> Verdict {
        let Copied::Yes { .. } = copied else { return Ok(()) };
        self.tally.count(Event::Copy);
        self.said(actor, self.witnesses[actor.number].put)
    }

    /// Success is said of what came of a put.
    fn said(&mut self, actor: &Actor, lineage: Option<usize>) -> Verdict {
        let Some(lineage) = lineage else {
            return Err(format!("{} said success, and has put nothing", actor.label()));
        };
        let witness = &self.witnesses[actor.number];
        let said = &mut self.lineages[lineage];
        said.is_said = true;
        if !actor.was_failed {
            said.promised = said.promised.max(Some(witness.now));
        }
        self.check_promise(lineage)?;
        self.check()
    }

    fn restored(&mut self, actor: &Actor, object: &ObjectKey) -> Verdict {
        let witness = &self.witnesses[actor.number];
        let Some((version, read)) = witness.reads.get(object) else {
            return Err(format!("{} restored what it had not read", actor.label()));
        };
        let What::Tree(tree) = &self.lineages[self.published[version].lineage].what else {
            return Err(format!("{} restored what is no tree", actor.label()));
        };
        if !self.trees.is_same(*tree, &actor.target.join("tree")) {
            return Err(format!("{} brought back another tree", actor.label()));
        }
        self.tally.count(Event::Restore);
        if self.clock().since(*read) > GRACE {
            self.tally.count(Event::RestoreAfterPause);
        }
        Ok(())
    }

    /// R1.
    fn not_restored(&mut self, actor: &Actor, pack: &ObjectKey, object: &ObjectKey) -> Verdict {
        let witness = &self.witnesses[actor.number];
        let (Some((version, read)), Some(missed)) = (witness.reads.get(object), witness.missed)
        else {
            return Err(format!("{} missed what it had not asked for", actor.label()));
        };
        if !self.lineages[self.published[version].lineage].is_said {
            self.tally.count(Event::RestoreOfNothingPromised);
            return Ok(());
        }
        let took = missed.since(*read);
        let id = Layout::parse_pack(pack).expect("it is the object of a pack");
        let delay = self.delays.get(&id).copied().unwrap_or_default();
        if took + delay >= GRACE || self.untold.contains(&id) {
            self.tally.count(Event::RestoreTooSlow);
            return Ok(());
        }
        let label = actor.label();
        Err(format!("{label} found {pack} of {object} gone after {took:?}, less than grace"))
    }

    /// What is left when nobody saves any more.
    pub(crate) fn quiet(&self) -> Verdict {
        let GcState { condemned, doomed, repacking, claim, table, .. } = &self.state;
        let mut wrong = String::new();
        let needed: BTreeSet<PackId> = self
            .manifests
            .values()
            .flat_map(|version| self.published[version].packs.iter().copied())
            .collect();
        for pack in self.packs.difference(&needed) {
            let _ = writeln!(wrong, "nothing refers to {pack}");
        }
        if !condemned.is_empty() || !doomed.is_empty() || repacking.is_some() || claim.is_some() {
            let _ = writeln!(wrong, "the state is not at rest: {:?}", self.state);
        }
        for object in self.store.contents().into_keys() {
            let is_needed = match Layout::parse_table(&object) {
                Some(id) => Some(id) == *table,
                None => Layout::parse_delta(&object).is_none(),
            };
            if !is_needed {
                let _ = writeln!(wrong, "{object} is left");
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    /// The caches that must be there as they were saved: with their trees.
    pub(crate) fn promised(&self) -> Vec<(Scope, Key, usize)> {
        let kept = self.manifests.iter().filter_map(|(object, version)| {
            let lineage = &self.lineages[self.published[version].lineage];
            if !lineage.is_said {
                return None;
            }
            let What::Tree(tree) = lineage.what else { return None };
            let (scope, key) = Layout::parse_manifest(object)?;
            Some((scope, key, tree))
        });
        kept.collect()
    }

    /// What a flush can still change.
    pub(crate) fn rest(&self) -> (Vec<ObjectKey>, GcState) {
        let objects = self.store.contents().into_keys().collect();
        (objects, GcState { epoch: 0, ..self.state.clone() })
    }

    pub(crate) fn manifests(&self) -> usize {
        self.manifests.len()
    }
}
