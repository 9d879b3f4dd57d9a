//! What the database refuses, and what that says about its file.
//!
//! Owns: reading SQLite's error texts; diesel passes no codes on. The texts are those of
//! `sqlite3_errstr` and of the parser, stable since SQLite 3.7.

use std::fmt;

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
    pub(super) fn new(text: impl ToString) -> Self {
        let text = text.to_string();
        let harm = Harm::of(&text);
        Self { text, harm }
    }

    /// The same words with this meaning.
    pub(super) fn of(self, harm: Harm) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_tell_the_harm() {
        for (text, harm) in [
            ("database is locked", Harm::None),
            ("database or disk is full", Harm::None),
            ("no such table: cache_entries", Harm::Schema),
            ("table kept_state has no column named at", Harm::Schema),
            ("Unexpected null for non-null column", Harm::Schema),
            ("disk I/O error", Harm::Connections),
            ("file is not a database", Harm::File),
            ("malformed database schema (x) - near \"garbage\": syntax error", Harm::File),
        ] {
            assert_eq!(Harm::of(text), harm, "{text}");
        }
    }
}
