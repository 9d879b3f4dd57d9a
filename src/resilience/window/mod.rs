//! The sliding minute: never more than the limit in any sixty seconds, wherever they begin.
//!
//! Owns: one client's window: when how many requests were admitted in the last minute. Small limits
//! are exact to the microsecond. Of large ones the requests of a second count as of its end, so a
//! limit of a billion takes 61 entries; such a window admits at most a second late, never too much.
//! Refuses: a request over the limit, and says after how long the very same request would be
//! admitted; a refused request is not counted.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::time::Duration;

use super::tick::Tick;

pub const LENGTH: Duration = Duration::from_secs(60);

/// The largest limit that is exact to the microsecond.
const LARGEST_EXACT: u32 = 1_024;
const MICRO_NANOS: u64 = 1_000;
const SECOND_MICROS: u64 = 1_000_000;
const LOW_32_BITS: u64 = 0xffff_ffff;

/// What a window allows: so many requests in any minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowRule {
    limit: NonZeroU32,
}

impl WindowRule {
    pub fn per_minute(limit: NonZeroU32) -> Self {
        Self { limit }
    }

    pub fn share(self, instances: NonZeroU32) -> Self {
        Self { limit: div_ceil(self.limit, instances) }
    }

    pub fn is_coarse(self) -> bool {
        self.limit() > LARGEST_EXACT
    }

    pub fn limit(self) -> u32 {
        self.limit.get()
    }

    /// The end of what is counted together with `now`. Rounded up, so that nothing leaves early.
    fn counted_at(self, now: Tick) -> u64 {
        let micros = now.as_nanos().div_ceil(MICRO_NANOS);
        if !self.is_coarse() {
            return micros;
        }
        (now.as_nanos() / MICRO_NANOS / SECOND_MICROS + 1).saturating_mul(SECOND_MICROS)
    }
}

pub(super) fn div_ceil(number: NonZeroU32, by: NonZeroU32) -> NonZeroU32 {
    NonZeroU32::new(number.get().div_ceil(by.get())).unwrap_or(NonZeroU32::MIN)
}

/// Requests that leave the window together.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// The lower bits of their microsecond. Entries differ by little more than a minute; 32 bits hold
    /// seventy-one.
    micros: u32,
    count: u32,
}

/// One client's sliding window; the default is an empty one.
#[derive(Debug, Clone, Default)]
pub struct Window {
    /// The microsecond of the newest entry.
    newest: u64,
    used: u64,
    /// Oldest first.
    entries: VecDeque<Entry>,
}

impl Window {
    /// Forgets what has left the window by `now`; call it before the others.
    pub fn advance(&mut self, now: Tick) {
        while let Some(oldest) = self.entries.front() {
            if self.leaves_at(*oldest) > now {
                break;
            }
            self.used = self.used.saturating_sub(oldest.count.into());
            self.entries.pop_front();
        }
    }

    /// Whether `cost` more fit at `now`. A cost above the limit counts as the limit.
    /// The error is the time after which the same request would be admitted if nothing else is.
    pub fn check(&self, rule: WindowRule, now: Tick, cost: u32) -> Result<(), Duration> {
        let wanted = self.used.saturating_add(cost.min(rule.limit()).into());
        let excess = wanted.saturating_sub(rule.limit().into());
        if excess == 0 {
            return Ok(());
        }
        let mut left = 0_u64;
        let enough = self.entries.iter().find(|entry| {
            left = left.saturating_add(entry.count.into());
            left >= excess
        });
        Err(enough.map_or(Duration::ZERO, |entry| self.leaves_at(*entry).since(now)))
    }

    /// Counts an admitted request, at `now` or with the newest entry if that is later.
    pub fn record(&mut self, rule: WindowRule, now: Tick, cost: u32) {
        let cost = cost.min(rule.limit());
        if cost == 0 {
            return;
        }
        let counted_at = rule.counted_at(now);
        self.used = self.used.saturating_add(cost.into());
        if let Some(entry) = self.entries.back_mut()
            && counted_at <= self.newest
            && let Some(count) = entry.count.checked_add(cost)
        {
            entry.count = count;
            return;
        }
        self.newest = self.newest.max(counted_at);
        self.entries.push_back(Entry { micros: low_bits(self.newest), count: cost });
    }

    pub fn remaining(&self, rule: WindowRule) -> u32 {
        let used = u32::try_from(self.used).unwrap_or(u32::MAX);
        rule.limit().saturating_sub(used)
    }

    pub fn empty_after(&self, now: Tick) -> Duration {
        self.entries.back().map_or(Duration::ZERO, |newest| self.leaves_at(*newest).since(now))
    }

    fn leaves_at(&self, entry: Entry) -> Tick {
        let age = low_bits(self.newest).wrapping_sub(entry.micros);
        let micros = self.newest.saturating_sub(age.into());
        Tick::from_nanos(micros.saturating_mul(MICRO_NANOS)).plus(LENGTH)
    }
}

fn low_bits(micros: u64) -> u32 {
    // The mask makes the conversion lossless.
    u32::try_from(micros & LOW_32_BITS).unwrap_or_default()
}
