//! Loading what is asked for most before it is asked for again.
//!
//! Owns: a round of it. First what SQL holds is lifted into memory, which costs nothing; then what
//! is stale or nearly so is loaded, one at a time with a pause between, as the least urgent of all
//! calls. Refuses: to go on while the source fails or clients need its pace; the rest waits for the
//! next round. The first load of a round is always tried: without clients nobody else would find out
//! that the source is back. What failed a moment ago is passed over. A database that is not there yet makes no round, and is asked again soon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use slog::{Logger, debug, info};
use utoipa::ToSchema;

use crate::cache::entry::Entry;
use crate::cache::freshness::Freshness;
use crate::cache::key::CacheKey;
use crate::cache::load::start_one;
use crate::cache::plan::Plan;
use crate::cache::tables::CacheTables;
use crate::cache::tiers::Tier;
use crate::cache::tiers::database::Remembered;
use crate::clock::{self, Timestamp};
use crate::supervision::spawn_watched;

/// Keys asked for less often are left to be asked for.
const LEAST_USES: u64 = 2;
/// Keys not asked for in this time are left too.
const RECENT: Duration = Duration::from_secs(24 * 3_600);
/// Refusals in a row after which a round ends: clients need the pace.
const PATIENCE: u32 = 5;
/// Time between two loads: a round must not take the pace that clients need.
pub const PAUSE: Duration = Duration::from_secs(1);
/// A round begins so long after the last.
pub const ROUND_EVERY: Duration = Duration::from_secs(300);
/// When a round is tried again that could not be made.
const AGAIN: Duration = Duration::from_secs(3);

/// Makes a plan for a key of the question that was stored with it; `None` if nobody can ask it any
/// more.
pub type PlanFor = Arc<dyn Fn(&CacheKey, &str) -> Option<Plan>>;

/// How much is warmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WarmerSettings {
    /// Keys in a round; 0 for none.
    pub keys: usize,
    /// Time between two loads.
    pub pause: Duration,
}

/// What a round did.
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

/// Warms the cache of one process.
#[derive(Clone)]
pub struct Warmer {
    tables: CacheTables,
    plan_for: PlanFor,
    settings: WarmerSettings,
    /// A round is under way, this one or another worker's.
    busy: Arc<AtomicBool>,
    log: Logger,
}

/// The right to warm, given back when dropped.
struct Turn(Arc<AtomicBool>);

impl Turn {
    fn take(busy: &Arc<AtomicBool>) -> Option<Self> {
        (!busy.swap(true, Ordering::AcqRel)).then(|| Self(Arc::clone(busy)))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

/// A key to load, and how.
struct Wanted {
    key: CacheKey,
    plan: Plan,
}

impl Warmer {
    /// A warmer over `tables`; `busy` is shared by all warmers of the process.
    pub fn new(
        tables: CacheTables,
        plan_for: PlanFor,
        settings: WarmerSettings,
        busy: Arc<AtomicBool>,
    ) -> Self {
        let log = tables.log.clone();
        Self { tables, plan_for, settings, busy, log }
    }

    /// One round, to its end; `None` when another is under way or the database did not answer.
    pub async fn round(&self) -> Option<Round> {
        let turn = Turn::take(&self.busy)?;
        let (mut round, wanted) = self.lift_all().await?;
        self.load(wanted, &mut round).await;
        drop(turn);
        if round.lifted + round.loaded > 0 {
            info!(self.log, "cache warmed"; "considered" => round.considered,
                "lifted" => round.lifted, "loaded" => round.loaded, "left" => round.left);
        }
        Some(round)
    }

    /// Begins a round: what can be lifted is, what is to be loaded is loaded behind. `None` when
    /// another is under way.
    pub async fn begin(&self) -> Option<Round> {
        let turn = Turn::take(&self.busy)?;
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

    /// What was lifted, and what is to be loaded; `None` when the database did not answer.
    async fn lift_all(&self) -> Option<(Round, Vec<Wanted>)> {
        let mut round = Round::default();
        let mut wanted = Vec::new();
        if self.settings.keys == 0 || self.tables.database.is_none() {
            return Some((round, wanted));
        }
        let now = clock::now();
        let database = self.tables.trusted_database()?;
        let found = database.most_used(self.settings.keys, now).await;
        let rows = found
            .inspect_err(|error| debug!(self.log, "nothing warmed"; "error" => %error))
            .ok()?;
        for row in rows.iter().filter(|row| is_popular(row, now)) {
            round.considered += 1;
            let freshness = self.lift(row, now, &mut round);
            if freshness != Freshness::Fresh
                && let Some(plan) = (self.plan_for)(&row.key, &row.question)
            {
                wanted.push(Wanted { key: row.key.clone(), plan });
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

    async fn load(&self, wanted: Vec<Wanted>, round: &mut Round) {
        let (mut refused, mut tried) = (0, false);
        let mut left = wanted.len();
        for Wanted { key, plan } in wanted {
            let budget = self.tables.budgets.of(plan.origin);
            if refused >= PATIENCE || (tried && budget.is_failing()) {
                break;
            }
            if self.tables.memo.failure(&key, clock::monotonic()).is_some() {
                continue;
            }
            tried = true;
            tokio::time::sleep(self.settings.pause).await;
            refused = if self.load_one(key, &plan, round).await { 0 } else { refused + 1 };
            left -= 1;
        }
        round.left = left;
    }

    /// Has one key loaded, unless Redis holds what another instance loaded; whether it is fresh then.
    /// The soft time-out is for those who wait: the end of the load is what counts here.
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

fn is_popular(row: &Remembered, now: Timestamp) -> bool {
    row.uses >= LEAST_USES && row.used_at >= now.minus(RECENT)
}
