//! Which limits apply: by what is asked for and by who asks.
//!
//! Owns: the route classes and the rules of each, built once from the settings. Refuses nothing;
//! a setting of 0 means that rule does not exist.
//!
//! | class | from an address | with a key |
//! |---|---|---|
//! | general | bucket `MAX_REQUESTS_PER_SECOND` / `RATE_LIMIT_BURST`, window `MAX_REQUESTS_PER_MINUTE` | window: the larger of the search limit per key and `MAX_REQUESTS_PER_MINUTE` |
//! | search | bucket `RATE_LIMIT_SEARCH_PER_MINUTE` / `RATE_LIMIT_SEARCH_BURST`, window of the same limit | window `RATE_LIMIT_SEARCH_PER_KEY_PER_MINUTE` |
//! | recommendations | as search until it has settings of its own | as search |
//! | exempt | none | none |
//!
//! The settings know one limit per key, that of searches. A key is counted on general routes by
//! the same number, in a window of its own, so that a key is never worth less than an address; if
//! general routes have no minute limit at all, a key has none there either. Keys have no bucket:
//! whoever holds one may spend the minute at once.
//!
//! A bucket that can never refuse, because it holds and gets at least what the window admits, is
//! neither kept nor told: with the defaults that is the one of searches, 100 a minute and 150 at once
//! beside 100 in any minute. It is back when the burst is set below the minute's limit.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::admission::{Class, PerClass};
use super::client::Principal;
use super::pressure::Pressure;
use super::quota::Rules;
use crate::config::Current;
use crate::limits::Limits;
use crate::resilience::token_bucket::BucketRule;
use crate::resilience::window::WindowRule;

/// Under pressure a limit is one of so many parts of itself.
const HALF: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct ClassRules {
    address: Rules,
    key: Rules,
}

#[derive(Debug)]
pub struct Policies {
    enabled: AtomicBool,
    rules: Current<PerClass<ClassRules>>,
    pressure: Arc<Pressure>,
}

impl Policies {
    /// The rules that the settings describe; none at all when limits are off.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        let (enabled, rules) = (AtomicBool::new(limits.enabled), Current::new(all(limits)));
        Self { enabled, rules, pressure: Arc::default() }
    }

    /// These settings are in force from now on. What clients have used stays counted.
    pub(super) fn take_over(&self, limits: &Limits) {
        self.enabled.store(limits.enabled, Ordering::Relaxed);
        self.rules.set(all(limits));
    }

    /// Whether clients are limited at all.
    pub(super) fn is_enabled(&self) -> bool {
        self.enabled.load(Ordering::Relaxed)
    }

    /// The same, halved while the process is under this pressure.
    #[must_use]
    pub fn under(self, pressure: Arc<Pressure>) -> Self {
        Self { pressure, ..self }
    }

    /// The rules for one request, as they are in force now: what is set, or the limit a minute that
    /// a key was given for itself (`own`); half of it under pressure.
    #[must_use]
    pub fn rules(&self, class: Class, principal: &Principal, own: Option<NonZeroU32>) -> Rules {
        let both = self.rules.with(|rules| rules.get(class).copied());
        let Some(both) = both else { return Rules::default() };
        let set = if principal.is_key() { both.key } else { both.address };
        let rules = set.with_own(own);
        if self.pressure.is_high() { rules.share(HALF) } else { rules }
    }
}

fn all(limits: &Limits) -> PerClass<ClassRules> {
    if !limits.enabled {
        return PerClass::default();
    }
    let search = search(limits);
    PerClass { general: general(limits), search, recommendations: search }
}

fn general(limits: &Limits) -> ClassRules {
    let bucket = NonZeroU32::new(limits.per_second)
        .zip(NonZeroU32::new(limits.burst))
        .map(|(rate, burst)| BucketRule::per_second(rate, burst));
    let per_address = NonZeroU32::new(limits.per_minute);
    let per_key = per_address
        .zip(NonZeroU32::new(limits.search_per_key_per_minute))
        .map(|(address, key)| address.max(key));
    ClassRules {
        address: Rules { bucket, window: per_address.map(WindowRule::per_minute) }.that_bind(),
        key: Rules { bucket: None, window: per_key.map(WindowRule::per_minute) },
    }
}

fn search(limits: &Limits) -> ClassRules {
    let per_address = NonZeroU32::new(limits.search_per_minute);
    let bucket = per_address
        .zip(NonZeroU32::new(limits.search_burst))
        .map(|(rate, burst)| BucketRule::per_minute(rate, burst));
    let per_key = NonZeroU32::new(limits.search_per_key_per_minute);
    ClassRules {
        address: Rules { bucket, window: per_address.map(WindowRule::per_minute) }.that_bind(),
        key: Rules { bucket: None, window: per_key.map(WindowRule::per_minute) },
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::client::KeyId;
    use super::*;

    /// The documented defaults.
    pub(in super::super) fn default_limits() -> Limits {
        Limits { instances: NonZeroU32::MIN, ..Limits::default() }
    }

    fn numbers(limits: &Limits, class: Class, principal: Principal) -> (Option<u32>, Option<u32>) {
        let rules = Policies::new(limits).rules(class, &principal, None);
        (rules.bucket.map(BucketRule::burst), rules.window.map(WindowRule::limit))
    }

    fn address() -> Principal {
        Principal::of_address([203, 0, 113, 7].into(), 64)
    }

    const KEY: Principal = Principal::Key(KeyId::INTERNAL);

    #[test]
    fn the_defaults_are_those_of_the_contract() {
        let limits = default_limits();
        assert_eq!(numbers(&limits, Class::General, address()), (Some(10), Some(60)));
        assert_eq!(numbers(&limits, Class::Search, address()), (None, Some(100)), "150 never bind");
        assert_eq!(numbers(&limits, Class::Recommendations, address()), (None, Some(100)));
        assert_eq!(numbers(&limits, Class::General, KEY), (None, Some(1_000)));
        assert_eq!(numbers(&limits, Class::Search, KEY), (None, Some(1_000)));
        assert_eq!(numbers(&limits, Class::Exempt, address()), (None, None));
        assert_eq!(numbers(&limits, Class::Exempt, KEY), (None, None));
    }

    #[test]
    fn a_bucket_that_can_refuse_is_kept() {
        let smaller = Limits { search_burst: 99, ..default_limits() };
        assert_eq!(numbers(&smaller, Class::Search, address()), (Some(99), Some(100)));
        let as_large = Limits { search_burst: 100, ..default_limits() };
        assert_eq!(numbers(&as_large, Class::Search, address()), (None, Some(100)));
        let slow = Limits { per_second: 1, burst: 61, per_minute: 61, ..default_limits() };
        assert_eq!(numbers(&slow, Class::General, address()), (Some(61), Some(61)));
        let quick = Limits { per_second: 1, burst: 61, ..default_limits() };
        assert_eq!(numbers(&quick, Class::General, address()), (None, Some(60)));
    }

    #[test]
    fn zero_means_no_rule() {
        let no_bucket = Limits { per_second: 0, search_burst: 0, ..default_limits() };
        assert_eq!(numbers(&no_bucket, Class::General, address()), (None, Some(60)));
        assert_eq!(numbers(&no_bucket, Class::Search, address()), (None, Some(100)));
        let no_minute = Limits { per_minute: 0, search_per_minute: 0, ..default_limits() };
        assert_eq!(numbers(&no_minute, Class::General, address()), (Some(10), None));
        assert_eq!(numbers(&no_minute, Class::Search, address()), (None, None));
        assert_eq!(numbers(&no_minute, Class::General, KEY), (None, None));
        let no_key_limit = Limits { search_per_key_per_minute: 0, ..default_limits() };
        assert_eq!(numbers(&no_key_limit, Class::Search, KEY), (None, None));
        assert_eq!(numbers(&no_key_limit, Class::General, KEY), (None, None));
    }

    #[test]
    fn a_key_is_never_worth_less_than_an_address_on_general_routes() {
        let limits = Limits { per_minute: 5_000, ..default_limits() };
        assert_eq!(numbers(&limits, Class::General, KEY), (None, Some(5_000)));
    }

    #[test]
    fn under_pressure_there_is_half_and_always_something() {
        let pressure = Arc::new(Pressure::default());
        let halved = |limits: &Limits, class, principal: Principal, own| {
            let policies = Policies::new(limits).under(Arc::clone(&pressure));
            let rules = policies.rules(class, &principal, NonZeroU32::new(own));
            (rules.bucket.map(BucketRule::burst), rules.window.map(WindowRule::limit))
        };
        let limits = default_limits();
        assert_eq!(halved(&limits, Class::General, address(), 0), (Some(10), Some(60)));
        pressure.set_high(true);
        assert_eq!(halved(&limits, Class::General, address(), 0), (Some(5), Some(30)));
        assert_eq!(halved(&limits, Class::Search, KEY, 0), (None, Some(500)));
        assert_eq!(halved(&limits, Class::Search, KEY, 2_000), (None, Some(1_000)));
        assert_eq!(halved(&limits, Class::Exempt, address(), 0), (None, None));
        let least = Limits { per_second: 1, burst: 1, per_minute: 1, ..limits };
        assert_eq!(halved(&least, Class::General, address(), 0), (None, Some(1)));
    }

    #[test]
    fn limits_that_are_off_are_no_limits() {
        let off = Limits { enabled: false, ..default_limits() };
        for class in [Class::General, Class::Search, Class::Recommendations] {
            assert_eq!(numbers(&off, class, address()), (None, None));
            assert_eq!(numbers(&off, class, KEY), (None, None));
        }
    }
}
