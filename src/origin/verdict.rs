//! What a call's outcome says about the upstream's health, and what a refusal of its breaker
//! or its pace is told as.
//!
//! Owns: these tables. Refuses: to blame the upstream for a call that was cut because its
//! *caller* had no more time; how it would have ended, nobody knows.

use std::time::{Duration, Instant};

use super::crowd::{Ended, Full};
use super::{Outcome, Priority, pacing};
use crate::failure::{Failure, FailureKind};
use crate::resilience::breaker::{Breaker, CallResult, Permit, Rejected, RejectedBy};

/// The times that one attempt took and was given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    /// How long it took.
    pub(super) took: Duration,
    /// How long it was allowed to take: the longest time of an attempt, or what the caller had left.
    pub(super) within: Duration,
    /// The longest time of an attempt.
    pub(super) longest: Duration,
}

impl Attempt {
    /// It had less than an attempt's time and used all of it.
    fn was_cut_by_its_caller(self) -> bool {
        self.within < self.longest && self.took >= self.within
    }
}

/// What an outcome says about the upstream's health.
pub(super) fn verdict<T>(outcome: &Outcome<T>, attempt: Attempt) -> CallResult {
    match outcome {
        Outcome::Ok(_) | Outcome::Empty => CallResult::Success,
        Outcome::Transient { .. } if attempt.was_cut_by_its_caller() => CallResult::Ignored,
        Outcome::Transient { .. } | Outcome::BadResponse { .. } => CallResult::Failure,
        Outcome::Throttled { .. } | Outcome::Permanent { .. } => CallResult::Ignored,
    }
}

/// What an attempt says about the load that the upstream bears.
pub(super) fn load<T>(outcome: &Outcome<T>, verdict: CallResult, took: Duration) -> Ended {
    match (outcome, verdict) {
        (_, CallResult::Success) => Ended::Well(took),
        (Outcome::Transient { .. }, CallResult::Failure) => Ended::Overloaded,
        (_, CallResult::Failure | CallResult::Ignored) => Ended::Silent,
    }
}

/// A crowd's refusal is ours: there is too much to do.
pub(super) fn crowded(full: Full) -> Failure {
    let reason = format!("not sent: {}", full.reason.as_str());
    Failure::new(FailureKind::Overloaded, reason).retry_after(Some(full.retry_after))
}

/// Asks the breaker for a permit.
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
        Priority::Refresh | Priority::Warming => breaker.admit_background(now),
    };
    admitted.map_err(told)
}

/// Whether [`admit`] would give a permit now; takes nothing.
///
/// # Errors
/// What refuses it.
pub(super) fn peek(breaker: &Breaker, priority: Priority, now: Instant) -> Result<(), Rejected> {
    breaker.peek(priority != Priority::Client, now)
}

/// A rejection by the slow start is not news about the upstream: there is more to do than it gets as
/// yet.
pub(super) fn told(rejected: Rejected) -> Failure {
    let (kind, reason) = match rejected.by {
        RejectedBy::Open => (FailureKind::CircuitOpen, "breaker is open"),
        RejectedBy::SlowStart => {
            (FailureKind::Overloaded, "not sent: the upstream has just come back")
        }
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
        }
    }

    fn transient() -> Outcome<()> {
        Outcome::Transient { reason: String::new() }
    }

    #[test]
    fn a_failure_is_the_upstreams_unless_the_caller_had_no_time() {
        for (took, within, expected) in [
            (20, LONGEST, CallResult::Failure),
            (LONGEST, LONGEST, CallResult::Failure),
            (20, 100, CallResult::Failure),
            (100, 100, CallResult::Ignored),
            (1_600, 1_600, CallResult::Ignored),
        ] {
            assert_eq!(verdict(&transient(), attempt(took, within)), expected, "{took} {within}");
        }
        let bad = Outcome::<()>::BadResponse { reason: String::new() };
        assert_eq!(verdict(&bad, attempt(20, 100)), CallResult::Failure);
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
            assert_eq!(verdict(&outcome, attempt(1_900, LONGEST)), CallResult::Ignored);
        }
    }

    #[test]
    fn refusals_are_told_as_what_they_are() {
        let retry_after = Duration::from_millis(300);
        for (by, kind) in [
            (RejectedBy::Open, FailureKind::CircuitOpen),
            (RejectedBy::SlowStart, FailureKind::Overloaded),
        ] {
            let failure = told(Rejected { retry_after, by });
            assert_eq!((failure.kind, failure.retry_after), (kind, Some(retry_after)));
        }
    }
}
