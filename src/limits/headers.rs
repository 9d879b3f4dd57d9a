//! The answer of the limits, written as header fields.
//!
//! Owns: names and values of `RateLimit-Policy` and `RateLimit`
//! (draft-ietf-httpapi-ratelimit-headers-11, Structured Fields of RFC 9651), of the older
//! `X-RateLimit-*` and of `Retry-After` (RFC 9110). Refuses: to say anything where no limit
//! applies. Times are whole seconds, rounded up, so who waits as told is never early.
//!
//! The older fields name the one rule that binds; their `Reset` is the number of seconds until the
//! whole limit is available again. `RateLimit` lists every rule; on a refusal its `t` does not
//! reach beyond `Retry-After`, as the draft asks.

use std::time::Duration;

use super::admission::{Admission, QuotaState, RuleKind};
use super::class::Class;

/// One of the header fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// Requests that the binding rule allows.
    Limit,
    /// Requests that may still come at once.
    Remaining,
    /// Seconds until the whole limit is available again.
    Reset,
    /// What is left under each rule.
    RateLimit,
    /// The rules themselves.
    Policy,
    /// Seconds until a refused request would be admitted.
    RetryAfter,
}

impl Field {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Limit,
        Self::Remaining,
        Self::Reset,
        Self::RateLimit,
        Self::Policy,
        Self::RetryAfter,
    ];

    /// Its name, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Limit => "x-ratelimit-limit",
            Self::Remaining => "x-ratelimit-remaining",
            Self::Reset => "x-ratelimit-reset",
            Self::RateLimit => "ratelimit",
            Self::Policy => "ratelimit-policy",
            Self::RetryAfter => "retry-after",
        }
    }
}

/// Writes the value of one field into `text`, which is empty; false where there is nothing to say.
#[must_use]
pub fn write(admission: &Admission, field: Field, text: &mut String) -> bool {
    let retry_after = admission.verdict.retry_after().map(retry_after_seconds);
    let binding = admission.verdict.binding();
    let number = match field {
        Field::Limit => binding.map(|state| u64::from(state.limit)),
        Field::Remaining => binding.map(|state| u64::from(state.remaining)),
        Field::Reset => binding.map(|state| seconds_up(state.reset_after)),
        Field::RetryAfter => retry_after,
        Field::RateLimit => {
            push_limits(text, admission, retry_after.unwrap_or(u64::MAX));
            return binding.is_some();
        }
        Field::Policy => {
            push_policies(text, admission);
            return binding.is_some();
        }
    };
    number.map(|number| push_number(text, number)).is_some()
}

/// The value of `Retry-After`: at least one, since zero invites a client to spin.
#[must_use]
pub fn retry_after_seconds(wait: Duration) -> u64 {
    seconds_up(wait).max(1)
}

/// `"search-minute";r=99;t=60` for every rule.
fn push_limits(list: &mut String, admission: &Admission, longest: u64) {
    for state in admission.verdict.states() {
        push_name(list, admission.class, state.rule);
        let window = seconds_up(state.reset_after).min(longest);
        push_parameter(list, ";r=", u64::from(state.remaining));
        push_parameter(list, ";t=", window);
    }
}

/// `"search-minute";q=100;w=60` for every rule.
fn push_policies(list: &mut String, admission: &Admission) {
    for QuotaState { rule, limit, period, .. } in admission.verdict.states() {
        push_name(list, admission.class, *rule);
        push_parameter(list, ";q=", u64::from(*limit));
        push_parameter(list, ";w=", seconds_up(*period).max(1));
    }
}

fn push_name(list: &mut String, class: Class, rule: RuleKind) {
    let separator = if list.is_empty() { "\"" } else { ", \"" };
    for part in [separator, class.as_str(), "-", rule.as_str(), "\""] {
        list.push_str(part);
    }
}

fn push_parameter(list: &mut String, name: &str, value: u64) {
    list.push_str(name);
    push_number(list, value);
}

fn push_number(list: &mut String, value: u64) {
    list.push_str(itoa::Buffer::new().format(value));
}

fn seconds_up(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::admission::{Admit, Decision, Verdict};
    use super::super::policy::Policies;
    use super::super::policy::tests::default_limits;
    use super::super::principal::{KeyId, Principal};
    use super::super::table::Table;
    use super::*;

    fn written(admission: &Admission) -> Vec<(Field, String)> {
        let all = Field::ALL.into_iter().map(|field| {
            let mut text = String::new();
            write(admission, field, &mut text).then_some((field, text))
        });
        all.flatten().collect()
    }

    fn fields(pairs: &[(Field, &str)]) -> Vec<(Field, String)> {
        pairs.iter().map(|(field, value)| (*field, (*value).to_owned())).collect()
    }

    #[test]
    fn an_admitted_search_says_what_is_left() {
        let now = crate::clock::monotonic();
        let table = Table::new(1_000, Policies::new(&default_limits()), now);
        let address = Principal::of_address([203, 0, 113, 7].into(), 64);
        let admission = table.decide(Admit::new(Class::Search, address), now);
        assert_eq!(
            written(&admission),
            fields(&[
                (Field::Limit, "100"),
                (Field::Remaining, "99"),
                (Field::Reset, "60"),
                (Field::RateLimit, "\"search-minute\";r=99;t=60"),
                (Field::Policy, "\"search-minute\";q=100;w=60"),
            ])
        );
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let now = crate::clock::monotonic();
        let table = Table::new(1_000, Policies::new(&default_limits()), now);
        let address = Principal::of_address([203, 0, 113, 7].into(), 64);
        for _ in 0..10 {
            assert!(table.decide(Admit::new(Class::General, address), now).verdict.is_admitted());
        }
        assert_eq!(
            written(&table.decide(Admit::new(Class::General, address), now)),
            fields(&[
                (Field::Limit, "10"),
                (Field::Remaining, "0"),
                (Field::Reset, "2"),
                (Field::RateLimit, "\"general-burst\";r=0;t=1, \"general-minute\";r=50;t=1"),
                (Field::Policy, "\"general-burst\";q=10;w=2, \"general-minute\";q=60;w=60"),
                (Field::RetryAfter, "1"),
            ])
        );
    }

    #[test]
    fn a_single_rule_is_a_list_of_one() {
        let now = crate::clock::monotonic();
        let table = Table::new(1_000, Policies::new(&default_limits()), now);
        let admission =
            table.decide(Admit::new(Class::Search, Principal::Key(KeyId::INTERNAL)), now);
        let written = written(&admission);
        assert_eq!(written[3], (Field::RateLimit, "\"search-minute\";r=999;t=60".to_owned()));
        assert_eq!(written[4], (Field::Policy, "\"search-minute\";q=1000;w=60".to_owned()));
    }

    #[test]
    fn where_nothing_is_limited_nothing_is_said() {
        assert_eq!(written(&Admission::of(Class::Exempt, Verdict::UNLIMITED)), []);
    }

    #[test]
    fn numbers_are_written_in_full() {
        for value in [0, 7, 10, 99, 100, 1_000_000_007, u64::MAX] {
            let mut list = String::new();
            push_parameter(&mut list, ";r=", value);
            assert_eq!(list, format!(";r={value}"));
        }
    }

    #[test]
    fn seconds_are_rounded_up() {
        assert_eq!(retry_after_seconds(Duration::ZERO), 1);
        assert_eq!(retry_after_seconds(Duration::from_nanos(1)), 1);
        assert_eq!(retry_after_seconds(Duration::from_nanos(1_000_000_001)), 2);
        assert_eq!(seconds_up(Duration::MAX), u64::MAX);
    }

    proptest! {
        #[test]
        fn every_value_is_a_valid_field(
            limit: u32, remaining: u32, reset: u64, period: u64, wait: Option<u64>,
        ) {
            let state = |rule| Some(QuotaState {
                rule,
                limit,
                period: Duration::from_nanos(period),
                remaining,
                reset_after: Duration::from_nanos(reset),
            });
            let rule = RuleKind::Burst;
            let verdict = Verdict {
                decision: wait.map_or(Decision::Admitted, |wait| Decision::Refused {
                    retry_after: Duration::from_nanos(wait),
                    rule,
                }),
                burst: state(rule),
                minute: state(RuleKind::Minute),
            };
            let admission = Admission::of(Class::Recommendations, verdict);
            for (field, value) in written(&admission) {
                let name = field.name();
                prop_assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
                prop_assert!(value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
                prop_assert!(!value.contains("w=0"), "a window is never zero: {}", value);
            }
        }
    }
}
