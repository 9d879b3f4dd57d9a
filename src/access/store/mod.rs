//! Keys, lists and deeds in the SQL database.
//!
//! Owns: one exchange with the file: what this process owes it is written in one transaction, which
//! is on the disk when it is over, and what other processes on the same file wrote since the last time
//! is read (each table counts its changes, so that costs an index look-up when there is nothing). Of
//! two versions of a subject the file keeps the later. A file that is another one than before (lost,
//! moved aside and begun anew, replaced), or the same with older contents (from a backup), does not
//! know the mark it showed last: it is read from its beginning and told everything. Refuses: rows that
//! cannot be read; each is put out of force, counted, and never half believed. A database that is away
//! fails the exchange: nothing is lost, all of it is still owed, and what was not heard is read again.
//! Blocks; callers are on threads that may.

mod deeds;
mod marks;
mod rows;
#[cfg(test)]
mod tests;
mod work;

use diesel::connection::{Connection as _, SimpleConnection};
use diesel::prelude::*;

use super::audit::{Deed, Stored};
use super::debts::Place;
use super::table::Access;
use crate::clock::{self, Timestamp};
use crate::database::Connection;
pub use crate::database::Store;
use marks::Mark;

/// Records written, and deeds stored, in one transaction.
const BATCH: usize = 500;
pub use work::keep_in_step;

/// How far a file was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Position {
    /// Whether it was read at all.
    begun: bool,
    /// The last mark of the file; none in one that takes no writes.
    mark: Option<Mark>,
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
    if outcome.is_ok() {
        deeds.stored();
    }
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
    if access.may_believe_more(Place::Database, now) {
        (position.keys, position.entries) = (0, 0);
    }
    // First what others wrote: what they know already need not be told them.
    let Reading { found, goes_on, at } =
        connection.transaction(|connection| read(connection, position))?;
    if !goes_on {
        access.owe_all(Place::Database);
    }
    let (heard, torn) = (access.hear(found.records, Place::Database, now), found.torn);
    access.was_read(Place::Database);
    if torn.is_empty() {
        // Torn rows are come upon again until they are out of force.
        *position = at.clone();
    }
    let owed = access.owed(Place::Database, BATCH);
    let mut mark = at.mark.clone();
    if !owed.is_empty() || !deeds.is_empty() || !torn.is_empty() {
        mark = durably(connection, |connection| {
            torn.iter().try_for_each(|torn| rows::put_out_of_force(connection, torn))?;
            deeds::write(connection, deeds)?;
            owed.iter().try_for_each(|record| rows::write(connection, record))?;
            marks::leave_after(connection, at.mark.as_ref())
        })?;
        access.told(Place::Database, &owed);
    }
    *position = Position { mark, ..at };
    Ok(Exchanged {
        new: heard.new,
        dropped: heard.refused + torn.len(),
        more: owed.len() == BATCH || deeds.len() == BATCH,
    })
}

/// What was read of a file.
struct Reading {
    found: rows::Found,
    /// Whether the file only grew since it was read last.
    goes_on: bool,
    /// How far it is read now.
    at: Position,
}

fn read(connection: &mut Connection, position: &Position) -> QueryResult<Reading> {
    let goes_on = position.begun && marks::is_known(connection, position.mark.as_ref())?;
    let mut at = if goes_on { position.clone() } else { Position::default() };
    let found = rows::read(connection, &mut at)?;
    (at.begun, at.mark) = (true, marks::last(connection)?);
    Ok(Reading { found, goes_on, at })
}

/// A transaction that survives the power supply, once it is over: who was told that a key is revoked
/// is not to meet it again. Other transactions on the file need not wait for the disk.
fn durably<T>(
    connection: &mut Connection,
    work: impl FnOnce(&mut Connection) -> QueryResult<T>,
) -> QueryResult<T> {
    connection.batch_execute("PRAGMA synchronous = FULL")?;
    let done = connection.immediate_transaction(work);
    // Were it not set back, the connection would be slower and no worse.
    drop(connection.batch_execute("PRAGMA synchronous = NORMAL"));
    done
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
