//! What all threads together know of one Redis.
//!
//! Owns: the breaker, and whether writes are refused. A refusal does not move the breaker: reads go
//! on. Older than any thread's connection, and shared by all.

use std::sync::atomic::{AtomicBool, Ordering};

use super::error::Fault;
use crate::resilience::breaker::Breaker;

/// What a command does, as far as its outcome tells something about later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It changes nothing.
    Reads,
    /// It only takes away: allowed without memory, refused when read-only.
    Drops,
    /// It adds something; to do so twice does no harm.
    Adds,
    /// It adds something if it is not there: a second time it would be refused by the first.
    Claims,
    /// It counts something: a second time would count twice.
    Counts,
    /// It adds something to learn whether that is possible; a refusal shows that Redis lives.
    Probes,
}

impl Effect {
    /// Whether a command whose answer was lost may be sent again.
    pub(super) const fn may_be_repeated(self) -> bool {
        !matches!(self, Self::Claims | Self::Counts)
    }
}

/// The health of one Redis.
#[derive(Debug)]
pub struct Health {
    breaker: Breaker,
    refuses_writes: AtomicBool,
}

impl Health {
    /// Nothing bad is known yet.
    pub const fn new(breaker: Breaker) -> Self {
        Self { breaker, refuses_writes: AtomicBool::new(false) }
    }

    /// Keeps a failing Redis out of the way.
    pub const fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    pub(super) fn refuses_writes(&self) -> bool {
        self.refuses_writes.load(Ordering::Relaxed)
    }

    /// Learns from an outcome whether writes are taken.
    pub(super) fn learn<T>(&self, outcome: &Result<T, Fault>, effect: Effect) {
        let refuses = match (outcome, effect) {
            (Ok(_), Effect::Adds | Effect::Claims | Effect::Probes) => false,
            (
                Err(Fault::NoWrites(_)),
                Effect::Adds | Effect::Claims | Effect::Counts | Effect::Drops | Effect::Probes,
            ) => true,
            (Ok(_) | Err(_), _) => return,
        };
        self.refuses_writes.store(refuses, Ordering::Relaxed);
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
