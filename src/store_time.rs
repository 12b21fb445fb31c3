//! Times of the store's clock.
//!
//! All that garbage collection decides goes by one clock, which is the store's:
//! machines that save may be off by a day. A type of its own keeps the two apart.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A time of the store's clock, in whole seconds since 1970: what S3 tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StoreTime(i64);

impl StoreTime {
    /// The time so many seconds after the beginning of 1970.
    pub const fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since 1970.
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// How long this is after `earlier`; nothing if it is not.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// The time so long after this one.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)))
    }

    /// This time as other times are given.
    pub fn to_system(self) -> SystemTime {
        let after = Duration::from_secs(self.0.unsigned_abs());
        let time =
            if self.0 < 0 { UNIX_EPOCH.checked_sub(after) } else { UNIX_EPOCH.checked_add(after) };
        time.unwrap_or(UNIX_EPOCH)
    }
}

impl From<SystemTime> for StoreTime {
    /// Of a time that a store told, such as when an object was put.
    fn from(time: SystemTime) -> Self {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        match time.duration_since(UNIX_EPOCH) {
            Ok(after) => Self(seconds(after)),
            Err(before) => Self(-seconds(before.duration())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_both_ways() {
        for seconds in [0, 1, -1, 1_767_225_600] {
            let time = StoreTime::from_unix(seconds);
            assert_eq!(StoreTime::from(time.to_system()), time);
        }
        let (early, late) = (StoreTime::from_unix(5), StoreTime::from_unix(9));
        assert_eq!(late.since(early), Duration::from_secs(4));
        assert_eq!(early.since(late), Duration::ZERO);
        assert_eq!(
            StoreTime::from_unix(i64::MAX).since(StoreTime::from_unix(i64::MIN)).as_secs(),
            i64::MAX as u64
        );
    }
}
