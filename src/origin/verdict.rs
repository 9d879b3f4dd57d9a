//! What a call's outcome says about the upstream's health, and what a refusal of its breaker
//! or its pace is told as.
//!
//! Owns: these tables. Refuses: to blame the upstream for a call that was cut because its
//! *caller* had no more time; how it would have ended, nobody knows.

use std::time::{Duration, Instant};

use super::crowd::{Ended, Full};
use super::{Outcome, Priority, pacing};
use crate::failure::{Failure, FailureKind};
use crate::resilience::breaker::{Breaker, Permit, Refusal, Rejected, Verdict};

/// The times that one attempt took and was given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    /// How long it took.
    pub(super) took: Duration,
    /// How long it was allowed to take: the longest time of an attempt, or what the caller had left.
    pub(super) within: Duration,
    /// The longest time of an attempt.
    pub(super) longest: Duration,
    /// From when on an answer is slow; `None` when none is.
    pub(super) slow_after: Option<Duration>,
}

impl Attempt {
    fn is_slow(self) -> bool {
        self.slow_after.is_some_and(|slow| self.took >= slow)
    }

    /// It had less than an attempt's time and used all of it.
    fn was_cut_by_its_caller(self) -> bool {
        self.within < self.longest && self.took >= self.within
    }
}

/// What an outcome says about the upstream's health.
pub(super) fn verdict<T>(outcome: &Outcome<T>, attempt: Attempt) -> Verdict {
    match outcome {
        Outcome::Ok(_) | Outcome::Empty if attempt.is_slow() => Verdict::Slow,
        Outcome::Ok(_) | Outcome::Empty => Verdict::Well,
        // It was slow until then, which is all that is known.
        Outcome::Transient { .. } if attempt.was_cut_by_its_caller() && attempt.is_slow() => {
            Verdict::Slow
        }
        Outcome::Transient { .. } if attempt.was_cut_by_its_caller() => Verdict::Silent,
        Outcome::Transient { .. } | Outcome::BadResponse { .. } => Verdict::Ill,
        Outcome::Throttled { .. } | Outcome::Permanent { .. } => Verdict::Silent,
    }
}

/// What an attempt says about the load that the upstream bears.
pub(super) fn load<T>(outcome: &Outcome<T>, verdict: Verdict, took: Duration) -> Ended {
    match (outcome, verdict) {
        (_, Verdict::Well | Verdict::Slow) => Ended::Well(took),
        (Outcome::Transient { .. }, Verdict::Ill) => Ended::Overloaded,
        (_, Verdict::Ill | Verdict::Silent) => Ended::Silent,
    }
}

/// A crowd's refusal is ours: there is too much to do.
pub(super) fn crowded(full: Full) -> Failure {
    let reason = format!("not sent: {}", full.reason.as_str());
    Failure::new(FailureKind::Overloaded, reason).retry_after(Some(full.retry_after))
}

/// Asks the breaker for a permit; of a ramp, a call that nobody waits for gets what is to spare, and
/// one that nobody asked for gets nothing.
///
/// # Errors
/// The failure that the caller is told.
pub(super) fn admit(
    breaker: &Breaker,
    priority: Priority,
    now: Instant,
) -> Result<Permit, Failure> {
    let admitted = match priority {
        Priority::Client => breaker.admit(now),
        Priority::Refresh => breaker.admit_spare(now),
        Priority::Warming if breaker.is_ramping(now) => Err(NOT_WARMED),
        Priority::Warming => breaker.admit(now),
    };
    admitted.map_err(told)
}

/// Whether [`admit`] would give a permit now; takes nothing.
///
/// # Errors
/// What refuses it.
pub(super) fn peek(breaker: &Breaker, priority: Priority, now: Instant) -> Result<(), Rejected> {
    match priority {
        Priority::Client => breaker.peek(now),
        Priority::Refresh => breaker.peek_spare(now),
        Priority::Warming if breaker.is_ramping(now) => Err(NOT_WARMED),
        Priority::Warming => breaker.peek(now),
    }
}

/// A ramp's refusal to what nobody asked for: it may come back in a while.
const NOT_WARMED: Rejected =
    Rejected { retry_after: Duration::from_secs(5), refusal: Refusal::Ramp };

/// A ramp's refusal is not news about the upstream: there is more to do than it gets as yet.
pub(super) fn told(rejected: Rejected) -> Failure {
    let (kind, reason) = match rejected.refusal {
        Refusal::Open => (FailureKind::CircuitOpen, "breaker is open"),
        Refusal::Ramp => (FailureKind::Overloaded, "not sent: the upstream has just come back"),
    };
    Failure::new(kind, reason).retry_after(Some(rejected.retry_after))
}

/// A pace's refusal is told by whose it is: ours, when too much waits; the upstream's, when it set
/// the bound.
pub(super) fn paced(refused: pacing::Refused) -> Failure {
    let reason = format!("not sent: {}", refused.reason.as_str());
    let kind = match refused.reason {
        pacing::Reason::QueueFull
        | pacing::Reason::StandingQueue
        | pacing::Reason::Deadline
        | pacing::Reason::KeptForClients => FailureKind::Overloaded,
        pacing::Reason::Banned { .. } | pacing::Reason::BudgetSpent { .. } => {
            FailureKind::UpstreamUnavailable
        }
    };
    Failure::new(kind, reason).retry_after(Some(refused.retry_after))
}

#[cfg(test)]
mod tests {
    use super::super::outcome::{Blame, Misconfiguration};
    use super::*;

    const LONGEST: u64 = 2_000;

    fn attempt(took: u64, within: u64) -> Attempt {
        Attempt {
            took: Duration::from_millis(took),
            within: Duration::from_millis(within),
            longest: Duration::from_millis(LONGEST),
            slow_after: Some(Duration::from_millis(1_500)),
        }
    }

    fn transient() -> Outcome<()> {
        Outcome::Transient { reason: String::new() }
    }

    #[test]
    fn an_answer_is_well_until_it_is_slow() {
        for outcome in [Outcome::Ok(()), Outcome::Empty] {
            assert_eq!(verdict(&outcome, attempt(600, LONGEST)), Verdict::Well);
            assert_eq!(verdict(&outcome, attempt(1_499, LONGEST)), Verdict::Well);
            assert_eq!(verdict(&outcome, attempt(1_500, LONGEST)), Verdict::Slow);
            let never = Attempt { slow_after: None, ..attempt(1_999, LONGEST) };
            assert_eq!(verdict(&outcome, never), Verdict::Well);
        }
    }

    #[test]
    fn a_failure_is_the_upstreams_unless_the_caller_had_no_time() {
        for (took, within, expected) in [
            (20, LONGEST, Verdict::Ill),
            (LONGEST, LONGEST, Verdict::Ill),
            (20, 100, Verdict::Ill),
            (100, 100, Verdict::Silent),
            (1_499, 1_499, Verdict::Silent),
            (1_600, 1_600, Verdict::Slow),
        ] {
            assert_eq!(verdict(&transient(), attempt(took, within)), expected, "{took} {within}");
        }
        let bad = Outcome::<()>::BadResponse { reason: String::new() };
        assert_eq!(verdict(&bad, attempt(20, 100)), Verdict::Ill);
    }

    #[test]
    fn a_throttle_and_a_fault_of_ours_say_nothing() {
        let reason = String::new;
        let mut outcomes = vec![Outcome::<()>::Throttled { wait: None, reason: reason() }];
        for blame in
            [Blame::Configuration(Misconfiguration::AppKey), Blame::Caller, Blame::Capability]
        {
            outcomes.push(Outcome::Permanent { blame, reason: reason() });
        }
        for outcome in outcomes {
            assert_eq!(verdict(&outcome, attempt(1_900, LONGEST)), Verdict::Silent);
        }
    }

    #[test]
    fn refusals_are_told_as_what_they_are() {
        let retry_after = Duration::from_millis(300);
        for (refusal, kind) in
            [(Refusal::Open, FailureKind::CircuitOpen), (Refusal::Ramp, FailureKind::Overloaded)]
        {
            let failure = told(Rejected { retry_after, refusal });
            assert_eq!((failure.kind, failure.retry_after), (kind, Some(retry_after)));
        }
    }
}
