//! Asking sentinels for the primary of a service.
//!
//! Owns: the questions, and whom to believe. All sentinels are asked at once: the first answer that leads
//! to a server which says itself that it is a primary is taken, so one that is away or cut off costs
//! nothing. An answer that is late, or that names a replica or nobody, is passed over; without any good
//! one the last problem is told. Nothing is asked while a connection works, but for the look that the
//! ping begins.

use std::collections::HashMap;
use std::time::Duration;

use deadpool_redis::redis::aio::MultiplexedConnection;
use deadpool_redis::redis::{self, ConnectionInfo, RedisConnectionInfo, Value};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};

use super::connection::make;
use super::health::Fault;
use super::servers::{Primary, Servers};

/// A connection to the primary of `service`, within `limit` or so.
pub(super) async fn connect(
    servers: &Servers,
    service: &str,
    limit: Duration,
) -> Result<MultiplexedConnection, Fault> {
    let mut answers = answers(servers, service, limit)?;
    let (mut tried, mut older, mut problem) = (Vec::new(), Vec::new(), None);
    let latest = servers.primary().map_or(0, |known| known.epoch);
    loop {
        let named = match answers.next().await {
            // A sentinel that was cut off is believed when nobody else knows better.
            Some(Ok(named)) if named.epoch < latest => {
                older.push(named);
                continue;
            }
            Some(Ok(named)) => named,
            // What was found out about a primary says more.
            Some(Err(fault)) => {
                problem = problem.or(Some(fault));
                continue;
            }
            None => match older.pop() {
                Some(named) => named,
                None => return Err(problem.unwrap_or(Fault::TooLate)),
            },
        };
        if tried.contains(&named) {
            continue;
        }
        match verified(servers, &named, limit).await {
            Ok(connection) => {
                servers.found(named);
                return Ok(connection);
            }
            Err(fault) => problem = Some(fault),
        }
        tried.push(named);
    }
}

/// Asks all sentinels whether another primary was elected: the old one may go on as if it had not been.
pub(super) async fn look(servers: &Servers, service: &str, limit: Duration) {
    let Ok(answers) = answers(servers, service, limit) else { return };
    let named: Vec<Primary> = answers.filter_map(async |answer| answer.ok()).collect().await;
    if let Some(latest) = named.into_iter().max_by_key(|primary| primary.epoch) {
        servers.elected(latest);
    }
}

type Answers<'a> = FuturesUnordered<BoxFuture<'a, Result<Primary, Fault>>>;

fn answers<'a>(
    servers: &'a Servers,
    service: &'a str,
    limit: Duration,
) -> Result<Answers<'a>, Fault> {
    // The other half is for the primary.
    let part = limit / 2;
    let ask = |sentinel: ConnectionInfo| async move {
        let late = Fault::Failed(format!("the sentinel at {} is too late", sentinel.addr()));
        let asked = tokio::time::timeout(part, ask(servers, sentinel, service, part));
        asked.await.unwrap_or(Err(late))
    };
    Ok(servers.named()?.into_iter().map(|sentinel| ask(sentinel).boxed()).collect())
}

async fn ask(
    servers: &Servers,
    sentinel: ConnectionInfo,
    service: &str,
    limit: Duration,
) -> Result<Primary, Fault> {
    let mut question = redis::cmd("SENTINEL");
    question.arg("MASTER").arg(service);
    let name = sentinel.addr().to_string();
    let login = servers.login();
    let has_password = login.password().is_some();
    let mut connection = make(sentinel.clone(), limit).await?;
    let mut answer: Result<Value, Fault> =
        question.query_async(&mut connection).await.map_err(Fault::from);
    if has_password && matches!(&answer, Err(Fault::Failed(said)) if said.starts_with("NOAUTH")) {
        // Without the database: sentinels have none.
        let mut own = RedisConnectionInfo::default();
        if let Some(user) = login.username() {
            own = own.set_username(user);
        }
        if let Some(password) = login.password() {
            own = own.set_password(password);
        }
        let mut connection = make(sentinel.set_redis_settings(own), limit).await?;
        answer = question.query_async(&mut connection).await.map_err(Fault::from);
    }
    let fields: HashMap<String, String> =
        redis::from_redis_value(answer?).map_err(|error| Fault::Broken(error.to_string()))?;
    let number = |field: &str| fields.get(field).and_then(|text| text.parse().ok());
    let primary = || {
        let port = u16::try_from(number("port")?).ok()?;
        Some(Primary { host: fields.get("ip")?.clone(), port, epoch: number("config-epoch")? })
    };
    primary().ok_or_else(|| Fault::Failed(format!("the sentinel at {name} names no primary")))
}

/// A connection to this server, if it says that it is a primary.
async fn verified(
    servers: &Servers,
    named: &Primary,
    limit: Duration,
) -> Result<MultiplexedConnection, Fault> {
    let Primary { host, port, .. } = named;
    let made = make(servers.at(host, *port)?, limit).await;
    let mut connection = made.map_err(|fault| match fault {
        Fault::Failed(cause) => {
            let place = format!("{host}:{port}, which the sentinels name as the primary");
            Fault::Failed(format!("{place}: {cause}"))
        }
        Fault::TooLate
        | Fault::OwnDelay
        | Fault::NotAsked
        | Fault::Broken(_)
        | Fault::NoWrites(_)
        | Fault::Refused(_) => fault,
    })?;
    let role: Result<Vec<Value>, _> = redis::cmd("ROLE").query_async(&mut connection).await;
    let role = role.map_err(Fault::from);
    match role.as_deref() {
        Ok([Value::BulkString(role), ..]) if role == b"master" => Ok(connection),
        // Who may not ask for it may write all the same.
        Err(Fault::NoWrites(_) | Fault::Refused(_)) => Ok(connection),
        Ok(_) => Err(Fault::Failed(format!(
            "the sentinels name {host}:{port} as the primary, and it is a replica: a failover goes on"
        ))),
        Err(_) => Err(role.err().unwrap_or(Fault::TooLate)),
    }
}
