//! What all threads together know of one Redis, and what an error says about it.
//!
//! Owns: the breaker, whether writes are refused, what Redis said last when it did not do what it was
//! asked, and the classification of errors by their code. A refusal (no memory, read-only, a wrong type
//! under a key) comes from a healthy Redis and does not move the breaker: reads go on. A code that is not
//! known here counts as a failure. Older than any thread's connection, and shared by all.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use deadpool_redis::PoolError;
use deadpool_redis::redis::RedisError;

use crate::config::redact;
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
}

impl Health {
    pub const fn new(breaker: Breaker) -> Self {
        let (refuses_writes, troubled) = (AtomicBool::new(false), AtomicBool::new(false));
        let trouble = Mutex::new(Trouble { scripts: None, others: None });
        Self { breaker, refuses_writes, troubled, trouble }
    }

    /// Keeps a failing Redis out of the way.
    pub const fn breaker(&self) -> &Breaker {
        &self.breaker
    }

    pub(super) fn refuses_writes(&self) -> bool {
        self.refuses_writes.load(Ordering::Relaxed)
    }

    /// What Redis said when it last did not do what it was asked, and what to do about it; `None` when
    /// the next of that kind was done.
    pub(super) fn trouble(&self) -> Option<String> {
        let trouble = self.words();
        let said = trouble.others.as_ref().or(trouble.scripts.as_ref())?;
        Some(advice(said).map_or_else(|| said.clone(), |advice| format!("{said}; {advice}")))
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
            (Err(Fault::NoWrites(cause)), Effect::Counts) if cause.starts_with(NO_PERMISSION) => {
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
            Err(Fault::Refused(cause)) if is_about_one_command(cause) => return,
            // A connection from before a restart: it says nothing about Redis now, and a probe would.
            Err(Fault::Broken(_)) if effect != Effect::Probes => return,
            Err(
                Fault::Broken(cause)
                | Fault::Failed(cause)
                | Fault::NoWrites(cause)
                | Fault::Refused(cause),
            ) => Some(redact(cause).into_owned()),
            Err(Fault::TooLate | Fault::OwnDelay | Fault::NotAsked) => return,
        };
        let mut trouble = self.words();
        let Trouble { scripts, others } = &mut *trouble;
        *(if effect == Effect::Counts { scripts } else { others }) = said;
        let troubled = trouble.scripts.is_some() || trouble.others.is_some();
        self.troubled.store(troubled, Ordering::Relaxed);
    }
}

/// What an operator can do about it, where Redis is not simply failing.
fn advice(said: &str) -> Option<&'static str> {
    let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if has(&["WRONGPASS", "NOAUTH", "nvalid password", "without any password", "AUTH", "Authenti"])
    {
        Some("check user and password in REDIS_URL")
    } else if has(&[NO_PERMISSION, "unknown command", "Unknown Redis command", "renamed"]) {
        Some("the user of REDIS_URL needs permission for this command")
    } else if has(&["MOVED", "CROSSSLOT", "cluster support"]) {
        Some("REDIS_URL names one node of a cluster")
    } else if has(&["DB index"]) {
        Some("check the number of the database in REDIS_URL")
    } else if has(&["lookup address", "onnection refused"]) {
        Some("check host and port in REDIS_URL, where a password must be percent-encoded")
    } else if has(&["READONLY"]) {
        Some("REDIS_URL leads to a replica; connecting anew until it leads to the primary")
    } else {
        None
    }
}

fn is_about_one_command(cause: &str) -> bool {
    THIS_COMMAND.iter().any(|code| cause.starts_with(code))
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

/// Codes of a Redis that answers and takes no writes: no memory, a replica, unsaved changes, too
/// few replicas, a user who may not.
pub(super) const NO_WRITES: [&str; 5] = ["OOM", READ_ONLY, "MISCONF", "NOREPLICAS", NO_PERMISSION];
const NO_PERMISSION: &str = "NOPERM";
/// What a replica says: the primary is elsewhere, perhaps behind the same address.
pub(super) const READ_ONLY: &str = "READONLY";
/// Codes that concern nothing but the command at hand.
pub(super) const THIS_COMMAND: [&str; 2] = ["WRONGTYPE", "NOSCRIPT"];

impl Fault {
    /// What an error answer with this code and text means.
    pub(super) fn of(code: &str, detail: &str) -> Self {
        let text = format!("{code}: {detail}");
        if NO_WRITES.contains(&code) {
            Self::NoWrites(text)
        } else if THIS_COMMAND.contains(&code) || detail.starts_with("unknown command") {
            Self::Refused(text)
        } else if code == "ERR" && detail.contains("script") {
            // The server does not run what the script asks for: it is healthy.
            Self::Refused(text)
        } else {
            Self::Failed(text)
        }
    }

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
            | PoolError::PostCreateHook(_) => Self::Failed(error.to_string()),
        }
    }
}

impl From<RedisError> for Fault {
    /// Of several error answers, the first of the heaviest.
    fn from(error: RedisError) -> Self {
        if error.is_timeout() {
            return Self::TooLate;
        }
        let text = error.to_string();
        let answers = error.into_server_errors();
        let faults = answers.iter().flat_map(|answers| answers.iter());
        faults
            .map(|(_, answer)| Self::of(answer.code(), answer.details().unwrap_or_default()))
            // `max_by_key` would take the last of the heaviest.
            .reduce(|first, next| if next.weight() > first.weight() { next } else { first })
            .unwrap_or(Self::Broken(text))
    }
}

#[cfg(test)]
#[path = "health_tests.rs"]
mod tests;
