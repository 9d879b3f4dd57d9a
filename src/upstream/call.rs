//! One call from question to answer: pacing, breaker, attempt, and again.
//!
//! ```text
//!  breaker open? refused ─▶ place in the pace ─▶ wait for it ─▶ time left? ─▶ permit ─▶ retry
//!  budget ─▶ place used ─▶ exchange ─▶ permit returned ─▶ told, or the same again
//! ```
//!
//! Owns: the order of these steps and what a failure is told as. The breaker is asked when the call
//! is about to be made: what was learned while it waited counts. Nothing is spent for a call that is
//! not made: place, permit and grant come back by themselves, also when the call is dropped. A call
//! that is past its deadline is never made.

use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use slog::{Logger, debug, info, o, warn};

use super::actor::{Call, Reply};
use super::outcome::Blame;
use super::pacing::Slot;
use super::retry::{self, Retry};
use super::tables::UpstreamTables;
use super::transport::{Transport, TransportFault};
use super::verdict::{self, Attempt};
use super::{Outcome, Priority, pacing, reading};
use crate::clock;
use crate::failure::{Failure, FailureKind};

/// Wait assumed when the upstream throttles without saying for how long.
const UNTOLD_BAN: Duration = Duration::from_secs(1);
/// Least time worth starting an attempt for.
const LEAST_ATTEMPT: Duration = Duration::from_millis(5);

/// Makes the call.
pub(super) async fn run(
    tables: &UpstreamTables,
    transport: &Transport,
    call: &Call,
) -> Result<Reply, Failure> {
    let log = tables.log.new(o!(
        "request_id" => Arc::clone(&call.request_id), "method" => call.request.method));
    let mut attempt = 1;
    let mut last = None;
    loop {
        let trial = tables.may_ask(call.request.method, clock::monotonic())?;
        let outcome = match attempt_once(tables, transport, call, attempt, &log).await {
            Ok(outcome) => outcome,
            Err(NotMade::Refused(failure)) => return Err(failure),
            // The others have retried enough for now.
            Err(NotMade::NoBudget) => {
                return Err(last.unwrap_or_else(|| unavailable("no retry left".to_owned())));
            }
        };
        let outcome = believed(tables, transport, call, attempt, outcome, &log).await;
        tables.learned(trial, &outcome, clock::monotonic(), clock::now());
        let failure = match settle(outcome) {
            Ok(reply) => return Ok(reply),
            Err(unsettled) => unsettled,
        };
        let Some(wait) = wait_before_retry(tables, call, attempt, &failure.outcome) else {
            return Err(failure.failure);
        };
        info!(log, "upstream call will be repeated"; "attempt" => attempt,
            "wait_ms" => u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            "reason" => &failure.failure.reason);
        last = Some(failure.failure);
        tokio::time::sleep(wait).await;
        attempt = attempt.saturating_add(1);
    }
}

/// An outcome that is no reply, and how it is told if it stays the last.
struct Unsettled {
    outcome: Outcome<Value>,
    failure: Failure,
}

fn settle(outcome: Outcome<Value>) -> Result<Reply, Box<Unsettled>> {
    let failure = match &outcome {
        Outcome::Ok(_) => None,
        Outcome::Empty => return Ok(Reply::Empty),
        Outcome::Throttled { wait, reason } => {
            let wait = wait.unwrap_or(UNTOLD_BAN);
            Some(unavailable(format!("throttled: {reason}")).retry_after(Some(wait)))
        }
        Outcome::Transient { reason } => Some(unavailable(reason.clone())),
        Outcome::BadResponse { reason } => Some(unavailable(format!("bad response: {reason}"))),
        Outcome::Permanent { blame, reason } => Some(rejected(*blame, reason)),
    };
    match (outcome, failure) {
        (Outcome::Ok(value), _) => Ok(Reply::Found(value)),
        (outcome, Some(failure)) => Err(Box::new(Unsettled { outcome, failure })),
        (outcome, None) => {
            Err(Box::new(Unsettled { outcome, failure: unavailable(String::new()) }))
        }
    }
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

/// Whether and when to try again. The budget is only looked at: it is spent when the retry is made.
fn wait_before_retry(
    tables: &UpstreamTables,
    call: &Call,
    attempt: u32,
    outcome: &Outcome<Value>,
) -> Option<Duration> {
    if !call.retry || call.priority != Priority::Client {
        return None;
    }
    let now = clock::monotonic();
    let chance = fastrand::f64();
    match retry::decide(&tables.retry, attempt, outcome, chance, now, call.deadline) {
        Retry::After(wait) => (tables.budget.snapshot(now).remaining > 0).then_some(wait),
        Retry::Stop(_) => None,
    }
}

/// An outcome that may mean something else is checked by a question, if there is a retry for it.
async fn believed(
    tables: &UpstreamTables,
    transport: &Transport,
    call: &Call,
    attempt: u32,
    outcome: Outcome<Value>,
    log: &Logger,
) -> Outcome<Value> {
    let Some(request) = tables.protocol.doubt(&call.request, &outcome) else { return outcome };
    let request_id = Arc::clone(&call.request_id);
    let Call { deadline, retry, priority, .. } = *call;
    let question = Call { request, deadline, retry, priority, request_id };
    // As a retry: it is one more call for the same question.
    let told = attempt_once(tables, transport, &question, attempt.saturating_add(1), log).await;
    match told {
        Ok(told) => tables.protocol.resolve(&question.request, outcome, &told),
        Err(_) => outcome,
    }
}

/// Why an attempt was not made.
enum NotMade {
    Refused(Failure),
    NoBudget,
}

impl From<Failure> for NotMade {
    fn from(failure: Failure) -> Self {
        Self::Refused(failure)
    }
}

/// One attempt, or the reason why it was not made.
async fn attempt_once(
    tables: &UpstreamTables,
    transport: &Transport,
    call: &Call,
    attempt: u32,
    log: &Logger,
) -> Result<Outcome<Value>, NotMade> {
    // Nobody queues for an upstream that is left alone.
    verdict::peek(&tables.breaker, clock::monotonic())?;
    let slot = place(tables, call)?;
    if slot.at() > clock::monotonic() {
        tokio::time::sleep_until(slot.at().into()).await;
    }
    let started = clock::monotonic();
    let within = tables.attempt_timeout.min(call.deadline.saturating_duration_since(started));
    if within < LEAST_ATTEMPT {
        let reason = "no time left for an attempt";
        return Err(Failure::new(FailureKind::DeadlineExceeded, reason).into());
    }
    let permit = verdict::admit(&tables.breaker, call.priority, started)?;
    if attempt == 1 {
        slot.start(started, clock::now()).map_err(told)?;
        tables.budget.record_call(started);
    } else {
        let grant = tables.budget.try_retry(started).ok_or(NotMade::NoBudget)?;
        slot.start(started, clock::now()).map_err(told)?;
        grant.made();
        tables.metrics.retried();
    }
    let outcome = exchange(tables, transport, call, within).await;
    let ended = clock::monotonic();
    let (took, slow_after) =
        (ended.saturating_duration_since(started), tables.breaker.slow_after());
    let times = Attempt { took, within, longest: tables.attempt_timeout, slow_after };
    permit.record(verdict::verdict(&outcome, times), ended);
    if let Outcome::Throttled { wait, .. } = &outcome {
        tables.pacing.ban(ended, wait.unwrap_or(UNTOLD_BAN));
    }
    report(tables, call, attempt, &outcome, took, log);
    if ended >= call.deadline
        && let Outcome::Transient { reason } = &outcome
    {
        // The request's time was over, not the attempt's own.
        return Err(Failure::new(FailureKind::DeadlineExceeded, reason.clone()).into());
    }
    Ok(outcome)
}

/// A place in the outbound pace; a call that nobody waits for takes a spare one or none.
fn place(tables: &UpstreamTables, call: &Call) -> Result<Slot, Failure> {
    let (now, wall) = (clock::monotonic(), clock::now());
    match call.priority {
        Priority::Client => tables.pacing.reserve(now, wall, call.deadline).map_err(told),
        background @ (Priority::Refresh | Priority::Warming) => {
            tables.pacing.reserve_spare(background, now, wall).map_err(|refused| {
                tables.metrics.background_refused(background.label(), refused.reason.as_str());
                told(refused)
            })
        }
    }
}

fn told(refused: pacing::Refused) -> Failure {
    let reason = format!("not sent: {}", refused.reason.as_str());
    let kind = match refused.reason {
        pacing::Reason::QueueFull | pacing::Reason::Deadline | pacing::Reason::KeptForClients => {
            FailureKind::Overloaded
        }
        pacing::Reason::Banned { .. } | pacing::Reason::BudgetSpent { .. } => {
            FailureKind::UpstreamUnavailable
        }
    };
    Failure::new(kind, reason).retry_after(Some(refused.retry_after))
}

async fn exchange(
    tables: &UpstreamTables,
    transport: &Transport,
    call: &Call,
    within: Duration,
) -> Outcome<Value> {
    let sent_at = clock::now();
    let signed = tables.protocol.sign(&call.request, sent_at);
    match transport.post(signed, within).await {
        Ok(mut answer) => {
            answer.sent_at = sent_at;
            answer.received_at = clock::now();
            reading::interpret(&tables.protocol, &call.request, answer).await
        }
        Err(fault @ TransportFault::TooLarge(_)) => {
            Outcome::BadResponse { reason: fault.to_string() }
        }
        Err(fault) => Outcome::Transient { reason: fault.to_string() },
    }
}

fn report(
    tables: &UpstreamTables,
    call: &Call,
    attempt: u32,
    outcome: &Outcome<Value>,
    took: Duration,
    log: &Logger,
) {
    tables.metrics.called(call.request.method, outcome.label(), took);
    if let Some(left) = tables.pacing.snapshot(clock::monotonic(), clock::now()).budget_remaining {
        tables.metrics.budget_remaining(left);
    }
    let took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    match outcome {
        Outcome::Ok(_) | Outcome::Empty => debug!(log, "upstream answered";
            "outcome" => outcome.label(), "attempt" => attempt, "duration_ms" => took_ms),
        Outcome::Throttled { reason, .. }
        | Outcome::Transient { reason }
        | Outcome::Permanent { reason, .. }
        | Outcome::BadResponse { reason } => warn!(log, "upstream call failed";
            "outcome" => outcome.label(), "attempt" => attempt, "duration_ms" => took_ms,
            "reason" => reason),
    }
}
