//! What became of a call: the six outcomes everything else decides by.
//!
//! Owns: the words. Refuses: to guess; whoever builds an outcome has read the answer.

use std::time::Duration;

use serde::Serialize;
use utoipa::ToSchema;

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The operator's configuration, and what of it.
    Configuration(Misconfiguration),
    /// The request's parameters.
    Caller,
    /// The account lacks this one method.
    Capability,
}

/// What of the operator's configuration the upstream does not accept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Misconfiguration {
    /// It does not know the application key.
    AppKey,
    /// It computes another signature: the secret is wrong.
    Signature,
    /// The address is not, or no longer, the upstream's.
    Gateway,
    /// It does not know the tracking id.
    TrackingId,
    /// This machine's clock is too far from its own.
    Clock,
    /// It knows the application, but serves its account nothing.
    Account,
    /// The account may not use a method.
    Permission,
}

impl Misconfiguration {
    /// Every one of them.
    pub const ALL: [Self; 7] = [
        Self::AppKey,
        Self::Signature,
        Self::Gateway,
        Self::TrackingId,
        Self::Clock,
        Self::Account,
        Self::Permission,
    ];

    /// The word for it in answers and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AppKey => "app_key",
            Self::Signature => "signature",
            Self::Gateway => "gateway",
            Self::TrackingId => "tracking_id",
            Self::Clock => "clock",
            Self::Account => "account",
            Self::Permission => "permission",
        }
    }

    /// Whether it is about one method and says nothing of the others.
    #[must_use]
    pub const fn is_of_method(self) -> bool {
        matches!(self, Self::TrackingId | Self::Permission)
    }
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

    /// What an operator has to put right before this can work, if that is what it takes.
    #[must_use]
    pub const fn misconfiguration(&self) -> Option<Misconfiguration> {
        match self {
            Self::Permanent { blame: Blame::Configuration(what), .. } => Some(*what),
            Self::Permanent { blame: Blame::Capability, .. } => Some(Misconfiguration::Permission),
            Self::Permanent { blame: Blame::Caller, .. }
            | Self::Ok(_)
            | Self::Empty
            | Self::Throttled { .. }
            | Self::Transient { .. }
            | Self::BadResponse { .. } => None,
        }
    }
}
