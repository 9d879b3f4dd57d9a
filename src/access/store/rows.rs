//! Records as rows: reading those that changed, writing those that are later.
//!
//! Owns: the statements on `api_keys` and `access_list`. Every column is read as bytes or as a number
//! that SQLite makes of it: one odd row is not to spoil the others. Refuses: to believe part of a row.

use std::num::NonZeroU32;

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Binary, Integer, Nullable, Text};

use super::Position;
use crate::access::identifier::shown;
use crate::access::keys::SecretDigest;
use crate::access::record::{
    Body, Entry, GONE_FOR, NotARecord, Record, StoredKey, Subject, read_networks,
};
use crate::access::stamp::Stamp;
use crate::clock::Timestamp;
use crate::database::Connection;
use crate::limits::KeyId;

const KEYS: &str = "SELECT CAST(id AS BLOB) AS subject, CAST(label AS BLOB) AS words, \
     CAST(digest AS BLOB) AS digest, CAST(per_minute AS INTEGER) AS per_minute, \
     CAST(networks AS BLOB) AS networks, CAST(created_at AS INTEGER) AS created_at, \
     CAST(expires_at AS INTEGER) AS expires_at, CAST(gone AS INTEGER) AS gone, \
     CAST(stamp AS BLOB) AS stamp, CAST(change AS INTEGER) AS change, rowid AS place, \
     typeof(gone) = 'integer' AND typeof(created_at) = 'integer' \
     AND typeof(expires_at) IN ('integer', 'null') AND typeof(per_minute) IN ('integer', 'null') \
     AS sound FROM api_keys WHERE change > ? ORDER BY change";
const ENTRIES: &str = "SELECT CAST(list || ':' || identifier AS BLOB) AS subject, \
     CAST(reason AS BLOB) AS words, NULL AS digest, NULL AS per_minute, NULL AS networks, \
     CAST(created_at AS INTEGER) AS created_at, CAST(expires_at AS INTEGER) AS expires_at, \
     CAST(gone AS INTEGER) AS gone, CAST(stamp AS BLOB) AS stamp, \
     CAST(change AS INTEGER) AS change, rowid AS place, \
     typeof(gone) = 'integer' AND typeof(created_at) = 'integer' \
     AND typeof(expires_at) IN ('integer', 'null') AS sound FROM access_list WHERE change > ? ORDER BY change";
const PUT_KEY: &str = "INSERT INTO api_keys (id, label, digest, per_minute, networks, created_at, \
     expires_at, gone, stamp, change) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, \
     (SELECT coalesce(max(change), 0) + 1 FROM api_keys)) \
     ON CONFLICT (id) DO UPDATE SET label = excluded.label, digest = excluded.digest, \
     per_minute = excluded.per_minute, networks = excluded.networks, \
     created_at = excluded.created_at, expires_at = excluded.expires_at, gone = excluded.gone, \
     stamp = excluded.stamp, change = excluded.change WHERE excluded.stamp > api_keys.stamp";
const PUT_ENTRY: &str = "INSERT INTO access_list (list, identifier, reason, created_at, \
     expires_at, gone, stamp, change) VALUES (?, ?, ?, ?, ?, ?, ?, \
     (SELECT coalesce(max(change), 0) + 1 FROM access_list)) \
     ON CONFLICT (list, identifier) DO UPDATE SET reason = excluded.reason, \
     created_at = excluded.created_at, expires_at = excluded.expires_at, gone = excluded.gone, \
     stamp = excluded.stamp, change = excluded.change WHERE excluded.stamp > access_list.stamp";

#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = Nullable<Binary>)]
    subject: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Binary>)]
    words: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<Binary>)]
    digest: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    per_minute: Option<i64>,
    #[diesel(sql_type = Nullable<Binary>)]
    networks: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    created_at: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    expires_at: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    gone: Option<i64>,
    #[diesel(sql_type = Nullable<Binary>)]
    stamp: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    change: Option<i64>,
    #[diesel(sql_type = BigInt)]
    place: i64,
    /// Whether what should be numbers is; SQLite would make some number of anything.
    #[diesel(sql_type = BigInt)]
    sound: i64,
}

/// A row that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Torn {
    table: &'static str,
    place: i64,
}

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) records: Vec<Record>,
    pub(super) torn: Vec<Torn>,
}

/// What changed since; the position moves on.
pub(super) fn read(connection: &mut Connection, position: &mut Position) -> QueryResult<Found> {
    let mut found = Found::default();
    let keys: Vec<Row> = sql_query(KEYS).bind::<BigInt, _>(position.keys).load(connection)?;
    for row in keys {
        position.keys = position.keys.max(row.change.unwrap_or_default());
        if !row.is_out_of_force() {
            found.add("api_keys", row.place, row.key());
        }
    }
    let entries: Vec<Row> =
        sql_query(ENTRIES).bind::<BigInt, _>(position.entries).load(connection)?;
    for row in entries {
        position.entries = position.entries.max(row.change.unwrap_or_default());
        if !row.is_out_of_force() {
            found.add("access_list", row.place, row.entry());
        }
    }
    Ok(found)
}

impl Found {
    fn add(&mut self, table: &'static str, place: i64, read: Result<Record, NotARecord>) {
        match read {
            Ok(record) => self.records.push(record),
            Err(_) => self.torn.push(Torn { table, place }),
        }
    }
}

const TORN: NotARecord = NotARecord("a torn row");

impl Row {
    fn key(self) -> Result<Record, NotARecord> {
        let id = text(self.subject.as_ref())?.parse().ok().filter(|id| *id != KeyId::INTERNAL);
        let subject = Subject::Key(id.ok_or(TORN)?);
        let (stamp, gone) = self.known()?;
        if gone {
            return Ok(Record { subject, stamp, body: None });
        }
        let networks = text(self.networks.as_ref())?;
        let networks = networks.split(',').filter(|network| !network.is_empty());
        let per_minute = match self.per_minute {
            None => None,
            Some(number) => {
                let number = u32::try_from(number).map_err(|_| TORN)?;
                Some(NonZeroU32::new(number).ok_or(TORN)?)
            }
        };
        let key = StoredKey {
            label: text(self.words.as_ref())?.to_owned(),
            digest: SecretDigest::from_hex(text(self.digest.as_ref())?).ok_or(TORN)?,
            per_minute,
            networks: read_networks(networks)?,
            created_at: Timestamp::from_millis(self.created_at.ok_or(TORN)?),
            expires_at: self.expires_at.map(Timestamp::from_millis),
        };
        Ok(Record { subject, stamp, body: Some(Body::Key(Box::new(key))) })
    }

    fn entry(self) -> Result<Record, NotARecord> {
        let subject = text(self.subject.as_ref())?.parse()?;
        let (stamp, gone) = self.known()?;
        let entry = Entry {
            reason: text(self.words.as_ref())?.to_owned(),
            created_at: Timestamp::from_millis(self.created_at.ok_or(TORN)?),
            expires_at: self.expires_at.map(Timestamp::from_millis),
        };
        Ok(Record { subject, stamp, body: (!gone).then_some(Body::Entry(entry)) })
    }

    /// Whether it was torn once.
    fn is_out_of_force(&self) -> bool {
        let stamp = text(self.stamp.as_ref()).ok().and_then(|stamp| stamp.parse().ok());
        stamp == Some(Stamp::default())
    }

    fn known(&self) -> Result<(Stamp, bool), NotARecord> {
        let stamp = text(self.stamp.as_ref())?.parse().map_err(|_| TORN)?;
        match self.gone.filter(|_| self.sound == 1) {
            Some(0) => Ok((stamp, false)),
            Some(1) => Ok((stamp, true)),
            Some(_) | None => Err(TORN),
        }
    }
}

fn text(bytes: Option<&Vec<u8>>) -> Result<&str, NotARecord> {
    bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).ok_or(TORN)
}

/// Writes a record, unless a later one is there.
pub(super) fn write(connection: &mut Connection, record: &Record) -> QueryResult<()> {
    match (record.subject, &record.body) {
        (Subject::Key(id), Some(Body::Key(key))) => {
            write_key(connection, &id.to_string(), record.stamp, Some(key))
        }
        (Subject::Key(id), Some(Body::Entry(_)) | None) => {
            write_key(connection, &id.to_string(), record.stamp, None)
        }
        (Subject::Entry(list, identifier), body) => {
            let entry = body.as_ref().and_then(|body| match body {
                Body::Entry(entry) => Some(entry),
                Body::Key(_) => None,
            });
            let names = (list.as_str(), identifier.to_string());
            write_entry(connection, names, record.stamp, entry)
        }
    }
}

fn write_key(
    connection: &mut Connection,
    id: &str,
    stamp: Stamp,
    key: Option<&StoredKey>,
) -> QueryResult<()> {
    let networks: Vec<String> = key.iter().flat_map(|key| &key.networks).map(shown).collect();
    let per_minute = key.and_then(|key| key.per_minute).map(|limit| i64::from(limit.get()));
    let created_at = key.map_or(stamp.at(), |key| key.created_at).as_millis();
    let expires_at = key.and_then(|key| key.expires_at).map(Timestamp::as_millis);
    sql_query(PUT_KEY)
        .bind::<Text, _>(id)
        .bind::<Text, _>(key.map_or("", |key| &key.label))
        .bind::<Text, _>(key.map(|key| key.digest.to_hex()).unwrap_or_default())
        .bind::<Nullable<BigInt>, _>(per_minute)
        .bind::<Text, _>(networks.join(","))
        .bind::<BigInt, _>(created_at)
        .bind::<Nullable<BigInt>, _>(expires_at)
        .bind::<Integer, _>(i32::from(key.is_none()))
        .bind::<Text, _>(stamp.to_string())
        .execute(connection)
        .map(drop)
}

fn write_entry(
    connection: &mut Connection,
    (list, identifier): (&str, String),
    stamp: Stamp,
    entry: Option<&Entry>,
) -> QueryResult<()> {
    let created_at = entry.map_or(stamp.at(), |entry| entry.created_at).as_millis();
    let expires_at = entry.and_then(|entry| entry.expires_at).map(Timestamp::as_millis);
    sql_query(PUT_ENTRY)
        .bind::<Text, _>(list)
        .bind::<Text, _>(identifier)
        .bind::<Text, _>(entry.map_or("", |entry| &entry.reason))
        .bind::<BigInt, _>(created_at)
        .bind::<Nullable<BigInt>, _>(expires_at)
        .bind::<Integer, _>(i32::from(entry.is_none()))
        .bind::<Text, _>(stamp.to_string())
        .execute(connection)
        .map(drop)
}

/// Makes a row one that says nothing, which any change of its subject replaces.
pub(super) fn put_out_of_force(connection: &mut Connection, torn: &Torn) -> QueryResult<()> {
    let Torn { table, place } = torn;
    sql_query(format!(
        "UPDATE {table} SET gone = 1, stamp = ?, created_at = 0, expires_at = NULL WHERE rowid = ?"
    ))
    .bind::<Text, _>(Stamp::default().to_string())
    .bind::<BigInt, _>(place)
    .execute(connection)
    .map(drop)
}

/// Drops what nobody needs to know any more. The row that was changed last stays: the next change must
/// not get its number.
pub(super) fn forget(connection: &mut Connection, now: Timestamp) -> QueryResult<usize> {
    let before = now.minus(GONE_FOR).as_millis();
    let mut forgotten: usize = 0;
    for table in ["api_keys", "access_list"] {
        let dropped = sql_query(format!(
            "DELETE FROM {table} WHERE (gone = 1 OR expires_at < ?1) \
             AND CAST(substr(stamp, 1, 15) AS INTEGER) < ?1 \
             AND change < (SELECT max(change) FROM {table})"
        ))
        .bind::<BigInt, _>(before)
        .execute(connection)?;
        forgotten = forgotten.saturating_add(dropped);
    }
    Ok(forgotten)
}
