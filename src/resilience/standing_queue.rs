//! How long a queue may be: long for a while, short for good.
//!
//! Owns: since when a queue has not been empty. Pure; the queue itself is its owner's.
//!
//! A burst fills a queue and the queue empties again, so it may be as long as deadlines allow. Under
//! an overload it never empties, and all that its length does is to make every call wait, during the
//! overload and after it. So a queue that has not been empty for a while is kept short: Maurer, "Fail
//! at Scale" (ACM Queue 2015), after the controlled delay of Nichols and Jacobson (RFC 8289).

use std::time::{Duration, Instant};

/// A queue that has not been empty for longer is a standing one.
const BURST: Duration = Duration::from_secs(1);
/// The longest wait in a standing queue.
const LONGEST: Duration = Duration::from_millis(250);
/// Calls that may stand in a queue that never empties, however slowly it moves.
const FEW: u32 = 4;

/// When the queue was last seen empty by a call that came; before that, the first look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StandingQueue {
    since: Option<Instant>,
}

impl StandingQueue {
    /// Whether a call that would wait for `wait` may not join the queue, which moves on by one call
    /// in `turn`. To be asked before each call joins, with whether the queue is empty.
    pub fn is_too_long(
        &mut self,
        is_empty: bool,
        wait: Duration,
        turn: Duration,
        now: Instant,
    ) -> bool {
        if is_empty {
            self.since = Some(now);
            return false;
        }
        let since = *self.since.get_or_insert(now);
        let is_standing = now.saturating_duration_since(since) > BURST;
        is_standing && wait > LONGEST.max(turn.saturating_mul(FEW))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const WAIT: Duration = Duration::from_millis(251);

    #[test]
    fn a_burst_may_wait_and_a_standing_queue_may_not() {
        let (mut queue, start) = (StandingQueue::default(), clock::monotonic());
        let mut at = |is_empty, millis| {
            let now = start + Duration::from_millis(millis);
            queue.is_too_long(is_empty, WAIT, Duration::ZERO, now)
        };
        assert!(!at(true, 0) && !at(false, 10) && !at(false, 1_000));
        assert!(at(false, 1_001) && at(false, 60_000));
        assert!(!at(true, 61_000) && !at(false, 62_000), "it was empty: a burst again");
        assert!(at(false, 62_001));
    }

    #[test]
    fn a_few_may_stand_in_a_slow_queue() {
        let (mut queue, start) = (StandingQueue::default(), clock::monotonic());
        let mut stands = |wait, turn| {
            let now = start + Duration::from_secs(5);
            queue.is_too_long(true, wait, turn, start);
            queue.is_too_long(false, wait, turn, now)
        };
        let turn = Duration::from_millis(200);
        assert!(!stands(turn * 4, turn) && stands(turn * 5, turn));
    }

    #[test]
    fn times_out_of_order_are_survived() {
        let (mut queue, now) = (StandingQueue::default(), clock::monotonic());
        assert!(!queue.is_too_long(true, WAIT, Duration::ZERO, now + Duration::from_secs(5)));
        assert!(!queue.is_too_long(false, WAIT, Duration::ZERO, now));
    }
}
