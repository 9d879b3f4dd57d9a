//! A call that the origin's actor is asked to make: the question, who it is for, and until when.
//!
//! Owns: the message. What becomes of it is `course`.

use std::sync::Arc;
use std::time::Instant;

use actix::Message;

use super::{Origin, Payer, Priority, refusal};
use crate::failure::Failure;
use crate::steps::{Steps, Verdict};
use crate::trace::{Ids, Trace};

/// What the upstream answered; `None`: it has nothing.
pub type Reply<O> = Option<<O as Origin>::Payload>;

pub struct Call<O: Origin> {
    pub question: O::Question,
    pub deadline: Instant,
    pub retry: bool,
    /// Only calls for a client are repeated and wait for their turn.
    pub priority: Priority,
    /// The client without a key that it is for; `None`: it is for another, or for none.
    pub payer: Option<Payer>,
    pub request_id: Arc<str>,
    /// Where its steps are noted.
    pub steps: Steps,
    /// Its attempts are spans of this trace.
    pub trace: Trace,
}

impl<O: Origin> Call<O> {
    /// A call that may be repeated and that no request is named for.
    pub fn new(question: O::Question, priority: Priority, deadline: Instant) -> Self {
        let (payer, request_id, steps) = (None, "".into(), Steps::default());
        let trace = Trace::alone(|| fastrand::u64(..));
        Self { question, deadline, retry: true, priority, payer, request_id, steps, trace }
    }

    /// The same call for a request with these steps. It belongs to the request's trace if a client waits for
    /// it; what is loaded in the background has a trace of its own.
    #[must_use]
    pub fn of_request(mut self, request_id: Arc<str>, steps: Steps) -> Self {
        if let Some(trace) = steps.trace().filter(|_| self.priority == Priority::Client) {
            self.trace = trace.clone();
        }
        Self { request_id, steps, ..self }
    }

    /// For the log lines of the call as a whole.
    pub fn ids(&self) -> Ids {
        self.trace.ids(&self.request_id, self.trace.span)
    }

    /// It is not made, or not again.
    pub(super) fn note_refused(&self, failure: &Failure) {
        let reason = || failure.reason.clone();
        self.steps.note(refusal::stage(failure), Verdict::Refused, reason);
    }
}

impl<O: Origin> Message for Call<O> {
    type Result = Result<Reply<O>, Failure>;
}
