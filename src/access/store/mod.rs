//! Keys, lists and deeds in the SQL database.
//!
//! Owns: one exchange with the file: what this process owes it is written in one transaction, and
//! what other processes on the same file wrote since the last time is read (each table counts its
//! changes, so that costs an index look-up when there is nothing). Of two versions of a subject the
//! file keeps the later. A file that is another one than before (lost, moved aside and begun anew,
//! replaced) is read from its beginning and told everything. Refuses: rows that cannot be read; each
//! is put out of force, counted, and never half believed. A database that is away fails the exchange:
//! nothing is lost, all of it is still owed. Blocks; callers are on threads that may.

mod deeds;
mod rows;
#[cfg(test)]
mod tests;
mod work;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};

use super::audit::{Deed, Stored};
use super::book::Place;
use super::table::Access;
use crate::clock::{self, Timestamp};
use crate::database::Connection;
pub use crate::database::Store;
use crate::database::schema::kept_state;

/// Records written, and deeds stored, in one transaction.
const BATCH: usize = 500;
/// The name under which the file's own name is kept.
const FILE: &str = "access_file";
/// What a file is called that has no name and cannot be given one.
const NAMELESS: &str = "nameless";
const NAME_IT: &str = "INSERT INTO kept_state (name, value, at) VALUES (?, ?, ?) \
     ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE kept_state.value = ''";

pub use work::keep_in_step;

/// How far a file was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// The file's name; empty before the first reading.
    file: String,
    keys: i64,
    entries: i64,
}

/// What an exchange came upon.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Exchanged {
    /// Records that changed what is in force.
    pub new: usize,
    /// Rows that could not be read or were refused.
    pub dropped: usize,
    /// Whether more is owed still.
    pub more: bool,
}

/// Writes what is owed and reads what is new.
///
/// # Errors
/// The database is away, locked, full or broken; everything is still owed.
pub fn exchange(
    store: &Store,
    access: &Access,
    position: &mut Position,
) -> Result<Exchanged, String> {
    let mut connection = store.lend().map_err(|error| error.to_string())?;
    let deeds = access.unstored().take(BATCH);
    let outcome = try_exchange(&mut connection, access, position, &deeds);
    access.unstored().over(&deeds, outcome.is_ok());
    outcome.map_err(|error| {
        let text = error.to_string();
        store.blame(&text);
        text
    })
}

fn try_exchange(
    connection: &mut Connection,
    access: &Access,
    position: &mut Position,
    deeds: &[Deed],
) -> QueryResult<Exchanged> {
    let now = clock::now();
    let file = name_of(connection, now)?;
    if file != position.file {
        *position = Position { file, ..Position::default() };
        access.owe_all(Place::Database);
    }
    // First what others wrote: what they know already need not be told them.
    let found = rows::read(connection, position)?;
    let heard = access.hear(found.records, Place::Database, now);
    let owed = access.owed(Place::Database, BATCH);
    if !owed.is_empty() || !deeds.is_empty() || !found.torn.is_empty() {
        connection.immediate_transaction(|connection| {
            owed.iter().try_for_each(|record| rows::write(connection, record))?;
            found.torn.iter().try_for_each(|torn| rows::put_out_of_force(connection, torn))?;
            deeds::write(connection, deeds)
        })?;
        access.told(Place::Database, &owed);
    }
    Ok(Exchanged {
        new: heard.new,
        dropped: heard.refused + found.torn.len(),
        more: owed.len() == BATCH || deeds.len() == BATCH,
    })
}

/// What the file is called; it gets a name if it has none. One that cannot be written has none until
/// it can, and is read all the same.
fn name_of(connection: &mut Connection, now: Timestamp) -> QueryResult<String> {
    if let Some(name) = known_name(connection)? {
        return Ok(name);
    }
    let named = sql_query(NAME_IT)
        .bind::<Text, _>(FILE)
        .bind::<Text, _>(format!("{:032x}", fastrand::u128(..)))
        .bind::<BigInt, _>(now.as_millis())
        .execute(connection);
    // Another process may have been faster.
    Ok(named.and_then(|_| known_name(connection)).ok().flatten().unwrap_or_else(|| NAMELESS.into()))
}

fn known_name(connection: &mut Connection) -> QueryResult<Option<String>> {
    let bytes = diesel::dsl::sql::<Nullable<Binary>>("CAST(value AS BLOB)");
    let found = kept_state::table.find(FILE).select(bytes);
    let found = found.first::<Option<Vec<u8>>>(connection).optional()?.flatten();
    let name = found.and_then(|bytes| String::from_utf8(bytes).ok());
    Ok(name.filter(|name| !name.is_empty()))
}

/// Deeds in the database before `before` (or at all), the newest first; at most `most`.
///
/// # Errors
/// The database is away or broken.
pub fn deeds_before(
    store: &Store,
    before: Option<i64>,
    most: usize,
) -> Result<Vec<Stored>, String> {
    let mut connection = store.lend().map_err(|error| error.to_string())?;
    deeds::before(&mut connection, before, most).map_err(|error| {
        let text = error.to_string();
        store.blame(&text);
        text
    })
}

/// Drops rows about what nobody needs to know any more.
///
/// # Errors
/// The database is away or broken.
pub fn forget(store: &Store, now: Timestamp) -> Result<usize, String> {
    let mut connection = store.lend().map_err(|error| error.to_string())?;
    rows::forget(&mut connection, now).map_err(|error| {
        let text = error.to_string();
        store.blame(&text);
        text
    })
}
