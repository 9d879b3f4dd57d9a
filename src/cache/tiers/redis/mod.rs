//! The second tier: Redis, which may be absent, slow or broken at any time.
//!
//! Owns: what is asked of Redis for cached entries; `exchange` bounds every command by [`TIMEOUT`],
//! `standing` keeps a broken Redis out of the way and knows one that refuses writes, `locks` makes
//! one flight of those of several instances, `journal` carries invalidations, `replay` brings what
//! Redis missed, `newer` keeps it from taking the place of what is newer, `records` is a map that all
//! instances share, `script` runs what has to happen in one step there. Refuses: to wait. Each HTTP
//! worker has a `line` of its own (a connection lives on
//! the runtime that made it), all share the standing. A key that holds something else is a miss; it
//! is overwritten by the next store.

mod exchange;
mod journal;
mod line;
mod locks;
mod names;
mod newer;
mod records;
mod replay;
mod script;
mod standing;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use deadpool_redis::redis::{self, Cmd, FromRedisValue, Pipeline};

use super::TierError;
use crate::cache::entry::Entry;
use crate::cache::key::CacheKey;
use crate::clock::{self, Timestamp};

use exchange::Exchange;
pub use exchange::TIMEOUT;
pub use journal::Page;
pub use records::Records;
pub use replay::{Replayed, replay};
pub use script::Script;
use standing::Effect;
pub use standing::{HEARD_FOR, Standing};

/// Longest time of a clean-up that walks the keys.
const WALK_TIMEOUT: Duration = Duration::from_secs(5);
/// Keys looked at in one step of a walk.
const STEP: u32 = 1_000;
/// How long the sign of life lives, in milliseconds.
const ALIVE_MS: u64 = 5_000;
/// Redis refuses lives beyond the end of its time; nothing cached lives that long.
const LONGEST_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// A worker's way to Redis. Cheap to clone.
#[derive(Clone)]
pub struct RedisTier {
    exchange: Exchange,
}

impl std::fmt::Debug for RedisTier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisTier").finish_non_exhaustive()
    }
}

impl RedisTier {
    /// A way to the Redis at `url`, of whom all workers know `standing`; nothing is connected yet.
    ///
    /// # Errors
    /// The address is not one of Redis.
    pub fn new(url: &str, standing: Arc<Standing>) -> Result<Self, TierError> {
        Ok(Self { exchange: Exchange::new(url, standing)? })
    }

    /// The same, for those to whom an answer that is lost costs more than waiting: one that is late
    /// because this worker is busy, not because of Redis, is waited for so much longer.
    #[must_use]
    pub fn patient(self, patience: Duration) -> Self {
        Self { exchange: self.exchange.patient(patience) }
    }

    /// The stored bytes under each of `keys`, in their order, in one round trip.
    ///
    /// # Errors
    /// Redis was avoided (also while its invalidations are not known, see
    /// [`Standing::read_once_heard`]), too late, failed, or refused.
    pub async fn get(&self, keys: &[&CacheKey]) -> Result<Vec<Option<Bytes>>, TierError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        for key in keys {
            command.arg(names::entry(key));
        }
        self.read(command).await
    }

    /// Reads entries, if what they are worth is known.
    async fn read<T: FromRedisValue>(&self, command: Cmd) -> Result<T, TierError> {
        if !self.is_heard() {
            return Err(TierError::Avoided);
        }
        self.exchange.one(command, Effect::Reads).await
    }

    /// The journal was read to its end, beginning then: entries may be read for a while.
    pub fn heard(&self, began: Instant) {
        self.exchange.standing().heard(began);
    }

    /// Whether the journal was read a moment ago, so that entries may be.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.exchange.standing().is_heard(clock::monotonic())
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
    ) -> Result<(), TierError> {
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
    pub async fn put_many(&self, entries: &[(CacheKey, Bytes, Duration)]) -> Result<(), TierError> {
        let mut commands = Pipeline::with_capacity(entries.len());
        for (key, encoded, life) in entries {
            if let Some(life) = millis(*life) {
                commands.add_command(set(&names::entry(key), encoded, life)).ignore();
            }
        }
        if commands.is_empty() {
            return Ok(());
        }
        self.exchange.many(commands, Effect::Adds).await
    }

    /// Drops each of `keys`, in one round trip; says how many of them were held.
    ///
    /// # Errors
    /// As [`RedisTier::get`].
    pub async fn remove_many(&self, keys: &[&CacheKey]) -> Result<u64, TierError> {
        if keys.is_empty() {
            return Ok(0);
        }
        let mut command = redis::cmd("UNLINK");
        for key in keys {
            command.arg(names::entry(key));
        }
        self.exchange.one(command, Effect::Drops).await
    }

    /// Drops every entry whose key matches the glob; says how many. Locks, the journal and the sign
    /// of life match nothing.
    ///
    /// # Errors
    /// As [`RedisTier::get`]; some may have been dropped.
    pub async fn remove_matching(&self, glob: &str) -> Result<u64, TierError> {
        let pattern = names::entries_matching(glob);
        let walk = async {
            let (mut cursor, mut removed) = (0_u64, 0_u64);
            loop {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(&pattern).arg("COUNT").arg(STEP);
                let (next, keys): (u64, Vec<Vec<u8>>) =
                    self.exchange.one(scan, Effect::Reads).await?;
                if !keys.is_empty() {
                    let mut unlink = redis::cmd("UNLINK");
                    unlink.arg(keys);
                    let gone: u64 = self.exchange.one(unlink, Effect::Drops).await?;
                    removed = removed.saturating_add(gone);
                }
                if next == 0 {
                    return Ok(removed);
                }
                cursor = next;
            }
        };
        tokio::time::timeout(WALK_TIMEOUT, walk).await.unwrap_or(Err(TierError::TooLate))
    }

    /// Asks for a sign of life by a write, which also tells whether writes are taken (see
    /// [`RedisTier::refuses_writes`]): to be refused is a sign of life, and no error.
    ///
    /// # Errors
    /// As [`RedisTier::get`], but for refusals.
    pub async fn ping(&self) -> Result<(), TierError> {
        let written = self.exchange.one(set(names::ALIVE, b"1", ALIVE_MS), Effect::Probes).await;
        match written {
            Err(TierError::Refused(_)) => Ok(()),
            Ok(()) | Err(TierError::Avoided | TierError::TooLate | TierError::Failed(_)) => written,
        }
    }

    /// Whether Redis is being avoided.
    #[must_use]
    pub fn is_avoided(&self) -> bool {
        self.exchange.standing().breaker().is_open()
    }

    /// Whether Redis answers and takes no writes: the last one, of any worker, was refused.
    #[must_use]
    pub fn refuses_writes(&self) -> bool {
        self.exchange.standing().refuses_writes()
    }
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
