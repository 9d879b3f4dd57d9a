//! The part of a load that asks the origin, and what comes of it.
//!
//! Owns: for whom it asks, the deadlines, storing what was brought, and what a failure means: callers
//! that have nothing get it, and the key is left alone for a while. When the probe budget rejects the
//! load, what is in hand is served.

use std::sync::Arc;
use std::time::{Duration, Instant};

use slog::info;

use super::{PendingKey, Times, elsewhere, search};
use crate::cache::plan::{Loaded, Plan};
use crate::cache::probe_budget::{Permit, Rejected};
use crate::cache::tables::CacheTables;
use crate::cache::tiers::{Row, Tier};
use crate::clock::{self, Timestamp};
use crate::failure::{Failure, FailureKind};
use crate::resilience::Priority;

/// Bounds on how long a renewal is put off when the origin's pace has no room for it.
const LEAST_PUT_OFF: Duration = Duration::from_millis(200);
const LONGEST_PUT_OFF: Duration = Duration::from_secs(5);
/// What a loader may take to end itself after its deadline.
const GRACE: Duration = Duration::from_millis(100);

/// Loads what is left, but for what another instance loads just now; a Redis that has not answered
/// is not asked for that.
pub(super) async fn load(
    tables: &CacheTables,
    pending: &mut Vec<PendingKey>,
    plan: &Plan,
    times: Times,
    redis_answered: bool,
) {
    end_failed(tables, pending, plan).await;
    if pending.is_empty() {
        return;
    }
    // A budget that rejects spares the question to Redis too.
    let priority = priority(pending, plan);
    let admit = |priority| tables.budgets.admit(plan.origin, priority, clock::monotonic());
    let permit = match admit(priority) {
        Ok(permit) => permit,
        Err(rejected) => return hold_back(tables, pending, &rejected, plan).await,
    };
    let (claim, mut others) = elsewhere::claim(tables, pending, plan.within, redis_answered).await;
    let mine = async {
        ask(tables, pending, plan, times, (priority, permit)).await;
        elsewhere::release(tables, claim).await;
    };
    let theirs = async {
        elsewhere::leave_renewals(tables, &mut others);
        let since = if plan.reload { times.began } else { Timestamp::default() };
        elsewhere::wait(tables, &mut others, since).await;
        if others.is_empty() {
            return;
        }
        match admit(plan.priority) {
            Ok(permit) => ask(tables, &mut others, plan, times, (plan.priority, permit)).await,
            Err(rejected) => hold_back(tables, &mut others, &rejected, plan).await,
        }
    };
    futures_util::future::join(mine, theirs).await;
}

/// Asks the origin for all keys at once.
async fn ask(
    tables: &CacheTables,
    pending: &mut Vec<PendingKey>,
    plan: &Plan,
    times: Times,
    (priority, permit): (Priority, Permit),
) {
    if pending.is_empty() {
        return;
    }
    let asked_at = clock::now();
    let stored_at = tables.invalidations.after_all(asked_at);
    let places = pending.iter().map(|one| one.place).collect();
    let loading = (plan.loader)(places, priority, times.end);
    let loading = tokio::time::timeout_at((times.end + GRACE).into(), loading);
    let loaded = until_soft(pending, times.soft, loading).await.unwrap_or_else(|_| {
        Err(Failure::new(FailureKind::DeadlineExceeded, "the load ignored its deadline"))
    });
    let failure = match loaded {
        Ok(loaded) if loaded.len() == pending.len() => {
            permit.record(Ok(()));
            return complete(tables, pending, plan, loaded, (asked_at, stored_at)).await;
        }
        Ok(loaded) => {
            let reason = format!("asked for {} keys, loaded {}", pending.len(), loaded.len());
            Failure::new(FailureKind::Internal, reason)
        }
        Err(failure) => {
            permit.record(Err(&failure));
            if priority != Priority::Client && failure.kind == FailureKind::Overloaded {
                let wait = failure.retry_after.unwrap_or_default();
                return put_off(tables, pending, wait.clamp(LEAST_PUT_OFF, LONGEST_PUT_OFF), None);
            }
            failure
        }
    };
    fall_back(tables, pending, plan).await;
    give_up(tables, pending, &failure);
}

/// Ends what failed a moment ago: it gets what was found, or that failure once more.
async fn end_failed(tables: &CacheTables, pending: &mut Vec<PendingKey>, plan: &Plan) {
    let mut failed: Vec<PendingKey> = pending.extract_if(.., |one| one.failed.is_some()).collect();
    if failed.is_empty() {
        return;
    }
    fall_back(tables, &mut failed, plan).await;
    for mut one in failed {
        let failure = one.failed.take();
        one.end(failure.as_ref());
    }
}

/// A reload has searched nothing: what the tiers hold is better than a failure.
async fn fall_back(tables: &CacheTables, pending: &mut Vec<PendingKey>, plan: &Plan) {
    if !plan.reload {
        return;
    }
    look_into_memory(tables, pending);
    let mut bare: Vec<PendingKey> = pending.extract_if(.., |one| one.in_hand.is_none()).collect();
    if !bare.is_empty() {
        search(tables, &mut bare, plan).await;
        pending.append(&mut bare);
    }
}

/// What has come into memory since the start is in hand.
fn look_into_memory(tables: &CacheTables, pending: &mut [PendingKey]) {
    let now = clock::now();
    for one in pending.iter_mut().filter(|one| one.in_hand.is_none()) {
        let held = tables.look(one.key(), now);
        one.in_hand = held.map(|(entry, _)| (entry, Tier::Memory));
    }
}

/// For whom this load is: a client waits for it if one key has nothing in hand.
fn priority(pending: &[PendingKey], plan: &Plan) -> Priority {
    let waits = plan.reload || pending.iter().any(|one| !one.announced && one.in_hand.is_none());
    match plan.priority {
        Priority::Client if !waits => Priority::Refresh,
        Priority::Client | Priority::Refresh | Priority::Warming => plan.priority,
    }
}

/// Waits for `loading`; at the soft time-out followers get what is in hand, and it goes on.
async fn until_soft<T>(
    pending: &mut [PendingKey],
    soft: Instant,
    loading: impl Future<Output = T>,
) -> T {
    let mut loading = std::pin::pin!(loading);
    if let Ok(loaded) = tokio::time::timeout_at(soft.into(), &mut loading).await {
        return loaded;
    }
    for one in pending {
        one.announce_in_hand();
    }
    loading.await
}

/// Announces everything first, so that no caller waits for a store.
async fn complete(
    tables: &CacheTables,
    pending: &mut Vec<PendingKey>,
    plan: &Plan,
    loaded: Vec<Loaded>,
    (asked_at, stored_at): (Timestamp, Timestamp),
) {
    let mut completed = Vec::with_capacity(pending.len());
    for (one, loaded) in pending.drain(..).zip(loaded) {
        let entry = Arc::new(plan.lifetimes.stamp(loaded, asked_at, stored_at, fastrand::f64()));
        tables.memo.clear(one.key());
        let is_cacheable = entry.representation.is_cacheable();
        if is_cacheable {
            tables.memory.put(one.key().clone(), Arc::clone(&entry));
        }
        one.leader.announce(Ok((Arc::clone(&entry), Tier::Upstream)));
        if is_cacheable {
            completed.push((one.key().clone(), entry, (plan.question)(one.place)));
        }
        // The leader goes here: the key is in memory, and the next caller finds it there.
    }
    let kind = plan.lifetimes.kind;
    let rows = completed
        .into_iter()
        .map(|(key, entry, question)| Row::new(kind, key, &entry, question.map(Arc::from)));
    tables.store(kind, rows.collect()).await;
}

/// Leaves the keys alone for as long as the budget says.
async fn hold_back(
    tables: &CacheTables,
    pending: &mut Vec<PendingKey>,
    rejected: &Rejected,
    plan: &Plan,
) {
    tables.metrics.loads_held.at([rejected.reason]).inc();
    fall_back(tables, pending, plan).await;
    let failure = (plan.priority == Priority::Client).then(|| rejected.failure());
    put_off(tables, pending, rejected.wait.mul_f64(1.0 + fastrand::f64()), failure.as_ref());
}

/// Serves what is in hand, and leaves those keys alone for `wait`: no load was tried. Callers that
/// have nothing get the failure. Without one they start a load of their own when the leader goes: what
/// is refused to a load that nobody waits for need not be refused to a client who joined it.
fn put_off(
    tables: &CacheTables,
    pending: &mut Vec<PendingKey>,
    wait: Duration,
    failure: Option<&Failure>,
) {
    let then = clock::monotonic() + wait;
    for one in pending.drain(..) {
        if one.in_hand.is_some() {
            tables.memo.put_off(one.key(), then);
        }
        one.end(failure);
    }
}

/// Gives the failure to those who have nothing, and leaves the keys alone for a while.
pub(super) fn give_up(tables: &CacheTables, pending: &mut Vec<PendingKey>, failure: &Failure) {
    let now = clock::monotonic();
    look_into_memory(tables, pending);
    // One for all: keys that failed together are tried together, in one call.
    let chance = fastrand::f64();
    for one in pending.drain(..) {
        let (key, has_stale) = (one.key(), one.in_hand.is_some());
        let wait = tables.memo.note(key, failure, has_stale, now, chance);
        if has_stale {
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            info!(tables.log, "load failed, stale entry kept"; "key" => %key,
                "reason" => &failure.reason, "wait_ms" => wait_ms);
        }
        one.end(Some(failure));
    }
}
