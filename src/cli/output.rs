//! Results on stdout: numbers as people read them, JSON as programs do.

use std::fmt::Display;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indicatif::{DecimalBytes, HumanCount};
use larder::harmless;
use larder::store::{Requests, Store as _, WireRequests};
use serde::Serialize;

use super::session::CountedStore;

/// What `--json` says of requests.
#[derive(Serialize)]
pub(super) struct RequestsJson {
    #[serde(flatten)]
    asked: Requests,
    /// What went over the network, if there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<WireRequests>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimated_usd: Option<f64>,
}

impl RequestsJson {
    pub(super) fn of(store: &CountedStore) -> Self {
        let sent = store.wire_requests();
        let estimated_usd = sent.map(|sent| sent.dollars());
        Self { asked: store.requests(), sent, estimated_usd }
    }

    /// Without what went over the network, where others share the connection.
    pub(super) fn asked(asked: Requests) -> Self {
        Self { asked, sent: None, estimated_usd: None }
    }
}

/// The requests made, for people: what was asked of the store, and what went over
/// the network, if there is one.
pub(super) fn requests(store: &CountedStore) -> String {
    let requests = store.requests();
    let mut text = format!(
        "requests: {} get, {} put, {} head, {} list, {} delete; {} read, {} written",
        requests.get,
        requests.put,
        requests.head,
        requests.list,
        requests.delete,
        bytes(requests.bytes_read),
        bytes(requests.bytes_written),
    );
    if let Some(sent) = store.wire_requests() {
        text += &format!(
            "\nsent: {} get, {} put, {} list, {} delete, {} of them again; about ${:.6}",
            sent.get,
            sent.put,
            sent.list,
            sent.delete,
            sent.retries,
            sent.dollars(),
        );
    }
    text
}

/// A number of bytes, as in `601.5 MB`.
pub(super) fn bytes(count: u64) -> impl Display {
    DecimalBytes(count)
}

/// A number of bytes in at most six letters, as in `601 MB` or `6.0 MB`: for columns.
pub(super) fn short_bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["kB", "MB", "GB", "TB", "PB", "EB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut shown = String::new();
    let mut unit_bytes = 1u128;
    for unit in UNITS {
        unit_bytes *= 1000;
        // Both from the number itself: who rounds twice makes 602 of 601.47.
        let rounded = |count: u128| (count + unit_bytes / 2) / unit_bytes;
        let (tenths, whole) = (rounded(u128::from(count) * 10), rounded(count.into()));
        shown = match tenths {
            0..100 => format!("{}.{} {unit}", tenths / 10, tenths % 10),
            _ => format!("{whole} {unit}"),
        };
        if whole < 1000 {
            break;
        }
    }
    shown
}

/// A number of things, as in `42,160`.
pub(super) fn count(count: u64) -> impl Display {
    HumanCount(count)
}

/// A number of things with their name, as in `1 file` or `42,160 files`.
pub(super) fn things(number: u64, one: &str) -> String {
    let many = || one.strip_suffix('y').map_or(format!("{one}s"), |stem| format!("{stem}ies"));
    let name = if number == 1 { one.to_owned() } else { many() };
    format!("{} {name}", count(number))
}

/// A duration, as in `0.44 s`.
pub(super) fn seconds(duration: Duration) -> String {
    format!("{:.2} s", duration.as_secs_f64())
}

/// How long ago something was, in the largest whole unit.
pub(super) fn age(then: SystemTime) -> String {
    ago(SystemTime::now().duration_since(then).unwrap_or_default())
}

/// A duration that has passed, in the largest whole unit.
pub(super) fn ago(passed: Duration) -> String {
    let secs = passed.as_secs();
    let (number, unit) = match secs {
        0..60 => (secs, "second"),
        60..3_600 => (secs / 60, "minute"),
        3_600..86_400 => (secs / 3_600, "hour"),
        _ => (secs / 86_400, "day"),
    };
    format!("{} ago", things(number, unit))
}

/// A time for programs: seconds since 1970.
pub(super) fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Prints one JSON object on a line of its own.
pub(super) fn json(value: &impl Serialize) {
    let text = serde_json::to_string(value).expect("reports are plain data");
    raw(harmless::json(&text));
}

/// Prints lines for people, in which names of others do no harm.
pub(super) fn line(text: impl Display) {
    raw(harmless::text(&text.to_string()));
}

/// Prints a line as it is, for programs: what is the user's own. Who closes stdout early
/// has seen enough: no error.
pub(super) fn raw(text: impl Display) {
    use std::io::Write;
    let _ = writeln!(anstream::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_sizes_have_six_letters_at_most() {
        let check = |count: u64, shown: &str| assert_eq!(short_bytes(count), shown, "{count}");
        check(0, "0 B");
        check(999, "999 B");
        check(1_000, "1.0 kB");
        check(9_949, "9.9 kB");
        check(9_960, "10 kB");
        check(999_400, "999 kB");
        check(999_600, "1.0 MB");
        check(601_470_000, "601 MB");
        check(1_020_000_000, "1.0 GB");
        check(u64::MAX, "18 EB");
    }
}
