//! The load of what memory cannot answer: Redis, then SQL, then the origin.
//!
//! ```text
//!  start ─ completed meanwhile: answered at once
//!     │ one leader for each key
//!     ▼
//!  search: Redis ▶ SQL      fresh: completed │ stale: announced, or in hand until the soft time-out
//!     │ what is left, but for what failed a moment ago, and what another instance loads just now
//!     ▼
//!  origin: probe budget ▶ loader ─ brought: memory, announced, Redis and SQL
//!                                └ failed: announced to those who have nothing, and remembered
//! ```
//!
//! Owns: one load, from its start to the last tier stored. It belongs to no caller: one that goes away
//! changes nothing, and when its task dies its followers start another. A tier that is down is a miss.

mod origin;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::Entry;
use super::freshness::Freshness;
use super::key::CacheKey;
use super::pending::{Follower, Leader};
use super::plan::Plan;
use super::probe_budget::Hold;
use super::tables::CacheTables;
use super::tiers::Tier;
use crate::clock::{self, Timestamp};
use crate::failure::{Failure, FailureKind, StoreError};
use crate::resilience::Priority;
use crate::steps::{Stage, Verdict};
use crate::supervision::spawn_watched;

/// What a load may take after its deadline to store what it brought.
const STORING: Duration = Duration::from_secs(2);

/// A key to load, and its place in the caller's list.
struct PendingKey {
    place: usize,
    leader: Leader,
    /// What is stale but usable, and where it was found.
    in_hand: Option<(Arc<Entry>, Tier)>,
    announced: bool,
    /// Its last load failed a moment ago: the tiers are searched, and the origin is not asked.
    failed: Option<Failure>,
}

impl PendingKey {
    const fn key(&self) -> &CacheKey {
        self.leader.key()
    }

    /// Announces what is in hand; says whether followers have an answer now.
    fn announce_in_hand(&mut self) -> bool {
        if let (false, Some(held)) = (self.announced, &self.in_hand) {
            self.leader.announce(Ok(held.clone()));
            self.announced = true;
        }
        self.announced
    }

    /// Ends without having been loaded: followers get what is in hand, else the failure. Without one
    /// they start a load of their own.
    fn end(mut self, failure: Option<&Failure>) {
        if !self.announce_in_hand()
            && let Some(failure) = failure
        {
            self.leader.announce(Err(failure.clone()));
        }
    }
}

#[derive(Debug)]
pub(super) struct Joined {
    pub(super) follower: Follower,
    pub(super) collapsed: bool,
}

/// Joins the loads of `keys`; those that nobody loads yet are loaded together, on this thread.
pub(super) fn start(tables: &CacheTables, keys: &[(usize, CacheKey)], plan: &Plan) -> Vec<Joined> {
    let mut led = Vec::new();
    let joined =
        keys.iter().map(|(place, key)| join(tables, *place, key, plan, &mut led)).collect();
    spawn(tables, led, plan);
    joined
}

pub(super) fn start_one(tables: &CacheTables, key: &CacheKey, place: usize, plan: &Plan) -> Joined {
    let mut led = Vec::new();
    let joined = join(tables, place, key, plan, &mut led);
    spawn(tables, led, plan);
    joined
}

/// Joins the load of a key. One that this caller has to load is added to `led`, unless another was
/// completed since the caller looked into memory: a load puts into memory before its key is free.
fn join(
    tables: &CacheTables,
    place: usize,
    key: &CacheKey,
    plan: &Plan,
    led: &mut Vec<PendingKey>,
) -> Joined {
    let (leader, follower) = tables.pending.join(key, plan.steps.request_id());
    let Some(leader) = leader else {
        plan.steps.note(Stage::Flight, Verdict::Joined, || match &follower.leads {
            Some(request) => format!("the load of request {request}"),
            None => "a load in the background".to_owned(),
        });
        return Joined { follower, collapsed: true };
    };
    let now = clock::monotonic();
    let failed = tables.memo.failure(key, now);
    if failed.is_some() {
        tables.metrics.loads_held.at([Hold::RecentFailure.label()]).inc();
    }
    let is_good = |freshness: Freshness| {
        let renews = plan.priority != Priority::Client;
        freshness.is_fresh() && !(renews && freshness.wants_refresh())
    };
    let is_enough = |freshness| {
        failed.is_some() || !plan.reload && (is_good(freshness) || tables.memo.is_held(key, now))
    };
    match tables.look(key, clock::now()) {
        Some((entry, freshness)) if is_enough(freshness) => {
            leader.announce(Ok((entry, Tier::Memory)));
        }
        held => {
            let in_hand = held.filter(|_| !plan.reload).map(|(entry, _)| (entry, Tier::Memory));
            led.push(PendingKey { place, leader, in_hand, announced: false, failed });
        }
    }
    Joined { follower, collapsed: false }
}

fn spawn(tables: &CacheTables, led: Vec<PendingKey>, plan: &Plan) {
    if !led.is_empty() {
        plan.steps.note(Stage::Flight, Verdict::Passed, || "");
        let (tables, plan, now) = (tables.clone(), plan.clone(), clock::monotonic());
        let observer = Arc::clone(&tables.observer);
        let (soft, end) = (now + tables.soft, now + plan.within);
        let load = Load { tables, plan, soft, end, began: clock::now() };
        spawn_watched(TASK, observer, load.run(led));
    }
}

/// The owner of loads.
pub const TASK: &str = "cache-load";

struct Load {
    tables: CacheTables,
    plan: Plan,
    /// After it followers take what is stale.
    soft: Instant,
    /// The origin has to answer by then.
    end: Instant,
    began: Timestamp,
}

impl Load {
    async fn run(self, mut keys: Vec<PendingKey>) {
        let steps = async {
            let redis_answered = self.plan.reload || self.search(&mut keys).await;
            self.ask_origin(&mut keys, redis_answered).await;
        };
        // The origin has a deadline of its own; this one is for tiers that take too long after it.
        if tokio::time::timeout_at((self.end + STORING).into(), steps).await.is_err() {
            let late = Failure::new(FailureKind::DeadlineExceeded, "the load took too long");
            self.give_up(&mut keys, &late);
        }
    }

    /// Looks into Redis, where another instance may have left something newer, and then into SQL for
    /// what there is nothing of at all; keys that are completed leave the list. Says whether Redis
    /// answered: one that does not is waited for once in a request, not at each of its steps.
    async fn search(&self, pending: &mut Vec<PendingKey>) -> bool {
        let redis_answered = if self.plan.redis_silent {
            let why = || "not asked: it gave no answer about the limits";
            self.plan.steps.note(Stage::Redis, Verdict::Bypassed, why);
            false
        } else {
            self.search_in(Tier::Redis, pending).await
        };
        let mut bare: Vec<_> = pending.extract_if(.., |one| one.in_hand.is_none()).collect();
        self.search_in(Tier::Database, &mut bare).await;
        bare.append(pending);
        *pending = bare;
        redis_answered
    }

    async fn search_in(&self, tier: Tier, pending: &mut Vec<PendingKey>) -> bool {
        let keys: Vec<&CacheKey> = pending.iter().map(PendingKey::key).collect();
        let (found, answered) = self.tables.find(&self.plan, tier, &keys).await;
        let now = clock::now();
        let is_answered = answered.is_ok();
        self.note_search(tier, &found, answered, now);
        let mut found = found.into_iter();
        pending.retain_mut(|one| {
            let entry = found.next().flatten();
            entry.is_none_or(|entry| !self.completes(one, entry, tier, now))
        });
        is_answered
    }

    /// A tier that is not there was not asked.
    fn note_search(
        &self,
        tier: Tier,
        found: &[Option<Entry>],
        answered: Result<(), StoreError>,
        now: Timestamp,
    ) {
        let (true, Some(stage)) = (!found.is_empty(), tier.stage()) else { return };
        let held: Vec<_> = found.iter().flatten().collect();
        let is_past = |entry: &&Entry| entry.times.fresh_until <= now;
        let verdict = match (&answered, held.len()) {
            (Err(StoreError::Avoided), _) => Verdict::Bypassed,
            (Err(_), _) => Verdict::Failed,
            (Ok(()), 0) => Verdict::Miss,
            (Ok(()), _) if held.iter().any(is_past) => Verdict::Stale,
            (Ok(()), _) => Verdict::Hit,
        };
        self.plan.steps.note(stage, verdict, || match (answered, found.len()) {
            (Err(error), _) => error.to_string(),
            (Ok(()), 1) => String::new(),
            (Ok(()), all) => format!("{} of {all} keys", held.len()),
        });
    }

    /// Lifts a find into memory unless what is held there is as new; whether the key is completed.
    fn completes(&self, one: &mut PendingKey, entry: Entry, tier: Tier, now: Timestamp) -> bool {
        let tables = &self.tables;
        let held = tables.look(one.key(), now);
        let held = held.filter(|(held, _)| held.times.stored_at >= entry.times.stored_at);
        let (entry, tier, freshness) = if let Some((held, freshness)) = held {
            (held, Tier::Memory, freshness)
        } else {
            let freshness = tables.judge(one.key(), &entry, now);
            if freshness == Freshness::Dead {
                return false;
            }
            if freshness.is_fresh() {
                tables.memo.clear(one.key());
            }
            let entry = Arc::new(entry);
            tables.memory.put(one.key().clone(), Arc::clone(&entry));
            (entry, tier, freshness)
        };
        let before = one.in_hand.as_ref().map(|(before, _)| before.times.stored_at);
        let newer = before.is_none_or(|before| before < entry.times.stored_at);
        if newer {
            one.in_hand = Some((entry, tier));
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
}
