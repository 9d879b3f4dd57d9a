//! Why there is no answer: the one vocabulary that every room between upstream and client shares.
//!
//! Owns: the kinds of failure and what a caller may do about them. Refuses: to carry texts of the
//! upstream to clients; the reason is for the log. HTTP statuses are `http`'s business.

use std::fmt;
use std::time::Duration;

/// What kind of failure it is; `http::error` says which code of an answer each has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FailureKind {
    /// The upstream refuses for good: our configuration, our permission, or the request.
    UpstreamRejected,
    /// The upstream fails or cannot be reached.
    UpstreamUnavailable,
    /// The client, which has no key, has had its share of the upstream's calls of today.
    ShareSpent,
    /// What is left of the upstream's calls of today is for clients with a key.
    KeptForKeys,
    /// It takes no more calls just now.
    Overloaded,
    /// The breaker is open: the upstream is not asked.
    CircuitOpen,
    /// Time ran out.
    DeadlineExceeded,
    /// No tier holds an answer, and the client wants none that is not stored.
    NotStored,
    /// A fault of ours.
    Internal,
}

/// Why a call was not sent, or brought nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// So many calls a second.
    Pace,
    /// The upstream has just come back, and gets little at first.
    SlowStart,
    /// An admin holds the breaker open.
    HeldOpen,
    /// The upstream told us to wait.
    Banned,
    /// The calls of a day, and which part of them it is about.
    Day { calls: u64, of: u64 },
    /// It was sent, and what came cannot be used for this reason.
    Unusable(&'static str),
}

/// A failure on the way to an answer. Cheap to clone: a load shares it with all its callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What kind.
    pub kind: FailureKind,
    /// When trying again may help.
    pub retry_after: Option<Duration>,
    /// What it met on its way out, where the kind alone does not say that.
    pub bound: Option<Bound>,
    /// What happened, for the log.
    pub reason: String,
    /// Whether the request itself is to blame: every source of answers would refuse it.
    pub by_caller: bool,
}

impl Failure {
    /// A failure without a known time to wait.
    #[must_use]
    pub fn new(kind: FailureKind, reason: impl Into<String>) -> Self {
        Self { kind, retry_after: None, bound: None, reason: reason.into(), by_caller: false }
    }

    /// What the origin sent about this cannot be used, for a reason of the vocabulary of its service.
    #[must_use]
    pub fn unusable(reason: &'static str) -> Self {
        let what = format!("what the upstream sent cannot be used: {reason}");
        Self::new(FailureKind::UpstreamUnavailable, what).bound_by(Some(Bound::Unusable(reason)))
    }

    /// Whether it was refused for the sake of others: it says nothing about the origin, nor about what
    /// another client would get.
    #[must_use]
    pub const fn is_of_client(&self) -> bool {
        matches!(self.kind, FailureKind::ShareSpent | FailureKind::KeptForKeys)
    }

    /// The same, with what it met.
    #[must_use]
    pub fn bound_by(mut self, bound: Option<Bound>) -> Self {
        self.bound = bound;
        self
    }

    /// The same, with the time after which trying again may help.
    #[must_use]
    pub fn retry_after(mut self, wait: Option<Duration>) -> Self {
        self.retry_after = wait;
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.kind, self.reason)
    }
}

impl std::error::Error for Failure {}

/// Why a store behind memory, Redis or the database, gave no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreError {
    /// It was not asked: its breaker is open, or it is not known yet what in it is valid.
    Avoided,
    /// No answer in time.
    TooLate,
    /// It failed, or the connection did.
    Failed(String),
    /// It is healthy and does not take this: no memory, read-only, another type under the key.
    Refused(String),
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Avoided => {
                f.write_str("not asked: it was failing, or what in it is valid is not known yet")
            }
            Self::TooLate => f.write_str("no answer in time"),
            Self::Failed(cause) | Self::Refused(cause) => f.write_str(cause),
        }
    }
}

impl std::error::Error for StoreError {}
