//! The rows that are asked for most, to be loaded again before anybody asks.
//!
//! Owns: their order. Yesterday's uses count half, so old fame fades; the fading is arithmetic when
//! one looks, and no row is written anew for it.

use std::sync::Arc;

use bytes::Bytes;
use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Binary, Nullable};

use super::{DAY, DatabaseTier, SWEEP_TIMEOUT};
use crate::cache::key::CacheKey;
use crate::clock::Timestamp;
use crate::failure::StoreError;

/// The inner part looks only at the index of rows with a question, the outer at the few chosen.
const MOST_USED: &str = "SELECT CAST(e.key AS BLOB) AS key, \
     CAST(e.question AS BLOB) AS question, CAST(e.entry AS BLOB) AS entry, \
     CAST(asked.score AS INTEGER) AS uses, CAST(e.used_at AS INTEGER) AS used_at \
     FROM (SELECT rowid AS id, uses >> min(max(?1 / ?2 - used_at / ?2, 0), 62) AS score, \
     used_at AS last FROM cache_entries WHERE question IS NOT NULL \
     ORDER BY score DESC, last DESC LIMIT ?3) AS asked \
     CROSS JOIN cache_entries AS e ON e.rowid = asked.id ORDER BY asked.score DESC, asked.last DESC";

/// A row that can be loaded again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    pub key: CacheKey,
    /// What was asked (JSON).
    pub question: Arc<str>,
    /// Uses, those of earlier days halved for each midnight since.
    pub uses: u64,
    /// Last use.
    pub used_at: Timestamp,
    /// The encoded entry, as [`DatabaseTier::get`] gives it.
    pub entry: Bytes,
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

impl Found {
    /// None when it is not what a writer of this service would have written.
    fn read(self) -> Option<Remembered> {
        let text = |bytes: Option<Vec<u8>>| String::from_utf8(bytes?).ok();
        Some(Remembered {
            key: CacheKey::new(text(self.key)?),
            question: text(self.question)?.into(),
            uses: u64::try_from(self.uses.unwrap_or_default()).unwrap_or_default(),
            used_at: Timestamp::from_millis(self.used_at.unwrap_or_default()),
            entry: self.entry?.into(),
        })
    }
}

impl DatabaseTier {
    /// Rows with a question, the most used first; those past their time too, until they are swept.
    pub async fn most_used(
        &self,
        limit: usize,
        now: Timestamp,
    ) -> Result<Vec<Remembered>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found: Vec<Found> = self
            .run(SWEEP_TIMEOUT, move |connection| {
                sql_query(MOST_USED)
                    .bind::<BigInt, _>(now.as_millis())
                    .bind::<BigInt, _>(DAY)
                    .bind::<BigInt, _>(limit)
                    .load(connection)
            })
            .await?;
        Ok(found.into_iter().filter_map(Found::read).collect())
    }
}
