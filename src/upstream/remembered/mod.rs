//! What must survive a restart of one credential's state: the breaker, the day's budget, the ban.
//!
//! Owns: the stored form, a small JSON object with a version and the time it was written. Refuses,
//! as if nothing had been stored: other versions, what cannot be read, and what was written more
//! than a day away from now (bans and budgets are daily, and open times shorter).

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::pacing;
use super::tables::UpstreamTables;
use crate::breaker::{self, WindowSums};
use crate::clock::Timestamp;

/// Version of the form.
const VERSION: u8 = 1;
/// Older than this it says nothing about now.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Two readings of the clocks differ by less; moments closer than this are the same.
const CLOCK_NOISE: Duration = Duration::from_millis(250);

/// The state of one credential for a later process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remembered {
    /// The breaker.
    pub breaker: breaker::Remembered,
    /// The day's calls and the ban.
    pub pacing: pacing::Snapshot,
}

/// The stored form.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    v: u8,
    saved_at: Timestamp,
    breaker: breaker::Remembered,
    pacing: pacing::Snapshot,
}

impl Remembered {
    /// As it is stored.
    #[must_use]
    pub fn to_json(&self, wall: Timestamp) -> String {
        let Self { breaker, pacing } = *self;
        let stored = Stored { v: VERSION, saved_at: wall, breaker, pacing };
        // A struct of numbers and names always serialises.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// As it was stored; `None` when it is not that, or too old.
    #[must_use]
    pub fn from_json(text: &str, wall: Timestamp) -> Option<Self> {
        let stored: Stored = serde_json::from_str(text).ok()?;
        let is_ours = stored.v == VERSION && apart(stored.saved_at, wall) <= LONGEST;
        is_ours.then_some(Self { breaker: stored.breaker, pacing: stored.pacing })
    }

    /// Whether it is worth storing again after `last` was.
    #[must_use]
    pub fn changed_since(&self, last: &Self) -> bool {
        let (mine, theirs) = (self.breaker, last.breaker);
        let same_breaker = breaker::Remembered { until: mine.until, window: mine.window, ..theirs }
            == mine
            && is_same(mine.until, theirs.until)
            && is_same_window(mine.window, theirs.window);
        let (mine, theirs) = (self.pacing, last.pacing);
        let same_pacing = (mine.day, mine.spent_today) == (theirs.day, theirs.spent_today)
            && is_same(mine.banned_until, theirs.banned_until);
        !(same_breaker && same_pacing)
    }
}

fn apart(one: Timestamp, other: Timestamp) -> Duration {
    one.since(other).max(other.since(one))
}

fn is_same(one: Option<Timestamp>, other: Option<Timestamp>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => apart(one, other) < CLOCK_NOISE,
        (one, other) => one == other,
    }
}

fn is_same_window(one: Option<WindowSums>, other: Option<WindowSums>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => {
            WindowSums { since: one.since, ..other } == one
                && is_same(Some(one.since), Some(other.since))
        }
        (one, other) => one == other,
    }
}

impl UpstreamTables {
    /// What a later process needs to go on from here.
    #[must_use]
    pub fn remember(&self, now: Instant, wall: Timestamp) -> Remembered {
        Remembered {
            breaker: self.breaker.remember(now, wall),
            pacing: self.pacing.snapshot(now, wall),
        }
    }

    /// Goes on where an earlier process stopped; once. Calls made meanwhile stay counted.
    pub fn restore(&self, saved: &Remembered, now: Instant, wall: Timestamp) {
        self.breaker.restore(&saved.breaker, now, wall);
        self.pacing.restore(&saved.pacing, now, wall);
    }
}

#[cfg(test)]
mod tests;
