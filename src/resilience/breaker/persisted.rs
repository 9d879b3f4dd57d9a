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

/// A breaker's state for a later process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persisted {
    pub state: State,
    /// When an open breaker will admit probes; `None` while an admin holds it open, and in every
    /// other state.
    pub until: Option<Timestamp>,
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
            consecutive_failures: self.consecutive_failures,
            openings: self.trip.openings(),
            slow_start: self.slow_start().is_some(),
        }
    }

    /// Takes over what was persisted. The listener is not told: the change happened earlier.
    pub(super) fn restore(&mut self, saved: &Persisted, now: Instant, wall: Timestamp) {
        let is_hold = saved.state == State::Open && saved.until.is_none();
        if self.moved_by_admin || (self.moved_by_calls && !is_hold) {
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
            State::Open => Phase::Open { until: self.open_until(saved.until, now, wall) },
        };
        // Permits given before move nothing.
        self.era = self.era.wrapping_add(1);
        self.since = Some(now);
    }

    fn open_until(
        &self,
        until: Option<Timestamp>,
        now: Instant,
        wall: Timestamp,
    ) -> Option<Instant> {
        now.checked_add(until?.since(wall).min(self.trip.longest_open()))
    }
}

/// Rounded up: no call is admitted earlier because of the rounding.
fn whole_millis(left: Duration) -> Duration {
    let rest = left.subsec_nanos() % 1_000_000;
    let up = if rest == 0 { 0 } else { 1_000_000_u32.saturating_sub(rest) };
    left.saturating_add(Duration::from_nanos(u64::from(up)))
}
