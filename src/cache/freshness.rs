//! Whether an entry may be served.
//!
//! Owns: the decision. Times are those written into the entry when it was stored; a store's own
//! expiry is only for cleaning. Words after RFC 5861 (stale-while-revalidate, stale-if-error).

use std::time::Duration;

use super::entry::{Entry, Validity};
use super::invalidations::SKEW;
use crate::clock::Timestamp;

/// In this last part of its fresh time, in percent, a hit renews an entry: keys that are asked for
/// often never become stale, for a tenth more loads.
const EAGER_PERCENT: u32 = 10;
/// So far ahead of this clock another's may be without anything being wrong.
const AHEAD: Duration = SKEW.saturating_mul(2);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    Fresh,
    /// Served as it is, and refreshed so that it will not be stale when it is asked for again.
    Due,
    StaleWhileRevalidate,
    /// Served when a refresh fails or takes too long.
    StaleIfError,
    Dead,
}

impl Freshness {
    pub const fn is_fresh(self) -> bool {
        matches!(self, Self::Fresh | Self::Due)
    }

    pub const fn wants_refresh(self) -> bool {
        matches!(self, Self::Due | Self::StaleWhileRevalidate)
    }
}

/// Judges `entry` at `now`, in the light of what invalidations say. In the last
/// [`EAGER_PERCENT`] of its fresh time it is due.
pub(super) fn judge(entry: &Entry, verdict: Validity, now: Timestamp) -> Freshness {
    let times = entry.times;
    if verdict == Validity::Hard || now >= times.stale_until && now >= times.fresh_until {
        return Freshness::Dead;
    }
    if verdict == Validity::Soft {
        // An empty result is not worth keeping for an emergency.
        return if entry.negative { Freshness::Dead } else { Freshness::StaleIfError };
    }
    if times.stored_at > now.plus(AHEAD) {
        // A clock was set back, or another instance's is wrong: nobody can say how old this is.
        return if entry.negative { Freshness::Dead } else { Freshness::StaleWhileRevalidate };
    }
    if now >= times.revalidate_until && now >= times.fresh_until {
        return Freshness::StaleIfError;
    }
    if now >= times.fresh_until {
        return Freshness::StaleWhileRevalidate;
    }
    // An empty result is asked for again when it is over, not before.
    let life = times.fresh_until.since(times.stored_at);
    if !entry.negative && times.fresh_until.since(now) * 100 < life * EAGER_PERCENT {
        return Freshness::Due;
    }
    Freshness::Fresh
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{Representation, Times};
    use bytes::Bytes;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    fn entry(negative: bool) -> Entry {
        let times = Times {
            stored_at: at(0),
            fresh_until: at(100),
            revalidate_until: at(200),
            stale_until: at(300),
        };
        Entry::new(Representation::json(Bytes::new()), times, negative, Vec::new())
    }

    #[test]
    fn the_bounds_belong_to_the_later_state() {
        use Freshness::{Dead, Due, Fresh, StaleIfError, StaleWhileRevalidate};
        for (now, expected) in [
            (0, Fresh),
            (90, Fresh),
            (91, Due),
            (99, Due),
            (100, StaleWhileRevalidate),
            (199, StaleWhileRevalidate),
            (200, StaleIfError),
            (299, StaleIfError),
            (300, Dead),
        ] {
            assert_eq!(judge(&entry(false), Validity::Valid, at(now)), expected, "at {now}");
        }
    }

    #[test]
    fn what_comes_from_far_ahead_is_renewed_and_not_trusted() {
        let before = |seconds: u64| at(0).minus(Duration::from_secs(seconds));
        assert_eq!(judge(&entry(false), Validity::Valid, before(20)), Freshness::Fresh);
        let judged = |negative| judge(&entry(negative), Validity::Valid, before(21));
        assert_eq!(judged(false), Freshness::StaleWhileRevalidate);
        assert_eq!(judged(true), Freshness::Dead);
        assert_eq!(judge(&entry(false), Validity::Hard, before(21)), Freshness::Dead);
    }

    #[test]
    fn softly_invalidated_is_for_emergencies_and_hard_is_dead() {
        for now in [0, 99, 150, 250] {
            let verdict = |verdict| judge(&entry(false), verdict, at(now));
            assert_eq!(verdict(Validity::Soft), Freshness::StaleIfError);
            assert_eq!(verdict(Validity::Hard), Freshness::Dead);
        }
        assert_eq!(judge(&entry(false), Validity::Soft, at(300)), Freshness::Dead);
        assert_eq!(judge(&entry(true), Validity::Soft, at(1)), Freshness::Dead);
    }

    #[test]
    fn an_empty_result_is_never_due() {
        assert_eq!(judge(&entry(true), Validity::Valid, at(99)), Freshness::Fresh);
    }
}
