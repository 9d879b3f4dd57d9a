//! Storing what may be older than what Redis holds.
//!
//! Owns: the comparison, made where the entries are so that nothing comes between it and the store:
//! what was missed while Redis was away, and what another tier had, must not take the place of what
//! another instance has brought since. Refuses: to judge what is no entry; that is overwritten.

use std::time::Duration;

use crate::redis::{self, Effect};
use bytes::Bytes;

use super::{RedisTier, millis, names};
use crate::cache::key::CacheKey;
use crate::failure::StoreError;

/// Stores each value with its life, but not over an entry of the same form that was stored later: the
/// time is what bytes 9 to 16 say, the lowest first. What `SET` refuses is the script's answer as it
/// is, so that its code can be told.
const PUT_NEWER: &str = "\
    local function at(v,form) \
      if type(v)~='string' or #v<16 or v:sub(1,4)~=form then return -1 end \
      local n=0 for i=16,9,-1 do n=n*256+v:byte(i) end return n \
    end \
    for i,k in ipairs(KEYS) do \
      local v=ARGV[2*i-1] local form=v:sub(1,4) \
      if at(redis.pcall('GETRANGE',k,0,15),form)<=at(v,form) then \
        local done=redis.pcall('SET',k,v,'PX',ARGV[2*i]) \
        if done.err then return done end \
      end \
    end \
    return redis.status_reply('OK')";

impl RedisTier {
    /// Stores encoded entries for as long as each says, in one round trip, unless Redis holds what
    /// was stored later. What has no time left to live is left out.
    ///
    /// # Errors
    /// As [`RedisTier::get`]; some may have been stored.
    pub async fn put_newer(
        &self,
        entries: &[(CacheKey, Bytes, Duration)],
    ) -> Result<(), StoreError> {
        let living = entries.iter().filter_map(|(key, encoded, life)| {
            millis(*life).map(|life| (names::entry(key), encoded, life))
        });
        let living: Vec<_> = living.collect();
        if living.is_empty() {
            return Ok(());
        }
        let mut command = redis::cmd("EVAL");
        command.arg(PUT_NEWER).arg(living.len());
        for (name, _, _) in &living {
            command.arg(name);
        }
        for (_, encoded, life) in &living {
            command.arg(encoded.as_ref()).arg(life);
        }
        self.redis.one(command, Effect::Adds).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::{Entry, Representation, Times};
    use crate::clock::Timestamp;

    #[test]
    fn the_script_finds_the_time_where_an_entry_has_it() {
        let at = Timestamp::from_millis(0x0102_0304_0506_0708);
        let times = Times { stored_at: at, fresh_until: at, revalidate_until: at, stale_until: at };
        let encoded = Entry::new(Representation::json(Bytes::new()), times, false, vec![])
            .encode(&CacheKey::new("k"));
        assert_eq!(encoded[8..16], at.as_millis().to_le_bytes());
    }
}
