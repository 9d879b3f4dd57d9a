//! Sends a command, several in one round trip, or a script, and reports how it went.
//!
//! Owns: the bound on every command, one repetition when a connection had died unnoticed, and the
//! report to the shared health. Only Redis is blamed for its own lateness: waiting behind other
//! answers, or on a thread that was busy with something else, says nothing about Redis. Without Redis
//! every command ends within the deadline, or at once when the breaker is open.
//!
//! A script is sent once, then run by the hash that Redis gave it; a Redis that does not know it,
//! because it was started again, is sent it again. No script runs twice: when the answer is lost, so
//! is the outcome, and the caller has to do without.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{self, Cmd, FromRedisValue, Pipeline, RedisResult};
use futures_util::FutureExt;

use super::Redis;
use super::connection::{Lent, Subscription};
use super::health::{Effect, Fault};
use super::meaning::{self, Kind};
use crate::clock;
use crate::failure::StoreError;

/// How often a thread that waits looks up, to notice how long it was busy with something else.
const LOOK_UP: Duration = Duration::from_millis(10);
/// A thread that looked up so much too late, all in all, was held up itself.
const HELD_UP: Duration = Duration::from_millis(15);
/// How often a thread looks once more when the time is up: the answer may lie in the socket, unread.
const LAST_LOOKS: u32 = 3;

/// A connection to a replica is given up when it is so old: a Redis that is one for good costs no more
/// than a connection in this time.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);
/// How the error begins when Redis does not know a hash.
const UNKNOWN: &str = "NOSCRIPT";

enum Request {
    One(Cmd),
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

impl Redis {
    pub async fn one<T: FromRedisValue>(
        &self,
        command: Cmd,
        effect: Effect,
    ) -> Result<T, StoreError> {
        self.run_request(&Request::One(command), effect).await
    }

    /// Sends several in one round trip; of several error answers the heaviest is the outcome.
    pub async fn many<T: FromRedisValue>(
        &self,
        commands: Pipeline,
        effect: Effect,
    ) -> Result<T, StoreError> {
        self.run_request(&Request::Many(commands), effect).await
    }

    /// Sends `message` to all who listen on `channel`.
    pub async fn publish(&self, channel: &str, message: &str) -> Result<(), StoreError> {
        let mut command = redis::cmd("PUBLISH");
        command.arg(channel).arg(message);
        self.one::<u64>(command, Effect::Reads).await.map(drop)
    }

    /// Listens on `channel`. The deadline of a command bounds connecting and subscribing.
    pub async fn subscribe(&self, channel: &str) -> Result<Subscription, StoreError> {
        if self.is_avoided() {
            return Err(StoreError::Avoided);
        }
        let subscribed = tokio::time::timeout(self.timeout, self.connection.subscribe(channel));
        Ok(subscribed.await.unwrap_or(Err(Fault::TooLate))?)
    }

    async fn run_request<T: FromRedisValue>(
        &self,
        request: &Request,
        effect: Effect,
    ) -> Result<T, StoreError> {
        if !self.may_ask(effect) {
            return Err(StoreError::Avoided);
        }
        let admitted = self.health.breaker().admit(clock::monotonic());
        let permit = admitted.map_err(|_| StoreError::Avoided)?;
        let outcome = self.ask(request, effect).await;
        self.health.learn(&outcome, effect);
        permit.record(Fault::health(&outcome, effect), clock::monotonic());
        Ok(outcome?)
    }

    /// Whether Redis is back is found out by the ping, not at a caller's expense.
    fn may_ask(&self, effect: Effect) -> bool {
        effect == Effect::Probes || !self.health.breaker().is_open()
    }

    async fn ask<T: FromRedisValue>(&self, request: &Request, effect: Effect) -> Result<T, Fault> {
        let time = Time { since: clock::monotonic(), timeout: self.timeout };
        let lent = self.lend(effect, time).await?;
        match self.send(request, &lent, time).await {
            // It died since it was last used, or with this on the way: another is made at once.
            Err(Fault::Broken(_)) if !lent.new && effect.may_be_repeated() => {
                let lent = self.lend(effect, time).await?;
                self.send(request, &lent, time).await
            }
            answer => answer,
        }
    }

    async fn lend(&self, effect: Effect, time: Time) -> Result<Lent, Fault> {
        in_time(self.connection.lend(|| self.may_ask(effect)), time).await
    }

    async fn send<T: FromRedisValue>(
        &self,
        request: &Request,
        lent: &Lent,
        time: Time,
    ) -> Result<T, Fault> {
        let mut connection = lent.connection.clone();
        let sent = request.send(&mut connection).map(|answer| answer.map_err(Fault::from));
        let mut sent = std::pin::pin!(sent);
        let mut answer = in_time(sent.as_mut(), time).await;
        // Answers come in their order: while others get theirs, this one is only behind them.
        if answer.as_ref().err() == Some(&Fault::TooLate)
            && lent.has_answered_since(time.since + time.timeout / 2)
        {
            answer = Err(Fault::OwnDelay);
        }
        if answer.as_ref().err() == Some(&Fault::OwnDelay) && !self.patience.is_zero() {
            let late = tokio::time::timeout(self.patience, sent).await;
            answer = late.unwrap_or(Err(Fault::OwnDelay));
        }
        match &answer {
            // What comes late, or makes no sense, must not be waited behind.
            Err(Fault::TooLate | Fault::Broken(_) | Fault::Failed(_)) => {
                self.connection.throw_away(lent);
            }
            // After a failover the old connection leads to a replica, the same address to the primary.
            Err(Fault::NoWrites(cause))
                if meaning::kind(cause) == Kind::Reconnect
                    && lent.age(clock::monotonic()) >= RECONNECT_AFTER =>
            {
                self.connection.throw_away(lent);
            }
            Err(Fault::OwnDelay | Fault::NotAsked) => {}
            Ok(_) | Err(Fault::NoWrites(_) | Fault::Refused(_)) => {
                lent.answered(clock::monotonic());
            }
        }
        answer
    }
}

/// The time a command has.
#[derive(Clone, Copy)]
struct Time {
    since: Instant,
    timeout: Duration,
}

impl Time {
    fn until(self) -> Instant {
        self.since + self.timeout
    }

    /// Most that is given back to a thread that was held up: without Redis a busy thread would have
    /// more to do, not less.
    fn most_added(self) -> Duration {
        self.timeout * 2
    }
}

/// What Redis does in its time. Lateness is its own only if this thread was there to see it: what it was busy with otherwise is seen by how late it looks up.
async fn in_time<T>(asked: impl Future<Output = Result<T, Fault>>, time: Time) -> Result<T, Fault> {
    let mut asked = std::pin::pin!(asked);
    let (mut now, mut held_up, mut until) = (clock::monotonic(), Duration::ZERO, time.until());
    while now < until {
        let look = (now + LOOK_UP).min(until);
        if let Ok(answer) = tokio::time::timeout_at(look.into(), asked.as_mut()).await {
            return answer;
        }
        now = clock::monotonic();
        held_up = held_up.saturating_add(now.saturating_duration_since(look));
        until = time.until() + held_up.min(time.most_added());
    }
    for _ in 0..LAST_LOOKS {
        tokio::task::yield_now().await;
        if let Some(answer) = asked.as_mut().now_or_never() {
            return answer;
        }
    }
    Err(if held_up < HELD_UP { Fault::TooLate } else { Fault::OwnDelay })
}

/// A script that works on one key, for all workers.
#[derive(Debug)]
pub struct Script {
    text: &'static str,
    /// As Redis named it when it was first sent.
    hash: OnceLock<String>,
    /// Whether Redis did not run it when it was last asked to.
    refused: AtomicBool,
}

impl Script {
    pub const fn new(text: &'static str) -> Self {
        Self { text, hash: OnceLock::new(), refused: AtomicBool::new(false) }
    }

    /// Whether Redis did not run it when it was last asked to, on any thread.
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }

    fn run(name: &str, script: &str, key: &str, arguments: &[u64]) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(1).arg(key).arg(arguments);
        command
    }
}

/// Whether Redis does not run this script, whatever else it does.
fn is_of_script(error: &StoreError) -> bool {
    let names_it = |cause: &str| cause.starts_with("ERR") && cause.contains("script");
    is_withheld(error) || matches!(error, StoreError::Refused(cause) if names_it(cause))
}

/// Whether the server or the user's permissions lack the command, so that another may do.
fn is_withheld(error: &StoreError) -> bool {
    matches!(error, StoreError::Refused(cause)
        if cause.contains("unknown command") || cause.starts_with("NOPERM"))
}

impl Redis {
    /// Runs `script` on `key`; its answer has to be a list of whole numbers. After an error, what the
    /// script does may be done all the same, but not twice.
    pub async fn run(
        &self,
        script: &Script,
        key: &str,
        arguments: &[u64],
    ) -> Result<Vec<i64>, StoreError> {
        let answer = match self.run_by_hash(script, key, arguments).await {
            // Longer on the wire, and one command instead of two.
            Err(error) if is_withheld(&error) => {
                let whole = Script::run("EVAL", script.text, key, arguments);
                self.one(whole, Effect::Counts).await
            }
            answer => answer,
        };
        // What else stops it (no memory, a replica, no connection) is known of all commands.
        script.refused.store(answer.as_ref().is_err_and(is_of_script), Ordering::Relaxed);
        answer
    }

    async fn run_by_hash(
        &self,
        script: &Script,
        key: &str,
        arguments: &[u64],
    ) -> Result<Vec<i64>, StoreError> {
        let by = |hash: &str| Script::run("EVALSHA", hash, key, arguments);
        if let Some(hash) = script.hash.get() {
            match self.one(by(hash), Effect::Counts).await {
                Err(StoreError::Refused(cause)) if cause.starts_with(UNKNOWN) => {}
                answer => return answer,
            }
        }
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(script.text);
        let hash = self.one(load, Effect::Counts).await?;
        self.one(by(script.hash.get_or_init(|| hash)), Effect::Counts).await
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
