//! The one file that reads the clock.
//!
//! Owns: what "now" means. [`now`] is wall-clock time, kept in stores and shown to people;
//! [`monotonic`] is for measuring and for deadlines, and follows tokio's paused clock in tests.
//! Everything else takes time as an argument.

use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize, Serializer};
use time::OffsetDateTime;
use time::format_description::BorrowedFormatItem;
use time::macros::format_description;

const RFC_3339: &[BorrowedFormatItem<'static>] =
    format_description!("[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3]Z");

/// A point in wall-clock time: milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the Unix epoch.
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// This time moved forward, saturating at the end of time.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// This time moved back, saturating.
    pub fn minus(self, by: Duration) -> Self {
        Self(self.0.saturating_sub(i64::try_from(by.as_millis()).unwrap_or(i64::MAX)))
    }

    /// Time passed since `earlier`; zero when `earlier` lies in the future (clocks step back).
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// RFC 3339 in UTC with milliseconds.
    pub fn rfc3339(self) -> String {
        let time = OffsetDateTime::from_unix_timestamp_nanos(i128::from(self.0) * 1_000_000).ok();
        time.and_then(|time| time.format(RFC_3339).ok()).unwrap_or_default()
    }

    /// Writes it for people; by itself it is written as a number.
    pub fn write_rfc3339<S: Serializer>(at: &Self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&at.rfc3339())
    }
}

/// Wall-clock time now.
#[expect(clippy::disallowed_methods, reason = "this is the file that may")]
pub fn now() -> Timestamp {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::default().plus(since_epoch)
}

/// Monotonic time now; inside a tokio runtime with a paused clock it stands still.
#[expect(clippy::disallowed_methods, reason = "this is the file that may")]
pub fn monotonic() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Milliseconds from a fixed point of monotonic time to `at`, for those who keep it in an atomic.
pub fn ticks(at: Instant) -> i64 {
    static ORIGIN: LazyLock<Instant> = LazyLock::new(monotonic);
    let millis = |passed: Duration| i64::try_from(passed.as_millis()).unwrap_or(i64::MAX);
    // A paused clock may stand before it.
    match at.checked_duration_since(*ORIGIN) {
        Some(passed) => millis(passed),
        None => -millis(ORIGIN.saturating_duration_since(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moving_and_measuring_agree() {
        let start = Timestamp::from_millis(1_000);
        let later = start.plus(Duration::from_secs(3));
        assert_eq!(later.since(start), Duration::from_secs(3));
        assert_eq!(start.since(later), Duration::ZERO);
        assert_eq!(later.minus(Duration::from_secs(3)), start);
        assert_eq!(later.rfc3339(), "1970-01-01T00:00:04.000Z");
    }
}
