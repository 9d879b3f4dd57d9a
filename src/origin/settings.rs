//! The settings of calls to an upstream: pace, time-out, concurrency, retry, breaker.
//!
//! Owns: their declaration.

use std::time::Duration;

use super::pacing::{self, Shares};
use crate::config::kinds::{Optional, RATE, Whole, millis, seconds};
use crate::config::{Mistakes, Section, Settings};
use crate::settings;

settings! {
    pub struct UpstreamSettings in "upstream" {
        per_second: Option<f64> = None, "UPSTREAM_RATE_PER_SECOND", "rate_per_second",
            Optional(RATE),
            "calls a second, for each account; the simulator inside is paced only when one of the three is set",
            words("5"), live();
        burst: Option<u32> = None, "UPSTREAM_BURST", "burst", Optional(Whole(1, 10_000)),
            "calls that may go at once, for each account", words("10"), live();
        daily_budget: Option<u64> = None, "UPSTREAM_DAILY_BUDGET", "daily_budget",
            Optional(Whole(0, 1_000_000_000)), "calls a day, for each account; 0: any", words("5000"), live();
        client_share: u64 = 25, "UPSTREAM_CLIENT_SHARE_PERCENT", "client_share_percent", Whole(1, 100),
            "percent of the day's calls that one client without a key may spend; 100: all", live();
        key_reserve: u64 = 20, "UPSTREAM_KEY_RESERVE_PERCENT", "key_reserve_percent", Whole(0, 100),
            "percent of the day's calls that only clients with a key may spend", live();
        attempt_timeout: Duration = Duration::from_secs(2), "UPSTREAM_TIMEOUT_MS", "timeout_ms",
            millis(1, 120_000), "longest time of one attempt";
    }
}

impl Section for UpstreamSettings {}

impl UpstreamSettings {
    /// The pace of each account; none for our own simulator, when nothing is set.
    pub(crate) fn pace(&self, own_simulator: bool) -> pacing::Settings {
        let set = self.per_second.is_some() || self.burst.is_some() || self.daily_budget.is_some();
        if own_simulator && !set {
            return pacing::Settings::default();
        }
        let (per_second, burst) = (self.per_second.unwrap_or(5.0), self.burst.unwrap_or(10));
        let daily_budget = Some(self.daily_budget.unwrap_or(5_000)).filter(|budget| *budget > 0);
        let rate = Some(pacing::Rate { per_second, burst });
        let shares = Shares { client: self.client_share, kept_for_keys: self.key_reserve };
        pacing::Settings { rate, daily_budget, shares, ..pacing::Settings::default() }
    }
}

settings! {
    pub struct RetrySettings in "retry" {
        max_attempts: u32 = 3, "RETRY_MAX_ATTEMPTS", "max_attempts", Whole(1, 10),
            "attempts in all, the first one included", live();
        base_delay: Duration = Duration::from_secs(1), "RETRY_BASE_DELAY_MS", "base_delay_ms",
            millis(1, 60_000), "wait before the second attempt; it doubles from there", live();
        max_delay: Duration = Duration::from_secs(10), "RETRY_MAX_DELAY_MS", "max_delay_ms",
            millis(1, 600_000), "longest wait before an attempt", live();
    }
}

impl Section for RetrySettings {
    fn check(&self, _: &Settings, mistakes: &mut Mistakes) {
        let (base, most) = (self.base_delay.as_millis(), self.max_delay.as_millis());
        if most < base {
            let expected = format!("at least RETRY_BASE_DELAY_MS, which is {base}");
            mistakes.add("RETRY_MAX_DELAY_MS", Some(most.to_string()), expected);
        }
    }
}

settings! {
    pub struct BreakerSettings in "breaker" {
        failures: u32 = 5, "BREAKER_FAILURES", "failures", Whole(1, 1_000),
            "failures in a row that open the breaker", live();
        open: Duration = Duration::from_secs(30), "BREAKER_OPEN_SECONDS", "open_seconds",
            seconds(1, 3_600), "time it stays open before the first probe", live();
    }
}

impl Section for BreakerSettings {}
