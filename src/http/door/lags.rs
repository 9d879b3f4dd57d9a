//! How late the loops of all workers are, and how many requests stand in line before each, for
//! whoever asks on any of them.
//!
//! Owns: one place for each worker, written by its own thread alone. A worker that hangs writes
//! nothing, so its lag is read off from when its ticker was due.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The lags of all workers of a process.
#[derive(Debug)]
pub struct Lags {
    began: Instant,
    places: Box<[Place]>,
}

#[derive(Debug, Default)]
struct Place {
    /// Microseconds.
    lag: AtomicU64,
    /// Microseconds from the beginning; 0 while there is no worker.
    due: AtomicU64,
    refuses: AtomicBool,
    /// Requests that wait for the worker alone.
    in_line: AtomicU32,
}

impl Lags {
    /// Places for so many workers.
    #[must_use]
    pub fn new(workers: usize, now: Instant) -> Self {
        Self { began: now, places: (0..workers).map(|_| Place::default()).collect() }
    }

    /// A worker's ticker fired so late, and is due again at `due`.
    pub(super) fn ticked(&self, worker: usize, lag: Duration, due: Instant) {
        if let Some(place) = self.places.get(worker) {
            place.lag.store(micros(lag), Ordering::Relaxed);
            place.due.store(self.since_began(due).max(1), Ordering::Relaxed);
        }
    }

    /// So many requests are inside a worker and wait for nobody but itself.
    pub(super) fn in_line(&self, worker: usize, requests: u32) {
        if let Some(place) = self.places.get(worker) {
            place.in_line.store(requests, Ordering::Relaxed);
        }
    }

    /// The longest line before a worker.
    #[must_use]
    pub fn longest_line(&self) -> u32 {
        let lines = self.places.iter().map(|place| place.in_line.load(Ordering::Relaxed));
        lines.max().unwrap_or_default()
    }

    /// Whether a worker has refused something within a second.
    pub(super) fn refuses(&self, worker: usize, refuses: bool) {
        if let Some(place) = self.places.get(worker) {
            place.refuses.store(refuses, Ordering::Relaxed);
        }
    }

    /// Whether any worker has refused something within the last second, because there was too much.
    #[must_use]
    pub fn any_refuses(&self) -> bool {
        self.places.iter().any(|place| place.refuses.load(Ordering::Relaxed))
    }

    /// How late the worst loop is.
    #[must_use]
    pub fn worst(&self, now: Instant) -> Duration {
        let now = self.since_began(now);
        let lag = |place: &Place| match place.due.load(Ordering::Relaxed) {
            0 => 0,
            due => place.lag.load(Ordering::Relaxed).max(now.saturating_sub(due)),
        };
        Duration::from_micros(self.places.iter().map(lag).max().unwrap_or_default())
    }

    fn since_began(&self, at: Instant) -> u64 {
        micros(at.saturating_duration_since(self.began))
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::monotonic;

    #[test]
    fn the_worst_worker_counts_and_one_that_hangs_is_late_by_the_clock() {
        let (start, ms) = (monotonic(), Duration::from_millis);
        let lags = Lags::new(3, start);
        assert_eq!(lags.worst(start + ms(500)), Duration::ZERO, "no worker is there yet");
        lags.ticked(0, ms(3), start + ms(10));
        lags.ticked(1, ms(7), start + ms(12));
        lags.ticked(9, ms(900), start);
        assert_eq!(lags.worst(start + ms(5)), ms(7));
        assert_eq!(lags.worst(start + ms(210)), ms(200));
    }

    #[test]
    fn the_longest_line_counts() {
        let lags = Lags::new(2, monotonic());
        lags.in_line(0, 3);
        lags.in_line(1, 9);
        lags.in_line(7, 90);
        assert_eq!(lags.longest_line(), 9);
    }

    #[test]
    fn one_that_refuses_is_enough() {
        let lags = Lags::new(2, monotonic());
        assert!(!lags.any_refuses());
        lags.refuses(1, true);
        lags.refuses(0, false);
        assert!(lags.any_refuses());
        lags.refuses(1, false);
        assert!(!lags.any_refuses());
    }
}
