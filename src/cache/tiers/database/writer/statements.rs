//! The statements of the writer.
//!
//! Owns: one transaction for a batch. A row that is stored again keeps its uses.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::upsert::excluded;

use super::Row;
use super::notes::Notes;
use crate::cache::tiers::database::DAY;
use crate::database::Connection;
use crate::database::schema::{cache_entries, kept_state};

/// Uses are halved for each midnight since the last one, then added to.
const ADD_USES: &str = "UPDATE cache_entries SET \
     uses = min((uses >> min(max(?1 / ?2 - used_at / ?2, 0), 62)) + ?3, 1 << 40), \
     used_at = max(used_at, ?1) WHERE key = ?4";
/// Compared as it was read: whatever is there as bytes.
const REMOVE: &str =
    "DELETE FROM cache_entries WHERE key = ? AND coalesce(CAST(entry AS BLOB), x'') = ?";

/// Writes all of it or nothing.
pub(super) fn store(connection: &mut Connection, rows: &[&Row], notes: &Notes) -> QueryResult<()> {
    connection.immediate_transaction(|connection| {
        // First, and only as it was read: a row that replaces a broken one stays, also one that was
        // stored before this was noted.
        for (key, entry) in &notes.removed {
            sql_query(REMOVE)
                .bind::<Text, _>(key.as_str())
                .bind::<Binary, _>(entry.as_ref())
                .execute(connection)?;
        }
        rows.iter().try_for_each(|row| upsert(connection, row))?;
        write_notes(connection, notes)
    })
}

fn upsert(connection: &mut Connection, row: &Row) -> QueryResult<()> {
    use cache_entries::dsl;
    let stored_at = row.stored_at.as_millis();
    diesel::insert_into(cache_entries::table)
        .values((
            dsl::key.eq(row.key.as_str()),
            dsl::kind.eq(row.kind),
            dsl::entry.eq(row.entry.as_ref()),
            dsl::stored_at.eq(stored_at),
            dsl::stale_until.eq(row.stale_until.as_millis()),
            dsl::question.eq(row.question.as_deref()),
            // Whoever had it loaded uses it.
            dsl::used_at.eq(stored_at),
            dsl::bytes.eq(i64::try_from(row.weight()).unwrap_or(i64::MAX)),
        ))
        .on_conflict(dsl::key)
        .do_update()
        .set((
            dsl::kind.eq(excluded(dsl::kind)),
            dsl::entry.eq(excluded(dsl::entry)),
            dsl::stored_at.eq(excluded(dsl::stored_at)),
            dsl::stale_until.eq(excluded(dsl::stale_until)),
            // One and the same for a key, but not everybody who stores it knows it.
            dsl::question.eq(sql::<Nullable<Text>>("coalesce(excluded.question, question)")),
            dsl::bytes.eq(excluded(dsl::bytes)),
        ))
        .execute(connection)
        .map(drop)
}

fn write_notes(connection: &mut Connection, notes: &Notes) -> QueryResult<()> {
    for (key, (uses, at)) in &notes.used {
        sql_query(ADD_USES)
            .bind::<BigInt, _>(at.as_millis())
            .bind::<BigInt, _>(DAY)
            .bind::<BigInt, _>(i64::from(*uses))
            .bind::<Text, _>(key.as_str())
            .execute(connection)?;
    }
    for (name, (value, at)) in &notes.kept {
        let at = at.as_millis();
        let values =
            (kept_state::name.eq(name), kept_state::value.eq(value), kept_state::at.eq(at));
        diesel::replace_into(kept_state::table).values(values).execute(connection)?;
    }
    Ok(())
}
