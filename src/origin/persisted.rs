//! What of an upstream must survive a restart: every credential's breaker, its day's budget, its ban.
//!
//! Owns: the stored form, one small JSON object, by credential, so that what one has used up is not
//! held against another after a change of the configuration. Fields that are missing or unknown are
//! lived with. Refuses, as if nothing had been stored: what cannot be read, and what was written more
//! than a day away from now (bans and budgets are daily, and open times shorter).

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::credentials::Credential;
use super::pacing::PacingStatus;
use super::state::OriginState;
use crate::clock::Timestamp;
use crate::resilience::breaker;

/// Older than this it says nothing about now.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Two readings of the clocks differ by less; moments closer than this are the same.
const CLOCK_NOISE: Duration = Duration::from_millis(250);

/// The state of all credentials for a later process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Persisted {
    accounts: Vec<Saved>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Saved {
    id: String,
    saved_at: Timestamp,
    breaker: breaker::Persisted,
    pacing: PacingStatus,
}

impl Persisted {
    pub fn to_json(&self) -> String {
        // A struct of numbers and names always serialises.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// As it was stored, but for what is too old; `None` when it is not that.
    pub fn from_json(text: &str, wall: Timestamp) -> Option<Self> {
        let mut stored: Self = serde_json::from_str(text).ok()?;
        stored.accounts.retain(|saved| apart(saved.saved_at, wall) <= LONGEST);
        (!stored.accounts.is_empty()).then_some(stored)
    }

    /// Whether it is worth storing again after `last` was.
    pub fn changed_since(&self, last: &Self) -> bool {
        self.accounts.len() != last.accounts.len()
            || self.accounts.iter().zip(&last.accounts).any(|(mine, theirs)| differs(mine, theirs))
    }
}

fn differs(mine: &Saved, theirs: &Saved) -> bool {
    let (breaker, before) = (mine.breaker, theirs.breaker);
    let same_breaker = breaker::Persisted { until: breaker.until, ..before } == breaker
        && is_same(breaker.until, before.until);
    let (pacing, before) = (mine.pacing, theirs.pacing);
    let same_pacing = (pacing.day, pacing.spent_today) == (before.day, before.spent_today)
        && is_same(pacing.banned_until, before.banned_until);
    mine.id != theirs.id || !same_breaker || !same_pacing
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

impl OriginState {
    /// What a later process needs to go on from here.
    pub fn persist(&self, now: Instant, wall: Timestamp) -> Persisted {
        let accounts = self.credentials.iter().map(|credential| Saved {
            id: credential.id.clone(),
            saved_at: wall,
            breaker: credential.breaker.persist(now, wall),
            pacing: credential.pacing.status(now, wall),
        });
        Persisted { accounts: accounts.collect() }
    }

    /// Goes on where an earlier process stopped; once. Calls made meanwhile stay counted. The answer
    /// is the credentials of which something was stored.
    pub fn restore(&self, saved: &Persisted, now: Instant, wall: Timestamp) -> Vec<&Credential> {
        let mut restored = Vec::new();
        for credential in self.credentials.iter() {
            if let Some(saved) = saved.accounts.iter().find(|saved| saved.id == credential.id) {
                credential.breaker.restore(&saved.breaker, now, wall);
                credential.pacing.restore(&saved.pacing, now, wall);
                restored.push(credential);
            }
        }
        restored
    }
}

#[cfg(test)]
#[path = "persisted_tests.rs"]
mod tests;
