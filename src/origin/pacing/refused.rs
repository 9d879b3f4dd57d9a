//! Why a call is not given a place.

use std::time::Duration;

use serde::Serialize;

use crate::clock::Timestamp;

/// Why a call is not given a place, and when it is worth asking again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Why.
    pub reason: Reason,
    /// How long until a call could be made.
    pub retry_after: Duration,
}

/// Why a call is not given a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// The upstream banned us for longer than the call can wait.
    Banned {
        /// The ban's end.
        until: Timestamp,
    },
    /// Too many calls wait already.
    QueueFull,
    /// Calls have waited for a while without end: more are asked for than the pace has places.
    StandingQueue,
    /// The day's calls are used up.
    BudgetSpent {
        /// When the upstream's next day begins.
        until: Timestamp,
    },
    /// The call's moment would come after its deadline.
    Deadline,
    /// What is left, of the moment or of the day, is kept for calls that a client waits for.
    KeptForClients,
}

impl Reason {
    /// The reason's name in labels and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Banned { .. } => "banned",
            Self::QueueFull => "queue_full",
            Self::StandingQueue => "standing_queue",
            Self::BudgetSpent { .. } => "budget_spent",
            Self::Deadline => "deadline",
            Self::KeptForClients => "kept_for_clients",
        }
    }
}

impl Refused {
    pub(super) fn banned(left: Duration, wall: Timestamp) -> Self {
        Self { reason: Reason::Banned { until: wall.plus(left) }, retry_after: left }
    }

    pub(super) fn spent(until: Timestamp, wall: Timestamp) -> Self {
        Self { reason: Reason::BudgetSpent { until }, retry_after: until.since(wall) }
    }

    pub(super) const fn kept(retry_after: Duration) -> Self {
        Self { reason: Reason::KeptForClients, retry_after }
    }
}
