//! How long somebody is throttled who was found abusive.
//!
//! Owns: [`Penalty`]: 30 seconds for the first time, twice as long with every further one, an hour at
//! most; an hour of calm after the last and it is as if nothing had been. Refuses: to grow while it
//! lasts: requests that come meanwhile are refused and prolong nothing, so a wait that was told
//! stays true. Hammering on is its own punishment: it brings nothing, and the limits still count
//! what comes after. No neighbours.

use std::time::Duration;

use super::pattern::Pattern;
use crate::resilience::tick::Tick;

/// For the first time.
pub(super) const FIRST: Duration = Duration::from_secs(30);
/// However often.
pub(super) const LONGEST: Duration = Duration::from_secs(3_600);
/// Time after the end of a throttle until it is forgotten.
pub(super) const CALM: Duration = Duration::from_secs(3_600);

/// What somebody has coming.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Penalty {
    /// How often he was found, not counting what is forgotten.
    pub(super) flags: u32,
    /// What gave him away the last time.
    pub(super) pattern: Pattern,
    /// How many requests, ids or pages that were.
    pub(super) seen: u32,
    /// Requests refused since the first time.
    pub(super) refused: u64,
    until: Tick,
}

impl Penalty {
    /// For somebody who was never found before.
    pub(super) fn first(pattern: Pattern, seen: u32, now: Tick) -> Self {
        Self { flags: 1, pattern, seen, refused: 0, until: now.plus(length(1)) }
    }

    /// The same for somebody who is found again.
    pub(super) fn again(&mut self, pattern: Pattern, seen: u32, now: Tick) {
        let flags = self.flags.saturating_add(1);
        *self = Self { flags, pattern, seen, until: now.plus(length(flags)), ..*self };
    }

    /// Time left to wait; `None` when there is none.
    pub(super) fn throttled_for(&self, now: Tick) -> Option<Duration> {
        (now < self.until).then(|| self.until.since(now))
    }

    /// Whether it is as if nothing had been.
    pub(super) fn is_forgotten(&self, now: Tick) -> bool {
        now >= self.until.plus(CALM)
    }
}

/// How long the throttle of that number is.
fn length(flags: u32) -> Duration {
    let doubled = 2_u32.saturating_pow(flags.saturating_sub(1));
    FIRST.saturating_mul(doubled).min(LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_up_to_an_hour() {
        let lengths = [1, 2, 3, 4, 5, 6, 7, 8, 9, u32::MAX].map(|flags| length(flags).as_secs());
        assert_eq!(lengths, [30, 60, 120, 240, 480, 960, 1_920, 3_600, 3_600, 3_600]);
    }

    #[test]
    fn it_ends_as_told_and_is_forgotten_after_a_calm_hour() {
        let start = Tick::ORIGIN.plus(Duration::from_secs(1_000));
        let mut penalty = Penalty::first(Pattern::PageScan, 21, start);
        assert_eq!(penalty.throttled_for(start), Some(FIRST));
        let end = start.plus(FIRST);
        assert_eq!(penalty.throttled_for(end), None);
        assert!(!penalty.is_forgotten(end));
        assert!(penalty.is_forgotten(end.plus(CALM)));
        penalty.again(Pattern::RepeatedQuery, 21, end);
        assert_eq!((penalty.flags, penalty.throttled_for(end)), (2, Some(FIRST * 2)));
    }
}
