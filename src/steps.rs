//! What happened on the way of a request: steps, each with its stage, verdict and time.
//!
//! Owns: the closed vocabulary, and the lists that a request shares with the load and the calls made for
//! it, on whatever thread: its steps, and the attempts at an upstream where its trace is exported. Only
//! paths that wait for something write here: an answer from memory is described from the answer itself.
//! When the request is answered the lists are closed; what goes on behind it
//! is not the request's any more. Bounded: what does not fit is left out, but for the last step.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;
use utoipa::ToSchema;

use crate::clock;
use crate::trace::{SpanId, Trace};

/// Steps of a request at most.
const MOST: usize = 48;
/// Longest detail, in bytes.
const LONGEST: usize = 200;
/// Attempts at an upstream at most.
const MOST_ATTEMPTS: usize = 32;

/// A part of the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    Connection,
    Limit,
    Access,
    Memory,
    Flight,
    Redis,
    Database,
    Credential,
    Pace,
    Breaker,
    Attempt,
    Store,
    Render,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Passed,
    Hit,
    Stale,
    Miss,
    Joined,
    Refused,
    Failed,
    Retried,
    Bypassed,
    Stored,
}

impl Verdict {
    /// Whether it says why there is nothing better.
    #[must_use]
    pub const fn is_bad(self) -> bool {
        matches!(self, Self::Refused | Self::Failed)
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub at: Instant,
    pub stage: Stage,
    pub verdict: Verdict,
    pub detail: Cow<'static, str>,
}

/// One attempt at an upstream, a span of the request's trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    pub span: SpanId,
    pub operation: &'static str,
    pub account: &'static str,
    /// The first of a call is number 1.
    pub number: u32,
    pub started: Instant,
    /// When, with which outcome, and whether that is a failure; `None`: it was under way when the request
    /// was answered.
    pub ended: Option<(Instant, &'static str, bool)>,
}

/// What was noted of a request.
#[derive(Debug, Default)]
pub struct Noted {
    pub steps: Vec<Step>,
    pub attempts: Vec<Attempt>,
}

#[derive(Debug, Default)]
struct List {
    noted: Noted,
    closed: bool,
}

#[derive(Debug)]
struct OfRequest {
    request_id: Arc<str>,
    trace: Trace,
    list: Mutex<List>,
}

/// The steps of one request; all clones are the same list. By default nobody listens.
#[derive(Debug, Clone, Default)]
pub struct Steps(Option<Arc<OfRequest>>);

impl Steps {
    #[must_use]
    pub fn of(request_id: &Arc<str>, trace: &Trace) -> Self {
        let (request_id, trace) = (Arc::clone(request_id), trace.clone());
        Self(Some(Arc::new(OfRequest { request_id, trace, list: Mutex::default() })))
    }

    #[must_use]
    pub fn request_id(&self) -> Option<&Arc<str>> {
        Some(&self.0.as_ref()?.request_id)
    }

    /// The trace of the request.
    #[must_use]
    pub fn trace(&self) -> Option<&Trace> {
        Some(&self.0.as_ref()?.trace)
    }

    /// Notes a step that ends now where somebody listens; `detail` is made only then.
    pub fn note<D: Into<Cow<'static, str>>>(
        &self,
        stage: Stage,
        verdict: Verdict,
        detail: impl FnOnce() -> D,
    ) {
        let Some(request) = &self.0 else { return };
        let detail = bounded(detail().into());
        let step = Step { at: clock::monotonic(), stage, verdict, detail };
        let mut list = request.lock();
        if list.closed {
            return;
        }
        let steps = &mut list.noted.steps;
        if steps.len() >= MOST {
            steps.pop();
        }
        steps.push(step);
    }

    /// Notes an attempt that begins, where it may be exported.
    pub fn begin(&self, attempt: impl FnOnce() -> Attempt) {
        let Some(request) = self.0.as_ref().filter(|request| request.trace.sampled) else { return };
        let mut list = request.lock();
        if !list.closed && list.noted.attempts.len() < MOST_ATTEMPTS {
            list.noted.attempts.push(attempt());
        }
    }

    /// Notes how the attempt of a span ended.
    pub fn end(&self, span: SpanId, ended: (Instant, &'static str, bool)) {
        let Some(request) = self.0.as_ref().filter(|request| request.trace.sampled) else { return };
        let mut list = request.lock();
        let mut attempts = list.noted.attempts.iter_mut();
        if let Some(attempt) = attempts.find(|attempt| attempt.span == span) {
            attempt.ended = Some(ended);
        }
    }

    /// What was noted; nothing is noted after it.
    #[must_use]
    pub fn close(&self) -> Noted {
        let Some(request) = &self.0 else { return Noted::default() };
        let mut list = request.lock();
        list.closed = true;
        std::mem::take(&mut list.noted)
    }
}

impl OfRequest {
    fn lock(&self) -> MutexGuard<'_, List> {
        // A list is whole after every change.
        self.list.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A text as far as a step shows it: in one line, without what a terminal might obey.
fn bounded(text: Cow<'static, str>) -> Cow<'static, str> {
    if text.len() <= LONGEST && !text.contains(char::is_control) {
        return text;
    }
    let kept = text.get(..text.floor_char_boundary(LONGEST)).unwrap_or_default();
    Cow::Owned(kept.replace(char::is_control, " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_bounded_and_keeps_its_last_step() {
        let steps = Steps::of(&"id".into(), &Trace::alone(|| 1));
        for number in 0..100 {
            steps.note(Stage::Attempt, Verdict::Retried, || number.to_string());
        }
        steps.note(Stage::Attempt, Verdict::Failed, || format!("a\u{1b}\n{}", "ä".repeat(500)));
        let noted = steps.close().steps;
        let last = noted.last().unwrap();
        assert_eq!((noted.len(), last.verdict), (MOST, Verdict::Failed));
        assert!(last.detail.len() <= LONGEST && last.detail.starts_with("a  ä"));
        steps.note(Stage::Store, Verdict::Stored, || "too late");
        assert!(steps.close().steps.is_empty(), "what goes on behind the answer is not noted");
    }

    #[test]
    fn attempts_are_noted_where_they_may_be_exported() {
        let now = clock::monotonic();
        let attempt = |number: u32| Attempt {
            span: SpanId::new(number.into()),
            operation: "o",
            account: "a",
            number,
            started: now,
            ended: None,
        };
        for sampled in [true, false] {
            let trace = Trace { sampled, ..Trace::alone(|| 1) };
            let steps = Steps::of(&"id".into(), &trace);
            for number in 1..=40 {
                steps.begin(|| attempt(number));
            }
            steps.end(SpanId::new(2), (now, "ok", false));
            let attempts = steps.close().attempts;
            assert_eq!(attempts.len(), if sampled { MOST_ATTEMPTS } else { 0 });
            let ended: Vec<_> = attempts.iter().filter(|one| one.ended.is_some()).collect();
            assert_eq!(ended.len(), usize::from(sampled));
            steps.begin(|| attempt(1));
            assert!(steps.close().attempts.is_empty());
        }
    }
}
