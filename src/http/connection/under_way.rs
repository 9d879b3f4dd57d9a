//! What is under way on one connection.
//!
//! Owns: the number of requests begun and the one that is being served. The stream and the requests
//! read from it share it, on one thread; neither can see it otherwise.

use std::cell::Cell;
use std::rc::Rc;

/// What is under way.
#[derive(Debug, Default)]
pub struct UnderWay {
    begun: Cell<u64>,
    serving: Cell<u32>,
}

impl UnderWay {
    /// A request is being served until what this gives is dropped.
    #[must_use]
    pub fn begin(self: &Rc<Self>) -> Serving {
        self.begun.set(self.begun.get().wrapping_add(1));
        self.serving.set(self.serving.get().saturating_add(1));
        Serving(Rc::clone(self))
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
pub struct Serving(Rc<UnderWay>);

impl Drop for Serving {
    fn drop(&mut self) {
        self.0.serving.set(self.0.serving.get().saturating_sub(1));
    }
}
