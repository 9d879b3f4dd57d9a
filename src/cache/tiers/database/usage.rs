//! Which rows are used most, to be loaded before they are asked for, and which least, to make room.
//!
//! Owns: their order, the size of steps, and keeping the table small. Uses are halved at each midnight
//! (UTC), so old fame fades; that is arithmetic when one looks, and no row is written anew for it.
//! Each step of a sweep is a transaction of its own, so the writer gets in between. Pages that become
//! free are taken by the next rows: the file does not grow beyond what it once needed. When a quarter
//! of it is free, pages go back to the disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use diesel::connection::SimpleConnection;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Binary, Bool, Nullable};

use super::{DatabaseTier, SWEEP_TIMEOUT};
use crate::cache::key::CacheKey;
use crate::clock::{self, Timestamp};
use crate::database::Connection;
use crate::database::schema::cache_entries::dsl;
use crate::failure::StoreError;

/// Milliseconds between two midnights.
pub(super) const DAY: i64 = 86_400_000;
/// Rows a step.
const STEP: usize = 500;
/// Rows that are chosen for leaving at a time.
const CHOSEN: usize = 10_000;
/// Longest time of a sweep; what is left is the next one's.
const WITHIN: Duration = Duration::from_secs(3);

/// A row that can be loaded again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    pub key: CacheKey,
    /// What was asked (JSON).
    pub question: Arc<str>,
    /// Uses, those of earlier days halved for each midnight since.
    pub uses: u64,
    pub used_at: Timestamp,
    /// The encoded entry, as [`DatabaseTier::get`] gives it.
    pub entry: Bytes,
}

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows past their time that left.
    pub expired: usize,
    /// Rows that left for want of room.
    pub evicted: usize,
    /// Rows that are left, and what they take, about.
    pub rows: u64,
    pub bytes: u64,
    /// Whether time ran out before all was done.
    pub unfinished: bool,
}

/// The uses of a row as of `now`, in SQL.
pub(super) fn faded(now: Timestamp) -> String {
    let today = now.as_millis() / DAY;
    format!("(uses >> min(max({today} - used_at / {DAY}, 0), 62))")
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
        // The inner part looks only at the index of rows with a question.
        let most = format!(
            "rowid IN (SELECT rowid FROM cache_entries WHERE question IS NOT NULL \
             ORDER BY {order} LIMIT {limit})"
        );
        let columns = format!(
            "CAST(key AS BLOB), CAST(question AS BLOB), CAST(entry AS BLOB), \
             CAST({uses} AS INTEGER), CAST(used_at AS INTEGER)"
        );
        type Columns = (
            Nullable<Binary>,
            Nullable<Binary>,
            Nullable<Binary>,
            Nullable<BigInt>,
            Nullable<BigInt>,
        );
        let found: Vec<Found> = self
            .run(SWEEP_TIMEOUT, move |connection| {
                let most = dsl::cache_entries.filter(sql::<Bool>(&most));
                let columns = sql::<Columns>(&columns);
                most.order(sql::<BigInt>(&order)).select(columns).load(connection)
            })
            .await?;
        Ok(found.into_iter().filter_map(remembered).collect())
    }

    /// Drops rows past their time; then, above `max_bytes`, the least used, of those the longest
    /// not used, until nine tenths of it are left.
    pub async fn sweep(&self, now: Timestamp, max_bytes: u64) -> Result<Swept, StoreError> {
        self.run(SWEEP_TIMEOUT, move |connection| {
            let until = clock::monotonic() + WITHIN;
            let mut swept = Swept::default();
            expire(connection, now, until, &mut swept)?;
            evict(connection, now, max_bytes, until, &mut swept)?;
            give_back(connection, until)?;
            Ok(swept)
        })
        .await
    }
}

type Found = (Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<u8>>, Option<i64>, Option<i64>);

/// None when it is not what a writer of this service would have written.
fn remembered((key, question, entry, uses, used_at): Found) -> Option<Remembered> {
    let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes?).ok();
    Some(Remembered {
        key: CacheKey::new(text(key)?),
        question: text(question)?.into(),
        uses: u64::try_from(uses.unwrap_or_default()).unwrap_or_default(),
        used_at: Timestamp::from_millis(used_at.unwrap_or_default()),
        entry: entry?.into(),
    })
}

/// Whether there is no time for another step.
fn is_late(until: Instant, swept: &mut Swept) -> bool {
    std::thread::yield_now();
    swept.unfinished |= clock::monotonic() >= until;
    swept.unfinished
}

fn expire(
    connection: &mut Connection,
    now: Timestamp,
    until: Instant,
    swept: &mut Swept,
) -> QueryResult<()> {
    let expire = format!(
        "DELETE FROM cache_entries WHERE rowid IN \
         (SELECT rowid FROM cache_entries WHERE stale_until < {} LIMIT {STEP})",
        now.as_millis()
    );
    while !is_late(until, swept) {
        let gone = sql_query(&expire).execute(connection)?;
        swept.expired += gone;
        if gone < STEP {
            break;
        }
    }
    Ok(())
}

fn evict(
    connection: &mut Connection,
    now: Timestamp,
    max_bytes: u64,
    until: Instant,
    swept: &mut Swept,
) -> QueryResult<()> {
    (swept.rows, swept.bytes) = size(connection)?;
    if swept.bytes <= max_bytes {
        return Ok(());
    }
    let goal = max_bytes - max_bytes / 10;
    while swept.bytes > goal && !is_late(until, swept) {
        let leaving = least_used(connection, now, swept.bytes - goal)?;
        let before = swept.evicted;
        for step in leaving.chunks(STEP) {
            let rows: Vec<String> = step.iter().map(i64::to_string).collect();
            let rows = format!("DELETE FROM cache_entries WHERE rowid IN ({})", rows.join(","));
            swept.evicted += sql_query(rows).execute(connection)?;
            if is_late(until, swept) {
                break;
            }
        }
        // The writer may have been here as well.
        (swept.rows, swept.bytes) = size(connection)?;
        if swept.evicted == before {
            break;
        }
    }
    Ok(())
}

/// Rows, and the bytes they take.
fn size(connection: &mut Connection) -> QueryResult<(u64, u64)> {
    let total = sql::<(BigInt, Nullable<BigInt>)>("count(*), CAST(sum(bytes) AS INTEGER)");
    let (rows, bytes): (i64, Option<i64>) =
        dsl::cache_entries.select(total).get_result(connection)?;
    let number = |number| u64::try_from(number).unwrap_or_default();
    Ok((number(rows), number(bytes.unwrap_or_default())))
}

/// The least used rows that take so many bytes, or some of them. The index holds all that is looked at.
fn least_used(connection: &mut Connection, now: Timestamp, bytes: u64) -> QueryResult<Vec<i64>> {
    let before = format!(
        "rowid IN (SELECT id FROM (SELECT rowid AS id, sum(CAST(bytes AS INTEGER)) OVER \
         (ORDER BY {}, used_at, rowid) - CAST(bytes AS INTEGER) AS before FROM cache_entries) \
         WHERE before < {bytes} LIMIT {CHOSEN})",
        faded(now)
    );
    let rows = dsl::cache_entries.filter(sql::<Bool>(&before));
    rows.select(sql::<BigInt>("rowid")).load(connection)
}

fn give_back(connection: &mut Connection, until: Instant) -> QueryResult<()> {
    const PAGES: &str = "freelist_count, page_count FROM pragma_freelist_count, pragma_page_count";
    let mut before = i64::MAX;
    while clock::monotonic() < until {
        let pages = diesel::select(sql::<(BigInt, BigInt)>(PAGES));
        let (free, all): (i64, i64) = pages.get_result(connection)?;
        // Nothing changes any more in a file that was not begun for it.
        if free <= all / 4 || free >= before {
            break;
        }
        before = free;
        connection.batch_execute("PRAGMA incremental_vacuum(512)")?;
    }
    Ok(())
}
