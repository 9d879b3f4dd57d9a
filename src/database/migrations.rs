//! Runs the built-in migrations.
//!
//! Owns: bringing a schema up to date. A failed step leaves the schema at the last good one.

use std::fmt;

use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::pool::Connection;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!();

/// A migration could not be run.
#[derive(Debug)]
pub struct MigrationError(String);

impl fmt::Display for MigrationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "migration failed: {}", self.0)
    }
}

impl std::error::Error for MigrationError {}

/// Runs every pending migration; returns their names.
///
/// # Errors
/// The database refused one; earlier ones stay applied.
pub fn migrate(connection: &mut Connection) -> Result<Vec<String>, MigrationError> {
    connection
        .run_pending_migrations(MIGRATIONS)
        .map(|done| done.iter().map(ToString::to_string).collect())
        .map_err(|error| MigrationError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use diesel::Connection as _;

    #[test]
    fn steps_go_up_and_down_and_up_again() {
        let mut connection = Connection::establish(":memory:").unwrap();
        assert!(!migrate(&mut connection).unwrap().is_empty());
        assert!(migrate(&mut connection).unwrap().is_empty(), "nothing is pending");
        connection.revert_all_migrations(MIGRATIONS).unwrap();
        assert!(!migrate(&mut connection).unwrap().is_empty());
    }
}
