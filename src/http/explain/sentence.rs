//! What became of a request, in one sentence for a person.
//!
//! Owns: the words. Pure: of the record and its steps.

use super::record::{Outcome, Record, StepShown};
use crate::cache::Tier;
use crate::failure::FailureKind;
use crate::http::error::ErrorCode;
use crate::http::served::Source;
use crate::steps::{Stage, Verdict};

pub(super) fn of(record: &Record, steps: &[StepShown]) -> String {
    let mut sentence = match (record.code, record.source) {
        (Some(code), _) => refused(record, code, steps),
        (None, Some(source)) => answered(&source, steps),
        (None, None) if steps.iter().any(|step| step.stage == Stage::Attempt) => {
            "Answered by the upstream, past the cache".to_owned()
        }
        (None, None) => format!("Answered with {} by the gateway itself", record.status),
    };
    if record.outcome == Outcome::Slow {
        sentence.push_str(&slow(record, steps));
    }
    sentence.push('.');
    sentence
}

fn answered(source: &Source, steps: &[StepShown]) -> String {
    let from = match source.tier {
        Tier::Memory => "Answered from memory",
        Tier::Redis => "Answered from Redis",
        Tier::Database => "Answered from the database",
        Tier::Upstream if source.collapsed => "Answered by the load of another request",
        Tier::Upstream => "Answered by the upstream",
    };
    let retries = steps.iter().filter(|step| step.verdict == Verdict::Retried).count();
    let seconds = source.ttl_seconds;
    if source.stale {
        let past = seconds.unsigned_abs();
        let why = match (bad(steps), source.held) {
            (Some(step), _) => format!("because {}", because(step)),
            (None, Some(held)) => format!("because {}", of_kind(held)),
            (None, None) => "while it is renewed".to_owned(),
        };
        return format!("{from}, {past} s past its fresh time, {why}");
    }
    match (source.tier, retries) {
        (Tier::Upstream, 0) => from.to_owned(),
        (Tier::Upstream, 1) => format!("{from}, after one retry"),
        (Tier::Upstream, retries) => format!("{from}, after {retries} retries"),
        (Tier::Memory | Tier::Redis | Tier::Database, _) => {
            format!("{from}, fresh for {} s more", seconds.max(0))
        }
    }
}

fn refused(record: &Record, code: ErrorCode, steps: &[StepShown]) -> String {
    let word = if record.outcome == Outcome::Failed { "Failed" } else { "Refused" };
    let why = match (code, bad(steps)) {
        (ErrorCode::Blocked, _) => "the client is on the deny list".to_owned(),
        (ErrorCode::AbuseThrottled, Some(step)) => {
            format!("the client is throttled for abuse: {}", step.detail)
        }
        (_, Some(step)) => because(step),
        (_, None) => code.as_str().to_owned(),
    };
    format!("{word} with {}, because {why}", record.status)
}

/// The last step that says why there is nothing better.
fn bad(steps: &[StepShown]) -> Option<&StepShown> {
    steps.iter().rev().find(|step| step.verdict.is_bad())
}

fn because(step: &StepShown) -> String {
    let detail = step.detail.trim_end_matches('.');
    match (step.stage, step.verdict) {
        (Stage::Connection, _) => format!("of the request itself: {detail}"),
        (Stage::Limit, _) => format!("the client's limit is used up ({detail})"),
        (Stage::Access, _) => format!("the client may not do this ({detail})"),
        (Stage::Flight, Verdict::Refused) => detail.to_owned(),
        (Stage::Flight, _) => format!("the load it joined failed: {detail}"),
        (Stage::Memory, _) => format!("memory failed ({detail})"),
        (Stage::Redis, _) => "Redis did not answer".to_owned(),
        (Stage::Database, _) => "the database did not answer".to_owned(),
        (Stage::Credential, _) => format!("the upstream's account cannot be used: {detail}"),
        (Stage::Pace, _) => format!("the upstream could not be asked: {detail}"),
        (Stage::Breaker, _) => detail.to_owned(),
        (Stage::Attempt, Verdict::Refused) => format!("the upstream could not be asked: {detail}"),
        (Stage::Attempt, _) => format!("the upstream failed: {detail}"),
        (Stage::Store, _) => format!("it could not be stored ({detail})"),
        (Stage::Render, _) => format!("no answer could be made: {detail}"),
    }
}

const fn of_kind(kind: FailureKind) -> &'static str {
    match kind {
        FailureKind::CircuitOpen => "the upstream's breaker is open",
        FailureKind::UpstreamUnavailable => "the upstream fails",
        FailureKind::UpstreamRejected => "the upstream refuses our requests",
        FailureKind::DeadlineExceeded => "the upstream does not answer in time",
        FailureKind::Overloaded => "the upstream takes no more calls just now",
        FailureKind::ShareSpent => "the client has had its share of the upstream's day",
        FailureKind::KeptForKeys => "the rest of the upstream's day is kept for keys",
        FailureKind::NotStored => "the request asks for nothing else",
        FailureKind::Internal => "a load died",
    }
}

/// Where the time went: the step before which the longest time passed.
fn slow(record: &Record, steps: &[StepShown]) -> String {
    let took = record.duration.as_millis();
    let before = std::iter::once(0).chain(steps.iter().map(|step| step.at_us));
    let gaps =
        steps.iter().zip(before).map(|(step, before)| (step.at_us.saturating_sub(before), step));
    match gaps.max_by_key(|(gap, _)| *gap) {
        Some((gap, step)) if !step.verdict.is_bad() => {
            format!("; it took {took} ms, {} of them until {}", gap / 1_000, word(step.stage))
        }
        Some(_) | None => format!("; it took {took} ms"),
    }
}

const fn word(stage: Stage) -> &'static str {
    match stage {
        Stage::Connection => "the request was read",
        Stage::Limit => "its limit was known",
        Stage::Access => "it was admitted",
        Stage::Memory => "memory answered",
        Stage::Flight => "its load began",
        Stage::Redis => "Redis answered",
        Stage::Database => "the database answered",
        Stage::Credential => "an account was chosen",
        Stage::Pace => "its turn at the upstream came",
        Stage::Breaker => "the breaker let it pass",
        Stage::Attempt => "the upstream answered",
        Stage::Store => "it was stored",
        Stage::Render => "it was written",
    }
}
