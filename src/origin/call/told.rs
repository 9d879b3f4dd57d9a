//! What a call that came to nothing is told as.
//!
//! Owns: the words and kinds, by outcome and by refusal. Refuses: to name the upstream's own words
//! to anybody but the log.

use std::time::{Duration, Instant};

use serde_json::Value;

use crate::failure::{Failure, FailureKind};
use crate::origin::accounts::TurnedAway;
use crate::origin::accounts::choice::Refusal;
use crate::origin::crowd::Full;
use crate::origin::outcome::Blame;
use crate::origin::tables::UpstreamTables;
use crate::origin::{Outcome, Priority, verdict};

/// Wait assumed when the upstream throttles without saying for how long.
pub(super) const UNTOLD_BAN: Duration = Duration::from_secs(1);

/// How an outcome is told if it stays the last; `None` when it is a reply.
pub(super) fn failure(outcome: &Outcome<Value>) -> Option<Failure> {
    Some(match outcome {
        Outcome::Ok(_) | Outcome::Empty => return None,
        Outcome::Throttled { wait, reason } => {
            let wait = wait.unwrap_or(UNTOLD_BAN);
            unavailable(format!("throttled: {reason}")).retry_after(Some(wait))
        }
        Outcome::Transient { reason } => unavailable(reason.clone()),
        Outcome::BadResponse { reason } => unavailable(format!("bad response: {reason}")),
        Outcome::Permanent { blame, reason } => rejected(*blame, reason),
    })
}

/// What is told when an attempt that was made failed so, and a further one was refused so.
pub(super) fn rather(made: Option<Failure>, refused: Failure) -> Failure {
    let Some(made) = made else { return refused };
    let wait = made.retry_after.max(refused.retry_after);
    made.retry_after(wait)
}

pub(super) fn no_retry() -> Failure {
    unavailable("no retry left".to_owned())
}

/// There is no time for another attempt, or was none for this one.
pub(super) fn too_late(reason: impl Into<String>) -> Failure {
    Failure::new(FailureKind::DeadlineExceeded, reason)
}

fn unavailable(reason: String) -> Failure {
    Failure::new(FailureKind::UpstreamUnavailable, reason)
}

fn rejected(blame: Blame, reason: &str) -> Failure {
    let whose = match blame {
        Blame::Configuration(_) => "our configuration",
        Blame::Caller => "the request",
        Blame::Capability => "the account's permissions",
    };
    let reason = format!("refused because of {whose}: {reason}");
    let by_caller = blame == Blame::Caller;
    Failure { by_caller, ..Failure::new(FailureKind::UpstreamRejected, reason) }
}

impl UpstreamTables {
    /// Counts a call for which there is no place, and says what it is told.
    pub(super) fn crowded(&self, full: Full, priority: Priority, number: u32) -> Failure {
        self.shed(full.reason.as_str(), priority, number);
        verdict::crowded(full)
    }

    /// Counts a call that no account makes, and says what it is told.
    pub(super) fn turned_away(
        &self,
        turned: TurnedAway<'_>,
        priority: Priority,
        number: u32,
        now: Instant,
    ) -> Failure {
        match (turned.refusal, turned.account) {
            (Some(Refusal::Breaker(rejected)), Some(account)) => {
                account.breaker.count_rejected();
                verdict::told(rejected)
            }
            (Some(Refusal::Pacing(refused)), _) => {
                self.shed(refused.reason.as_str(), priority, number);
                verdict::paced(refused)
            }
            (Some(refusal), _) => refusal.into_failure(now),
            (None, _) => Failure::new(FailureKind::Internal, "there is no account"),
        }
    }

    /// A call whose first attempt was made is not one that was not.
    fn shed(&self, reason: &'static str, priority: Priority, number: u32) {
        match priority {
            Priority::Client if number > 1 => {}
            Priority::Client => self.metrics.shed(reason),
            background @ (Priority::Refresh | Priority::Warming) => {
                self.metrics.background_refused(background.label(), reason);
            }
        }
    }
}
