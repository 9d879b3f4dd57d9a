//! Faults on request.
//!
//! Owns: the rules in force and which of them a call meets. Rules are replaced as a whole and read
//! without a lock; a rule's chance depends only on its seed and on how many calls it has seen, so
//! the same calls meet the same faults in every run. Refuses: rules with any mistake, all mistakes
//! named (`read`). How a fault looks on the wire is in `wire`, odd shapes of answers in `variant`, how
//! much an upstream can do in `capacity`.

mod capacity;
mod read;
mod rule;
mod variant;
mod walk;
mod wire;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use arc_swap::ArcSwap;
use serde_json::Value;

use capacity::Bucket;
pub(crate) use read::Mistake;
pub(crate) use rule::{Fault, Rule};
pub(crate) use variant::flatten_lists;
pub(crate) use wire::{Connection, Exchange};

/// The rules in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    plan: ArcSwap<Plan>,
}

#[derive(Debug, Default)]
struct Plan {
    rules: Vec<CountedRule>,
}

#[derive(Debug)]
struct CountedRule {
    rule: Rule,
    room: Option<Bucket>,
    seen: AtomicU64,
    fired: AtomicU64,
}

impl Faults {
    /// Replaces all rules by those in `list`, or none of them if there is a mistake.
    pub(crate) fn replace(&self, list: &Value) -> Result<(), Vec<Mistake>> {
        let rules = read::read_all(list)?;
        let plan = Plan { rules: rules.into_iter().map(CountedRule::new).collect() };
        self.plan.store(plan.into());
        Ok(())
    }

    /// Drops all rules.
    pub(crate) fn clear(&self) {
        self.plan.store(Plan::default().into());
    }

    /// The rules as they were sent.
    pub(crate) fn show(&self) -> Value {
        self.plan.load().rules.iter().map(|counted| counted.rule.sent.clone()).collect()
    }

    /// The fault that a call of `method` with this application key meets: that of the first rule
    /// that matches.
    pub(crate) fn meet(&self, method: &str, app_key: &str, now: Instant) -> Option<Fault> {
        let plan = self.plan.load();
        let met = plan.rules.iter().find(|rule| rule.fires(method, app_key))?;
        let fault = &met.rule.fault;
        Some(met.room.as_ref().map_or_else(|| fault.clone(), |room| room.meet(fault, now)))
    }
}

impl CountedRule {
    fn new(rule: Rule) -> Self {
        let room = rule.capacity.map(Bucket::of);
        Self { rule, room, seen: AtomicU64::new(0), fired: AtomicU64::new(0) }
    }

    fn fires(&self, method: &str, app_key: &str) -> bool {
        if !self.rule.concerns(method, app_key) {
            return false;
        }
        let number = self.seen.fetch_add(1, Ordering::Relaxed);
        let fires = self.rule.share > chance(self.rule.seed, number);
        fires
            && self
                .rule
                .times
                .is_none_or(|times| self.fired.fetch_add(1, Ordering::Relaxed) < times)
    }
}

/// A number in 0..1 for the `number`-th call that a rule sees.
fn chance(seed: u64, number: u64) -> f64 {
    const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
    fastrand::Rng::with_seed(seed.wrapping_add(number.wrapping_mul(STEP))).f64()
}

#[cfg(test)]
mod tests {
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

    fn meet(faults: &Faults, method: &str) -> Option<Fault> {
        faults.meet(method, "500001", clock::monotonic())
    }

    #[test]
    fn the_first_rule_that_matches_wins() {
        let faults = faults(&json!([
            {"method": LINKS, "fault": "hang"},
            {"method": "*", "fault": "reset"},
        ]));
        assert!(matches!(meet(&faults, LINKS), Some(Fault { what: rule::What::Hang, .. })));
        assert!(matches!(meet(&faults, SEARCH), Some(Fault { what: rule::What::Reset, .. })));
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
        let kinds: Vec<_> = met.iter().map(|fault| (fault.ms, &fault.what)).collect();
        let (late, over) = (rule::What::Delay, rule::What::Status(429));
        assert_eq!(kinds, [(5, &late), (5, &late), (0, &over)]);
        assert!(faults.meet(LINKS, "", now).is_none());
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
