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

use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use foldhash::SharedSeed;
use foldhash::quality::SeedableRandomState;
use serde::Serialize;
use utoipa::ToSchema;

use self::shard::{AccountKey, Shard};
pub use self::sharing::Consultation;
use super::actor::Admit;
use super::admission::{Admission, Decision, RuleKind};
use super::policy::{Class, PerClass, Policies};
use super::principal::{Network, Principal};
use super::quota::{Rules, Verdict};
use super::shared::Sharing;
use super::shared::ledger::Ledger;
use crate::resilience::tick::Tick;

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
    hasher: SeedableRandomState,
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
            hasher: keyed(),
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
        let rules = self.rules_of(request);
        if rules.is_empty() {
            return Admission::unlimited(request.class);
        }
        let now = Tick::between(self.origin, now);
        let decide = |ledger: &mut Ledger, rules: Rules| {
            let verdict = ledger.quota.admit(rules, now, request.cost);
            (verdict, verdict.idle_after())
        };
        self.told(request, self.with_ledger(request, rules, now, decide))
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

    fn rules_of(&self, request: Admit) -> Rules {
        self.policies.rules(request.class, &request.principal, request.own)
    }

    /// Works on the client's account, or on the one that strangers share when there is no room. The
    /// work says for how long the account matters; with what it gives comes whether it was shared.
    fn with_ledger<T>(
        &self,
        request: Admit,
        rules: Rules,
        now: Tick,
        work: impl FnOnce(&mut Ledger, Rules) -> (T, Duration),
    ) -> Option<(T, bool)> {
        let key = self.key(request.class, request.principal);
        // The upper half chooses the shard: the lower bits and the top seven choose the place.
        let number = usize::try_from(key.hash >> 32).unwrap_or_default();
        let mut shard = locked(self.shards.get(number & (self.shards.len() - 1))?);
        if let Some(account) = shard.account(&key, now, self.shard_capacity) {
            let (done, busy) = work(&mut account.ledger, rules);
            account.idle_at = account.idle_at.max(now.plus(busy));
            return Some((done, false));
        }
        drop(shard);
        let mut ledger = locked(self.overflow.get(request.class)?);
        let (done, _) = work(&mut ledger, rules.times(self.overflow_clients));
        Some((done, true))
    }

    /// The answer, and the count of it. A class without accounts has no limits.
    fn told(&self, request: Admit, decided: Option<(Verdict, bool)>) -> Admission {
        let class = request.class;
        let Some((Verdict { decision, burst, minute }, shared)) = decided else {
            return Admission::unlimited(class);
        };
        self.count(class, decision, shared);
        Admission { class, decision, burst, minute, shared, alone: false, asked: false }
    }

    fn key(&self, class: Class, principal: Principal) -> AccountKey {
        let mut hasher = self.hasher.build_hasher();
        class.hash(&mut hasher);
        match principal {
            Principal::Key(id) => {
                hasher.write_u8(0);
                id.hash(&mut hasher);
            }
            Principal::Network(Network::V4(address)) => {
                hasher.write_u8(4);
                hasher.write_u32(address.to_bits());
            }
            Principal::Network(Network::V6 { base, prefix }) => {
                hasher.write_u8(6);
                hasher.write_u8(prefix);
                hasher.write_u128(base.to_bits());
            }
        }
        AccountKey { hash: hasher.finish(), class, principal }
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

/// A hash that takes a fraction of the standard one's time, under 64 bits from the system's randomness.
fn keyed() -> SeedableRandomState {
    let secret = RandomState::new().hash_one(0_u8);
    SeedableRandomState::with_seed(secret, SharedSeed::global_random())
}

/// Takes a lock also after somebody panicked while holding it.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
