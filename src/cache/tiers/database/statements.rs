//! The statements on the table: what the writer stores, which rows are used most, and what is looked for.
//!
//! Owns: one transaction for a batch, stored whole or not at all; the order of rows by their uses. Uses are
//! halved at each midnight (UTC), so old fame fades; that is arithmetic when one looks, and no row is written
//! anew for it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};
use diesel::upsert::excluded;
use tokio::sync::oneshot;

use super::{DatabaseTier, READ_TIMEOUT, SWEEP_TIMEOUT};
use crate::cache::key::{CacheKey, literal_beginning, matches};
use crate::cache::tiers::Row;
use crate::clock::{self, Timestamp};
use crate::database::schema::cache_entries::{self, dsl};
use crate::database::schema::kept_state;
use crate::database::{Connection, query};
use crate::failure::StoreError;

pub(super) const DAY: i64 = 86_400_000;

/// JSON, and when it was so.
pub(super) type Value = (String, Timestamp);

#[derive(Debug)]
pub(super) enum Write {
    Row(Row),
    Remove(CacheKey),
    Uses(Vec<(CacheKey, u32)>, Timestamp),
    Value(String, Value),
    /// Answered when all that was sent before is stored or given up.
    Flush(oneshot::Sender<()>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    pub key: CacheKey,
    pub question: Arc<str>,
    /// Uses, those of earlier days halved for each midnight since.
    pub uses: u64,
    pub used_at: Timestamp,
    pub entry: Bytes,
}

pub(super) fn store<'a>(
    connection: &mut Connection,
    writes: impl Iterator<Item = &'a Write>,
    values: &HashMap<String, Value>,
) -> QueryResult<()> {
    connection.write(|connection| {
        for write in writes {
            match write {
                Write::Row(row) => upsert(connection, row)?,
                Write::Remove(key) => remove(connection, key)?,
                Write::Uses(uses, at) => add_uses(connection, uses, *at)?,
                Write::Value(..) | Write::Flush(_) => {}
            }
        }
        for (name, (value, at)) in values {
            keep(connection, name, value, at.as_millis())?;
        }
        Ok(())
    })
}

fn keep(connection: &mut Connection, name: &str, value: &str, at: i64) -> QueryResult<()> {
    let row = (kept_state::name.eq(name), kept_state::value.eq(value), kept_state::at.eq(at));
    let stored = diesel::insert_into(kept_state::table)
        .values(row)
        .on_conflict(kept_state::name)
        .do_update()
        .set((kept_state::value.eq(value), kept_state::at.eq(at)));
    query!(connection, |c| stored.execute(c)).map(drop)
}

fn upsert(connection: &mut Connection, row: &Row) -> QueryResult<()> {
    let stored_at = row.stored_at.as_millis();
    let stored = diesel::insert_into(cache_entries::table)
        .values((
            dsl::key.eq(row.key.as_str()),
            dsl::kind.eq(row.kind),
            dsl::entry.eq(row.entry.as_ref()),
            dsl::stored_at.eq(stored_at),
            dsl::stale_until.eq(row.stale_until.as_millis()),
            dsl::question.eq(row.question.as_deref()),
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
            dsl::question
                .eq(sql::<Nullable<Text>>("coalesce(excluded.question, cache_entries.question)")),
            dsl::bytes.eq(excluded(dsl::bytes)),
        ));
    query!(connection, |c| stored.execute(c)).map(drop)
}

fn remove(connection: &mut Connection, key: &CacheKey) -> QueryResult<()> {
    let row = dsl::cache_entries.find(key.as_str());
    query!(connection, |c| diesel::delete(row).execute(c)).map(drop)
}

fn add_uses(
    connection: &mut Connection,
    uses: &[(CacheKey, u32)],
    at: Timestamp,
) -> QueryResult<()> {
    // Both engines count the marks of what is bound.
    let add = format!(
        "UPDATE cache_entries SET uses = CASE WHEN {uses} < {MOST_USES} - $1 THEN {uses} + $1 \
         ELSE {MOST_USES} END, used_at = CASE WHEN used_at < {at} THEN {at} ELSE used_at END \
         WHERE key = $2",
        uses = faded(at),
        at = at.as_millis()
    );
    uses.iter().try_for_each(|(key, uses)| {
        let (uses, key) = (i64::from(*uses), key.as_str());
        query!(connection, |c| {
            sql_query(&add).bind::<BigInt, _>(uses).bind::<Text, _>(key).execute(c)
        })
        .map(drop)
    })
}

/// More are not counted.
const MOST_USES: i64 = 1 << 40;

/// The uses of a row as of `now`, in SQL.
pub(super) fn faded(now: Timestamp) -> String {
    let today = now.as_millis() / DAY;
    let day = format!("used_at / {DAY}");
    let oldest = today - 62;
    format!(
        "(uses >> CAST(CASE WHEN {day} >= {today} THEN 0 WHEN {day} < {oldest} THEN 62 \
         ELSE {today} - {day} END AS INTEGER))"
    )
}

impl DatabaseTier {
    /// Rows with a question, the most used first; those past their time too, until they are swept.
    pub async fn most_used(
        &self,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Remembered>, StoreError> {
        let uses = faded(now);
        let order = format!("{uses} DESC, used_at DESC");
        let found: Vec<Found> = self
            .read(Vec::new(), SWEEP_TIMEOUT, move |connection| {
                let engine = connection.engine();
                // The inner part looks only at the index of rows with a question; what is joined so is
                // looked up row by row.
                let most = sql_query(format!(
                    "SELECT {key} AS key, {question} AS question, {entry} AS entry, \
                     CAST({uses} AS BIGINT) AS uses, CAST(used_at AS BIGINT) AS used_at \
                     FROM (SELECT {row} AS id FROM cache_entries {by_index} \
                     WHERE question IS NOT NULL ORDER BY {order} LIMIT {limit}) AS most CROSS JOIN cache_entries \
                     WHERE cache_entries.{row} = most.id ORDER BY {order}",
                    key = engine.octets("key"),
                    question = engine.octets("question"),
                    entry = engine.blob("entry"),
                    row = engine.row(),
                    by_index = engine.by_index("cache_entries_asked")
                ));
                query!(connection, |c| most.load(c))
            })
            .await?;
        Ok(found.into_iter().filter_map(remembered).collect())
    }
}

/// Most keys that one look at the table passes, and of how many entries and bytes under them it reads the
/// beginning.
const LOOKED_AT: usize = 100_000;
const READ: usize = 10_000;
const READ_BYTES: i64 = 32 << 20;
/// An operator waits for it, and an invalidation by tag.
const LOOK_TIMEOUT: Duration = Duration::from_secs(2);
/// Rows of one statement of a look.
const AT_ONCE: usize = 500;
/// Of longer entries no text is read.
const LONGEST_TEXT: usize = 64 << 10;

/// What a look found: each key, the beginning of its entry and the size of the whole.
type Beginnings = Vec<(CacheKey, Bytes, u64)>;

/// The next keys that begin with `prefix`, from `from` on, at most so many: read from the index alone.
fn keys_from(
    connection: &mut Connection,
    prefix: &str,
    from: &str,
    most: usize,
) -> QueryResult<Vec<String>> {
    let asked = dsl::cache_entries
        .filter(dsl::key.ge(from).and(dsl::key.lt(format!("{prefix}{}", char::MAX))))
        .order(dsl::key)
        .limit(i64::try_from(most).unwrap_or(i64::MAX))
        .select(sql::<Text>("CAST(key AS TEXT)"));
    query!(connection, |c| asked.load(c))
}

impl DatabaseTier {
    /// Drops rows whose key matches the glob, also those that still wait to be written, for a bounded time
    /// and in steps that others can write between; how many, and whether these were all.
    pub async fn remove_matching(&self, glob: &str) -> Result<(usize, bool), StoreError> {
        self.flush().await;
        let prefix = literal_beginning(glob);
        let (mut from, mut removed) = (prefix.to_owned(), 0_usize);
        let end = clock::monotonic() + SWEEP_TIMEOUT;
        while clock::monotonic() < end {
            let (prefix, glob) = (prefix.to_owned(), glob.to_owned());
            let (gone, next) = self
                .run(SWEEP_TIMEOUT, move |connection| {
                    let mut keys = keys_from(connection, &prefix, &from, READ)?;
                    // The least text after the last key: no key has a control character.
                    let next = keys.last().filter(|_| keys.len() == READ);
                    let next = next.map(|last| format!("{last}\u{1}"));
                    keys.retain(|key| matches(&glob, key));
                    let mut gone = 0_usize;
                    for keys in keys.chunks(AT_ONCE) {
                        let rows = dsl::cache_entries.filter(dsl::key.eq_any(keys));
                        let dropped = query!(connection, |c| diesel::delete(rows).execute(c))?;
                        gone = gone.saturating_add(dropped);
                    }
                    Ok((gone, next))
                })
                .await?;
            removed = removed.saturating_add(gone);
            let Some(next) = next else { return Ok((removed, true)) };
            from = next;
        }
        Ok((removed, false))
    }

    /// The first `bytes` bytes of entries under `known` keys and under those that begin with `prefix` and
    /// that `matches`, and whether these are all: of a large table only a part is looked at, in the order
    /// of keys.
    pub async fn beginnings(
        &self,
        known: Vec<String>,
        prefix: String,
        bytes: usize,
        matches: impl Fn(&str) -> bool + Send + 'static,
    ) -> Result<(Beginnings, bool), StoreError> {
        // What was just stored is to be seen; it is no reason to wait for a database that takes no writes.
        drop(tokio::time::timeout(READ_TIMEOUT, self.flush()).await);
        self.run(LOOK_TIMEOUT, move |connection| {
            let (mut keys, others) = (known, keys_from(connection, &prefix, &prefix, LOOKED_AT)?);
            let mut all = others.len() < LOOKED_AT;
            let asked: HashSet<String> = keys.iter().cloned().collect();
            keys.extend(others.into_iter().filter(|key| matches(key) && !asked.contains(key)));
            all &= keys.len() <= READ;
            keys.truncate(READ);
            let (mut found, mut left) = (Vec::new(), READ_BYTES);
            for keys in keys.chunks(AT_ONCE) {
                // The length alone is read without the entry.
                let rows = dsl::cache_entries.filter(dsl::key.eq_any(keys)).order(dsl::key);
                let sizes =
                    sql::<(Text, BigInt)>("CAST(key AS TEXT), CAST(length(entry) AS BIGINT)");
                let sized: Vec<(String, i64)> = query!(connection, |c| rows.select(sizes).load(c))?;
                let within = sized.iter().take_while(|(_, size)| {
                    left = left.saturating_sub((*size).max(1));
                    left >= 0
                });
                let keys: Vec<&str> = within.map(|(key, _)| key.as_str()).collect();
                all &= keys.len() == sized.len();
                let columns = format!(
                    "CAST(key AS TEXT), CAST(length(entry) AS BIGINT), substr({}, 1, {bytes})",
                    connection.engine().blob("entry")
                );
                let rows = dsl::cache_entries.filter(dsl::key.eq_any(keys));
                let rows = rows.select(sql::<(Text, BigInt, Nullable<Binary>)>(&columns));
                let read: Vec<(String, i64, Option<Vec<u8>>)> =
                    query!(connection, |c| rows.load(c))?;
                found.extend(read.into_iter().map(|(key, size, beginning)| {
                    let size = u64::try_from(size).unwrap_or_default();
                    // The beginning of nothing is null in SQLite.
                    (CacheKey::new(key), Bytes::from(beginning.unwrap_or_default()), size)
                }));
                if left < 0 {
                    break;
                }
            }
            Ok((found, all))
        })
        .await
    }

    /// What was asked under each of `keys`, and the entry if it is not long, as they are stored.
    pub async fn texts(&self, keys: &[CacheKey]) -> Result<HashMap<String, Vec<u8>>, StoreError> {
        let keys: Vec<String> = keys.iter().map(|key| key.as_str().to_owned()).collect();
        let rows: Vec<(String, Vec<u8>, Vec<u8>)> = self
            .run(LOOK_TIMEOUT, move |connection| {
                let (engine, entry) = (connection.engine(), connection.engine().blob("entry"));
                let columns = format!(
                    "CAST(key AS TEXT), {}, \
                     CASE WHEN length(entry) <= {LONGEST_TEXT} THEN {entry} ELSE substr({entry}, 1, 0) END",
                    engine.octets("coalesce(question, '')")
                );
                let rows = dsl::cache_entries.filter(dsl::key.eq_any(keys));
                let rows = rows.select(sql::<(Text, Binary, Binary)>(&columns));
                query!(connection, |c| rows.load(c))
            })
            .await?;
        Ok(rows.into_iter().map(|(key, asked, entry)| (key, [asked, entry].join(&b' '))).collect())
    }
}

#[derive(QueryableByName)]
struct Found {
    #[diesel(sql_type = Nullable<Binary>)]
    key: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Binary>)]
    question: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Binary>)]
    entry: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    uses: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    used_at: Option<i64>,
}

/// None when it is not what a writer of this service would have written.
fn remembered(found: Found) -> Option<Remembered> {
    let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes?).ok();
    Some(Remembered {
        key: CacheKey::new(text(found.key)?),
        question: text(found.question)?.into(),
        uses: u64::try_from(found.uses.unwrap_or_default()).unwrap_or_default(),
        used_at: Timestamp::from_millis(found.used_at.unwrap_or_default()),
        entry: found.entry?.into(),
    })
}
