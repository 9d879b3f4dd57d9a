//! What happened on the way of a request: steps, each with its stage, verdict and time.
//!
//! Owns: the closed vocabulary, and the list that a request shares with the load and the calls made for
//! it, on whatever thread. Only paths that wait for something write here: an answer from memory is
//! told from the answer itself. When the request is answered the list is closed; what goes on behind it
//! is not the request's any more. Bounded: what does not fit is left out, but for the last step.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;
use utoipa::ToSchema;

use crate::clock;

/// Steps of a request at most.
const MOST: usize = 48;
/// Longest detail, in bytes.
const LONGEST: usize = 200;

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

#[derive(Debug, Default)]
struct List {
    steps: Vec<Step>,
    closed: bool,
}

#[derive(Debug)]
struct Noted {
    request_id: Arc<str>,
    list: Mutex<List>,
}

/// The steps of one request; all clones are the same list. By default nobody listens.
#[derive(Debug, Clone, Default)]
pub struct Steps(Option<Arc<Noted>>);

impl Steps {
    #[must_use]
    pub fn of(request_id: &Arc<str>) -> Self {
        let request_id = Arc::clone(request_id);
        Self(Some(Arc::new(Noted { request_id, list: Mutex::default() })))
    }

    #[must_use]
    pub fn request_id(&self) -> Option<&Arc<str>> {
        Some(&self.0.as_ref()?.request_id)
    }

    /// Notes a step that ends now where somebody listens; `detail` is made only then.
    pub fn note<D: Into<Cow<'static, str>>>(
        &self,
        stage: Stage,
        verdict: Verdict,
        detail: impl FnOnce() -> D,
    ) {
        let Some(noted) = &self.0 else { return };
        let detail = bounded(detail().into());
        let step = Step { at: clock::monotonic(), stage, verdict, detail };
        let mut list = noted.lock();
        if list.closed {
            return;
        }
        if list.steps.len() >= MOST {
            list.steps.pop();
        }
        list.steps.push(step);
    }

    /// What was noted; nothing is noted after it.
    #[must_use]
    pub fn close(&self) -> Vec<Step> {
        let Some(noted) = &self.0 else { return Vec::new() };
        let mut list = noted.lock();
        list.closed = true;
        std::mem::take(&mut list.steps)
    }
}

impl Noted {
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
        let steps = Steps::of(&"id".into());
        for number in 0..100 {
            steps.note(Stage::Attempt, Verdict::Retried, || number.to_string());
        }
        steps.note(Stage::Attempt, Verdict::Failed, || format!("a\u{1b}\n{}", "ä".repeat(500)));
        let noted = steps.close();
        let last = noted.last().unwrap();
        assert_eq!((noted.len(), last.verdict), (MOST, Verdict::Failed));
        assert!(last.detail.len() <= LONGEST && last.detail.starts_with("a  ä"));
        steps.note(Stage::Store, Verdict::Stored, || "too late");
        assert!(steps.close().is_empty(), "what goes on behind the answer is not noted");
    }
}
