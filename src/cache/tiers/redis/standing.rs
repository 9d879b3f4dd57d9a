//! What is known of Redis, by all workers together.
//!
//! Owns: the breaker, whether writes are refused, and what an answer says about both. A refusal
//! (no memory, read-only, a wrong type under a key) comes from a Redis that is well: the breaker is
//! not moved by it and reads go on. And whether what Redis holds may be answered with: only while the
//! invalidations of others are known. Refuses: to guess; a code it does not know counts as a failure.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::cache::tiers::TierError;
use crate::clock;
use crate::resilience::breaker::Breaker;

/// What a command does, as far as its outcome tells something about later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
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
    /// It adds something to learn whether that is possible; being refused is a sign of life.
    Probes,
}

impl Effect {
    /// Whether a command whose answer was lost may be sent again.
    pub(super) const fn may_be_repeated(self) -> bool {
        !matches!(self, Self::Claims | Self::Counts)
    }
}

/// How a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// No answer in time.
    TooLate,
    /// No answer in time, because of this worker: its queue was too long, or it was held up.
    OwnDelay,
    /// It was not asked after all: meanwhile others found that it is to be avoided.
    NotAsked,
    /// The connection broke, or what came over it has no sense.
    Broken(String),
    /// Redis, or the way to it, is not well.
    Failed(String),
    /// Redis is well and takes no writes.
    NoWrites(String),
    /// Redis is well and refuses this command only.
    Refused(String),
}

/// Codes of a Redis that answers and takes no writes: no memory, a replica, unsaved changes, too
/// few replicas, a user who may not.
const NO_WRITES: [&str; 5] = ["OOM", "READONLY", "MISCONF", "NOREPLICAS", "NOPERM"];
/// Codes that concern nothing but the command at hand.
const THIS_COMMAND: [&str; 2] = ["WRONGTYPE", "NOSCRIPT"];

impl Fault {
    /// What an error answer with this code and text means.
    pub(super) fn of(code: &str, detail: &str) -> Self {
        let told = format!("{code}: {detail}");
        if NO_WRITES.contains(&code) {
            Self::NoWrites(told)
        } else if THIS_COMMAND.contains(&code) || detail.starts_with("unknown command") {
            Self::Refused(told)
        } else {
            Self::Failed(told)
        }
    }

    /// Of several error answers the one that says most about Redis.
    pub(super) const fn weight(&self) -> u8 {
        match self {
            Self::TooLate | Self::Broken(_) | Self::Failed(_) => 2,
            Self::NoWrites(_) => 1,
            Self::OwnDelay | Self::NotAsked | Self::Refused(_) => 0,
        }
    }

    /// What the outcome of a command with this effect says about the health of Redis, if anything.
    pub(super) const fn health<T>(outcome: &Result<T, Self>, effect: Effect) -> Option<bool> {
        match (outcome, effect) {
            (Ok(_), _) | (Err(Self::NoWrites(_) | Self::Refused(_)), Effect::Probes) => Some(true),
            (Err(Self::NoWrites(_) | Self::Refused(_)), _)
            | (Err(Self::OwnDelay | Self::NotAsked), _) => None,
            (Err(Self::TooLate | Self::Broken(_) | Self::Failed(_)), _) => Some(false),
        }
    }
}

impl From<Fault> for TierError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooLate | Fault::OwnDelay => Self::TooLate,
            Fault::NotAsked => Self::Avoided,
            Fault::Broken(cause) | Fault::Failed(cause) => Self::Failed(cause),
            Fault::NoWrites(cause) | Fault::Refused(cause) => Self::Refused(cause),
        }
    }
}

/// How long entries are read from Redis after its journal of invalidations was: an invalidation is in
/// force everywhere within this.
pub const HEARD_FOR: Duration = Duration::from_secs(1);

/// Whether the journal of invalidations has to be read before entries are.
#[derive(Debug)]
enum Hearing {
    /// Nobody reads it here.
    NotNeeded,
    /// When the last reading to its end began, if there was one.
    Since(Option<Instant>),
}

/// The standing of one Redis, older than any worker's way to it.
#[derive(Debug)]
pub struct Standing {
    breaker: Breaker,
    refuses_writes: AtomicBool,
    hearing: Mutex<Hearing>,
    news: Notify,
}

impl Standing {
    /// Nothing bad is known yet.
    #[must_use]
    pub const fn new(breaker: Breaker) -> Self {
        let hearing = Mutex::new(Hearing::NotNeeded);
        let (refuses_writes, news) = (AtomicBool::new(false), Notify::const_new());
        Self { breaker, refuses_writes, hearing, news }
    }

    /// The same, but entries are read only while its journal has been read a moment ago: not after
    /// the start, and not when Redis was away, until it has been read to its end.
    #[must_use]
    pub fn read_once_heard(self) -> Self {
        Self { hearing: Mutex::new(Hearing::Since(None)), ..self }
    }

    /// Its journal was read to its end; what was written before `began` is known.
    pub(super) fn heard(&self, began: Instant) {
        if let Hearing::Since(last) = &mut *self.hearing() {
            *last = (*last).max(Some(began));
        }
        self.news.notify_waiters();
    }

    /// Waits until its journal has been read, for `limit` at most.
    pub async fn until_heard(&self, limit: Duration) {
        let news = self.news.notified();
        if !self.is_heard(clock::monotonic()) {
            // Who goes on without reads nothing from it until then.
            drop(tokio::time::timeout(limit, news).await);
        }
    }

    /// Whether the invalidations of others are known, all but the last moment's.
    pub(super) fn is_heard(&self, now: Instant) -> bool {
        match &*self.hearing() {
            Hearing::NotNeeded => true,
            Hearing::Since(last) => {
                last.is_some_and(|began| now.saturating_duration_since(began) < HEARD_FOR)
            }
        }
    }

    fn hearing(&self) -> MutexGuard<'_, Hearing> {
        self.hearing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What keeps a Redis that is not well out of the way.
    #[must_use]
    pub const fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    /// Whether the last write was refused by a Redis that answers.
    #[must_use]
    pub fn refuses_writes(&self) -> bool {
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
#[path = "standing_tests.rs"]
mod tests;
