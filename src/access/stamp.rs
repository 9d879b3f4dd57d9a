//! When something was changed, so that any two changes have an order that all instances agree on.
//!
//! Owns: [`Stamp`] and the clock that gives them out, a hybrid logical clock (Kulkarni et al.,
//! "Logical Physical Clocks", 2014): wall-clock time, a count for what happens within the same
//! millisecond or on a clock that is behind, and a number of the instance. A new stamp is later than
//! the one that is known of its subject, so who changes a thing he knows always wins, whatever the
//! clocks say; and later than every other that this process has seen. Refuses: stamps more than a year
//! ahead of the own clock, which nobody could ever win against. They are not given out either, but to
//! win against one; and what was refused may be believed later, since it may be our clock that is wrong.

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

    /// From when on that is so.
    pub(super) fn credible_from(&self) -> Timestamp {
        self.at.minus(CREDIBLE)
    }

    /// The next one after it.
    fn following(self, by: u32) -> Self {
        let Self { at, count, .. } = self;
        // Four thousand million changes within a millisecond: the next one is as good.
        let (at, count) = count
            .checked_add(1)
            .map_or_else(|| (at.plus(Duration::from_millis(1)), 0), |count| (at, count));
        Self { at, count, by }
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

    /// A stamp later than `known`, which is what is known of its subject, and than all that were given
    /// out or seen as far as they are credible: whoever worked for a while with a clock that was years
    /// ahead is to be believed again once it is right.
    pub(super) fn next(&mut self, now: Timestamp, known: Option<Stamp>) -> Stamp {
        let now = now.max(Timestamp::default()).min(Timestamp::from_millis(LATEST));
        let latest = Some(self.latest).filter(|latest| latest.is_credible(now));
        let before = latest.max(known).unwrap_or_default();
        let next = if now > before.at {
            Stamp { at: now, count: 0, by: self.by }
        } else {
            before.following(self.by)
        };
        if next.is_credible(now) {
            self.latest = next;
        }
        next
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
            let next = clock.next(at(now), None);
            assert!(next > last, "{now}");
            last = next;
        }
        clock.saw(Stamp::new(at(1_000), 3, 9));
        assert_eq!(clock.next(at(11), None), Stamp::new(at(1_000), 4, 7));
        clock.saw(Stamp::new(at(1_000), u32::MAX, 9));
        assert_eq!(clock.next(at(11), None), Stamp::new(at(1_001), 0, 7));
    }

    #[test]
    fn a_clock_that_was_years_ahead_does_not_spoil_the_stamps_that_follow() {
        let (mut clock, now) = (StampClock::new(7), at(1_700_000_000_000));
        let ahead = clock.next(now.plus(3 * CREDIBLE), None);
        let next = clock.next(now, None);
        assert_eq!(next, Stamp::new(now, 0, 7));
        assert!(clock.next(now, Some(next)) > next);
        // It still wins against what was stamped then, and goes on from where it was.
        let won = clock.next(now, Some(ahead));
        assert!(won > ahead && !won.is_credible(now) && won.credible_from() > now);
        assert!(clock.next(now, None).is_credible(now));
        // A year behind is as bad; what was given out by the right clock is later then.
        let later = now.plus(CREDIBLE / 2);
        assert!(clock.next(later, None) > next && clock.next(now, None).at() == later);
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
