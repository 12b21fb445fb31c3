//! Values of settings, as pipelines and Go programs write them.

use std::time::Duration;

/// `true` or `false`, in the spellings that pipelines have.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" => Some(true),
        "false" | "0" | "no" => Some(false),
        _ => None,
    }
}

/// What [`boolean`] takes.
pub(crate) const BOOLEAN: &str = "true, false, 1, 0, yes or no";

/// A duration as Go writes it: `10m`, `1h30m`, `1.5h`. Not nothing.
///
/// The grammar is that of Go's `time.ParseDuration`, less signs.
pub(crate) fn go_duration(text: &str) -> Option<Duration> {
    const UNITS: [(&str, f64); 7] = [
        ("ns", 1e-9),
        ("us", 1e-6),
        ("µs", 1e-6),
        ("ms", 1e-3),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3_600.0),
    ];
    let mut seconds = 0.0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let (number, after) = rest.split_at(digits);
        let letters = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(letters);
        let (_, length) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * length;
        rest = after;
    }
    Duration::try_from_secs_f64(seconds).ok().filter(|duration| !duration.is_zero())
}

/// What [`go_duration`] takes.
pub(crate) const GO_DURATION: &str = "a duration above 0, such as 90s, 10m or 1h30m";

/// An age: a duration, or days, with or without a `d`. At least a second, for a
/// store's clock knows no parts of them.
pub(crate) fn age(text: &str) -> Option<Duration> {
    let days = text.strip_suffix('d').unwrap_or(text).parse::<u64>().ok();
    let age = match days {
        Some(days) => Duration::from_secs(days.checked_mul(86_400)?),
        None => go_duration(text)?,
    };
    (age >= Duration::from_secs(1)).then_some(age)
}

/// What [`age`] takes.
pub(crate) const AGE: &str = "days, such as 14 or 14d, or a duration, such as 336h";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_those_of_go() {
        let check = |text: &str, millis: u64| {
            assert_eq!(go_duration(text), Some(Duration::from_millis(millis)), "{text}");
        };
        check("10m", 600_000);
        check("1h30m", 5_400_000);
        check("1.5h", 5_400_000);
        check("336h", 1_209_600_000);
        check("2s500ms", 2_500);
        check("2000us", 2);
        for wrong in ["", "0", "0s", "10", "m", "-1h", "10 m", "1d", "1.2.3s", "1h30", "∞h"] {
            assert_eq!(go_duration(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ages_are_days_or_durations() {
        let days = |days: u64| Some(Duration::from_secs(days * 86_400));
        assert_eq!([age("14"), age("14d"), age("336h")], [days(14); 3]);
        for wrong in ["0", "0d", "-3", "d", "1.5d", "999999999999999999", "5ms", "soon"] {
            assert_eq!(age(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn only_truth_values_are_true_or_false() {
        for text in ["true", "True", "1", "yes", "YES"] {
            assert_eq!(boolean(text), Some(true), "{text}");
        }
        for text in ["false", "False", "0", "no"] {
            assert_eq!(boolean(text), Some(false), "{text}");
        }
        for text in ["", "on", "2", "maybe", "t"] {
            assert_eq!(boolean(text), None, "{text}");
        }
    }
}
