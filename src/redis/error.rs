//! Why Redis gave no answer, and what an error answer says about Redis.
//!
//! Owns: the classification by error code. A refusal (no memory, read-only, a wrong type under a key)
//! comes from a healthy Redis; a code that is not known here counts as a failure.

use deadpool_redis::PoolError;
use deadpool_redis::redis::RedisError;

use super::health::Effect;
use crate::failure::StoreError;

/// How a command failed, as precisely as the client has to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fault {
    /// No answer in time.
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
pub(super) const NO_WRITES: [&str; 5] = ["OOM", "READONLY", "MISCONF", "NOREPLICAS", "NOPERM"];
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
