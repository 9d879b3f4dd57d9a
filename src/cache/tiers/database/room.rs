//! Making room in the table: rows past their time leave, then those that are used least.
//!
//! Owns: which rows leave, and the size of a step, so that others can write between two. Pages that become free
//! are taken by the next rows: the file does not grow beyond what it once needed. A database that is away
//! leaves it undone for the next round.

use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Nullable};

use super::statements::faded;
use super::{DatabaseTier, SWEEP_TIMEOUT};
use crate::clock::{self, Timestamp};
use crate::database::schema::cache_entries::dsl;
use crate::database::{Connection, query};
use crate::failure::StoreError;

const STEP: usize = 1_000;
/// Rows that leave after one sort, at most: what comes after them need not be added up.
const AT_ONCE: usize = 20 * STEP;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    pub expired: usize,
    pub evicted: usize,
    /// Rows that are left, and what they take, about.
    pub rows: u64,
    pub bytes: u64,
    pub unfinished: bool,
}

impl DatabaseTier {
    /// A step: drops rows past their time; then, above `max_bytes`, the least used, of those the
    /// longest not used, until nine tenths of it are left or time is up.
    pub async fn sweep(&self, now: Timestamp, max_bytes: u64) -> Result<Swept, StoreError> {
        self.run(SWEEP_TIMEOUT, move |connection| {
            let end = clock::monotonic() + SWEEP_TIMEOUT / 2;
            let past = format!("stale_until < {} LIMIT {STEP}", now.as_millis());
            let expired = drop_where(connection, &past)?;
            let (mut rows, mut bytes) = size(connection)?;
            let (mut evicted, mut left) = (0, 0);
            if bytes > max_bytes {
                let excess = bytes - (max_bytes - max_bytes / 10);
                let Last { uses, used_at, rows: count } = last_to_leave(connection, now, excess)?;
                left = usize::try_from(count).unwrap_or_default();
                // Of those that are equal to the last some may stay.
                for before in ["<", "<="] {
                    let which = format!("({}) {before} ({uses}, {used_at})", order(now));
                    let mut more = true;
                    while more && left > 0 && (evicted == 0 || clock::monotonic() < end) {
                        let step = left.min(STEP);
                        let gone = drop_where(connection, &format!("{which} LIMIT {step}"))?;
                        (more, evicted) = (gone == step, evicted + gone);
                        // Others may have been faster.
                        left = if before == "<=" && !more { 0 } else { left - gone };
                    }
                }
                (rows, bytes) = size(connection)?;
            }
            Ok(Swept { expired, evicted, rows, bytes, unfinished: expired == STEP || left > 0 })
        })
        .await
    }
}

/// The least used first, of those the longest not used; in SQLite a column may hold anything.
fn order(now: Timestamp) -> String {
    format!("{}, CAST(used_at AS BIGINT)", faded(now))
}

/// The last row of those that make room, in the order in which they leave, and how many they are.
#[derive(QueryableByName)]
struct Last {
    #[diesel(sql_type = BigInt)]
    uses: i64,
    #[diesel(sql_type = BigInt)]
    used_at: i64,
    #[diesel(sql_type = BigInt)]
    rows: i64,
}

/// Sorts all rows by what one index holds of them; so it is asked once for as many as leave in a step.
fn last_to_leave(connection: &mut Connection, now: Timestamp, excess: u64) -> QueryResult<Last> {
    let last = sql_query(format!(
        "SELECT uses, used_at, rows FROM (SELECT CAST(uses AS BIGINT) AS uses, used_at, rows \
         FROM (SELECT {} AS uses, CAST(used_at AS BIGINT) AS used_at, row_number() OVER least AS rows, \
         sum(CAST(bytes AS BIGINT)) OVER least - CAST(bytes AS BIGINT) AS before FROM cache_entries \
         WINDOW least AS (ORDER BY {} ROWS UNBOUNDED PRECEDING)) AS ranked WHERE before < {excess} \
         LIMIT {AT_ONCE}) AS leaving ORDER BY rows DESC LIMIT 1",
        faded(now),
        order(now)
    ));
    query!(connection, |c| last.get_result(c))
}

fn drop_where(connection: &mut Connection, condition: &str) -> QueryResult<usize> {
    let row = connection.engine().row();
    let rows = sql_query(format!(
        "DELETE FROM cache_entries WHERE {row} IN (SELECT {row} FROM cache_entries WHERE {condition})"
    ));
    query!(connection, |c| rows.execute(c))
}

fn size(connection: &mut Connection) -> QueryResult<(u64, u64)> {
    let total = sql::<(BigInt, Nullable<BigInt>)>("count(*), CAST(sum(bytes) AS BIGINT)");
    let total = dsl::cache_entries.select(total);
    let (rows, bytes): (i64, Option<i64>) = query!(connection, |c| total.get_result(c))?;
    let number = |number| u64::try_from(number).unwrap_or_default();
    Ok((number(rows), number(bytes.unwrap_or_default())))
}
