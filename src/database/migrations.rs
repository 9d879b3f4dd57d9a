//! Runs the built-in migrations.
//!
//! Owns: bringing a schema up to date. A failed step leaves the schema as it was.

use std::path::Path;

use diesel::connection::{Connection as _, SimpleConnection};
use diesel::result::Error;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::error::DatabaseError;
use super::schema::Connection;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// Runs every pending migration; returns their names.
///
/// # Errors
/// The database refused one; none is applied.
pub fn migrate(connection: &mut Connection) -> Result<Vec<String>, DatabaseError> {
    let pending = connection.has_pending_migration(MIGRATIONS).map_err(DatabaseError::new)?;
    if !pending {
        return Ok(Vec::new());
    }
    // One transaction that begins with the write lock: of several processes one migrates, the
    // others find it done.
    let mut outcome = Ok(Vec::new());
    let committed = connection.immediate_transaction(|connection| {
        outcome = connection
            .run_pending_migrations(MIGRATIONS)
            .map(|done| done.iter().map(ToString::to_string).collect())
            .map_err(|error| DatabaseError::new(format!("migration failed: {error}")));
        if outcome.is_ok() { Ok(()) } else { Err(Error::RollbackTransaction) }
    });
    match (committed, outcome) {
        (Err(error), Ok(_)) => Err(DatabaseError::new(error)),
        (_, outcome) => outcome,
    }
}

/// Takes the newest step back that was made; its name, or none if there is none to take back.
///
/// # Errors
/// The database refused it; the schema is as it was.
pub fn revert(path: &Path) -> Result<Option<String>, DatabaseError> {
    let mut connection =
        Connection::establish(&path.to_string_lossy()).map_err(DatabaseError::new)?;
    connection.batch_execute("PRAGMA busy_timeout = 1000").map_err(DatabaseError::new)?;
    let mut outcome = Ok(None);
    let committed = connection.immediate_transaction(|connection| {
        outcome = match connection.applied_migrations() {
            Ok(applied) if applied.is_empty() => Ok(None),
            Ok(_) => {
                connection.revert_last_migration(MIGRATIONS).map(|name| Some(name.to_string()))
            }
            Err(error) => Err(error),
        }
        .map_err(|error| DatabaseError::new(format!("migration failed: {error}")));
        if outcome.is_ok() { Ok(()) } else { Err(Error::RollbackTransaction) }
    });
    match (committed, outcome) {
        (Err(error), Ok(_)) => Err(DatabaseError::new(error)),
        (_, outcome) => outcome,
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
