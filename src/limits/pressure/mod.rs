//! How near the process is to its bounds, and how far limits are tightened because of it.
//!
//! Owns: the judgement ([`Judge`]) from readings of memory, queues and latency, and the [`Dial`]
//! that limits are read through. Pure but for the dial, which is one atomic: whoever is limited reads
//! it, once a request. Refuses: to react to others that are slow, upstream or clients. All readings
//! are of this process: memory against its bound, how late its loops are, how many requests stand in
//! line before a worker, and how long answers from memory take that wait for nobody. Without readings
//! nothing is tightened.
//!
//! Each reading is a strain between 0, all is well, and 1, at the bound; the worst counts. It is
//! smoothed, and a level is left only when the strain was clearly below it for some time, one level
//! at a time: limits that go up and down with every second would be of no use to a client.
//!
//! | level | strain from | limit of an address | limit of a key |
//! |---|---|---|---|
//! | normal | 0 | all of it | all of it |
//! | elevated | 0.25 | 1/2 | all of it |
//! | high | 0.5 | 1/4 | 1/2 |
//! | critical | 0.8 | 1/8 | 1/4 |

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

/// How near the process is to its bounds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Far from them.
    #[default]
    Normal,
    /// Not so far.
    Elevated,
    /// Near.
    High,
    /// At them.
    Critical,
}

impl Level {
    const ALL: [Self; 4] = [Self::Normal, Self::Elevated, Self::High, Self::Critical];

    /// The word in status and log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Elevated => "elevated",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// How often limits are halved: 0 to 3.
    #[must_use]
    pub const fn halvings(self) -> u8 {
        match self {
            Self::Normal => 0,
            Self::Elevated => 1,
            Self::High => 2,
            Self::Critical => 3,
        }
    }

    const fn least_strain(self) -> f64 {
        match self {
            Self::Normal => 0.0,
            Self::Elevated => 0.25,
            Self::High => 0.5,
            Self::Critical => 0.8,
        }
    }

    fn of(strain: f64) -> Self {
        let reached = |level: &&Self| strain >= level.least_strain();
        Self::ALL.iter().rev().find(reached).copied().unwrap_or_default()
    }

    fn one_less(self) -> Self {
        let less = usize::from(self.halvings()).checked_sub(1);
        less.and_then(|at| Self::ALL.get(at)).copied().unwrap_or_default()
    }
}

/// The level that limits are read through; clones are the same one.
#[derive(Debug, Clone, Default)]
pub struct Dial(Arc<AtomicU8>);

impl Dial {
    /// Puts a level in force.
    pub fn turn(&self, level: Level) {
        self.0.store(level.halvings(), Ordering::Relaxed);
    }

    /// The level in force.
    #[must_use]
    pub fn level(&self) -> Level {
        let at = usize::from(self.0.load(Ordering::Relaxed));
        Level::ALL.get(at).copied().unwrap_or_default()
    }

    /// Whether limits are what is set.
    #[must_use]
    pub fn is_normal(&self) -> bool {
        self.0.load(Ordering::Relaxed) == 0
    }

    /// How often limits are halved now; those of keys once less.
    #[must_use]
    pub fn halvings(&self, of_key: bool) -> u8 {
        self.0.load(Ordering::Relaxed).saturating_sub(u8::from(of_key))
    }
}

/// What strains the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Memory in use against its bound.
    Memory,
    /// Lateness of the loops.
    LoopLag,
    /// Requests that stand in line before a worker and wait for nobody else.
    Queues,
    /// Time that answers from memory take, against what is usual here.
    Latency,
}

/// What is read off the process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Readings {
    /// Memory in use as a share of its bound; `None` without a bound.
    pub memory: Option<f64>,
    /// How late the worst loop is as a share of what is held against.
    pub lag: f64,
    /// The longest line before a worker as a share of what it may serve at once.
    pub queues: f64,
    /// 99 of a hundred answers from memory that waited for nobody took at most so long; `None` when
    /// there were too few.
    pub latency: Option<Duration>,
}

/// Answers from memory that take less than this are quick whatever is usual.
const QUICK: Duration = Duration::from_millis(20);
/// Shares at which each strain begins, and is whole.
const MEMORY: (f64, f64) = (0.70, 0.95);
const LAG: (f64, f64) = (0.5, 2.0);
const QUEUES: (f64, f64) = (0.5, 1.0);
/// Times what is usual.
const LATENCY: (f64, f64) = (4.0, 16.0);
/// How soon a strain is believed, and how soon it is forgotten.
const RISE: Duration = Duration::from_secs(1);
const FALL: Duration = Duration::from_secs(3);
/// How soon what is usual follows while all is well, and while it is not: a machine that is slower
/// for good must not be held against what it was for ever.
const USUAL: Duration = Duration::from_secs(300);
const USUAL_UNDER_PRESSURE: Duration = Duration::from_secs(1_800);
/// How long the last latency stands where there are too few answers to tell: it may be the
/// tightening that makes them few.
const REMEMBERED: Duration = Duration::from_secs(10);
/// A level is left when the strain is below it by so much for so long.
const MARGIN: f64 = 0.08;
const HOLD: Duration = Duration::from_secs(5);

/// Judges readings that come about once a second, or oftener.
#[derive(Debug, Clone)]
pub struct Judge {
    level: Level,
    strain: f64,
    causes: Vec<Cause>,
    /// Seconds.
    usual: f64,
    /// The last latency that could be told, in seconds.
    latest: Option<(f64, Instant)>,
    judged: Instant,
    calm_since: Option<Instant>,
}

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct Pressure {
    /// The level in force.
    pub level: Level,
    /// What strains the process, the worst first; nothing when the level is normal.
    pub because: Vec<Cause>,
    /// How much, 0 to 1, smoothed.
    pub strain: f64,
}

impl Judge {
    /// All is well at `now`.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self {
            level: Level::Normal,
            strain: 0.0,
            causes: Vec::new(),
            usual: QUICK.as_secs_f64(),
            latest: None,
            judged: now,
            calm_since: None,
        }
    }

    /// Takes in what was read at `now`. Gives the level before when it changed.
    pub fn judge(&mut self, readings: &Readings, now: Instant) -> Option<Level> {
        let passed = now.saturating_duration_since(self.judged);
        self.judged = now;
        let strains = self.strains(readings, passed, now);
        let worst = strains.iter().map(|(strain, _)| *strain).fold(0.0, f64::max);
        let soon = if worst > self.strain { RISE } else { FALL };
        self.strain += (worst - self.strain) * share(passed, soon);
        let before = self.level;
        self.level = self.next(now);
        self.remember(strains);
        (before != self.level).then_some(before)
    }

    /// What is to be told.
    #[must_use]
    pub fn pressure(&self) -> Pressure {
        let strain = (self.strain * 100.0).round() / 100.0;
        Pressure { level: self.level, because: self.causes.clone(), strain }
    }

    fn strains(
        &mut self,
        readings: &Readings,
        passed: Duration,
        now: Instant,
    ) -> [(f64, Cause); 4] {
        [
            (readings.memory.map_or(0.0, |used| between(used, MEMORY)), Cause::Memory),
            (between(readings.lag, LAG), Cause::LoopLag),
            (between(readings.queues, QUEUES), Cause::Queues),
            (self.latency(readings.latency, passed, now), Cause::Latency),
        ]
    }

    fn latency(&mut self, read: Option<Duration>, passed: Duration, now: Instant) -> f64 {
        if let Some(took) = read {
            let took = took.as_secs_f64();
            let soon = if self.level == Level::Normal { USUAL } else { USUAL_UNDER_PRESSURE };
            self.usual += (took - self.usual) * share(passed, soon);
            self.latest = Some((took, now));
        }
        let age = |at| now.saturating_duration_since(at);
        let latest = self.latest.filter(|(_, at)| age(*at) <= REMEMBERED);
        let usual = self.usual.max(QUICK.as_secs_f64());
        latest.map_or(0.0, |(took, _)| between(took / usual, LATENCY))
    }

    fn next(&mut self, now: Instant) -> Level {
        let reached = Level::of(self.strain);
        if reached > self.level {
            self.calm_since = None;
            return reached;
        }
        if self.level == Level::Normal || self.strain > self.level.least_strain() - MARGIN {
            self.calm_since = None;
            return self.level;
        }
        let since = *self.calm_since.get_or_insert(now);
        if now.saturating_duration_since(since) < HOLD {
            return self.level;
        }
        self.calm_since = None;
        self.level.one_less()
    }

    /// Causes are told for as long as their level is in force.
    fn remember(&mut self, strains: [(f64, Cause); 4]) {
        if self.level == Level::Normal {
            self.causes.clear();
            return;
        }
        let mut strains = strains;
        strains.sort_by(|one, other| other.0.total_cmp(&one.0));
        let from = Level::Elevated.least_strain();
        let now = strains.iter().filter(|(strain, _)| *strain >= from).map(|(_, cause)| *cause);
        let now: Vec<_> = now.collect();
        if !now.is_empty() {
            self.causes = now;
        }
    }
}

/// 0 at or below the first, 1 at or above the second.
fn between(value: f64, (from, to): (f64, f64)) -> f64 {
    if value.is_nan() { 0.0 } else { ((value - from) / (to - from)).clamp(0.0, 1.0) }
}

/// What a change that follows in `soon` has followed after `passed`.
fn share(passed: Duration, soon: Duration) -> f64 {
    1.0 - (-passed.as_secs_f64() / soon.as_secs_f64()).exp()
}
