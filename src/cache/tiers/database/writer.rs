//! What is on its way to the database.
//!
//! Owns: the thread that stores what it is sent, in batches of one transaction each. What the database
//! refuses is tried again after a pause, for as long as no more than half of the room is taken; beyond
//! that the oldest is dropped, rows with a count: the cache would rather lose rows than hold memory for
//! a database that is not there. A named value is never dropped; the latest of a name is stored. Nobody
//! waits for the thread, except for a bounded time those who ask for a flush.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::Duration;

use diesel::result::{DatabaseErrorKind, Error};
use tokio::sync::oneshot;

use super::statements::{self, Value, Write};
use crate::cache::key::CacheKey;
use crate::cache::tiers::Row;
use crate::clock::{self, Timestamp};
use crate::database::Store;
use crate::resilience::backoff::Backoff;

/// Rows, and bytes of all that waits.
const ROWS: usize = 4_096;
const BYTES: usize = 64 << 20;
const BATCH: usize = 256;
/// Keys whose uses are counted at a time.
const MOST_USED: usize = 8_192;
const FLUSH_TIMEOUT: Duration = Duration::from_secs(5);
const PAUSES: Backoff =
    Backoff { first: Duration::from_millis(50), longest: Duration::from_secs(1) };

impl Row {
    pub(super) fn weight(&self) -> usize {
        let question = self.question.as_ref().map_or(0, |question| question.len());
        self.entry.len() + self.key.as_str().len() + question + BESIDE
    }
}

/// Bytes of times, counts, and the key once more in its index.
const BESIDE: usize = 128;

impl Write {
    /// What was stored or removed.
    const fn key(&self) -> Option<&CacheKey> {
        match self {
            Self::Row(row) => Some(&row.key),
            Self::Remove(key) => Some(key),
            Self::Uses(..) | Self::Value(..) | Self::Flush(_) => None,
        }
    }

    /// The room it takes: rows and bytes.
    fn room(&self) -> (usize, usize) {
        match self {
            Self::Row(row) => (1, row.weight()),
            Self::Remove(_) => (0, BESIDE),
            Self::Uses(uses, _) => (0, uses.len() * BESIDE),
            Self::Value(..) | Self::Flush(_) => (0, 0),
        }
    }
}

/// Receives how many rows were stored, or how many were dropped and why.
pub type Report = Arc<dyn Fn(Result<usize, (usize, String)>) + Send + Sync>;

/// The way to the thread, which ends with the last clone. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Writer {
    sender: Sender<Write>,
    waiting: Arc<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    rows: AtomicUsize,
    bytes: AtomicUsize,
    refused: AtomicBool,
}

impl Waiting {
    fn is_beyond(&self, rows: usize, bytes: usize) -> bool {
        self.rows.load(Ordering::Relaxed) > rows || self.bytes.load(Ordering::Relaxed) > bytes
    }

    fn add(&self, (rows, bytes): (usize, usize)) {
        self.rows.fetch_add(rows, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn remove(&self, (rows, bytes): (usize, usize)) {
        self.rows.fetch_sub(rows, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }
}

impl Writer {
    pub fn start(store: Store, report: Report) -> std::io::Result<Self> {
        let (sender, received) = mpsc::channel();
        let waiting = Arc::<Waiting>::default();
        let mut thread = Thread {
            store,
            received,
            backlog: VecDeque::new(),
            values: HashMap::new(),
            waiting: Arc::clone(&waiting),
            is_last: false,
            report,
        };
        std::thread::Builder::new().name("database-writer".into()).spawn(move || thread.work())?;
        Ok(Self { sender, waiting })
    }

    pub fn put(&self, row: Row) -> bool {
        self.send(Write::Row(row))
    }

    /// Has a row that cannot be read removed. What finds no room is found again by the next who reads
    /// it.
    pub fn remove(&self, key: CacheKey) {
        self.send(Write::Remove(key));
    }

    /// Adds to the counts of uses; beyond a few thousand keys at a time what was used least is not
    /// counted.
    pub fn used(&self, mut keys: Vec<(CacheKey, u32)>, at: Timestamp) {
        keys.sort_unstable_by_key(|(_, uses)| Reverse(*uses));
        keys.truncate(MOST_USED);
        self.send(Write::Uses(keys, at));
    }

    pub fn keep(&self, name: &str, json: String, at: Timestamp) {
        self.send(Write::Value(name.to_owned(), (json, at)));
    }

    pub fn waiting(&self) -> usize {
        self.waiting.rows.load(Ordering::Relaxed)
    }

    /// Whether the last batch was refused: the database is locked, full or read-only, though reads
    /// may go on.
    pub fn is_refused(&self) -> bool {
        self.waiting.refused.load(Ordering::Relaxed)
    }

    /// Waits until everything that was sent before is stored or given up, 5 s at most.
    pub async fn flush(&self) {
        let (done, finished) = oneshot::channel();
        self.send(Write::Flush(done));
        drop(tokio::time::timeout(FLUSH_TIMEOUT, finished).await);
    }

    fn send(&self, write: Write) -> bool {
        let (rows, bytes) = write.room();
        let is_free = rows + bytes == 0;
        if !is_free && self.waiting.is_beyond(ROWS - rows, BYTES.saturating_sub(bytes)) {
            return false;
        }
        self.waiting.add((rows, bytes));
        self.sender.send(write).is_ok()
    }
}

struct Thread {
    store: Store,
    received: Receiver<Write>,
    backlog: VecDeque<Write>,
    values: HashMap<String, Value>,
    waiting: Arc<Waiting>,
    is_last: bool,
    report: Report,
}

impl Thread {
    fn work(&mut self) {
        let mut failures = 0;
        while !(self.is_last && self.is_idle()) {
            self.receive(PAUSES.wait(failures));
            if self.is_idle() {
                continue;
            }
            let batch = self.backlog.len().min(BATCH);
            let outcome = self.attempt(batch);
            let is_refused = outcome.as_ref().is_err_and(|rejected| rejected.later);
            self.waiting.refused.store(is_refused, Ordering::Relaxed);
            failures = if is_refused { failures.saturating_add(1) } else { 0 };
            if outcome.is_ok() || batch == 0 && !is_refused {
                self.values.clear();
            }
            let rows = if is_refused { self.make_room() } else { self.settle(batch) };
            // Last: whoever receives the report may take some time.
            if rows > 0 {
                let outcome = outcome.map(|()| rows);
                (self.report)(outcome.map_err(|rejected| (rows, rejected.cause)));
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.backlog.is_empty() && self.values.is_empty()
    }

    /// Takes in what was sent: until the pause is over, and until there is something to do.
    fn receive(&mut self, pause: Duration) {
        let until = clock::monotonic() + pause;
        loop {
            let left = until.saturating_duration_since(clock::monotonic());
            let received = if self.is_idle() {
                self.received.recv().map_err(|_| RecvTimeoutError::Disconnected)
            } else {
                self.received.recv_timeout(left)
            };
            match received {
                Ok(Write::Value(name, value)) => {
                    let before = self.values.get(&name);
                    if before.is_none_or(|before| before.1 <= value.1) {
                        self.values.insert(name, value);
                    }
                }
                Ok(Write::Flush(done)) if self.is_idle() => done.send(()).unwrap_or_default(),
                Ok(write) => self.backlog.push_back(write),
                Err(RecvTimeoutError::Timeout) => return,
                Err(RecvTimeoutError::Disconnected) => {
                    self.is_last = true;
                    return;
                }
            }
        }
    }

    fn attempt(&self, batch: usize) -> Result<(), Rejected> {
        let work = || {
            let mut connection = self
                .store
                .lend()
                .map_err(|error| Rejected { later: true, cause: error.to_string() })?;
            let writes = self.backlog.iter().take(batch);
            statements::store(&mut connection, writes, &self.values).map_err(|error| {
                self.store.blame(&connection, &error);
                Rejected::of(&error)
            })?;
            self.backlog.iter().take(batch).filter_map(Write::key).for_each(|key| {
                self.store.wrote(key.as_str());
            });
            Ok(())
        };
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
            Err(Rejected { later: false, cause: "the writer panicked".to_owned() })
        })
    }

    /// A batch is stored or given up; says how many rows it had.
    fn settle(&mut self, batch: usize) -> usize {
        (0..batch).map(|_| self.take_oldest()).sum()
    }

    /// Drops the oldest beyond half of the room, everything if nobody can come any more; says how many
    /// rows that were.
    fn make_room(&mut self) -> usize {
        if self.is_last {
            self.values.clear();
            return self.settle(self.backlog.len());
        }
        let mut dropped = 0;
        while self.waiting.is_beyond(ROWS / 2, BYTES / 2) && !self.backlog.is_empty() {
            dropped += self.take_oldest();
        }
        dropped
    }

    /// Takes the oldest away, done or given up; how many rows it was.
    fn take_oldest(&mut self) -> usize {
        let Some(write) = self.backlog.pop_front() else { return 0 };
        let room = write.room();
        self.waiting.remove(room);
        if let Write::Flush(done) = write {
            done.send(()).unwrap_or_default();
        }
        room.0
    }
}

struct Rejected {
    /// It may be stored later: the database is locked, full, broken or away.
    later: bool,
    cause: String,
}

impl Rejected {
    fn of(error: &Error) -> Self {
        let cause = error.to_string();
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
        let never = never || cause.contains("too big") || cause.contains("datatype mismatch");
        Self { later: !never, cause }
    }
}
