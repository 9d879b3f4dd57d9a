//! The part of a flight that asks the source, and what comes of it.
//!
//! Owns: for whom it asks, the deadlines, storing what was brought, and what a failure means: it is told to those who have nothing, remembered for a while, and refreshes are held back. Refuses:
//! to load when the throttle says no; then what is in hand is served.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slog::info;

use super::{Bounds, Leg, elsewhere, search};
use crate::cache::plan::{Loaded, Plan, Urgency};
use crate::cache::tables::{CacheTables, Kept};
use crate::cache::throttle::{Held, Pass};
use crate::cache::tiers::Tier;
use crate::clock::{self, Timestamp};
use crate::failure::{Failure, FailureKind};

/// Bounds on how long a refresh is put off when the upstream's pace has no place for it.
const LEAST_PUT_OFF: Duration = Duration::from_millis(200);
const LONGEST_PUT_OFF: Duration = Duration::from_secs(5);

/// What a loader may take to end itself after its deadline.
const GRACE: Duration = Duration::from_millis(100);

/// Loads what is left of the flight, but for what another instance loads just now; a Redis that has
/// not answered is not asked for that.
pub(super) async fn load(
    tables: &CacheTables,
    legs: &mut Vec<Leg>,
    plan: &Plan,
    bounds: Bounds,
    redis_answered: bool,
) {
    refuse(tables, legs, plan).await;
    if legs.is_empty() {
        return;
    }
    // A throttle that refuses spares the question to Redis too.
    let urgency = urgency(legs, plan);
    let pass = match tables.throttle.admit(urgency, clock::monotonic()) {
        Ok(pass) => pass,
        Err(held) => return hold_back(tables, legs, &held, plan).await,
    };
    let (claim, mut others) = elsewhere::claim(tables, legs, plan.within, redis_answered).await;
    let mine = async {
        ask(tables, legs, plan, bounds, (urgency, pass)).await;
        elsewhere::release(tables, claim).await;
    };
    let theirs = async {
        elsewhere::leave_renewals(&mut others);
        let since = if plan.reload { bounds.began } else { Timestamp::default() };
        elsewhere::wait(tables, &mut others, since).await;
        if others.is_empty() {
            return;
        }
        match tables.throttle.admit(plan.urgency, clock::monotonic()) {
            Ok(pass) => ask(tables, &mut others, plan, bounds, (plan.urgency, pass)).await,
            Err(held) => hold_back(tables, &mut others, &held, plan).await,
        }
    };
    futures_util::future::join(mine, theirs).await;
}

/// Asks the source for all legs.
async fn ask(
    tables: &CacheTables,
    legs: &mut Vec<Leg>,
    plan: &Plan,
    bounds: Bounds,
    (urgency, pass): (Urgency, Pass),
) {
    if legs.is_empty() {
        return;
    }
    let asked_at = clock::now();
    let stored_at = tables.invalidations.after_all(asked_at);
    let places = legs.iter().map(|leg| leg.place).collect();
    let loading = (plan.loader)(places, urgency, bounds.end);
    let loading = tokio::time::timeout_at((bounds.end + GRACE).into(), loading);
    let loaded = until_soft(legs, bounds.soft, loading).await.unwrap_or_else(|_| {
        Err(Failure::new(FailureKind::DeadlineExceeded, "the load ignored its deadline"))
    });
    match loaded {
        Ok(loaded) if loaded.len() == legs.len() => {
            pass.record(Ok(()));
            land(tables, legs, plan, loaded, (asked_at, stored_at)).await;
        }
        Ok(loaded) => {
            let reason = format!("asked for {} keys, loaded {}", legs.len(), loaded.len());
            fall_back(tables, legs, plan).await;
            give_up(tables, legs, &Failure::new(FailureKind::Internal, reason));
        }
        Err(failure) => {
            pass.record(Err(&failure));
            if urgency != Urgency::Client && failure.kind == FailureKind::Overloaded {
                return put_off(legs, &failure);
            }
            fall_back(tables, legs, plan).await;
            give_up(tables, legs, &failure);
        }
    }
}

/// Ends what failed a moment ago: it gets what was found, or that failure once more.
async fn refuse(tables: &CacheTables, legs: &mut Vec<Leg>, plan: &Plan) {
    let mut refused: Vec<Leg> = legs.extract_if(.., |leg| leg.refused.is_some()).collect();
    if refused.is_empty() {
        return;
    }
    fall_back(tables, &mut refused, plan).await;
    for mut leg in refused {
        if !leg.announce_in_hand()
            && let Some(failure) = leg.refused.take()
        {
            leg.pilot.announce(Err(failure));
        }
    }
}

/// A flight that was to load anew has looked nowhere: what the tiers hold is better than a failure.
async fn fall_back(tables: &CacheTables, legs: &mut Vec<Leg>, plan: &Plan) {
    if !plan.reload {
        return;
    }
    look_into_memory(tables, legs);
    let mut bare: Vec<Leg> = legs.extract_if(.., |leg| leg.in_hand.is_none()).collect();
    if !bare.is_empty() {
        drop(search::behind_memory(tables, &mut bare, plan).await);
        legs.append(&mut bare);
    }
}

/// What has come into memory since take-off is in hand.
fn look_into_memory(tables: &CacheTables, legs: &mut [Leg]) {
    let now = clock::now();
    for leg in legs.iter_mut().filter(|leg| leg.in_hand.is_none()) {
        let held = tables.look(leg.pilot.key(), now);
        leg.in_hand = held.map(|(entry, _)| (entry, Tier::Memory));
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
async fn until_soft<T>(legs: &mut [Leg], soft: Instant, loading: impl Future<Output = T>) -> T {
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
    (asked_at, stored_at): (Timestamp, Timestamp),
) {
    let mut landed = Vec::with_capacity(legs.len());
    for (leg, loaded) in legs.drain(..).zip(loaded) {
        let entry = Arc::new(plan.lifetimes.stamp(loaded, asked_at, stored_at, fastrand::f64()));
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
async fn hold_back(tables: &CacheTables, legs: &mut Vec<Leg>, held: &Held, plan: &Plan) {
    tables.metrics.load_held(held.as_str());
    fall_back(tables, legs, plan).await;
    let wait = held.wait().mul_f64(1.0 + fastrand::f64());
    let then = clock::monotonic() + wait;
    for mut leg in legs.drain(..) {
        if let Some((entry, _)) = &leg.in_hand {
            entry.hold_refresh(then);
        }
        if !leg.announce_in_hand() && plan.urgency == Urgency::Client {
            leg.pilot.announce(Err(held.failure()));
        }
    }
}

/// A call that nobody waits for found no free place: nothing was tried, so nothing is remembered.
/// A client who came on board of it meanwhile flies by itself when the pilot goes without a word.
fn put_off(legs: &mut Vec<Leg>, failure: &Failure) {
    let wait = failure.retry_after.unwrap_or_default().clamp(LEAST_PUT_OFF, LONGEST_PUT_OFF);
    let then = clock::monotonic() + wait;
    for mut leg in legs.drain(..) {
        if let Some((entry, _)) = &leg.in_hand {
            entry.hold_refresh(then);
        }
        leg.announce_in_hand();
    }
}

/// Tells those who have nothing, and leaves the keys alone for a while.
pub(super) fn give_up(tables: &CacheTables, legs: &mut Vec<Leg>, failure: &Failure) {
    let now = clock::monotonic();
    look_into_memory(tables, legs);
    // One for all: keys that failed together are tried together, in one call.
    let chance = fastrand::f64();
    for mut leg in legs.drain(..) {
        let key = leg.pilot.key().clone();
        let has_stale = leg.in_hand.is_some();
        let then = tables.setbacks.note(&key, failure, has_stale, now, chance);
        if let Some((entry, _)) = &leg.in_hand {
            entry.hold_refresh(then);
            let wait_ms =
                u64::try_from(then.saturating_duration_since(now).as_millis()).unwrap_or(u64::MAX);
            info!(tables.log, "load failed, stale entry kept"; "key" => %key,
                "reason" => &failure.reason, "wait_ms" => wait_ms);
        }
        if !leg.announce_in_hand() {
            leg.pilot.announce(Err(failure.clone()));
        }
    }
}
