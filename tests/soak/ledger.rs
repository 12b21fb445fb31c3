//! What was saved, removed and used, and by it whether a restore may end as it
//! did.
//!
//! Processes overlap, and some are killed: of a save it is only known that it
//! took effect, if at all, between its begin and its end. So the rules here ask
//! whether some order of what overlapped explains what was seen, and say no only
//! where none does. Nothing here runs larder or looks at a store.
//!
//! All moments are seconds since 1970 by this machine's clock.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

pub(crate) type Moment = f64;

/// How long after its client was killed a request may still take effect.
pub(crate) const LATE: f64 = 5.0;

/// How far the times that a store tells may be behind: its clock may lag by two
/// seconds, and is read in whole ones.
const SLACK: f64 = 3.0;

/// A key of a scope.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Slot {
    pub(crate) scope: String,
    pub(crate) key: String,
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} in {}", self.key, self.scope)
    }
}

/// How a process ended, as far as it told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Running,
    /// It said that it succeeded.
    Said,
    /// It was killed, or failed: what it did until then may be there.
    Silent,
    /// It said that it did nothing.
    Nothing,
}

/// One run of `larder save`.
#[derive(Clone, Debug)]
pub(crate) struct Save {
    pub(crate) content: u64,
    pub(crate) began: Moment,
    pub(crate) ended: Moment,
    pub(crate) fate: Fate,
}

impl Save {
    /// When it can take effect no more.
    fn spent(&self) -> Moment {
        match self.fate {
            Fate::Running => f64::INFINITY,
            Fate::Said => self.ended,
            Fate::Nothing => f64::NEG_INFINITY,
            Fate::Silent => self.ended + LATE,
        }
    }

    /// Whether it was over, and had succeeded, when something else began.
    fn is_before(&self, began: Moment) -> bool {
        self.fate == Fate::Said && self.ended < began
    }
}

/// What a flush was told to remove.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules {
    pub(crate) scope: Option<String>,
    pub(crate) age: f64,
    /// The age of keys that begin with a prefix.
    pub(crate) key_age: Option<(String, f64)>,
    pub(crate) has_max_size: bool,
}

/// How long a key's caches live by what their saves say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Lifetime {
    ByPolicy,
    For(f64),
    Pinned,
}

impl Rules {
    /// The age at which a cache goes, if these rules may remove it at all.
    fn age_of(&self, slot: &Slot, lifetime: Lifetime) -> Option<f64> {
        if self.scope.as_ref().is_some_and(|scope| *scope != slot.scope) {
            return None;
        }
        let by_key = self.key_age.as_ref().filter(|(prefix, _)| slot.key.starts_with(prefix));
        match lifetime {
            Lifetime::Pinned => None,
            Lifetime::For(ttl) => Some(ttl),
            Lifetime::ByPolicy => Some(by_key.map_or(self.age, |(_, age)| *age)),
        }
    }
}

/// One run of `larder flush`.
#[derive(Clone, Debug)]
pub(crate) struct Flush {
    pub(crate) began: Moment,
    pub(crate) ended: Moment,
    pub(crate) fate: Fate,
    pub(crate) rules: Rules,
}

/// A cache that a flush said it removed.
#[derive(Clone, Debug)]
pub(crate) struct Removal {
    pub(crate) slot: Slot,
    pub(crate) reason: String,
    pub(crate) last_used: Moment,
    /// The store's time that it was judged by.
    pub(crate) judged: Moment,
}

/// A restore that found something.
#[derive(Clone, Debug)]
struct Use {
    began: Moment,
    ended: Moment,
}

/// Everything that happened.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    saves: BTreeMap<Slot, Vec<Save>>,
    uses: BTreeMap<Slot, Vec<Use>>,
    lifetimes: BTreeMap<Slot, Lifetime>,
    flushes: Vec<Flush>,
    removals: BTreeMap<Slot, Vec<Removal>>,
    /// Whether the store makes a use count at once, rather than once a day.
    uses_count: bool,
}

/// Names a save of the ledger.
#[derive(Clone, Debug)]
pub(crate) struct SaveId(Slot, usize);

impl Ledger {
    pub(crate) fn new(uses_count: bool) -> Self {
        Self { uses_count, ..Self::default() }
    }

    pub(crate) fn begin_save(
        &mut self,
        slot: &Slot,
        content: u64,
        lifetime: Lifetime,
        began: Moment,
    ) -> SaveId {
        self.lifetimes.insert(slot.clone(), lifetime);
        let saves = self.saves.entry(slot.clone()).or_default();
        saves.push(Save { content, began, ended: f64::INFINITY, fate: Fate::Running });
        SaveId(slot.clone(), saves.len() - 1)
    }

    pub(crate) fn end_save(&mut self, SaveId(slot, number): &SaveId, fate: Fate, ended: Moment) {
        if let Some(save) = self.saves.get_mut(slot).and_then(|saves| saves.get_mut(*number)) {
            (save.fate, save.ended) = (fate, ended);
        }
    }

    pub(crate) fn begin_flush(&mut self, rules: Rules, began: Moment) -> usize {
        let flush = Flush { began, ended: f64::INFINITY, fate: Fate::Running, rules };
        self.flushes.push(flush);
        self.flushes.len() - 1
    }

    pub(crate) fn end_flush(&mut self, number: usize, fate: Fate, ended: Moment) {
        (self.flushes[number].fate, self.flushes[number].ended) = (fate, ended);
    }

    pub(crate) fn used(&mut self, slot: &Slot, began: Moment, ended: Moment) {
        self.uses.entry(slot.clone()).or_default().push(Use { began, ended });
    }

    /// All keys that were ever saved.
    pub(crate) fn slots(&self) -> BTreeSet<Slot> {
        self.saves.keys().cloned().collect()
    }

    fn saves(&self, slot: &Slot) -> &[Save] {
        self.saves.get(slot).map_or(&[], Vec::as_slice)
    }

    /// Whether a save was certainly replaced by another before something began.
    fn is_replaced(&self, slot: &Slot, save: &Save, began: Moment) -> bool {
        let mut saves = self.saves(slot).iter();
        saves.any(|after| after.began > save.spent() && after.is_before(began))
    }

    /// Whether a read of a key between two moments may have found this content.
    pub(crate) fn may_hold(
        &self,
        slot: &Slot,
        content: u64,
        (began, ended): (Moment, Moment),
    ) -> Result<(), String> {
        let saved = self.saves(slot).iter();
        let saved = saved.filter(|save| save.content == content && save.fate != Fate::Nothing);
        let mut saved = saved.filter(|save| save.began <= ended).peekable();
        if saved.peek().is_none() {
            return Err(format!("{slot} holds content {content}, which was never saved there"));
        }
        if saved.all(|save| self.is_replaced(slot, save, began)) {
            return Err(format!(
                "{slot} holds content {content}, which a later save had replaced: {}",
                self.history(slot, ended)
            ));
        }
        Ok(())
    }

    /// Whether what a key held at that time may lack packs: only if its saver
    /// had not said by then that it succeeded.
    pub(crate) fn may_be_broken(
        &self,
        slot: &Slot,
        (began, ended): (Moment, Moment),
    ) -> Result<(), String> {
        let unsaid = |save: &&Save| match save.fate {
            Fate::Running | Fate::Silent => save.began <= ended,
            Fate::Said => save.began <= ended && save.ended > began,
            Fate::Nothing => false,
        };
        let mut unsaid = self.saves(slot).iter().filter(unsaid);
        if unsaid.any(|save| !self.is_replaced(slot, save, began)) {
            return Ok(());
        }
        Err(format!(
            "{slot} cannot be restored, and its saver said that it succeeded: {}",
            self.history(slot, ended)
        ))
    }

    /// Whether a key may have been absent at some time between these moments.
    /// Flushes that began before the end must be over.
    pub(crate) fn may_be_absent(
        &self,
        slot: &Slot,
        (began, ended): (Moment, Moment),
    ) -> Result<(), String> {
        let said = self.saves(slot).iter().filter(|save| save.is_before(began));
        let Some(last) = said.max_by(|a, b| a.began.total_cmp(&b.began)) else {
            return Ok(());
        };
        // Where uses do not count, a save that changed nothing left an old time.
        let since = if self.uses_count { last.began - SLACK } else { f64::NEG_INFINITY };
        let removals = self.removals.get(slot).into_iter().flatten();
        if removals.clone().any(|removal| removal.last_used >= since) {
            return Ok(());
        }
        let lifetime = self.lifetimes.get(slot).copied().unwrap_or(Lifetime::ByPolicy);
        let may_have_removed = |flush: &&Flush| {
            let Some(age) = flush.rules.age_of(slot, lifetime) else { return false };
            let over = flush.ended.min(ended);
            flush.fate != Fate::Said
                && flush.began <= ended
                && flush.ended + LATE > last.began
                && (flush.rules.has_max_size || over - since > age || !self.uses_count)
        };
        if self.flushes.iter().any(|flush| may_have_removed(&flush)) {
            return Ok(());
        }
        Err(format!(
            "{slot} is gone, and no flush can have removed it: {}; removals: {:?}",
            self.history(slot, ended),
            removals.rev().take(3).collect::<Vec<_>>(),
        ))
    }

    /// Whether a flush that may have removed something before that moment still
    /// runs.
    pub(crate) fn is_undecided(&self, ended: Moment) -> bool {
        let mut flushes = self.flushes.iter().rev();
        flushes.any(|flush| flush.fate == Fate::Running && flush.began <= ended)
    }

    /// Notes a removal, and tells whether the flush had the right to it.
    pub(crate) fn removed(&mut self, flush: usize, removal: Removal) -> Result<(), String> {
        let verdict = self.judge(&self.flushes[flush], &removal);
        self.removals.entry(removal.slot.clone()).or_default().push(removal);
        verdict
    }

    fn judge(&self, flush: &Flush, removal: &Removal) -> Result<(), String> {
        let slot = &removal.slot;
        let lifetime = self.lifetimes.get(slot).copied().unwrap_or(Lifetime::ByPolicy);
        let Some(age) = flush.rules.age_of(slot, lifetime) else {
            return Err(format!("{slot} was removed, and is pinned or of another scope"));
        };
        let unused = removal.judged - removal.last_used;
        match removal.reason.as_str() {
            "size" if flush.rules.has_max_size => {}
            "age" | "ttl" if unused > age => {}
            reason => {
                return Err(format!(
                    "{slot} was removed for its {reason} {unused} s after its last use, and may \
                     stay {age} s"
                ));
            }
        }
        if !self.uses_count {
            return Ok(());
        }
        let forgotten = removal.last_used + SLACK;
        let saves = self.saves(slot).iter().filter(|save| save.is_before(flush.began));
        if let Some(save) = saves.rev().find(|save| save.began > forgotten) {
            return Err(format!(
                "{slot} was removed, and judged without a save: {save:?}: {removal:?}"
            ));
        }
        let uses = self.uses.get(slot).map_or(&[][..], Vec::as_slice).iter();
        let mut uses = uses.filter(|used| used.ended < flush.began);
        if let Some(used) = uses.find(|used| used.began > forgotten) {
            return Err(format!(
                "{slot} was removed, and judged without a use: {used:?}: {removal:?}"
            ));
        }
        Ok(())
    }

    /// The last saves of a key, for messages.
    fn history(&self, slot: &Slot, until: Moment) -> String {
        let saves = self.saves(slot).iter().rev().filter(|save| save.began <= until);
        let lines = saves.take(6).map(|save| {
            let Save { content, began, ended, fate } = save;
            format!("content {content} from {began:.3} to {ended:.3}: {fate:?}")
        });
        lines.collect::<Vec<_>>().join("; ")
    }
}
