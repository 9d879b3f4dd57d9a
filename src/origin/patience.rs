//! How long a queue may be: long for a while, short for good.
//!
//! Owns: since when a queue has not been empty. Pure; the queue itself is its owner's, and so is what
//! a refused call is told.
//!
//! A burst fills a queue and the queue empties again: whoever stands in it is served, so it may be as
//! long as deadlines allow. Under an overload it never empties, and all that its length does is to
//! make everybody wait as long as it is, during the overload and after it. So a queue that has not
//! been empty for a while is a standing one, and is kept short: Maurer, "Fail at Scale" (ACM Queue
//! 2015), after the controlled delay of Nichols and Jacobson, "Controlling Queue Delay" (ACM Queue
//! 2012; RFC 8289).

use std::time::{Duration, Instant};

/// When a queue is a standing one, and how long that may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// A queue that has not been empty for longer is a standing one.
    pub burst: Duration,
    /// The longest wait in a standing queue.
    pub standing: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { burst: Duration::from_secs(1), standing: Duration::from_millis(250) }
    }
}

/// The patience with one queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Patience {
    /// When the queue was last seen empty by somebody who came; before that, the first look.
    since: Option<Instant>,
}

impl Patience {
    /// With a queue that nobody has looked at.
    #[must_use]
    pub const fn new() -> Self {
        Self { since: None }
    }

    /// The longest wait with which somebody who comes `now` may join the queue; `None` when only the
    /// own deadline bounds it. To be asked before joining, with whether nobody else stands there.
    pub fn longest_wait(
        &mut self,
        queue_is_empty: bool,
        now: Instant,
        settings: Settings,
    ) -> Option<Duration> {
        if queue_is_empty {
            self.since = Some(now);
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let stood = now.saturating_duration_since(since);
        (stood > settings.burst).then_some(settings.standing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const SETTINGS: Settings =
        Settings { burst: Duration::from_secs(1), standing: Duration::from_millis(250) };

    #[test]
    fn a_burst_may_wait_and_a_standing_queue_may_not() {
        let (mut patience, start) = (Patience::default(), clock::monotonic());
        let mut at = |empty, millis| {
            patience.longest_wait(empty, start + Duration::from_millis(millis), SETTINGS)
        };
        assert_eq!(at(true, 0), None);
        assert_eq!(at(false, 10), None);
        assert_eq!(at(false, 1_000), None);
        assert_eq!(at(false, 1_001), Some(SETTINGS.standing));
        assert_eq!(at(false, 60_000), Some(SETTINGS.standing));
    }

    #[test]
    fn a_queue_that_was_empty_is_a_burst_again() {
        let (mut patience, start) = (Patience::default(), clock::monotonic());
        let mut at = |empty, millis| {
            patience.longest_wait(empty, start + Duration::from_millis(millis), SETTINGS)
        };
        assert_eq!(at(false, 0), None);
        assert_eq!(at(false, 1_500), Some(SETTINGS.standing));
        assert_eq!(at(true, 1_600), None);
        assert_eq!(at(false, 2_600), None);
        assert_eq!(at(false, 2_601), Some(SETTINGS.standing));
    }

    #[test]
    fn times_out_of_order_are_survived() {
        let (mut patience, now) = (Patience::default(), clock::monotonic());
        assert_eq!(patience.longest_wait(true, now + Duration::from_secs(5), SETTINGS), None);
        assert_eq!(patience.longest_wait(false, now, SETTINGS), None);
    }
}
