//! The second tier: entries in Redis, which may be absent, slow or broken at any time.
//!
//! Owns: what is asked of Redis for cached entries and for the locks of loads, and their names.
//! `crate::redis` bounds every command and refuses at once while Redis is broken: then every key is a
//! miss here, and every instance loads for itself. A key that holds something else is a miss; the next
//! store overwrites it. A lock is a hint that saves calls, never a promise.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Row;
use crate::cache::key::CacheKey;
use crate::clock;
use crate::failure::StoreError;
use crate::redis::keys::{ENTRY, lock_of};
use crate::redis::{self, Cmd, Effect, Node, Pipeline, Redis};

/// Largest entry that is stored here: all commands of a worker share one connection, and what is
/// larger would delay the others beyond their deadline.
pub(in crate::cache) const LARGEST: usize = 1 << 20;
const WALK_TIMEOUT: Duration = Duration::from_secs(5);
const STEP: u32 = 1_000;
/// Steps of a look that does not have to see everything.
const LOOKS: usize = 10;
/// Keys in one round trip of a look: what other commands wait behind is below 300 kB.
const AT_ONCE: usize = 100;

/// Drops each lock that carries the token, in one atomic step. What holds another type, or another
/// token, is not ours. Sent as it is: at its size, asking by its hash first would save nothing.
const RELEASE: &str = "local n=0 for _,k in ipairs(KEYS) do \
    if redis.pcall('GET',k)==ARGV[1] then n=n+redis.call('DEL',k) end end return n";

/// A worker's way to the entries in Redis. Its methods fail when Redis was avoided, too late, failed,
/// or refused; what was asked for may have been done all the same.
#[derive(Debug, Clone)]
pub struct RedisTier {
    pub client: Redis,
}

impl RedisTier {
    /// The stored bytes under each of `keys`, in their order, in one round trip.
    pub async fn get(&self, keys: &[&CacheKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        self.client.one(named("MGET", keys), Effect::Reads).await
    }

    /// Stores rows for as long as they are usable, in one round trip; those that are not are left out.
    pub async fn put(&self, rows: &[Row]) -> Result<(), StoreError> {
        let now = clock::now();
        let mut commands = Pipeline::with_capacity(rows.len());
        for row in rows {
            if let Some(life) = millis(row.stale_until.since(now)) {
                let name = entry(&row.key);
                commands.cmd("SET").arg(name).arg(&*row.entry).arg("PX").arg(life).ignore();
            }
        }
        if commands.is_empty() {
            return Ok(());
        }
        self.client.many(commands, Effect::Adds).await
    }

    /// Drops each of `keys`, in one round trip; says how many of them were held.
    pub async fn remove(&self, keys: &[&CacheKey]) -> Result<u64, StoreError> {
        self.client.one(named("UNLINK", keys), Effect::Drops).await
    }

    /// Drops entries whose key matches the glob, for a bounded time; how many, and whether these were
    /// all. Locks and the sign of life match nothing.
    pub async fn remove_matching(&self, glob: &str) -> Result<(u64, bool), StoreError> {
        let end = clock::monotonic() + WALK_TIMEOUT;
        let (mut removed, mut all, mut problem) = (0_u64, true, None);
        for part in self.client.parts().await? {
            match self.remove_in_part(part.as_ref(), glob, end).await {
                Ok((gone, complete)) => {
                    removed = removed.saturating_add(gone);
                    all &= complete;
                }
                // The others are walked all the same.
                Err(error) => problem = problem.or(Some(error)),
            }
        }
        problem.map_or(Ok((removed, all)), Err)
    }

    async fn remove_in_part(
        &self,
        part: Option<&Node>,
        glob: &str,
        end: Instant,
    ) -> Result<(u64, bool), StoreError> {
        let (mut cursor, mut removed) = (0_u64, 0_u64);
        while clock::monotonic() < end {
            let step = scan(cursor, glob);
            let (next, keys): (u64, Vec<Vec<u8>>) =
                self.client.one_of_part(part, step, Effect::Reads).await?;
            if !keys.is_empty() {
                let mut unlink = redis::cmd("UNLINK");
                unlink.arg(keys);
                let gone: u64 = self.client.one(unlink, Effect::Drops).await?;
                removed = removed.saturating_add(gone);
            }
            if next == 0 {
                return Ok((removed, true));
            }
            cursor = next;
        }
        Ok((removed, false))
    }

    /// Keys that match the glob, and whether these are all: of a large Redis only a part is looked at.
    pub async fn keys(&self, glob: &str) -> Result<(Vec<CacheKey>, bool), StoreError> {
        let (mut found, mut all) = (BTreeSet::new(), true);
        for part in self.client.parts().await? {
            all &= self.keys_in_part(part.as_ref(), glob, &mut found).await?;
        }
        Ok((found.into_iter().collect(), all))
    }

    /// Finds keys in one part; whether these are all.
    async fn keys_in_part(
        &self,
        part: Option<&Node>,
        glob: &str,
        found: &mut BTreeSet<CacheKey>,
    ) -> Result<bool, StoreError> {
        let mut cursor = 0_u64;
        for _ in 0..LOOKS {
            let step = scan(cursor, glob);
            let (next, names): (u64, Vec<Vec<u8>>) =
                self.client.one_of_part(part, step, Effect::Reads).await?;
            let names = names.into_iter().filter_map(|name| String::from_utf8(name).ok());
            found.extend(names.filter_map(|name| Some(CacheKey::new(name.strip_prefix(ENTRY)?))));
            if next == 0 {
                return Ok(true);
            }
            cursor = next;
        }
        Ok(false)
    }

    /// The first `bytes` bytes of what is stored under each of `keys`, in their order, and its size. What
    /// holds another type is as if it were not there.
    pub async fn beginnings(
        &self,
        keys: &[CacheKey],
        bytes: usize,
    ) -> Result<Vec<(Bytes, u64)>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        for keys in keys.chunks(AT_ONCE) {
            match self.beginnings_at_once(keys, bytes).await {
                Err(StoreError::Refused(_)) => {}
                answered => {
                    found.extend(answered?);
                    continue;
                }
            }
            for key in keys {
                match self.beginnings_at_once(std::slice::from_ref(key), bytes).await {
                    Err(StoreError::Refused(_)) => found.push((Bytes::new(), 0)),
                    one => found.extend(one?),
                }
            }
        }
        Ok(found)
    }

    async fn beginnings_at_once(
        &self,
        keys: &[CacheKey],
        bytes: usize,
    ) -> Result<Vec<(Bytes, u64)>, StoreError> {
        let mut commands = Pipeline::with_capacity(2 * keys.len());
        for key in keys {
            let name = entry(key);
            commands.cmd("GETRANGE").arg(&name).arg(0).arg(bytes.saturating_sub(1));
            commands.cmd("STRLEN").arg(&name);
        }
        self.client.many(commands, Effect::Reads).await
    }

    /// Tries to hold the lock of each of `keys` for `life` under `token`, in one round trip; says
    /// for each, in their order, whether it is held by this call.
    pub async fn try_hold(
        &self,
        keys: &[&CacheKey],
        token: &str,
        life: Duration,
    ) -> Result<Vec<bool>, StoreError> {
        // A lock without an end would outlive who holds it.
        let life = millis(life).unwrap_or(1);
        let mut commands = Pipeline::with_capacity(keys.len());
        for key in keys {
            let name = lock_of(&entry(key));
            commands.cmd("SET").arg(name).arg(token).arg("NX").arg("PX").arg(life);
        }
        let held: Vec<Option<String>> = self.client.many(commands, Effect::Claims).await?;
        Ok(held.into_iter().map(|answer| answer.is_some()).collect())
    }

    /// Lets go of those locks of `keys` that `token` holds; says how many these were.
    pub async fn release(&self, keys: &[&CacheKey], token: &str) -> Result<u64, StoreError> {
        let mut command = redis::cmd("EVAL");
        command.arg(RELEASE).arg(keys.len());
        for key in keys {
            command.arg(lock_of(&entry(key)));
        }
        command.arg(token);
        self.client.one(command, Effect::Drops).await
    }

    /// For those who wait for another instance's load: what is stored under each of `keys` and
    /// whether its lock is still held, in their order and as of one moment.
    pub async fn peek(&self, keys: &[&CacheKey]) -> Result<Vec<(Option<Bytes>, bool)>, StoreError> {
        let mut command = named("MGET", keys);
        for key in keys {
            command.arg(lock_of(&entry(key)));
        }
        let mut found: Vec<Option<Bytes>> = self.client.one(command, Effect::Reads).await?;
        let locks = found.split_off(keys.len().min(found.len()));
        Ok(found.into_iter().zip(locks.into_iter().map(|lock| lock.is_some())).collect())
    }
}

/// One step of a walk: it answers where the next begins, 0 for nowhere, and names of entries that match.
fn scan(cursor: u64, glob: &str) -> Cmd {
    let mut scan = redis::cmd("SCAN");
    scan.arg(cursor).arg("MATCH").arg(format!("{ENTRY}{glob}")).arg("COUNT").arg(STEP);
    scan
}

fn named(command: &str, keys: &[&CacheKey]) -> Cmd {
    let mut command = redis::cmd(command);
    for key in keys {
        command.arg(entry(key));
    }
    command
}

/// The name under which an entry is stored.
fn entry(key: &CacheKey) -> String {
    format!("{ENTRY}{key}")
}

/// Milliseconds of a life; `None` when there is none left.
fn millis(life: Duration) -> Option<u64> {
    u64::try_from(life.as_millis()).ok().filter(|millis| *millis > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::key::matches;

    #[test]
    fn a_pattern_for_everything_matches_entries_only() {
        let everything = format!("{ENTRY}*");
        assert!(matches(&everything, &format!("{ENTRY}products:search:1")));
        for other in [&lock_of(&format!("{ENTRY}products:search:1")), "breakwater:2:alive"] {
            assert!(!matches(&everything, other));
        }
    }

    #[test]
    fn a_life_is_counted_in_milliseconds() {
        assert_eq!(millis(Duration::ZERO), None);
        assert_eq!(millis(Duration::from_micros(999)), None);
        assert_eq!(millis(Duration::from_millis(1)), Some(1));
    }
}
