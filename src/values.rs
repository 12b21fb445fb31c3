//! Values as people write them, on the command line and in larder.toml alike.

use std::time::Duration;

/// A duration such as `90s` or `1h30m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match humantime::parse_duration(text) {
        Ok(time) if time.is_zero() => Err("it must be longer than nothing".into()),
        Ok(time) => Ok(time),
        Err(error) => Err(format!("{error}; write it as 90s, 10m, 1h30m or 14d")),
    }
}

/// A duration of whole seconds. Garbage collection knows no parts of them: a store's
/// clock has none.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        time if time < Duration::from_secs(1) => Err("it must be a second or more".into()),
        time => Ok(time),
    }
}
