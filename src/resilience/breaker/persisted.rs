//! What a later process takes over of a breaker.
//!
//! Owns: the form, in wall-clock time, because monotonic time ends with its process. Refuses: open
//! times that no opening of these settings has; the wall clock may have been set meanwhile.
//!
//! It may come late, when calls have been made already: what those calls or an admin said since is
//! newer and stays. Only an admin's hold is taken over even then, unless an admin has spoken since.
//! Half-open becomes open with no time left, so that a full set of probes decides again. A slow start
//! begins at its lowest rate. The window of failures begins empty.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::State;
use super::slow_start::SlowStart;
use super::state::{Core, Phase};
use crate::clock::Timestamp;

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
                let slow_start = (saved.slow_start && settings.slow_start).then(|| {
                    SlowStart::at_floor(settings.failure_rate, settings.consecutive_failures, now)
                });
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
