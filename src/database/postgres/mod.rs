//! Postgres: connecting, and waits that end.
//!
//! Owns: TLS towards it, the time-outs of a connection, and the runtime on which a connection's bytes
//! move while a thread waits for it. A server that is there and does not answer costs a thread at most
//! [`Patience::longest`]; then the connection is given up. Refuses: a database that is not in UTF-8.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use actix_tls::connect::rustls_0_23::webpki_roots_cert_store;
use diesel::sql_types::Text;
use diesel::{QueryableByName, RunQueryDsl, sql_query};
use diesel_async::AsyncPgConnection;
use diesel_async::async_connection_wrapper::{AsyncConnectionWrapper, BlockOn};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::runtime::{Builder, Runtime};
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use self::address::{CONNECT_WITHIN, Tls};
use self::unverified::Unverified;
use super::{Connection, DatabaseError, Harm};

mod address;
mod unverified;

pub use address::PostgresAddress;

pub(super) type PostgresConnection = AsyncConnectionWrapper<AsyncPgConnection, Lane>;

/// How long a connection waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// For what a request or the upkeep asks.
    Usual,
    /// For a step of the schema on tables of any size.
    Schema,
}

impl Patience {
    /// After which the server ends a statement, and one that waits for a lock.
    const fn timeouts(self) -> (Duration, Duration) {
        match self {
            Self::Usual => (Duration::from_secs(5), Duration::from_secs(1)),
            Self::Schema => (Duration::from_secs(600), Duration::from_secs(1)),
        }
    }

    /// After which a server that said nothing is given up: it had the time to end the statement.
    const fn longest(self) -> Duration {
        self.timeouts().0.saturating_add(Duration::from_secs(1))
    }
}

/// A connection whose waits end, in UTF-8.
pub(super) fn connect(
    address: &PostgresAddress,
    patience: Patience,
) -> Result<Connection, DatabaseError> {
    let (servers, tls) = address.parts().map_err(DatabaseError::new)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(DatabaseError::new)?;
    let connected = match runtime.block_on(open_one(&servers, &tls)) {
        Ok(connected) => connected,
        Err(error) => {
            runtime.shutdown_background();
            return Err(error);
        }
    };
    NEXT.set(Some(Lane { runtime: RefCell::new(Some(runtime)), longest: patience.longest() }));
    let mut connection = Connection::Postgres(PostgresConnection::from(connected));
    let (statement, lock) = patience.timeouts();
    // A loss of power may lose the last transactions; the log of changes is written with more care. There is
    // an index for every statement, and what the server knows of a table that grows is out of date. What is
    // off counts as very dear, and a statement that is dear would be compiled each time (`jit`).
    let set = format!(
        "SET enable_seqscan = off; SET jit = off; SET statement_timeout = {}; SET lock_timeout = {}; SET synchronous_commit = off; \
         SET idle_in_transaction_session_timeout = {}",
        statement.as_millis(),
        lock.as_millis(),
        statement.as_millis(),
    );
    connection.batch_execute(&set).map_err(|error| DatabaseError::of_postgres(&error))?;
    speaks_utf8(&mut connection)?;
    Ok(connection)
}

/// The first of them that is there and is what is wanted; each has its share of the time.
async fn open_one(servers: &[Config], tls: &Tls) -> Result<AsyncPgConnection, DatabaseError> {
    let share = CONNECT_WITHIN / u32::try_from(servers.len().max(1)).unwrap_or(u32::MAX);
    let mut failed = "no server is named".to_owned();
    for (number, config) in servers.iter().enumerate() {
        let opened = tokio::time::timeout(share, open(config, tls)).await;
        let error = match opened {
            Ok(Ok(opened)) => return Ok(opened),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it did not answer in time".to_owned(),
        };
        failed = if number == 0 { error } else { format!("{failed}; {error}") };
    }
    Err(DatabaseError::new(failed).of(Harm::Connections))
}

async fn open(config: &Config, tls: &Tls) -> Result<AsyncPgConnection, DatabaseError> {
    let opened = match tls {
        Tls::Never => {
            let (client, connection) = config.connect(NoTls).await.map_err(refused)?;
            AsyncPgConnection::try_from_client_and_connection(client, connection).await
        }
        Tls::Prefer | Tls::Require | Tls::Verify(_) => {
            let tls = MakeRustlsConnect::new(tls_config(tls)?);
            let (client, connection) = config.connect(tls).await.map_err(refused)?;
            AsyncPgConnection::try_from_client_and_connection(client, connection).await
        }
    };
    opened.map_err(|error| DatabaseError::new(error).of(Harm::Connections))
}

/// The words of whoever refused: of the server with its SQLSTATE, else the innermost cause.
fn refused(error: tokio_postgres::Error) -> DatabaseError {
    let text = match error.as_db_error() {
        Some(said) => format!("{} (SQLSTATE {})", said.message(), said.code().code()),
        None => {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                // An address resolves to several; each wrapper repeats the one inside.
                let inner = error.to_string();
                if !text.contains(&inner) {
                    text = format!("{text}: {inner}");
                }
                cause = error.source();
            }
            text
        }
    };
    DatabaseError::new(text).of(Harm::Connections)
}

fn tls_config(tls: &Tls) -> Result<ClientConfig, DatabaseError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(DatabaseError::new)?;
    let Tls::Verify(authorities) = tls else {
        let verifier = Arc::new(Unverified(provider));
        return Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth());
    };
    let mut roots = RootCertStore::empty();
    match authorities {
        Some(file) => {
            let unreadable = |why: &dyn std::fmt::Display| {
                DatabaseError::new(format!("sslrootcert {}: {why}", file.display()))
            };
            for found in CertificateDer::pem_file_iter(file).map_err(|why| unreadable(&why))? {
                let found = found.map_err(|why| unreadable(&why))?;
                roots.add(found).map_err(|why| unreadable(&why))?;
            }
            if roots.is_empty() {
                return Err(unreadable(&"there is no certificate in it"));
            }
        }
        None => roots = webpki_roots_cert_store(),
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[derive(QueryableByName)]
struct Encoding {
    #[diesel(sql_type = Text)]
    server_encoding: String,
}

fn speaks_utf8(connection: &mut Connection) -> Result<(), DatabaseError> {
    let asked = sql_query("SELECT current_setting('server_encoding') AS server_encoding");
    let found: diesel::QueryResult<Encoding> = super::query!(connection, |c| asked.get_result(c));
    let Encoding { server_encoding } = found.map_err(|error| DatabaseError::of_postgres(&error))?;
    if server_encoding == "UTF8" {
        return Ok(());
    }
    let text = format!("the database is in {server_encoding}; make it with ENCODING 'UTF8'");
    Err(DatabaseError::new(text))
}

thread_local! {
    /// The lane of the connection that this thread is about to wrap: diesel-async asks a function
    /// without arguments for it.
    static NEXT: Cell<Option<Lane>> = const { Cell::new(None) };
}

/// Where a connection's bytes move: only while a thread waits for an answer on it.
pub struct Lane {
    /// None once the connection was given up.
    runtime: RefCell<Option<Runtime>>,
    longest: Duration,
}

impl BlockOn for Lane {
    fn block_on<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let done = self.runtime.borrow().as_ref().map(|runtime| {
            runtime.block_on(async { tokio::time::timeout(self.longest, &mut future).await })
        });
        if let Some(Ok(output)) = done {
            return output;
        }
        self.give_up();
        // With its socket gone the future ends with that as its error.
        finish(future)
    }

    fn get_runtime() -> Self {
        let none = || Self { runtime: RefCell::new(None), longest: Duration::ZERO };
        NEXT.take().unwrap_or_else(none)
    }
}

impl Lane {
    fn give_up(&self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Lane {
    fn drop(&mut self) {
        // Whoever drops it may be on a thread that must not block.
        self.give_up();
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

fn finish<F: Future>(mut future: std::pin::Pin<&mut F>) -> F::Output {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}
