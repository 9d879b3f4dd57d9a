//! How much is loaded from an origin that fails, all keys together.
//!
//! Owns: one budget for each origin; failures are counted by kind, so that what fails alone does not
//! hold the others. At most [`RENEWALS`] background loads run at once, so that an
//! outage that nobody has noticed yet costs the origin no more than these; and while loads fail, at
//! most [`PROBES_A_SECOND`] of any kind begin in a second. A load that a client waits for is rejected only
//! after [`PATIENCE`] failures in a row: a key that has nothing to serve may try longer. One success
//! ends it. What is known of each key is in `failure_memo.rs`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::failure::{Failure, FailureKind};
use crate::resilience::Priority;
use crate::resilience::pace::Pace;
use crate::resilience::sharded_map::ShardedMap;

const RENEWALS: u32 = 6;
/// Loads a second while the origin fails, and as many at once after a pause.
const PROBES_A_SECOND: f64 = 2.0;
const PROBES_AT_ONCE: u32 = 2;
/// Failures in a row after which clients' loads are rejected too.
const PATIENCE: u32 = 5;
const ORIGINS: usize = 1_024;
/// When to ask again if too many background loads run.
const BUSY: Duration = Duration::from_millis(100);

/// What holds a load back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Too many in the background.
    Busy,
    /// The upstream fails.
    Failing,
    /// This key failed a moment ago.
    RecentFailure,
}

impl Hold {
    pub const ALL: [Self; 3] = [Self::Busy, Self::Failing, Self::RecentFailure];

    pub const fn label(self) -> &'static str {
        match self {
            Self::Busy => "busy",
            Self::Failing => "failing",
            Self::RecentFailure => "recent_failure",
        }
    }
}

/// Why a load does not begin, and when to ask again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejected {
    pub(super) reason: Hold,
    pub(super) wait: Duration,
    pub(super) last: Option<Failure>,
}

impl Rejected {
    /// What callers that have nothing get: the last failure.
    pub(super) fn failure(&self) -> Failure {
        let last = self.last.clone().unwrap_or_else(|| {
            Failure::new(FailureKind::UpstreamUnavailable, "held back while the upstream fails")
        });
        let wait = last.retry_after.unwrap_or_default().max(self.wait);
        last.retry_after(Some(wait))
    }
}

/// Whether a failure says something about its origin. An open circuit does not: the origin was not
/// asked. The other kinds are this process's fault, or the caller's.
const fn is_of_origin(failure: &Failure) -> bool {
    matches!(failure.kind, FailureKind::UpstreamUnavailable | FailureKind::DeadlineExceeded)
}

#[derive(Debug)]
struct Budget {
    renewals: u32,
    failing: BTreeMap<&'static str, Failing>,
    probes: Pace,
}

/// Failures of one kind in a row, and the last one.
#[derive(Debug, Default)]
struct Failing {
    failures: u32,
    last: Option<Failure>,
}

impl Default for Budget {
    fn default() -> Self {
        let probes = Pace::new(PROBES_A_SECOND, PROBES_AT_ONCE);
        Self { renewals: 0, failing: BTreeMap::new(), probes }
    }
}

impl Budget {
    fn admit(
        &mut self,
        kind: &'static str,
        priority: Priority,
        now: Instant,
    ) -> Result<(), Rejected> {
        let is_awaited = priority == Priority::Client;
        if !is_awaited && self.renewals >= RENEWALS {
            return Err(Rejected { reason: Hold::Busy, wait: BUSY, last: None });
        }
        let failing = self.failing.get(kind);
        if failing.map_or(0, |one| one.failures) >= if is_awaited { PATIENCE } else { 1 } {
            let wait = self.probes.wait(now, 0);
            if !wait.is_zero() {
                let last = failing.and_then(|one| one.last.clone());
                return Err(Rejected { reason: Hold::Failing, wait, last });
            }
            self.probes.take(now);
        }
        self.renewals = self.renewals.saturating_add(u32::from(!is_awaited));
        Ok(())
    }

    fn record(&mut self, kind: &'static str, outcome: Result<(), &Failure>) {
        let Err(failure) = outcome else {
            self.failing.remove(kind);
            return;
        };
        let counts = is_of_origin(failure);
        if counts || failure.kind == FailureKind::CircuitOpen {
            let failing = self.failing.entry(kind).or_default();
            failing.failures = failing.failures.saturating_add(u32::from(counts));
            failing.last = Some(failure.clone());
        }
    }
}

#[derive(Debug)]
pub(super) struct ProbeBudgets(ShardedMap<&'static str, Budget>);

/// The right to load once. Dropped without [`Permit::record`] it says nothing about the origin.
#[must_use = "a dropped permit is given back"]
#[derive(Debug)]
pub(super) struct Permit {
    budgets: Arc<ProbeBudgets>,
    origin: &'static str,
    kind: &'static str,
    priority: Priority,
}

impl ProbeBudgets {
    pub(super) fn new() -> Self {
        Self(ShardedMap::new(ORIGINS))
    }

    pub(super) fn admit(
        self: &Arc<Self>,
        (origin, kind): (&'static str, &'static str),
        priority: Priority,
        now: Instant,
    ) -> Result<Permit, Rejected> {
        self.0.update(&origin, |budget| budget.admit(kind, priority, now))?;
        Ok(Permit { budgets: Arc::clone(self), origin, kind, priority })
    }

    /// Whether the last load of some kind that said something about the origin failed.
    pub(super) fn is_failing(&self, origin: &'static str) -> bool {
        self.0
            .find(&origin, |budget| budget.failing.values().any(|one| one.failures > 0))
            .unwrap_or(false)
    }
}

impl Permit {
    pub(super) fn record(self, outcome: Result<(), &Failure>) {
        self.budgets.0.update(&self.origin, |budget| budget.record(self.kind, outcome));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if self.priority != Priority::Client {
            let give_back =
                |budget: &mut Budget| budget.renewals = budget.renewals.saturating_sub(1);
            self.budgets.0.update(&self.origin, give_back);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use proptest::prelude::*;

    fn budgets() -> Arc<ProbeBudgets> {
        Arc::new(ProbeBudgets::new())
    }

    fn down() -> Failure {
        Failure::new(FailureKind::UpstreamUnavailable, "down")
    }

    fn at(start: Instant, millis: u64) -> Instant {
        start + Duration::from_millis(millis)
    }

    #[test]
    fn an_unnoticed_outage_costs_no_more_than_what_runs() {
        let start = clock::monotonic();
        let budgets = budgets();
        let permits: Vec<_> = (0..200)
            .filter_map(|_| budgets.admit(("a", "search"), Priority::Refresh, start).ok())
            .collect();
        assert_eq!(permits.len(), 6);
        permits.into_iter().for_each(|permit| permit.record(Err(&down())));
        let probes = (0..1_000)
            .filter_map(|ms| budgets.admit(("a", "search"), Priority::Refresh, at(start, ms)).ok())
            .map(|permit| permit.record(Err(&down())));
        assert_eq!(probes.count(), 3, "two at once and one more within the second");
    }

    #[test]
    fn clients_are_rejected_later_and_one_success_frees_all() {
        let start = clock::monotonic();
        let budgets = budgets();
        for _ in 0..PATIENCE {
            budgets.admit(("a", "search"), Priority::Client, start).unwrap().record(Err(&down()));
        }
        budgets.admit(("a", "search"), Priority::Client, start).unwrap().record(Err(&down()));
        let last = budgets.admit(("a", "search"), Priority::Client, start).unwrap();
        let rejected = budgets.admit(("a", "search"), Priority::Client, start).unwrap_err();
        let wait = Duration::from_millis(500);
        assert_eq!(rejected, Rejected { reason: Hold::Failing, wait, last: Some(down()) });
        assert_eq!(rejected.failure(), down().retry_after(Some(wait)));
        assert!(budgets.is_failing("a"));
        last.record(Ok(()));
        let free: Vec<_> =
            (0..100).map(|_| budgets.admit(("a", "search"), Priority::Client, start)).collect();
        assert!(free.iter().all(Result::is_ok));
    }

    #[test]
    fn what_says_nothing_about_the_origin_changes_nothing() {
        let start = clock::monotonic();
        let budgets = budgets();
        for _ in 0..100 {
            let ours = Failure::new(FailureKind::CircuitOpen, "not asked");
            budgets.admit(("a", "search"), Priority::Refresh, start).unwrap().record(Err(&ours));
            drop(budgets.admit(("a", "search"), Priority::Refresh, start).unwrap());
        }
        assert!(!budgets.is_failing("a"));
    }

    #[test]
    fn a_kind_that_fails_costs_another_nothing_and_all_share_the_probes() {
        let (budgets, now) = (budgets(), clock::monotonic());
        let load = |kind| budgets.admit(("a", kind), Priority::Client, now);
        for _ in 0..PATIENCE + PROBES_AT_ONCE {
            load("links").unwrap().record(Err(&down()));
        }
        assert!(load("links").is_err() && budgets.is_failing("a"));
        for _ in 0..PATIENCE {
            load("search").unwrap().record(Err(&down()));
        }
        assert!(load("search").is_err(), "there are no more probes for it");
    }

    #[test]
    fn an_origin_that_fails_costs_another_nothing() {
        let (budgets, now) = (budgets(), clock::monotonic());
        budgets.admit(("a", "search"), Priority::Refresh, now).unwrap().record(Err(&down()));
        assert!(budgets.is_failing("a") && !budgets.is_failing("b"));
    }

    proptest! {
        /// Whatever comes and goes: permits are given back, and while the origin fails no second
        /// sees more than two seconds' worth of probes and what ran before.
        #[test]
        fn permits_come_back_and_probes_are_few(events in prop::collection::vec((0..3_u8, 0..400_u64), 1..300)) {
            let start = clock::monotonic();
            let budgets = budgets();
            budgets.admit(("a", "search"), Priority::Refresh, start).unwrap().record(Err(&down()));
            let (mut now, mut running, mut admitted) = (0, Vec::new(), Vec::new());
            for (event, wait) in events {
                now += wait;
                match event {
                    0 | 1 => if let Ok(permit) = budgets.admit(("a", "search"), Priority::Refresh, at(start, now)) {
                        admitted.push(now);
                        running.push(permit);
                    },
                    _ => if let Some(permit) = running.pop() { permit.record(Err(&down())); },
                }
                prop_assert!(running.len() <= 6);
                let renewals = budgets.0.find(&"a", |budget| budget.renewals).unwrap();
                prop_assert_eq!(usize::try_from(renewals), Ok(running.len()));
            }
            for first in &admitted {
                let within = admitted.iter().filter(|t| (*first..first + 1_000).contains(*t)).count();
                prop_assert!(within <= 4, "{within} probes within a second");
            }
        }
    }
}
