//! A request for admission, and the answer of the limits to it.
//!
//! Owns: what is asked ([`Admit`]) and in which class of routes, and the decision with what it says
//! about each rule, in numbers. Has no neighbours.

use std::cmp::Reverse;
use std::num::NonZeroU32;
use std::time::Duration;

use serde::Serialize;

use super::client::Principal;
use crate::resilience::token_bucket::BucketRule;
use crate::resilience::window::{self, WindowRule};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    General,
    Search,
    Recommendations,
    /// Never limited: health and metrics.
    Exempt,
}

impl Class {
    pub const ALL: [Self; 4] = [Self::General, Self::Search, Self::Recommendations, Self::Exempt];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::General => "general",
            Self::Search => "search",
            Self::Recommendations => "recommendations",
            Self::Exempt => "exempt",
        }
    }
}

/// One value for every class that is limited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PerClass<T> {
    pub general: T,
    pub search: T,
    pub recommendations: T,
}

impl<T> PerClass<T> {
    /// The value of `class`; `None` for the class that has no limits.
    #[must_use]
    pub const fn get(&self, class: Class) -> Option<&T> {
        match class {
            Class::General => Some(&self.general),
            Class::Search => Some(&self.search),
            Class::Recommendations => Some(&self.recommendations),
            Class::Exempt => None,
        }
    }
}

/// Asks whether a request may go on; admitted requests are counted. Where all instances have to be
/// asked, the answer is the question for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admit {
    pub class: Class,
    pub principal: Principal,
    /// Requests a minute that the key was given for itself, in place of what keys have.
    pub own: Option<NonZeroU32>,
}

impl Admit {
    #[must_use]
    pub const fn new(class: Class, principal: Principal) -> Self {
        Self { class, principal, own: None }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleKind {
    Burst,
    Minute,
}

impl RuleKind {
    pub const ALL: [Self; 2] = [Self::Burst, Self::Minute];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Burst => "burst",
            Self::Minute => "minute",
        }
    }

    /// The same for an operator who reads what became of a request.
    #[must_use]
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Burst => "too many requests at once",
            Self::Minute => "the requests of a minute are used up",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    Admitted,
    Refused {
        /// The same request will be admitted after this time if nothing else is before; exact to
        /// the nanosecond.
        retry_after: Duration,
        /// The rule that keeps it waiting longest.
        rule: RuleKind,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaState {
    pub rule: RuleKind,
    /// Requests it allows in `period`.
    pub limit: u32,
    /// The minute, or the time in which an empty bucket fills.
    pub period: Duration,
    /// Requests that may still come at once.
    pub remaining: u32,
    /// Time until all of `limit` is available again if nothing else is admitted.
    pub reset_after: Duration,
}

impl QuotaState {
    pub(super) fn of_bucket(rule: BucketRule, remaining: u32, reset_after: Duration) -> Self {
        let (limit, period) = (rule.burst(), rule.fill_time());
        Self { rule: RuleKind::Burst, limit, period, remaining, reset_after }
    }

    pub(super) fn of_window(rule: WindowRule, remaining: u32, reset_after: Duration) -> Self {
        let (limit, period) = (rule.limit(), window::LENGTH);
        Self { rule: RuleKind::Minute, limit, period, remaining, reset_after }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LimitResult {
    pub decision: Decision,
    pub burst: Option<QuotaState>,
    pub minute: Option<QuotaState>,
}

impl LimitResult {
    pub const UNLIMITED: Self = Self { decision: Decision::Admitted, burst: None, minute: None };

    #[must_use]
    pub const fn is_admitted(&self) -> bool {
        matches!(self.decision, Decision::Admitted)
    }

    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self.decision {
            Decision::Admitted => None,
            Decision::Refused { retry_after, .. } => Some(retry_after),
        }
    }

    pub fn states(&self) -> impl Iterator<Item = &QuotaState> {
        self.burst.iter().chain(self.minute.iter())
    }

    /// The rule a client should go by if it can follow only one: the one that refused, else the
    /// one with the least left, of two equals the one that resets later.
    #[must_use]
    pub fn binding(&self) -> Option<&QuotaState> {
        match self.decision {
            Decision::Refused { rule: RuleKind::Burst, .. } => self.burst.as_ref(),
            Decision::Refused { rule: RuleKind::Minute, .. } => self.minute.as_ref(),
            Decision::Admitted => tightest(self.states()),
        }
    }
}

/// The state with the least left, of two equals the one that resets later.
pub(super) fn tightest<'a>(states: impl Iterator<Item = &'a QuotaState>) -> Option<&'a QuotaState> {
    states.min_by_key(|state| (state.remaining, Reverse(state.reset_after)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    pub class: Class,
    pub verdict: LimitResult,
    /// Decided by this instance's share of the limits, because the others could not be asked.
    pub alone: bool,
    /// Redis was asked, whatever it said: the time that took is not this process's.
    pub asked: bool,
    /// Redis was asked and said nothing.
    pub silent: bool,
}

impl Admission {
    pub(super) const fn of(class: Class, verdict: LimitResult) -> Self {
        Self { class, verdict, alone: false, asked: false, silent: false }
    }
}

/// The value of `Retry-After`: at least one, since zero invites a client to spin.
#[must_use]
pub fn retry_after_seconds(wait: Duration) -> u64 {
    seconds_up(wait).max(1)
}

/// Whole seconds, rounded up: a client that waits so long is not early.
#[must_use]
pub fn seconds_up(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(retry_after_seconds(Duration::ZERO), 1);
        assert_eq!(retry_after_seconds(Duration::from_nanos(1)), 1);
        assert_eq!(retry_after_seconds(Duration::from_nanos(1_000_000_001)), 2);
        assert_eq!(seconds_up(Duration::MAX), u64::MAX);
    }

    fn state(rule: RuleKind, remaining: u32, reset_seconds: u64) -> Option<QuotaState> {
        let period = Duration::from_secs(60);
        let reset_after = Duration::from_secs(reset_seconds);
        Some(QuotaState { rule, limit: 100, period, remaining, reset_after })
    }

    fn binding(burst: Option<QuotaState>, minute: Option<QuotaState>) -> Option<RuleKind> {
        let verdict = LimitResult { burst, minute, ..LimitResult::UNLIMITED };
        verdict.binding().map(|state| state.rule)
    }

    #[test]
    fn the_rule_with_least_left_binds() {
        let (burst, minute) = (RuleKind::Burst, RuleKind::Minute);
        assert_eq!(binding(state(burst, 3, 1), state(minute, 4, 60)), Some(burst));
        assert_eq!(binding(state(burst, 5, 1), state(minute, 4, 60)), Some(minute));
        assert_eq!(binding(state(burst, 4, 1), state(minute, 4, 60)), Some(minute));
        assert_eq!(binding(None, state(minute, 4, 60)), Some(minute));
        assert_eq!(binding(None, None), None);
    }

    #[test]
    fn the_rule_that_refused_binds() {
        let retry_after = Duration::from_millis(5);
        let refused = LimitResult {
            decision: Decision::Refused { retry_after, rule: RuleKind::Minute },
            burst: state(RuleKind::Burst, 0, 1),
            minute: state(RuleKind::Minute, 2, 60),
        };
        assert_eq!(refused.binding().map(|state| state.rule), Some(RuleKind::Minute));
        assert_eq!(refused.retry_after(), Some(retry_after));
        assert!(!refused.is_admitted());
    }
}
