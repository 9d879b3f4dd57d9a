//! The answer of the limits to one request.
//!
//! Owns: [`Admission`] and what it says about each rule, in numbers; [`super::headers`] writes
//! them down. Refuses nothing and has no neighbours.

use std::time::Duration;

use super::policy::Class;

/// Which of a class's two rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RuleKind {
    /// The token bucket.
    Burst,
    /// The sliding minute.
    Minute,
}

impl RuleKind {
    /// The word used in metrics and header fields.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Burst => "burst",
            Self::Minute => "minute",
        }
    }
}

/// Whether a request may go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It may, and was counted.
    Admitted,
    /// It may not, and was not counted.
    Refused {
        /// The same request will be admitted after this time if nothing else is before; exact to
        /// the nanosecond.
        retry_after: Duration,
        /// The rule that keeps it waiting longest.
        rule: RuleKind,
    },
}

/// How a client stands with one rule after the decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Which rule.
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

/// The answer to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// The route class it was counted in.
    pub class: Class,
    /// Whether it may go on.
    pub decision: Decision,
    /// How the client stands with the bucket, if the class has one.
    pub burst: Option<Standing>,
    /// How the client stands with the window, if the class has one.
    pub minute: Option<Standing>,
    /// The table was full and an unknown client was counted together with all others like it; the
    /// numbers are then those of the account they share.
    pub shared: bool,
    /// Decided by this instance's share of the limits, because the others could not be asked.
    pub alone: bool,
    /// Redis was asked, whatever it said: the time that took is not this process's.
    pub asked: bool,
}

impl Admission {
    /// The answer where no rule applies.
    #[must_use]
    pub const fn unlimited(class: Class) -> Self {
        let decision = Decision::Admitted;
        Self {
            class,
            decision,
            burst: None,
            minute: None,
            shared: false,
            alone: false,
            asked: false,
        }
    }

    /// Whether the request may go on.
    #[must_use]
    pub const fn is_admitted(&self) -> bool {
        matches!(self.decision, Decision::Admitted)
    }

    /// When to come back; `None` when it was admitted.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self.decision {
            Decision::Admitted => None,
            Decision::Refused { retry_after, .. } => Some(retry_after),
        }
    }

    /// How the client stands with every rule that applies.
    pub fn standings(&self) -> impl Iterator<Item = &Standing> {
        self.burst.iter().chain(self.minute.iter())
    }

    /// The rule a client should go by if it can follow only one: the one that refused, else the
    /// one with the least left, of two equals the one that resets later.
    #[must_use]
    pub fn binding(&self) -> Option<&Standing> {
        match self.decision {
            Decision::Refused { rule: RuleKind::Burst, .. } => self.burst.as_ref(),
            Decision::Refused { rule: RuleKind::Minute, .. } => self.minute.as_ref(),
            Decision::Admitted => self.standings().min_by_key(|standing| {
                (standing.remaining, std::cmp::Reverse(standing.reset_after))
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(rule: RuleKind, remaining: u32, reset_seconds: u64) -> Option<Standing> {
        let period = Duration::from_secs(60);
        let reset_after = Duration::from_secs(reset_seconds);
        Some(Standing { rule, limit: 100, period, remaining, reset_after })
    }

    fn binding(burst: Option<Standing>, minute: Option<Standing>) -> Option<RuleKind> {
        let admission = Admission { burst, minute, ..Admission::unlimited(Class::General) };
        admission.binding().map(|standing| standing.rule)
    }

    #[test]
    fn the_rule_with_least_left_binds() {
        let (burst, minute) = (RuleKind::Burst, RuleKind::Minute);
        assert_eq!(binding(standing(burst, 3, 1), standing(minute, 4, 60)), Some(burst));
        assert_eq!(binding(standing(burst, 5, 1), standing(minute, 4, 60)), Some(minute));
        assert_eq!(binding(standing(burst, 4, 1), standing(minute, 4, 60)), Some(minute));
        assert_eq!(binding(None, standing(minute, 4, 60)), Some(minute));
        assert_eq!(binding(None, None), None);
    }

    #[test]
    fn the_rule_that_refused_binds() {
        let retry_after = Duration::from_millis(5);
        let refused = Admission {
            decision: Decision::Refused { retry_after, rule: RuleKind::Minute },
            burst: standing(RuleKind::Burst, 0, 1),
            minute: standing(RuleKind::Minute, 2, 60),
            ..Admission::unlimited(Class::Search)
        };
        assert_eq!(refused.binding().map(|standing| standing.rule), Some(RuleKind::Minute));
        assert_eq!(refused.retry_after(), Some(retry_after));
        assert!(!refused.is_admitted());
    }
}
