//! Faults on request.
//!
//! Owns: the rules in force and which of them a call meets. Rules are replaced as a whole and read
//! without a lock; a rule's chance depends only on its seed and on how many calls it has seen, so
//! the same calls meet the same faults in every run. Refuses: rules with any mistake, all mistakes
//! named (`read`). How a fault looks on the wire is in `wire`, odd shapes of answers in `variant`.

mod read;
mod rule;
mod variant;
mod walk;
mod wire;

use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use serde_json::Value;

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
    seen: AtomicU64,
    fired: AtomicU64,
}

impl Faults {
    /// Replaces all rules by those in `list`, or none of them if there is a mistake.
    pub(crate) fn replace(&self, list: &Value) -> Result<(), Vec<Mistake>> {
        let rules = read::read_all(list)?;
        let counted =
            |rule| CountedRule { rule, seen: AtomicU64::new(0), fired: AtomicU64::new(0) };
        let plan = Plan { rules: rules.into_iter().map(counted).collect() };
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

    /// The fault that a call of `method` meets: that of the first rule that matches.
    pub(crate) fn meet(&self, method: &str) -> Option<Fault> {
        let plan = self.plan.load();
        let rule = plan.rules.iter().find(|rule| rule.fires(method))?;
        Some(rule.rule.fault.clone())
    }
}

impl CountedRule {
    fn fires(&self, method: &str) -> bool {
        if !self.rule.concerns(method) {
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

    const SEARCH: &str = "aliexpress.affiliate.product.query";
    const LINKS: &str = "aliexpress.affiliate.link.generate";

    fn faults(list: &Value) -> Faults {
        let faults = Faults::default();
        faults.replace(list).unwrap();
        faults
    }

    #[test]
    fn the_first_rule_that_matches_wins() {
        let faults = faults(&json!([
            {"method": LINKS, "fault": "hang"},
            {"method": "*", "fault": "reset"},
        ]));
        assert!(matches!(faults.meet(LINKS), Some(Fault { what: rule::What::Hang, .. })));
        assert!(matches!(faults.meet(SEARCH), Some(Fault { what: rule::What::Reset, .. })));
        faults.replace(&json!([])).unwrap();
        assert!(faults.meet(LINKS).is_none());
    }

    #[test]
    fn a_share_is_kept_and_repeatable() {
        let rules = json!([{"method": "*", "share": 0.3, "seed": 7, "fault": "hang"}]);
        let run = || {
            let faults = faults(&rules);
            (0..2000).map(|_| faults.meet(SEARCH).is_some()).collect::<Vec<_>>()
        };
        let met = run().into_iter().filter(|met| *met).count();
        assert!((540..660).contains(&met), "{met} of 2000");
        assert_eq!(run(), run());
        let other = faults(&json!([{"method": "*", "share": 0.3, "seed": 8, "fault": "hang"}]));
        assert_ne!(run(), (0..2000).map(|_| other.meet(SEARCH).is_some()).collect::<Vec<_>>());
    }

    #[test]
    fn nothing_and_everything() {
        let never = faults(&json!([{"share": 0, "fault": "hang"}]));
        let always = faults(&json!([{"share": 1, "fault": "hang"}]));
        assert!((0..500).all(|_| never.meet(SEARCH).is_none() && always.meet(SEARCH).is_some()));
    }

    #[test]
    fn so_many_times_and_then_the_next_rule() {
        let faults =
            faults(&json!([{"fault": "hang", "times": 2}, {"fault": "reset", "times": 1}]));
        let met: Vec<bool> = (0..5).map(|_| faults.meet(SEARCH).is_some()).collect();
        assert_eq!(met, [true, true, true, false, false]);
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
