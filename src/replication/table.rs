//! Changes as rows of the log: their form, the statements on `changes`, and how far it was read.
//!
//! Owns: drawing the number of a change under the write lock, so that numbers are seen in their order.
//! Refuses: rows that cannot be read; they are passed over and counted.

use std::time::{Duration, Instant};

use diesel::dsl::{max, sql};
use diesel::prelude::*;
use diesel::sql_types::{Binary, Nullable};

use crate::clock::Timestamp;
use crate::database::schema::changes::{dsl, table};
use crate::database::{Connection, Engine, query};

/// The topic of the one row that identifies this log.
const OWN_TOPIC: &str = "log";
/// Rows read at once.
const PAGE: i64 = 1_000;

/// How long a removal is kept. Who was away for longer reads the whole log.
pub const REMOVAL_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

/// How often changes that nobody needs any more are dropped.
pub(super) const SWEEP_EVERY: Duration = Duration::from_secs(3_600);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub topic: String,
    pub key: String,
    /// JSON; `None`: removed.
    pub payload: Option<String>,
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    pub topic: &'static str,
    pub key: String,
    /// JSON; `None`: removed.
    pub payload: Option<String>,
    pub at: Timestamp,
    /// Nobody needs the change after this time; `None`: for ever.
    pub keep_until: Option<Timestamp>,
}

impl Draft {
    pub fn removal(topic: &'static str, key: String, at: Timestamp) -> Self {
        Self { topic, key, payload: None, at, keep_until: Some(at.plus(REMOVAL_KEPT)) }
    }
}

#[derive(Debug, Clone, Default)]
pub(super) struct Position {
    pub(super) last: i64,
    /// What identified the log.
    pub(super) identity: Option<String>,
    /// How often the database had been opened then: another file may be at its place since.
    pub(super) openings: u64,
    pub(super) read_at: Option<Instant>,
}

impl Position {
    /// Whether it is not enough to read on: the log may be another one, or so much time has passed
    /// that removals were dropped from it.
    pub(super) fn needs_whole(&self, openings: u64, now: Instant) -> bool {
        let Some(read_at) = self.read_at else { return true };
        self.openings != openings
            || now.saturating_duration_since(read_at) >= REMOVAL_KEPT - SWEEP_EVERY
    }
}

#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) changes: Vec<Change>,
    pub(super) unreadable: usize,
    pub(super) last: i64,
}

pub(super) fn after(connection: &mut Connection, number: i64) -> QueryResult<Page> {
    let mut page = Page { last: number, ..Page::default() };
    loop {
        // Read as bytes: one odd row must not spoil the others.
        let engine = connection.engine();
        let text = |column: &str| sql::<Nullable<Binary>>(&engine.octets(column));
        let next = table
            .filter(dsl::id.gt(page.last))
            .order(dsl::id)
            .select((dsl::id, text("topic"), text("key"), text("payload"), dsl::at))
            .limit(PAGE);
        let rows: Vec<(i64, Bytes, Bytes, Bytes, i64)> = query!(connection, |c| next.load(c))?;
        let full = i64::try_from(rows.len()).is_ok_and(|rows| rows == PAGE);
        for (id, topic, key, payload, at) in rows {
            page.last = id;
            match read(topic, key, payload, at) {
                Some(change) => page.changes.push(change),
                None => page.unreadable = page.unreadable.saturating_add(1),
            }
        }
        if !full {
            return Ok(page);
        }
    }
}

type Bytes = Option<Vec<u8>>;

pub(super) type Outcome<T> = QueryResult<T>;

/// Whether it failed because another writer is at work.
pub(super) fn is_locked<T>(outcome: &Outcome<T>) -> bool {
    outcome.as_ref().is_err_and(|error| error.to_string().contains("is locked"))
}

fn read(topic: Bytes, key: Bytes, payload: Bytes, at: i64) -> Option<Change> {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
    let payload = match payload {
        Some(payload) => Some(text(payload)?),
        None => None,
    };
    let (topic, key) = (text(topic?)?, text(key?)?);
    Some(Change { topic, key, payload, at: Timestamp::from_millis(at) })
}

/// Writes changes in one transaction, which is on the disk when this returns. Of a subject whose
/// change in the log is newer, the one that is there stays unless `always`; then the time moves on to
/// that one's.
pub(super) fn write(
    connection: &mut Connection,
    drafts: &[Draft],
    instance: &str,
    always: bool,
) -> QueryResult<()> {
    durably(connection, |connection| {
        for draft in drafts {
            let subject = dsl::topic.eq(draft.topic).and(dsl::key.eq(&draft.key));
            let there = table.filter(subject).select(max(dsl::at));
            let there: Option<i64> = query!(connection, |c| there.first(c))?;
            let at = draft.at.as_millis();
            let newer = there.is_some_and(|there| there > at);
            if newer && !always {
                continue;
            }
            query!(connection, |c| diesel::delete(table.filter(subject)).execute(c))?;
            insert(connection, draft, there.unwrap_or(at).max(at), instance)?;
        }
        Ok(())
    })
}

fn insert(
    connection: &mut Connection,
    draft: &Draft,
    at: i64,
    instance: &str,
) -> QueryResult<usize> {
    let row = diesel::insert_into(table)
        .values((
            dsl::topic.eq(draft.topic),
            dsl::key.eq(&draft.key),
            dsl::payload.eq(draft.payload.as_deref()),
            dsl::at.eq(at),
            dsl::instance.eq(instance),
            dsl::keep_until.eq(draft.keep_until.map(Timestamp::as_millis)),
        ))
        .on_conflict_do_nothing();
    query!(connection, |c| row.execute(c))
}

/// What identifies this log. A log that is new gets it here.
pub(super) fn identity(connection: &mut Connection, instance: &str) -> QueryResult<String> {
    let asked = table.filter(dsl::topic.eq(OWN_TOPIC)).select(dsl::key).order(dsl::id);
    if let Some(found) = query!(connection, |c| asked.first(c)).optional()? {
        return Ok(found);
    }
    let key = format!("{:032x}", fastrand::u128(..));
    let own =
        Draft { topic: OWN_TOPIC, key, payload: None, at: Timestamp::default(), keep_until: None };
    connection.write(|connection| {
        lock(connection)?;
        // Another instance may have been faster.
        match query!(connection, |c| asked.first(c)).optional()? {
            Some(found) => Ok(found),
            None => insert(connection, &own, 0, instance).map(|_| own.key),
        }
    })
}

/// Writes what an instance knows to a log that was lost. What is there stays.
pub(super) fn seed(
    connection: &mut Connection,
    drafts: &[Draft],
    instance: &str,
) -> QueryResult<()> {
    durably(connection, |connection| {
        drafts.iter().try_for_each(|draft| {
            insert(connection, draft, draft.at.as_millis(), instance).map(drop)
        })
    })
}

pub(super) fn sweep(connection: &mut Connection, now: Timestamp) -> QueryResult<usize> {
    let old = table.filter(dsl::keep_until.lt(now.as_millis()));
    query!(connection, |c| diesel::delete(old).execute(c))
}

/// A transaction that survives the loss of power once it is over: a client that got the answer
/// that a key is revoked must not meet it again.
fn durably<T>(
    connection: &mut Connection,
    work: impl FnOnce(&mut Connection) -> QueryResult<T>,
) -> QueryResult<T> {
    connection.durably(|connection| {
        lock(connection)?;
        work(connection)
    })
}

/// Postgres lets several write at a time: a number drawn later could be seen earlier. A lock of the table
/// would wait for its vacuum as well. The number says nothing.
fn lock(connection: &mut Connection) -> QueryResult<()> {
    match connection.engine() {
        Engine::Sqlite => Ok(()),
        Engine::Postgres => {
            connection.batch_execute("SELECT pg_advisory_xact_lock(7089064012357894)")
        }
    }
}
