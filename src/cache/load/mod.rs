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

mod elsewhere;
mod origin;
mod search;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::entry::Entry;
use super::key::CacheKey;
use super::pending::{Completed, Follower, Leader, Role};
use super::plan::Plan;
use super::tables::CacheTables;
use super::tiers::Tier;
use crate::clock::{self, Timestamp};
use crate::failure::{Failure, FailureKind};
use crate::resilience::Priority;
use crate::supervision::spawn_watched;

/// What a load may take after its deadline to store what it brought.
const STORING: Duration = Duration::from_secs(2);

/// A key to load, and its place in the caller's list.
struct PendingKey {
    place: usize,
    leader: Leader,
    /// What is stale but usable, and where it was found.
    in_hand: Option<(Arc<Entry>, Tier)>,
    /// Followers have an answer already.
    announced: bool,
    /// Its last load failed a moment ago: the tiers are searched, and the origin is not asked.
    failed: Option<Failure>,
}

impl PendingKey {
    /// Announces what is in hand; says whether followers have an answer now.
    fn announce_in_hand(&mut self) -> bool {
        if let (false, Some(held)) = (self.announced, &self.in_hand) {
            self.leader.announce(Ok(held.clone()));
            self.announced = true;
        }
        self.announced
    }
}

/// A caller's part in the load of a key.
#[derive(Debug)]
pub(super) struct Joined {
    pub(super) follower: Follower,
    /// Another caller had started it.
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

/// The same for one key.
pub(super) fn start_one(tables: &CacheTables, key: &CacheKey, place: usize, plan: &Plan) -> Joined {
    let mut led = Vec::new();
    let joined = join(tables, place, key, plan, &mut led);
    spawn(tables, led, plan);
    joined
}

/// Joins the load of a key; one that this caller has to load is added to `led`.
fn join(
    tables: &CacheTables,
    place: usize,
    key: &CacheKey,
    plan: &Plan,
    led: &mut Vec<PendingKey>,
) -> Joined {
    let (leader, follower) = match tables.pending.join(key) {
        Role::Follower(follower) => return Joined { follower, collapsed: true },
        Role::Leader(leader, follower) => (leader, follower),
    };
    match before_start(tables, key, plan) {
        Start::Needless(completed) => leader.announce(completed),
        Start::Needed(in_hand, failed) => {
            led.push(PendingKey { place, leader, in_hand, announced: false, failed });
        }
    }
    Joined { follower, collapsed: false }
}

fn spawn(tables: &CacheTables, led: Vec<PendingKey>, plan: &Plan) {
    if !led.is_empty() {
        let load = run(tables.clone(), led, plan.clone());
        spawn_watched("cache-load", Arc::clone(&tables.observer), load);
    }
}

/// Whether a new leader has to load at all; if so, with what in hand, and whether only to search.
enum Start {
    Needless(Completed),
    Needed(Option<(Arc<Entry>, Tier)>, Option<Failure>),
}

/// What spares a load: another may have completed between the caller's look into memory and now, or
/// failed a moment ago. A load puts into memory before its key is free, so a new leader that looks
/// again finds it.
fn before_start(tables: &CacheTables, key: &CacheKey, plan: &Plan) -> Start {
    let held = tables.look(key, clock::now());
    let now = clock::monotonic();
    let failure = tables.memo.failure(key, now);
    if failure.is_some() {
        tables.metrics.loads_held.at(["recent_failure"]).inc();
    }
    match (held, failure) {
        (Some((entry, _)), Some(_)) => Start::Needless(Ok((entry, Tier::Memory))),
        // What memory has evicted meanwhile, or another instance has stored, is behind it.
        (None, Some(failure)) => Start::Needed(None, Some(failure)),
        (Some((entry, freshness)), None) if !plan.reload => {
            let renews = plan.priority != Priority::Client;
            let good = freshness.is_fresh() && !(renews && freshness.wants_refresh());
            if good || tables.memo.is_held(key, now) {
                return Start::Needless(Ok((entry, Tier::Memory)));
            }
            Start::Needed(Some((entry, Tier::Memory)), None)
        }
        (Some(_) | None, None) => Start::Needed(None, None),
    }
}

async fn run(tables: CacheTables, mut keys: Vec<PendingKey>, plan: Plan) {
    let now = clock::monotonic();
    let times = Times { soft: now + tables.soft, end: now + plan.within, began: clock::now() };
    let steps = async {
        let redis_answered = plan.reload || search::behind_memory(&tables, &mut keys, &plan).await;
        origin::load(&tables, &mut keys, &plan, times, redis_answered).await;
    };
    // The origin has a deadline of its own; this one is for tiers that take too long after it.
    if tokio::time::timeout_at((times.end + STORING).into(), steps).await.is_err() {
        let late = Failure::new(FailureKind::DeadlineExceeded, "the load took too long");
        origin::give_up(&tables, &mut keys, &late);
    }
}

/// The times of a load.
#[derive(Debug, Clone, Copy)]
struct Times {
    /// After it followers take what is stale.
    soft: Instant,
    /// The origin has to answer by then.
    end: Instant,
    began: Timestamp,
}
