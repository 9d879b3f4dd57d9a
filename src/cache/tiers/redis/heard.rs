//! Whether entries may be read from Redis: only while the invalidations of others are known.
//!
//! Owns: when the journal of invalidations was last read to its end. Shared by all workers. While
//! Redis is away nothing is heard, and its entries are not read until the journal has been.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::clock;

/// How long entries are read from Redis after its journal of invalidations was: an invalidation is in
/// force everywhere within this.
pub const HEARD_FOR: Duration = Duration::from_secs(1);

/// Whether the journal of invalidations has to be read before entries are.
#[derive(Debug)]
enum State {
    NotNeeded,
    /// When the last reading to its end began, if there was one.
    Since(Option<Instant>),
}

/// What is known of the invalidations of others.
#[derive(Debug)]
pub struct Heard {
    state: Mutex<State>,
    news: Notify,
}

impl Heard {
    /// Entries are read only while the journal has been read a moment ago: not after the start, and
    /// not when Redis was away.
    #[must_use]
    pub const fn needed() -> Self {
        Self::begin(State::Since(None))
    }

    /// Nobody reads the journal here.
    #[must_use]
    pub const fn not_needed() -> Self {
        Self::begin(State::NotNeeded)
    }

    const fn begin(state: State) -> Self {
        Self { state: Mutex::new(state), news: Notify::const_new() }
    }

    /// The journal was read to its end; what was written before `began` is known.
    pub(super) fn heard(&self, began: Instant) {
        if let State::Since(last) = &mut *self.state() {
            *last = (*last).max(Some(began));
        }
        self.news.notify_waiters();
    }

    /// Waits until the journal has been read, for `limit` at most.
    pub async fn until_heard(&self, limit: Duration) {
        let news = self.news.notified();
        if !self.is_heard(clock::monotonic()) {
            // Who goes on without reads nothing from it until then.
            drop(tokio::time::timeout(limit, news).await);
        }
    }

    /// Whether the invalidations of others are known, all but the last moment's.
    pub(super) fn is_heard(&self, now: Instant) -> bool {
        match &*self.state() {
            State::NotNeeded => true,
            State::Since(last) => {
                last.is_some_and(|began| now.saturating_duration_since(began) < HEARD_FOR)
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_for_a_moment_after_the_journal_was() {
        let now = clock::monotonic();
        assert!(Heard::not_needed().is_heard(now), "nobody reads a journal");
        let heard = Heard::needed();
        assert!(!heard.is_heard(now));
        heard.heard(now);
        // One that began earlier and ended later says nothing of what came between.
        heard.heard(now.checked_sub(HEARD_FOR).unwrap_or(now));
        assert!(heard.is_heard(now + HEARD_FOR / 2));
        assert!(!heard.is_heard(now + HEARD_FOR));
        heard.heard(now + HEARD_FOR);
        assert!(heard.is_heard(now + HEARD_FOR));
    }
}
