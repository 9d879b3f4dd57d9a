//! Deeds as rows: at most so many, the oldest leave.
//!
//! Owns: the statements on `audit_log`. Refuses: rows whose texts are none; they are passed over.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Binary, Nullable, Text};

use crate::access::audit::{Deed, Stored};
use crate::clock::Timestamp;
use crate::database::Connection;

/// Deeds that are kept.
const KEPT: i64 = 100_000;

const WRITE: &str = "INSERT INTO audit_log \
     (at, actor, address, action, subject, details, outcome, request_id) \
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
const LEAVE: &str = "DELETE FROM audit_log WHERE id <= (SELECT max(id) FROM audit_log) - ?";
const BEFORE: &str = "SELECT id, CAST(at AS INTEGER) AS at, CAST(actor AS BLOB) AS actor, \
     CAST(address AS BLOB) AS address, CAST(action AS BLOB) AS action, \
     CAST(subject AS BLOB) AS subject, CAST(details AS BLOB) AS details, \
     CAST(outcome AS BLOB) AS outcome, CAST(request_id AS BLOB) AS request_id \
     FROM audit_log WHERE id < ? ORDER BY id DESC LIMIT ?";

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = Nullable<BigInt>)]
    at: Option<i64>,
    #[diesel(sql_type = Nullable<Binary>)]
    actor: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Binary>)]
    address: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Binary>)]
    action: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Binary>)]
    subject: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Binary>)]
    details: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Binary>)]
    outcome: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Binary>)]
    request_id: Option<Vec<u8>>,
}

/// Stores deeds in their order.
pub(super) fn write(connection: &mut Connection, deeds: &[Deed]) -> QueryResult<()> {
    for deed in deeds {
        sql_query(WRITE)
            .bind::<BigInt, _>(deed.at.as_millis())
            .bind::<Text, _>(&deed.actor)
            .bind::<Text, _>(&deed.address)
            .bind::<Text, _>(&deed.action)
            .bind::<Text, _>(&deed.subject)
            .bind::<Text, _>(&deed.details)
            .bind::<Text, _>(&deed.outcome)
            .bind::<Text, _>(&deed.request_id)
            .execute(connection)?;
    }
    if !deeds.is_empty() {
        sql_query(LEAVE).bind::<BigInt, _>(KEPT).execute(connection)?;
    }
    Ok(())
}

/// The deeds before a number, the newest first.
pub(super) fn before(
    connection: &mut Connection,
    before: Option<i64>,
    most: usize,
) -> QueryResult<Vec<Stored>> {
    let rows: Vec<Row> = sql_query(BEFORE)
        .bind::<BigInt, _>(before.unwrap_or(i64::MAX))
        .bind::<BigInt, _>(i64::try_from(most).unwrap_or(i64::MAX))
        .load(connection)?;
    Ok(rows.into_iter().filter_map(Row::read).collect())
}

impl Row {
    fn read(self) -> Option<Stored> {
        let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes?).ok();
        let deed = Deed {
            at: Timestamp::from_millis(self.at?),
            actor: text(self.actor)?,
            address: text(self.address)?,
            action: text(self.action)?,
            subject: text(self.subject)?,
            details: text(self.details)?,
            outcome: text(self.outcome)?,
            request_id: text(self.request_id)?,
        };
        Some(Stored { id: self.id, deed })
    }
}
