//! How much is let through after a breaker has closed: little at first, more while it goes well.
//!
//! Owns: the rate and its tokens. An upstream that has just come back seldom has all of its
//! strength, and one that turns away what is too much answers fast: how many calls are under way
//! says nothing about it, so this is a rate of calls, not a bound on concurrency.
//!
//! Additive caution is not needed, because a failure costs little: the rate grows by
//! [`GROWTH`] after each second in which somebody was held back and nearly all went well, and falls
//! by [`BACK`] when more than half of the share of failures that would open the breaker is seen
//! (growing fast, falling multiplicatively: the scheme of RFC 5681, with seconds for round trips). As
//! many failures in a row as would open the breaker let it fall to the floor at once.
//!
//! Failures above the floor are answered by the rate alone: they are our own load's. A call made at
//! the floor, [`FLOOR`] calls a second, is no load; it is judged as ever, and may open the breaker.
//! Failures of calls from before the last fall say nothing about the rate after it.
//!
//! It ends when it has lasted long enough and lately held nobody back and saw hardly a failure. An
//! upstream that stays weaker than the demand is ramped for as long as that is so.

use std::time::{Duration, Instant};

use super::Verdict;
use super::window::Counts;

/// Calls a second that no upstream fails because of.
const FLOOR: f64 = 1.0;
/// What a good second multiplies the rate by.
const GROWTH: f64 = 1.5;
/// What too many failures multiply it by.
const BACK: f64 = 0.7;
/// No rate is higher: it is beyond any upstream.
const CEILING: f64 = 1e6;
/// The least time between two growths.
const STEP: Duration = Duration::from_secs(1);
/// So long nobody must have been held back and nearly all must have gone well before it ends.
const QUIET: Duration = Duration::from_secs(2);
/// Calls that may go at once, in seconds of the rate; even, but not pedantic.
const BURST: f64 = 0.1;
/// The same in calls; a spare call needs two tokens.
const LEAST_BURST: f64 = 2.0;

/// How a ramp goes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Plan {
    /// Calls a second at the beginning.
    pub(super) first: f64,
    /// Its least duration.
    pub(super) least: Duration,
    /// The share of failures above which the rate falls.
    pub(super) tolerance: f64,
    /// Failures in a row that let it fall to the floor.
    pub(super) row: u32,
}

/// Who judges a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Judge {
    /// The breaker, as ever.
    Breaker,
    /// The ramp did, by its rate.
    Ramp,
}

/// The rate and its tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Ramp {
    plan: Plan,
    rate: f64,
    tokens: f64,
    /// Up to when tokens were counted.
    counted_at: Instant,
    began: Instant,
    /// The last fall, or the arrival at the floor; calls from before it do not count.
    fell_at: Option<Instant>,
    /// When more failures than hardly any were seen last.
    unwell_at: Option<Instant>,
    held_back_at: Option<Instant>,
    step: Step,
    failures_in_a_row: u32,
}

/// What happened since the rate changed last.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Step {
    began: Instant,
    counts: Counts,
    held_back: bool,
}

impl Step {
    fn new(began: Instant) -> Self {
        Self { began, counts: Counts::default(), held_back: false }
    }
}

impl Ramp {
    /// A ramp that begins now, with one token.
    pub(super) fn new(plan: Plan, now: Instant) -> Self {
        let rate = if plan.first.is_nan() { FLOOR } else { plan.first.clamp(FLOOR, CEILING) };
        Self {
            plan,
            rate,
            tokens: 1.0,
            counted_at: now,
            began: now,
            fell_at: None,
            unwell_at: None,
            held_back_at: None,
            step: Step::new(now),
            failures_in_a_row: 0,
        }
    }

    /// The same at the floor: for a process that takes over and does not know how far it was.
    pub(super) fn at_floor(plan: Plan, now: Instant) -> Self {
        Self::new(Plan { first: FLOOR, ..plan }, now)
    }

    /// Calls a second that are let through.
    pub(super) const fn rate(&self) -> f64 {
        self.rate
    }

    /// Takes a token, or says when there will be one. A spare call leaves one for somebody who
    /// waits.
    pub(super) fn admit(&mut self, spare: bool, now: Instant) -> Result<(), Duration> {
        self.refill(now);
        self.grow(now);
        let waited = self.wait(spare, now);
        if waited.is_ok() {
            self.tokens -= 1.0;
        } else {
            self.held_back(now);
        }
        waited
    }

    /// A call was refused that did not ask in earnest.
    pub(super) fn refused(&mut self, now: Instant) {
        self.refill(now);
        self.grow(now);
        self.held_back(now);
    }

    /// More was asked for than there is.
    const fn held_back(&mut self, now: Instant) {
        self.held_back_at = Some(now);
        self.step.held_back = true;
    }

    /// Whether there is a token, and when there will be; takes none.
    pub(super) fn wait(&self, spare: bool, now: Instant) -> Result<(), Duration> {
        let needed = if spare { 2.0 } else { 1.0 };
        let short = needed - self.tokens_at(now);
        if short <= 0.0 {
            return Ok(());
        }
        // Rounded up, so that whoever obeys finds a token.
        Err(Duration::from_secs_f64(short / self.rate).saturating_add(Duration::from_micros(1)))
    }

    /// A call that was admitted at `admitted` went so.
    pub(super) fn ended(&mut self, verdict: Verdict, admitted: Instant, now: Instant) -> Judge {
        if verdict == Verdict::Silent {
            return Judge::Ramp;
        }
        // None can have been admitted at that very instant afterwards: no token was left.
        let of_this_rate = self.fell_at.is_none_or(|fell_at| admitted > fell_at);
        if of_this_rate && self.is_at_floor() {
            self.count(verdict, now);
            self.grow(now);
            return Judge::Breaker;
        }
        self.failures_in_a_row = match verdict {
            Verdict::Well => 0,
            Verdict::Ill => self.failures_in_a_row.saturating_add(1),
            Verdict::Slow | Verdict::Silent => self.failures_in_a_row,
        };
        if self.failures_in_a_row >= self.plan.row && !self.is_at_floor() {
            self.fall_to(FLOOR, now);
        } else if of_this_rate {
            self.count(verdict, now);
            if self.is_too_much() {
                self.fall_to(self.rate * BACK, now);
            } else {
                self.grow(now);
            }
        }
        Judge::Ramp
    }

    /// Whether everything may go again.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let quiet = |last: Option<Instant>| {
            last.is_none_or(|last| now.saturating_duration_since(last) >= QUIET)
        };
        now.saturating_duration_since(self.began) >= self.plan.least
            && quiet(self.unwell_at)
            && quiet(self.held_back_at)
    }

    pub(super) fn is_at_floor(&self) -> bool {
        self.rate <= FLOOR
    }

    fn count(&mut self, verdict: Verdict, now: Instant) {
        self.step.counts.count(verdict);
        if verdict != Verdict::Well && bad_share(self.step.counts) > self.plan.tolerance / 4.0 {
            self.unwell_at = Some(now);
        }
    }

    /// Slow calls count as failed ones do: more of them would not make it faster. A single failure
    /// is not too much of anything.
    fn is_too_much(&self) -> bool {
        let Counts { ill, slow, .. } = self.step.counts;
        ill.saturating_add(slow) >= 2 && bad_share(self.step.counts) > self.plan.tolerance
    }

    fn fall_to(&mut self, rate: f64, now: Instant) {
        self.refill(now);
        self.rate = rate.max(FLOOR);
        // What was saved up belongs to the higher rate.
        self.tokens = 0.0;
        self.fell_at = Some(now);
        self.unwell_at = Some(now);
        self.step = Step::new(now);
        self.failures_in_a_row = 0;
    }

    /// Ends a step that lasted long enough, and grows if it was good and nobody was served less
    /// only because nobody asked.
    fn grow(&mut self, now: Instant) {
        let Step { began, counts, held_back } = self.step;
        if now.saturating_duration_since(began) < STEP || counts.calls() == 0 {
            return;
        }
        let good = bad_share(counts) <= self.plan.tolerance / 2.0;
        // A few calls with one failure among them decide nothing yet; wait for more.
        if !good && counts.calls() < 8 {
            return;
        }
        self.refill(now);
        if good && held_back {
            self.rate = (self.rate * GROWTH).min(CEILING);
        }
        self.step = Step::new(now);
    }

    fn refill(&mut self, now: Instant) {
        self.tokens = self.tokens_at(now);
        self.counted_at = self.counted_at.max(now);
    }

    fn tokens_at(&self, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(self.counted_at).as_secs_f64();
        let most = (self.rate * BURST).max(LEAST_BURST);
        (self.tokens + passed * self.rate).min(most)
    }
}

/// The share of calls that failed or were slow.
fn bad_share(counts: Counts) -> f64 {
    counts.ill_share() + counts.slow_share()
}
