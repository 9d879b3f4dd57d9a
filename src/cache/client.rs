//! CacheActor, and how the rest of a worker uses it.
//!
//! Owns: asking the actor, doing the same on the tables when the actor is down, and waiting for what
//! is loaded.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Actor, Context, Handler, Message, MessageResult, ResponseFuture};

use super::get::{Answer, Get, GetMany, Reply};
use super::invalidations::{Cleared, Mode, Subject};
use super::key::CacheKey;
use super::plan::Plan;
use super::tables::CacheTables;
use crate::failure::{Failure, FailureKind};
use crate::metrics::Gauge;
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

    fn handle(&mut self, message: Get, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.tables.get(&message))
    }
}

impl Handler<GetMany> for CacheActor {
    type Result = MessageResult<GetMany>;

    fn handle(&mut self, message: GetMany, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.tables.get_many(&message))
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
        plan: impl Fn() -> Plan + Send + Sync + 'static,
    ) -> Result<Answer, Failure> {
        self.ask(Get { kind, key, reload: false, plan: Arc::new(plan) }, deadline).await
    }

    /// The answer for one key, loaded anew; what the tiers hold only helps when that fails.
    pub async fn reload(
        &self,
        kind: &'static str,
        key: CacheKey,
        deadline: Instant,
        plan: impl Fn() -> Plan + Send + Sync + 'static,
    ) -> Result<Answer, Failure> {
        self.ask(Get { kind, key, reload: true, plan: Arc::new(plan) }, deadline).await
    }

    async fn ask(&self, get: Get, deadline: Instant) -> Result<Answer, Failure> {
        let asked = self.actor.ask(get.clone(), ACTOR_TIMEOUT).await;
        self.wait(asked.unwrap_or_else(|_| self.tables.get(&get)), deadline).await
    }

    /// The answers for several keys of one kind, in their order; what is missing is loaded together.
    /// `plan` is asked for only when memory has not all of it fresh.
    pub async fn get_many(
        &self,
        kind: &'static str,
        keys: impl Into<Arc<[CacheKey]>>,
        deadline: Instant,
        plan: impl Fn() -> Plan + Send + Sync + 'static,
    ) -> Vec<Result<Answer, Failure>> {
        let get = GetMany { kind, keys: keys.into(), plan: Arc::new(plan) };
        let asked = self.actor.ask(get.clone(), ACTOR_TIMEOUT).await;
        let replies = asked.unwrap_or_else(|_| self.tables.get_many(&get));
        let mut answers = Vec::with_capacity(replies.len());
        for reply in replies {
            answers.push(self.wait(reply, deadline).await);
        }
        answers
    }

    async fn wait(&self, reply: Reply, deadline: Instant) -> Result<Answer, Failure> {
        match reply {
            Reply::Ready(answer) => Ok(answer),
            Reply::Pending(pending) => {
                let _waits = self.waiting.begin();
                // In a box: a hit's future stays small.
                Box::pin(pending.answer(deadline)).await
            }
        }
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
}
