//! The words of this room: its bounds, its refusals, how a call ended, what it shows.
//!
//! Owns: plain data. Refuses nothing. No neighbours.

use std::time::Duration;

use serde::Serialize;

use crate::origin::patience;

/// The bounds of the crowd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Calls under way at once, at most; the limit moves below it.
    pub most: u32,
    /// Calls that may wait for a place.
    pub queue: usize,
    /// A place held for longer is taken to be lost with whoever held it (a thread that hung), and
    /// given to others. Longer than any call takes.
    pub longest: Duration,
    /// When the queue is a standing one.
    pub patience: patience::Settings,
}

impl Default for Settings {
    fn default() -> Self {
        let (longest, patience) = (Duration::from_secs(150), patience::Settings::default());
        Self { most: 64, queue: 256, longest, patience }
    }
}

/// How a call ended, as far as the upstream's load is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was answered, and took so long.
    Well(Duration),
    /// It was not answered in time, or the upstream said that it is ill.
    Overloaded,
    /// It says nothing: throttled, refused for good, cut by its caller.
    Silent,
}

/// No place, and no waiting for one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full {
    /// Why.
    pub reason: Reason,
    /// When there may be one.
    pub retry_after: Duration,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Too many wait already.
    Queue,
    /// It would come after the deadline, or did not come before it.
    Deadline,
    /// The queue has not been empty for a while, and is kept short.
    Standing,
    /// Nobody waits for this call, and what is free is for those who do.
    KeptForClients,
}

impl Reason {
    /// The reason's name in labels and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Deadline => "deadline",
            Self::Standing => "standing",
            Self::KeptForClients => "kept_for_clients",
        }
    }
}

/// The crowd at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// Calls that may be under way at once.
    pub limit: u32,
    /// Calls under way.
    pub in_flight: u32,
    /// Calls that wait for a place.
    pub waiting: usize,
}
