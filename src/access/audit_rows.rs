//! Audit events as rows: at most so many, the oldest leave.
//!
//! Owns: the statements on `audit_log`. Refuses: rows whose texts are none; they are passed over.

use diesel::dsl::{max, sql};
use diesel::prelude::*;
use diesel::sql_types::{Binary, Nullable};

use super::audit::AuditEvent;
use crate::clock::Timestamp;
use crate::database::Connection;
use crate::database::schema::audit_log::{dsl, table};

/// Events that are kept.
const KEPT: i64 = 100_000;

/// What comes of a statement.
pub(super) type Outcome<T> = QueryResult<T>;

type Bytes = Option<Vec<u8>>;
type Row = (i64, i64, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes, Bytes);

/// Stores events in their order.
pub(super) fn write(connection: &mut Connection, events: &[AuditEvent]) -> Outcome<()> {
    connection.immediate_transaction(|connection| {
        for event in events {
            diesel::insert_into(table)
                .values((
                    dsl::at.eq(event.at.as_millis()),
                    dsl::actor.eq(&event.actor),
                    dsl::address.eq(&event.address),
                    dsl::action.eq(&event.action),
                    dsl::subject.eq(&event.subject),
                    dsl::details.eq(&event.details),
                    dsl::outcome.eq(&event.outcome),
                    dsl::request_id.eq(&event.request_id),
                ))
                .execute(connection)?;
        }
        let last: Option<i64> = table.select(max(dsl::id)).first(connection)?;
        let old = dsl::id.le(last.unwrap_or_default().saturating_sub(KEPT));
        diesel::delete(table.filter(old)).execute(connection).map(drop)
    })
}

/// The events before a number, the newest first.
pub(super) fn before(
    connection: &mut Connection,
    before: Option<i64>,
    most: usize,
) -> Outcome<Vec<(i64, AuditEvent)>> {
    // Read as bytes: one odd row must not spoil the others.
    let text = |column: &str| sql::<Nullable<Binary>>(&format!("CAST({column} AS BLOB)"));
    let rows: Vec<Row> = table
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
        ))
        .load(connection)?;
    Ok(rows.into_iter().filter_map(read).collect())
}

fn read(row: Row) -> Option<(i64, AuditEvent)> {
    let (id, at, actor, address, action, subject, details, outcome, request_id) = row;
    let text = |bytes: Bytes| String::from_utf8(bytes?).ok();
    let event = AuditEvent {
        at: Timestamp::from_millis(at),
        actor: text(actor)?,
        address: text(address)?,
        action: text(action)?,
        subject: text(subject)?,
        details: text(details)?,
        outcome: text(outcome)?,
        request_id: text(request_id)?,
    };
    Some((id, event))
}
