//! What all threads together know of one Redis, and what an error says about it.
//!
//! Owns: the breaker, whether writes are refused, what Redis said last when it did not do what it was
//! asked, and what a failed command says about Redis (`meaning` has the table of its errors). A refusal (no
//! memory, read-only, a wrong type under a key) comes from a healthy Redis and does not move the breaker:
//! reads go on. Older than any thread's connection, and shared by all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use deadpool_redis::PoolError;
use deadpool_redis::redis::RedisError;

use super::meaning::{self, Kind};
use crate::clock;
use crate::config::said;
use crate::failure::StoreError;
use crate::resilience::breaker::Breaker;

/// What a command does, as far as its outcome says something about later ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
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

#[derive(Debug)]
pub struct Health {
    breaker: Breaker,
    refuses_writes: AtomicBool,
    /// Whether there are words of trouble: most outcomes need not look.
    troubled: AtomicBool,
    trouble: Mutex<Trouble>,
}

/// What Redis said last, in its own words, by what was asked of it.
#[derive(Debug, Default)]
struct Trouble {
    scripts: Option<String>,
    others: Option<String>,
    /// That a key lies elsewhere, and when it was said last: what other keys do says nothing about it.
    slots: Option<(String, Instant)>,
}

/// A key that lies elsewhere is asked for again within this, where there is anything to do.
const SLOTS_KEPT: Duration = Duration::from_secs(60);
/// What Redis says of a key that lies elsewhere.
const OF_SLOTS: [&str; 3] = ["MOVED", "ASK", "CROSSSLOT"];

/// Whether a write that is taken shows that this is over.
fn is_of_writes(said: &str) -> bool {
    meaning::kind(said) != Kind::Misconfigured
        || said.starts_with("OOM")
        || said.starts_with("MISCONF")
}

impl Health {
    pub const fn new(breaker: Breaker) -> Self {
        let (refuses_writes, troubled) = (AtomicBool::new(false), AtomicBool::new(false));
        let trouble = Mutex::new(Trouble { scripts: None, others: None, slots: None });
        Self { breaker, refuses_writes, troubled, trouble }
    }

    /// Keeps a failing Redis out of the way.
    pub const fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    pub(super) fn refuses_writes(&self) -> bool {
        self.refuses_writes.load(Ordering::Relaxed)
    }

    /// What Redis said when it last did not do what it was asked, and what it means; `None` when
    /// the next of that kind was done.
    pub(super) fn trouble(&self, now: Instant) -> Option<String> {
        let trouble = self.words();
        let recent = |at: Instant| now.saturating_duration_since(at) < SLOTS_KEPT;
        let slots = trouble.slots.as_ref().filter(|(_, at)| recent(*at)).map(|(said, _)| said);
        let said = trouble.others.as_ref().or(slots).or(trouble.scripts.as_ref())?;
        Some(meaning::explain(said))
    }

    fn words(&self) -> MutexGuard<'_, Trouble> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Learns from an outcome what Redis says, and whether writes are taken.
    pub(super) fn learn<T>(&self, outcome: &Result<T, Fault>, effect: Effect) {
        self.listen(outcome, effect);
        let refuses = match (outcome, effect) {
            (Ok(_), Effect::Adds | Effect::Claims | Effect::Probes) => false,
            // A user who may not run scripts may write all the same.
            (Err(Fault::NoWrites(cause)), Effect::Counts) if cause.starts_with("NOPERM") => {
                return;
            }
            (
                Err(Fault::NoWrites(_)),
                Effect::Adds | Effect::Claims | Effect::Counts | Effect::Drops | Effect::Probes,
            ) => true,
            (Ok(_) | Err(_), _) => return,
        };
        self.refuses_writes.store(refuses, Ordering::Relaxed);
    }

    fn listen<T>(&self, outcome: &Result<T, Fault>, effect: Effect) {
        let said = match outcome {
            // That a replica answers reads says nothing about what it refused.
            Ok(_) if effect == Effect::Reads || !self.troubled.load(Ordering::Relaxed) => return,
            Ok(_) => None,
            Err(Fault::Refused(cause)) if meaning::kind(cause) == Kind::ThisCommand => return,
            // A connection from before a restart: it says nothing about Redis now, and a probe would.
            Err(Fault::Broken(_)) if effect != Effect::Probes => return,
            Err(
                Fault::Broken(cause)
                | Fault::Failed(cause)
                | Fault::NoWrites(cause)
                | Fault::Refused(cause),
            ) => Some(cause.clone()),
            Err(Fault::TooLate | Fault::OwnDelay | Fault::NotAsked) => return,
        };
        let mut trouble = self.words();
        let Trouble { scripts, others, slots } = &mut *trouble;
        match said {
            Some(said) if OF_SLOTS.iter().any(|code| said.starts_with(code)) => {
                // Each key says another slot: the first one is told, and not every one of them.
                let said = slots.take().map_or(said, |(before, _)| before);
                *slots = Some((said, clock::monotonic()));
                return;
            }
            None if effect == Effect::Probes => {
                *others = None;
                // No script need run for a while: the write shows as much.
                *scripts = scripts.take().filter(|said| !is_of_writes(said));
            }
            said if effect == Effect::Counts => *scripts = said,
            said => *others = said,
        }
        let troubled = trouble.scripts.is_some() || trouble.others.is_some();
        self.troubled.store(troubled, Ordering::Relaxed);
    }
}

/// How a command failed, as precisely as the client has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    TooLate,
    /// No answer in time because of this thread: its queue was too long, or it was held up.
    OwnDelay,
    /// Not asked after all: another command opened the breaker meanwhile.
    NotAsked,
    /// The connection broke, or what came over it makes no sense.
    Broken(String),
    /// Redis, or the way to it, fails.
    Failed(String),
    /// Redis is healthy and takes no writes.
    NoWrites(String),
    /// Redis is healthy and refuses this command only.
    Refused(String),
}

impl Fault {
    /// Of several error answers the heaviest says most about Redis.
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

impl From<Fault> for StoreError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::TooLate | Fault::OwnDelay => Self::TooLate,
            Fault::NotAsked => Self::Avoided,
            Fault::Broken(cause) | Fault::Failed(cause) => Self::Failed(cause),
            Fault::NoWrites(cause) | Fault::Refused(cause) => Self::Refused(cause),
        }
    }
}

impl From<PoolError> for Fault {
    /// An error answer while connecting is no refusal of a command.
    fn from(error: PoolError) -> Self {
        match error {
            PoolError::Timeout(_) => Self::TooLate,
            PoolError::Backend(error) if error.is_timeout() => Self::TooLate,
            PoolError::Backend(_)
            | PoolError::Closed
            | PoolError::NoRuntimeSpecified
            | PoolError::PostCreateHook(_) => Self::Failed(said(&error.to_string())),
        }
    }
}

impl From<RedisError> for Fault {
    /// Of several error answers, the first of the heaviest.
    fn from(error: RedisError) -> Self {
        if error.is_timeout() {
            return Self::TooLate;
        }
        let text = said(&error.to_string());
        let answers = error.into_server_errors();
        let faults = answers.iter().flat_map(|answers| answers.iter());
        faults
            .map(|(_, answer)| meaning::fault(answer.code(), answer.details().unwrap_or_default()))
            // `max_by_key` would take the last of the heaviest.
            .reduce(|first, next| if next.weight() > first.weight() { next } else { first })
            .unwrap_or(Self::Broken(text))
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
