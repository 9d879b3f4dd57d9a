//! What Redis is asked about one request, and what it answers.
//!
//! Owns: the numbers that go to the script (`script.lua`) and those that come back. Refuses: an
//! answer that is none. Sends nothing: whoever carries a question does.

use std::time::Duration;

use super::ledger::Carried;
use crate::limits::actor::Admit;
use crate::limits::admission::{Decision, RuleKind, Standing};
use crate::limits::quota::{Rules, Verdict};
use crate::resilience::tick::Tick;
use crate::resilience::window;

/// The script that decides.
pub const SCRIPT: &str = include_str!("script.lua");

/// How long permits on top are valid.
pub(super) const VALID: Duration = Duration::from_secs(1);
/// What a stamp is rounded up to where instants are kept, in microseconds.
const FINE: u64 = 1_000;
/// The same where seconds are.
const COARSE: u64 = 1_000_000;

/// A question that is on its way; it has to be settled whatever comes of it.
#[derive(Debug)]
pub struct Question {
    /// The request.
    pub request: Admit,
    pub(in crate::limits) rules: Rules,
    /// The account shared by strangers, because the table is full.
    pub(in crate::limits) overflow: bool,
    pub(in crate::limits) carried: Box<Carried>,
    pub(in crate::limits) sent: Tick,
}

impl Question {
    /// The key that the script works on. The braces put all of one client on one node of a cluster.
    #[must_use]
    pub fn key(&self) -> String {
        let class = self.request.class.as_str();
        if self.overflow {
            return format!("breakwater:2:limit:{{{class}|*}}");
        }
        format!("breakwater:2:limit:{{{class}|{}}}", self.request.principal)
    }

    /// The numbers it works with, in the script's order.
    #[must_use]
    pub fn arguments(&self) -> Vec<u64> {
        let Rules { bucket, window } = self.rules;
        let limit = window.map_or(0, |rule| rule.limit());
        let unit = if window.is_some_and(|rule| rule.is_coarse()) { COARSE } else { FINE };
        let (tokens, period, burst) = bucket.map_or((0, 0, 0), |rule| {
            (u64::from(rule.tokens()), micros(rule.period()), u64::from(rule.burst()))
        });
        let Carried { wanted, returned, told, .. } = self.carried.as_ref();
        let returns = u64::try_from(returned.len()).unwrap_or(0);
        let mut numbers = vec![
            u64::from(self.request.cost),
            u64::from(limit),
            tokens,
            period,
            burst,
            unit,
            u64::from(*wanted),
            micros(VALID),
            returns,
        ];
        for (stamp, count) in returned {
            numbers.extend([*stamp, u64::from(*count)]);
        }
        for (at, count) in told {
            numbers.extend([micros(self.sent.since(*at)), u64::from(*count)]);
        }
        numbers
    }
}

/// What the script answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answer {
    /// Whether the request was admitted, and counted.
    pub admitted: bool,
    wait_minute: Duration,
    wait_burst: Duration,
    minute_left: u32,
    minute_reset: Duration,
    burst_left: u32,
    burst_reset: Duration,
    /// Permits on top.
    pub(super) extra: u32,
    /// The stamp they were counted under.
    pub(super) stamp: u64,
    /// The server's time, in microseconds.
    pub server_micros: u64,
}

impl Answer {
    /// Reads the script's numbers; `None` when they are not what it answers.
    #[must_use]
    pub fn read(numbers: &[i64]) -> Option<Self> {
        let &[
            admitted,
            minute,
            burst,
            minute_left,
            minute_reset,
            burst_left,
            burst_reset,
            extra,
            stamp,
            now,
        ] = numbers
        else {
            return None;
        };
        Some(Self {
            admitted: admitted == 1,
            wait_minute: time(minute)?,
            wait_burst: time(burst)?,
            minute_left: count(minute_left)?,
            minute_reset: time(minute_reset)?,
            burst_left: count(burst_left)?,
            burst_reset: time(burst_reset)?,
            extra: count(extra)?,
            stamp: u64::try_from(stamp).ok()?,
            server_micros: u64::try_from(now).ok()?,
        })
    }

    /// The decision, in the terms of the limits.
    pub(super) fn verdict(&self, rules: Rules) -> Verdict {
        Verdict {
            decision: self.decision(),
            burst: rules.bucket.map(|rule| Standing {
                rule: RuleKind::Burst,
                limit: rule.burst(),
                period: rule.fill_time(),
                remaining: self.burst_left,
                reset_after: self.burst_reset,
            }),
            minute: rules.window.map(|rule| Standing {
                rule: RuleKind::Minute,
                limit: rule.limit(),
                period: window::LENGTH,
                remaining: self.minute_left,
                reset_after: self.minute_reset,
            }),
        }
    }

    fn decision(&self) -> Decision {
        if self.admitted {
            Decision::Admitted
        } else if self.wait_burst > self.wait_minute {
            Decision::Refused { retry_after: self.wait_burst, rule: RuleKind::Burst }
        } else {
            Decision::Refused { retry_after: self.wait_minute, rule: RuleKind::Minute }
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn time(micros: i64) -> Option<Duration> {
    u64::try_from(micros).ok().map(Duration::from_micros)
}

fn count(number: i64) -> Option<u32> {
    u64::try_from(number).ok().map(|count| u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;
    use crate::limits::policy::Class;
    use crate::limits::principal::Principal;

    fn key(address: &str, overflow: bool) -> String {
        let address: IpAddr = address.parse().unwrap();
        let request = Admit::one(Class::Search, Principal::of_address(address, 64));
        let (rules, carried, sent) = (Rules::default(), Box::default(), Tick::ORIGIN);
        Question { request, rules, overflow, carried, sent }.key()
    }

    #[test]
    fn all_of_a_client_lies_on_one_node_of_a_cluster() {
        assert_eq!(key("203.0.113.7", false), "breakwater:2:limit:{search|203.0.113.7}");
        assert_eq!(key("2001:db8::7", false), "breakwater:2:limit:{search|2001:db8::/64}");
        assert_eq!(key("203.0.113.7", true), "breakwater:2:limit:{search|*}");
    }

    #[test]
    fn what_is_no_answer_is_none() {
        let good = [1, 0, 0, 5, 60_000_000, 0, 0, 0, 77, 1_800_000_000_000_000];
        assert!(Answer::read(&good).is_some_and(|answer| answer.admitted));
        assert_eq!(Answer::read(&good[..9]), None);
        for place in 1..good.len() {
            let mut bad = good;
            bad[place] = -1;
            assert_eq!(Answer::read(&bad), None, "{place}");
        }
    }

    #[test]
    fn of_two_waits_the_longer_is_told_of_equal_ones_the_minute() {
        let decision = |minute, burst| {
            let numbers = [0, minute, burst, 0, 0, 0, 0, 0, 0, 0];
            Answer::read(&numbers).unwrap().decision()
        };
        let told =
            |micros, rule| Decision::Refused { retry_after: Duration::from_micros(micros), rule };
        assert_eq!(decision(5, 7), told(7, RuleKind::Burst));
        assert_eq!(decision(7, 7), told(7, RuleKind::Minute));
        assert_eq!(decision(9, 7), told(9, RuleKind::Minute));
    }
}
