//! One exchange with Redis: a command, or several in one go, and what came of it.
//!
//! Owns: the connections of one worker, the bound on every exchange, and telling the shared
//! standing how it went. Refuses: to wait longer than [`TIMEOUT`], and to ask while the breaker is
//! open. A Redis that is gone is connected to anew by the next exchange that is admitted.

use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::{
    AsyncConnectionConfig, Cmd, FromRedisValue, Pipeline, RedisError, RedisResult,
};
use deadpool_redis::{Connection, Manager, Pool, PoolConfig, PoolError, Runtime, Timeouts};

use super::standing::{Effect, Fault, Standing};
use crate::cache::tiers::TierError;
use crate::clock;

/// Longest time of one exchange, connecting included.
pub const TIMEOUT: Duration = Duration::from_millis(60);
/// Connections of one worker; commands are pipelined on each.
const CONNECTIONS: usize = 4;

/// What is sent in one go.
pub(super) enum Request {
    /// One command.
    One(Cmd),
    /// Several; the answer is a list.
    Many(Pipeline),
}

impl Request {
    async fn send<T: FromRedisValue>(&self, connection: &mut Connection) -> RedisResult<T> {
        match self {
            Self::One(command) => command.query_async(connection).await,
            Self::Many(commands) => commands.query_async(connection).await,
        }
    }
}

/// One worker's connections.
#[derive(Clone)]
pub(super) struct Exchange {
    pool: Pool,
    standing: Arc<Standing>,
}

impl Exchange {
    /// Nothing is connected yet.
    pub(super) fn new(url: &str, standing: Arc<Standing>) -> Result<Self, TierError> {
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(TIMEOUT))
            .set_response_timeout(Some(TIMEOUT));
        let manager = Manager::new_with_config(url, config)
            .map_err(|error| TierError::Failed(error.to_string()))?;
        let limit = Some(TIMEOUT);
        let pool_config = PoolConfig {
            timeouts: Timeouts { wait: limit, create: limit, recycle: limit },
            ..PoolConfig::new(CONNECTIONS)
        };
        let pool = Pool::builder(manager)
            .config(pool_config)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| TierError::Failed(error.to_string()))?;
        Ok(Self { pool, standing })
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
        let admitted = self.standing.breaker().admit(clock::monotonic());
        let permit = admitted.map_err(|_| TierError::Avoided)?;
        let asked = tokio::time::timeout(TIMEOUT, async {
            let mut connection = self.pool.get().await.map_err(no_connection)?;
            request.send(&mut connection).await.map_err(fault)
        });
        let outcome = asked.await.unwrap_or(Err(Fault::TooLate));
        self.standing.learn(&outcome, effect);
        permit.record(Fault::health(&outcome, effect), clock::monotonic());
        Ok(outcome?)
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
        .unwrap_or(Fault::Failed(told))
}

#[cfg(test)]
mod tests {
    use super::*;
    use deadpool_redis::redis::{ErrorKind, Value, parse_redis_value};

    fn answered(wire: &[u8]) -> Fault {
        match parse_redis_value(wire).and_then(Value::extract_error) {
            Ok(value) => panic!("{value:?} is no error"),
            Err(error) => fault(error),
        }
    }

    #[test]
    fn an_error_answer_is_told_by_its_code() {
        let cases: [(&[u8], u8); 4] = [
            (b"-OOM command not allowed when used memory > 'maxmemory'.\r\n", 1),
            (b"-READONLY You can't write against a read only replica.\r\n", 1),
            (b"-WRONGTYPE Operation against a key holding the wrong kind of value\r\n", 0),
            (b"-LOADING Redis is loading the dataset in memory\r\n", 2),
        ];
        for (wire, weight) in cases {
            let fault = answered(wire);
            assert_eq!(fault.weight(), weight, "{fault:?}");
        }
    }

    #[test]
    fn what_is_no_answer_is_a_failure() {
        let error = RedisError::from((ErrorKind::Io, "broken"));
        assert!(matches!(fault(error), Fault::Failed(_)));
        let late = RedisError::from(std::io::Error::from(std::io::ErrorKind::TimedOut));
        assert_eq!(fault(late), Fault::TooLate);
    }
}
