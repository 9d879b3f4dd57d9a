//! How near the process is to its bounds; while it is near, limits are halved.
//!
//! Owns: the decision from readings of memory, event-loop lag, queues and latency, all of this process,
//! and the switch that limits are read through. Refuses: to react to an upstream or to clients that are
//! slow. Without readings nothing is tightened.
//!
//! A reading is measured against its bound, the worst counts. It is smoothed, and pressure ends only
//! when it was clearly below the bound for some time: limits that go up and down with every second
//! would be of no use to a client.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

/// How near the process is to its bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    #[default]
    Normal,
    /// Limits are halved.
    High,
}

/// What brings the process near its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    Memory,
    LoopLag,
    /// Requests that wait for a worker and for nobody else.
    Queues,
    /// Time that answers from memory take.
    Latency,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Readings {
    /// Memory in use as a share of what there is; `None` where that is not known.
    pub memory: Option<f64>,
    pub lag: Duration,
    /// The longest line before a worker as a share of what it may serve at once.
    pub queues: f64,
    /// 99 of a hundred answers from memory that waited for nobody took at most so long; `None` when
    /// there were too few.
    pub latency: Option<Duration>,
}

/// A process that uses more of its memory may be killed by the next burst.
const MEMORY: f64 = 0.85;
/// So late a loop, the load shedder begins to refuse requests.
const LAG: Duration = Duration::from_millis(100);
/// There is room for a burst beside such a line.
const QUEUES: f64 = 0.6;
/// An answer from memory takes well under a millisecond; on a busy machine, some tens.
const LATENCY: Duration = Duration::from_millis(150);
/// How soon a reading is believed, and how soon it is forgotten.
const RISE: Duration = Duration::from_secs(1);
const FALL: Duration = Duration::from_secs(3);
/// Pressure ends when the strain was below this for so long.
const RELIEVED: f64 = 0.8;
const HOLD: Duration = Duration::from_secs(5);

/// What operators and clients are told.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct PressureStatus {
    pub level: Level,
    /// What brings the process near its bounds, the worst first; nothing when the level is normal.
    pub because: Vec<Cause>,
    /// The worst reading against its bound, smoothed: 1 is at the bound.
    pub strain: f64,
}

/// The pressure on the process, shared by whoever sets limits, reads or tells it.
#[derive(Debug, Default)]
pub struct Pressure {
    high: AtomicBool,
    evaluator: Mutex<Evaluator>,
}

impl Pressure {
    /// Whether limits are halved: one atomic load, once a request.
    #[must_use]
    pub fn is_high(&self) -> bool {
        self.high.load(Ordering::Relaxed)
    }

    #[must_use]
    pub fn status(&self) -> PressureStatus {
        self.evaluator.lock().unwrap_or_else(PoisonError::into_inner).status()
    }

    /// Takes in what was read at `now`; gives what is to be told when the level changed.
    pub fn evaluate(&self, readings: &Readings, now: Instant) -> Option<PressureStatus> {
        let mut evaluator = self.evaluator.lock().unwrap_or_else(PoisonError::into_inner);
        if !evaluator.evaluate(readings, now) {
            return None;
        }
        self.high.store(evaluator.level == Level::High, Ordering::Relaxed);
        Some(evaluator.status())
    }

    #[cfg(test)]
    pub(super) fn set_high(&self, high: bool) {
        self.high.store(high, Ordering::Relaxed);
    }
}

/// Decides over readings that come about once a second, or more often.
#[derive(Debug, Default)]
struct Evaluator {
    level: Level,
    strain: f64,
    because: Vec<Cause>,
    evaluated: Option<Instant>,
    calm_since: Option<Instant>,
}

impl Evaluator {
    /// Whether the level changed.
    fn evaluate(&mut self, readings: &Readings, now: Instant) -> bool {
        let before = self.evaluated.replace(now).unwrap_or(now);
        let mut strains = strains(readings);
        strains.sort_by(|one, other| other.0.total_cmp(&one.0));
        let worst = strains.first().map_or(0.0, |(strain, _)| *strain);
        let soon = if worst > self.strain { RISE } else { FALL };
        let passed = now.saturating_duration_since(before).as_secs_f64();
        self.strain += (worst - self.strain) * (1.0 - (-passed / soon.as_secs_f64()).exp());
        let changed = self.change(now);
        let near = strains.iter().filter(|(strain, _)| *strain >= RELIEVED);
        let near: Vec<_> = near.map(|(_, cause)| *cause).collect();
        if self.level == Level::Normal {
            self.because.clear();
        } else if !near.is_empty() {
            // Told for as long as the level is in force.
            self.because = near;
        }
        changed
    }

    fn change(&mut self, now: Instant) -> bool {
        if self.level == Level::Normal {
            let high = self.strain >= 1.0;
            self.level = if high { Level::High } else { Level::Normal };
            return high;
        }
        if self.strain >= RELIEVED {
            self.calm_since = None;
            return false;
        }
        let since = *self.calm_since.get_or_insert(now);
        if now.saturating_duration_since(since) < HOLD {
            return false;
        }
        (self.level, self.calm_since) = (Level::Normal, None);
        true
    }

    fn status(&self) -> PressureStatus {
        let strain = (self.strain * 100.0).round() / 100.0;
        PressureStatus { level: self.level, because: self.because.clone(), strain }
    }
}

/// Every reading against its bound, at most twice of it: what is far beyond is not believed sooner.
fn strains(readings: &Readings) -> [(f64, Cause); 4] {
    let against = |value: f64, bound: f64| {
        let strain = value / bound;
        if strain.is_nan() { 0.0 } else { strain.clamp(0.0, 2.0) }
    };
    let time = |value: Duration, bound: Duration| against(value.as_secs_f64(), bound.as_secs_f64());
    [
        (readings.memory.map_or(0.0, |used| against(used, MEMORY)), Cause::Memory),
        (time(readings.lag, LAG), Cause::LoopLag),
        (against(readings.queues, QUEUES), Cause::Queues),
        (readings.latency.map_or(0.0, |took| time(took, LATENCY)), Cause::Latency),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::monotonic;

    const EACH: Duration = Duration::from_millis(250);

    /// The changes while this is read for so many seconds, with the second of each.
    fn changes(
        pressure: &Pressure,
        now: &mut Instant,
        readings: &Readings,
        seconds: u32,
    ) -> Vec<(Level, u32)> {
        let all = (0..seconds * 4).filter_map(|quarter| {
            *now += EACH;
            let status = pressure.evaluate(readings, *now)?;
            assert_eq!(pressure.is_high(), status.level == Level::High);
            Some((status.level, quarter / 4))
        });
        all.collect()
    }

    fn all() -> [(Readings, Cause); 4] {
        let none = Readings::default();
        [
            (Readings { memory: Some(0.95), ..none }, Cause::Memory),
            (Readings { lag: LAG * 2, ..none }, Cause::LoopLag),
            (Readings { queues: 1.0, ..none }, Cause::Queues),
            (Readings { latency: Some(LATENCY * 2), ..none }, Cause::Latency),
        ]
    }

    #[test]
    fn each_reading_beyond_its_bound_halves_limits_is_named_and_ends() {
        for (readings, cause) in all() {
            let (pressure, mut now) = (Pressure::default(), monotonic());
            let up = changes(&pressure, &mut now, &readings, 5);
            assert!(matches!(up[..], [(Level::High, 0..=3)]), "{cause:?}: {up:?}");
            assert_eq!(pressure.status().because, [cause]);
            let down = changes(&pressure, &mut now, &Readings::default(), 15);
            assert!(matches!(down[..], [(Level::Normal, 5..=9)]), "{cause:?}: {down:?}");
            assert_eq!(pressure.status().because, []);
        }
    }

    #[test]
    fn the_worst_cause_is_named_first() {
        let (pressure, mut now) = (Pressure::default(), monotonic());
        let readings = Readings { memory: Some(0.9), queues: 1.0, ..Readings::default() };
        changes(&pressure, &mut now, &readings, 5);
        assert_eq!(pressure.status().because, [Cause::Queues, Cause::Memory]);
    }

    #[test]
    fn a_moment_changes_nothing_and_a_dip_ends_nothing() {
        let (pressure, mut now) = (Pressure::default(), monotonic());
        let (high, low) = (all()[1].0, Readings::default());
        for _ in 0..20 {
            now += EACH;
            assert_eq!(pressure.evaluate(&high, now), None);
            assert_eq!(changes(&pressure, &mut now, &low, 3), []);
        }
        assert_eq!(changes(&pressure, &mut now, &high, 5).len(), 1);
        for _ in 0..20 {
            assert_eq!(changes(&pressure, &mut now, &low, 3), []);
            assert_eq!(changes(&pressure, &mut now, &high, 2), []);
        }
    }

    proptest! {
        #[test]
        fn below_every_bound_there_is_no_pressure(
            readings in prop::collection::vec(
                (0.0..MEMORY, 0..100_u64, 0.0..QUEUES, prop::option::of(0..150_u64)), 1..100,
            ),
        ) {
            let (pressure, mut now) = (Pressure::default(), monotonic());
            for (memory, lag, queues, latency) in readings {
                now += EACH;
                let readings = Readings {
                    memory: Some(memory),
                    lag: Duration::from_millis(lag),
                    queues,
                    latency: latency.map(Duration::from_millis),
                };
                prop_assert_eq!(pressure.evaluate(&readings, now), None);
            }
        }
    }
}
