//! What a breaker says about itself, and what a later process takes over of it.
//!
//! Owns: its states, why they change, and their names in labels, logs and status; the persisted form,
//! in wall-clock time, because monotonic time ends with its process. Refuses: open times that no opening
//! of these settings has; the wall clock may have been set meanwhile.
//!
//! A restored state may come late, when calls have been made already: what those calls or an admin said
//! since is newer and stays. Only an admin's hold is taken over even then, unless an admin has spoken
//! since. Half-open becomes open with no time left, so that a full set of probes decides again. A slow
//! start begins at its lowest rate. The window of failures begins empty.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::slow_start::SlowStart;
use super::state::{Core, Phase};
use crate::clock::Timestamp;

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
    pub const ALL: [Self; 3] = [Self::Closed, Self::Open, Self::HalfOpen];

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
pub enum TransitionReason {
    Failures,
    FailureRate,
    TimeToProbe,
    ProbeFailed,
    /// No result of the probes came back: half-open begins anew.
    ProbeLost,
    ProbesSucceeded,
    Forced,
}

impl TransitionReason {
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
    pub reason: TransitionReason,
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
    /// An admin holds it open: nobody knows for how long.
    Held,
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
    /// The same as a moment; `None` before the first call.
    #[serde(skip)]
    #[schema(ignore)]
    pub since: Option<Instant>,
    /// When calls are admitted; `None` when they are, or an admin holds it open.
    #[serde(skip)]
    #[schema(ignore)]
    pub until: Option<Instant>,
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
    /// Calls admitted so far.
    pub issued: u64,
    /// Calls admitted that have not ended yet.
    pub under_way: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persisted {
    pub state: State,
    /// When an open breaker will admit probes; `None` in every other state and while it is held.
    pub until: Option<Timestamp>,
    /// Held open by an admin.
    #[serde(default)]
    pub forced: bool,
    #[serde(default)]
    pub consecutive_failures: u64,
    /// Openings in a row; they lengthen the next one.
    #[serde(default)]
    pub openings: u32,
    /// Whether it closed lately and was letting through only so much.
    #[serde(default)]
    pub slow_start: bool,
}

impl Core {
    pub(super) fn persist(&self, now: Instant, wall: Timestamp) -> Persisted {
        let until = match self.phase {
            Phase::Open { until } => {
                until.map(|until| wall.plus(whole_millis(until.saturating_duration_since(now))))
            }
            Phase::Closed { .. } | Phase::HalfOpen { .. } => None,
        };
        Persisted {
            state: self.state(),
            until,
            forced: matches!(self.phase, Phase::Open { until: None }),
            consecutive_failures: self.consecutive_failures,
            openings: self.trip.openings(),
            slow_start: self.slow_start().is_some(),
        }
    }

    /// Takes over what was persisted. The listener is not called: the change happened earlier.
    pub(super) fn restore(&mut self, saved: &Persisted, now: Instant, wall: Timestamp) {
        if self.moved_by_admin || (self.moved_by_calls && !saved.forced) {
            return;
        }
        self.trip.restore_openings(saved.openings);
        self.consecutive_failures =
            self.consecutive_failures.saturating_add(saved.consecutive_failures);
        self.phase = match saved.state {
            State::Closed => {
                self.consecutive_failures = self.trip.restore_failures(self.consecutive_failures);
                let settings = &self.settings;
                let slow_start = (saved.slow_start && settings.slow_start)
                    .then(|| SlowStart::at_floor(settings.failure_rate, now));
                Phase::Closed { slow_start }
            }
            State::HalfOpen => Phase::Open { until: Some(now) },
            State::Open if saved.forced => Phase::Open { until: None },
            State::Open => {
                let left = saved.until.map_or(Duration::ZERO, |until| until.since(wall));
                Phase::Open { until: now.checked_add(left.min(self.trip.longest_open())) }
            }
        };
        // Permits given before move nothing.
        self.era = self.era.wrapping_add(1);
        self.since = Some(now);
    }
}

/// Rounded up: no call is admitted earlier because of the rounding.
fn whole_millis(left: Duration) -> Duration {
    let rest = left.subsec_nanos() % 1_000_000;
    let up = if rest == 0 { 0 } else { 1_000_000_u32.saturating_sub(rest) };
    left.saturating_add(Duration::from_nanos(u64::from(up)))
}
