//! How many log lines never arrived.
//!
//! Owns: the two counts and the drain that keeps them. Refuses nothing. When what is behind it
//! fails, it counts and says nothing: the log is the last place to complain about the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use slog::{Drain, Level, Never, OwnedKVList, Record};

/// Counts of lost lines since the start. Copies share them.
#[derive(Debug, Clone, Default)]
pub struct Losses(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl Losses {
    /// Lines dropped because the writer was behind.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.0.dropped.load(Ordering::Relaxed)
    }

    /// Lines that could not be written.
    #[must_use]
    pub fn failed(&self) -> u64 {
        self.0.failed.load(Ordering::Relaxed)
    }
}

/// Which count a drain's errors go to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Loss {
    Dropped,
    Failed,
}

/// Turns a drain's errors into counts.
pub(super) struct Counting<D> {
    pub(super) drain: D,
    pub(super) losses: Losses,
    pub(super) loss: Loss,
}

impl<D: Drain<Ok = ()>> Drain for Counting<D> {
    type Ok = ();
    type Err = Never;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), Never> {
        if self.drain.log(record, values).is_err() {
            let count = match self.loss {
                Loss::Dropped => &self.losses.0.dropped,
                Loss::Failed => &self.losses.0.failed,
            };
            count.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn is_enabled(&self, level: Level) -> bool {
        self.drain.is_enabled(level)
    }
}
