//! What became of a call: the six outcomes everything else decides by.
//!
//! Owns: the words. Refuses: to guess; code that builds an outcome has read the answer.

use std::time::Duration;

/// The outcome of one call to the upstream.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome<T> {
    /// An answer with content.
    Ok(T),
    /// A well-formed answer that says: there is nothing. A result, not a failure.
    Empty,
    /// The upstream asked us to wait. Says nothing about its health.
    Throttled {
        /// How long; `None` when the upstream did not say.
        wait: Option<Duration>,
        /// The upstream's own words, for the log.
        reason: String,
    },
    /// It may work when tried again. Counts against the upstream's health.
    Transient { reason: String },
    /// Trying again is useless.
    Permanent {
        blame: Blame,
        /// What the upstream said, for the log and, by blame, for the operator.
        reason: String,
    },
    /// The answer could not be understood. Counts against the upstream's health.
    BadResponse { reason: String },
}

/// Who has to act after a permanent failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The operator: the upstream does not accept this part of the configuration.
    Configuration(Misconfiguration),
    /// The client that chose the parameters.
    Caller,
}

/// What of the operator's configuration an upstream does not accept. Each upstream has its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Misconfiguration {
    /// The word for it in answers and logs, for example `secret`.
    pub name: &'static str,
    /// Whether it is about one operation and says nothing of the others.
    pub of_operation: bool,
}

impl Misconfiguration {
    /// A fault that holds every operation of the credential.
    pub const fn of_credential(name: &'static str) -> Self {
        Self { name, of_operation: false }
    }

    /// A fault that holds one operation.
    pub const fn of_operation(name: &'static str) -> Self {
        Self { name, of_operation: true }
    }
}

impl<T> Outcome<T> {
    /// The metric label of this outcome.
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

    /// What an operator has to put right before this can work, if that is what it takes.
    pub const fn misconfiguration(&self) -> Option<Misconfiguration> {
        match self {
            Self::Permanent { blame: Blame::Configuration(what), .. } => Some(*what),
            Self::Permanent { blame: Blame::Caller, .. }
            | Self::Ok(_)
            | Self::Empty
            | Self::Throttled { .. }
            | Self::Transient { .. }
            | Self::BadResponse { .. } => None,
        }
    }
}
