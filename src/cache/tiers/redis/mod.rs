//! The second tier: entries in Redis, which may be absent, slow or broken at any time.
//!
//! Owns: what is asked of Redis for cached entries, and their names; `locks` makes one load of those
//! of several instances. `crate::redis` bounds every command and refuses at once while Redis is
//! broken: then every key is a miss here. A key that holds something else is a miss; the next store
//! overwrites it.

mod locks;

use std::time::Duration;

use crate::cache::entry::Entry;
use crate::cache::key::CacheKey;
use crate::clock::Timestamp;
use crate::failure::StoreError;
use crate::redis::keys::ENTRY;
use crate::redis::{self, Cmd, Effect, Pipeline, Redis};
use bytes::Bytes;

/// Largest entry that is stored here: all commands of a worker share one connection, and what is
/// larger would delay the others beyond their deadline.
pub(in crate::cache) const LARGEST: usize = 1 << 20;
/// Longest time of a clean-up that walks the keys.
const WALK_TIMEOUT: Duration = Duration::from_secs(5);
/// Keys looked at in one step of a walk.
const STEP: u32 = 1_000;
/// Redis refuses lives beyond the end of its time; nothing cached lives that long.
const LONGEST_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A worker's way to Redis. Cheap to clone.
#[derive(Clone)]
pub struct RedisTier {
    redis: Redis,
}

impl std::fmt::Debug for RedisTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisTier").finish_non_exhaustive()
    }
}

impl RedisTier {
    /// Entries over `redis`.
    #[must_use]
    pub const fn new(redis: Redis) -> Self {
        Self { redis }
    }

    /// The stored bytes under each of `keys`, in their order, in one round trip.
    ///
    /// # Errors
    /// Redis was avoided, too late, failed, or refused.
    pub async fn get(&self, keys: &[&CacheKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        for key in keys {
            command.arg(entry_name(key));
        }
        self.redis.one(command, Effect::Reads).await
    }

    /// Stores `entry` until it is dead.
    ///
    /// # Errors
    /// As [`RedisTier::get`].
    pub async fn put(
        &self,
        key: &CacheKey,
        entry: &Entry,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let life = entry.times.stale_until.since(now);
        if life.is_zero() {
            return Ok(());
        }
        self.put_many(&[(key.clone(), entry.encode(key), life)]).await
    }

    /// Stores encoded entries for as long as each says, in one round trip. What has no time left to
    /// live is left out.
    ///
    /// # Errors
    /// As [`RedisTier::get`]; some may have been stored.
    pub async fn put_many(
        &self,
        entries: &[(CacheKey, Bytes, Duration)],
    ) -> Result<(), StoreError> {
        let mut commands = Pipeline::with_capacity(entries.len());
        for (key, encoded, life) in entries {
            if let Some(life) = millis(*life) {
                commands.add_command(set(&entry_name(key), encoded, life)).ignore();
            }
        }
        if commands.is_empty() {
            return Ok(());
        }
        self.redis.many(commands, Effect::Adds).await
    }

    /// Drops each of `keys`, in one round trip; says how many of them were held.
    ///
    /// # Errors
    /// As [`RedisTier::get`].
    pub async fn remove_many(&self, keys: &[&CacheKey]) -> Result<u64, StoreError> {
        if keys.is_empty() {
            return Ok(0);
        }
        let mut command = redis::cmd("UNLINK");
        for key in keys {
            command.arg(entry_name(key));
        }
        self.redis.one(command, Effect::Drops).await
    }

    /// Drops every entry whose key matches the glob; says how many. Locks and the sign of life
    /// match nothing.
    ///
    /// # Errors
    /// As [`RedisTier::get`]; some may have been dropped.
    pub async fn remove_matching(&self, glob: &str) -> Result<u64, StoreError> {
        let pattern = entries_matching(glob);
        let walk = async {
            let (mut cursor, mut removed) = (0_u64, 0_u64);
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(STEP);
                let (next, keys): (u64, Vec<Vec<u8>>) = self.redis.one(scan, Effect::Reads).await?;
                if !keys.is_empty() {
                    let mut unlink = redis::cmd("UNLINK");
                    unlink.arg(keys);
                    let gone: u64 = self.redis.one(unlink, Effect::Drops).await?;
                    removed = removed.saturating_add(gone);
                }
                if next == 0 {
                    return Ok(removed);
                }
                cursor = next;
            }
        };
        tokio::time::timeout(WALK_TIMEOUT, walk).await.unwrap_or(Err(StoreError::TooLate))
    }

    /// As [`Redis::ping`].
    ///
    /// # Errors
    /// Redis was avoided, too late, or failed.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.redis.ping().await
    }

    /// As [`Redis::is_avoided`].
    #[must_use]
    pub fn is_avoided(&self) -> bool {
        self.redis.is_avoided()
    }

    /// As [`Redis::refuses_writes`].
    #[must_use]
    pub fn refuses_writes(&self) -> bool {
        self.redis.refuses_writes()
    }
}

/// Where the entry of `key` is kept.
fn entry_name(key: &CacheKey) -> String {
    format!("{ENTRY}{key}")
}

/// The glob for the names of entries whose keys match `glob`. Behind the prefix of entries, so that a
/// clean-up never walks over locks or what other rooms keep.
fn entries_matching(glob: &str) -> String {
    format!("{ENTRY}{glob}")
}

/// Milliseconds that Redis takes for a life; `None` when there is none left.
fn millis(life: Duration) -> Option<u64> {
    u64::try_from(life.min(LONGEST_LIFE).as_millis()).ok().filter(|millis| *millis > 0)
}

/// A command that stores `value` for so many milliseconds.
fn set(name: &str, value: &[u8], life: u64) -> Cmd {
    // Room for the other words too: the buffer never grows, which would copy the body again.
    let mut command = Cmd::with_capacity(5, name.len() + value.len() + 32);
    command.arg("SET").arg(name).arg(value).arg("PX").arg(life);
    command
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::glob::matches;

    #[test]
    fn a_pattern_for_everything_matches_entries_only() {
        let key = CacheKey::new("products:search:1");
        let everything = entries_matching("*");
        assert!(matches(&everything, &entry_name(&key)));
        for other in [&locks::name(&key), "breakwater:2:alive"] {
            assert!(!matches(&everything, other));
        }
    }

    #[test]
    fn a_life_is_counted_in_milliseconds_that_redis_takes() {
        assert_eq!(millis(Duration::ZERO), None);
        assert_eq!(millis(Duration::from_micros(999)), None);
        assert_eq!(millis(Duration::from_millis(1)), Some(1));
        assert_eq!(millis(Duration::MAX), Some(315_360_000_000));
    }

    #[test]
    fn a_store_is_one_command_with_its_life() {
        let packed = set("name", b"body", 7).get_packed_command();
        let wire = "*5\r\n$3\r\nSET\r\n$4\r\nname\r\n$4\r\nbody\r\n$2\r\nPX\r\n$1\r\n7\r\n";
        assert_eq!(String::from_utf8(packed).unwrap(), wire);
    }
}
