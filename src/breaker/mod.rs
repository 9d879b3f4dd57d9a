//! The circuit breaker: stops calling what does not answer, and asks carefully whether it is back.
//!
//! Owns: the state (closed, open, half-open), the probe permits and the admin's holds; a table
//! older than any actor, shared by cloning. It knows nothing of what it guards. Refuses: calls
//! while open; more than the counted probes while half-open, whatever the load; results of an
//! earlier era. `trip` decides when it opens and for how long; the decisions are in `state`.
//!
//! Every permit carries the era it was given in and every change of state begins a new era, so a
//! late result moves nothing. A permit that is dropped, or recorded without a verdict, gives its
//! probe place back; probes that are never heard of again are given up after a while, and others
//! admitted. Closed again after an illness, it lets through little at first and more while that
//! goes well (`ramp`): to everybody outside it is closed, and slow. No code of others runs under the lock: the listener is called after it.

mod ramp;
mod remembered;
mod state;
#[cfg(test)]
mod tests;
mod trip;
mod verdict;
mod window;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::clock::Timestamp;
pub use remembered::{Remembered, WindowSums};
use state::{Core, Ticket};
pub use trip::{Settings, Slow};
pub use verdict::Verdict;

/// Whether calls flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = BreakerState)]
pub enum State {
    /// Calls flow.
    Closed,
    /// Calls are refused.
    Open,
    /// Probes are admitted.
    HalfOpen,
}

impl State {
    /// The value of the state's gauge: 0 closed, 1 open, 2 half-open.
    #[must_use]
    pub const fn gauge(self) -> i64 {
        match self {
            Self::Closed => 0,
            Self::Open => 1,
            Self::HalfOpen => 2,
        }
    }

    /// The state's name in labels and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// Why the state changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Too many failures in a row.
    Failures,
    /// Too large a share of failures.
    FailureRate,
    /// Too large a share of slow calls.
    SlowCalls,
    /// The open time is over.
    TimeToProbe,
    /// A probe failed.
    ProbeFailed,
    /// Probes were never heard of again: half-open begins anew.
    ProbeLost,
    /// All probes succeeded.
    ProbesSucceeded,
    /// An admin said so.
    Forced,
}

impl Reason {
    /// The reason's name in logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failures => "failures",
            Self::FailureRate => "failure_rate",
            Self::SlowCalls => "slow_calls",
            Self::TimeToProbe => "time_to_probe",
            Self::ProbeFailed => "probe_failed",
            Self::ProbeLost => "probe_lost",
            Self::ProbesSucceeded => "probes_succeeded",
            Self::Forced => "forced",
        }
    }
}

/// One change of state, as told to the listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Transition {
    /// The breaker's name.
    pub name: Arc<str>,
    /// The state before.
    pub from: State,
    /// The state after.
    pub to: State,
    /// Why.
    pub reason: Reason,
    /// When an opened breaker will admit probes, counted from the change; `None` for every other
    /// change and for an opening that an admin has to end.
    pub open_for: Option<Duration>,
    /// Counts this breaker's transitions from 1: two threads may tell theirs in either order.
    pub sequence: u64,
}

/// Called after every change of state, outside the lock, on the thread that caused it.
pub type Listener = Arc<dyn Fn(&Transition) + Send + Sync>;

/// A refused call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rejected {
    /// When to ask again. While probes are under way nobody knows; then it is a short guess.
    pub retry_after: Duration,
    /// What refused it.
    pub refusal: Refusal,
}

/// What refuses a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// The breaker is open, or half-open with all probes given.
    Open,
    /// It is closed and lets through only so much yet: there are more calls than that, which is
    /// not an illness of what is guarded.
    Ramp,
}

/// A breaker at one moment, for status and metrics.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Breaker)]
pub struct Snapshot {
    /// The breaker's name.
    #[schema(value_type = String)]
    pub name: Arc<str>,
    /// Its state. An open breaker whose time is over stays open until somebody asks.
    pub state: State,
    /// Milliseconds since the state was entered; the start of the process for the first one.
    pub in_state_ms: u64,
    /// Milliseconds until calls are admitted; `None` when they are, or an admin holds it open.
    pub retry_after_ms: Option<u64>,
    /// Held open by an admin.
    pub forced: bool,
    /// Calls a second that are let through since it closed; `None` when all of them are, or none.
    pub ramp_per_second: Option<f64>,
    /// Failures in a row.
    pub consecutive_failures: u64,
    /// Changes of state so far.
    pub transitions: u64,
    /// Calls refused so far.
    pub rejected: u64,
    /// Permits given so far; all of them were returned, dropped, or are in flight.
    pub issued: u64,
    /// Permits returned with [`Permit::record`].
    pub returned: u64,
    /// Permits dropped without a record.
    pub dropped: u64,
    /// Probes that were given up because nobody had heard of them; late ones still count as returned
    /// or dropped.
    pub lost: u64,
}

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

/// The right to make one call. Dropping it says nothing about the call.
#[must_use = "a dropped permit is a call without a result"]
#[derive(Debug)]
pub struct Permit {
    breaker: Breaker,
    ticket: Ticket,
    recorded: bool,
}

impl Breaker {
    /// A closed breaker. `name` is for labels and logs.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>, settings: Settings, listener: Listener) -> Self {
        let core = Mutex::new(Core::new(settings));
        Self {
            shared: Arc::new(Shared {
                name: name.into(),
                listener,
                core,
                open: AtomicBool::new(false),
            }),
        }
    }

    /// The breaker's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Asks to make one call.
    ///
    /// # Errors
    /// [`Rejected`] when open, when half-open with all probes under way or decided, and when
    /// closed lately and more is asked for than the rate of the ramp.
    pub fn admit(&self, now: Instant) -> Result<Permit, Rejected> {
        self.ask(false, now)
    }

    /// The same for a call that nobody waits for: of a ramp it gets only what leaves something to
    /// those who do.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub fn admit_spare(&self, now: Instant) -> Result<Permit, Rejected> {
        self.ask(true, now)
    }

    /// Whether [`Self::admit`] would admit a call now; moves nothing, counts nothing, and promises
    /// nothing.
    ///
    /// # Errors
    /// As [`Self::admit`].
    pub fn peek(&self, now: Instant) -> Result<(), Rejected> {
        self.lock().peek(false, now)
    }

    /// From when on an answer is slow; `None` when none is.
    #[must_use]
    pub fn slow_after(&self) -> Option<Duration> {
        self.lock().slow_after()
    }

    /// Whether it has closed lately and lets through only so much.
    #[must_use]
    pub fn is_ramping(&self, now: Instant) -> bool {
        self.lock().ramp(now).is_some()
    }

    fn ask(&self, spare: bool, now: Instant) -> Result<Permit, Rejected> {
        let (admitted, change) = self.with(|core| core.admit(spare, now));
        // The permit exists before the listener runs: should that panic, the place comes back.
        let admitted =
            admitted.map(|ticket| Permit { breaker: self.clone(), ticket, recorded: false });
        self.tell(change);
        admitted
    }

    /// An admin opens it: it stays open until [`Self::force_close`] or [`Self::reset`].
    pub fn force_open(&self, now: Instant) {
        let change = self.with(|core| core.force_open(now));
        self.tell(change);
    }

    /// An admin closes it now, without a ramp. It works on as usual and may open again at the next failures, for
    /// as long as it would have: earlier openings are remembered.
    pub fn force_close(&self, now: Instant) {
        let change = self.with(|core| core.force_close(now));
        self.tell(change);
    }

    /// An admin makes it as new: closed, failures and earlier openings forgotten. Counts stay.
    pub fn reset(&self, now: Instant) {
        let change = self.with(|core| core.reset(now));
        self.tell(change);
    }

    /// The breaker as of `now`; moves nothing.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        self.lock().snapshot(Arc::clone(&self.shared.name), now)
    }

    /// What a later process needs to go on from here.
    #[must_use]
    pub fn remember(&self, now: Instant, wall: Timestamp) -> Remembered {
        self.lock().remember(now, wall)
    }

    /// Goes on where an earlier process stopped. For a breaker that is as new; the listener is told
    /// nothing.
    pub fn restore(&self, saved: &Remembered, now: Instant, wall: Timestamp) {
        self.with(|core| core.restore(saved, now, wall));
    }

    /// Whether calls are refused or rationed now, as far as is known without asking.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.shared.open.load(Ordering::Acquire)
    }

    fn tell(&self, change: Option<state::Change>) {
        if let Some(change) = change {
            (self.shared.listener)(&change.named(Arc::clone(&self.shared.name)));
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
    /// [`Verdict::Silent`] returns it and moves nothing.
    pub fn record(mut self, verdict: impl Into<Verdict>, now: Instant) {
        self.recorded = true;
        let verdict = verdict.into();
        let change = self.breaker.with(|core| core.record(self.ticket, verdict, now));
        self.breaker.tell(change);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.recorded {
            self.breaker.lock().give_back(self.ticket);
        }
    }
}
