//! The requests of one connection.
//!
//! How many have begun, whether one is being served, and whether its body is at its end. The stream
//! and the requests that are read from it share this on one thread; neither sees it otherwise.

use std::cell::Cell;
use std::rc::Rc;

#[derive(Debug, Default)]
pub struct Requests {
    begun: Cell<u64>,
    serving: Cell<u32>,
    /// The body of the last one comes in chunks and was not read to its end.
    open_body: Cell<bool>,
    /// The server gave one up before there was an answer.
    abandoned: Cell<bool>,
}

impl Requests {
    /// A request is being served until what this gives is dropped.
    #[must_use]
    pub fn begin(self: &Rc<Self>, in_chunks: bool) -> Serving {
        self.open_body.set(in_chunks);
        self.begun.set(self.begun.get().wrapping_add(1));
        self.serving.set(self.serving.get().saturating_add(1));
        Serving { requests: Rc::clone(self), answered: false }
    }

    /// The body of the request that is being served was read to its end.
    pub fn body_ended(&self) {
        self.open_body.set(false);
    }

    /// Whether what comes may still belong to the last request.
    #[must_use]
    pub fn has_open_body(&self) -> bool {
        self.open_body.get()
    }

    pub(super) fn has_abandoned(&self) -> bool {
        self.abandoned.get()
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun.get()
    }

    pub(super) fn is_serving(&self) -> bool {
        self.serving.get() > 0
    }
}

/// A request that is being served.
#[derive(Debug)]
pub struct Serving {
    requests: Rc<Requests>,
    answered: bool,
}

impl Serving {
    /// Its answer is there. True if that must be the last of the connection, because nobody knows
    /// where the body ends.
    pub fn answered(mut self) -> bool {
        self.answered = true;
        self.requests.has_open_body()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.requests.serving.set(self.requests.serving.get().saturating_sub(1));
        if !self.answered {
            self.requests.abandoned.set(true);
        }
    }
}
