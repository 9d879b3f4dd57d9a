//! What must survive a restart: every account's breaker, its day's budget, its ban.
//!
//! Owns: the stored form, a small JSON object with a version, and for each account when it was so; by
//! account, so that what one key has used up is not held against another after a change of the
//! configuration. Refuses, as if nothing had been stored: later versions, what cannot be read, and
//! what was written more than a day away from now (bans and budgets are daily, and open times
//! shorter).

use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::accounts::Account;
use super::pacing;
use super::tables::UpstreamTables;
use crate::clock::Timestamp;
use crate::resilience::breaker;

/// Version of the form.
const VERSION: u8 = 2;
/// Version of the form that knew of one account.
const VERSION_OF_ONE: u8 = 1;
/// Older than this it says nothing about now.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Two readings of the clocks differ by less; moments closer than this are the same.
const CLOCK_NOISE: Duration = Duration::from_millis(250);

/// Accounts that are configured no more, of which something is kept for the day; the newest stay.
const FORMER: usize = 16;

/// The state of all accounts for a later process, of those that are configured and of those that
/// were lately: one that is put back has still spent what it has spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    accounts: Vec<Kept>,
}

/// The state of one account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// Whose it is; empty when it was kept by a version that knew of one account only.
    pub id: String,
    /// When it was so.
    pub saved_at: Timestamp,
    /// The breaker.
    pub breaker: breaker::Persisted,
    /// The day's calls and the ban.
    pub pacing: pacing::Snapshot,
}

/// The stored form.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    v: u8,
    accounts: Vec<Kept>,
}

/// The stored form of the version before, which knew of one account.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct StoredOne {
    v: u8,
    saved_at: Timestamp,
    breaker: breaker::Persisted,
    pacing: pacing::Snapshot,
}

impl From<StoredOne> for Stored {
    fn from(one: StoredOne) -> Self {
        let StoredOne { v, saved_at, breaker, pacing } = one;
        let v = if v == VERSION_OF_ONE { VERSION } else { 0 };
        Self { v, accounts: vec![Kept { id: String::new(), saved_at, breaker, pacing }] }
    }
}

impl Remembered {
    /// As it is stored.
    #[must_use]
    pub fn to_json(&self) -> String {
        let stored = Stored { v: VERSION, accounts: self.accounts.clone() };
        // A struct of numbers and names always serialises.
        serde_json::to_string(&stored).unwrap_or_default()
    }

    /// As it was stored, but for what is too old; `None` when it is not that.
    #[must_use]
    pub fn from_json(text: &str, wall: Timestamp) -> Option<Self> {
        let stored: Stored = serde_json::from_str(text)
            .or_else(|_| serde_json::from_str::<StoredOne>(text).map(Into::into))
            .ok()?;
        let mut accounts = stored.accounts;
        accounts.retain(|kept| apart(kept.saved_at, wall) <= LONGEST);
        (stored.v == VERSION && !accounts.is_empty()).then_some(Self { accounts })
    }

    /// The same with what `before` has of accounts that this knows nothing of.
    #[must_use]
    pub fn with_former(mut self, before: Option<&Self>, wall: Timestamp) -> Self {
        let known = |id: &str| self.accounts.iter().any(|kept| kept.id == id);
        let is_former = |kept: &&Kept| {
            !kept.id.is_empty() && !known(&kept.id) && apart(kept.saved_at, wall) <= LONGEST
        };
        let before = before.into_iter().flat_map(|before| &before.accounts);
        let mut former: Vec<Kept> = before.filter(is_former).cloned().collect();
        former.sort_by_key(|kept| std::cmp::Reverse(kept.saved_at));
        former.truncate(FORMER);
        self.accounts.append(&mut former);
        self
    }

    /// Whether it is worth storing again after `last` was.
    #[must_use]
    pub fn changed_since(&self, last: &Self) -> bool {
        self.accounts.len() != last.accounts.len()
            || self.accounts.iter().zip(&last.accounts).any(|(mine, theirs)| differs(mine, theirs))
    }

    /// What was kept of an account; one kept without a name is the first one's.
    fn of(&self, id: &str, is_first: bool) -> Option<&Kept> {
        let named = self.accounts.iter().find(|kept| kept.id == id);
        named.or_else(|| self.accounts.iter().find(|kept| is_first && kept.id.is_empty()))
    }
}

/// Whether an account's state is worth storing again after `theirs` was.
fn differs(mine: &Kept, theirs: &Kept) -> bool {
    if mine.id != theirs.id {
        return true;
    }
    let (breaker, before) = (mine.breaker, theirs.breaker);
    let same_breaker = breaker::Persisted { until: breaker.until, ..before } == breaker
        && is_same(breaker.until, before.until);
    let (pacing, before) = (mine.pacing, theirs.pacing);
    let same_pacing = (pacing.day, pacing.spent_today) == (before.day, before.spent_today)
        && is_same(pacing.banned_until, before.banned_until);
    !(same_breaker && same_pacing)
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

impl UpstreamTables {
    /// What a later process needs to go on from here.
    #[must_use]
    pub fn remember(&self, now: Instant, wall: Timestamp) -> Remembered {
        let accounts = self.accounts.iter().map(|account| Kept {
            id: account.id().to_owned(),
            saved_at: wall,
            breaker: account.breaker.persist(now, wall),
            pacing: account.pacing.snapshot(now, wall),
        });
        Remembered { accounts: accounts.collect() }
    }

    /// Goes on where an earlier process stopped; once. Calls made meanwhile stay counted. The answer
    /// is the accounts of which something was kept.
    pub fn restore(&self, saved: &Remembered, now: Instant, wall: Timestamp) -> Vec<&Account> {
        let mut restored = Vec::new();
        for (index, account) in self.accounts.iter().enumerate() {
            if let Some(kept) = saved.of(account.id(), index == 0) {
                account.breaker.restore(&kept.breaker, now, wall);
                account.pacing.restore(&kept.pacing, now, wall);
                restored.push(account);
            }
        }
        restored
    }
}

#[cfg(test)]
mod tests;
