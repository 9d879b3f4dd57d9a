//! The part of a load that searches the tiers behind memory.
//!
//! Owns: what becomes of a find. A fresh one completes its key. A stale one is lifted into memory, and
//! either announced at once (stale-while-revalidate) or kept in hand for when the origin fails or
//! takes too long (stale-if-error); the load goes on. A tier that fails is a miss.

use std::sync::Arc;

use super::PendingKey;
use crate::cache::entry::Entry;
use crate::cache::freshness::Freshness;
use crate::cache::key::CacheKey;
use crate::cache::plan::Plan;
use crate::cache::tables::CacheTables;
use crate::cache::tiers::Tier;
use crate::clock::{self, Timestamp};

/// Looks into Redis, where another instance may have left something newer, and then into SQL for
/// what there is nothing of at all. Says whether Redis answered: one that does not is waited for once
/// in a load, not at each of its steps.
pub(super) async fn behind_memory(
    tables: &CacheTables,
    pending: &mut Vec<PendingKey>,
    plan: &Plan,
) -> bool {
    let kind = plan.lifetimes.kind;
    let wanted: Vec<bool> = pending.iter().map(|_| true).collect();
    let found = tables.find_in_redis(kind, &keys(pending, &wanted)).await;
    let redis_answered = found.is_some();
    take(tables, pending, &wanted, found.unwrap_or_default(), Tier::Redis);
    let wanted: Vec<bool> = pending.iter().map(|one| one.in_hand.is_none()).collect();
    let found = tables.find_in_database(kind, &keys(pending, &wanted)).await;
    take(tables, pending, &wanted, found, Tier::Database);
    redis_answered
}

fn keys<'a>(pending: &'a [PendingKey], wanted: &[bool]) -> Vec<&'a CacheKey> {
    let wanted = pending.iter().zip(wanted).filter(|(_, wanted)| **wanted);
    wanted.map(|(one, _)| one.leader.key()).collect()
}

/// Hands out what was found; keys that are completed leave the list.
fn take(
    tables: &CacheTables,
    pending: &mut Vec<PendingKey>,
    wanted: &[bool],
    found: Vec<Option<Entry>>,
    tier: Tier,
) {
    let now = clock::now();
    let mut found = found.into_iter();
    let mut wanted = wanted.iter();
    pending.retain_mut(|one| {
        let entry = if wanted.next() == Some(&true) { found.next().flatten() } else { None };
        entry.is_none_or(|entry| !completes(tables, one, entry, tier, now))
    });
}

/// Lifts a find into memory unless what is held there is as new; whether the key is completed.
pub(super) fn completes(
    tables: &CacheTables,
    one: &mut PendingKey,
    entry: Entry,
    tier: Tier,
    now: Timestamp,
) -> bool {
    let key = one.leader.key();
    if let Some((held, freshness)) = tables.look(key, now)
        && held.times.stored_at >= entry.times.stored_at
    {
        return settle(one, (held, Tier::Memory), freshness);
    }
    let entry = Arc::new(entry);
    let freshness = tables.judge(key, &entry, now);
    if freshness == Freshness::Dead {
        return false;
    }
    tables.memory.put(key.clone(), Arc::clone(&entry));
    if freshness.is_fresh() {
        tables.memo.clear(key);
    }
    settle(one, (entry, tier), freshness)
}

fn settle(one: &mut PendingKey, held: (Arc<Entry>, Tier), freshness: Freshness) -> bool {
    let newer = one
        .in_hand
        .as_ref()
        .is_none_or(|(before, _)| before.times.stored_at < held.0.times.stored_at);
    if newer {
        one.in_hand = Some(held);
    }
    match freshness {
        // What was in hand before is what this load is to renew: the same again completes nothing.
        Freshness::Fresh => one.announce_in_hand(),
        Freshness::Due => newer && one.announce_in_hand(),
        Freshness::StaleWhileRevalidate => {
            one.announce_in_hand();
            false
        }
        Freshness::StaleIfError | Freshness::Dead => false,
    }
}
