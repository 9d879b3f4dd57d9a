//! How the rest of a worker uses its CacheActor.
//!
//! Owns: the order of asking (memory, then a flight), what to do when the actor is down (the same,
//! on the tables), and counting what callers got. A stale answer is given at once while its refresh
//! runs without the caller.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::actor::{CacheActor, Fly, Invalidate, Lookup};
use super::clearing::Cleared;
use super::entry::Entry;
use super::flight::{Boarded, take_off};
use super::flights::{Landed, Ticket};
use super::freshness::Freshness;
use super::invalidations::{Mode, Subject};
use super::key::CacheKey;
use super::plan::{Plan, Urgency};
use super::tables::CacheTables;
use super::tiers::Tier;
use crate::clock::{self, Timestamp};
use crate::failure::{Failure, FailureKind};
use crate::metrics::Waiting;
use crate::supervision::{AskError, Handle};

/// Longest wait for the actor itself; its handlers take microseconds.
const ACTOR_TIMEOUT: Duration = Duration::from_secs(2);
/// How long nobody else begins the refresh that one caller has begun; the flight itself may take
/// longer, whoever boards it then finds it under way.
const LEASE: Duration = Duration::from_secs(1);
/// Longest wait for an invalidation, with which goes a walk through all tiers.
const INVALIDATE_TIMEOUT: Duration = Duration::from_secs(15);

/// Why a caller's question went past the tiers (RFC 9211, `fwd`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forward {
    /// Nothing usable was there.
    Miss,
    /// What was there is stale.
    Stale,
    /// It was asked for.
    Request,
}

/// An answer and where it came from.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The entry served.
    pub entry: Arc<Entry>,
    /// The tier that had it.
    pub tier: Tier,
    /// Why it was loaded, if it was.
    pub forward: Forward,
    /// Whether it is past its fresh time.
    pub stale: bool,
    /// Whether it came from a flight that another caller had started.
    pub collapsed: bool,
    /// Whether the caller waited for a flight, whatever came of that.
    pub waited: bool,
    /// When it was served.
    pub served_at: Timestamp,
}

impl Answer {
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
    waiting: Waiting,
}

impl CacheClient {
    /// A client of `actor`, which works on `tables`.
    #[must_use]
    pub fn new(actor: Handle<CacheActor>, tables: CacheTables) -> Self {
        Self { actor, tables, waiting: Waiting::default() }
    }

    /// How many of the worker's requests wait, for flights or for anybody else.
    #[must_use]
    pub const fn waiting(&self) -> &Waiting {
        &self.waiting
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
        let found = self.look(&key).await;
        let wish = Wish { kind, place: 0, key, forward: forward(found.as_ref()) };
        if let Some((entry, freshness)) = found.filter(|found| !waits(found)) {
            let (answer, renew) = self.at_hand(&wish, entry, freshness);
            if renew {
                self.refresh(&[wish], plan()).await;
            }
            return Ok(answer);
        }
        self.missed(&wish);
        self.fetch(&[wish], 1, deadline, &plan()).await.pop().unwrap_or_else(|| Err(lost()))
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
        let wish = Wish { kind, place: 0, key, forward: Forward::Request };
        self.fetch(&[wish], 1, deadline, &plan).await.pop().unwrap_or_else(|| Err(lost()))
    }

    /// The answers for several keys of one kind, in their order; what is missing is loaded together.
    /// `plan` is asked for only when memory has not all of it fresh.
    pub async fn get_many(
        &self,
        kind: &'static str,
        keys: &[CacheKey],
        deadline: Instant,
        plan: impl FnOnce() -> Plan,
    ) -> Vec<Result<Answer, Failure>> {
        let mut answers = Vec::with_capacity(keys.len());
        let (mut missing, mut stale) = (Vec::new(), Vec::new());
        for (place, key) in keys.iter().enumerate() {
            let found = self.look(key).await;
            let forward = forward(found.as_ref());
            let wish = Wish { kind, place, key: key.clone(), forward };
            if let Some((entry, freshness)) = found.filter(|found| !waits(found)) {
                let (answer, renew) = self.at_hand(&wish, entry, freshness);
                answers.push(Some(Ok(answer)));
                if renew {
                    stale.push(wish);
                }
            } else {
                self.missed(&wish);
                missing.push(wish);
                answers.push(None);
            }
        }
        if missing.is_empty() {
            if !stale.is_empty() {
                self.refresh(&stale, plan()).await;
            }
        } else {
            // What is to be renewed goes along: one call costs less than two. Nobody waits for it.
            let own = missing.len();
            missing.extend(stale);
            let fetched = self.fetch(&missing, own, deadline, &plan()).await;
            for (wish, fetched) in missing.iter().zip(fetched) {
                if let Some(answer) = answers.get_mut(wish.place) {
                    *answer = Some(fetched);
                }
            }
        }
        answers.into_iter().map(|answer| answer.unwrap_or_else(|| Err(lost()))).collect()
    }

    /// Invalidates what was stored until now; `reason` is counted.
    ///
    /// # Errors
    /// It took too long: the invalidation is in force, but not everything is done.
    pub async fn invalidate(
        &self,
        subject: Subject,
        mode: Mode,
        reason: &'static str,
    ) -> Result<Cleared, Failure> {
        let message = Invalidate { subject: subject.clone(), mode, reason };
        match self.actor.ask(message, INVALIDATE_TIMEOUT).await {
            Ok(cleared) => Ok(cleared),
            Err(AskError::TooLate) => {
                let reason = "invalidating took too long";
                Err(Failure::new(FailureKind::DeadlineExceeded, reason))
            }
            Err(AskError::NotDelivered(_) | AskError::Died) => {
                Ok(self.tables.invalidate(subject, mode, reason).await)
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

    /// An answer from memory, and whether the caller is to have it renewed.
    fn at_hand(&self, wish: &Wish, entry: Arc<Entry>, freshness: Freshness) -> (Answer, bool) {
        let now = clock::now();
        let renew = freshness.wants_refresh() && entry.begin_refresh(clock::monotonic(), LEASE);
        let answer = Answer {
            entry,
            tier: Tier::Memory,
            forward: wish.forward,
            stale: !freshness.is_fresh(),
            collapsed: false,
            waited: false,
            served_at: now,
        };
        (self.served(wish.kind, answer), renew)
    }

    /// Nobody waits for the tickets; the flights go on by themselves.
    async fn refresh(&self, wishes: &[Wish], plan: Plan) {
        if wishes.is_empty() {
            return;
        }
        let plan = Plan { urgency: Urgency::Refresh, ..plan };
        drop(self.board(wishes, &plan).await);
    }

    async fn board(&self, wishes: &[Wish], plan: &Plan) -> Vec<Boarded> {
        let keys: Vec<_> = wishes.iter().map(|wish| (wish.place, wish.key.clone())).collect();
        let fly = Fly { keys: keys.clone(), plan: plan.clone() };
        match self.actor.ask(fly, ACTOR_TIMEOUT).await {
            Ok(boarded) => boarded,
            Err(_) => take_off(&self.tables, &keys, plan),
        }
    }

    /// Flies for all `wishes` and waits for the first so many.
    async fn fetch(
        &self,
        wishes: &[Wish],
        awaited: usize,
        deadline: Instant,
        plan: &Plan,
    ) -> Vec<Result<Answer, Failure>> {
        let _wait = self.waiting.begin();
        let mut answers = Vec::with_capacity(awaited);
        let asked_at = clock::now();
        let boarded = self.board(wishes, plan).await;
        for (wish, boarded) in wishes.iter().zip(boarded).take(awaited) {
            answers.push(self.arrive(wish, boarded, (asked_at, deadline), plan).await);
        }
        answers
    }

    /// Waits for a flight. Whatever comes of it, what memory holds by then is better than nothing.
    async fn arrive(
        &self,
        wish: &Wish,
        boarded: Boarded,
        (asked_at, deadline): (Timestamp, Instant),
        plan: &Plan,
    ) -> Result<Answer, Failure> {
        let collapsed = boarded.collapsed;
        let landing = self.landing(wish, boarded.ticket, asked_at, plan);
        let landed = tokio::time::timeout_at(deadline.into(), landing).await.unwrap_or_else(|_| {
            Err(Failure::new(FailureKind::DeadlineExceeded, "no answer before the deadline"))
        });
        let landed = landed.or_else(|failure| {
            let held = self.tables.look(&wish.key, clock::now());
            held.map(|(entry, _)| (entry, Tier::Memory)).ok_or(failure)
        });
        match landed {
            Ok((entry, tier)) => {
                let now = clock::now();
                let stale = !self.tables.judge(&wish.key, &entry, now).is_fresh();
                let forward = wish.forward;
                let (waited, served_at) = (true, now);
                let answer = Answer { entry, tier, forward, stale, collapsed, waited, served_at };
                Ok(self.served(wish.kind, answer))
            }
            Err(failure) => {
                self.tables.metrics.miss(wish.kind);
                Err(failure)
            }
        }
    }

    /// What a flight brings. One that died is flown again, once; and so is one that answers a question
    /// from before an invalidation that was in force when this caller asked.
    async fn landing(
        &self,
        wish: &Wish,
        mut ticket: Ticket,
        asked_at: Timestamp,
        plan: &Plan,
    ) -> Landed {
        let too_old = |landed: &Landed| {
            let brought = landed.as_ref().ok();
            brought.is_some_and(|(entry, _)| self.tables.forbids(&wish.key, entry, asked_at))
        };
        let mut landed = ticket.landed().await;
        if landed.as_ref().is_some_and(too_old) {
            // It may have been announced before the load, which may bring something newer.
            landed = ticket.ended().await;
        }
        if let Some(landed) = landed.filter(|landed| !too_old(landed)) {
            return landed;
        }
        let again = take_off(&self.tables, &[(wish.place, wish.key.clone())], plan);
        match again.into_iter().next() {
            Some(mut again) => again.ticket.landed().await.unwrap_or_else(|| Err(lost())),
            None => Err(lost()),
        }
    }

    /// Memory held nothing under the key.
    fn missed(&self, wish: &Wish) {
        if wish.forward == Forward::Miss {
            self.tables.metrics.tier_miss(wish.kind, Tier::Memory.label());
        }
    }

    fn served(&self, kind: &'static str, answer: Answer) -> Answer {
        match answer.tier {
            Tier::Upstream => self.tables.metrics.miss(kind),
            Tier::Memory | Tier::Redis | Tier::Database => {
                self.tables.metrics.hit(kind, answer.tier.label());
            }
        }
        answer.entry.used();
        self.tables.metrics.served(answer.age());
        answer
    }
}

/// One key of those asked for.
struct Wish {
    kind: &'static str,
    place: usize,
    key: CacheKey,
    forward: Forward,
}

/// Why a question for what was found goes on, if it does.
fn forward(found: Option<&(Arc<Entry>, Freshness)>) -> Forward {
    if found.is_some() { Forward::Stale } else { Forward::Miss }
}

/// Whether the caller waits for something newer than what was found. What could not be refreshed a
/// moment ago is not waited for.
fn waits((entry, freshness): &(Arc<Entry>, Freshness)) -> bool {
    *freshness == Freshness::StaleIfError && entry.may_refresh(clock::monotonic())
}

fn lost() -> Failure {
    Failure::new(FailureKind::Internal, "the flight died twice")
}
