//! What ApiClientActor works with and must not forget: credentials, slots, retry budget, bounds.
//!
//! Owns: the state of one upstream, older than any incarnation of its actor, and what an admin may
//! read of it. Refuses, on the caller's thread and without a message to the actor: what cannot be
//! done in time.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slog::Logger;

use super::Priority;
use super::concurrency::{Load, Slots};
use super::credentials::choice::Prefer;
use super::credentials::{Ask, Credentials};
use super::pacing::PacingStatus;
use super::retry::Policy;
use super::transport::Wire;
use crate::clock::Timestamp;
use crate::failure::Failure;
use crate::metrics::UpstreamMetrics;
use crate::resilience::breaker::{self, State};
use crate::resilience::retry_budget::RetryBudget;
use crate::supervision::Observer;

/// The number of a call's first attempt.
const FIRST: u32 = 1;

pub struct OriginState {
    /// Whether it is a simulator of our own, and answers are not live.
    pub is_simulated: bool,
    /// Who we are to it.
    pub credentials: Credentials,
    /// How many calls may be under way at once, of all credentials together, and who waits.
    pub slots: Slots,
    /// How many retries are left, of all credentials together: they burden the same upstream.
    pub budget: RetryBudget,
    /// When a call is tried again.
    pub retry: Policy,
    pub wire: Wire,
    pub attempt_timeout: Duration,
    pub metrics: UpstreamMetrics,
    pub log: Logger,
    /// Receives calls that panic.
    pub observer: Arc<dyn Observer>,
}

#[derive(Debug, Clone)]
pub struct CredentialStatus {
    pub name: &'static str,
    /// Whether the upstream accepts its configuration, as far as is known.
    pub is_accepted: bool,
    pub breaker: breaker::Snapshot,
    pub pacing: PacingStatus,
}

/// The state of an upstream at one moment.
#[derive(Debug, Clone)]
pub struct OriginStatus {
    pub credentials: Vec<CredentialStatus>,
    pub load: Load,
}

impl OriginStatus {
    /// The state of the breaker that stands least in the way, of credentials that are of use: what a
    /// call meets.
    pub fn breaker(&self) -> State {
        let all_refused = self.credentials.iter().all(|credential| !credential.is_accepted);
        let used = || self.credentials.iter().filter(|one| all_refused || one.is_accepted);
        let states = || used().map(|credential| credential.breaker.state);
        let from_best = [State::Closed, State::HalfOpen].into_iter();
        let mut met = from_best.filter(|state| states().any(|other| other == *state));
        met.next().unwrap_or(State::Open)
    }

    /// Calls left today, of all credentials together; `None` without daily budgets.
    pub fn budget_remaining(&self) -> Option<u64> {
        self.credentials.iter().map(|credential| credential.pacing.budget_remaining).sum()
    }
}

impl OriginState {
    /// Whether a call may come in: looks at what would refuse it later, and takes nothing.
    pub fn check(
        &self,
        operation: &'static str,
        priority: Priority,
        deadline: Instant,
        now: Instant,
        wall: Timestamp,
    ) -> Result<(), Failure> {
        let latest = self.latest_start(now, deadline);
        let ask = Ask { operation, priority, latest, prefer: Prefer::Any };
        self.credentials
            .peek(&ask, now, wall)
            .map_err(|refused| self.refused(refused, priority, FIRST, now))?;
        self.slots.peek(priority, now, latest).map_err(|full| self.full(full, priority, FIRST))
    }

    /// When a call has to start to be answered by its deadline, if it takes as long as others did. A
    /// call that can start now may always.
    pub(super) fn latest_start(&self, now: Instant, deadline: Instant) -> Instant {
        let usual = self.slots.mean_hold();
        let usual = usual.max(self.retry.least_attempt).min(self.attempt_timeout);
        deadline.checked_sub(usual).map_or(now, |latest| latest.max(now))
    }

    /// The upstream's name in health and in what is persisted of it: that of its first credential.
    pub fn name(&self) -> &'static str {
        self.credentials.iter().next().map_or("upstream", |first| first.name)
    }

    pub fn status(&self, now: Instant, wall: Timestamp) -> OriginStatus {
        let credentials = self.credentials.iter().map(|credential| CredentialStatus {
            name: credential.name,
            is_accepted: !credential.problems().iter().any(|problem| problem.operation.is_none()),
            breaker: credential.breaker.snapshot(now),
            pacing: credential.pacing.status(now, wall),
        });
        OriginStatus { credentials: credentials.collect(), load: self.slots.load() }
    }
}

impl std::fmt::Debug for OriginState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OriginState")
            .field("credentials", &self.credentials)
            .finish_non_exhaustive()
    }
}
