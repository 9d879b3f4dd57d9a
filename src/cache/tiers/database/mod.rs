//! The third tier: a table in the SQL database, which survives restarts.
//!
//! Owns: reading rows and named values, on the blocking pool and within [`READ_TIMEOUT`]; what is
//! written goes to the [`Writer`] and is stored behind. A reader never waits for a writer. A file that
//! fails is kept out of the way by a breaker; one that is away is not asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Binary, Nullable, Text};

use crate::cache::key::CacheKey;
use crate::clock;
use crate::database::schema::cache_entries::dsl;
use crate::database::schema::kept_state;
use crate::database::{Connection, ReplicaStatus, Replicas, Store, query};
use crate::failure::StoreError;
use crate::resilience::breaker::Breaker;

pub use room::Swept;
pub use statements::Remembered;
pub use writer::{Report, Writer};

mod room;
mod statements;
#[cfg(test)]
mod tests;
mod writer;

pub const READ_TIMEOUT: Duration = Duration::from_millis(300);
/// Longest wait until what was just stored can be dropped. A row that comes later is not answered with.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);
/// Longest time of a statement that touches many rows.
const SWEEP_TIMEOUT: Duration = Duration::from_secs(5);

#[derive(Debug, Clone)]
pub struct DatabaseTier {
    pub writer: Writer,
    store: Store,
    replicas: Option<Replicas>,
    breaker: Arc<Breaker>,
    /// The second of the clock in which it was last tried to write.
    probed_in: Arc<AtomicI64>,
}

impl DatabaseTier {
    pub fn new(store: Store, breaker: Arc<Breaker>, writer: Writer) -> Self {
        Self { writer, store, replicas: None, breaker, probed_in: Arc::default() }
    }

    /// With these, from which entries are read.
    pub fn with_replicas(self, replicas: Replicas) -> Self {
        Self { replicas: (!replicas.is_empty()).then_some(replicas), ..self }
    }

    /// How many replicas are read, and of the others which and why not.
    pub fn replicas_in_words(&self) -> (usize, Vec<String>) {
        let all = self.replicas.as_ref().map(Replicas::status).unwrap_or_default();
        let out = |one: &ReplicaStatus| Some(format!("{}: {}", one.name, one.out.as_ref()?));
        let out: Vec<_> = all.iter().filter_map(out).collect();
        (all.len().saturating_sub(out.len()), out)
    }

    pub const fn replicas(&self) -> Option<&Replicas> {
        self.replicas.as_ref()
    }

    /// The stored bytes under each of `keys`, in their order.
    pub async fn get(&self, keys: &[&CacheKey]) -> Result<Vec<Option<Bytes>>, StoreError> {
        let names: Vec<String> = keys.iter().map(|key| key.as_str().to_owned()).collect();
        let rows: Vec<(Option<String>, Option<Vec<u8>>)> = self
            .read(names.clone(), READ_TIMEOUT, move |connection| {
                // Whatever is there is read as bytes: one odd row is not to spoil the others.
                let key = sql::<Nullable<Text>>("CAST(key AS TEXT)");
                let entry = sql::<Nullable<Binary>>(&connection.engine().blob("entry"));
                let asked = dsl::cache_entries.filter(dsl::key.eq_any(names));
                query!(connection, |c| asked.select((key, entry)).load(c))
            })
            .await?;
        let found =
            rows.into_iter().filter_map(|(key, entry)| Some((key?, entry.unwrap_or_default())));
        let mut rows: HashMap<String, Vec<u8>> = found.collect();
        Ok(keys.iter().map(|key| rows.remove(key.as_str()).map(Bytes::from)).collect())
    }

    pub async fn restore(&self, name: &str) -> Result<Option<String>, StoreError> {
        let name = name.to_owned();
        let value = self.run(READ_TIMEOUT, move |connection| {
            let bytes = sql::<Nullable<Binary>>(&connection.engine().octets("value"));
            let found = kept_state::table.find(name).select(bytes);
            query!(connection, |c| found.first::<Option<Vec<u8>>>(c)).optional()
        });
        Ok(value.await?.flatten().and_then(|bytes| String::from_utf8(bytes).ok()))
    }

    /// Drops `key`, also if it still waits to be written.
    pub async fn remove(&self, key: &CacheKey) -> Result<usize, StoreError> {
        let key = key.as_str().to_owned();
        self.flush().await;
        self.run(READ_TIMEOUT, move |connection| {
            query!(connection, |c| diesel::delete(dsl::cache_entries.find(key)).execute(c))
        })
        .await
    }

    /// Not while the database is away and nothing can be stored; nor for long while it takes no writes.
    async fn flush(&self) {
        if self.store.is_open() {
            drop(tokio::time::timeout(FLUSH_TIMEOUT, self.writer.flush()).await);
        }
    }

    /// Asks for a sign of life: whether the table can be read at all. Once a second it also lets
    /// the writer store something, so that [`Writer::is_refused`] is known without traffic.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let now = clock::now();
        let second = now.as_millis() / 1_000;
        if self.probed_in.swap(second, Ordering::Relaxed) != second {
            self.writer.keep("write_probe", "true".to_owned(), now);
        }
        if !self.store.is_open() {
            return Err(StoreError::Avoided);
        }
        let any = |connection: &mut Connection| {
            let any = dsl::cache_entries.select(dsl::stored_at).order(dsl::key);
            query!(connection, |c| any.first::<i64>(c)).optional()
        };
        self.attempt(READ_TIMEOUT, any).await.map(drop)
    }

    pub fn is_avoided(&self) -> bool {
        self.breaker.is_open() || !self.store.is_open()
    }

    pub fn absence(&self) -> Option<String> {
        self.store.absence()
    }

    /// Reads what is stored under these keys, from a replica if one may be read: it has half of the time, then
    /// the primary has what is left.
    async fn read<T: Send + 'static>(
        &self,
        keys: Vec<String>,
        within: Duration,
        query: impl FnOnce(&mut Connection) -> QueryResult<T> + Clone + Send + 'static,
    ) -> Result<T, StoreError> {
        let Some(replicas) = &self.replicas else { return self.run(within, query).await };
        let began = clock::monotonic();
        if self.breaker.is_open() && self.breaker.snapshot(began).forced {
            // An admin wants no database to be asked.
            return Err(StoreError::Avoided);
        }
        if let Some(found) = replicas.read(&keys, within / 2, query.clone()).await {
            return Ok(found);
        }
        let took = clock::monotonic().saturating_duration_since(began);
        self.run(within.saturating_sub(took), query).await
    }

    /// Whether the file is well again is found out by the sign of life, not at a caller's expense.
    async fn run<T: Send + 'static>(
        &self,
        within: Duration,
        query: impl FnOnce(&mut Connection) -> QueryResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        if self.is_avoided() {
            return Err(StoreError::Avoided);
        }
        self.attempt(within, query).await
    }

    async fn attempt<T: Send + 'static>(
        &self,
        within: Duration,
        query: impl FnOnce(&mut Connection) -> QueryResult<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let permit = self.breaker.admit(clock::monotonic()).map_err(|_| StoreError::Avoided)?;
        let outcome = match tokio::time::timeout(within, self.store.run(query)).await {
            Ok(outcome) => outcome.map_err(StoreError::Failed),
            Err(_) => Err(StoreError::TooLate),
        };
        permit.record(Some(outcome.is_ok()), clock::monotonic());
        outcome
    }
}
