//! The SQL database: connections, schema, migrations. A file of SQLite, or a server of Postgres.
//!
//! Owns: the state of the database and the pool over it, and what an error says about it. Of SQLite diesel
//! passes no codes on, so its texts are read, those of `sqlite3_errstr` and of the parser, stable since
//! SQLite 3.7; the texts of Postgres come in the language of the server and are not. A file that is no
//! database, or lacks a table, is quarantined, never deleted, and a new one is begun; a database that
//! cannot be used means none for now, and the service goes on with the tiers that are left.

mod care;
mod connection;
mod opening;
mod pool;
mod postgres;
mod replicas;
pub mod schema;
mod settings;
mod store;
#[cfg(test)]
pub(crate) mod tests;
mod watch;

use std::fmt;

use diesel::result::{DatabaseErrorKind, Error};

pub(crate) use connection::query;
pub use connection::{Connection, Engine};
pub use opening::describe;
pub use pool::Lent;
pub use postgres::PostgresAddress;
pub use replicas::{ReplicaStatus, Replicas, describe_replica};
pub use schema::{migrate, revert};
pub use settings::{Address, DatabaseSettings};

use crate::config::said;
pub use store::{Event, Store};
pub use watch::{QueryType, Ran, Watch, shape};

/// What an error says about the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Harm {
    /// Nothing: it is busy, full, read-only, or the statement was wrong.
    None,
    /// The connections are of no use any more; new ones may be.
    Connections,
    /// Tables or columns are missing.
    Schema,
    /// It is no database, or not a whole one.
    File,
    /// It is whole, and not one for this program: an operator has to name another one.
    Unfit,
}

const OF_FILE: &[&str] =
    &["not a database", "disk image is malformed", "malformed database schema"];
/// The last one is diesel's: a table that lost its bounds on values.
const OF_SCHEMA: &[&str] =
    &["no such table", "no such column", "has no column named", "Unexpected null for non-null"];
/// Not "unable to open": too many open files say so, too, and spare those that are open.
const OF_CONNECTIONS: &[&str] = &["disk I/O error", "locking protocol"];

impl Harm {
    /// What an error text of SQLite says.
    pub fn of(text: &str) -> Self {
        let says = |texts: &[&str]| texts.iter().any(|known| text.contains(known));
        if says(OF_FILE) {
            Self::File
        } else if says(OF_SCHEMA) {
            Self::Schema
        } else if says(OF_CONNECTIONS) {
            Self::Connections
        } else {
            Self::None
        }
    }
}

/// The database could not be opened or lent.
#[derive(Debug, Clone)]
pub struct DatabaseError {
    text: String,
    harm: Harm,
}

impl DatabaseError {
    /// An error that says what it means.
    fn new(text: impl ToString) -> Self {
        let text = text.to_string();
        let harm = Harm::of(&text);
        Self { text: said(&text), harm }
    }

    /// What an error of Postgres means. Which tables it lacks is asked, not read.
    fn of_postgres(error: &Error) -> Self {
        let is_lost = matches!(
            error,
            Error::BrokenTransactionManager
                | Error::DatabaseError(
                    DatabaseErrorKind::UnableToSendCommand
                        | DatabaseErrorKind::ClosedConnection
                        // Another server may be the primary by now.
                        | DatabaseErrorKind::ReadOnlyTransaction,
                    _,
                )
        );
        let harm = if is_lost { Harm::Connections } else { Harm::None };
        Self { text: said(&error.to_string()), harm }
    }

    /// The same words with this meaning.
    fn of(self, harm: Harm) -> Self {
        Self { harm, ..self }
    }

    /// What it says about the file.
    pub const fn harm(&self) -> Harm {
        self.harm
    }
}

impl fmt::Display for DatabaseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for DatabaseError {}
