//! The part of a flight that asks whether another instance loads the same already.
//!
//! Owns: taking the keys' locks in Redis, waiting a bounded time for what others load, and letting
//! go. Best effort: a lock spares a call and promises nothing. Refuses: to wait for a renewal (what
//! is in hand is served, and what the other instance brings is found next time), and to wait longer
//! than [`WAIT`]. Without Redis every instance loads for itself.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::Leg;
use super::search::lands;
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

/// Distinguishes this process from others.
static PROCESS: LazyLock<u64> = LazyLock::new(|| fastrand::u64(..));
static CLAIMS: AtomicU64 = AtomicU64::new(0);

/// The locks of the keys that this flight loads.
pub(super) struct Claim {
    token: String,
    keys: Vec<CacheKey>,
}

/// Takes the locks of all legs for at most `within`; those that another instance holds move to the
/// list that is returned.
pub(super) async fn claim(
    tables: &CacheTables,
    legs: &mut Vec<Leg>,
    within: Duration,
    redis_answered: bool,
) -> (Claim, Vec<Leg>) {
    let number = CLAIMS.fetch_add(1, Ordering::Relaxed);
    let token = format!("{:016x}-{number}", *PROCESS);
    let Some(redis) = tables.redis.as_ref().filter(|_| redis_answered) else {
        return (Claim { token, keys: Vec::new() }, Vec::new());
    };
    let keys: Vec<CacheKey> = legs.iter().map(|leg| leg.pilot.key().clone()).collect();
    let wanted: Vec<&CacheKey> = keys.iter().collect();
    // A lock whose answer was lost may be ours: it is let go of like the others.
    let held = redis.try_hold(&wanted, &token, within + GRACE).await.unwrap_or_default();
    let mut held = held.into_iter();
    let (mine, theirs) = legs.drain(..).partition(|_| held.next().unwrap_or(true));
    *legs = mine;
    (Claim { token, keys }, theirs)
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
pub(super) fn leave_renewals(legs: &mut Vec<Leg>) {
    let then = clock::monotonic() + LEAVE;
    legs.retain_mut(|leg| {
        let Some((entry, _)) = &leg.in_hand else { return true };
        entry.hold_refresh(then);
        leg.announce_in_hand();
        false
    });
}

/// Waits for what another instance loads. What it brings lands; what it gave up, or takes too long
/// for, is left in the list. What was stored before `since` is not what is waited for.
pub(super) async fn wait(tables: &CacheTables, legs: &mut Vec<Leg>, since: Timestamp) {
    let Some(redis) = &tables.redis else { return };
    let until = clock::monotonic() + WAIT;
    let mut waiting = std::mem::take(legs);
    while !waiting.is_empty() && clock::monotonic() < until {
        tokio::time::sleep(LOOK_EVERY).await;
        let keys: Vec<&CacheKey> = waiting.iter().map(|leg| leg.pilot.key()).collect();
        let Ok(found) = redis.peek(&keys).await else { break };
        let mut found = found.into_iter();
        let now = clock::now();
        for mut leg in std::mem::take(&mut waiting) {
            let (bytes, still_held) = found.next().unwrap_or((None, false));
            let key = leg.pilot.key();
            let entry = bytes.and_then(|bytes| tables.decoded(Tier::Redis, key, bytes));
            let entry = entry.filter(|entry| entry.times.stored_at >= since);
            if entry.is_some_and(|entry| lands(tables, &mut leg, entry, Tier::Redis, now)) {
                continue;
            }
            if still_held { waiting.push(leg) } else { legs.push(leg) }
        }
    }
    legs.append(&mut waiting);
}
