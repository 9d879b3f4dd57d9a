//! The one client of Redis, for every room that needs it.
//!
//! Owns: the connection of each thread, the bound on every command, the breaker, scripts, pub/sub,
//! the names of keys, and what an error means. Knows nothing of what is stored. A Redis that is slow,
//! broken or away costs a few callers the deadline; then the breaker refuses at once, and the ping
//! of the upkeep finds out when Redis is back.

mod address;
mod cluster;
mod command;
mod connection;
mod health;
mod meaning;
mod sentinel;
mod servers;
mod settings;
mod slots;
mod split;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use address::Form;
use cluster::Nodes;
use connection::Shared;

use crate::clock;
use crate::failure::StoreError;

pub use command::Script;
pub use connection::Subscription;
pub use deadpool_redis::redis::{Cmd, FromRedisValue, Pipeline, cmd};
pub use health::{Effect, Health};
pub use servers::Servers;
pub use settings::RedisSettings;
pub use slots::Node;
pub use tls::TlsFiles;

/// Longest time of a command, connecting included, unless it is set.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_millis(60);
/// How long the key that a ping writes lives, in milliseconds.
const ALIVE_MS: u64 = 5_000;

/// What the keys of Breakwater in Redis begin with, in one table but for the counters of `limits::shared`, so that no room walks over
/// another's keys: cleaning entries by pattern touches entries only. The number is that of the form of
/// what is stored.
pub mod keys {
    /// Written now and then to learn whether Redis takes writes.
    pub(super) const ALIVE: &str = "breakwater:2:alive";
    pub const ENTRY: &str = "breakwater:2:e:";
    /// The channel on which instances say that they have written to the log of changes.
    pub const CHANGES: &str = "breakwater:2:changes";
    const LOCK: &str = "breakwater:2:lock:";

    /// The lock of what is stored under this name. By the braces both lie in one slot of a cluster and are
    /// seen as of one moment.
    pub fn lock_of(name: &str) -> String {
        format!("{LOCK}{{{name}}}")
    }

    /// The calls of one credential of an upstream. The braces put all of it on one node of a cluster.
    pub fn pace(credential: &str) -> String {
        format!("breakwater:2:pace:{{{credential}}}")
    }
}

/// One thread's way to Redis: a connection lives on the runtime that made it. Clones share it.
#[derive(Clone)]
pub struct Redis {
    servers: Arc<Servers>,
    nodes: Arc<Nodes>,
    connection: Arc<Shared>,
    health: Arc<Health>,
    timeout: Duration,
    patience: Duration,
}

impl std::fmt::Debug for Redis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Redis").finish_non_exhaustive()
    }
}

impl Redis {
    /// A way to the Redis of `servers`, whose `health` all threads share; nothing is connected yet. Redis
    /// has `timeout` for a command; a busy thread may notice its answer later (`command`).
    pub fn new(servers: &Arc<Servers>, timeout: Duration, health: Arc<Health>) -> Self {
        let connection = Arc::new(Shared::new(servers, None, timeout));
        let (servers, nodes, patience) = (Arc::clone(servers), Arc::default(), Duration::ZERO);
        Self { servers, nodes, connection, health, timeout, patience }
    }

    /// The same, for callers to whom a lost answer costs more than waiting: an answer that is late
    /// because this thread is busy, not because of Redis, is waited for so much longer.
    pub fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Writes a key that lives a few seconds, which also shows whether writes are taken (see
    /// [`Redis::refuses_writes`]). A refusal shows that Redis lives, and is no error.
    pub async fn ping(&self) -> Result<(), StoreError> {
        if let Form::Sentinel { service } = self.servers.form()
            && self.servers.begins_look(clock::monotonic())
        {
            sentinel::look(&self.servers, service, self.timeout).await;
        }
        let set = |key: &str| {
            let mut set = cmd("SET");
            set.arg(key).arg(1).arg("PX").arg(ALIVE_MS);
            set
        };
        if self.servers.is_cluster() {
            return Ok(self.ping_cluster(set).await?);
        }
        match self.one(set(keys::ALIVE), Effect::Probes).await {
            Err(StoreError::Refused(_)) => Ok(()),
            written => written,
        }
    }

    pub fn is_avoided(&self) -> bool {
        self.health.breaker().is_open()
    }

    /// What Redis said when it last did not do what it was asked, and what to do about it.
    pub fn trouble(&self) -> Option<String> {
        self.health.trouble(clock::monotonic()).or_else(|| self.servers.map.trouble())
    }

    /// Whether Redis answers and takes no writes: the last one, of any thread, was refused. Of a cluster,
    /// whether all of its nodes do.
    pub fn refuses_writes(&self) -> bool {
        self.health.refuses_writes()
            || (self.servers.is_cluster() && self.servers.map.refuses_writes())
    }
}
