//! A connection to either engine, and the words in which they differ.
//!
//! Owns: which engine it is, transactions that write, and the form in which each query is run: its text is
//! written once, and [`query!`] compiles it for both. diesel's `MultiConnection` would do the same at run
//! time, without upserts and with a text that is built anew for every statement.

use diesel::connection::{
    AnsiTransactionManager, Connection as _, SimpleConnection, TransactionManager,
};
use diesel::result::Error;
use diesel::{QueryResult, SqliteConnection};
use diesel_async::pooled_connection::PoolableConnection;

use super::DatabaseError;
use super::postgres::PostgresConnection;
use super::watch::Watch;

/// A connection that runs statements; blocks.
#[expect(clippy::large_enum_variant, reason = "there are a handful, each in a pool")]
pub enum Connection {
    Sqlite(SqliteConnection),
    Postgres(PostgresConnection),
}

/// Runs a query on whichever engine it is: `query!(connection, |c| table.load(c))`.
macro_rules! query {
    ($connection:expr, |$inner:ident| $query:expr) => {
        match &mut *$connection {
            $crate::database::Connection::Sqlite($inner) => $query,
            $crate::database::Connection::Postgres($inner) => $query,
        }
    };
}
pub(crate) use query;

/// What runs behind a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
}

impl Engine {
    /// The bytes of a column of texts. SQLite keeps in a column whatever was put there, so that one odd
    /// row would spoil the others if it were read as text.
    pub fn octets(self, column: &str) -> String {
        match self {
            Self::Sqlite => format!("CAST({column} AS BLOB)"),
            Self::Postgres => format!("convert_to({column}, 'UTF8')"),
        }
    }

    /// The bytes of a column of bytes, whatever SQLite finds there.
    pub fn blob(self, column: &str) -> String {
        match self {
            Self::Sqlite => format!("CAST({column} AS BLOB)"),
            Self::Postgres => column.to_owned(),
        }
    }

    /// Has SQLite read this index, whatever it has learned of its tables.
    pub fn by_index(self, index: &str) -> String {
        match self {
            Self::Sqlite => format!("INDEXED BY {index}"),
            // It has no such words; it is told once for a connection.
            Self::Postgres => String::new(),
        }
    }

    /// What names a row from within an index.
    pub const fn row(self) -> &'static str {
        match self {
            Self::Sqlite => "rowid",
            Self::Postgres => "key",
        }
    }
}

impl Connection {
    pub const fn engine(&self) -> Engine {
        match self {
            Self::Sqlite(_) => Engine::Sqlite,
            Self::Postgres(_) => Engine::Postgres,
        }
    }

    /// What an error on this connection means.
    pub(super) fn error(&self, error: &Error) -> DatabaseError {
        match self {
            Self::Sqlite(_) => DatabaseError::new(error),
            Self::Postgres(_) => DatabaseError::of_postgres(error),
        }
    }

    /// Runs statements that bind nothing.
    pub fn batch_execute(&mut self, sql: &str) -> QueryResult<()> {
        query!(self, |c| c.batch_execute(sql))
    }

    /// A transaction that is going to write. SQLite takes its one write lock at the beginning: taken
    /// later, it could not be waited for.
    pub fn write<T, E: From<Error>>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, E>,
    ) -> Result<T, E> {
        match self {
            Self::Sqlite(c) => AnsiTransactionManager::begin_transaction_sql(c, "BEGIN IMMEDIATE")?,
            Self::Postgres(c) => begin(c)?,
        }
        match work(self) {
            Ok(done) => {
                query!(self, |c| commit(c))?;
                Ok(done)
            }
            Err(error) => {
                // What the work failed of says more than that the way back failed, too.
                drop(query!(self, |c| roll_back(c)));
                Err(error)
            }
        }
    }

    /// A transaction that survives the loss of power once it is over; others need not wait for the disk.
    pub fn durably<T>(&mut self, work: impl FnOnce(&mut Self) -> QueryResult<T>) -> QueryResult<T> {
        if self.engine() == Engine::Postgres {
            return self.write(|connection| {
                connection.batch_execute("SET LOCAL synchronous_commit TO DEFAULT")?;
                work(connection)
            });
        }
        self.batch_execute("PRAGMA synchronous = FULL")?;
        let done = self.write(work);
        // Were it not set back, the connection would be slower and no worse.
        drop(self.batch_execute("PRAGMA synchronous = NORMAL"));
        done
    }

    pub(super) fn watched(mut self, watch: &Watch) -> Self {
        query!(&mut self, |c| c.set_instrumentation(watch.timer()));
        self
    }

    /// Whether a pool has to throw it away.
    pub(super) fn is_broken(&mut self) -> bool {
        match self {
            Self::Sqlite(c) => AnsiTransactionManager::is_broken_transaction_manager(c),
            Self::Postgres(c) => PoolableConnection::is_broken(&mut **c),
        }
    }
}

fn begin<C: diesel::Connection>(connection: &mut C) -> QueryResult<()> {
    C::TransactionManager::begin_transaction(connection)
}

fn commit<C: diesel::Connection>(connection: &mut C) -> QueryResult<()> {
    C::TransactionManager::commit_transaction(connection)
}

fn roll_back<C: diesel::Connection>(connection: &mut C) -> QueryResult<()> {
    C::TransactionManager::rollback_transaction(connection)
}
