//! The record of one actor, whichever incarnation is alive: state, counts, last panic; and who is told
//! of its deaths.
//!
//! Handle, guard, watchdog and status page share it. It is made before the first incarnation and
//! read without locks on the way of a message.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;
use utoipa::ToSchema;

use super::policy::RestartHistory;
use crate::clock::{self, Timestamp};

/// Where an actor is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ActorState {
    Running,
    /// Died too often; callers go on without it until the wait is over.
    BackingOff,
    /// Holds one message for longer than allowed.
    Hung,
    /// The last handle is gone; it will not come back.
    Finished,
}

impl ActorState {
    const fn code(self) -> u8 {
        match self {
            Self::Running => 0,
            Self::BackingOff => 1,
            Self::Hung => 2,
            Self::Finished => 3,
        }
    }

    const fn from_code(code: u8) -> Self {
        match code {
            0 => Self::Running,
            1 => Self::BackingOff,
            2 => Self::Hung,
            _ => Self::Finished,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RestartReason {
    /// A handler, `started` or a future of the actor panicked.
    Panic,
    Stop,
    /// The watchdog moved it to a new thread.
    Hang,
}

impl RestartReason {
    pub const ALL: [Self; 3] = [Self::Panic, Self::Stop, Self::Hang];

    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Stop => "stop",
            Self::Hang => "hang",
        }
    }
}

/// Receives reports of deaths and hangs, for log and metrics. Called without any lock held.
pub trait Observer: Send + Sync + 'static {
    /// There is an actor of this name from now on.
    fn started(&self, _actor: &'static str) {}
    /// The same of tasks that go on as long as the process does.
    fn task_started(&self, _owner: &'static str) {}
    /// An incarnation ended; the next starts after `wait`.
    fn restarted(
        &self,
        _actor: &'static str,
        _instance: usize,
        _reason: RestartReason,
        _panic: Option<&str>,
        _wait: Duration,
    ) {
    }
    fn hung(&self, _actor: &'static str, _instance: usize, _for_how_long: Duration) {}
    fn recovered(&self, _actor: &'static str, _instance: usize) {}
    /// A task beside an actor panicked.
    fn task_panicked(&self, _owner: &'static str, _panic: &str) {}
}

/// An observer that does nothing, for tests and tools.
#[derive(Debug, Clone, Copy)]
pub struct Silent;

impl Observer for Silent {}

pub(super) fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&'static str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a text".to_owned())
}

/// What status pages show of one actor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ActorStatus {
    /// The actor's name, for example `cache`.
    #[schema(value_type = String)]
    pub name: &'static str,
    /// Which of several of the same name (the worker's or credential's number).
    pub instance: usize,
    pub state: ActorState,
    pub restarts: u64,
    pub last_panic: Option<String>,
    /// Messages waiting in the inbox.
    pub queue: usize,
    /// Messages handled since the process started.
    pub handled: u64,
    /// When the present incarnation started, milliseconds since the Unix epoch.
    #[schema(value_type = i64)]
    pub up_since: Timestamp,
}

#[derive(Debug)]
pub(super) struct Record {
    pub(super) name: &'static str,
    pub(super) instance: usize,
    pub(super) capacity: usize,
    state: AtomicU8,
    waiting: AtomicUsize,
    handled: AtomicU64,
    restarts: AtomicU64,
    generation: AtomicU64,
    heartbeat_pending: AtomicBool,
    /// Rung when the actor begins to back off: callers that wait for an answer go on without.
    pub(super) down: Notify,
    rare: Mutex<Rare>,
}

/// What changes only when an incarnation starts or ends.
#[derive(Debug)]
struct Rare {
    last_panic: Option<String>,
    up_since: Timestamp,
    history: RestartHistory,
}

impl Record {
    pub(super) fn new(name: &'static str, instance: usize, capacity: usize) -> Self {
        Self {
            name,
            instance,
            capacity,
            state: AtomicU8::new(ActorState::Running.code()),
            waiting: AtomicUsize::new(0),
            handled: AtomicU64::new(0),
            restarts: AtomicU64::new(0),
            generation: AtomicU64::new(0),
            heartbeat_pending: AtomicBool::new(false),
            down: Notify::new(),
            rare: Mutex::new(Rare {
                last_panic: None,
                up_since: clock::now(),
                history: RestartHistory::default(),
            }),
        }
    }

    pub(super) fn state(&self) -> ActorState {
        ActorState::from_code(self.state.load(Ordering::Acquire))
    }

    pub(super) fn set_state(&self, state: ActorState) {
        self.state.store(state.code(), Ordering::Release);
    }

    /// Takes a slot of the inbox, unless all are taken.
    pub(super) fn enter(&self) -> bool {
        let before = self.waiting.fetch_add(1, Ordering::AcqRel);
        if before < self.capacity {
            return true;
        }
        self.waiting.fetch_sub(1, Ordering::AcqRel);
        false
    }

    /// Gives a slot back: the message was taken out or could not be put in.
    pub(super) fn leave(&self) {
        self.waiting.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn queue(&self) -> usize {
        self.waiting.load(Ordering::Acquire).min(self.capacity)
    }

    pub(super) fn progressed(&self) {
        self.handled.fetch_add(1, Ordering::AcqRel);
    }

    pub(super) fn handled(&self) -> u64 {
        self.handled.load(Ordering::Acquire)
    }

    /// Marks a heartbeat as sent; false when one is already on its way.
    pub(super) fn begin_heartbeat(&self) -> bool {
        !self.heartbeat_pending.swap(true, Ordering::AcqRel)
    }

    pub(super) fn end_heartbeat(&self) {
        self.heartbeat_pending.store(false, Ordering::Release);
    }

    pub(super) fn heartbeat_pending(&self) -> bool {
        self.heartbeat_pending.load(Ordering::Acquire)
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes every guard of an earlier generation give up; returns the new one.
    pub(super) fn supersede(&self) -> u64 {
        self.generation.fetch_add(1, Ordering::AcqRel).saturating_add(1)
    }

    pub(super) fn started(&self) {
        self.lock().up_since = clock::now();
        self.set_state(ActorState::Running);
    }

    /// Notes the end of an incarnation; the wait before the next is decided on the history.
    pub(super) fn died<T>(
        &self,
        panic: Option<String>,
        decide: impl FnOnce(&mut RestartHistory) -> T,
    ) -> T {
        self.restarts.fetch_add(1, Ordering::AcqRel);
        let mut rare = self.lock();
        if panic.is_some() {
            rare.last_panic = panic;
        }
        decide(&mut rare.history)
    }

    pub(super) fn status(&self) -> ActorStatus {
        let rare = self.lock();
        ActorStatus {
            name: self.name,
            instance: self.instance,
            state: self.state(),
            restarts: self.restarts.load(Ordering::Acquire),
            last_panic: rare.last_panic.clone(),
            queue: self.queue(),
            handled: self.handled(),
            up_since: rare.up_since,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Rare> {
        self.rare.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
