//! The sliding minute: never more than the limit in any sixty seconds, wherever they begin.
//!
//! Owns: one client's window. Small limits keep a log of instants and are exact to the
//! microsecond; large ones count in sub-buckets of a second and admit at most a second late,
//! never too much, so that a limit of a billion costs no more memory than one of two thousand.
//! Refuses: a request over the limit, and says after how long the very same request would be
//! admitted; a refused request is not counted.

mod event_log;
mod slot_counts;
#[cfg(test)]
mod tests;

use std::num::NonZeroU32;
use std::time::Duration;

use self::event_log::EventLog;
use self::slot_counts::SlotCounts;
use super::tick::Tick;

/// Length of the window.
pub const LENGTH: Duration = Duration::from_secs(60);

/// The largest limit that is kept as a log; above it, counts take less room.
const LARGEST_LOG: u32 = 1_024;

/// What a window allows: so many requests in any minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowRule {
    limit: NonZeroU32,
}

impl WindowRule {
    /// At most `limit` in any minute.
    #[must_use]
    pub fn per_minute(limit: NonZeroU32) -> Self {
        Self { limit }
    }

    /// The same for `factor` clients that share one window.
    #[must_use]
    pub fn times(self, factor: NonZeroU32) -> Self {
        Self { limit: self.limit.saturating_mul(factor) }
    }

    /// One of `instances` equal parts, rounded up.
    #[must_use]
    pub fn share(self, instances: NonZeroU32) -> Self {
        let limit = self.limit.get().div_ceil(instances.get());
        Self { limit: NonZeroU32::new(limit).unwrap_or(NonZeroU32::MIN) }
    }

    /// Whether it is kept by the second rather than by the instant.
    #[must_use]
    pub fn is_coarse(self) -> bool {
        self.limit() > LARGEST_LOG
    }

    /// Half of it, so many times; at least one.
    #[must_use]
    pub fn halved(self, times: u8) -> Self {
        let limit = NonZeroU32::new(self.limit.get() >> times.min(31));
        Self { limit: limit.unwrap_or(NonZeroU32::MIN) }
    }

    /// Requests in any minute.
    #[must_use]
    pub fn limit(self) -> u32 {
        self.limit.get()
    }
}

/// One client's sliding window; the default is an empty one.
#[derive(Debug, Clone)]
pub struct Window {
    events: Events,
}

#[derive(Debug, Clone)]
enum Events {
    Logged(EventLog),
    Counted(Box<SlotCounts>),
}

impl Default for Window {
    fn default() -> Self {
        Self { events: Events::Logged(EventLog::default()) }
    }
}

impl Window {
    /// Forgets what has left the window by `now`. Counts nothing; call it before the others.
    ///
    /// Also takes the form that suits the rule: a log that a raised limit would make too long
    /// becomes counts at once, counts become a log when they are empty. Neither admits more.
    pub fn advance(&mut self, rule: WindowRule, now: Tick) {
        match &mut self.events {
            Events::Logged(log) => {
                log.advance(now);
                if rule.limit() > LARGEST_LOG {
                    let mut counts = SlotCounts::default();
                    log.each(|at| {
                        counts.advance(at);
                        counts.record(1);
                    });
                    counts.advance(now);
                    self.events = Events::Counted(Box::new(counts));
                }
            }
            Events::Counted(counts) => {
                counts.advance(now);
                if rule.limit() <= LARGEST_LOG && counts.total() == 0 {
                    self.events = Events::Logged(EventLog::default());
                }
            }
        }
    }

    /// Whether `cost` more fit at `now`. A cost above the limit counts as the limit.
    ///
    /// # Errors
    /// The time after which the same request would be admitted if nothing else is.
    pub fn check(&self, rule: WindowRule, now: Tick, cost: u32) -> Result<(), Duration> {
        let wanted = self.used() + u64::from(cost.min(rule.limit()));
        let excess = wanted.saturating_sub(u64::from(rule.limit()));
        if excess == 0 {
            return Ok(());
        }
        let free_at = match &self.events {
            Events::Logged(log) => log.free_at(excess),
            Events::Counted(counts) => counts.free_at(excess),
        };
        Err(free_at.since(now))
    }

    /// Counts an admitted request. Only after [`Self::advance`] to the same time.
    pub fn record(&mut self, rule: WindowRule, now: Tick, cost: u32) {
        let cost = cost.min(rule.limit());
        match &mut self.events {
            Events::Logged(log) => log.record(now, cost),
            Events::Counted(counts) => counts.record(cost),
        }
    }

    /// Counts a request that was admitted elsewhere, fit it or not. Only after [`Self::advance`]. Of a log only as many are kept
    /// as the rule allows, the newest: who has used more waits for the same instant.
    pub fn note(&mut self, rule: WindowRule, now: Tick, cost: u32) {
        self.record(rule, now, cost);
        match &mut self.events {
            Events::Logged(log) => log.keep_newest(rule.limit()),
            Events::Counted(_) => {}
        }
    }

    /// Requests left.
    #[must_use]
    pub fn remaining(&self, rule: WindowRule) -> u32 {
        let left = u64::from(rule.limit()).saturating_sub(self.used());
        u32::try_from(left).unwrap_or(u32::MAX)
    }

    /// Time after `now` until the window is empty.
    #[must_use]
    pub fn empty_after(&self, now: Tick) -> Duration {
        let empty_at = match &self.events {
            Events::Logged(log) => log.empty_at(),
            Events::Counted(counts) => counts.empty_at(),
        };
        empty_at.map_or(Duration::ZERO, |at| at.since(now))
    }

    fn used(&self) -> u64 {
        match &self.events {
            Events::Logged(log) => log.len(),
            Events::Counted(counts) => counts.total(),
        }
    }
}
