//! Calls at a steady rate with a burst: when the next one may start, and how long the queue for it may
//! be.
//!
//! Owns: the theoretical arrival time of the generic cell rate algorithm (ITU-T I.371, annex A); it
//! answers with a time, and the caller decides whether to wait for it. And since when a queue has not
//! been empty; the queue itself is its owner's.
//!
//! A burst fills a queue and the queue empties again, so it may be as long as deadlines allow. Under
//! an overload it never empties, and all that its length does is to make every call wait, during the
//! overload and after it. So a queue that has not been empty for a while is kept short: Maurer, "Fail
//! at Scale" (ACM Queue 2015), after the controlled delay of Nichols and Jacobson (RFC 8289).

use std::time::{Duration, Instant};

/// Intervals and bursts longer than this are nonsense, and would overflow the clock.
const LONGEST: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// One pace; the default has no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pace {
    interval: Duration,
    /// How far ahead of the even flow a burst may run.
    tolerance: Duration,
    arrival: Option<Instant>,
}

impl Pace {
    /// `per_second` calls evenly, `burst` of them at once after a pause. A rate of zero, below it
    /// or not a number has no bound.
    pub fn new(per_second: f64, burst: u32) -> Self {
        let interval = match Duration::try_from_secs_f64(per_second.recip()) {
            Ok(interval) => interval.min(LONGEST),
            Err(_) if per_second > 0.0 => LONGEST,
            Err(_) => Duration::ZERO,
        };
        let tolerance = interval.saturating_mul(burst.saturating_sub(1)).min(LONGEST);
        Self { interval, tolerance, arrival: None }
    }

    /// The same with no burst saved up: `tokens` calls may start at once, the others one by one.
    pub fn with_tokens(self, tokens: u32, now: Instant) -> Self {
        let full = self.tolerance.saturating_add(self.interval);
        let arrival = now + full.saturating_sub(self.interval.saturating_mul(tokens));
        Self { arrival: Some(arrival), ..self }
    }

    /// The same, going on after what `former` let through.
    pub const fn after(self, former: Self) -> Self {
        Self { arrival: former.arrival, ..self }
    }

    /// The same, going on where `former` is: as many calls ahead of the even flow, `most` of them.
    pub fn resuming(self, former: Self, most: u32, now: Instant) -> Self {
        let ahead = former.ahead(now);
        let calls = ahead.as_nanos().checked_div(former.interval.as_nanos()).unwrap_or(0);
        let calls = u32::try_from(calls).unwrap_or(u32::MAX).min(most);
        let arrival = now.checked_add(self.interval.saturating_mul(calls).min(LONGEST));
        Self { arrival, ..self }
    }

    /// `parts` times as slow, with a burst that is made up for in the same time.
    #[must_use]
    pub fn slower(self, parts: u32) -> Self {
        Self { interval: self.interval.saturating_mul(parts).min(LONGEST), ..self }
    }

    /// No call starts before `moment`: others have had what there was.
    pub fn not_before(&mut self, moment: Instant) {
        self.arrival = self.arrival.max(moment.checked_add(self.tolerance));
    }

    pub const fn interval(&self) -> Duration {
        self.interval
    }

    /// When the next call may start, not before `from`.
    pub fn earliest(&self, from: Instant) -> Instant {
        let start = self.arrival.and_then(|arrival| arrival.checked_sub(self.tolerance));
        start.map_or(from, |start| start.max(from))
    }

    /// How long until a call may start that leaves `kept` more that may start with it.
    pub fn wait(&self, now: Instant, kept: u32) -> Duration {
        let kept = self.interval.saturating_mul(kept).min(self.tolerance);
        self.ahead(now).saturating_add(kept).saturating_sub(self.tolerance)
    }

    /// A call starts at `start`, or is booked for then.
    pub fn take(&mut self, start: Instant) {
        let base = self.arrival.map_or(start, |before| before.max(start));
        self.arrival = base.checked_add(self.interval);
    }

    /// A booked call is not made: those who come later need not wait for it.
    pub fn give_back(&mut self) {
        self.arrival = self.arrival.and_then(|arrival| arrival.checked_sub(self.interval));
    }

    fn ahead(&self, now: Instant) -> Duration {
        self.arrival.map_or(Duration::ZERO, |arrival| arrival.saturating_duration_since(now))
    }
}

/// A queue that has not been empty for longer is a standing one.
const BURST: Duration = Duration::from_secs(1);
/// The longest wait in a standing queue.
const LONGEST_STANDING: Duration = Duration::from_millis(250);
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
        is_standing && wait > LONGEST_STANDING.max(turn.saturating_mul(FEW))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_goes_at_once_and_the_rest_evenly() {
        let now = clock::monotonic();
        let mut pace = Pace::new(5.0, 3);
        let mut starts = Vec::new();
        for _ in 0..5 {
            let start = pace.earliest(now);
            pace.take(start);
            starts.push(start - now);
        }
        let (none, fifth) = (Duration::ZERO, SECOND / 5);
        assert_eq!(starts, [none, none, none, fifth, fifth * 2]);
    }

    #[test]
    fn a_call_that_is_not_made_leaves_its_time_to_the_next() {
        let now = clock::monotonic();
        let mut pace = Pace::new(1.0, 1);
        pace.take(now);
        assert_eq!(pace.earliest(now), now + SECOND);
        pace.give_back();
        assert_eq!(pace.earliest(now), now);
    }

    #[test]
    fn what_is_kept_for_others_has_to_be_there() {
        let now = clock::monotonic();
        let mut pace = Pace::new(1.0, 4);
        assert_eq!(pace.wait(now, 3), Duration::ZERO);
        assert_eq!(pace.wait(now, 1_000), Duration::ZERO, "no more than the burst is kept");
        pace.take(now);
        assert_eq!((pace.wait(now, 2), pace.wait(now, 3)), (Duration::ZERO, SECOND));
        let empty = pace.with_tokens(1, now);
        assert_eq!((empty.wait(now, 0), empty.wait(now, 1)), (Duration::ZERO, SECOND));
        assert_eq!(pace.with_tokens(0, now).wait(now, 0), SECOND);
    }

    #[test]
    fn another_pace_goes_on_with_as_many_calls_as_were_made() {
        let now = clock::monotonic();
        let mut slow = Pace::new(1.0, 10);
        (0..10).for_each(|_| slow.take(now));
        let quick = Pace::new(10.0, 10).resuming(slow, 10, now);
        assert_eq!(quick.earliest(now), now + SECOND / 10, "the burst is spent, and no more");
        let smaller = Pace::new(1.0, 2).resuming(slow, 2, now);
        assert_eq!(smaller.earliest(now), now + SECOND);
        let free = Pace::default().resuming(slow, 10, now);
        assert_eq!(free.earliest(now), now);
        let bound = Pace::new(1.0, 2).resuming(free, 2, now);
        assert_eq!(bound.earliest(now), now, "what had no bound owes nothing");
    }

    #[test]
    fn nonsense_has_no_bound_or_the_longest() {
        let now = clock::monotonic();
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut pace = Pace::new(rate, 1);
            (0..100).for_each(|_| pace.take(now));
            assert_eq!(pace.earliest(now), now, "{rate}");
        }
        assert_eq!(Pace::new(1e-300, u32::MAX).interval(), LONGEST);
    }

    proptest! {
        /// In no stretch of time more calls start than the rate allows, and the burst.
        #[test]
        fn no_stretch_has_more_than_the_rate_and_the_burst(
            burst in 1_u32..10,
            waits in prop::collection::vec(0_u64..400, 1..200),
        ) {
            let (mut pace, mut now) = (Pace::new(10.0, burst), clock::monotonic());
            let mut starts: Vec<Instant> = Vec::new();
            for wait in waits {
                now += Duration::from_millis(wait);
                let start = pace.earliest(now.max(starts.last().copied().unwrap_or(now)));
                pace.take(start);
                starts.push(start);
                for (n, first) in starts.iter().rev().enumerate() {
                    let allowed = (start - *first).as_secs_f64() * 10.0 + f64::from(burst);
                    prop_assert!(f64::from(u32::try_from(n + 1).unwrap()) <= allowed + 1e-6);
                }
            }
        }
    }

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
