//! What became of a call: the six outcomes everything else decides by.
//!
//! Owns: the words. Refuses: to guess; whoever builds an outcome has read the answer.

use std::time::Duration;

use serde::Serialize;

/// The outcome of one call to the upstream.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<T> {
    /// An answer with content.
    Ok(T),
    /// A well-formed answer that says: there is nothing. A result, not a failure.
    Empty,
    /// The upstream asked us to wait. Says nothing about its health.
    Throttled {
        /// How long to wait, as told by the upstream; `None` when it did not say.
        wait: Option<Duration>,
        /// The upstream's own words, for the log.
        reason: String,
    },
    /// It may work when tried again. Counts against the upstream's health.
    Transient {
        /// What happened, for the log.
        reason: String,
    },
    /// Trying again is useless.
    Permanent {
        /// Who has to act.
        blame: Blame,
        /// What the upstream said, for the log and, by blame, for the operator.
        reason: String,
    },
    /// The answer could not be understood. Counts against the upstream's health.
    BadResponse {
        /// What was wrong with it, for the log.
        reason: String,
    },
}

/// Whose fault a permanent failure is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Blame {
    /// The operator's configuration: key, secret, gateway address, tracking id.
    Configuration,
    /// The request's parameters.
    Caller,
    /// The account lacks this one method.
    Capability,
}

impl<T> Outcome<T> {
    /// The metric label of this outcome.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Ok(_) => "ok",
            Self::Empty => "empty",
            Self::Throttled { .. } => "throttled",
            Self::Transient { .. } => "transient",
            Self::Permanent { .. } => "permanent",
            Self::BadResponse { .. } => "bad_response",
        }
    }
}
