//! How the rest of a worker uses its CacheActor.
//!
//! Owns: the order of asking (memory, then a flight), what to do when the actor is down (the same,
//! on the tables), and counting what callers got. A stale answer is given at once while its refresh
//! runs without the caller.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::actor::{CacheActor, Clear, Fly, Lookup};
use super::entry::{Entry, Verdict};
use super::flight::{Boarded, take_off};
use super::freshness::{Freshness, judge};
use super::key::CacheKey;
use super::plan::Plan;
use super::tables::{CacheTables, Cleared};
use super::tiers::Tier;
use crate::clock::{self, Timestamp};
use crate::failure::{Failure, FailureKind};
use crate::supervision::{AskError, Handle};

/// Longest wait for the actor itself; its handlers take microseconds.
const ACTOR_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for a clean-up of all tiers.
const CLEAR_TIMEOUT: Duration = Duration::from_secs(15);

/// An answer and where it came from.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The entry served.
    pub entry: Arc<Entry>,
    /// The tier that had it.
    pub tier: Tier,
    /// Whether it is past its fresh time.
    pub stale: bool,
    /// Whether it came from a flight that another caller had started.
    pub collapsed: bool,
    /// When it was served.
    pub served_at: Timestamp,
}

impl Answer {
    fn new(entry: Arc<Entry>, tier: Tier, collapsed: bool, served_at: Timestamp) -> Self {
        let stale = !judge(&entry, Verdict::Valid, 0, served_at).is_fresh();
        Self { entry, tier, stale, collapsed, served_at }
    }

    /// Time since the data was loaded.
    #[must_use]
    pub fn age(&self) -> Duration {
        self.served_at.since(self.entry.times.stored_at)
    }

    /// Fresh time left, in seconds; negative for how long it has been stale (as in RFC 9211).
    #[must_use]
    pub fn ttl_seconds(&self) -> i64 {
        let left =
            self.entry.times.fresh_until.as_millis().saturating_sub(self.served_at.as_millis());
        left.div_euclid(1_000)
    }
}

/// A worker's way to the cache. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CacheClient {
    actor: Handle<CacheActor>,
    tables: CacheTables,
}

impl CacheClient {
    /// A client of `actor`, which works on `tables`.
    #[must_use]
    pub const fn new(actor: Handle<CacheActor>, tables: CacheTables) -> Self {
        Self { actor, tables }
    }

    /// Whether the worker's actor is down and callers work on the tables themselves.
    #[must_use]
    pub fn is_bypassed(&self) -> bool {
        self.actor.is_down()
    }

    /// The tables themselves, for status pages.
    #[must_use]
    pub const fn tables(&self) -> &CacheTables {
        &self.tables
    }

    /// The answer for one key; `plan` is asked for only when memory has nothing fresh.
    ///
    /// # Errors
    /// Nothing usable was found and loading failed, or `deadline` passed.
    pub async fn get(
        &self,
        kind: &'static str,
        key: CacheKey,
        deadline: Instant,
        plan: impl FnOnce() -> Plan,
    ) -> Result<Answer, Failure> {
        if let Some((entry, freshness)) = self.look(&key).await {
            let answer = self.served(kind, Answer::new(entry, Tier::Memory, false, clock::now()));
            if !freshness.is_fresh() && answer.entry.may_refresh(answer.served_at) {
                self.refresh(key, plan()).await;
            }
            return Ok(answer);
        }
        self.tables.metrics.tier_miss(kind, Tier::Memory.label());
        self.fetch(kind, &[(0, key)], deadline, &plan()).await.pop().unwrap_or_else(|| Err(lost()))
    }

    /// The answer for one key, loaded anew; what the tiers hold only helps when that fails.
    ///
    /// # Errors
    /// Loading failed and nothing usable was found, or `deadline` passed.
    pub async fn reload(
        &self,
        kind: &'static str,
        key: CacheKey,
        deadline: Instant,
        plan: Plan,
    ) -> Result<Answer, Failure> {
        let plan = Plan { reload: true, ..plan };
        self.fetch(kind, &[(0, key)], deadline, &plan).await.pop().unwrap_or_else(|| Err(lost()))
    }

    /// The answers for several keys of one kind, in their order; what is missing is loaded together.
    pub async fn get_many(
        &self,
        kind: &'static str,
        keys: &[CacheKey],
        deadline: Instant,
        plan: &Plan,
    ) -> Vec<Result<Answer, Failure>> {
        let mut answers = Vec::with_capacity(keys.len());
        let mut missing = Vec::new();
        for (place, key) in keys.iter().enumerate() {
            let found = if plan.reload { None } else { self.look(key).await };
            if let Some((entry, freshness)) = found {
                let answer = Answer::new(entry, Tier::Memory, false, clock::now());
                if !freshness.is_fresh() && answer.entry.may_refresh(answer.served_at) {
                    missing.push((place, key.clone()));
                }
                answers.push(Some(Ok(self.served(kind, answer))));
            } else {
                self.tables.metrics.tier_miss(kind, Tier::Memory.label());
                missing.push((place, key.clone()));
                answers.push(None);
            }
        }
        self.complete(kind, answers, &missing, deadline, plan).await
    }

    /// Flies for what is missing; for keys that have a stale answer already nobody waits.
    async fn complete(
        &self,
        kind: &'static str,
        mut answers: Vec<Option<Result<Answer, Failure>>>,
        missing: &[(usize, CacheKey)],
        deadline: Instant,
        plan: &Plan,
    ) -> Vec<Result<Answer, Failure>> {
        if !missing.is_empty() {
            let boarded = self.board(missing, plan).await;
            for (wanted, boarded) in missing.iter().zip(boarded) {
                if let Some(answer @ None) = answers.get_mut(wanted.0) {
                    *answer = Some(self.arrive(kind, wanted, boarded, deadline, plan).await);
                }
            }
        }
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(lost()))).collect()
    }

    /// Drops every key that matches the glob from all tiers.
    ///
    /// # Errors
    /// It took too long; part of it may be done.
    pub async fn clear(&self, glob: &str, reason: &'static str) -> Result<Cleared, Failure> {
        let message = Clear { glob: glob.to_owned(), reason };
        match self.actor.ask(message, CLEAR_TIMEOUT).await {
            Ok(cleared) => Ok(cleared),
            Err(AskError::TooLate) => {
                Err(Failure::new(FailureKind::DeadlineExceeded, "clearing the cache took too long"))
            }
            Err(AskError::NotDelivered(_) | AskError::Died) => {
                Ok(self.tables.clear(glob, reason).await)
            }
        }
    }

    async fn look(&self, key: &CacheKey) -> Option<(Arc<Entry>, Freshness)> {
        match self.actor.ask(Lookup(key.clone()), ACTOR_TIMEOUT).await {
            Ok(found) => found,
            Err(AskError::Died) => None,
            Err(AskError::NotDelivered(_) | AskError::TooLate) => {
                self.tables.look(key, clock::now())
            }
        }
    }

    async fn refresh(&self, key: CacheKey, plan: Plan) {
        // Nobody waits for the ticket; the flight goes on by itself.
        drop(self.board(&[(0, key)], &plan).await);
    }

    async fn board(&self, keys: &[(usize, CacheKey)], plan: &Plan) -> Vec<Boarded> {
        let fly = Fly { keys: keys.to_vec(), plan: plan.clone() };
        match self.actor.ask(fly, ACTOR_TIMEOUT).await {
            Ok(boarded) => boarded,
            Err(_) => take_off(&self.tables, keys, plan),
        }
    }

    async fn fetch(
        &self,
        kind: &'static str,
        keys: &[(usize, CacheKey)],
        deadline: Instant,
        plan: &Plan,
    ) -> Vec<Result<Answer, Failure>> {
        let mut answers = Vec::with_capacity(keys.len());
        for (wanted, boarded) in keys.iter().zip(self.board(keys, plan).await) {
            answers.push(self.arrive(kind, wanted, boarded, deadline, plan).await);
        }
        answers
    }

    /// Waits for a flight; one that died is flown again, once.
    async fn arrive(
        &self,
        kind: &'static str,
        (place, key): &(usize, CacheKey),
        boarded: Boarded,
        deadline: Instant,
        plan: &Plan,
    ) -> Result<Answer, Failure> {
        let Boarded { mut ticket, collapsed } = boarded;
        let wait = async {
            if let Some(landed) = ticket.landed().await {
                return landed;
            }
            let again = take_off(&self.tables, &[(*place, key.clone())], plan);
            match again.into_iter().next() {
                Some(mut again) => again.ticket.landed().await.unwrap_or_else(|| Err(lost())),
                None => Err(lost()),
            }
        };
        let landed = tokio::time::timeout_at(deadline.into(), wait).await.unwrap_or_else(|_| {
            Err(Failure::new(FailureKind::DeadlineExceeded, "no answer before the deadline"))
        });
        match landed {
            Ok((entry, tier)) => {
                Ok(self.served(kind, Answer::new(entry, tier, collapsed, clock::now())))
            }
            Err(failure) => {
                self.tables.metrics.miss(kind);
                Err(failure)
            }
        }
    }

    fn served(&self, kind: &'static str, answer: Answer) -> Answer {
        match answer.tier {
            Tier::Upstream => self.tables.metrics.miss(kind),
            Tier::Memory | Tier::Redis | Tier::Database => {
                self.tables.metrics.hit(kind, answer.tier.label());
            }
        }
        self.tables.metrics.served(answer.age());
        answer
    }
}

fn lost() -> Failure {
    Failure::new(FailureKind::Internal, "the flight died twice")
}
