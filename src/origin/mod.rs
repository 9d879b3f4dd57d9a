//! Calling anything: what to send, when, how often, and what an answer means.
//!
//! Owns: credentials with their pace, budget, breaker and health; the concurrency limit, retries and
//! `ApiClientActor`. Knows no particular upstream: a service implements [`Origin`] for the one it
//! calls, and `transport` carries requests. When the upstream is down, callers get a typed failure at
//! once; what to serve instead is theirs to decide.

pub mod actor;
pub mod call;
pub mod concurrency;
pub mod credentials;
pub mod dns_cache;
pub mod health;
pub mod http;
pub mod outcome;
pub mod pacing;
pub mod persisted;
mod refusal;
pub mod retry;
pub mod settings;
pub mod start;
pub mod state;
pub mod transport;

use std::fmt;
use std::time::Duration;

use crate::clock::Timestamp;
pub use crate::resilience::Priority;
pub use actor::{Call, OriginClient};
pub use http::{Answer, Request};
pub use outcome::{Blame, Misconfiguration, Outcome};
pub use start::Identity;

/// The language of one upstream, spoken with one credential: how a question becomes a request, and
/// what the answer means. There is one of these for each credential.
pub trait Origin: Send + Sync + 'static {
    /// What a service asks, whichever credential asks it.
    type Question: fmt::Debug + Clone + Send + Sync + 'static;
    /// What an answer of use holds.
    type Payload: fmt::Debug + Send + 'static;

    /// Where its day begins, for daily budgets: added to UTC before cutting into days.
    const QUOTA_DAY_OFFSET: Duration = Duration::ZERO;

    /// The label of what is asked, for metrics, logs and the health of a credential.
    fn operation(question: &Self::Question) -> &'static str;

    /// The request as of `now`, made anew for every attempt.
    fn request(&self, question: &Self::Question, now: Timestamp) -> Request;

    /// Says what an answer means. Never panics, whatever the bytes are.
    fn interpret(&self, question: &Self::Question, answer: &Answer) -> Outcome<Self::Payload>;

    /// The question to ask before `outcome` is believed; `None`: it can be believed as it is.
    fn doubt(
        &self,
        _question: &Self::Question,
        _outcome: &Outcome<Self::Payload>,
    ) -> Option<Self::Question> {
        None
    }

    /// What a doubted `outcome` means, now that the `check` was answered with `found`.
    fn resolve(
        &self,
        _check: &Self::Question,
        outcome: Outcome<Self::Payload>,
        _found: &Outcome<Self::Payload>,
    ) -> Outcome<Self::Payload> {
        outcome
    }

    /// What an operator has to do about a fault of the configuration, naming the setting.
    fn advice(&self, fault: Misconfiguration) -> String {
        format!("check the {} of the upstream", fault.name)
    }
}
