//! Limits that several instances keep together, through Redis.
//!
//! Owns: what the one script (`script.lua`) is asked about a request and what it answers, and
//! the figures an operator sees. The script decides over a client's bucket and window by the server's
//! clock; a [`Counter`] carries the question. While Redis is away every instance goes on at once with
//! its share of each limit (`account.rs` has the bound).

use std::fmt;
use std::future::Future;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actix::Message;
use serde::Serialize;
use utoipa::ToSchema;

use super::admission::{Admission, Admit, Decision, LimitResult, QuotaState, RuleKind};
use super::quota::Rules;
use crate::resilience::window::LENGTH;

pub const SCRIPT: &str = include_str!("script.lua");

/// What the time of an admission is rounded up to where single instants are counted, in microseconds.
const FINE: u64 = 1_000;
/// The same where seconds are.
const COARSE: u64 = 1_000_000;
/// So much later than its length a slot may leave the window: it is rounded up, and the server's clock may
/// have been put back by some seconds (`script.lua`).
const AHEAD: Duration = Duration::from_secs(4);
const ROUNDED: Duration = Duration::from_micros(1);

/// Carries questions to where all instances are counted, and answers back.
pub trait Counter: fmt::Debug + Send + Sync {
    /// Whether it is not to be asked now.
    fn is_away(&self) -> bool;

    /// Whether the last question was answered, so that limits are exact over all instances.
    fn is_exact(&self) -> bool {
        !self.is_away()
    }

    /// Runs the script once; `None` without an answer in time, whatever the reason.
    fn ask<'a>(
        &'a self,
        question: &'a SharedAdmit,
    ) -> Pin<Box<dyn Future<Output = Option<LimitResult>> + 'a>>;
}

/// How the limits are shared.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, ToSchema)]
pub struct SharingStatus {
    /// Instances that share each limit; without Redis each admits so many parts of it.
    #[schema(minimum = 1, value_type = u32)]
    pub instances: NonZeroU32,
    /// Most requests in the minute in which Redis is lost or comes back, as a multiple of the limit,
    /// but for `worst_rounding`; in any other minute it is 1. A Redis that has lost its memory adds 1.
    pub worst_minute: f64,
    /// As many requests may come on top of `worst_minute`, because shares are rounded up.
    pub worst_rounding: u32,
    /// Questions to Redis since the start.
    pub asked: u64,
    /// Decisions by this instance's share since the start, because Redis could not be asked.
    pub decided_alone: u64,
}

#[derive(Debug)]
pub struct Sharing {
    instances: NonZeroU32,
    asked: AtomicU64,
    alone: AtomicU64,
}

impl Sharing {
    #[must_use]
    pub fn among(instances: NonZeroU32) -> Self {
        Self { instances, asked: AtomicU64::default(), alone: AtomicU64::default() }
    }

    pub(super) fn share(&self, rules: Rules) -> Rules {
        rules.share(self.instances)
    }

    pub(super) fn count_question(&self) {
        self.asked.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_alone(&self) {
        self.alone.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn status(&self) -> SharingStatus {
        SharingStatus {
            instances: self.instances,
            worst_minute: 2.0 - 1.0 / f64::from(self.instances.get()),
            worst_rounding: self.instances.get() - 1,
            asked: self.asked.load(Ordering::Relaxed),
            decided_alone: self.alone.load(Ordering::Relaxed),
        }
    }
}

impl Message for Admit {
    type Result = Result<Admission, SharedAdmit>;
}

/// What all instances are asked about a request; without their answer the account decides.
#[derive(Debug, Message)]
#[rtype(result = "Admission")]
pub struct SharedAdmit {
    pub request: Admit,
    pub(super) rules: Rules,
}

impl SharedAdmit {
    /// The key that the script works on. The braces put all of one client on one node of a cluster.
    #[must_use]
    pub fn key(&self) -> String {
        let Admit { class, principal, .. } = self.request;
        format!("breakwater:2:limit:{{{}|{principal}}}", class.as_str())
    }

    /// The numbers it works with, in the script's order.
    #[must_use]
    pub fn arguments(&self) -> [u64; 5] {
        let Rules { bucket, window } = self.rules;
        let limit = window.map_or(0, |rule| rule.limit());
        let unit = if window.is_some_and(|rule| rule.is_coarse()) { COARSE } else { FINE };
        let (tokens, period, burst) =
            bucket.map_or((0, 0, 0), |rule| (rule.tokens(), micros(rule.period()), rule.burst()));
        [limit.into(), tokens.into(), period, burst.into(), unit]
    }

    /// What the script's numbers say; `None` when they are not what it answers: no wait is longer than the
    /// window, or than an empty bucket takes to fill. Of two equal waits the minute's is told.
    #[must_use]
    pub fn verdict(&self, numbers: &[i64]) -> Option<LimitResult> {
        let &[admitted, minute, burst, minute_left, minute_reset, burst_left, burst_reset] =
            numbers
        else {
            return None;
        };
        let Rules { bucket, window } = self.rules;
        let longest_minute = window.map_or(Duration::ZERO, |_| LENGTH + AHEAD);
        let longest_burst = bucket.map_or(Duration::ZERO, |rule| rule.fill_time() + ROUNDED);
        let minute_time = |micros| time(micros).filter(|time| *time <= longest_minute);
        let burst_time = |micros| time(micros).filter(|time| *time <= longest_burst);
        let (minute, burst) = (minute_time(minute)?, burst_time(burst)?);
        let decision = if admitted == 1 {
            Decision::Admitted
        } else if burst > minute {
            Decision::Refused { retry_after: burst, rule: RuleKind::Burst }
        } else {
            Decision::Refused { retry_after: minute, rule: RuleKind::Minute }
        };
        let (minute_left, minute_reset) = (count(minute_left)?, minute_time(minute_reset)?);
        let (burst_left, burst_reset) = (count(burst_left)?, burst_time(burst_reset)?);
        Some(LimitResult {
            decision,
            burst: bucket.map(|rule| QuotaState::of_bucket(rule, burst_left, burst_reset)),
            minute: window.map(|rule| QuotaState::of_window(rule, minute_left, minute_reset)),
        })
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

    use super::super::admission::Class;
    use super::super::client::Principal;
    use super::*;
    use crate::resilience::token_bucket::BucketRule;
    use crate::resilience::window::WindowRule;

    #[test]
    fn what_is_published_bounds_the_worst_minute() {
        for count in 1..=20 {
            let instances = NonZeroU32::new(count).unwrap();
            let status = Sharing::among(instances).status();
            for limit in 1..=500 {
                let share = WindowRule::per_minute(NonZeroU32::new(limit).unwrap())
                    .share(instances)
                    .limit();
                let worst = f64::from(limit + (count - 1) * share);
                let told = status.worst_minute * f64::from(limit);
                let most = told + f64::from(status.worst_rounding);
                assert!(worst <= most + 1e-9, "{worst} of {most} with {count} at {limit}");
                assert!(worst >= told - 1e-9, "and no more than rounding lies between");
            }
        }
    }

    #[test]
    fn all_of_a_client_lies_on_one_node_of_a_cluster() {
        for (address, key) in [
            ("203.0.113.7", "breakwater:2:limit:{search|203.0.113.7}"),
            ("2001:db8::7", "breakwater:2:limit:{search|2001:db8::/64}"),
        ] {
            let address: IpAddr = address.parse().unwrap();
            let request = Admit::new(Class::Search, Principal::of_address(address, 64));
            assert_eq!(SharedAdmit { request, rules: Rules::default() }.key(), key);
        }
    }

    fn question() -> SharedAdmit {
        let address: IpAddr = [203, 0, 113, 7].into();
        let request = Admit::new(Class::Search, Principal::of_address(address, 64));
        let bucket = BucketRule::per_second(NonZeroU32::MIN, NonZeroU32::new(5).unwrap());
        let window = WindowRule::per_minute(NonZeroU32::new(60).unwrap());
        SharedAdmit { request, rules: Rules { bucket: Some(bucket), window: Some(window) } }
    }

    #[test]
    fn what_is_no_answer_is_none() {
        let good = [1, 0, 0, 5, 60_000_000, 0, 5_000_000];
        assert!(question().verdict(&good).is_some_and(|verdict| verdict.is_admitted()));
        assert_eq!(question().verdict(&good[..6]), None);
        for place in 1..good.len() {
            let mut bad = good;
            bad[place] = -1;
            assert_eq!(question().verdict(&bad), None, "{place}");
        }
        // Longer than the rule's own time.
        for (place, micros) in [(1, 65_000_000), (2, 6_000_000), (4, 65_000_000), (6, i64::MAX)] {
            let mut bad = good;
            (bad[0], bad[place]) = (0, micros);
            assert_eq!(question().verdict(&bad), None, "{place}");
        }
    }

    #[test]
    fn of_two_waits_the_longer_is_told_of_equal_ones_the_minute() {
        let decision =
            |minute, burst| question().verdict(&[0, minute, burst, 0, 0, 0, 0]).unwrap().decision;
        let told =
            |micros, rule| Decision::Refused { retry_after: Duration::from_micros(micros), rule };
        assert_eq!(decision(5, 7), told(7, RuleKind::Burst));
        assert_eq!(decision(7, 7), told(7, RuleKind::Minute));
        assert_eq!(decision(9, 7), told(9, RuleKind::Minute));
    }
}
