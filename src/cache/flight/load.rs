//! The part of a flight that asks the source, and what comes of it.
//!
//! Owns: for whom it asks, the soft deadline, storing what was brought, and what a failure means: it
//! is told to those who have nothing, remembered for a while, and refreshes are held back. Refuses:
//! to load when the throttle says no; then what is in hand is served.

use std::sync::Arc;

use slog::info;

use super::{Leg, SoftDeadline};
use crate::cache::plan::{Loaded, Plan, Urgency};
use crate::cache::tables::{CacheTables, Kept};
use crate::cache::throttle::{Held, speaks_of_source};
use crate::cache::tiers::Tier;
use crate::clock::{self, Timestamp};
use crate::failure::{Failure, FailureKind};

/// Loads what is left of the flight.
pub(super) async fn load(
    tables: &CacheTables,
    legs: &mut Vec<Leg>,
    plan: &Plan,
    soft: SoftDeadline,
) {
    if legs.is_empty() {
        return;
    }
    let urgency = urgency(legs, plan);
    let pass = match tables.throttle.admit(urgency, clock::monotonic()) {
        Ok(pass) => pass,
        Err(held) => return hold_back(tables, legs, held),
    };
    let asked_at = clock::now();
    let places = legs.iter().map(|leg| leg.place).collect();
    let loading = (plan.loader)(places, urgency);
    let loaded = until_soft(legs, soft, loading).await;
    match loaded {
        Ok(loaded) if loaded.len() == legs.len() => {
            pass.record(Some(true));
            land(tables, legs, plan, loaded, asked_at).await;
        }
        Ok(loaded) => {
            let reason = format!("asked for {} keys, loaded {}", legs.len(), loaded.len());
            give_up(tables, legs, &Failure::new(FailureKind::Internal, reason));
        }
        Err(failure) => {
            pass.record(speaks_of_source(&failure));
            give_up(tables, legs, &failure);
        }
    }
}

/// For whom this load is: a client waits for it if one leg has nothing in hand.
fn urgency(legs: &[Leg], plan: &Plan) -> Urgency {
    let waits = plan.reload || legs.iter().any(|leg| !leg.announced && leg.in_hand.is_none());
    match plan.urgency {
        Urgency::Client if !waits => Urgency::Refresh,
        urgency => urgency,
    }
}

/// Waits for `loading`; at the soft deadline those on board get what is in hand, and it goes on.
async fn until_soft<T>(
    legs: &mut [Leg],
    soft: SoftDeadline,
    loading: impl Future<Output = T>,
) -> T {
    let mut loading = std::pin::pin!(loading);
    if let Ok(loaded) = tokio::time::timeout_at(soft.into(), &mut loading).await {
        return loaded;
    }
    for leg in legs {
        leg.announce_in_hand();
    }
    loading.await
}

/// Announces everything first, so that no caller waits for a store.
async fn land(
    tables: &CacheTables,
    legs: &mut Vec<Leg>,
    plan: &Plan,
    loaded: Vec<Loaded>,
    asked_at: Timestamp,
) {
    let mut landed = Vec::with_capacity(legs.len());
    for (leg, loaded) in legs.drain(..).zip(loaded) {
        let entry = Arc::new(plan.lifetimes.stamp(loaded, asked_at, fastrand::f64()));
        let key = leg.pilot.key();
        tables.setbacks.clear(key);
        tables.memory.put(key.clone(), Arc::clone(&entry));
        leg.pilot.announce(Ok((Arc::clone(&entry), Tier::Upstream)));
        let question = (plan.question)(leg.place).map(Arc::from);
        landed.push(Kept { key: key.clone(), entry, question });
        // The pilot goes here: the key is in memory, whoever comes now finds it there.
    }
    tables.store(plan.lifetimes.kind, &landed).await;
}

/// Leaves the keys alone for as long as the throttle says.
fn hold_back(tables: &CacheTables, legs: &mut Vec<Leg>, held: Held) {
    tables.metrics.load_held(held.as_str());
    let wait = held.wait().mul_f64(1.0 + fastrand::f64());
    let then = clock::now().plus(wait);
    for mut leg in legs.drain(..) {
        if let Some((entry, _)) = &leg.in_hand {
            entry.hold_refresh(then);
        }
        if !leg.announce_in_hand() {
            leg.pilot.announce(Err(held.failure()));
        }
    }
}

/// Tells those who have nothing, and leaves the keys alone for a while.
pub(super) fn give_up(tables: &CacheTables, legs: &mut Vec<Leg>, failure: &Failure) {
    let now = clock::now();
    for mut leg in legs.drain(..) {
        let key = leg.pilot.key().clone();
        if leg.in_hand.is_none() {
            leg.in_hand = tables.look(&key, now).map(|(entry, _)| (entry, Tier::Memory));
        }
        let has_stale = leg.in_hand.is_some();
        let then = tables.setbacks.note(&key, failure, has_stale, now, fastrand::f64());
        if let Some((entry, _)) = &leg.in_hand {
            entry.hold_refresh(then);
            let wait_ms = u64::try_from(then.since(now).as_millis()).unwrap_or(u64::MAX);
            info!(tables.log, "load failed, stale entry kept"; "key" => %key,
                "reason" => &failure.reason, "wait_ms" => wait_ms);
        }
        if !leg.announce_in_hand() {
            leg.pilot.announce(Err(failure.clone()));
        }
    }
}
