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

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{self, Cmd, FromRedisValue, Pipeline, RedisResult, Value};
use futures_util::FutureExt;

use super::Redis;
use super::cluster::worst;
use super::connection::{Lent, Shared, Subscription};
use super::health::{Effect, Fault, Health};
use super::meaning::{self, Kind};
use super::slots::{Node, slot_of};
use crate::clock;
use crate::failure::StoreError;
use Count::{Many, One};

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

pub(super) enum Request {
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
        if self.servers.is_cluster() {
            let commands = [&command];
            let asked = Box::pin(self.ask_cluster(&commands, effect));
            return self.of_cluster(asked, One, effect).await;
        }
        self.run_request(&Request::One(command), effect).await
    }

    /// Sends several in one round trip; of several error answers the heaviest is the outcome.
    pub async fn many<T: FromRedisValue>(
        &self,
        commands: Pipeline,
        effect: Effect,
    ) -> Result<T, StoreError> {
        if self.servers.is_cluster() {
            let commands: Vec<&Cmd> = commands.cmd_iter().collect();
            let asked = Box::pin(self.ask_cluster(&commands, effect));
            return self.of_cluster(asked, Many, effect).await;
        }
        self.run_request(&Request::Many(commands), effect).await
    }

    /// Sends a command that names no key to where this key is.
    async fn one_near<T: FromRedisValue>(
        &self,
        key: &str,
        command: Cmd,
        effect: Effect,
    ) -> Result<T, StoreError> {
        if !self.servers.is_cluster() {
            return self.one(command, effect).await;
        }
        let asked = Box::pin(self.ask_slot(slot_of(key.as_bytes()), &command, effect));
        self.of_cluster(asked, One, effect).await
    }

    /// Who has a part of the keys: a walk over all of them asks each. One that is no cluster has no name.
    pub async fn parts(&self) -> Result<Vec<Option<Node>>, StoreError> {
        if !self.servers.is_cluster() {
            return Ok(vec![None]);
        }
        Ok(self.all_nodes().await?.into_iter().map(Some).collect())
    }

    /// Sends a command to who has this part of the keys.
    pub async fn one_of_part<T: FromRedisValue>(
        &self,
        part: Option<&Node>,
        command: Cmd,
        effect: Effect,
    ) -> Result<T, StoreError> {
        let Some(node) = part else { return self.one(command, effect).await };
        let asked = Box::pin(self.ask_node(node, &command, effect));
        self.of_cluster(asked, One, effect).await
    }

    /// Reads what a cluster answers, unless it is avoided as a whole.
    async fn of_cluster<T: FromRedisValue>(
        &self,
        asked: impl Future<Output = Result<Vec<Value>, Fault>>,
        count: Count,
        effect: Effect,
    ) -> Result<T, StoreError> {
        if !may_ask(&self.health, effect) {
            return Err(StoreError::Avoided);
        }
        let mut values = asked.await?;
        if let Some(fault) = worst(&values) {
            return Err(fault.into());
        }
        let value = match count {
            One => values.pop().unwrap_or(Value::Nil),
            Many => Value::Array(values),
        };
        let read = value.extract_error().and_then(|value| Ok(redis::from_redis_value(value)?));
        Ok(read.map_err(Fault::from)?)
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
        let connection =
            if self.servers.is_cluster() { self.any_node()? } else { Arc::clone(&self.connection) };
        let subscribed = tokio::time::timeout(self.timeout, connection.subscribe(channel));
        Ok(subscribed.await.unwrap_or(Err(Fault::TooLate))?)
    }

    async fn run_request<T: FromRedisValue>(
        &self,
        request: &Request,
        effect: Effect,
    ) -> Result<T, StoreError> {
        let asked = async {
            let time = Time::new(self.timeout);
            let answer = self.ask(&self.connection, &self.health, request, effect, time).await;
            let said = answer.as_ref().map(drop).map_err(Clone::clone);
            (answer, said)
        };
        Ok(under_breaker(&self.health, effect, asked).await??)
    }

    pub(super) async fn ask<T: FromRedisValue>(
        &self,
        connection: &Shared,
        health: &Health,
        request: &Request,
        effect: Effect,
        time: Time,
    ) -> Result<T, Fault> {
        let lend = || in_time(connection.lend(|| may_ask(health, effect)), time);
        let lent = lend().await?;
        match self.send(connection, request, &lent, time).await {
            // It died since it was last used, or with this on the way: another is made at once.
            Err(Fault::Broken(_)) if !lent.new && effect.may_be_repeated() => {
                let lent = lend().await?;
                self.send(connection, request, &lent, time).await
            }
            answer => answer,
        }
    }

    async fn send<T: FromRedisValue>(
        &self,
        shared: &Shared,
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
                shared.throw_away(lent);
            }
            // After a failover the old connection leads to a replica, the same address to the primary.
            Err(Fault::NoWrites(cause))
                if meaning::kind(cause) == Kind::Reconnect
                    && lent.age(clock::monotonic()) >= RECONNECT_AFTER =>
            {
                shared.throw_away(lent);
            }
            Err(Fault::OwnDelay | Fault::NotAsked) => {}
            Ok(_) | Err(Fault::NoWrites(_) | Fault::Refused(_)) => {
                lent.answered(clock::monotonic());
            }
        }
        answer
    }
}

/// Whether Redis is back is found out by the ping, not at a caller's expense.
fn may_ask(health: &Health, effect: Effect) -> bool {
    effect == Effect::Probes || !health.breaker().is_open()
}

/// Asks if the breaker lets it; the health learns from what is said, beside the answer.
pub(super) async fn under_breaker<T>(
    health: &Health,
    effect: Effect,
    asked: impl Future<Output = (T, Result<(), Fault>)>,
) -> Result<T, Fault> {
    if !may_ask(health, effect) {
        return Err(Fault::NotAsked);
    }
    let admitted = health.breaker().admit(clock::monotonic());
    let permit = admitted.map_err(|_| Fault::NotAsked)?;
    let (answer, said) = asked.await;
    health.learn(&said, effect);
    permit.record(Fault::health(&said, effect), clock::monotonic());
    Ok(answer)
}

/// Whether one answer is wanted, or a list of them.
#[derive(Clone, Copy)]
enum Count {
    One,
    Many,
}

/// The time a command has.
#[derive(Clone, Copy)]
pub(super) struct Time {
    since: Instant,
    timeout: Duration,
}

impl Time {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { since: clock::monotonic(), timeout }
    }

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

/// Whether the server does not know the hash.
fn is_unknown(error: &StoreError) -> bool {
    matches!(error, StoreError::Refused(cause) if cause.starts_with(UNKNOWN))
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
            // In a cluster also where the key is on its way: who runs it was not sent it.
            Err(error) if is_withheld(&error) || is_unknown(&error) => {
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
                Err(error) if is_unknown(&error) && !self.servers.is_cluster() => {}
                answer => return answer,
            }
        }
        let mut load = redis::cmd("SCRIPT");
        load.arg("LOAD").arg(script.text);
        let hash = self.one_near(key, load, Effect::Counts).await?;
        self.one(by(script.hash.get_or_init(|| hash)), Effect::Counts).await
    }
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
