//! The SQL database: connections, schema, migrations.
//!
//! Owns: the state of the file and the pool over it, and what an error says about the file: diesel
//! passes no codes on, so SQLite's texts are read, those of `sqlite3_errstr` and of the parser, stable
//! since SQLite 3.7. A file that is no database, or lacks a table, is quarantined, never deleted, and
//! a new one is begun; a path that cannot be used means no database for now, and the service goes on
//! with the tiers that are left.

mod care;
mod opening;
pub mod schema;
mod settings;
mod store;
#[cfg(test)]
pub(crate) mod tests;

use std::fmt;

pub use opening::{Lent, describe};
pub use schema::{Connection, migrate, revert};
pub use settings::DatabaseSettings;
pub use store::{Event, Store};

/// What an error says about the file.
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
}

const OF_FILE: &[&str] =
    &["not a database", "disk image is malformed", "malformed database schema"];
/// The last one is diesel's: a table that lost its bounds on values.
const OF_SCHEMA: &[&str] =
    &["no such table", "no such column", "has no column named", "Unexpected null for non-null"];
/// Not "unable to open": too many open files say so, too, and spare those that are open.
const OF_CONNECTIONS: &[&str] = &["disk I/O error", "locking protocol"];

impl Harm {
    /// What an error text says.
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
        Self { text, harm }
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
