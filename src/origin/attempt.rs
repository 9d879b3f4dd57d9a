//! One attempt: the request goes out, and its answer is read.
//!
//! Owns: the counts and log line of an attempt. Whatever goes wrong on the wire is an outcome; when
//! the upstream hangs, the attempt ends with its time.

use std::time::Duration;

use slog::{Logger, debug, warn};

use super::credentials::Credential;
use super::state::OriginState;
use super::transport::{Transport, TransportFault};
use super::{Answer, Origin, Outcome};

/// Asks with the origin of the credential at `index`.
pub(super) async fn ask<O: Origin, T: Transport>(
    origins: &[O],
    transport: &T,
    index: usize,
    question: &O::Question,
    within: Duration,
) -> Outcome<O::Payload> {
    let Some(origin) = origins.get(index) else {
        return Outcome::Transient { reason: "no origin for the credential".to_owned() };
    };
    let sent_at = transport.wall();
    match transport.send(origin.request(question, sent_at), within).await {
        Ok(answer) => {
            let answer = Answer { sent_at, received_at: transport.wall(), ..answer };
            origin.interpret(question, &answer)
        }
        Err(fault @ TransportFault::TooLarge(_)) => {
            Outcome::BadResponse { reason: fault.to_string() }
        }
        Err(fault) => Outcome::Transient { reason: fault.to_string() },
    }
}

/// Counts and logs an attempt at an operation; the first is number 1.
pub(super) fn report<T>(
    state: &OriginState,
    log: &Logger,
    credential: &Credential,
    (operation, number): (&'static str, u32),
    outcome: &Outcome<T>,
    took: Duration,
) {
    state.metrics.calls.at([operation, outcome.label()]).inc();
    state.metrics.duration.observe(took);
    state.metrics.calls_by_account.at([credential.name, outcome.label()]).inc();
    match outcome {
        Outcome::Ok(_) | Outcome::Empty => debug!(log, "upstream answered";
            "account" => credential.name, "outcome" => outcome.label(), "attempt" => number,
            "duration_ms" => millis(took)),
        Outcome::Throttled { reason, .. }
        | Outcome::Transient { reason }
        | Outcome::Permanent { reason, .. }
        | Outcome::BadResponse { reason } => warn!(log, "upstream call failed";
            "account" => credential.name, "outcome" => outcome.label(), "attempt" => number,
            "duration_ms" => millis(took), "reason" => reason),
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
