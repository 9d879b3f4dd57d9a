//! What a worker remembers of its refusals, so that an overload is a few lines of the log.
//!
//! Owns: when a line is due: at the first refusal, then at most once a second with how many there
//! were, and once when there were none for a second. Pure: the time is an argument.

use std::time::{Duration, Instant};

/// Between two lines, and from the last refusal to the end.
const A_SECOND: Duration = Duration::from_secs(1);

/// Refusals of one overload.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Refusals {
    in_all: u64,
    untold: u64,
    told: Option<Instant>,
    last: Option<Instant>,
}

impl Refusals {
    /// One more. Gives how many there were since the last line when the next is due.
    #[must_use = "a line is due"]
    pub(super) fn count(&mut self, now: Instant) -> Option<u64> {
        self.in_all += 1;
        self.untold += 1;
        self.last = Some(now);
        let waits = self.told.is_some_and(|told| now.saturating_duration_since(told) < A_SECOND);
        if waits {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }

    /// Gives how many there were in all, once, when there were none for a second.
    #[must_use = "a line is due"]
    pub(super) fn over(&mut self, now: Instant) -> Option<u64> {
        let last = self.last?;
        if now.saturating_duration_since(last) < A_SECOND {
            return None;
        }
        Some(std::mem::take(self).in_all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    #[test]
    fn the_first_is_told_at_once_and_the_others_once_a_second() {
        let (mut refusals, start) = (Refusals::default(), monotonic());
        let ms = Duration::from_millis;
        assert_eq!(refusals.over(start), None);
        assert_eq!(refusals.count(start), Some(1));
        let later: Vec<_> = (1..=25).filter_map(|n| refusals.count(start + ms(100) * n)).collect();
        assert_eq!(later, [10, 10]);
        assert_eq!(refusals.over(start + ms(3_499)), None);
        assert_eq!(refusals.over(start + ms(3_500)), Some(26));
        assert_eq!(refusals.over(start + ms(9_000)), None);
        assert_eq!(refusals.count(start + ms(9_001)), Some(1));
    }
}
