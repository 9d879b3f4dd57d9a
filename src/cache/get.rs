//! The whole way from a key to its answer.
//!
//! ```text
//!  get: memory ─ fresh, or stale and served at once ─▶ the answer, and whether to renew it
//!         └ else ─▶ load: join the load of the key, or start it ─▶ PendingAnswer ─ answer(deadline)
//! ```
//!
//! Owns: what is answered at once, what is waited for, and counting what callers got. Decides without
//! waiting, so the actor calls it inside its handlers; while the actor is down its client calls it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Message;

use super::entry::Entry;
use super::freshness::Freshness;
use super::key::CacheKey;
use super::load::{Joined, start, start_one};
use super::pending::Completed;
use super::plan::Plan;
use super::tables::CacheTables;
use super::tiers::Tier;
use crate::clock::{self, Timestamp};
use crate::failure::{Failure, FailureKind};
use crate::steps::Verdict;

/// Why a question went past the tiers (RFC 9211, `fwd`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    Miss,
    Stale,
    Request,
}

impl Forward {
    pub(super) const fn verdict(self) -> Verdict {
        match self {
            Self::Miss => Verdict::Miss,
            Self::Stale => Verdict::Stale,
            Self::Request => Verdict::Bypassed,
        }
    }
}

#[derive(Debug, Clone)]
pub struct Answer {
    pub entry: Arc<Entry>,
    pub tier: Tier,
    pub forward: Forward,
    pub stale: bool,
    /// Whether it came from a load that another caller had started.
    pub collapsed: bool,
    /// Whether the caller waited for a load, whatever came of that.
    pub waited: bool,
    /// Of a stale answer: why the key is not loaded just now, as far as that is known.
    pub held: Option<FailureKind>,
    pub served_at: Timestamp,
}

impl Answer {
    pub fn age(&self) -> Duration {
        self.served_at.since(self.entry.times.stored_at)
    }

    /// Fresh time left, in seconds; negative for how long it has been stale (as in RFC 9211).
    pub fn ttl_seconds(&self) -> i64 {
        let left =
            self.entry.times.fresh_until.as_millis().saturating_sub(self.served_at.as_millis());
        left.div_euclid(1_000)
    }
}

/// What memory has that is served without waiting, and whether it is to be renewed; else why the
/// question goes on.
pub type Found = Result<(Answer, bool), Forward>;

/// Asks memory for one key.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Found")]
pub struct Get {
    pub kind: &'static str,
    pub key: CacheKey,
}

/// Asks memory for several keys of one kind.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Vec<Found>")]
pub(super) struct GetMany {
    pub(super) kind: &'static str,
    pub(super) keys: Arc<[CacheKey]>,
}

/// Loads keys together, each with its place in the caller's list, or joins their loads. Those beyond
/// `forwards` are only renewed: nobody waits for them.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Vec<PendingAnswer>")]
pub(super) struct Load {
    pub(super) keys: Vec<(usize, CacheKey)>,
    pub(super) forwards: Vec<Forward>,
    pub(super) plan: Plan,
}

pub(super) struct PendingAnswer {
    tables: CacheTables,
    plan: Plan,
    pub(super) place: usize,
    key: CacheKey,
    forward: Forward,
    joined: Joined,
    asked_at: Timestamp,
}

impl CacheTables {
    pub(super) fn load(&self, load: &Load) -> Vec<PendingAnswer> {
        let Load { keys, forwards, plan } = load;
        let joined = start(self, keys, plan);
        let pending = |((place, key), forward, joined): (&(usize, CacheKey), &Forward, _)| {
            let (tables, plan, asked_at) = (self.clone(), plan.clone(), clock::now());
            let (place, key, forward) = (*place, key.clone(), *forward);
            PendingAnswer { tables, plan, place, key, forward, joined, asked_at }
        };
        let waited = keys.iter().zip(forwards).zip(joined);
        waited.map(|((key, forward), joined)| pending((key, forward, joined))).collect()
    }

    /// What could not be renewed a moment ago is not waited for.
    pub(super) fn get(&self, kind: &'static str, key: &CacheKey) -> Found {
        let served_at = clock::now();
        let Some((entry, freshness)) = self.look(key, served_at) else {
            self.metrics.tier_miss(kind, Tier::Memory.label());
            return Err(Forward::Miss);
        };
        let may_load = || !self.memo.is_held(key, clock::monotonic());
        if freshness == Freshness::StaleIfError && may_load() {
            return Err(Forward::Stale);
        }
        let renew = freshness.wants_refresh() && !self.pending.contains(key) && may_load();
        let answer = Answer {
            entry,
            tier: Tier::Memory,
            // Read only of an answer that comes from no tier.
            forward: Forward::Stale,
            stale: !freshness.is_fresh(),
            collapsed: false,
            waited: false,
            held: if freshness.is_fresh() { None } else { self.memo.held_for(key) },
            served_at,
        };
        Ok((self.served(kind, answer), renew))
    }

    /// What any tier holds: nothing is loaded for it.
    pub(super) async fn held(&self, plan: &Plan, key: &CacheKey) -> Option<Answer> {
        let (kind, served_at) = (plan.lifetimes.kind, clock::now());
        let mut held = self.look(key, served_at).map(|(entry, _)| (entry, Tier::Memory));
        for tier in [Tier::Redis, Tier::Database] {
            if held.is_none() {
                let found = self.find(plan, tier, &[key]).await.0.into_iter().flatten().next();
                held = found.map(|entry| (Arc::new(entry), tier));
            }
        }
        let Some((entry, tier)) = held else {
            self.metrics.miss(kind);
            return None;
        };
        let stale = !self.judge(key, &entry, served_at).is_fresh();
        let (forward, collapsed, waited) = (Forward::Miss, false, tier != Tier::Memory);
        let held = None;
        let answer = Answer { entry, tier, forward, stale, collapsed, waited, held, served_at };
        Some(self.served(kind, answer))
    }

    fn served(&self, kind: &'static str, answer: Answer) -> Answer {
        match answer.tier {
            Tier::Upstream => self.metrics.miss(kind),
            Tier::Memory | Tier::Redis | Tier::Database => {
                self.metrics.hit(kind, answer.tier.label());
            }
        }
        if answer.stale {
            self.metrics.stale(kind);
        }
        answer.entry.add_uses(1);
        self.metrics.served_age.observe(answer.age());
        answer
    }
}

impl PendingAnswer {
    /// Waits for the load. Whatever comes of it, what memory holds by then is better than nothing.
    pub(super) async fn answer(mut self, deadline: Instant) -> Result<Answer, Failure> {
        let completed = tokio::time::timeout_at(deadline.into(), self.completed()).await;
        let completed = completed.unwrap_or_else(|_| {
            Err(Failure::new(FailureKind::DeadlineExceeded, "no answer before the deadline"))
        });
        let Self { tables, plan, key, forward, joined: Joined { collapsed, .. }, .. } = self;
        let kind = plan.lifetimes.kind;
        let mut held_for = None;
        let completed = completed.or_else(|failure| {
            held_for = Some(failure.kind);
            let held = tables.look(&key, clock::now());
            held.map(|(entry, _)| (entry, Tier::Memory)).ok_or(failure)
        });
        let (entry, tier) = completed.inspect_err(|_| tables.metrics.miss(kind))?;
        let served_at = clock::now();
        let stale = !tables.judge(&key, &entry, served_at).is_fresh();
        let (waited, held) = (true, held_for.or_else(|| tables.memo.held_for(&key)));
        let held = held.filter(|_| stale);
        let answer = Answer { entry, tier, forward, stale, collapsed, waited, held, served_at };
        Ok(tables.served(kind, answer))
    }

    /// What the load brings. One that died is started again, once; and so is one that answers a
    /// question from before an invalidation that was in force when this caller asked. One that another
    /// client began, and is refused to that client, is begun again for this one until its deadline.
    async fn completed(&mut self) -> Completed {
        let mut completed = self.joined.follower.first().await;
        if completed.as_ref().is_some_and(|completed| self.is_too_old(completed)) {
            // It may have been announced before the origin answered, which may bring something newer.
            completed = self.joined.follower.last().await;
        }
        let is_anothers = |joined: &Joined, completed: &Completed| {
            joined.collapsed && completed.as_ref().is_err_and(Failure::is_of_client)
        };
        let completed = completed.filter(|completed| !self.is_too_old(completed));
        if let Some(completed) = completed.filter(|one| !is_anothers(&self.joined, one)) {
            return completed;
        }
        let lost = || Failure::new(FailureKind::Internal, "the load died twice");
        loop {
            let mut again = start_one(&self.tables, &self.key, self.place, &self.plan);
            let completed = again.follower.first().await.unwrap_or_else(|| Err(lost()));
            if !is_anothers(&again, &completed) {
                return completed;
            }
        }
    }

    fn is_too_old(&self, completed: &Completed) -> bool {
        let brought = completed.as_ref().ok();
        brought.is_some_and(|(entry, _)| self.tables.forbids(&self.key, entry, self.asked_at))
    }
}
