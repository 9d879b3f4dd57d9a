//! What every CacheActor works on: the tiers and the pending keys, older than any actor.
//!
//! Owns: storing in all tiers and looking through them. Every failure of a tier ends here as a miss
//! with a count.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use slog::{Logger, debug, warn};

use super::entry::{Entry, Validity};
use super::failure_memo::FailureMemo;
use super::freshness::{Freshness, judge};
use super::invalidations::Invalidations;
use super::key::CacheKey;
use super::pending::PendingKeys;
use super::plan::Plan;
use super::probe_budget::ProbeBudgets;
use super::settings::LongestLife;
use super::tiers::database::DatabaseTier;
use super::tiers::memory::MemoryTier;
use super::tiers::redis::{LARGEST, RedisTier};
use super::tiers::{Row, Tier};
use crate::clock::{self, Timestamp};
use crate::failure::StoreError;
use crate::metrics::CacheMetrics;
use crate::replication::Changes;
use crate::supervision::Observer;

/// How long a caller waits for something newer before it takes what is stale-if-error. Most answers
/// of an origin come within it, and a person hardly notices it.
pub(super) const SOFT_TIMEOUT: Duration = Duration::from_millis(250);

/// The tables behind the cache. Cheap to clone; one for each worker, differing in the way to Redis.
#[derive(Clone)]
pub struct CacheTables {
    pub memory: MemoryTier,
    pub redis: Option<RedisTier>,
    pub database: DatabaseTier,
    pub metrics: CacheMetrics,
    pub log: Logger,
    pub observer: Arc<dyn Observer>,
    pub invalidations: Invalidations,
    /// Where invalidations are written for other instances and for the next start, and how long they
    /// are kept there.
    pub changes: Option<(Changes, LongestLife)>,
    /// As [`SOFT_TIMEOUT`], but in tests.
    pub(super) soft: Duration,
    pub(super) pending: Arc<PendingKeys>,
    pub(super) memo: Arc<FailureMemo>,
    pub(super) budgets: Arc<ProbeBudgets>,
}

impl std::fmt::Debug for CacheTables {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheTables").field("memory", &self.memory.len()).finish_non_exhaustive()
    }
}

impl CacheTables {
    pub fn new(
        memory: MemoryTier,
        database: DatabaseTier,
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
            changes: None,
            soft: SOFT_TIMEOUT,
            pending: Arc::new(PendingKeys::new()),
            memo: Arc::new(FailureMemo::new()),
            budgets: Arc::new(ProbeBudgets::new()),
        }
    }

    pub fn with_redis(&self, redis: Option<RedisTier>) -> Self {
        Self { redis, ..self.clone() }
    }

    /// Names of the tiers that are avoided now or take no writes.
    pub fn degraded(&self) -> Vec<&'static str> {
        let redis = self.redis.as_ref().map(|redis| &redis.client);
        let redis = redis.is_some_and(|redis| redis.is_avoided() || redis.refuses_writes());
        let database = self.database.is_avoided() || self.database.writer.is_refused();
        let tiers = [(Tier::Redis, redis), (Tier::Database, database)];
        tiers.iter().filter(|(_, down)| *down).map(|(tier, _)| tier.label()).collect()
    }

    /// What memory holds under `key`, unless it is dead.
    pub(super) fn look(&self, key: &CacheKey, now: Timestamp) -> Option<(Arc<Entry>, Freshness)> {
        let entry = self.memory.get(key)?;
        let freshness = self.judge(key, &entry, now);
        (freshness != Freshness::Dead).then_some((entry, freshness))
    }

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
        entry.verdict(version, || verdict(entry.times.stored_at)) == Validity::Hard
            && verdict(asked_at.plus(Duration::from_millis(1))) != Validity::Hard
    }

    pub fn in_flight(&self) -> usize {
        self.pending.count()
    }

    /// The database, once it is known which of its rows are invalid.
    pub(super) fn trusted_database(&self) -> Option<&DatabaseTier> {
        self.invalidations.is_known().then_some(&self.database)
    }

    /// Hands entries that are in memory to the tiers behind; waits for Redis, not for SQL.
    pub(super) async fn store(&self, kind: &'static str, rows: Vec<Row>) {
        let lost = rows.iter().filter(|row| !self.database.writer.put((*row).clone()));
        self.lost(Tier::Database, lost.count());
        let Some(redis) = &self.redis else { return };
        let (large, rows): (Vec<Row>, Vec<Row>) =
            rows.into_iter().partition(|row| row.entry.len() > LARGEST);
        let (started, stored) = (clock::monotonic(), redis.put(&rows).await);
        if !large.is_empty() {
            // What it holds of those is older than what was loaded.
            drop(redis.remove(&large.iter().map(|row| &row.key).collect::<Vec<_>>()).await);
        }
        self.took(kind, "put_redis", started, &stored);
        if let Err(error) = stored {
            self.lost(Tier::Redis, rows.len());
            self.failed(kind, Tier::Redis, &error);
        }
    }

    fn lost(&self, tier: Tier, rows: usize) {
        let rows = u64::try_from(rows).unwrap_or(u64::MAX);
        self.metrics.writes_dropped.at([tier.label()]).inc_by(rows);
    }

    /// What a tier behind memory holds under `keys` that is no longer dead, and why it did not say if it
    /// did not. What cannot be decoded is dropped there.
    pub(super) async fn find(
        &self,
        plan: &Plan,
        tier: Tier,
        keys: &[&CacheKey],
    ) -> (Vec<Option<Entry>>, Result<(), StoreError>) {
        let kind = plan.lifetimes.kind;
        if keys.is_empty() {
            return (Vec::new(), Ok(()));
        }
        let started = clock::monotonic();
        let (operation, found) = match (tier, &self.redis, self.trusted_database()) {
            (Tier::Redis, Some(redis), _) => ("get_redis", redis.get(keys).await),
            (Tier::Database, _, Some(database)) => ("get_database", database.get(keys).await),
            (Tier::Memory | Tier::Redis | Tier::Database | Tier::Upstream, _, _) => {
                return (Vec::new(), Ok(()));
            }
        };
        self.took(kind, operation, started, &found);
        let (mut found, answered) = match found {
            Ok(found) => (found, Ok(())),
            Err(error) => {
                self.failed(kind, tier, &error);
                (Vec::new(), Err(error))
            }
        };
        found.resize(keys.len(), None);
        let (now, mut corrupt) = (clock::now(), Vec::new());
        let mut usable = Vec::with_capacity(keys.len());
        for (key, bytes) in keys.iter().copied().zip(found) {
            let is_held = bytes.is_some();
            let entry = bytes.and_then(|bytes| self.decoded(plan, tier, key, bytes));
            if is_held && entry.is_none() {
                corrupt.push(key);
            }
            let entry = entry.filter(|entry| self.judge(key, entry, now) != Freshness::Dead);
            if entry.is_none() {
                self.metrics.tier_miss(kind, tier.label());
            }
            usable.push(entry);
        }
        if !corrupt.is_empty() {
            self.drop_corrupt(tier, &corrupt).await;
        }
        (usable, answered)
    }

    async fn drop_corrupt(&self, tier: Tier, corrupt: &[&CacheKey]) {
        if tier == Tier::Database {
            corrupt.iter().for_each(|key| self.database.writer.remove((*key).clone()));
        } else if let Some(redis) = &self.redis {
            drop(redis.remove(corrupt).await);
        }
    }

    /// What another process stored, if it is an entry of this kind, with times that it may have.
    pub(super) fn decoded(
        &self,
        plan: &Plan,
        tier: Tier,
        key: &CacheKey,
        bytes: Bytes,
    ) -> Option<Entry> {
        let decoded = Entry::decode(bytes, key).and_then(|entry| {
            let is_answer = (plan.is_answer)(&entry.representation);
            if is_answer { Ok(entry) } else { Err("not an answer of its kind") }
        });
        let decoded = decoded.inspect_err(|problem| {
            self.metrics.corrupt_entries.at([tier.label()]).inc();
            warn!(self.log, "corrupt cache entry dropped"; "tier" => tier.label(),
                "key" => %key, "problem" => %problem);
        });
        let mut entry = decoded.ok()?;
        entry.times = plan.lifetimes.bounded(entry.times, entry.negative);
        Some(entry)
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
        if !matches!(outcome, Err(StoreError::Avoided)) {
            let duration = clock::monotonic().saturating_duration_since(started);
            self.metrics.latency.at([kind, operation]).observe(duration);
        }
    }

    fn failed(&self, kind: &'static str, tier: Tier, error: &StoreError) {
        if *error != StoreError::Avoided {
            self.metrics.error(kind, tier.label());
        }
        debug!(self.log, "cache tier failed"; "tier" => tier.label(), "error" => %error);
    }
}
