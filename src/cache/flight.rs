//! The way of a miss: Redis, then SQL, then the loader; what is found is kept on the way back.
//!
//! Owns: one flight, from take-off to the last tier stored. It belongs to no caller. What is stale
//! is announced at once and the flight goes on as a refresh. A failure is announced only to those
//! who have nothing; for the others it holds further refreshes back a while.

use std::sync::Arc;
use std::time::Duration;

use slog::info;

use super::entry::Entry;
use super::flights::{Boarding, Pilot, Ticket};
use super::freshness::{Freshness, judge};
use super::key::CacheKey;
use super::plan::{Loaded, Plan};
use super::tables::CacheTables;
use super::tiers::Tier;
use crate::clock;
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
                match landed_meanwhile(tables, key, plan) {
                    Some(entry) => pilot.announce(Ok((entry, Tier::Memory))),
                    None => legs.push(Leg { place: *place, pilot, announced: false }),
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

/// What another flight brought between a caller's look into memory and its boarding. Without this
/// look the caller would fly again for what has just been loaded.
fn landed_meanwhile(tables: &CacheTables, key: &CacheKey, plan: &Plan) -> Option<Arc<Entry>> {
    let found = if plan.reload { None } else { tables.look(key, clock::now()) };
    found.filter(|(_, freshness)| *freshness == Freshness::Fresh).map(|(entry, _)| entry)
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
        let freshness = entry.as_ref().map_or(Freshness::Dead, |entry| judge(entry, now));
        if let Some(entry) = entry {
            promote(tables, &mut leg, entry, tier);
        }
        if freshness != Freshness::Fresh {
            going_on.push(leg);
        }
    }
    *legs = going_on;
}

/// Lifts a find into memory, unless something newer is there already, and announces it.
fn promote(tables: &CacheTables, leg: &mut Leg, entry: Entry, tier: Tier) {
    let key = leg.pilot.key();
    let newer = tables.memory.get(key).is_some_and(|held| held.stored_at > entry.stored_at);
    if !newer {
        let entry = Arc::new(entry);
        tables.memory.put(key.clone(), Arc::clone(&entry));
        leg.pilot.announce(Ok((entry, tier)));
        leg.announced = true;
    }
}

async fn load(tables: &CacheTables, legs: &mut Vec<Leg>, plan: &Plan) {
    if legs.is_empty() {
        return;
    }
    let places = legs.iter().map(|leg| leg.place).collect();
    match (plan.loader)(places).await {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::plan::Lifetimes;
    use crate::cache::tiers::memory::MemoryTier;
    use crate::metrics::Metrics;
    use crate::supervision::{Observer, RestartReason};

    struct Nobody;

    impl Observer for Nobody {
        fn restarted(
            &self,
            _: &'static str,
            _: usize,
            _: RestartReason,
            _: Option<&str>,
            _: Duration,
        ) {
        }
        fn hung(&self, _: &'static str, _: usize, _: Duration) {}
        fn recovered(&self, _: &'static str, _: usize) {}
        fn task_panicked(&self, _: &'static str, _: &str) {}
    }

    fn tables() -> CacheTables {
        let metrics = Metrics::new().cache().clone();
        let memory = MemoryTier::new(10, 10_000, metrics.clone());
        let log = slog::Logger::root(slog::Discard, slog::o!());
        CacheTables::new(memory, None, metrics, log, Arc::new(Nobody))
    }

    fn plan() -> Plan {
        let second = Duration::from_secs(1);
        Plan {
            lifetimes: Lifetimes { kind: "search", fresh: second, negative: second, stale: second },
            loader: Arc::new(|_| panic!("nothing is to be loaded")),
            reload: false,
            within: second,
        }
    }

    #[tokio::test]
    async fn what_landed_after_the_look_is_not_flown_for_again() {
        let (tables, plan, key) = (tables(), plan(), CacheKey::new("a:b:c"));
        let loaded = Loaded { body: bytes::Bytes::from_static(b"1"), empty: false };
        let entry = Arc::new(plan.lifetimes.stamp(loaded, clock::now(), 0.5));
        // A caller has looked and found nothing; now another flight lands.
        tables.memory.put(key.clone(), entry);
        let mut boarded = take_off(&tables, &[(0, key)], &plan).pop().unwrap();
        assert!(matches!(boarded.ticket.landed().await, Some(Ok((_, Tier::Memory)))));
        assert_eq!(tables.in_flight(), 0);
    }
}
