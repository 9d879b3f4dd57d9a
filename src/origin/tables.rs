//! What ApiClientActor works with and must not forget: accounts, retry budget, bounds.
//!
//! Owns: the tables of one upstream, older than any incarnation of its actor, and what an admin may
//! read of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use slog::Logger;

use super::accounts::Accounts;
use super::budget::RetryBudget;
use super::crowd::Crowd;
use super::retry::Policy;
use super::transport::Wire;
use crate::clock::Timestamp;
use crate::metrics::UpstreamMetrics;
use crate::resilience::breaker::{self, State};
use crate::supervision::Observer;

/// The tables of one upstream.
pub struct UpstreamTables {
    /// Who we are to it.
    pub accounts: Accounts,
    /// How many calls may be under way at once, of all accounts together, and who waits.
    pub crowd: Crowd,
    /// How many retries are left, of all accounts together: they burden the same upstream.
    pub budget: RetryBudget,
    /// When a call is tried again.
    pub retry: Policy,
    /// The wire's bounds and the names known.
    pub wire: Wire,
    /// Longest time of one attempt.
    pub attempt_timeout: Duration,
    /// Where calls are counted.
    pub metrics: UpstreamMetrics,
    /// Where calls are logged.
    pub log: Logger,
    /// Told of calls that panic.
    pub observer: Arc<dyn Observer>,
}

/// The state of one account.
#[derive(Debug, Clone, Serialize)]
pub struct AccountStatus {
    /// Its name.
    pub name: &'static str,
    /// Whether the upstream accepts its configuration, as far as is known.
    pub is_accepted: bool,
    /// The breaker.
    pub breaker: breaker::Snapshot,
    /// Pacing and the day's budget.
    pub pacing: super::pacing::Snapshot,
}

/// The state of an upstream.
#[derive(Debug, Clone, Serialize)]
pub struct UpstreamStatus {
    /// Each account.
    pub accounts: Vec<AccountStatus>,
    /// Calls under way and waiting.
    pub crowd: super::crowd::Snapshot,
    /// The retry budget.
    pub retries: super::budget::Snapshot,
}

impl UpstreamStatus {
    /// The state of the breaker that stands least in the way, of accounts that are of use: what a
    /// call meets.
    #[must_use]
    pub fn breaker(&self) -> State {
        let all_refused = self.accounts.iter().all(|account| !account.is_accepted);
        let used = || self.accounts.iter().filter(|account| all_refused || account.is_accepted);
        let states = || used().map(|account| account.breaker.state);
        let from_best = [State::Closed, State::HalfOpen].into_iter();
        let mut met = from_best.filter(|state| states().any(|other| other == *state));
        met.next().unwrap_or(State::Open)
    }

    /// Calls left today, of all accounts together; `None` without daily budgets.
    #[must_use]
    pub fn budget_remaining(&self) -> Option<u64> {
        let budgets = self.accounts.iter().map(|account| account.pacing.budget_remaining);
        budgets.sum()
    }
}

impl UpstreamTables {
    /// When a call has to start to be answered by its deadline, if it takes as long as others did. A
    /// call that can start now may always.
    #[must_use]
    pub fn latest_start(&self, now: Instant, deadline: Instant) -> Instant {
        let usual = self.crowd.mean_hold();
        let usual = usual.max(self.retry.least_attempt).min(self.attempt_timeout);
        deadline.checked_sub(usual).map_or(now, |latest| latest.max(now))
    }

    /// The state as of now.
    #[must_use]
    pub fn status(&self, now: Instant, wall: Timestamp) -> UpstreamStatus {
        let accounts = self.accounts.iter().map(|account| AccountStatus {
            name: account.name,
            is_accepted: !account.problems().iter().any(|problem| problem.method.is_none()),
            breaker: account.breaker.snapshot(now),
            pacing: account.pacing.snapshot(now, wall),
        });
        UpstreamStatus {
            accounts: accounts.collect(),
            crowd: self.crowd.snapshot(),
            retries: self.budget.snapshot(now),
        }
    }
}

impl std::fmt::Debug for UpstreamTables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamTables").field("accounts", &self.accounts).finish_non_exhaustive()
    }
}
