//! Keeping the table small: what is past its time leaves, then what is wanted least.
//!
//! Owns: the order of leaving and the size of steps. Each step is a transaction of its own, so the
//! writer gets in between. Pages that become free are taken by the next rows: the file does not
//! grow beyond what it once needed; when a quarter of it is free, pages go back to the disk (in
//! files begun by this version; older ones only reuse).

use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable};

use super::{DAY, DatabaseTier, SWEEP_TIMEOUT};
use crate::clock::{self, Timestamp};
use crate::database::Connection;
use crate::failure::StoreError;

/// Rows a step.
const STEP: usize = 500;
/// Rows that are chosen for leaving at a time.
const CHOSEN: i64 = 10_000;
/// Longest time of a sweep; what is left is the next one's.
const WITHIN: Duration = Duration::from_secs(3);

const EXPIRE: &str = "DELETE FROM cache_entries WHERE rowid IN \
     (SELECT rowid FROM cache_entries WHERE stale_until < ? LIMIT ?)";
const TOTAL: &str =
    "SELECT count(*) AS id, CAST(sum(bytes) AS INTEGER) AS bytes FROM cache_entries";
/// The same fading as in `wanted.rs`; the index holds all that is looked at.
const LEAST_USED: &str = "SELECT rowid AS id, CAST(bytes AS INTEGER) AS bytes FROM cache_entries \
     ORDER BY uses >> min(max(?1 / ?2 - used_at / ?2, 0), 62), used_at LIMIT ?3";

/// What a sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Rows past their time that left.
    pub expired: usize,
    /// Rows that left for want of room.
    pub evicted: usize,
    /// Rows that are left.
    pub rows: u64,
    /// What they take, about.
    pub bytes: u64,
    /// Whether time ran out before all was done.
    pub unfinished: bool,
}

#[derive(QueryableByName)]
struct Weighed {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    bytes: Option<i64>,
}

impl Weighed {
    fn bytes(&self) -> u64 {
        u64::try_from(self.bytes.unwrap_or_default()).unwrap_or_default()
    }
}

impl DatabaseTier {
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

fn is_late(until: Instant, swept: &mut Swept) -> bool {
    swept.unfinished |= clock::monotonic() >= until;
    swept.unfinished
}

fn expire(
    connection: &mut Connection,
    now: Timestamp,
    until: Instant,
    swept: &mut Swept,
) -> QueryResult<()> {
    while !is_late(until, swept) {
        let gone = sql_query(EXPIRE)
            .bind::<BigInt, _>(now.as_millis())
            .bind::<BigInt, _>(i64::try_from(STEP).unwrap_or(i64::MAX))
            .execute(connection)?;
        swept.expired += gone;
        if gone < STEP {
            break;
        }
        std::thread::yield_now();
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
    weigh(connection, swept)?;
    if swept.bytes <= max_bytes {
        return Ok(());
    }
    let goal = max_bytes - max_bytes / 10;
    while swept.bytes > goal && swept.rows > 0 && !is_late(until, swept) {
        let least: Vec<Weighed> = sql_query(LEAST_USED)
            .bind::<BigInt, _>(now.as_millis())
            .bind::<BigInt, _>(DAY)
            .bind::<BigInt, _>(CHOSEN)
            .load(connection)?;
        if let 0 = drop_until(connection, &least, goal, until, swept)? {
            break;
        }
        // The writer may have been here as well.
        weigh(connection, swept)?;
    }
    Ok(())
}

fn weigh(connection: &mut Connection, swept: &mut Swept) -> QueryResult<()> {
    let total: Weighed = sql_query(TOTAL).get_result(connection)?;
    swept.rows = u64::try_from(total.id).unwrap_or_default();
    swept.bytes = total.bytes();
    Ok(())
}

fn drop_until(
    connection: &mut Connection,
    least: &[Weighed],
    goal: u64,
    until: Instant,
    swept: &mut Swept,
) -> QueryResult<usize> {
    let mut left = swept.bytes;
    let leaving: Vec<String> = least
        .iter()
        .take_while(|row| {
            let leaves = left > goal;
            left = left.saturating_sub(row.bytes());
            leaves
        })
        .map(|row| row.id.to_string())
        .collect();
    let mut gone = 0;
    for step in leaving.chunks(STEP) {
        if is_late(until, swept) {
            break;
        }
        let rows = format!("DELETE FROM cache_entries WHERE rowid IN ({})", step.join(","));
        gone += sql_query(rows).execute(connection)?;
        std::thread::yield_now();
    }
    swept.evicted += gone;
    Ok(gone)
}

#[derive(QueryableByName)]
struct Pages {
    #[diesel(sql_type = BigInt)]
    free: i64,
    #[diesel(sql_type = BigInt)]
    all: i64,
}

fn give_back(connection: &mut Connection, until: Instant) -> QueryResult<()> {
    const PAGES: &str = "SELECT freelist_count AS free, page_count AS \"all\" \
         FROM pragma_freelist_count, pragma_page_count";
    let mut free = i64::MAX;
    while clock::monotonic() < until {
        let pages: Pages = sql_query(PAGES).get_result(connection)?;
        // Nothing changes any more in a file that was not begun for it.
        if pages.free <= pages.all / 4 || pages.free >= free {
            break;
        }
        free = pages.free;
        connection.batch_execute("PRAGMA incremental_vacuum(512)")?;
    }
    Ok(())
}
