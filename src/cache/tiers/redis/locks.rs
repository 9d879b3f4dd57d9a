//! One load for several instances: an instance that loads a key holds its lock in Redis.
//!
//! Owns: holding a lock for a bounded time, letting go of one's own only, and looking for what
//! another instance loads. Best effort: a lock is a hint that saves calls, never a promise. Without
//! Redis there is none, and every instance loads for itself.

use std::time::Duration;

use crate::redis::keys::LOCK;
use crate::redis::{self, Cmd, Effect, Pipeline};
use bytes::Bytes;

use super::{RedisTier, entry_name, millis};
use crate::cache::key::CacheKey;
use crate::failure::StoreError;

/// Drops each lock that carries the token, in one atomic step. What holds another type, or another
/// token, is not ours. Sent as it is: at its size, asking by its hash first would save nothing.
const RELEASE: &str = "local n=0 for _,k in ipairs(KEYS) do \
    if redis.pcall('GET',k)==ARGV[1] then n=n+redis.call('DEL',k) end end return n";

impl RedisTier {
    /// Tries to hold the lock of each of `keys` for `life` under `token`, in one round trip; says
    /// for each, in their order, whether it is held by this call.
    ///
    /// # Errors
    /// Redis was avoided, too late, failed, or refused; some may be held all the same until their
    /// life is over.
    pub async fn try_hold(
        &self,
        keys: &[&CacheKey],
        token: &str,
        life: Duration,
    ) -> Result<Vec<bool>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        // A lock without an end would outlive who holds it.
        let life = millis(life).unwrap_or(1);
        let mut commands = Pipeline::with_capacity(keys.len());
        for key in keys {
            commands.cmd("SET").arg(name(key)).arg(token).arg("NX").arg("PX").arg(life);
        }
        let held: Vec<Option<String>> = self.redis.many(commands, Effect::Claims).await?;
        Ok(held.into_iter().map(|answer| answer.is_some()).collect())
    }

    /// Lets go of those locks of `keys` that `token` holds; says how many these were.
    ///
    /// # Errors
    /// As [`RedisTier::try_hold`]; then they end with their life.
    pub async fn release(&self, keys: &[&CacheKey], token: &str) -> Result<u64, StoreError> {
        if keys.is_empty() {
            return Ok(0);
        }
        let mut command = redis::cmd("EVAL");
        command.arg(RELEASE).arg(keys.len());
        name_locks(&mut command, keys);
        command.arg(token);
        self.redis.one(command, Effect::Drops).await
    }

    /// For those who wait for another instance's load: what is stored under each of `keys` and
    /// whether its lock is still held, in their order and as of one moment.
    ///
    /// # Errors
    /// As [`RedisTier::get`].
    pub async fn peek(&self, keys: &[&CacheKey]) -> Result<Vec<(Option<Bytes>, bool)>, StoreError> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut command = redis::cmd("MGET");
        for key in keys {
            command.arg(entry_name(key));
        }
        name_locks(&mut command, keys);
        let mut found: Vec<Option<Bytes>> = self.redis.one(command, Effect::Reads).await?;
        let locks = found.split_off(keys.len().min(found.len()));
        Ok(found.into_iter().zip(locks.into_iter().map(|lock| lock.is_some())).collect())
    }
}

/// Where the lock of `key` is kept.
pub(super) fn name(key: &CacheKey) -> String {
    format!("{LOCK}{key}")
}

fn name_locks(command: &mut Cmd, keys: &[&CacheKey]) {
    for key in keys {
        command.arg(name(key));
    }
}
