//! What admins did: who, when, what, to what, and what came of it.
//!
//! Owns: the events that wait for the database, their rows, and the pages of those it holds. Refuses: secrets
//! (keys are named by id, the admin by a fingerprint), texts of any length, and more waiting events
//! than a bound: the oldest are dropped then and counted; each is in the log as well. While the
//! database is away events wait, and a page says that it is not complete.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use diesel::dsl::{max, sql};
use diesel::prelude::*;
use diesel::sql_types::{Binary, Nullable};
use serde::Serialize;
use tokio::sync::Notify;
use utoipa::ToSchema;

use crate::clock::Timestamp;
use crate::database::schema::audit_log::{dsl, table};
use crate::database::{Connection, Store, query};

/// Events that may wait for the database.
const WAITING: usize = 10_000;
/// Events written in one transaction.
const BATCH: usize = 500;
/// Events that the database keeps; the oldest leave.
const KEPT: i64 = 100_000;
/// Longest texts, in characters: a key may have 64 networks in its details.
const LONGEST: usize = 300;
const LONGEST_DETAILS: usize = 4_000;

/// What an admin did or tried.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct AuditEvent {
    /// Its number; later ones have greater ones. `null` while it is not stored yet.
    pub id: Option<i64>,
    /// When: RFC 3339, UTC, to the millisecond.
    #[serde(serialize_with = "Timestamp::write_rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// Who: `admin:` and a fingerprint of the key, or `signal`.
    pub actor: String,
    /// From which address.
    pub address: String,
    /// What.
    #[schema(example = "keys.create")]
    pub action: String,
    /// To what.
    pub subject: String,
    /// What exactly: reason and end of an entry; label, limit, networks and end of a key; what a
    /// reload changed.
    pub details: String,
    /// `done`, `abandoned` (its client went away before the answer), or the code of the error.
    pub outcome: String,
    /// The id of the request.
    pub request_id: String,
}

impl AuditEvent {
    fn bounded(mut self) -> Self {
        for (text, longest) in [
            (&mut self.actor, LONGEST),
            (&mut self.address, LONGEST),
            (&mut self.action, LONGEST),
            (&mut self.subject, LONGEST),
            (&mut self.details, LONGEST_DETAILS),
            (&mut self.outcome, LONGEST),
            (&mut self.request_id, LONGEST),
        ] {
            if let Some((end, _)) = text.char_indices().nth(longest) {
                text.truncate(end);
            }
            // No text of Postgres can hold it.
            if text.contains('\0') {
                *text = text.replace('\0', "\u{fffd}");
            }
        }
        self
    }
}

/// A page of the audit table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AuditPage {
    /// The newest first.
    pub entries: Vec<AuditEvent>,
    /// What to give as `before` for the next page; absent at the end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<i64>,
    /// Whether the table could be read; if not, only what waits to be stored is listed.
    pub complete: bool,
}

/// The audit table. Clones are the same one.
#[derive(Debug, Clone)]
pub struct Audit(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    /// The oldest first. They stay until they are stored.
    waiting: Mutex<VecDeque<AuditEvent>>,
    dropped: AtomicU64,
    news: Notify,
    /// Held while events are written or a page is read: no event is written or shown twice.
    turn: tokio::sync::Mutex<()>,
}

impl Audit {
    pub(super) fn new(store: Store) -> Self {
        Self(Arc::new(Shared {
            store,
            waiting: Mutex::default(),
            dropped: AtomicU64::new(0),
            news: Notify::new(),
            turn: tokio::sync::Mutex::default(),
        }))
    }

    pub fn note(&self, event: AuditEvent) {
        self.waiting().push_back(event.bounded());
        self.0.news.notify_one();
    }

    /// Waits until there is an event, for `limit` at most.
    pub async fn until_news(&self, limit: Duration) {
        drop(tokio::time::timeout(limit, self.0.news.notified()).await);
    }

    /// Writes what waits, in its order.
    ///
    /// # Errors
    /// The database is away; the events still wait.
    pub async fn store(&self) -> Result<(), String> {
        let _turn = self.0.turn.lock().await;
        loop {
            let batch: Vec<AuditEvent> = self.waiting().iter().take(BATCH).cloned().collect();
            let count = batch.len();
            if count == 0 {
                return Ok(());
            }
            let written = self.0.store.run(move |connection| write(connection, &batch)).await;
            let mut waiting = self.waiting();
            if written.is_ok() {
                waiting.drain(..count);
            }
            // Only here: nothing moves what is being written.
            let beyond = waiting.len().saturating_sub(WAITING);
            waiting.drain(..beyond);
            self.0.dropped.fetch_add(u64::try_from(beyond).unwrap_or(u64::MAX), Ordering::Relaxed);
            drop(waiting);
            written?;
        }
    }

    /// The events before a number (or the newest), at most `most` of those that are stored. On the
    /// first page those that wait come first.
    pub async fn page(&self, before: Option<i64>, most: usize) -> AuditPage {
        let _turn = self.0.turn.lock().await;
        let read = self.0.store.run(move |connection| self::before(connection, before, most)).await;
        let complete = read.is_ok();
        let stored = read.unwrap_or_default();
        // A full page may have another behind it.
        let next = stored.last().filter(|_| stored.len() == most).and_then(|event| event.id);
        let mut entries = Vec::new();
        if before.is_none() {
            entries.extend(self.waiting().iter().rev().cloned());
        }
        entries.extend(stored);
        AuditPage { entries, next: next.filter(|id| *id > 1), complete }
    }

    /// How many events wait, and how many were never stored since the start.
    pub fn counts(&self) -> (usize, u64) {
        (self.waiting().len(), self.0.dropped.load(Ordering::Relaxed))
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<AuditEvent>> {
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

type Bytes = Option<Vec<u8>>;
type Row = (i64, i64, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes);

fn write(connection: &mut Connection, events: &[AuditEvent]) -> QueryResult<()> {
    connection.write(|connection| {
        for event in events {
            let row = diesel::insert_into(table).values((
                dsl::at.eq(event.at.as_millis()),
                dsl::actor.eq(&event.actor),
                dsl::address.eq(&event.address),
                dsl::action.eq(&event.action),
                dsl::subject.eq(&event.subject),
                dsl::details.eq(&event.details),
                dsl::outcome.eq(&event.outcome),
                dsl::request_id.eq(&event.request_id),
            ));
            query!(connection, |c| row.execute(c))?;
        }
        let last: Option<i64> = query!(connection, |c| table.select(max(dsl::id)).first(c))?;
        let old = dsl::id.le(last.unwrap_or_default().saturating_sub(KEPT));
        query!(connection, |c| diesel::delete(table.filter(old)).execute(c)).map(drop)
    })
}

/// The events before a number, the newest first.
fn before(
    connection: &mut Connection,
    before: Option<i64>,
    most: usize,
) -> QueryResult<Vec<AuditEvent>> {
    // Read as bytes: one odd row must not spoil the others.
    let engine = connection.engine();
    let text = |column: &str| sql::<Nullable<Binary>>(&engine.octets(column));
    let page = table
        .filter(dsl::id.lt(before.unwrap_or(i64::MAX)))
        .order(dsl::id.desc())
        .limit(i64::try_from(most).unwrap_or(i64::MAX))
        .select((
            dsl::id,
            dsl::at,
            text("actor"),
            text("address"),
            text("action"),
            text("subject"),
            text("details"),
            text("outcome"),
            text("request_id"),
        ));
    let rows: Vec<Row> = query!(connection, |c| page.load(c))?;
    Ok(rows.into_iter().filter_map(read).collect())
}

fn read(row: Row) -> Option<AuditEvent> {
    let (id, at, actor, address, action, subject, details, outcome, request_id) = row;
    let text = |bytes: Bytes| String::from_utf8(bytes?).ok();
    Some(AuditEvent {
        id: Some(id),
        at: Timestamp::from_millis(at),
        actor: text(actor)?,
        address: text(address)?,
        action: text(action)?,
        subject: text(subject)?,
        details: text(details)?,
        outcome: text(outcome)?,
        request_id: text(request_id)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use crate::database::DatabaseSettings;

    fn event(number: usize) -> AuditEvent {
        AuditEvent {
            actor: "admin".into(),
            address: "127.0.0.1".into(),
            action: "keys.create".into(),
            subject: number.to_string(),
            details: "d".repeat(9_000),
            outcome: "done".into(),
            request_id: "r".repeat(1_000),
            ..AuditEvent::default()
        }
    }

    fn subjects(page: &AuditPage) -> Vec<&str> {
        page.entries.iter().map(|event| event.subject.as_str()).collect()
    }

    fn audit(path: &std::path::Path) -> Audit {
        let (store, _) = Store::open(DatabaseSettings::at(path), clock::monotonic(), clock::now());
        Audit::new(store)
    }

    #[tokio::test]
    async fn events_are_stored_in_their_order_and_paged_the_newest_first() {
        let folder = tempfile::tempdir().unwrap();
        let audit = audit(&folder.path().join("a.db"));
        (0..1_203).for_each(|number| audit.note(event(number)));
        audit.store().await.unwrap();
        audit.note(event(1_203));
        assert_eq!(audit.counts(), (1, 0));
        let page = audit.page(None, 3).await;
        assert_eq!(subjects(&page), ["1203", "1202", "1201", "1200"]);
        assert_eq!(
            (page.entries[0].id, page.next, page.complete),
            (None, page.entries[3].id, true)
        );
        let stored = &page.entries[1];
        let lengths = (stored.request_id.len(), stored.details.len());
        assert_eq!(lengths, (LONGEST, LONGEST_DETAILS));
        let next = audit.page(page.next, 2_000).await;
        assert_eq!((next.entries.len(), next.next), (1_200, None));
    }

    #[tokio::test]
    async fn while_the_database_is_away_events_wait_up_to_a_bound_and_are_shown() {
        let audit = audit(std::path::Path::new("/nowhere/at/all/a.db"));
        (0..WAITING + 3).for_each(|number| audit.note(event(number)));
        assert!(audit.store().await.is_err());
        assert_eq!(audit.counts(), (WAITING, 3));
        let page = audit.page(None, 10).await;
        assert_eq!((page.complete, page.next, page.entries.len()), (false, None, WAITING));
        assert_eq!(page.entries.last().unwrap().subject, "3");
    }
}
