//! Postgres: what its address says, connecting, and waits that end.
//!
//! Owns: TLS towards it, the time-outs of a connection, and the runtime on which a connection's bytes
//! move while a thread waits for it. A server that is there and does not answer costs a thread at most
//! [`Patience::longest`]; then the connection is given up. Refuses: a database that is not in UTF-8.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::path::PathBuf;
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
use tokio_postgres::config::SslMode;
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use self::unverified::Unverified;
use super::{Connection, DatabaseError, Harm};
use crate::config::Secret;

mod unverified;

pub(super) type PostgresConnection = AsyncConnectionWrapper<AsyncPgConnection, Lane>;

/// Longest time of a connection being made, handshakes included.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// A host that is gone is noticed without traffic after so long.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// Bytes that nobody acknowledges for so long end the connection.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

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

/// How the bytes are protected on their way.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Tls {
    Never,
    /// Encrypted if the server can; nobody is verified.
    Prefer,
    /// Encrypted; nobody is verified.
    Require,
    /// Encrypted, and the server's name and certificate are right, by this file of authorities or by
    /// those of the web.
    Verify(Option<PathBuf>),
}

/// An address that was read without a mistake; hidden as a whole in `Debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresAddress(Secret);

impl PostgresAddress {
    /// # Errors
    /// What is wrong with it, without the password.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        parts(text)?;
        Ok(Self(Secret::new(text)))
    }

    /// The file of the authorities that vouch for the server, if one is named.
    pub(super) fn authorities(&self) -> Option<PathBuf> {
        match parts(self.0.expose()) {
            Ok((_, Tls::Verify(authorities))) => authorities,
            Ok(_) | Err(_) => None,
        }
    }

    pub(super) fn expose(&self) -> &str {
        self.0.expose()
    }
}

/// Splits off what this side decides about TLS; the driver reads the rest.
fn parts(text: &str) -> Result<(Config, Tls), String> {
    let (base, options) = text.split_once('?').unwrap_or((text, ""));
    let (mut mode, mut authorities, mut others) = ("prefer".to_owned(), None, Vec::new());
    for option in options.split('&').filter(|option| !option.is_empty()) {
        let decoded = || {
            let mut pairs = url::form_urlencoded::parse(option.as_bytes());
            pairs.next().map(|(_, value)| value.into_owned()).unwrap_or_default()
        };
        match option.split_once('=').map_or(option, |(name, _)| name) {
            "sslmode" => mode = decoded(),
            "sslrootcert" => authorities = Some(PathBuf::from(decoded())),
            _ => others.push(option),
        }
    }
    let tls = match mode.as_str() {
        "disable" => Tls::Never,
        "prefer" => Tls::Prefer,
        "require" => Tls::Require,
        "verify-full" => Tls::Verify(authorities.take()),
        _ => return Err("sslmode is disable, prefer, require or verify-full".to_owned()),
    };
    if authorities.is_some() {
        return Err("sslrootcert is used with sslmode=verify-full only".to_owned());
    }
    let text = format!("{base}?{}", others.join("&"));
    let mut config: Config = text.parse().map_err(|error: tokio_postgres::Error| {
        let cause = std::error::Error::source(&error).map(ToString::to_string);
        cause.unwrap_or_else(|| error.to_string())
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err("the host is missing".to_owned());
    }
    if config.get_dbname().is_none() {
        return Err("the name of the database is missing".to_owned());
    }
    config.ssl_mode(match tls {
        Tls::Never => SslMode::Disable,
        Tls::Prefer => SslMode::Prefer,
        Tls::Require | Tls::Verify(_) => SslMode::Require,
    });
    if config.get_application_name().is_none() {
        config.application_name("breakwater");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_WITHIN);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(UNACKNOWLEDGED);
    }
    config.keepalives_idle(config.get_keepalives_idle().min(KEEPALIVE));
    Ok((config, tls))
}

/// A connection whose waits end, in UTF-8.
pub(super) fn connect(
    address: &PostgresAddress,
    patience: Patience,
) -> Result<Connection, DatabaseError> {
    let (config, tls) = parts(address.expose()).map_err(DatabaseError::new)?;
    let runtime = Builder::new_current_thread().enable_all().build().map_err(DatabaseError::new)?;
    let opened =
        runtime.block_on(async { tokio::time::timeout(CONNECT_WITHIN, open(&config, &tls)).await });
    let connected = match opened {
        Ok(Ok(connected)) => connected,
        Ok(Err(error)) => return Err(error),
        Err(_) => {
            runtime.shutdown_background();
            return Err(DatabaseError::new("it did not answer in time").of(Harm::Connections));
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
