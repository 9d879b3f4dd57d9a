//! Faults on request.
//!
//! Owns: the rules in force and which of them a call meets. Rules are replaced as a whole and read
//! without a lock; a rule's chance depends only on its seed and on how many calls it has seen, so
//! the same calls meet the same faults in every run. Refuses: rules with any mistake (`rule`). How a fault looks on the wire is in `wire`, odd shapes of answers in `variant`.

mod rule;
mod variant;
mod wire;

use std::num::{NonZeroU32, NonZeroU64};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use arc_swap::ArcSwap;
use serde_json::Value;

use crate::resilience::tick::Tick;
use crate::resilience::token_bucket::{BucketRule, TokenBucket};
use rule::{Kind, Rule};
pub(super) use wire::{Connection, Exchange};

/// A capacity lets through what comes in this part of a second, and at least one call: callers that
/// meet for a moment are not over it, those that stay are.
const DEPTH: u32 = 4;

#[derive(Debug, Default)]
pub(super) struct Faults(ArcSwap<Vec<RuleInForce>>);

#[derive(Debug)]
struct RuleInForce {
    rule: Rule,
    sent: Value,
    seen: AtomicU64,
    fired: AtomicU64,
    /// What is left of the capacity, since the first call.
    room: Mutex<Option<(Instant, TokenBucket)>>,
}

impl Faults {
    /// Replaces all rules by those in `list`, or none of them if there is a mistake.
    pub(super) fn replace(&self, list: &Value) -> Result<(), Vec<String>> {
        let rules = Rule::read_all(list)?.into_iter().zip(list.as_array().into_iter().flatten());
        let in_force = |(rule, sent): (Rule, &Value)| RuleInForce {
            rule,
            sent: sent.clone(),
            seen: AtomicU64::new(0),
            fired: AtomicU64::new(0),
            room: Mutex::new(None),
        };
        self.0.store(rules.map(in_force).collect::<Vec<_>>().into());
        Ok(())
    }

    pub(super) fn clear(&self) {
        self.0.store(Vec::new().into());
    }

    pub(super) fn show(&self) -> Value {
        self.0.load().iter().map(|one| one.sent.clone()).collect()
    }

    /// The rule that a call of `method` with this application key meets: the first that matches.
    pub(super) fn meet(&self, method: &str, app_key: &str, now: Instant) -> Option<Rule> {
        let rules = self.0.load();
        let met = rules.iter().find(|one| one.fires(method, app_key))?;
        let rule = met.rule.clone();
        Some(match rule.per_second.filter(|_| rule.fault == Kind::Capacity) {
            Some(per_second) if !met.has_room(per_second, now) => {
                Rule { fault: Kind::Status, ms: None, ..rule }
            }
            Some(_) | None => rule,
        })
    }
}

impl RuleInForce {
    fn fires(&self, method: &str, app_key: &str) -> bool {
        let rule = &self.rule;
        let concerns = rule.method.as_deref().is_none_or(|own| own == "*" || own == method)
            && rule.app_key.as_deref().is_none_or(|own| own == app_key);
        if !concerns {
            return false;
        }
        let number = self.seen.fetch_add(1, Ordering::Relaxed);
        let fires = rule.share > chance(rule.seed, number);
        let times = rule.times.map(NonZeroU64::get);
        fires && times.is_none_or(|times| self.fired.fetch_add(1, Ordering::Relaxed) < times)
    }

    /// Whether one more call is within the capacity. What is over it fails at once, as a server does
    /// that sheds load; a queue would be a slow upstream, which `delay` is for.
    fn has_room(&self, per_second: NonZeroU32, now: Instant) -> bool {
        let depth = NonZeroU32::new(per_second.get() / DEPTH).unwrap_or(NonZeroU32::MIN);
        let rule = BucketRule::per_second(per_second, depth);
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let (first, bucket) = room.get_or_insert((now, TokenBucket::default()));
        bucket.take(rule, Tick::between(*first, now), 1).is_ok()
    }
}

/// A number in 0..1 for the `number`-th call that a rule sees.
fn chance(seed: u64, number: u64) -> f64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    fastrand::Rng::with_seed(seed.wrapping_add(number.wrapping_mul(STEP))).f64()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::clock;

    const SEARCH: &str = "aliexpress.affiliate.product.query";
    const LINKS: &str = "aliexpress.affiliate.link.generate";

    fn faults(list: &Value) -> Faults {
        let faults = Faults::default();
        faults.replace(list).unwrap();
        faults
    }

    fn meet(faults: &Faults, method: &str) -> Option<Rule> {
        faults.meet(method, "500001", clock::monotonic())
    }

    #[test]
    fn the_first_rule_that_matches_wins() {
        let faults = faults(&json!([
            {"method": LINKS, "fault": "hang"},
            {"method": "*", "fault": "reset"},
        ]));
        assert!(matches!(meet(&faults, LINKS), Some(Rule { fault: Kind::Hang, .. })));
        assert!(matches!(meet(&faults, SEARCH), Some(Rule { fault: Kind::Reset, .. })));
        faults.replace(&json!([])).unwrap();
        assert!(meet(&faults, LINKS).is_none());
    }

    #[test]
    fn a_share_is_kept_and_repeatable() {
        let rules = json!([{"method": "*", "share": 0.3, "seed": 7, "fault": "hang"}]);
        let run = || {
            let faults = faults(&rules);
            (0..2000).map(|_| meet(&faults, SEARCH).is_some()).collect::<Vec<_>>()
        };
        let met = run().into_iter().filter(|met| *met).count();
        assert!((540..660).contains(&met), "{met} of 2000");
        assert_eq!(run(), run());
        let other = faults(&json!([{"method": "*", "share": 0.3, "seed": 8, "fault": "hang"}]));
        assert_ne!(run(), (0..2000).map(|_| meet(&other, SEARCH).is_some()).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_and_everything() {
        let never = faults(&json!([{"share": 0, "fault": "hang"}]));
        let always = faults(&json!([{"share": 1, "fault": "hang"}]));
        assert!(
            (0..500).all(|_| meet(&never, SEARCH).is_none() && meet(&always, SEARCH).is_some())
        );
    }

    #[test]
    fn so_many_times_and_then_the_next_rule() {
        let faults =
            faults(&json!([{"fault": "hang", "times": 2}, {"fault": "reset", "times": 1}]));
        let met: Vec<bool> = (0..5).map(|_| meet(&faults, SEARCH).is_some()).collect();
        assert_eq!(met, [true, true, true, false, false]);
    }

    #[test]
    fn only_one_account() {
        let faults = faults(&json!([{"app_key": "500002", "fault": "hang"}]));
        assert!(meet(&faults, SEARCH).is_none());
        assert!(faults.meet(SEARCH, "500002", clock::monotonic()).is_some());
        assert!(faults.meet(SEARCH, "", clock::monotonic()).is_none());
    }

    #[test]
    fn a_capacity_counts_the_calls_of_its_rule_only() {
        let faults = faults(&json!([
            {"method": SEARCH, "fault": "capacity", "per_second": 8, "ms": 5, "status": 429},
        ]));
        let now = clock::monotonic();
        let met: Vec<_> = (0..3).filter_map(|_| faults.meet(SEARCH, "", now)).collect();
        let kinds: Vec<_> = met.iter().map(|rule| (rule.ms, rule.fault)).collect();
        assert_eq!(
            kinds,
            [(Some(5), Kind::Capacity), (Some(5), Kind::Capacity), (None, Kind::Status)]
        );
        assert_eq!(met[2].status, Some(429));
        assert!(faults.meet(LINKS, "", now).is_none());
    }

    /// How many of `rate` calls a second, evenly for so long, are answered.
    fn answered(faults: &Faults, from: Instant, rate: u32, seconds: u32) -> usize {
        let calls = (0..rate * seconds).map(|n| from + Duration::from_secs(1) * n / rate);
        calls.filter(|at| is_answered(faults, *at)).count()
    }

    fn is_answered(faults: &Faults, at: Instant) -> bool {
        faults.meet(SEARCH, "", at).unwrap().fault == Kind::Capacity
    }

    #[test]
    fn what_is_within_the_capacity_is_answered_and_the_rest_fails_at_once() {
        let faults = faults(&json!([{"fault": "capacity", "per_second": 40}]));
        let start = clock::monotonic();
        assert_eq!(answered(&faults, start, 39, 10), 390);
        let later = start + Duration::from_secs(20);
        let three_times = answered(&faults, later, 120, 10);
        assert!((400..=410).contains(&three_times), "{three_times} of 1,200");
        let at = later + Duration::from_secs(10);
        assert!((0..12).any(|_| !is_answered(&faults, at)));
    }

    #[test]
    fn a_small_capacity_lets_one_through_and_a_clock_that_steps_back_gives_nothing() {
        let faults = faults(&json!([{"fault": "capacity", "per_second": 1}]));
        let start = clock::monotonic() + Duration::from_secs(10);
        assert!(is_answered(&faults, start));
        assert!(!is_answered(&faults, start));
        assert!(!is_answered(&faults, start - Duration::from_secs(5)));
        assert!(!is_answered(&faults, start + Duration::from_millis(900)));
        assert!(is_answered(&faults, start + Duration::from_millis(1_001)));
    }

    #[test]
    fn a_mistake_changes_nothing() {
        let faults = faults(&json!([{"fault": "hang"}]));
        assert!(faults.replace(&json!([{"fault": "reset"}, {"fault": "nonsense"}])).is_err());
        assert_eq!(faults.show(), json!([{"fault": "hang"}]));
        faults.clear();
        assert_eq!(faults.show(), json!([]));
    }
}
