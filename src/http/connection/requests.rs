//! The requests of one connection.
//!
//! How many have begun, the context of the one that is being served (HTTP/1.1 serves them one by one),
//! and whether its body is at its end. The stream and the requests that are read from it share this on
//! one thread; neither sees it otherwise.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::http::context::RequestContext;

#[derive(Debug, Default)]
pub struct Requests {
    begun: Cell<u64>,
    serving: RefCell<Option<Rc<RequestContext>>>,
    /// The body of the last one comes in chunks and was not read to its end.
    open_body: Cell<bool>,
    /// The server gave one up before there was an answer.
    abandoned: Cell<bool>,
}

impl Requests {
    /// A request is being served until what this gives is dropped.
    #[must_use]
    pub fn begin(self: &Rc<Self>, in_chunks: bool, context: &Rc<RequestContext>) -> Serving {
        self.open_body.set(in_chunks);
        self.begun.set(self.begun.get().wrapping_add(1));
        self.serving.replace(Some(Rc::clone(context)));
        Serving { requests: Rc::clone(self), answered: false }
    }

    /// The context of the request that is being served.
    #[must_use]
    pub fn context(&self) -> Option<Rc<RequestContext>> {
        self.serving.borrow().clone()
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
        self.serving.borrow().is_some()
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
        self.requests.serving.take();
        if !self.answered {
            self.requests.abandoned.set(true);
        }
    }
}
