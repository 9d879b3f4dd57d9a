//! The part of a flight that looks into the tiers behind memory.
//!
//! Owns: what becomes of a find. Fresh finds land. What is stale is lifted into memory, and either
//! announced at once (stale-while-revalidate) or kept in hand for when loading fails or takes too
//! long (stale-if-error); the flight goes on for it. A tier that fails is a miss.

use std::sync::Arc;

use super::Leg;
use crate::cache::entry::Entry;
use crate::cache::freshness::Freshness;
use crate::cache::key::CacheKey;
use crate::cache::plan::Plan;
use crate::cache::tables::{CacheTables, Kept};
use crate::cache::tiers::Tier;
use crate::clock::{self, Timestamp};

/// What looking behind memory came to.
pub(super) struct Searched {
    /// What SQL had.
    pub(super) lifted: Vec<Kept>,
    /// Redis answered. Who waits for a flight waits for a Redis that does not once, not for each
    /// thing the flight wants of it.
    pub(super) redis_answered: bool,
}

/// Looks into Redis, where another instance may have left something newer, and then into SQL for
/// what there is nothing of at all.
pub(super) async fn behind_memory(
    tables: &CacheTables,
    legs: &mut Vec<Leg>,
    plan: &Plan,
) -> Searched {
    let kind = plan.lifetimes.kind;
    let wanted: Vec<bool> = legs.iter().map(|_| true).collect();
    let found = tables.find_in_redis(kind, &keys(legs, &wanted)).await;
    let redis_answered = found.is_some();
    take(tables, legs, &wanted, found.unwrap_or_default(), Tier::Redis);
    let wanted: Vec<bool> = legs.iter().map(|leg| leg.in_hand.is_none()).collect();
    let wanted_keys = keys(legs, &wanted);
    let found = tables.find_in_database(kind, &wanted_keys).await;
    let had: Vec<CacheKey> = wanted_keys
        .into_iter()
        .zip(&found)
        .filter(|(_, entry)| entry.is_some())
        .map(|(key, _)| key.clone())
        .collect();
    take(tables, legs, &wanted, found, Tier::Database);
    // By now they are in memory, unless something newer is.
    let lifted = had.into_iter().filter_map(|key| {
        let entry = tables.memory.get(&key)?;
        Some(Kept { key, entry, question: None })
    });
    Searched { lifted: lifted.collect(), redis_answered }
}

/// Gives Redis what SQL had, for other instances; not what has been loaded anew meanwhile.
pub(super) async fn lift_to_redis(tables: &CacheTables, plan: &Plan, mut lifted: Vec<Kept>) {
    lifted.retain(|kept| {
        tables.memory.get(&kept.key).is_some_and(|now| Arc::ptr_eq(&now, &kept.entry))
    });
    if !lifted.is_empty() {
        tables.lift_to_redis(plan.lifetimes.kind, &lifted).await;
    }
}

fn keys<'a>(legs: &'a [Leg], wanted: &[bool]) -> Vec<&'a CacheKey> {
    let wanted = legs.iter().zip(wanted).filter(|(_, wanted)| **wanted);
    wanted.map(|(leg, _)| leg.pilot.key()).collect()
}

/// Hands out what was found; legs that have landed leave the list.
fn take(
    tables: &CacheTables,
    legs: &mut Vec<Leg>,
    wanted: &[bool],
    found: Vec<Option<Entry>>,
    tier: Tier,
) {
    let now = clock::now();
    let mut found = found.into_iter();
    let mut wanted = wanted.iter();
    legs.retain_mut(|leg| {
        let entry = if wanted.next() == Some(&true) { found.next().flatten() } else { None };
        entry.is_none_or(|entry| !lands(tables, leg, entry, tier, now))
    });
}

/// Lifts a find into memory unless what is held there is as new; whether the leg has landed.
pub(super) fn lands(
    tables: &CacheTables,
    leg: &mut Leg,
    entry: Entry,
    tier: Tier,
    now: Timestamp,
) -> bool {
    let key = leg.pilot.key();
    if let Some((held, freshness)) = tables.look(key, now)
        && held.times.stored_at >= entry.times.stored_at
    {
        return settle(leg, (held, Tier::Memory), freshness);
    }
    let entry = Arc::new(entry);
    let freshness = tables.judge(key, &entry, now);
    if freshness == Freshness::Dead {
        return false;
    }
    tables.memory.put(key.clone(), Arc::clone(&entry));
    settle(leg, (entry, tier), freshness)
}

fn settle(leg: &mut Leg, held: (Arc<Entry>, Tier), freshness: Freshness) -> bool {
    let newer = leg
        .in_hand
        .as_ref()
        .is_none_or(|(before, _)| before.times.stored_at < held.0.times.stored_at);
    if newer {
        leg.in_hand = Some(held);
    }
    match freshness {
        // What was in hand before is what this flight is to renew: the same again is no landing.
        Freshness::Fresh => leg.announce_in_hand(),
        Freshness::Due => newer && leg.announce_in_hand(),
        Freshness::StaleWhileRevalidate => {
            leg.announce_in_hand();
            false
        }
        Freshness::StaleIfError | Freshness::Dead => false,
    }
}
