//! The bounded queue between those who store and the thread that writes.
//!
//! Owns: its room in rows and bytes, the order, and knowing when all that came before a flush is
//! settled. Every operation is short: nobody who holds the lock waits for anything.

use std::collections::{HashMap, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use super::Row;
use super::notes::Notes;
use crate::cache::key::CacheKey;

/// Rows and bytes that may wait.
const ROWS: usize = 4_096;
const BYTES: usize = 64 * 1_024 * 1_024;
/// Rows stored in one transaction.
const BATCH: usize = 256;

#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    rows: VecDeque<Row>,
    bytes: usize,
    notes: Notes,
    /// Rows and notes that ever came, and those that are stored or dropped.
    came: Count,
    settled: Count,
    flushes: Vec<(Count, oneshot::Sender<()>)>,
    closed: bool,
}

#[derive(Debug, Clone, Copy, Default)]
struct Count {
    rows: u64,
    notes: u64,
}

impl Count {
    const fn covers(self, other: Self) -> bool {
        self.rows >= other.rows && self.notes >= other.notes
    }
}

/// What is to be written at once.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) rows: Vec<Row>,
    pub(super) notes: Notes,
    noted: u64,
}

impl Batch {
    /// Of several rows of one key the last.
    pub(super) fn latest(&self) -> Vec<&Row> {
        let by_key: HashMap<&CacheKey, &Row> =
            self.rows.iter().map(|row| (&row.key, row)).collect();
        by_key.into_values().collect()
    }
}

impl Queue {
    /// Takes a row in; false when there is no room.
    pub(super) fn put(&self, row: Row) -> bool {
        let mut state = self.lock();
        if state.rows.len() >= ROWS || state.bytes + row.weight() > BYTES {
            return false;
        }
        state.bytes += row.weight();
        state.rows.push_back(row);
        state.came.rows += 1;
        drop(state);
        self.changed.notify_one();
        true
    }

    /// Rows that wait.
    pub(super) fn waiting(&self) -> usize {
        self.lock().rows.len()
    }

    /// Takes a note in.
    pub(super) fn note<T>(&self, note: impl FnOnce(&mut Notes) -> T) -> T {
        let mut state = self.lock();
        let done = note(&mut state.notes);
        state.came.notes += 1;
        drop(state);
        self.changed.notify_one();
        done
    }

    /// Resolves when all that is here now is settled; none when it is already.
    pub(super) fn flushed(&self) -> Option<oneshot::Receiver<()>> {
        let mut state = self.lock();
        if state.settled.covers(state.came) {
            return None;
        }
        let (done, finished) = oneshot::channel();
        let target = state.came;
        state.flushes.retain(|(_, waiting)| !waiting.is_closed());
        state.flushes.push((target, done));
        Some(finished)
    }

    /// Waits for something to write; none when the queue is closed and empty.
    pub(super) fn take(&self) -> Option<Batch> {
        let idle =
            |state: &mut State| state.rows.is_empty() && state.notes.is_empty() && !state.closed;
        let waited = self.changed.wait_while(self.lock(), idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        if state.rows.is_empty() && state.notes.is_empty() {
            return None;
        }
        let many = state.rows.len().min(BATCH);
        let rows: Vec<Row> = state.rows.drain(..many).collect();
        state.bytes -= rows.iter().map(Row::weight).sum::<usize>();
        Some(Batch { rows, notes: std::mem::take(&mut state.notes), noted: state.came.notes })
    }

    /// What was taken is stored.
    pub(super) fn settle(&self, batch: Batch) {
        let mut state = self.lock();
        state.settled.rows += count(batch.rows.len());
        state.settled.notes = batch.noted;
        state.tell_flushes();
    }

    /// What was taken is not stored: puts it back, drops the oldest rows beyond half of the room,
    /// all of them if nobody can come any more; says how many were dropped.
    pub(super) fn put_back(&self, batch: Batch) -> usize {
        let mut state = self.lock();
        if state.closed {
            let lost = batch.rows.len() + state.rows.len();
            state.rows.clear();
            state.bytes = 0;
            state.notes = Notes::default();
            return lost;
        }
        state.notes.take_back(batch.notes);
        state.bytes += batch.rows.iter().map(Row::weight).sum::<usize>();
        batch.rows.into_iter().rev().for_each(|row| state.rows.push_front(row));
        let mut dropped = 0;
        while state.rows.len() > ROWS / 2 || state.bytes > BYTES / 2 {
            let Some(oldest) = state.rows.pop_front() else { break };
            state.bytes -= oldest.weight();
            dropped += 1;
        }
        state.settled.rows += count(dropped);
        state.tell_flushes();
        dropped
    }

    /// Waits for the time, or for the end.
    pub(super) fn rest(&self, pause: Duration) {
        drop(self.changed.wait_timeout_while(self.lock(), pause, |state| !state.closed));
    }

    /// Nobody will come any more.
    pub(super) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn tell_flushes(&mut self) {
        let settled = self.settled;
        for (_, done) in self.flushes.extract_if(.., |(target, _)| settled.covers(*target)) {
            // Whoever asked may have gone.
            done.send(()).unwrap_or_default();
        }
    }
}

fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cache::tests::stage::{fresh, key};

    fn row(name: &str, bytes: usize) -> Row {
        let entry = fresh("");
        Row {
            key: key(name),
            kind: "search",
            entry: vec![0; bytes].into(),
            stored_at: entry.times.stored_at,
            stale_until: entry.times.stale_until,
            question: None,
        }
    }

    #[test]
    fn what_comes_back_is_kept_below_half_of_the_room_and_the_oldest_go_first() {
        let queue = Queue::default();
        (0..ROWS).for_each(|n| assert!(queue.put(row(&n.to_string(), 1))));
        assert!(!queue.put(row("more", 1)));
        let batch = queue.take().unwrap();
        assert_eq!((queue.put_back(batch), queue.waiting()), (ROWS / 2, ROWS / 2));
        assert_eq!(queue.take().unwrap().rows[0].key, key(&(ROWS / 2).to_string()));
    }

    #[test]
    fn bytes_have_their_bound_too() {
        let queue = Queue::default();
        let taken = (0..100).filter(|n| queue.put(row(&n.to_string(), BYTES / 10))).count();
        assert_eq!(taken, 9);
        let batch = queue.take().unwrap();
        assert_eq!(queue.put_back(batch), 5);
    }

    #[test]
    fn a_flush_waits_for_what_was_there_and_not_for_more() {
        let queue = Queue::default();
        assert!(queue.flushed().is_none());
        assert!(queue.put(row("a", 1)));
        let mut flush = queue.flushed().unwrap();
        let batch = queue.take().unwrap();
        assert!(queue.put(row("b", 1)));
        assert_eq!(queue.put_back(batch), 0);
        assert!(flush.try_recv().is_err());
        let batch = queue.take().unwrap();
        queue.settle(batch);
        assert!(flush.try_recv().is_ok());
    }

    #[test]
    fn at_the_end_nothing_is_tried_for_ever() {
        let queue = Queue::default();
        assert!(queue.put(row("a", 1)));
        let batch = queue.take().unwrap();
        assert!(queue.put(row("b", 1)));
        queue.close();
        assert_eq!(queue.put_back(batch), 2);
        assert!(queue.take().is_none());
    }
}
