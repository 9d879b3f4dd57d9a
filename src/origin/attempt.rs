//! One attempt: the request goes out, and its answer is read; and whether there is another, and when.
//!
//! Owns: the counts and log line of an attempt; the limit of attempts, the exponential back-off with
//! 50–100 % jitter, and how far a wait that the upstream asks for is honoured. Whatever goes wrong on
//! the wire is an outcome; when the upstream hangs, the attempt ends with its time. Refuses: to go past
//! the deadline. What retries cost in sum is bounded by the retry budget.

use std::time::{Duration, Instant};

use slog::{Logger, debug, warn};

use super::credentials::Credential;
use super::state::OriginState;
use super::transport::{Transport, TransportFault};
use super::{Answer, Origin, Outcome};
use crate::resilience::backoff::Backoff;
use crate::trace::{Ids, SpanId, Trace};

pub(super) async fn ask<O: Origin, T: Transport>(
    origins: &[O],
    transport: &T,
    (index, question): (usize, &O::Question),
    (trace, span): (&Trace, SpanId),
    within: Duration,
) -> Outcome<O::Payload> {
    let Some(origin) = origins.get(index) else {
        return Outcome::Transient { reason: "no origin for the credential".to_owned() };
    };
    let sent_at = transport.wall();
    let mut request = origin.request(question, sent_at);
    if origin.is_traced() {
        request.headers.extend(trace.fields(span));
    }
    match transport.send(request, within).await {
        Ok(answer) => {
            let answer = Answer { sent_at, received_at: transport.wall(), ..answer };
            origin.interpret(question, &answer)
        }
        Err(fault @ TransportFault::TooLarge(_)) => {
            Outcome::BadResponse { reason: fault.to_string() }
        }
        Err(fault) => Outcome::Transient { reason: fault.to_string() },
    }
}

/// Counts and logs an attempt at an operation; the first is number 1.
pub(super) fn report<T>(
    state: &OriginState,
    (log, ids): (&Logger, Ids),
    credential: &Credential,
    (operation, number): (&'static str, u32),
    outcome: &Outcome<T>,
    took: Duration,
) {
    state.metrics.calls.at([operation, outcome.label()]).inc();
    state.metrics.duration.observe(took);
    state.metrics.calls_by_account.at([credential.name, outcome.label()]).inc();
    match outcome {
        Outcome::Ok(_) | Outcome::Empty => debug!(log, "upstream answered";
            "account" => credential.name, "outcome" => outcome.label(), "attempt" => number,
            "duration_ms" => millis(took), ids),
        Outcome::Throttled { reason, .. }
        | Outcome::Transient { reason }
        | Outcome::Permanent { reason, .. }
        | Outcome::BadResponse { reason } => warn!(log, "upstream call failed";
            "account" => credential.name, "outcome" => outcome.label(), "attempt" => number,
            "duration_ms" => millis(took), "reason" => reason, ids),
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The longest wait that the upstream may ask for: so long a caller is held; a longer one stops.
const TOLD_WAIT: Duration = Duration::from_secs(3);
/// What a further attempt needs to have left before the deadline to be worth it.
pub(super) const LEAST_ATTEMPT: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Attempts in all, the first one included; 0 and 1 both mean no retry.
    pub max_attempts: u32,
    pub backoff: Backoff,
}

/// How long to wait before trying again after `attempt` attempts (1 after the first), the last of which
/// gave `outcome`; `None`: not again.
///
/// `chance` is between 0 and 1; 0 gives half of the back-off, 1 all of it. To a wait that
/// the upstream asks for it adds up to a tenth, so that callers do not come back together.
pub fn decide<T>(
    policy: &Policy,
    attempt: u32,
    outcome: &Outcome<T>,
    chance: f64,
    now: Instant,
    deadline: Instant,
) -> Option<Duration> {
    let asked = match outcome {
        Outcome::Ok(_) | Outcome::Empty | Outcome::Permanent { .. } => return None,
        Outcome::Throttled { wait, .. } => *wait,
        Outcome::Transient { .. } | Outcome::BadResponse { .. } => None,
    };
    if attempt >= policy.max_attempts {
        return None;
    }
    let wait = match asked {
        Some(asked) if asked > TOLD_WAIT => return None,
        Some(asked) => asked.saturating_add((asked / 10).mul_f64(chance.clamp(0.0, 1.0).max(0.0))),
        None => policy.backoff.jittered(attempt, chance),
    };
    let left = deadline.saturating_duration_since(now);
    if wait.saturating_add(LEAST_ATTEMPT) > left || left.is_zero() {
        return None;
    }
    Some(wait)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock;
    use crate::origin::Blame;

    const POLICY: Policy = Policy {
        max_attempts: 3,
        backoff: Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(10) },
    };
    const FAR: Duration = Duration::from_secs(3_600);

    fn transient() -> Outcome<()> {
        Outcome::Transient { reason: String::new() }
    }

    fn throttled(seconds: u64) -> Outcome<()> {
        Outcome::Throttled { wait: Some(Duration::from_secs(seconds)), reason: String::new() }
    }

    fn decide_at(
        attempt: u32,
        outcome: &Outcome<()>,
        chance: f64,
        left: Duration,
    ) -> Option<Duration> {
        let now = clock::monotonic();
        decide(&POLICY, attempt, outcome, chance, now, now + left)
    }

    const fn after(millis: u64) -> Option<Duration> {
        Some(Duration::from_millis(millis))
    }

    #[test]
    fn each_outcome_has_its_answer() {
        let reason = String::new;
        let rows = [
            (Outcome::Ok(()), None),
            (Outcome::Empty, None),
            (Outcome::Permanent { blame: Blame::Caller, reason: reason() }, None),
            (Outcome::Throttled { wait: None, reason: reason() }, after(1_000)),
            (throttled(2), after(2_200)),
            (transient(), after(1_000)),
            (Outcome::BadResponse { reason: reason() }, after(1_000)),
        ];
        for (outcome, want) in rows {
            assert_eq!(decide_at(1, &outcome, 1.0, FAR), want, "{outcome:?}");
        }
    }

    #[test]
    fn attempts_are_counted_with_the_first() {
        assert_eq!(decide_at(2, &transient(), 1.0, FAR), after(2_000));
        assert_eq!(decide_at(3, &transient(), 1.0, FAR), None);
        let once = Policy { max_attempts: 0, ..POLICY };
        let now = clock::monotonic();
        let decided = decide(&once, 1, &transient(), 0.0, now, now + FAR);
        assert_eq!(decided, None);
    }

    #[test]
    fn a_told_wait_is_honoured_up_to_its_bound() {
        assert_eq!(decide_at(1, &throttled(3), 0.0, FAR), after(3_000));
        assert_eq!(decide_at(1, &throttled(4), 0.0, FAR), None);
        assert_eq!(decide_at(1, &throttled(31_062), 0.0, FAR), None);
    }

    #[test]
    fn nothing_is_tried_past_the_deadline() {
        let left = Duration::from_millis(1_050);
        assert_eq!(decide_at(1, &transient(), 1.0, left), after(1_000));
        let short = Duration::from_millis(1_049);
        assert_eq!(decide_at(1, &transient(), 1.0, short), None);
        assert_eq!(decide_at(1, &throttled(2), 0.0, left), None);
        let now = clock::monotonic();
        let late = decide(&POLICY, 1, &transient(), 0.0, now + FAR, now);
        assert_eq!(late, None);
    }

    proptest! {
        #[test]
        fn a_granted_wait_leaves_time_and_never_undercuts_what_was_told(
            attempt in 0_u32..5,
            told in prop::option::of(0_u64..10),
            chance in prop::num::f64::ANY,
            left_ms in 0_u64..20_000,
        ) {
            let outcome = told.map_or_else(transient, throttled);
            let left = Duration::from_millis(left_ms);
            if let Some(wait) = decide_at(attempt, &outcome, chance, left) {
                prop_assert!(attempt < POLICY.max_attempts);
                prop_assert!(wait + LEAST_ATTEMPT <= left);
                prop_assert!(told.is_none_or(|told| wait >= Duration::from_secs(told)));
            }
        }
    }
}
