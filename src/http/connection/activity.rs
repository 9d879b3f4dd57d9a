//! What a connection does, as all workers see it: whether it is idle and since when, what it has sent of a
//! head that is not whole, and whether it has to make room for another.
//!
//! Owns: one budget for the unread heads of all connections. Each is written by the worker of its
//! connection; the limiter reads, and dismisses. A dismissed connection ends as soon as nothing is served
//! on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::task::Context;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

/// Instead of the time since when it is idle.
const BUSY: u64 = u64::MAX;
/// A new connection has so long to begin a request before it counts as idle.
const NEW: Duration = Duration::from_millis(500);
/// A head of fewer bytes is as every head, and counts for nothing.
const USUAL: usize = 16 << 10;
/// Bytes of unread heads in all beyond the usual ones.
const MOST_UNREAD: usize = 64 << 20;

#[derive(Debug)]
pub(super) struct Activity {
    origin: Instant,
    idle_since: AtomicU64,
    dismissed: AtomicBool,
    waker: AtomicWaker,
    unread: AtomicUsize,
    unread_of_all: Arc<AtomicUsize>,
}

impl Activity {
    pub(super) fn new(origin: Instant, now: Instant, unread_of_all: &Arc<AtomicUsize>) -> Self {
        let new = Self {
            origin,
            idle_since: AtomicU64::new(BUSY),
            dismissed: AtomicBool::new(false),
            waker: AtomicWaker::new(),
            unread: AtomicUsize::new(0),
            unread_of_all: Arc::clone(unread_of_all),
        };
        new.idle(now + NEW);
        new
    }

    /// A request has begun: its head is read.
    pub(super) fn busy(&self) {
        self.idle_since.store(BUSY, Ordering::Relaxed);
        self.read();
    }

    pub(super) fn idle(&self, since: Instant) {
        let since = since.saturating_duration_since(self.origin);
        self.idle_since.store(millis(since), Ordering::Relaxed);
    }

    /// Since when it is idle, in milliseconds from the origin.
    pub(super) fn idle_since(&self, now: Instant) -> Option<u64> {
        let now = millis(now.saturating_duration_since(self.origin));
        Some(self.idle_since.load(Ordering::Relaxed)).filter(|since| *since <= now)
    }

    pub(super) fn dismiss(&self) {
        self.dismissed.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether it has to end; otherwise the task is woken when it has.
    pub(super) fn is_dismissed(&self, cx: &Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.dismissed.load(Ordering::Acquire)
    }

    #[cfg(test)]
    pub(super) fn is_gone(&self) -> bool {
        self.dismissed.load(Ordering::Acquire)
    }

    /// More bytes of a head came. False if there is no room for them.
    pub(super) fn received(&self, bytes: usize) -> bool {
        let head = self.unread.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
        if head <= USUAL {
            return true;
        }
        let more = bytes.min(head - USUAL);
        let all = self.unread_of_all.fetch_add(more, Ordering::Relaxed);
        all.saturating_add(more) <= MOST_UNREAD
    }

    fn read(&self) {
        let head = self.unread.swap(0, Ordering::Relaxed);
        if head > USUAL {
            self.unread_of_all.fetch_sub(head - USUAL, Ordering::Relaxed);
        }
    }
}

impl Drop for Activity {
    fn drop(&mut self) {
        self.read();
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(BUSY - 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn heads_that_are_not_whole_have_one_budget() {
        let (now, all) = (clock::monotonic(), Arc::default());
        let head = 128 << 10;
        let open: Vec<_> = (0..10_000).map(|_| Activity::new(now, now, &all)).collect();
        assert!(open.iter().all(|one| one.received(USUAL)), "usual ones count for nothing");
        let fit = open.iter().take_while(|one| one.received(head)).count();
        assert_eq!(fit, MOST_UNREAD / head);
        open.iter().for_each(Activity::busy);
        assert_eq!(all.load(Ordering::Relaxed), 0);
        assert!(open[0].received(head));
        drop(open);
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn it_is_idle_between_requests() {
        let now = clock::monotonic();
        let later = |milliseconds| now + Duration::from_millis(milliseconds);
        let activity = Activity::new(now, now, &Arc::default());
        assert_eq!(activity.idle_since(later(499)), None, "its request may be on the way");
        assert_eq!(activity.idle_since(later(600)), Some(500));
        activity.busy();
        assert_eq!(activity.idle_since(later(3_000)), None);
        activity.idle(later(2_000));
        assert_eq!(activity.idle_since(later(2_000)), Some(2_000));
    }
}
