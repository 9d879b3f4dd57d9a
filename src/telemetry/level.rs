//! How much is logged, changed while the process runs.
//!
//! Owns: the level and the filter that asks it. Refuses: lines below it, before anything about them
//! is formatted. No neighbours.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use slog::{Drain, Level, OwnedKVList, Record};

/// The level of a running log. Copies of a handle share it.
#[derive(Debug, Clone)]
pub struct LevelHandle(Arc<AtomicUsize>);

impl LevelHandle {
    pub(super) fn new(level: Level) -> Self {
        Self(Arc::new(AtomicUsize::new(level.as_usize())))
    }

    /// The least severe level that is logged.
    #[must_use]
    pub fn get(&self) -> Level {
        Level::from_usize(self.0.load(Ordering::Relaxed)).unwrap_or(Level::Info)
    }

    /// Takes effect with the next line of any thread.
    pub fn set(&self, level: Level) {
        self.0.store(level.as_usize(), Ordering::Relaxed);
    }

    fn lets_pass(&self, level: Level) -> bool {
        level.as_usize() <= self.0.load(Ordering::Relaxed)
    }
}

/// Lets only lines of the handle's level pass.
pub(super) struct Adjustable<D> {
    pub(super) drain: D,
    pub(super) level: LevelHandle,
}

impl<D: Drain<Ok = ()>> Drain for Adjustable<D> {
    type Ok = ();
    type Err = D::Err;

    fn log(&self, record: &Record<'_>, values: &OwnedKVList) -> Result<(), D::Err> {
        if self.level.lets_pass(record.level()) { self.drain.log(record, values) } else { Ok(()) }
    }

    fn is_enabled(&self, level: Level) -> bool {
        self.level.lets_pass(level) && self.drain.is_enabled(level)
    }
}
