//! When something was changed, so that any two changes have an order that all instances agree on.
//!
//! Owns: [`Stamp`] and the clock that gives them out, a hybrid logical clock (Kulkarni et al.,
//! "Logical Physical Clocks", 2014): wall-clock time, a count for what happens within the same
//! millisecond or on a clock that is behind, and a number of the instance. A new stamp is later than
//! every stamp this process has ever seen, so who changes a thing he knows always wins, whatever the
//! clocks say. Refuses: stamps far ahead of the own clock, which nobody could ever win against.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::clock::Timestamp;

/// The end of the year 9999; what is later is no time.
const LATEST: i64 = 253_402_300_799_999;
/// Clocks may be ahead so much; a stamp beyond was never given out by an instance that works.
const CREDIBLE: Duration = Duration::from_secs(366 * 24 * 3_600);

/// The time of a change. Later changes have greater stamps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Stamp {
    at: Timestamp,
    count: u32,
    by: u32,
}

impl Stamp {
    /// Digits of the written form.
    pub const DIGITS: usize = 35;

    /// When it was, by the clock of who made it (or a clock that was ahead of it).
    #[must_use]
    pub const fn at(&self) -> Timestamp {
        self.at
    }

    /// Whether it may have been given out by an instance whose clock is about right.
    #[must_use]
    pub fn is_credible(&self, now: Timestamp) -> bool {
        self.at <= now.plus(CREDIBLE)
    }

    #[cfg(test)]
    pub(super) const fn new(at: Timestamp, count: u32, by: u32) -> Self {
        Self { at, count, by }
    }
}

/// Digits only, always as many: texts are in the same order as stamps, in any collation.
impl fmt::Display for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:015}{:010}{:010}", self.at.as_millis(), self.count, self.by)
    }
}

/// A text that is no stamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAStamp;

impl FromStr for Stamp {
    type Err = NotAStamp;

    fn from_str(text: &str) -> Result<Self, NotAStamp> {
        if text.len() != Self::DIGITS || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotAStamp);
        }
        let part = |from, to| text.get(from..to).ok_or(NotAStamp);
        let at = part(0, 15)?.parse().ok().filter(|at| *at <= LATEST).ok_or(NotAStamp)?;
        let count = part(15, 25)?.parse().map_err(|_| NotAStamp)?;
        let by = part(25, 35)?.parse().map_err(|_| NotAStamp)?;
        Ok(Self { at: Timestamp::from_millis(at), count, by })
    }
}

/// Gives out stamps.
#[derive(Debug)]
pub(super) struct StampClock {
    latest: Stamp,
    by: u32,
}

impl StampClock {
    /// The clock of an instance; `by` is a number that no other has, most likely.
    pub(super) fn new(by: u32) -> Self {
        Self { latest: Stamp::default(), by }
    }

    /// A stamp later than all that were given out or seen.
    pub(super) fn next(&mut self, now: Timestamp) -> Stamp {
        let Stamp { at, count, .. } = self.latest;
        let now = now.max(Timestamp::default()).min(Timestamp::from_millis(LATEST));
        let (at, count) = if now > at {
            (now, 0)
        } else {
            // Four thousand million changes within a millisecond: the next one is as good.
            count
                .checked_add(1)
                .map_or_else(|| (at.plus(Duration::from_millis(1)), 0), |count| (at, count))
        };
        self.latest = Stamp { at, count, by: self.by };
        self.latest
    }

    /// What is given out from now on is later than this.
    pub(super) fn saw(&mut self, stamp: Stamp) {
        self.latest = self.latest.max(stamp);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millis(millis)
    }

    #[test]
    fn every_stamp_is_later_than_all_before_also_when_the_clock_steps_back() {
        let mut clock = StampClock::new(7);
        let mut last = Stamp::default();
        for now in [5, 5, 9, 3, 9, i64::MIN, 10] {
            let next = clock.next(at(now));
            assert!(next > last, "{now}");
            last = next;
        }
        clock.saw(Stamp::new(at(1_000), 3, 9));
        assert_eq!(clock.next(at(11)), Stamp::new(at(1_000), 4, 7));
        clock.saw(Stamp::new(at(1_000), u32::MAX, 9));
        assert_eq!(clock.next(at(11)), Stamp::new(at(1_001), 0, 7));
    }

    #[test]
    fn what_is_no_stamp_is_refused() {
        let good = Stamp::new(at(1), 2, 3).to_string();
        assert_eq!(good, "00000000000000100000000020000000003");
        for bad in ["", "1", &good[1..], &format!("{good}0"), &"9".repeat(35), &"x".repeat(35)] {
            assert_eq!(bad.parse::<Stamp>(), Err(NotAStamp), "{bad}");
        }
    }

    #[test]
    fn a_stamp_of_another_age_is_not_credible() {
        let now = at(1_700_000_000_000);
        assert!(Stamp::new(now, 0, 0).is_credible(now));
        assert!(!Stamp::new(at(LATEST), 0, 0).is_credible(now));
    }

    proptest! {
        #[test]
        fn texts_are_read_back_and_in_the_same_order(
            one in (0..=LATEST, any::<u32>(), any::<u32>()),
            other in (0..=LATEST, any::<u32>(), any::<u32>()),
        ) {
            let [one, other] = [one, other].map(|(millis, count, by)| Stamp::new(at(millis), count, by));
            prop_assert_eq!(one.to_string().parse(), Ok(one));
            prop_assert_eq!(one.cmp(&other), one.to_string().cmp(&other.to_string()));
        }
    }
}
