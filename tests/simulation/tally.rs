//! What happened: a simulation in which nothing happens proves nothing.

use std::fmt;

macro_rules! events {
    ($($event:ident = $text:literal,)+) => {
        /// Something that every long simulation must have seen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Event {
            $($event,)+
        }

        impl Event {
            const ALL: &[(Self, &str)] = &[$((Self::$event, $text),)+];
        }
    };
}

events! {
    Turn = "turns",
    Save = "saves that said success",
    Unchanged = "of these, found unchanged",
    Round = "rounds of saves that were overtaken",
    Copy = "copies that said success",
    TakenBack = "copies that were taken back",
    Restore = "restores",
    RestoreAfterPause = "of these, longer than a grace period",
    Miss = "restores of nothing",
    RestoreOfNothingPromised = "restores that failed, of a save that died",
    RestoreTooSlow = "restores that failed, being longer than a grace period",
    Flush = "flushes",
    FlushOvertaken = "flushes that were overtaken",
    Crash = "processes that died",
    Lost = "requests lost",
    AnswerLost = "answers lost",
    Late = "requests that took effect after their senders had given up",
    Partial = "deletes that were done by half",
    Aged = "caches removed by age",
    Squeezed = "caches removed by budget",
    Acquitted = "caches changed before they could be removed",
    Condemned = "packs condemned",
    Pardoned = "packs pardoned",
    Doomed = "packs doomed",
    Deleted = "packs deleted",
    Filled = "packs filled by repacking",
    Moved = "caches moved by repacking",
    NotMoved = "caches changed before they could be moved",
    Fenced = "caches put again to end a repacking that died",
    Refreshed = "caches refreshed",
    NotRefreshed = "caches changed before they could be refreshed",
    ObjectPut = "objects put, copied or completed that said success",
    ObjectTouched = "objects touched that said success",
    ObjectRound = "rounds of objects that were overtaken",
    ObjectOvertaken = "objects changed before they could be put again",
    ObjectTakenBack = "objects that were taken back",
    ObjectTooSlow = "objects not put, what they relied on being gone",
    ObjectRefused = "conditions not met, objects and parts not found",
    ObjectRead = "objects read",
    ObjectDeleted = "objects deleted",
    PartRemoved = "parts of uploads removed by flushes",
    ObjectChecked = "objects read at the end",
    Checked = "caches restored and compared at the end",
}

/// What a line with a tally begins with.
const LINE: &str = "tally of a seed: ";

/// How often each thing happened.
#[derive(Clone, Debug)]
pub(crate) struct Tally(Vec<u64>);

impl Tally {
    pub(crate) fn new() -> Self {
        Self(vec![0; Event::ALL.len()])
    }

    pub(crate) fn count(&mut self, event: Event) {
        self.add(event, 1);
    }

    pub(crate) fn add(&mut self, event: Event, times: usize) {
        self.0[event as usize] += times as u64;
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine += theirs;
        }
    }

    /// For another process.
    pub(crate) fn to_line(&self) -> String {
        let counts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        LINE.to_owned() + &counts.join(" ")
    }

    /// What [`Tally::to_line`] gave; `None` of any other line.
    pub(crate) fn from_line(line: &str) -> Option<Self> {
        let counts = line.split_once(LINE)?.1.split(' ').map(|count| count.parse().ok());
        counts.collect::<Option<Vec<u64>>>().map(Self)
    }

    /// What never happened.
    pub(crate) fn never(&self) -> Vec<&'static str> {
        let counted = Event::ALL.iter().zip(&self.0);
        counted.filter(|(_, times)| **times == 0).map(|((_, text), _)| *text).collect()
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((_, text), times) in Event::ALL.iter().zip(&self.0) {
            writeln!(f, "{times:>9} {text}")?;
        }
        Ok(())
    }
}
