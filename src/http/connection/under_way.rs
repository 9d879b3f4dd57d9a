//! What is under way on one connection.
//!
//! Owns: the number of requests begun, the one that is being served, and whether its body is at its
//! end. The stream and the requests read from it share it, on one thread; neither can see it
//! otherwise.

use std::cell::Cell;
use std::rc::Rc;

/// What is under way.
#[derive(Debug, Default)]
pub struct UnderWay {
    begun: Cell<u64>,
    serving: Cell<u32>,
    body: Cell<Body>,
    /// The server gave one up before there was an answer.
    abandoned: Cell<bool>,
}

/// The body of the request that began last.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Body {
    /// There is none, or all of it was read.
    #[default]
    Ended,
    /// Nobody has come to its end.
    Open,
    /// Where it ends can never be known.
    Broken,
}

impl UnderWay {
    /// A request is being served until what this gives is dropped. A body that comes in chunks has an
    /// end that only reading finds.
    #[must_use]
    pub fn begin(self: &Rc<Self>, in_chunks: bool) -> Serving {
        self.body.set(if in_chunks { Body::Open } else { Body::Ended });
        self.begun.set(self.begun.get().wrapping_add(1));
        self.serving.set(self.serving.get().saturating_add(1));
        Serving { of: Rc::clone(self), is_answered: false }
    }

    /// The body of the request that is being served was read to its end.
    pub fn body_ended(&self) {
        self.body.set(Body::Ended);
    }

    /// It cannot be read to its end, and so nothing behind it can be.
    pub fn body_broken(&self) {
        self.body.set(Body::Broken);
    }

    /// Whether what comes may still belong to the request that began last.
    #[must_use]
    pub fn has_open_body(&self) -> bool {
        self.body.get() != Body::Ended
    }

    /// Whether the server gave a request up that it has never answered.
    #[must_use]
    pub fn has_abandoned(&self) -> bool {
        self.abandoned.get()
    }

    /// Requests begun so far.
    #[must_use]
    pub fn begun(&self) -> u64 {
        self.begun.get()
    }

    /// Whether one is being served.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        self.serving.get() > 0
    }
}

/// A request that is being served.
#[derive(Debug)]
pub struct Serving {
    of: Rc<UnderWay>,
    is_answered: bool,
}

impl Serving {
    /// It has its answer. Says whether that must be the last of the connection: the body cannot be
    /// read to its end.
    pub fn answered(mut self) -> bool {
        self.is_answered = true;
        self.of.body.get() == Body::Broken
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.of.serving.set(self.of.serving.get().saturating_sub(1));
        if !self.is_answered {
            self.of.abandoned.set(true);
        }
    }
}
