//! Room: replication. One log of changes in SQL, which every instance follows.
//!
//! Owns: writing a change, and handing every change to the [`Topic`] it belongs to, in the order of
//! their numbers, within [`POLL`] of the moment it was written, and sooner where Redis says so. The
//! log is the truth: a change that is committed is in force here when the call returns, and elsewhere
//! within a second. While the database is away [`Changes::commit`] fails and [`Changes::announce`]
//! puts the change in force here, and writes it when the database is back. A log that was lost (a new
//! database file) gets what this instance knows; one that was put back from a backup counts as it is.

mod follower;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use slog::Logger;
use tokio::sync::Notify;

use self::table::Position;
pub use self::table::{Change, Draft, REMOVAL_KEPT};
use crate::clock;
use crate::database::Store;

pub const POLL: Duration = Duration::from_millis(250);
/// A change is in force everywhere within this. An instance that has not read the log for so long says so.
pub const IN_FORCE_WITHIN: Duration = Duration::from_secs(1);
/// No moment: the log was not read yet.
const NEVER: i64 = i64::MIN;
/// Longest time of a commit: what it waits for is another writer.
const COMMIT_WITHIN: Duration = Duration::from_secs(1);
/// The same for what may be written later.
const ANNOUNCE_WITHIN: Duration = Duration::from_millis(500);
const MOST_PENDING: usize = 10_000;
/// What follows the log: one kind of state, kept by another room.
pub trait Topic: Send + Sync {
    fn name(&self) -> &'static str;

    /// Takes changes over in their order; how many it could not read. If `whole`, they are all there
    /// are, and what it knows beyond them does not exist any more.
    fn apply(&self, changes: &[Change], whole: bool) -> usize;

    /// Everything it knows, for a log that was lost.
    fn state(&self) -> Vec<Draft>;
}

/// The database is away, locked, full or broken: nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Away(pub String);

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What became of a change that was announced. It is in force here in any case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    Written,
    /// It is written when the database is back.
    Pending,
    /// Too many wait already: other instances do not learn of it.
    Dropped,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub pending: usize,
    /// Changes that could not be read, since the start.
    pub unreadable: usize,
}

/// The log. Clones are the same one.
#[derive(Clone)]
pub struct Changes(Arc<Shared>);

struct Shared {
    store: Store,
    /// A number that no other instance has, most likely.
    instance: String,
    topics: Vec<Arc<dyn Topic>>,
    /// Held while changes are read and applied, so that they are applied in their order.
    position: tokio::sync::Mutex<Position>,
    pending: Mutex<BTreeMap<(&'static str, String), Draft>>,
    /// This instance has written; another one says that it has.
    written: Notify,
    wake: Notify,
    /// When the last reading began, as [`clock::ticks`].
    read_at: AtomicI64,
    is_away: AtomicBool,
    unreadable: AtomicUsize,
    log: Logger,
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("counts", &self.counts()).finish_non_exhaustive()
    }
}

impl Changes {
    pub fn new(store: Store, topics: Vec<Arc<dyn Topic>>, log: Logger) -> Self {
        Self(Arc::new(Shared {
            store,
            instance: format!("{:016x}", fastrand::u64(..)),
            topics,
            position: tokio::sync::Mutex::default(),
            pending: Mutex::default(),
            written: Notify::new(),
            wake: Notify::new(),
            read_at: AtomicI64::new(NEVER),
            is_away: AtomicBool::new(false),
            unreadable: AtomicUsize::new(0),
            log,
        }))
    }

    /// Writes a change. It is in force here when this returns.
    /// When the database does not take it, nothing was changed.
    pub async fn commit(&self, draft: Draft) -> Result<(), Away> {
        self.write(vec![draft.clone()], true, COMMIT_WITHIN).await?;
        if self.catch_up().await.is_err() {
            self.apply_here(&draft);
        }
        Ok(())
    }

    /// Puts a change in force here, and writes it now or when the database is back. A newer change of
    /// the same subject that is in the log by then wins.
    pub async fn announce(&self, draft: Draft) -> Delivery {
        if self.write(vec![draft.clone()], false, ANNOUNCE_WITHIN).await.is_ok() {
            if self.catch_up().await.is_err() {
                self.apply_here(&draft);
            }
            return Delivery::Written;
        }
        self.apply_here(&draft);
        let mut pending = self.pending();
        let subject = (draft.topic, draft.key.clone());
        if pending.len() >= MOST_PENDING && !pending.contains_key(&subject) {
            return Delivery::Dropped;
        }
        pending.insert(subject, draft);
        Delivery::Pending
    }

    /// Whether the log was read since the start. Until then nothing is known of what was changed
    /// before or elsewhere.
    pub fn was_read(&self) -> bool {
        self.0.read_at.load(Ordering::Acquire) != NEVER
    }

    /// Whether a change of another instance may be unknown here although it should be in force.
    pub fn is_behind(&self) -> bool {
        let read_at = self.0.read_at.load(Ordering::Acquire);
        let unread = clock::ticks(clock::monotonic()).saturating_sub(read_at);
        u128::try_from(unread).is_ok_and(|ms| ms > IN_FORCE_WITHIN.as_millis())
    }

    pub fn counts(&self) -> Counts {
        let unreadable = self.0.unreadable.load(Ordering::Relaxed);
        Counts { pending: self.pending().len(), unreadable }
    }

    fn apply_here(&self, draft: &Draft) {
        let Draft { topic, key, payload, at, keep_until: _ } = draft.clone();
        let change = Change { topic: topic.to_owned(), key, payload, at };
        let owner = self.0.topics.iter().find(|owner| owner.name() == topic);
        if let Some(owner) = owner {
            self.distribute(owner, &[change], false);
        }
    }

    fn pending(&self) -> MutexGuard<'_, BTreeMap<(&'static str, String), Draft>> {
        self.0.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
