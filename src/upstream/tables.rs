//! What an ApiClientActor works with and must not forget: pacing, retry budget, breaker.
//!
//! Owns: the tables of one upstream credential, older than any incarnation of its actor, and what
//! an admin may read of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use slog::Logger;

use super::Protocol;
use super::budget::RetryBudget;
use super::pacing::Pacing;
use super::retry::Policy;
use super::standing::Standing;
use super::transport::Wire;
use crate::breaker::Breaker;
use crate::clock::Timestamp;
use crate::metrics::UpstreamMetrics;
use crate::supervision::Observer;

/// The tables of one credential.
pub struct UpstreamTables {
    /// The upstream's language, with the credential in it.
    pub protocol: Arc<dyn Protocol>,
    /// The breaker that judges the upstream's health.
    pub breaker: Breaker,
    /// When calls may start.
    pub pacing: Pacing,
    /// What of the configuration the upstream does not accept.
    pub standing: Standing,
    /// How many retries are left.
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

/// The state of one credential.
#[derive(Debug, Clone, Serialize)]
pub struct UpstreamStatus {
    /// The breaker.
    pub breaker: crate::breaker::Snapshot,
    /// Pacing and the day's budget.
    pub pacing: super::pacing::Snapshot,
    /// The retry budget.
    pub retries: super::budget::Snapshot,
}

impl UpstreamTables {
    /// The state as of now.
    #[must_use]
    pub fn status(&self, now: Instant, wall: Timestamp) -> UpstreamStatus {
        UpstreamStatus {
            breaker: self.breaker.snapshot(now),
            pacing: self.pacing.snapshot(now, wall),
            retries: self.budget.snapshot(now),
        }
    }
}

impl std::fmt::Debug for UpstreamTables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("UpstreamTables").field("breaker", &self.breaker).finish_non_exhaustive()
    }
}
