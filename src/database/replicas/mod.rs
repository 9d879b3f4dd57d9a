//! The replicas of a Postgres: read where it does not matter that a write made just now is missing.
//!
//! Owns: asking each once a second how far it is, leaving out what is behind, dead or no replica, and the
//! keys that were written lately, which are read from the primary until a replica has them. Refuses: to start
//! with what is no replica of this primary. A replica that fails costs one read a part of its time: then it is
//! left out until it answered again, and the primary is read. When the primary is away, replicas still are.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use diesel::sql_types::{BigInt, Bool, Nullable};
use diesel::{QueryResult, QueryableByName, RunQueryDsl as _, sql_query};
use futures_util::future::{join, join_all};

use self::lag::{MOST_BEHIND, Positions, Progress, choose};
use super::connection::{Connection, query};
use super::postgres::{self, Patience, PostgresAddress};
use super::settings::{Address, DatabaseSettings};
use super::store::{Store, lock};
use super::watch::Watch;
use super::{DatabaseError, Harm, schema};
use crate::clock::{self, Timestamp};
use crate::resilience::breaker::{self, Breaker};

mod lag;

/// Between two questions, and how long an answer may take: those who read have given up by then.
const EVERY: Duration = Duration::from_secs(1);
const WITHIN: Duration = Duration::from_secs(3);
/// How long one is left alone at first after it failed; three answers in a row bring it back.
const REST: Duration = Duration::from_millis(500);

/// Those of one primary, none perhaps. Clones are the same.
#[derive(Clone)]
pub struct Replicas(Arc<Shared>);

struct Shared {
    primary: Store,
    all: Vec<Replica>,
    positions: Mutex<Positions>,
    /// The primary's system, once it was asked.
    system: Mutex<Option<i64>>,
    turn: AtomicUsize,
}

impl fmt::Debug for Replicas {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replicas").field("status", &self.status()).finish_non_exhaustive()
    }
}

struct Replica {
    name: &'static str,
    store: Store,
    breaker: Breaker,
    state: Mutex<Result<Progress, Out>>,
}

/// Why one is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Out {
    /// It is to be replaced in the settings.
    Unfit(String),
    Away(String),
    /// Nobody knows how far it is.
    Unknown,
}

impl Out {
    fn words(&self) -> String {
        match self {
            Self::Unfit(why) | Self::Away(why) => why.clone(),
            Self::Unknown => "it is not known how far it is behind".to_owned(),
        }
    }
}

/// How a replica is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Host and port.
    pub name: &'static str,
    /// None when it is not known.
    pub behind: Option<Duration>,
    /// Why it is not read.
    pub out: Option<String>,
}

impl Replicas {
    /// Those of these settings, each asked once, of this primary. Blocks.
    pub fn open(
        settings: &DatabaseSettings,
        primary: &Store,
        watch: &Watch,
        at: Instant,
        now: Timestamp,
    ) -> Self {
        let replica = |address: PostgresAddress| {
            let name = address.servers().leak();
            let settings = DatabaseSettings {
                address: Address::Postgres(address),
                replicas: Vec::new(),
                ..settings.clone()
            };
            let limits = breaker::Settings { open_max: EVERY, ..breaker::Settings::new(1, REST) };
            Replica {
                name,
                store: Store::open_watched(settings, watch.clone(), at, now).0,
                breaker: Breaker::new("replica", limits, Arc::new(|_| {})),
                state: Mutex::new(Err(Out::Unknown)),
            }
        };
        let all = std::thread::scope(|scope| {
            let opening = settings.replicas.iter().cloned();
            let opening: Vec<_> = opening.map(|address| scope.spawn(|| replica(address))).collect();
            opening.into_iter().filter_map(|one| one.join().ok()).collect()
        });
        let replicas = Self(Arc::new(Shared {
            primary: primary.clone(),
            all,
            positions: Mutex::default(),
            system: Mutex::default(),
            turn: AtomicUsize::new(0),
        }));
        let first = || {
            replicas.ask_primary();
            replicas.0.all.iter().for_each(|one| one.is(replicas.ask(one)));
        };
        if !replicas.is_empty() {
            // A connection to a server must not be waited for on an async thread.
            drop(std::thread::scope(|scope| scope.spawn(first).join()));
        }
        replicas
    }

    pub fn is_empty(&self) -> bool {
        self.0.all.is_empty()
    }

    /// One that can never be read, in words for whoever writes the settings.
    pub fn unfit(&self) -> Option<String> {
        self.0.all.iter().find_map(|one| match &*lock(&one.state) {
            Err(Out::Unfit(why)) => Some(format!("{}: {why}", one.name)),
            Ok(_) | Err(Out::Away(_) | Out::Unknown) => None,
        })
    }

    pub fn status(&self) -> Vec<ReplicaStatus> {
        self.0.all.iter().map(Replica::status).collect()
    }

    /// Reads from the least lagging one what is stored under these keys; none when it has to be the primary.
    pub async fn read<T: Send + 'static>(
        &self,
        keys: &[String],
        within: Duration,
        work: impl FnOnce(&mut Connection) -> QueryResult<T> + Send + 'static,
    ) -> Option<T> {
        let Shared { primary, all, turn, .. } = &*self.0;
        let now = clock::monotonic();
        let states: Vec<_> = all.iter().map(Replica::progress).collect();
        let turn = turn.fetch_add(1, Ordering::Relaxed);
        let replica = all.get(choose(&states, primary.written(keys), turn, now)?)?;
        let permit = replica.breaker.admit(now).ok()?;
        let read = tokio::time::timeout(within, replica.store.run(work)).await;
        let found = read.ok().and_then(Result::ok);
        permit.record(Some(found.is_some()), clock::monotonic());
        found
    }

    /// Asks the primary and each of them once a second; `told` how each is then.
    pub async fn watch(&self, told: impl Fn(&ReplicaStatus)) {
        let primary = async {
            loop {
                let replicas = self.clone();
                // A primary that is away was nowhere else since.
                drop(tokio::task::spawn_blocking(move || replicas.ask_primary()).await);
                tokio::time::sleep(EVERY).await;
            }
        };
        let told = &told;
        let each = self.0.all.iter().enumerate().map(|(n, replica)| async move {
            loop {
                self.look_at(n, replica, told).await;
                tokio::time::sleep(EVERY).await;
            }
        });
        join(primary, join_all(each)).await;
    }

    async fn look_at(&self, n: usize, replica: &Replica, told: &impl Fn(&ReplicaStatus)) {
        let permit = replica.breaker.admit(clock::monotonic());
        let replicas = self.clone();
        let mut asking = tokio::task::spawn_blocking(move || {
            let replica = replicas.0.all.get(n).ok_or(Out::Unknown)?;
            drop(replica.store.look_after(clock::monotonic(), clock::now()));
            replicas.ask(replica)
        });
        let found = match tokio::time::timeout(WITHIN, &mut asking).await {
            Ok(found) => Some(found.unwrap_or(Err(Out::Unknown))),
            Err(_) => None,
        };
        let is_late = found.is_none();
        let late = || Err(Out::Away("it did not answer in time".to_owned()));
        let found = found.unwrap_or_else(late);
        if let Ok(permit) = permit {
            permit.record(Some(!matches!(found, Err(Out::Away(_)))), clock::monotonic());
        }
        replica.is(found);
        told(&replica.status());
        if is_late {
            // Its connection gives up by itself.
            drop(asking.await);
        }
    }

    fn ask_primary(&self) {
        let Shared { primary, positions, system: known, .. } = &*self.0;
        let Ok(mut connection) = primary.lend() else { return };
        let at = clock::monotonic();
        let asked = sql_query(
            "SELECT CAST(pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0') AS BIGINT) AS number",
        );
        let found: QueryResult<Number> = query!(&mut *connection, |c| asked.get_result(c));
        match found {
            Ok(Number { number }) => lock(positions).note(at, number),
            Err(error) => return primary.blame(&connection, &error),
        }
        if let Some(system) = system(&mut connection) {
            *lock(known) = Some(system);
        }
    }

    fn ask(&self, replica: &Replica) -> Result<Progress, Out> {
        let away = |why: &dyn ToString| Out::Away(why.to_string());
        let mut connection = replica.store.lend().map_err(|error| away(&error))?;
        let found = look(&mut connection, *lock(&self.0.system));
        let Answer { replayed, made, .. } = match found {
            Ok(Ok(answer)) => answer,
            Ok(Err(unfit)) => {
                // Of several hosts another one may be a replica.
                let unfit = DatabaseError::new(unfit).of(Harm::Connections);
                replica.store.accuse(unfit.clone());
                return Err(Out::Unfit(unfit.to_string()));
            }
            Err(error) => {
                replica.store.blame(&connection, &error);
                return Err(away(&error));
            }
        };
        schema::check(&mut connection).map_err(|error| away(&error))?;
        let made = made.map(|made| Duration::from_millis(u64::try_from(made).unwrap_or_default()));
        let found = lock(&self.0.positions).progress(clock::monotonic(), replayed, made);
        found.ok_or(Out::Unknown)
    }
}

impl Replica {
    fn is(&self, found: Result<Progress, Out>) {
        *lock(&self.state) = found;
    }

    /// How far it is, unless it is left out for another reason.
    fn progress(&self) -> Option<Progress> {
        let is_out = self.breaker.is_open() || !self.store.is_open();
        lock(&self.state).as_ref().ok().copied().filter(|_| !is_out)
    }

    fn status(&self) -> ReplicaStatus {
        let state = lock(&self.state).clone();
        let behind = state.as_ref().ok().map(|progress| progress.behind);
        let out = match &state {
            Err(out) => Some(out.words()),
            Ok(_) if self.progress().is_none() => Some("it failed a moment ago".to_owned()),
            Ok(Progress { behind, .. }) if *behind > MOST_BEHIND => {
                Some(format!("it is {} s behind", behind.as_secs()))
            }
            Ok(_) => None,
        };
        ReplicaStatus { name: self.name, behind, out }
    }
}

#[derive(QueryableByName)]
struct Number {
    #[diesel(sql_type = BigInt)]
    number: i64,
}

#[derive(QueryableByName)]
struct Answer {
    #[diesel(sql_type = Bool)]
    in_recovery: bool,
    #[diesel(sql_type = Nullable<BigInt>)]
    replayed: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    made: Option<i64>,
}

/// What a server has in common with its replicas only; not every server tells it to everybody.
fn system(connection: &mut Connection) -> Option<i64> {
    let asked = sql_query("SELECT system_identifier AS number FROM pg_control_system()");
    let found: QueryResult<Number> = query!(connection, |c| asked.get_result(c));
    found.ok().map(|found| found.number)
}

/// Whether it is a replica of the server with this system, and how far; else why not.
fn look(
    connection: &mut Connection,
    of_primary: Option<i64>,
) -> QueryResult<Result<Answer, &'static str>> {
    let asked = sql_query(
        "SELECT pg_is_in_recovery() AS in_recovery, \
         CAST(pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0') AS BIGINT) AS replayed, \
         CAST(extract(epoch FROM now() - pg_last_xact_replay_timestamp()) * 1000 AS BIGINT) AS made",
    );
    let answer: Answer = query!(connection, |c| asked.get_result(c))?;
    if !answer.in_recovery {
        return Ok(Err(
            "it is no replica (pg_is_in_recovery() is false): name a standby of the primary, or take it \
             out; postgres://host,host/… reads from whichever is a standby",
        ));
    }
    let is_other = system(connection).zip(of_primary).is_some_and(|(own, other)| own != other);
    Ok(if is_other {
        Err(
            "it is no replica of the server that DATABASE_URL names (its system identifier is another one): \
             name a standby of that server",
        )
    } else {
        Ok(answer)
    })
}

/// What a gateway would find there, in words; changes nothing.
///
/// # Errors
/// It would not read from it.
pub fn describe_replica(primary: &Address, replica: &PostgresAddress) -> Result<String, String> {
    let connect = |address| postgres::connect(address, Patience::Usual);
    let of_primary = match primary {
        Address::Postgres(address) => {
            connect(address).ok().and_then(|mut found| system(&mut found))
        }
        Address::Sqlite(_) => None,
    };
    let mut connection = connect(replica).map_err(|error| error.to_string())?;
    match look(&mut connection, of_primary) {
        Ok(Ok(_)) if of_primary.is_none() => {
            Ok("it is a replica; of which primary is not known".to_owned())
        }
        Ok(Ok(_)) => Ok("it is a replica of the primary".to_owned()),
        Ok(Err(unfit)) => Err(unfit.to_owned()),
        Err(error) => Err(error.to_string()),
    }
}
