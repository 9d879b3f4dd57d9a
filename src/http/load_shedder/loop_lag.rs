//! How late the event loops of all workers are, and how many requests wait for each.
//!
//! Every worker writes its own entry; any thread reads them. A worker that hangs writes nothing, so
//! its lag is read off from when its ticker was due.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[derive(Debug)]
pub struct LoopLags {
    began: Instant,
    workers: Box<[Worker]>,
}

#[derive(Debug, Default)]
struct Worker {
    /// Microseconds.
    lag: AtomicU64,
    /// Microseconds from the beginning; 0 while there is no worker.
    due: AtomicU64,
    refuses: AtomicBool,
    /// Requests that wait for the worker alone.
    in_line: AtomicU32,
}

impl LoopLags {
    #[must_use]
    pub fn new(workers: usize, now: Instant) -> Self {
        Self { began: now, workers: (0..workers).map(|_| Worker::default()).collect() }
    }

    /// A worker's ticker fired so late, and is due again at `due`.
    pub(super) fn ticked(&self, worker: usize, lag: Duration, due: Instant) {
        if let Some(entry) = self.workers.get(worker) {
            entry.lag.store(micros(lag), Ordering::Relaxed);
            entry.due.store(self.since_began(due).max(1), Ordering::Relaxed);
        }
    }

    /// So many requests in flight wait for nothing but the worker itself.
    pub(super) fn in_line(&self, worker: usize, requests: u32) {
        if let Some(entry) = self.workers.get(worker) {
            entry.in_line.store(requests, Ordering::Relaxed);
        }
    }

    #[must_use]
    pub fn longest_queue(&self) -> u32 {
        let lines = self.workers.iter().map(|entry| entry.in_line.load(Ordering::Relaxed));
        lines.max().unwrap_or_default()
    }

    pub(super) fn refuses(&self, worker: usize, refuses: bool) {
        if let Some(entry) = self.workers.get(worker) {
            entry.refuses.store(refuses, Ordering::Relaxed);
        }
    }

    /// Whether any worker has refused something within the last second, because there was too much.
    #[must_use]
    pub fn any_refuses(&self) -> bool {
        self.workers.iter().any(|entry| entry.refuses.load(Ordering::Relaxed))
    }

    #[must_use]
    pub fn worst(&self, now: Instant) -> Duration {
        let now = self.since_began(now);
        let lag = |entry: &Worker| match entry.due.load(Ordering::Relaxed) {
            0 => 0,
            due => entry.lag.load(Ordering::Relaxed).max(now.saturating_sub(due)),
        };
        Duration::from_micros(self.workers.iter().map(lag).max().unwrap_or_default())
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
        let lags = LoopLags::new(3, start);
        assert_eq!(lags.worst(start + ms(500)), Duration::ZERO, "no worker is there yet");
        lags.ticked(0, ms(3), start + ms(10));
        lags.ticked(1, ms(7), start + ms(12));
        lags.ticked(9, ms(900), start);
        assert_eq!(lags.worst(start + ms(5)), ms(7));
        assert_eq!(lags.worst(start + ms(210)), ms(200));
    }

    #[test]
    fn the_longest_queue_counts() {
        let lags = LoopLags::new(2, monotonic());
        lags.in_line(0, 3);
        lags.in_line(1, 9);
        lags.in_line(7, 90);
        assert_eq!(lags.longest_queue(), 9);
    }

    #[test]
    fn one_that_refuses_is_enough() {
        let lags = LoopLags::new(2, monotonic());
        assert!(!lags.any_refuses());
        lags.refuses(1, true);
        lags.refuses(0, false);
        assert!(lags.any_refuses());
        lags.refuses(1, false);
        assert!(!lags.any_refuses());
    }
}
