//! The thread that notices stuck actors.
//!
//! The decision is a plain function of progress and time. The loop runs on a thread of its own,
//! because an actor may block any other thread.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// What the watchdog knows about one actor between looks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heartbeat {
    handled: u64,
    since: Instant,
}

impl Heartbeat {
    pub(super) fn new(now: Instant) -> Self {
        Self { handled: 0, since: now }
    }

    /// How long the actor has made no progress although something waits for it.
    pub(super) fn look(&mut self, handled: u64, waiting: bool, now: Instant) -> Duration {
        if handled != self.handled || !waiting {
            self.handled = handled;
            self.since = now;
        }
        now.saturating_duration_since(self.since)
    }

    /// Counts the time without progress from `now` on; what was handled is remembered.
    pub(super) fn renew(&mut self, now: Instant) {
        self.since = now;
    }

    /// Whether anything was handled since the last look.
    pub(super) fn progressed(&self, handled: u64) -> bool {
        handled != self.handled
    }
}

/// Calls `look` every `period` until the sender of `stop` is dropped.
pub(super) fn run(period: Duration, stop: &Receiver<()>, mut look: impl FnMut(Instant)) {
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(period) {
        look(crate::clock::monotonic());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuck_means_no_progress_while_something_waits() {
        let start = crate::clock::monotonic();
        let at = |ms| start + Duration::from_millis(ms);
        let mut heartbeat = Heartbeat::new(start);
        assert_eq!(heartbeat.look(0, true, at(100)), Duration::from_millis(100));
        assert_eq!(heartbeat.look(1, true, at(200)), Duration::ZERO, "progress resets");
        assert_eq!(heartbeat.look(1, true, at(500)), Duration::from_millis(300));
        assert_eq!(heartbeat.look(1, false, at(900)), Duration::ZERO, "idle is not stuck");
        assert_eq!(heartbeat.look(1, true, at(950)), Duration::from_millis(50));
    }

    #[test]
    fn a_renewed_heartbeat_forgets_the_time_and_not_the_progress() {
        let start = crate::clock::monotonic();
        let at = |ms| start + Duration::from_millis(ms);
        let mut heartbeat = Heartbeat::new(start);
        heartbeat.look(7, true, at(0));
        heartbeat.renew(at(500));
        assert!(!heartbeat.progressed(7) && heartbeat.progressed(8));
        assert_eq!(heartbeat.look(7, true, at(600)), Duration::from_millis(100));
    }
}
