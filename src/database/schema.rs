//! The tables as diesel sees them; kept equal to `migrations/`. Times are milliseconds since the Unix
//! epoch.
//!
//! Owns: names and types of columns, and finding out whether a file has all of them.

use diesel::sqlite::SqliteConnection;
use diesel::{QueryDsl as _, RunQueryDsl as _};

use super::error::DatabaseError;

/// A connection to the database.
pub type Connection = SqliteConnection;

/// Whether every table and column is there.
///
/// # Errors
/// The first that is missing.
pub(super) fn check(connection: &mut Connection) -> Result<(), DatabaseError> {
    macro_rules! select_from {
        ($($table:ident),*) => {
            $($table::table.limit(0).execute(connection).map_err(DatabaseError::new)?;)*
        };
    }
    select_from!(cache_entries, kept_state, changes, audit_log);
    Ok(())
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
        /// Who wrote it.
        instance -> Text,
        /// When nobody needs it any more.
        keep_until -> Nullable<BigInt>,
    }
}

diesel::table! {
    /// What admins did.
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
