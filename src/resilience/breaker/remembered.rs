//! What a later process takes over of a breaker.
//!
//! Owns: the form, in wall-clock time, because monotonic time ends with its process. Refuses: open
//! times that no opening of these settings has; the wall clock may have been set meanwhile.
//!
//! It may come late, when calls have been made already: what they or an admin said since is newer.
//! Taken over then is only what that does not contradict: an admin's hold, as long as no admin has
//! spoken since; and of two open times the longer.
//!
//! A breaker as new that takes this over admits what the one that was remembered would have
//! admitted, had all calls under way been dropped, with three differences. Half-open becomes open
//! with no time left, so that a full set of probes decides again. A ramp begins at its floor. Of the
//! window only sums are kept, as old as the oldest of them: nothing counts for longer than it would
//! have.

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::State;
use super::state::{Core, Learnt, Phase};
use super::window::Counts;
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
    /// What the window holds; `None` when that is nothing, and in every state but closed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub window: Option<WindowSums>,
    /// Whether it closed lately and was letting through only so much.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ramping: bool,
}

/// How the calls of a window went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSums {
    /// When the oldest of them may have been.
    pub since: Timestamp,
    /// Answered in good time.
    pub well: u32,
    /// Answered late.
    pub slow: u32,
    /// Failed.
    pub ill: u32,
}

impl WindowSums {
    fn counts(self) -> Counts {
        Counts { well: self.well, slow: self.slow, ill: self.ill }
    }
}

impl Core {
    pub(super) fn remember(&self, now: Instant, wall: Timestamp) -> Remembered {
        let until = match self.phase {
            Phase::Open { until } => {
                until.map(|until| wall.plus(whole_millis(until.saturating_duration_since(now))))
            }
            Phase::Closed { .. } | Phase::HalfOpen { .. } => None,
        };
        Remembered {
            state: self.state(),
            until,
            consecutive_failures: self.consecutive_failures,
            openings: self.trip.openings(),
            window: self.remember_window(now, wall),
            ramping: self.ramp(now).is_some(),
        }
    }

    fn remember_window(&self, now: Instant, wall: Timestamp) -> Option<WindowSums> {
        if self.state() != State::Closed {
            return None;
        }
        let (Counts { well, slow, ill }, since) = self.trip.window(now)?;
        let since = wall.minus(whole_millis(now.saturating_duration_since(since)));
        Some(WindowSums { since, well, slow, ill })
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
                if let Some(sums) = saved.window
                    && let Some(since) = now.checked_sub(wall.since(sums.since))
                {
                    self.trip.restore_window(sums.counts(), since);
                }
                Phase::Closed { ramp: self.lowest_ramp(now).filter(|_| saved.ramping) }
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
