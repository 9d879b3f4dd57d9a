//! What a breaker says about itself: its states, why they change, what it rejects.
//!
//! Owns: the words and their names in labels, logs and status. Decides nothing.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What a call said about the health of what is guarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CallResult {
    Success,
    Failure,
    /// It says nothing: throttled, a fault of ours, cut short by its caller.
    Ignored,
}

impl From<Option<bool>> for CallResult {
    fn from(healthy: Option<bool>) -> Self {
        match healthy {
            Some(true) => Self::Success,
            Some(false) => Self::Failure,
            None => Self::Ignored,
        }
    }
}

/// Whether calls flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = BreakerState)]
pub enum State {
    /// Calls flow.
    Closed,
    /// Calls are refused.
    Open,
    /// Probes are admitted.
    HalfOpen,
}

impl State {
    /// The value of the state's gauge: 0 closed, 1 open, 2 half-open.
    pub const fn gauge(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::Open => 1,
            Self::HalfOpen => 2,
        }
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    Failures,
    FailureRate,
    TimeToProbe,
    ProbeFailed,
    /// No result of the probes came back: half-open begins anew.
    ProbeLost,
    ProbesSucceeded,
    Forced,
}

impl Reason {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::FailureRate => "failure_rate",
            Self::TimeToProbe => "time_to_probe",
            Self::ProbeFailed => "probe_failed",
            Self::ProbeLost => "probe_lost",
            Self::ProbesSucceeded => "probes_succeeded",
            Self::Forced => "forced",
        }
    }
}

/// One change of state, as the listener receives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transition {
    pub from: State,
    pub to: State,
    pub reason: Reason,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    /// When to ask again; a short guess while probes are under way.
    pub retry_after: Duration,
    pub by: RejectedBy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RejectedBy {
    /// The breaker is open, or half-open with all probes given.
    Open,
    /// The breaker has closed lately, and there are more calls than it lets through as yet.
    SlowStart,
}

/// A breaker at one moment, for status and metrics.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Breaker)]
pub struct Snapshot {
    /// The breaker's name.
    #[schema(value_type = String)]
    pub name: Arc<str>,
    /// Its state. An open breaker whose time is over stays open until the next call.
    pub state: State,
    /// Milliseconds since the state was entered; the start of the process for the first one.
    pub in_state_ms: u64,
    /// Milliseconds until calls are admitted; `None` when they are, or an admin holds it open.
    pub retry_after_ms: Option<u64>,
    /// Held open by an admin.
    pub forced: bool,
    /// Calls a second that are let through since it closed; `None` when all of them are, or none.
    pub slow_start_per_second: Option<f64>,
    /// Failures in a row.
    pub consecutive_failures: u64,
    /// Changes of state so far.
    pub transitions: u64,
    /// Calls rejected so far.
    pub rejected: u64,
    /// Permits given so far; all of them were returned, dropped, or are in flight.
    pub issued: u64,
    /// Permits returned with a result.
    pub returned: u64,
    /// Permits dropped without a result.
    pub dropped: u64,
    /// Probes that were given up because no result came back; late ones still count as returned or
    /// dropped.
    pub lost: u64,
}
