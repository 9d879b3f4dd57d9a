//! The tables as diesel sees them, and the steps that make them. Times are milliseconds since the Unix
//! epoch.
//!
//! Owns: names and types of columns, kept equal to `migrations/`; bringing a file up to date, where a
//! failed step leaves the schema as it was; finding out whether a file has all tables. Refuses a database
//! that a newer version has changed.

use diesel::backend::Backend;
use diesel::connection::Connection as _;
use diesel::migration::MigrationSource;
use diesel::pg::Pg;
use diesel::result::Error;
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::sqlite::Sqlite;
use diesel::{QueryDsl as _, QueryableByName, RunQueryDsl as _, SqliteConnection, sql_query};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use super::connection::{Connection, Engine, query};
use super::postgres::{self, Patience};
use super::settings::Address;
use super::{DatabaseError, Harm};

/// The steps of each engine, under the same names. One text for both would be without what SQLite calls
/// AUTOINCREMENT and BLOB and Postgres IDENTITY and BYTEA, and without moving rows from a table into another.
const SQLITE: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES: EmbeddedMigrations = embed_migrations!("migrations/postgres");

/// Of everything that migrates a Postgres the first one does, and the others wait. The number says nothing.
const MIGRATING: i64 = 0x6272_6561_6b77_7472;

/// Runs a call of the harness on either engine, with the steps of that engine.
macro_rules! harness {
    ($connection:expr, |$c:ident, $steps:ident| $call:expr) => {
        match $connection {
            Connection::Sqlite($c) => {
                let $steps = SQLITE;
                $call
            }
            Connection::Postgres($c) => {
                let $steps = POSTGRES;
                $call
            }
        }
    };
}

/// Whether every table and column is there.
pub(super) fn check(connection: &mut Connection) -> Result<(), DatabaseError> {
    macro_rules! select_from {
        ($($table:ident),*) => {
            $(
                query!(connection, |c| $table::table.limit(0).execute(c))
                    .map_err(|error| connection.error(&error))?;
            )*
        };
    }
    if let Connection::Postgres(_) = connection {
        missing_in_postgres(connection)?;
    }
    select_from!(cache_entries, kept_state, changes, audit_log);
    Ok(())
}

#[derive(QueryableByName)]
struct Missing {
    #[diesel(sql_type = Nullable<Text>)]
    names: Option<String>,
}

/// An error of Postgres comes in the language of the server and without its number, so it is asked.
fn missing_in_postgres(connection: &mut Connection) -> Result<(), DatabaseError> {
    let asked = sql_query(
        "SELECT string_agg(name, ', ') AS names FROM unnest(ARRAY['cache_entries', 'kept_state', \
         'changes', 'audit_log']) AS wanted (name) WHERE to_regclass(name) IS NULL",
    );
    let found: Result<Missing, Error> = query!(connection, |c| asked.get_result(c));
    match found.map_err(|error| connection.error(&error))?.names {
        Some(names) => Err(DatabaseError::new(format!("no such table: {names}")).of(Harm::Schema)),
        None => Ok(()),
    }
}

/// Runs every pending migration; returns their names.
/// When the database refuses one, none is applied.
pub fn migrate(connection: &mut Connection) -> Result<Vec<String>, DatabaseError> {
    if !is_pending(connection)? {
        return Ok(Vec::new());
    }
    in_one_step(connection, |connection| {
        let done = harness!(connection, |c, steps| names(c.run_pending_migrations(steps)?));
        Ok(done)
    })
}

/// The same as if none had been run: Postgres' steps leave what is there as it is.
pub(super) fn migrate_again(connection: &mut Connection) -> Result<(), DatabaseError> {
    in_one_step(connection, |connection| {
        connection.batch_execute("DROP TABLE IF EXISTS __diesel_schema_migrations")?;
        harness!(connection, |c, steps| c.run_pending_migrations(steps)?);
        Ok(())
    })
}

fn names<T: ToString>(done: Vec<T>) -> Vec<String> {
    done.iter().map(ToString::to_string).collect()
}

/// Whether steps are to be made; asks without the right to change anything. Refuses a database that a newer
/// version has changed: what this one would read or write there is not known.
pub(super) fn is_pending(connection: &mut Connection) -> Result<bool, DatabaseError> {
    let made = match made(connection) {
        Ok(Some(made)) => made,
        Ok(None) => return Ok(true),
        // A role that may not read the list; whether the tables are there is asked beside it.
        Err(_) if connection.engine() == Engine::Postgres => return Ok(false),
        Err(error) => return Err(error),
    };
    let known = match connection {
        Connection::Sqlite(_) => versions::<Sqlite>(&SQLITE),
        Connection::Postgres(_) => versions::<Pg>(&POSTGRES),
    }?;
    if let Some(newer) = made.iter().find(|step| !known.contains(step)) {
        let text = format!(
            "a newer version of Breakwater has changed the database (step {newer}): start that version, or \
             have it take its steps back with `breakwater migrate --down`"
        );
        return Err(DatabaseError::new(text).of(Harm::Unfit));
    }
    Ok(known.iter().any(|step| !made.contains(step)))
}

fn versions<B: Backend>(steps: &impl MigrationSource<B>) -> Result<Vec<String>, DatabaseError> {
    let steps = steps.migrations().map_err(DatabaseError::new)?;
    Ok(steps.iter().map(|step| step.name().version().to_string()).collect())
}

#[derive(QueryableByName)]
struct Step {
    #[diesel(sql_type = Text)]
    version: String,
}

/// The steps that were made; none if that was never noted.
fn made(connection: &mut Connection) -> Result<Option<Vec<String>>, DatabaseError> {
    let table = match connection.engine() {
        Engine::Sqlite => {
            "SELECT name AS version FROM sqlite_master WHERE name = '__diesel_schema_migrations'"
        }
        Engine::Postgres => {
            "SELECT 'it' AS version WHERE to_regclass('__diesel_schema_migrations') IS NOT NULL"
        }
    };
    let mut ask = |sql: &str| {
        let asked = sql_query(sql);
        let found: Result<Vec<Step>, Error> = query!(connection, |c| asked.load(c));
        found.map_err(|error| connection.error(&error))
    };
    if ask(table)?.is_empty() {
        return Ok(None);
    }
    let found = ask("SELECT version FROM __diesel_schema_migrations ORDER BY version")?;
    Ok(Some(found.into_iter().map(|step| step.version).collect()))
}

/// Takes the newest step back that was made; its name, or none if there is none to take back.
/// When the database refuses it, the schema is as it was.
pub fn revert(address: &Address) -> Result<Option<String>, DatabaseError> {
    let mut connection = match address {
        Address::Sqlite(path) => {
            let opened = SqliteConnection::establish(&path.to_string_lossy());
            let mut opened = Connection::Sqlite(opened.map_err(DatabaseError::new)?);
            opened.batch_execute("PRAGMA busy_timeout = 1000").map_err(DatabaseError::new)?;
            opened
        }
        Address::Postgres(address) => postgres::connect(address, Patience::Schema)?,
    };
    in_one_step(&mut connection, |connection| {
        harness!(connection, |c, steps| {
            if c.applied_migrations()?.is_empty() {
                return Ok(None);
            }
            c.revert_last_migration(steps).map(|name| Some(name.to_string()))
        })
    })
}

/// One transaction that begins with the write lock: of several processes one migrates, the others find
/// it done.
fn in_one_step<T>(
    connection: &mut Connection,
    work: impl FnOnce(&mut Connection) -> diesel::migration::Result<T>,
) -> Result<T, DatabaseError> {
    let mut failed = None;
    let done = connection.write(|connection| {
        if let Connection::Postgres(c) = connection {
            let lock = sql_query("SELECT pg_advisory_xact_lock($1)").bind::<BigInt, _>(MIGRATING);
            lock.execute(c)?;
        }
        work(connection).map_err(|error| {
            failed = Some(DatabaseError::new(format!("migration failed: {error}")));
            Error::RollbackTransaction
        })
    });
    done.map_err(|error| failed.unwrap_or_else(|| connection.error(&error)))
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

    fn in_memory() -> SqliteConnection {
        SqliteConnection::establish(":memory:").unwrap()
    }

    #[test]
    fn steps_go_up_and_down_and_up_again() {
        let mut connection = Connection::Sqlite(in_memory());
        let up = migrate(&mut connection).unwrap();
        assert!(!up.is_empty());
        assert!(migrate(&mut connection).unwrap().is_empty(), "nothing is pending");
        let Connection::Sqlite(inner) = &mut connection else { unreachable!() };
        inner.revert_all_migrations(SQLITE).unwrap();
        assert_eq!(migrate(&mut connection).unwrap(), up);
    }

    #[test]
    fn a_step_alone_can_be_taken_back() {
        let mut connection = Connection::Sqlite(in_memory());
        migrate(&mut connection).unwrap();
        let Connection::Sqlite(inner) = &mut connection else { unreachable!() };
        inner.revert_last_migration(SQLITE).unwrap();
        assert_eq!(migrate(&mut connection).unwrap().len(), 1);
    }

    /// Postgres begins with the step that was the newest when it came; from there on each step is in both.
    #[test]
    fn both_engines_have_steps_of_the_same_names() {
        let sqlite = MigrationSource::<Sqlite>::migrations(&SQLITE).unwrap();
        let postgres = MigrationSource::<Pg>::migrations(&POSTGRES).unwrap();
        let sqlite: Vec<_> = sqlite.iter().map(|step| step.name().to_string()).collect();
        let postgres: Vec<_> = postgres.iter().map(|step| step.name().to_string()).collect();
        assert!(!postgres.is_empty());
        assert!(sqlite.ends_with(&postgres), "{sqlite:?} {postgres:?}");
    }
}
