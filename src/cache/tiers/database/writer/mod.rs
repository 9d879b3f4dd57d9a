//! What is on its way to the database.
//!
//! Owns: the thread that empties the queue in batches, one transaction each. A batch the database
//! refuses goes back to the head of the queue and is tried again after a pause, for as long as no
//! more than half of the room is taken; beyond that the oldest rows are dropped with a count: the
//! cache would rather lose rows than hold memory for a database that is not there. Nobody waits for
//! it, except for a bounded time those who ask for a flush.

use std::cmp::Reverse;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use diesel::result::{DatabaseErrorKind, Error};

use self::notes::Notes;
use self::queue::Queue;
use crate::cache::key::CacheKey;
use crate::clock::Timestamp;
use crate::database::Store;

mod notes;
mod queue;
mod statements;

/// Longest wait for a flush.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
/// Pauses before a batch is tried again, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

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
    /// What was asked (JSON), if the entry can be loaded again from it.
    pub question: Option<Arc<str>>,
}

impl Row {
    /// What it takes in memory and in the file, about.
    fn weight(&self) -> usize {
        /// Times, counts, and the key once more in its index.
        const BESIDE: usize = 128;
        let question = self.question.as_ref().map_or(0, |question| question.len());
        self.entry.len() + self.key.as_str().len() + question + BESIDE
    }
}

/// Told how many rows were stored and how many were dropped, and why.
pub type Report = Arc<dyn Fn(Result<usize, (usize, String)>) + Send + Sync>;

/// The way into the queue. Cheap to clone; the thread ends with the last clone.
#[derive(Debug, Clone)]
pub struct Writer(Arc<Way>);

#[derive(Debug)]
struct Way {
    queue: Arc<Queue>,
    refused: Arc<AtomicBool>,
}

impl Drop for Way {
    fn drop(&mut self) {
        self.queue.close();
    }
}

impl Writer {
    /// Starts the thread.
    ///
    /// # Errors
    /// The thread could not be started.
    pub fn start(store: Store, report: Report) -> std::io::Result<Self> {
        let (queue, refused) = (Arc::new(Queue::default()), Arc::new(AtomicBool::new(false)));
        let desk = Desk { store, queue: queue.clone(), refused: refused.clone(), report };
        std::thread::Builder::new().name("database-writer".into()).spawn(move || desk.work())?;
        Ok(Self(Arc::new(Way { queue, refused })))
    }

    /// Puts a row into the queue; false when it is full.
    #[must_use]
    pub fn put(&self, row: Row) -> bool {
        self.0.queue.put(row)
    }

    /// Rows that wait, but for those being written.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.queue.waiting()
    }

    /// Lets rows that cannot be read be removed, as long as they hold these bytes.
    pub fn remove(&self, rows: Vec<(CacheKey, Bytes)>) {
        self.0.queue.note(|notes| notes.remove(rows));
    }

    /// Adds to the access counts; beyond a few thousand keys at a time what was used least is not
    /// counted.
    pub fn used(&self, mut keys: Vec<(CacheKey, u32)>, at: Timestamp) {
        keys.sort_unstable_by_key(|(_, uses)| Reverse(*uses));
        self.0.queue.note(|notes| notes.used(keys, at));
    }

    /// Keeps a value (JSON) under a name.
    pub fn keep(&self, name: &str, json: String, at: Timestamp) {
        self.0.queue.note(|notes| notes.keep(name, json, at));
    }

    /// Whether the last batch was refused.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.0.refused.load(Ordering::Relaxed)
    }

    /// Waits until everything that is in the queue now is stored or given up, 5 s at most.
    pub async fn flush(&self) {
        let Some(finished) = self.0.queue.flushed() else { return };
        // Too late is as good as can be: the caller goes on without.
        drop(tokio::time::timeout(FLUSH_TIMEOUT, finished).await);
    }
}

/// Where the thread works.
struct Desk {
    store: Store,
    queue: Arc<Queue>,
    refused: Arc<AtomicBool>,
    report: Report,
}

impl Desk {
    fn work(&self) {
        let mut pause = FIRST_PAUSE;
        while let Some(batch) = self.queue.take() {
            let rows = batch.latest();
            let (stored, outcome) = (rows.len(), self.attempt(&rows, &batch.notes));
            self.refused.store(matches!(outcome, Err(Refusal::Later(_))), Ordering::Relaxed);
            match outcome {
                Ok(()) => {
                    pause = FIRST_PAUSE;
                    // Before the report, which may take its time.
                    self.queue.settle(batch);
                    self.tell(Ok(stored));
                }
                Err(Refusal::Never(cause)) => {
                    self.queue.settle(batch);
                    self.tell(Err((stored, cause)));
                }
                Err(Refusal::Later(cause)) => {
                    let dropped = self.queue.put_back(batch);
                    self.tell(Err((dropped, cause)));
                    self.queue.rest(pause);
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
            }
        }
    }

    fn tell(&self, outcome: Result<usize, (usize, String)>) {
        if !matches!(outcome, Ok(0) | Err((0, _))) {
            (self.report)(outcome);
        }
    }

    fn attempt(&self, rows: &[&Row], notes: &Notes) -> Result<(), Refusal> {
        let work = || {
            let mut connection =
                self.store.lend().map_err(|error| Refusal::Later(error.to_string()))?;
            statements::store(&mut connection, rows, notes).map_err(|error| {
                self.store.blame(&error.to_string());
                Refusal::of(&error)
            })
        };
        catch_unwind(AssertUnwindSafe(work))
            .unwrap_or_else(|_| Err(Refusal::Never("the writer panicked".to_owned())))
    }
}

/// Why something was not stored.
enum Refusal {
    /// The database is locked, full, broken or away.
    Later(String),
    /// It would be refused every time.
    Never(String),
}

impl Refusal {
    fn of(error: &Error) -> Self {
        let text = error.to_string();
        let never = matches!(
            error,
            Error::DatabaseError(
                DatabaseErrorKind::CheckViolation
                    | DatabaseErrorKind::NotNullViolation
                    | DatabaseErrorKind::UniqueViolation
                    | DatabaseErrorKind::ForeignKeyViolation,
                _
            ) | Error::SerializationError(_)
                | Error::InvalidCString(_)
        );
        if never || text.contains("too big") || text.contains("datatype mismatch") {
            Self::Never(text)
        } else {
            Self::Later(text)
        }
    }
}
