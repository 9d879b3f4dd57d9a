//! A sliding window as a log: the instant of every request in the last minute.
//!
//! Owns: four bytes a request, its microsecond cut to 32 bits. A full microsecond count is rebuilt
//! from the newest entry, which is kept whole: within a window two entries differ by a minute at
//! most, far less than the seventy-one minutes that 32 bits hold. Instants are rounded up to the
//! microsecond, so that nothing ever leaves the window early. Refuses nothing; its owner decides.

use std::collections::VecDeque;

use super::LENGTH;
use crate::resilience::tick::Tick;

const MICRO_NANOS: u64 = 1_000;
const LOW_32_BITS: u64 = 0xffff_ffff;

/// Instants of admitted requests, oldest first.
#[derive(Debug, Clone, Default)]
pub(super) struct EventLog {
    newest_micros: u64,
    micros: VecDeque<u32>,
}

impl EventLog {
    /// Drops what has left the window by `now`.
    pub(super) fn advance(&mut self, now: Tick) {
        while let Some(oldest) = self.micros.front() {
            if self.leaves_at(*oldest) > now {
                break;
            }
            self.micros.pop_front();
        }
    }

    /// Adds `count` requests at `now`, or at the newest known instant if that is later.
    ///
    /// Only after [`Self::advance`], which keeps all entries within one window of each other.
    pub(super) fn record(&mut self, now: Tick, count: u32) {
        self.newest_micros = self.newest_micros.max(now.as_nanos().div_ceil(MICRO_NANOS));
        for _ in 0..count {
            self.micros.push_back(low_bits(self.newest_micros));
        }
    }

    /// Drops the oldest beyond `count`.
    pub(super) fn keep_newest(&mut self, count: u32) {
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        let beyond = self.micros.len().saturating_sub(count);
        self.micros.drain(..beyond);
    }

    pub(super) fn len(&self) -> u64 {
        u64::try_from(self.micros.len()).unwrap_or(u64::MAX)
    }

    /// When the oldest `count` requests will all have left.
    pub(super) fn free_at(&self, count: u64) -> Tick {
        let last = usize::try_from(count.saturating_sub(1)).unwrap_or(usize::MAX);
        let entry = self.micros.get(last).or(self.micros.back());
        entry.map_or(Tick::ORIGIN, |micros| self.leaves_at(*micros))
    }

    /// When the newest request will have left; `None` when there is none.
    pub(super) fn empty_at(&self) -> Option<Tick> {
        self.micros.back().map(|micros| self.leaves_at(*micros))
    }

    /// Calls `visit` with every instant, oldest first.
    pub(super) fn each(&self, mut visit: impl FnMut(Tick)) {
        for entry in &self.micros {
            visit(self.instant(*entry));
        }
    }

    fn leaves_at(&self, entry: u32) -> Tick {
        self.instant(entry).plus(LENGTH)
    }

    fn instant(&self, entry: u32) -> Tick {
        let age = low_bits(self.newest_micros).wrapping_sub(entry);
        let micros = self.newest_micros.saturating_sub(u64::from(age));
        Tick::from_nanos(micros.saturating_mul(MICRO_NANOS))
    }
}

fn low_bits(micros: u64) -> u32 {
    // The mask makes the conversion lossless.
    u32::try_from(micros & LOW_32_BITS).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_survive_the_wrap_of_32_bits() {
        let wrap = u64::from(u32::MAX) * MICRO_NANOS;
        let mut log = EventLog::default();
        let early = Tick::from_nanos(wrap - 5_000_000);
        let late = Tick::from_nanos(wrap + 5_000_000);
        log.record(early, 1);
        log.record(late, 2);
        let mut seen = Vec::new();
        log.each(|at| seen.push(at));
        assert_eq!(seen, [early, late, late]);
        assert_eq!(log.free_at(1), early.plus(LENGTH));
        assert_eq!(log.free_at(2), late.plus(LENGTH));
    }

    #[test]
    fn an_idle_log_is_emptied_however_long_it_slept() {
        let mut log = EventLog::default();
        log.record(Tick::from_nanos(1), 3);
        log.advance(Tick::from_nanos(1 << 60));
        assert_eq!(log.len(), 0);
        assert_eq!(log.empty_at(), None);
    }

    #[test]
    fn a_request_is_an_instant_of_four_bytes() {
        let mut log = EventLog::default();
        log.record(Tick::ORIGIN, 1_024);
        assert!(log.micros.capacity() * size_of::<u32>() <= 8_192);
    }
}
