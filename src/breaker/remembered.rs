//! What a later process takes over of a breaker.
//!
//! Owns: the form, in wall-clock time, because monotonic time ends with its process. Refuses: open
//! times that no opening of these settings has; the wall clock may have been set meanwhile. The
//! failure rate is not remembered: it is of the last seconds, and they are over.
//!
//! It may come late, when calls have been made already: what they or an admin said since is newer.
//! Taken over then is only what that does not contradict: an admin's hold, as long as no admin has
//! spoken since; and of two open times the longer.
//!
//! A breaker as new that takes this over admits what the one that was remembered would have admitted, had
//! all calls under way been dropped, with one difference: half-open becomes open with no time left,
//! so that a full set of probes decides again.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::State;
use super::state::{Core, Learnt, Phase};
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
    /// earlier.
    pub(super) fn restore(&mut self, saved: &Remembered, now: Instant, wall: Timestamp) {
        let is_hold = saved.state == State::Open && saved.until.is_none();
        match self.learnt {
            Learnt::ByAdmin => {}
            Learnt::ByCalls if !is_hold => self.prolong(saved, now, wall),
            Learnt::Nothing | Learnt::ByCalls => self.take_over(saved, now, wall),
        }
    }

    /// Permits given before move nothing.
    fn take_over(&mut self, saved: &Remembered, now: Instant, wall: Timestamp) {
        self.trip.restore_openings(saved.openings);
        self.consecutive_failures =
            self.consecutive_failures.saturating_add(saved.consecutive_failures);
        self.phase = match saved.state {
            State::Closed => {
                self.consecutive_failures = self.trip.restore_failures(self.consecutive_failures);
                Phase::Closed
            }
            State::HalfOpen => Phase::Open { until: Some(now) },
            State::Open => Phase::Open { until: self.open_until(saved, now, wall) },
        };
        self.era = self.era.wrapping_add(1);
        self.since = Some(now);
    }

    fn prolong(&mut self, saved: &Remembered, now: Instant, wall: Timestamp) {
        let theirs = self.open_until(saved, now, wall);
        if let Phase::Open { until: Some(ours) } = &mut self.phase {
            *ours = theirs.map_or(*ours, |theirs| theirs.max(*ours));
        }
    }

    fn open_until(&self, saved: &Remembered, now: Instant, wall: Timestamp) -> Option<Instant> {
        let left = saved.until?.since(wall).min(self.trip.longest_open());
        now.checked_add(left)
    }
}

/// Rounded up: nothing is admitted earlier because it was remembered.
fn whole_millis(left: Duration) -> Duration {
    let rest = left.subsec_nanos() % 1_000_000;
    let up = if rest == 0 { 0 } else { 1_000_000_u32.saturating_sub(rest) };
    left.saturating_add(Duration::from_nanos(u64::from(up)))
}
