//! Rows on their way to the database.
//!
//! Owns: the bounded queue and the thread that empties it in batches. Refuses: rows when the queue
//! is full. A batch that cannot be stored is tried again once and then dropped with a count: the
//! cache would rather lose a row than hold memory for a database that is not there.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use bytes::Bytes;
use diesel::prelude::*;
use tokio::sync::oneshot;

use crate::cache::key::CacheKey;
use crate::clock::Timestamp;
use crate::database::Pool;
use crate::database::schema::cache_entries::{self, dsl};

/// Rows that may wait.
const QUEUE: usize = 4_096;
/// Rows stored in one transaction.
const BATCH: usize = 256;
/// Longest wait for a flush.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);

/// One row to store.
#[derive(Debug, Clone)]
pub struct Row {
    /// Its key.
    pub key: CacheKey,
    /// Its kind.
    pub kind: &'static str,
    /// The encoded entry.
    pub entry: Bytes,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// Until when it is usable.
    pub stale_until: Timestamp,
}

enum Order {
    Store(Row),
    Flush(oneshot::Sender<()>),
}

/// The way into the queue. Cheap to clone; the thread ends with the last clone.
#[derive(Debug, Clone)]
pub struct Writer {
    queue: SyncSender<Order>,
}

/// Told how many rows were stored and how many were dropped, and why.
pub type Report = Arc<dyn Fn(Result<usize, (usize, String)>) + Send + Sync>;

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(pool: Pool, report: Report) -> std::io::Result<Self> {
        let (queue, orders) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("database-writer".into())
            .spawn(move || write(&pool, &orders, &report))?;
        Ok(Self { queue })
    }

    /// Puts a row into the queue; false when it is full.
    #[must_use]
    pub fn put(&self, row: Row) -> bool {
        !matches!(
            self.queue.try_send(Order::Store(row)),
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_))
        )
    }

    /// Waits until everything that is in the queue now is stored or given up.
    pub async fn flush(&self) {
        let (done, finished) = oneshot::channel();
        let mut order = Order::Flush(done);
        // A full queue empties by itself; wait for a place without blocking the thread.
        for _ in 0..100 {
            match self.queue.try_send(order) {
                Ok(()) => break,
                Err(TrySendError::Disconnected(_)) => return,
                Err(TrySendError::Full(back)) => order = back,
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Too late is as good as can be: the caller goes on without.
        drop(tokio::time::timeout(FLUSH_TIMEOUT, finished).await);
    }
}

fn write(pool: &Pool, orders: &Receiver<Order>, report: &Report) {
    while let Ok(first) = orders.recv() {
        let mut batch = HashMap::new();
        let mut waiting = Vec::new();
        let mut next = Some(first);
        while let Some(order) = next {
            match order {
                // Of several rows of one key the last wins.
                Order::Store(row) => drop(batch.insert(row.key.clone(), row)),
                Order::Flush(done) => waiting.push(done),
            }
            next = if batch.len() < BATCH { take(orders) } else { None };
        }
        if !batch.is_empty() {
            report(store_twice(pool, &batch.into_values().collect::<Vec<_>>()));
        }
        for done in waiting {
            // Whoever asked may have gone.
            done.send(()).unwrap_or_default();
        }
    }
}

fn take(orders: &Receiver<Order>) -> Option<Order> {
    orders.try_recv().ok()
}

fn store_twice(pool: &Pool, rows: &[Row]) -> Result<usize, (usize, String)> {
    let attempt = || {
        catch_unwind(AssertUnwindSafe(|| store(pool, rows)))
            .unwrap_or_else(|_| Err("the writer panicked".to_owned()))
    };
    attempt().or_else(|_| attempt()).map_err(|cause| (rows.len(), cause))
}

fn store(pool: &Pool, rows: &[Row]) -> Result<usize, String> {
    let mut connection = pool.get().map_err(|error| error.to_string())?;
    let stored = connection.immediate_transaction(|connection| {
        for row in rows {
            let values = (
                dsl::key.eq(row.key.as_str()),
                dsl::kind.eq(row.kind),
                dsl::entry.eq(row.entry.as_ref()),
                dsl::stored_at.eq(row.stored_at.as_millis()),
                dsl::stale_until.eq(row.stale_until.as_millis()),
            );
            diesel::replace_into(cache_entries::table).values(values).execute(connection)?;
        }
        QueryResult::Ok(rows.len())
    });
    stored.map_err(|error| error.to_string())
}
