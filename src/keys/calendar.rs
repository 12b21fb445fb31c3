//! Days and weeks in UTC, for keys that are to change from time to time.
//!
//! The clock itself is read by the front end. `SOURCE_DATE_EPOCH` is not asked: it
//! is usually the time of a commit, and a key that goes by it would begin a new cache
//! when somebody commits, not when a week is over.

use std::time::{SystemTime, UNIX_EPOCH};

const SECONDS_A_DAY: u64 = 86_400;

/// The day, as in `2026-11-21`.
pub(super) fn date(now: SystemTime) -> String {
    let (year, mut day) = year_and_day(days(now));
    let mut month = 1;
    for len in [31, if is_leap(year) { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30] {
        if day < len {
            break;
        }
        day -= len;
        month += 1;
    }
    format!("{year:04}-{month:02}-{:02}", day + 1)
}

/// The week of ISO 8601, as in `2026-W47`. It begins on Monday and belongs to the
/// year that has its Thursday.
pub(super) fn week(now: SystemTime) -> String {
    let days = days(now);
    // 1970 began on a Thursday.
    let since_monday = (days + 3) % 7;
    let (year, day) = year_and_day((days + 3).saturating_sub(since_monday));
    format!("{year:04}-W{:02}", day / 7 + 1)
}

/// Whole days since 1970; a clock before that has stopped.
fn days(now: SystemTime) -> u64 {
    now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / SECONDS_A_DAY
}

/// The year, and which of its days, from 0.
fn year_and_day(mut days: u64) -> (u64, u64) {
    let mut year = 1970;
    loop {
        let len = if is_leap(year) { 366 } else { 365 };
        if days < len {
            return (year, days);
        }
        days -= len;
        year += 1;
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn check(seconds: u64, expected_date: &str, expected_week: &str) {
        let now = UNIX_EPOCH + Duration::from_secs(seconds);
        assert_eq!((date(now).as_str(), week(now).as_str()), (expected_date, expected_week));
    }

    /// As `date -u -d @SECONDS '+%F %G-W%V'` has them.
    #[test]
    fn days_and_weeks_are_those_of_the_calendar() {
        check(0, "1970-01-01", "1970-W01");
        check(951_782_400, "2000-02-29", "2000-W09");
        check(1_104_537_600, "2005-01-01", "2004-W53");
        check(1_230_768_000, "2009-01-01", "2009-W01");
        check(1_230_595_200, "2008-12-30", "2009-W01");
        check(1_293_753_600, "2010-12-31", "2010-W52");
        check(1_709_251_199, "2024-02-29", "2024-W09");
        check(1_709_251_200, "2024-03-01", "2024-W09");
        check(1_795_219_199, "2026-11-20", "2026-W47");
        check(1_795_219_200, "2026-11-21", "2026-W47");
        check(4_107_542_400, "2100-03-01", "2100-W09");
    }
}
