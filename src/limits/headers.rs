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

use super::admission::{Admission, RuleKind, Standing};
use super::policy::Class;

/// Requests that the binding rule allows.
pub const LIMIT: &str = "x-ratelimit-limit";
/// Requests that may still come at once.
pub const REMAINING: &str = "x-ratelimit-remaining";
/// Seconds until the whole limit is available again.
pub const RESET: &str = "x-ratelimit-reset";
/// What is left under each rule.
pub const RATE_LIMIT: &str = "ratelimit";
/// The rules themselves.
pub const RATE_LIMIT_POLICY: &str = "ratelimit-policy";
/// Seconds until a refused request would be admitted.
pub const RETRY_AFTER: &str = "retry-after";

/// Room for two rules with numbers of common length.
const USUAL_LIST_BYTES: usize = 64;

/// The header fields of one answer, with names in lower case.
pub fn headers(admission: &Admission) -> impl Iterator<Item = (&'static str, String)> {
    let binding = admission.binding();
    let fields = [
        binding.map(|standing| (LIMIT, standing.limit.to_string())),
        binding.map(|standing| (REMAINING, standing.remaining.to_string())),
        binding.map(|standing| (RESET, seconds_up(standing.reset_after).to_string())),
        binding.map(|_| (RATE_LIMIT, limits(admission))),
        binding.map(|_| (RATE_LIMIT_POLICY, policies(admission))),
        admission.retry_after().map(|wait| (RETRY_AFTER, retry_after_seconds(wait).to_string())),
    ];
    fields.into_iter().flatten()
}

/// The value of `Retry-After`: at least one, since zero invites a client to spin.
#[must_use]
pub fn retry_after_seconds(wait: Duration) -> u64 {
    seconds_up(wait).max(1)
}

/// `"search-minute";r=99;t=60` for every rule.
fn limits(admission: &Admission) -> String {
    let mut list = String::with_capacity(USUAL_LIST_BYTES);
    let longest = admission.retry_after().map_or(u64::MAX, retry_after_seconds);
    for standing in admission.standings() {
        push_name(&mut list, admission.class, standing.rule);
        let window = seconds_up(standing.reset_after).min(longest);
        push_parameter(&mut list, ";r=", u64::from(standing.remaining));
        push_parameter(&mut list, ";t=", window);
    }
    list
}

/// `"search-minute";q=100;w=60` for every rule.
fn policies(admission: &Admission) -> String {
    let mut list = String::with_capacity(USUAL_LIST_BYTES);
    for Standing { rule, limit, period, .. } in admission.standings() {
        push_name(&mut list, admission.class, *rule);
        push_parameter(&mut list, ";q=", u64::from(*limit));
        push_parameter(&mut list, ";w=", seconds_up(*period).max(1));
    }
    list
}

fn push_name(list: &mut String, class: Class, rule: RuleKind) {
    let separator = if list.is_empty() { "\"" } else { ", \"" };
    for part in [separator, class.as_str(), "-", rule.as_str(), "\""] {
        list.push_str(part);
    }
}

fn push_parameter(list: &mut String, name: &str, value: u64) {
    list.push_str(name);
    let mut unit = 1_u64;
    while value / unit >= 10 {
        unit *= 10;
    }
    while unit > 0 {
        // The remainder is a digit; formatting machinery costs several times as much as this.
        let digit = u8::try_from(value / unit % 10).unwrap_or_default();
        list.push(char::from(b'0' + digit));
        unit /= 10;
    }
}

fn seconds_up(time: Duration) -> u64 {
    time.as_secs().saturating_add(u64::from(time.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::admission::Decision;
    use super::super::policy::Policies;
    use super::super::policy::tests::default_limits;
    use super::super::principal::{KeyId, Principal};
    use super::super::table::{Table, TableSettings};
    use super::*;

    fn written(admission: &Admission) -> Vec<(&'static str, String)> {
        headers(admission).collect()
    }

    fn fields(pairs: &[(&'static str, &str)]) -> Vec<(&'static str, String)> {
        pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect()
    }

    #[test]
    fn an_admitted_search_says_what_is_left() {
        let now = crate::clock::monotonic();
        let table = Table::new(TableSettings::default(), Policies::new(&default_limits()), now);
        let address = Principal::of_address([203, 0, 113, 7].into(), 64);
        let admission = table.admit(Class::Search, address, 1, now);
        assert_eq!(
            written(&admission),
            fields(&[
                (LIMIT, "100"),
                (REMAINING, "99"),
                (RESET, "60"),
                (RATE_LIMIT, "\"search-burst\";r=149;t=1, \"search-minute\";r=99;t=60"),
                (RATE_LIMIT_POLICY, "\"search-burst\";q=150;w=90, \"search-minute\";q=100;w=60"),
            ])
        );
    }

    #[test]
    fn a_refusal_says_when_to_come_back() {
        let now = crate::clock::monotonic();
        let table = Table::new(TableSettings::default(), Policies::new(&default_limits()), now);
        let address = Principal::of_address([203, 0, 113, 7].into(), 64);
        for _ in 0..10 {
            assert!(table.admit(Class::General, address, 1, now).is_admitted());
        }
        assert_eq!(
            written(&table.admit(Class::General, address, 1, now)),
            fields(&[
                (LIMIT, "10"),
                (REMAINING, "0"),
                (RESET, "2"),
                (RATE_LIMIT, "\"general-burst\";r=0;t=1, \"general-minute\";r=50;t=1"),
                (RATE_LIMIT_POLICY, "\"general-burst\";q=10;w=2, \"general-minute\";q=60;w=60"),
                (RETRY_AFTER, "1"),
            ])
        );
    }

    #[test]
    fn a_single_rule_is_a_list_of_one() {
        let now = crate::clock::monotonic();
        let table = Table::new(TableSettings::default(), Policies::new(&default_limits()), now);
        let admission = table.admit(Class::Search, Principal::Key(KeyId::INTERNAL), 1, now);
        let written = written(&admission);
        assert_eq!(written[3], (RATE_LIMIT, "\"search-minute\";r=999;t=60".to_owned()));
        assert_eq!(written[4], (RATE_LIMIT_POLICY, "\"search-minute\";q=1000;w=60".to_owned()));
    }

    #[test]
    fn where_nothing_is_limited_nothing_is_said() {
        assert_eq!(written(&Admission::unlimited(Class::Exempt)), []);
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
            let standing = |rule| Some(Standing {
                rule,
                limit,
                period: Duration::from_nanos(period),
                remaining,
                reset_after: Duration::from_nanos(reset),
            });
            let rule = RuleKind::Burst;
            let admission = Admission {
                class: Class::Recommendations,
                decision: wait.map_or(Decision::Admitted, |wait| Decision::Refused {
                    retry_after: Duration::from_nanos(wait),
                    rule,
                }),
                burst: standing(rule),
                minute: standing(RuleKind::Minute),
                shared: false,
                alone: false,
            };
            for (name, value) in headers(&admission) {
                prop_assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'));
                prop_assert!(value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' '));
                prop_assert!(!value.contains("w=0"), "a window is never zero: {}", value);
            }
        }
    }
}
