//! The part of a load that asks the origin, and what comes of it.
//!
//! Owns: for whom it asks, the deadlines, storing what was brought, and what a failure means: callers
//! that have nothing get it, and the key is left alone for a while. When the probe budget rejects the
//! load, what is in hand is served.
//!
//! What another instance loads already is not loaded here: it holds the key's lock in Redis. A lock
//! spares a call and promises nothing; without Redis every instance loads for itself.

use std::sync::Arc;
use std::time::Duration;

use slog::info;

use super::{Load, PendingKey};
use crate::cache::key::CacheKey;
use crate::cache::plan::{Brought, Loaded};
use crate::cache::probe_budget::{Permit, Rejected};
use crate::cache::tiers::{Row, Tier};
use crate::clock::{self, Timestamp};
use crate::failure::{Failure, FailureKind};
use crate::resilience::Priority;
use crate::steps::{Stage, Verdict};

/// Bounds on how long a renewal is put off when the origin's pace has no room for it.
const LEAST_PUT_OFF: Duration = Duration::from_millis(200);
const LONGEST_PUT_OFF: Duration = Duration::from_secs(5);
/// What a loader may take to end itself after its deadline.
const LOADER_GRACE: Duration = Duration::from_millis(100);
/// Longest wait for what another instance loads.
const WAIT: Duration = Duration::from_secs(1);
const LOOK_EVERY: Duration = Duration::from_millis(40);
/// What is held longer than its load could take belongs to an instance that died.
const LOCK_GRACE: Duration = Duration::from_secs(1);
/// How long a renewal is left to the instance that has begun it.
const LEAVE: Duration = Duration::from_secs(2);

struct Claim {
    token: String,
    keys: Vec<CacheKey>,
}

impl Load {
    /// Loads what is left, but for what another instance loads just now; a Redis that has not
    /// answered is not asked for that.
    pub(super) async fn ask_origin(&self, pending: &mut Vec<PendingKey>, redis_answered: bool) {
        self.end_failed(pending).await;
        if pending.is_empty() {
            return;
        }
        // A budget that rejects spares the question to Redis too.
        let priority = self.priority(pending);
        let permit = match self.admit(priority) {
            Ok(permit) => permit,
            Err(rejected) => return self.hold_back(pending, &rejected).await,
        };
        let (claim, mut others) = self.claim(pending, redis_answered).await;
        let mine = async {
            self.ask(pending, priority, permit).await;
            self.release(claim).await;
        };
        let theirs = async {
            self.wait_for_others(&mut others).await;
            if others.is_empty() {
                return;
            }
            match self.admit(self.plan.priority) {
                Ok(permit) => self.ask(&mut others, self.plan.priority, permit).await,
                Err(rejected) => self.hold_back(&mut others, &rejected).await,
            }
        };
        futures_util::future::join(mine, theirs).await;
    }

    fn admit(&self, priority: Priority) -> Result<Permit, Rejected> {
        let of = (self.plan.origin, self.plan.lifetimes.kind);
        self.tables.budgets.admit(of, priority, clock::monotonic())
    }

    async fn ask(&self, pending: &mut Vec<PendingKey>, priority: Priority, permit: Permit) {
        if pending.is_empty() {
            return;
        }
        let asked_at = clock::now();
        let stored_at = self.tables.invalidations.after_all(asked_at);
        let failure = match self.run_loader(pending, priority).await {
            Ok(loaded) if loaded.len() == pending.len() => {
                permit.record(Ok(()));
                return self.complete(pending, loaded, asked_at, stored_at).await;
            }
            Ok(loaded) => {
                let reason = format!("asked for {} keys, loaded {}", pending.len(), loaded.len());
                Failure::new(FailureKind::Internal, reason)
            }
            Err(failure) => {
                permit.record(Err(&failure));
                if priority != Priority::Client && failure.kind == FailureKind::Overloaded {
                    let wait = failure.retry_after.unwrap_or_default();
                    let wait = wait.clamp(LEAST_PUT_OFF, LONGEST_PUT_OFF);
                    return self.put_off(pending, (wait, Some(failure.kind)), None);
                }
                failure
            }
        };
        self.fall_back(pending).await;
        self.give_up(pending, &failure);
    }

    /// What the loader brings; at the soft time-out followers get what is in hand, and it goes on.
    async fn run_loader(&self, pending: &mut [PendingKey], priority: Priority) -> Brought {
        let places = pending.iter().map(|one| one.place).collect();
        let loading = (self.plan.loader)(places, priority, self.end);
        let loading = tokio::time::timeout_at((self.end + LOADER_GRACE).into(), loading);
        let mut loading = std::pin::pin!(loading);
        let loaded = match tokio::time::timeout_at(self.soft.into(), &mut loading).await {
            Ok(loaded) => loaded,
            Err(_) => {
                for one in pending {
                    one.announce_in_hand();
                }
                loading.await
            }
        };
        loaded.unwrap_or_else(|_| {
            Err(Failure::new(FailureKind::DeadlineExceeded, "the load ignored its deadline"))
        })
    }

    /// Ends what failed a moment ago: it gets what was found, or that failure once more.
    async fn end_failed(&self, pending: &mut Vec<PendingKey>) {
        let mut failed: Vec<_> = pending.extract_if(.., |one| one.failed.is_some()).collect();
        if failed.is_empty() {
            return;
        }
        self.fall_back(&mut failed).await;
        for mut one in failed {
            let failure = one.failed.take();
            self.plan.steps.note(Stage::Flight, Verdict::Refused, || match &failure {
                Some(failure) => format!("its last load failed a moment ago: {}", failure.reason),
                None => String::new(),
            });
            one.end(failure.as_ref());
        }
    }

    /// A reload has searched nothing: what the tiers hold is better than a failure.
    async fn fall_back(&self, pending: &mut Vec<PendingKey>) {
        if self.plan.reload {
            self.look_into_memory(pending);
            let mut bare: Vec<_> = pending.extract_if(.., |one| one.in_hand.is_none()).collect();
            self.search(&mut bare).await;
            pending.append(&mut bare);
        }
    }

    fn look_into_memory(&self, pending: &mut [PendingKey]) {
        let now = clock::now();
        for one in pending.iter_mut().filter(|one| one.in_hand.is_none()) {
            let held = self.tables.look(one.key(), now);
            one.in_hand = held.map(|(entry, _)| (entry, Tier::Memory));
        }
    }

    /// For whom this load is: a client waits for it if one key has nothing in hand.
    fn priority(&self, pending: &[PendingKey]) -> Priority {
        let is_bare = |one: &PendingKey| !one.announced && one.in_hand.is_none();
        let waits = self.plan.reload || pending.iter().any(is_bare);
        let nobody_waits = self.plan.priority == Priority::Client && !waits;
        if nobody_waits { Priority::Refresh } else { self.plan.priority }
    }

    /// Announces everything first, so that no caller waits for a store. What could not be used of an
    /// answer has failed by itself.
    async fn complete(
        &self,
        pending: &mut Vec<PendingKey>,
        loaded: Vec<Result<Loaded, Failure>>,
        asked_at: Timestamp,
        stored_at: Timestamp,
    ) {
        let lifetimes = &self.plan.lifetimes;
        let mut completed = Vec::with_capacity(pending.len());
        let first = pending.first().map_or(0, |one| one.place);
        let mut failed = Vec::new();
        for (one, loaded) in pending.drain(..).zip(loaded) {
            let loaded = match loaded {
                Ok(loaded) => loaded,
                Err(failure) => {
                    failed.push((one, failure));
                    continue;
                }
            };
            let entry = Arc::new(lifetimes.entry(loaded, asked_at, stored_at, fastrand::f64()));
            self.tables.memo.clear(one.key());
            let is_cacheable = entry.representation.is_cacheable();
            if is_cacheable {
                self.tables.memory.put(one.key().clone(), Arc::clone(&entry));
            }
            // Before the answer is there: with it the list of steps ends.
            if one.place == first {
                let stored = if is_cacheable { Verdict::Stored } else { Verdict::Bypassed };
                self.plan.steps.note(Stage::Store, stored, || "");
            }
            one.leader.announce(Ok((Arc::clone(&entry), Tier::Upstream)));
            if is_cacheable {
                completed.push((one.key().clone(), entry, (self.plan.question)(one.place)));
            }
            // The leader goes here: the key is in memory, and the next caller finds it there.
        }
        for (one, failure) in failed {
            if one.place == first {
                let why = || failure.reason.clone();
                self.plan.steps.note(Stage::Store, Verdict::Bypassed, why);
            }
            let mut one = vec![one];
            self.fall_back(&mut one).await;
            self.give_up(&mut one, &failure);
        }
        let rows = completed.into_iter().map(|(key, entry, question)| {
            Row::new(lifetimes.kind, key, &entry, question.map(Arc::from))
        });
        self.tables.store(lifetimes.kind, rows.collect()).await;
    }

    async fn hold_back(&self, pending: &mut Vec<PendingKey>, rejected: &Rejected) {
        self.tables.metrics.loads_held.at([rejected.reason.label()]).inc();
        self.fall_back(pending).await;
        let failure = (self.plan.priority == Priority::Client).then(|| rejected.failure());
        self.plan.steps.note(Stage::Breaker, Verdict::Refused, || match &rejected.last {
            Some(last) => format!("loads are held back while they fail: {}", last.reason),
            None => "loads are held back".to_owned(),
        });
        let wait = rejected.wait.mul_f64(1.0 + fastrand::f64());
        let why = rejected.last.as_ref().map(|last| last.kind);
        self.put_off(pending, (wait, why), failure.as_ref());
    }

    /// Serves what is in hand, and leaves those keys alone for `wait`: no load was tried. Callers that
    /// have nothing get the failure. Without one they start a load of their own when the leader goes:
    /// what is refused to a load that nobody waits for need not be refused to a client who joined it.
    fn put_off(
        &self,
        pending: &mut Vec<PendingKey>,
        (wait, why): (Duration, Option<FailureKind>),
        failure: Option<&Failure>,
    ) {
        let then = clock::monotonic() + wait;
        for one in pending.drain(..) {
            if one.in_hand.is_some() {
                self.tables.memo.put_off(one.key(), then, why);
            }
            one.end(failure);
        }
    }

    pub(super) fn give_up(&self, pending: &mut Vec<PendingKey>, failure: &Failure) {
        let now = clock::monotonic();
        self.look_into_memory(pending);
        // One for all: keys that failed together are tried together, in one call.
        let chance = fastrand::f64();
        for one in pending.drain(..) {
            let has_stale = one.in_hand.is_some();
            let wait = self.tables.memo.note(one.key(), failure, has_stale, now, chance);
            if has_stale && !failure.is_of_client() {
                let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
                info!(self.tables.log, "load failed, stale entry kept"; "key" => %one.key(),
                    "reason" => &failure.reason, "wait_ms" => wait_ms);
            }
            one.end(Some(failure));
        }
    }

    /// Takes the locks of all keys for as long as the load may take; those that another instance holds
    /// move to the list that is returned.
    async fn claim(
        &self,
        pending: &mut Vec<PendingKey>,
        redis_answered: bool,
    ) -> (Claim, Vec<PendingKey>) {
        let mut claim = Claim { token: format!("{:032x}", fastrand::u128(..)), keys: Vec::new() };
        let Some(redis) = self.tables.redis.as_ref().filter(|_| redis_answered) else {
            return (claim, Vec::new());
        };
        claim.keys = pending.iter().map(|one| one.key().clone()).collect();
        let keys: Vec<&CacheKey> = claim.keys.iter().collect();
        // A lock whose answer was lost may be ours: it is let go of like the others.
        let held = redis.try_hold(&keys, &claim.token, self.plan.within + LOCK_GRACE).await;
        let mut held = held.unwrap_or_default().into_iter();
        let theirs = pending.extract_if(.., |_| !held.next().unwrap_or(true)).collect();
        (claim, theirs)
    }

    /// Lets go of what was claimed, whoever holds it by now.
    async fn release(&self, claim: Claim) {
        if let Some(redis) = self.tables.redis.as_ref().filter(|_| !claim.keys.is_empty()) {
            let keys: Vec<&CacheKey> = claim.keys.iter().collect();
            drop(redis.release(&keys, &claim.token).await);
        }
    }

    /// Waits for what another instance loads; renewals are left to it at once. What it brings
    /// completes a key; what it gave up, or takes too long for, is left in the list.
    async fn wait_for_others(&self, pending: &mut Vec<PendingKey>) {
        let Some(redis) = &self.tables.redis else { return };
        let begun = clock::monotonic();
        for one in pending.extract_if(.., |one| one.in_hand.is_some()) {
            self.tables.memo.put_off(one.key(), begun + LEAVE, None);
            one.end(None);
        }
        // What was stored before a reload began is not what it waits for.
        let since = if self.plan.reload { self.began } else { Timestamp::default() };
        if !pending.is_empty() {
            self.plan.steps.note(Stage::Flight, Verdict::Joined, || "the load of another instance");
        }
        let mut given_up = Vec::new();
        while !pending.is_empty() && clock::monotonic() < begun + WAIT {
            tokio::time::sleep(LOOK_EVERY).await;
            let keys: Vec<&CacheKey> = pending.iter().map(PendingKey::key).collect();
            let Ok(found) = redis.peek(&keys).await else { break };
            let (mut found, now) = (found.into_iter(), clock::now());
            for mut one in std::mem::take(pending) {
                let (bytes, still_held) = found.next().unwrap_or_default();
                let entry = bytes.and_then(|bytes| {
                    self.tables.decoded(&self.plan, Tier::Redis, one.key(), bytes)
                });
                let entry = entry.filter(|entry| entry.times.stored_at >= since);
                if entry.is_some_and(|entry| self.completes(&mut one, entry, Tier::Redis, now)) {
                    continue;
                }
                if still_held { pending.push(one) } else { given_up.push(one) }
            }
        }
        pending.append(&mut given_up);
    }
}
