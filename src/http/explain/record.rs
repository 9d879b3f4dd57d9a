//! One request that was kept, and its way as an operator reads it.
//!
//! Owns: which requests are kept under which outcome; and the steps that are derived from the answer
//! itself, because no stop of a quick way notes any: the limit, the tier that answered, and what
//! refused. Pure.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use utoipa::ToSchema;

use crate::cache::Tier;
use crate::clock::Timestamp;
use crate::http::error::ErrorCode;
use crate::http::served::Source;
use crate::limits::RuleKind;
use crate::steps::{Stage, Step, Verdict};

/// Under what a request is kept: the first that is true of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was answered with 4xx, or before anything was done for it.
    Refused,
    /// It was answered with 5xx.
    Failed,
    Stale,
    Slow,
    /// The upstream was asked for it, or another tier than memory.
    Upstream,
    Hit,
    /// An answer of the gateway itself, which is not kept.
    #[serde(skip)]
    Own,
}

impl Outcome {
    pub const ALL: [Self; 6] =
        [Self::Refused, Self::Failed, Self::Stale, Self::Slow, Self::Upstream, Self::Hit];
    pub const WORDS: [&'static str; 6] = ["refused", "failed", "stale", "slow", "upstream", "hit"];

    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        let at = Self::WORDS.iter().position(|known| *known == word)?;
        Self::ALL.get(at).copied()
    }

    #[must_use]
    pub fn as_str(self) -> &'static str {
        let at = Self::ALL.iter().position(|one| *one == self);
        at.and_then(|at| Self::WORDS.get(at)).copied().unwrap_or("own")
    }

    #[must_use]
    pub const fn of(status: u16, source: Option<&Source>, noted: bool, slow: bool) -> Self {
        match source {
            _ if status >= 500 => Self::Failed,
            _ if status >= 400 => Self::Refused,
            Some(source) if source.stale => Self::Stale,
            _ if slow => Self::Slow,
            _ if noted => Self::Upstream,
            Some(Source { tier: Tier::Memory, .. }) => Self::Hit,
            Some(_) => Self::Upstream,
            None => Self::Own,
        }
    }
}

/// What the rate limit said: the class of the route, and the rule that refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limited {
    pub class: &'static str,
    pub refused_by: Option<RuleKind>,
    /// When it was known, if others were asked.
    pub at: Option<Instant>,
}

#[derive(Debug, Clone)]
pub struct Record {
    pub outcome: Outcome,
    pub request_id: Arc<str>,
    /// When it came.
    pub at: Timestamp,
    pub started: Instant,
    pub duration: Duration,
    pub method: &'static str,
    pub route: &'static str,
    pub status: u16,
    pub code: Option<ErrorCode>,
    /// What an error says of itself in the log.
    pub cause: Option<Box<str>>,
    pub source: Option<Source>,
    pub limited: Option<Limited>,
    pub noted: Vec<Step>,
}

/// A step on the way of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct StepShown {
    /// Microseconds since the request came. A step that waits for nobody has the time of the start or
    /// of the answer.
    #[schema(minimum = 0)]
    pub at_us: u64,
    pub stage: Stage,
    pub verdict: Verdict,
    #[schema(value_type = String)]
    pub detail: Cow<'static, str>,
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl Record {
    /// Bytes that it takes, about.
    pub(super) fn bytes(&self) -> usize {
        let owned = |step: &Step| match &step.detail {
            Cow::Borrowed(_) => 0,
            Cow::Owned(text) => text.capacity(),
        };
        let steps = self.noted.capacity().saturating_mul(size_of::<Step>());
        let details: usize = self.noted.iter().map(owned).sum();
        let texts = self.request_id.len().saturating_add(self.cause.as_deref().map_or(0, str::len));
        size_of::<Self>().saturating_add(steps).saturating_add(details).saturating_add(texts)
    }

    pub(super) fn steps(&self) -> Vec<StepShown> {
        let since = |at: Instant| micros(at.saturating_duration_since(self.started));
        let mut steps = Vec::with_capacity(self.noted.len().saturating_add(2));
        if let Some(Limited { class, refused_by, at }) = self.limited {
            let (verdict, detail) = match refused_by {
                None => (Verdict::Passed, Cow::Borrowed(class)),
                Some(rule) => {
                    let (rule, words) = (rule.as_str(), rule.in_words());
                    (Verdict::Refused, Cow::Owned(format!("{class}-{rule}: {words}")))
                }
            };
            steps.push(StepShown {
                at_us: at.map_or(0, since),
                stage: Stage::Limit,
                verdict,
                detail,
            });
        }
        steps.extend(self.noted.iter().map(|step| StepShown {
            at_us: since(step.at),
            stage: step.stage,
            verdict: step.verdict,
            detail: step.detail.clone(),
        }));
        if let Some((stage, verdict, detail)) = self.last(steps.last()) {
            steps.push(StepShown { at_us: micros(self.duration), stage, verdict, detail });
        }
        steps
    }

    /// The step that decided, unless it was noted.
    fn last(&self, noted: Option<&StepShown>) -> Option<(Stage, Verdict, Cow<'static, str>)> {
        if let Some(code) = self.code {
            if noted.is_some_and(|last| last.verdict.is_bad()) {
                return None;
            }
            let (stage, verdict) =
                decided(code, noted.is_some_and(|last| last.verdict == Verdict::Joined));
            let usual = code.sentence().trim_end_matches('.');
            let detail = self.cause.as_deref().unwrap_or(usual);
            return Some((stage, verdict, detail.to_owned().into()));
        }
        let source = self.source?;
        let stage = source.tier.stage();
        let is_noted = self.noted.last().is_some();
        match stage {
            Some(stage) if source.stale => {
                let past = source.ttl_seconds.unsigned_abs();
                let detail = format!("{past} s past its fresh time");
                Some((stage, Verdict::Stale, detail.into()))
            }
            Some(stage) => {
                let is_told = is_noted
                    && noted
                        .is_some_and(|last| last.stage == stage || last.verdict == Verdict::Joined);
                let detail = format!("fresh for {} s more", source.ttl_seconds.max(0));
                (!is_told).then(|| (stage, Verdict::Hit, detail.into()))
            }
            None if is_noted => None,
            None => Some((Stage::Attempt, Verdict::Passed, "".into())),
        }
    }
}

/// The stop that answers with an error of this code, where it notes nothing itself.
const fn decided(code: ErrorCode, joined: bool) -> (Stage, Verdict) {
    match code {
        ErrorCode::RateLimited | ErrorCode::AbuseThrottled => (Stage::Limit, Verdict::Refused),
        ErrorCode::Blocked | ErrorCode::Forbidden | ErrorCode::KeyRequired => {
            (Stage::Access, Verdict::Refused)
        }
        ErrorCode::UpstreamRejected
        | ErrorCode::UpstreamUnavailable
        | ErrorCode::CircuitOpen
        | ErrorCode::DeadlineExceeded
            if joined =>
        {
            (Stage::Flight, Verdict::Failed)
        }
        ErrorCode::UpstreamRejected
        | ErrorCode::UpstreamUnavailable
        | ErrorCode::DeadlineExceeded => (Stage::Attempt, Verdict::Failed),
        ErrorCode::CircuitOpen => (Stage::Breaker, Verdict::Refused),
        ErrorCode::Internal => (Stage::Render, Verdict::Failed),
        ErrorCode::NotFound | ErrorCode::Unprocessable => (Stage::Render, Verdict::Refused),
        ErrorCode::InvalidRequest
        | ErrorCode::MethodNotAllowed
        | ErrorCode::RequestTimeout
        | ErrorCode::BodyTooLarge
        | ErrorCode::UnsupportedMediaType
        | ErrorCode::Overloaded => (Stage::Connection, Verdict::Refused),
    }
}

#[cfg(test)]
#[path = "record_tests.rs"]
pub(super) mod tests;
