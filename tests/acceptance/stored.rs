//! What the database file holds, seen past the gateway.
//!
//! Owns: a connection of its own to the file and counting rows in it. Refuses: to change anything
//! by itself; what a test does to the file is the test's.

use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel::sqlite::SqliteConnection;

/// The database file of a gateway whose folder this is.
pub(crate) const FILE: &str = "gateway.db";

/// A connection beside those of the gateway; it waits for locks.
pub(crate) fn connect(file: &Path) -> SqliteConnection {
    let mut connection = SqliteConnection::establish(&file.to_string_lossy()).expect("a database");
    connection.batch_execute("PRAGMA busy_timeout = 5000").expect("a pragma");
    connection
}

/// Rows of the cache; `None` when the file does not hold such a table, or is no database.
pub(crate) fn rows(file: &Path) -> Option<i64> {
    // Opening what is not there would make it.
    if !file.is_file() {
        return None;
    }
    let mut connection = SqliteConnection::establish(&file.to_string_lossy()).ok()?;
    connection.batch_execute("PRAGMA busy_timeout = 5000").ok()?;
    let count = diesel::dsl::sql::<BigInt>("SELECT count(*) FROM cache_entries");
    count.get_result(&mut connection).ok()
}
