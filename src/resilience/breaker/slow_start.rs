//! How much is let through after a breaker has closed: little at first, twice as much while hardly
//! anything fails.
//!
//! Owns: the rate and its tokens. An upstream that has just come back seldom has all of its strength,
//! and one that rejects what is too much answers fast. So this is a rate of calls, not a bound on
//! concurrency, and it moves like a congestion window (RFC 5681). A step lasts [`STEP`] and
//! until what was admitted in that time was answered; then the rate doubles. Too many failures in a step
//! halve it. Failures above [`FLOOR`] are caused by our own load: they move the rate, not the
//! breaker. It ends when the rate has grown to [`FULL`].

use std::time::{Duration, Instant};

use super::CallResult;
use crate::resilience::pace::Pace;

/// Calls a second at the beginning: so much that clients of a usual service hardly notice it.
const START: f64 = 20.0;
/// Calls a second that no upstream fails because of; here the breaker evaluates calls.
const FLOOR: f64 = 1.0;
/// Calls a second beyond which nothing is held back.
const FULL: f64 = 1_000.0;
/// The least time between two doublings.
const STEP: Duration = Duration::from_millis(250);
/// Calls that may start together, in seconds of the rate.
const BURST: f64 = 0.1;
/// The same in calls: a background call needs two tokens.
const LEAST_BURST: u32 = 2;
/// With so many results in it, a step that is neither good nor bad begins anew.
const ENOUGH: u32 = 8;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Evaluator {
    Breaker,
    SlowStart,
    /// The slow start did, and its rate fell to the floor: from now on the breaker does.
    FellToFloor,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct SlowStart {
    /// The share of failures above which the rate is halved.
    tolerance: f64,
    rate: f64,
    pace: Pace,
    fell_at: Option<Instant>,
    began: Instant,
    successes: u32,
    failures: u32,
}

impl SlowStart {
    /// Begins with one token. `failure_rate` is the one that would open the breaker.
    pub(super) fn new(failure_rate: f64, now: Instant) -> Self {
        Self::at(START, failure_rate, now)
    }

    pub(super) fn at_floor(failure_rate: f64, now: Instant) -> Self {
        Self::at(FLOOR, failure_rate, now)
    }

    fn at(rate: f64, failure_rate: f64, now: Instant) -> Self {
        let tolerance = if failure_rate > 0.0 { failure_rate.min(1.0) / 2.0 } else { 0.5 };
        Self {
            tolerance,
            rate,
            pace: pace(rate).with_tokens(1, now),
            fell_at: None,
            began: now,
            successes: 0,
            failures: 0,
        }
    }

    pub(super) const fn rate(&self) -> f64 {
        self.rate
    }

    /// When there will be a token; zero when there is one. A background call leaves one to clients.
    pub(super) fn wait(&self, background: bool, now: Instant) -> Duration {
        self.pace.wait(now, u32::from(background))
    }

    pub(super) fn take(&mut self, now: Instant) {
        self.pace.take(now);
    }

    pub(super) fn is_over(&self) -> bool {
        self.rate >= FULL
    }

    /// A call that was admitted at `admitted` ended so.
    pub(super) fn ended(
        &mut self,
        result: CallResult,
        admitted: Instant,
        now: Instant,
    ) -> Evaluator {
        // What was admitted before the rate fell says nothing about the rate after it.
        if self.fell_at.is_some_and(|fell_at| admitted <= fell_at) {
            return Evaluator::SlowStart;
        }
        let is_of_step = admitted > self.began;
        let at_floor = self.rate <= FLOOR;
        match result {
            CallResult::Ignored => return Evaluator::SlowStart,
            CallResult::Success => {
                self.successes = self.successes.saturating_add(u32::from(is_of_step));
            }
            CallResult::Failure => {
                self.failures = self.failures.saturating_add(u32::from(is_of_step));
            }
        }
        if !at_floor && self.fall(now) {
            return if self.rate <= FLOOR { Evaluator::FellToFloor } else { Evaluator::SlowStart };
        }
        if !is_of_step {
            return Evaluator::SlowStart;
        }
        // Then nearly all that was admitted in the step's own time was answered before.
        if admitted.saturating_duration_since(self.began) >= STEP {
            self.grow(now);
        }
        if at_floor { Evaluator::Breaker } else { Evaluator::SlowStart }
    }

    /// Whether too much failed, and the rate was lowered for it.
    fn fall(&mut self, now: Instant) -> bool {
        if self.failures < 2 || self.failure_share() <= self.tolerance {
            return false;
        }
        self.set_rate((self.rate / 2.0).max(FLOOR), now);
        // What was saved up belongs to the higher rate.
        self.pace = self.pace.with_tokens(0, now);
        self.fell_at = Some(now);
        true
    }

    fn grow(&mut self, now: Instant) {
        if self.successes > 0 && self.failure_share() <= self.tolerance / 2.0 {
            self.set_rate((self.rate * 2.0).min(FULL), now);
        } else if self.successes.saturating_add(self.failures) >= ENOUGH {
            self.set_rate(self.rate, now);
        }
    }

    fn set_rate(&mut self, rate: f64, now: Instant) {
        self.rate = rate;
        self.pace = pace(rate).after(self.pace);
        (self.began, self.successes, self.failures) = (now, 0, 0);
    }

    fn failure_share(&self) -> f64 {
        let ended = self.successes.saturating_add(self.failures).max(1);
        f64::from(self.failures) / f64::from(ended)
    }
}

fn pace(rate: f64) -> Pace {
    let burst = Duration::from_secs_f64(rate * BURST).as_secs();
    Pace::new(rate, u32::try_from(burst).unwrap_or(u32::MAX).max(LEAST_BURST))
}
