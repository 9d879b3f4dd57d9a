//! A schema that lost something while its migrations are on record.
//!
//! Owns: finding out what is missing, and putting it back. What a whole schema looks like is read
//! from one that the migrations have just made in memory, so that it is written down only once.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use diesel::connection::{Connection as _, SimpleConnection};
use diesel::sql_types::Text;
use diesel::{QueryableByName, RunQueryDsl, sql_query};

use super::error::{DatabaseError, Harm};
use super::migrations::migrate;
use super::opening::Connection;

const OBJECTS: &str = "SELECT type AS kind, name, tbl_name AS owner, sql FROM sqlite_master \
     WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite%' ORDER BY type DESC, name";

#[derive(Debug, Clone, PartialEq, Eq, QueryableByName)]
struct Object {
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    owner: String,
    #[diesel(sql_type = Text)]
    sql: String,
}

#[derive(QueryableByName)]
struct Named {
    #[diesel(sql_type = Text)]
    name: String,
}

/// Whether every table and column is there; says what is not.
///
/// # Errors
/// Something is missing, or the schema cannot be read.
pub(super) fn check(connection: &mut Connection) -> Result<(), DatabaseError> {
    for (table, wanted) in wanted_tables()? {
        let found = columns(connection, table)?;
        if found.is_empty() {
            return Err(DatabaseError::new(format!("no such table: {table}")));
        }
        if let Some(missing) = wanted.difference(&found).next() {
            return Err(DatabaseError::new(format!("no such column: {table}.{missing}")));
        }
    }
    Ok(())
}

/// Puts back what is missing: all of it or nothing.
///
/// # Errors
/// It cannot be put back; the file has to make way, unless the error is a passing one.
pub(super) fn repair(connection: &mut Connection) -> Result<(), DatabaseError> {
    let mut whole = whole()?;
    let wanted = objects(&mut whole)?;
    let versions = versions(&mut whole)?;
    connection
        .immediate_transaction(|connection| {
            let found: Vec<Object> = sql_query(OBJECTS).load(connection)?;
            let place = |object: &Object| (object.kind.clone(), object.name.clone());
            for object in &wanted {
                let there = found.iter().find(|found| place(found) == place(object));
                if there.is_some_and(|there| there.owner == object.owner) {
                    continue;
                }
                if object.kind == "index" {
                    // It may have gone along with a table that was renamed.
                    connection.batch_execute(&format!("DROP INDEX IF EXISTS {}", object.name))?;
                }
                connection.batch_execute(&object.sql)?;
            }
            for version in &versions {
                sql_query("INSERT OR IGNORE INTO __diesel_schema_migrations (version) VALUES (?)")
                    .bind::<Text, _>(version)
                    .execute(connection)?;
            }
            diesel::QueryResult::Ok(())
        })
        .map_err(DatabaseError::new)?;
    check(connection)
}

/// Whether an error is one that [`repair`] may mend.
pub(super) fn may_mend(error: &DatabaseError) -> bool {
    let clash = ["already exists", "duplicate column"];
    error.harm() == Harm::Schema || clash.iter().any(|known| error.to_string().contains(known))
}

fn whole() -> Result<Connection, DatabaseError> {
    let mut connection = Connection::establish(":memory:").map_err(DatabaseError::new)?;
    migrate(&mut connection)?;
    Ok(connection)
}

fn objects(connection: &mut Connection) -> Result<Vec<Object>, DatabaseError> {
    sql_query(OBJECTS).load(connection).map_err(DatabaseError::new)
}

/// Every table with its columns; found out once, since [`check`] is made every second.
fn wanted_tables() -> Result<&'static [(String, BTreeSet<String>)], DatabaseError> {
    static WANTED: OnceLock<Vec<(String, BTreeSet<String>)>> = OnceLock::new();
    if let Some(known) = WANTED.get() {
        return Ok(known);
    }
    let mut whole = whole()?;
    let found = objects(&mut whole)?.into_iter().filter(|object| object.kind == "table");
    let tables: Result<Vec<_>, DatabaseError> = found
        .map(|table| columns(&mut whole, &table.name).map(|columns| (table.name, columns)))
        .collect();
    let tables = tables?;
    Ok(WANTED.get_or_init(|| tables))
}

fn columns(connection: &mut Connection, table: &str) -> Result<BTreeSet<String>, DatabaseError> {
    let query = sql_query("SELECT name FROM pragma_table_info(?)").bind::<Text, _>(table);
    let found: Vec<Named> = query.load(connection).map_err(DatabaseError::new)?;
    Ok(found.into_iter().map(|column| column.name).collect())
}

fn versions(connection: &mut Connection) -> Result<Vec<String>, DatabaseError> {
    let query = sql_query("SELECT version AS name FROM __diesel_schema_migrations");
    let found: Vec<Named> = query.load(connection).map_err(DatabaseError::new)?;
    Ok(found.into_iter().map(|version| version.name).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended_after(harm: &str) {
        let mut connection = whole().unwrap();
        connection.batch_execute(harm).unwrap();
        repair(&mut connection).unwrap();
        assert_eq!(objects(&mut connection).unwrap(), objects(&mut whole().unwrap()).unwrap());
        assert!(migrate(&mut connection).unwrap().is_empty(), "nothing is pending");
    }

    #[test]
    fn what_is_missing_is_put_back() {
        mended_after("DROP TABLE cache_entries");
        mended_after("DROP TABLE kept_state; DROP TABLE changes");
        mended_after("DROP INDEX cache_entries_uses");
        mended_after("DROP TABLE __diesel_schema_migrations");
        mended_after("DELETE FROM __diesel_schema_migrations");
    }

    #[test]
    fn a_table_of_another_name_does_not_keep_the_indexes() {
        let mut connection = whole().unwrap();
        connection.batch_execute("ALTER TABLE cache_entries RENAME TO elsewhere").unwrap();
        assert!(may_mend(&check(&mut connection).unwrap_err()));
        repair(&mut connection).unwrap();
        check(&mut connection).unwrap();
    }

    #[test]
    fn a_column_that_is_gone_cannot_be_put_back() {
        let mut connection = whole().unwrap();
        let gone = "DROP INDEX cache_entries_asked; ALTER TABLE cache_entries DROP COLUMN question";
        connection.batch_execute(gone).unwrap();
        let error = repair(&mut connection).unwrap_err();
        assert!(!error.is_passing(), "{error}");
    }
}
