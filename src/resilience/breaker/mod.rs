//! The circuit breaker: stops calling what does not answer, and asks carefully whether it is back.
//!
//! Owns: the state (closed, open, half-open), the probe permits and the admin's holds; a table
//! older than any actor, shared by cloning. It knows nothing of what is behind it. Refuses: calls
//! while open; more than the counted probes while half-open, whatever the load; results of an
//! earlier era. `trip` decides when it opens and for how long, `state` what each event leads to; the
//! thresholds come from whoever builds it.
//!
//! Every permit carries the era it was given in and every change of state begins a new era, so a
//! late result moves nothing. A permit that is dropped, or recorded as ignored, gives its probe back;
//! probes without a result are given up after a while. After it has closed, `slow_start` lets through
//! little at first. No code of others runs under the lock: the listener is called after it.

mod slow_start;
mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod trip;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::clock::Timestamp;
pub use snapshot::{
    CallResult, Persisted, Rejected, RejectedBy, Snapshot, State, Transition, TransitionReason,
};
use state::{Core, Ticket};
pub use trip::Settings;

/// Called after every change of state, outside the lock, on the thread that caused it.
pub type Listener = Arc<dyn Fn(&Transition) + Send + Sync>;

/// A circuit breaker; clones are the same breaker.
#[derive(Clone)]
pub struct Breaker {
    shared: Arc<Shared>,
}

struct Shared {
    name: Arc<str>,
    listener: Listener,
    core: Mutex<Core>,
    /// Whether it is not closed, readable without the lock.
    open: AtomicBool,
}

#[must_use = "a dropped permit is a call without a result"]
#[derive(Debug)]
pub struct Permit {
    breaker: Breaker,
    ticket: Ticket,
    recorded: bool,
}

impl Breaker {
    pub fn new(name: impl Into<Arc<str>>, settings: Settings, listener: Listener) -> Self {
        let (name, core) = (name.into(), Mutex::new(Core::new(settings)));
        Self { shared: Arc::new(Shared { name, listener, core, open: AtomicBool::new(false) }) }
    }

    /// These bounds are in force from now on. What was counted stays, and an open time that has begun ends
    /// as it was going to.
    pub fn take_over(&self, settings: Settings) {
        self.with(|core| core.take_over(settings));
    }

    pub fn name(&self) -> &str {
        &self.shared.name
    }

    pub fn admit(&self, now: Instant) -> Result<Permit, Rejected> {
        self.ask(false, now)
    }

    /// The same for a background call: a slow start admits it only when it leaves something to
    /// clients.
    pub fn admit_background(&self, now: Instant) -> Result<Permit, Rejected> {
        self.ask(true, now)
    }

    /// Whether a call would be admitted now; moves nothing, counts nothing, and promises nothing.
    pub fn peek(&self, background: bool, now: Instant) -> Result<(), Rejected> {
        self.lock().peek(background, now)
    }

    /// Counts a call that was not made because of [`Self::peek`].
    pub fn count_rejected(&self) {
        self.lock().rejected();
    }

    fn ask(&self, background: bool, now: Instant) -> Result<Permit, Rejected> {
        let (admitted, change) = self.with(|core| core.admit(background, now));
        // The permit exists before the listener runs: should that panic, the probe comes back.
        let admitted =
            admitted.map(|ticket| Permit { breaker: self.clone(), ticket, recorded: false });
        self.notify(change);
        admitted
    }

    /// An admin opens it: it stays open until [`Self::force_close`] or [`Self::reset`].
    pub fn force_open(&self, now: Instant) {
        let change = self.with(|core| core.force_open(now));
        self.notify(change);
    }

    /// An admin closes it now, without a slow start. It works on as usual and may open again at the
    /// next failures, for as long as it would have: earlier openings still count.
    pub fn force_close(&self, now: Instant) {
        let change = self.with(|core| core.force_close(now));
        self.notify(change);
    }

    /// An admin makes it as new: closed, failures and earlier openings forgotten. Counts stay.
    pub fn reset(&self, now: Instant) {
        let change = self.with(|core| core.reset(now));
        self.notify(change);
    }

    pub fn snapshot(&self, now: Instant) -> Snapshot {
        self.lock().snapshot(Arc::clone(&self.shared.name), now)
    }

    /// What a later process needs to go on from here.
    pub fn persist(&self, now: Instant, wall: Timestamp) -> Persisted {
        self.lock().persist(now, wall)
    }

    /// Goes on where an earlier process stopped; once. What was found out since is newer and stays.
    /// The listener is not called.
    pub fn restore(&self, saved: &Persisted, now: Instant, wall: Timestamp) {
        self.with(|core| core.restore(saved, now, wall));
    }

    /// Whether calls are refused or rationed now, as far as is known without asking.
    pub fn is_open(&self) -> bool {
        self.shared.open.load(Ordering::Acquire)
    }

    fn notify(&self, change: Option<Transition>) {
        if let Some(change) = change {
            (self.shared.listener)(&change);
        }
    }

    fn with<T>(&self, decide: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.lock();
        let decided = decide(&mut core);
        self.shared.open.store(core.is_open(), Ordering::Release);
        decided
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // Should a change ever panic, the state before or after it is still a state.
        self.shared.core.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

impl Permit {
    /// Returns the permit with what the call said about the health of what is guarded;
    /// [`CallResult::Ignored`] returns it and moves nothing.
    pub fn record(mut self, result: impl Into<CallResult>, now: Instant) {
        self.recorded = true;
        let result = result.into();
        let change = self.breaker.with(|core| core.record(self.ticket, result, now));
        self.breaker.notify(change);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.recorded {
            self.breaker.lock().give_back(self.ticket);
        }
    }
}
