//! The pure machines behind every protection.
//!
//! Owns: decisions as plain functions of state, time and event. No I/O, no actors, no clock of its
//! own; time and chance are arguments. Each machine exists once, here; rooms that need one hold its
//! state and feed it.
//!
//! | machine | for |
//! |---|---|
//! | [`token_bucket`] | a rate with a burst |
//! | [`window`] | so many in any minute, exactly |
//! | [`slots`] | counts of the last while, by slots of time |
//! | [`backoff`] | waits that double; what failed is not tried again at once |
//! | [`sharded_map`] | state of many clients, bounded, for all workers |
//! | [`breaker`] | an upstream that fails |
//! | [`pace`], [`retry_budget`] | calls to an upstream, and those that are made again |
//! | [`concurrency_limit`] | calls at once |

use std::time::Duration;

pub mod backoff;
pub mod breaker;
pub mod concurrency_limit;
pub mod pace;
pub mod retry_budget;
pub mod sharded_map;
pub mod slots;
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
    pub const fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Refresh => "refresh",
            Self::Warming => "warming",
        }
    }
}

/// A call that is not made now, and when it is worth asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    pub reason: RejectReason,
    pub retry_after: Duration,
}

/// So many of all calls of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    pub calls: u64,
    pub of: u64,
}

impl Part {
    const NONE: Self = Self { calls: 0, of: 0 };
}

/// Why a call is not made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RejectReason {
    /// The upstream banned us for longer than the call can wait.
    Banned,
    /// The day's calls are used up.
    BudgetSpent(Part),
    /// The client it is for has had its share of the day's calls.
    ShareSpent(Part),
    /// What is left of the day is for clients with a key.
    KeptForKeys(Part),
    Queue,
    /// The queue has not been empty for a while, and is kept short.
    Standing,
    /// Its turn would come after the deadline, or did not come before it.
    Deadline,
    /// What is free is for calls that a client waits for.
    KeptForClients,
}

impl RejectReason {
    pub const ALL: [Self; 8] = [
        Self::Banned,
        Self::BudgetSpent(Part::NONE),
        Self::ShareSpent(Part::NONE),
        Self::KeptForKeys(Part::NONE),
        Self::Queue,
        Self::Standing,
        Self::Deadline,
        Self::KeptForClients,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Banned => "banned",
            Self::BudgetSpent(_) => "budget_spent",
            Self::ShareSpent(_) => "share_spent",
            Self::KeptForKeys(_) => "kept_for_keys",
            Self::Queue => "queue",
            Self::Standing => "standing",
            Self::Deadline => "deadline",
            Self::KeptForClients => "kept_for_clients",
        }
    }

    /// The same for an operator who reads what became of a request.
    pub const fn in_words(self) -> &'static str {
        match self {
            Self::Banned => "the upstream asked for no calls for a while",
            Self::BudgetSpent(_) => "the upstream's calls of today are spent",
            Self::ShareSpent(_) => "the client has had its share of the upstream's calls of today",
            Self::KeptForKeys(_) => {
                "what is left of the upstream's calls of today is kept for API keys"
            }
            Self::Queue => "as many calls as may wait are waiting",
            Self::Standing => "calls have been waiting for a while, so that few more may wait",
            Self::Deadline => "its turn would come too late",
            Self::KeptForClients => "what is free is kept for calls that a client waits for",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_has_words_of_its_own_that_are_no_code() {
        let words: std::collections::BTreeSet<_> =
            RejectReason::ALL.map(RejectReason::in_words).into();
        assert_eq!(words.len(), RejectReason::ALL.len());
        for reason in RejectReason::ALL {
            let (words, code) = (reason.in_words(), reason.as_str());
            assert!(words.contains(' ') && !words.contains('_') && words != code, "{words}");
        }
    }
}
