//! What outlives a restart beside the entries: invalidations and named values.
//!
//! Owns: writing them behind and reading them back. A database that is away loses none of them as
//! long as the process lives: the writer keeps them, put together by name.

use diesel::prelude::*;
use diesel::sql_query;
use diesel::sql_types::{BigInt, Binary, Nullable};

use super::{DatabaseTier, READ_TIMEOUT, SWEEP_TIMEOUT};
use crate::clock::Timestamp;
use crate::database::schema::{invalidations, kept_state};
use crate::failure::StoreError;

/// Most invalidations that are read back; the latest.
const MOST_INVALIDATIONS: i64 = 100_000;

const INVALIDATIONS: &str = "SELECT CAST(subject AS BLOB) AS subject, \
     CAST(soft_at AS INTEGER) AS soft_at, CAST(hard_at AS INTEGER) AS hard_at \
     FROM invalidations ORDER BY max(soft_at, hard_at) DESC LIMIT ?";

#[derive(QueryableByName)]
struct Invalidation {
    #[diesel(sql_type = Nullable<Binary>)]
    subject: Option<Vec<u8>>,
    #[diesel(sql_type = Nullable<BigInt>)]
    soft_at: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    hard_at: Option<i64>,
}

impl Invalidation {
    fn read(self) -> Option<(String, Timestamp, Timestamp)> {
        let subject = String::from_utf8(self.subject?).ok()?;
        let [soft_at, hard_at] = [self.soft_at?, self.hard_at?].map(Timestamp::from_millis);
        Some((subject, soft_at, hard_at))
    }
}

impl DatabaseTier {
    /// Keeps a value (JSON) under a name, behind; the latest stays.
    pub fn keep(&self, name: &str, json: String, at: Timestamp) {
        self.writer.keep(name, json, at);
    }

    /// The value kept under a name.
    ///
    /// # Errors
    /// As [`DatabaseTier::get`].
    pub async fn recall(&self, name: &str) -> Result<Option<String>, StoreError> {
        use diesel::dsl::sql;
        let name = name.to_owned();
        let value = self.run(READ_TIMEOUT, move |connection| {
            let bytes = sql::<Nullable<Binary>>("CAST(value AS BLOB)");
            let found = kept_state::table.find(name).select(bytes);
            found.first::<Option<Vec<u8>>>(connection).optional()
        });
        Ok(value.await?.flatten().and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// Notes an invalidation, behind; of each of its times the latest stays. False when too many
    /// wait and it was not noted.
    #[must_use]
    pub fn note_invalidation(&self, subject: &str, soft_at: Timestamp, hard_at: Timestamp) -> bool {
        self.writer.invalidate(subject, soft_at, hard_at)
    }

    /// Every invalidation that is not forgotten: subject, soft and hard time; the latest first.
    ///
    /// # Errors
    /// As [`DatabaseTier::get`].
    pub async fn invalidations(&self) -> Result<Vec<(String, Timestamp, Timestamp)>, StoreError> {
        let found: Vec<Invalidation> = self
            .run(SWEEP_TIMEOUT, |connection| {
                sql_query(INVALIDATIONS).bind::<BigInt, _>(MOST_INVALIDATIONS).load(connection)
            })
            .await?;
        Ok(found.into_iter().filter_map(Invalidation::read).collect())
    }

    /// Forgets invalidations made before then: nothing stored before them is usable any more. Says
    /// how many.
    ///
    /// # Errors
    /// As [`DatabaseTier::get`].
    pub async fn forget_invalidations(&self, before: Timestamp) -> Result<usize, StoreError> {
        use invalidations::dsl;
        let before = before.as_millis();
        self.run(SWEEP_TIMEOUT, move |connection| {
            let old = dsl::soft_at.lt(before).and(dsl::hard_at.lt(before));
            diesel::delete(dsl::invalidations.filter(old)).execute(connection)
        })
        .await
    }
}
