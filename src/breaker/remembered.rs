//! What a later process takes over of a breaker.
//!
//! Owns: the form, in wall-clock time, because monotonic time ends with its process. Refuses: open
//! times that no opening of these settings has; the wall clock may have been set meanwhile. The
//! failure rate is not remembered: it is of the last seconds, and they are over.
//!
//! A breaker that takes this over admits what the one that was remembered would have admitted, had
//! all calls under way been dropped, with one difference: half-open becomes open with no time left,
//! so that a full set of probes decides again.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::State;
use super::state::{Core, Phase};
use crate::clock::Timestamp;

/// A breaker's state for a later process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Remembered {
    /// The state.
    pub state: State,
    /// When an open breaker will admit probes; `None` while an admin holds it open, and in every
    /// other state.
    pub until: Option<Timestamp>,
    /// Failures in a row.
    pub consecutive_failures: u64,
    /// Openings in a row; they lengthen the next one.
    pub openings: u32,
}

impl Core {
    pub(super) fn remember(&self, now: Instant, wall: Timestamp) -> Remembered {
        let until = match self.phase {
            Phase::Open { until } => {
                until.map(|until| wall.plus(whole_millis(until.saturating_duration_since(now))))
            }
            Phase::Closed | Phase::HalfOpen { .. } => None,
        };
        Remembered {
            state: self.state(),
            until,
            consecutive_failures: self.consecutive_failures,
            openings: self.trip.openings(),
        }
    }

    /// Takes over what was remembered. Not a change of state that anybody is told: it happened
    /// earlier. Permits given before move nothing.
    pub(super) fn restore(&mut self, saved: &Remembered, now: Instant, wall: Timestamp) {
        self.trip.restore_openings(saved.openings);
        self.consecutive_failures = saved.consecutive_failures;
        self.phase = match (saved.state, saved.until) {
            (State::Closed, _) => {
                self.consecutive_failures = self.trip.restore_failures(saved.consecutive_failures);
                Phase::Closed
            }
            (State::HalfOpen, _) => Phase::Open { until: Some(now) },
            (State::Open, None) => Phase::Open { until: None },
            (State::Open, Some(until)) => {
                let left = until.since(wall).min(self.trip.longest_open());
                Phase::Open { until: now.checked_add(left) }
            }
        };
        self.era = self.era.wrapping_add(1);
        self.since = Some(now);
    }
}

/// Rounded up: nothing is admitted earlier because it was remembered.
fn whole_millis(left: Duration) -> Duration {
    let rest = left.subsec_nanos() % 1_000_000;
    let up = if rest == 0 { 0 } else { 1_000_000_u32.saturating_sub(rest) };
    left.saturating_add(Duration::from_nanos(u64::from(up)))
}
