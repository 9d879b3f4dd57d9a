//! The part of a flight that asks the source, and what comes of it.
//!
//! Owns: for whom it asks, the soft deadline, storing what was brought, and what a failure means: it
//! is told to those who have nothing, remembered for a while, and refreshes are held back. Refuses:
//! to load when the throttle says no; then what is in hand is served.

use std::sync::Arc;
use std::time::Duration;

use slog::info;

use super::{Leg, SoftDeadline, elsewhere};
use crate::cache::plan::{Loaded, Plan, Urgency};
use crate::cache::tables::{CacheTables, Kept};
use crate::cache::throttle::{Held, Pass};
use crate::cache::tiers::Tier;
use crate::clock::{self, Timestamp};
use crate::failure::{Failure, FailureKind};

/// Bounds on how long a refresh is put off when the upstream's pace has no place for it.
const LEAST_PUT_OFF: Duration = Duration::from_millis(200);
const LONGEST_PUT_OFF: Duration = Duration::from_secs(5);

/// Loads what is left of the flight, but for what another instance loads just now; a Redis that has
/// not answered is not asked for that.
pub(super) async fn load(
    tables: &CacheTables,
    legs: &mut Vec<Leg>,
    plan: &Plan,
    soft: SoftDeadline,
    redis_answered: bool,
) {
    if legs.is_empty() {
        return;
    }
    // A throttle that refuses spares the question to Redis too.
    let urgency = urgency(legs, plan);
    let pass = match tables.throttle.admit(urgency, clock::monotonic()) {
        Ok(pass) => pass,
        Err(held) => return hold_back(tables, legs, &held, plan.urgency),
    };
    let (claim, mut others) = elsewhere::claim(tables, legs, plan.within, redis_answered).await;
    let mine = async {
        ask(tables, legs, plan, soft, (urgency, pass)).await;
        elsewhere::release(tables, claim).await;
    };
    let theirs = async {
        elsewhere::leave_renewals(&mut others);
        elsewhere::wait(tables, &mut others).await;
        if others.is_empty() {
            return;
        }
        match tables.throttle.admit(plan.urgency, clock::monotonic()) {
            Ok(pass) => ask(tables, &mut others, plan, soft, (plan.urgency, pass)).await,
            Err(held) => hold_back(tables, &mut others, &held, plan.urgency),
        }
    };
    futures_util::future::join(mine, theirs).await;
}

/// Asks the source for all legs.
async fn ask(
    tables: &CacheTables,
    legs: &mut Vec<Leg>,
    plan: &Plan,
    soft: SoftDeadline,
    (urgency, pass): (Urgency, Pass),
) {
    if legs.is_empty() {
        return;
    }
    let asked_at = clock::now();
    let places = legs.iter().map(|leg| leg.place).collect();
    let loading = (plan.loader)(places, urgency);
    let loaded = until_soft(legs, soft, loading).await;
    match loaded {
        Ok(loaded) if loaded.len() == legs.len() => {
            pass.record(Ok(()));
            land(tables, legs, plan, loaded, asked_at).await;
        }
        Ok(loaded) => {
            let reason = format!("asked for {} keys, loaded {}", legs.len(), loaded.len());
            give_up(tables, legs, &Failure::new(FailureKind::Internal, reason));
        }
        Err(failure) => {
            pass.record(Err(&failure));
            if urgency != Urgency::Client && failure.kind == FailureKind::Overloaded {
                return put_off(legs, &failure);
            }
            give_up(tables, legs, &failure);
        }
    }
}

/// For whom this load is: a client waits for it if one leg has nothing in hand.
fn urgency(legs: &[Leg], plan: &Plan) -> Urgency {
    let waits = plan.reload || legs.iter().any(|leg| !leg.announced && leg.in_hand.is_none());
    match plan.urgency {
        Urgency::Client if !waits => Urgency::Refresh,
        Urgency::Client | Urgency::Refresh | Urgency::Warming => plan.urgency,
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

/// Leaves the keys alone for as long as the throttle says. What is refused to a flight that nobody
/// waits for need not be to a client who came on board of it: he flies by himself when the pilot
/// goes without a word.
fn hold_back(tables: &CacheTables, legs: &mut Vec<Leg>, held: &Held, urgency: Urgency) {
    tables.metrics.load_held(held.as_str());
    let wait = held.wait().mul_f64(1.0 + fastrand::f64());
    let then = clock::now().plus(wait);
    for mut leg in legs.drain(..) {
        if let Some((entry, _)) = &leg.in_hand {
            entry.hold_refresh(then);
        }
        if !leg.announce_in_hand() && urgency == Urgency::Client {
            leg.pilot.announce(Err(held.failure()));
        }
    }
}

/// A call that nobody waits for found no free place: nothing was tried, so nothing is remembered.
/// A client who came on board of it meanwhile flies by itself when the pilot goes without a word.
fn put_off(legs: &mut Vec<Leg>, failure: &Failure) {
    let wait = failure.retry_after.unwrap_or_default().clamp(LEAST_PUT_OFF, LONGEST_PUT_OFF);
    let then = clock::now().plus(wait);
    for mut leg in legs.drain(..) {
        if let Some((entry, _)) = &leg.in_hand {
            entry.hold_refresh(then);
        }
        leg.announce_in_hand();
    }
}

/// Tells those who have nothing, and leaves the keys alone for a while.
pub(super) fn give_up(tables: &CacheTables, legs: &mut Vec<Leg>, failure: &Failure) {
    let now = clock::now();
    // One for all: keys that failed together are tried together, in one call.
    let chance = fastrand::f64();
    for mut leg in legs.drain(..) {
        let key = leg.pilot.key().clone();
        if leg.in_hand.is_none() {
            leg.in_hand = tables.look(&key, now).map(|(entry, _)| (entry, Tier::Memory));
        }
        let has_stale = leg.in_hand.is_some();
        let then = tables.setbacks.note(&key, failure, has_stale, now, chance);
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
