//! One exchange with Redis: a command, or several in one go, and what came of it.
//!
//! Owns: the bound on every exchange, and telling the shared standing how it went. Only Redis is
//! blamed for what Redis is late with: waiting for a place among a worker's own exchanges, behind their
//! answers, or for a worker that had no time to look at its own, says nothing about it. Refuses: to wait longer than
//! [`TIMEOUT`], and to ask while the breaker is open. A Redis that is gone is connected to anew by the
//! next exchange that is admitted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool_redis::PoolError;
use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{Cmd, FromRedisValue, Pipeline, RedisError, RedisResult};
use futures_util::FutureExt;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::line::{Lent, Line, NoLine};
use super::standing::{Effect, Fault, Standing};
use crate::cache::tiers::TierError;
use crate::clock;

/// Longest time of one exchange, connecting included. A worker that was busy with something else
/// meanwhile gives back what it was busy for, 120 ms at most.
pub const TIMEOUT: Duration = Duration::from_millis(60);
/// Exchanges of one worker under way at once; more wait for a place.
const PLACES: usize = 1_024;
/// What Redis must have had of the time-out for its being late to count.
const FAIR: Duration = Duration::from_millis(30);
/// How often a worker that waits looks up, to notice how long it was busy with something else.
const LOOK_UP: Duration = Duration::from_millis(10);
/// A worker that looked up so much too late, all in all, was held up itself.
const HELD_UP: Duration = Duration::from_millis(15);
/// Most that is given back: without Redis a busy worker would have more to do, not less.
const MOST_ADDED: Duration = Duration::from_millis(120);
/// How often a worker looks once more when the time is up: the answer may lie in the socket, unread.
const LAST_LOOKS: u32 = 3;

/// What is sent in one go.
pub(super) enum Request {
    /// One command.
    One(Cmd),
    /// Several; the answer is a list.
    Many(Pipeline),
}

impl Request {
    async fn send<T: FromRedisValue>(
        &self,
        connection: &mut MultiplexedConnection,
    ) -> RedisResult<T> {
        match self {
            Self::One(command) => command.query_async(connection).await,
            Self::Many(commands) => commands.query_async(connection).await,
        }
    }
}

/// One worker's exchanges.
#[derive(Clone)]
pub(super) struct Exchange {
    line: Arc<Line>,
    places: Arc<Semaphore>,
    standing: Arc<Standing>,
    patience: Duration,
}

impl Exchange {
    /// Nothing is connected yet.
    pub(super) fn new(url: &str, standing: Arc<Standing>) -> Result<Self, TierError> {
        let line = Arc::new(Line::new(url, TIMEOUT, PLACES)?);
        let places = Arc::new(Semaphore::new(PLACES));
        Ok(Self { line, places, standing, patience: Duration::ZERO })
    }

    /// The same, but an answer that is only late because of this worker is waited for so much longer.
    pub(super) fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// What all workers know of this Redis.
    pub(super) fn standing(&self) -> &Standing {
        &self.standing
    }

    /// Sends one command.
    pub(super) async fn one<T: FromRedisValue>(
        &self,
        command: Cmd,
        effect: Effect,
    ) -> Result<T, TierError> {
        self.run(&Request::One(command), effect).await
    }

    /// Sends several in one round trip; the first error answer that weighs most is the outcome.
    pub(super) async fn many<T: FromRedisValue>(
        &self,
        commands: Pipeline,
        effect: Effect,
    ) -> Result<T, TierError> {
        self.run(&Request::Many(commands), effect).await
    }

    async fn run<T: FromRedisValue>(
        &self,
        request: &Request,
        effect: Effect,
    ) -> Result<T, TierError> {
        // Whether Redis is well again is found out by the sign of life, not at a caller's expense.
        if !self.may_ask(effect) {
            return Err(TierError::Avoided);
        }
        let admitted = self.standing.breaker().admit(clock::monotonic());
        let permit = admitted.map_err(|_| TierError::Avoided)?;
        let outcome = self.ask(request, effect).await;
        self.standing.learn(&outcome, effect);
        permit.record(Fault::health(&outcome, effect), clock::monotonic());
        Ok(outcome?)
    }

    fn may_ask(&self, effect: Effect) -> bool {
        effect == Effect::Probes || !self.standing.breaker().is_open()
    }

    async fn ask<T: FromRedisValue>(&self, request: &Request, effect: Effect) -> Result<T, Fault> {
        let until = clock::monotonic() + TIMEOUT;
        let _place = place(&self.places, until).await?;
        let time = Time { since: clock::monotonic(), until };
        let lent = self.lend(effect, time).await?;
        match self.send(request, &lent, time).await {
            // It died since it was last used, or with this on the way: another is made at once.
            Err(Fault::Broken(_)) if !lent.new && effect.may_be_repeated() => {
                let lent = self.lend(effect, time).await?;
                self.send(request, &lent, time).await
            }
            told => told,
        }
    }

    async fn lend(&self, effect: Effect, time: Time) -> Result<Lent, Fault> {
        let line = self.line.lend(|| self.may_ask(effect));
        in_time(line.map(|lent| lent.map_err(no_line)), time).await
    }

    async fn send<T: FromRedisValue>(
        &self,
        request: &Request,
        lent: &Lent,
        time: Time,
    ) -> Result<T, Fault> {
        let mut connection = lent.connection.clone();
        let sent = request.send(&mut connection).map(|told| told.map_err(fault));
        let mut sent = std::pin::pin!(sent);
        let told = match in_time(sent.as_mut(), time).await {
            // Answers come in their order: while others get theirs, this one is only behind them.
            Err(Fault::TooLate) if lent.has_answered_since(time.since + FAIR) => {
                Err(Fault::OwnDelay)
            }
            told => told,
        };
        let told = match told {
            Err(Fault::OwnDelay) if !self.patience.is_zero() => {
                let late = tokio::time::timeout(self.patience, sent).await;
                late.unwrap_or(Err(Fault::OwnDelay))
            }
            told => told,
        };
        match &told {
            // What comes late, or has lost its sense, must not be waited behind.
            Err(Fault::TooLate | Fault::Broken(_) | Fault::Failed(_)) => self.line.throw_away(lent),
            Err(Fault::OwnDelay | Fault::NotAsked) => {}
            Ok(_) | Err(Fault::NoWrites(_) | Fault::Refused(_)) => {
                lent.answered(clock::monotonic());
            }
        }
        told
    }
}

/// The time an exchange has, once it has its place.
#[derive(Clone, Copy)]
struct Time {
    since: Instant,
    until: Instant,
}

/// A place among the worker's exchanges.
async fn place(places: &Semaphore, until: Instant) -> Result<SemaphorePermit<'_>, Fault> {
    match tokio::time::timeout_at(until.into(), places.acquire()).await {
        Ok(Ok(place)) => Ok(place),
        Ok(Err(_)) | Err(_) => Err(Fault::OwnDelay),
    }
}

/// What Redis does in its time. Lateness is its own only if it had a fair part of that time, and this
/// worker was there to see it: what it was busy with otherwise is seen by how late it looks up.
async fn in_time<T>(asked: impl Future<Output = Result<T, Fault>>, time: Time) -> Result<T, Fault> {
    let mut asked = std::pin::pin!(asked);
    let (mut now, mut held_up, mut until) = (clock::monotonic(), Duration::ZERO, time.until);
    while now < until {
        let look = (now + LOOK_UP).min(until);
        if let Ok(told) = tokio::time::timeout_at(look.into(), asked.as_mut()).await {
            return told;
        }
        now = clock::monotonic();
        held_up = held_up.saturating_add(now.saturating_duration_since(look));
        until = time.until + held_up.min(MOST_ADDED);
    }
    for _ in 0..LAST_LOOKS {
        tokio::task::yield_now().await;
        if let Some(told) = asked.as_mut().now_or_never() {
            return told;
        }
    }
    let fair = time.until.saturating_duration_since(time.since) >= FAIR;
    Err(if fair && held_up < HELD_UP { Fault::TooLate } else { Fault::OwnDelay })
}

fn no_line(none: NoLine) -> Fault {
    match none {
        NoLine::Failed(error) => no_connection(error),
        NoLine::Unwanted => Fault::NotAsked,
    }
}

/// What it means that there is no connection.
fn no_connection(error: PoolError) -> Fault {
    match error {
        PoolError::Timeout(_) => Fault::TooLate,
        // An error answer while connecting is no refusal of a command.
        PoolError::Backend(error) if error.is_timeout() => Fault::TooLate,
        PoolError::Backend(_)
        | PoolError::Closed
        | PoolError::NoRuntimeSpecified
        | PoolError::PostCreateHook(_) => Fault::Failed(error.to_string()),
    }
}

/// What the driver's error means; of several error answers, the one that says most.
fn fault(error: RedisError) -> Fault {
    if error.is_timeout() {
        return Fault::TooLate;
    }
    let told = error.to_string();
    let answers = error.into_server_errors();
    let faults = answers.iter().flat_map(|answers| answers.iter());
    faults
        .map(|(_, answer)| Fault::of(answer.code(), answer.details().unwrap_or_default()))
        // The first of the heaviest: `max_by_key` would take the last.
        .reduce(|first, next| if next.weight() > first.weight() { next } else { first })
        .unwrap_or(Fault::Broken(told))
}

#[cfg(test)]
#[path = "exchange_tests.rs"]
mod tests;
