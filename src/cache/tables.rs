//! What every CacheActor works on: the tiers and the flights, older than any actor.
//!
//! Owns: storing in all tiers, looking through them, dropping from them. Every failure of a tier
//! ends here as a miss with a count; only a clean-up reports what it could not reach.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde::Serialize;
use slog::{Logger, debug, warn};
use utoipa::ToSchema;

use super::entry::{Entry, Verdict};
use super::flights::Flights;
use super::freshness::{Freshness, judge};
use super::key::CacheKey;
use super::setbacks::Setbacks;
use super::throttle::Throttle;
use super::tiers::database::{DatabaseTier, Row};
use super::tiers::memory::MemoryTier;
use super::tiers::redis::RedisTier;
use super::tiers::{Tier, TierError};
use crate::clock::{self, Timestamp};
use crate::metrics::CacheMetrics;
use crate::supervision::Observer;

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
    /// Told of flights that die.
    pub observer: Arc<dyn Observer>,
    /// When what is stale is used, and when what is fresh is renewed.
    pub(super) rules: Rules,
    pub(super) throttle: Throttle,
    pub(super) setbacks: Arc<Setbacks>,
    flights: Arc<Flights>,
}

/// When what is stale is used, and when what is fresh is renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// The last percent of the fresh time, in which a hit refreshes; 0 for never.
    pub eager: u8,
    /// How long a caller waits for something newer before it takes what is stale-if-error.
    pub soft: Duration,
}

impl Default for Rules {
    fn default() -> Self {
        Self { eager: 10, soft: Duration::from_millis(250) }
    }
}

/// An entry that is in memory and goes to the tiers behind.
#[derive(Debug, Clone)]
pub(super) struct Kept {
    pub(super) key: CacheKey,
    pub(super) entry: Arc<Entry>,
    /// What was asked, for asking again.
    pub(super) question: Option<Arc<str>>,
}

/// What a clean-up did in each tier.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Cleared {
    /// Entries dropped from memory.
    pub memory: usize,
    /// Entries dropped from Redis.
    pub redis: u64,
    /// Rows dropped from the database.
    pub database: usize,
    /// Tiers that could not be reached: they may still hold what was to be dropped.
    #[schema(value_type = Vec<String>)]
    pub unreached: Vec<&'static str>,
}

impl CacheTables {
    /// Tables over the given tiers, with nothing in flight.
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
            rules: Rules::default(),
            throttle: Throttle::new(clock::monotonic()),
            setbacks: Arc::new(Setbacks::new()),
            flights: Arc::new(Flights::new()),
        }
    }

    /// The same tables under other rules.
    #[must_use]
    pub fn with_rules(self, rules: Rules) -> Self {
        Self { rules, ..self }
    }

    /// The same tables with a worker's own way to Redis.
    #[must_use]
    pub fn with_redis(&self, redis: Option<RedisTier>) -> Self {
        Self { redis, ..self.clone() }
    }

    /// Names of the tiers that are configured but avoided now.
    #[must_use]
    pub fn degraded(&self) -> Vec<&'static str> {
        let redis = self.redis.as_ref().is_some_and(RedisTier::is_avoided);
        let database = self.database.as_ref().is_none_or(DatabaseTier::is_avoided);
        let tiers = [(Tier::Redis, redis), (Tier::Database, database)];
        tiers.iter().filter(|(_, down)| *down).map(|(tier, _)| tier.label()).collect()
    }

    /// What memory holds under `key`, unless it is dead.
    pub(super) fn look(&self, key: &CacheKey, now: Timestamp) -> Option<(Arc<Entry>, Freshness)> {
        let entry = self.memory.get(key)?;
        match self.judge(key, &entry, now) {
            Freshness::Dead => None,
            usable => Some((entry, usable)),
        }
    }

    /// What an entry is good for now.
    pub(super) fn judge(&self, _key: &CacheKey, entry: &Entry, now: Timestamp) -> Freshness {
        judge(entry, Verdict::Valid, self.rules.eager, now)
    }

    /// Keys being loaded now.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.flights.count()
    }

    pub(super) const fn flights(&self) -> &Arc<Flights> {
        &self.flights
    }

    /// Hands entries that are in memory to the tiers behind; waits for Redis, not for SQL.
    pub(super) async fn store(&self, kind: &'static str, kept: &[Kept]) {
        if let Some(database) = &self.database {
            for Kept { key, entry, .. } in kept {
                let row = Row {
                    key: key.clone(),
                    kind,
                    entry: entry.encode(key),
                    stored_at: entry.times.stored_at,
                    stale_until: entry.times.stale_until,
                };
                if !database.put(row) {
                    self.metrics.writes_dropped(Tier::Database.label(), 1);
                }
            }
        }
        let Some(redis) = &self.redis else { return };
        for Kept { key, entry, .. } in kept {
            let started = clock::monotonic();
            let stored = redis.put(key, entry, clock::now()).await;
            self.took(kind, "put_redis", started);
            if let Err(error) = stored {
                self.metrics.writes_dropped(Tier::Redis.label(), 1);
                self.tier_failed(kind, Tier::Redis, &error);
            }
        }
    }

    /// Notes how long an operation of a tier behind memory took; memory's own take microseconds.
    fn took(&self, kind: &'static str, operation: &'static str, started: Instant) {
        let duration = clock::monotonic().saturating_duration_since(started);
        self.metrics.latency(kind, operation).observe(duration);
    }

    /// What Redis holds under `keys`.
    pub(super) async fn find_in_redis(
        &self,
        kind: &'static str,
        keys: &[&CacheKey],
    ) -> Vec<Option<Entry>> {
        let Some(redis) = self.redis.as_ref().filter(|_| !keys.is_empty()) else {
            return none_of(keys);
        };
        let started = clock::monotonic();
        let found = redis.get(keys).await;
        self.took(kind, "get_redis", started);
        self.understood(kind, Tier::Redis, keys, found)
    }

    /// What the database holds under `keys`.
    pub(super) async fn find_in_database(
        &self,
        kind: &'static str,
        keys: &[&CacheKey],
    ) -> Vec<Option<Entry>> {
        let Some(database) = self.database.as_ref().filter(|_| !keys.is_empty()) else {
            return none_of(keys);
        };
        let started = clock::monotonic();
        let found = database.get(keys).await;
        self.took(kind, "get_database", started);
        self.understood(kind, Tier::Database, keys, found)
    }

    /// Decodes what a tier found; what it cannot, or what is dead, counts as a miss of the tier.
    fn understood(
        &self,
        kind: &'static str,
        tier: Tier,
        keys: &[&CacheKey],
        found: Result<Vec<Option<Bytes>>, TierError>,
    ) -> Vec<Option<Entry>> {
        let found = found.unwrap_or_else(|error| {
            self.tier_failed(kind, tier, &error);
            Vec::new()
        });
        let now = clock::now();
        let mut found = found.into_iter();
        keys.iter()
            .map(|key| {
                let bytes = found.next().flatten();
                let entry = bytes.and_then(|bytes| self.decoded(tier, key, bytes));
                let usable =
                    entry.filter(|entry| judge(entry, Verdict::Valid, 0, now) != Freshness::Dead);
                if usable.is_none() {
                    self.metrics.tier_miss(kind, tier.label());
                }
                usable
            })
            .collect()
    }

    fn decoded(&self, tier: Tier, key: &CacheKey, bytes: Bytes) -> Option<Entry> {
        Entry::decode(bytes, key)
            .map_err(|problem| {
                // Not dropped from its store here: the load that follows overwrites it.
                self.metrics.corrupt_entry(tier.label());
                warn!(self.log, "corrupt cache entry ignored"; "tier" => tier.label(),
                    "key" => %key, "problem" => %problem);
            })
            .ok()
    }

    fn tier_failed(&self, kind: &'static str, tier: Tier, error: &TierError) {
        if *error != TierError::Avoided {
            self.metrics.error(kind, tier.label());
        }
        debug!(self.log, "cache tier failed"; "tier" => tier.label(), "error" => %error);
    }

    /// Drops every key that matches the glob from all tiers; `reason` is counted.
    pub(super) async fn clear(&self, glob: &str, reason: &'static str) -> Cleared {
        let pattern = super::glob::Glob::new(glob);
        let mut cleared = Cleared {
            memory: self.memory.remove_matching(|k| pattern.matches(k)),
            ..Cleared::default()
        };
        if let Some(redis) = &self.redis {
            match redis.remove_matching(glob).await {
                Ok(count) => cleared.redis = count,
                Err(error) => self.unreached(Tier::Redis, &error, &mut cleared),
            }
        }
        if let Some(database) = &self.database {
            match database.remove_matching(glob.to_owned()).await {
                Ok(count) => cleared.database = count,
                Err(error) => self.unreached(Tier::Database, &error, &mut cleared),
            }
        }
        let most = cleared.memory.max(cleared.database);
        let most = u64::try_from(most).unwrap_or(u64::MAX).max(cleared.redis);
        self.metrics.invalidated("all", reason, most);
        cleared
    }

    fn unreached(&self, tier: Tier, error: &TierError, cleared: &mut Cleared) {
        warn!(self.log, "cache tier not cleared"; "tier" => tier.label(), "error" => %error);
        cleared.unreached.push(tier.label());
    }
}

fn none_of(keys: &[&CacheKey]) -> Vec<Option<Entry>> {
    keys.iter().map(|_| None).collect()
}
