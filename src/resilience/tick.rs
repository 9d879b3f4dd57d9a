//! Time as the limits count it.
//!
//! Owns: [`Tick`], nanoseconds since the table was made. Refuses nothing: an instant before the
//! origin is the origin. Has no neighbours; the clock is read by whoever calls.

use std::time::{Duration, Instant};

/// Nanoseconds since an origin that never moves; 584 years fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tick(u64);

impl Tick {
    pub const ORIGIN: Self = Self(0);

    /// `now` as seen from `origin`; an earlier instant is the origin.
    pub fn between(origin: Instant, now: Instant) -> Self {
        Self::ORIGIN.plus(now.saturating_duration_since(origin))
    }

    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// This time moved forward, saturating at the end of time.
    pub fn plus(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)))
    }

    /// Time passed since `earlier`; zero when that lies in the future.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instant_before_the_origin_is_the_origin() {
        let origin = crate::clock::monotonic() + Duration::from_secs(10);
        assert_eq!(Tick::between(origin, origin - Duration::from_secs(1)), Tick::ORIGIN);
        assert_eq!(Tick::between(origin, origin + Duration::from_nanos(7)).as_nanos(), 7);
    }

    #[test]
    fn moving_saturates() {
        let end = Tick::from_nanos(u64::MAX);
        assert_eq!(end.plus(Duration::from_secs(1)), end);
        assert_eq!(Tick::ORIGIN.since(end), Duration::ZERO);
    }
}
