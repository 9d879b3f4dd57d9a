//! The way of a miss: Redis, then SQL, then the loader; what is found is kept on the way back.
//!
//! Owns: one flight, from take-off to the last tier stored. It belongs to no caller. What is stale
//! is announced at once and the flight goes on as a refresh. A failure is announced only to those
//! who have nothing; for the others it holds further refreshes back a while.

use std::sync::Arc;
use std::time::Duration;

use slog::info;

use super::entry::{Entry, Verdict};
use super::flights::{Boarding, Pilot, Ticket};
use super::freshness::{Freshness, judge};
use super::key::CacheKey;
use super::plan::{Loaded, Plan};
use super::tables::CacheTables;
use super::tiers::Tier;
use crate::clock::{self, Timestamp};
use crate::failure::{Failure, FailureKind};
use crate::supervision::spawn_watched;

/// Shortest time between two failed refreshes of one key, before jitter.
const REFRESH_PAUSE: Duration = Duration::from_secs(2);

/// A key that no usable entry was found for, and its place in the caller's list.
struct Leg {
    place: usize,
    pilot: Pilot,
    announced: bool,
}

/// A place on the flight for a key, and whether it was somebody else's flight already.
#[derive(Debug)]
pub(super) struct Boarded {
    pub(super) ticket: Ticket,
    pub(super) collapsed: bool,
}

/// Boards the flights of `keys`; those nobody flies for yet take off together, on this thread.
pub(super) fn take_off(
    tables: &CacheTables,
    keys: &[(usize, CacheKey)],
    plan: &Plan,
) -> Vec<Boarded> {
    let mut legs = Vec::new();
    let mut boarded = Vec::with_capacity(keys.len());
    for (place, key) in keys {
        match tables.flights().board(key) {
            Boarding::Passenger(ticket) => boarded.push(Boarded { ticket, collapsed: true }),
            Boarding::Pilot(pilot, ticket) => {
                if let Some(entry) = landed_meanwhile(tables, key, plan) {
                    pilot.announce(Ok((entry, Tier::Memory)));
                } else {
                    legs.push(Leg { place: *place, pilot, announced: false });
                }
                boarded.push(Boarded { ticket, collapsed: false });
            }
        }
    }
    if !legs.is_empty() {
        let journey = fly(tables.clone(), legs, plan.clone());
        spawn_watched("cache-flight", Arc::clone(&tables.observer), journey);
    }
    boarded
}

/// What spares a flight: another may have landed, or failed to refresh, between the caller's look
/// into memory and now. Whoever lands puts into memory before the key is free, so that a new pilot
/// who looks again finds it.
fn landed_meanwhile(tables: &CacheTables, key: &CacheKey, plan: &Plan) -> Option<Arc<Entry>> {
    if plan.reload {
        return None;
    }
    let now = clock::now();
    let (entry, freshness) = tables.look(key, now)?;
    (freshness.is_fresh() || !entry.may_refresh(now)).then_some(entry)
}

async fn fly(tables: CacheTables, mut legs: Vec<Leg>, plan: Plan) {
    let journey = async {
        if !plan.reload {
            look_behind(&tables, &mut legs, &plan, Tier::Redis).await;
            look_behind(&tables, &mut legs, &plan, Tier::Database).await;
        }
        load(&tables, &mut legs, &plan).await;
    };
    if tokio::time::timeout(plan.within, journey).await.is_err() {
        let late = Failure::new(FailureKind::DeadlineExceeded, "the flight took too long");
        give_up(&tables, &mut legs, &late);
    }
}

/// Looks into a tier behind memory. Fresh finds land; stale ones are announced and flown on for.
async fn look_behind(tables: &CacheTables, legs: &mut Vec<Leg>, plan: &Plan, tier: Tier) {
    if legs.is_empty() {
        return;
    }
    let keys: Vec<&CacheKey> = legs.iter().map(|leg| leg.pilot.key()).collect();
    let kind = plan.lifetimes.kind;
    let found = match tier {
        Tier::Redis => tables.find_in_redis(kind, &keys).await,
        Tier::Database => tables.find_in_database(kind, &keys).await,
        Tier::Memory | Tier::Upstream => return,
    };
    let now = clock::now();
    let mut going_on = Vec::new();
    for (mut leg, entry) in std::mem::take(legs).into_iter().zip(found) {
        let freshness =
            entry.map_or(Freshness::Dead, |entry| promote(tables, &mut leg, entry, tier, now));
        if !freshness.is_fresh() {
            going_on.push(leg);
        }
    }
    *legs = going_on;
}

/// Lifts a find into memory and announces it, or what memory holds if that is usable and newer;
/// says how fresh what was announced is.
fn promote(
    tables: &CacheTables,
    leg: &mut Leg,
    entry: Entry,
    tier: Tier,
    now: Timestamp,
) -> Freshness {
    let key = leg.pilot.key();
    let held =
        tables.look(key, now).filter(|(held, _)| held.times.stored_at > entry.times.stored_at);
    let (entry, tier, freshness) = if let Some((held, freshness)) = held {
        (held, Tier::Memory, freshness)
    } else {
        let freshness = judge(&entry, Verdict::Valid, 0, now);
        let entry = Arc::new(entry);
        tables.memory.put(key.clone(), Arc::clone(&entry));
        (entry, tier, freshness)
    };
    leg.pilot.announce(Ok((entry, tier)));
    leg.announced = true;
    freshness
}

async fn load(tables: &CacheTables, legs: &mut Vec<Leg>, plan: &Plan) {
    if legs.is_empty() {
        return;
    }
    let places = legs.iter().map(|leg| leg.place).collect();
    match (plan.loader)(places, plan.urgency).await {
        Ok(loaded) if loaded.len() == legs.len() => land(tables, legs, plan, loaded).await,
        Ok(loaded) => {
            let reason = format!("asked for {} keys, loaded {}", legs.len(), loaded.len());
            give_up(tables, legs, &Failure::new(FailureKind::Internal, reason));
        }
        Err(failure) => give_up(tables, legs, &failure),
    }
}

/// Announces everything first, so that no caller waits for a store.
async fn land(tables: &CacheTables, legs: &mut Vec<Leg>, plan: &Plan, loaded: Vec<Loaded>) {
    let now = clock::now();
    let mut landed = Vec::with_capacity(legs.len());
    for (leg, loaded) in legs.drain(..).zip(loaded) {
        let entry = Arc::new(plan.lifetimes.stamp(loaded, now, fastrand::f64()));
        tables.memory.put(leg.pilot.key().clone(), Arc::clone(&entry));
        leg.pilot.announce(Ok((Arc::clone(&entry), Tier::Upstream)));
        landed.push((leg.pilot.key().clone(), entry));
        // The pilot goes here: the key is in memory, whoever comes now finds it there.
    }
    for (key, entry) in &landed {
        tables.store(plan.lifetimes.kind, key, entry).await;
    }
}

/// Tells those who have nothing, and keeps what is stale from being refreshed again at once.
fn give_up(tables: &CacheTables, legs: &mut Vec<Leg>, failure: &Failure) {
    let now = clock::now();
    let pause = failure.retry_after.unwrap_or_default().max(REFRESH_PAUSE);
    let pause = pause.mul_f64(1.0 + 0.5 * fastrand::f64());
    for leg in legs.drain(..) {
        let held = tables.look(leg.pilot.key(), now);
        if let Some((entry, _)) = &held {
            entry.hold_refresh(now.plus(pause));
            info!(tables.log, "refresh failed, stale entry kept";
                "key" => %leg.pilot.key(), "reason" => &failure.reason);
        }
        if !leg.announced {
            leg.pilot.announce(match held {
                Some((entry, _)) => Ok((entry, Tier::Memory)),
                None => Err(failure.clone()),
            });
        }
    }
}
