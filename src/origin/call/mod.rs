//! One call from question to answer: attempts, the doubts about an answer, and what to do next.
//!
//! ```text
//!  account in turn ─▶ its moment ─▶ place in the crowd ─▶ permit ─▶ grant ─▶ exchange ─▶ verdict
//!        ▲                                                                                  │
//!        └───────────── wait, another account first ◀── again? ◀── believed? ◀── outcome ◀──┘
//! ```
//!
//! Owns: the order of these steps; `attempt` makes one, `door` refuses before the first what could not be made, `told` words what comes of it. The
//! breaker is asked when the call is about to be made: what was learned while it waited counts.
//! Nothing is spent for a call that is not made: moment, place, permit and grant come back by
//! themselves, also when the call is dropped. A call that is past its deadline is never made.

mod attempt;
mod door;
mod told;

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use slog::{Logger, info, o};

use self::attempt::{Made, NotMade};
use super::accounts::Ask;
use super::accounts::choice::Prefer;
use super::actor::{Call, Reply};
use super::edge::Edge;
use super::outcome::Blame;
use super::retry::{self, Policy, Retry};
use super::tables::UpstreamTables;
use super::{Outcome, Priority, Request};
use crate::clock;
use crate::failure::Failure;

/// Makes the call.
///
/// # Errors
/// It was refused here, or by the upstream, or there was no answer of use in time.
pub async fn run<E: Edge>(
    tables: &UpstreamTables,
    edge: &E,
    call: &Call,
) -> Result<Reply, Failure> {
    let log = tables.log.new(o!(
        "request_id" => Arc::clone(&call.request_id), "method" => call.request.method));
    Course { tables, edge, call, log }.run().await
}

/// A call under way.
struct Course<'a, E> {
    tables: &'a UpstreamTables,
    edge: &'a E,
    call: &'a Call,
    log: Logger,
}

impl<'a, E: Edge> Course<'a, E> {
    async fn run(&self) -> Result<Reply, Failure> {
        let (mut number, mut prefer, mut last) = (1, Prefer::Any, None);
        loop {
            let made = match self.attempt(&self.call.request, number, prefer).await {
                Ok(made) => made,
                // What became of the attempt before says more than why there is no other.
                Err(NotMade::Refused(failure) | NotMade::Changed(failure)) => {
                    return Err(told::rather(last, failure));
                }
                // The others have retried enough for now.
                Err(NotMade::NoBudget) => return Err(last.unwrap_or_else(told::no_retry)),
            };
            let (index, outcome) = self.believed(made, number).await;
            let Some(failure) = told::failure(&outcome) else { return Ok(reply(outcome)) };
            let Some(wait) = self.wait_before_retry(index, number, &outcome) else {
                return Err(failure);
            };
            info!(self.log, "upstream call will be repeated"; "attempt" => number,
                "wait_ms" => u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
                "reason" => &failure.reason);
            last = Some(failure);
            tokio::time::sleep(wait).await;
            (number, prefer) = (number.saturating_add(1), Prefer::Not(index));
        }
    }

    /// Whether and when to try again. The budget is only looked at: it is spent when the retry is
    /// made.
    fn wait_before_retry(
        &self,
        index: usize,
        number: u32,
        outcome: &Outcome<Value>,
    ) -> Option<Duration> {
        if !self.call.retry || self.call.priority != Priority::Client {
            return None;
        }
        let now = clock::monotonic();
        if self.tables.budget.snapshot(now).remaining == 0 {
            return None;
        }
        let (own, deadline) = (&self.tables.retry, self.call.deadline);
        // What this account is refused for, another is not: it is asked at once.
        let at_once = Policy { base_delay: Duration::ZERO, max_delay: Duration::ZERO, ..*own };
        let other = Outcome::Transient { reason: String::new() };
        let (policy, outcome) = if is_of_account(outcome) && self.is_elsewhere(index, now) {
            (&at_once, &other)
        } else {
            (own, outcome)
        };
        match retry::decide(policy, number, outcome, self.edge.chance(), now, deadline) {
            Retry::After(wait) => Some(wait),
            Retry::Stop(_) => None,
        }
    }

    /// Whether another account than this could make the call.
    fn is_elsewhere(&self, index: usize, now: Instant) -> bool {
        let ask = self.ask(&self.call.request, Prefer::Any, now);
        self.tables.accounts.is_elsewhere(index, &ask, now, self.edge.wall())
    }

    /// An outcome that may mean something else is checked by a question, if there is a retry for
    /// it; whatever it is then is what is learned of the account.
    async fn believed(&self, made: Made<'a>, number: u32) -> (usize, Outcome<Value>) {
        let Made { index, account, trial, outcome } = made;
        let doubt = account.protocol.doubt(&self.call.request, &outcome);
        let outcome = match doubt {
            None => outcome,
            Some(question) => {
                // As a retry: it is one more call for the same question.
                let again = number.saturating_add(1);
                match self.attempt(&question, again, Prefer::Only(index)).await {
                    Ok(told) => account.protocol.resolve(&question, outcome, &told.outcome),
                    // Nothing in it, and nobody knows why: that is not kept as an answer.
                    Err(NotMade::Refused(_) | NotMade::Changed(_) | NotMade::NoBudget) => {
                        let reason = "an empty list that could not be checked".to_owned();
                        Outcome::Transient { reason }
                    }
                }
            }
        };
        self.tables.learned(account, trial, &outcome, clock::monotonic(), self.edge.wall());
        (index, outcome)
    }

    fn ask(&self, request: &Request, prefer: Prefer, now: Instant) -> Ask {
        let Call { priority, deadline, .. } = *self.call;
        let latest = self.tables.latest_start(now, deadline);
        Ask { method: request.method, priority, latest, prefer }
    }
}

/// Whether an outcome is about the account that asked, and another might fare better.
const fn is_of_account(outcome: &Outcome<Value>) -> bool {
    match outcome {
        Outcome::Throttled { .. } => true,
        Outcome::Permanent { blame, .. } => !matches!(blame, Blame::Caller),
        Outcome::Ok(_)
        | Outcome::Empty
        | Outcome::Transient { .. }
        | Outcome::BadResponse { .. } => false,
    }
}

fn reply(outcome: Outcome<Value>) -> Reply {
    match outcome {
        Outcome::Ok(value) => Reply::Found(value),
        Outcome::Empty
        | Outcome::Throttled { .. }
        | Outcome::Transient { .. }
        | Outcome::Permanent { .. }
        | Outcome::BadResponse { .. } => Reply::Empty,
    }
}
