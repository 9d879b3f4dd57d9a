//! The one connection of a thread, which all its commands share, and those that receive messages.
//!
//! Owns: lending it, making it when there is none, and throwing it away. Answers come in the order
//! of the commands, so any number of commands are under way at once and none waits for another; a
//! pool that lends a connection to one command at a time would queue them. The pool makes and times
//! the connection. Never two are made at once: later callers wait for the first. A subscription
//! has a connection of its own; nothing may depend on a message to arrive: a connection can hang
//! unnoticed, and without Redis there are none.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{AsyncConnectionConfig, Client, ConnectionInfo, Msg};
use deadpool_redis::{Connection, Manager, Pool, PoolConfig, Runtime, Timeouts};
use futures_util::{Stream, StreamExt};

use super::address::Form;
use super::health::Fault;
use super::sentinel;
use super::servers::Servers;
use super::slots::Node;
use crate::clock;

/// Commands of one thread that may be on their way to its connection; more wait, within their time.
const COMMANDS: usize = 1_024;

/// When the last answer came on a connection, as far as a command was there to take it.
type LastAnswer = Arc<Mutex<Option<Instant>>>;

pub(super) struct Lent {
    pub(super) connection: MultiplexedConnection,
    /// It was made for this command; any other may have died since it was last used.
    pub(super) new: bool,
    number: u64,
    made_at: Instant,
    last_answer: LastAnswer,
}

impl Lent {
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.made_at)
    }

    pub(super) fn answered(&self, now: Instant) {
        *self.last_answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Whether an answer has come since then: Redis answers, so a command that waits is behind others.
    pub(super) fn has_answered_since(&self, then: Instant) -> bool {
        *self.last_answer.lock().unwrap_or_else(PoisonError::into_inner) >= Some(then)
    }
}

pub(super) struct Shared {
    servers: Arc<Servers>,
    /// The one node of a cluster that it leads to.
    node: Option<Node>,
    limit: Duration,
    live: Mutex<Option<Live>>,
    // Held while the connection is made.
    making: tokio::sync::Mutex<()>,
    made: AtomicU64,
}

/// The connection that is lent.
struct Live {
    connection: MultiplexedConnection,
    number: u64,
    /// How often the primary had changed when it was begun.
    changes: u64,
    made_at: Instant,
    last_answer: LastAnswer,
}

impl Live {
    fn lend(&self, new: bool) -> Lent {
        let Self { connection, number, made_at, last_answer, .. } = self;
        let (connection, last_answer) = (connection.clone(), Arc::clone(last_answer));
        Lent { connection, new, number: *number, made_at: *made_at, last_answer }
    }
}

impl Shared {
    /// Nothing is connected yet; connecting takes `limit` at most.
    pub(super) fn new(servers: &Arc<Servers>, node: Option<Node>, limit: Duration) -> Self {
        let (live, making, made) =
            (Mutex::default(), tokio::sync::Mutex::default(), AtomicU64::new(0));
        Self { servers: Arc::clone(servers), node, limit, live, making, made }
    }

    pub(super) async fn subscribe(&self, channel: &str) -> Result<Subscription, Fault> {
        let server = match self.servers.form() {
            Form::Single | Form::Cluster => self.fixed()?,
            // The connection for commands leads to the one that is known then.
            Form::Sentinel { .. } => {
                self.lend(|| true).await?;
                let primary = self.servers.primary().ok_or(Fault::NotAsked)?;
                self.servers.at(&primary.host, primary.port)?
            }
        };
        let client = Client::open(server)?;
        let mut connection = client.get_async_pubsub().await?;
        connection.subscribe(channel).await?;
        Ok(Subscription(Box::pin(connection.into_on_message())))
    }

    /// The connection; it is made if there is none and, once nobody else makes it, it is still wanted.
    pub(super) async fn lend(&self, wanted: impl Fn() -> bool) -> Result<Lent, Fault> {
        if let Some(lent) = self.lent() {
            return Ok(lent);
        }
        let _making = self.making.lock().await;
        if let Some(lent) = self.lent() {
            return Ok(lent);
        }
        if !wanted() {
            return Err(Fault::NotAsked);
        }
        let changes = self.servers.changes();
        // Boxed: made once in a long while, and no part of every command's future.
        let connection = Box::pin(self.connect()).await?;
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let (made_at, last_answer) = (clock::monotonic(), LastAnswer::default());
        let live = Live { connection, number, changes, made_at, last_answer };
        let lent = live.lend(true);
        *self.live() = Some(live);
        Ok(lent)
    }

    /// The server, where the address or the map of a cluster says which.
    fn fixed(&self) -> Result<ConnectionInfo, Fault> {
        match &self.node {
            Some(Node { host, port }) => self.servers.at(host, *port),
            None => self.servers.first(),
        }
    }

    async fn connect(&self) -> Result<MultiplexedConnection, Fault> {
        match self.servers.form() {
            Form::Single | Form::Cluster => make(self.fixed()?, self.limit).await,
            Form::Sentinel { service } => {
                sentinel::connect(&self.servers, service, self.limit).await
            }
        }
    }

    /// The next command gets another connection. The commands under way on this one end by themselves.
    pub(super) fn throw_away(&self, lent: &Lent) {
        let mut live = self.live();
        if live.as_ref().is_some_and(|live| live.number == lent.number) {
            *live = None;
        }
    }

    fn lent(&self) -> Option<Lent> {
        let live = self.live();
        let live = live.as_ref().filter(|live| live.changes == self.servers.changes());
        live.map(|live| live.lend(false))
    }

    fn live(&self) -> MutexGuard<'_, Option<Live>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new connection to this server. Each is a pool's first and only one: it is never given back, so that
/// the next is made anew instead of looked at.
pub(super) async fn make(
    server: ConnectionInfo,
    limit: Duration,
) -> Result<MultiplexedConnection, Fault> {
    // Each command keeps its own time: it knows what it has waited for.
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limit))
        .set_response_timeout(None)
        .set_pipeline_buffer_size(COMMANDS);
    let manager = Manager::new_with_config(server, config)?;
    let limit = Some(limit);
    let pool_config = PoolConfig {
        timeouts: Timeouts { wait: limit, create: limit, recycle: limit },
        ..PoolConfig::new(1)
    };
    let pool = Pool::builder(manager).config(pool_config).runtime(Runtime::Tokio1).build();
    let pool = pool.map_err(|error| Fault::Failed(error.to_string()))?;
    Ok(Connection::take(pool.get().await?))
}

pub struct Subscription(Pin<Box<dyn Stream<Item = Msg> + Send>>);

impl Subscription {
    /// The next message; `None` when the connection has ended. What is no text is empty.
    pub async fn next(&mut self) -> Option<String> {
        self.0.next().await.map(|message| message.get_payload().unwrap_or_default())
    }
}
