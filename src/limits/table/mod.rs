//! The table of all accounts, shared by every worker and older than any actor.
//!
//! Owns: who used how much of which limit, and the counts that say so. Decides and counts under
//! the lock of one shard, so the limits are exact however many workers ask. Bounded: idle accounts
//! leave first, and a full table refuses new state, never old service. A client that is unknown
//! and finds no room is counted in one account per class together with all others like it; that
//! account allows what [`TableSettings::overflow_clients`] single clients may do. A lock that was
//! poisoned is taken over: nothing in here can panic halfway through a change.

mod shard;
mod sharing;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;
use utoipa::ToSchema;

use self::shard::{AccountKey, Shard};
pub use self::sharing::Consultation;
use super::actor::Admit;
use super::admission::{Admission, Decision, RuleKind};
use super::policy::{Class, PerClass, Policies};
use super::principal::Principal;
use super::quota::{Rules, Verdict};
use super::shared::Sharing;
use super::shared::ledger::Ledger;
use super::tick::Tick;

/// Most shards a table has; a power of two.
const MOST_SHARDS: usize = 64;
/// Fewer accounts than this are not worth a shard of their own.
const SMALLEST_SHARD: usize = 64;

/// Bounds of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TableSettings {
    /// Accounts kept for addresses, all classes together.
    pub entries: usize,
    /// How many clients the account shared by strangers in a full table counts for.
    pub overflow_clients: NonZeroU32,
}

impl Default for TableSettings {
    fn default() -> Self {
        let overflow_clients = NonZeroU32::new(64).unwrap_or(NonZeroU32::MIN);
        Self { entries: 200_000, overflow_clients }
    }
}

/// What the limits did in one class since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct ClassStatus {
    /// Accounts kept now.
    pub entries: usize,
    /// Requests refused by the token bucket.
    pub refused_burst: u64,
    /// Requests refused by the sliding minute.
    pub refused_minute: u64,
    /// Requests counted in the account shared by strangers, because the table was full.
    pub overflowed: u64,
}

/// What the table holds and what it refused since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct TableStatus {
    /// Accounts kept at most.
    pub capacity: usize,
    /// Idle accounts given up so far.
    pub evicted: u64,
    /// By route class.
    pub classes: PerClass<ClassStatus>,
}

#[derive(Debug, Default)]
struct Counters {
    refused_burst: AtomicU64,
    refused_minute: AtomicU64,
    overflowed: AtomicU64,
}

/// All accounts.
#[derive(Debug)]
pub struct Table {
    policies: Policies,
    origin: Instant,
    /// Keyed, so that nobody can choose addresses that meet in one shard or place.
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
    shard_capacity: usize,
    overflow: PerClass<Mutex<Ledger>>,
    overflow_clients: NonZeroU32,
    counters: PerClass<Counters>,
    sharing: Option<Sharing>,
}

impl Table {
    /// An empty table; `origin` is the instant that its time counts from.
    #[must_use]
    pub fn new(settings: TableSettings, policies: Policies, origin: Instant) -> Self {
        let wanted = (settings.entries / SMALLEST_SHARD).clamp(1, MOST_SHARDS);
        // Rounded down to a power of two, so that a mask chooses the shard.
        let shards = 1_usize << wanted.ilog2();
        Self {
            policies,
            origin,
            hasher: RandomState::new(),
            shards: (0..shards).map(|_| Mutex::default()).collect(),
            shard_capacity: settings.entries / shards,
            overflow: PerClass::default(),
            overflow_clients: settings.overflow_clients,
            counters: PerClass::default(),
            sharing: None,
        }
    }

    /// Decides over a request of `principal` that weighs `cost`, and counts it if admitted.
    #[must_use]
    pub fn admit(&self, class: Class, principal: Principal, cost: u32, now: Instant) -> Admission {
        self.decide(Admit { cost, ..Admit::one(class, principal) }, now)
    }

    /// Decides over a request, and counts it if admitted.
    #[must_use]
    pub fn decide(&self, request: Admit, now: Instant) -> Admission {
        let Admit { class, principal, cost, own } = request;
        let rules = self.policies.rules(class, &principal, own);
        if rules.is_empty() {
            return Admission::unlimited(class);
        }
        let now = Tick::between(self.origin, now);
        let key = self.key(class, principal);
        let (verdict, shared) = match self.admit_known(&key, rules, cost, now) {
            Some(verdict) => (Some(verdict), false),
            None => (self.admit_overflow(class, rules, cost, now), true),
        };
        let Some(Verdict { decision, burst, minute }) = verdict else {
            return Admission::unlimited(class);
        };
        self.count(class, decision, shared);
        Admission { class, decision, burst, minute, shared, alone: false }
    }

    /// What the table holds and refused; takes every shard's lock for a moment, one by one.
    #[must_use]
    pub fn status(&self) -> TableStatus {
        let mut classes = self.counters.map(|counters| ClassStatus {
            entries: 0,
            refused_burst: counters.refused_burst.load(Ordering::Relaxed),
            refused_minute: counters.refused_minute.load(Ordering::Relaxed),
            overflowed: counters.overflowed.load(Ordering::Relaxed),
        });
        let mut evicted = 0_u64;
        for shard in &self.shards {
            let shard = locked(shard);
            let entries = shard.by_class();
            evicted = evicted.saturating_add(shard.evicted());
            drop(shard);
            classes.general.entries += entries.general;
            classes.search.entries += entries.search;
            classes.recommendations.entries += entries.recommendations;
        }
        TableStatus { capacity: self.shard_capacity * self.shards.len(), evicted, classes }
    }

    fn key(&self, class: Class, principal: Principal) -> AccountKey {
        AccountKey { hash: self.hasher.hash_one((class, principal)), class, principal }
    }

    /// `None` when the client has no account and there is no room for one.
    fn admit_known(&self, key: &AccountKey, rules: Rules, cost: u32, now: Tick) -> Option<Verdict> {
        // The upper half chooses the shard: the lower bits and the top seven choose the place.
        let number = usize::try_from(key.hash >> 32).unwrap_or_default();
        let mut shard = locked(self.shards.get(number & (self.shards.len() - 1))?);
        let account = shard.account(key, now, self.shard_capacity)?;
        let verdict = account.ledger.quota.admit(rules, now, cost);
        account.idle_at = now.plus(verdict.idle_after());
        Some(verdict)
    }

    fn admit_overflow(&self, class: Class, rules: Rules, cost: u32, now: Tick) -> Option<Verdict> {
        let mut ledger = locked(self.overflow.get(class)?);
        Some(ledger.quota.admit(rules.times(self.overflow_clients), now, cost))
    }

    fn count(&self, class: Class, decision: Decision, shared: bool) {
        let Some(counters) = self.counters.get(class) else { return };
        let refused = match decision {
            Decision::Admitted => None,
            Decision::Refused { rule: RuleKind::Burst, .. } => Some(&counters.refused_burst),
            Decision::Refused { rule: RuleKind::Minute, .. } => Some(&counters.refused_minute),
        };
        for counter in refused.into_iter().chain(shared.then_some(&counters.overflowed)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Takes a lock also after somebody panicked while holding it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
