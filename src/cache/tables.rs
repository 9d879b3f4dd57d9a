//! What every CacheActor works on: the tiers and the pending keys, older than any actor.
//!
//! Owns: storing in all tiers and looking through them. Every failure of a tier ends here as a miss
//! with a count.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use slog::{Logger, debug, warn};

use super::entry::{Entry, Verdict};
use super::failure_memo::FailureMemo;
use super::freshness::{Freshness, judge};
use super::invalidations::Invalidations;
use super::invalidations::log::RulesLog;
use super::key::CacheKey;
use super::pending::PendingKeys;
use super::probe_budget::ProbeBudgets;
use super::tiers::Tier;
use super::tiers::database::{DatabaseTier, Row};
use super::tiers::memory::MemoryTier;
use super::tiers::redis::{LARGEST, RedisTier};
use crate::clock::{self, Timestamp};
use crate::failure::StoreError;
use crate::metrics::CacheMetrics;
use crate::supervision::Observer;

/// How long a caller waits for something newer before it takes what is stale-if-error. Most answers
/// of an origin come within it, and a person hardly notices it.
pub(super) const SOFT_TIMEOUT: Duration = Duration::from_millis(250);

/// The tables behind the cache. Cheap to clone; one for each worker, differing in the way to Redis.
#[derive(Clone)]
pub struct CacheTables {
    /// The first tier.
    pub memory: MemoryTier,
    /// The second, if configured.
    pub redis: Option<RedisTier>,
    /// The third, if it could be opened.
    pub database: Option<DatabaseTier>,
    /// Where things are counted.
    pub metrics: CacheMetrics,
    /// Where tier failures are logged.
    pub log: Logger,
    /// Receives loads that die.
    pub observer: Arc<dyn Observer>,
    /// What has been invalidated.
    pub invalidations: Invalidations,
    /// How long a caller waits for something newer before it takes what is stale-if-error.
    pub(super) soft: Duration,
    pub(super) pending: Arc<PendingKeys>,
    pub(super) memo: Arc<FailureMemo>,
    pub(super) budgets: Arc<ProbeBudgets>,
    /// Where invalidations are written for other instances, and for the next start.
    pub rules_log: Option<RulesLog>,
}

impl std::fmt::Debug for CacheTables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheTables").field("memory", &self.memory.len()).finish_non_exhaustive()
    }
}

/// An entry that is in memory and goes to the tiers behind.
#[derive(Debug, Clone)]
pub(super) struct ToStore {
    pub(super) key: CacheKey,
    pub(super) entry: Arc<Entry>,
    /// What was asked, for asking again.
    pub(super) question: Option<Arc<str>>,
}

impl CacheTables {
    /// Tables over the given tiers.
    #[must_use]
    pub fn new(
        memory: MemoryTier,
        database: Option<DatabaseTier>,
        metrics: CacheMetrics,
        log: Logger,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self {
            memory,
            redis: None,
            database,
            metrics,
            log,
            observer,
            invalidations: Invalidations::default(),
            soft: SOFT_TIMEOUT,
            pending: Arc::new(PendingKeys::new()),
            memo: Arc::new(FailureMemo::new()),
            budgets: Arc::default(),
            rules_log: None,
        }
    }

    /// The same tables with a worker's own way to Redis.
    #[must_use]
    pub fn with_redis(&self, redis: Option<RedisTier>) -> Self {
        Self { redis, ..self.clone() }
    }

    /// Names of the tiers that are avoided now or take no writes.
    #[must_use]
    pub fn degraded(&self) -> Vec<&'static str> {
        let redis = self.redis.as_ref().is_some_and(|r| r.is_avoided() || r.refuses_writes());
        let database =
            self.database.as_ref().is_none_or(|d| d.is_avoided() || d.writer.is_refused());
        let tiers = [(Tier::Redis, redis), (Tier::Database, database)];
        tiers.iter().filter(|(_, down)| *down).map(|(tier, _)| tier.label()).collect()
    }

    /// What memory holds under `key`, unless it is dead.
    pub(super) fn look(&self, key: &CacheKey, now: Timestamp) -> Option<(Arc<Entry>, Freshness)> {
        let entry = self.memory.get(key)?;
        let freshness = self.judge(key, &entry, now);
        (freshness != Freshness::Dead).then_some((entry, freshness))
    }

    /// What an entry is good for now.
    pub(super) fn judge(&self, key: &CacheKey, entry: &Entry, now: Timestamp) -> Freshness {
        let verdict = entry.verdict(self.invalidations.version(), || {
            self.invalidations.verdict(key.as_str(), &entry.tags, entry.times.stored_at)
        });
        judge(entry, verdict, now)
    }

    /// Whether an invalidation that was in force at `asked_at` forbids answering with `entry`. It does
    /// not forbid it to whoever had asked before.
    pub(super) fn forbids(&self, key: &CacheKey, entry: &Entry, asked_at: Timestamp) -> bool {
        let version = self.invalidations.version();
        let verdict = |at| self.invalidations.verdict(key.as_str(), &entry.tags, at);
        // Of two that happened within the same millisecond nobody knows which was first.
        entry.verdict(version, || verdict(entry.times.stored_at)) == Verdict::Hard
            && verdict(asked_at.plus(Duration::from_millis(1))) != Verdict::Hard
    }

    /// Keys being loaded now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.pending.count()
    }

    /// Hands entries that are in memory to the tiers behind; waits for Redis, not for SQL.
    pub(super) async fn store(&self, kind: &'static str, entries: &[ToStore]) {
        let encoded: Vec<Bytes> = entries.iter().map(|one| one.entry.encode(&one.key)).collect();
        if let Some(database) = &self.database {
            for (ToStore { key, entry, question }, encoded) in entries.iter().zip(&encoded) {
                let row = Row {
                    key: key.clone(),
                    kind,
                    entry: encoded.clone(),
                    question: question.clone(),
                    stored_at: entry.times.stored_at,
                    stale_until: entry.times.stale_until,
                };
                if !database.writer.put(row) {
                    self.metrics.writes_dropped.at([Tier::Database.label()]).inc();
                }
            }
        }
        if let Some(redis) = &self.redis {
            let wanted = for_redis(entries, &encoded);
            let (started, stored) = (clock::monotonic(), redis.put_many(&wanted).await);
            if wanted.len() < entries.len() {
                // What it holds of those that are too large is older than what was loaded.
                let too_large =
                    entries.iter().zip(&encoded).filter(|(_, bytes)| is_too_large(bytes));
                let keys: Vec<_> = too_large.map(|(one, _)| &one.key).collect();
                drop(redis.remove_many(&keys).await);
            }
            self.stored_in_redis(kind, wanted.len(), (started, stored));
        }
    }

    /// What Redis did not take it does not have; the database has it.
    fn stored_in_redis(
        &self,
        kind: &'static str,
        entries: usize,
        (started, stored): (Instant, Result<(), StoreError>),
    ) {
        self.took(kind, "put_redis", started, &stored);
        if let Err(error) = stored {
            let lost = u64::try_from(entries).unwrap_or(u64::MAX);
            self.metrics.writes_dropped.at([Tier::Redis.label()]).inc_by(lost);
            self.tier_failed(kind, Tier::Redis, &error);
        }
    }

    /// Notes how long an operation of a tier behind memory took, unless the tier was not asked;
    /// memory's own take microseconds.
    fn took<T>(
        &self,
        kind: &'static str,
        operation: &'static str,
        started: Instant,
        outcome: &Result<T, StoreError>,
    ) {
        if matches!(outcome, Err(StoreError::Avoided)) {
            return;
        }
        let duration = clock::monotonic().saturating_duration_since(started);
        self.metrics.latency.at([kind, operation]).observe(duration);
    }

    /// What Redis holds under `keys`; `None` when it does not answer.
    pub(super) async fn find_in_redis(
        &self,
        kind: &'static str,
        keys: &[&CacheKey],
    ) -> Option<Vec<Option<Entry>>> {
        let Some(redis) = self.redis.as_ref().filter(|_| !keys.is_empty()) else {
            return Some(none_of(keys));
        };
        let started = clock::monotonic();
        let found = redis.get(keys).await;
        self.took(kind, "get_redis", started, &found);
        let answered = found.is_ok();
        let (usable, corrupt) = self.understood(kind, Tier::Redis, keys, found);
        if !corrupt.is_empty() {
            // Best effort: the load that follows overwrites it anyway.
            drop(redis.remove_many(&corrupt.iter().map(|(key, _)| key).collect::<Vec<_>>()).await);
        }
        answered.then_some(usable)
    }

    /// The database, once it is known which of its rows are invalid.
    pub(super) fn trusted_database(&self) -> Option<&DatabaseTier> {
        self.database.as_ref().filter(|_| self.invalidations.is_known())
    }

    /// What the database holds under `keys`.
    pub(super) async fn find_in_database(
        &self,
        kind: &'static str,
        keys: &[&CacheKey],
    ) -> Vec<Option<Entry>> {
        let Some(database) = self.trusted_database().filter(|_| !keys.is_empty()) else {
            return none_of(keys);
        };
        let started = clock::monotonic();
        let found = database.get(keys).await;
        self.took(kind, "get_database", started, &found);
        let (usable, corrupt) = self.understood(kind, Tier::Database, keys, found);
        if !corrupt.is_empty() {
            database.writer.remove(corrupt);
        }
        usable
    }

    /// Decodes what a tier found; what it cannot, or what is dead, counts as a miss of the tier.
    /// Says which keys hold what is no entry, and what that is, so that it can be dropped there.
    fn understood(
        &self,
        kind: &'static str,
        tier: Tier,
        keys: &[&CacheKey],
        found: Result<Vec<Option<Bytes>>, StoreError>,
    ) -> (Vec<Option<Entry>>, Vec<(CacheKey, Bytes)>) {
        let found = found.unwrap_or_else(|error| {
            self.tier_failed(kind, tier, &error);
            Vec::new()
        });
        let now = clock::now();
        let (mut found, mut corrupt) = (found.into_iter(), Vec::new());
        let mut usable = Vec::with_capacity(keys.len());
        for key in keys {
            let held = found.next().flatten();
            let entry = held.clone().and_then(|bytes| self.decoded(tier, key, bytes));
            if let (Some(bytes), None) = (held, &entry) {
                corrupt.push(((*key).clone(), bytes));
            }
            let entry = entry.filter(|entry| self.judge(key, entry, now) != Freshness::Dead);
            if entry.is_none() {
                self.metrics.tier_miss(kind, tier.label());
            }
            usable.push(entry);
        }
        (usable, corrupt)
    }

    pub(super) fn decoded(&self, tier: Tier, key: &CacheKey, bytes: Bytes) -> Option<Entry> {
        Entry::decode(bytes, key)
            .map_err(|problem| {
                self.metrics.corrupt_entries.at([tier.label()]).inc();
                warn!(self.log, "corrupt cache entry dropped"; "tier" => tier.label(),
                    "key" => %key, "problem" => %problem);
            })
            .ok()
    }

    fn tier_failed(&self, kind: &'static str, tier: Tier, error: &StoreError) {
        if *error != StoreError::Avoided {
            self.metrics.error(kind, tier.label());
        }
        debug!(self.log, "cache tier failed"; "tier" => tier.label(), "error" => %error);
    }
}

fn is_too_large(encoded: &Bytes) -> bool {
    encoded.len() > LARGEST
}

/// Entries as Redis takes them, and how long they are to live.
fn for_redis(entries: &[ToStore], encoded: &[Bytes]) -> Vec<(CacheKey, Bytes, Duration)> {
    let now = clock::now();
    let life = |one: &ToStore| one.entry.times.stale_until.since(now);
    let pairs = entries.iter().zip(encoded).filter(|(_, bytes)| !is_too_large(bytes));
    pairs.map(|(one, bytes)| (one.key.clone(), bytes.clone(), life(one))).collect()
}

fn none_of(keys: &[&CacheKey]) -> Vec<Option<Entry>> {
    keys.iter().map(|_| None).collect()
}
