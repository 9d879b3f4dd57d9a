//! What the cache does when nobody asks: counting uses, making room, and warming.
//!
//! Owns: one step of each; the caller decides how often. A store that is away leaves its step undone
//! for the next call. A round of warming first lifts what SQL holds into memory, which costs nothing;
//! then it loads what is stale or nearly so, one at a time with a pause between, as the least urgent
//! of all calls. It ends when the source fails or clients need its pace; the rest waits for the next
//! round. The first load of a round is always tried: without clients nobody else would find out that
//! the source is back. What failed a moment ago is passed over.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use slog::{debug, info, warn};
use tokio::sync::{Mutex, OwnedMutexGuard};
use utoipa::ToSchema;

use super::entry::Entry;
use super::freshness::Freshness;
use super::key::CacheKey;
use super::load::start_one;
use super::plan::Plan;
use super::tables::CacheTables;
use super::tiers::Tier;
use super::tiers::database::{Remembered, Swept};
use crate::clock::{self, Timestamp};
use crate::supervision::spawn_watched;

/// Keys used less often, or not in this time, are left to be asked for.
const LEAST_USES: u64 = 2;
const RECENT: Duration = Duration::from_secs(24 * 3_600);
/// Loads rejected in a row after which a round ends: clients need the pace.
const PATIENCE: u32 = 5;
/// Time between two loads: a round must not take the pace that clients need.
pub const PAUSE: Duration = Duration::from_secs(1);
/// A round begins so long after the last.
pub const ROUND_EVERY: Duration = Duration::from_secs(300);
const AGAIN: Duration = Duration::from_secs(3);

impl CacheTables {
    /// Hands the uses counted since the last call to SQL.
    pub fn hand_over_uses(&self) {
        let uses = self.memory.take_uses();
        if !uses.is_empty() {
            self.database.writer.used(uses, clock::now());
        }
        let entries = u64::try_from(self.memory.len()).unwrap_or(u64::MAX);
        self.metrics.size(Tier::Memory.label(), entries, self.memory.bytes());
    }

    /// Drops rows past their time and beyond `max_bytes`, and invalidations older than `longest`,
    /// the longest time an entry is usable. What left the database.
    pub async fn tidy(&self, max_bytes: u64, longest: Duration) -> Swept {
        let now = clock::now();
        self.invalidations.forget_before(now.minus(longest));
        let swept = self.database.sweep(now, max_bytes).await;
        let swept =
            swept.inspect_err(|error| warn!(self.log, "database not swept"; "error" => %error));
        let Ok(swept) = swept else { return Swept::default() };
        self.metrics.size(Tier::Database.label(), swept.rows, swept.bytes);
        if swept.evicted > 0 {
            info!(self.log, "rows left the database for want of room";
                "evicted" => swept.evicted, "expired" => swept.expired);
        }
        swept
    }
}

/// Makes a plan for a key of the question that was stored with it; `None` if nobody can ask it any
/// more.
pub type PlanFor = Arc<dyn Fn(&CacheKey, &str) -> Option<Plan>>;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Round {
    /// Keys looked at.
    pub considered: usize,
    /// Lifted from SQL into memory.
    pub lifted: usize,
    /// Loaded from the upstream.
    pub loaded: usize,
    /// Still to be loaded: now, or in the next round if the upstream fails or clients need its pace.
    pub left: usize,
}

#[derive(Clone)]
pub struct Warmer {
    pub tables: CacheTables,
    pub plan_for: PlanFor,
    /// Keys in a round; 0 for none.
    pub keys: usize,
    pub pause: Duration,
    pub turn: Arc<Mutex<()>>,
}

impl Warmer {
    /// One round, to its end; `None` when another is under way or the database did not answer.
    pub async fn round(&self) -> Option<Round> {
        let turn = self.take_turn()?;
        let (mut round, wanted) = self.lift_all().await?;
        self.load(wanted, &mut round).await;
        drop(turn);
        if round.lifted + round.loaded > 0 {
            info!(self.tables.log, "cache warmed"; "considered" => round.considered,
                "lifted" => round.lifted, "loaded" => round.loaded, "left" => round.left);
        }
        Some(round)
    }

    /// Begins a round: what can be lifted is, what is to be loaded is loaded behind. `None` when
    /// another is under way.
    pub async fn begin(&self) -> Option<Round> {
        let turn = self.take_turn()?;
        let (round, wanted) = self.lift_all().await.unwrap_or_default();
        let warmer = self.clone();
        spawn_watched("cache-warming", Arc::clone(&self.tables.observer), async move {
            warmer.load(wanted, &mut Round::default()).await;
            drop(turn);
        });
        Some(round)
    }

    /// Rounds for as long as the process runs, one every `interval`; the next try is sooner when
    /// there was none.
    pub async fn keep_warm(&self, interval: Duration) {
        loop {
            let done = self.round().await;
            tokio::time::sleep(if done.is_some() { interval } else { AGAIN.min(interval) }).await;
        }
    }

    fn take_turn(&self) -> Option<OwnedMutexGuard<()>> {
        Arc::clone(&self.turn).try_lock_owned().ok()
    }

    /// What was lifted, and what is to be loaded; `None` when the database did not answer.
    async fn lift_all(&self) -> Option<(Round, Vec<(CacheKey, Plan)>)> {
        let mut round = Round::default();
        let mut wanted = Vec::new();
        if self.keys == 0 {
            return Some((round, wanted));
        }
        let now = clock::now();
        let found = self.tables.trusted_database()?.most_used(self.keys, now).await;
        let rows = found
            .inspect_err(|error| debug!(self.tables.log, "nothing warmed"; "error" => %error))
            .ok()?;
        let is_popular =
            |row: &&Remembered| row.uses >= LEAST_USES && row.used_at >= now.minus(RECENT);
        for row in rows.iter().filter(is_popular) {
            round.considered += 1;
            let freshness = self.lift(row, now, &mut round);
            if freshness != Freshness::Fresh
                && let Some(plan) = (self.plan_for)(&row.key, &row.question)
            {
                wanted.push((row.key.clone(), plan));
            }
        }
        round.left = wanted.len();
        Some((round, wanted))
    }

    /// Puts a row into memory if nothing is held there; says how fresh what is held is.
    fn lift(&self, row: &Remembered, now: Timestamp, round: &mut Round) -> Freshness {
        if let Some((_, freshness)) = self.tables.look(&row.key, now) {
            return freshness;
        }
        let Ok(entry) = Entry::decode(row.entry.clone(), &row.key) else { return Freshness::Dead };
        let freshness = self.tables.judge(&row.key, &entry, now);
        if freshness != Freshness::Dead {
            self.tables.memory.put(row.key.clone(), Arc::new(entry));
            self.tables.metrics.warmed.inc();
            round.lifted += 1;
        }
        freshness
    }

    async fn load(&self, wanted: Vec<(CacheKey, Plan)>, round: &mut Round) {
        let (mut rejected, mut tried) = (0, false);
        round.left = wanted.len();
        for (key, plan) in wanted {
            if rejected >= PATIENCE || (tried && self.tables.budgets.is_failing(plan.origin)) {
                break;
            }
            if self.tables.memo.failure(&key, clock::monotonic()).is_some() {
                continue;
            }
            tried = true;
            tokio::time::sleep(self.pause).await;
            rejected = if self.load_one(key, &plan, round).await { 0 } else { rejected + 1 };
            round.left -= 1;
        }
    }

    /// Has one key loaded, unless Redis holds what another instance loaded; whether it is fresh then.
    async fn load_one(&self, key: CacheKey, plan: &Plan, round: &mut Round) -> bool {
        let mut joined = start_one(&self.tables, &key, 0, plan);
        let Some(Ok((entry, tier))) = joined.follower.last().await else { return false };
        if self.tables.judge(&key, &entry, clock::now()) != Freshness::Fresh {
            return false;
        }
        match tier {
            Tier::Upstream => round.loaded += 1,
            Tier::Redis | Tier::Database => round.lifted += 1,
            // A client was faster.
            Tier::Memory => return true,
        }
        self.tables.metrics.warmed.inc();
        true
    }
}
