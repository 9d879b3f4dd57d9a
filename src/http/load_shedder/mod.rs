//! The load shedder of one worker: which requests are admitted when there are too many.
//!
//! Refuses requests beyond a bound of those in flight, requests with a body beyond half of it (so that
//! slow senders cannot take every slot), and a share of all while a queue stands ([`Queue`]). An
//! admitted request costs two comparisons: no lock, no allocation, no look at the clock. Without its
//! ticker it keeps its last decision.

mod loop_lag;
mod queue;

#[cfg(test)]
mod tests;

use std::cell::Cell;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use loop_lag::LoopLags;
pub use queue::{Queue, TICK};

use super::log_sampler::LogSampler;

/// Why a request is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShedReason {
    /// The event loop of the worker has been late for too long.
    Lag,
    InFlight,
}

impl ShedReason {
    pub const ALL: [Self; 2] = [Self::Lag, Self::InFlight];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lag => "lag",
            Self::InFlight => "in_flight",
        }
    }
}

/// With fewer than so many in flight none is refused because of a wait: then the machine is slow, and
/// refusing would only leave the worker without work.
const ENOUGH: u32 = 64;

/// Bounds of one worker.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Most requests in flight.
    pub in_flight: u32,
    /// The wait that a standing queue is held at; zero for any.
    pub lag: Duration,
}

/// From the last refusal to the end of an overload.
const A_SECOND: Duration = Duration::from_secs(1);

/// The refusals of one overload, so that it is a few lines of the log.
#[derive(Debug, Clone, Copy)]
struct Overload {
    refused: u64,
    last: Option<Instant>,
    lines: LogSampler,
}

impl Overload {
    fn none() -> Self {
        Self { refused: 0, last: None, lines: LogSampler::one_a_second(NonZeroU32::MIN) }
    }
}

#[derive(Debug)]
pub struct LoadShedder {
    bounds: Bounds,
    in_flight: Cell<u32>,
    with_body: Cell<u32>,
    queue: Cell<Queue>,
    overload: Cell<Overload>,
    lags: Arc<LoopLags>,
    worker: usize,
}

/// The slot of an admitted request; free again when this is dropped.
#[derive(Debug)]
pub struct Slot<'a> {
    shedder: &'a LoadShedder,
    with_body: bool,
}

impl Drop for Slot<'_> {
    fn drop(&mut self) {
        let Self { shedder, with_body } = self;
        shedder.in_flight.set(shedder.in_flight.get().saturating_sub(1));
        shedder.with_body.set(shedder.with_body.get().saturating_sub(u32::from(*with_body)));
    }
}

impl LoadShedder {
    /// That of the worker with this number.
    #[must_use]
    pub fn new(bounds: Bounds, lags: Arc<LoopLags>, worker: usize, now: Instant) -> Self {
        Self {
            bounds,
            in_flight: Cell::default(),
            with_body: Cell::default(),
            queue: Cell::new(Queue::new(bounds.lag, now)),
            overload: Cell::new(Overload::none()),
            lags,
            worker,
        }
    }

    /// Admits a request, or gives the reason to refuse it. `chance` gives 0 to 1 and is asked only
    /// while a queue stands.
    ///
    /// # Errors
    /// The reason.
    pub fn enter(
        &self,
        with_body: bool,
        chance: impl FnOnce() -> f64,
    ) -> Result<Slot<'_>, ShedReason> {
        let most_with_body = (self.bounds.in_flight / 2).max(1);
        if self.in_flight.get() >= self.bounds.in_flight
            || (with_body && self.with_body.get() >= most_with_body)
        {
            return Err(ShedReason::InFlight);
        }
        let queue = self.queue.get();
        if queue.stands() && self.in_flight.get() >= ENOUGH && queue.refuses(chance()) {
            return Err(ShedReason::Lag);
        }
        Ok(self.pass(with_body))
    }

    /// Admits a request whatever the load is.
    pub fn pass(&self, with_body: bool) -> Slot<'_> {
        self.in_flight.set(self.in_flight.get().saturating_add(1));
        self.with_body.set(self.with_body.get().saturating_add(u32::from(with_body)));
        Slot { shedder: self, with_body }
    }

    /// Notes a refusal. When a log line is due: how many there were since the last line.
    #[must_use = "a line is due"]
    pub fn refused(&self, now: Instant) -> Option<u64> {
        self.lags.refuses(self.worker, true);
        let mut overload = self.overload.get();
        overload.refused += 1;
        overload.last = Some(now);
        let left_out = overload.lines.line(now);
        self.overload.set(overload);
        left_out.map(|left_out| left_out + 1)
    }

    /// The ticker fired while so many requests wait for others. When an overload is over: how many
    /// requests were refused.
    #[must_use = "a line is due"]
    pub fn ticked(&self, now: Instant, waiting: u32) -> Option<u64> {
        self.lags.in_line(self.worker, self.in_flight.get().saturating_sub(waiting));
        let mut queue = self.queue.get();
        let lag = queue.ticked(now);
        self.queue.set(queue);
        self.lags.ticked(self.worker, lag, queue.due());
        let overload = self.overload.get();
        let last = overload.last?;
        if now.saturating_duration_since(last) < A_SECOND {
            return None;
        }
        self.overload.set(Overload::none());
        self.lags.refuses(self.worker, false);
        Some(overload.refused)
    }

    #[must_use]
    pub fn due(&self) -> Instant {
        self.queue.get().due()
    }
}
