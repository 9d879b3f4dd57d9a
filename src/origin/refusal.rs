//! The failure that the caller of a call without a result gets.
//!
//! Owns: words and kinds, by outcome and by what stood in its way; and what an outcome says about
//! the upstream's health. Refuses: to show the upstream's own words anywhere but in the log, and to
//! blame the upstream for a call that was cut because its caller had no more time.

use std::time::{Duration, Instant};

use super::concurrency::Ended;
use super::credentials::{AllRefused, Refusal};
use super::state::OriginState;
use super::{Blame, Outcome, Priority};
use crate::failure::{Bound, Failure, FailureKind};
use crate::resilience::breaker::{CallResult, Rejected, RejectedBy};
use crate::resilience::{Part, Refused, RejectReason};
use crate::steps::Stage;

/// Wait assumed when the upstream throttles without saying for how long.
pub(super) const ASSUMED_BAN: Duration = Duration::from_secs(1);

/// What an outcome says about the upstream's health. `cut_by_caller`: the attempt had less time than
/// attempts have, and used all of it; how it would have ended is not known.
pub(super) const fn health<T>(outcome: &Outcome<T>, cut_by_caller: bool) -> CallResult {
    match outcome {
        Outcome::Ok(_) | Outcome::Empty => CallResult::Success,
        Outcome::Transient { .. } if cut_by_caller => CallResult::Ignored,
        Outcome::Transient { .. } | Outcome::BadResponse { .. } => CallResult::Failure,
        Outcome::Throttled { .. } | Outcome::Permanent { .. } => CallResult::Ignored,
    }
}

/// What an outcome says about the load that the upstream bears.
pub(super) const fn load<T>(outcome: &Outcome<T>, health: CallResult) -> Ended {
    match (outcome, health) {
        (_, CallResult::Success) => Ended::Answered,
        (Outcome::Transient { .. }, CallResult::Failure) => Ended::Overloaded,
        (_, CallResult::Failure | CallResult::Ignored) => Ended::Ignored,
    }
}

/// The failure of an outcome that stays the last; `None` when it is a reply.
pub(super) fn of_outcome<T>(outcome: &Outcome<T>) -> Option<Failure> {
    Some(match outcome {
        Outcome::Ok(_) | Outcome::Empty => return None,
        Outcome::Throttled { wait, reason } => {
            let wait = wait.unwrap_or(ASSUMED_BAN);
            unavailable(format!("throttled: {reason}")).retry_after(Some(wait))
        }
        Outcome::Transient { reason } => unavailable(reason.clone()),
        Outcome::BadResponse { reason } => unavailable(format!("bad response: {reason}")),
        Outcome::Permanent { blame, reason } => {
            let whose = match blame {
                Blame::Configuration(what) => format!("our configuration ({})", what.name),
                Blame::Caller => "the request".to_owned(),
                Blame::Unknown => "something unknown".to_owned(),
            };
            let reason = format!("refused because of {whose}: {reason}");
            let by_caller = *blame == Blame::Caller;
            Failure { by_caller, ..Failure::new(FailureKind::UpstreamRejected, reason) }
        }
    })
}

/// Of an attempt that was made and failed and a further one that was refused: which failure counts.
pub(super) fn rather(made: Option<Failure>, refused: Failure) -> Failure {
    let Some(made) = made else { return refused };
    if refused.is_of_client() {
        // Others may ask sooner.
        return made;
    }
    let wait = made.retry_after.max(refused.retry_after);
    made.retry_after(wait)
}

/// At which stop a call was refused with this failure.
pub(super) const fn stage(failure: &Failure) -> Stage {
    match failure.kind {
        FailureKind::CircuitOpen => Stage::Breaker,
        FailureKind::UpstreamRejected | FailureKind::Internal => Stage::Credential,
        FailureKind::Overloaded
        | FailureKind::UpstreamUnavailable
        | FailureKind::ShareSpent
        | FailureKind::KeptForKeys
        | FailureKind::DeadlineExceeded
        | FailureKind::NotStored => Stage::Pace,
    }
}

pub(super) fn no_retry() -> Failure {
    unavailable("the retries of now are spent".to_owned())
}

/// There is no time for another attempt, or was none for this one.
pub(super) fn too_late(reason: impl Into<String>) -> Failure {
    Failure::new(FailureKind::DeadlineExceeded, reason)
}

fn unavailable(reason: String) -> Failure {
    Failure::new(FailureKind::UpstreamUnavailable, reason)
}

/// A rejection by the slow start is no news about the upstream: there is more to do than it gets as
/// yet.
pub(super) fn by_breaker(rejected: Rejected) -> Failure {
    let wait = Some(rejected.retry_after);
    match rejected.by {
        RejectedBy::Open => {
            Failure::new(FailureKind::CircuitOpen, "the upstream's breaker is open")
                .retry_after(wait)
        }
        RejectedBy::Held => {
            Failure::new(FailureKind::CircuitOpen, "an admin holds the upstream's breaker open")
                .bound_by(Some(Bound::HeldOpen))
                .retry_after(wait)
        }
        RejectedBy::SlowStart => Failure::new(
            FailureKind::Overloaded,
            "the upstream has just come back and gets few calls at first",
        )
        .bound_by(Some(Bound::SlowStart))
        .retry_after(wait),
    }
}

/// A refusal of the pace is ours, when too much waits, or the upstream's, when it set the bound.
pub(super) fn by_pace(refused: Refused) -> Failure {
    let day = |part: Part| Bound::Day { calls: part.calls, of: part.of };
    let bound = match refused.reason {
        RejectReason::Queue
        | RejectReason::Standing
        | RejectReason::Deadline
        | RejectReason::KeptForClients => Bound::Pace,
        RejectReason::Banned => Bound::Banned,
        RejectReason::BudgetSpent(part)
        | RejectReason::ShareSpent(part)
        | RejectReason::KeptForKeys(part) => day(part),
    };
    by_bound(refused).bound_by(Some(bound))
}

/// The same of any bound on calls.
fn by_bound(refused: Refused) -> Failure {
    let kind = match refused.reason {
        RejectReason::Queue
        | RejectReason::Standing
        | RejectReason::Deadline
        | RejectReason::KeptForClients => FailureKind::Overloaded,
        RejectReason::Banned | RejectReason::BudgetSpent(_) => FailureKind::UpstreamUnavailable,
        RejectReason::ShareSpent(_) => FailureKind::ShareSpent,
        RejectReason::KeptForKeys(_) => FailureKind::KeptForKeys,
    };
    Failure::new(kind, refused.reason.in_words()).retry_after(Some(refused.retry_after))
}

impl Refusal {
    pub fn into_failure(self, now: Instant) -> Failure {
        match self {
            Self::Breaker(rejected) => by_breaker(rejected),
            Self::Pacing(refused) => by_pace(refused),
            Self::Health(fault) => {
                let reason = format!(
                    "the upstream refused our {} ({}); it is asked again in {} s",
                    fault.what.name,
                    fault.reason,
                    fault.wait(now).as_secs()
                );
                Failure::new(FailureKind::UpstreamRejected, reason)
            }
        }
    }
}

impl OriginState {
    pub(super) fn full(&self, full: Refused, priority: Priority, number: u32) -> Failure {
        self.shed(full.reason.as_str(), priority, number);
        by_bound(full)
    }

    pub(super) fn refused(
        &self,
        refused: AllRefused<'_>,
        priority: Priority,
        number: u32,
        now: Instant,
    ) -> Failure {
        let Some(refusal) = refused.refusal else {
            return Failure::new(FailureKind::Internal, "no account of the upstream is configured");
        };
        match (&refusal, refused.credential) {
            (Refusal::Breaker(_), Some(credential)) => credential.breaker.count_rejected(),
            (Refusal::Pacing(by), _) => self.shed(by.reason.as_str(), priority, number),
            (Refusal::Health(_) | Refusal::Breaker(_), _) => {}
        }
        refusal.into_failure(now)
    }

    /// A call whose first attempt was made does not count as one that was not made.
    fn shed(&self, reason: &'static str, priority: Priority, number: u32) {
        match priority {
            Priority::Client if number > 1 => {}
            Priority::Client => {
                self.metrics.shed.at([reason]).inc();
            }
            background @ (Priority::Refresh | Priority::Warming) => {
                self.metrics.background_refused.at([background.label(), reason]).inc();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Misconfiguration;
    use super::*;

    #[test]
    fn a_failure_is_the_upstreams_unless_the_caller_cut_it() {
        let reason = String::new;
        let transient = Outcome::<()>::Transient { reason: reason() };
        assert_eq!(health(&transient, false), CallResult::Failure);
        assert_eq!(health(&transient, true), CallResult::Ignored);
        assert_eq!(load(&transient, CallResult::Failure), Ended::Overloaded);
        assert_eq!(load(&transient, CallResult::Ignored), Ended::Ignored);
        let bad = Outcome::<()>::BadResponse { reason: reason() };
        assert_eq!(health(&bad, true), CallResult::Failure);
        assert_eq!(load(&bad, CallResult::Failure), Ended::Ignored, "it was answered in time");
        for good in [Outcome::Ok(()), Outcome::Empty] {
            assert_eq!(health(&good, true), CallResult::Success);
        }
    }

    #[test]
    fn a_throttle_and_a_fault_of_ours_say_nothing() {
        let reason = String::new();
        let blames = [Blame::Configuration(Misconfiguration::of_credential("key")), Blame::Caller];
        let permanent = blames.map(|blame| Outcome::Permanent { blame, reason: reason.clone() });
        let throttled = Outcome::<()>::Throttled { wait: None, reason: reason.clone() };
        for outcome in permanent.into_iter().chain([throttled]) {
            assert_eq!(health(&outcome, false), CallResult::Ignored);
        }
    }

    #[test]
    fn a_failed_attempt_is_told_and_the_longer_wait_unless_that_is_one_clients() {
        let after = |reason, seconds| {
            by_pace(Refused { reason, retry_after: Duration::from_secs(seconds) })
        };
        let part = Part { calls: 25, of: 100 };
        let made = || Some(unavailable("down".to_owned()));
        assert_eq!(
            rather(None, after(RejectReason::ShareSpent(part), 9)).kind,
            FailureKind::ShareSpent
        );
        let wait = |refused| rather(made(), refused).retry_after;
        assert_eq!(wait(after(RejectReason::Queue, 9)), Some(Duration::from_secs(9)));
        assert_eq!(wait(after(RejectReason::ShareSpent(part), 9)), None);
        assert_eq!(wait(after(RejectReason::KeptForKeys(part), 9)), None);
    }

    #[test]
    fn rejections_are_told_as_what_they_are() {
        let retry_after = Duration::from_millis(300);
        let wait = Some(retry_after);
        for (by, kind, bound) in [
            (RejectedBy::Open, FailureKind::CircuitOpen, None),
            (RejectedBy::Held, FailureKind::CircuitOpen, Some(Bound::HeldOpen)),
            (RejectedBy::SlowStart, FailureKind::Overloaded, Some(Bound::SlowStart)),
        ] {
            let failure = by_breaker(Rejected { retry_after, by });
            assert_eq!((failure.kind, failure.bound, failure.retry_after), (kind, bound, wait));
        }
        let refused = |reason| Refused { reason, retry_after };
        for (reason, bound) in [
            (RejectReason::Queue, Bound::Pace),
            (RejectReason::Deadline, Bound::Pace),
            (RejectReason::Banned, Bound::Banned),
            (RejectReason::BudgetSpent(Part { calls: 9, of: 9 }), Bound::Day { calls: 9, of: 9 }),
        ] {
            assert_eq!(by_pace(refused(reason)).bound, Some(bound));
        }
        assert_eq!(by_bound(refused(RejectReason::Queue)).bound, None);
    }
}
