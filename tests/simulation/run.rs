//! One run: who gets the next turn, what goes wrong, and when.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use larder::error::Error;
use larder::format::Lifetime;
use larder::ids::{Key, Scope};
use larder::objects::ObjectError;
use larder::progress::{Context, NoProgress};
use larder::restore::{Hit, RestoreRequest, restore};
use larder::store::{MemoryStore, ObjectKey, Operation, Store, StoreError};
use larder::store_time::StoreTime;

use crate::actors::{Actor, End, GRACE, Kind, NAMES, Role, restore_request};
use crate::desk::{Answer, News, Outcome, Request};
use crate::judge::{Judge, Verdict};
use crate::random::Random;
use crate::serve::{self, Deed, Shift};
use crate::tally::{Event, Tally};
use crate::trees::{self, Trees};

/// Turns of a run, before it is brought to rest.
const TURNS: u64 = 350;

/// Actors at once, those that are left alone included.
const MOST_ACTORS: usize = 12;

/// Turns after which an actor that is not disturbed any more does not end.
const MOST_TURNS: u64 = 5_000;

/// Flushes after which a store is at rest where nobody saves.
const MOST_FLUSHES: u32 = 12;

/// How long nothing happens before somebody hangs: longer than any machine,
/// however busy, takes to walk a directory.
const PATIENCE: Duration = Duration::from_secs(60);

/// A run that showed a fault.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) seed: u64,
    pub(crate) turn: u64,
    pub(crate) why: String,
    pub(crate) log: Vec<String>,
}

/// How a run goes: chance differs from seed to seed.
#[derive(Clone, Copy)]
struct Habits {
    /// Of a hundred turns, how many the same actor goes on.
    stay: u64,
    /// An actor is left alone once in so many turns; likewise the others.
    sleep: u64,
    crash: u64,
    fault: u64,
    clock: u64,
    /// The most objects of a listing's page.
    page: usize,
    /// How many names there are, and how many trees are saved under them.
    names: usize,
    trees: u64,
    /// How many keys objects have.
    objects: usize,
    /// How many blobs they hold.
    blobs: usize,
    /// How long flushes keep caches, in hours: each one of these.
    ages: [u64; 3],
    /// A flush repacks once in so many times.
    repack: u64,
    /// Who is about to ask for one of these often is left alone for long.
    traps: [&'static [Trap]; 2],
}

/// A kind of request that the protocol has a rule about: who, does what, with
/// which objects.
type Trap = (Kind, Operation, &'static str);

/// Of one group, all.
const TRAPS: [&[Trap]; 10] = [
    &[(Kind::Saver, Operation::Get, "manifests/"), (Kind::Saver, Operation::Get, "gc/state")],
    &[(Kind::Saver, Operation::Get, "index/"), (Kind::Saver, Operation::Put, "index/")],
    &[(Kind::Saver, Operation::Put, "packs/"), (Kind::Saver, Operation::Put, "manifests/")],
    &[(Kind::Restorer, Operation::Get, "packs/"), (Kind::Restorer, Operation::Put, "manifests/")],
    &[(Kind::Flusher, Operation::Get, "gc/state"), (Kind::Flusher, Operation::List, "manifests/")],
    &[(Kind::Flusher, Operation::Get, "packs/"), (Kind::Flusher, Operation::Put, "manifests/")],
    &[(Kind::Flusher, Operation::Put, "gc/state"), (Kind::Flusher, Operation::Delete, "packs/")],
    &[(Kind::Flusher, Operation::Delete, "manifests/"), (Kind::Flusher, Operation::Get, "index/")],
    &[(Kind::Server, Operation::Put, "packs/"), (Kind::Server, Operation::Put, "manifests/")],
    &[(Kind::Server, Operation::Get, "gc/state"), (Kind::Server, Operation::Get, "packs/")],
];

impl Habits {
    fn draw(trees: &Trees, random: &mut Random) -> Self {
        Self {
            stay: *random.pick(&[0, 50, 80, 95]),
            sleep: *random.pick(&[16, 40, 100]),
            crash: *random.pick(&[0, 40, 150]),
            fault: *random.pick(&[0, 0, 30, 100]),
            clock: *random.pick(&[6, 15, 40]),
            page: *random.pick(&[2, 5, 1000]),
            names: 1 + random.below(NAMES.len() as u64) as usize,
            trees: 2 + random.below(trees.count() - 1),
            objects: 1 + random.below(serve::KEYS.len() as u64) as usize,
            blobs: 1 + random.below(serve::BLOBS.len() as u64) as usize,
            ages: *random.pick(&[[2, 6, 24], [6, 24, 100], [24, 240, 1000]]),
            repack: *random.pick(&[1, 2, 4]),
            traps: [*random.pick(&TRAPS), *random.pick(&TRAPS)],
        }
    }
}

impl Habits {
    /// The same, but nothing goes wrong.
    fn calm(self) -> Self {
        Self { sleep: 0, crash: 0, fault: 0, ..self }
    }

    /// What an actor of this kind does next.
    fn role(&self, kind: Kind, random: &mut Random) -> Role {
        let (scope, key) = random.pick(&NAMES[..self.names]);
        let (scope, key): (Scope, Key) = (scope.parse().unwrap(), key.parse().unwrap());
        match kind {
            Kind::Saver if random.one_in(6) => {
                let from = random.pick(&NAMES[..self.names]).1.parse().unwrap();
                Role::Copy { name: (scope, key), from, replace: random.one_in(2) }
            }
            Kind::Saver => Role::Save {
                name: (scope, key),
                tree: random.below(self.trees) as usize,
                lifetime: match random.below(4) {
                    0 => Lifetime::For(hours(3)),
                    _ => Lifetime::ByPolicy,
                },
                reuse: !random.one_in(15),
            },
            Kind::Restorer => {
                let prefix = key.as_str()[..3].to_owned();
                Role::Restore { scope, key: (!random.one_in(4)).then_some(key), prefix }
            }
            Kind::Server => Role::Serve(Shift::draw(self.objects, self.blobs, random)),
            Kind::Flusher => Role::Flush {
                age: hours(*random.pick(&self.ages)),
                max_size: random.one_in(5).then_some(300_000),
                repack: random.one_in(self.repack),
                dry_run: random.one_in(20),
            },
        }
    }
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(3_600 * hours)
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
enum Fate {
    Answered,
    /// It never arrives.
    Lost,
    /// It takes effect, and the answer is lost.
    AnswerLost,
    /// Its sender gives up, and it takes effect later.
    Late,
    /// Of several deletes, some are refused.
    Partial,
}

/// A request that is still on its way.
struct Late {
    due: u64,
    by: usize,
    label: String,
    request: Request,
}

struct Run<'a> {
    seed: u64,
    random: Random,
    habits: Habits,
    trees: &'a Trees,
    store: Arc<MemoryStore>,
    judge: Judge<'a>,
    actors: Vec<Actor>,
    began: usize,
    current: usize,
    late: Vec<Late>,
    turn: u64,
    log: Vec<String>,
}

/// Runs one seed.
pub(crate) fn run(seed: u64, trees: &Trees) -> Result<(Tally, Vec<String>), Box<Failure>> {
    let store = Arc::new(MemoryStore::new());
    let watched = Arc::clone(&store);
    let mut random = Random::new(seed);
    let mut run = Run {
        seed,
        habits: Habits::draw(trees, &mut random),
        random,
        trees,
        store,
        judge: Judge::new(&watched, trees),
        actors: vec![],
        began: 0,
        current: 0,
        late: vec![],
        turn: 0,
        log: vec![],
    };
    let verdict = run.all();
    run.stop();
    match verdict {
        Ok(()) => Ok((run.judge.tally, run.log)),
        Err(why) => Err(Box::new(Failure { seed, turn: run.turn, why, log: run.log })),
    }
}

impl Run<'_> {
    fn all(&mut self) -> Verdict {
        // Some runs begin with a store that has caches already.
        for _ in 0..self.random.below(6) {
            let kind = if self.random.one_in(3) { Kind::Server } else { Kind::Saver };
            let role = self.habits.role(kind, &mut self.random);
            self.alone(kind, role)?;
            self.pass(hours(1));
        }
        let last = self.turn + TURNS;
        let savers = 1 + self.random.below(3);
        let restorers = self.random.below(3);
        let flushers = 1 + u64::from(self.random.one_in(3));
        let counts = match self.random.below(3) {
            // Objects, mostly.
            0 => [self.random.below(2), 0, 2, 2 + self.random.below(2)],
            1 => [savers, restorers, flushers, 1],
            _ => [savers, restorers, flushers, 0],
        };
        let kinds = [Kind::Saver, Kind::Restorer, Kind::Flusher, Kind::Server];
        for (kind, count) in kinds.into_iter().zip(counts) {
            for _ in 0..count {
                self.begin_any(kind)?;
            }
        }
        while self.turn < last {
            if self.random.one_in(self.habits.clock) {
                self.pass_some_time();
            }
            self.next_turn(true)?;
        }
        self.bring_to_rest()?;
        self.rest()?;
        self.compare()?;
        self.compare_objects()?;
        if self.random.one_in(4) {
            self.purge()?;
        }
        Ok(())
    }

    /// Nobody begins any more, and nothing is lost: all others end.
    fn bring_to_rest(&mut self) -> Verdict {
        self.habits = self.habits.calm();
        self.note("from now on, nobody begins");
        for number in (0..self.actors.len()).rev() {
            match self.random.below(4) {
                0 => self.crash(number)?,
                1 => self.actors[number].sleeps_until = 0,
                // Once all others have ended, at the latest.
                _ => {}
            }
        }
        let last = self.turn + MOST_TURNS;
        while !self.actors.is_empty() {
            if self.random.one_in(40) {
                self.pass_some_time();
            }
            self.next_turn(false)?;
            if self.turn > last {
                return Err(format!("{} does not end", self.actors[0].label()));
            }
        }
        for late in std::mem::take(&mut self.late) {
            self.arrive(late)?;
        }
        Ok(())
    }

    /// Flushes until nothing changes any more.
    fn rest(&mut self) -> Verdict {
        for number in 0..MOST_FLUSHES {
            let before = self.judge.rest();
            self.pass(GRACE + Duration::from_secs(600));
            let repack = number == 0 && self.random.one_in(2);
            self.alone(Kind::Flusher, Role::tidy(repack))?;
            if self.judge.rest() == before {
                return self.judge.quiet();
            }
        }
        let rest = self.judge.quiet().err().unwrap_or_default();
        Err(format!("after {MOST_FLUSHES} flushes, the store is not at rest: {rest}"))
    }

    /// Restores all caches of which success was said.
    fn compare(&mut self) -> Verdict {
        let promised = self.judge.promised();
        self.judge.tally.add(Event::Checked, promised.len());
        let (store, trees, seed) = (&self.store, self.trees, self.seed);
        let one = |(scope, key, tree): (Scope, Key, usize)| -> Verdict {
            let name = format!("{scope} {key}");
            let target = trees.target(&format!("end-{seed}-{scope}-{key}"));
            let request = RestoreRequest {
                refresh_after: Duration::MAX,
                ..restore_request(scope, Some(key), String::new(), target.clone())
            };
            let stop = AtomicBool::new(false);
            let context = Context { progress: &NoProgress, stop: &stop };
            let report = restore(store.clone(), &request, context)
                .map_err(|error| format!("at the end, {name} cannot be restored: {error}"))?;
            if report.hit != Hit::Exact || !trees.is_same(tree, &target.join("tree")) {
                return Err(format!("at the end, {name} is not what was saved"));
            }
            let _ = fs::remove_dir_all(target);
            Ok(())
        };
        std::thread::scope(|threads| {
            let all: Vec<_> =
                promised.into_iter().map(|cache| threads.spawn(|| one(cache))).collect();
            all.into_iter().try_for_each(|thread| thread.join().expect("it does not panic"))
        })
    }

    /// Reads all objects. What nobody has said success of is whole, or lacks a pack.
    fn compare_objects(&mut self) -> Verdict {
        let there = self.judge.objects();
        if there.is_empty() {
            return Ok(());
        }
        let objects = serve::open(self.store.clone(), false)
            .map_err(|error| format!("at the end, the store cannot be opened: {error}"))?;
        for (key, blob, is_said) in there {
            let found = objects.find(&serve::name(key.as_str()));
            match found.and_then(|found| serve::fetch_all(&objects, &found)) {
                Ok(bytes) if bytes == trees::bytes_of(&blob) => {
                    self.judge.tally.count(Event::ObjectChecked);
                }
                Ok(_) => return Err(format!("at the end, the object {key} is another")),
                Err(ObjectError::Failed(Error::Missing { .. })) if !is_said => {}
                Err(error) => {
                    return Err(format!("at the end, the object {key} cannot be read: {error}"));
                }
            }
        }
        Ok(())
    }

    /// Removes all caches: then all packs go.
    fn purge(&mut self) -> Verdict {
        for _ in 0..4 {
            self.pass(4 * GRACE);
            self.alone(Kind::Flusher, Role::purge())?;
        }
        if self.judge.manifests() > 0 {
            return Err("caches are left that have had their time".to_owned());
        }
        self.judge.quiet()
    }

    /// One actor begins, and ends, with nobody else there.
    fn alone(&mut self, kind: Kind, role: Role) -> Verdict {
        let habits = self.habits;
        self.habits = habits.calm();
        self.begin(kind, role)?;
        while !self.actors.is_empty() {
            self.next_turn(false)?;
        }
        self.habits = habits;
        Ok(())
    }

    fn begin_any(&mut self, kind: Kind) -> Verdict {
        let role = self.habits.role(kind, &mut self.random);
        self.begin(kind, role)
    }

    fn begin(&mut self, kind: Kind, role: Role) -> Verdict {
        let (number, page) = (self.began, self.habits.page);
        self.began += 1;
        let actor = Actor::start(self.seed, number, kind, role, self.trees, page);
        self.judge.begins(&actor);
        self.note(&format!("{} begins: {:?}", actor.label(), actor.role));
        self.actors.push(actor);
        self.settle(self.actors.len() - 1).map(drop)
    }

    /// What a process that serves objects has told its clients by now.
    fn told(&mut self, at: usize) -> Verdict {
        let label = self.actors[at].label();
        for deed in self.actors[at].diary.take() {
            let text = match &deed {
                Deed::Put { tag, end: Ok(()), .. } => format!("has put {tag}"),
                Deed::Read { tag, end: Ok(_), .. } => format!("has read {tag}"),
                Deed::Put { tag, end: Err(error), .. } => format!("has not put {tag}: {error}"),
                Deed::Read { tag, end: Err(error), .. } => format!("has not read {tag}: {error}"),
                Deed::Failed(error) => format!("has failed: {error}"),
            };
            self.note(&format!("{label} {text}"));
            self.judge.did(&self.actors[at], &deed)?;
        }
        Ok(())
    }

    /// Gives somebody a turn. Whoever ends is replaced, if that is asked for.
    fn next_turn(&mut self, replace: bool) -> Verdict {
        self.turn += 1;
        self.judge.tally.count(Event::Turn);
        self.store.take_calls();
        let (due, late) = std::mem::take(&mut self.late)
            .into_iter()
            .partition::<Vec<_>, _>(|late| late.due <= self.turn);
        self.late = late;
        for late in due {
            self.arrive(late)?;
        }
        let number = self.choose();
        self.current = self.actors[number].number;
        let kind = self.actors[number].kind;
        let crash = self.habits.crash;
        let crash = if self.is_trapped(number) { crash.div_ceil(8) } else { crash };
        let has_ended = if self.random.one_in(crash) {
            self.crash(number)?;
            true
        } else {
            self.act(number)?
        };
        if has_ended && replace {
            return self.begin_any(kind);
        }
        if has_ended { Ok(()) } else { self.leave_alone(number) }
    }

    /// Whether an actor is about to do what this run lays traps for.
    fn is_trapped(&self, at: usize) -> bool {
        let Actor { kind, desk, .. } = &self.actors[at];
        let is_in = |request: &Request, (who, operation, prefix): Trap| {
            who == *kind
                && operation == request.operation()
                && request.objects().iter().any(|object| object.starts_with(prefix))
        };
        let traps = self.habits.traps.concat();
        desk.is_any(|request| traps.iter().any(|trap| is_in(request, *trap)))
    }

    /// Now and then, an actor is left alone: for a while, or, in its place
    /// another one goes on, for most of the run.
    fn leave_alone(&mut self, at: usize) -> Verdict {
        let turns = if self.habits.sleep > 0 && self.is_trapped(at) && self.random.one_in(2) {
            32 << self.random.below(5)
        } else if self.random.one_in(self.habits.sleep) {
            4 << self.random.below(8)
        } else {
            return Ok(());
        };
        self.actors[at].sleeps_until = self.turn + turns;
        if turns > 60 && self.actors.len() < MOST_ACTORS {
            return self.begin_any(self.actors[at].kind);
        }
        Ok(())
    }

    /// Whose turn it is.
    fn choose(&mut self) -> usize {
        let is_awake = |actor: &Actor| actor.sleeps_until <= self.turn;
        let same = |actor: &Actor| actor.number == self.current && is_awake(actor);
        if let Some(same) = self.actors.iter().position(same)
            && self.random.below(100) < self.habits.stay
        {
            return same;
        }
        let awake: Vec<usize> =
            (0..self.actors.len()).filter(|&number| is_awake(&self.actors[number])).collect();
        if awake.is_empty() {
            let first = (0..self.actors.len()).min_by_key(|&at| self.actors[at].sleeps_until);
            return first.expect("somebody is there");
        }
        *self.random.pick(&awake)
    }

    /// One request of an actor is dealt with; `true` if that was its last.
    fn act(&mut self, at: usize) -> Result<bool, String> {
        let pending = {
            let (judge, random) = (&mut self.judge, &mut self.random);
            self.actors[at].desk.take(|requests| {
                let mut order: Vec<_> = requests.iter().map(|one| rank(judge, one)).collect();
                order.sort();
                let chosen = order.swap_remove(random.below(order.len() as u64) as usize);
                requests.iter().position(|one| rank(judge, one) == chosen).unwrap_or(0)
            })
        };
        let fate = self.fate(&pending.request);
        let (by, label) = (self.actors[at].number, self.actors[at].label());
        let request = pending.request.clone();
        let outcome = match fate {
            Fate::Answered => self.perform(by, &label, &request)?,
            Fate::Lost => {
                self.judge.tally.count(Event::Lost);
                let error = Err(request.error("the request was lost"));
                self.write(&label, &request, &error);
                error
            }
            Fate::AnswerLost => {
                self.judge.tally.count(Event::AnswerLost);
                drop(self.perform(by, &label, &request)?);
                Err(request.error("the answer was lost"))
            }
            Fate::Late => {
                let error = Err(request.error("no answer came in time"));
                self.write(&label, &request, &error);
                self.send_late(by, &label, request.clone());
                error
            }
            Fate::Partial => {
                self.judge.tally.count(Event::Partial);
                self.delete_some(by, &label, &request)?
            }
        };
        self.actors[at].was_failed |= !matches!(fate, Fate::Answered);
        self.judge.told(by, &request, &outcome);
        pending.answer(outcome);
        let news = self.settle(at)?;
        self.told(at)?;
        if news == News::Ended {
            let mut actor = self.actors.swap_remove(at);
            let end = actor.end();
            self.note(&format!("{label} ends: {}", said(&end)));
            self.judge.ended(&actor, &end)?;
            let _ = fs::remove_dir_all(&actor.target);
            return Ok(true);
        }
        Ok(false)
    }

    fn fate(&mut self, request: &Request) -> Fate {
        let is_batch = request.objects().len() > 1;
        // There are few of those.
        let fault = if is_batch { self.habits.fault.div_ceil(20) } else { self.habits.fault };
        if !self.random.one_in(fault) {
            return Fate::Answered;
        }
        match self.random.below(4) {
            0 | 1 if is_batch => Fate::Partial,
            0 => Fate::Lost,
            2 if request.changes_the_store() => Fate::Late,
            _ => Fate::AnswerLost,
        }
    }

    /// The first half is deleted, and the others are said not to be.
    fn delete_some(
        &mut self,
        by: usize,
        label: &str,
        request: &Request,
    ) -> Result<Outcome, String> {
        let (first, others) = request.keys().split_at(request.keys().len() / 2);
        drop(self.perform(by, label, &Request::Delete { keys: first.to_vec() })?);
        let refused = |key: &ObjectKey| -> StoreError {
            let one = Request::Delete { keys: vec![key.clone()] };
            one.error("this one was refused")
        };
        Ok(Ok(Answer::Deleted(others.iter().map(refused).collect())))
    }

    fn send_late(&mut self, by: usize, label: &str, request: Request) {
        self.judge.tally.count(Event::Late);
        let due = self.turn + 1 + self.random.below(TURNS);
        self.late.push(Late { due, by, label: format!("{label}, late"), request });
    }

    #[expect(clippy::needless_pass_by_value, reason = "it arrives once")]
    fn arrive(&mut self, late: Late) -> Verdict {
        self.perform(late.by, &late.label, &late.request).map(drop)
    }

    fn perform(&mut self, by: usize, label: &str, request: &Request) -> Result<Outcome, String> {
        let outcome = request.perform(&self.store);
        self.write(label, request, &outcome);
        self.judge.effect(by, request, &outcome)?;
        Ok(outcome)
    }

    /// A process dies. What it has sent may arrive, now or later.
    fn crash(&mut self, at: usize) -> Verdict {
        self.judge.tally.count(Event::Crash);
        let mut actor = self.actors.swap_remove(at);
        let label = actor.label();
        self.note(&format!("{label} dies"));
        let mut sent = actor.desk.kill();
        sent.retain(Request::changes_the_store);
        sent.sort_by_cached_key(|request| rank(&mut self.judge, request));
        for request in sent {
            match self.random.below(3) {
                0 => {}
                1 => drop(self.perform(actor.number, &label, &request)?),
                _ => self.send_late(actor.number, &label, request),
            }
        }
        // It learns nothing more, and so ends soon.
        while actor.desk.wait(PATIENCE) != News::Ended {}
        let end = actor.end();
        let _ = fs::remove_dir_all(&actor.target);
        match end {
            End::Panicked(text) => Err(format!("{label} panicked: {text}")),
            _ => Ok(()),
        }
    }

    /// Waits until an actor has asked for all that it will ask for by itself, or
    /// has ended.
    fn settle(&mut self, at: usize) -> Result<News, String> {
        let actor = &mut self.actors[at];
        loop {
            match actor.desk.wait(PATIENCE) {
                News::Ended => return Ok(News::Ended),
                News::Nothing => return Err(format!("{} hangs", actor.label())),
                News::Waiting(asked) => {
                    if actor.threads.all_sleep() && actor.desk.asked() == asked {
                        return Ok(News::Waiting(asked));
                    }
                    // Its threads have work to do, and few processors.
                    std::thread::sleep(Duration::from_micros(50));
                }
            }
        }
    }

    fn pass_some_time(&mut self) {
        let minutes = match self.random.below(8) {
            0..=3 => 1 + self.random.below(20),
            4..=6 => 30 + self.random.below(120),
            _ => 60 * self.random.below(72),
        };
        self.pass(Duration::from_secs(60 * minutes));
    }

    fn pass(&mut self, time: Duration) {
        self.store.advance_clock(time);
    }

    fn write(&mut self, label: &str, request: &Request, outcome: &Outcome) {
        let keys: Vec<String> =
            request.keys().to_vec().iter().map(|key| self.judge.name(key)).collect();
        let what = match request {
            Request::List { prefix, after, .. } => {
                let after = after.as_ref().map(|key| self.judge.name(key));
                format!("{prefix}* {}", after.map(|key| format!("after {key}")).unwrap_or_default())
            }
            _ => keys.join(", "),
        };
        let answer = match outcome {
            Ok(Answer::Object(object)) => format!("version {}", object.meta.version.as_str()),
            Ok(Answer::Meta(meta)) => format!("version {}", meta.version.as_str()),
            Ok(Answer::Put(version)) => {
                format!("version {}{}", version.as_str(), self.judge.told_of(request))
            }
            Ok(Answer::Page(page)) => {
                let names: Vec<String> =
                    page.objects.iter().map(|object| self.judge.name(&object.key)).collect();
                format!("{}{}", names.join(", "), if page.more { " and more" } else { "" })
            }
            Ok(_) => "done".to_owned(),
            Err(error) => error.kind.to_string(),
        };
        let condition = match request {
            Request::Put { mode, .. } => format!(" {mode:?}"),
            Request::DeleteIfMatch { version, .. } => format!(" if {}", version.as_str()),
            _ => String::new(),
        };
        let operation = format!("{:?}", request.operation()).to_lowercase();
        self.note(&format!("{label:<12} {operation} {what}{condition}: {answer}"));
    }

    fn note(&mut self, text: &str) {
        let clock = StoreTime::from(self.store.now().expect("it has a clock"));
        let minutes = (clock.unix() - 1_767_225_600) / 60;
        let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
        let turn = self.turn;
        self.log.push(format!("{turn:>5} {days:>3}d {hours:02}:{minutes:02}  {text}"));
    }

    /// Ends all that is left, after a fault was found.
    fn stop(&mut self) {
        for mut actor in self.actors.drain(..) {
            actor.desk.kill();
            if actor.desk.wait(PATIENCE) == News::Ended {
                drop(actor.end());
            }
            let _ = fs::remove_dir_all(&actor.target);
        }
    }
}

/// The order in which requests of one actor are chosen from.
fn rank(judge: &mut Judge<'_>, request: &Request) -> (String, Vec<String>, u64) {
    let start = if let Request::GetRange { range, .. } = request { range.start } else { 0 };
    let names = request.keys().iter().map(|key| judge.name(key)).collect();
    let prefix = if let Request::List { prefix, .. } = request { prefix.as_str() } else { "" };
    (format!("{:?} {prefix}", request.operation()), names, start)
}

fn said(end: &End) -> String {
    match end {
        End::Saved(Ok(report)) if report.unchanged => "saved, unchanged".to_owned(),
        End::Saved(Ok(_)) => "saved".to_owned(),
        End::Restored(Ok(report)) => format!("restored, {:?}", report.hit),
        End::Flushed(Ok(_)) => "flushed".to_owned(),
        End::Copied(Ok(copied)) => format!("copied, {copied:?}"),
        End::Served(Ok(())) => "served".to_owned(),
        End::Saved(Err(error))
        | End::Served(Err(error))
        | End::Copied(Err(error))
        | End::Restored(Err(error))
        | End::Flushed(Err(error)) => error.to_string(),
        End::Panicked(text) => format!("panicked: {text}"),
    }
}
