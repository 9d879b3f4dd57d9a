//! The pure machines behind every protection: token bucket, sliding window, circuit breaker,
//! concurrency limit, retry budget.
//!
//! Owns: decisions as plain functions of state, time and event. No I/O, no actors, no clock of its
//! own; time and chance are arguments. Each machine exists once, here; rooms that need one hold its
//! state and feed it.

pub mod breaker;
pub mod concurrency_limit;
pub mod counts;
pub mod failure_memo;
pub mod pace;
pub mod retry_budget;
pub mod standing_queue;
pub mod tick;
pub mod token_bucket;
pub mod window;

/// For whom a call is made: who goes first when an upstream takes only so much.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Priority {
    /// A client waits.
    #[default]
    Client,
    /// Nobody waits: what is served already is renewed.
    Refresh,
    /// No client asked yet.
    Warming,
}

impl Priority {
    /// The priority's name in labels and logs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Refresh => "refresh",
            Self::Warming => "warming",
        }
    }
}
