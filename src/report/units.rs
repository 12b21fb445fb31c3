//! Numbers as a page shows them.

use std::time::Duration;

use indicatif::HumanCount;
use larder::store_time::StoreTime;

/// A number of bytes in three figures, as in `601 MB` or `1.35 GB`.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1_000 {
        return format!("{count} B");
    }
    let mut unit_bytes = 1u128;
    let mut shown = String::new();
    for unit in UNITS {
        unit_bytes *= 1_000;
        let hundredths = (u128::from(count) * 100 + unit_bytes / 2) / unit_bytes;
        let (whole, part) = (hundredths / 100, hundredths % 100);
        shown = match whole {
            0..10 => format!("{whole}.{part:02} {unit}"),
            10..100 => format!("{whole}.{} {unit}", part / 10),
            _ => format!("{whole} {unit}"),
        };
        if whole < 1_000 {
            break;
        }
    }
    shown
}

/// A number of things, as in `42,160`.
pub(super) fn count(count: u64) -> String {
    HumanCount(count).to_string()
}

/// The day of a time in UTC, as in `2026-11-21`.
pub(super) fn date(time: StoreTime) -> String {
    moment(time).chars().take(10).collect()
}

/// A time in UTC, to the minute.
pub(super) fn minute(time: StoreTime) -> String {
    let text: String = moment(time).chars().take(16).collect();
    text.replace('T', " ")
}

/// Times that no calendar of four figures has are its last.
fn moment(time: StoreTime) -> String {
    const LAST: i64 = 253_402_300_799;
    let time = StoreTime::from_unix(time.unix().clamp(0, LAST));
    humantime::format_rfc3339_seconds(time.to_system()).to_string()
}

/// A number of things with their name, as in `1 file` or `42,160 files`.
pub(super) fn things(number: u64, one: &str) -> String {
    format!("{} {one}{}", count(number), if number == 1 { "" } else { "s" })
}

/// A duration as flags take it, as in `14d`.
pub(super) fn duration(time: Duration) -> String {
    let secs = time.as_secs();
    let units = [(86_400, "d"), (3_600, "h"), (60, "m")];
    match units.iter().find(|(unit, _)| secs > 0 && secs.is_multiple_of(*unit)) {
        Some((unit, letter)) => format!("{}{letter}", secs / unit),
        None => format!("{secs}s"),
    }
}

/// How many times as large the one is as the other, as in `7.02 ×`; a dash where that
/// says nothing.
#[expect(clippy::cast_precision_loss, reason = "a few figures are shown")]
pub(super) fn factor(large: u64, small: u64) -> String {
    if large == 0 || small == 0 {
        return "–".to_owned();
    }
    format!("{:.2}\u{202f}×", large as f64 / small as f64)
}

/// A part of a whole in percent, as in `12.3 %`.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let thousandths = if whole == 0 { 0 } else { thousandths(part, whole) };
    format!("{}.{}\u{202f}%", thousandths / 10, thousandths % 10)
}

fn thousandths(part: u64, whole: u64) -> u128 {
    let (part, whole) = (u128::from(part), u128::from(whole));
    (part * 1_000 + whole / 2) / whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_figures() {
        let check = |count: u64, shown: &str| assert_eq!(bytes(count), shown, "{count}");
        check(0, "0 B");
        check(999, "999 B");
        check(1_000, "1.00 kB");
        check(1_345_678, "1.35 MB");
        check(12_345_678, "12.3 MB");
        check(999_999_999, "1.00 GB");
        check(u64::MAX, "18.4 EB");
        assert_eq!(percent(1, 8), "12.5\u{202f}%");
        assert_eq!(percent(1, 0), "0.0\u{202f}%");
    }

    #[test]
    fn durations_are_as_flags_take_them() {
        let check = |secs, shown: &str| assert_eq!(duration(Duration::from_secs(secs)), shown);
        check(14 * 86_400, "14d");
        check(90_000, "25h");
        check(90, "90s");
        check(0, "0s");
        assert_eq!((factor(7, 2).as_str(), factor(0, 2).as_str()), ("3.50\u{202f}×", "–"));
    }

    #[test]
    fn times_are_told_in_utc() {
        let time = StoreTime::from_unix(1_795_305_599);
        assert_eq!(
            (date(time).as_str(), minute(time).as_str()),
            ("2026-11-21", "2026-11-21 23:59")
        );
        assert_eq!(date(StoreTime::from_unix(i64::MAX)), "9999-12-31");
    }
}
