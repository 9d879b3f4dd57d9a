//! Whether a call is tried again, and when.
//!
//! Owns: the attempt limit, the exponential back-off with 50–100 % jitter, and how far a wait told
//! by the upstream is honoured. Refuses: to go past the deadline. Plain functions: time and chance
//! are arguments. What retries cost in sum is bounded elsewhere, by [`super::budget`].

use std::time::{Duration, Instant};

use serde::Serialize;

use super::Outcome;

/// The bounds of retrying one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// Attempts in all, the first one included; 0 and 1 both mean no retry.
    pub max_attempts: u32,
    /// The first back-off before jitter; doubled each time.
    pub base_delay: Duration,
    /// The longest back-off.
    pub max_delay: Duration,
    /// The longest wait told by the upstream that is waited for; a longer one stops.
    pub max_told_wait: Duration,
    /// What a further attempt needs to have left before the deadline to be worth it.
    pub least_attempt: Duration,
}

/// The decision after an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Try again after this long.
    After(Duration),
    /// Do not.
    Stop(Stop),
}

/// Why a call is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Stop {
    /// It succeeded, or trying again would not change the answer.
    Final,
    /// The attempts are used up.
    Attempts,
    /// The upstream wants a longer wait than is honoured.
    Told,
    /// The next attempt would come too late.
    Deadline,
}

/// Decides after `attempt` attempts (1 after the first), the last of which gave `outcome`.
///
/// `chance` is between 0 and 1; 0 gives half of the back-off, 1 all of it. To a told wait it adds
/// up to a tenth, so that callers who were told the same do not come back as one: it is never
/// undercut.
#[must_use]
pub fn decide<T>(
    policy: &Policy,
    attempt: u32,
    outcome: &Outcome<T>,
    chance: f64,
    now: Instant,
    deadline: Instant,
) -> Retry {
    let told = match outcome {
        Outcome::Ok(_) | Outcome::Empty | Outcome::Permanent { .. } => {
            return Retry::Stop(Stop::Final);
        }
        Outcome::Throttled { wait, .. } => *wait,
        Outcome::Transient { .. } | Outcome::BadResponse { .. } => None,
    };
    if attempt >= policy.max_attempts {
        return Retry::Stop(Stop::Attempts);
    }
    let wait = match told {
        Some(told) if told > policy.max_told_wait => return Retry::Stop(Stop::Told),
        Some(told) => told.saturating_add(scaled(told / 10, chance)),
        None => back_off(policy, attempt, chance),
    };
    let left = deadline.saturating_duration_since(now);
    if wait.saturating_add(policy.least_attempt) > left || left.is_zero() {
        return Retry::Stop(Stop::Deadline);
    }
    Retry::After(wait)
}

/// The back-off after `attempt` attempts: between half and all of `base_delay` doubled
/// `attempt - 1` times, at most `max_delay` (half fixed, half jittered, so that waits neither
/// vanish nor fall into step).
#[must_use]
pub fn back_off(policy: &Policy, attempt: u32, chance: f64) -> Duration {
    let doublings = attempt.saturating_sub(1).min(31);
    let full = policy.base_delay.saturating_mul(1 << doublings).min(policy.max_delay);
    let half = full / 2;
    half.saturating_add(scaled(full.saturating_sub(half), chance))
}

/// `chance` of `of`; a chance that is no number counts as 1, the patient end.
fn scaled(of: Duration, chance: f64) -> Duration {
    let chance = if chance.is_nan() { 1.0 } else { chance.clamp(0.0, 1.0) };
    Duration::try_from_secs_f64(of.as_secs_f64() * chance).unwrap_or(of).min(of)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock;
    use crate::origin::outcome::Blame;

    const POLICY: Policy = Policy {
        max_attempts: 3,
        base_delay: Duration::from_millis(1_000),
        max_delay: Duration::from_millis(10_000),
        max_told_wait: Duration::from_millis(5_000),
        least_attempt: Duration::from_millis(100),
    };
    const FAR: Duration = Duration::from_secs(3_600);

    fn transient() -> Outcome<()> {
        Outcome::Transient { reason: String::new() }
    }

    fn throttled(seconds: u64) -> Outcome<()> {
        Outcome::Throttled { wait: Some(Duration::from_secs(seconds)), reason: String::new() }
    }

    fn decide_at(attempt: u32, outcome: &Outcome<()>, chance: f64, left: Duration) -> Retry {
        let now = clock::monotonic();
        decide(&POLICY, attempt, outcome, chance, now, now + left)
    }

    const fn after(millis: u64) -> Retry {
        Retry::After(Duration::from_millis(millis))
    }

    #[test]
    fn each_outcome_has_its_answer() {
        let reason = String::new;
        let rows = [
            (Outcome::Ok(()), Retry::Stop(Stop::Final)),
            (Outcome::Empty, Retry::Stop(Stop::Final)),
            (
                Outcome::Permanent { blame: Blame::Caller, reason: reason() },
                Retry::Stop(Stop::Final),
            ),
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
    fn the_back_off_doubles_up_to_its_bound() {
        let delays: Vec<_> =
            (1..=6).map(|attempt| back_off(&POLICY, attempt, 1.0).as_millis()).collect();
        assert_eq!(delays, [1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        assert_eq!(back_off(&POLICY, u32::MAX, 0.0), Duration::from_millis(5_000));
    }

    #[test]
    fn attempts_are_counted_with_the_first() {
        assert_eq!(decide_at(2, &transient(), 1.0, FAR), after(2_000));
        assert_eq!(decide_at(3, &transient(), 1.0, FAR), Retry::Stop(Stop::Attempts));
        let once = Policy { max_attempts: 0, ..POLICY };
        let now = clock::monotonic();
        let decided = decide(&once, 1, &transient(), 0.0, now, now + FAR);
        assert_eq!(decided, Retry::Stop(Stop::Attempts));
    }

    #[test]
    fn a_told_wait_is_honoured_up_to_its_bound() {
        assert_eq!(decide_at(1, &throttled(5), 0.0, FAR), after(5_000));
        assert_eq!(decide_at(1, &throttled(6), 0.0, FAR), Retry::Stop(Stop::Told));
        assert_eq!(decide_at(1, &throttled(31_062), 0.0, FAR), Retry::Stop(Stop::Told));
    }

    #[test]
    fn nothing_is_tried_past_the_deadline() {
        let left = Duration::from_millis(1_100);
        assert_eq!(decide_at(1, &transient(), 1.0, left), after(1_000));
        let short = Duration::from_millis(1_099);
        assert_eq!(decide_at(1, &transient(), 1.0, short), Retry::Stop(Stop::Deadline));
        assert_eq!(decide_at(1, &throttled(2), 0.0, left), Retry::Stop(Stop::Deadline));
        let now = clock::monotonic();
        let late = decide(&POLICY, 1, &transient(), 0.0, now + FAR, now);
        assert_eq!(late, Retry::Stop(Stop::Deadline));
    }

    proptest! {
        #[test]
        fn the_jitter_stays_between_half_and_all(attempt in 1_u32..64, chance in 0.0..=1.0_f64) {
            let full = back_off(&POLICY, attempt, 1.0);
            let wait = back_off(&POLICY, attempt, chance);
            prop_assert!(full / 2 <= wait && wait <= full);
        }

        #[test]
        fn a_granted_wait_leaves_time_and_never_undercuts_what_was_told(
            attempt in 0_u32..5,
            told in prop::option::of(0_u64..10),
            chance in prop::num::f64::ANY,
            left_ms in 0_u64..20_000,
        ) {
            let outcome = told.map_or_else(transient, throttled);
            let left = Duration::from_millis(left_ms);
            if let Retry::After(wait) = decide_at(attempt, &outcome, chance, left) {
                prop_assert!(attempt < POLICY.max_attempts);
                prop_assert!(wait + POLICY.least_attempt <= left);
                prop_assert!(told.is_none_or(|told| wait >= Duration::from_secs(told)));
            }
        }
    }
}
