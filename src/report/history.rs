//! History: what was saved, and what was stored for it, by day or week.
//!
//! Only what is still there is seen: caches that were deleted or replaced, and packs
//! that a flush freed, have left no trace. A pack tells when it was put, a manifest
//! when its cache was saved, which is not the time of its object.

use larder::store_time::StoreTime;

const SECONDS_A_DAY: i64 = 86_400;

/// The fewest periods that are told: a picture of one says nothing of time.
const LEAST: i64 = 14;

/// The most, of the same length.
const MOST: i64 = 60;

/// How many days a period may have.
const STEPS: [i64; 3] = [1, 7, 28];

/// What was saved and stored, in periods of equal length, the last of which has today.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct History {
    /// Days in each period.
    pub(super) step: i64,
    /// The oldest first; empty if there is nothing to tell of.
    pub(super) periods: Vec<Period>,
    /// All that is older.
    pub(super) before: Period,
}

/// What was saved and stored in some time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Period {
    /// Its first second.
    pub(super) start: StoreTime,
    pub(super) caches: u64,
    /// Bytes of files in these.
    pub(super) raw_bytes: u64,
    pub(super) packs: u64,
    pub(super) pack_bytes: u64,
}

impl History {
    /// Of caches and packs, given with their times and bytes.
    pub(super) fn of(
        now: StoreTime,
        saves: impl Iterator<Item = (StoreTime, u64)> + Clone,
        packs: impl Iterator<Item = (StoreTime, u64)> + Clone,
    ) -> Self {
        let today = day(now);
        // A clock that is ahead has no future here.
        let age = |time: StoreTime| (today - day(time)).max(0);
        let oldest = saves.clone().chain(packs.clone()).map(|(time, _)| age(time)).max();
        let Some(oldest) = oldest else {
            return Self { step: 1, periods: vec![], before: Period::default() };
        };
        let fits = |step: &&i64| oldest / **step < MOST;
        let step = *STEPS.iter().find(fits).unwrap_or(&STEPS[STEPS.len() - 1]);
        let count = (oldest / step + 1).clamp(LEAST, MOST);
        let start = |number: i64| {
            StoreTime::from_unix((today + 1 - (count - number) * step) * SECONDS_A_DAY)
        };
        let periods = (0..count).map(|number| Period { start: start(number), ..Period::default() });
        let mut history = Self { step, periods: periods.collect(), before: Period::default() };
        let number = |time: StoreTime| usize::try_from(count - 1 - age(time) / step).ok();
        for (time, bytes) in saves {
            let period = history.period(number(time));
            period.caches += 1;
            // Lengths are what manifests claim.
            period.raw_bytes = period.raw_bytes.saturating_add(bytes);
        }
        for (time, bytes) in packs {
            let period = history.period(number(time));
            period.packs += 1;
            period.pack_bytes += bytes;
        }
        history
    }

    fn period(&mut self, number: Option<usize>) -> &mut Period {
        match number {
            Some(number) => &mut self.periods[number],
            None => &mut self.before,
        }
    }

    /// What a period is called.
    pub(super) fn unit(&self) -> &'static str {
        match self.step {
            1 => "day",
            7 => "week",
            _ => "four weeks",
        }
    }
}

/// Whole days since 1970.
fn day(time: StoreTime) -> i64 {
    time.unix().div_euclid(SECONDS_A_DAY)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: StoreTime = StoreTime::from_unix(1_000 * SECONDS_A_DAY + 500);

    fn days_ago(days: i64) -> StoreTime {
        StoreTime::from_unix(NOW.unix() - days * SECONDS_A_DAY)
    }

    /// The history of saves so many days ago, each of a byte more than the one before,
    /// and of one pack as old as each.
    fn history(days: &[i64]) -> History {
        let saves = (1..).zip(days).map(|(bytes, days)| (days_ago(*days), bytes));
        let packs = days.iter().map(|days| (days_ago(*days), 10));
        History::of(NOW, saves, packs)
    }

    /// The numbers of the periods with something in them, counted back from today's,
    /// with caches and raw bytes.
    fn filled(history: &History) -> Vec<(usize, u64, u64)> {
        let rows = history.periods.iter().rev().enumerate();
        let rows = rows.inspect(|(_, period)| assert_eq!(period.packs * 10, period.pack_bytes));
        let rows = rows.filter(|(_, period)| period.caches > 0);
        rows.map(|(number, period)| (number, period.caches, period.raw_bytes)).collect()
    }

    #[test]
    fn days_are_days_of_the_calendar() {
        let history = history(&[0, 0, 3]);
        assert_eq!((history.step, history.periods.len()), (1, 14));
        assert_eq!(filled(&history), [(0, 2, 3), (3, 1, 3)]);
        let last = history.periods[13].start;
        assert_eq!(last, StoreTime::from_unix(1_000 * SECONDS_A_DAY));
        assert_eq!(history.before, Period::default());
    }

    #[test]
    fn long_times_have_long_periods() {
        let weeks = history(&[0, 6, 7, 60]);
        assert_eq!((weeks.step, weeks.periods.len()), (7, 14));
        assert_eq!(filled(&weeks), [(0, 2, 3), (1, 1, 3), (8, 1, 4)]);
        let longest = history(&[0, 28 * 59, 28 * 60]);
        assert_eq!((longest.step, longest.periods.len()), (28, 60));
        assert_eq!(filled(&longest), [(0, 1, 1), (59, 1, 2)]);
        assert_eq!((longest.before.caches, longest.before.raw_bytes), (1, 3));
    }

    #[test]
    fn what_is_ahead_is_of_today_and_nothing_is_nothing() {
        assert_eq!(filled(&history(&[-5])), [(0, 1, 1)]);
        assert!(history(&[]).periods.is_empty());
    }
}
