//! The door of one worker: who is let in when there is too much.
//!
//! Owns: how many requests are inside, the worker's [`Queue`], and what was refused lately. A request
//! that is let in costs two comparisons: no lock, no allocation, no look at the clock. Refuses:
//! requests beyond a bound of those inside, requests that bring a body beyond half of it (so that slow
//! senders cannot take every place), and a share of all while a queue stands. Needs no neighbour;
//! without its ticker it keeps its last judgement.

mod lags;
mod queue;
mod refusals;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use lags::Lags;
pub use queue::{Queue, TICK};
use refusals::Refusals;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// A queue stands.
    Lag,
    /// Too many are inside.
    InFlight,
}

impl Reason {
    /// The word in metrics and log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lag => "lag",
            Self::InFlight => "in_flight",
        }
    }
}

/// With fewer than so many inside nobody is refused because of a wait: what is in line is little, it
/// is the machine that is slow, and a worker must not run out of work by refusing.
const AT_WORK: u32 = 64;

/// Bounds of one worker.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most requests inside.
    pub in_flight: u32,
    /// The wait that a standing queue is held at; zero for any.
    pub lag: Duration,
}

/// One worker's door.
#[derive(Debug)]
pub struct Door {
    bounds: Bounds,
    inside: Cell<u32>,
    with_body: Cell<u32>,
    queue: Cell<Queue>,
    refusals: Cell<Refusals>,
    lags: Arc<Lags>,
    worker: usize,
}

/// A request that was let in; it has left when this is dropped.
#[derive(Debug)]
pub struct Inside<'a> {
    door: &'a Door,
    with_body: bool,
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let Self { door, with_body } = self;
        door.inside.set(door.inside.get().saturating_sub(1));
        door.with_body.set(door.with_body.get().saturating_sub(u32::from(*with_body)));
    }
}

impl Door {
    /// The door of the worker with this number; nobody is inside.
    #[must_use]
    pub fn new(bounds: Bounds, lags: Arc<Lags>, worker: usize, now: Instant) -> Self {
        Self {
            bounds,
            inside: Cell::default(),
            with_body: Cell::default(),
            queue: Cell::new(Queue::new(bounds.lag, now)),
            refusals: Cell::default(),
            lags,
            worker,
        }
    }

    /// Lets a request in if there is no reason not to. `chance` gives 0 to 1 and is asked only while
    /// a queue stands.
    ///
    /// # Errors
    /// The reason to refuse it.
    pub fn enter(
        &self,
        with_body: bool,
        chance: impl FnOnce() -> f64,
    ) -> Result<Inside<'_>, Reason> {
        let most_with_body = (self.bounds.in_flight / 2).max(1);
        if self.inside.get() >= self.bounds.in_flight
            || (with_body && self.with_body.get() >= most_with_body)
        {
            return Err(Reason::InFlight);
        }
        let queue = self.queue.get();
        if queue.stands() && self.inside.get() >= AT_WORK && queue.refuses(chance()) {
            return Err(Reason::Lag);
        }
        Ok(self.pass(with_body))
    }

    /// Lets a request in whatever there is.
    pub fn pass(&self, with_body: bool) -> Inside<'_> {
        self.inside.set(self.inside.get().saturating_add(1));
        self.with_body.set(self.with_body.get().saturating_add(u32::from(with_body)));
        Inside { door: self, with_body }
    }

    /// Notes a refusal. Gives how many there were since the last line of the log when one is due.
    #[must_use = "a line is due"]
    pub fn refused(&self, now: Instant) -> Option<u64> {
        self.lags.refuses(self.worker, true);
        let mut refusals = self.refusals.get();
        let due = refusals.count(now);
        self.refusals.set(refusals);
        due
    }

    /// The ticker fired while so many of those inside wait for somebody else. Gives how many were
    /// refused when that is over now.
    #[must_use = "a line is due"]
    pub fn ticked(&self, now: Instant, waiting: u32) -> Option<u64> {
        self.lags.in_line(self.worker, self.inside.get().saturating_sub(waiting));
        let mut queue = self.queue.get();
        let lag = queue.ticked(now);
        self.queue.set(queue);
        self.lags.ticked(self.worker, lag, queue.due());
        let mut refusals = self.refusals.get();
        let over = refusals.over(now);
        self.refusals.set(refusals);
        if over.is_some() {
            self.lags.refuses(self.worker, false);
        }
        over
    }

    /// When the ticker is due.
    #[must_use]
    pub fn due(&self) -> Instant {
        self.queue.get().due()
    }
}
