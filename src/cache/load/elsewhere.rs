//! The part of a load that asks whether another instance loads the same already.
//!
//! Owns: taking the keys' locks in Redis, waiting at most [`WAIT`] for what others load, and letting
//! go. A lock spares a call and promises nothing. A renewal is not waited for: what is in hand is
//! served, and the next search finds what the other instance brings. Without Redis every instance
//! loads for itself.

use std::time::Duration;

use super::{PendingKey, completes};
use crate::cache::key::CacheKey;
use crate::cache::tables::CacheTables;
use crate::cache::tiers::Tier;
use crate::clock::{self, Timestamp};

/// Longest wait for what another instance loads.
const WAIT: Duration = Duration::from_secs(1);
/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(40);
/// What is held longer than its load could take belongs to an instance that died.
const GRACE: Duration = Duration::from_secs(1);
/// How long a renewal is left to the instance that has begun it.
const LEAVE: Duration = Duration::from_secs(2);

/// The locks of the keys that this load has claimed.
pub(super) struct Claim {
    token: String,
    keys: Vec<CacheKey>,
}

/// Takes the locks of all keys for at most `within`; those that another instance holds move to the
/// list that is returned.
pub(super) async fn claim(
    tables: &CacheTables,
    pending: &mut Vec<PendingKey>,
    within: Duration,
    redis_answered: bool,
) -> (Claim, Vec<PendingKey>) {
    let mut claim = Claim { token: format!("{:032x}", fastrand::u128(..)), keys: Vec::new() };
    let Some(redis) = tables.redis.as_ref().filter(|_| redis_answered) else {
        return (claim, Vec::new());
    };
    claim.keys = pending.iter().map(|one| one.key().clone()).collect();
    let wanted: Vec<&CacheKey> = claim.keys.iter().collect();
    // A lock whose answer was lost may be ours: it is let go of like the others.
    let held = redis.try_hold(&wanted, &claim.token, within + GRACE).await.unwrap_or_default();
    let mut held = held.into_iter();
    let theirs = pending.extract_if(.., |_| !held.next().unwrap_or(true)).collect();
    (claim, theirs)
}

/// Lets go of what was claimed, whoever holds it by now.
pub(super) async fn release(tables: &CacheTables, claim: Claim) {
    if let Some(redis) = tables.redis.as_ref().filter(|_| !claim.keys.is_empty()) {
        let keys: Vec<&CacheKey> = claim.keys.iter().collect();
        // What cannot be let go of ends by itself.
        drop(redis.release(&keys, &claim.token).await);
    }
}

/// Leaves renewals to the instance that has begun them; what is left has nothing to serve.
pub(super) fn leave_renewals(tables: &CacheTables, pending: &mut Vec<PendingKey>) {
    let then = clock::monotonic() + LEAVE;
    for one in pending.extract_if(.., |one| one.in_hand.is_some()) {
        tables.memo.put_off(one.key(), then);
        one.end(None);
    }
}

/// Waits for what another instance loads. What it brings completes a key; what it gave up, or takes
/// too long for, is left in the list. What was stored before `since` is not what is waited for.
pub(super) async fn wait(tables: &CacheTables, pending: &mut Vec<PendingKey>, since: Timestamp) {
    let Some(redis) = &tables.redis else { return };
    let until = clock::monotonic() + WAIT;
    let mut given_up = Vec::new();
    while !pending.is_empty() && clock::monotonic() < until {
        tokio::time::sleep(LOOK_EVERY).await;
        let keys: Vec<&CacheKey> = pending.iter().map(PendingKey::key).collect();
        let Ok(found) = redis.peek(&keys).await else { break };
        let (mut found, now) = (found.into_iter(), clock::now());
        for mut one in std::mem::take(pending) {
            let (bytes, still_held) = found.next().unwrap_or_default();
            let entry = bytes.and_then(|bytes| tables.decoded(Tier::Redis, one.key(), bytes));
            let entry = entry.filter(|entry| entry.times.stored_at >= since);
            if entry.is_some_and(|entry| completes(tables, &mut one, entry, Tier::Redis, now)) {
                continue;
            }
            if still_held { pending.push(one) } else { given_up.push(one) }
        }
    }
    pending.append(&mut given_up);
}
