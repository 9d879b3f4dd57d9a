//! The statements of the writer.
//!
//! Owns: one transaction for a batch, stored whole or not at all. A row that is stored again keeps its
//! uses.

use std::collections::HashMap;

use bytes::Bytes;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::upsert::excluded;

use super::usage::faded;
use super::writer::{Value, Write};
use crate::cache::key::CacheKey;
use crate::cache::tiers::Row;
use crate::clock::Timestamp;
use crate::database::Connection;
use crate::database::schema::{cache_entries, kept_state};

/// Compared as it was read: whatever is there as bytes.
const REMOVE: &str =
    "DELETE FROM cache_entries WHERE key = ? AND coalesce(CAST(entry AS BLOB), x'') = ?";

/// Writes all of it or nothing.
pub(super) fn store<'a>(
    connection: &mut Connection,
    writes: impl Iterator<Item = &'a Write>,
    values: &HashMap<String, Value>,
) -> QueryResult<()> {
    connection.immediate_transaction(|connection| {
        for write in writes {
            match write {
                Write::Row(row) => upsert(connection, row)?,
                Write::Remove(key, entry) => remove(connection, key, entry)?,
                Write::Uses(uses, at) => add_uses(connection, uses, *at)?,
                Write::Value(..) | Write::Flush(_) => {}
            }
        }
        for (name, (value, at)) in values {
            let at = at.as_millis();
            let values =
                (kept_state::name.eq(name), kept_state::value.eq(value), kept_state::at.eq(at));
            diesel::replace_into(kept_state::table).values(values).execute(connection)?;
        }
        Ok(())
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

/// A row that was stored since it was read stays.
fn remove(connection: &mut Connection, key: &CacheKey, entry: &Bytes) -> QueryResult<()> {
    let remove = sql_query(REMOVE).bind::<Text, _>(key.as_str());
    remove.bind::<Binary, _>(entry.as_ref()).execute(connection).map(drop)
}

fn add_uses(
    connection: &mut Connection,
    uses: &[(CacheKey, u32)],
    at: Timestamp,
) -> QueryResult<()> {
    let add = format!(
        "UPDATE cache_entries SET uses = min({} + ?, 1 << 40), used_at = max(used_at, {}) WHERE key = ?",
        faded(at),
        at.as_millis()
    );
    uses.iter().try_for_each(|(key, uses)| {
        let add = sql_query(&add).bind::<BigInt, _>(i64::from(*uses));
        add.bind::<Text, _>(key.as_str()).execute(connection).map(drop)
    })
}
