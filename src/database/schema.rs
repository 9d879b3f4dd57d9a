//! The tables as diesel sees them, and the steps that make them. Times are milliseconds since the Unix
//! epoch.
//!
//! Owns: names and types of columns, kept equal to `migrations/`; bringing a file up to date, where a
//! failed step leaves the schema as it was; finding out whether a file has all tables.

use std::path::Path;

use diesel::connection::{Connection as _, SimpleConnection};
use diesel::result::Error;
use diesel::sqlite::SqliteConnection;
use diesel::{QueryDsl as _, RunQueryDsl as _};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::DatabaseError;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

pub type Connection = SqliteConnection;

/// Whether every table and column is there.
pub(super) fn check(connection: &mut Connection) -> Result<(), DatabaseError> {
    macro_rules! select_from {
        ($($table:ident),*) => {
            $($table::table.limit(0).execute(connection).map_err(DatabaseError::new)?;)*
        };
    }
    select_from!(cache_entries, kept_state, changes, audit_log);
    Ok(())
}

/// Runs every pending migration; returns their names.
/// When the database refuses one, none is applied.
pub fn migrate(connection: &mut Connection) -> Result<Vec<String>, DatabaseError> {
    let pending = connection.has_pending_migration(MIGRATIONS).map_err(DatabaseError::new)?;
    if !pending {
        return Ok(Vec::new());
    }
    in_one_step(connection, |connection| {
        let done = connection.run_pending_migrations(MIGRATIONS)?;
        Ok(done.iter().map(ToString::to_string).collect())
    })
}

/// Takes the newest step back that was made; its name, or none if there is none to take back.
/// When the database refuses it, the schema is as it was.
pub fn revert(path: &Path) -> Result<Option<String>, DatabaseError> {
    let mut connection =
        Connection::establish(&path.to_string_lossy()).map_err(DatabaseError::new)?;
    connection.batch_execute("PRAGMA busy_timeout = 1000").map_err(DatabaseError::new)?;
    in_one_step(&mut connection, |connection| {
        if connection.applied_migrations()?.is_empty() {
            return Ok(None);
        }
        connection.revert_last_migration(MIGRATIONS).map(|name| Some(name.to_string()))
    })
}

/// One transaction that begins with the write lock: of several processes one migrates, the others find
/// it done.
fn in_one_step<T>(
    connection: &mut Connection,
    work: impl FnOnce(&mut Connection) -> diesel::migration::Result<T>,
) -> Result<T, DatabaseError> {
    let mut failed = None;
    let done = connection.immediate_transaction(|connection| {
        work(connection).map_err(|error| {
            failed = Some(DatabaseError::new(format!("migration failed: {error}")));
            Error::RollbackTransaction
        })
    });
    done.map_err(|error| failed.unwrap_or_else(|| DatabaseError::new(error)))
}

diesel::table! {
    /// The third cache tier.
    cache_entries (key) {
        key -> Text,
        kind -> Text,
        entry -> Binary,
        stored_at -> BigInt,
        stale_until -> BigInt,
        /// What was asked (JSON), if it can be asked again.
        question -> Nullable<Text>,
        /// Halved at each midnight since `used_at`.
        uses -> BigInt,
        used_at -> BigInt,
        /// What the row takes in the file, about.
        bytes -> BigInt,
    }
}

diesel::table! {
    /// What parts of the service keep over a restart.
    kept_state (name) {
        name -> Text,
        value -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    /// The log that all instances follow; the newest change of each subject.
    changes (id) {
        /// Grows.
        id -> BigInt,
        topic -> Text,
        key -> Text,
        /// JSON; null: removed.
        payload -> Nullable<Text>,
        at -> BigInt,
        instance -> Text,
        /// When nobody needs it any more.
        keep_until -> Nullable<BigInt>,
    }
}

diesel::table! {
    audit_log (id) {
        id -> BigInt,
        at -> BigInt,
        actor -> Text,
        address -> Text,
        action -> Text,
        subject -> Text,
        details -> Text,
        outcome -> Text,
        request_id -> Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_go_up_and_down_and_up_again() {
        let mut connection = Connection::establish(":memory:").unwrap();
        let up = migrate(&mut connection).unwrap();
        assert!(!up.is_empty());
        assert!(migrate(&mut connection).unwrap().is_empty(), "nothing is pending");
        connection.revert_all_migrations(MIGRATIONS).unwrap();
        assert_eq!(migrate(&mut connection).unwrap(), up);
    }

    #[test]
    fn a_step_alone_can_be_taken_back() {
        let mut connection = Connection::establish(":memory:").unwrap();
        migrate(&mut connection).unwrap();
        connection.revert_last_migration(MIGRATIONS).unwrap();
        assert_eq!(migrate(&mut connection).unwrap().len(), 1);
    }
}
