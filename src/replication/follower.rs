//! Following the log: reading on from the last number, writing what waits, and waking others.
//!
//! Owns: the decision when the whole log is to be read, and the loop. A database that is away leaves the
//! position where it is; the next round goes on from there. Through Redis other instances read earlier
//! than at their next poll; nothing depends on a message: without Redis, or when one is lost, the poll
//! finds the change.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use slog::{info, warn};

use super::table::{self, Change, Draft, Outcome, Page, Position, SWEEP_EVERY};
use super::{Away, Changes, POLL, Topic};
use crate::clock;
use crate::database::Connection;
use crate::redis::Redis;
use crate::redis::keys::CHANGES;

/// Between two attempts to subscribe.
const SUBSCRIBE_AGAIN: Duration = Duration::from_secs(1);
/// Longest wait for a reading, and for a pending change to be written.
const WITHIN: Duration = Duration::from_secs(2);
/// Pending changes written in one transaction.
const BATCH: usize = 500;
struct Reading {
    page: Page,
    whole: bool,
    lost: bool,
    at: Position,
}

impl Changes {
    /// Follows the log for as long as it is polled.
    pub async fn run(&self) {
        let mut swept = clock::monotonic();
        loop {
            let (written, read) = (self.write_pending().await, self.catch_up().await);
            self.say(written.and(read));
            let now = clock::monotonic();
            if now.saturating_duration_since(swept) >= SWEEP_EVERY {
                swept = now;
                // What is left is swept the next time.
                drop(self.sweep().await);
            }
            self.until_woken(POLL).await;
        }
    }

    /// Drops what nobody needs any more from the log; how many changes that were.
    pub async fn sweep(&self) -> Result<usize, Away> {
        self.with(WITHIN, |c, _| table::sweep(c, clock::now())).await
    }

    /// Reads on, and has every topic apply what is new.
    pub async fn catch_up(&self) -> Result<(), Away> {
        let mut position = self.0.position.lock().await;
        let (from, changes) = (position.clone(), self.clone());
        let openings = self.0.store.openings();
        let reading = self.with(WITHIN, move |c, _| changes.read(c, from, openings)).await?;
        let Reading { page, whole, lost, at } = reading;
        if lost {
            warn!(self.0.log, "the log of changes was lost; it got what this instance knows");
        }
        self.count_unreadable(page.unreadable);
        if whole || !page.changes.is_empty() {
            for topic in &self.0.topics {
                let own = page.changes.iter().filter(|change| change.topic == topic.name());
                self.distribute(topic, &own.cloned().collect::<Vec<_>>(), whole);
            }
        }
        if let Some(began) = at.read_at {
            self.0.read_at.store(clock::ticks(began), Ordering::Release);
        }
        *position = at;
        Ok(())
    }

    fn read(&self, connection: &mut Connection, from: Position, openings: u64) -> Outcome<Reading> {
        let now = clock::monotonic();
        let whole = from.needs_whole(openings, now);
        if !whole {
            let page = table::after(connection, from.last)?;
            let at = Position { last: page.last, read_at: Some(now), ..from };
            return Ok(Reading { page, whole, lost: false, at });
        }
        let identity = table::identity(connection, &self.0.instance)?;
        let lost = from.identity.is_some_and(|known| known != identity);
        if lost {
            let known: Vec<Draft> = self.0.topics.iter().flat_map(|topic| topic.state()).collect();
            table::seed(connection, &known, &self.0.instance)?;
        }
        let page = table::after(connection, 0)?;
        let (last, identity, read_at) = (page.last, Some(identity), Some(now));
        Ok(Reading { page, whole, lost, at: Position { last, identity, openings, read_at } })
    }

    pub(super) fn distribute(&self, topic: &Arc<dyn Topic>, changes: &[Change], whole: bool) {
        if whole || !changes.is_empty() {
            self.count_unreadable(topic.apply(changes, whole));
        }
    }

    fn count_unreadable(&self, count: usize) {
        if count > 0 {
            self.0.unreadable.fetch_add(count, Ordering::Relaxed);
            warn!(self.0.log, "changes in the log that cannot be read"; "count" => count);
        }
    }

    pub(super) async fn write_pending(&self) -> Result<(), Away> {
        loop {
            let batch: Vec<Draft> = self.pending().values().take(BATCH).cloned().collect();
            if batch.is_empty() {
                return Ok(());
            }
            self.write(batch.clone(), false, WITHIN).await?;
            // A later change of the same subject still waits.
            let mut pending = self.pending();
            for draft in batch {
                let subject = (draft.topic, draft.key.clone());
                if pending.get(&subject) == Some(&draft) {
                    pending.remove(&subject);
                }
            }
        }
    }

    /// Writes changes; waits for another writer as long as there is time.
    pub(super) async fn write(
        &self,
        drafts: Vec<Draft>,
        always: bool,
        within: Duration,
    ) -> Result<(), Away> {
        let deadline = clock::monotonic() + within;
        let work = move |connection: &mut Connection, instance: &str| loop {
            let written = table::write(connection, &drafts, instance, always);
            if !table::is_locked(&written) || clock::monotonic() >= deadline {
                return written;
            }
        };
        self.with(within + LEND_TIME, work).await?;
        self.0.written.notify_one();
        Ok(())
    }

    async fn with<T: Send + 'static>(
        &self,
        within: Duration,
        work: impl FnOnce(&mut Connection, &str) -> Outcome<T> + Send + 'static,
    ) -> Result<T, Away> {
        let instance = self.0.instance.clone();
        let work = self.0.store.run(move |connection| work(connection, &instance));
        match tokio::time::timeout(within, work).await {
            Ok(outcome) => outcome.map_err(Away),
            Err(_) => Err(Away("the database took too long".to_owned())),
        }
    }

    /// Wakes other instances whenever this one has written.
    pub async fn wake_others(&self, redis: &Redis) {
        loop {
            self.0.written.notified().await;
            // A message that is lost costs the others the time until their next poll.
            drop(redis.publish(CHANGES, &self.0.instance).await);
        }
    }

    /// Has the log read as soon as another instance says that it has written.
    pub async fn listen(&self, redis: &Redis) {
        loop {
            if let Ok(mut messages) = redis.subscribe(CHANGES).await {
                while let Some(instance) = messages.next().await {
                    if instance != self.0.instance {
                        self.0.wake.notify_one();
                    }
                }
            }
            tokio::time::sleep(SUBSCRIBE_AGAIN).await;
        }
    }

    /// Waits until another instance has written, for `limit` at most; whether it has.
    pub async fn until_woken(&self, limit: Duration) -> bool {
        tokio::time::timeout(limit, self.0.wake.notified()).await.is_ok()
    }

    fn say(&self, outcome: Result<(), Away>) {
        let was_away = self.0.is_away.swap(outcome.is_err(), Ordering::Relaxed);
        match outcome {
            Err(error) if !was_away => {
                warn!(self.0.log, "the log of changes cannot be followed"; "error" => %error);
            }
            Ok(()) if was_away => info!(self.0.log, "the log of changes is followed again"),
            Ok(()) | Err(_) => {}
        }
    }
}

/// The store waits so long for a connection, and SQLite for a lock, beyond the time of the work.
const LEND_TIME: Duration = Duration::from_millis(500);
