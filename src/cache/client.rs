//! CacheActor, and how the rest of a worker uses it.
//!
//! Owns: asking the actor, doing the same on the tables when the actor is down, and waiting for what
//! is loaded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler, Message, MessageResult, ResponseFuture};

use super::get::{Answer, Forward, Get, GetMany, Load, PendingAnswer};
use super::invalidations::{Cleared, Mode, Subject};
use super::key::CacheKey;
use super::plan::Plan;
use super::tables::CacheTables;
use crate::failure::{Failure, FailureKind};
use crate::metrics::Gauge;
use crate::resilience::Priority;
use crate::steps::{Stage, Steps, Verdict};
use crate::supervision::{AskError, Handle};

/// Longest wait for the actor itself; its handlers take microseconds.
const ACTOR_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for an invalidation, with which goes a walk through all tiers.
const INVALIDATE_TIMEOUT: Duration = Duration::from_secs(15);

/// One for each HTTP worker, over tables that all share. It owns nothing but its way to them, so a new
/// incarnation is as good as the old one. Every handler decides at once; loads run as watched tasks.
#[derive(Debug)]
pub struct CacheActor {
    tables: CacheTables,
}

impl CacheActor {
    pub const fn new(tables: CacheTables) -> Self {
        Self { tables }
    }
}

impl Actor for CacheActor {
    type Context = Context<Self>;
}

#[derive(Debug, Message)]
#[rtype(result = "Cleared")]
struct Invalidate {
    subject: Subject,
    mode: Mode,
    reason: &'static str,
}

impl Handler<Get> for CacheActor {
    type Result = MessageResult<Get>;

    fn handle(&mut self, Get { kind, key }: Get, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.tables.get(kind, &key))
    }
}

impl Handler<GetMany> for CacheActor {
    type Result = MessageResult<GetMany>;

    fn handle(&mut self, GetMany { kind, keys }: GetMany, _: &mut Self::Context) -> Self::Result {
        MessageResult(keys.iter().map(|key| self.tables.get(kind, key)).collect())
    }
}

impl Handler<Load> for CacheActor {
    type Result = MessageResult<Load>;

    fn handle(&mut self, load: Load, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.tables.load(&load))
    }
}

impl Handler<Invalidate> for CacheActor {
    type Result = ResponseFuture<Cleared>;

    fn handle(&mut self, message: Invalidate, _: &mut Self::Context) -> Self::Result {
        let tables = self.tables.clone();
        let Invalidate { subject, mode, reason } = message;
        Box::pin(async move { tables.invalidate(subject, mode, reason).await })
    }
}

#[derive(Debug, Clone)]
pub struct CacheClient {
    actor: Handle<CacheActor>,
    tables: CacheTables,
    waiting: Gauge,
}

impl CacheClient {
    pub fn new(actor: Handle<CacheActor>, tables: CacheTables) -> Self {
        Self { actor, tables, waiting: Gauge::default() }
    }

    /// How many of the worker's requests wait, for loads or for anything else.
    pub const fn waiting(&self) -> &Gauge {
        &self.waiting
    }

    /// Whether the worker's actor is down and callers work on the tables themselves.
    pub fn is_bypassed(&self) -> bool {
        self.actor.is_down()
    }

    pub const fn tables(&self) -> &CacheTables {
        &self.tables
    }

    /// The answer for one key; `plan` is asked for only when memory has nothing fresh.
    pub async fn get(
        &self,
        kind: &'static str,
        key: CacheKey,
        deadline: Instant,
        plan: impl FnOnce() -> Plan,
    ) -> Result<Answer, Failure> {
        let found = self.actor.ask(Get { kind, key: key.clone() }, ACTOR_TIMEOUT).await;
        // In boxes: a hit's future stays small.
        match found.unwrap_or_else(|_| self.tables.get(kind, &key)) {
            Ok((answer, renew)) => {
                if renew {
                    let plan =
                        Plan { priority: Priority::Refresh, steps: Steps::default(), ..plan() };
                    Box::pin(self.load(vec![(0, key)], Vec::new(), plan)).await;
                }
                Ok(answer)
            }
            Err(forward) => {
                let plan = plan();
                plan.steps.note(Stage::Memory, forward.verdict(), || "");
                Box::pin(self.load_one(key, forward, plan, deadline)).await
            }
        }
    }

    /// The answer for one key, loaded anew; what the tiers hold only helps when that fails.
    pub async fn reload(
        &self,
        key: CacheKey,
        deadline: Instant,
        plan: Plan,
    ) -> Result<Answer, Failure> {
        plan.steps.note(Stage::Memory, Verdict::Bypassed, || "the request asks for a new load");
        self.load_one(key, Forward::Request, Plan { reload: true, ..plan }, deadline).await
    }

    async fn load_one(
        &self,
        key: CacheKey,
        forward: Forward,
        plan: Plan,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let pending = self.load(vec![(0, key)], vec![forward], plan).await.pop();
        let lost = || Failure::new(FailureKind::Internal, "nothing is loaded");
        let _waits = self.waiting.begin();
        pending.ok_or_else(lost)?.answer(deadline).await
    }

    /// What any tier holds under one key; nothing is loaded for it.
    pub async fn held(&self, plan: &Plan, key: &CacheKey) -> Option<Answer> {
        let _waits = self.waiting.begin();
        self.tables.held(plan, key).await
    }

    /// The answers for several keys of one kind, in their order; what is missing is loaded together.
    /// `plan` is asked for only when memory has not all of it fresh.
    pub async fn get_many(
        &self,
        kind: &'static str,
        keys: impl Into<Arc<[CacheKey]>>,
        deadline: Instant,
        plan: impl FnOnce() -> Plan,
    ) -> Vec<Result<Answer, Failure>> {
        let get = GetMany { kind, keys: keys.into() };
        let found = self.actor.ask(get.clone(), ACTOR_TIMEOUT).await;
        let found = found
            .unwrap_or_else(|_| get.keys.iter().map(|key| self.tables.get(kind, key)).collect());
        let mut answers = Vec::with_capacity(found.len());
        let (mut missing, mut forwards, mut due) = (Vec::new(), Vec::new(), Vec::new());
        for (place, (found, key)) in found.into_iter().zip(get.keys.iter()).enumerate() {
            let due_or_missing = match found {
                Ok((answer, renew)) => {
                    answers.push(Some(Ok(answer)));
                    renew.then_some(&mut due)
                }
                Err(forward) => {
                    answers.push(None);
                    forwards.push(forward);
                    Some(&mut missing)
                }
            };
            if let Some(keys) = due_or_missing {
                keys.push((place, key.clone()));
            }
        }
        let nobody_waits = missing.is_empty();
        let waited = missing.len();
        // What is to be renewed goes along: one call costs less than two.
        missing.extend(due);
        if !missing.is_empty() {
            let mut plan = plan();
            if nobody_waits {
                (plan.priority, plan.steps) = (Priority::Refresh, Steps::default());
            }
            plan.steps.note(Stage::Memory, Verdict::Miss, || {
                format!("{waited} of {} keys", get.keys.len())
            });
            let pending = Box::pin(self.load(missing, forwards, plan)).await;
            let _waits = self.waiting.begin();
            for pending in pending {
                if let Some(answer) = answers.get_mut(pending.place) {
                    *answer = Some(Box::pin(pending.answer(deadline)).await);
                }
            }
        }
        answers.into_iter().flatten().collect()
    }

    async fn load(
        &self,
        keys: Vec<(usize, CacheKey)>,
        forwards: Vec<Forward>,
        plan: Plan,
    ) -> Vec<PendingAnswer> {
        let load = Load { keys, forwards, plan };
        let asked = self.actor.ask(load.clone(), ACTOR_TIMEOUT).await;
        asked.unwrap_or_else(|_| self.tables.load(&load))
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
        match self.actor.ask_queued(message, INVALIDATE_TIMEOUT).await {
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
}
